//! What becomes of coturn's turnserver.conf: a verdict for each line, settings, secrets of other programs, and users.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use super::options::{Kind, OPTIONS, switch};
use super::peers::{self, Range};
use crate::app::check_relay_device;
use crate::config::{Config, Secret, Settings};

/// Seconds: what coturn takes without the option, and what the relay here does, by RFC 8656.
const LIFETIMES: [(&str, &str); 3] = [
    ("max-allocate-lifetime", "3600"),
    ("channel-lifetime", "600"),
    ("permission-lifetime", "300"),
];

pub struct Line {
    /// From 1.
    pub number: usize,
    /// As it is written, if it may be shown.
    pub option: String,
    pub verdict: Verdict,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// By the setting of this path.
    Taken(&'static str),
    /// As a secret of this name.
    Secret(String),
    /// As a user of the relay.
    User(String),
    /// Why it has no need here.
    Needless(&'static str),
    /// Why it cannot be had here.
    Lost(&'static str),
    /// What is wrong with its value.
    Refused(String),
    /// Which it could be instead.
    Unknown(Option<&'static str>),
}

pub struct NewSecret {
    pub name: String,
    pub text: Secret,
    pub max_allocations: Option<u32>,
}

/// All of it.
pub struct Plan {
    pub lines: Vec<Line>,
    settings: Vec<(&'static str, String)>,
    pub secrets: Vec<NewSecret>,
    /// With their passwords.
    pub users: Vec<(String, Secret)>,
}

/// What the lines say, before it is put together.
#[derive(Default)]
struct Found {
    port: Option<u16>,
    tls_port: Option<u16>,
    listen: Vec<IpAddr>,
    relay: Vec<IpAddr>,
    external: Vec<(IpAddr, Option<IpAddr>)>,
    first_relay_port: Option<u16>,
    last_relay_port: Option<u16>,
    certificate: Option<String>,
    key: Option<String>,
    has_key_password: bool,
    no_tls: bool,
    total_quota: Option<u32>,
    allowed: Vec<Range>,
    denied: Vec<Range>,
}

impl Plan {
    pub fn of(text: &str) -> Self {
        let mut plan = Plan {
            lines: Vec::new(),
            settings: Vec::new(),
            secrets: Vec::new(),
            users: Vec::new(),
        };
        let mut found = Found::default();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (option, value) = split(line);
            let verdict = plan.verdict(option, value, &mut found);
            // What is no option could be a secret on a line of its own.
            let is_word = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
            let shown = option.len() <= 40 && option.chars().all(is_word);
            plan.lines.push(Line {
                number: index + 1,
                option: if shown {
                    option.to_owned()
                } else {
                    "…".to_owned()
                },
                verdict,
            });
        }
        plan.put_together(&found);
        plan.check();
        plan
    }

    fn verdict(&mut self, option: &str, value: &str, found: &mut Found) -> Verdict {
        let Some((name, kind)) = OPTIONS.iter().find(|(name, _)| *name == option) else {
            let nearest = OPTIONS
                .iter()
                .map(|(name, _)| (strsim::jaro_winkler(option, name), *name))
                .filter(|(score, _)| *score > 0.85)
                .max_by(|(a, _), (b, _)| a.total_cmp(b));
            return Verdict::Unknown(nearest.map(|(_, name)| name));
        };
        match *kind {
            Kind::Read => self.read(name, value, found).unwrap_or_else(|why| why),
            Kind::Needless(why) | Kind::NeedlessSwitch(why) => Verdict::Needless(why),
            Kind::LostSwitch(_) if switch(value) == Some(false) => Verdict::Needless("off"),
            Kind::Lost(why) | Kind::LostSwitch(why) => {
                found.has_key_password |= *name == "pkey-pwd";
                Verdict::Lost(why)
            }
        }
    }

    fn read(&mut self, name: &str, value: &str, found: &mut Found) -> Result<Verdict, Verdict> {
        let taken = |path| Ok(Verdict::Taken(path));
        match name {
            "listening-port" => {
                found.port = Some(number(value)?);
                taken("turn.listen")
            }
            "tls-listening-port" => {
                found.tls_port = Some(number(value)?);
                taken("turn.tls_listen")
            }
            "alt-listening-port" => match number::<u16>(value)? {
                0 => Ok(Verdict::Needless("discovery")),
                port => self.set("turn.alternate_port", port.to_string()),
            },
            "listening-ip" => {
                found.listen.push(address(value)?);
                taken("turn.listen")
            }
            "relay-ip" => {
                let ip = address(value)?;
                if found
                    .relay
                    .iter()
                    .any(|other| other.is_ipv4() == ip.is_ipv4())
                {
                    return Err(Verdict::Lost("one_address"));
                }
                found.relay.push(ip);
                taken("turn.external_ip")
            }
            "external-ip" => {
                let (public, private) = match value.split_once('/') {
                    Some((public, private)) => (address(public)?, Some(address(private)?)),
                    None => (address(value)?, None),
                };
                let same = |other: &(IpAddr, _)| other.0.is_ipv4() == public.is_ipv4();
                if found.external.iter().any(same) {
                    return Err(Verdict::Lost("one_address"));
                }
                found.external.push((public, private));
                taken("turn.external_ip")
            }
            "min-port" => {
                found.first_relay_port = Some(number(value)?);
                taken("turn.relay_ports")
            }
            "max-port" => {
                found.last_relay_port = Some(number(value)?);
                taken("turn.relay_ports")
            }
            "relay-threads" => match number::<u32>(value)? {
                0 => Ok(Verdict::Needless("threads")),
                threads => self.set("turn.workers", threads.to_string()),
            },
            "user" => self.user(value),
            "static-auth-secret" if value.is_empty() => Err(expected("a secret")),
            "static-auth-secret" => {
                let name = match self.secrets.len() {
                    0 => "coturn".to_owned(),
                    before => format!("coturn-{}", before + 1),
                };
                self.secrets.push(NewSecret {
                    name: name.clone(),
                    text: Secret::new(value.to_owned()),
                    max_allocations: None,
                });
                Ok(Verdict::Secret(name))
            }
            "realm" => self.set("turn.realm", value.to_owned()),
            "user-quota" => {
                let quota: u32 = number(value)?;
                self.set("turn.max_allocations_per_user", quota.to_string())
            }
            "total-quota" => match number(value)? {
                0 => Ok(Verdict::Needless("no_limit")),
                quota => {
                    found.total_quota = Some(quota);
                    Ok(Verdict::Lost("total_quota"))
                }
            },
            // Of a session, each way by itself; here of a user, both ways together.
            "max-bps" => match number::<u64>(value)? {
                0 => Ok(Verdict::Needless("no_limit")),
                rate => {
                    let rate = rate.saturating_mul(2).to_string();
                    self.set("turn.max_bytes_per_second_per_user", rate)
                }
            },
            "bps-capacity" => match number::<u64>(value)? {
                0 => Ok(Verdict::Needless("no_limit")),
                _ => Ok(Verdict::Lost("capacity")),
            },
            "Verbose" => match on(value)? {
                true => self.set("log.level", "debug".to_owned()),
                false => Ok(Verdict::Needless("log")),
            },
            "no-tls" => {
                found.no_tls = on(value)?;
                Ok(Verdict::Needless("no_tls"))
            }
            "max-allocate-lifetime" | "channel-lifetime" | "permission-lifetime" => {
                number::<u32>(value)?;
                match LIFETIMES.contains(&(name, value)) {
                    true => Ok(Verdict::Needless("always")),
                    false => Ok(Verdict::Lost("lifetimes")),
                }
            }
            "cert" => {
                found.certificate = Some(value.to_owned());
                taken("turn.tls_cert")
            }
            "pkey" => {
                found.key = Some(value.to_owned());
                taken("turn.tls_key")
            }
            "rest-api-separator" => match value {
                ":" => Ok(Verdict::Needless("always")),
                _ => Ok(Verdict::Lost("separator")),
            },
            "allow-loopback-peers" => match on(value)? {
                true => {
                    let loopback = ["127.0.0.0/8", "::1"].into_iter().filter_map(Range::parse);
                    found.allowed.extend(loopback);
                    taken("turn.allow_peers")
                }
                false => Ok(Verdict::Needless("off")),
            },
            "allowed-peer-ip" => {
                found.allowed.push(range(value)?);
                taken("turn.allow_peers")
            }
            "denied-peer-ip" => {
                found.denied.push(range(value)?);
                taken("turn.deny_peers")
            }
            "mobility" => self.set("turn.mobility", on(value)?.to_string()),
            "allocation-default-address-family" => match value {
                "ipv4" => Ok(Verdict::Needless("always")),
                _ => Ok(Verdict::Lost("family")),
            },
            // No other is marked as to be read.
            _ => Ok(Verdict::Unknown(None)),
        }
    }

    /// The last line of a kind counts, as with coturn.
    fn set(&mut self, path: &'static str, value: String) -> Result<Verdict, Verdict> {
        self.settings.retain(|(other, _)| *other != path);
        self.settings.push((path, value));
        Ok(Verdict::Taken(path))
    }

    fn user(&mut self, value: &str) -> Result<Verdict, Verdict> {
        let (name, password) = value
            .split_once(':')
            .ok_or_else(|| expected("NAME:PASSWORD"))?;
        if password.starts_with("0x") {
            return Err(Verdict::Lost("user_key"));
        }
        check_relay_device(name, password).map_err(|why| Verdict::Refused(why.to_string()))?;
        self.users.retain(|(other, _)| other != name);
        self.users
            .push((name.to_owned(), Secret::new(password.to_owned())));
        Ok(Verdict::User(name.to_owned()))
    }

    fn put_together(&mut self, found: &Found) {
        let listen = match found.listen[..] {
            [only] => only,
            // None, or several: all addresses of this machine.
            _ => Ipv6Addr::UNSPECIFIED.into(),
        };
        if found.port.is_some() || !found.listen.is_empty() {
            let address = SocketAddr::new(listen, found.port.unwrap_or(3478));
            self.put("turn.listen", address.to_string());
        }
        let with_private = |&(public, private): &(IpAddr, Option<IpAddr>)| {
            let same = |ip: &&IpAddr| ip.is_ipv4() == public.is_ipv4() && **ip != public;
            match private.or_else(|| found.relay.iter().find(same).copied()) {
                Some(private) => format!("{public}/{private}"),
                None => public.to_string(),
            }
        };
        let outside = |family: bool| {
            let mut all = found.external.iter();
            all.any(|(public, _)| public.is_ipv4() == family)
        };
        let as_is = found.relay.iter().filter(|ip| !outside(ip.is_ipv4()));
        let external: Vec<String> = found
            .external
            .iter()
            .map(with_private)
            .chain(as_is.map(IpAddr::to_string))
            .collect();
        if !external.is_empty() {
            self.put("turn.external_ip", external.join(","));
        }
        if found.first_relay_port.is_some() || found.last_relay_port.is_some() {
            let first = found.first_relay_port.unwrap_or(49152);
            let last = found.last_relay_port.unwrap_or(65535);
            self.put("turn.relay_ports", format!("{first}-{last}"));
        }
        self.put_tls(found, listen);
        if !found.allowed.is_empty() {
            self.put("turn.allow_peers", peers::setting(&found.allowed, &[]));
        }
        if !found.denied.is_empty() {
            let denied = peers::setting(&found.denied, &found.allowed);
            self.put("turn.deny_peers", denied);
        }
        if let (Some(quota), [only], true) = (
            found.total_quota,
            &mut self.secrets[..],
            self.users.is_empty(),
        ) {
            only.max_allocations = Some(quota);
            let verdict = Verdict::Secret(only.name.clone());
            self.judge("total-quota", &verdict);
        }
    }

    fn put_tls(&mut self, found: &Found, listen: IpAddr) {
        let why = match (&found.certificate, &found.key) {
            _ if found.no_tls => Verdict::Needless("no_tls"),
            (Some(_), Some(_)) if found.has_key_password => Verdict::Lost("key_password"),
            (Some(certificate), Some(key)) => {
                self.put("turn.tls_cert", certificate.clone());
                self.put("turn.tls_key", key.clone());
                if found.tls_port.is_some() || found.listen.len() == 1 {
                    let address = SocketAddr::new(listen, found.tls_port.unwrap_or(5349));
                    self.put("turn.tls_listen", address.to_string());
                }
                return;
            }
            (None, None) => Verdict::Needless("no_tls"),
            _ => Verdict::Lost("half_certificate"),
        };
        for option in ["cert", "pkey"] {
            self.judge(option, &why);
        }
        self.judge("tls-listening-port", &Verdict::Needless("no_tls"));
    }

    fn put(&mut self, path: &'static str, value: String) {
        self.settings.push((path, value));
    }

    /// Says something else of the lines of an option that would have been taken.
    fn judge(&mut self, option: &str, verdict: &Verdict) {
        for line in self.lines.iter_mut().filter(|line| line.option == option) {
            line.verdict = verdict.clone();
        }
    }

    /// Leaves out what this server would not start with.
    fn check(&mut self) {
        let settings = std::mem::take(&mut self.settings);
        // A certificate goes with its key, as which they stand one after the other.
        let pairs =
            settings.chunk_by(|one, other| (one.0, other.0) == ("turn.tls_cert", "turn.tls_key"));
        for together in pairs {
            let tried = [&self.settings[..], together].concat();
            match Config::check(&Settings::of(&tried, "turnserver.conf")) {
                Ok(_) => self.settings = tried,
                Err(error) => {
                    for line in &mut self.lines {
                        if let Verdict::Taken(path) = line.verdict
                            && together.iter().any(|(left_out, _)| *left_out == path)
                        {
                            line.verdict = Verdict::Refused(error.to_string());
                        }
                    }
                }
            }
        }
        self.settings.sort();
    }

    /// A setting as it stands in the file.
    pub fn shown(&self, path: &str) -> String {
        let value = self.settings.iter().find(|(known, _)| *known == path);
        value.map_or_else(String::new, |(_, value)| {
            let (section, name) = path.split_once('.').unwrap_or(("", path));
            format!("[{section}] {}", written(name, value))
        })
    }

    /// The settings, without secrets.
    pub fn toml(&self) -> String {
        let mut out =
            "# Made from coturn's turnserver.conf by `moznods import coturn`.\n".to_owned();
        let mut section = "";
        for (path, value) in &self.settings {
            let (head, name) = path.split_once('.').unwrap_or(("", path));
            if head != section {
                out.push_str(&format!("\n[{head}]\n"));
                section = head;
            }
            out.push_str(&written(name, value));
            out.push('\n');
        }
        out
    }
}

fn written(name: &str, value: &str) -> String {
    let is_plain = value.parse::<i64>().is_ok() || value.parse::<bool>().is_ok();
    match is_plain {
        true => format!("{name} = {value}"),
        false => format!("{name} = {}", toml::Value::String(value.to_owned())),
    }
}

/// Name and value, as coturn tells them apart.
fn split(line: &str) -> (&str, &str) {
    let between = [' ', '\t', '='];
    let Some((name, value)) = line.split_once(between) else {
        return (line, "");
    };
    let value = value.trim_start_matches(between);
    let value = match value.strip_prefix('"') {
        Some(quoted) => quoted.strip_suffix('"').unwrap_or(quoted),
        None => value,
    };
    (name, value)
}

fn expected(what: &str) -> Verdict {
    Verdict::Refused(format!("expected {what}"))
}

fn number<T: FromStr>(value: &str) -> Result<T, Verdict> {
    value.parse().map_err(|_| expected("a whole number"))
}

fn address(value: &str) -> Result<IpAddr, Verdict> {
    let bare = value.trim_start_matches('[').trim_end_matches(']');
    bare.parse().map_err(|_| expected("an IP address"))
}

fn range(value: &str) -> Result<Range, Verdict> {
    Range::parse(value).ok_or_else(|| expected("an IP address, or FIRST-LAST"))
}

fn on(value: &str) -> Result<bool, Verdict> {
    switch(value).ok_or_else(|| expected("on, off, or nothing"))
}
