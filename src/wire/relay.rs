//! Relay credentials as clients take them: the TURN REST draft's shape and `RTCIceServer`s in one.

use moznods_storage::{RelaySecret, Timestamp};
use serde::Serialize;

use super::objects::{rfc3339, rfc3339_or_null};
use crate::app::RelayCredential;
use crate::config::Config;

#[derive(Serialize)]
pub struct RelayJson<'a> {
    pub username: &'a str,
    pub password: &'a str,
    /// Seconds.
    pub ttl: u64,
    pub uris: Vec<String>,
    #[serde(rename = "iceServers")]
    ice_servers: Vec<IceServer<'a>>,
}

#[derive(Serialize)]
struct IceServer<'a> {
    urls: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    credential: Option<&'a str>,
}

impl<'a> RelayJson<'a> {
    /// `host` is how clients reach this server, IPv6 in brackets. Without a relay there are no URIs of it.
    pub fn new(config: &Config, credential: &'a RelayCredential, host: &str) -> Self {
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
            if let Some(tls) = &config.turn.tls {
                let port = tls.listen.port();
                uris.push(format!("turns:{host}:{port}?transport=tcp"));
            }
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
#[derive(Serialize)]
pub struct RelaySecretJson<'a> {
    name: &'a str,
    #[serde(serialize_with = "rfc3339")]
    created_at: Timestamp,
    /// `null`: no limit.
    max_allocations: Option<u32>,
    /// Until when the secret before the last rotation is taken.
    #[serde(serialize_with = "rfc3339_or_null")]
    previous_until: Option<Timestamp>,
}

impl<'a> RelaySecretJson<'a> {
    pub fn new(secret: &'a RelaySecret) -> Self {
        RelaySecretJson {
            name: &secret.name,
            created_at: secret.created_at,
            max_allocations: secret.max_allocations,
            previous_until: secret.previous.as_ref().map(|(_, until)| *until),
        }
    }
}
