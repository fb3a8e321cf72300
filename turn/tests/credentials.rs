//! The long-term credential mechanism of RFC 8489: what is offered, what is taken, and how answers are signed.

mod support;

use std::sync::atomic::Ordering::Relaxed;

use moznods_turn::auth::{Key, Owner, PasswordAlgorithm, Refusal, userhash};
use moznods_turn::server::{Config, Ended, Event, FiveTuple};
use moznods_turn::stats::Dropped;
use moznods_turn::wire::{Builder, Class, Message, Method, attr, integrity};
use support::bench::{Bench, PEER, addr, tcp, udp};
use support::{Answer, Client, REALM, bind, permit, udp_transport};

const OFFER: [u8; 8] = PasswordAlgorithm::OFFER;

/// A challenge, as it came.
fn challenge(bench: &mut Bench, client: &mut Client, tuple: FiveTuple) -> Answer {
    let bytes = client.bare(Method::Allocate, udp_transport);
    let answer = bench.send(tuple, &bytes).unwrap();
    client.read(&answer)
}

/// Sends a Refresh that ends as `close` writes it; the client has a nonce.
fn refresh(
    bench: &mut Bench,
    client: &mut Client,
    tuple: FiveTuple,
    close: impl FnOnce(&mut Builder<'_>, &Client),
) -> Answer {
    let id = client.transaction();
    let mut out = Vec::new();
    let mut message = Builder::new(&mut out, Method::Refresh, Class::Request, id);
    close(&mut message, client);
    let answer = bench.send(tuple, &out).expect("an answer");
    client.read(&answer)
}

fn named(message: &mut Builder<'_>, client: &Client) {
    message.text(attr::USERNAME, client.username);
    message.text(attr::REALM, REALM);
    message.attribute(attr::NONCE, &client.nonce);
}

fn chosen(message: &mut Builder<'_>, algorithm: PasswordAlgorithm) {
    message.attribute(attr::PASSWORD_ALGORITHMS, &OFFER);
    message.attribute(attr::PASSWORD_ALGORITHM, &algorithm.value());
}

/// Which of the two kinds of integrity an answer has.
fn kinds(answer: &Answer) -> (bool, bool) {
    let message = Message::parse(&answer.bytes).unwrap();
    let has = |kind| message.find(kind).is_some();
    (
        has(attr::MESSAGE_INTEGRITY),
        has(attr::MESSAGE_INTEGRITY_SHA256),
    )
}

const SHA1: (bool, bool) = (true, false);
const SHA256: (bool, bool) = (false, true);
const BOTH: (bool, bool) = (true, true);
const NEITHER: (bool, bool) = (false, false);

/// Where a 401 has PASSWORD-ALGORITHMS, the nonce beside it says so by its feature bit.
#[test]
fn rfc8489_s9_2_4_where_algorithms_are_offered_the_nonce_says_so() {
    let mut bench = Bench::new();
    for tuple in [udp(1), tcp(1)] {
        let answer = challenge(&mut bench, &mut Client::new("alice"), tuple);
        assert_eq!((answer.code, kinds(&answer)), (401, NEITHER));
        assert_eq!(answer.get(attr::PASSWORD_ALGORITHMS).unwrap(), OFFER);
        let nonce = answer.get(attr::NONCE).unwrap();
        assert!(nonce.starts_with(b"obMatJos2gAAB"), "{nonce:?}");
        assert!(answer.get(attr::USERNAME).is_none() && answer.get(attr::USERHASH).is_none());
    }
}

/// A nonce begins with "obMatJos2" and the security features; these are zero where none is used.
#[test]
fn rfc8489_s9_2_nonces_begin_with_the_cookie() {
    // Over UDP, with a realm that leaves no room for an offer in the answer to the shortest Allocate.
    for (tuple, realm, features) in [
        (tcp(1), 32, b"gAAB"),
        (udp(1), 8, b"gAAB"),
        (udp(1), 20, b"AAAA"),
    ] {
        let mut bench = Bench::configured(|config| config.realm = "r".repeat(realm));
        let answer = challenge(&mut bench, &mut Client::new("alice"), tuple);
        let nonce = answer.get(attr::NONCE).unwrap();
        let cookie = [b"obMatJos2", &features[..]].concat();
        assert!(nonce.starts_with(&cookie), "{nonce:?}");
        let offers = answer.get(attr::PASSWORD_ALGORITHMS).is_some();
        assert_eq!(offers, features != b"AAAA");
    }
}

/// To a wrong username, a wrong password and a nonce that is no longer valid the answer has PASSWORD-ALGORITHMS.
#[test]
fn rfc8489_s9_2_4_refusals_offer_the_algorithms() {
    let realm = "r".repeat(Config::REALM_MAX);
    for (username, nonce, code) in [
        ("nobody", None, 401),
        ("bob", None, 401),
        ("bob", Some(b"an old one"), 438),
    ] {
        let mut bench = Bench::configured(|config| config.realm = realm.clone());
        let mut client = Client::new(username);
        challenge(&mut bench, &mut client, udp(1));
        if let Some(nonce) = nonce {
            client.nonce = nonce.to_vec();
        }
        let answer = bench.ask(&mut client, udp(1), Method::Allocate, udp_transport);
        assert_eq!(answer.code, code, "{username}");
        assert_eq!(answer.get(attr::PASSWORD_ALGORITHMS).unwrap(), OFFER);
    }
}

/// The least that a first request can be, and all lengths above it.
#[test]
fn an_offer_is_made_where_it_fits_and_no_answer_is_over_three_times_its_request() {
    for realm in 0..=Config::REALM_MAX {
        let mut bench = Bench::configured(|config| {
            config.realm = "r".repeat(realm);
            config.limits.unauthenticated_per_second = 0;
        });
        for more in (0..=64).step_by(4) {
            for fingerprint in [false, true] {
                let mut client = Client::new("alice");
                let bytes = client.bare(Method::Allocate, |message| {
                    udp_transport(message);
                    if more > 0 {
                        message.attribute(0x8FFF, &vec![0; more - 4]);
                    }
                    if fingerprint {
                        message.fingerprint();
                    }
                });
                let answer = client.read(&bench.send(udp(1), &bytes).expect("an answer"));
                assert!(answer.bytes.len() <= 3 * bytes.len(), "{realm} {more}");
                assert_eq!(
                    answer.get(attr::FINGERPRINT).is_some(),
                    fingerprint,
                    "{realm} {more}"
                );
                let offered = answer.get(attr::PASSWORD_ALGORITHMS).is_some();
                let said = client.nonce.starts_with(b"obMatJos2gAAB");
                assert_eq!(offered, said, "{realm} {more}");
                let fingerprint = if fingerprint { 8 } else { 0 };
                let rest = 20 + 8 + 4 + realm.next_multiple_of(4) + fingerprint;
                let fits = |length| rest + length <= 3 * bytes.len();
                assert_eq!(offered, fits(32 + 12), "{realm} {more}");
                // A cookie at least (RFC 8489 §9.2).
                let cookie = client.nonce.starts_with(b"obMatJos2");
                assert_eq!(cookie, fits(32), "{realm} {more}");

                // What an old client is given is as good as ever.
                client.realm = "r".repeat(realm);
                client.key = Key::long_term("alice", &client.realm, "ALICE");
                let bytes = client.request(Method::CreatePermission, |_| {});
                let answer = client.read(&bench.send(udp(1), &bytes).unwrap());
                assert_eq!((answer.code, answer.signed), (437, true));

                let on_stream = client.bare(Method::Allocate, udp_transport);
                let answer = client.read(&bench.send(tcp(1), &on_stream).unwrap());
                assert!(answer.get(attr::PASSWORD_ALGORITHMS).is_some());
            }
        }
    }
}

#[test]
fn a_client_that_chooses_sha256_is_answered_with_it_throughout() {
    for tuple in [udp(1), tcp(1)] {
        let mut bench = Bench::new();
        let mut client = Client::sha256("alice");
        let answer = bench.allocate(&mut client, tuple);
        assert_eq!(
            (answer.code, answer.signed, kinds(&answer)),
            (0, true, SHA256)
        );
        let peers = [addr(PEER)];
        let mut ask = |method, fill: &dyn Fn(&mut Builder<'_>)| {
            let answer = bench.ask(&mut client, tuple, method, fill);
            assert!(answer.signed, "{method:?}");
            assert_eq!(kinds(&answer), SHA256, "{method:?}");
            answer.code
        };
        assert_eq!(ask(Method::CreatePermission, &|m| permit(&peers)(m)), 0);
        assert_eq!(ask(Method::ChannelBind, &|m| bind(0x4000, peers[0])(m)), 0);
        let forbidden = [addr("10.0.0.1:1")];
        assert_eq!(
            ask(Method::CreatePermission, &|m| permit(&forbidden)(m)),
            403
        );
        assert_eq!(
            ask(Method::Refresh, &|m| m.attribute(0x7FFE, &[])),
            420,
            "an error is signed in the same way"
        );
        assert_eq!(ask(Method::Allocate, &udp_transport), 437);
        assert_eq!(ask(Method::Refresh, &|m| m.u32(attr::LIFETIME, 0)), 0);
    }
}

#[test]
fn a_retransmitted_allocate_by_sha256_is_answered_the_same() {
    let mut bench = Bench::new();
    let mut client = Client::sha256("alice");
    challenge(&mut bench, &mut client, udp(1));
    let bytes = client.request(Method::Allocate, |message| {
        udp_transport(message);
    });
    let first = bench.send(udp(1), &bytes).unwrap();
    bench.pass(1);
    assert_eq!(bench.send(udp(1), &bytes).unwrap(), first);
}

#[test]
fn an_allocate_that_finds_no_port_is_refused_with_the_integrity_it_asked_for() {
    let mut bench = Bench::new();
    bench.taken = (50000..=50099).collect();
    let answer = bench.allocate(&mut Client::sha256("alice"), udp(1));
    assert_eq!(
        (answer.code, answer.signed, kinds(&answer)),
        (508, true, SHA256)
    );
}

/// A request is judged by the integrity it has, with the key of the algorithm it chose or else of MD5, and answered with
/// MESSAGE-INTEGRITY-SHA256; where it chose none, with MESSAGE-INTEGRITY instead.
#[test]
fn rfc8489_s9_2_4_answers_have_the_integrity_of_the_algorithm_chosen() {
    use PasswordAlgorithm::{Md5, Sha256};
    let mut bench = Bench::new();
    let mut client = Client::new("alice");
    bench.allocate(&mut client, udp(1));
    for (choice, by_sha256, expected) in [
        (None, false, SHA1),
        (None, true, SHA1),
        (Some(Md5), false, BOTH),
        (Some(Md5), true, SHA256),
        (Some(Sha256), false, BOTH),
        (Some(Sha256), true, SHA256),
    ] {
        client.key = Key::new(choice.unwrap_or(Md5), "alice", REALM, "ALICE");
        let answer = refresh(&mut bench, &mut client, udp(1), |message, client| {
            named(message, client);
            if let Some(choice) = choice {
                chosen(message, choice);
            }
            match by_sha256 {
                true => message.integrity_sha256(&client.key),
                false => message.integrity(&client.key),
            }
        });
        let case = format!("{choice:?} {by_sha256}");
        assert_eq!((answer.code, answer.signed), (0, true), "{case}");
        assert_eq!(kinds(&answer), expected, "{case}");
        for kind in [attr::REALM, attr::NONCE, attr::USERNAME, attr::USERHASH] {
            assert_eq!(answer.get(kind), None, "{case}");
        }
    }
}

/// A request whose integrity was made with the key of another algorithm than it chose is refused with 401.
#[test]
fn rfc8489_s9_2_4_a_key_of_another_algorithm_is_unauthenticated() {
    use PasswordAlgorithm::{Md5, Sha256};
    let mut bench = Bench::new();
    let mut client = Client::new("alice");
    bench.allocate(&mut client, udp(1));
    for (choice, key) in [(None, Sha256), (Some(Md5), Sha256), (Some(Sha256), Md5)] {
        client.key = Key::new(key, "alice", REALM, "ALICE");
        let answer = refresh(&mut bench, &mut client, udp(1), |message, client| {
            named(message, client);
            if let Some(choice) = choice {
                chosen(message, choice);
            }
            message.integrity_sha256(&client.key);
        });
        assert_eq!((answer.code, kinds(&answer)), (401, NEITHER), "{choice:?}");
    }
}

/// Where MESSAGE-INTEGRITY-SHA256 is present it is what counts, whatever MESSAGE-INTEGRITY is.
#[test]
fn rfc8489_s9_2_4_message_integrity_sha256_counts_where_it_is() {
    let mut bench = Bench::new();
    let mut client = Client::new("alice");
    bench.allocate(&mut client, udp(1));
    let wrong = Key::long_term("alice", REALM, "wrong");
    for (first, second, code) in [(true, true, 0), (false, true, 0), (true, false, 401)] {
        let answer = refresh(&mut bench, &mut client, udp(1), |message, client| {
            named(message, client);
            message.integrity(if first { &client.key } else { &wrong });
            message.integrity_sha256(if second { &client.key } else { &wrong });
        });
        assert_eq!(answer.code, code, "{first} {second}");
    }
    // What stands between the two is not looked at: it would end the allocation.
    let answer = refresh(&mut bench, &mut client, udp(1), |message, client| {
        named(message, client);
        message.integrity(&client.key);
        message.u32(attr::LIFETIME, 0);
        message.integrity_sha256(&client.key);
    });
    assert_eq!(answer.code, 0);
    assert_eq!(bench.live.len(), 1);
}

/// MESSAGE-INTEGRITY-SHA256 is of 32 bytes, as TURN does not allow to truncate it; a shorter one is refused with 401.
#[test]
fn rfc8489_s14_6_message_integrity_sha256_is_whole() {
    for length in [0, 4, 16, 28, 31] {
        let mut bench = Bench::new();
        let mut client = Client::sha256("alice");
        challenge(&mut bench, &mut client, udp(1));
        let bytes = client.request(Method::Allocate, udp_transport);
        // What would be right, were it allowed: the header counts the shorter attribute.
        let mut bytes = bytes[..bytes.len() - 36].to_vec();
        let total = bytes.len() + 4 + usize::next_multiple_of(length, 4);
        bytes[2..4].copy_from_slice(&((total - 20) as u16).to_be_bytes());
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, client.key.expose());
        let mac = ring::hmac::sign(&key, &bytes);
        bytes.extend_from_slice(&attr::MESSAGE_INTEGRITY_SHA256.to_be_bytes());
        bytes.extend_from_slice(&(length as u16).to_be_bytes());
        bytes.extend_from_slice(&mac.as_ref()[..length]);
        bytes.resize(total, 0);
        let answer = client.read(&bench.send(udp(1), &bytes).unwrap());
        assert_eq!(answer.code, 401, "{length}");
        assert!(bench.live.is_empty());
    }
}

/// PASSWORD-ALGORITHMS and PASSWORD-ALGORITHM come together, the one as it was offered and the other one of it; else the
/// request is refused with 400, as it is without a username, realm or nonce.
#[test]
fn rfc8489_s9_2_4_algorithms_that_are_not_as_offered_are_a_bad_request() {
    let mut bench = Bench::new();
    let mut client = Client::sha256("alice");
    bench.allocate(&mut client, udp(1));
    let full: [(u16, Vec<u8>); 5] = [
        (attr::USERNAME, b"alice".to_vec()),
        (attr::REALM, REALM.into()),
        (attr::NONCE, client.nonce.clone()),
        (attr::PASSWORD_ALGORITHMS, OFFER.to_vec()),
        (attr::PASSWORD_ALGORITHM, vec![0, 2, 0, 0]),
    ];
    let mut ask = |attributes: &[(u16, Vec<u8>)]| {
        refresh(&mut bench, &mut client, udp(1), |message, client| {
            for (kind, value) in attributes {
                message.attribute(*kind, value);
            }
            message.integrity_sha256(&client.key);
        })
    };
    assert_eq!(ask(&full).code, 0);
    for without in 0..full.len() {
        let mut attributes = full.to_vec();
        let (kind, _) = attributes.remove(without);
        let answer = ask(&attributes);
        assert_eq!((answer.code, kinds(&answer)), (400, NEITHER), "{kind:04x}");
        assert_eq!(answer.get(attr::REALM), None);
        assert_eq!(answer.get(attr::NONCE), None);
    }
    for (at, value) in [
        // The offer as somebody on the way might have changed it.
        (3, vec![0, 1, 0, 0]),
        (3, vec![0, 2, 0, 0]),
        (3, vec![0, 1, 0, 0, 0, 2, 0, 0]),
        (3, vec![]),
        (3, [OFFER, OFFER].concat()),
        // Choices that were not offered.
        (4, vec![0, 0, 0, 0]),
        (4, vec![0, 3, 0, 0]),
        (4, vec![0, 2]),
        (4, vec![0, 2, 0, 4, 0, 0, 0, 0]),
        (4, vec![]),
    ] {
        let mut attributes = full.to_vec();
        attributes[at].1 = value.clone();
        assert_eq!(ask(&attributes).code, 400, "{at} {value:?}");
    }
}

/// A nonce whose security features somebody on the way has changed, or taken away, is refused with 438.
#[test]
fn rfc8489_s9_2_1_a_nonce_whose_features_were_changed_is_none() {
    let mut bench = Bench::new();
    let mut client = Client::new("alice");
    let answer = challenge(&mut bench, &mut client, udp(1));
    let nonce = answer.get(attr::NONCE).unwrap();
    // A client that knows nothing of the cookie echoes it: that is what RFC 5389 is.
    assert_eq!(bench.allocate(&mut client, udp(1)).code, 0);
    // One that does and saw another nonce than the server gave.
    for changed in [
        nonce[13..].to_vec(),
        [b"obMatJos2AAAA", &nonce[13..]].concat(),
        [b"obMatJos2QAAC", &nonce[13..]].concat(),
        [b"obMatJos2wAAD", &nonce[13..]].concat(),
    ] {
        client.nonce = changed;
        let answer = bench.ask(&mut client, udp(1), Method::Refresh, |_| {});
        assert_eq!(answer.code, 438);
        assert_eq!(answer.get(attr::PASSWORD_ALGORITHMS).unwrap(), OFFER);
    }
}

#[test]
fn a_stale_nonce_is_followed_by_one_with_an_offer() {
    let mut bench = Bench::configured(|config| config.realm = "r".repeat(Config::REALM_MAX));
    let mut client = Client::new("alice");
    client.realm = "r".repeat(Config::REALM_MAX);
    client.key = Key::long_term("alice", &client.realm, "ALICE");
    let answer = challenge(&mut bench, &mut client, udp(1));
    assert_eq!(answer.get(attr::PASSWORD_ALGORITHMS), None, "too short");
    assert_eq!(bench.allocate(&mut client, udp(1)).code, 0);
    bench.pass(599);
    bench.ask(&mut client, udp(1), Method::Refresh, |_| {});
    bench.pass(2);
    let answer = bench.ask(&mut client, udp(1), Method::Refresh, |_| {});
    assert_eq!(answer.code, 438);
    assert_eq!(answer.get(attr::PASSWORD_ALGORITHMS).unwrap(), OFFER);
    let answer = bench.ask(&mut client, udp(1), Method::Refresh, |_| {});
    assert_eq!(
        (answer.code, kinds(&answer)),
        (0, SHA1),
        "an old client goes on as it was"
    );
}

#[test]
fn a_nonce_is_of_no_use_to_another_client() {
    let mut bench = Bench::new();
    let mut client = Client::sha256("alice");
    bench.allocate(&mut client, udp(1));
    let elsewhere = FiveTuple {
        server: addr("198.51.100.8:3478"),
        ..udp(1)
    };
    for tuple in [udp(2), tcp(1), elsewhere] {
        let mut thief = Client::sha256("bob");
        (thief.nonce, thief.offer) = (client.nonce.clone(), client.offer.clone());
        let answer = bench.ask(&mut thief, tuple, Method::Allocate, udp_transport);
        assert_eq!(answer.code, 438, "{tuple:?}");
        assert_ne!(answer.get(attr::NONCE).unwrap(), client.nonce);
    }
    assert_eq!(bench.live.len(), 1);
}

/// Where users may be anonymous, the nonce says so by its feature bit, and USERHASH stands for the username.
#[test]
fn rfc8489_s9_2_4_where_names_may_be_hidden_the_nonce_says_so() {
    let mut bench = Bench::new();
    bench.users.anonymous.store(true, Relaxed);
    let answer = challenge(&mut bench, &mut Client::new("alice"), tcp(1));
    let nonce = answer.get(attr::NONCE).unwrap();
    assert!(nonce.starts_with(b"obMatJos2wAAD"), "{nonce:?}");

    let mut client = Client::sha256("alice");
    client.anonymous = true;
    let answer = bench.allocate(&mut client, udp(1));
    assert_eq!(
        (answer.code, answer.signed, kinds(&answer)),
        (0, true, SHA256)
    );
    assert_eq!(answer.get(attr::USERHASH), None);
    client.anonymous = false;
    let answer = bench.ask(&mut client, udp(1), Method::Refresh, |_| {});
    assert_eq!(answer.code, 0, "the same user by name");
    let mut other = Client::sha256("bob");
    other.anonymous = true;
    challenge(&mut bench, &mut other, udp(1));
    let answer = bench.ask(&mut other, udp(1), Method::Refresh, |_| {});
    assert_eq!(answer.code, 441);
}

/// A USERHASH that is nobody's is refused with 401, a realm, a nonce and PASSWORD-ALGORITHMS.
#[test]
fn rfc8489_s9_2_4_an_unknown_userhash_is_unauthenticated() {
    let mut bench = Bench::new();
    let mut client = Client::sha256("alice");
    bench.allocate(&mut client, udp(1));
    let nobody = userhash("nobody", REALM);
    let elsewhere = userhash("alice", "another realm");
    let short = userhash("alice", REALM)[..31].to_vec();
    for hash in [&nobody[..], &elsewhere, &short, &[]] {
        let answer = refresh(&mut bench, &mut client, udp(1), |message, client| {
            message.attribute(attr::USERHASH, hash);
            message.text(attr::REALM, REALM);
            message.attribute(attr::NONCE, &client.nonce);
            chosen(message, PasswordAlgorithm::Sha256);
            message.integrity_sha256(&client.key);
        });
        assert_eq!((answer.code, kinds(&answer)), (401, NEITHER), "{hash:?}");
        assert_eq!(answer.get(attr::REALM).unwrap(), REALM.as_bytes());
        assert!(answer.get(attr::NONCE).is_some());
        assert_eq!(answer.get(attr::PASSWORD_ALGORITHMS).unwrap(), OFFER);
    }
    // A name that is no text is nobody's either.
    let answer = refresh(&mut bench, &mut client, udp(1), |message, client| {
        message.attribute(attr::USERNAME, &[0xFF; 5]);
        message.text(attr::REALM, REALM);
        message.attribute(attr::NONCE, &client.nonce);
        message.integrity(&client.key);
    });
    assert_eq!(answer.code, 401);
}

#[test]
fn who_is_not_there_is_refused_as_a_wrong_password_is() {
    let answer_to = |username: &'static str| {
        let mut bench = Bench::new();
        bench.pass(200);
        let mut client = Client::sha256(username);
        client.key = Key::new(PasswordAlgorithm::Sha256, username, REALM, "guess");
        let answer = bench.allocate(&mut client, udp(1));
        assert_eq!(answer.code, 401);
        answer.bytes[20..].to_vec()
    };
    let known = answer_to("alice");
    for username in ["nobody", "late", "blocked"] {
        assert_eq!(answer_to(username), known, "{username}");
    }
}

fn lifetime(seconds: u32) -> impl Fn(&mut Builder<'_>) {
    move |message| {
        udp_transport(message);
        message.u32(attr::LIFETIME, seconds);
    }
}

#[test]
fn with_strict_expiry_an_allocation_ends_with_its_credential() {
    let strict = || Bench::configured(|config| config.strict_expiry = true);
    for asked in [0, 50, 600, 3600] {
        let mut bench = strict();
        let mut client = Client::sha256("late");
        let answer = bench.ask(&mut client, udp(1), Method::Allocate, lifetime(asked));
        assert_eq!(answer.u32(attr::LIFETIME), Some(100), "{asked}");
        bench.pass(40);
        let answer = bench.ask(&mut client, udp(1), Method::Refresh, lifetime(asked.max(1)));
        assert_eq!(answer.u32(attr::LIFETIME), Some(60), "{asked}");
        bench.pass(59);
        let answer = bench.ask(&mut client, udp(1), Method::Refresh, |_| {});
        assert_eq!(answer.u32(attr::LIFETIME), Some(1));
        assert_eq!(bench.live.len(), 1);
        bench.pass(1);
        assert!(bench.live.is_empty());
        let reason = |event: &Event| {
            matches!(
                event,
                Event::Ended {
                    reason: Ended::Expired,
                    ..
                }
            )
        };
        assert!(bench.events.iter().any(reason), "{:?}", bench.events);
        for method in [Method::Refresh, Method::Allocate] {
            let answer = bench.ask(&mut client, udp(1), method, udp_transport);
            assert_eq!((answer.code, kinds(&answer)), (401, NEITHER));
        }
    }
    // One without an expiry has the usual lifetimes.
    let mut bench = strict();
    let mut client = Client::new("alice");
    let answer = bench.ask(&mut client, udp(1), Method::Allocate, lifetime(3600));
    assert_eq!(answer.u32(attr::LIFETIME), Some(3600));
    // So has one that expires later than they.
    let mut bench = strict();
    bench.now.unix -= 7200;
    let mut client = Client::new("late");
    let answer = bench.ask(&mut client, udp(1), Method::Allocate, lifetime(3600));
    assert_eq!(answer.u32(attr::LIFETIME), Some(3600));
}

/// The clock of the machine may be set forward.
#[test]
fn with_strict_expiry_a_request_after_it_is_refused_although_the_allocation_is_there() {
    let mut bench = Bench::configured(|config| config.strict_expiry = true);
    let mut client = Client::new("late");
    bench.allocate(&mut client, udp(1));
    bench.now.unix += 100;
    let peers = [addr(PEER)];
    let mut ask =
        |method, fill: &dyn Fn(&mut Builder<'_>)| bench.ask(&mut client, udp(1), method, fill).code;
    assert_eq!(ask(Method::Refresh, &|_| {}), 401);
    assert_eq!(ask(Method::CreatePermission, &|m| permit(&peers)(m)), 401);
    assert_eq!(
        ask(Method::ChannelBind, &|m| bind(0x4000, peers[0])(m)),
        401
    );
    bench.pass(100);
    assert!(bench.live.is_empty());
}

#[test]
fn keys_are_not_printed() {
    let key = Key::new(PasswordAlgorithm::Sha256, "alice", REALM, "ALICE");
    assert_eq!(format!("{key:?}"), "Key(…)");
    assert_eq!(
        Key::from_bytes(key.expose()).unwrap().expose(),
        key.expose()
    );
    assert!(Key::from_bytes(&key.expose()[..31]).is_none());
    let mut out = Vec::new();
    let mut message = Builder::new(&mut out, Method::Refresh, Class::Request, [1; 12]);
    message.integrity_sha256(&key);
    assert!(integrity::verify(&Message::parse(&out).unwrap(), &key));
}

#[test]
fn the_authenticator_hears_of_what_comes_from_where_it_says() {
    let mut bench = Bench::new();
    let wrong = Key::long_term("alice", REALM, "a guess");
    let mut eve = Client::new("alice");
    eve.key = wrong;
    // Without a nonce of its own it may come from anywhere, as with another's, and as with an old one.
    challenge(&mut bench, &mut eve, udp(1));
    assert_eq!(refresh(&mut bench, &mut eve, udp(2), signed).code, 438);
    challenge(&mut bench, &mut eve, udp(1));
    eve.nonce[0] ^= 1;
    assert_eq!(refresh(&mut bench, &mut eve, udp(1), signed).code, 438);
    challenge(&mut bench, &mut eve, udp(1));
    bench.pass(100_000);
    assert_eq!(refresh(&mut bench, &mut eve, udp(1), signed).code, 438);
    assert_eq!(*bench.users.refused.lock().unwrap(), []);

    assert_eq!(refresh(&mut bench, &mut eve, udp(1), signed).code, 401);
    let mut nobody = Client::new("nobody");
    challenge(&mut bench, &mut nobody, tcp(1));
    assert_eq!(refresh(&mut bench, &mut nobody, tcp(1), signed).code, 401);
    let mut alice = Client::new("alice");
    assert_eq!(bench.allocate(&mut alice, udp(3)).code, 0);
    assert_eq!(*bench.users.proven.lock().unwrap(), [Owner(1)]);
    alice.key = wrong;
    assert_eq!(refresh(&mut bench, &mut alice, udp(3), signed).code, 401);
    // An allocation of one's own is none of him whose password one guesses.
    let mut bob = Client::new("bob");
    assert_eq!(bench.allocate(&mut bob, udp(4)).code, 0);
    eve.nonce = bob.nonce;
    assert_eq!(refresh(&mut bench, &mut eve, udp(4), signed).code, 401);
    let client = udp(1).client.ip();
    assert_eq!(
        *bench.users.refused.lock().unwrap(),
        [
            ("alice".to_owned(), client, false, Refusal::WrongPassword),
            ("nobody".to_owned(), client, false, Refusal::Unknown),
            ("alice".to_owned(), client, true, Refusal::WrongPassword),
            ("alice".to_owned(), client, false, Refusal::WrongPassword),
        ]
    );

    // Whom it wants to be told nothing hears nothing.
    bench.users.silent.store(true, Relaxed);
    let request = eve.request(Method::Refresh, |_| {});
    assert_eq!(bench.send(udp(4), &request), None);
    assert_eq!(bench.dropped(Dropped::Banned), 1);
    let mut bob = Client::new("bob");
    assert_eq!(bench.allocate(&mut bob, udp(1)).code, 0);
}

fn signed(message: &mut Builder<'_>, client: &Client) {
    named(message, client);
    message.integrity(&client.key);
}
