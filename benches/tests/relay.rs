//! The generator against a relay in the same process: it measures something, and loses nothing.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use moznods_bench::client::{Client, ClientError, Credential, Link, udp_socket};
use moznods_bench::load::Packet;
use moznods_bench::relay::{MeasureError, Target, measure, rate};
use moznods_bench::streams::{StreamFlow, Way};
use moznods_turn::auth::{self, Authenticator, Claim, Loss, Owner, Refusal};
use moznods_turn::net::{Listeners, Relay};
use moznods_turn::server::{Config, RelayAddress};
use moznods_turn::wire::channel;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const PASSWORD: &str = "in a test";
const CHANNEL: u16 = 0x4000;

struct OneUser;

impl Authenticator for OneUser {
    fn credentials(&self, claim: Claim<'_>) -> Result<Vec<auth::Credential>, Refusal> {
        Ok(vec![auth::Credential {
            owner: Owner(1),
            key: claim.key(PASSWORD),
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

/// A relay whose peers may be on loopback, or not.
fn relay(peers: bool) -> (Relay, SocketAddr) {
    let listeners = Listeners::bind(SocketAddr::new(LOOPBACK, 0), 1).unwrap();
    let address = listeners.address();
    let mut config = Config::new("bench", vec![RelayAddress::from(LOOPBACK)]);
    config.policy.relays = vec![LOOPBACK];
    if peers {
        config.policy.allow.push("127.0.0.0/8".parse().unwrap());
    }
    let relay = Relay::start(listeners, config, Arc::new(OneUser)).unwrap();
    (relay, address)
}

fn credential(password: &str) -> Credential {
    Credential {
        username: "anna".to_owned(),
        password: password.to_owned(),
    }
}

fn target(server: SocketAddr) -> Target {
    Target {
        server,
        credential: credential(PASSWORD),
        clients: 4,
        seconds: 1,
        peer: None,
    }
}

#[test]
fn a_running_relay_is_measured() {
    let (_relay, server) = relay(false);
    let found = measure(&target(server)).unwrap();
    assert!(rate(&found.voice) > 0.0 && rate(&found.video) > 0.0);
    assert!(found.voice_calls() > 0);
    assert!(0 < found.delays[0] && found.delays[0] <= found.delays[1]);
    let mut elsewhere = target(server);
    elsewhere.peer = Some(Ipv4Addr::new(127, 0, 0, 9).into());
    let error = measure(&elsewhere).unwrap_err();
    assert!(matches!(error, MeasureError::Peer { .. }), "{error}");
}

#[test]
fn a_wrong_password_is_refused_and_not_shown() {
    let (_relay, server) = relay(false);
    let wrong = credential("another one");
    assert!(!format!("{wrong:?}").contains("another"));
    let link = Link::udp(LOOPBACK, server).unwrap();
    let error = Client::allocate(link, server, &wrong).unwrap_err();
    assert!(
        matches!(error, ClientError::Refused { code: 401, .. }),
        "{error}"
    );
}

#[test]
fn packets_pass_between_streams_and_datagrams() {
    let (_relay, server) = relay(true);
    for out in [true, false] {
        let peer = udp_socket(LOOPBACK).unwrap();
        let link = Link::tcp(LOOPBACK, server).unwrap();
        let mut client = Client::allocate(link, server, &credential(PASSWORD)).unwrap();
        let address = peer.local_addr().unwrap();
        client.bind_channel(CHANNEL, address).unwrap();
        let relayed = client.relayed().into();
        let (way, length) = if out {
            let mut frame = channel::header(CHANNEL, 50).unwrap().to_vec();
            frame.resize(channel::padded_len(50), 7);
            let frames = vec![frame];
            let peers = vec![peer];
            (Way::Out { frames, peers }, 50)
        } else {
            let packets = vec![Packet::burst(Some(relayed), &[7; 50], 1)];
            (Way::In { peer, packets }, channel::padded_len(50))
        };
        let mut flow = StreamFlow::new(vec![client.into_link()], way, length, 8).unwrap();
        let short = Duration::from_millis(50);
        let delivered = flow.run(short, short, || {}, || {}).unwrap();
        assert!(delivered.arrived > 0, "{delivered:?}");
        assert_eq!(delivered.arrived, delivered.sent, "{delivered:?}");
    }
}
