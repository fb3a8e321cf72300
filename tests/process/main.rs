//! The whole process from outside: the binary as it is built, real sockets, a real database.
#![forbid(unsafe_code)]

mod accounts;
mod calls;
mod chat;
mod commands;
mod relay;
mod rest;
mod refusals;
mod rooms;
mod server;
mod startup;
mod support;
