//! Writing a STUN message at the end of a buffer.

use std::net::{IpAddr, SocketAddr};

use super::integrity::{self, Integrity, Key};
use super::message::{FAMILY_IPV4, FAMILY_IPV6, xor_key};
use super::{Class, HEADER_LEN, MAGIC_COOKIE, Method, TransactionId, attr, message_type, padded};

/// Writes one message into a buffer that it clears first; padding is always zero.
#[derive(Debug)]
pub struct Builder<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> Builder<'a> {
    /// Begins a message: its header, with no attribute yet (RFC 8489 §5).
    pub fn new(out: &'a mut Vec<u8>, method: Method, class: Class, id: TransactionId) -> Self {
        out.clear();
        out.extend_from_slice(&message_type(method, class).to_be_bytes());
        out.extend_from_slice(&[0, 0]);
        out.extend_from_slice(&MAGIC_COOKIE.to_be_bytes());
        out.extend_from_slice(&id);
        Builder { out }
    }

    /// Bytes written so far.
    pub(crate) fn len(&self) -> usize {
        self.out.len()
    }

    /// Appends an attribute. A value that would not fit a message (65,535 bytes) is left out: what this
    /// server writes is bounded far below that.
    pub fn attribute(&mut self, kind: u16, value: &[u8]) {
        let end = self.out.len() + 4 + padded(value.len());
        let Ok(length) = u16::try_from(value.len()) else {
            return;
        };
        if end - HEADER_LEN > usize::from(u16::MAX) {
            return;
        }
        self.out.extend_from_slice(&kind.to_be_bytes());
        self.out.extend_from_slice(&length.to_be_bytes());
        self.out.extend_from_slice(value);
        self.out.resize(end, 0);
        self.set_length(end - HEADER_LEN);
    }

    /// Appends an attribute whose value is text; bounded as [`Builder::attribute`] is.
    pub fn text(&mut self, kind: u16, value: &str) {
        self.attribute(kind, value.as_bytes());
    }

    /// Appends an attribute whose value is a number of 32 bits, in network order.
    pub fn u32(&mut self, kind: u16, value: u32) {
        self.attribute(kind, &value.to_be_bytes());
    }

    /// Appends an address as it is, without XOR (RFC 8489 §14.1).
    pub fn address(&mut self, kind: u16, address: SocketAddr) {
        let [p0, p1] = address.port().to_be_bytes();
        match address.ip() {
            IpAddr::V4(ip) => {
                let [a, b, c, d] = ip.octets();
                self.attribute(kind, &[0, FAMILY_IPV4, p0, p1, a, b, c, d]);
            }
            IpAddr::V6(ip) => {
                let mut value = [0; 20];
                let (head, rest) = value.split_at_mut(4);
                head.copy_from_slice(&[0, FAMILY_IPV6, p0, p1]);
                rest.copy_from_slice(&ip.octets());
                self.attribute(kind, &value);
            }
        }
    }

    /// Appends one of the XOR-…-ADDRESS attributes (RFC 8489 §14.2).
    pub fn xor_address(&mut self, kind: u16, address: SocketAddr) {
        let mut value = [0; 20];
        let used = write_xor_address(&mut value, address, self.transaction_id());
        if let Some(value) = value.get(..used) {
            self.attribute(kind, value);
        }
    }

    /// Appends ERROR-CODE (RFC 8489 §14.8): `code` from 300 to 699; of `reason`, which may be empty, at most 64 bytes.
    pub fn error_code(&mut self, code: u16, reason: &str) {
        self.error(attr::ERROR_CODE, 0, code, reason);
    }

    /// Appends ADDRESS-ERROR-CODE (RFC 8656 §18.12): why there is no relayed address of this family. Bounds as of
    /// [`error_code`](Self::error_code).
    pub fn address_error_code(&mut self, ipv4: bool, code: u16, reason: &str) {
        let family = if ipv4 { FAMILY_IPV4 } else { FAMILY_IPV6 };
        self.error(attr::ADDRESS_ERROR_CODE, family, code, reason);
    }

    fn error(&mut self, kind: u16, family: u8, code: u16, reason: &str) {
        let mut value = [0; 4 + 64];
        let (number, text) = value.split_at_mut(4);
        number.copy_from_slice(&[family, 0, (code / 100) as u8, (code % 100) as u8]);
        let used = reason.len().min(text.len());
        for (to, from) in text.iter_mut().zip(reason.bytes()) {
            *to = from;
        }
        if let Some(value) = value.get(..4 + used) {
            self.attribute(kind, value);
        }
    }

    /// Appends UNKNOWN-ATTRIBUTES (RFC 8489 §14.13) with at most 16 types.
    pub fn unknown_attributes(&mut self, kinds: &[u16]) {
        let mut value = [0; 32];
        let mut used = 0;
        for (to, kind) in value.chunks_exact_mut(2).zip(kinds) {
            to.copy_from_slice(&kind.to_be_bytes());
            used += 2;
        }
        if let Some(value) = value.get(..used) {
            self.attribute(attr::UNKNOWN_ATTRIBUTES, value);
        }
    }

    /// Appends MESSAGE-INTEGRITY over what stands so far (RFC 8489 §14.5).
    pub fn integrity(&mut self, key: &Key) {
        self.sign(Integrity::Sha1, key);
    }

    /// Appends MESSAGE-INTEGRITY-SHA256 over what stands so far (RFC 8489 §14.6). Where there is to be
    /// MESSAGE-INTEGRITY as well, it stands before.
    pub fn integrity_sha256(&mut self, key: &Key) {
        self.sign(Integrity::Sha256, key);
    }

    fn sign(&mut self, integrity: Integrity, key: &Key) {
        self.set_length(self.out.len() + 4 + integrity.len() - HEADER_LEN);
        let mac = integrity.sign(key, &[self.out]);
        self.attribute(integrity.kind(), mac.as_ref());
    }

    /// Appends FINGERPRINT (RFC 8489 §14.7); nothing may follow.
    pub fn fingerprint(&mut self) {
        self.set_length(self.out.len() + 8 - HEADER_LEN);
        let crc = crc32fast::hash(self.out) ^ integrity::FINGERPRINT_XOR;
        self.u32(attr::FINGERPRINT, crc);
    }

    fn transaction_id(&self) -> TransactionId {
        let mut id = TransactionId::default();
        if let Some(bytes) = self.out.get(8..HEADER_LEN) {
            id.copy_from_slice(bytes);
        }
        id
    }

    fn set_length(&mut self, length: usize) {
        if let (Some(field), Ok(length)) = (self.out.get_mut(2..4), u16::try_from(length)) {
            field.copy_from_slice(&length.to_be_bytes());
        }
    }
}

/// Bytes of an address attribute's value.
fn write_xor_address(value: &mut [u8; 20], address: SocketAddr, id: TransactionId) -> usize {
    let port = (address.port() ^ (MAGIC_COOKIE >> 16) as u16).to_be_bytes();
    let (head, rest) = value.split_at_mut(4);
    match address.ip() {
        IpAddr::V4(ip) => {
            head.copy_from_slice(&[0, FAMILY_IPV4, port[0], port[1]]);
            let raw = (ip.to_bits() ^ MAGIC_COOKIE).to_be_bytes();
            rest.iter_mut().zip(raw).for_each(|(to, from)| *to = from);
            8
        }
        IpAddr::V6(ip) => {
            head.copy_from_slice(&[0, FAMILY_IPV6, port[0], port[1]]);
            let raw = (ip.to_bits() ^ xor_key(id)).to_be_bytes();
            rest.iter_mut().zip(raw).for_each(|(to, from)| *to = from);
            20
        }
    }
}

/// Largest header of a Data indication: message header, XOR-PEER-ADDRESS of IPv6, DATA's own four bytes.
pub const DATA_INDICATION_HEADROOM: usize = HEADER_LEN + 4 + 20 + 4;

/// Writes what stands before the payload of a Data indication (RFC 8656 §11.4) so that it ends where `head`
/// ends; `payload` is the length that follows. Returns where it begins in `head`, or `None` when the payload
/// is too long for a STUN message.
pub fn data_indication_header(
    head: &mut [u8; DATA_INDICATION_HEADROOM],
    id: TransactionId,
    peer: SocketAddr,
    payload: usize,
) -> Option<usize> {
    let mut address = [0; 20];
    let used = write_xor_address(&mut address, peer, id);
    let begin = 20 - used;
    let length = u16::try_from(4 + used + 4 + padded(payload)).ok()?;
    let payload = u16::try_from(payload).ok()?;

    let mut at = begin;
    let mut put = |bytes: &[u8]| {
        if let Some(to) = head.get_mut(at..at + bytes.len()) {
            to.copy_from_slice(bytes);
        }
        at += bytes.len();
    };
    put(&message_type(Method::Data, Class::Indication).to_be_bytes());
    put(&length.to_be_bytes());
    put(&MAGIC_COOKIE.to_be_bytes());
    put(&id);
    put(&attr::XOR_PEER_ADDRESS.to_be_bytes());
    put(&(used as u16).to_be_bytes());
    put(address.get(..used)?);
    put(&attr::DATA.to_be_bytes());
    put(&payload.to_be_bytes());
    Some(begin)
}
