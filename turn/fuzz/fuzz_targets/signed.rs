#![no_main]

#[path = "../bodies/mod.rs"]
#[allow(dead_code)]
mod bodies;
#[path = "../../tests/support/mod.rs"]
mod support;

libfuzzer_sys::fuzz_target!(|data: &[u8]| bodies::signed::run(data));
