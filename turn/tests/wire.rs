//! The codec against the RFC's own vectors and against another implementation.

use moznods_turn::wire::integrity::{self, Key};
use moznods_turn::wire::{Builder, Class, Message, Method, attr};
use stun_types::attribute::Attribute as _;
use stun_types::message::{IntegrityAlgorithm, LongTermKeyCredentials};

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

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
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
    let mut seed = 7_u64;
    let mut random = |below: usize| {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize % below
    };
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
