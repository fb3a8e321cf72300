//! RFC 8489 §9: the long-term credential mechanism, and the attributes that it is made of (§14).

use std::collections::HashSet;

use moznods_turn::server::Verdict;
use moznods_turn::wire::{Builder, Class, Message, Method, attr};

use crate::support::bench::{Bench, PEER, addr, allocated, tcp, udp};
use crate::support::{Answer, Client, key_of, udp_transport};

/// Asks without credentials.
fn challenge(bench: &mut Bench, client: &mut Client, port: u16) -> Answer {
    let bytes = client.bare(Method::Allocate, udp_transport);
    let answer = bench.send(udp(port), &bytes).expect("a challenge");
    client.read(&answer)
}

/// Asks with what the client knows.
fn claim(bench: &mut Bench, client: &mut Client, port: u16) -> Answer {
    let bytes = client.request(Method::Allocate, udp_transport);
    let answer = bench.send(udp(port), &bytes).expect("an answer");
    client.read(&answer)
}

/// Nothing that follows MESSAGE-INTEGRITY counts, FINGERPRINT and the SHA-256 variant aside: it is nobody's word.
#[test]
fn rfc8489_s9_what_follows_the_integrity_is_ignored() {
    let mut bench = Bench::new();
    let (mut client, _) = allocated(&mut bench, "alice", udp(1));
    let id = client.transaction();
    let mut bytes = Vec::new();
    let mut message = Builder::new(&mut bytes, Method::Refresh, Class::Request, id);
    message.text(attr::USERNAME, client.username);
    message.text(attr::REALM, &client.realm);
    message.attribute(attr::NONCE, &client.nonce);
    message.integrity(&client.key);
    message.u32(attr::LIFETIME, 0);
    message.attribute(0x7FFE, &[]);
    let answer = client.read(&bench.send(udp(1), &bytes).unwrap());
    assert_eq!((answer.code, answer.u32(attr::LIFETIME)), (0, Some(600)));
    assert_eq!(bench.live.len(), 1);
}

/// A request without integrity is refused with 401.
#[test]
fn rfc8489_s9_2_4_a_request_without_integrity_is_unauthenticated() {
    let mut bench = Bench::new();
    for method in [
        Method::Allocate,
        Method::Refresh,
        Method::CreatePermission,
        Method::ChannelBind,
    ] {
        let mut client = Client::new("alice");
        let bytes = client.bare(method, |message| message.text(attr::USERNAME, "alice"));
        let answer = client.read(&bench.send(udp(1), &bytes).unwrap());
        assert_eq!((answer.code, answer.signed), (401, false), "{method:?}");
    }
}

/// That 401 names the realm.
#[test]
fn rfc8489_s9_2_4_the_challenge_names_the_realm() {
    let answer = challenge(&mut Bench::new(), &mut Client::new("alice"), 1);
    assert_eq!(
        answer.get(attr::REALM).unwrap(),
        crate::support::REALM.as_bytes()
    );
}

/// That 401 brings a nonce, with which the client can go on.
#[test]
fn rfc8489_s9_2_4_the_challenge_brings_a_nonce() {
    let (mut bench, mut client) = (Bench::new(), Client::new("alice"));
    assert!(
        challenge(&mut bench, &mut client, 1)
            .get(attr::NONCE)
            .is_some()
    );
    assert_eq!(claim(&mut bench, &mut client, 1).code, 0);
}

/// Two clients are never given the same nonce, unless their address and port are the same.
#[test]
fn rfc8489_s9_2_4_no_two_addresses_share_a_nonce() {
    let mut bench = Bench::new();
    let mut seen = HashSet::new();
    for port in 1..300 {
        let answer = challenge(&mut bench, &mut Client::new("alice"), port);
        assert!(seen.insert(answer.get(attr::NONCE).unwrap()), "port {port}");
    }
    let mut client = Client::new("alice");
    challenge(&mut bench, &mut client, 1);
    assert_eq!(claim(&mut bench, &mut client, 2).code, 438);
}

/// A request with integrity that lacks the username, the realm or the nonce is refused with 400.
#[test]
fn rfc8489_s9_2_4_integrity_without_the_rest_is_a_bad_request() {
    let mut bench = Bench::new();
    let mut client = Client::new("alice");
    challenge(&mut bench, &mut client, 1);
    for missing in 0..3 {
        let mut bytes = Vec::new();
        let mut message = Builder::new(&mut bytes, Method::Allocate, Class::Request, [1; 12]);
        udp_transport(&mut message);
        let parts = [
            (attr::USERNAME, client.username.as_bytes().to_vec()),
            (attr::REALM, client.realm.as_bytes().to_vec()),
            (attr::NONCE, client.nonce.clone()),
        ];
        for (_, (kind, value)) in parts.iter().enumerate().filter(|(at, _)| *at != missing) {
            message.attribute(*kind, value);
        }
        message.integrity(&client.key);
        let answer = client.read(&bench.send(udp(1), &bytes).unwrap());
        assert_eq!((answer.code, answer.signed), (400, false));
        for kind in [attr::USERNAME, attr::REALM, attr::NONCE] {
            assert_eq!(answer.get(kind), None);
        }
    }
    assert!(bench.live.is_empty());
}

/// A username that is nobody's, or nobody's any more, is refused with 401, a realm and a nonce.
#[test]
fn rfc8489_s9_2_4_an_unknown_username_is_unauthenticated() {
    for username in ["nobody", "late", "blocked"] {
        let (mut bench, mut client) = (Bench::new(), Client::new(username));
        bench.pass(101);
        challenge(&mut bench, &mut client, 1);
        let answer = claim(&mut bench, &mut client, 1);
        assert_eq!((answer.code, answer.signed), (401, false), "{username}");
        assert!(answer.get(attr::REALM).is_some() && answer.get(attr::NONCE).is_some());
        assert_eq!(answer.get(attr::USERNAME), None);
        assert!(bench.live.is_empty());
    }
}

/// A request whose integrity does not fit is refused with 401, a realm and a nonce.
#[test]
fn rfc8489_s9_2_4_a_wrong_password_is_unauthenticated() {
    let (mut bench, mut client) = (Bench::new(), Client::new("alice"));
    client.key = key_of("bob");
    challenge(&mut bench, &mut client, 1);
    let answer = claim(&mut bench, &mut client, 1);
    assert_eq!((answer.code, answer.signed), (401, false));
    assert!(answer.get(attr::REALM).is_some() && answer.get(attr::NONCE).is_some());
    for kind in [attr::USERNAME, attr::MESSAGE_INTEGRITY] {
        let message = Message::parse(&answer.bytes).unwrap();
        assert!(message.find(kind).is_none());
    }
    assert!(bench.live.is_empty());
}

/// Any change of a signed request on its way makes it worthless.
#[test]
fn rfc8489_s9_2_4_a_changed_request_is_refused() {
    let mut bench = Bench::new();
    let (mut client, _) = allocated(&mut bench, "alice", udp(1));
    let bytes = client.request(Method::Refresh, |message| message.u32(attr::LIFETIME, 1200));
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 0x01;
        let Some(answer) = bench.send(udp(1), &changed) else {
            continue;
        };
        let answer = Client::new("alice").read(&answer);
        let bound = answer.method == Method::Binding; // which needs no credentials
        assert!(answer.code != 0 || bound, "byte {at}");
    }
    assert_eq!(bench.live.len(), 1);
}

/// A nonce whose time is over is refused with 438.
#[test]
fn rfc8489_s9_2_4_an_old_nonce_is_stale() {
    let mut bench = Bench::new();
    let (mut client, _) = allocated(&mut bench, "alice", udp(1));
    assert_eq!(bench.refresh(&mut client, udp(1), Some(3600)).code, 0);
    bench.pass(599);
    assert_eq!(bench.refresh(&mut client, udp(1), Some(3600)).code, 0);
    bench.pass(2);
    assert_eq!(bench.refresh(&mut client, udp(1), Some(3600)).code, 438);
}

/// A 438 brings the realm and a nonce.
#[test]
fn rfc8489_s9_2_4_a_438_brings_realm_and_nonce() {
    let (mut bench, mut client) = (Bench::new(), Client::new("alice"));
    client.nonce = b"of another server".to_vec();
    let answer = claim(&mut bench, &mut client, 1);
    assert_eq!(answer.code, 438);
    assert!(answer.get(attr::REALM).is_some() && answer.get(attr::NONCE).is_some());
    assert_eq!(answer.get(attr::USERNAME), None);
}

/// The nonce in a 438 is a valid one.
#[test]
fn rfc8489_s9_2_4_the_nonce_of_a_438_is_valid() {
    let (mut bench, mut client) = (Bench::new(), Client::new("alice"));
    client.nonce = b"of another server".to_vec();
    assert_eq!(claim(&mut bench, &mut client, 1).code, 438);
    assert_eq!(claim(&mut bench, &mut client, 1).code, 0);
}

/// To a request that was signed with MESSAGE-INTEGRITY and names no algorithm, every answer is signed so too, with the
/// same key.
#[test]
fn rfc8489_s9_2_4_answers_are_signed_as_their_request_was() {
    let (mut bench, mut client) = (Bench::new(), Client::new("alice"));
    challenge(&mut bench, &mut client, 1);
    let answers = [
        bench.refresh(&mut client, udp(1), None),
        claim(&mut bench, &mut client, 1),
        claim(&mut bench, &mut client, 1),
        bench.permit(&mut client, udp(1), &[addr("10.0.0.1:1")]),
        bench.bind(&mut client, udp(1), 0x4000, addr(PEER)),
        bench.refresh(&mut client, udp(1), Some(0)),
    ];
    assert_eq!(
        answers.each_ref().map(|answer| answer.code),
        [437, 0, 437, 403, 0, 0]
    );
    for answer in answers {
        assert!(answer.signed);
        for kind in [attr::REALM, attr::NONCE, attr::USERNAME] {
            assert_eq!(answer.get(kind), None);
        }
    }
}

/// A username of up to 763 bytes is read.
#[test]
fn rfc8489_s14_3_long_usernames_are_read() {
    let mut bench = Bench::new();
    let mut client = Client::new("ü".repeat(381).leak());
    assert_eq!(client.username.len(), 762);
    challenge(&mut bench, &mut client, 1);
    assert_eq!(
        claim(&mut bench, &mut client, 1).code,
        401,
        "unknown, and not malformed"
    );
}

/// A realm is UTF-8 of fewer than 128 characters.
#[test]
fn rfc8489_s14_9_realms_are_short() {
    const { assert!(moznods_turn::server::Config::REALM_MAX < 128) };
    let answer = challenge(&mut Bench::new(), &mut Client::new("alice"), 1);
    assert!(String::from_utf8(answer.get(attr::REALM).unwrap()).is_ok());
}

/// A nonce is of fewer than 128 characters, none of which needs quotes.
#[test]
fn rfc8489_s14_10_nonces_are_short() {
    let mut bench = Bench::new();
    for tuple in [udp(1), tcp(1)] {
        let mut client = Client::new("alice");
        let bytes = client.bare(Method::Allocate, udp_transport);
        let Verdict::Answer = bench.verdict(tuple, &bytes) else {
            panic!("no answer")
        };
        client.read(bench.server.answer());
        assert!(client.nonce.len() < 128);
        let plain = |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\');
        assert!(client.nonce.iter().all(plain));
    }
}
