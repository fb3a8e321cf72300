//! A load generator for TURN relays: clients that allocate ([`client`]), traffic through what they have allocated
//! ([`load`]), what a running relay carries ([`relay`]), whether it
//! relays at all ([`probe`]), and figures made of it ([`stats`]). Which servers are measured, and against what, is left to the
//! harness, this package's binary.
#![warn(missing_docs)]

pub mod client;
pub mod load;
pub mod probe;
pub mod relay;
pub mod stats;
pub mod streams;
pub mod sys;
