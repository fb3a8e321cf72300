//! The binary: parses the command line and hands it to `cli`.
#![forbid(unsafe_code)]

mod config;

fn main() {}
