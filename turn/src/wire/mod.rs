//! Bytes of STUN and TURN: reading and writing messages in place, integrity, ChannelData.
//!
//! The only module that knows a codec. It reads from borrowed bytes, allocates nothing and takes no length
//! from the wire on trust; what a message means is left to `server`.

pub mod build;
pub mod channel;
pub mod integrity;
pub mod message;

pub use build::Builder;
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
    Request,
    Indication,
    Success,
    Error,
}

/// The methods that this server speaks; others are [`Method::Other`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    /// RFC 8489 §18.2
    Binding,
    /// RFC 8656 §17
    Allocate,
    Refresh,
    Send,
    Data,
    CreatePermission,
    ChannelBind,
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

/// Attribute types: RFC 8489 §18.3, RFC 8656 §18.
pub mod attr {
    pub const MAPPED_ADDRESS: u16 = 0x0001;
    pub const USERNAME: u16 = 0x0006;
    pub const MESSAGE_INTEGRITY: u16 = 0x0008;
    pub const ERROR_CODE: u16 = 0x0009;
    pub const UNKNOWN_ATTRIBUTES: u16 = 0x000A;
    pub const CHANNEL_NUMBER: u16 = 0x000C;
    pub const LIFETIME: u16 = 0x000D;
    pub const XOR_PEER_ADDRESS: u16 = 0x0012;
    pub const DATA: u16 = 0x0013;
    pub const REALM: u16 = 0x0014;
    pub const NONCE: u16 = 0x0015;
    pub const XOR_RELAYED_ADDRESS: u16 = 0x0016;
    pub const REQUESTED_ADDRESS_FAMILY: u16 = 0x0017;
    pub const EVEN_PORT: u16 = 0x0018;
    pub const REQUESTED_TRANSPORT: u16 = 0x0019;
    pub const MESSAGE_INTEGRITY_SHA256: u16 = 0x001C;
    pub const XOR_MAPPED_ADDRESS: u16 = 0x0020;
    pub const RESERVATION_TOKEN: u16 = 0x0022;
    pub const SOFTWARE: u16 = 0x8022;
    pub const FINGERPRINT: u16 = 0x8028;
}

/// Rounds up to the 32-bit boundary on which every attribute begins (RFC 8489 §14).
pub(crate) const fn padded(len: usize) -> usize {
    (len + 3) & !3
}
