//! RFC 8656 §18 and §21: what is reserved in attributes, and from where no request is taken.

use moznods_turn::server::{FiveTuple, Verdict};
use moznods_turn::wire::{Builder, Method, attr};

use crate::support::bench::{Bench, PEER, addr, allocated, udp};
use crate::support::{Client, udp_transport};

/// Asks for an allocation with one more attribute.
fn allocate_with(bench: &mut Bench, kind: u16, value: &[u8]) -> u16 {
    let mut client = Client::new("alice");
    let fill = |message: &mut Builder<'_>| {
        udp_transport(message);
        message.attribute(kind, value);
    };
    bench.ask(&mut client, udp(1), Method::Allocate, fill).code
}

/// An attribute whose value is no multiple of four bytes is padded to one.
#[test]
fn rfc8656_s18_attributes_are_padded() {
    let mut bench = Bench::new();
    let (mut client, _) = allocated(&mut bench, "alice", udp(1));
    bench.permit(&mut client, udp(1), &[addr(PEER)]);
    for length in 0..9 {
        let (_, bytes) = bench.peer_sends(PEER, &vec![7; length]).unwrap();
        assert_eq!(bytes.len(), 20 + 12 + 4 + length.next_multiple_of(4));
    }
}

/// The two reserved bytes of CHANNEL-NUMBER are ignored.
#[test]
fn rfc8656_s18_1_what_follows_the_channel_number_is_ignored() {
    let mut bench = Bench::new();
    let (mut client, _) = allocated(&mut bench, "alice", udp(1));
    let answer = bench.ask(&mut client, udp(1), Method::ChannelBind, |message| {
        message.attribute(attr::CHANNEL_NUMBER, &[0x40, 0x00, 0xFF, 0xFF]);
        message.xor_address(attr::XOR_PEER_ADDRESS, addr(PEER));
    });
    assert_eq!(answer.code, 0);
}

/// The three reserved bytes of REQUESTED-ADDRESS-FAMILY are ignored.
#[test]
fn rfc8656_s18_6_what_follows_the_family_is_ignored() {
    let value = [1, 0xFF, 0xFF, 0xFF];
    assert_eq!(
        allocate_with(&mut Bench::new(), attr::REQUESTED_ADDRESS_FAMILY, &value),
        0
    );
}

/// The seven reserved bits of EVEN-PORT are ignored.
#[test]
fn rfc8656_s18_7_the_other_bits_of_even_port_are_ignored() {
    let mut bench = Bench::new();
    assert_eq!(allocate_with(&mut bench, attr::EVEN_PORT, &[0x7F]), 0);
    assert_eq!(bench.relay_of(bench.live[0]).port() % 2, 0);
}

/// The three reserved bytes of REQUESTED-TRANSPORT are ignored.
#[test]
fn rfc8656_s18_8_what_follows_the_protocol_is_ignored() {
    let mut bench = Bench::new();
    let mut client = Client::new("alice");
    let answer = bench.ask(&mut client, udp(1), Method::Allocate, |message| {
        message.attribute(attr::REQUESTED_TRANSPORT, &[17, 0xFF, 0xFF, 0xFF]);
    });
    assert_eq!(answer.code, 0);
}

/// No Allocate or ChannelBind is taken that comes from a Teredo or 6to4 address, and nothing goes to one: whoever stands
/// at the tunnel's end would have to carry it on.
#[test]
fn rfc8656_s21_4_no_tunnelled_address_is_served() {
    let mut bench = Bench::new();
    let tunnelled = ["[2001:0:808:808::1]:9", "[2002:808:808::1]:9"];
    for client in tunnelled {
        let tuple = FiveTuple {
            client: addr(client),
            ..udp(1)
        };
        let answer = bench.allocate(&mut Client::new("alice"), tuple);
        assert_eq!(answer.code, 403, "{client}");
        assert!(!bench.server.has_allocation(tuple));
    }
    let mut client = Client::new("alice");
    bench.ask(&mut client, udp(1), Method::Allocate, |message| {
        udp_transport(message);
        message.attribute(attr::REQUESTED_ADDRESS_FAMILY, &[2, 0, 0, 0]);
    });
    for peer in tunnelled {
        let peer = addr(peer);
        assert_eq!(bench.bind(&mut client, udp(1), 0x4000, peer).code, 403);
        assert_eq!(bench.permit(&mut client, udp(1), &[peer]).code, 403);
        let data = client.send_indication(peer, b"x");
        assert_eq!(bench.verdict(udp(1), &data), Verdict::Done);
    }
}
