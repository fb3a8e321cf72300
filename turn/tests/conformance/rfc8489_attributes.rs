//! RFC 8489 §14: how attributes are written, and which of them the server may send.

use std::net::SocketAddr;

use moznods_turn::server::{BadConfig, Common, Config, FiveTuple};
use moznods_turn::wire::{Message, Method, attr};

use crate::rfc8489_messages::{answers, data_indication, with_permission};
use crate::support::bench::{Bench, PEER, addr, config, udp};
use crate::support::{Client, Users};

/// Walks over a message's attributes as §14 lays them out: type, length, value and padding of each.
fn attributes(bytes: &[u8]) -> Vec<(u16, Vec<u8>, Vec<u8>)> {
    let mut rest = &bytes[20..];
    let mut found = Vec::new();
    while !rest.is_empty() {
        let kind = u16::from_be_bytes([rest[0], rest[1]]);
        let length = usize::from(u16::from_be_bytes([rest[2], rest[3]]));
        let end = 4 + length.next_multiple_of(4);
        found.push((
            kind,
            rest[4..4 + length].to_vec(),
            rest[4 + length..end].to_vec(),
        ));
        rest = &rest[end..];
    }
    found
}

/// Attributes are written as type, length and value.
#[test]
fn rfc8489_s14_attributes_are_type_length_and_value() {
    for (_, answer) in answers() {
        let message = Message::parse(&answer).unwrap();
        let read = message.attributes().map(|a| (a.kind, a.value.to_vec()));
        let walked = attributes(&answer)
            .into_iter()
            .map(|(kind, value, _)| (kind, value));
        assert!(read.eq(walked));
    }
}

/// Every attribute ends at a multiple of four bytes.
#[test]
fn rfc8489_s14_attributes_end_at_multiples_of_four() {
    let mut bench = Bench::new();
    with_permission(&mut bench, udp(1));
    for payload in [&b""[..], b"1", b"12", b"123", b"1234"] {
        let bytes = data_indication(&mut bench, payload);
        assert_eq!(bytes.len() % 4, 0);
        assert_eq!(attributes(&bytes).len(), 2);
    }
    assert!(answers().iter().all(|(_, answer)| answer.len() % 4 == 0));
}

/// An attribute's length is that of its value before padding.
#[test]
fn rfc8489_s14_lengths_do_not_count_padding() {
    let mut bench = Bench::new();
    with_permission(&mut bench, udp(1));
    let bytes = data_indication(&mut bench, b"12345");
    let data = attributes(&bytes)
        .into_iter()
        .find(|(kind, ..)| *kind == attr::DATA);
    let (_, value, padding) = data.unwrap();
    assert_eq!((value.as_slice(), padding.len()), (&b"12345"[..], 3));
}

/// Padding that is sent is zero.
#[test]
fn rfc8489_s14_padding_is_sent_as_zero() {
    let mut bench = Bench::new();
    with_permission(&mut bench, udp(1));
    // The buffer in which the payload comes is full of other bytes.
    let mut all = vec![
        data_indication(&mut bench, b"1"),
        data_indication(&mut bench, b"123"),
    ];
    all.extend(answers().into_iter().map(|(_, answer)| answer));
    let mut seen = 0;
    for bytes in all {
        for (_, _, padding) in attributes(&bytes) {
            seen += padding.len();
            assert!(padding.iter().all(|byte| *byte == 0));
        }
    }
    assert!(seen > 50);
}

/// Padding that comes is ignored, whatever it holds.
#[test]
fn rfc8489_s14_padding_that_comes_is_ignored() {
    let mut bench = Bench::new();
    with_permission(&mut bench, udp(1));
    let mut bytes = Client::new("alice").send_indication(addr(PEER), b"hello");
    let last = bytes.len() - 1;
    bytes[last] = 0xFF;
    assert_eq!(
        bench.relayed(udp(1), &bytes),
        Some((addr(PEER), b"hello".to_vec()))
    );
}

/// An address of IPv4 has 32 bits.
#[test]
fn rfc8489_s14_1_an_ipv4_address_has_32_bits() {
    address_lengths(1, 4);
}

/// An address of IPv6 has 128 bits.
#[test]
fn rfc8489_s14_1_an_ipv6_address_has_128_bits() {
    address_lengths(2, 16);
}

/// Addresses of this family are written with, and taken at, this length alone.
fn address_lengths(family: u8, right: usize) {
    let client: SocketAddr = addr(if family == 1 {
        "8.8.8.8:9"
    } else {
        "[2606:4700::9]:9"
    });
    let tuple = FiveTuple { client, ..udp(1) };
    let bytes = Client::new("alice").bare(Method::Binding, |_| {});
    let answer = Bench::new().send(tuple, &bytes).unwrap();
    let written = Message::parse(&answer)
        .unwrap()
        .get(attr::XOR_MAPPED_ADDRESS)
        .unwrap();
    assert_eq!((written[1], written.len()), (family, 4 + right));
    let message = Message::parse(&bytes).unwrap();
    for length in 0..40 {
        let mut value = vec![0, family, 0, 9];
        value.resize(4 + length, 7);
        assert_eq!(message.xor_address(&value).is_some(), length == right);
    }
}

/// The first byte of an address attribute is sent as zero, and ignored when it comes.
#[test]
fn rfc8489_s14_1_the_first_byte_of_an_address_means_nothing() {
    let bytes = Client::new("alice").bare(Method::Binding, |_| {});
    let message = Message::parse(&bytes).unwrap();
    let value = |first| [first, 1, 0x21, 0x13, 0x21, 0x12, 0xA4, 0x43];
    assert_eq!(
        message.xor_address(&value(0xFF)),
        message.xor_address(&value(0))
    );
    assert!(message.xor_address(&value(0xFF)).is_some());
    for (_, answer) in answers() {
        let message = Message::parse(&answer).unwrap();
        for kind in [attr::XOR_MAPPED_ADDRESS, attr::XOR_RELAYED_ADDRESS] {
            assert!(message.get(kind).is_none_or(|value| value[0] == 0));
        }
    }
}

/// FINGERPRINT is the last attribute; one that is not makes no message.
#[test]
fn rfc8489_s14_7_fingerprint_comes_last() {
    let mut seen = 0;
    for (_, answer) in answers() {
        let attributes = attributes(&answer);
        let place = attributes
            .iter()
            .position(|(kind, ..)| *kind == attr::FINGERPRINT);
        seen += usize::from(place.is_some());
        assert!(place.is_none_or(|place| place == attributes.len() - 1));
    }
    assert!(seen >= 20);
    let bytes = Client::new("alice").bare(Method::Binding, |message| {
        message.fingerprint();
        message.text(attr::SOFTWARE, "too late");
    });
    assert_eq!(Bench::new().send(udp(1), &bytes), None);
}

/// The reason phrase is UTF-8 of fewer than 128 characters.
#[test]
fn rfc8489_s14_8_reasons_are_short_text() {
    for (_, answer) in answers() {
        let message = Message::parse(&answer).unwrap();
        if let Some(value) = message.get(attr::ERROR_CODE) {
            let reason = std::str::from_utf8(&value[4..]).unwrap();
            assert!(reason.chars().count() < 128);
        }
    }
}

/// The class of an error is from 3 to 6.
#[test]
fn rfc8489_s14_8_classes_are_from_3_to_6() {
    for (_, answer) in answers() {
        let message = Message::parse(&answer).unwrap();
        let class = message.get(attr::ERROR_CODE).map(|value| value[2]);
        assert!(class.is_none_or(|class| (3..=6).contains(&class)));
    }
}

/// The number of an error is from 0 to 99.
#[test]
fn rfc8489_s14_8_numbers_are_below_100() {
    for (_, answer) in answers() {
        let message = Message::parse(&answer).unwrap();
        let number = message.get(attr::ERROR_CODE).map(|value| value[3]);
        assert!(number.is_none_or(|number| number < 100));
    }
}

/// SOFTWARE is UTF-8 of fewer than 128 characters; settings with a longer one are refused.
#[test]
fn rfc8489_s14_14_software_is_short() {
    let with = |software: String| {
        let config = Config {
            software,
            ..config()
        };
        Common::new(config, std::sync::Arc::new(Users::default()), &[9; 32])
    };
    assert!(with("ü".repeat(127)).is_ok());
    assert_eq!(with("ü".repeat(128)).unwrap_err(), BadConfig::Software);
    for (_, answer) in answers() {
        let message = Message::parse(&answer).unwrap();
        let software = message.get(attr::SOFTWARE).map(std::str::from_utf8);
        assert!(software.is_none_or(|text| text.unwrap().chars().count() < 128));
    }
}
