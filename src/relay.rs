//! Starts the relay from the settings, ties it to the accounts, and shows its figures. What it does with packets
//! is left to the `turn` crate, who may use it to `app`.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Weak};
use std::time::Duration;

use moznods_turn::net::{Listeners, Relay, address};
use moznods_turn::policy::{PeerPolicy, is_public};
use moznods_turn::server::{self, Limits, RelayAddress};
use moznods_turn::stats::{Dropped, METHODS, RESULTS, Stats};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use tokio::sync::broadcast::{self, error::RecvError};

use crate::app::App;
use crate::config::ExternalIp;

const LOOK_AT_INTERFACES: Duration = Duration::from_secs(15);

/// Serves relay clients at `listeners` as long as the program runs. May wait for STUN servers for some
/// seconds, to learn the public address.
pub async fn start(app: &App, listeners: Listeners) -> io::Result<()> {
    let interfaces = address::interfaces()?;
    let addresses = addresses(app, &interfaces).await?;
    for address in &addresses {
        tracing::info!(public = %address.public, local = %address.local, "relaying");
        if !is_public(address.public) && app.config.turn.external_ip == ExternalIp::Auto {
            tracing::warn!(
                address = %address.public,
                "callers from the internet cannot reach the relay at this address; set turn.external_ip to \
                 this machine's public one"
            );
        }
    }

    // Before the relay serves, so that no loss is missed.
    let losses = app.access().losses();
    let listening = [Some(listeners.address()), listeners.tls_address()];
    let ports = listening.iter().flatten().map(SocketAddr::port).collect();
    let config = settings(app, addresses, interfaces, ports);
    let policy = config.policy.clone();
    let relay = Arc::new(Relay::start(
        listeners,
        config,
        Arc::new(app.relay_users()),
    )?);
    let figures = Figures(Arc::clone(&relay));
    app.metrics
        .register(|registry| registry.register_collector(Box::new(figures)));
    tokio::spawn(review_after(losses, Arc::downgrade(&relay)));
    tokio::spawn(follow_interfaces(policy, Arc::downgrade(&relay)));
    app.set_relay(relay);
    Ok(())
}

async fn addresses(app: &App, interfaces: &[IpAddr]) -> io::Result<Vec<RelayAddress>> {
    match &app.config.turn.external_ip {
        ExternalIp::Auto => {
            let stun = app.config.ice.extra_stun.clone();
            Ok(tokio::task::spawn_blocking(move || address::discover(&stun)).await?)
        }
        ExternalIp::Fixed(fixed) => Ok(fixed
            .iter()
            .map(|fixed| RelayAddress {
                public: fixed.public,
                local: fixed
                    .local
                    .unwrap_or_else(|| address::local_for(fixed.public, interfaces)),
            })
            .collect()),
    }
}

fn settings(
    app: &App,
    relay: Vec<RelayAddress>,
    interfaces: Vec<IpAddr>,
    ports: Vec<u16>,
) -> server::Config {
    let turn = &app.config.turn;
    let defaults = Limits::default();
    server::Config {
        realm: turn.realm.clone(),
        software: "MOznoDS".to_owned(),
        policy: PeerPolicy {
            relays: relay.iter().map(|relay| relay.public).collect(),
            own: interfaces,
            listeners: ports,
            allow: turn.allow_peers.clone(),
            deny: turn.deny_peers.clone(),
        },
        relay,
        relay_ports: turn.relay_ports.clone(),
        legacy_channels: turn.legacy_channels,
        limits: Limits {
            allocations_per_owner: turn.max_allocations_per_user,
            bytes_per_second_per_owner: turn.max_bytes_per_second_per_user,
            unauthenticated_per_second: match app.config.limits.enabled {
                true => defaults.unauthenticated_per_second,
                false => 0,
            },
            ..defaults
        },
    }
}

/// Keeps every address of this machine from being a peer, also those that it gets later.
async fn follow_interfaces(mut policy: PeerPolicy, relay: Weak<Relay>) {
    loop {
        tokio::time::sleep(LOOK_AT_INTERFACES).await;
        let Some(relay) = relay.upgrade() else { return };
        match address::interfaces() {
            Ok(own) if own != policy.own => {
                tracing::info!("the addresses of this machine have changed");
                policy.own = own;
                relay.set_policy(policy.clone());
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "cannot read the addresses of this machine"),
        }
    }
}

/// Has the relay look at its allocations whenever somebody loses access.
async fn review_after(mut losses: broadcast::Receiver<i64>, relay: Weak<Relay>) {
    // Missed ones do not matter: the relay asks about everybody.
    while !matches!(losses.recv().await, Err(RecvError::Closed)) {
        let Some(relay) = relay.upgrade() else { return };
        relay.review();
    }
}

/// The relay's counters as metrics, read when they are asked for.
struct Figures(Arc<Relay>);

impl fmt::Debug for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Figures")
    }
}

impl Figures {
    fn sum(&self, of: impl Fn(&Stats) -> u64) -> u64 {
        self.0.stats().map(of).sum()
    }
}

impl Collector for Figures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let live = self.sum(|stats| stats.allocations.load(Relaxed));
        let gauge = ConstGauge::new(i64::try_from(live).unwrap_or(i64::MAX));
        gauge.encode(encoder.encode_descriptor(
            "turn_allocations",
            "Live allocations of the relay",
            None,
            MetricType::Gauge,
        )?)?;

        let mut counters =
            |name, help, values: &[(&[(&str, &str)], u64)]| -> Result<(), fmt::Error> {
                let mut family =
                    encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
                for (labels, value) in values {
                    ConstCounter::new(*value).encode(family.encode_family(labels)?)?;
                }
                Ok(())
            };
        let to_peer: &[(&str, &str)] = &[("direction", "to_peer")];
        let to_client: &[(&str, &str)] = &[("direction", "to_client")];
        counters(
            "turn_relayed_bytes",
            "Payload passed on, without headers",
            &[
                (to_peer, self.sum(|stats| stats.to_peer.bytes.load(Relaxed))),
                (
                    to_client,
                    self.sum(|stats| stats.to_client.bytes.load(Relaxed)),
                ),
            ],
        )?;
        counters(
            "turn_relayed_packets",
            "Datagrams passed on",
            &[
                (
                    to_peer,
                    self.sum(|stats| stats.to_peer.packets.load(Relaxed)),
                ),
                (
                    to_client,
                    self.sum(|stats| stats.to_client.packets.load(Relaxed)),
                ),
            ],
        )?;

        let mut family = encoder.encode_descriptor(
            "turn_requests",
            "Requests by method and result",
            None,
            MetricType::Counter,
        )?;
        for (method, name) in METHODS {
            for code in RESULTS {
                let count = self.sum(|stats| stats.requests(method, code));
                let result = match code {
                    0 => "success".to_owned(),
                    code => code.to_string(),
                };
                let labels = [("method", name), ("result", result.as_str())];
                if count > 0 {
                    ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
                }
            }
        }
        let mut family = encoder.encode_descriptor(
            "turn_dropped",
            "Datagrams that came to nothing, by reason",
            None,
            MetricType::Counter,
        )?;
        for reason in Dropped::ALL {
            let labels = [("reason", reason.as_str())];
            let count = self.sum(|stats| stats.dropped(reason));
            ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}
