//! The PROXY protocol of HAProxy, versions 1 and 2: the header by which a balancer, that passes a stream on, says from whom it
//! is. Who may be believed is left to those who read it.

use std::net::SocketAddr;
use std::time::Duration;

use proxy_header::{ParseConfig, Protocol, ProxyHeader};

/// Bytes of a header at most, so that it comes in one segment of any network (§2.2 of the specification).
pub const MAX_HEADER: usize = 536;
/// How long the whole of it is waited for.
pub const HEADER_WAIT: Duration = Duration::from_secs(5);
/// One that says that nobody is behind it: who sends it speaks for himself.
pub const LOCAL: &[u8; 16] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

const V1: &[u8] = b"PROXY ";
const V1_SHORTEST: usize = b"PROXY UNKNOWN\r\n".len();
const V1_LONGEST: usize = 107;
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const V2_HEAD: usize = 16;

/// What a header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Who has connected to the balancer; `None`: it does not know, or has connected by itself.
    pub client: Option<SocketAddr>,
    /// Whether he came to it over TLS, as far as it says so.
    pub is_secure: bool,
}

/// Of the beginning of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// The header, and how many bytes it is long.
    Whole(Header, usize),
    /// The beginning of a header; this many bytes, or more, are missing.
    Missing(usize),
}

/// It does not begin with a header of a stream over TCP, or with a longer one than it may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no PROXY header")]
pub struct NoHeader;

/// Reads the header with which these bytes begin.
pub fn parse(bytes: &[u8]) -> Result<Found, NoHeader> {
    let whole = match bytes {
        bytes if is_begun(bytes, V1) => v1_len(bytes)?,
        bytes if is_begun(bytes, V2) => v2_len(bytes)?,
        _ => return Err(NoHeader),
    };
    let header = match whole {
        Ok(len) => bytes.get(..len).ok_or(NoHeader)?,
        Err(missing) => return Ok(Found::Missing(missing)),
    };
    let (parsed, len) = ProxyHeader::parse(header, ParseConfig::default()).map_err(|_| NoHeader)?;
    if len != header.len() {
        return Err(NoHeader);
    }
    let client = match parsed.proxied_address() {
        None => None,
        Some(address) if address.protocol == Protocol::Stream => {
            let client = address.source;
            Some(SocketAddr::new(client.ip().to_canonical(), client.port()))
        }
        Some(_) => return Err(NoHeader),
    };
    let is_secure = parsed.ssl().is_some_and(|tls| tls.client_ssl());
    Ok(Found::Whole(Header { client, is_secure }, len))
}

fn is_begun(bytes: &[u8], with: &[u8]) -> bool {
    bytes.iter().zip(with).all(|(byte, wanted)| byte == wanted)
}

/// Bytes of the header, or how many are missing at least.
type Length = Result<usize, usize>;

fn v1_len(bytes: &[u8]) -> Result<Length, NoHeader> {
    let line = bytes.get(..V1_LONGEST).unwrap_or(bytes);
    match line.windows(2).position(|pair| pair == b"\r\n") {
        Some(end) => Ok(Ok(end + 2)),
        None if line.len() == V1_LONGEST => Err(NoHeader),
        None => Ok(Err(V1_SHORTEST.saturating_sub(line.len()).max(1))),
    }
}

fn v2_len(bytes: &[u8]) -> Result<Length, NoHeader> {
    let Some(&[.., l0, l1]) = bytes.first_chunk::<V2_HEAD>() else {
        return Ok(Err(V2_HEAD - bytes.len()));
    };
    let whole = V2_HEAD + usize::from(u16::from_be_bytes([l0, l1]));
    match whole.checked_sub(bytes.len()) {
        _ if whole > MAX_HEADER => Err(NoHeader),
        None | Some(0) => Ok(Ok(whole)),
        Some(missing) => Ok(Err(missing)),
    }
}

#[cfg(test)]
mod tests {
    use proxy_header::{ProxiedAddress, SslInfo, Tlv};

    use super::*;

    fn of(header: &ProxyHeader<'_>, version: u8) -> Vec<u8> {
        let mut bytes = Vec::new();
        match version {
            1 => header.encode_v1(&mut bytes).unwrap(),
            _ => header.encode_v2(&mut bytes).unwrap(),
        }
        bytes
    }

    fn from(client: &str) -> ProxyHeader<'static> {
        let to = match client.starts_with('[') {
            true => "[2001:db8::1]:443",
            false => "192.0.2.1:443",
        };
        let address = ProxiedAddress::stream(client.parse().unwrap(), to.parse().unwrap());
        ProxyHeader::with_address(address)
    }

    #[test]
    fn headers_are_read_to_their_end_however_they_are_torn() {
        let secure = Tlv::Ssl(SslInfo::new(true, false, false, 0));
        let mut with_more = from("203.0.113.9:50000");
        with_more.append_tlv(Tlv::Noop(40));
        with_more.append_tlv(secure);
        let local = ProxyHeader::with_local();
        let clients = [
            (of(&from("203.0.113.9:50000"), 1), Some("203.0.113.9:50000")),
            (
                of(&from("[2001:db8::9]:50000"), 1),
                Some("[2001:db8::9]:50000"),
            ),
            (of(&from("203.0.113.9:50000"), 2), Some("203.0.113.9:50000")),
            (
                of(&from("[2001:db8::9]:50000"), 2),
                Some("[2001:db8::9]:50000"),
            ),
            (
                of(&from("[::ffff:203.0.113.9]:5"), 2),
                Some("203.0.113.9:5"),
            ),
            (of(&with_more, 2), Some("203.0.113.9:50000")),
            (of(&local, 1), None),
            (of(&local, 2), None),
            (LOCAL.to_vec(), None),
            // AF_UNIX, whose addresses say nothing here.
            ([V2, b"\x21\x31\0\xd8", &[7; 216]].concat(), None),
            // AF_UNSPEC with bytes that nobody knows.
            ([V2, b"\x21\0\0\x05", &[0, 0, 2, 7, 7]].concat(), None),
        ];
        for (header, client) in clients {
            let is_secure = header == of(&with_more, 2);
            let client = client.map(|client| client.parse().unwrap());
            let whole = Found::Whole(Header { client, is_secure }, header.len());
            let stream = [&header, &b"GET / HTTP/1.1\r\n\r\n"[..]].concat();
            assert_eq!(parse(&stream), Ok(whole), "{header:?}");
            for end in 0..header.len() {
                let Ok(Found::Missing(missing)) = parse(&header[..end]) else {
                    panic!("{end} bytes of {header:?}");
                };
                assert!(
                    (1..=header.len() - end).contains(&missing),
                    "{end}: {missing}"
                );
            }
        }
    }

    #[test]
    fn what_is_no_header_is_refused_at_its_first_wrong_byte() {
        for (bytes, wrong) in [
            (&b"GET / HTTP/1.1\r\n"[..], 0),
            (b"PROXYXTCP4", 5),
            (b"\r\n\r\nX", 4),
            (b"\x16\x03\x01", 0),
        ] {
            assert!(matches!(parse(&bytes[..wrong]), Ok(Found::Missing(_))));
            assert_eq!(parse(&bytes[..=wrong]), Err(NoHeader), "{bytes:?}");
        }
        for line in [
            "PROXY TCP4 203.0.113.9 192.0.2.1 50000\r\n",
            "PROXY TCP4 203.0.113.9 192.0.2.1 50000 65536\r\n",
            "PROXY TCP4 2001:db8::9 2001:db8::1 50000 443\r\n",
            "PROXY TCP4 localhost 192.0.2.1 50000 443\r\n",
            "PROXY UDP4 203.0.113.9 192.0.2.1 50000 443\r\n",
            "PROXY TCP4 203.0.113.9 192.0.2.1 50000 443 \r\n",
            "PROXY \r\n\r\n\r\n\r\n\r\n\r\n\r\n",
        ] {
            assert_eq!(parse(line.as_bytes()), Err(NoHeader), "{line}");
        }
        let endless = [V1, &[b'x'; 200]].concat();
        assert!(parse(&endless[..V1_LONGEST - 1]).is_ok());
        assert_eq!(parse(&endless), Err(NoHeader));
        for head in [
            &b"\x11\x11\0\x0c"[..], // version 1
            b"\x22\x11\0\x0c",      // no command
            b"\x21\x12\0\x0c",      // over UDP
            b"\x21\x41\0\x0c",      // no family
            b"\x21\x11\0\x0b",      // too short for what it says
            b"\x21\x21\0\x0c",
        ] {
            let bytes = [V2, head, &[1; 64]].concat();
            assert_eq!(parse(&bytes), Err(NoHeader), "{head:?}");
        }
        let most = MAX_HEADER - V2_HEAD;
        let long = |len: usize| [V2, &[0x21, 0], &(len as u16).to_be_bytes()[..]].concat();
        assert_eq!(parse(&long(most)), Ok(Found::Missing(most)));
        assert_eq!(parse(&long(most + 1)), Err(NoHeader));
        assert_eq!(parse(&long(65535)), Err(NoHeader));
    }

    #[test]
    fn nothing_makes_it_panic() {
        let mut state = 1u64;
        let mut next = || {
            state = state
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            (state >> 56) as u8
        };
        for _ in 0..200_000 {
            let (start, len) = (next(), usize::from(next()));
            let begin = match start % 3 {
                0 => V1,
                1 => V2,
                _ => b"",
            };
            let mut bytes = begin.to_vec();
            if start % 3 == 1 {
                let family = [0, 0x11, 0x21, 0x31][usize::from(start) % 4];
                bytes.extend([0x20 | (start & 1), family, 0, next()]);
            }
            bytes.extend((0..len).map(|_| match start % 3 {
                0 => b" TCP46.:0\r\nUNKOW"[usize::from(next() % 16)],
                // Types and lengths of what stands behind the addresses, often enough.
                _ => next() & 0x2f,
            }));
            let _ = parse(&bytes);
        }
    }
}
