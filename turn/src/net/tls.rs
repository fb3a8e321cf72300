//! TLS between client and server (RFC 8656 §2.1, RFC 7443): the certificate, which can be exchanged while the
//! relay runs, and a stream over it.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use mio::net::TcpStream;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, ServerConnection};

/// Protocols that a client may name in its handshake (RFC 7443 §3); it need not.
pub const ALPN: [&[u8]; 2] = [b"stun.turn", b"stun.nat-discovery"];
/// Bytes that are read without any of what they carry having come out: more than a handshake and the largest record.
/// `rustls` alone would hold 64 KiB of a handshake message that is never finished, and there may be thousands.
const MAX_UNREAD: usize = 24 << 10;

/// A certificate and its key, from files.
pub struct Certificate {
    chain: PathBuf,
    key: PathBuf,
    current: RwLock<Arc<CertifiedKey>>,
}

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// One of the files cannot be read, or does not hold what it should.
    #[error("{file}: {why}")]
    Read {
        /// Which one.
        file: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Both were read, and do not belong together or are of a kind that `rustls` does not take.
    #[error("{0}")]
    Unusable(#[from] rustls::Error),
}

impl Certificate {
    /// Reads the chain, the server's own certificate first, and the private key (PKCS #8, PKCS #1 or SEC 1), both
    /// as PEM. Fails when either cannot be read or the key is not the certificate's.
    pub fn load(chain: &Path, key: &Path) -> Result<Arc<Self>, CertificateError> {
        Ok(Arc::new(Certificate {
            current: RwLock::new(read(chain, key)?),
            chain: chain.to_owned(),
            key: key.to_owned(),
        }))
    }

    /// Reads the files again. New connections get what they hold now, existing ones go on; after an error, what was
    /// there before stays.
    pub fn reload(&self) -> Result<(), CertificateError> {
        let new = read(&self.chain, &self.key)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }

    /// The files: the chain, and the key.
    pub fn files(&self) -> [&Path; 2] {
        [&self.chain, &self.key]
    }
}

pub(super) fn server_config(
    certificate: Arc<dyn ResolvesServerCert>,
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(certificate);
    config.alpn_protocols = ALPN.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(Arc::new(config))
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate")
            .field("chain", &self.chain)
            .finish_non_exhaustive()
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(
            &self.current.read().unwrap_or_else(PoisonError::into_inner),
        ))
    }
}

fn read(chain: &Path, key: &Path) -> Result<Arc<CertifiedKey>, CertificateError> {
    let failed = |file: &Path, why: String| CertificateError::Read {
        file: file.to_owned(),
        why,
    };
    let certificates = CertificateDer::pem_file_iter(chain)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|why| failed(chain, why.to_string()))?;
    if certificates.is_empty() {
        return Err(failed(chain, "holds no certificate in PEM".to_owned()));
    }
    let key = PrivateKeyDer::from_pem_file(key).map_err(|why| failed(key, why.to_string()))?;
    let provider = rustls::crypto::ring::default_provider();
    Ok(Arc::new(CertifiedKey::from_der(
        certificates,
        key,
        &provider,
    )?))
}

/// Bytes that one read takes from a socket, so as to leave others their turn.
pub(super) const READ: usize = 32 << 10;
/// Bytes that `rustls` takes at once, so that a handshake that only grows is seen to.
const TAKEN: usize = 4096;
/// Bytes of the largest record, with all that is around what it carries (RFC 8446 §5.2, RFC 5246 §6.2.3).
const RECORD: usize = 5 + (16 << 10) + 2048;

/// Where what streams bring is read to: one for all that take turns.
#[derive(Default)]
pub(super) struct Room {
    /// What is to be handled.
    pub plain: Box<[u8]>,
    /// As it came, of TLS.
    sealed: Box<[u8]>,
}

impl Room {
    /// With so many bytes before those that one read brings.
    pub fn new(before: usize) -> Self {
        // All of a read may belong to a record that had begun before.
        Room {
            plain: vec![0; before + READ + RECORD].into_boxed_slice(),
            sealed: vec![0; READ].into_boxed_slice(),
        }
    }
}

/// What a read brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Brought {
    /// 0 at the end of the stream.
    pub bytes: usize,
    /// Whether the socket had no more.
    pub drained: bool,
}

/// A stream, with or without TLS. Neither reading nor writing ever waits.
pub(super) enum Link {
    Plain(TcpStream),
    Tls(Box<TlsStream>),
}

pub(super) struct TlsStream {
    socket: TcpStream,
    connection: ServerConnection,
    /// Bytes since something has last come out of what was read.
    unread: usize,
    /// Bytes that are missing of the record that `connection` waits for.
    missing: usize,
    /// Whether nothing that comes counts any more, and why.
    over: Option<Over>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Over {
    /// The other side has said that nothing more comes.
    Ended,
    /// What came was not what it should be.
    Broken,
}

impl Link {
    pub fn tls(socket: TcpStream, config: &Arc<ServerConfig>) -> Result<Self, rustls::Error> {
        let connection = ServerConnection::new(Arc::clone(config))?;
        Ok(Self::over(socket, connection))
    }

    fn over(socket: TcpStream, connection: ServerConnection) -> Self {
        Link::Tls(Box::new(TlsStream {
            socket,
            connection,
            unread: 0,
            // Where a record has come in part this is wrong, and more is moved than need be.
            missing: 0,
            over: None,
        }))
    }

    /// One whose handshake somebody else has done, and what has come since: no more than `rustls` keeps, some 32 KiB.
    pub fn adopted(socket: TcpStream, mut connection: ServerConnection) -> (Self, Vec<u8>) {
        let mut brought = Vec::new();
        // It ends because there is no more for now; an end of the stream shows at the next read.
        let _ = connection.reader().read_to_end(&mut brought);
        (Self::over(socket, connection), brought)
    }

    pub fn socket(&mut self) -> &mut TcpStream {
        match self {
            Link::Plain(socket) => socket,
            Link::Tls(stream) => &mut stream.socket,
        }
    }

    /// Reads into the room, from the byte `at`. TLS that ends without saying so is `UnexpectedEof`; it may have something to send
    /// after any read.
    pub fn read(&mut self, room: &mut Room, at: usize) -> io::Result<Brought> {
        let plain = room.plain.get_mut(at..).unwrap_or_default();
        match self {
            Link::Plain(socket) => {
                let end = plain.len().min(READ);
                let bytes = socket.read(plain.get_mut(..end).unwrap_or_default())?;
                let drained = bytes < end;
                Ok(Brought { bytes, drained })
            }
            Link::Tls(stream) => stream.read(&mut room.sealed, plain),
        }
    }

    /// Whether what is written at a time is told apart from the rest: it becomes a record.
    pub fn has_records(&self) -> bool {
        matches!(self, Link::Tls(_))
    }

    /// Takes as many of these bytes as it has room for; of TLS, records that [`flush`](Self::flush) passes on.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Link::Plain(socket) => socket.write(bytes),
            Link::Tls(stream) => stream.write(bytes),
        }
    }

    /// Whether there is something to send that no write has given it: a part of TLS itself.
    pub fn wants_write(&self) -> bool {
        match self {
            Link::Plain(_) => false,
            Link::Tls(stream) => stream.connection.wants_write(),
        }
    }

    /// Passes on what was taken.
    pub fn flush(&mut self) -> io::Result<()> {
        match self {
            Link::Plain(_) => Ok(()),
            Link::Tls(stream) => stream.flush(),
        }
    }

    /// Tells the other side that nothing more comes; it may still send. To be called again after `WouldBlock`.
    pub fn shutdown(&mut self) -> io::Result<()> {
        if let Link::Tls(stream) = self {
            stream.connection.send_close_notify();
            stream.flush()?;
        }
        self.socket().shutdown(Shutdown::Write)
    }
}

impl TlsStream {
    fn read(&mut self, sealed: &mut [u8], plain: &mut [u8]) -> io::Result<Brought> {
        loop {
            match self.over {
                Some(Over::Ended) => {
                    let (bytes, drained) = (0, true);
                    return Ok(Brought { bytes, drained });
                }
                Some(Over::Broken) => return Err(io::ErrorKind::InvalidData.into()),
                None => {}
            }
            let count = self.socket.read(sealed)?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let drained = count < sealed.len();
            let bytes = self.open(sealed.get(..count).unwrap_or_default(), plain);
            if bytes > 0 {
                let drained = drained && self.over.is_none();
                return Ok(Brought { bytes, drained });
            }
        }
    }

    /// Takes what came, and puts what it carries into `plain`, which is large enough for it: returns how much that is.
    fn open(&mut self, mut sealed: &[u8], plain: &mut [u8]) -> usize {
        let mut bytes = 0;
        while !sealed.is_empty() && self.over.is_none() {
            let whole = match self.missing {
                0 => records(sealed),
                missing => missing,
            };
            let mut part = sealed.get(..whole).unwrap_or(sealed);
            let taken = self.connection.read_tls(&mut part);
            let (Ok(taken @ 1..), Ok(state)) = (taken, self.connection.process_new_packets())
            else {
                // With a word about it, if the socket takes it.
                let _ = self.flush();
                self.over = Some(Over::Broken);
                break;
            };
            self.missing = whole.saturating_sub(taken);
            sealed = sealed.get(taken..).unwrap_or_default();
            self.unread += taken;
            if state.plaintext_bytes_to_read() > 0 {
                let room = plain.get_mut(bytes..).unwrap_or_default();
                bytes += self.connection.reader().read(room).unwrap_or(0);
                self.unread = 0;
            }
            if self.unread >= MAX_UNREAD {
                self.over = Some(Over::Broken);
            } else if state.peer_has_closed() {
                self.over = Some(Over::Ended);
            }
        }
        bytes
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = self.connection.writer().write(bytes)?;
        if taken > 0 {
            return Ok(taken);
        }
        // Its own buffer was full.
        self.flush()?;
        match self.connection.writer().write(bytes)? {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            taken => Ok(taken),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        while self.connection.wants_write() {
            match self.connection.write_tls(&mut self.socket) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Bytes of the records with which these begin: as many whole ones as `rustls` takes at once, which is spared moving
/// what it has of one, or all of the first.
fn records(bytes: &[u8]) -> usize {
    let mut end = 0;
    while let Some(&[_, _, _, l0, l1]) = bytes.get(end..).and_then(|rest| rest.first_chunk()) {
        let next = end + 5 + usize::from(u16::from_be_bytes([l0, l1]));
        if end > 0 && next > bytes.len().min(TAKEN) {
            break;
        }
        end = next;
    }
    if end == 0 { bytes.len() } else { end }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Link::Plain(_) => "Plain",
            Link::Tls(_) => "Tls",
        })
    }
}
