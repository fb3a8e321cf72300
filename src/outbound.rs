//! The one HTTP client of the house, for servers elsewhere: push services, the provider of a sign-in. What it may reach is
//! said with each request; an answer is bounded in time and in size. Redirects are the caller's matter: none is followed. What is
//! kept for others in a store of objects goes by [`Pooled`], which names no end.

mod pooled;

pub use pooled::Pooled;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderValue};
use hyper::{Request, Response, Uri};
use hyper_util::rt::TokioIo;
use ipnet::IpNet;
use moznods_turn::policy::is_public;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio_rustls::TlsConnector;

/// For one address to answer; there may be others.
const CONNECT: Duration = Duration::from_secs(4);
/// Addresses of a name that are tried.
const MAX_ADDRESSES: usize = 4;
/// Bytes of an answer's head.
const MAX_HEAD: usize = 16 * 1024;

/// Where a request may go.
#[derive(Debug, Clone, Copy)]
pub enum Reach<'a> {
    /// Whom an administrator has named: any address, over TLS or not.
    Anywhere,
    /// Whom somebody else has named: public addresses that are not this machine's, and these networks; over TLS alone.
    Public { and: &'a [IpNet] },
}

/// How long the whole may take, and how long the answer's body may be.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    pub within: Duration,
    /// Bytes.
    pub body: usize,
}

/// No text of these names more of the URL than its host.
#[derive(Debug, thiserror::Error)]
pub enum OutboundError {
    #[error("not a URL of a server")]
    BadUrl,
    #[error("its address is not public")]
    NotPublic,
    #[error("its name is not known: {0}")]
    Name(io::Error),
    #[error("cannot be reached: {0}")]
    Connect(io::Error),
    #[error("no certificates of authorities on this machine")]
    NoRoots,
    #[error("HTTP: {0}")]
    Http(#[from] hyper::Error),
    #[error("its answer is too long")]
    TooLong,
    #[error("does not answer in time")]
    TimedOut,
}

/// Trusts the authorities of this machine, which are read when they are first needed.
#[derive(Default)]
pub struct Outbound {
    tls: OnceCell<TlsConnector>,
}

impl Outbound {
    /// Sends one request, whose URL is absolute, on a connection of its own.
    pub async fn fetch(
        &self,
        request: Request<impl Into<Bytes>>,
        reach: Reach<'_>,
        bounds: Bounds,
    ) -> Result<Response<Bytes>, OutboundError> {
        let fetch = self.fetch_unhurried(request, reach, bounds.body);
        tokio::time::timeout(bounds.within, fetch)
            .await
            .unwrap_or(Err(OutboundError::TimedOut))
    }

    async fn fetch_unhurried(
        &self,
        request: Request<impl Into<Bytes>>,
        reach: Reach<'_>,
        max_body: usize,
    ) -> Result<Response<Bytes>, OutboundError> {
        let place = Place::of(request.uri()).ok_or(OutboundError::BadUrl)?;
        if !place.tls && !matches!(reach, Reach::Anywhere) {
            return Err(OutboundError::BadUrl);
        }
        let (mut head, body) = request.into_parts();
        head.headers.insert(HOST, place.authority.clone());
        head.uri = head
            .uri
            .path_and_query()
            .map_or_else(|| Uri::from_static("/"), |path| Uri::from(path.clone()));
        let request = Request::from_parts(head, Full::new(body.into()));

        let stream = place.connect(reach).await?;
        if !place.tls {
            return exchange(stream, request, max_body).await;
        }
        let name = ServerName::try_from(place.host.clone()).map_err(|_| OutboundError::BadUrl)?;
        let connector = self.tls.get_or_try_init(tls).await?;
        let stream = connector
            .connect(name, stream)
            .await
            .map_err(OutboundError::Connect)?;
        exchange(stream, request, max_body).await
    }
}

/// Which server a URL names.
struct Place {
    /// A name or an address, without brackets.
    host: String,
    port: u16,
    tls: bool,
    /// As it stands in the URL.
    authority: HeaderValue,
}

impl Place {
    fn of(url: &Uri) -> Option<Self> {
        let tls = match url.scheme_str()? {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let authority = url.authority()?;
        if authority.as_str().contains('@') {
            return None;
        }
        let default = if tls { 443 } else { 80 };
        let port = match authority.as_str().strip_prefix(authority.host())? {
            "" => default,
            _ => authority.port_u16()?,
        };
        Some(Place {
            host: bare_host(authority.host()).to_owned(),
            port,
            tls,
            authority: HeaderValue::from_str(authority.as_str()).ok()?,
        })
    }

    /// To an address that has been found to be allowed, and to no other: a name is asked for once.
    async fn connect(&self, reach: Reach<'_>) -> Result<TcpStream, OutboundError> {
        let found = tokio::net::lookup_host((self.host.as_str(), self.port))
            .await
            .map_err(OutboundError::Name)?;
        let own = own_addresses();
        let allowed: Vec<SocketAddr> = found
            .filter(|address| allows(reach, address.ip(), &own))
            .take(MAX_ADDRESSES)
            .collect();
        let mut failed = OutboundError::NotPublic;
        for address in allowed {
            match tokio::time::timeout(CONNECT, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => failed = OutboundError::Connect(error),
                Err(_) => failed = OutboundError::TimedOut,
            }
        }
        Err(failed)
    }
}

/// Without the brackets of an IPv6 address.
fn bare_host(host: &str) -> &str {
    host.strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host)
}

/// Whether a request could be sent to this URL at all.
pub fn names_a_server(url: &Uri) -> bool {
    Place::of(url).is_some_and(|place| !place.host.is_empty())
}

/// Whether the host of a URL is written as an address that may not be reached. A name is judged when it is used.
pub fn is_refused_address(url: &Uri, reach: Reach<'_>) -> bool {
    let address = url.host().and_then(|host| bare_host(host).parse().ok());
    address.is_some_and(|address| !allows(reach, address, &own_addresses()))
}

fn allows(reach: Reach<'_>, address: IpAddr, own: &[IpAddr]) -> bool {
    let address = address.to_canonical();
    match reach {
        Reach::Anywhere => true,
        Reach::Public { and } => {
            and.iter().any(|network| network.contains(&address))
                || (is_public(address) && !own.contains(&address))
        }
    }
}

/// Of this machine: what listens there may trust what comes from here.
fn own_addresses() -> Vec<IpAddr> {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    interfaces.iter().map(if_addrs::Interface::ip).collect()
}

async fn tls() -> Result<TlsConnector, OutboundError> {
    let found = tokio::task::spawn_blocking(rustls_native_certs::load_native_certs)
        .await
        .map_err(|_| OutboundError::NoRoots)?;
    let mut roots = RootCertStore::empty();
    let (read, _) = roots.add_parsable_certificates(found.certs);
    if read == 0 {
        return Err(OutboundError::NoRoots);
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| OutboundError::Connect(io::Error::other(error)))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

async fn exchange<S>(
    stream: S,
    request: Request<Full<Bytes>>,
    max_body: usize,
) -> Result<Response<Bytes>, OutboundError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(MAX_HEAD)
        .handshake(TokioIo::new(stream))
        .await?;
    let answered = async {
        let response = sender.send_request(request).await?;
        let (head, body) = response.into_parts();
        Ok(Response::from_parts(head, read(body, max_body).await?))
    };
    tokio::pin!(answered);
    // Driven here, so that it ends with whoever waits no longer.
    tokio::select! {
        answer = &mut answered => answer,
        ended = connection => {
            ended?;
            answered.await
        }
    }
}

async fn read(mut body: Incoming, max: usize) -> Result<Bytes, OutboundError> {
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            if whole.len() + data.len() > max {
                return Err(OutboundError::TooLong);
            }
            whole.extend_from_slice(&data);
        }
    }
    Ok(whole.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(url: &str) -> Option<(String, u16, bool)> {
        let place = Place::of(&url.parse().unwrap())?;
        Some((place.host, place.port, place.tls))
    }

    #[test]
    fn a_url_names_a_server() {
        let of = |host: &str, port, tls| Some((host.to_owned(), port, tls));
        assert_eq!(
            place("https://push.example/a?b"),
            of("push.example", 443, true)
        );
        assert_eq!(place("http://[::1]:81/"), of("::1", 81, false));
        assert_eq!(place("ftp://push.example/"), None);
        assert_eq!(place("https://user@push.example/"), None);
        assert_eq!(place("/path"), None);
        assert_eq!(place("https://push.example:99999/"), None);
    }

    #[test]
    fn whom_somebody_names_has_a_public_address() {
        let private: Vec<IpNet> = vec!["10.1.0.0/16".parse().unwrap()];
        let own: Vec<IpAddr> = vec!["8.8.4.4".parse().unwrap()];
        let may = |address: &str| {
            allows(
                Reach::Public { and: &private },
                address.parse().unwrap(),
                &own,
            )
        };
        for address in ["8.8.8.8", "2a00:1450::1", "10.1.2.3", "::ffff:10.1.2.3"] {
            assert!(may(address), "{address}");
        }
        for address in [
            "127.0.0.1",
            "10.2.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "::1",
            "::",
            "fe80::1",
            "fd00::1",
            "::ffff:127.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "8.8.4.4",
            "::ffff:8.8.4.4",
            "224.0.0.1",
        ] {
            assert!(!may(address), "{address}");
            assert!(allows(Reach::Anywhere, address.parse().unwrap(), &own));
        }
    }

    #[test]
    fn an_address_is_refused_before_it_is_used() {
        let refused =
            |url: &str| is_refused_address(&url.parse().unwrap(), Reach::Public { and: &[] });
        assert!(refused("https://127.0.0.1/x") && refused("https://[::1]:444/x"));
        assert!(!refused("https://8.8.8.8/x") && !refused("https://localhost/x"));
    }

    #[tokio::test]
    async fn nothing_is_sent_to_a_name_of_this_machine() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let url = format!(
            "https://localhost:{}/",
            listener.local_addr().unwrap().port()
        );
        let bounds = Bounds {
            within: Duration::from_secs(5),
            body: 10,
        };
        let request = || Request::get(&url).body("").unwrap();
        let outbound = Outbound::default();
        let reach = Reach::Public { and: &[] };
        let refused = outbound.fetch(request(), reach, bounds).await;
        assert!(
            matches!(refused, Err(OutboundError::NotPublic)),
            "{refused:?}"
        );
        assert_eq!(
            listener.accept().unwrap_err().kind(),
            io::ErrorKind::WouldBlock
        );
        let plain = Request::get("http://8.8.8.8/").body("").unwrap();
        let refused = outbound.fetch(plain, reach, bounds).await;
        assert!(matches!(refused, Err(OutboundError::BadUrl)), "{refused:?}");
    }

    #[tokio::test]
    async fn an_answer_is_bounded() {
        let answer = |body: usize, head: usize| async move {
            use tokio::io::{AsyncReadExt, AsyncWriteExt};
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}/a?b", listener.local_addr().unwrap());
            let serve = async {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut asked = [0; 1024];
                let length = stream.read(&mut asked).await.unwrap();
                let asked = String::from_utf8_lossy(&asked[..length]).into_owned();
                let (pad, text) = ("h".repeat(head), "b".repeat(body));
                let answer =
                    format!("HTTP/1.1 200 OK\r\nX: {pad}\r\nContent-Length: {body}\r\n\r\n{text}");
                // It may have been refused half-way.
                let _ = stream.write_all(answer.as_bytes()).await;
                asked
            };
            let outbound = Outbound::default();
            let bounds = Bounds {
                within: Duration::from_secs(5),
                body: 100,
            };
            let request = Request::get(url).body("").unwrap();
            tokio::join!(outbound.fetch(request, Reach::Anywhere, bounds), serve)
        };
        let (got, asked) = answer(100, 10).await;
        assert_eq!(got.unwrap().body().len(), 100);
        assert!(
            asked.starts_with("GET /a?b HTTP/1.1\r\nhost: 127.0.0.1:"),
            "{asked}"
        );
        let (got, _) = answer(101, 10).await;
        assert!(matches!(got, Err(OutboundError::TooLong)), "{got:?}");
        let (got, _) = answer(1, MAX_HEAD).await;
        assert!(matches!(got, Err(OutboundError::Http(_))), "{got:?}");
    }

    #[tokio::test]
    async fn who_does_not_answer_is_given_up() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let bounds = Bounds {
            within: Duration::from_millis(50),
            body: 100,
        };
        let request = Request::get(url).body("").unwrap();
        let got = Outbound::default()
            .fetch(request, Reach::Anywhere, bounds)
            .await;
        assert!(matches!(got, Err(OutboundError::TimedOut)), "{got:?}");
    }
}
