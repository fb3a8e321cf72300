//! `moznods serve`: listeners first, then the data directory, then the service, so that a failed start leaves nothing.

use std::io::{ErrorKind, IsTerminal};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use moznods_storage::{DirectoryLock, SqliteStore};
use moznods_turn::net::tls::Certificate;
use moznods_turn::net::{BindError, Listeners, Relay};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

use super::{Failure, Outcome, say};
use crate::app::App;
use crate::config::{Config, Log, LogFormat, Turn};
use crate::{http, relay};

pub async fn run(mut config: Config) -> Outcome {
    start_logging(&config.log);
    raise_file_limit(&config.turn);
    // Before anything listens: a signal that comes early is not lost.
    let signals = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    let listener = bind(config.http.listen).map_err(|why| Failure::Listen {
        key: "http.listen",
        address: config.http.listen,
        transport: "TCP",
        why,
    })?;
    let address = listener.local_addr()?;
    let certificate = match &config.turn.tls {
        Some(tls) if config.turn.enabled => Some(Certificate::load(&tls.cert, &tls.key)?),
        _ => None,
    };
    let relay_listeners = bind_relay(&mut config, certificate.as_ref())?;

    let lock = DirectoryLock::take(&config.data_dir)?;
    let store = SqliteStore::open_to_serve(&lock)?;
    let app = App::open(config, Arc::new(store)).await?;
    app.start_background();
    if let Some(listeners) = relay_listeners {
        relay::start(&app, listeners).await?;
    }

    tokio::spawn(reload(signal(SignalKind::hangup())?, certificate));

    announce(&app, address).await?;
    tracing::info!(%address, "serving");
    http::serve(Arc::clone(&app), listener, stop(Arc::clone(&app), signals)).await;
    app.settle().await;
    tracing::info!("stopped");
    Ok(())
}

/// The relay's listening sockets, where it is enabled; the setting then names the port that was found.
fn bind_relay(
    config: &mut Config,
    certificate: Option<&Arc<Certificate>>,
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
    turn.listen = listeners.address();
    if let (Some(tls), Some(certificate)) = (&mut turn.tls, certificate) {
        listeners = listeners
            .with_tls(tls.listen, certificate)
            .map_err(failed("turn.tls_listen", tls.listen))?;
        tls.listen = listeners.tls_address().unwrap_or(tls.listen);
    }
    Ok(Some(listeners))
}

/// Reads the certificate again at each SIGHUP; nobody is disconnected.
async fn reload(mut hangup: Signal, certificate: Option<Arc<Certificate>>) {
    while hangup.recv().await.is_some() {
        match certificate.as_ref().map(|certificate| certificate.reload()) {
            Some(Ok(())) => tracing::info!("the certificate has been read again"),
            Some(Err(error)) => tracing::error!(%error, "the certificate stays as it was"),
            None => tracing::info!("there is no certificate to read again"),
        }
    }
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
fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let open = |address: SocketAddr| {
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

/// Where to go and what is needed there, for the one who has started the server; not for logs.
async fn announce(app: &App, address: SocketAddr) -> Outcome {
    let url = match &app.config.public_url {
        Some(url) => url.clone(),
        None if address.ip().is_unspecified() => format!("http://localhost:{}", address.port()),
        None => format!("http://{address}"),
    };
    say(format_args!(
        "MOznoDS {} serves {url}",
        env!("CARGO_PKG_VERSION")
    ))?;
    if let Some(token) = app.make_setup_token().await? {
        say(format_args!(
            "Become the administrator (once): {url}/#/setup/{token}"
        ))?;
    }
    if let Some(code) = app.invite_code() {
        say(format_args!(
            "Invite code for registration: {}",
            code.expose()
        ))?;
    }
    Ok(())
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
    if let Some(relay) = app.relay()
        && !drain.is_zero()
    {
        relay.drain();
        let (allocations, seconds) = (relay.allocations(), drain.as_secs());
        tracing::info!(allocations, seconds, "draining: no new calls are relayed");
        tokio::select! {
            () = tokio::time::sleep(drain) => {}
            () = ended(relay) => {}
            () = signalled() => {}
        }
    }
    tracing::info!("stopping");
}

async fn ended(relay: &Relay) {
    let mut looks = tokio::time::interval(Duration::from_millis(200));
    while relay.allocations() > 0 {
        looks.tick().await;
    }
}

fn start_logging(log: &Log) {
    let builder = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(&log.level))
        .with_writer(std::io::stderr);
    match log.format {
        LogFormat::Human => builder.with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormat::Json => builder.json().init(),
    }
}
