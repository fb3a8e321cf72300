//! What is set where, what is refused, and in which words.

use std::path::PathBuf;

use super::*;

fn load(
    flags: &[(&'static str, &str)],
    environment: &[(&str, &str)],
    file: &str,
) -> Result<Config, String> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("moznods.toml");
    std::fs::write(&path, file).unwrap();
    let flags = Flags {
        file: Some(path),
        values: flags
            .iter()
            .map(|(path, text)| (*path, (*text).to_owned()))
            .collect(),
    };
    let environment = environment
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Settings::layered(&flags, environment)
        .and_then(|settings| Config::check(&settings))
        .map_err(|error| {
            error
                .to_string()
                .replace(directory.path().to_str().unwrap(), "")
        })
}

#[test]
fn defaults_need_nothing() {
    let config = load(&[], &[], "").unwrap();
    assert_eq!(config.http.listen, "[::]:8080".parse().unwrap());
    assert_eq!(config.turn.relay_ports, 49152..=65535);
    assert_eq!(config.turn.realm, "moznods");
    let realm = |url| load(&[("public_url", url)], &[], "").unwrap().turn.realm;
    assert_eq!(realm("https://chat.example.org"), "chat.example.org");
    assert_eq!(
        realm("https://conference.students.college.example.org"),
        "moznods"
    );
    assert_eq!(config.accounts.registration, Registration::Code);
}

#[test]
fn flags_beat_environment_beats_file_beats_default() {
    let file = "[turn]\nworkers = 1\nrealm = \"file\"\nlisten = \"127.0.0.1:1\"\n";
    let environment = [
        ("MOZNODS_TURN_REALM", "environment"),
        ("MOZNODS_TURN_LISTEN", "127.0.0.1:2"),
    ];
    let config = load(&[("turn.listen", "127.0.0.1:3")], &environment, file).unwrap();
    assert_eq!(config.turn.workers, 1);
    assert_eq!(config.turn.realm, "environment");
    assert_eq!(config.turn.listen.port(), 3);
}

#[test]
fn an_unknown_name_is_refused_with_the_nearest_one() {
    let error = load(&[], &[], "[turn]\nlistn = \"x\"\n").unwrap_err();
    assert_eq!(
        error,
        "turn.listn in /moznods.toml: there is no such setting; did you mean turn.listen?"
    );
    let error = load(&[], &[("MOZNODS_TURN_LISTN", "x")], "").unwrap_err();
    assert!(
        error.ends_with("did you mean MOZNODS_TURN_LISTEN?"),
        "{error}"
    );
}

#[test]
fn a_bad_value_names_key_value_origin_and_what_is_right() {
    let error = load(&[], &[("MOZNODS_TURN_RELAY_PORTS", "60000-50000")], "").unwrap_err();
    assert_eq!(
        error,
        "turn.relay_ports = \"60000-50000\" (MOZNODS_TURN_RELAY_PORTS): expected FIRST-LAST with 1024 ≤ FIRST ≤ LAST ≤ 65535"
    );
    for (path, bad) in [
        ("public_url", "chat.example.org"),
        ("public_url", "https://user@example.org"),
        ("public_url", "https://example.org/path"),
        ("http.listen", "8080"),
        ("http.allowed_origins", "app.example.org"),
        ("http.allowed_origins", "https://app.example.org/path"),
        ("http.allowed_origins", "https://app.example.org,*"),
        ("http.metrics", "yes"),
        ("http.tls_listen", "443"),
        ("http.hsts_days", "1y"),
        ("acme.directory", "http://ca.example.org/"),
        ("acme.contact", "ann@example.org"),
        ("acme.challenge", "dns-01"),
        ("turn.external_ip", "0.0.0.0"),
        ("turn.external_ip", "192.0.2.1/fd00::1"),
        ("turn.external_ip", "192.0.2.1,192.0.2.2"),
        ("turn.tls_listen", "5349"),
        ("turn.allow_peers", "10.0.0.0/33"),
        ("turn.credential_ttl", "1"),
        ("turn.drain_seconds", "1h"),
        ("turn.region", "eu,"),
        ("turn.region", "north sea"),
        ("turn.region_header", "a b"),
        ("turn.offer_relays", "0"),
        ("turn.line_mbit", "1G"),
        ("turn.max_bytes_per_second_per_user", "100"),
        ("ice.extra_stun", "russia"),
        ("ice.extra_stun", "stun:stun:example.org:3478"),
        ("ice.extra_stun", "2001:db8::1:3478"),
        ("ice.extra_stun", "turn:example.org:3478"),
        ("data_dir", "~/data"),
        ("log.level", "loud"),
        ("turn.enabled", "yes"),
        ("limits.enabled", "no"),
        ("limits.sign_in_per_minute", "0"),
        ("limits.api_per_minute", "-1"),
        ("limits.reads_per_minute", "many"),
        ("limits.frames_per_minute", "1.5"),
        ("limits.signals_per_minute", "100001"),
        ("limits.uploads_per_minute", "10/min"),
        ("limits.registrations_per_hour", ""),
        ("limits.room_participants", "1"),
    ] {
        let error = load(&[(path, bad)], &[], "").unwrap_err();
        assert!(
            error.starts_with(path) && error.contains("expected"),
            "{error}"
        );
    }
}

#[test]
fn a_certificate_without_its_key_is_refused() {
    let error = load(&[("turn.tls_cert", "cert.pem")], &[], "").unwrap_err();
    assert_eq!(
        error,
        "turn.tls_key = \"\" (default): expected a PEM file, since turn.tls_cert is set"
    );
    let error = load(&[("turn.tls_key", "key.pem")], &[], "").unwrap_err();
    assert!(error.starts_with("turn.tls_cert = "), "{error}");
    let both = [("turn.tls_cert", "cert.pem"), ("turn.tls_key", "key.pem")];
    let tls = load(&both, &[], "").unwrap().turn.tls.unwrap();
    assert_eq!(tls.listen.port(), 5349);
    assert_eq!(tls.certificate.unwrap().key, PathBuf::from("key.pem"));
    assert!(load(&[], &[], "").unwrap().turn.tls.is_none());
}

#[test]
fn the_certificate_of_https_serves_the_relay_too() {
    let both = [("http.tls_cert", "cert.pem"), ("http.tls_key", "key.pem")];
    let config = load(&both, &[], "").unwrap();
    assert!(config.turn.tls.as_ref().unwrap().certificate.is_none());
    assert_eq!(config.https_port(), Some(443));
    let url = config.url_at(config.http.listen);
    assert_eq!(url, "https://localhost:443");
    let port = |more: &[(&'static str, &'static str)]| {
        load(&[&both[..], more].concat(), &[], "")
            .unwrap()
            .https_port()
    };
    let listen = ("http.tls_listen", "[::]:8443");
    assert_eq!(port(&[listen]), Some(8443));
    // Where the port is mapped, the world knows it by another number.
    let public = |url| port(&[listen, ("public_url", url)]);
    assert_eq!(public("https://chat.example.org"), Some(443));
    assert_eq!(public("https://[2001:db8::1]:444"), Some(444));
    assert_eq!(public("http://chat.example.org"), Some(8443));
    assert_eq!(load(&[], &[], "").unwrap().https_port(), None);
}

#[test]
fn a_domain_has_the_ports_of_the_web_and_its_certificate_by_acme() {
    let acme = |config: &Config| match config.http.https.clone().unwrap().certificate {
        CertificateSource::Acme(acme) => Some(acme),
        CertificateSource::Files(_) => None,
    };
    let with = |more: &[(&'static str, &'static str)]| {
        let domain = ("domain", "Chat.Example.org");
        load(&[&[domain][..], more].concat(), &[], "").unwrap()
    };
    let config = with(&[]);
    let https = config.http.https.as_ref().unwrap();
    assert_eq!((config.http.listen.port(), https.listen.port()), (80, 443));
    assert_eq!(
        config.public_url.as_deref(),
        Some("https://chat.example.org")
    );
    let found = acme(&config).unwrap();
    assert_eq!(found.domain, "chat.example.org");
    assert_eq!(found.challenges, [Challenge::TlsAlpn, Challenge::Http]);
    assert!(config.turn.tls.is_some() && config.relay_certificate().is_none());

    let elsewhere = with(&[
        ("http.listen", "[::]:8080"),
        ("http.tls_listen", "[::]:8443"),
    ]);
    assert_eq!(elsewhere.http.listen.port(), 8080);
    let url = elsewhere.public_url.as_deref();
    assert_eq!(url, Some("https://chat.example.org:8443"));
    let files = with(&[("http.tls_cert", "cert.pem"), ("http.tls_key", "key.pem")]);
    assert!(acme(&files).is_none());
    assert_eq!(
        files.public_url.as_deref(),
        Some("https://chat.example.org")
    );

    for bad in [
        "chat.example.org:443",
        "192.0.2.1",
        "чат.рф",
        "a..b",
        "../a",
        "[::1]",
    ] {
        let error = load(&[("domain", bad)], &[], "").unwrap_err();
        assert!(error.starts_with("domain = "), "{error}");
    }
}

#[test]
fn secrets_are_neither_printed_nor_quoted() {
    let error = load(&[("accounts.invite_code", "abc")], &[], "").unwrap_err();
    assert!(!error.contains("abc"), "{error}");
    let error = load(&[], &[], "[accounts]\ninvite_code = \"hunter2-hunter2\n").unwrap_err();
    assert!(!error.contains("hunter2"), "{error}");
    let flags = Flags {
        file: None,
        values: [("accounts.invite_code", "hunter2-hunter2".to_owned())].into(),
    };
    let settings = Settings::layered(&flags, std::iter::empty()).unwrap();
    assert!(!settings.print().contains("hunter2"));
    let config = Config::check(&settings).unwrap();
    assert!(!format!("{config:?}").contains("hunter2"));
}

#[test]
fn what_print_shows_can_be_read_again() {
    let settings = Settings::layered(&Flags::default(), std::iter::empty()).unwrap();
    load(&[], &[], &settings.print()).unwrap();
}

#[test]
fn lists_are_arrays_or_commas() {
    let config = load(
        &[("turn.allow_peers", "127.0.0.0/8, ::1")],
        &[],
        "[http]\ntrusted_proxies = [\"10.0.0.0/8\", \"fd00::/8\"]\n",
    )
    .unwrap();
    assert_eq!(config.turn.allow_peers.len(), 2);
    assert_eq!(config.http.trusted_proxies.len(), 2);
}

#[test]
fn one_word_makes_a_server_behind_a_proxy() {
    let http = |flags: &[(&'static str, &str)]| load(flags, &[], "").unwrap().http;
    let on_this_machine = http(&[("behind_proxy", "true")]);
    assert_eq!(on_this_machine.listen, "127.0.0.1:8080".parse().unwrap());
    let trusted = |http: &Http| {
        let nets = http.trusted_proxies.iter().map(ToString::to_string);
        nets.collect::<Vec<_>>().join(",")
    };
    assert_eq!(trusted(&on_this_machine), "127.0.0.0/8,::1/128");
    let elsewhere = http(&[("behind_proxy", "10.0.0.7, fd00::/8")]);
    assert_eq!(elsewhere.listen, "[::]:8080".parse().unwrap());
    assert_eq!(trusted(&elsewhere), "10.0.0.7/32,fd00::/8");
    for none in ["", "false"] {
        assert_eq!(trusted(&http(&[("behind_proxy", none)])), "");
    }
    let more = http(&[
        ("behind_proxy", "true"),
        ("http.listen", "[::1]:81"),
        ("http.trusted_proxies", "10.0.0.7"),
    ]);
    assert_eq!(more.listen, "[::1]:81".parse().unwrap());
    assert_eq!(trusted(&more), "10.0.0.7/32");
    for (flags, expected) in [
        (
            &[("behind_proxy", "nginx")][..],
            "behind_proxy = \"nginx\" (--behind-proxy): expected true, or networks as CIDR, such as 10.0.0.0/8,fd00::/8",
        ),
        (
            &[
                ("behind_proxy", "10.0.0.7"),
                ("http.trusted_proxies", "10.0.0.8"),
            ],
            "behind_proxy = \"10.0.0.7\" (--behind-proxy): expected true or nothing, since http.trusted_proxies names the \
             proxies",
        ),
        (
            &[("behind_proxy", "true"), ("domain", "chat.example.org")],
            "behind_proxy = \"true\" (--behind-proxy): expected nothing, since this server has a certificate of its own; \
             http.trusted_proxies or http.proxy_protocol name what stands before it",
        ),
    ] {
        assert_eq!(load(flags, &[], "").unwrap_err(), expected);
    }
}

#[test]
fn the_relay_may_have_a_host_of_its_own() {
    let host = |text| load(&[("turn.host", text)], &[], "").map(|config| config.turn.host);
    assert_eq!(host(""), Ok(None));
    for (text, host_of_it) in [
        ("Turn.example.org.", "turn.example.org"),
        ("203.0.113.7", "203.0.113.7"),
        ("2001:db8::7", "[2001:db8::7]"),
        ("[2001:db8::7]", "[2001:db8::7]"),
    ] {
        assert_eq!(host(text), Ok(Some(host_of_it.to_owned())), "{text}");
    }
    for bad in [
        "turn.example.org:3478",
        "turn:turn.example.org",
        "a b",
        "-a.example",
        "a..b",
        "[203.0.113.7]",
    ] {
        let error = host(bad).unwrap_err();
        let expected = "expected a name such as turn.example.org, or an address, without a port";
        assert!(error.ends_with(expected), "{error}");
    }
}

#[test]
fn stun_servers_are_written_as_admins_write_them() {
    let servers = |text| {
        load(&[("ice.extra_stun", text)], &[], "")
            .unwrap()
            .ice
            .extra_stun
    };
    assert_eq!(
        servers("stun:a.example.org:3478, b.example.org:19302, [2001:db8::1]:3478"),
        [
            "a.example.org:3478",
            "b.example.org:19302",
            "[2001:db8::1]:3478"
        ]
    );
    assert!(servers("none").is_empty());
    assert!(!servers("ru").is_empty());
}

#[test]
fn origins_are_compared_as_browsers_write_them() {
    let allow = |setting, origin: &str| {
        let config = load(&[("http.allowed_origins", setting)], &[], "").unwrap();
        config.http.allowed_origins.allow(origin)
    };
    let several = "https://App.example.org:443/, http://localhost:5173, tauri://localhost";
    for origin in [
        "https://app.example.org",
        "http://localhost:5173",
        "tauri://localhost",
    ] {
        assert!(allow(several, origin), "{origin}");
        assert!(allow("*", origin) && !allow("", origin), "{origin}");
    }
    assert!(!allow(several, "http://app.example.org"));
    assert!(!allow(several, "http://localhost"));
}

#[test]
fn hosts_of_urls() {
    assert_eq!(host_of("https://chat.example.org"), "chat.example.org");
    assert_eq!(host_of("http://localhost:8080"), "localhost");
    assert_eq!(host_of("http://[::1]:8080"), "[::1]");
    assert_eq!(host_of("http://[::1]"), "[::1]");
}

#[test]
fn a_provider_of_sign_ins_is_safe_to_ask_and_named_whole() {
    const ISSUER: &str = "accounts.oidc_issuer";
    const ID: (&str, &str) = ("accounts.oidc_client_id", "moznods");
    for good in [
        "https://id.example.org/realms/corp",
        "https://id.example.org/",
        "http://localhost:8081",
        "http://127.0.0.1:8081",
        "http://[::1]:8081",
    ] {
        let oidc = load(&[(ISSUER, good), ID], &[], "").unwrap().accounts.oidc;
        let oidc = oidc.unwrap();
        assert_eq!(oidc.issuer, good);
        assert!(oidc.registers && oidc.client_secret.is_none());
    }
    for bad in [
        "http://id.example.org",
        "http://localhost.example.org",
        "https://user@id.example.org",
        "https://id.example.org/?a=b",
        "https://id.example.org/#a",
        "id.example.org",
        "ftp://id.example.org",
    ] {
        let error = load(&[(ISSUER, bad), ID], &[], "").unwrap_err();
        assert!(
            error.starts_with("accounts.oidc_issuer = "),
            "{bad}: {error}"
        );
    }
    let whole = [
        (ISSUER, "https://id.example.org"),
        ID,
        ("accounts.oidc_client_secret", "hunter2-hunter2"),
    ];
    let oidc = load(&whole, &[], "").unwrap().accounts.oidc.unwrap();
    assert_eq!(oidc.name, "id.example.org");
    assert!(!format!("{oidc:?}").contains("hunter2"));
    for half in [&whole[..1], &whole[1..]] {
        let error = load(half, &[], "").unwrap_err();
        assert!(error.starts_with("accounts.oidc_client_id = "), "{error}");
    }
    assert!(load(&[], &[], "").unwrap().accounts.oidc.is_none());
}

#[test]
fn a_bucket_is_named_with_its_key_or_not_at_all() {
    let whole = [
        ("files.s3_bucket", "attachments"),
        ("files.s3_access_key_id", "AKIA"),
        ("files.s3_secret_access_key", "hunter2/hunter2+"),
    ];
    let bucket = |more: &[(&'static str, &str)]| {
        let settings = [&whole[..], more].concat();
        load(&settings, &[], "").map(|config| config.files.bucket.unwrap())
    };
    let amazon = bucket(&[("files.s3_region", "eu-west-1")]).unwrap();
    assert_eq!(amazon.endpoint, "https://s3.eu-west-1.amazonaws.com");
    assert_eq!((amazon.prefix.as_str(), amazon.path_style), ("", true));
    assert!(!format!("{amazon:?}").contains("hunter2"));
    let own = bucket(&[
        ("files.s3_endpoint", "http://minio:9000/"),
        ("files.s3_prefix", "/chat/files/"),
    ]);
    let own = own.unwrap();
    assert_eq!(own.endpoint, "http://minio:9000");
    assert_eq!(own.prefix, "chat/files/");
    let in_host = ("files.s3_path_style", "false");
    let hosted = bucket(&[
        in_host,
        ("files.s3_endpoint", "https://storage.example:8443"),
    ]);
    assert_eq!(
        hosted.unwrap().endpoint,
        "https://attachments.storage.example:8443"
    );
    for (key, bad) in [
        ("files.s3_endpoint", "minio:9000"),
        ("files.s3_endpoint", "https://minio/attachments"),
        ("files.s3_endpoint", "https://user:pass@minio"),
        ("files.s3_prefix", "a/../b"),
        ("files.s3_prefix", "a b"),
        ("files.s3_region", "eu west"),
        ("files.s3_region", ""),
        ("files.s3_path_style", "perhaps"),
    ] {
        let error = bucket(&[(key, bad)]).unwrap_err();
        assert!(error.starts_with(&format!("{key} = ")), "{bad}: {error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
    for address in ["http://10.0.0.1:9000", "http://[::1]:9000"] {
        let error = bucket(&[in_host, ("files.s3_endpoint", address)]).unwrap_err();
        assert!(error.starts_with("files.s3_path_style = "), "{error}");
    }
    for half in [&whole[..1], &whole[..2], &whole[1..]] {
        let error = load(half, &[], "").unwrap_err();
        assert!(error.starts_with("files.s3_"), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
    assert!(load(&[], &[], "").unwrap().files.bucket.is_none());
}
