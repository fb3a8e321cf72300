//! Starts the relay from the settings, ties it to the accounts, and shows its figures. What it does with packets
//! is left to the `turn` crate, who may use it to `app`.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Weak};
use std::time::Duration;

use moznods_turn::auth::Authenticator;
use moznods_turn::net::{Listeners, Relay, address};
use moznods_turn::policy::{PeerPolicy, is_public};
use moznods_turn::server::{self, Ended, Limits, RelayAddress};
use moznods_turn::stats::{Dropped, METHODS, RESULTS, Stats};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use tokio::sync::broadcast::{self, error::RecvError};

use crate::app::App;
use crate::config::{Alternate, Config, ConfigError, ExternalAddr, ExternalIp, Turn};

const LOOK_AT_INTERFACES: Duration = Duration::from_secs(15);

/// Serves relay clients at `listeners` as long as the program runs. May wait for STUN servers for some
/// seconds, to learn the public address.
pub async fn start(app: &App, listeners: Listeners) -> io::Result<()> {
    let interfaces = address::interfaces()?;
    let addresses = addresses(&app.config, &interfaces).await?;
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
    let alternate = app.config.turn.alternate.as_ref();
    let config = settings(&app.config, addresses, interfaces, &listeners);
    let known = config.policy.own.clone();
    let relay = Arc::new(Relay::start(
        listeners,
        config,
        Arc::new(app.relay_users()),
    )?);
    let figures = Figures(Arc::clone(&relay));
    app.metrics
        .register(|registry| registry.register_collector(Box::new(figures)));
    if let Err(error) = app.warn_of_foreign_devices().await {
        tracing::error!(%error, "the relay's devices cannot be read");
    }
    tokio::spawn(review_after(losses, Arc::downgrade(&relay)));
    let alternate = alternate.cloned();
    tokio::spawn(follow_interfaces(known, alternate, Arc::downgrade(&relay)));
    app.set_relay(relay);
    Ok(())
}

/// A relay without the rest of the server, for whom `users` says.
pub async fn alone(
    config: &Config,
    listeners: Listeners,
    users: Arc<dyn Authenticator>,
) -> io::Result<Relay> {
    let interfaces = address::interfaces()?;
    let addresses = addresses(config, &interfaces).await?;
    let config = settings(config, addresses, interfaces, &listeners);
    Relay::start(listeners, config, users)
}

async fn addresses(config: &Config, interfaces: &[IpAddr]) -> io::Result<Vec<RelayAddress>> {
    match &config.turn.external_ip {
        ExternalIp::Auto => {
            let stun = config.ice.extra_stun.clone();
            Ok(tokio::task::spawn_blocking(move || address::discover(&stun)).await?)
        }
        ExternalIp::Fixed(fixed) => Ok(as_set(fixed, interfaces).collect()),
    }
}

fn as_set(fixed: &[ExternalAddr], interfaces: &[IpAddr]) -> impl Iterator<Item = RelayAddress> {
    fixed.iter().map(|fixed| RelayAddress {
        public: fixed.public,
        local: fixed
            .local
            .unwrap_or_else(|| address::local_for(fixed.public, interfaces)),
    })
}

/// Whether this machine has the alternate addresses, where there are to be some.
///
/// The outer error is of the system, the inner one of the setting.
pub fn check_alternate(turn: &Turn) -> io::Result<Result<(), ConfigError>> {
    let Some(alternate) = &turn.alternate else {
        return Ok(Ok(()));
    };
    let interfaces = address::interfaces()?;
    let relays: Vec<IpAddr> = match &turn.external_ip {
        // Where relaying from will turn out to be, whatever STUN servers say.
        ExternalIp::Auto => [true, false]
            .into_iter()
            .filter_map(address::outbound)
            .collect(),
        ExternalIp::Fixed(fixed) => as_set(fixed, &interfaces)
            .map(|relay| relay.local)
            .collect(),
    };
    Ok(alternate.check(&interfaces, &relays))
}

/// All addresses of this machine.
fn own(interfaces: Vec<IpAddr>, alternate: Option<&Alternate>) -> Vec<IpAddr> {
    let others = alternate.map(Alternate::addresses).into_iter().flatten();
    let mut own = interfaces;
    own.extend(others);
    own
}

fn settings(
    config: &Config,
    relay: Vec<RelayAddress>,
    interfaces: Vec<IpAddr>,
    listeners: &Listeners,
) -> server::Config {
    let turn = &config.turn;
    let https = config.http.https.as_ref().map(|https| https.listen);
    let listening = [Some(listeners.address()), listeners.tls_address(), https];
    let ports = listening.iter().flatten().map(SocketAddr::port);
    let ports = ports.chain(turn.alternate.as_ref().map(|alternate| alternate.port));
    server::Config {
        realm: turn.realm.clone(),
        software: "MOznoDS".to_owned(),
        policy: PeerPolicy {
            relays: relay.iter().map(|relay| relay.public).collect(),
            own: own(interfaces, turn.alternate.as_ref()),
            listeners: ports.collect(),
            allow: turn.allow_peers.clone(),
            deny: turn.deny_peers.clone(),
        },
        discovery: turn.alternate.as_ref().map_or_else(Vec::new, |alternate| {
            alternate.discovery(&relay, turn.listen.port())
        }),
        relay,
        relay_ports: turn.relay_ports.clone(),
        legacy_channels: turn.legacy_channels,
        mobility: turn.mobility,
        strict_expiry: turn.strict_expiry,
        limits: limits(config),
    }
}

fn limits(config: &Config) -> Limits {
    let turn = &config.turn;
    Limits {
        allocations_per_owner: turn.max_allocations_per_user,
        bytes_per_second_per_owner: turn.max_bytes_per_second_per_user,
        unauthenticated_per_second: match config.limits.rates.enabled {
            true => turn.unauthenticated_per_second,
            false => 0,
        },
        ..Limits::default()
    }
}

/// Takes over what may change while the relay runs; calls go on, but for those that it forbids.
pub fn reload(app: &App, config: &Config) {
    app.set_max_bytes_per_month_per_user(config.turn.max_bytes_per_month_per_user);
    let Some(relay) = app.relay() else { return };
    relay.set_limits(limits(config));
    relay.change_policy(|policy| {
        policy.allow = config.turn.allow_peers.clone();
        policy.deny = config.turn.deny_peers.clone();
    });
}

/// Keeps every address of this machine from being a peer, also those that it gets later.
async fn follow_interfaces(
    mut known: Vec<IpAddr>,
    alternate: Option<Alternate>,
    relay: Weak<Relay>,
) {
    loop {
        tokio::time::sleep(LOOK_AT_INTERFACES).await;
        let Some(relay) = relay.upgrade() else { return };
        match address::interfaces().map(|found| own(found, alternate.as_ref())) {
            Ok(own) if own != known => {
                tracing::info!("the addresses of this machine have changed");
                known.clone_from(&own);
                relay.change_policy(|policy| policy.own = own);
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
        let mut gauge = |name, help, live: u64| -> Result<(), fmt::Error> {
            let descriptor = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            ConstGauge::new(i64::try_from(live).unwrap_or(i64::MAX)).encode(descriptor)
        };
        gauge(
            "turn_allocations",
            "Live allocations of the relay",
            self.sum(|stats| stats.allocations.load(Relaxed)),
        )?;
        gauge(
            "turn_peer_connections",
            "Live connections with peers of TCP allocations",
            self.sum(|stats| stats.connections.load(Relaxed)),
        )?;

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
        counters(
            "turn_icmp_errors",
            "ICMP errors that clients were told of",
            &[(&[], self.sum(|stats| stats.icmp.load(Relaxed)))],
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
            "Datagrams, and connections of peers, that came to nothing, by reason",
            None,
            MetricType::Counter,
        )?;
        for reason in Dropped::ALL {
            let labels = [("reason", reason.as_str())];
            let count = self.sum(|stats| stats.dropped(reason));
            ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
        }
        let mut family = encoder.encode_descriptor(
            "turn_allocations_ended",
            "Allocations that ended, by reason",
            None,
            MetricType::Counter,
        )?;
        for reason in Ended::ALL {
            let labels = [("reason", reason.as_str())];
            let count = self.sum(|stats| stats.ended(reason));
            ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}
