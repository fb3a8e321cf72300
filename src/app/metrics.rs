//! Figures for Prometheus. No label ever holds what a stranger chose.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use super::abuse::{Abuse, Door, Whom, Why};
use super::metric;
use super::metrics_process::ProcessFigures;

/// One kind of request; `route` is the pattern that matched, not the path.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RequestLabels {
    pub method: &'static str,
    pub route: String,
    pub status: u16,
}

/// Why an upload was refused.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Refused {
    pub reason: &'static str,
}

/// What a connection to the port of HTTPS was for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Spoken {
    protocol: &'static str,
}

/// How an attempt to have a certificate by ACME ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Obtained {
    result: &'static str,
}

/// What was asked for too often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limited {
    SignIns,
    /// After wrong ones.
    Passwords,
    /// Of second factors, after wrong ones.
    Codes,
    Registrations,
    Api,
    Reads,
    Uploads,
    Frames,
    Signals,
    /// What webhooks say.
    Hooks,
    /// Those that went on sending frames, and were closed.
    Floods,
    Connections,
    /// Those that were banned.
    Bans,
}

impl Limited {
    const ALL: [Limited; 13] = [
        Limited::SignIns,
        Limited::Passwords,
        Limited::Codes,
        Limited::Registrations,
        Limited::Api,
        Limited::Reads,
        Limited::Uploads,
        Limited::Frames,
        Limited::Signals,
        Limited::Hooks,
        Limited::Floods,
        Limited::Connections,
        Limited::Bans,
    ];

    fn as_str(self) -> &'static str {
        match self {
            Limited::SignIns => "sign_ins",
            Limited::Passwords => "passwords",
            Limited::Codes => "codes",
            Limited::Registrations => "registrations",
            Limited::Api => "api",
            Limited::Reads => "reads",
            Limited::Uploads => "uploads",
            Limited::Frames => "frames",
            Limited::Signals => "signals",
            Limited::Hooks => "hooks",
            Limited::Floods => "floods",
            Limited::Connections => "connections",
            Limited::Bans => "bans",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LimitedLabels {
    kind: &'static str,
}

/// How often what was refused because it came too often.
#[derive(Debug, Clone, Default)]
pub struct RateLimited(Family<LimitedLabels, Counter>);

impl RateLimited {
    pub fn count(&self, what: Limited) {
        self.of(what).inc();
    }

    fn of(&self, what: Limited) -> impl std::ops::Deref<Target = Counter> {
        let kind = what.as_str();
        self.0.get_or_create(&LimitedLabels { kind })
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AttemptLabels {
    what: &'static str,
    why: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BanLabels {
    what: &'static str,
    of: &'static str,
}

/// Who was not let in, and bans.
#[derive(Debug, Clone, Default)]
pub struct AbuseFigures {
    refused: Family<AttemptLabels, Counter>,
    bans: Family<BanLabels, Counter>,
}

impl AbuseFigures {
    /// So that those that have not happened are shown.
    pub fn new() -> Self {
        let figures = AbuseFigures::default();
        for door in Door::ALL {
            let what = door.word();
            for why in Why::ALL.map(Why::word) {
                let _ = figures.refused.get_or_create(&AttemptLabels { what, why });
            }
            for of in [ADDRESS, ACCOUNT] {
                let _ = figures.bans.get_or_create(&BanLabels { what, of });
            }
        }
        figures
    }

    pub fn refused(&self, door: Door, why: Why) {
        let labels = AttemptLabels {
            what: door.word(),
            why: why.word(),
        };
        self.refused.get_or_create(&labels).inc();
    }

    pub fn banned(&self, door: Door, whom: Whom) {
        let of = match whom {
            Whom::Address(_) => ADDRESS,
            Whom::Account(_) => ACCOUNT,
        };
        let what = door.word();
        self.bans.get_or_create(&BanLabels { what, of }).inc();
    }
}

const ADDRESS: &str = "address";
const ACCOUNT: &str = "account";

/// Bans in force, counted when they are asked for.
struct BansInForce(Arc<Abuse>);

impl fmt::Debug for BansInForce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BansInForce")
    }
}

impl Collector for BansInForce {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let bans = self.0.bans();
        let help = "Bans of addresses and accounts in force";
        let mut family =
            encoder.encode_descriptor("bans_in_force", help, None, MetricType::Gauge)?;
        for door in Door::ALL {
            let count = bans.iter().filter(|ban| ban.door == door).count();
            let labels = [("what", door.word())];
            ConstGauge::new(metric(count)).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

/// Before the names of our own figures.
const PREFIX: &str = "moznods";

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Build {
    version: &'static str,
}

pub struct Metrics {
    registry: Mutex<Registry>,
    requests: Family<RequestLabels, Counter>,
    request_duration: Histogram,
    pub websocket_connections: Gauge,
    pub ready: Gauge,
    pub calls: Gauge,
    pub call_participants: Gauge,
    pub database_bytes: Gauge,
    pub messages: Counter,
    pub users: Gauge,
    pub sign_in_failures: Counter,
    pub files: Gauge,
    pub file_bytes: Gauge,
    pub uploads_refused: Family<Refused, Counter>,
    pub rate_limited: RateLimited,
    tls_connections: Family<Spoken, Counter>,
    acme: Family<Obtained, Counter>,
    certificate_expiry: Gauge,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Metrics {
    pub(super) fn new(abuse: &Arc<Abuse>) -> Self {
        let buckets = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0];
        let metrics = Metrics {
            registry: Mutex::default(),
            requests: Family::default(),
            request_duration: Histogram::new(buckets),
            websocket_connections: Gauge::default(),
            ready: Gauge::default(),
            calls: Gauge::default(),
            call_participants: Gauge::default(),
            database_bytes: Gauge::default(),
            messages: Counter::default(),
            users: Gauge::default(),
            sign_in_failures: Counter::default(),
            files: Gauge::default(),
            file_bytes: Gauge::default(),
            uploads_refused: Family::default(),
            rate_limited: RateLimited::default(),
            tls_connections: Family::default(),
            acme: Family::default(),
            certificate_expiry: Gauge::default(),
        };
        // So that those that have not happened are shown.
        for what in Limited::ALL {
            metrics.rate_limited.of(what);
        }
        for result in ["obtained", "failed"] {
            let _ = metrics.acme.get_or_create(&Obtained { result });
        }
        metrics
            .registry()
            .register_collector(Box::new(ProcessFigures::new()));
        metrics.register(|registry| {
            let version = env!("CARGO_PKG_VERSION");
            registry.register("build", "The program's version", Info::new(Build { version }));
            for (name, help, gauge) in [
                ("ready", "Whether it can work, 1 or 0; /readyz says what does not", &metrics.ready),
                ("calls", "Calls that go on", &metrics.calls),
                ("call_participants", "Those who are in a call, each in each", &metrics.call_participants),
                ("database_bytes", "Size of the database, without what it has yet to take in", &metrics.database_bytes),
            ] {
                registry.register(name, help, gauge.clone());
            }
            registry.register(
                "acme_attempts",
                "Attempts to have a certificate by ACME, by result",
                metrics.acme.clone(),
            );
            registry.register(
                "tls_connections",
                "Connections to the port of HTTPS, by what was spoken",
                metrics.tls_connections.clone(),
            );
            registry.register(
                "http_requests",
                "Requests answered",
                metrics.requests.clone(),
            );
            registry.register(
                "http_request_duration_seconds",
                "Time until the answer was ready",
                metrics.request_duration.clone(),
            );
            registry.register(
                "websocket_connections",
                "Open sockets",
                metrics.websocket_connections.clone(),
            );
            registry.register(
                "messages",
                "Messages stored since the start",
                metrics.messages.clone(),
            );
            registry.register(
                "users",
                "Users that are neither blocked nor deleted",
                metrics.users.clone(),
            );
            registry.register(
                "sign_in_failures",
                "Refused attempts to sign in",
                metrics.sign_in_failures.clone(),
            );
            registry.register("files", "Files stored", metrics.files.clone());
            registry.register(
                "file_bytes",
                "Bytes of all files, each as often as it was uploaded",
                metrics.file_bytes.clone(),
            );
            registry.register(
                "uploads_refused",
                "Uploads of which nothing came to be",
                metrics.uploads_refused.clone(),
            );
            registry.register(
                "rate_limited",
                "What was refused because it came too often, by kind",
                metrics.rate_limited.0.clone(),
            );
            registry.register(
                "attempts_refused",
                "Attempts to sign in, to register or to use the relay that were refused, by what and why",
                abuse.figures.refused.clone(),
            );
            registry.register(
                "bans",
                "Bans that have begun, by what and whether of an address or an account",
                abuse.figures.bans.clone(),
            );
            registry.register_collector(Box::new(BansInForce(Arc::clone(abuse))));
        });
        metrics
    }

    /// Adds figures of other parts of the program.
    pub fn register(&self, add: impl FnOnce(&mut Registry)) {
        add(self.registry().sub_registry_with_prefix(PREFIX));
    }

    fn registry(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn request(&self, labels: &RequestLabels, took: Duration) {
        self.requests.get_or_create(labels).inc();
        self.request_duration.observe(took.as_secs_f64());
    }

    /// Of what was spoken over a connection to the port of HTTPS.
    pub fn tls_connection(&self, protocol: &'static str) {
        self.tls_connections
            .get_or_create(&Spoken { protocol })
            .inc();
    }

    pub fn acme(&self, result: &'static str) {
        self.acme.get_or_create(&Obtained { result }).inc();
    }

    /// Seconds since 1970. It is shown where there is one alone.
    pub fn set_certificate_expiry(&self, when: i64) {
        if self.certificate_expiry.set(when) == 0 {
            self.register(|registry| {
                registry.register(
                    "acme_certificate_expiry_seconds",
                    "When the certificate that ACME has brought ends, in seconds since 1970",
                    self.certificate_expiry.clone(),
                );
            });
        }
    }

    /// All figures in the OpenMetrics text format.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry())?;
        Ok(text)
    }
}
