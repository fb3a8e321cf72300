//! What the RFCs state with MUST for a server, one test for each sentence, on the core without sockets. A test is named
//! by its section, and its comment says what is demanded: from both, `turn/CONFORMANCE.md` is made ([`table`]).

#[path = "../support/mod.rs"]
mod support;

mod left_out;
mod rfc8489_attributes;
mod rfc8489_credentials;
mod rfc8489_messages;
mod rfc8656_allocations;
mod rfc8656_attributes;
mod rfc8656_data;
mod table;
