//! Bytes of clients as they come, from somebody without credentials, over UDP and TCP, some with an allocation there.

use std::sync::atomic::Ordering::Relaxed;

use moznods_turn::server::Limits;

use super::{Choices, check_amplification, handle, is_permitted, prepare};
use crate::support::bench::{Bench, tcp, udp};

/// Each datagram: one byte says from where it comes and what of it is put right, two how long it is; then its bytes.
pub fn run(data: &[u8]) {
    let limits = Limits {
        unauthenticated_per_second: 0,
        ..Limits::default()
    };
    let mut bench = Bench::with(limits, 50000..=50003);
    for tuple in [udp(1), tcp(2)] {
        prepare(&mut bench, tuple);
    }
    let mut choices = Choices::new(data);
    while !choices.is_over() {
        let how = choices.byte();
        let length = usize::from(choices.byte()) | usize::from(choices.byte()) << 8;
        let mut bytes = choices.take(length).to_vec();
        // What a fuzzer would need long to find: the cookie and the length.
        if how & 4 == 0 && bytes.len() >= 20 && bytes[0] & 0xC0 == 0 {
            let length = (bytes.len() - 20) as u16 & !3;
            bytes.truncate(20 + usize::from(length));
            bytes[2..4].copy_from_slice(&length.to_be_bytes());
            bytes[4..8].copy_from_slice(&[0x21, 0x12, 0xA4, 0x42]);
        }
        let tuple = [udp(1), tcp(2), udp(3), tcp(4)][usize::from(how & 3)];
        let outcome = handle(&mut bench, tuple, &bytes);
        if let Some(answer) = outcome.answer {
            check_amplification(tuple, &bytes, &answer);
        }
        assert!(outcome.peer.is_none_or(is_permitted));
        // Without a password nothing is made and nothing is ended.
        assert_eq!(bench.server.stats().allocations.load(Relaxed), 2);
        assert_eq!(bench.live.len(), 2);
    }
}
