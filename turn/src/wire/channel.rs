//! ChannelData (RFC 8656 §12.4): four bytes before the payload, read and written in place.

use std::ops::{Range, RangeInclusive};

use super::padded;

/// Bytes before the payload: number and length.
pub const HEADER_LEN: usize = 4;

/// Numbers that a client may bind (RFC 8656 §12).
pub const NUMBERS: RangeInclusive<u16> = 0x4000..=0x4FFF;
/// Numbers of RFC 5766 §11, which older clients choose from.
pub const LEGACY_NUMBERS: RangeInclusive<u16> = 0x4000..=0x7FFF;

/// Whether the first byte is that of ChannelData. Which numbers can be bound is decided when they are; here
/// both ranges are told apart from STUN (0–63) and from all else.
pub fn is_channel_data(first: u8) -> bool {
    (0x40..=0x7F).contains(&first)
}

/// Number and payload of a datagram that holds one ChannelData message; `None` when it is shorter than it
/// says. Bytes after the payload are padding and ignored (RFC 8656 §12.5).
pub fn parse(bytes: &[u8]) -> Option<(u16, Range<usize>)> {
    let &[n0, n1, l0, l1] = bytes.first_chunk::<HEADER_LEN>()?;
    let number = u16::from_be_bytes([n0, n1]);
    let end = HEADER_LEN + usize::from(u16::from_be_bytes([l0, l1]));
    (LEGACY_NUMBERS.contains(&number) && end <= bytes.len()).then_some((number, HEADER_LEN..end))
}

/// Header for a payload; `None` when it is too long.
pub fn header(number: u16, payload: usize) -> Option<[u8; HEADER_LEN]> {
    let [n0, n1] = number.to_be_bytes();
    let [l0, l1] = u16::try_from(payload).ok()?.to_be_bytes();
    Some([n0, n1, l0, l1])
}

/// Length on a stream, where each message is padded to four bytes (RFC 8656 §12.5).
pub fn padded_len(payload: usize) -> usize {
    HEADER_LEN + padded(payload)
}
