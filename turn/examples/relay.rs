//! A TURN server of its own: `cargo run -p moznods-turn --example relay -- ADDRESS:PORT USER PASSWORD`.
//!
//! Relays from the address that it listens on; peers on loopback are allowed, so that it can be tried at home.

use std::net::SocketAddr;
use std::sync::Arc;

use moznods_turn::auth::{Authenticator, Claim, Credential, Loss, Owner, Refusal};
use moznods_turn::net::{Listeners, Relay, address};
use moznods_turn::server::Config;

/// Name and password.
struct OneUser(String, String);

impl Authenticator for OneUser {
    fn credentials(&self, claim: Claim<'_>) -> Result<Vec<Credential>, Refusal> {
        if claim.username != self.0 {
            return Err(Refusal::Unknown);
        }
        Ok(vec![Credential {
            owner: Owner(1),
            key: claim.key(&self.1),
            epoch: 0,
            expires: None,
            max_allocations: None,
            over_quota: false,
        }])
    }

    fn permits(&self, _: Owner, _: u64) -> Result<(), Loss> {
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut next = |what: &str| arguments.next().ok_or(format!("missing: {what}"));
    let listen: SocketAddr = next("ADDRESS:PORT")?.parse()?;
    let user = OneUser(next("USER")?, next("PASSWORD")?);

    let listeners = Listeners::bind(listen, 1)?;
    let mut config = Config::new("example", vec![listen.ip().into()]);
    config.policy.own = address::interfaces()?;
    config.policy.listeners = vec![listeners.address().port()];
    config.policy.allow = vec!["127.0.0.0/8".parse()?, "::1/128".parse()?];

    let relay = Relay::start(listeners, config, Arc::new(user))?;
    println!("relaying at {}", relay.address());
    std::thread::park();
    Ok(())
}
