//! RFC 8656 §9 to §12: permissions, and data by indications and channels.

use moznods_turn::server::{Limits, Verdict};
use moznods_turn::wire::{Builder, Class, Message, Method, attr, channel};

use crate::support::bench::{Bench, PEER, addr, allocated, tcp, udp};
use crate::support::{Client, channel_data};

/// An allocation of alice with a permission for [`PEER`] and, if asked for, a channel.
fn prepared(with_channel: bool) -> (Bench, Client) {
    let mut bench = Bench::new();
    let (mut client, _) = allocated(&mut bench, "alice", udp(1));
    assert_eq!(bench.refresh(&mut client, udp(1), Some(3600)).code, 0);
    let answer = if with_channel {
        bench.bind(&mut client, udp(1), 0x4000, addr(PEER))
    } else {
        bench.permit(&mut client, udp(1), &[addr(PEER)])
    };
    assert_eq!(answer.code, 0);
    (bench, client)
}

/// A permission lasts 300 seconds.
#[test]
fn rfc8656_s9_a_permission_lasts_300_seconds() {
    let (mut bench, mut client) = prepared(false);
    let data = client.send_indication(addr(PEER), b"x");
    bench.pass(299);
    assert!(bench.relayed(udp(1), &data).is_some());
    assert!(bench.peer_sends(PEER, b"x").is_some());
    bench.pass(1);
    assert_eq!(bench.relayed(udp(1), &data), None);
    assert_eq!(bench.peer_sends(PEER, b"x"), None);
}

/// CreatePermission and ChannelBind alike set the time of a permission anew.
#[test]
fn rfc8656_s9_either_request_refreshes_a_permission() {
    for by_channel in [false, true] {
        let (mut bench, mut client) = prepared(!by_channel);
        bench.pass(200);
        let answer = if by_channel {
            bench.bind(&mut client, udp(1), 0x4000, addr(PEER))
        } else {
            bench.permit(&mut client, udp(1), &[addr(PEER)])
        };
        assert_eq!(answer.code, 0);
        bench.pass(299);
        assert!(bench.peer_sends(PEER, b"x").is_some());
        bench.pass(1);
        assert_eq!(bench.peer_sends(PEER, b"x"), None);
    }
}

/// A datagram is let in by its address alone, from whatever port; from any other address it is dropped.
#[test]
fn rfc8656_s9_a_permission_is_for_an_address_at_any_port() {
    let (mut bench, _) = prepared(false);
    for from in ["8.8.8.8:1", "8.8.8.8:65535", PEER] {
        assert!(bench.peer_sends(from, b"x").is_some());
    }
    for from in ["8.8.8.9:4000", "8.8.4.4:4000", "[2606:4700::1]:4000"] {
        assert_eq!(bench.peer_sends(from, b"x"), None);
    }
}

/// Permissions of one allocation are nothing to another, and end with theirs.
#[test]
fn rfc8656_s9_permissions_belong_to_one_allocation() {
    let (mut bench, mut client) = prepared(false);
    allocated(&mut bench, "alice", udp(2));
    assert_eq!(bench.peer_sends(PEER, b"x"), None);
    let data = client.send_indication(addr(PEER), b"x");
    assert_eq!(bench.relayed(udp(2), &data), None);
    assert!(bench.relayed(udp(1), &data).is_some());
}

/// A CreatePermission without a peer address, or with one that is malformed, is refused with 400.
#[test]
fn rfc8656_s10_2_a_permission_needs_addresses() {
    let mut bench = Bench::new();
    let (mut client, _) = allocated(&mut bench, "alice", udp(1));
    let mut code = |values: &[&[u8]]| {
        let fill = |message: &mut Builder<'_>| {
            let each = |value: &&[u8]| message.attribute(attr::XOR_PEER_ADDRESS, value);
            values.iter().for_each(each);
        };
        bench
            .ask(&mut client, udp(1), Method::CreatePermission, fill)
            .code
    };
    let good: &[u8] = &[0, 1, 0, 0, 0x29, 0x1A, 0xAC, 0x4A];
    assert_eq!(code(&[]), 400);
    assert_eq!(code(&[&good[..7]]), 400);
    assert_eq!(code(&[good, &good[..3]]), 400);
    assert_eq!(
        code(&[good, &[0, 3, 0, 0, 1, 2, 3, 4]]),
        400,
        "no such family"
    );
    assert_eq!(code(&[good]), 0);
}

/// More permissions than an allocation may have are refused with 508.
#[test]
fn rfc8656_s10_2_too_many_permissions_are_refused() {
    let limits = Limits {
        permissions: 2,
        ..Limits::default()
    };
    let mut bench = Bench::with(limits, 50000..=50099);
    let (mut client, _) = allocated(&mut bench, "alice", udp(1));
    let peers = ["8.8.8.1:9", "8.8.8.2:9", "8.8.8.3:9"].map(addr);
    assert_eq!(bench.permit(&mut client, udp(1), &peers).code, 508);
    assert_eq!(bench.permit(&mut client, udp(1), &peers[..2]).code, 0);
    assert_eq!(bench.permit(&mut client, udp(1), &peers[2..]).code, 508);
    assert_eq!(
        bench.permit(&mut client, udp(1), &peers[..2]).code,
        0,
        "they are there already"
    );
}

/// A CreatePermission for an address of another family than the relayed one's is refused with 443.
#[test]
fn rfc8656_s10_2_a_permission_is_for_the_relays_family() {
    let mut bench = Bench::new();
    let (mut client, _) = allocated(&mut bench, "alice", udp(1));
    let peers = [addr(PEER), addr("[2606:4700::1]:9")];
    let answer = bench.permit(&mut client, udp(1), &peers);
    assert_eq!((answer.code, answer.signed), (443, true));
    assert_eq!(bench.peer_sends(PEER, b"x"), None, "all of them or none");
}

/// A CreatePermission for an address that is forbidden is refused with 403, the good ones in it as well.
#[test]
fn rfc8656_s10_2_a_forbidden_permission_is_refused() {
    let mut bench = Bench::new();
    let (mut client, _) = allocated(&mut bench, "alice", udp(1));
    let peers = [addr(PEER), addr("192.168.0.1:9")];
    assert_eq!(bench.permit(&mut client, udp(1), &peers).code, 403);
    assert_eq!(bench.peer_sends(PEER, b"x"), None);
}

/// Every address that a CreatePermission names is permitted, whatever port stands beside it.
#[test]
fn rfc8656_s10_2_all_addresses_of_a_request_are_permitted() {
    let mut bench = Bench::new();
    let (mut client, _) = allocated(&mut bench, "alice", udp(1));
    let peers = ["8.8.8.1:0", "8.8.8.2:1", "8.8.8.3:65535"].map(addr);
    assert_eq!(bench.permit(&mut client, udp(1), &peers).code, 0);
    for from in ["8.8.8.1:7", "8.8.8.2:7", "8.8.8.3:7"] {
        assert!(bench.peer_sends(from, b"x").is_some());
    }
}

/// A Send indication has a peer address and data, or is dropped.
#[test]
fn rfc8656_s11_2_a_send_indication_has_address_and_data() {
    let (mut bench, _) = prepared(false);
    let mut send = |fill: &dyn Fn(&mut Builder<'_>)| {
        let mut bytes = Vec::new();
        fill(&mut Builder::new(
            &mut bytes,
            Method::Send,
            Class::Indication,
            [1; 12],
        ));
        bench.relayed(udp(1), &bytes).is_some()
    };
    let peer = |message: &mut Builder<'_>| message.xor_address(attr::XOR_PEER_ADDRESS, addr(PEER));
    assert!(!send(&|_| {}));
    assert!(!send(&peer));
    assert!(!send(&|message| message.attribute(attr::DATA, b"x")));
    assert!(!send(&|message| {
        message.attribute(attr::XOR_PEER_ADDRESS, &[0, 1, 0, 9, 1, 2, 3]);
        message.attribute(attr::DATA, b"x");
    }));
    assert!(send(&|message| {
        message.attribute(attr::DATA, b"x");
        peer(message);
    }));
}

/// Data may be empty: an empty datagram goes out.
#[test]
fn rfc8656_s11_2_empty_data_is_sent() {
    let (mut bench, mut client) = prepared(false);
    let data = client.send_indication(addr(PEER), b"");
    assert_eq!(bench.relayed(udp(1), &data), Some((addr(PEER), Vec::new())));
}

/// Without a permission for the peer's address, a Send indication is dropped.
#[test]
fn rfc8656_s11_2_a_send_indication_needs_a_permission() {
    let mut bench = Bench::new();
    let (mut client, _) = allocated(&mut bench, "alice", udp(1));
    let data = client.send_indication(addr(PEER), b"x");
    assert_eq!(bench.relayed(udp(1), &data), None);
    bench.permit(&mut client, udp(1), &[addr(PEER)]);
    assert!(bench.relayed(udp(1), &data).is_some());
    let other = client.send_indication(addr("8.8.4.4:1"), b"x");
    assert_eq!(bench.relayed(udp(1), &other), None);
}

/// A Send indication does not prolong a permission.
#[test]
fn rfc8656_s11_2_sending_refreshes_no_permission() {
    let (mut bench, mut client) = prepared(false);
    let data = client.send_indication(addr(PEER), b"x");
    for _ in 0..3 {
        bench.pass(99);
        assert!(bench.relayed(udp(1), &data).is_some());
    }
    bench.pass(3);
    assert_eq!(bench.relayed(udp(1), &data), None);
}

/// A Send indication to an address that is forbidden is dropped without a word.
#[test]
fn rfc8656_s11_2_a_forbidden_peer_is_sent_nothing() {
    let (mut bench, mut client) = prepared(false);
    for peer in ["127.0.0.1:9", "10.0.0.1:9", "8.8.8.8:0"] {
        let data = client.send_indication(addr(peer), b"x");
        assert_eq!(bench.verdict(udp(1), &data), Verdict::Done, "{peer}");
    }
}

/// What goes out is the data, to the address that the indication names, from the allocation of its 5-tuple.
#[test]
fn rfc8656_s11_2_the_datagram_is_what_the_indication_says() {
    let (mut bench, mut client) = prepared(false);
    let first = bench.live[0];
    allocated(&mut bench, "alice", udp(2));
    let bytes = client.send_indication(addr("8.8.8.8:53"), b"to whom it may concern");
    let Verdict::ToPeer {
        allocation,
        peer,
        payload,
        ..
    } = bench.verdict(udp(1), &bytes)
    else {
        panic!("not sent")
    };
    assert_eq!((allocation, peer), (first, addr("8.8.8.8:53")));
    assert_eq!(&bytes[payload], b"to whom it may concern");
}

/// A datagram from an address without a permission is dropped.
#[test]
fn rfc8656_s11_3_a_datagram_needs_a_permission() {
    let mut bench = Bench::new();
    let (mut client, _) = allocated(&mut bench, "alice", udp(1));
    assert_eq!(bench.peer_sends(PEER, b"x"), None);
    bench.permit(&mut client, udp(1), &[addr(PEER)]);
    assert!(bench.peer_sends(PEER, b"x").is_some());
}

/// A Data indication has the address of the peer that sent, and the data.
#[test]
fn rfc8656_s11_3_a_data_indication_has_address_and_data() {
    let (mut bench, _) = prepared(false);
    for payload in [&b"world"[..], b""] {
        let (tuple, bytes) = bench.peer_sends("8.8.8.8:5", payload).unwrap();
        assert_eq!(tuple, udp(1));
        let message = Message::parse(&bytes).unwrap();
        let kind = (message.method(), message.class());
        assert_eq!(kind, (Method::Data, Class::Indication));
        let from = message.xor_address(message.get(attr::XOR_PEER_ADDRESS).unwrap());
        assert_eq!(from, Some(addr("8.8.8.8:5")));
        assert_eq!(message.get(attr::DATA).unwrap(), payload);
    }
}

/// What begins with a byte that is neither STUN's nor a channel's is dropped.
#[test]
fn rfc8656_s12_what_begins_otherwise_is_dropped() {
    let (mut bench, _) = prepared(true);
    let good = channel_data(0x4000, b"hello");
    assert!(bench.relayed(udp(1), &good).is_some());
    for first in (4..=0xFF).filter(|first| !(0x40..=0x4F).contains(first)) {
        let mut bytes = good.clone();
        bytes[0] = first;
        assert_eq!(bench.verdict(udp(1), &bytes), Verdict::Done, "{first}");
    }
}

/// Channels of one allocation are nothing to another.
#[test]
fn rfc8656_s12_channels_belong_to_one_allocation() {
    let (mut bench, mut client) = prepared(true);
    client.nonce.clear();
    allocated(&mut bench, "alice", udp(2));
    let other = addr("8.8.4.4:1");
    assert_eq!(bench.bind(&mut client, udp(2), 0x4000, other).code, 0);
    let data = channel_data(0x4000, b"x");
    assert_eq!(
        bench.relayed(udp(1), &data),
        Some((addr(PEER), b"x".to_vec()))
    );
    assert_eq!(bench.relayed(udp(2), &data), Some((other, b"x".to_vec())));
}

/// A binding lasts ten minutes, and binding again sets its time anew.
#[test]
fn rfc8656_s12_a_binding_lasts_ten_minutes() {
    let (mut bench, mut client) = prepared(true);
    bench.pass(500);
    assert_eq!(bench.bind(&mut client, udp(1), 0x4000, addr(PEER)).code, 0);
    client.nonce.clear();
    bench.pass(599);
    bench.permit(&mut client, udp(1), &[addr(PEER)]);
    let data = channel_data(0x4000, b"x");
    assert!(bench.relayed(udp(1), &data).is_some());
    assert_eq!(bench.peer_sends(PEER, b"x").unwrap().1, data);
    bench.pass(1);
    assert_eq!(bench.relayed(udp(1), &data), None);
    let (_, bytes) = bench.peer_sends(PEER, b"x").unwrap();
    assert_eq!(Message::parse(&bytes).unwrap().method(), Method::Data);
}

/// A number whose binding has ended can be bound to another peer, and the peer to another number.
#[test]
fn rfc8656_s12_what_was_unbound_can_be_bound_again() {
    let (mut bench, mut client) = prepared(true);
    bench.pass(900);
    client.nonce.clear();
    let other = addr("8.8.4.4:1");
    assert_eq!(bench.bind(&mut client, udp(1), 0x4000, other).code, 0);
    assert_eq!(bench.bind(&mut client, udp(1), 0x4001, addr(PEER)).code, 0);
    let to = bench.relayed(udp(1), &channel_data(0x4000, b"x"));
    assert_eq!(to, Some((other, b"x".to_vec())));
}

/// A ChannelBind without number or peer address is refused with 400.
#[test]
fn rfc8656_s12_2_a_binding_needs_number_and_address() {
    let (mut bench, mut client) = prepared(false);
    let mut code = |fill: &dyn Fn(&mut Builder<'_>)| {
        bench
            .ask(&mut client, udp(1), Method::ChannelBind, fill)
            .code
    };
    assert_eq!(code(&|_| {}), 400);
    assert_eq!(
        code(&|m| m.xor_address(attr::XOR_PEER_ADDRESS, addr(PEER))),
        400
    );
    assert_eq!(
        code(&|m| m.attribute(attr::CHANNEL_NUMBER, &[0x40, 0, 0, 0])),
        400
    );
    assert_eq!(
        code(&|m| {
            m.attribute(attr::CHANNEL_NUMBER, &[0x40, 0]);
            m.xor_address(attr::XOR_PEER_ADDRESS, addr(PEER));
        }),
        400
    );
}

/// A number outside 0x4000 to 0x4FFF is refused with 400.
#[test]
fn rfc8656_s12_2_numbers_are_from_4000_to_4fff() {
    let (mut bench, mut client) = prepared(false);
    for number in [0, 0x3FFF, 0x5000, 0x7FFF, 0xFFFF] {
        let answer = bench.bind(&mut client, udp(1), number, addr(PEER));
        assert_eq!(answer.code, 400, "{number:x}");
    }
    for (number, peer) in [(0x4000, "8.8.8.8:1"), (0x4FFF, "8.8.8.8:2")] {
        assert_eq!(bench.bind(&mut client, udp(1), number, addr(peer)).code, 0);
    }
}

/// A number that is bound to another peer is refused with 400; to the same one it may be bound again.
#[test]
fn rfc8656_s12_2_a_number_has_one_peer() {
    let (mut bench, mut client) = prepared(true);
    let other = bench.bind(&mut client, udp(1), 0x4000, addr("8.8.8.8:4001"));
    assert_eq!(other.code, 400);
    assert_eq!(bench.bind(&mut client, udp(1), 0x4000, addr(PEER)).code, 0);
}

/// A peer that is bound to another number is refused with 400.
#[test]
fn rfc8656_s12_2_a_peer_has_one_number() {
    let (mut bench, mut client) = prepared(true);
    assert_eq!(
        bench.bind(&mut client, udp(1), 0x4001, addr(PEER)).code,
        400
    );
    let other_port = addr("8.8.8.8:4001");
    assert_eq!(bench.bind(&mut client, udp(1), 0x4001, other_port).code, 0);
}

/// A ChannelBind to an address of another family than the relayed one's is refused with 443.
#[test]
fn rfc8656_s12_2_a_binding_is_to_the_relays_family() {
    let (mut bench, mut client) = prepared(false);
    let answer = bench.bind(&mut client, udp(1), 0x4000, addr("[2606:4700::1]:9"));
    assert_eq!((answer.code, answer.signed), (443, true));
}

/// A ChannelBind to an address or port that is forbidden is refused with 403.
#[test]
fn rfc8656_s12_2_a_forbidden_binding_is_refused() {
    let (mut bench, mut client) = prepared(false);
    for peer in ["127.0.0.1:9", "198.51.100.7:3478", "8.8.8.8:0"] {
        let answer = bench.bind(&mut client, udp(1), 0x4000, addr(peer));
        assert_eq!(answer.code, 403, "{peer}");
    }
}

/// More bindings than an allocation may have are refused with 508.
#[test]
fn rfc8656_s12_2_too_many_bindings_are_refused() {
    let limits = Limits {
        channels: 2,
        ..Limits::default()
    };
    let mut bench = Bench::with(limits, 50000..=50099);
    let (mut client, _) = allocated(&mut bench, "alice", udp(1));
    for (number, peer, code) in [
        (0x4000, "8.8.8.8:1", 0),
        (0x4001, "8.8.8.8:2", 0),
        (0x4002, "8.8.8.8:3", 508),
        (0x4001, "8.8.8.8:2", 0),
    ] {
        assert_eq!(
            bench.bind(&mut client, udp(1), number, addr(peer)).code,
            code
        );
    }
}

/// A ChannelBind permits the peer's address as well.
#[test]
fn rfc8656_s12_2_a_binding_brings_a_permission() {
    let (mut bench, mut client) = prepared(true);
    assert!(bench.peer_sends("8.8.8.8:9", b"x").is_some());
    let data = client.send_indication(addr("8.8.8.8:9"), b"x");
    assert!(bench.relayed(udp(1), &data).is_some());
}

/// Towards a client who has bound a channel to the peer, data comes as ChannelData and never as an indication.
#[test]
fn rfc8656_s12_5_the_server_uses_the_channel() {
    let (mut bench, _) = prepared(true);
    let (tuple, bytes) = bench.peer_sends(PEER, b"pong!").unwrap();
    assert_eq!((tuple, bytes), (udp(1), channel_data(0x4000, b"pong!")));
    let (_, bytes) = bench.peer_sends("8.8.8.8:4001", b"pong!").unwrap();
    assert_eq!(bytes[0] & 0xC0, 0, "another port is another peer");
}

/// On a stream, ChannelData is padded to four bytes, which its length does not count.
#[test]
fn rfc8656_s12_5_channel_data_on_a_stream_is_padded() {
    let mut bench = Bench::new();
    let (mut client, _) = allocated(&mut bench, "alice", tcp(1));
    bench.bind(&mut client, tcp(1), 0x4000, addr(PEER));
    for length in 0..9 {
        let payload = vec![7; length];
        let (_, bytes) = bench.peer_sends(PEER, &payload).unwrap();
        let mut padded = channel_data(0x4000, &payload);
        padded.resize(padded.len().next_multiple_of(4), 0);
        assert_eq!(bytes, padded);
    }
}

/// ChannelData of a reserved number is dropped.
#[test]
fn rfc8656_s12_6_reserved_numbers_are_dropped() {
    let (mut bench, _) = prepared(true);
    for number in [0x5000, 0x7FFF, 0x8000, 0xFFFF] {
        let data = channel_data(number, b"x");
        assert_eq!(bench.verdict(udp(1), &data), Verdict::Done, "{number:x}");
    }
}

/// A datagram that is shorter than its ChannelData says is dropped; one that is longer is padded.
#[test]
fn rfc8656_s12_6_a_datagram_shorter_than_it_says_is_dropped() {
    let (mut bench, _) = prepared(true);
    let data = channel_data(0x4000, b"hello");
    for end in 0..data.len() {
        assert_eq!(bench.verdict(udp(1), &data[..end]), Verdict::Done, "{end}");
    }
    let padded = [&data[..], &[0xFF; 3]].concat();
    for bytes in [data, padded] {
        assert_eq!(
            bench.relayed(udp(1), &bytes),
            Some((addr(PEER), b"hello".to_vec()))
        );
    }
    assert_eq!(channel::parse(&[0x40, 0, 0, 5, 1, 2, 3, 4]), None);
}

/// ChannelData of a number that is not bound is dropped.
#[test]
fn rfc8656_s12_6_a_number_that_is_not_bound_is_dropped() {
    let (mut bench, _) = prepared(true);
    assert_eq!(
        bench.verdict(udp(1), &channel_data(0x4001, b"x")),
        Verdict::Done
    );
    assert_eq!(
        bench.verdict(udp(2), &channel_data(0x4000, b"x")),
        Verdict::Done
    );
}

/// ChannelData prolongs neither the binding nor the permission.
#[test]
fn rfc8656_s12_6_data_refreshes_nothing() {
    let (mut bench, mut client) = prepared(true);
    let data = channel_data(0x4000, b"x");
    for _ in 0..2 {
        bench.pass(149);
        assert!(bench.relayed(udp(1), &data).is_some());
        assert!(bench.peer_sends(PEER, b"x").is_some());
    }
    bench.pass(2);
    assert_eq!(bench.relayed(udp(1), &data), None, "the permission is over");
    bench.permit(&mut client, udp(1), &[addr(PEER)]);
    bench.pass(299);
    assert!(bench.relayed(udp(1), &data).is_some());
    bench.pass(1);
    client.nonce.clear();
    bench.permit(&mut client, udp(1), &[addr(PEER)]);
    assert_eq!(bench.relayed(udp(1), &data), None, "the binding is over");
}

/// What goes out is the payload, to the peer that the number is bound to, from the allocation of the 5-tuple; an empty
/// one as well.
#[test]
fn rfc8656_s12_6_the_datagram_is_what_the_channel_says() {
    let (mut bench, _) = prepared(true);
    let first = bench.live[0];
    allocated(&mut bench, "alice", udp(2));
    for content in [&b"ping"[..], b""] {
        let bytes = channel_data(0x4000, content);
        let Verdict::ToPeer {
            allocation,
            peer,
            payload,
            ..
        } = bench.verdict(udp(1), &bytes)
        else {
            panic!("not sent")
        };
        assert_eq!((allocation, peer), (first, addr(PEER)));
        assert_eq!(&bytes[payload], content);
    }
}
