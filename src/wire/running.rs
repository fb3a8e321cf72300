//! What a running server tells whoever runs it, at the control socket: where it listens, and what a look at its relay needs.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::app::{App, Error};

#[derive(Serialize, Deserialize)]
pub struct RunningJson {
    pub http: SocketAddr,
    /// `None`: it is switched off.
    pub relay: Option<RunningRelayJson>,
    /// What does not work, if anything.
    pub unready: Option<String>,
    /// By which a server is known from others; `None`: nothing is pushed.
    pub push_public_key: Option<String>,
    /// Whether it relays for other servers, and does nothing else.
    #[serde(default)]
    pub is_relay: bool,
    /// By which people came, and that lead to a proxy or a tunnel.
    #[serde(default)]
    pub names_elsewhere: Vec<String>,
}

#[derive(Serialize, Deserialize)]
pub struct RunningRelayJson {
    pub listen: SocketAddr,
    pub tls_listen: Option<SocketAddr>,
    /// As others see them, and as this machine does.
    pub addresses: Vec<(IpAddr, IpAddr)>,
    /// Good for some minutes.
    pub username: String,
    pub password: String,
}

impl RunningJson {
    pub fn new(app: &App, is_relay: bool, unready: Option<&str>) -> Self {
        let relay = app.relay().map(|relay| {
            let credential = app.relay_credential_of_nobody();
            let addresses = relay.relay_addresses().iter();
            RunningRelayJson {
                listen: relay.address(),
                tls_listen: relay.tls_address(),
                addresses: addresses
                    .map(|address| (address.public, address.local))
                    .collect(),
                username: credential.username,
                password: credential.password,
            }
        });
        RunningJson {
            http: app.config.http.listen,
            relay,
            unready: unready.map(str::to_owned),
            push_public_key: app.push_public_key().map(str::to_owned),
            is_relay,
            names_elsewhere: app.names_elsewhere(),
        }
    }
}

/// Where the server is, and what newcomers need: some of it is secret.
#[derive(Serialize, Deserialize)]
pub struct WelcomeJson {
    pub version: String,
    pub url: String,
    /// Makes the first administrator; `None`: there is one.
    pub setup_token: Option<String>,
    /// `None`: registration asks for none.
    pub invite_code: Option<String>,
}

impl WelcomeJson {
    /// The token is a new one; one that was given before is void.
    pub async fn new(app: &App) -> Result<Self, Error> {
        Ok(WelcomeJson {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            url: app.config.url_at(app.config.http.listen),
            setup_token: app.make_setup_token().await?,
            invite_code: app.invite_code().map(|code| code.expose().to_owned()),
        })
    }
}
