//! Relay credentials as clients take them: the TURN REST draft's shape and `RTCIceServer`s in one.

use std::net::SocketAddr;

use moznods_storage::{RelayDevice, RelayOwner, RelaySecret, Timestamp};
use moznods_turn::server::Traffic;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::Object;

use super::objects::{one_of, rfc3339, rfc3339_or_null};
use crate::app::{LiveAllocation, RelayCredential, RelayHost, UsageSeen};
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
    /// Without a relay there are no URIs of it.
    pub fn new(config: &Config, credential: &'a RelayCredential, at: &RelayHost) -> Self {
        let host = &at.host;
        let stun = |urls| IceServer {
            urls,
            username: None,
            credential: None,
        };
        let mut uris = Vec::new();
        let mut ice_servers = Vec::new();
        if config.turn.enabled {
            let port = config.turn.listen.port();
            uris = ["udp", "tcp"]
                .map(|transport| format!("turn:{host}:{port}?transport={transport}"))
                .to_vec();
            // The port of the web is open where no other is.
            let https = config.https_port();
            let own = config.turn.tls.as_ref().map(|tls| tls.listen.port());
            let secure = at.of_tls.iter().flat_map(|host| {
                let ports = [https, own].into_iter().flatten();
                ports.map(move |port| format!("turns:{host}:{port}?transport=tcp"))
            });
            uris.extend(secure);
            ice_servers.push(stun(vec![format!("stun:{host}:{port}")]));
            ice_servers.push(IceServer {
                urls: uris.clone(),
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

#[derive(Serialize, ToSchema)]
#[schema(as = Traffic)]
struct TrafficJson {
    packets: u64,
    bytes: u64,
}

impl From<Traffic> for TrafficJson {
    fn from(Traffic { packets, bytes }: Traffic) -> Self {
        TrafficJson { packets, bytes }
    }
}

/// A live allocation of the relay.
#[derive(Serialize, ToSchema)]
#[schema(as = Allocation)]
pub struct AllocationJson<'a> {
    /// Good as long as it lives.
    id: String,
    owner: OwnerJson<'a>,
    username: &'a str,
    transport: &'static str,
    #[schema(value_type = String)]
    client: SocketAddr,
    #[schema(value_type = String)]
    server: SocketAddr,
    /// As peers see them.
    #[schema(value_type = Vec<String>)]
    relay: &'a [SocketAddr],
    /// Between those and the peers.
    relay_protocol: &'static str,
    /// Seconds.
    age: u64,
    /// Seconds until it ends, unless it is refreshed.
    remaining: u64,
    to_peer: TrafficJson,
    to_client: TrafficJson,
}

impl<'a> AllocationJson<'a> {
    pub fn new(live: &'a LiveAllocation) -> Self {
        let info = &live.info;
        AllocationJson {
            id: info.name.to_string(),
            owner: OwnerJson::new(live.owner, live.owner_name.as_deref()),
            username: &info.username,
            transport: info.tuple.transport.as_str(),
            client: info.tuple.client,
            server: info.tuple.server,
            relay: &info.relays,
            relay_protocol: info.protocol.as_str(),
            age: info.age.as_secs(),
            remaining: info.remaining.as_secs(),
            to_peer: info.to_peer.into(),
            to_client: info.to_client.into(),
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
