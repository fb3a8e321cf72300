//! The whole process from outside: the binary as it is built, real sockets, a real database.
#![forbid(unsafe_code)]

mod accounts;
mod calls;
mod chat;
mod commands;
mod refusals;
mod relay;
mod rooms;
mod server;
mod startup;
mod support;
