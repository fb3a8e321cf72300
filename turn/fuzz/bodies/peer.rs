//! Datagrams of peers: what reaches the client is the payload, whole, in a message that says whence.

use moznods_turn::server::HEADROOM;
use moznods_turn::wire::{Class, Message, Method, attr, channel};

use super::{CHANNEL, Choices, PEERS, is_permitted, prepare};
use crate::support::bench::{Bench, addr, tcp, udp};
use crate::support::whole;

/// Each datagram: one byte says from whom and to whom, one byte its port, one how time passes, two how long it is; then
/// its bytes, repeated when there are fewer.
pub fn run(data: &[u8]) {
    let mut bench = Bench::new();
    let tuples = [udp(1), tcp(2)];
    for tuple in tuples {
        prepare(&mut bench, tuple);
    }
    let mut choices = Choices::new(data);
    let mut passed = 0;
    while !choices.is_over() && bench.live.len() == 2 {
        let how = choices.byte();
        let port = choices.byte();
        let time = choices.byte();
        let length = usize::from(choices.byte()) | usize::from(choices.byte()) << 8;
        let bytes = choices.take(length.min(64));
        let payload: Vec<u8> = bytes.iter().copied().cycle().take(length).collect();
        let to = usize::from(how & 1);
        let mut peer = addr(PEERS[usize::from(how >> 1) % PEERS.len()]);
        if port != 0 {
            peer.set_port(port.into());
        }
        bench.pass(time.into());
        passed += u64::from(time);

        let mut head = [0xEE; HEADROOM];
        if bench.live.len() < 2 {
            return;
        }
        let allocation = bench.live[to];
        let server = &mut bench.server;
        let sent = server.handle_peer(bench.now, allocation, peer, &payload, &mut head);
        let Some(to_client) = sent else {
            continue;
        };
        let tuple = to_client.tuple;
        assert_eq!(tuple, tuples[to]);
        assert!(
            is_permitted(peer) && passed < 300,
            "a permission that is over"
        );
        let message = &whole(to_client, &head, &payload)[..];
        if channel::is_channel_data(message[0]) {
            let (number, place) = channel::parse(message).expect("ChannelData");
            assert_eq!((number, &message[place.clone()]), (CHANNEL, &payload[..]));
            assert_eq!(peer, addr(PEERS[0]));
            assert!(message[place.end..].iter().all(|byte| *byte == 0));
            let aligned = message.len().is_multiple_of(4);
            assert!(aligned || tuple.transport == tuples[0].transport);
        } else {
            let message = Message::parse(message).expect("an indication");
            let kind = (message.method(), message.class());
            assert_eq!(kind, (Method::Data, Class::Indication));
            let from = message.get(attr::XOR_PEER_ADDRESS).expect("a peer");
            assert_eq!(message.xor_address(from), Some(peer));
            assert_eq!(message.get(attr::DATA), Some(&payload[..]));
            let padding = payload.len().next_multiple_of(4) - payload.len();
            let end = message.bytes().len();
            assert!(
                message.bytes()[end - padding..]
                    .iter()
                    .all(|byte| *byte == 0)
            );
        }
    }
}
