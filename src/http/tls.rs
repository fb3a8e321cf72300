//! What comes over TLS: the handshake, and which protocol is spoken then.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::http::Request;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::app::App;
use crate::certificates::{ACME_TLS, Source};

use super::accept::{self, HEAD_WAIT, MAX_HEAD, WRITE_WAIT, Way};

const HTTP1: &[u8] = b"http/1.1";
const HTTP2: &[u8] = b"h2";

/// How long a connection of HTTP/2 may be without a request, or without taking anything of an answer.
const IDLE: Duration = Duration::from_secs(60);
/// Whether the other side is still there is asked this often.
const ASK: Duration = Duration::from_secs(20);
/// Requests of one connection at the same time.
const MAX_STREAMS: u32 = 64;
/// Bytes of an answer that wait to be taken.
const MAX_WAITING: usize = 64 << 10;
/// Bytes of requests that wait for a handler, of one connection.
const WINDOW: u32 = 256 << 10;

/// What a listener needs, to serve with this certificate, and clients of the relay as well where there is one.
pub fn config(certificate: &Source, relay: bool) -> Result<Arc<ServerConfig>, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(certificate.clone()));
    let of_relay = match relay {
        true => &moznods_turn::net::tls::ALPN[..],
        false => &[],
    };
    // Those of the relay first: coturn's clients name HTTP beside them, and no browser names them.
    let of_acme = match certificate {
        Source::Acme(_) => &[ACME_TLS][..],
        Source::Files(_) => &[],
    };
    let all = of_relay.iter().chain(&[HTTP2, HTTP1]).chain(of_acme);
    config.alpn_protocols = all.map(|protocol| protocol.to_vec()).collect();
    Ok(Arc::new(config))
}

/// What is spoken over a connection.
#[derive(Debug, Clone, Copy)]
enum Spoken {
    Http1,
    Http2,
    Turn,
    /// Nothing: the handshake was all that was wanted.
    Acme,
}

impl Spoken {
    /// By what was agreed upon in the handshake or, where the client has named nothing, by the first byte that it sends.
    async fn of(stream: &mut TlsStream<TcpStream>) -> io::Result<Self> {
        Ok(match stream.get_ref().1.alpn_protocol() {
            Some(HTTP2) => Spoken::Http2,
            Some(HTTP1) => Spoken::Http1,
            Some(ACME_TLS) => Spoken::Acme,
            Some(_) => Spoken::Turn,
            None => match stream.fill_buf().await?.first() {
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
                // RFC 7983 §7: STUN, with which a client of TURN begins; no method of HTTP does.
                Some(0..=3) => Spoken::Turn,
                Some(_) => Spoken::Http1,
            },
        })
    }

    fn as_str(self) -> &'static str {
        match self {
            Spoken::Http1 => "http/1.1",
            Spoken::Http2 => "h2",
            Spoken::Turn => "turn",
            Spoken::Acme => "acme",
        }
    }
}

/// Up to the end of the connection, as [`accept::serve`], or to its being the relay's.
pub(super) async fn serve(
    stream: TcpStream,
    way: Way,
    config: Arc<ServerConfig>,
    router: Router,
    app: Arc<App>,
    mut serving: watch::Receiver<()>,
) {
    let opened = async {
        let mut stream = TlsAcceptor::from(config).accept(stream).await?;
        let spoken = Spoken::of(&mut stream).await?;
        io::Result::Ok((stream, spoken))
    };
    let opened = tokio::select! {
        opened = timeout(HEAD_WAIT, opened) => opened,
        _ = serving.changed() => return,
    };
    let (stream, spoken) = match opened.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
        Ok(opened) => opened,
        Err(error) => {
            app.metrics.tls_connection("failed");
            tracing::trace!(%error, "a handshake failed");
            return;
        }
    };
    app.metrics.tls_connection(spoken.as_str());
    let way = Way {
        is_secure: true,
        has_tls: true,
        ..way
    };
    match (spoken, app.relay()) {
        (Spoken::Turn, Some(relay)) => {
            let (socket, tls) = stream.into_inner();
            let adopted = socket
                .into_std()
                .and_then(|socket| relay.adopt(socket, tls, way.peer));
            if let Err(error) = adopted {
                tracing::debug!(%error, "a relay connection could not be taken");
            }
        }
        // RFC 8737 §3.
        (Spoken::Acme, _) => {}
        (Spoken::Http2, _) => serve_http2(stream, way, router, serving).await,
        // HTTP will say what it thinks of what it is not.
        (Spoken::Http1 | Spoken::Turn, _) => accept::serve(stream, way, router, serving).await,
    }
}

/// What goes on in a connection of HTTP/2.
struct Activity {
    begun: Instant,
    /// Requests that have no answer yet.
    at_work: AtomicUsize,
    /// When something has last happened, in milliseconds.
    last: AtomicUsize,
}

impl Activity {
    fn new() -> Arc<Self> {
        Arc::new(Activity {
            begun: Instant::now(),
            at_work: AtomicUsize::new(0),
            last: AtomicUsize::new(0),
        })
    }

    fn stamp(&self) {
        let now = self.begun.elapsed().as_millis();
        self.last.store(
            usize::try_from(now).unwrap_or(usize::MAX),
            Ordering::Relaxed,
        );
    }

    fn work(self: &Arc<Self>) -> Work {
        self.stamp();
        self.at_work.fetch_add(1, Ordering::Relaxed);
        Work(Arc::clone(self))
    }

    /// Ends when nothing has happened for [`IDLE`].
    async fn end(&self) {
        loop {
            let last = Duration::from_millis(self.last.load(Ordering::Relaxed) as u64);
            let left = match self.at_work.load(Ordering::Relaxed) {
                0 => (last + IDLE).saturating_sub(self.begun.elapsed()),
                _ => IDLE,
            };
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left).await;
        }
    }
}

/// A request that is being answered.
struct Work(Arc<Activity>);

impl Drop for Work {
    fn drop(&mut self) {
        self.0.stamp();
        self.0.at_work.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn serve_http2(
    stream: impl AsyncRead + AsyncWrite + Send + 'static,
    way: Way,
    router: Router,
    mut serving: watch::Receiver<()>,
) {
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(WRITE_WAIT));
    let activity = Activity::new();
    let service = TowerToHyperService::new(router);
    let served = Arc::clone(&activity);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(way);
        let work = served.work();
        let answer = service.call(request);
        async move {
            let answer = answer.await?;
            let activity = Arc::clone(&work.0);
            let stamped = answer.map(|body| {
                body.map_frame(move |frame| {
                    activity.stamp();
                    frame
                })
            });
            Ok::<_, std::convert::Infallible>(stamped)
        }
    });
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(ASK)
        .keep_alive_timeout(WRITE_WAIT)
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEAD as u32)
        .max_send_buf_size(MAX_WAITING)
        .initial_connection_window_size(WINDOW)
        .initial_stream_window_size(WINDOW)
        .serve_connection(TokioIo::new(Box::pin(stream)), service);
    let mut connection = pin!(connection);
    let result = tokio::select! {
        result = &mut connection => result,
        _ = serving.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
        () = activity.end() => {
            connection.as_mut().graceful_shutdown();
            // What is left by then is not taken by the other side.
            timeout(WRITE_WAIT, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = result {
        tracing::trace!(%error, "a connection ended early");
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use axum::body::Body;
    use axum::routing::get;
    use hyper::client::conn::http2::{Builder, SendRequest};

    use super::*;

    const LONG: Duration = IDLE.saturating_mul(10);

    /// A client, and the end of its connection's serving.
    async fn connection() -> (SendRequest<Body>, impl Future<Output = ()>) {
        let slowly = || async {
            tokio::time::sleep(3 * IDLE).await;
            "at last"
        };
        let router = Router::new()
            .route("/", get(|| async { "x".repeat(1 << 20) }))
            .route("/slow", get(slowly));
        let (ours, theirs) = tokio::io::duplex(1024);
        let (still, serving) = watch::channel(());
        let way = Way {
            peer: (Ipv4Addr::LOCALHOST, 1).into(),
            is_secure: true,
            has_tls: true,
            is_balanced: false,
        };
        let served = tokio::spawn(async move {
            serve_http2(theirs, way, router, serving).await;
            drop(still);
        });
        let client = Builder::new(TokioExecutor::new())
            .initial_stream_window_size(1024)
            .handshake(TokioIo::new(ours));
        let (sender, connection) = client.await.unwrap();
        tokio::spawn(connection);
        (sender, async { served.await.unwrap() })
    }

    fn request(path: &str) -> Request<Body> {
        let uri = format!("https://localhost{path}");
        Request::get(uri).body(Body::empty()).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_for_nothing_is_dropped() {
        let (_client, served) = connection().await;
        timeout(LONG, served).await.expect("an end");
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_and_does_not_read_is_dropped() {
        let (mut client, served) = connection().await;
        let answer = client.send_request(request("/")).await.unwrap();
        timeout(LONG, served).await.expect("an end");
        answer.into_body().collect().await.unwrap_err();
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_or_reads_gets_all_of_it() {
        let (mut client, served) = connection().await;
        for (path, length) in [("/slow", 7), ("/", 1 << 20)] {
            let answer = client.send_request(request(path)).await.unwrap();
            let body = answer.into_body().collect().await.unwrap();
            assert_eq!(body.to_bytes().len(), length);
        }
        timeout(LONG, served).await.expect("an end");
    }
}
