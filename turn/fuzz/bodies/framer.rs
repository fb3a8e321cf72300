//! The stream framer: what comes out must not depend on how the stream was torn.

use moznods_turn::net::message_len;
use moznods_turn::wire::{self, channel};

use super::Choices;

/// Byte 0: whether the client has an allocation; the next three: how the stream is torn; the rest: the stream.
pub fn run(data: &[u8]) {
    let mut choices = Choices::new(data);
    let allocated = choices.below(2) == 1;
    let sizes = [0; 3].map(|_| 1 + choices.below(256));
    let stream = choices.take(usize::MAX);

    let whole = messages(&[stream], allocated);
    let mut torn = Vec::new();
    let mut rest = stream;
    for size in sizes.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (head, tail) = rest.split_at((*size).min(rest.len()));
        torn.push(head);
        rest = tail;
    }
    assert_eq!(messages(&torn, allocated), whole);

    // The messages are the stream, from its beginning, and each is whole.
    let (messages, _) = whole;
    assert!(stream.starts_with(&messages.concat()));
    for message in messages {
        if channel::is_channel_data(message[0]) {
            let (_, payload) = channel::parse(&message).expect("as long as it says");
            assert_eq!(channel::padded_len(payload.len()), message.len());
        } else {
            let length = usize::from(u16::from_be_bytes([message[2], message[3]]));
            assert_eq!(wire::HEADER_LEN + length, message.len());
        }
    }
}

/// What comes out, and whether the stream was refused at the end.
fn messages(parts: &[&[u8]], allocated: bool) -> (Vec<Vec<u8>>, bool) {
    let mut held = Vec::new();
    let mut found = Vec::new();
    for part in parts {
        held.extend_from_slice(part);
        loop {
            match message_len(&held, || allocated) {
                Ok(Some(len)) => found.push(held.drain(..len).collect()),
                Ok(None) => break,
                Err(_) => return (found, true),
            }
        }
    }
    (found, false)
}
