//! The codec against the RFC's own vectors and against another implementation.

use moznods_turn::wire::integrity::{self, Integrity, Key, PasswordAlgorithm};
use moznods_turn::wire::{Builder, Class, Message, Method, attr};
use stun_types::attribute::Userhash;
use stun_types::message::{
    BINDING, IntegrityAlgorithm, LongTermKeyCredentials, MessageClass, MessageType, MessageWriteVec,
};
use stun_types::prelude::*;

/// RFC 5769 §2.4: a request with long-term authentication.
const LONG_TERM: &str = "000100602112a44278ad3433c6ad72c029da412e00060012e3839ee38388e383aae38383e382af\
    e382b90000 0015001c662f2f3439396b39353464364f4c33346f4c39465354767936347341 0014000b6578616d706c652e\
    6f7267000008 0014f67024656dd64a3e02b8e0712e85c9a28ca89666";

/// RFC 5769 §2.2: an IPv4 answer.
const IPV4_ANSWER: &str = "0101003c2112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220\
    002000080001a147e112a643000800142b91f599fd9e90c38c7489f92af9ba53f06be7d780280004c07d4c96";

/// RFC 5769 §2.3: an IPv6 answer.
const IPV6_ANSWER: &str = "010100482112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220\
    002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d900080014a382954e4be67bf11784c97c8292c275bfe3ed41\
    80280004c8fb0b4c";

/// RFC 8489 appendix B.1, with the message length and the HMAC as erratum 6268 has them: USERHASH, PASSWORD-ALGORITHM
/// and MESSAGE-INTEGRITY-SHA256.
const SHA256_AND_USERHASH: &str = "000100902112a44278ad3433c6ad72c029da412e \
    001e00204a3cf38fef6992bda952c6780417da0f24819415569e60b205c46e41407f1704 \
    001500296f624d61744a6f733241414143662f2f3439396b39353464364f4c33346f4c39465354767936347341000000 \
    0014000b6578616d706c652e6f726700 \
    001d000400020000 \
    001c0020b5c7bf005b6c52a21c51c5e892f81924136296cb927c43149309278cc6518e65";

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

/// The same numbers in each run, below what it is asked for.
fn random(mut seed: u64) -> impl FnMut(usize) -> usize {
    move |below| {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize % below
    }
}

#[test]
fn rfc5769_long_term_request() {
    let bytes = bytes(LONG_TERM);
    let message = Message::parse(&bytes).unwrap();
    assert_eq!(
        (message.method(), message.class()),
        (Method::Binding, Class::Request)
    );
    let username = "\u{30DE}\u{30C8}\u{30EA}\u{30C3}\u{30AF}\u{30B9}";
    assert_eq!(message.get(attr::USERNAME).unwrap(), username.as_bytes());
    let key = Key::long_term(username, "example.org", "TheMatrIX");
    assert!(integrity::verify(&message, &key));
    assert!(!integrity::verify(
        &message,
        &Key::long_term(username, "example.org", "TheMatrix")
    ));
}

#[test]
fn rfc5769_answers() {
    for (hex, address) in [
        (IPV4_ANSWER, "192.0.2.1:32853"),
        (IPV6_ANSWER, "[2001:db8:1234:5678:11:2233:4455:6677]:32853"),
    ] {
        let bytes = bytes(hex);
        let message = Message::parse(&bytes).unwrap();
        assert!(integrity::fingerprint_fits(&message));
        let value = message.get(attr::XOR_MAPPED_ADDRESS).unwrap();
        assert_eq!(message.xor_address(value), Some(address.parse().unwrap()));

        // Written by us, the address has the same bytes.
        let mut out = Vec::new();
        let id = message.transaction_id();
        Builder::new(&mut out, Method::Binding, Class::Success, id)
            .xor_address(attr::XOR_MAPPED_ADDRESS, address.parse().unwrap());
        assert_eq!(
            Message::parse(&out).unwrap().get(attr::XOR_MAPPED_ADDRESS),
            Some(value)
        );
    }
}

/// A request with USERHASH, PASSWORD-ALGORITHM and MESSAGE-INTEGRITY-SHA256 is read and written as the test vector is.
#[test]
#[expect(non_snake_case, reason = "it is of appendix B")]
fn rfc8489_sB_1_a_request_by_sha256_and_userhash() {
    let bytes = bytes(SHA256_AND_USERHASH);
    let message = Message::parse(&bytes).unwrap();
    // The password after OpaqueString.
    let (username, realm) = (
        "\u{30DE}\u{30C8}\u{30EA}\u{30C3}\u{30AF}\u{30B9}",
        "example.org",
    );
    let hash = integrity::userhash(username, realm);
    assert_eq!(message.get(attr::USERHASH).unwrap(), hash);
    let algorithm = message.get(attr::PASSWORD_ALGORITHM).unwrap();
    let algorithm = PasswordAlgorithm::from_value(algorithm).unwrap();
    assert_eq!(algorithm, PasswordAlgorithm::Sha256);
    let key = Key::new(algorithm, username, realm, "TheMatrIX");
    assert_eq!(Integrity::of(&message), Some(Integrity::Sha256));
    assert!(integrity::verify(&message, &key));
    for wrong in [
        Key::new(algorithm, username, realm, "TheMatrix"),
        Key::long_term(username, realm, "TheMatrIX"),
    ] {
        assert!(!integrity::verify(&message, &wrong));
    }

    // Written by us, it has the same bytes.
    let mut out = Vec::new();
    let id = message.transaction_id();
    let mut ours = Builder::new(&mut out, Method::Binding, Class::Request, id);
    ours.attribute(attr::USERHASH, &hash);
    ours.attribute(attr::NONCE, b"obMatJos2AAACf//499k954d6OL34oL9FSTvy64sA");
    ours.text(attr::REALM, realm);
    ours.attribute(attr::PASSWORD_ALGORITHM, &algorithm.value());
    ours.integrity_sha256(&key);
    assert_eq!(out, bytes);
}

/// Random names, with each algorithm and each integrity: what one writes the other verifies, and no more once a byte
/// of it has changed.
#[test]
fn integrity_and_userhash_are_those_of_another_implementation() {
    let mut random = random(11);
    for round in 0..2000 {
        let mut text = |max: usize| {
            let chars = (0..random(max)).map(|_| "aß0:マ🙂"[..].chars().nth(random(6)).unwrap());
            chars.collect::<String>()
        };
        let (username, realm, password) = (text(20), text(20), text(20));
        let credentials =
            LongTermKeyCredentials::new(username.clone(), password.clone(), realm.clone());
        let hash = Userhash::compute(&username, &realm);
        assert_eq!(integrity::userhash(&username, &realm), hash);

        let (algorithm, theirs) = match round % 2 {
            0 => (PasswordAlgorithm::Md5, IntegrityAlgorithm::Sha1),
            _ => (PasswordAlgorithm::Sha256, IntegrityAlgorithm::Sha256),
        };
        let key = Key::new(algorithm, &username, &realm, &password);
        let their_key = credentials.make_key(theirs);

        let mut out = Vec::new();
        let mut message = Builder::new(&mut out, Method::Allocate, Class::Success, [9; 12]);
        message.attribute(attr::USERHASH, &hash);
        match theirs {
            IntegrityAlgorithm::Sha1 => message.integrity(&key),
            IntegrityAlgorithm::Sha256 => message.integrity_sha256(&key),
        }
        if round % 3 == 0 {
            message.fingerprint();
        }
        let read = stun_types::message::Message::from_bytes(&out).unwrap();
        assert_eq!(
            read.validate_integrity_with_key(&their_key).unwrap(),
            theirs
        );
        let read: Userhash = read.attribute().unwrap();
        assert_eq!(*read.hash(), hash);

        let kind = MessageType::from_class_method(MessageClass::Request, BINDING);
        let mut writer =
            stun_types::message::Message::builder(kind, 7.into(), MessageWriteVec::new());
        writer.add_attribute(&Userhash::new(hash)).unwrap();
        writer
            .add_message_integrity_with_key(&their_key, theirs)
            .unwrap();
        let mut bytes = writer.finish();
        assert!(integrity::verify(&Message::parse(&bytes).unwrap(), &key));
        let at = 4 + random(bytes.len() - 4);
        bytes[at] ^= 1 << random(8);
        let intact = Message::parse(&bytes).is_ok_and(|message| integrity::verify(&message, &key));
        assert!(!intact, "{at}");
    }
}

#[test]
fn what_we_write_another_reads_and_verifies() {
    let key = Key::long_term("user", "realm", "password");
    let mut out = Vec::new();
    let mut message = Builder::new(&mut out, Method::Allocate, Class::Error, [9; 12]);
    message.error_code(438, "Stale Nonce");
    message.text(attr::REALM, "realm");
    message.integrity(&key);
    message.fingerprint();

    let other = stun_types::message::Message::from_bytes(&out).unwrap();
    let credentials = LongTermKeyCredentials::new("user".into(), "password".into(), "realm".into());
    let theirs = credentials.make_key(IntegrityAlgorithm::Sha1);
    assert_eq!(
        other.validate_integrity_with_key(&theirs).unwrap(),
        IntegrityAlgorithm::Sha1
    );
    let code: stun_types::attribute::ErrorCode = other.attribute().unwrap();
    assert_eq!((code.code(), code.reason()), (438, "Stale Nonce"));
}

/// What the other takes, ours takes, with the same attributes. The length in the header is left alone: ours
/// wants exactly one message in a datagram, the other takes a prefix. Ours takes more where the other also judges
/// what attributes mean.
#[test]
fn random_bytes_are_read_as_another_reads_them() {
    let mut random = random(7);
    let mut both = 0;
    for _ in 0..200_000 {
        let mut bytes = vec![0, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42];
        bytes.extend((0..12).map(|_| random(256) as u8));
        for _ in 0..random(5) {
            let len = random(12);
            let kind = [0x8022, 0x0020, 0x0006, 0x0012, 0x7777][random(5)] as u16;
            bytes.extend_from_slice(&kind.to_be_bytes());
            bytes.extend_from_slice(&(len as u16).to_be_bytes());
            bytes.extend((0..len.next_multiple_of(4)).map(|_| random(256) as u8));
        }
        let length = (bytes.len() - 20) as u16;
        bytes[2..4].copy_from_slice(&length.to_be_bytes());
        if random(3) == 0 {
            let at = 4 + random(bytes.len() - 4);
            bytes[at] = random(256) as u8;
        }
        let ours = Message::parse(&bytes);
        let theirs = stun_types::message::Message::from_bytes(&bytes);
        if let Ok(theirs) = &theirs {
            let ours = ours
                .as_ref()
                .unwrap_or_else(|error| panic!("{error}: {bytes:02x?}"));
            let integrity = [attr::MESSAGE_INTEGRITY, attr::MESSAGE_INTEGRITY_SHA256];
            if integrity.iter().any(|kind| ours.find(*kind).is_some()) {
                continue; // where the other stops
            }
            let a: Vec<_> = ours
                .attributes()
                .map(|a| (a.kind, a.value.to_vec()))
                .collect();
            let b: Vec<_> = theirs
                .iter_attributes()
                .map(|(_, a)| (a.get_type().value(), a.value.to_vec()))
                .collect();
            assert_eq!(a, b, "{bytes:02x?}");
            both += 1;
        }
    }
    assert!(both > 50_000, "{both}");
}
