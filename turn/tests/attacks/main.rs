//! The relay under attack, over real sockets. Each test shows the refusal, and that nothing reached the victim: a
//! listener that would have heard it, and hears a packet that is allowed after those that are not.

#[path = "../support/mod.rs"]
mod support;

mod bytes;
mod floods;
mod forged;
mod guessing;
mod lengths;
mod patient;
mod peers;
mod theft;
mod victim;
