//! All settings that there are.

/// One setting: where it stands and what it is without being set.
pub(super) struct Key {
    /// `section.name`, or `name` for those above all sections.
    pub path: &'static str,
    pub default: &'static str,
    pub help: &'static str,
    /// Shown by nobody: neither by `config print` nor in an error.
    pub secret: bool,
    /// Whether a running server takes over another value on SIGHUP.
    pub reloaded: bool,
}

const fn key(path: &'static str, default: &'static str, help: &'static str) -> Key {
    Key {
        path,
        default,
        help,
        secret: false,
        reloaded: false,
    }
}

/// One that a running server reads again on SIGHUP.
const fn reloaded(path: &'static str, default: &'static str, help: &'static str) -> Key {
    Key {
        reloaded: true,
        ..key(path, default, help)
    }
}

pub(super) const KEYS: &[Key] = &[
    key(
        "data_dir",
        "data",
        "Directory of the database; made at the first start",
    ),
    key(
        "public_url",
        "",
        "URL under which people reach this server; empty: taken from each request",
    ),
    key(
        "domain",
        "",
        "Name of this server: the certificate for it is had by ACME, unless http.tls_cert is set",
    ),
    key(
        "behind_proxy",
        "",
        "true: a web proxy on this machine has the certificate and passes requests on; CIDRs: one elsewhere; empty: none",
    ),
    key(
        "http.listen",
        "[::]:8080",
        "Address and port of the web client and the API; [::]:80 where domain is set, 127.0.0.1:8080 where behind_proxy is true",
    ),
    key(
        "http.tls_listen",
        "[::]:443",
        "Address and port of HTTPS, where domain or tls_cert is set; http.listen then leads there",
    ),
    key(
        "http.tls_cert",
        "",
        "Certificate chain for HTTPS and TURN over TLS, a PEM file; read again when it changes and on SIGHUP",
    ),
    key("http.tls_key", "", "Its private key, a PEM file"),
    key(
        "http.hsts_days",
        "365",
        "Days for which browsers that came by HTTPS come by nothing else; 0: none",
    ),
    key(
        "http.trusted_proxies",
        "",
        "Networks whose X-Forwarded-* headers are believed, as CIDR; those of behind_proxy where that is set",
    ),
    key(
        "http.proxy_protocol",
        "",
        "Networks of balancers whose connections begin with a PROXY header (version 1 or 2), as CIDR",
    ),
    key(
        "http.allowed_origins",
        "",
        "Origins of web clients hosted elsewhere, such as https://app.example.org, by comma; *: any",
    ),
    key(
        "http.metrics",
        "local",
        "Who may read /metrics: local (from this machine, not through a proxy) or public",
    ),
    key(
        "acme.directory",
        "https://acme-v02.api.letsencrypt.org/directory",
        "Authority that makes the certificate for domain; that its terms are agreed to is told to it",
    ),
    key(
        "acme.contact",
        "",
        "Where the authority finds who runs this server: mailto:NAME@HOST; empty: nowhere",
    ),
    key(
        "acme.challenge",
        "any",
        "How it sees that domain is this server: tls-alpn-01 (by port 443), http-01 (by port 80), or any",
    ),
    key("turn.enabled", "true", "Run the STUN/TURN relay"),
    key(
        "turn.listen",
        "[::]:3478",
        "Address and port of STUN/TURN, UDP and TCP",
    ),
    key(
        "turn.tls_listen",
        "[::]:5349",
        "Address and port of TURN over TLS, where there is a certificate",
    ),
    key(
        "turn.tls_cert",
        "",
        "Certificate chain for TURN over TLS alone, a PEM file; empty: that of HTTPS",
    ),
    key("turn.tls_key", "", "Its private key, a PEM file"),
    key(
        "turn.proxy_protocol",
        "",
        "Networks of balancers whose streams of TURN begin with a PROXY header (version 1 or 2), as CIDR",
    ),
    key(
        "turn.relay_ports",
        "49152-65535",
        "UDP and TCP ports that the relay hands out, FIRST-LAST",
    ),
    key(
        "turn.external_ip",
        "auto",
        "Address that clients and peers see: auto, PUBLIC or PUBLIC/PRIVATE; several by comma",
    ),
    key(
        "turn.host",
        "",
        "Name or address that clients are told for the relay; empty: that of the web, or external_ip where that leads elsewhere",
    ),
    key(
        "turn.region",
        "",
        "Where this relay is near, where there are several: labels of your own by comma, such as eu,de",
    ),
    key(
        "turn.region_header",
        "",
        "Header in which the proxies of http.trusted_proxies say in which region a client is, such as CF-IPCountry",
    ),
    key(
        "turn.offer_relays",
        "2",
        "Relays that a client is told of at a time, where there are several",
    ),
    key(
        "turn.line_mbit",
        "0",
        "Mbit/s that the line of this relay carries each way, by which other servers know how loaded it is; 0: the processor alone tells",
    ),
    key(
        "turn.alternate_ip",
        "",
        "A second address of this machine, PUBLIC or PUBLIC/PRIVATE, for NAT behaviour discovery (RFC 5780)",
    ),
    key(
        "turn.alternate_port",
        "3479",
        "Port of STUN/TURN, UDP and TCP, beside that of turn.listen, where alternate_ip is set",
    ),
    key(
        "turn.realm",
        "",
        "Realm of the credentials; empty: the host of public_url where it is short enough, else moznods",
    ),
    key("turn.workers", "0", "Threads of the relay; 0: one per core"),
    reloaded(
        "turn.allow_peers",
        "",
        "Networks that peers may be in although they are not public, as CIDR",
    ),
    reloaded(
        "turn.deny_peers",
        "",
        "Networks that peers may not be in, as CIDR; stronger than allow_peers",
    ),
    reloaded(
        "turn.max_allocations_per_user",
        "64",
        "Live allocations of one user; 0: no limit",
    ),
    reloaded(
        "turn.max_bytes_per_second_per_user",
        "0",
        "Bytes that the relay passes on for one user per second, both ways together; 0: no limit",
    ),
    reloaded(
        "turn.max_bytes_per_month_per_user",
        "0",
        "Bytes that the relay passes on for one user in a month (UTC), both ways together; 0: no limit",
    ),
    reloaded(
        "turn.unauthenticated_per_second",
        "200",
        "Requests without valid credentials per second, thread of the relay and network (/24, /56); 0: no limit",
    ),
    key(
        "turn.legacy_channels",
        "true",
        "Take channel numbers of RFC 5766, 0x5000 to 0x7FFF, from older clients",
    ),
    key(
        "turn.drain_seconds",
        "0",
        "Seconds for which running calls go on after the signal to stop; no new ones are relayed meanwhile",
    ),
    key(
        "turn.credential_ttl",
        "86400",
        "Seconds for which relay credentials are given out",
    ),
    key(
        "turn.mobility",
        "true",
        "Whether calls may follow their clients from network to network (RFC 8016)",
    ),
    key(
        "turn.strict_expiry",
        "false",
        "End calls when the relay credential they began with expires; otherwise they go on",
    ),
    key(
        "ice.extra_stun",
        "none",
        "Public STUN servers beside our own: none, ru, global, or HOST:PORT by comma",
    ),
    Key {
        path: "storage.database_url",
        default: "",
        help: "PostgreSQL that several nodes share: postgres://USER:PASSWORD@HOST[:PORT]/DATABASE[?sslmode=disable, prefer, require or verify-full]; empty: SQLite in data_dir",
        secret: true,
        reloaded: false,
    },
    Key {
        path: "storage.redis_url",
        default: "",
        help: "Redis by which the processes of one server tell each other what is true only now: redis:// or, over TLS, rediss://[USER:PASSWORD@]HOST[:PORT]; empty: there is but one process",
        secret: true,
        reloaded: false,
    },
    key(
        "accounts.registration",
        "code",
        "Who may register: code (with the invite code), open, closed",
    ),
    Key {
        path: "accounts.invite_code",
        default: "",
        help: "Code for registration; empty: made at the first start",
        secret: true,
        reloaded: false,
    },
    key(
        "accounts.directory",
        "all",
        "Whom people find when they look for others: all, or shared (who is in a room with them)",
    ),
    key(
        "accounts.oidc_issuer",
        "",
        "Provider of OpenID Connect by which people may sign in: its issuer, https://HOST[/PATH]; empty: none",
    ),
    key(
        "accounts.oidc_client_id",
        "",
        "What that provider calls this server",
    ),
    Key {
        path: "accounts.oidc_client_secret",
        default: "",
        help: "Secret that the provider has given to this server; empty: none",
        secret: true,
        reloaded: false,
    },
    key(
        "accounts.oidc_name",
        "",
        "What the button for it says; empty: the issuer's host",
    ),
    key(
        "accounts.oidc_registers",
        "true",
        "Whether who is new gets an account by it although registration asks for a code",
    ),
    key(
        "chat.events_kept",
        "100000",
        "How many of the newest events are kept for clients that were away; the others fetch all again",
    ),
    key(
        "chat.events_days",
        "7",
        "Days for which they are kept at most",
    ),
    key(
        "chat.mention_all",
        "moderators",
        "Who may mention everybody in a room by @all: everyone, moderators (and owners) or nobody",
    ),
    key(
        "files.max_size",
        "10MiB",
        "Bytes that an uploaded file may have, as a number or with KiB, MiB or GiB",
    ),
    key(
        "files.types",
        "image/*,application/pdf,text/*",
        "Types of content that may be uploaded, by comma; */*: any",
    ),
    key(
        "files.quota_per_user",
        "1GiB",
        "Bytes that all files of one user may take; 0: no limit",
    ),
    key(
        "files.orphan_hours",
        "24",
        "Hours after which an uploaded file that no message has is removed",
    ),
    key(
        "files.s3_bucket",
        "",
        "Bucket of an S3-compatible store for the bytes of files; empty: they are with the database",
    ),
    key(
        "files.s3_endpoint",
        "",
        "Where the store is, https://HOST[:PORT]; empty: Amazon's, of the region",
    ),
    key(
        "files.s3_region",
        "us-east-1",
        "Region that requests to it are signed for",
    ),
    key(
        "files.s3_access_key_id",
        "",
        "Access key for it: may read, write and remove objects of the bucket, and list and abort uploads",
    ),
    Key {
        path: "files.s3_secret_access_key",
        default: "",
        help: "Secret of that key",
        secret: true,
        reloaded: false,
    },
    key(
        "files.s3_path_style",
        "true",
        "Whether the bucket's name stands in the path of URLs; otherwise in the host",
    ),
    key(
        "files.s3_prefix",
        "",
        "What the names of objects begin with, where the bucket holds others as well",
    ),
    reloaded(
        "limits.enabled",
        "true",
        "Limit how often one may sign in, register and write, and how many connections an address may have",
    ),
    reloaded(
        "limits.sign_in_per_minute",
        "5",
        "Attempts to sign in per minute: to one account from one address, and wrong ones from one address",
    ),
    reloaded(
        "limits.api_per_minute",
        "100",
        "Requests per minute by which one user may change something",
    ),
    reloaded(
        "limits.reads_per_minute",
        "600",
        "Other requests of one user per minute, and sockets that he opens",
    ),
    reloaded(
        "limits.frames_per_minute",
        "60",
        "Frames of sockets per minute by which one user may send, edit, delete and react",
    ),
    reloaded(
        "limits.signals_per_minute",
        "1200",
        "Other frames of one user per minute: those of calls, read marks, typing",
    ),
    reloaded(
        "limits.uploads_per_minute",
        "10",
        "Files and pictures that one user may upload per minute",
    ),
    reloaded(
        "limits.hooks_per_minute",
        "30",
        "Messages by one webhook per minute",
    ),
    reloaded(
        "limits.registrations_per_hour",
        "30",
        "Attempts to register per hour from one address",
    ),
    reloaded(
        "limits.ban_after",
        "30",
        "Wrong sign-ins, registrations or relay credentials of one address in an hour, beyond which it is banned; 0: never",
    ),
    reloaded(
        "limits.ban_minutes",
        "15",
        "Minutes of a first ban; each further one within a day is twice as long",
    ),
    reloaded(
        "limits.ban_max_minutes",
        "1440",
        "Minutes of the longest ban",
    ),
    reloaded(
        "limits.room_participants",
        "1000",
        "How many may take part in one room",
    ),
    reloaded(
        "limits.rooms_per_user",
        "1000",
        "How many rooms one user may take part in",
    ),
    key(
        "limits.bots_per_user",
        "10",
        "How many bots one user may have; 0: none",
    ),
    key(
        "limits.hooks_per_room",
        "10",
        "How many webhooks one room may have; 0: none",
    ),
    key(
        "push.enabled",
        "true",
        "Tell people who have no page open of messages and calls, by the push services of their browsers",
    ),
    key(
        "push.contact",
        "",
        "Where push services find who runs this server: mailto:NAME@HOST or an https URL; empty: public_url",
    ),
    key(
        "push.allow_private",
        "",
        "Networks in which push services may be although they are not public, as CIDR",
    ),
    key(
        "audit.keep_days",
        "365",
        "Days for which it is kept what administrators, owners and moderators have done over others; 0: for ever",
    ),
    key("log.format", "human", "human or json"),
    key(
        "log.level",
        "info",
        "error, warn, info, debug or trace, or a filter such as info,moznods_turn=debug",
    ),
];
