//! RFC 8489: the form of messages (§5), what is done with them (§6, §7) and the basic server (§12).

use std::collections::HashSet;

use moznods_turn::server::{FiveTuple, Verdict};
use moznods_turn::wire::{Builder, Class, Message, Method, attr, integrity};

use crate::support::bench::{Bench, PEER, addr, allocated, tcp, udp};
use crate::support::{Client, channel_data, udp_transport};

const METHODS: [Method; 5] = [
    Method::Binding,
    Method::Allocate,
    Method::Refresh,
    Method::CreatePermission,
    Method::ChannelBind,
];
/// Of the range that must be understood (§14), and nobody's.
pub const REQUIRED: u16 = 0x7FFE;
/// Of the range that may be ignored, and nobody's.
const OPTIONAL: u16 = 0xFFFE;

/// Writes what a request asks for.
type Fill<'a> = &'a dyn Fn(&mut Builder<'_>);

/// A conversation in which every method is granted, and refused for every reason that is easily given: each request
/// with its answer.
pub fn answers() -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut bench = Bench::new();
    let mut found = Vec::new();
    for tuple in [udp(1), tcp(2)] {
        let mut client = Client::new("alice");
        for method in METHODS {
            for shape in 0..4 {
                let bytes = client.bare(method, |message| {
                    // Room for an answer to an address that has proven nothing.
                    message.text(attr::SOFTWARE, "a client of the tests");
                    if shape & 1 != 0 {
                        message.attribute(REQUIRED, b"x");
                    }
                    if shape & 2 != 0 {
                        message.fingerprint();
                    }
                });
                let answer = bench.send(tuple, &bytes).expect("an answer");
                client.read(&answer);
                found.push((bytes, answer));
            }
        }
        let public = addr(PEER);
        let asked: [(Method, Fill<'_>); 13] = [
            (Method::Refresh, &|_| {}),
            (Method::Allocate, &|_| {}),
            (Method::Allocate, &|m| m.attribute(REQUIRED, &[])),
            (Method::Allocate, &udp_transport),
            (Method::Allocate, &udp_transport),
            (Method::Refresh, &|m| m.u32(attr::LIFETIME, 900)),
            (Method::Refresh, &|m| m.attribute(REQUIRED, b"xyz")),
            (Method::CreatePermission, &|_| {}),
            (Method::CreatePermission, &|m| {
                m.xor_address(attr::XOR_PEER_ADDRESS, public);
            }),
            (Method::CreatePermission, &|m| {
                m.xor_address(attr::XOR_PEER_ADDRESS, addr("127.0.0.1:9"));
            }),
            (Method::ChannelBind, &|m| {
                m.attribute(attr::CHANNEL_NUMBER, &[0x40, 0, 0, 0]);
                m.xor_address(attr::XOR_PEER_ADDRESS, addr("[2606:4700::9]:9"));
            }),
            (Method::ChannelBind, &|m| {
                m.attribute(attr::CHANNEL_NUMBER, &[0x40, 0, 0, 0]);
                m.xor_address(attr::XOR_PEER_ADDRESS, public);
            }),
            (Method::Refresh, &|m| m.u32(attr::LIFETIME, 0)),
        ];
        for (method, fill) in asked {
            let bytes = client.request(method, fill);
            let answer = bench.send(tuple, &bytes).expect("an answer");
            let read = client.read(&answer);
            assert!(read.signed, "{method:?} {}", read.code);
            found.push((bytes, answer));
        }
        // A wrong password, and a nonce of somebody else.
        client.key = crate::support::key_of("bob");
        for nonce in [client.nonce.clone(), b"another".to_vec()] {
            client.nonce = nonce;
            let bytes = client.request(Method::Allocate, udp_transport);
            let answer = bench.send(tuple, &bytes).expect("an answer");
            found.push((bytes, answer));
        }
    }
    found
}

/// Data of a peer, as it comes to a client without a channel.
pub fn data_indication(bench: &mut Bench, payload: &[u8]) -> Vec<u8> {
    bench.peer_sends(PEER, payload).expect("an indication").1
}

pub fn with_permission(bench: &mut Bench, tuple: FiveTuple) -> Client {
    let (mut client, _) = allocated(bench, "alice", tuple);
    assert_eq!(bench.permit(&mut client, tuple, &[addr(PEER)]).code, 0);
    client
}

fn codes() -> HashSet<u16> {
    let code = |(_, answer): &(Vec<u8>, Vec<u8>)| Client::new("alice").read(answer).code;
    answers().iter().map(code).collect()
}

/// The two most significant bits of every message are zero.
#[test]
fn rfc8489_s5_the_first_two_bits_are_zero() {
    assert!(codes().is_superset(&[0, 400, 401, 403, 420, 437, 438, 443].into()));
    assert!(answers().iter().all(|(_, answer)| answer[0] & 0xC0 == 0));
    let mut bench = Bench::new();
    with_permission(&mut bench, udp(1));
    assert_eq!(data_indication(&mut bench, b"x")[0] & 0xC0, 0);
}

/// Every message has the magic cookie 0x2112A442 in its fifth to eighth byte.
#[test]
fn rfc8489_s5_the_magic_cookie_is_in_its_place() {
    let cookie = [0x21, 0x12, 0xA4, 0x42];
    assert!(answers().iter().all(|(_, answer)| answer[4..8] == cookie));
    let mut bench = Bench::new();
    with_permission(&mut bench, udp(1));
    assert_eq!(data_indication(&mut bench, b"x")[4..8], cookie);
}

/// An answer, whether it grants or refuses, has the transaction id of its request.
#[test]
fn rfc8489_s5_an_answer_has_the_transaction_id_of_its_request() {
    for (request, answer) in answers() {
        assert_eq!(request[8..20], answer[8..20]);
    }
}

/// Transaction ids that the server chooses, those of indications, are spread over all of their 96 bits and cannot be
/// guessed.
#[test]
fn rfc8489_s5_transaction_ids_of_indications_are_random() {
    let mut bench = Bench::new();
    with_permission(&mut bench, udp(1));
    const COUNT: usize = 1000;
    let ids: HashSet<Vec<u8>> = (0..COUNT)
        .map(|_| data_indication(&mut bench, b"x")[8..20].to_vec())
        .collect();
    assert_eq!(ids.len(), COUNT);
    for bit in 0..96 {
        let set = |id: &&Vec<u8>| id[bit / 8] & 1 << (bit % 8) != 0;
        let ones = ids.iter().filter(set).count();
        assert!(
            (COUNT * 2 / 5..COUNT * 3 / 5).contains(&ones),
            "bit {bit}: {ones}"
        );
    }
}

/// The length in the header is that of the message without the header's 20 bytes.
#[test]
fn rfc8489_s5_the_length_leaves_the_header_out() {
    let length = |bytes: &[u8]| usize::from(u16::from_be_bytes([bytes[2], bytes[3]]));
    for (_, answer) in answers() {
        assert_eq!(length(&answer), answer.len() - 20);
    }
    let mut bench = Bench::new();
    with_permission(&mut bench, udp(1));
    for payload in [&b""[..], b"1", b"12345"] {
        let bytes = data_indication(&mut bench, payload);
        assert_eq!(length(&bytes), bytes.len() - 20);
    }
}

/// Without knowledge of the path, messages stay below what every path takes: 548 bytes of a datagram over IPv4.
#[test]
fn rfc8489_s6_1_answers_fit_every_path() {
    let longest = answers().iter().map(|(_, answer)| answer.len()).max();
    assert!(longest < Some(548), "{longest:?}");
}

/// What breaks the rules of a message is dropped without a word: its first bits, its cookie, its length, its method, or
/// a class that its method does not have.
#[test]
fn rfc8489_s6_3_what_is_no_stun_message_is_dropped() {
    let mut bench = Bench::new();
    let good = Client::new("alice").bare(Method::Binding, |m| m.text(attr::SOFTWARE, "x"));
    assert!(bench.send(udp(1), &good).is_some());
    for (at, bits) in [(0, 0x80), (0, 0xC0), (4, 1), (7, 1), (3, 4), (3, 1), (2, 1)] {
        let mut bad = good.clone();
        bad[at] ^= bits;
        assert_eq!(bench.send(udp(1), &bad), None, "byte {at}");
    }
    for end in 0..good.len() {
        assert_eq!(bench.send(udp(1), &good[..end]), None, "cut at {end}");
    }
    for method in [
        Method::Other(0x002),
        Method::Other(0xFFF),
        Method::Send,
        Method::Data,
    ] {
        let bytes = Client::new("alice").bare(method, |_| {});
        assert_eq!(bench.send(udp(1), &bytes), None, "{method:?}");
    }
    for method in [Method::Allocate, Method::Refresh, Method::Data] {
        let mut bytes = Vec::new();
        Builder::new(&mut bytes, method, Class::Indication, [1; 12]);
        assert_eq!(bench.send(udp(1), &bytes), None, "{method:?}");
    }
}

/// An answer that belongs to no transaction is dropped, whatever it says; nothing can be made to go round between two
/// servers.
#[test]
fn rfc8489_s6_3_an_answer_to_no_question_is_dropped() {
    let mut bench = Bench::new();
    for (_, answer) in answers() {
        assert_eq!(bench.send(udp(1), &answer), None);
        assert_eq!(bench.send(tcp(2), &answer), None);
    }
}

/// Attributes that nobody knows and that need not be understood change nothing.
#[test]
fn rfc8489_s6_3_unknown_optional_attributes_are_ignored() {
    let mut bench = Bench::new();
    let mut client = Client::new("alice");
    let bytes = client.bare(Method::Binding, |m| m.attribute(OPTIONAL, b"what is this"));
    assert_eq!(client.read(&bench.send(udp(1), &bytes).unwrap()).code, 0);
    let answer = bench.ask(&mut client, udp(1), Method::Allocate, |message| {
        udp_transport(message);
        message.attribute(OPTIONAL, b"and this");
    });
    assert_eq!(answer.code, 0);
    let peer = addr(PEER);
    bench.permit(&mut client, udp(1), &[peer]);
    let mut bytes = Vec::new();
    let mut message = Builder::new(&mut bytes, Method::Send, Class::Indication, [1; 12]);
    message.attribute(OPTIONAL, b"and that");
    message.xor_address(attr::XOR_PEER_ADDRESS, peer);
    message.attribute(attr::DATA, b"hello");
    assert_eq!(
        bench.relayed(udp(1), &bytes),
        Some((peer, b"hello".to_vec()))
    );
}

/// A request with attributes that must be understood and are not is refused with 420, which lists each of them.
#[test]
fn rfc8489_s6_3_1_unknown_required_attributes_are_listed_in_a_420() {
    let mut bench = Bench::new();
    let mut client = Client::new("alice");
    let unknown = |message: &mut Builder<'_>| {
        message.attribute(0x7FFE, &[]);
        message.attribute(0x7FFD, b"xyz");
        message.attribute(0x7FFE, &[]);
        message.attribute(OPTIONAL, &[]);
    };
    let listed = [0x7F, 0xFE, 0x7F, 0xFD];
    let bytes = client.bare(Method::Binding, unknown);
    let answer = client.read(&bench.send(udp(1), &bytes).unwrap());
    assert_eq!(answer.code, 420);
    assert_eq!(answer.get(attr::UNKNOWN_ATTRIBUTES).unwrap(), listed);
    for method in [
        Method::Allocate,
        Method::Refresh,
        Method::CreatePermission,
        Method::ChannelBind,
    ] {
        let answer = bench.ask(&mut client, udp(1), method, unknown);
        assert_eq!((answer.code, answer.signed), (420, true));
        assert_eq!(answer.get(attr::UNKNOWN_ATTRIBUTES).unwrap(), listed);
    }
    assert!(bench.live.is_empty());
}

/// A request that comes again, as it does when its answer was lost, is answered so that it makes no difference which of
/// the answers arrives.
#[test]
fn rfc8489_s6_3_1_a_request_that_comes_again_changes_nothing_more() {
    let mut bench = Bench::new();
    let mut client = Client::new("alice");
    let challenge = client.bare(Method::Allocate, udp_transport);
    client.read(&bench.send(udp(1), &challenge).unwrap());
    let requests: [(Method, Fill<'_>); 4] = [
        (Method::Allocate, &udp_transport),
        (Method::Refresh, &|m| m.u32(attr::LIFETIME, 1000)),
        (Method::CreatePermission, &|m| {
            m.xor_address(attr::XOR_PEER_ADDRESS, addr("8.8.4.4:1"));
        }),
        (Method::ChannelBind, &|m| {
            m.attribute(attr::CHANNEL_NUMBER, &[0x40, 0, 0, 0]);
            m.xor_address(attr::XOR_PEER_ADDRESS, addr(PEER));
        }),
    ];
    for (method, fill) in requests {
        let bytes = client.request(method, fill);
        let first = bench.send(udp(1), &bytes).unwrap();
        assert_eq!(client.read(&first).code, 0, "{method:?}");
        for _ in 0..3 {
            bench.pass(1);
            assert_eq!(
                bench.send(udp(1), &bytes).as_ref(),
                Some(&first),
                "{method:?}"
            );
        }
    }
    assert_eq!(bench.live.len(), 1);
    let data = channel_data(0x4000, b"x");
    assert_eq!(
        bench.relayed(udp(1), &data),
        Some((addr(PEER), b"x".to_vec()))
    );
}

/// Only what may be done twice is done again when it is asked again: an Allocate is not, it is remembered.
#[test]
fn rfc8489_s6_3_1_what_may_not_be_done_twice_is_remembered() {
    let mut bench = Bench::new();
    let mut client = Client::new("alice");
    let challenge = client.bare(Method::Allocate, udp_transport);
    client.read(&bench.send(udp(1), &challenge).unwrap());
    let bytes = client.request(Method::Allocate, |message| {
        udp_transport(message);
        message.attribute(attr::EVEN_PORT, &[0x80]);
    });
    let first = bench.send(udp(1), &bytes).unwrap();
    bench.pass(40);
    let second = bench.send(udp(1), &bytes).unwrap();
    assert_eq!(
        first, second,
        "the port and the reservation's token are the first ones"
    );
    assert_eq!(bench.live.len(), 1);
    assert_eq!(bench.events.len(), 1);
}

/// An answer has the method of its request, and a class that says whether it was granted.
#[test]
fn rfc8489_s6_3_1_1_an_answer_has_the_method_of_its_request() {
    for (request, answer) in answers() {
        let (request, answer) = (
            Message::parse(&request).unwrap(),
            Message::parse(&answer).unwrap(),
        );
        assert_eq!(request.method(), answer.method());
        assert!(matches!(answer.class(), Class::Success | Class::Error));
    }
}

/// A refusal carries ERROR-CODE.
#[test]
fn rfc8489_s6_3_1_1_a_refusal_carries_its_code() {
    let refusals = answers().into_iter().filter_map(|(_, answer)| {
        let message = Message::parse(&answer).unwrap();
        let code = message.get(attr::ERROR_CODE).map(<[u8]>::to_vec);
        (message.class() == Class::Error).then_some(code)
    });
    let refusals: Vec<_> = refusals.collect();
    assert!(refusals.len() > 20);
    assert!(refusals.iter().all(Option::is_some));
}

/// A 420 carries UNKNOWN-ATTRIBUTES, and nothing else does.
#[test]
fn rfc8489_s6_3_1_1_a_420_names_the_attributes() {
    let mut seen = 0;
    for (_, answer) in answers() {
        let answer = Client::new("alice").read(&answer);
        let named = answer.get(attr::UNKNOWN_ATTRIBUTES);
        if answer.code == 420 {
            seen += 1;
            assert_eq!(named.unwrap(), REQUIRED.to_be_bytes());
        } else {
            assert_eq!(named, None);
        }
    }
    assert!(seen > 4);
}

/// Binding is answered with the client's address and port as they are seen from here, over any transport and of either
/// family.
#[test]
fn rfc8489_s6_3_1_1_binding_tells_the_address() {
    let mut bench = Bench::new();
    let mut client = Client::new("alice");
    let over_ipv6 = FiveTuple {
        client: addr("[2606:4700::9]:77"),
        ..udp(1)
    };
    for tuple in [udp(1000), tcp(1000), over_ipv6] {
        let bytes = client.bare(Method::Binding, |_| {});
        let answer = client.read(&bench.send(tuple, &bytes).unwrap());
        assert_eq!(answer.code, 0);
        assert_eq!(answer.address(attr::XOR_MAPPED_ADDRESS), Some(tuple.client));
    }
}

/// An indication with an attribute that must be understood and is not is dropped.
#[test]
fn rfc8489_s6_3_2_an_indication_that_is_not_understood_is_dropped() {
    let mut bench = Bench::new();
    with_permission(&mut bench, udp(1));
    let mut bytes = Vec::new();
    for known in [true, false] {
        let mut message = Builder::new(&mut bytes, Method::Send, Class::Indication, [1; 12]);
        message.xor_address(attr::XOR_PEER_ADDRESS, addr(PEER));
        message.attribute(attr::DATA, b"x");
        if !known {
            message.attribute(REQUIRED, &[]);
        }
        assert_eq!(bench.relayed(udp(1), &bytes).is_some(), known);
    }
}

/// No indication is answered.
#[test]
fn rfc8489_s6_3_2_no_indication_is_answered() {
    let mut bench = Bench::new();
    let mut bytes = Vec::new();
    for method in METHODS
        .into_iter()
        .chain([Method::Send, Method::Data, Method::Other(0x123)])
    {
        Builder::new(&mut bytes, method, Class::Indication, [1; 12]);
        assert_eq!(bench.verdict(udp(1), &bytes), Verdict::Done, "{method:?}");
    }
}

/// A message whose FINGERPRINT is wrong is dropped; to one with the right one, the answer has it as well.
#[test]
fn rfc8489_s7_a_wrong_fingerprint_is_dropped_and_a_right_one_returned() {
    let mut bench = Bench::new();
    let mut bytes = Client::new("alice").bare(Method::Binding, |message| message.fingerprint());
    let answer = bench.send(udp(1), &bytes).unwrap();
    let message = Message::parse(&answer).unwrap();
    assert!(message.find(attr::FINGERPRINT).is_some());
    assert!(integrity::fingerprint_fits(&message));
    *bytes.last_mut().unwrap() ^= 1;
    assert_eq!(bench.send(udp(1), &bytes), None);
}

/// The server knows the Binding method, and asks for no credentials.
#[test]
fn rfc8489_s12_binding_is_answered_without_credentials() {
    let bytes = Client::new("nobody").bare(Method::Binding, |_| {});
    let answer = Bench::new().send(udp(1), &bytes).unwrap();
    assert_eq!(Client::new("nobody").read(&answer).code, 0);
}

/// The server is there over UDP and over TCP.
#[test]
fn rfc8489_s12_udp_and_tcp_are_served() {
    let mut bench = Bench::new();
    for tuple in [udp(1), tcp(1)] {
        let bytes = Client::new("alice").bare(Method::Binding, |_| {});
        assert!(bench.send(tuple, &bytes).is_some());
        allocated(&mut bench, "alice", tuple);
    }
}

/// FINGERPRINT is never asked for.
#[test]
fn rfc8489_s12_no_fingerprint_is_needed() {
    let bytes = Client::new("alice").bare(Method::Binding, |_| {});
    let answer = Bench::new().send(udp(1), &bytes).unwrap();
    let message = Message::parse(&answer).unwrap();
    assert!(message.find(attr::FINGERPRINT).is_none());
}
