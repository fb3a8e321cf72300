//! Where a PostgreSQL is, as the settings say it: an address that has a password in it, which is shown nowhere.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};

/// How long one host, or one of its addresses, is tried, unless the URL says otherwise: one that is off does not answer at all.
const CONNECT: Duration = Duration::from_millis(1500);
/// What a connection takes beside that.
const GREETING: Duration = Duration::from_millis(2500);
/// Whoever waits for a connection is told that there is none by then.
const LONGEST: Duration = Duration::from_secs(8);

/// `postgres://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=…`, with what else libpq knows by name.
#[derive(Clone)]
pub struct PostgresUrl {
    pub(super) config: tokio_postgres::Config,
    /// The server has to prove who it is.
    pub(super) verify: bool,
    /// Certificates of those who may vouch for it, in place of the machine's.
    pub(super) roots: Option<PathBuf>,
}

impl fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PostgresUrl({self})")
    }
}

/// Without user and password.
impl fmt::Display for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("postgres://")?;
        let ports = self.config.get_ports();
        for (n, host) in self.config.get_hosts().iter().enumerate() {
            if n > 0 {
                f.write_str(",")?;
            }
            match host {
                Host::Tcp(name) => f.write_str(name)?,
                Host::Unix(directory) => write!(f, "{}", directory.display())?,
            }
            if let Some(port) = ports.get(n).or(ports.first()) {
                write!(f, ":{port}")?;
            }
        }
        write!(f, "/{}", self.config.get_dbname().unwrap_or_default())
    }
}

impl PostgresUrl {
    pub const SCHEMES: [&str; 2] = ["postgres://", "postgresql://"];

    /// A connection is there by then, or not at all: so long that each host has its turn.
    pub(super) fn patience(&self) -> Duration {
        let (hosts, addresses) = (self.config.get_hosts(), self.config.get_hostaddrs());
        let count = u32::try_from(hosts.len().max(addresses.len())).unwrap_or(u32::MAX);
        let each = self.config.get_connect_timeout().unwrap_or(&CONNECT);
        LONGEST.min(each.saturating_mul(count).saturating_add(GREETING))
    }
}

/// What is wrong, in a sentence that has nothing of the address in it.
impl FromStr for PostgresUrl {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        if !Self::SCHEMES.iter().any(|scheme| text.starts_with(scheme)) {
            return Err("it does not begin with postgres:// or postgresql://");
        }
        // Before it there may be a password.
        let host = text.rfind('@').unwrap_or_default();
        let address = text.get(host..).and_then(|rest| rest.find('?'));
        let (address, parameters) = match address {
            Some(at) => (text.get(..host + at), text.get(host + at + 1..)),
            None => (Some(text), None),
        };
        let parameters = parameters.unwrap_or_default();
        let mut url = String::from(address.unwrap_or_default());
        let (mut mode, mut verify, mut roots) = (None, false, None);
        let mut separator = '?';
        for parameter in parameters.split('&').filter(|part| !part.is_empty()) {
            match parameter.split_once('=') {
                Some(("sslmode", word)) => {
                    mode = Some(match word {
                        "disable" => SslMode::Disable,
                        "prefer" => SslMode::Prefer,
                        "require" | "verify-full" => SslMode::Require,
                        _ => {
                            return Err("sslmode is none of disable, prefer, require, verify-full");
                        }
                    });
                    verify = word == "verify-full";
                }
                Some(("sslrootcert", file)) => {
                    let file = percent_decode_str(file).decode_utf8();
                    roots = Some(file.map_err(|_| "sslrootcert is no path")?.as_ref().into());
                }
                _ => {
                    url.push(separator);
                    url.push_str(parameter);
                    separator = '&';
                }
            }
        }
        // Its errors may name a part of a password.
        let config = tokio_postgres::Config::from_str(&url);
        let mut config = config.map_err(
            |_| "it cannot be read; @, /, : and ? in a password are written as %40, %2F, %3A and %3F",
        )?;
        let hosts = config.get_hosts();
        if hosts.is_empty() && config.get_hostaddrs().is_empty() {
            return Err("it names no host");
        }
        // What comes after it may be a part of a password.
        let odd = |host: &Host| matches!(host, Host::Tcp(name) if name.contains('@'));
        if hosts.iter().any(odd) {
            return Err("there is more than one @ in it; in a password it is written as %40");
        }
        if roots.is_some() && !verify {
            return Err("sslrootcert is of use with sslmode=verify-full alone");
        }
        config.ssl_mode(mode.unwrap_or(SslMode::Prefer));
        // Of several hosts the one that can be written to.
        config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT);
        }
        // A server that is gone without a word is not waited for: the same that it is told of this side.
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(Duration::from_secs(8));
        }
        if config.get_keepalives_idle() == tokio_postgres::Config::new().get_keepalives_idle() {
            config.keepalives_idle(Duration::from_secs(5));
        }
        if config.get_keepalives_interval().is_none() {
            config.keepalives_interval(Duration::from_secs(2));
        }
        if config.get_keepalives_retries().is_none() {
            config.keepalives_retries(3);
        }
        Ok(PostgresUrl {
            config,
            verify,
            roots,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_shown_nowhere() {
        let good =
            "postgres://ann:geheim@db.example:5433/chat?sslmode=verify-full&application_name=x";
        let url: PostgresUrl = good.parse().unwrap();
        assert_eq!(url.to_string(), "postgres://db.example:5433/chat");
        assert!(!format!("{url:?}").contains("geheim"));
        assert!(url.verify);
        let odd: PostgresUrl = "postgres://ann:gehe?im@db/chat".parse().unwrap();
        assert_eq!(odd.to_string(), "postgres://db:5432/chat");
        for bad in [
            "mysql://ann:geheim@db/chat",
            "postgres://ann:geheim@db:port/chat",
            "postgres://ann:gehe@im@db/chat",
            "postgres://ann:geheim@db/chat?sslmode=verify-ca",
            "postgres://ann:geheim@db/chat?sslrootcert=/x",
            "postgres://",
        ] {
            let why = bad.parse::<PostgresUrl>().expect_err(bad);
            assert!(
                !why.contains("gehe") && !why.contains("im@"),
                "{bad}: {why}"
            );
        }
    }

    #[test]
    fn one_that_is_gone_is_noticed_unless_the_address_says_otherwise() {
        let url: PostgresUrl = "postgres://ann@one,two/chat".parse().unwrap();
        let seconds = Duration::from_secs;
        assert_eq!(url.config.get_connect_timeout(), Some(&CONNECT));
        assert_eq!(url.config.get_tcp_user_timeout(), Some(&seconds(8)));
        assert_eq!(url.config.get_keepalives_idle(), seconds(5));
        assert_eq!(url.config.get_keepalives_interval(), Some(seconds(2)));
        assert_eq!(url.config.get_keepalives_retries(), Some(3));
        assert_eq!(url.patience(), CONNECT * 2 + GREETING);
        let own = "connect_timeout=3&tcp_user_timeout=20&keepalives_idle=60&keepalives_retries=9";
        let url: PostgresUrl = format!("postgres://ann@one/chat?{own}").parse().unwrap();
        assert_eq!(url.config.get_tcp_user_timeout(), Some(&seconds(20)));
        assert_eq!(url.config.get_keepalives_idle(), seconds(60));
        assert_eq!(url.config.get_keepalives_retries(), Some(9));
        assert_eq!(url.patience(), seconds(3) + GREETING);
    }

    #[test]
    fn a_socket_is_named_by_its_directory() {
        let url: PostgresUrl = "postgresql://ann@%2Frun%2Fpostgresql/chat".parse().unwrap();
        assert_eq!(url.to_string(), "postgres:///run/postgresql:5432/chat");
    }
}
