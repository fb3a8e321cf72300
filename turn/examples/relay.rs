//! A TURN server of its own: `cargo run -p moznods-turn --example relay -- ADDRESS:PORT USER PASSWORD`.
//!
//! Relays from the address that it listens on; peers on loopback are allowed, so that it can be tried at home.

use std::net::SocketAddr;
use std::sync::Arc;

use moznods_turn::auth::{Authenticator, Claim, Credential, Key, Owner, Refusal};
use moznods_turn::net::{Listeners, Relay, address};
use moznods_turn::policy::PeerPolicy;
use moznods_turn::server::{Config, Limits, RelayAddress};

/// Name and password.
struct OneUser(String, String);

impl Authenticator for OneUser {
    fn credentials(&self, claim: Claim<'_>) -> Result<Vec<Credential>, Refusal> {
        if claim.username != self.0 {
            return Err(Refusal::Unknown);
        }
        let key = Key::long_term(claim.username, claim.realm, &self.1);
        Ok(vec![Credential {
            owner: Owner(1),
            key,
            max_allocations: None,
        }])
    }

    fn permits(&self, _: Owner) -> bool {
        true
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut next = |what: &str| arguments.next().ok_or(format!("missing: {what}"));
    let listen: SocketAddr = next("ADDRESS:PORT")?.parse()?;
    let user = OneUser(next("USER")?, next("PASSWORD")?);

    let own = address::interfaces()?;
    let config = Config {
        realm: "example".to_owned(),
        software: "relay example".to_owned(),
        relay: vec![RelayAddress {
            public: listen.ip(),
            local: address::local_for(listen.ip(), &own),
        }],
        relay_ports: 49152..=65535,
        policy: PeerPolicy {
            relays: vec![listen.ip()],
            own,
            listeners: vec![listen.port()],
            allow: vec!["127.0.0.0/8".parse()?, "::1/128".parse()?],
            deny: vec![],
        },
        legacy_channels: true,
        limits: Limits::default(),
    };
    let _relay = Relay::start(Listeners::bind(listen, 1)?, config, Arc::new(user))?;
    println!("relaying at {listen}");
    std::thread::park();
    Ok(())
}
