//! Relay credentials as clients take them: the TURN REST draft's shape and `RTCIceServer`s in one.

use std::net::SocketAddr;

use moznods_storage::{RelayDevice, RelayOwner, RelaySecret, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::Object;

use super::objects::{one_of, rfc3339, rfc3339_or_null};
use crate::app::{LiveAllocation, RelayCredential, RelayNode, RelayState, RelayWays, UsageSeen};
use crate::config::Config;

#[derive(Serialize, ToSchema)]
#[schema(as = Relay)]
pub struct RelayJson<'a> {
    pub username: &'a str,
    pub password: &'a str,
    /// Seconds.
    pub ttl: u64,
    pub uris: Vec<String>,
    #[serde(rename = "iceServers")]
    ice_servers: Vec<IceServer<'a>>,
}

#[derive(Serialize, ToSchema)]
struct IceServer<'a> {
    urls: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    credential: Option<&'a str>,
}

impl<'a> RelayJson<'a> {
    /// Of relays that are reached so, the best first: without any there are no URIs.
    pub fn new(config: &Config, credential: &'a RelayCredential, relays: Vec<RelayWays>) -> Self {
        let stun = |urls| IceServer {
            urls,
            username: None,
            credential: None,
        };
        let mut uris = Vec::new();
        let mut ice_servers = Vec::new();
        for relay in relays {
            uris.extend(relay.turn.iter().cloned());
            ice_servers.push(stun(relay.stun));
            ice_servers.push(IceServer {
                urls: relay.turn,
                username: Some(&credential.username),
                credential: Some(&credential.password),
            });
        }
        let extra = &config.ice.extra_stun;
        if !extra.is_empty() {
            let urls = extra.iter().map(|server| format!("stun:{server}"));
            ice_servers.push(stun(urls.collect()));
        }
        RelayJson {
            username: &credential.username,
            password: &credential.password,
            ttl: credential.ttl.as_secs(),
            uris,
            ice_servers,
        }
    }
}

/// A secret of another program, without the secret.
#[derive(Serialize, ToSchema)]
#[schema(as = RelaySecret)]
pub struct RelaySecretJson<'a> {
    name: &'a str,
    #[serde(serialize_with = "rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// `null`: no limit.
    #[schema(required = true)]
    max_allocations: Option<u32>,
    #[schema(required = true)]
    max_bytes_per_month: Option<i64>,
    /// Until when the secret before the last rotation is taken.
    #[serde(serialize_with = "rfc3339_or_null")]
    #[schema(value_type = Option<String>, format = DateTime, required = true)]
    previous_until: Option<Timestamp>,
}

/// A secret itself, right after it was made.
#[derive(Serialize, ToSchema)]
#[schema(as = RelaySecretText)]
pub struct RelaySecretTextJson<'a> {
    pub name: &'a str,
    pub secret: &'a str,
}

impl<'a> RelaySecretJson<'a> {
    pub fn new(secret: &'a RelaySecret) -> Self {
        RelaySecretJson {
            name: &secret.name,
            created_at: secret.created_at,
            max_allocations: secret.max_allocations,
            max_bytes_per_month: secret.max_bytes_per_month,
            previous_until: secret.previous.as_ref().map(|(_, until)| *until),
        }
    }
}

/// A device's account as it was made.
#[derive(Serialize, ToSchema)]
#[schema(as = RelayDeviceMade)]
pub struct RelayDeviceMadeJson<'a> {
    pub name: &'a str,
    /// Shown this once; `null` when it was given.
    #[schema(required = true)]
    pub password: Option<&'a str>,
}

/// A device's account, without its keys.
#[derive(Serialize, ToSchema)]
#[schema(as = RelayDevice)]
pub struct RelayDeviceJson<'a> {
    name: &'a str,
    #[serde(serialize_with = "rfc3339")]
    created_at: Timestamp,
    /// For which it was made.
    realm: &'a str,
    /// Whether that is this server's realm, so that it can sign in.
    usable: bool,
}

impl<'a> RelayDeviceJson<'a> {
    pub fn new(device: &'a RelayDevice, realm: &str) -> Self {
        RelayDeviceJson {
            name: &device.name,
            created_at: device.created_at,
            realm: &device.realm,
            usable: device.realm == realm,
        }
    }
}

/// Who relays.
#[derive(Serialize, ToSchema)]
#[schema(as = Owner)]
pub(super) struct OwnerJson<'a> {
    #[schema(schema_with = kinds)]
    kind: &'static str,
    id: i64,
    /// `null` when the owner is no more.
    #[schema(required = true)]
    name: Option<&'a str>,
}

const USER: &str = "user";
const SECRET: &str = "secret";
const DEVICE: &str = "device";

fn kinds() -> Object {
    one_of([USER, SECRET, DEVICE])
}

impl<'a> OwnerJson<'a> {
    pub(super) fn new(owner: RelayOwner, name: Option<&'a str>) -> Self {
        let (kind, id) = match owner {
            RelayOwner::User(id) => (USER, id),
            RelayOwner::Secret(id) => (SECRET, id),
            RelayOwner::Device(id) => (DEVICE, id),
        };
        OwnerJson { kind, id, name }
    }
}

/// A relay: of this server process, or of another.
#[derive(Serialize, ToSchema)]
#[schema(as = RelayNode)]
pub struct RelayNodeJson<'a> {
    name: &'a str,
    /// Where it is near.
    regions: &'a [String],
    #[schema(schema_with = states)]
    state: &'static str,
    /// Live ones.
    allocations: u64,
    /// Payload passed on, both ways together.
    bytes_per_second: u64,
    /// Of what it carries: 0 to 1.
    load: f64,
}

const SERVING: &str = "serving";
const DRAINING: &str = "draining";
const SILENT: &str = "silent";

fn states() -> Object {
    one_of([SERVING, DRAINING, SILENT])
}

impl<'a> From<&'a RelayNode> for RelayNodeJson<'a> {
    fn from(node: &'a RelayNode) -> Self {
        RelayNodeJson {
            name: &node.name,
            regions: &node.regions,
            state: match node.state {
                RelayState::Serving => SERVING,
                RelayState::Draining => DRAINING,
                RelayState::Silent => SILENT,
            },
            allocations: node.allocations,
            bytes_per_second: node.bytes_per_second,
            load: f64::from(node.load) / 1000.0,
        }
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = Traffic)]
struct TrafficJson {
    packets: u64,
    bytes: u64,
}

impl From<(u64, u64)> for TrafficJson {
    fn from((packets, bytes): (u64, u64)) -> Self {
        TrafficJson { packets, bytes }
    }
}

/// A live allocation of a relay.
#[derive(Serialize, ToSchema)]
#[schema(as = Allocation)]
pub struct AllocationJson<'a> {
    /// Good as long as it lives.
    id: String,
    /// The relay that it is at, by its name.
    node: &'a str,
    owner: OwnerJson<'a>,
    username: &'a str,
    transport: &'a str,
    #[schema(value_type = String)]
    client: SocketAddr,
    #[schema(value_type = String)]
    server: SocketAddr,
    /// As peers see them.
    #[schema(value_type = Vec<String>)]
    relay: &'a [SocketAddr],
    /// Between those and the peers.
    relay_protocol: &'a str,
    /// Seconds.
    age: u64,
    /// Seconds until it ends, unless it is refreshed.
    remaining: u64,
    to_peer: TrafficJson,
    to_client: TrafficJson,
}

impl<'a> AllocationJson<'a> {
    pub fn new(live: &'a LiveAllocation) -> Self {
        let seen = &live.seen;
        AllocationJson {
            id: seen.name.to_string(),
            node: &live.relay,
            owner: OwnerJson::new(live.owner, live.owner_name.as_deref()),
            username: &seen.username,
            transport: &seen.transport,
            client: seen.client,
            server: seen.server,
            relay: &seen.relays,
            relay_protocol: &seen.protocol,
            age: seen.age,
            remaining: seen.remaining,
            to_peer: seen.to_peer.into(),
            to_client: seen.to_client.into(),
        }
    }
}

/// What was relayed for somebody in a month.
#[derive(Serialize, ToSchema)]
#[schema(as = Usage)]
pub struct UsageJson<'a> {
    month: String,
    owner: OwnerJson<'a>,
    /// Payload, without headers.
    bytes_to_peers: u64,
    bytes_to_clients: u64,
    /// How long allocations lived, all together.
    seconds: u64,
    /// That were made.
    allocations: u64,
}

impl<'a> UsageJson<'a> {
    pub fn new(seen: &'a UsageSeen) -> Self {
        let usage = &seen.usage;
        UsageJson {
            month: usage.month.to_string(),
            owner: OwnerJson::new(usage.owner, seen.owner_name.as_deref()),
            bytes_to_peers: usage.to_peer,
            bytes_to_clients: usage.to_client,
            seconds: usage.milliseconds / 1000,
            allocations: usage.allocations,
        }
    }
}
