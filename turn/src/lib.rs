//! The STUN/TURN relay (RFC 8489, RFC 8656): a server without sockets, and the sockets that drive it.
//!
//! - [`server::Server`] is sans-IO and deterministic: datagrams and the time go in, verdicts and outputs come
//!   out. It opens no socket, reads no clock and starts no thread.
//! - [`net::Relay`] drives one `Server` per worker thread with real sockets.
//! - [`auth::Authenticator`] is how the relay asks who may use it; it knows no user table and no HTTP.
//! - [`policy::PeerPolicy`] says which peers may be reached.
#![warn(missing_docs)]
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing
    )
)]

pub mod auth;
pub mod net;
mod nonce;
pub mod policy;
pub mod server;
pub mod stats;
pub mod wire;
