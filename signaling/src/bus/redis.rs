//! The bus of several nodes: one stream of Redis, to which all add and from which all read.
//!
//! What a node adds is numbered. Who misses a number, as the stream was cut, Redis lost it or this node had to drop it, asks that
//! node for all that holds; so nothing depends on what Redis keeps, and a short break loses nothing. Each node adds something
//! each second, by which others know that it lives. Time is counted by one's own that come back: while Redis is away none
//! do, and nobody is taken for dead.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, RedisError};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::{Interval, MissedTickBehavior, interval, sleep, timeout};

use super::{Bus, Heard, Listener, Message, NodeId};

/// Of what is added. It stands in the key of the stream, so that nodes of different ones do not read each other.
const FORMAT: u32 = 2;
const BEAT: Duration = Duration::from_secs(1);
/// A node of which nothing was heard for so many of one's own beats is dead.
const BEATS_UNTIL_DEAD: u32 = 4;
/// Entries that Redis keeps, for nodes that could not read for a moment; most are of [`BATCH`] bytes at most.
const KEPT: u32 = 2000;
/// Seconds after which Redis forgets the stream of a server that is no more.
const FORGOTTEN: u32 = 3600;
/// What the one field of an entry is called.
const FIELD: &[u8] = b"b";
/// Bytes that may wait to be added; beyond that all of them are dropped.
const MAX_WAITING: usize = 8 * 1024 * 1024;
/// While Redis is away for longer than that, nothing waits.
const WORTH_WAITING: Duration = Duration::from_secs(5);
/// Bytes that are added at once, beside a first message of any length.
const BATCH: usize = 64 * 1024;
/// Between two that are added: many messages cost little more than one.
const SPACING: Duration = Duration::from_millis(2);
/// Entries that are read at once.
const PART: u32 = 64;
/// Milliseconds that Redis waits for one to read.
const BLOCK: u32 = 1000;
const CONNECT_WAIT: Duration = Duration::from_secs(2);
const ANSWER_WAIT: Duration = Duration::from_secs(3);
const FIRST_RETRY: Duration = Duration::from_millis(50);
const LAST_RETRY: Duration = Duration::from_secs(1);
/// For the last words of a node.
const FAREWELL: Duration = Duration::from_secs(1);

/// It cannot be said why: a password may stand in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a URL of Redis")]
pub struct BadUrl;

/// Figures since the start.
#[derive(Debug, Default)]
pub struct Figures {
    /// Messages that were added.
    pub published: AtomicU64,
    /// Messages of other nodes.
    pub received: AtomicU64,
    /// Times that messages had to be dropped.
    pub dropped: AtomicU64,
    /// Other nodes that live.
    pub others: AtomicUsize,
    /// Microseconds from adding to reading, the last time.
    pub lag: AtomicU64,
}

pub struct RedisBus {
    shared: Arc<Shared>,
    tasks: Mutex<Vec<AbortHandle>>,
}

struct Shared {
    node: NodeId,
    client: Client,
    key: String,
    queue: Mutex<Queue>,
    has_waiting: Notify,
    none_waits: Notify,
    /// The reader knows from where it reads: what is added from now on comes back.
    has_begun: Notify,
    place: Mutex<Place>,
    links: Mutex<Links>,
    /// The number of this node's last beat, and when it was added.
    beat: Mutex<Option<(u64, Instant)>>,
    figures: Figures,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Bytes>,
    bytes: usize,
    /// Nodes that are to say all that holds. They are never dropped: nobody would ask again.
    asks: BTreeSet<NodeId>,
    /// Something was dropped.
    has_lost: bool,
    /// Somebody wants to know all.
    asked: bool,
    away_since: Option<Instant>,
}

/// Where the reader is.
#[derive(Default)]
struct Place {
    last: Id,
    /// The stream has begun anew with lower ids: it is read from there.
    from: Option<Id>,
}

/// Connections to Redis; `None`: not yet tried.
#[derive(Default)]
struct Links {
    reader: Option<bool>,
    writer: Option<bool>,
    up_since: Option<Instant>,
}

#[derive(Clone, Copy)]
enum Link {
    Reader,
    Writer,
}

/// Of an entry; they grow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Id(u64, u64);

impl Id {
    fn parse(text: &str) -> Option<Self> {
        let (time, count) = text.split_once('-')?;
        Some(Id(time.parse().ok()?, count.parse().ok()?))
    }

    fn before(self) -> Self {
        match self {
            Id(0, 0) => self,
            Id(time, 0) => Id(time - 1, u64::MAX),
            Id(time, count) => Id(time, count - 1),
        }
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.0, self.1)
    }
}

/// What is added at once.
#[derive(Serialize, Deserialize)]
struct Batch {
    from: NodeId,
    /// From 1, without gaps but where something was dropped.
    number: u64,
    is_beat: bool,
    said: Vec<Bytes>,
}

#[derive(Serialize, Deserialize)]
enum Said {
    Message(Message),
    /// That node is to say all that holds.
    Ask(NodeId),
    Farewell,
}

impl fmt::Debug for RedisBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisBus").finish_non_exhaustive()
    }
}

impl RedisBus {
    /// For all nodes of the server whose name is `server`; `node` is a random number other than 0. Connects when a hub is
    /// attached, and again and again where it cannot.
    pub fn new(url: &str, server: &str, node: NodeId) -> Result<Arc<Self>, BadUrl> {
        Ok(Arc::new(RedisBus {
            shared: Arc::new(Shared {
                node,
                client: Client::open(url).map_err(|_| BadUrl)?,
                key: format!("moznods:{server}:bus:{FORMAT}"),
                queue: Mutex::new(Queue {
                    away_since: Some(Instant::now()),
                    ..Queue::default()
                }),
                has_waiting: Notify::new(),
                none_waits: Notify::new(),
                has_begun: Notify::new(),
                place: Mutex::default(),
                links: Mutex::default(),
                beat: Mutex::default(),
                figures: Figures::default(),
            }),
            tasks: Mutex::default(),
        }))
    }

    pub fn check_url(url: &str) -> Result<(), BadUrl> {
        Client::open(url).map(drop).map_err(|_| BadUrl)
    }

    pub fn figures(&self) -> &Figures {
        &self.shared.figures
    }

    /// Whether this node can add and read.
    pub fn is_connected(&self) -> bool {
        lock(&self.shared.links).is_up()
    }

    /// For how long this node has been able to add and read without a break; nothing where it cannot.
    pub fn connected_for(&self) -> Duration {
        let up_since = lock(&self.shared.links).up_since;
        up_since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Tells other nodes that this one is no more. To be called last.
    pub async fn farewell(&self) {
        if self.is_connected() {
            let gone = self.shared.none_waits.notified();
            self.shared.say(&Said::Farewell);
            // Without it others find out by themselves.
            let _ = timeout(FAREWELL, gone).await;
        }
        self.stop();
    }

    fn stop(&self) {
        for task in lock(&self.tasks).iter() {
            task.abort();
        }
    }
}

impl Drop for RedisBus {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Bus for RedisBus {
    fn node(&self) -> NodeId {
        self.shared.node
    }

    fn publish(&self, message: Message) {
        self.shared.say(&Said::Message(message));
    }

    /// To be called within a runtime.
    fn attach(&self, listener: Listener) {
        let listener = Arc::new(listener);
        let reader = Reader {
            shared: Arc::clone(&self.shared),
            listener: Arc::clone(&listener),
            nodes: HashMap::new(),
            own: 0,
        };
        let writer = Writer {
            shared: Arc::clone(&self.shared),
            listener,
            number: 0,
            beats: beats(),
        };
        let mut tasks = lock(&self.tasks);
        tasks.push(tokio::spawn(reader.run()).abort_handle());
        tasks.push(tokio::spawn(writer.run()).abort_handle());
    }
}

impl Shared {
    fn say(&self, said: &Said) {
        let Ok(said) = postcard::to_stdvec(said) else {
            return;
        };
        let queue = &mut *lock(&self.queue);
        let too_long = |since: Instant| since.elapsed() > WORTH_WAITING;
        if queue.away_since.is_some_and(too_long) || queue.bytes + said.len() > MAX_WAITING {
            if !queue.has_lost {
                self.figures.dropped.fetch_add(1, Relaxed);
            }
            queue.waiting = VecDeque::new();
            queue.bytes = 0;
            queue.has_lost = true;
        }
        if !queue.away_since.is_some_and(too_long) {
            queue.bytes += said.len();
            queue.waiting.push_back(said.into());
            self.has_waiting.notify_one();
        }
    }

    /// Has that node say all that holds, as something of it was missed.
    fn ask(&self, node: NodeId) {
        lock(&self.queue).asks.insert(node);
        self.has_waiting.notify_one();
    }

    /// This node is to say all that holds.
    fn asked(&self) {
        lock(&self.queue).asked = true;
        self.has_waiting.notify_one();
    }

    /// One that waits longer after each failure.
    async fn connect(&self, retry: &mut Duration) -> Result<MultiplexedConnection, RedisError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_WAIT))
            .set_response_timeout(Some(ANSWER_WAIT));
        let connecting = self
            .client
            .get_multiplexed_async_connection_with_config(&config);
        let connected = connecting.await;
        if connected.is_err() {
            sleep(*retry).await;
            *retry = (*retry * 2).min(LAST_RETRY);
        }
        connected
    }

    /// Says once that Redis is away, and once that it is back.
    fn set_link(&self, link: Link, error: Option<&RedisError>) {
        let mut links = lock(&self.links);
        let before = links.state();
        let is_up = Some(error.is_none());
        match link {
            Link::Reader => links.reader = is_up,
            Link::Writer => links.writer = is_up,
        }
        let after = links.state();
        if before == after {
            return;
        }
        links.up_since = (after == Some(true)).then(Instant::now);
        match (after, error) {
            (Some(false), Some(error)) => {
                tracing::warn!(%error, "Redis is away: each node goes on by itself");
            }
            (Some(true), _) if before.is_some() => tracing::info!("Redis is back"),
            (Some(true), _) => tracing::info!("connected to Redis"),
            _ => {}
        }
    }
}

impl Links {
    /// `None`: it is not known yet.
    fn state(&self) -> Option<bool> {
        match (self.reader, self.writer) {
            (Some(false), _) | (_, Some(false)) => Some(false),
            (Some(true), Some(true)) => Some(true),
            _ => None,
        }
    }

    fn is_up(&self) -> bool {
        self.state() == Some(true)
    }
}

struct Writer {
    shared: Arc<Shared>,
    listener: Arc<Listener>,
    /// Of the last batch.
    number: u64,
    beats: Interval,
}

fn beats() -> Interval {
    let mut beats = interval(BEAT);
    // After a pause not all that were missed: others would seem dead.
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    beats
}

impl Writer {
    async fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        let mut retry = FIRST_RETRY;
        shared.has_begun.notified().await;
        let mut batch = self.next().await;
        loop {
            let mut connection = match shared.connect(&mut retry).await {
                Ok(connection) => connection,
                Err(error) => {
                    shared.set_link(Link::Writer, Some(&error));
                    continue;
                }
            };
            let error = loop {
                // It may have been added though the answer was lost: then it is there twice, by the same number.
                if let Err(error) = self.add(&mut connection, &batch).await {
                    break error;
                }
                retry = FIRST_RETRY;
                let none_waits = {
                    let queue = &mut *lock(&shared.queue);
                    queue.away_since = None;
                    queue.waiting.is_empty()
                };
                shared.set_link(Link::Writer, None);
                if none_waits {
                    shared.none_waits.notify_waiters();
                }
                sleep(SPACING).await;
                batch = self.next().await;
            };
            lock(&shared.queue)
                .away_since
                .get_or_insert_with(Instant::now);
            shared.set_link(Link::Writer, Some(&error));
            sleep(retry).await;
            retry = (retry * 2).min(LAST_RETRY);
        }
    }

    /// What there is to be added.
    async fn next(&mut self) -> Batch {
        let is_beat = tokio::select! {
            biased;
            _ = self.beats.tick() => true,
            () = self.shared.has_waiting.notified() => false,
        };
        if std::mem::take(&mut lock(&self.shared.queue).asked) {
            (self.listener)(Heard::Asked);
        }
        let queue = &mut *lock(&self.shared.queue);
        self.number += match std::mem::take(&mut queue.has_lost) {
            true => 2,
            false => 1,
        };
        let asks = std::mem::take(&mut queue.asks).into_iter().map(Said::Ask);
        let mut said: Vec<Bytes> = asks
            .filter_map(|ask| postcard::to_stdvec(&ask).ok())
            .map(Bytes::from)
            .collect();
        let mut bytes = 0;
        while let Some(next) = queue.waiting.front()
            && (bytes == 0 || bytes + next.len() <= BATCH)
        {
            bytes += next.len();
            said.extend(queue.waiting.pop_front());
        }
        queue.bytes -= bytes;
        if !queue.waiting.is_empty() {
            self.shared.has_waiting.notify_one();
        }
        Batch {
            from: self.shared.node,
            number: self.number,
            is_beat,
            said,
        }
    }

    async fn add(
        &self,
        connection: &mut MultiplexedConnection,
        batch: &Batch,
    ) -> Result<(), RedisError> {
        let Shared { key, place, .. } = &*self.shared;
        let before = lock(place).last;
        if batch.is_beat {
            *lock(&self.shared.beat) = Some((batch.number, Instant::now()));
        }
        let Ok(written) = postcard::to_stdvec(batch) else {
            return Ok(());
        };
        let mut adding = redis::cmd("XADD");
        adding.arg(key).arg("MAXLEN").arg("~").arg(KEPT);
        adding.arg("*").arg(FIELD).arg(written);
        let added: String = adding.query_async(connection).await?;
        // Not where nothing was added: a Redis that is full gets rid of the stream in the end.
        if batch.is_beat {
            let mut expiring = redis::cmd("EXPIRE");
            expiring.arg(key).arg(FORGOTTEN);
            expiring.exec_async(connection).await?;
        }
        let said = u64::try_from(batch.said.len()).unwrap_or(u64::MAX);
        self.shared.figures.published.fetch_add(said, Relaxed);
        let added = Id::parse(&added).unwrap_or_default();
        if added <= before {
            lock(place).from = Some(added.before());
        }
        Ok(())
    }
}

struct Reader {
    shared: Arc<Shared>,
    listener: Arc<Listener>,
    nodes: HashMap<NodeId, Node>,
    /// The number of the last batch of this node.
    own: u64,
}

/// Another one that lives.
struct Node {
    /// Of its last batch.
    number: u64,
    /// Own beats since.
    missed: u32,
}

/// Its fields and what they say, in turn; others may have added what they like.
type Entry = (String, Vec<Vec<u8>>);

impl Reader {
    async fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        let mut retry = FIRST_RETRY;
        let mut has_begun = false;
        loop {
            let mut connection = match shared.connect(&mut retry).await {
                Ok(connection) => connection,
                Err(error) => {
                    shared.set_link(Link::Reader, Some(&error));
                    continue;
                }
            };
            let error = loop {
                let read = match has_begun {
                    true => self.read(&mut connection).await,
                    false => self.find_end(&mut connection).await,
                };
                if let Err(error) = read {
                    break error;
                }
                if !has_begun {
                    has_begun = true;
                    shared.has_begun.notify_one();
                }
                retry = FIRST_RETRY;
                shared.set_link(Link::Reader, None);
            };
            shared.set_link(Link::Reader, Some(&error));
            sleep(retry).await;
            retry = (retry * 2).min(LAST_RETRY);
        }
    }

    /// What was said before this node was there, others say to it again.
    async fn find_end(&mut self, connection: &mut MultiplexedConnection) -> Result<(), RedisError> {
        let mut asking = redis::cmd("XREVRANGE");
        asking.arg(&self.shared.key).arg("+").arg("-").arg("COUNT");
        let last: Vec<Entry> = asking.arg(1).query_async(connection).await?;
        let last = last.first().and_then(|(id, _)| Id::parse(id));
        lock(&self.shared.place).last = last.unwrap_or_default();
        Ok(())
    }

    async fn read(&mut self, connection: &mut MultiplexedConnection) -> Result<(), RedisError> {
        let after = {
            let place = &mut *lock(&self.shared.place);
            if let Some(from) = place.from.take() {
                place.last = from;
            }
            place.last
        };
        let mut reading = redis::cmd("XREAD");
        reading.arg("COUNT").arg(PART).arg("BLOCK").arg(BLOCK);
        reading.arg("STREAMS").arg(&self.shared.key);
        let read: Option<Vec<(String, Vec<Entry>)>> = reading
            .arg(after.to_string())
            .query_async(connection)
            .await?;
        for (id, fields) in read.into_iter().flatten().flat_map(|(_, entries)| entries) {
            if let Some(id) = Id::parse(&id) {
                lock(&self.shared.place).last = id;
            }
            let [field, batch] = fields.as_slice() else {
                continue;
            };
            if field != FIELD {
                continue;
            }
            match postcard::from_bytes(batch) {
                Ok(batch) => self.take_in(batch),
                Err(error) => tracing::debug!(%error, "what stands in Redis cannot be read"),
            }
        }
        Ok(())
    }

    fn take_in(&mut self, batch: Batch) {
        if batch.from == self.shared.node {
            if batch.number > self.own {
                self.own = batch.number;
                if batch.is_beat {
                    self.beat(batch.number);
                }
            }
            return;
        }
        let number = batch.number;
        let has_missed = match self.nodes.get_mut(&batch.from) {
            // Added twice.
            Some(node) if number <= node.number => return,
            Some(node) => {
                let has_missed = number > node.number + 1;
                (node.number, node.missed) = (number, 0);
                has_missed
            }
            None => {
                let node = Node { number, missed: 0 };
                self.nodes.insert(batch.from, node);
                number > 1
            }
        };
        self.count_others();
        if has_missed {
            self.shared.ask(batch.from);
            // What was missed may have been a question.
            self.shared.asked();
        }
        for said in batch.said {
            match postcard::from_bytes(&said) {
                Ok(Said::Message(message)) => {
                    self.shared.figures.received.fetch_add(1, Relaxed);
                    let from = batch.from;
                    (self.listener)(Heard::Said { from, message });
                }
                Ok(Said::Ask(node)) if node == self.shared.node => self.shared.asked(),
                Ok(Said::Ask(_)) => {}
                Ok(Said::Farewell) => self.lose(batch.from),
                Err(error) => tracing::debug!(%error, "what another node says cannot be read"),
            }
        }
    }

    fn beat(&mut self, number: u64) {
        if let Some((of, added)) = *lock(&self.shared.beat)
            && of == number
        {
            let lag = u64::try_from(added.elapsed().as_micros()).unwrap_or(u64::MAX);
            self.shared.figures.lag.store(lag, Relaxed);
        }
        for node in self.nodes.values_mut() {
            node.missed += 1;
        }
        let dead = self.nodes.iter();
        let dead = dead.filter(|(_, node)| node.missed >= BEATS_UNTIL_DEAD);
        let dead: Vec<NodeId> = dead.map(|(id, _)| *id).collect();
        for node in dead {
            tracing::warn!(node, "another node is not heard of any more");
            self.lose(node);
        }
    }

    fn lose(&mut self, node: NodeId) {
        self.nodes.remove(&node);
        (self.listener)(Heard::Gone(node));
        self.count_others();
    }

    fn count_others(&self) {
        self.shared.figures.others.store(self.nodes.len(), Relaxed);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_while_redis_is_away_is_asked_in_the_end() {
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.enable_all().build().unwrap();
        runtime.block_on(async {
            let bus = RedisBus::new("redis://127.0.0.1:1", "test", 1).unwrap();
            let was_asked = Arc::<AtomicUsize>::default();
            let heard = Arc::clone(&was_asked);
            let listener: Arc<Listener> = Arc::new(Box::new(move |heard_now| {
                if matches!(heard_now, Heard::Asked) {
                    heard.fetch_add(1, Relaxed);
                }
            }));
            let mut reader = Reader {
                shared: Arc::clone(&bus.shared),
                listener: Arc::clone(&listener),
                nodes: HashMap::new(),
                own: 0,
            };
            let mut writer = Writer {
                shared: Arc::clone(&bus.shared),
                listener,
                number: 0,
                beats: beats(),
            };
            let long = Instant::now().checked_sub(2 * WORTH_WAITING);
            lock(&bus.shared.queue).away_since = Some(long.unwrap());
            reader.take_in(Batch {
                from: 9,
                number: 5,
                is_beat: true,
                said: Vec::new(),
            });
            bus.publish(Message::News(Bytes::from_static(b"dropped")));
            let batch = writer.next().await;
            let said = batch.said.iter().map(|said| postcard::from_bytes(said));
            let said: Vec<Said> = said.collect::<Result<_, _>>().unwrap();
            assert!(matches!(said[..], [Said::Ask(9)]));
            assert_eq!(batch.number, 2, "others find out that something is lost");
            // The other one may have asked as well.
            assert_eq!(was_asked.load(Relaxed), 1);
            assert!(writer.next().await.said.is_empty(), "once");
        });
    }

    #[test]
    fn ids_are_in_order_and_each_has_one_before() {
        let id = Id::parse;
        assert!(id("9-5") < id("10-0") && id("10-2") < id("10-10"));
        let before = |text| id(text).map(Id::before);
        assert_eq!(before("10-0"), Some(Id(9, u64::MAX)));
        assert_eq!(before("10-3"), id("10-2"));
        assert_eq!(Id(10, 2).to_string(), "10-2");
        assert_eq!(Id::parse("10"), None);
    }
}
