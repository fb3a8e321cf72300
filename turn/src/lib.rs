//! The STUN/TURN relay: a sans-IO server and the sockets that drive it.
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]
