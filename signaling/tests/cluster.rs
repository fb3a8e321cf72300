//! Hubs of several nodes over one Redis: what happens at one is true at all, whatever is killed meanwhile.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use moznods_signaling::bus::{Bus, Message, RedisBus};
use moznods_signaling::{
    CallFrames, CallState, Connection, Form, Frame, Hub, Identity, MemberState, News, NodeId,
    RoomId, Scope, SignalError, UserId,
};
use redis_server::Redis;
use tokio::runtime::Runtime;

#[path = "support/redis.rs"]
mod redis_server;

const ROOM: RoomId = 7;

fn plain(room: RoomId, text: String) -> Frame {
    Frame::new(move |form| match form {
        Form::Narrow => text.clone().into(),
        Form::Wide => format!("{room}:{text}").into(),
    })
}

struct Plain;

impl CallFrames for Plain {
    fn user_joined(&self, room: RoomId, user_id: UserId, _: &str) -> Frame {
        plain(room, format!("+{user_id}"))
    }

    fn user_left(&self, room: RoomId, user_id: UserId) -> Frame {
        plain(room, format!("-{user_id}"))
    }

    fn call_state(&self, room: RoomId, state: &CallState) -> Frame {
        plain(room, shown(state))
    }
}

fn shown(state: &CallState) -> String {
    let members = state.members.iter().map(|member| match member.state {
        MemberState::Connecting => format!("{}?", member.user_id),
        MemberState::Active => format!("{}!", member.user_id),
    });
    format!("[{}]", members.collect::<Vec<_>>().join(" "))
}

fn free_port() -> u16 {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    free.local_addr().unwrap().port()
}

/// What has not been read is lost.
fn forget(redis: &Redis) {
    let client = redis::Client::open(redis.url()).unwrap();
    let mut connection = client.get_connection().unwrap();
    let keys: Vec<String> = redis::cmd("KEYS").arg("*").query(&mut connection).unwrap();
    for key in keys {
        let mut trim = redis::cmd("XTRIM");
        let trim = trim.arg(key).arg("MAXLEN").arg(0);
        trim.exec(&mut connection).unwrap();
    }
}

/// A process of its own, as far as others can tell.
struct Node {
    hub: Arc<Hub>,
    bus: Arc<RedisBus>,
    news: Arc<Mutex<Vec<News>>>,
    runtime: Option<Runtime>,
}

impl Node {
    fn start(redis: &Redis, id: NodeId) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let bus = RedisBus::new(&redis.url(), "test", id).unwrap();
        let entered = runtime.enter();
        let hub = Hub::new(Arc::clone(&bus) as Arc<dyn Bus>, Box::new(Plain));
        drop(entered);
        let news = Arc::<Mutex<Vec<News>>>::default();
        let heard = Arc::clone(&news);
        hub.listen_to_news(move |news| heard.lock().unwrap().push(news));
        Node {
            hub,
            bus,
            news,
            runtime: Some(runtime),
        }
    }

    /// So many that know each other.
    fn several(redis: &Redis, count: u64) -> Vec<Self> {
        let nodes: Vec<Node> = (1..=count).map(|id| Node::start(redis, id)).collect();
        know_each_other(&nodes);
        nodes
    }

    fn others(&self) -> usize {
        let others = &self.bus.figures().others;
        others.load(std::sync::atomic::Ordering::Relaxed)
    }

    fn connect(&self, user: UserId, scope: Scope) -> Heard {
        let connection = self.hub.connect(identity(user), scope).unwrap();
        Heard { connection }
    }

    fn caller(&self, user: UserId) -> Heard {
        let heard = self.connect(user, Scope::Call(ROOM));
        heard.connection.open_call(ROOM).unwrap();
        heard
    }

    fn shows(&self) -> String {
        shown(&self.hub.call_state(ROOM))
    }

    /// As SIGKILL does: it says nothing any more, and hears nothing.
    fn kill(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

fn know_each_other(nodes: &[Node]) {
    until("all nodes know each other", || {
        let all = nodes.len() - 1;
        nodes.iter().all(|node| node.others() == all)
    });
}

fn identity(user_id: UserId) -> Identity {
    Identity {
        user_id,
        username: format!("user{user_id}"),
        sign_in: [u8::try_from(user_id).unwrap(); 32],
        taken_over: |room| plain(room, "taken over".to_owned()),
    }
}

struct Heard {
    connection: Connection,
}

impl Heard {
    /// All that waits.
    fn all(&mut self) -> Vec<String> {
        let mut frames = Vec::new();
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        while let std::task::Poll::Ready(Ok(frame)) = self.connection.poll_frame(&mut cx) {
            frames.push(String::from_utf8(frame.bytes.to_vec()).unwrap());
        }
        frames
    }

    /// What comes up to this.
    fn up_to(&mut self, last: &str) -> Vec<String> {
        let mut frames = Vec::new();
        until(&format!("{last} after {frames:?}"), || {
            frames.extend(self.all());
            frames.last().is_some_and(|frame| frame == last)
        });
        frames
    }
}

#[track_caller]
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(30), "not so: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[track_caller]
fn all_show(nodes: &[Node], state: &str) {
    let shown = || nodes.iter().map(Node::shows).collect::<Vec<_>>();
    let begun = Instant::now();
    while shown().iter().any(|shown| shown != state) {
        let late = begun.elapsed() > Duration::from_secs(30);
        assert!(!late, "{:?} instead of {state}", shown());
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn what_is_true_only_now_is_heard_at_other_nodes() {
    let redis = Redis::start(free_port());
    let nodes = Node::several(&redis, 2);
    let mut ann = nodes[0].connect(1, Scope::Chat(ROOM));
    let mut bob = nodes[1].connect(2, Scope::Chat(ROOM));
    let mut elsewhere = nodes[1].connect(2, Scope::Chat(ROOM + 1));
    let typing = plain(ROOM, "typing".to_owned());
    nodes[0].hub.send_to_others(Scope::Chat(ROOM), 1, typing);
    bob.up_to("typing");
    assert!(ann.all().is_empty() && elsewhere.all().is_empty());

    // What each node knows by itself stays there.
    let said = plain(ROOM, "said".to_owned());
    nodes[0].hub.send_to_scope(Scope::Chat(ROOM), said);
    assert_eq!(ann.all(), ["said"]);
    let mut bell = nodes[1].connect(2, Scope::Notifications);
    let declined = plain(ROOM, "declined".to_owned());
    nodes[0].hub.notify_everywhere([2], declined);
    bell.up_to("declined");
    assert!(bob.all().is_empty());

    nodes[0].hub.close_sign_in([2; 32]);
    until("he is signed out", || nodes[1].hub.connection_count() == 0);
    assert_eq!(nodes[0].hub.connection_count(), 1);
}

#[test]
fn a_call_goes_through_all_nodes() {
    let redis = Redis::start(free_port());
    let nodes = Node::several(&redis, 3);
    let mut ann = nodes[0].caller(1);
    all_show(&nodes, "[1?]");
    ann.connection.join_call(ROOM).unwrap();
    all_show(&nodes, "[1!]");
    let mut bob = nodes[1].caller(2);
    ann.up_to("[1! 2?]");
    bob.connection.join_call(ROOM).unwrap();
    assert_eq!(ann.up_to("[1! 2!]"), ["+2", "[1! 2!]"]);

    bob.all();
    let offer = |text: &str| plain(ROOM, text.to_owned());
    bob.connection.signal(ROOM, 1, offer("offer")).unwrap();
    ann.up_to("offer");
    ann.connection.signal(ROOM, 2, offer("answer")).unwrap();
    assert_eq!(bob.up_to("answer"), ["answer"]);
    assert_eq!(
        ann.connection.signal(ROOM, 3, offer("offer")),
        Err(SignalError::TargetNotInCall)
    );

    // With another device at another node.
    let mut other = nodes[2].caller(2);
    all_show(&nodes, "[1! 2!]");
    other.connection.join_call(ROOM).unwrap();
    assert_eq!(ann.up_to("[1! 2!]"), ["-2", "+2", "[1! 2!]"]);
    bob.up_to("[1! 2!]");
    until("the old device is out", || {
        bob.connection.signal(ROOM, 1, offer("offer")) == Err(SignalError::NotInCall)
    });
    ann.connection.signal(ROOM, 2, offer("offer")).unwrap();
    other.up_to("offer");
    assert!(bob.all().is_empty());

    other.connection.leave_call(ROOM);
    assert_eq!(ann.up_to("[1!]"), ["-2", "[1!]"]);
    nodes[0].hub.left(ROOM, 1);
    all_show(&nodes, "[]");
    let counts: Vec<_> = nodes.iter().map(|node| node.hub.call_counts()).collect();
    assert_eq!(counts, [(0, 0); 3]);
}

#[test]
fn of_two_devices_that_join_at_once_all_nodes_choose_the_same() {
    let redis = Redis::start(free_port());
    let nodes = Node::several(&redis, 2);
    for _ in 0..50 {
        let mut devices = [nodes[0].caller(1), nodes[1].caller(1)];
        std::thread::scope(|scope| {
            for device in &devices {
                scope.spawn(|| device.connection.join_call(ROOM).unwrap());
            }
        });
        let seats = || {
            let counts = nodes.iter().map(|node| node.hub.call_counts());
            counts.fold((0, 0), |sum, more| (sum.0 + more.0, sum.1 + more.1))
        };
        until("one of them is in the call", || seats() == (1, 1));
        let told = devices.iter_mut().map(|device| {
            let frames = device.all();
            frames.iter().filter(|frame| *frame == "taken over").count()
        });
        assert_eq!(told.sum::<usize>(), 1, "the other one is told");
        drop(devices);
        all_show(&nodes, "[]");
    }
}

#[test]
fn who_is_there_and_who_is_not_any_more() {
    let redis = Redis::start(free_port());
    let mut nodes = Node::several(&redis, 3);
    let is_here = |node: &Node, user| node.hub.has_connections(user);
    let ann = nodes[0].connect(1, Scope::Notifications);
    let again = nodes[0].connect(1, Scope::Notifications);
    let there = nodes[1].connect(1, Scope::Notifications);
    until("she is seen", || is_here(&nodes[2], 1));
    drop((ann, there));
    let bob = nodes[1].connect(2, Scope::Notifications);
    until("he is seen", || is_here(&nodes[2], 2));
    assert!(is_here(&nodes[2], 1), "one connection is left");
    drop(again);
    until("she has gone", || !is_here(&nodes[2], 1));

    // Without a good-bye it takes some seconds.
    let mut carl = nodes[2].caller(3);
    let dave = nodes[1].caller(4);
    dave.connection.join_call(ROOM).unwrap();
    carl.up_to("[3? 4!]");
    nodes[1].kill();
    assert_eq!(carl.up_to("[3?]"), ["-4", "[3?]"]);
    until("nobody is left", || {
        !is_here(&nodes[2], 2) && !is_here(&nodes[0], 4)
    });
    assert!(nodes[0].news.lock().unwrap().contains(&News::Gone(2)));
    drop((bob, dave));

    // With one it takes none.
    let begun = Instant::now();
    let runtime = nodes[2].runtime.as_ref().unwrap();
    runtime.block_on(nodes[2].bus.farewell());
    until("it has gone", || nodes[0].others() == 0);
    assert!(begun.elapsed() < Duration::from_secs(2));
    assert!(!is_here(&nodes[0], 3));
}

#[test]
fn who_comes_later_learns_what_holds() {
    let redis = Redis::start(free_port());
    let mut nodes = Node::several(&redis, 2);
    let ann = nodes[0].caller(1);
    ann.connection.join_call(ROOM).unwrap();
    let bob = nodes[1].caller(2);
    bob.connection.join_call(ROOM).unwrap();
    nodes.push(Node::start(&redis, 3));
    all_show(&nodes, "[1! 2!]");
    assert!(nodes[2].hub.has_connections(1));
    for node in &nodes[..2] {
        assert!(node.news.lock().unwrap().contains(&News::Asked));
    }
    let said = |text: &'static str| News::Said {
        from: 1,
        bytes: text.into(),
    };
    for text in ["one", "two"] {
        nodes[0].hub.publish_news(text.into());
    }
    for node in &nodes[1..] {
        until("the news come in order", || {
            let news = node.news.lock().unwrap();
            let news: Vec<_> = news.iter().filter(|news| **news != News::Asked).collect();
            news == [&said("one"), &said("two")]
        });
    }
}

#[test]
fn without_redis_each_node_goes_on_and_afterwards_all_agree() {
    let mut redis = Redis::start(free_port());
    let nodes = Node::several(&redis, 3);
    let mut ann = nodes[0].caller(1);
    let bob = nodes[1].caller(2);
    ann.connection.join_call(ROOM).unwrap();
    bob.connection.join_call(ROOM).unwrap();
    all_show(&nodes, "[1! 2!]");
    redis.kill();
    until("it is missed", || {
        nodes.iter().all(|node| !node.bus.is_connected())
    });

    ann.all();
    let carl = nodes[0].caller(3);
    carl.connection.join_call(ROOM).unwrap();
    assert_eq!(ann.all(), ["[1! 2! 3?]", "+3", "[1! 2! 3!]"]);
    drop(bob);
    let dave = nodes[1].caller(4);
    dave.connection.join_call(ROOM).unwrap();
    // Longer than what anything waits for, and than a node would need to be taken for dead.
    std::thread::sleep(Duration::from_secs(7));
    assert_eq!(nodes[2].shows(), "[1! 2!]", "nobody is taken for dead");
    let eve = nodes[1].caller(5);
    redis.start_again();
    all_show(&nodes, "[1! 3! 4! 5?]");
    assert!(ann.all().contains(&"-2".to_owned()));
    know_each_other(&nodes);
    assert!(nodes[2].hub.has_connections(4) && !nodes[2].hub.has_connections(2));
    // And nothing is told twice.
    drop(eve);
    all_show(&nodes, "[1! 3! 4!]");
    std::thread::sleep(Duration::from_millis(1500));
    ann.all();
    std::thread::sleep(Duration::from_millis(1500));
    assert!(ann.all().is_empty());
}

#[test]
fn what_others_have_added_to_the_stream_is_passed_over() {
    let redis = Redis::start(free_port());
    let client = redis::Client::open(redis.url()).unwrap();
    let mut connection = client.get_connection().unwrap();
    let nodes = Node::several(&redis, 2);
    let keys: Vec<String> = redis::cmd("KEYS").arg("*").query(&mut connection).unwrap();
    let mut add = |fields: &[&str]| {
        let mut adding = redis::cmd("XADD");
        adding.arg(&keys[0]).arg("*").arg(fields);
        adding.exec(&mut connection).unwrap();
    };
    add(&["a", "1", "b", "2"]);
    add(&["a", "1"]);
    add(&["b", "nonsense"]);
    let ann = nodes[0].caller(1);
    all_show(&nodes, "[1?]");
    // As well where it is the last that a node finds.
    drop(nodes);
    add(&["a", "1", "b", "2"]);
    drop(ann);
    Node::several(&redis, 2);
}

#[test]
fn who_has_left_the_call_is_signalled_no_more() {
    let redis = Redis::start(free_port());
    let nodes = Node::several(&redis, 1);
    let runtime = nodes[0].runtime.as_ref().unwrap();
    let entered = runtime.enter();
    let late = RedisBus::new(&redis.url(), "test", 9).unwrap();
    late.attach(Box::new(|_| {}));
    drop(entered);
    until("it is known", || nodes[0].others() == 1);
    let mut ann = nodes[0].caller(1);
    let offer = |text: &str| {
        let frame = plain(ROOM, text.to_owned()).into();
        late.publish(Message::ToConnection {
            node: 1,
            room: ROOM,
            connection: 1,
            frame,
        });
    };
    offer("offer");
    ann.up_to("offer");
    ann.connection.leave_call(ROOM);
    ann.all();
    offer("late");
    late.publish(Message::News(bytes::Bytes::from_static(b"said")));
    until("it was heard", || !nodes[0].news.lock().unwrap().is_empty());
    assert!(ann.all().is_empty());
}

/// A small generator, so that a seed is all that a failure needs (xorshift64*).
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let drawn = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(drawn).unwrap() % end
    }
}

/// Comings and goings at three nodes, in any mix, with Redis killed or forgetful and nodes killed and replaced meanwhile: once it is
/// quiet all nodes show the same, and what the devices show whose nodes live.
#[test]
fn all_nodes_agree_after_any_mix() {
    for seed in 1..=6 {
        agree(seed);
    }
}

fn agree(seed: u64) {
    let mut random = Random(seed);
    let mut redis = Redis::start(free_port());
    let mut nodes = Node::several(&redis, 3);
    let mut next_node = 4;
    let mut devices: Vec<(NodeId, UserId, Heard)> = Vec::new();
    for step in 0..300 {
        let at = random.below(nodes.len());
        match random.below(100) {
            0..30 if devices.len() < 20 => {
                let user = 1 + UserId::try_from(random.below(5)).unwrap();
                let scope = Scope::Call(1 + RoomId::try_from(random.below(2)).unwrap());
                let device = nodes[at].connect(user, scope);
                let room = scope.room().unwrap();
                device.connection.open_call(room).unwrap();
                devices.push((nodes[at].hub.node(), user, device));
            }
            0..65 if !devices.is_empty() => {
                let (_, _, device) = &devices[random.below(devices.len())];
                let room = device.connection.scope().and_then(Scope::room).unwrap();
                device.connection.join_call(room).unwrap();
            }
            0..75 if !devices.is_empty() => {
                let (_, _, device) = &devices[random.below(devices.len())];
                let room = device.connection.scope().and_then(Scope::room).unwrap();
                device.connection.leave_call(room);
            }
            0..90 if !devices.is_empty() => {
                devices.remove(random.below(devices.len()));
            }
            90 => {
                redis.kill();
                redis.start_again();
            }
            93..97 => forget(&redis),
            91 => {
                let user = 1 + UserId::try_from(random.below(5)).unwrap();
                for node in &nodes {
                    node.hub.left(1, user);
                }
                devices.retain(|(_, of, device)| {
                    *of != user || device.connection.scope() != Some(Scope::Call(1))
                });
            }
            92 if step % 2 == 0 => {
                nodes[at].kill();
                let killed = nodes[at].hub.node();
                devices.retain(|(node, _, _)| *node != killed);
                nodes[at] = Node::start(&redis, next_node);
                next_node += 1;
            }
            _ => std::thread::sleep(Duration::from_millis(
                u64::try_from(random.below(20)).unwrap(),
            )),
        }
    }
    // Of each user in each room what his devices are: in the call, or but there.
    let states = |node: &Node| {
        let of_room = |room| {
            let state = node.hub.call_state(room);
            let members = state.members.iter();
            members
                .map(|member| (member.user_id, member.state))
                .collect()
        };
        [of_room(1), of_room(2)]
    };
    let last = |nodes: &[Node]| -> Vec<[Vec<(UserId, MemberState)>; 2]> {
        nodes.iter().map(states).collect()
    };
    let begun = Instant::now();
    loop {
        let all = last(&nodes);
        let counts = nodes.iter().map(|node| node.hub.call_counts());
        let counts = counts.fold((0, 0), |sum, more| (sum.0 + more.0, sum.1 + more.1));
        let shown = all[0].iter().map(|members| {
            let active = members
                .iter()
                .filter(|(_, state)| *state == MemberState::Active);
            active.count()
        });
        let shown: Vec<usize> = shown.collect();
        let calls = shown.iter().filter(|count| **count > 0).count();
        let same = all.iter().all(|other| *other == all[0]);
        // Nobody is shown who has no device, nor in a call with two.
        if same && counts == (calls, shown.iter().sum()) {
            break;
        }
        assert!(
            begun.elapsed() < Duration::from_secs(30),
            "seed {seed}: {all:?}, {counts:?}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    let mut there: BTreeMap<UserId, usize> = BTreeMap::new();
    for (_, user, _) in &devices {
        *there.entry(*user).or_default() += 1;
    }
    for user in 1..=5 {
        for node in &nodes {
            until("they agree on who is there", || {
                node.hub.has_connections(user) == there.contains_key(&user)
            });
        }
    }
    drop(devices);
    for node in &nodes {
        until("all have gone", || {
            [1, 2]
                .iter()
                .all(|room| node.hub.call_state(*room).members.is_empty())
        });
    }
}
