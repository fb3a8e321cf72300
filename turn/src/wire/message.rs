//! Reading a STUN message from borrowed bytes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{
    Class, HEADER_LEN, MAGIC_COOKIE, Method, TransactionId, attr, padded, split_message_type,
};

/// Why bytes are no STUN message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Fewer than 20 bytes.
    #[error("shorter than a header")]
    Short,
    /// RFC 8489 §5: the first two bits are zero and the cookie is 0x2112A442.
    #[error("not STUN: the first two bits or the magic cookie are off")]
    NotStun,
    /// Or it is no multiple of four (RFC 8489 §5).
    #[error("the length in the header is not that of the datagram")]
    Length,
    /// RFC 8489 §14: its length, padded, is more than what is left.
    #[error("an attribute runs past the end")]
    Attribute,
}

/// A STUN message whose attributes are known to lie inside its bytes.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    bytes: &'a [u8],
    method: Method,
    class: Class,
}

/// One attribute: its type, where it begins in the message, and its value without padding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attribute<'a> {
    /// One of [`attr`], or any other number.
    pub kind: u16,
    /// Offset of the attribute's header from the first byte of the message.
    pub offset: usize,
    /// As long as the attribute says.
    pub value: &'a [u8],
}

impl<'a> Message<'a> {
    /// Takes exactly one message (RFC 8489 §6.3).
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let header = bytes.first_chunk::<HEADER_LEN>().ok_or(Malformed::Short)?;
        let [t0, t1, l0, l1, c0, c1, c2, c3, ..] = *header;
        if t0 & 0xC0 != 0 || u32::from_be_bytes([c0, c1, c2, c3]) != MAGIC_COOKIE {
            return Err(Malformed::NotStun);
        }
        let length = usize::from(u16::from_be_bytes([l0, l1]));
        if !length.is_multiple_of(4) || HEADER_LEN + length != bytes.len() {
            return Err(Malformed::Length);
        }
        let (method, class) = split_message_type(u16::from_be_bytes([t0, t1]));
        let message = Message {
            bytes,
            method,
            class,
        };
        let mut end = HEADER_LEN;
        for attribute in message.attributes() {
            end = attribute.offset + 4 + padded(attribute.value.len());
        }
        if end != bytes.len() {
            return Err(Malformed::Attribute);
        }
        Ok(message)
    }

    /// What is asked for, told or answered.
    pub fn method(&self) -> Method {
        self.method
    }

    /// Whether it asks, tells or answers.
    pub fn class(&self) -> Class {
        self.class
    }

    /// All of it, header included.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// What an answer to this request must carry (RFC 8489 §6).
    pub fn transaction_id(&self) -> TransactionId {
        let mut id = TransactionId::default();
        if let Some(bytes) = self.bytes.get(8..HEADER_LEN) {
            id.copy_from_slice(bytes);
        }
        id
    }

    /// All attributes in order.
    pub fn attributes(&self) -> Attributes<'a> {
        Attributes {
            bytes: self.bytes,
            offset: HEADER_LEN,
        }
    }

    /// The first attribute of this type (RFC 8489 §14: later ones are ignored) that is under the message's
    /// integrity, or, in a message without it, any.
    pub fn get(&self, kind: u16) -> Option<&'a [u8]> {
        self.protected().find(|a| a.kind == kind).map(|a| a.value)
    }

    /// The attributes that count: those up to MESSAGE-INTEGRITY, which itself is left out
    /// (RFC 8489 §14.5: what follows it is ignored, FINGERPRINT and the SHA-256 variant aside).
    pub fn protected(&self) -> impl Iterator<Item = Attribute<'a>> + use<'a> {
        self.attributes().take_while(|a| {
            !matches!(
                a.kind,
                attr::MESSAGE_INTEGRITY | attr::MESSAGE_INTEGRITY_SHA256
            )
        })
    }

    /// The first attribute of this type, wherever it stands.
    pub fn find(&self, kind: u16) -> Option<Attribute<'a>> {
        self.attributes().find(|a| a.kind == kind)
    }

    /// An address from the value of one of the XOR-…-ADDRESS attributes (RFC 8489 §14.2); `None` when family
    /// and length do not agree.
    pub fn xor_address(&self, value: &[u8]) -> Option<SocketAddr> {
        let (&[_, family, p0, p1], address) = value.split_first_chunk::<4>()?;
        let cookie = MAGIC_COOKIE.to_be_bytes();
        let port = u16::from_be_bytes([p0, p1]) ^ (MAGIC_COOKIE >> 16) as u16;
        let ip = match family {
            FAMILY_IPV4 => {
                let raw: [u8; 4] = address.try_into().ok()?;
                IpAddr::V4(Ipv4Addr::from_bits(
                    u32::from_be_bytes(raw) ^ u32::from_be_bytes(cookie),
                ))
            }
            FAMILY_IPV6 => {
                let raw: [u8; 16] = address.try_into().ok()?;
                IpAddr::V6(Ipv6Addr::from_bits(
                    u128::from_be_bytes(raw) ^ xor_key(self.transaction_id()),
                ))
            }
            _ => return None,
        };
        Some(SocketAddr::new(ip, port))
    }
}

/// RFC 8489 §14.1.
pub(crate) const FAMILY_IPV4: u8 = 0x01;
pub(crate) const FAMILY_IPV6: u8 = 0x02;

/// Magic cookie and transaction id side by side: what an IPv6 address is XORed with (RFC 8489 §14.2).
pub(crate) fn xor_key(id: TransactionId) -> u128 {
    let mut key = [0; 16];
    let (cookie, rest) = key.split_at_mut(4);
    cookie.copy_from_slice(&MAGIC_COOKIE.to_be_bytes());
    rest.copy_from_slice(&id);
    u128::from_be_bytes(key)
}

/// Iterates until the bytes end or an attribute would run past them.
#[derive(Debug, Clone)]
pub struct Attributes<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Attribute<'a>;

    fn next(&mut self) -> Option<Attribute<'a>> {
        let rest = self.bytes.get(self.offset..)?;
        let (&[k0, k1, l0, l1], rest) = rest.split_first_chunk::<4>()?;
        let length = usize::from(u16::from_be_bytes([l0, l1]));
        rest.get(..padded(length))?;
        let attribute = Attribute {
            kind: u16::from_be_bytes([k0, k1]),
            offset: self.offset,
            value: rest.get(..length)?,
        };
        self.offset += 4 + padded(length);
        Some(attribute)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Builder;

    #[test]
    fn torn_or_padded_bytes_are_no_message() {
        let mut out = Vec::new();
        let mut message = Builder::new(&mut out, Method::Binding, Class::Request, [7; 12]);
        message.text(attr::SOFTWARE, "abc");
        assert!(Message::parse(&out).is_ok());
        for end in 0..out.len() {
            assert!(
                Message::parse(&out[..end]).is_err(),
                "{end} of {}",
                out.len()
            );
        }
        out.extend_from_slice(&[0; 4]);
        assert_eq!(Message::parse(&out).unwrap_err(), Malformed::Length);
        out[3] += 4;
        assert!(
            Message::parse(&out).is_ok(),
            "four zero bytes are an empty attribute of type 0"
        );
        let last = out.len() - 1;
        out[last] = 1;
        assert_eq!(Message::parse(&out).unwrap_err(), Malformed::Attribute);
    }

    #[test]
    fn addresses_of_a_wrong_length_are_refused() {
        let mut out = Vec::new();
        Builder::new(&mut out, Method::Binding, Class::Request, [7; 12]);
        let message = Message::parse(&out).unwrap();
        for len in 0..32 {
            for family in 0..4 {
                let mut value = vec![0; len];
                if let Some(byte) = value.get_mut(1) {
                    *byte = family;
                }
                let right = (family == 1 && len == 8) || (family == 2 && len == 20);
                assert_eq!(
                    message.xor_address(&value).is_some(),
                    right,
                    "{family} {len}"
                );
            }
        }
    }
}
