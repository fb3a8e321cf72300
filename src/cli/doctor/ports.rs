//! The ports: of a running server, whether it answers there; before one is started, whether they can be had.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use moznods_bench::client::Credential;
use moznods_turn::auth::{self, Authenticator, Claim, Loss, Owner, Refusal};
use moznods_turn::net::Relay as TurnRelay;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::certificates::OwnCertificate;
use super::report::Report;
use super::{Running, beginning};
use crate::certificates::Source;
use crate::cli::{Failure, Outcome, serve};
use crate::config::Config;
use crate::relay;

const CHECK: &str = "port";
const WAIT: Duration = Duration::from_secs(10);
const HEALTHY: [u8; 12] = *b"HTTP/1.1 200";

/// A relay that can be asked.
pub struct Relay {
    /// From this machine.
    pub listen: SocketAddr,
    pub tls_listen: Option<SocketAddr>,
    /// As others see them, and as this machine does.
    pub addresses: Vec<(IpAddr, IpAddr)>,
    pub credential: Credential,
    /// Ends with the value, where it was started for this look.
    _own: Option<TurnRelay>,
}

/// Where somebody on this machine reaches what listens there.
fn from_here(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        // `[::]` means IPv4 too.
        IpAddr::V6(ip) if ip == Ipv6Addr::UNSPECIFIED => Ipv4Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

/// Asks whether it is well, by a stream that begins so.
async fn ask(server: SocketAddr, begin: &[u8]) -> io::Result<()> {
    let mut stream = TcpStream::connect(server).await?;
    let request = format!("GET /healthz HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n\r\n");
    stream
        .write_all(&[begin, request.as_bytes()].concat())
        .await?;
    let mut answer = [0; HEALTHY.len()];
    stream.read_exact(&mut answer).await?;
    match answer == HEALTHY {
        true => Ok(()),
        false => Err(io::ErrorKind::InvalidData.into()),
    }
}

pub async fn of_running(
    running: &Running,
    config: &Config,
    report: &mut Report,
) -> Result<Option<Relay>, Failure> {
    let told = &running.told;
    let server = from_here(told.http);
    let address = server.to_string();
    let asked = timeout(
        WAIT,
        ask(server, beginning(&config.http.proxy_protocol, server)),
    )
    .await;
    match asked.unwrap_or_else(|late| Err(late.into())) {
        Ok(()) => report.right(CHECK, "http_right", &[("address", &address)])?,
        Err(error) => {
            let values = [("address", &*address), ("error", &*error.to_string())];
            report.wrong(CHECK, "http_silent", &values)?;
        }
    }
    let Some(relay) = &told.relay else {
        report.unknown("relay", "relay_off", &[])?;
        return Ok(None);
    };
    Ok(Some(Relay {
        listen: from_here(relay.listen),
        tls_listen: relay.tls_listen.map(from_here),
        addresses: relay.addresses.clone(),
        credential: Credential {
            username: relay.username.clone(),
            password: relay.password.clone(),
        },
        _own: None,
    }))
}

/// Takes the ports, and starts a relay on its own.
pub async fn free(
    mut config: Config,
    certificate: Option<&OwnCertificate>,
    report: &mut Report,
) -> Result<Option<Relay>, Failure> {
    let https = config.http.https.as_ref().map(|https| https.listen);
    let web = [
        ("http.listen", Some(config.http.listen)),
        ("http.tls_listen", https),
    ];
    // Held until all have been tried, as the server would.
    let mut held = Vec::new();
    for (key, address) in web {
        let Some(address) = address else { continue };
        match serve::bind(address) {
            Ok(listener) => {
                held.push(listener);
                port_right(key, address, report)?;
            }
            Err(why) => port_wrong(key, address, "TCP", &why, report)?,
        }
    }
    let certificate = certificate.map(|own| Source::Files(Arc::clone(&own.certificate)));
    let listeners = match serve::bind_relay(&mut config, certificate.as_ref()) {
        Ok(Some(listeners)) => listeners,
        Ok(None) => {
            report.unknown("relay", "relay_off", &[])?;
            return Ok(None);
        }
        Err(Failure::Listen {
            key,
            address,
            transport,
            why,
        }) => {
            port_wrong(key, address, transport, &why, report)?;
            return Ok(None);
        }
        Err(error) => {
            report.wrong("relay", "relay_refused", &[("error", &error.to_string())])?;
            return Ok(None);
        }
    };
    port_right("turn.listen", config.turn.listen, report)?;
    if let Some(address) = listeners.tls_address() {
        port_right("turn.tls_listen", address, report)?;
    }
    let own = OwnUser::new();
    let credential = Credential {
        username: own.username.clone(),
        password: own.password.clone(),
    };
    match relay::alone(&config, listeners, Arc::new(own)).await {
        Ok(relay) => Ok(Some(Relay {
            listen: from_here(relay.address()),
            tls_listen: relay.tls_address().map(from_here),
            addresses: relay
                .relay_addresses()
                .iter()
                .map(|address| (address.public, address.local))
                .collect(),
            credential,
            _own: Some(relay),
        })),
        Err(error) => {
            report.wrong("relay", "relay_refused", &[("error", &error.to_string())])?;
            Ok(None)
        }
    }
}

fn port_right(key: &str, address: SocketAddr, report: &mut Report) -> Outcome {
    let values = [("key", key), ("address", &*address.to_string())];
    report.right(CHECK, "port_right", &values)
}

fn port_wrong(
    key: &str,
    address: SocketAddr,
    transport: &str,
    why: &std::io::Error,
    report: &mut Report,
) -> Outcome {
    let shown = (address.to_string(), why.to_string());
    let holder = (why.kind() == std::io::ErrorKind::AddrInUse)
        .then(|| holder(transport, address.port()).unwrap_or_else(|| "?".to_owned()));
    let mut values = vec![
        ("key", key),
        ("address", &*shown.0),
        ("transport", transport),
    ];
    match &holder {
        Some(holder) => {
            values.push(("holder", holder));
            report.wrong(CHECK, "port_taken", &values)
        }
        None => {
            values.push(("error", &shown.1));
            report.wrong(CHECK, "port_refused", &values)
        }
    }
}

/// `NAME (process ID)` of who has a port, as far as this user may know.
fn holder(transport: &str, port: u16) -> Option<String> {
    let tables = match transport {
        "UDP" => ["udp", "udp6"],
        _ => ["tcp", "tcp6"],
    };
    let tables = tables.map(|table| fs::read_to_string(format!("/proc/net/{table}")));
    let sockets: Vec<String> = tables
        .iter()
        .flatten()
        .flat_map(|table| table.lines())
        .filter_map(|line| socket_at(line, port))
        .collect();
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let has_one = |process: &fs::DirEntry| {
        let files = fs::read_dir(process.path().join("fd"));
        let links = files.into_iter().flatten().flatten();
        let mut links = links.filter_map(|file| fs::read_link(file.path()).ok());
        links.any(|link| {
            sockets
                .iter()
                .any(|socket| link.as_os_str() == socket.as_str())
        })
    };
    let is_process = |process: &fs::DirEntry| {
        let name = process.file_name();
        name.as_encoded_bytes().iter().all(u8::is_ascii_digit)
    };
    let process = processes.filter(is_process).find(has_one)?;
    let name = fs::read_to_string(process.path().join("comm")).ok()?;
    let id = process.file_name();
    Some(format!("{} (process {})", name.trim(), id.display()))
}

/// What a file of a process is called that is the socket of this line of `/proc/net/tcp` or `udp`, if it is bound to this port.
fn socket_at(line: &str, port: u16) -> Option<String> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let (_, found) = fields.get(1)?.rsplit_once(':')?;
    let remote = fields.get(2)?.rsplit_once(':')?;
    let inode = fields.get(9)?;
    let is_it = u16::from_str_radix(found, 16) == Ok(port) && remote.1 == "0000";
    is_it.then(|| format!("socket:[{inode}]"))
}

/// The one user of a relay that is started for a look.
struct OwnUser {
    username: String,
    password: String,
}

impl OwnUser {
    fn new() -> Self {
        OwnUser {
            username: "doctor".to_owned(),
            password: uuid::Uuid::new_v4().to_string(),
        }
    }
}

impl Authenticator for OwnUser {
    fn credentials(&self, claim: Claim<'_>) -> Result<Vec<auth::Credential>, Refusal> {
        if claim.username != self.username {
            return Err(Refusal::Unknown);
        }
        Ok(vec![auth::Credential {
            owner: Owner(0),
            key: claim.key(&self.password),
            epoch: 0,
            expires: None,
            max_allocations: None,
            over_quota: false,
        }])
    }

    fn permits(&self, _: Owner, _: u64) -> Result<(), Loss> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_proc_name_sockets() {
        let line = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 54321 1 0 100 0 0 10 0";
        assert_eq!(socket_at(line, 8080).as_deref(), Some("socket:[54321]"));
        assert_eq!(socket_at(line, 8081), None);
        // A connection from this port.
        assert_eq!(
            socket_at(&line.replace("00000000:0000 0A", "0100007F:0050 01"), 8080),
            None
        );
        assert_eq!(
            socket_at("  sl  local_address rem_address   st", 8080),
            None
        );
    }
}
