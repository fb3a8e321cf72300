//! `moznods serve`, and `moznods relay`, which is the same with less: listeners first, then the data directory, then the service, so that a failed start leaves nothing.

use std::io::{self, ErrorKind, IsTerminal};
use std::iter;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use moznods_storage::{DirectoryLock, SqlStore, backup};
use moznods_turn::net::{BindError, Listeners, Relay};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt, registry};

use super::{Failure, Outcome, running, supervisor};
use crate::app::{App, keep_warnings};
use crate::certificates::{Certificates, Source};
use crate::config::{Config, ConfigError, Flags, Log, LogFormat, Settings, Turn};
use crate::http::{self, Control, Limits, Listener, Surface};
use crate::relay;
use crate::wire::WelcomeJson;

/// What is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Whole,
    /// A relay for other servers.
    Relay,
}

pub async fn run(role: Role, mut config: Config, settings: Settings, flags: Flags) -> Outcome {
    start_logging(&config.log);
    raise_file_limit(&config.turn);
    moznods_turn::net::give_memory_back();
    // Before anything listens: a signal that comes early is not lost.
    let signals = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    let hangup = signal(SignalKind::hangup())?;
    let plain = listen("http.listen", config.http.listen)?;
    let address = plain.local_addr()?;
    config.http.listen = address;
    let certificates = Certificates::load(&config)?;
    let secure = bind_https(&mut config, certificates.https.as_ref())?;
    let relay_listeners = bind_relay(&mut config, certificates.relay.as_ref())?;

    let lock = DirectoryLock::take(&config.data_dir)?;
    backup::remove_leftovers(&config.data_dir);
    let store = match (&config.storage.database, role) {
        (None, _) => SqlStore::open_to_serve(&lock)?,
        (Some(url), Role::Whole) => SqlStore::connect_to_serve(url)?,
        (Some(url), Role::Relay) => SqlStore::connect_to_relay(url)?,
    };
    let control = Control::bind(&config.data_dir)
        .inspect_err(|error| {
            let file = config.data_dir.join(http::CONTROL_FILE);
            tracing::warn!(
                %error, file = %file.display(),
                "no control socket: commands that ask the running server will not find it"
            );
        })
        .ok();
    let app = App::open(config, Arc::new(store)).await?;
    app.put_in_force(settings.clone());
    match role {
        Role::Whole => app.start_background().await,
        Role::Relay => app.start_relaying(),
    }
    if let Some(listeners) = relay_listeners {
        relay::start(&app, listeners).await?;
    }

    let refused = app.metrics.rate_limited.clone();
    let limits = Limits::new(app.config.limits.rates, refused, Arc::clone(&app.abuse));
    let settings = (settings, flags);
    let answers = certificates.shown().cloned();
    let reloaded = (Arc::clone(&app), Arc::clone(&limits));
    certificates.keep(&app);
    tokio::spawn(reload(hangup, reloaded, certificates, settings));

    match role {
        Role::Whole => running::say_welcome(&WelcomeJson::new(&app).await?)?,
        Role::Relay => super::say(format_args!(
            "MOznoDS {} relays at {}; how it is: {}",
            env!("CARGO_PKG_VERSION"),
            app.config.turn.listen,
            app.config.url_at(address)
        ))?,
    }
    tokio::spawn(supervisor::keep_watchdog(Arc::clone(&app)));
    supervisor::ready();
    tracing::info!(%address, "serving");
    let stop = stop(Arc::clone(&app), signals);
    let plain = Listener {
        socket: plain,
        tls: None,
    };
    let listeners = iter::once(plain).chain(secure).collect();
    let shown = match role {
        Role::Whole => Surface::Whole,
        Role::Relay => Surface::Relay,
    };
    http::serve(
        (Arc::clone(&app), shown),
        limits,
        listeners,
        answers,
        control,
        stop,
    )
    .await;
    app.settle().await;
    tracing::info!("stopped");
    Ok(())
}

/// The socket of HTTPS, where there is a certificate; the setting then names the port that was found.
fn bind_https(
    config: &mut Config,
    certificate: Option<&Source>,
) -> Result<Option<Listener>, Failure> {
    let (Some(https), Some(certificate)) = (&mut config.http.https, certificate) else {
        return Ok(None);
    };
    let socket = listen("http.tls_listen", https.listen)?;
    https.listen = socket.local_addr()?;
    let tls = http::tls_config(certificate, config.turn.enabled).map_err(io::Error::other)?;
    let tls = Some(tls);
    Ok(Some(Listener { socket, tls }))
}

/// The relay's listening sockets, where it is enabled; the setting then names the port that was found.
pub(super) fn bind_relay(
    config: &mut Config,
    certificate: Option<&Source>,
) -> Result<Option<Listeners>, Failure> {
    let turn = &mut config.turn;
    if !turn.enabled {
        return Ok(None);
    }
    let workers = match turn.workers {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        workers => workers,
    };
    let failed = |key, address| {
        move |error: BindError| Failure::Listen {
            key,
            address,
            transport: error.transport,
            why: error.source,
        }
    };
    let mut listeners =
        Listeners::bind(turn.listen, workers).map_err(failed("turn.listen", turn.listen))?;
    listeners = listeners.behind(turn.proxy_protocol.clone());
    turn.listen = listeners.address();
    relay::check_alternate(turn)??;
    if let Some(alternate) = &turn.alternate {
        let address = SocketAddr::new(turn.listen.ip(), alternate.port);
        listeners = listeners
            .with_port(alternate.port)
            .map_err(failed("turn.alternate_port", address))?;
    }
    if let (Some(tls), Some(certificate)) = (&mut turn.tls, certificate) {
        listeners = listeners
            .with_tls(tls.listen, &Arc::new(certificate.clone()))
            .map_err(failed("turn.tls_listen", tls.listen))?;
        tls.listen = listeners.tls_address().unwrap_or(tls.listen);
    }
    Ok(Some(listeners))
}

/// At each SIGHUP reads again what may change while the server runs. What cannot be used leaves all as it was.
async fn reload(
    mut hangup: Signal,
    (app, limits): (Arc<App>, Arc<Limits>),
    certificates: Certificates,
    (settings, flags): (Settings, Flags),
) {
    while hangup.recv().await.is_some() {
        supervisor::reloading();
        certificates.reload();
        if let Err(error) = reload_settings(&app, &limits, &settings, &flags) {
            tracing::error!(%error, "the settings stay as they were");
        }
        if let Err(error) = app.look_again().await {
            tracing::error!(%error, "the secrets of the relay could not be read again");
        }
        supervisor::ready();
    }
}

/// Puts those settings in force that may change, and names others that differ from those of the start.
fn reload_settings(
    app: &App,
    limits: &Limits,
    started: &Settings,
    flags: &Flags,
) -> Result<(), ConfigError> {
    let settings = Settings::collect(flags)?;
    let config = Config::check(&settings)?;
    let fixed = started.fixed_changes(&settings);
    if !fixed.is_empty() {
        let settings = fixed.join(", ");
        tracing::warn!(%settings, "these take effect at the next start of the server");
    }
    relay::reload(app, &config);
    limits.change(config.limits.rates);
    app.abuse.change(config.limits.bans);
    app.set_room_limits(&config.limits);
    app.put_in_force(started.reloaded(&settings));
    tracing::info!("the settings have been read again");
    Ok(())
}

/// Each connection is an open file, and so is each allocation of the relay.
fn raise_file_limit(turn: &Turn) {
    let wanted = turn.relay_ports.len() as u64;
    match moznods_turn::net::raise_file_limit() {
        Ok(limit) if turn.enabled && limit < wanted => {
            tracing::info!(
                limit,
                "open files, and with them calls, are limited to this many"
            );
        }
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "cannot raise the limit of open files"),
    }
}

/// `[::]` means IPv4 too, and is IPv4 alone where the machine has no IPv6.
pub(super) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let open = |address: SocketAddr| -> io::Result<TcpListener> {
        let socket = Socket::new(
            Domain::for_address(address),
            Type::STREAM,
            Some(Protocol::TCP),
        )?;
        if address.is_ipv6() {
            socket.set_only_v6(false)?;
        }
        // Connections of a server that ran a moment ago do not hold the port.
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(1024)?;
        TcpListener::from_std(socket.into())
    };
    match open(address) {
        Err(error)
            if address.is_ipv6()
                && address.ip().is_unspecified()
                && !matches!(
                    error.kind(),
                    ErrorKind::AddrInUse | ErrorKind::PermissionDenied
                ) =>
        {
            open((Ipv4Addr::UNSPECIFIED, address.port()).into())
        }
        result => result,
    }
}

fn listen(key: &'static str, address: SocketAddr) -> Result<TcpListener, Failure> {
    bind(address).map_err(|why| Failure::Listen {
        key,
        address,
        transport: "TCP",
        why,
    })
}

/// Ends when the program is to stop: after a signal, and where calls are to go on for a while, after the last of them,
/// that while, or a second signal.
async fn stop(app: Arc<App>, (mut terminate, mut interrupt): (Signal, Signal)) {
    let mut signalled = async || {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    signalled().await;
    let drain = app.config.turn.drain;
    supervisor::stopping(drain);
    if let Some(relay) = app.relay()
        && !drain.is_zero()
    {
        relay.drain();
        app.tell_of_relay();
        let (allocations, seconds) = (relay.allocations(), drain.as_secs());
        tracing::info!(allocations, seconds, "draining: no new calls are relayed");
        tokio::select! {
            () = tokio::time::sleep(drain) => {}
            () = ended(relay) => {}
            () = signalled() => {}
        }
    }
    app.tell_of_end();
    tracing::info!("stopping");
}

async fn ended(relay: &Relay) {
    let mut looks = tokio::time::interval(Duration::from_millis(200));
    while relay.allocations() > 0 {
        looks.tick().await;
    }
}

/// Writes each event as one line, whatever was put into it: what somebody chose, a name or what another program said, cannot
/// look like an event of its own.
struct OneLine<W>(W);

impl<W: io::Write> io::Write for OneLine<W> {
    /// An event comes as a whole, with the end of its line.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let (text, end) = match event.strip_suffix(b"\n") {
            Some(text) => (text, &b"\n"[..]),
            None => (event, &b""[..]),
        };
        if !text.iter().any(|byte| matches!(byte, b'\n' | b'\r')) {
            self.0.write_all(event)?;
            return Ok(event.len());
        }
        let mut line = Vec::with_capacity(event.len() + 16);
        for byte in text {
            match byte {
                b'\n' => line.extend(b"\\n"),
                b'\r' => line.extend(b"\\r"),
                byte => line.push(*byte),
            }
        }
        line.extend(end);
        self.0.write_all(&line)?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

fn start_logging(log: &Log) {
    let written = fmt::layer().with_writer(|| OneLine(io::stderr()));
    let written = match log.format {
        LogFormat::Human => written.with_ansi(std::io::stderr().is_terminal()).boxed(),
        LogFormat::Json => written.json().boxed(),
    };
    registry()
        .with(written.with_filter(EnvFilter::new(&log.level)))
        .with(keep_warnings())
        .init();
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn an_event_is_one_line_whatever_was_put_into_it() {
        let mut written = Vec::new();
        let mut log = OneLine(&mut written);
        log.write_all(b"INFO serving\n").unwrap();
        let named = "WARN error=no such name: x\n2026 INFO abuse: refused\r\n тест\n";
        log.write_all(named.as_bytes()).unwrap();
        let expected =
            "INFO serving\nWARN error=no such name: x\\n2026 INFO abuse: refused\\r\\n тест\n";
        assert_eq!(String::from_utf8(written).unwrap(), expected);
    }
}
