//! Allocations that follow their clients to other addresses (RFC 8016).

mod support;

use std::net::UdpSocket;
use std::sync::Arc;

use moznods_turn::net::{Listeners, Relay};
use moznods_turn::server::{Ended, Event, FiveTuple, Transport, Verdict};
use moznods_turn::wire::{Builder, Method, attr};
use support::bench::{Bench, PEER, addr, tcp, udp};
use support::sockets::{Caller, PATIENCE, wait_until};
use support::{Answer, Client, Users, bind, channel_data, udp_transport};

const CHANNEL: u16 = 0x4000;

fn mobile(message: &mut Builder<'_>) {
    udp_transport(message);
    message.attribute(attr::MOBILITY_TICKET, &[]);
}

fn ticket(answer: &Answer) -> Vec<u8> {
    answer.get(attr::MOBILITY_TICKET).expect("a ticket")
}

/// A client with an allocation that may move, a channel to [`PEER`], and its ticket.
fn prepared(bench: &mut Bench, tuple: FiveTuple) -> (Client, Vec<u8>) {
    let mut client = Client::new("alice");
    let answer = bench.ask(&mut client, tuple, Method::Allocate, mobile);
    assert_eq!(answer.code, 0);
    let bound = bench.ask(&mut client, tuple, Method::ChannelBind, |m| {
        bind(CHANNEL, addr(PEER))(m)
    });
    assert_eq!(bound.code, 0);
    (client, ticket(&answer))
}

fn show(ticket: &[u8]) -> impl Fn(&mut Builder<'_>) + '_ {
    move |message| message.attribute(attr::MOBILITY_TICKET, ticket)
}

/// A Refresh with a ticket from a new 5-tuple, whose nonce the client has to be told first.
fn refresh(bench: &mut Bench, client: &mut Client, tuple: FiveTuple, ticket: &[u8]) -> Answer {
    client.nonce.clear();
    bench.ask(client, tuple, Method::Refresh, show(ticket))
}

fn sends(bench: &mut Bench, tuple: FiveTuple) -> bool {
    let verdict = bench.verdict(tuple, &channel_data(CHANNEL, b"data"));
    matches!(verdict, Verdict::ToPeer { .. })
}

fn hears_at(bench: &mut Bench) -> FiveTuple {
    bench.peer_sends(PEER, b"back").expect("passed on").0
}

#[test]
fn a_ticket_is_given_to_those_who_ask() {
    let mut bench = Bench::new();
    let mut client = Client::new("alice");
    let answer = bench.ask(&mut client, udp(1), Method::Allocate, udp_transport);
    assert_eq!(answer.get(attr::MOBILITY_TICKET), None);
    client.nonce.clear();
    let answer = bench.ask(&mut client, udp(2), Method::Allocate, |m| {
        udp_transport(m);
        show(b"not empty")(m);
    });
    assert_eq!(answer.code, 400);
    let request = client.request(Method::Allocate, mobile);
    let first = bench.send(udp(2), &request).unwrap();
    assert!(!ticket(&client.read(&first)).is_empty());
    assert_eq!(bench.send(udp(2), &request).unwrap(), first, "sent again");
}

#[test]
fn mobility_can_be_forbidden() {
    let mut bench = Bench::configured(|config| config.mobility = false);
    let mut client = Client::new("alice");
    let answer = bench.ask(&mut client, udp(1), Method::Allocate, mobile);
    assert_eq!(answer.code, 405);
    bench.allocate(&mut client, udp(1));
    let answer = bench.ask(&mut client, udp(1), Method::Refresh, show(&[0; 32]));
    assert_eq!(answer.code, 405);
}

/// A Refresh with a ticket is answered with another ticket, and data goes on by the old 5-tuple until a Send indication or ChannelData comes by the new one.
#[test]
fn rfc8016_s3_2_2_the_old_address_counts_until_data_comes_from_the_new_one() {
    let mut bench = Bench::new();
    let (mut client, first) = prepared(&mut bench, udp(1));
    let answer_at_2 = refresh(&mut bench, &mut client, udp(2), &first);
    assert_eq!(answer_at_2.code, 0);
    assert_eq!(answer_at_2.u32(attr::LIFETIME), Some(600));
    assert_ne!(ticket(&answer_at_2), first);
    assert!(sends(&mut bench, udp(1)), "from the old address");
    assert_eq!(hears_at(&mut bench), udp(1));
    let request = bench.ask(&mut client, udp(2), Method::ChannelBind, |m| {
        bind(CHANNEL, addr(PEER))(m)
    });
    assert_eq!(request.code, 0);
    assert_eq!(hears_at(&mut bench), udp(1), "a request moves nothing");

    assert!(sends(&mut bench, udp(2)));
    assert_eq!(hears_at(&mut bench), udp(2));
    assert!(!sends(&mut bench, udp(1)), "the old address is nobody's");
    let answer = bench.ask(&mut client, udp(2), Method::Refresh, |_| {});
    assert_eq!((answer.code, answer.get(attr::MOBILITY_TICKET)), (0, None));
    assert_eq!(bench.live.len(), 1);
    // A Send indication does as well.
    let second = ticket(&answer_at_2);
    let answer = refresh(&mut bench, &mut client, udp(3), &second);
    assert_eq!(answer.code, 0);
    let data = client.send_indication(addr(PEER), b"data");
    assert!(matches!(
        bench.verdict(udp(3), &data),
        Verdict::ToPeer { .. }
    ));
    assert_eq!(hears_at(&mut bench), udp(3));
}

/// A ticket that has served is refused with 400, and the next move needs the new one.
#[test]
fn rfc8016_s3_2_2_a_ticket_is_for_one_move() {
    let mut bench = Bench::new();
    let (mut client, first) = prepared(&mut bench, udp(1));
    assert_eq!(refresh(&mut bench, &mut client, udp(1), &first).code, 400);
    client.nonce.clear();
    bench.ask(&mut client, udp(2), Method::Refresh, |_| {});
    let request = client.request(Method::Refresh, show(&first));
    let answer = bench.send(udp(2), &request).unwrap();
    assert_eq!(bench.send(udp(2), &request).unwrap(), answer, "sent again");
    let second = ticket(&client.read(&answer));
    assert_eq!(refresh(&mut bench, &mut client, udp(2), &first).code, 400);
    assert_eq!(refresh(&mut bench, &mut client, udp(3), &first).code, 400);
    assert_eq!(refresh(&mut bench, &mut client, udp(2), &second).code, 400);
    bench.pass(31);
    let late = bench.send(udp(2), &request).unwrap();
    assert_eq!(client.read(&late).code, 400);

    // Who moves on before he has sent anything is not reached by the place in between.
    assert_eq!(refresh(&mut bench, &mut client, udp(3), &second).code, 0);
    assert!(!sends(&mut bench, udp(2)));
    assert!(sends(&mut bench, udp(3)));
    assert_eq!(hears_at(&mut bench), udp(3));
    // With data from there the ticket before is forgotten.
    assert_eq!(refresh(&mut bench, &mut client, udp(4), &second).code, 437);
}

/// A ticket that was not given out, or was changed, is refused with 400, another user's with 441, and one of no allocation with 437.
#[test]
fn rfc8016_s3_2_2_a_ticket_serves_its_owner_alone() {
    let mut bench = Bench::new();
    let (mut alice, first) = prepared(&mut bench, udp(1));
    let mut bob = Client::new("bob");
    assert_eq!(refresh(&mut bench, &mut bob, udp(2), &first).code, 441);
    for at in 0..first.len() {
        let mut forged = first.clone();
        forged[at] ^= 1;
        assert_eq!(refresh(&mut bench, &mut alice, udp(2), &forged).code, 400);
    }
    for len in [0, 1, 31, 33, 400] {
        let forged = vec![0; len];
        assert_eq!(refresh(&mut bench, &mut alice, udp(2), &forged).code, 400);
    }
    alice.nonce.clear();
    assert_eq!(bench.allocate(&mut alice, udp(3)).code, 0);
    assert_eq!(refresh(&mut bench, &mut alice, udp(3), &first).code, 437);
    assert!(!sends(&mut bench, udp(2)));
    assert!(sends(&mut bench, udp(1)));
    bench.pass(600);
    assert_eq!(refresh(&mut bench, &mut alice, udp(2), &first).code, 437);
}

#[test]
fn a_client_that_has_moved_can_give_its_allocation_up() {
    let mut bench = Bench::new();
    let (mut client, first) = prepared(&mut bench, udp(1));
    client.nonce.clear();
    let answer = bench.ask(&mut client, udp(2), Method::Refresh, |m| {
        m.u32(attr::LIFETIME, 0);
        show(&first)(m);
    });
    assert_eq!(answer.code, 0);
    assert!(bench.live.is_empty());
    assert!(!bench.server.has_allocation(udp(1)) && !bench.server.has_allocation(udp(2)));
}

#[test]
fn a_refresh_that_fails_leaves_the_ticket_good() {
    let mut bench = Bench::new();
    let (mut client, first) = prepared(&mut bench, udp(1));
    client.nonce.clear();
    let answer = bench.ask(&mut client, udp(2), Method::Refresh, |m| {
        m.attribute(attr::REQUESTED_ADDRESS_FAMILY, &[2, 0, 0, 0]);
        show(&first)(m);
    });
    assert_eq!(answer.code, 443);
    assert_eq!(refresh(&mut bench, &mut client, udp(2), &first).code, 0);
}

#[test]
fn a_lost_stream_waits_a_minute_for_its_client() {
    let mut bench = Bench::new();
    let (_, _) = prepared(&mut bench, tcp(1));
    bench.server.disconnected(bench.now, tcp(1));
    assert!(!bench.server.has_allocation(tcp(1)));
    bench.pass(59);
    assert_eq!(bench.live.len(), 1);
    bench.pass(1);
    assert!(bench.live.is_empty());
    let Some(Event::Ended { reason, .. }) = bench.events.last() else {
        panic!("{:?}", bench.events)
    };
    assert_eq!(*reason, Ended::Expired);

    let (mut client, first) = prepared(&mut bench, tcp(1));
    bench.server.disconnected(bench.now, tcp(1));
    let of_lost = bench.live.clone();
    assert_eq!(bench.peer_sends(PEER, b"back"), None, "there is nobody");
    // Another's stream may come by the same 5-tuple meanwhile.
    let mut other = Client::new("bob");
    bench.allocate(&mut other, tcp(1));
    let of_other = std::mem::replace(&mut bench.live, of_lost.clone());
    assert_eq!(bench.peer_sends(PEER, b"back"), None, "nor is it for him");
    assert_eq!(refresh(&mut bench, &mut client, udp(2), &first).code, 0);
    assert_eq!(hears_at(&mut bench), udp(2));
    bench.live = of_other;
    assert!(sends(&mut bench, udp(2)));
    bench.pass(599);
    assert_eq!(bench.live.len(), 2, "for its whole lifetime again");
    assert!(bench.server.has_allocation(tcp(1)));
}

#[test]
fn who_comes_back_by_a_stream_and_loses_it_is_waited_for_no_longer_than_before() {
    for back in [tcp(1), tcp(2)] {
        let mut bench = Bench::new();
        let (mut client, first) = prepared(&mut bench, tcp(1));
        bench.server.disconnected(bench.now, tcp(1));
        assert_eq!(refresh(&mut bench, &mut client, back, &first).code, 0);
        assert_eq!(hears_at(&mut bench), back);
        bench.server.disconnected(bench.now, back);
        assert_eq!(bench.peer_sends(PEER, b"back"), None);
        bench.pass(60);
        assert!(bench.live.is_empty());
    }
}

#[test]
fn a_stream_that_closes_after_the_client_has_moved_on_ends_nothing() {
    let mut bench = Bench::new();
    let (mut client, first) = prepared(&mut bench, tcp(1));
    assert_eq!(refresh(&mut bench, &mut client, tcp(2), &first).code, 0);
    bench.server.disconnected(bench.now, tcp(1));
    assert_eq!(hears_at(&mut bench), tcp(2), "closed, so it has moved");
    assert_eq!(bench.live.len(), 1);

    let (mut client, first) = prepared(&mut bench, tcp(3));
    assert_eq!(refresh(&mut bench, &mut client, tcp(4), &first).code, 0);
    bench.server.disconnected(bench.now, tcp(4));
    assert_eq!(hears_at(&mut bench), tcp(3), "the new one never came");
}

/// What arrives at another server than the one that has the allocation.
#[test]
fn another_server_passes_datagrams_on() {
    let mut first = Bench::new();
    let mut second = first.beside(1);
    let (mut client, shown) = prepared(&mut first, udp(1));
    let forwarded = Verdict::Forward { worker: 0 };

    let on =
        |first: &mut Bench, bytes: &[u8]| first.server.handle_forwarded(first.now, udp(2), bytes);
    // The nonce is of the other address: anybody could have sent it.
    let request = client.request(Method::Refresh, show(&shown));
    let answer = second.send(udp(2), &request).unwrap();
    assert_eq!(client.read(&answer).code, 438);
    let request = client.request(Method::Refresh, show(&shown));
    assert_eq!(second.verdict(udp(2), &request), forwarded);
    assert_eq!(on(&mut first, &request), Verdict::Answer);
    let answer = first.server.answer().to_vec();
    let answer = client.read(&answer);
    assert_eq!(answer.code, 0);
    let data = channel_data(CHANNEL, b"data");
    assert_eq!(second.verdict(udp(2), &data), forwarded);
    assert!(matches!(on(&mut first, &data), Verdict::ToPeer { .. }));
    assert_eq!(hears_at(&mut first), udp(2));
    // What the client begins there later is that server's as well, until others need the place.
    let released = client.request(Method::Refresh, |m| m.u32(attr::LIFETIME, 0));
    assert_eq!(second.verdict(udp(2), &released), forwarded);
    assert_eq!(on(&mut first, &released), Verdict::Answer);
    let allocate = client.request(Method::Allocate, udp_transport);
    assert_eq!(second.verdict(udp(2), &allocate), forwarded);
    assert_eq!(on(&mut first, &allocate), Verdict::Done);
    assert!(first.outputs().is_some());
}

#[test]
fn a_ticket_shown_from_everywhere_costs_bounded_memory_and_keeps_nobody_out() {
    let mut first = Bench::configured(|config| config.limits.unauthenticated_per_second = 0);
    let mut second = first.beside(1);
    let (mut client, shown) = prepared(&mut first, udp(1));
    let from = |n: u32| FiveTuple {
        client: (std::net::Ipv4Addr::from_bits(0x0B00_0000 + n), 5).into(),
        ..udp(2)
    };
    for n in 0..5000 {
        second.now.instant += std::time::Duration::from_millis(1);
        client.nonce.clear();
        second.ask(&mut client, from(n), Method::Refresh, |_| {});
        let request = client.request(Method::Refresh, show(&shown));
        let verdict = second.verdict(from(n), &request);
        assert_eq!(verdict, Verdict::Forward { worker: 0 });
    }
    let data = channel_data(CHANNEL, b"data");
    let forwarded = |n: &u32| second.server.handle(second.now, from(*n), &data) != Verdict::Done;
    assert_eq!((0..5000).filter(forwarded).count(), 4096);
}

#[test]
fn a_stream_is_handed_to_the_server_that_has_the_allocation() {
    let mut first = Bench::new();
    let mut second = first.beside(1);
    let (mut client, shown) = prepared(&mut first, udp(1));
    let over = |transport| FiveTuple {
        transport,
        ..udp(2)
    };
    for transport in [Transport::Tcp, Transport::Tls] {
        client.nonce.clear();
        second.ask(&mut client, over(transport), Method::Refresh, |_| {});
        let request = client.request(Method::Refresh, show(&shown));
        let verdict = second.verdict(over(transport), &request);
        assert_eq!(verdict, Verdict::HandOver { worker: 0 });
    }
    // Not for a ticket that was not made here, or by a server that is not there.
    for at in [0, 1, 31] {
        let mut forged = shown.clone();
        forged[at] ^= 2;
        let request = client.request_as([7; 12], Method::Refresh, show(&forged));
        assert_eq!(second.verdict(udp(2), &request), Verdict::Answer);
    }
}

/// From place to place over real sockets, whichever worker the client then meets.
#[test]
fn a_call_goes_on_from_socket_to_socket_and_worker_to_worker() {
    let listeners = Listeners::bind("127.0.0.1:0".parse().unwrap(), 2).unwrap();
    let config = support::sockets::config("127.0.0.1", &["127.0.0.0/8"]);
    let relay = Relay::start(listeners, config, Arc::new(Users::default())).unwrap();
    let peer = UdpSocket::bind("127.0.0.2:0").unwrap();
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut caller = Caller::udp(&relay, "alice");
    let answer = caller.ask(Method::Allocate, mobile);
    let mut shown = ticket(&answer);
    let address = answer.address(attr::XOR_RELAYED_ADDRESS).unwrap();
    caller.bind(CHANNEL, peer.local_addr().unwrap());
    let mut before = Vec::new();
    for place in 0..24u8 {
        let next = match place % 3 {
            0 => Caller::tcp(&relay, "alice"),
            _ => Caller::udp(&relay, "alice"),
        };
        before.push(std::mem::replace(&mut caller, next));
        let answer = loop {
            let answer = caller.ask(Method::Refresh, show(&shown));
            if answer.code != 438 {
                break answer;
            }
        };
        assert_eq!(answer.code, 0, "place {place}");
        shown = ticket(&answer);
        caller.send(&channel_data(CHANNEL, &[place]));
        let mut buffer = [0; 64];
        let (count, from) = peer.recv_from(&mut buffer).unwrap();
        assert_eq!((&buffer[..count], from), (&[place][..], address));
        peer.send_to(&[place, place], from).unwrap();
        assert_eq!(caller.receive(), channel_data(CHANNEL, &[place, place]));
    }
    drop(before);
    let answer = caller.ask(Method::Refresh, |m| m.u32(attr::LIFETIME, 0));
    assert_eq!(answer.code, 0);
    wait_until("the allocation ends", || relay.allocations() == 0);
}
