//! The fuzz targets' bodies without a fuzzer: their corpus, and mutations of it that a seed decides. `make fuzz` runs
//! them under libFuzzer.

#[path = "../fuzz/bodies/mod.rs"]
mod bodies;
mod support;

use std::path::Path;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Of each target.
const MUTATIONS: usize = 1000;
const LONGEST: usize = 4096;

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target);
    let entries = std::fs::read_dir(&folder).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
        .iter()
        .map(|file| std::fs::read(file).unwrap())
        .collect()
}

/// A few of the changes that fuzzers make.
fn mutate(random: &mut StdRng, corpus: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = corpus[random.random_range(0..corpus.len())].clone();
    for _ in 0..random.random_range(1..6) {
        let at = random.random_range(0..=bytes.len());
        let end = random.random_range(at..=bytes.len());
        match random.random_range(0..5) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random.random_range(0..8),
            1 if at < bytes.len() => bytes[at] = random.random(),
            2 => bytes.insert(at, random.random()),
            3 => drop(bytes.drain(at..end)),
            _ => {
                let other = &corpus[random.random_range(0..corpus.len())];
                let from = random.random_range(0..=other.len());
                bytes.splice(at..end, other[from..].iter().copied());
            }
        }
    }
    bytes.truncate(LONGEST);
    bytes
}

fn hammer(name: &str) {
    let (_, run) = bodies::TARGETS
        .into_iter()
        .find(|(target, _)| *target == name)
        .unwrap();
    let corpus = corpus(name);
    assert!(!corpus.is_empty());
    corpus.iter().for_each(|bytes| run(bytes));
    let mut random = StdRng::seed_from_u64(1);
    for _ in 0..MUTATIONS {
        run(&mutate(&mut random, &corpus));
    }
}

#[test]
fn streams_come_out_the_same_however_they_are_torn() {
    hammer("framer");
}

#[test]
fn bytes_without_credentials_change_nothing() {
    hammer("raw");
}

#[test]
fn signed_requests_of_any_content_are_answered() {
    hammer("signed");
}

#[test]
fn what_peers_send_reaches_the_client_whole_or_not_at_all() {
    hammer("peer");
}

#[test]
fn what_is_there_is_what_the_requests_made_and_time_left() {
    hammer("stateful");
    let mut random = StdRng::seed_from_u64(2);
    for _ in 0..10 {
        let steps: Vec<u8> = (0..6000).map(|_| random.random()).collect();
        bodies::stateful::run(&steps);
    }
}
