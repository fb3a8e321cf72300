//! The sans-IO core alone, with packets from memory: `core-driver channel-data|from-peer|relayed COUNT`. Run under
//! callgrind by `make instructions`, for a count that no other load on the machine changes.
#![forbid(unsafe_code)]

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use moznods_turn::auth::{Authenticator, Claim, Credential, Key, Loss, Owner, Refusal};
use moznods_turn::policy::PeerPolicy;
use moznods_turn::server::{
    AllocationId, Common, Config, FiveTuple, HEADROOM, Now, Output, RelayAddress, Server,
    Transport, Verdict,
};
use moznods_turn::wire::{Builder, Class, Message, Method, attr, channel};

const USER: &str = "core";
const REALM: &str = "bench";
const PASSWORD: &str = "in memory alone";
const CHANNEL: u16 = 0x4000;
const PAYLOAD: usize = 160;
/// Clients, whose packets come in turn.
const CLIENTS: u16 = 50;

struct OneUser;

impl Authenticator for OneUser {
    fn credentials(&self, claim: Claim<'_>) -> Result<Vec<Credential>, Refusal> {
        Ok(vec![Credential {
            owner: Owner(1),
            key: claim.key(PASSWORD),
            epoch: 0,
            expires: None,
            max_allocations: Some(0),
            over_quota: false,
        }])
    }

    fn permits(&self, _: Owner, _: u64) -> Result<(), Loss> {
        Ok(())
    }
}

struct Core {
    server: Server,
    now: Now,
    bound: Option<AllocationId>,
}

/// One client: where it is, its allocation, its relayed address.
#[derive(Clone, Copy)]
struct Caller {
    tuple: FiveTuple,
    allocation: AllocationId,
    relayed: SocketAddr,
}

impl Core {
    fn new() -> Result<Self, Box<dyn Error>> {
        let public = "198.51.100.7".parse()?;
        let relay = vec![RelayAddress::from(public)];
        let mut config = Config::new(REALM, relay);
        config.policy = PeerPolicy {
            relays: vec![public],
            ..PeerPolicy::default()
        };
        let common = Common::new(config, Arc::new(OneUser), &[9; 32])?;
        Ok(Core {
            server: Server::new(common, 0, [3; 32]),
            now: Now {
                instant: Instant::now(),
                unix: 1_800_000_000,
            },
            bound: None,
        })
    }

    /// The answer to a request; every port can be bound.
    fn ask(&mut self, tuple: FiveTuple, request: &[u8]) -> Vec<u8> {
        let mut answer = match self.server.handle(self.now, tuple, request) {
            Verdict::Answer => self.server.answer().to_vec(),
            _ => Vec::new(),
        };
        while let Some(output) = self.server.poll_output() {
            if let Output::Bind { allocation, .. } = output {
                self.bound = Some(allocation);
                if self.server.bound(self.now, allocation, Ok(())).is_some() {
                    answer = self.server.answer().to_vec();
                }
            }
        }
        answer
    }

    /// An authenticated request, which must succeed.
    fn request(
        &mut self,
        tuple: FiveTuple,
        method: Method,
        fill: impl Fn(&mut Builder<'_>),
    ) -> Result<Vec<u8>, Box<dyn Error>> {
        let mut bytes = Vec::new();
        fill(&mut Builder::new(
            &mut bytes,
            method,
            Class::Request,
            [1; 12],
        ));
        let challenge = self.ask(tuple, &bytes);
        let nonce = Message::parse(&challenge)?.get(attr::NONCE).unwrap_or(&[]);
        let mut message = Builder::new(&mut bytes, method, Class::Request, [2; 12]);
        fill(&mut message);
        message.text(attr::USERNAME, USER);
        message.text(attr::REALM, REALM);
        message.attribute(attr::NONCE, nonce);
        message.integrity(&Key::long_term(USER, REALM, PASSWORD));
        let answer = self.ask(tuple, &bytes);
        match Message::parse(&answer)?.class() {
            Class::Success => Ok(answer),
            _ => Err(format!("{method:?} was refused").into()),
        }
    }

    fn caller(&mut self, index: u16) -> Result<Caller, Box<dyn Error>> {
        let tuple = FiveTuple {
            transport: Transport::Udp,
            client: SocketAddr::new("203.0.113.5".parse()?, 1000 + index),
            server: "198.51.100.7:3478".parse()?,
        };
        let by_udp = |message: &mut Builder<'_>| message.u32(attr::REQUESTED_TRANSPORT, 17 << 24);
        let answer = self.request(tuple, Method::Allocate, by_udp)?;
        let answer = Message::parse(&answer)?;
        let relayed = answer.get(attr::XOR_RELAYED_ADDRESS);
        Ok(Caller {
            tuple,
            allocation: self.bound.ok_or("no allocation")?,
            relayed: relayed
                .and_then(|value| answer.xor_address(value))
                .ok_or("no relayed address")?,
        })
    }

    fn bind(&mut self, caller: Caller, peer: SocketAddr) -> Result<(), Box<dyn Error>> {
        let bound = self.request(caller.tuple, Method::ChannelBind, |message| {
            message.u32(attr::CHANNEL_NUMBER, u32::from(CHANNEL) << 16);
            message.xor_address(attr::XOR_PEER_ADDRESS, peer);
        });
        bound.map(drop)
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let usage = "expected channel-data, from-peer or relayed, and a number";
    let (kind, count) = (arguments.next(), arguments.next());
    let (kind, count) = (kind.ok_or(usage)?, count.ok_or(usage)?.parse::<u64>()?);
    let mut core = Core::new()?;
    let callers: Vec<Caller> = (0..CLIENTS)
        .map(|index| core.caller(index))
        .collect::<Result<_, _>>()?;
    let peer: SocketAddr = "8.8.8.8:4000".parse()?;
    for (index, caller) in callers.iter().enumerate() {
        let partner = callers[index ^ 1].relayed;
        core.bind(*caller, if kind == "relayed" { partner } else { peer })?;
    }
    let payload = [0xA5; PAYLOAD];
    let mut datagram = channel::header(CHANNEL, PAYLOAD)
        .unwrap_or_default()
        .to_vec();
    datagram.extend(payload);
    let mut head = [0; HEADROOM];
    let mut passed = 0;
    for caller in callers.iter().cycle().take(usize::try_from(count)?) {
        let Core { server, now, .. } = &mut core;
        let goes_on = match kind.as_str() {
            "channel-data" => matches!(
                server.handle(*now, caller.tuple, &datagram),
                Verdict::ToPeer { .. }
            ),
            "from-peer" => server
                .handle_peer(*now, caller.allocation, peer, &payload, &mut head)
                .is_some(),
            "relayed" => match server.handle(*now, caller.tuple, &datagram) {
                Verdict::ToRelay {
                    from, to, payload, ..
                } => server
                    .handle_relayed(*now, from, to, &datagram[payload], &mut head)
                    .is_some(),
                _ => false,
            },
            _ => return Err(usage.into()),
        };
        passed += u64::from(goes_on);
    }
    match passed == count {
        true => Ok(()),
        false => Err(format!("{passed} of {count} packets went on").into()),
    }
}
