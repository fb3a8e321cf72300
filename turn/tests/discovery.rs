//! NAT behaviour discovery (RFC 5780): answers from the other address and port, and no more of them than were asked
//! for.

mod support;

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;

use moznods_turn::net::{Listeners, Relay};
use moznods_turn::server::{
    BadConfig, Common, Discovery, FiveTuple, RelayAddress, Transport, Verdict,
};
use moznods_turn::stats::Dropped;
use moznods_turn::wire::{Builder, Message, Method, attr};
use support::bench::{Bench, addr, config, udp};
use support::sockets::{self, PATIENCE};
use support::{Answer, Client, Users};

const CHANGE_IP: u8 = 4;
const CHANGE_PORT: u8 = 2;

/// Behind a 1:1 NAT for IPv4, without one for IPv6.
fn discovery() -> Vec<Discovery> {
    let behind = |public: &str, local: &str| RelayAddress {
        public: public.parse().unwrap(),
        local: local.parse().unwrap(),
    };
    let plain = |ip: &str| RelayAddress::from(ip.parse::<IpAddr>().unwrap());
    let ports = [3478, 3479];
    vec![
        Discovery {
            addresses: [
                behind("198.51.100.7", "10.0.0.7"),
                behind("198.51.100.8", "10.0.0.8"),
            ],
            ports,
        },
        Discovery {
            addresses: [plain("2606:4700::7"), plain("2606:4700::8")],
            ports,
        },
    ]
}

fn bench() -> Bench {
    Bench::configured(|config| config.discovery = discovery())
}

fn at(server: &str, transport: Transport) -> FiveTuple {
    let server = addr(server);
    let client = match server {
        SocketAddr::V4(_) => addr("203.0.113.5:1000"),
        SocketAddr::V6(_) => addr("[2606:4700::1111]:1000"),
    };
    FiveTuple {
        transport,
        client,
        server,
    }
}

/// RFC 8489 §14.1.
fn plain_address(answer: &Answer, kind: u16) -> Option<SocketAddr> {
    let value = answer.get(kind)?;
    let port = u16::from_be_bytes([value[2], value[3]]);
    let ip: IpAddr = match value[1] {
        1 => <[u8; 4]>::try_from(&value[4..]).unwrap().into(),
        _ => <[u8; 16]>::try_from(&value[4..]).unwrap().into(),
    };
    Some(SocketAddr::new(ip, port))
}

fn change(flags: u8) -> impl Fn(&mut Builder<'_>) {
    move |message| message.attribute(attr::CHANGE_REQUEST, &[0, 0, 0, flags])
}

/// Asks; where the answer goes, and what it is.
fn ask(
    bench: &mut Bench,
    tuple: FiveTuple,
    fill: impl Fn(&mut Builder<'_>),
) -> (FiveTuple, Answer) {
    let mut client = Client::new("alice");
    let request = client.bare(Method::Binding, fill);
    let to = match bench.verdict(tuple, &request) {
        Verdict::Answer => tuple,
        Verdict::AnswerTo(other) => other,
        verdict => panic!("{verdict:?}"),
    };
    let answer = bench.server.answer();
    if tuple.transport == Transport::Udp {
        assert!(
            answer.len() <= 3 * request.len(),
            "{} for {}",
            answer.len(),
            request.len()
        );
    }
    (to, client.read(answer))
}

/// The answer comes from the address and the port that CHANGE-REQUEST names, or from where the request went; RESPONSE-ORIGIN says which that is, and OTHER-ADDRESS what the other two are.
#[test]
fn rfc5780_s6_1_the_answer_comes_from_where_the_request_says() {
    let mut bench = bench();
    // RFC 5780 §6.1, table 1, from each of the four places.
    for a in [
        ["10.0.0.7", "10.0.0.8"],
        ["[2606:4700::7]", "[2606:4700::8]"],
    ] {
        let public = |ip: &str| ip.replace("10.0.0.", "198.51.100.");
        for (here, there) in [(0, 1), (1, 0)] {
            for (port, other) in [(3478, 3479), (3479, 3478)] {
                let tuple = at(&format!("{}:{port}", a[here]), Transport::Udp);
                for flags in [0, CHANGE_IP, CHANGE_PORT, CHANGE_IP | CHANGE_PORT] {
                    let from_ip = a[if flags & CHANGE_IP != 0 { there } else { here }];
                    let from_port = if flags & CHANGE_PORT != 0 {
                        other
                    } else {
                        port
                    };
                    let (to, answer) = ask(&mut bench, tuple, |message| {
                        change(flags)(message);
                        // IPv6 needs the room.
                        message.text(attr::SOFTWARE, "a client");
                    });
                    assert_eq!(answer.code, 0);
                    let server = addr(&format!("{from_ip}:{from_port}"));
                    assert_eq!(to, FiveTuple { server, ..tuple }, "{flags}");
                    let mapped = answer.address(attr::XOR_MAPPED_ADDRESS);
                    assert_eq!(mapped, Some(tuple.client));
                    let origin = addr(&format!("{}:{from_port}", public(from_ip)));
                    assert_eq!(plain_address(&answer, attr::RESPONSE_ORIGIN), Some(origin));
                    let other = addr(&format!("{}:{other}", public(a[there])));
                    assert_eq!(plain_address(&answer, attr::OTHER_ADDRESS), Some(other));
                    assert_eq!(answer.get(attr::MAPPED_ADDRESS), None);
                }
            }
        }
    }
}

#[test]
fn a_bare_request_is_told_as_much_as_fits() {
    let mut bench = bench();
    let (_, answer) = ask(&mut bench, at("10.0.0.7:3478", Transport::Udp), |_| {});
    assert_eq!(
        plain_address(&answer, attr::OTHER_ADDRESS),
        Some(addr("198.51.100.8:3479"))
    );
    assert_eq!(
        plain_address(&answer, attr::RESPONSE_ORIGIN),
        Some(addr("198.51.100.7:3478"))
    );
    // 20 bytes are answered with 60 at most: no room beside an IPv6 address for another.
    let tuple = at("[2606:4700::7]:3478", Transport::Udp);
    let (_, answer) = ask(&mut bench, tuple, |_| {});
    assert_eq!(answer.get(attr::OTHER_ADDRESS), None);
    // The more useful one of them first.
    let (_, answer) = ask(&mut bench, tuple, change(0));
    assert!(answer.get(attr::OTHER_ADDRESS).is_some());
    assert_eq!(answer.get(attr::RESPONSE_ORIGIN), None);
}

#[test]
fn a_stream_is_told_of_the_other_address_and_cannot_be_answered_from_there() {
    let mut bench = bench();
    let tuple = at("10.0.0.7:3479", Transport::Tcp);
    let (to, answer) = ask(&mut bench, tuple, |_| {});
    assert_eq!((to, answer.code), (tuple, 0));
    assert_eq!(
        plain_address(&answer, attr::OTHER_ADDRESS),
        Some(addr("198.51.100.8:3478"))
    );
    let port = |m: &mut Builder<'_>| m.attribute(attr::RESPONSE_PORT, &[0, 9, 0, 0]);
    for (answer, kind) in [
        (ask(&mut bench, tuple, change(CHANGE_PORT)), 3_u16),
        (ask(&mut bench, tuple, port), 0x27),
    ] {
        assert_eq!((answer.0, answer.1.code), (tuple, 420));
        assert_eq!(
            answer.1.get(attr::UNKNOWN_ATTRIBUTES),
            Some(kind.to_be_bytes().to_vec())
        );
    }
    // TLS has but one port.
    let tuple = at("10.0.0.7:5349", Transport::Tls);
    let (_, answer) = ask(&mut bench, tuple, |_| {});
    assert_eq!(answer.get(attr::OTHER_ADDRESS), None);
}

/// The answer goes to the request's address, at the port in RESPONSE-PORT.
#[test]
fn rfc5780_s7_5_the_answer_goes_to_the_response_port() {
    let mut bench = bench();
    let tuple = at("10.0.0.7:3478", Transport::Udp);
    for value in [&[0x13, 0x88][..], &[0x13, 0x88, 0, 0]] {
        let (to, answer) = ask(&mut bench, tuple, |m| {
            m.attribute(attr::RESPONSE_PORT, value);
        });
        assert_eq!(answer.code, 0);
        assert_eq!(to.client, addr("203.0.113.5:5000"));
        assert_eq!(to.server, tuple.server);
        let mapped = answer.address(attr::XOR_MAPPED_ADDRESS);
        assert_eq!(mapped, Some(tuple.client), "where it came from");
    }
    for value in [&[][..], &[0, 0], &[0, 0, 0, 0], &[1], &[0, 1, 0, 0, 0]] {
        let (to, answer) = ask(&mut bench, tuple, |m| {
            m.attribute(attr::RESPONSE_PORT, value);
        });
        assert_eq!((to, answer.code), (tuple, 400), "{value:?}");
    }
    // The same limit as for all requests of this network.
    let mut client = Client::new("alice");
    let sent = (0..10_000)
        .filter(|_| {
            let request = client.bare(Method::Binding, |m| {
                m.attribute(attr::RESPONSE_PORT, &[0x13, 0x88]);
            });
            bench.verdict(tuple, &request) != Verdict::Done
        })
        .count();
    let limit = config().limits.unauthenticated_per_second as usize;
    assert!(sent <= 2 * limit, "{sent}");
    assert_eq!(bench.dropped(Dropped::RateLimited), 10_000 - sent as u64);
}

/// PADDING is answered with PADDING; together with RESPONSE-PORT it is refused with 400.
#[test]
fn rfc5780_s6_1_padding_is_answered_with_padding() {
    let mut bench = bench();
    let tuple = at("10.0.0.7:3478", Transport::Udp);
    for (asked, given) in [(0, 0), (4, 4), (99, 100), (1500, 1500), (9000, 1500)] {
        let (to, answer) = ask(&mut bench, tuple, |m| {
            m.attribute(attr::PADDING, &vec![0xEE; asked]);
        });
        assert_eq!((to, answer.code), (tuple, 0));
        assert_eq!(answer.get(attr::PADDING), Some(vec![0; given]));
        assert!(answer.get(attr::OTHER_ADDRESS).is_some());
    }
    let (to, answer) = ask(&mut bench, tuple, |m| {
        m.attribute(attr::PADDING, &[0; 1500]);
        m.attribute(attr::RESPONSE_PORT, &[0x13, 0x88, 0, 0]);
    });
    assert_eq!((to, answer.code), (tuple, 400), "RFC 5780 §6.1");
    assert!(answer.bytes.len() < 100);
}

#[test]
fn a_change_request_that_is_none_is_refused() {
    let mut bench = bench();
    let tuple = at("10.0.0.7:3478", Transport::Udp);
    for value in [&[][..], &[4], &[0; 8]] {
        let (to, answer) = ask(&mut bench, tuple, |m| {
            m.attribute(attr::CHANGE_REQUEST, value);
        });
        assert_eq!((to, answer.code), (tuple, 400));
    }
    // It is for Binding alone.
    let mut client = Client::new("alice");
    let answer = bench.ask(&mut client, tuple, Method::Allocate, |m| {
        support::udp_transport(m);
        change(CHANGE_IP)(m);
    });
    assert_eq!(answer.code, 420);
}

/// Without a second address and port there is no OTHER-ADDRESS, and CHANGE-REQUEST is refused with 420.
#[test]
fn rfc5780_s6_1_without_a_second_address_a_change_is_refused() {
    let asked: [(u16, &[u8]); 3] = [
        (attr::CHANGE_REQUEST, &[0, 0, 0, 6]),
        (attr::RESPONSE_PORT, &[0x13, 0x88, 0, 0]),
        (attr::PADDING, &[0; 64]),
    ];
    // Not set up, and asked at an address that is none of the two.
    for (mut bench, tuple) in [
        (Bench::new(), udp(1)),
        (bench(), at("10.0.0.9:3478", Transport::Udp)),
    ] {
        for (kind, value) in asked {
            let (to, answer) = ask(&mut bench, tuple, |m| m.attribute(kind, value));
            assert_eq!((to, answer.code), (tuple, 420), "RFC 5780 §6.1");
            assert_eq!(
                answer.get(attr::UNKNOWN_ATTRIBUTES),
                Some(kind.to_be_bytes().to_vec())
            );
        }
        let (_, answer) = ask(&mut bench, tuple, |_| {});
        assert_eq!(answer.code, 0);
        assert_eq!(answer.get(attr::OTHER_ADDRESS), None);
        assert_eq!(answer.get(attr::RESPONSE_ORIGIN), None);
    }
}

#[test]
fn two_places_that_are_one_are_no_setting() {
    let [good, _] = discovery()[..] else {
        panic!("two families")
    };
    let [first, second] = good.addresses;
    let v6 = RelayAddress::from("2606:4700::8".parse::<IpAddr>().unwrap());
    let any = RelayAddress::from("0.0.0.0".parse::<IpAddr>().unwrap());
    let bad = [
        Discovery {
            ports: [3478, 3478],
            ..good
        },
        Discovery {
            addresses: [first, first],
            ..good
        },
        Discovery {
            addresses: [first, v6],
            ..good
        },
        Discovery {
            addresses: [any, second],
            ..good
        },
    ];
    for bad in bad {
        let mut config = config();
        config.discovery = vec![good, bad];
        let error = Common::new(config, Arc::new(Users::default()), &[9; 32]).unwrap_err();
        assert_eq!(error, BadConfig::Discovery);
    }
}

/// A relay on all addresses, with these as its two.
fn start([first, second]: [&str; 2]) -> (Relay, Discovery) {
    // Any port that is free next to it, too.
    let bind = || {
        let listeners = Listeners::bind("[::]:0".parse().unwrap(), 2).unwrap();
        let other = listeners.address().port().checked_add(1)?;
        listeners.with_port(other).ok()
    };
    let listeners = std::iter::repeat_with(bind).take(50).flatten().next();
    let listeners = listeners.expect("two free ports");
    let port = listeners.address().port();
    let plain = |ip: &str| RelayAddress::from(ip.parse::<IpAddr>().unwrap());
    let discovery = Discovery {
        addresses: [plain(first), plain(second)],
        ports: [port, port + 1],
    };
    let mut config = sockets::config(first, &[]);
    config.discovery = vec![discovery];
    let relay = Relay::start(listeners, config, Arc::new(Users::default())).unwrap();
    (relay, discovery)
}

#[test]
fn real_sockets_answer_from_the_other_address_and_port() {
    answers_from_each_place(["127.0.0.1", "127.0.0.2"]);
}

#[test]
fn real_sockets_of_ipv6_answer_from_the_other_address_and_port() {
    // There is but one address of IPv6 on loopback.
    if support::namespace::enter("real_sockets_of_ipv6_answer_from_the_other_address_and_port") {
        answers_from_each_place(["2606:4700::7", "2606:4700::8"]);
    }
}

fn answers_from_each_place(ips: [&str; 2]) {
    let (_relay, discovery) = start(ips);
    let places: Vec<SocketAddr> = discovery
        .addresses
        .iter()
        .flat_map(|address| discovery.ports.map(|port| (address.local, port).into()))
        .collect();
    let socket = UdpSocket::bind((ips[0], 0)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let elsewhere = UdpSocket::bind((ips[0], 0)).unwrap();
    elsewhere.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut client = Client::new("alice");
    for server in &places {
        let mut heard = Vec::new();
        for flags in [0, CHANGE_IP, CHANGE_PORT, CHANGE_IP | CHANGE_PORT] {
            let request = client.bare(Method::Binding, |message| {
                change(flags)(message);
                // IPv6 needs the room.
                message.text(attr::SOFTWARE, "a client");
            });
            socket.send_to(&request, server).unwrap();
            let mut buffer = [0; 2000];
            let (count, from) = socket.recv_from(&mut buffer).unwrap();
            let answer = client.read(&buffer[..count]);
            assert_eq!(plain_address(&answer, attr::RESPONSE_ORIGIN), Some(from));
            assert_eq!(from.ip() != server.ip(), flags & CHANGE_IP != 0);
            assert_eq!(from.port() != server.port(), flags & CHANGE_PORT != 0);
            heard.push(from);
        }
        heard.sort_unstable();
        assert_eq!(heard, places, "each of the four once");

        // To another port of the client, and in fragments where the link takes less.
        let port = elsewhere.local_addr().unwrap().port().to_be_bytes();
        let request = client.bare(Method::Binding, |m| m.attribute(attr::RESPONSE_PORT, &port));
        socket.send_to(&request, server).unwrap();
        let (_, from) = elsewhere.recv_from(&mut [0; 2000]).unwrap();
        assert_eq!(from, *server);
        let request = client.bare(Method::Binding, |m| m.attribute(attr::PADDING, &[1; 1500]));
        socket.send_to(&request, server).unwrap();
        assert!(socket.recv(&mut [0; 2000]).unwrap() > 1500);

        let mut stream = TcpStream::connect(server).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
            .write_all(&client.bare(Method::Binding, |_| {}))
            .unwrap();
        let mut answer = vec![0; 20];
        stream.read_exact(&mut answer).unwrap();
        let rest = u16::from_be_bytes([answer[2], answer[3]]);
        answer.resize(20 + usize::from(rest), 0);
        stream.read_exact(&mut answer[20..]).unwrap();
        assert!(
            Message::parse(&answer)
                .unwrap()
                .get(attr::OTHER_ADDRESS)
                .is_some()
        );
    }
}

#[test]
fn the_alternate_port_serves_turn_as_well() {
    let (_relay, discovery) = start(["127.0.0.1", "127.0.0.2"]);
    let [_, second] = discovery.addresses;
    let server = SocketAddr::new(second.local, discovery.ports[1]);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(server).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut caller = sockets::Caller {
        wire: sockets::Wire::Udp(socket),
        client: Client::new("alice"),
    };
    caller.allocate();
}
