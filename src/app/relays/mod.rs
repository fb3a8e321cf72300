//! The relays of other nodes: which there are, of which clients are told, and what is asked of them. Each says once a second
//! how it is. How that is carried, and who lives, is left to the hub, what a relay does to `turn`.

mod choice;
mod load;
mod word;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use moznods_signaling::NodeId;
use moznods_turn::auth::Owner;
use moznods_turn::server::Which;
use tokio::sync::{Notify, mpsc};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout_at};

use super::nodes;
use super::{App, RelayHost};
use crate::config::Config;
use choice::Candidate;
use load::{Load, LoadMeter};
use word::Report;
pub use word::{Answer, Question, SeenAllocation, Ways, Word};

const REPORT_EVERY: Duration = Duration::from_secs(1);
/// After which a relay that is no more is no longer shown.
const FORGOTTEN: Duration = Duration::from_secs(600);
/// After which others have said how they are, where all can hear each other.
const HEARD_OF: Duration = Duration::from_secs(2);
/// For others to answer.
const WAIT: Duration = Duration::from_secs(3);
/// Allocations in one answer.
const PART: usize = 200;

/// A relay as administrators see it.
#[derive(Debug)]
pub struct RelayNode {
    pub name: String,
    pub regions: Vec<String>,
    pub allocations: u64,
    pub bytes_per_second: u64,
    /// In thousandths of what it carries.
    pub load: u16,
    pub state: RelayState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RelayState {
    Serving,
    /// Calls go on; no new ones are relayed.
    Draining,
    /// It is not heard of any more, or has not answered what it was asked last.
    Silent,
}

/// What others have answered, each by its number, and the names of those who have not.
pub struct Answers {
    pub given: Vec<(NodeId, Answer)>,
    /// With Redis where there may be others that are not known.
    pub silent: Vec<String>,
}

/// What is known of the relays of all nodes.
#[derive(Default)]
pub struct Relays {
    state: Mutex<State>,
    /// Where answers to a question go.
    asked: Mutex<HashMap<u64, mpsc::UnboundedSender<(NodeId, Answer)>>>,
    questions: AtomicU64,
    /// Told when others are to know at once how this one is.
    changed: Notify,
    /// Whether this one has said good-bye.
    has_ended: AtomicBool,
}

#[derive(Default)]
struct State {
    own: Option<Report>,
    others: HashMap<NodeId, Other>,
}

struct Other {
    report: Report,
    /// Since when its node is not heard of any more.
    gone: Option<Instant>,
    /// Whether it did not answer the last question.
    is_mute: bool,
}

impl Relays {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn heard(&self, from: NodeId, report: Report) {
        let others = &mut self.state().others;
        if let Some(other) = others.get_mut(&from) {
            (other.report, other.gone) = (report, None);
            return;
        }
        tracing::info!(relay = report.name, node = from, "another relay is there");
        // One of the same name that is gone has most likely been started again.
        others.retain(|_, other| other.gone.is_none() || other.report.name != report.name);
        let other = Other {
            report,
            gone: None,
            is_mute: false,
        };
        others.insert(from, other);
    }

    /// It has said good-bye.
    fn ended(&self, node: NodeId) {
        if let Some(other) = self.state().others.remove(&node) {
            tracing::info!(relay = other.report.name, node, "another relay has ended");
        }
    }

    /// Its node is not heard of any more.
    pub(super) fn lost(&self, node: NodeId, now: Instant) {
        let others = &mut self.state().others;
        if let Some(other) = others.get_mut(&node) {
            tracing::warn!(relay = other.report.name, node, "another relay is gone");
            other.gone = Some(now);
        }
        let is_old = |since: Instant| now.saturating_duration_since(since) >= FORGOTTEN;
        others.retain(|_, other| !other.gone.is_some_and(is_old));
    }

    /// Of `own`, if there is one, and of others those that a client is told of.
    fn offered(
        &self,
        own: Option<Ways>,
        region: Option<&str>,
        count: usize,
        random: impl FnMut() -> f64,
    ) -> Vec<Ways> {
        let state = self.state();
        let others = state.others.values();
        let others = others.filter(|other| other.gone.is_none());
        let others = others.map(|other| &other.report);
        let others = others.filter(|report| !report.is_draining && !report.ways.turn.is_empty());
        let others: Vec<_> = others.map(|report| (report, report.ways.clone())).collect();
        let unknown = Report::default();
        let of_own = state.own.as_ref().unwrap_or(&unknown);
        let own = own.filter(|_| others.is_empty() || !of_own.is_draining);
        let all: Vec<_> = own
            .map(|ways| (of_own, ways))
            .into_iter()
            .chain(others)
            .collect();
        let candidate = |(report, _): &(&Report, Ways)| Candidate {
            load: report.load,
            is_near: region.is_some_and(|region| report.regions.iter().any(|near| near == region)),
        };
        let candidates: Vec<Candidate> = all.iter().map(candidate).collect();
        let mut offered: Vec<Ways> = Vec::new();
        for place in choice::choose(&candidates, all.len(), random) {
            // Several relays may stand behind one name.
            if let Some((_, ways)) = all.get(place)
                && offered.len() < count
                && !offered.contains(ways)
            {
                offered.push(ways.clone());
            }
        }
        offered
    }

    fn answered(&self, from: NodeId, question: u64, answer: Answer) {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(asker) = asked.get(&question) {
            // Who asked may have gone.
            let _ = asker.send((from, answer));
        }
    }
}

/// By which clients reach the relay of these settings at such a host.
pub fn ways(config: &Config, at: &RelayHost) -> Ways {
    let host = &at.host;
    let port = config.turn.listen.port();
    let mut turn = ["udp", "tcp"]
        .map(|transport| format!("turn:{host}:{port}?transport={transport}"))
        .to_vec();
    // The port of the web is open where no other is.
    let https = config.https_port();
    let own = config.turn.tls.as_ref().map(|tls| tls.listen.port());
    let secure = at.of_tls.iter().flat_map(|host| {
        let ports = [https, own].into_iter().flatten();
        ports.map(move |port| format!("turns:{host}:{port}?transport=tcp"))
    });
    turn.extend(secure);
    Ways {
        stun: vec![format!("stun:{host}:{port}")],
        turn,
    }
}

impl App {
    /// What a client is told of the relays that it may use, the best first: which reaches the web at `web`, see
    /// [`App::relay_host`], and is in `region`, if that is known.
    pub async fn relay_ways(
        &self,
        web: &str,
        has_passed_tls: bool,
        region: Option<&str>,
    ) -> Vec<Ways> {
        let turn = &self.config.turn;
        let own = match turn.enabled {
            true => Some(ways(
                &self.config,
                &self.relay_host(web, has_passed_tls).await,
            )),
            false => None,
        };
        self.relays
            .offered(own, region, turn.offer_relays, rand::random::<f64>)
    }

    /// All relays, the own one first.
    pub fn relay_nodes(&self) -> Vec<RelayNode> {
        let own = self.relay().map(|_| {
            let own = self.relays.state().own.clone();
            node(&own.unwrap_or_else(|| self.report(Load::default())), false)
        });
        let state = self.relays.state();
        let others = state
            .others
            .values()
            .map(|other| node(&other.report, other.is_mute || other.gone.is_some()));
        let mut others: Vec<RelayNode> = others.collect();
        others.sort_by(|one, other| one.name.cmp(&other.name));
        own.into_iter().chain(others).collect()
    }

    /// What people call the relay of a node; `None`: of this one.
    pub(super) fn relay_name(&self, node: Option<NodeId>) -> String {
        match node {
            None => named(&self.own_ways(), &self.config),
            Some(node) => {
                let state = self.relays.state();
                let known = state.others.get(&node);
                known.map_or_else(|| node.to_string(), |other| other.report.name.clone())
            }
        }
    }

    /// As others may tell clients, whatever name they came by here.
    fn own_ways(&self) -> Ways {
        if let Some(host) = self.config.relay_name() {
            return ways(&self.config, &RelayHost::named(host));
        }
        let hosts = self.own_relay_addresses().map(RelayHost::at);
        hosts.fold(Ways::default(), |mut all, host| {
            let of_host = ways(&self.config, &host);
            all.stun.extend(of_host.stun);
            all.turn.extend(of_host.turn);
            all
        })
    }

    fn report(&self, load: Load) -> Report {
        let ways = self.own_ways();
        let relay = self.relay();
        Report {
            name: named(&ways, &self.config),
            regions: self.config.turn.regions.clone(),
            ways,
            allocations: relay.map_or(0, |relay| relay.allocations()),
            bytes_per_second: load.bytes_per_second,
            load: load.thousandths,
            is_draining: relay.is_some_and(|relay| relay.is_draining()),
        }
    }

    /// Has others know at once how the relay of this process is.
    pub fn tell_of_relay(&self) {
        self.relays.changed.notify_one();
    }

    /// Says good-bye: clients are told of the relay of this process no longer.
    pub fn tell_of_end(&self) {
        if self.relay().is_some() && !self.relays.has_ended.swap(true, Ordering::Relaxed) {
            self.say_as_relay(Word::Ended);
        }
    }

    /// As long as the server runs, where it has other nodes.
    pub(super) async fn keep_relays(self: Arc<Self>) {
        if self.bus.is_none() {
            return;
        }
        let mut ticks = interval(REPORT_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut meter = None;
        let mut load = Load::default();
        loop {
            let is_tick = tokio::select! {
                _ = ticks.tick() => true,
                () = self.relays.changed.notified() => false,
            };
            let Some(relay) = self.relay() else { continue };
            match &mut meter {
                None => meter = Some(LoadMeter::new(relay)),
                Some(meter) if is_tick => {
                    load = meter.measure(relay, self.config.turn.line_mbit);
                }
                Some(_) => {}
            }
            let report = self.report(load);
            if !self.relays.has_ended.load(Ordering::Relaxed) {
                self.say_as_relay(Word::Report(report.clone()));
            }
            self.relays.state().own = Some(report);
        }
    }

    fn say_as_relay(&self, word: Word) {
        self.tell_nodes(&nodes::Word::Relay(word));
    }

    /// What the relay of another node says.
    pub(super) fn hear_relay(self: &Arc<Self>, from: NodeId, word: Word) {
        match word {
            Word::Report(report) => self.relays.heard(from, report),
            Word::Ended => self.relays.ended(from),
            Word::Ask { question, of, what } => {
                if self.relay().is_some() && of.is_none_or(|of| of == self.hub.node()) {
                    tokio::spawn(Arc::clone(self).answer(from, question, what));
                }
            }
            Word::Answer {
                to,
                question,
                answer,
            } => {
                if to == self.hub.node() {
                    self.relays.answered(from, question, answer);
                }
            }
        }
    }

    async fn answer(self: Arc<Self>, to: NodeId, question: u64, what: Question) {
        let say = |answer| {
            self.say_as_relay(Word::Answer {
                to,
                question,
                answer,
            });
        };
        let kill = async |which| self.kill_here(which).await.map(Answer::Ended);
        let answer = match what {
            Question::List(owner) => self.list_here(owner.map(Owner)).await.map(|mut all| {
                let parts = all.len().div_ceil(PART).max(1);
                while all.len() > PART {
                    let allocations = all.split_off(all.len() - PART);
                    say(Answer::Listed {
                        allocations,
                        parts: None,
                    });
                }
                Answer::Listed {
                    allocations: all,
                    parts: Some(parts),
                }
            }),
            Question::KillOne(name) => kill(Which::One(name)).await,
            Question::KillAllOf(owner) => kill(Which::AllOf(Owner(owner))).await,
            Question::RecordUsage => self.record_usage().await.map(|()| Answer::Recorded),
        };
        say(answer.unwrap_or_else(|error| {
            tracing::error!(%error, "what another node has asked could not be done");
            Answer::Failed
        }));
    }

    /// Whether all relays that live have been heard of; waits for it some seconds at most.
    pub(super) async fn knows_relays(&self) -> bool {
        let Some(bus) = &self.bus else { return true };
        if bus.is_connected() {
            sleep(HEARD_OF.saturating_sub(bus.connected_for())).await;
        }
        bus.connected_for() >= HEARD_OF
    }

    /// Asks the relays of other nodes, or the one of a node, and waits some seconds at most.
    pub(super) async fn ask_relays(&self, of: Option<NodeId>, what: Question) -> Answers {
        let mut waiting: HashMap<NodeId, String> = HashMap::new();
        let mut silent = Vec::new();
        if of.is_none() && !self.knows_relays().await {
            // There may be some that cannot be named.
            silent.push("Redis".to_owned());
        }
        {
            let state = self.relays.state();
            let others = state.others.iter();
            for (&node, other) in others.filter(|(node, _)| of.is_none_or(|of| of == **node)) {
                let name = other.report.name.clone();
                match other.gone {
                    None => drop(waiting.insert(node, name)),
                    Some(_) => silent.push(name),
                }
            }
        }
        let asked: Vec<NodeId> = waiting.keys().copied().collect();
        let mut given = Vec::new();
        let mut heard: HashMap<NodeId, usize> = HashMap::new();
        if !asked.is_empty() {
            let question = self.relays.questions.fetch_add(1, Ordering::Relaxed);
            let (asker, mut answers) = mpsc::unbounded_channel();
            let _asked = Asked::new(&self.relays, question, asker);
            self.say_as_relay(Word::Ask { question, of, what });
            let end = tokio::time::Instant::now() + WAIT;
            while !waiting.is_empty()
                && let Ok(Some((node, answer))) = timeout_at(end, answers.recv()).await
            {
                let heard = heard.entry(node).or_default();
                *heard += 1;
                let is_short = match &answer {
                    Answer::Listed { parts, .. } => parts.is_some_and(|parts| parts != *heard),
                    answer => matches!(answer, Answer::Failed),
                };
                if answer.is_whole()
                    && let Some(name) = waiting.remove(&node)
                    && is_short
                {
                    silent.push(name);
                }
                given.push((node, answer));
            }
        }
        let mut state = self.relays.state();
        for node in asked {
            if let Some(other) = state.others.get_mut(&node) {
                other.is_mute = waiting.contains_key(&node);
            }
        }
        silent.extend(waiting.into_values());
        silent.sort();
        Answers { given, silent }
    }
}

/// A question that is open as long as this lives.
struct Asked<'a> {
    relays: &'a Relays,
    question: u64,
}

impl<'a> Asked<'a> {
    fn new(
        relays: &'a Relays,
        question: u64,
        asker: mpsc::UnboundedSender<(NodeId, Answer)>,
    ) -> Self {
        let mut asked = relays.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.insert(question, asker);
        Asked { relays, question }
    }
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        let asked = self.relays.asked.lock();
        let mut asked = asked.unwrap_or_else(PoisonError::into_inner);
        asked.remove(&self.question);
    }
}

/// The first of its ways is known to people as well.
fn named(ways: &Ways, config: &Config) -> String {
    let first = ways.stun.first().and_then(|uri| uri.strip_prefix("stun:"));
    first.map_or_else(|| config.turn.listen.to_string(), str::to_owned)
}

fn node(report: &Report, is_silent: bool) -> RelayNode {
    RelayNode {
        name: report.name.clone(),
        regions: report.regions.clone(),
        allocations: report.allocations,
        bytes_per_second: report.bytes_per_second,
        load: report.load,
        state: match report.is_draining {
            _ if is_silent => RelayState::Silent,
            true => RelayState::Draining,
            false => RelayState::Serving,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(host: &str) -> Ways {
        Ways {
            stun: vec![format!("stun:{host}:3478")],
            turn: vec![format!("turn:{host}:3478?transport=udp")],
        }
    }

    fn report(host: &str) -> Report {
        Report {
            name: format!("{host}:3478"),
            ways: of(host),
            ..Report::default()
        }
    }

    fn offered(relays: &Relays, own: Option<Ways>) -> Vec<String> {
        let all = relays.offered(own, None, 8, rand::random::<f64>);
        let mut uris: Vec<String> = all.into_iter().flat_map(|ways| ways.stun).collect();
        uris.sort();
        uris
    }

    #[test]
    fn who_is_gone_drains_or_has_ended_is_told_of_no_more() {
        let relays = Relays::default();
        relays.heard(1, report("one"));
        relays.heard(2, report("two"));
        relays.heard(3, Report::default());
        assert_eq!(
            offered(&relays, Some(of("own"))),
            ["stun:one:3478", "stun:own:3478", "stun:two:3478"],
            "and of none that does not know by what it is reached"
        );
        relays.lost(1, Instant::now());
        assert_eq!(offered(&relays, None), ["stun:two:3478"]);
        let draining = Report {
            is_draining: true,
            ..report("two")
        };
        relays.heard(2, draining.clone());
        assert!(offered(&relays, None).is_empty());
        relays.heard(1, report("one"));
        assert_eq!(offered(&relays, None), ["stun:one:3478"]);
        relays.ended(1);
        assert!(offered(&relays, None).is_empty());

        // The own one drains: others, if there are any.
        relays.state().own = Some(draining);
        assert_eq!(offered(&relays, Some(of("own"))), ["stun:own:3478"]);
        relays.heard(1, report("one"));
        assert_eq!(offered(&relays, Some(of("own"))), ["stun:one:3478"]);
    }

    #[test]
    fn a_relay_that_is_started_again_is_there_once() {
        let relays = Relays::default();
        let now = Instant::now();
        let all = || relays.state().others.len();
        relays.heard(1, report("one"));
        relays.heard(2, report("one"));
        assert_eq!(all(), 2, "two relays behind one name");
        assert_eq!(offered(&relays, None), ["stun:one:3478"]);
        relays.lost(1, now);
        relays.heard(3, report("one"));
        assert_eq!(all(), 2);
        relays.lost(2, now);
        assert_eq!(all(), 2, "it is still shown");
        relays.lost(3, now + FORGOTTEN);
        assert_eq!(all(), 1);
    }

    #[test]
    fn the_region_of_a_client_is_sought_first() {
        let relays = Relays::default();
        for (node, host, regions) in [
            (1, "de", &["eu", "de"][..]),
            (2, "fr", &["eu"]),
            (3, "us", &["us"]),
        ] {
            let regions = regions.iter().map(|&region| region.to_owned()).collect();
            let report = Report {
                regions,
                ..report(host)
            };
            relays.heard(node, report);
        }
        for _ in 0..50 {
            let names = |region, count| {
                let ways = relays.offered(None, region, count, rand::random::<f64>);
                let stun = ways.into_iter().flat_map(|ways| ways.stun);
                stun.collect::<Vec<_>>()
            };
            assert_eq!(names(Some("us"), 1), ["stun:us:3478"]);
            assert_eq!(names(Some("us"), 2)[0], "stun:us:3478");
            assert_eq!(names(Some("us"), 2).len(), 2);
            let mut eu = names(Some("eu"), 2);
            eu.sort();
            assert_eq!(eu, ["stun:de:3478", "stun:fr:3478"]);
            assert_eq!(names(Some("asia"), 3).len(), 3);
        }
    }

    #[test]
    fn words_arrive_as_they_were_said() {
        let name: moznods_turn::server::AllocationName = "0-5f3a9c21d".parse().unwrap();
        for word in [
            Word::Report(report("one")),
            Word::Ended,
            Word::Ask {
                question: 7,
                of: Some(u64::MAX),
                what: Question::KillOne(name),
            },
            Word::Answer {
                to: 1,
                question: 7,
                answer: Answer::Listed {
                    allocations: Vec::new(),
                    parts: None,
                },
            },
        ] {
            let bytes = serde_json::to_vec(&word).unwrap();
            let read: Word = serde_json::from_slice(&bytes).unwrap();
            assert_eq!(format!("{read:?}"), format!("{word:?}"));
        }
    }
}
