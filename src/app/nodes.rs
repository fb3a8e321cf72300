//! What the nodes of one server tell each other of what is true only now, beside what their hubs do by themselves. One place
//! for all of it: each part of the program has a variant of [`Word`], and is told here what others say.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Weak};
use std::time::Instant;

use bytes::Bytes;
use moznods_signaling::bus::{Bus, LocalBus, RedisBus};
use moznods_signaling::{Hub, News, NodeId};
use moznods_storage::{StorageError, Store, TokenHash};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};

use super::metrics::Metrics;
use super::{App, Refusal, Result, abuse, random_text, relays};
use crate::config::Config;
use crate::wire::WireFrames;

/// Nodes of different versions are told apart by what is in it: what a node cannot read it passes over.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Word {
    Abuse(abuse::Word),
    Relay(relays::Word),
    /// Somebody has come back from a provider of sign-ins with what has this hash.
    TicketTaken([u8; 32]),
}

/// The bus to other nodes, where the settings name one.
pub(super) async fn redis(config: &Config, store: &dyn Store) -> Result<Option<Arc<RedisBus>>> {
    let Some(url) = &config.storage.redis_url else {
        return Ok(None);
    };
    // Many servers may share a Redis: those are of one that share a database.
    let server = store.secret("server_name", random_text::<12>()?).await?;
    let mut node = [0; 8];
    SystemRandom::new()
        .fill(&mut node)
        .map_err(|_| Refusal::Overloaded)?;
    // As any program reads it that knows no larger whole numbers.
    let node = u64::from_le_bytes(node) >> 12 | 1;
    let bus = RedisBus::new(url.expose(), &server, node);
    let bus = bus.map_err(|error| StorageError::Open {
        path: config.data_dir.clone(),
        why: error.to_string(),
    })?;
    Ok(Some(bus))
}

pub(super) fn hub(bus: Option<&Arc<RedisBus>>) -> Arc<Hub> {
    let bus: Arc<dyn Bus> = match bus {
        Some(bus) => Arc::clone(bus) as _,
        None => Arc::new(LocalBus::default()),
    };
    Hub::new(bus, Box::new(WireFrames))
}

struct BusFigures(Arc<RedisBus>);

impl std::fmt::Debug for BusFigures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BusFigures")
    }
}

impl Collector for BusFigures {
    fn encode(
        &self,
        mut encoder: DescriptorEncoder<'_>,
    ) -> std::result::Result<(), std::fmt::Error> {
        let figures = self.0.figures();
        for (name, help, value) in [
            (
                "bus_connected",
                "Whether Redis can be reached, 1 or 0; without it each node goes on by itself",
                f64::from(u8::from(self.0.is_connected())),
            ),
            (
                "bus_other_nodes",
                "Other nodes of this server that live",
                figures.others.load(Relaxed) as f64,
            ),
            (
                "bus_lag_seconds",
                "Until what was said by Redis came back, the last time",
                figures.lag.load(Relaxed) as f64 / 1e6,
            ),
        ] {
            let descriptor = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            ConstGauge::new(value).encode(descriptor)?;
        }
        for (name, help, value) in [
            (
                "bus_published",
                "What was said to other nodes",
                &figures.published,
            ),
            (
                "bus_received",
                "What other nodes have said",
                &figures.received,
            ),
            (
                "bus_dropped",
                "Times that what waited for Redis was dropped, as it was too much or too old",
                &figures.dropped,
            ),
        ] {
            let descriptor = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            ConstCounter::new(value.load(Relaxed)).encode(descriptor)?;
        }
        Ok(())
    }
}

pub(super) fn register_figures(metrics: &Metrics, bus: &Arc<RedisBus>) {
    let figures = Box::new(BusFigures(Arc::clone(bus)));
    metrics.register(|registry| registry.register_collector(figures));
}

impl App {
    /// Says it to all other nodes, if there are any. Does not block.
    pub(super) fn tell_nodes(&self, word: &Word) {
        match serde_json::to_vec(word) {
            Ok(word) => self.hub.publish_news(word.into()),
            Err(error) => tracing::error!(%error, "other nodes cannot be told something"),
        }
    }

    pub(super) fn listen_to_nodes(self: &Arc<Self>) {
        let app: Weak<App> = Arc::downgrade(self);
        self.hub.listen_to_news(move |news| {
            let Some(app) = app.upgrade() else {
                return;
            };
            match news {
                News::Said { from, bytes } => app.hear_node(from, &bytes),
                News::Asked => app.say_again(),
                News::Gone(node) => app.forget_node(node),
            }
        });
    }

    fn hear_node(self: &Arc<Self>, from: NodeId, bytes: &Bytes) {
        match serde_json::from_slice(bytes) {
            Ok(Word::Abuse(word)) => self.abuse.hear(&word),
            Ok(Word::TicketTaken(ticket)) => {
                if let Some(oidc) = &self.oidc {
                    oidc.taken_there(TokenHash(ticket));
                }
            }
            Ok(Word::Relay(word)) => self.hear_relay(from, word),
            Err(error) => {
                tracing::debug!(%error, from, "another node says what this one does not know")
            }
        }
    }

    /// Another node does not know what was said: what still holds is said once more.
    fn say_again(&self) {
        self.abuse.say_again();
        self.tell_of_relay();
    }

    /// What a node has said of itself does not hold any more.
    fn forget_node(&self, node: NodeId) {
        self.relays.lost(node, Instant::now());
    }
}
