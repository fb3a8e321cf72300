//! Requests to a store of objects: connections are kept, bodies are streamed, and none waits without end.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::Uri;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use object_store::client::{
    HttpError, HttpErrorKind, HttpRequest, HttpRequestBody, HttpResponse, HttpResponseBody,
    HttpService,
};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::{Outbound, OutboundError, Place, Reach, tls};

/// For the head of an answer, beside what its request takes.
const HEAD: Duration = Duration::from_secs(20);
/// Bytes of a request's body per second that are waited for.
const LEAST_RATE: u64 = 64 * 1024;
/// For the next piece of an answer.
const IDLE: Duration = Duration::from_secs(20);
/// For which a connection is kept that nobody uses: less than servers do.
const KEPT: Duration = Duration::from_secs(15);
/// Connections that are kept.
const MAX_KEPT: usize = 8;

/// Sends to whom an administrator has named.
#[derive(Clone)]
pub struct Pooled(Client<Connector, HttpRequestBody>);

impl std::fmt::Debug for Pooled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pooled")
    }
}

impl Pooled {
    pub fn new(outbound: Arc<Outbound>) -> Self {
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(KEPT)
            .pool_max_idle_per_host(MAX_KEPT)
            .build(Connector(outbound));
        Pooled(client)
    }
}

#[async_trait::async_trait]
impl HttpService for Pooled {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let length = request.body().content_length() as u64;
        let within = HEAD + Duration::from_secs(length / LEAST_RATE);
        let answer = match tokio::time::timeout(within, self.0.request(request)).await {
            Ok(answer) => answer.map_err(failed)?,
            Err(_) => return Err(timed_out()),
        };
        Ok(answer.map(|body| {
            HttpResponseBody::new(Unhurried {
                body,
                waiting: false,
                due: Box::pin(tokio::time::sleep(IDLE)),
            })
        }))
    }
}

fn timed_out() -> HttpError {
    HttpError::new(HttpErrorKind::Timeout, OutboundError::TimedOut)
}

fn failed(error: Error) -> HttpError {
    let kind = match error.is_connect() {
        true => HttpErrorKind::Connect,
        false => HttpErrorKind::Interrupted,
    };
    // What went wrong stands at the end of the chain.
    let mut cause: &(dyn std::error::Error + 'static) = &error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    HttpError::new(kind, std::io::Error::other(cause.to_string()))
}

/// An answer of which each piece is waited for so long.
struct Unhurried {
    body: Incoming,
    /// Somebody has asked for the next piece; otherwise time does not count.
    waiting: bool,
    due: Pin<Box<Sleep>>,
}

impl Body for Unhurried {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(frame) => {
                self.waiting = false;
                let failed = |error| HttpError::new(HttpErrorKind::Interrupted, error);
                Poll::Ready(frame.map(|frame| frame.map_err(failed)))
            }
            Poll::Pending => {
                if !std::mem::replace(&mut self.waiting, true) {
                    self.due.as_mut().reset(Instant::now() + IDLE);
                }
                ready!(self.due.as_mut().poll(cx));
                Poll::Ready(Some(Err(timed_out())))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[derive(Clone)]
struct Connector(Arc<Outbound>);

impl tower_service::Service<Uri> for Connector {
    type Response = TokioIo<Stream>;
    type Error = OutboundError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, OutboundError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), OutboundError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, url: Uri) -> Self::Future {
        let outbound = Arc::clone(&self.0);
        Box::pin(async move {
            let place = Place::of(&url).ok_or(OutboundError::BadUrl)?;
            let stream = place.connect(Reach::Anywhere).await?;
            let _ = stream.set_nodelay(true);
            if !place.tls {
                return Ok(TokioIo::new(Stream(Box::new(stream))));
            }
            let name =
                ServerName::try_from(place.host.clone()).map_err(|_| OutboundError::BadUrl)?;
            let connector = outbound.tls.get_or_try_init(tls).await?;
            let connecting = tokio::time::timeout(HEAD, connector.connect(name, stream)).await;
            let stream = connecting
                .map_err(|_| OutboundError::TimedOut)?
                .map_err(OutboundError::Connect)?;
            Ok(TokioIo::new(Stream(Box::new(stream))))
        })
    }
}

trait Transport: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Transport for T {}

/// A connection, over TLS or not.
struct Stream(Box<dyn Transport>);

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
