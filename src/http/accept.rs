//! Accepts connections and speaks HTTP/1.1 on them; unlike axum's own loop it gives up on those that never finish
//! a request's head or never read an answer, and on more than the machine can hold. What else comes over TLS is left
//! to `tls`.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_io_timeout::TimeoutStream;

use super::connections::Seat;
use super::{Edge, balanced, client, tls};

/// For the whole head of a request to come, or for a handshake; also how long a connection may wait for its next request.
pub(super) const HEAD_WAIT: Duration = Duration::from_secs(15);
/// For the other side to take something of what waits for it.
pub(super) const WRITE_WAIT: Duration = Duration::from_secs(20);
/// Bytes of a request's head, and of answers that wait to be taken.
pub(super) const MAX_HEAD: usize = 32 * 1024;
/// Before another try when the machine has no more to give, such as file descriptors.
pub(super) const PAUSE: Duration = Duration::from_millis(100);
/// Between two complaints of that.
const COMPLAIN_EVERY: Duration = Duration::from_secs(1);

/// Where clients arrive.
pub struct Listener {
    pub socket: TcpListener,
    /// `None`: they speak HTTP as it is.
    pub tls: Option<Arc<ServerConfig>>,
}

/// How a request came: put into its extensions.
#[derive(Debug, Clone, Copy)]
pub struct Way {
    pub peer: SocketAddr,
    pub is_secure: bool,
    /// Whether the TLS that it came over ends here.
    pub has_tls: bool,
    /// Whether a balancer has told who the peer is.
    pub is_balanced: bool,
}

/// A connection before anything is spoken over it.
pub(super) struct Arrived {
    pub stream: TcpStream,
    pub way: Way,
    pub seat: Seat,
}

/// Accepts until `stop` ends. A connection ends, after the request it is at, when the sender of `serving` is gone.
pub async fn until(
    stop: impl Future<Output = ()>,
    listener: Listener,
    edge: Arc<Edge>,
    serving: watch::Receiver<()>,
) {
    let router = super::router(Arc::clone(&edge));
    let mut stop = pin!(stop);
    let mut complained: Option<Instant> = None;
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut stop => return,
            accepted = listener.socket.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let address = peer.ip().to_canonical();
                let counted = client::counted(&edge, address);
                let Ok(seat) = edge.connections.seat(counted, PAUSE) else {
                    tracing::debug!("too many connections: one more is closed");
                    continue;
                };
                // Frames are small and wanted at once. Without it they are late, not wrong.
                let _ = stream.set_nodelay(true);
                let arrived = Arrived {
                    stream,
                    way: Way {
                        peer,
                        is_secure: false,
                        has_tls: false,
                        is_balanced: false,
                    },
                    seat,
                };
                let (tls, edge) = (listener.tls.clone(), Arc::clone(&edge));
                let (router, serving) = (router.clone(), serving.clone());
                tokio::spawn(async move {
                    let Some(arrived) = balanced::told(arrived, &edge, serving.clone()).await
                    else {
                        return;
                    };
                    let Arrived { stream, way, seat } = arrived;
                    match tls {
                        None => serve(stream, way, router, serving).await,
                        Some(config) => {
                            let app = Arc::clone(&edge.app);
                            tls::serve(stream, way, config, router, app, serving).await;
                        }
                    }
                    drop(seat);
                });
            }
            Err(error) => {
                if complained.is_none_or(|when| when.elapsed() >= COMPLAIN_EVERY) {
                    tracing::warn!(%error, "cannot accept a connection");
                    complained = Some(Instant::now());
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Up to the end of the connection, or to its becoming a WebSocket.
pub(super) async fn serve(
    stream: impl AsyncRead + AsyncWrite + Send + 'static,
    way: Way,
    router: Router,
    mut serving: watch::Receiver<()>,
) {
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(WRITE_WAIT));
    let service = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(way);
        service.call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WAIT)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(Box::pin(stream)), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    let result = tokio::select! {
        result = &mut connection => result,
        _ = serving.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::trace!(%error, "a connection ended early");
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
    use tokio::time::timeout;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// The client's end of a connection whose requests get long answers, and the end of its serving.
    fn connection() -> (DuplexStream, impl Future<Output = ()>) {
        let router = Router::new().route("/", get(|| async { "x".repeat(10_000) }));
        let (ours, theirs) = tokio::io::duplex(1024);
        let (still, serving) = watch::channel(());
        let way = Way {
            peer: (Ipv4Addr::LOCALHOST, 1).into(),
            is_secure: false,
            has_tls: false,
            is_balanced: false,
        };
        let served = async move {
            serve(theirs, way, router, serving).await;
            drop(still);
        };
        (ours, served)
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_does_not_end_ends_the_connection() {
        for start in ["", "GET / HTTP/1.1\r\nHost: x\r\n"] {
            let (mut client, served) = connection();
            client.write_all(start.as_bytes()).await.unwrap();
            timeout(HEAD_WAIT + SECOND, served).await.expect("an end");
        }
        let (mut client, served) = connection();
        let endless = async move {
            client.write_all(b"GET / HTTP/1.1\r\nX: ").await?;
            let mut sent = 0;
            while sent <= 2 * MAX_HEAD {
                client.write_all(&[b'x'; 512]).await?;
                sent += 512;
            }
            Ok::<_, std::io::Error>(())
        };
        let (_, sent) = tokio::join!(served, endless);
        assert!(sent.is_err(), "it is not taken");
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_and_does_not_read_is_dropped() {
        let (mut client, served) = connection();
        let request = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
        client.write_all(&request.repeat(20)).await.unwrap();
        timeout(WRITE_WAIT + SECOND, served).await.expect("an end");
    }

    #[tokio::test(start_paused = true)]
    async fn who_reads_slowly_gets_all_of_it() {
        let (mut client, served) = connection();
        let request = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        client.write_all(request).await.unwrap();
        let reading = async {
            let mut got = Vec::new();
            let mut part = [0; 512];
            loop {
                tokio::time::sleep(WRITE_WAIT / 2).await;
                match client.read(&mut part).await.unwrap() {
                    0 => return got,
                    count => got.extend_from_slice(&part[..count]),
                }
            }
        };
        let ((), got) = tokio::join!(served, reading);
        assert!(got.ends_with(&[b'x'; 10_000]));
    }
}
