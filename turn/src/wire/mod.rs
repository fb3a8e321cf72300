//! Bytes of STUN and TURN: reading and writing messages in place, integrity, ChannelData.
//!
//! The only module that knows a codec. It reads from borrowed bytes, allocates nothing and takes no length
//! from the wire on trust; what a message means is left to `server`.

pub mod build;
pub mod channel;
pub mod integrity;
mod layers;
pub mod message;

pub use build::Builder;
pub(crate) use layers::layers;
pub use message::{Attribute, Malformed, Message};

/// RFC 8489 §5.
pub const MAGIC_COOKIE: u32 = 0x2112_A442;
/// Bytes before the attributes (RFC 8489 §5).
pub const HEADER_LEN: usize = 20;

/// The 96 bits that tie an answer to its request.
pub type TransactionId = [u8; 12];

/// RFC 8489 §5: the two class bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// To be answered.
    Request,
    /// Not to be answered.
    Indication,
    /// The answer to a request that was granted.
    Success,
    /// The answer to one that was not.
    Error,
}

/// The methods that this server speaks; others are [`Method::Other`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    /// Tells a client its address as seen from here (RFC 8489 §2).
    Binding,
    /// Asks for a relayed address (RFC 8656 §7).
    Allocate,
    /// Prolongs an allocation, or ends it (RFC 8656 §8).
    Refresh,
    /// Payload from a client to a peer; an indication (RFC 8656 §11).
    Send,
    /// Payload from a peer to a client; an indication (RFC 8656 §11).
    Data,
    /// Lets peers send to an allocation (RFC 8656 §10).
    CreatePermission,
    /// Names a peer by a number (RFC 8656 §12).
    ChannelBind,
    /// Asks for a TCP connection with a peer (RFC 6062 §4.3).
    Connect,
    /// Makes a stream the client's end of one (RFC 6062 §4.3).
    ConnectionBind,
    /// Tells of a peer that has connected; an indication (RFC 6062 §4.4).
    ConnectionAttempt,
    /// One that this server does not know: its number, 12 bits.
    Other(u16),
}

impl Method {
    pub(crate) fn number(self) -> u16 {
        match self {
            Method::Binding => 0x001,
            Method::Allocate => 0x003,
            Method::Refresh => 0x004,
            Method::Send => 0x006,
            Method::Data => 0x007,
            Method::CreatePermission => 0x008,
            Method::ChannelBind => 0x009,
            Method::Connect => 0x00A,
            Method::ConnectionBind => 0x00B,
            Method::ConnectionAttempt => 0x00C,
            Method::Other(number) => number,
        }
    }

    fn from_number(number: u16) -> Self {
        match number {
            0x001 => Method::Binding,
            0x003 => Method::Allocate,
            0x004 => Method::Refresh,
            0x006 => Method::Send,
            0x007 => Method::Data,
            0x008 => Method::CreatePermission,
            0x009 => Method::ChannelBind,
            0x00A => Method::Connect,
            0x00B => Method::ConnectionBind,
            0x00C => Method::ConnectionAttempt,
            other => Method::Other(other),
        }
    }
}

/// RFC 8489 §5, figure 3: class and method interleaved in 14 bits.
pub(crate) fn message_type(method: Method, class: Class) -> u16 {
    let m = method.number();
    let class = match class {
        Class::Request => 0x000,
        Class::Indication => 0x010,
        Class::Success => 0x100,
        Class::Error => 0x110,
    };
    (m & 0x00F) | ((m & 0x070) << 1) | ((m & 0xF80) << 2) | class
}

pub(crate) fn split_message_type(value: u16) -> (Method, Class) {
    let number = (value & 0x00F) | ((value & 0x0E0) >> 1) | ((value & 0x3E00) >> 2);
    let class = match value & 0x110 {
        0x000 => Class::Request,
        0x010 => Class::Indication,
        0x100 => Class::Success,
        _ => Class::Error,
    };
    (Method::from_number(number), class)
}

/// Attribute types (RFC 8489 §18.3, RFC 8656 §18, RFC 6062 §6.2), each with the section that says what its value is.
pub mod attr {
    /// RFC 8489 §14.1.
    pub const MAPPED_ADDRESS: u16 = 0x0001;
    /// RFC 5780 §7.2.
    pub const CHANGE_REQUEST: u16 = 0x0003;
    /// RFC 8489 §14.3.
    pub const USERNAME: u16 = 0x0006;
    /// RFC 8489 §14.5: HMAC-SHA1, 20 bytes.
    pub const MESSAGE_INTEGRITY: u16 = 0x0008;
    /// RFC 8489 §14.8.
    pub const ERROR_CODE: u16 = 0x0009;
    /// RFC 8489 §14.13.
    pub const UNKNOWN_ATTRIBUTES: u16 = 0x000A;
    /// RFC 8656 §18.1.
    pub const CHANNEL_NUMBER: u16 = 0x000C;
    /// RFC 8656 §18.2: seconds.
    pub const LIFETIME: u16 = 0x000D;
    /// RFC 8656 §18.3.
    pub const XOR_PEER_ADDRESS: u16 = 0x0012;
    /// RFC 8656 §18.4.
    pub const DATA: u16 = 0x0013;
    /// RFC 8489 §14.9.
    pub const REALM: u16 = 0x0014;
    /// RFC 8489 §14.10.
    pub const NONCE: u16 = 0x0015;
    /// RFC 8656 §18.5.
    pub const XOR_RELAYED_ADDRESS: u16 = 0x0016;
    /// RFC 8656 §18.6.
    pub const REQUESTED_ADDRESS_FAMILY: u16 = 0x0017;
    /// RFC 8656 §18.7.
    pub const EVEN_PORT: u16 = 0x0018;
    /// RFC 8656 §18.8: an IANA protocol number.
    pub const REQUESTED_TRANSPORT: u16 = 0x0019;
    /// RFC 8656 §18.10: without a value.
    pub const DONT_FRAGMENT: u16 = 0x001A;
    /// RFC 8489 §14.6: HMAC-SHA256, 32 bytes.
    pub const MESSAGE_INTEGRITY_SHA256: u16 = 0x001C;
    /// RFC 8489 §14.12.
    pub const PASSWORD_ALGORITHM: u16 = 0x001D;
    /// RFC 8489 §14.4: 32 bytes.
    pub const USERHASH: u16 = 0x001E;
    /// RFC 8489 §14.2.
    pub const XOR_MAPPED_ADDRESS: u16 = 0x0020;
    /// RFC 8656 §18.10: 8 bytes.
    pub const RESERVATION_TOKEN: u16 = 0x0022;
    /// RFC 5780 §7.6.
    pub const PADDING: u16 = 0x0026;
    /// RFC 5780 §7.5.
    pub const RESPONSE_PORT: u16 = 0x0027;
    /// RFC 6062 §6.2.1: four bytes.
    pub const CONNECTION_ID: u16 = 0x002A;
    /// RFC 8656 §18.11: one byte of family and three that are reserved.
    pub const ADDITIONAL_ADDRESS_FAMILY: u16 = 0x8000;
    /// The same before RFC 8656 gave it a number (draft-martinsen-tram-ssoda); coturn's client asks by it.
    pub const DRAFT_ADDITIONAL_ADDRESS_FAMILY: u16 = 0x8032;
    /// RFC 8656 §18.12: a family, a code and its reason.
    pub const ADDRESS_ERROR_CODE: u16 = 0x8001;
    /// RFC 8489 §14.11.
    pub const PASSWORD_ALGORITHMS: u16 = 0x8002;
    /// RFC 8656 §18.13: type and code of an ICMP error, and the MTU where it is of that.
    pub const ICMP: u16 = 0x8004;
    /// RFC 8016 §3.3: empty in an Allocate, else opaque.
    pub const MOBILITY_TICKET: u16 = 0x8030;
    /// RFC 8489 §14.14.
    pub const SOFTWARE: u16 = 0x8022;
    /// RFC 8489 §14.7: a CRC-32.
    pub const FINGERPRINT: u16 = 0x8028;
    /// RFC 5780 §7.3.
    pub const RESPONSE_ORIGIN: u16 = 0x802B;
    /// RFC 5780 §7.4.
    pub const OTHER_ADDRESS: u16 = 0x802C;
}

/// Rounds up to the 32-bit boundary on which every attribute begins (RFC 8489 §14).
pub(crate) const fn padded(len: usize) -> usize {
    (len + 3) & !3
}
