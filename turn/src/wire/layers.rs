//! TURN inside TURN: how many servers a datagram has come through.

use super::{Class, Message, Method, attr, channel};

/// Headers of TURN servers, one inside the other, that stand before what a datagram carries in the end; counts no
/// further than `limit`.
pub(crate) fn layers(bytes: &[u8], limit: usize) -> usize {
    std::iter::successors(inner(bytes), |bytes| inner(bytes))
        .take(limit)
        .count()
}

/// What a ChannelData message or a Data indication carries; `None` of all else.
fn inner(bytes: &[u8]) -> Option<&[u8]> {
    match *bytes.first_chunk::<2>()? {
        [first, _] if channel::is_channel_data(first) => {
            let (_, payload) = channel::parse(bytes)?;
            // It may be padded (RFC 8656 §12.5), and is not followed by anything else.
            let is_whole = bytes.len() - payload.end < 4;
            bytes.get(payload).filter(|_| is_whole)
        }
        // Told apart by its type before it is read: most datagrams are none.
        [0x00, 0x17] => {
            let message = Message::parse(bytes).ok()?;
            let is_data = (message.method(), message.class()) == (Method::Data, Class::Indication);
            message.get(attr::DATA).filter(|_| is_data)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Builder;

    fn in_channel(bytes: &[u8]) -> Vec<u8> {
        let mut out = channel::header(0x4001, bytes.len()).unwrap().to_vec();
        out.extend_from_slice(bytes);
        out
    }

    fn in_indication(bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut message = Builder::new(&mut out, Method::Data, Class::Indication, [1; 12]);
        message.xor_address(attr::XOR_PEER_ADDRESS, "192.0.2.1:1".parse().unwrap());
        message.attribute(attr::DATA, bytes);
        out
    }

    #[test]
    fn layers_are_counted_up_to_a_limit_whatever_they_are_of() {
        let mut bytes = vec![0x80, 0x60, 1, 2, 3];
        assert_eq!(layers(&bytes, 9), 0);
        for count in 1..=6 {
            bytes = match count % 2 {
                0 => in_indication(&bytes),
                _ => in_channel(&bytes),
            };
            assert_eq!(layers(&bytes, 9), count);
            assert_eq!(layers(&bytes, 3), count.min(3));
        }
        // Padded, as on a stream.
        let mut bytes = in_channel(&in_channel(b"x"));
        bytes.extend_from_slice(&[0; 3]);
        assert_eq!(layers(&bytes, 9), 2);
    }

    #[test]
    fn what_only_looks_like_a_layer_is_none() {
        for bytes in [
            &[][..],
            &[0x40],
            &[0x40, 0, 0, 9, 1],
            &[0, 0x17],
            &[0, 0x17, 0, 0],
        ] {
            assert_eq!(layers(bytes, 9), 0, "{bytes:?}");
        }
        // A QUIC packet may begin as ChannelData does; its length does not fit.
        let mut quic = in_channel(&[7; 100]);
        quic.extend_from_slice(&[7; 100]);
        assert_eq!(layers(&quic, 9), 0);
        let mut torn = in_indication(b"hello");
        torn.pop();
        assert_eq!(layers(&torn, 9), 0);
    }
}
