//! Bans of whoever tries too often what he has no right to: who is banned, who is not though he is at the same place, and how
//! a ban is seen and lifted.

use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};

use moznods_turn::wire::integrity::Key;
use moznods_turn::wire::{Builder, Class, Message, Method as Stun, attr};
use reqwest::Method;
use serde_json::{Value, json};

use crate::relay::{Credential, Relay};
use crate::relay_admin::{admin, printed};
use crate::support::{PASSWORD, SOON, Server, User, answer, eventually, keys, text};

const BANS: &str = "/api/admin/bans/";
const PROXY: &str = "--http-trusted-proxies=127.0.0.0/8";
const ATTACKER: &str = "198.51.100.1";

async fn log_in(server: &Server, name: &str, password: &str, from: &str) -> (u16, Value) {
    let body = json!({"username": name, "password": password});
    let request = server.request(Method::POST, "/api/auth/login/");
    answer(request.header("X-Forwarded-For", from).json(&body)).await
}

async fn metric(server: &Server, name: &str) -> u64 {
    let figures = server.request(Method::GET, "/metrics").send().await;
    let figures = figures.unwrap().text().await.unwrap();
    let found = figures.lines().find_map(|line| line.strip_prefix(name));
    let value = found.unwrap_or_else(|| panic!("no {name} in {figures}"));
    value.trim().parse().unwrap()
}

#[tokio::test]
async fn who_goes_on_guessing_is_banned_and_who_has_been_there_is_not() {
    let server = Server::start(&[
        "--limits-enabled=true",
        "--limits-sign-in-per-minute=50",
        "--limits-ban-after=5",
        PROXY,
    ]);
    let root = admin(&server).await;
    server.user("ann").await;
    server.user("bob").await;
    // Bob is at home where the attacker is, behind the same address.
    let (status, bob) = log_in(&server, "bob", PASSWORD, ATTACKER).await;
    assert_eq!(status, 200, "{bob}");
    let bob = server.signed_in(&bob);
    assert_eq!(root.get(BANS).await, (200, json!([])));
    assert_eq!(printed(&server, &["ban", "list"]), "");

    for n in 0..6 {
        let (status, _) = log_in(&server, &format!("guess{n}"), "guess", ATTACKER).await;
        assert_eq!(status, 401, "{n}");
    }
    let (status, refused) = log_in(&server, "ann", PASSWORD, ATTACKER).await;
    assert_eq!((status, &refused["code"]), (429, &json!("rate_limited")));
    let detail = refused["detail"].as_str().unwrap();
    assert!(
        detail.contains("15 min") && detail.contains("administrator"),
        "{detail}"
    );
    let body = json!({"username": "ann", "password": PASSWORD});
    let request = server.request(Method::POST, "/api/auth/login/").json(&body);
    let request = request.header("X-Forwarded-For", ATTACKER);
    let russian = request
        .header("Accept-Language", "ru")
        .send()
        .await
        .unwrap();
    let wait = russian.headers()["retry-after"].to_str().unwrap();
    assert!(
        (800..=900).contains(&wait.parse::<u64>().unwrap()),
        "{wait}"
    );
    let russian: Value = russian.json().await.unwrap();
    assert!(
        russian["detail"].as_str().unwrap().contains("15 мин"),
        "{russian}"
    );

    // Who is signed in there goes on, and may sign in again; and so may all others elsewhere.
    let there = bob
        .request(Method::GET, "/api/auth/me/")
        .header("X-Forwarded-For", ATTACKER);
    assert_eq!(answer(there).await.0, 200);
    assert_eq!(log_in(&server, "bob", PASSWORD, ATTACKER).await.0, 200);
    assert_eq!(
        log_in(&server, "ann", PASSWORD, "198.51.100.2").await.0,
        200
    );

    // It is seen, and lifted, by administrators alone.
    let (status, all) = root.get(BANS).await;
    assert_eq!((status, all.as_array().unwrap().len()), (200, 1), "{all}");
    let ban = &all[0];
    let fields = [
        "account", "address", "id", "since", "times", "until", "what",
    ];
    assert_eq!(keys(ban), fields);
    assert_eq!(
        (
            &ban["address"],
            &ban["account"],
            &ban["what"],
            &ban["times"]
        ),
        (&json!(ATTACKER), &Value::Null, &json!("sign_in"), &json!(1))
    );
    assert!(ban["since"].as_str() < ban["until"].as_str());
    let line = printed(&server, &["ban", "list"]);
    assert!(
        line.contains("sign_in") && line.contains(ATTACKER),
        "{line}"
    );
    let json: Value = serde_json::from_str(&printed(&server, &["ban", "list", "--json"])).unwrap();
    assert_eq!(json, all);
    assert_eq!(
        metric(&server, "moznods_bans_in_force{what=\"sign_in\"}").await,
        1
    );
    assert_eq!(
        metric(
            &server,
            "moznods_bans_total{what=\"sign_in\",of=\"address\"}"
        )
        .await,
        1
    );
    let banned = "moznods_attempts_refused_total{what=\"sign_in\",why=\"banned\"}";
    assert_eq!(metric(&server, banned).await, 2);
    let path = format!("{BANS}{}/", ban["id"]);
    assert_eq!(bob.get(BANS).await.0, 403);
    assert_eq!(answer(bob.request(Method::DELETE, &path)).await.0, 403);
    assert_eq!(answer(server.request(Method::GET, BANS)).await.0, 401);

    let id = ban["id"].to_string();
    assert_eq!(
        printed(&server, &["ban", "lift", &id]),
        format!("Lifted ban {id}.\n")
    );
    let again = server.command(&["ban", "lift", &id], "");
    assert_eq!(again.status.code(), Some(1));
    assert!(text(&again.stderr).contains("`moznods ban list` shows those in force"));
    assert_eq!(log_in(&server, "ann", PASSWORD, ATTACKER).await.0, 200);
    let audit: Value = serde_json::from_str(&printed(&server, &["audit", "--json"])).unwrap();
    assert_eq!(
        (
            &audit[0]["action"],
            &audit[0]["target"],
            &audit[0]["actor"]["kind"]
        ),
        (
            &json!("ban.lift"),
            &json!({"kind": "ban", "id": null, "name": ATTACKER}),
            &json!("command_line")
        )
    );

    // An account is banned by what comes from everywhere, but for where its user has been.
    for n in 0..11 {
        let from = format!("203.0.113.{n}");
        assert_eq!(log_in(&server, "bob", "guess", &from).await.0, 401, "{n}");
    }
    assert_eq!(
        log_in(&server, "bob", PASSWORD, "203.0.113.99").await.0,
        429
    );
    assert_eq!(log_in(&server, "bob", PASSWORD, ATTACKER).await.0, 200);
    let (_, all) = root.get(BANS).await;
    let account = json!({"kind": "user", "id": bob.id, "name": "bob"});
    assert_eq!(
        (&all[0]["account"], &all[0]["address"]),
        (&account, &Value::Null)
    );
    assert!(printed(&server, &["ban", "list"]).contains("  bob  "));
    let path = format!("{BANS}{}/", all[0]["id"]);
    assert_eq!(answer(root.request(Method::DELETE, &path)).await.0, 204);
    assert_eq!(answer(root.request(Method::DELETE, &path)).await.0, 404);
    assert_eq!(
        log_in(&server, "bob", PASSWORD, "203.0.113.99").await.0,
        200
    );
}

#[tokio::test]
async fn a_proxy_is_not_banned_for_what_others_do_behind_it() {
    let server = Server::start(&[
        "--limits-enabled=true",
        "--limits-sign-in-per-minute=50",
        "--limits-ban-after=5",
        "--http-trusted-proxies=127.0.0.0/8,203.0.113.7",
    ]);
    let guess = async |from: &str| {
        for n in 0..6 {
            let (status, _) = log_in(&server, &format!("guess{n}"), "guess", from).await;
            assert_eq!(status, 401, "{from}: {n}");
        }
        printed(&server, &["ban", "list"])
    };
    for from in ["unknown, 203.0.113.7", "unknown", ""] {
        assert_eq!(guess(from).await, "", "{from}");
    }
    // Some proxies write down ports.
    for (from, host) in [
        ("198.51.100.7:50000, 203.0.113.7:443", "198.51.100.7"),
        ("[2001:db8::1]:50000", "2001:db8::/64"),
        ("[2001:db8:1::1]", "2001:db8:1::/64"),
    ] {
        let bans = guess(from).await;
        assert!(bans.contains(host), "{from}: {bans}");
    }
}

#[tokio::test]
async fn wrong_codes_and_floods_of_registrations_end_in_a_ban() {
    let server = Server::start(&[
        "--limits-enabled=true",
        "--limits-ban-after=4",
        "--limits-registrations-per-hour=8",
        "--accounts-registration=code",
        PROXY,
    ]);
    let mut names = 0;
    let mut register = async |from: &str| {
        names += 1;
        let name = format!("user{names}");
        let mail = format!("{name}@example.org");
        let body =
            json!({"username": name, "email": mail, "password": PASSWORD, "invite_code": "guess"});
        let request = server.request(Method::POST, "/api/auth/register/");
        answer(request.header("X-Forwarded-For", from).json(&body)).await
    };
    for _ in 0..5 {
        let (status, wrong) = register(ATTACKER).await;
        assert_eq!(status, 400, "{wrong}");
        assert!(wrong["invite_code"].is_array());
    }
    let (status, refused) = register(ATTACKER).await;
    assert_eq!(status, 429, "{refused}");
    assert!(
        refused["detail"].as_str().unwrap().contains("15 min"),
        "{refused}"
    );
    // Of what else there is to be asked for there nothing is refused.
    assert_eq!(log_in(&server, "nobody", "guess", ATTACKER).await.0, 401);
    assert_eq!(register("198.51.100.2").await.0, 400);
    let line = printed(&server, &["ban", "list"]);
    assert!(
        line.contains("registration") && line.contains(ATTACKER),
        "{line}"
    );
}

enum Way {
    Datagrams(UdpSocket),
    Stream(TcpStream),
}

impl Way {
    fn send(&mut self, message: &[u8]) {
        match self {
            Way::Datagrams(socket) => assert_eq!(socket.send(message).unwrap(), message.len()),
            Way::Stream(stream) => stream.write_all(message).unwrap(),
        }
    }

    fn receive(&mut self) -> Vec<u8> {
        match self {
            Way::Datagrams(socket) => {
                let mut buffer = vec![0; 2048];
                let length = socket.recv(&mut buffer).expect("an answer");
                buffer.truncate(length);
                buffer
            }
            Way::Stream(stream) => {
                let mut message = vec![0; 20];
                stream.read_exact(&mut message).expect("an answer");
                let length = u16::from_be_bytes([message[2], message[3]]);
                message.resize(20 + usize::from(length), 0);
                stream.read_exact(&mut message[20..]).unwrap();
                message
            }
        }
    }
}

/// A client of the relay that shows what it is told to.
pub struct Raw {
    way: Way,
    realm: String,
    nonce: Vec<u8>,
    asked: u8,
}

impl Raw {
    /// With a nonce of its own.
    pub fn open(relay: &Relay) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(("127.0.0.1", relay.port)).unwrap();
        socket.set_read_timeout(Some(SOON)).unwrap();
        Self::over(Way::Datagrams(socket))
    }

    /// As one of this address, by a balancer that the relay believes.
    fn open_from(relay: &Relay, address: &str) -> Self {
        let mut stream = TcpStream::connect(("127.0.0.1", relay.port)).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        let port = stream.local_addr().unwrap().port();
        write!(stream, "PROXY TCP4 {address} 192.0.2.1 {port} 3478\r\n").unwrap();
        Self::over(Way::Stream(stream))
    }

    fn over(way: Way) -> Self {
        let mut raw = Raw {
            way,
            realm: String::new(),
            nonce: Vec::new(),
            asked: 0,
        };
        assert_eq!(raw.allocate(None), Some(401));
        raw
    }

    /// Code of the answer, 0 for success; `None`: there is none.
    pub fn allocate(&mut self, credential: Option<&Credential>) -> Option<u16> {
        self.ask(Stun::Allocate, credential)
    }

    fn ask(&mut self, method: Stun, credential: Option<&Credential>) -> Option<u16> {
        let id = self.id();
        let mut request = Vec::new();
        let mut message = Builder::new(&mut request, method, Class::Request, id);
        message.attribute(attr::REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
        if let Some(Credential { username, password }) = credential {
            message.text(attr::USERNAME, username);
            message.text(attr::REALM, &self.realm);
            message.attribute(attr::NONCE, &self.nonce);
            message.integrity(&Key::long_term(username, &self.realm, password));
        }
        self.way.send(&request);
        // What comes behind it is answered after it.
        let fence = self.id();
        let mut request = Vec::new();
        Builder::new(&mut request, Stun::Binding, Class::Request, fence);
        self.way.send(&request);
        let mut code = None;
        loop {
            let answer = self.way.receive();
            let message = Message::parse(&answer).unwrap();
            if message.transaction_id() == fence {
                return code;
            }
            if let (Some(realm), Some(nonce)) = (message.get(attr::REALM), message.get(attr::NONCE))
            {
                self.realm = text(realm);
                self.nonce = nonce.to_vec();
            }
            code = Some(match message.get(attr::ERROR_CODE) {
                Some(value) => u16::from(value[2]) * 100 + u16::from(value[3]),
                None => 0,
            });
        }
    }

    fn id(&mut self) -> [u8; 12] {
        self.asked += 1;
        [self.asked; 12]
    }
}

pub fn credential(username: &str, password: &str) -> Credential {
    Credential {
        username: username.to_owned(),
        password: password.to_owned(),
    }
}

/// A device's account, known to the relay at once, as it would not be of a command: asking whether it is would be guessing.
async fn add_device(root: &User<'_>, name: &str) -> Credential {
    let made = json!({"name": name, "password": "a password of it"});
    assert_eq!(root.post("/api/admin/relay/devices/", made).await.0, 201);
    credential(name, "a password of it")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ban_at_the_relay_is_of_guesses_and_calls_go_on() {
    let relay = Relay::start(&[
        "--limits-enabled=true",
        "--limits-ban-after=8",
        "--turn-proxy-protocol=127.0.0.1",
    ]);
    let server = &relay.server;
    let ann = server.user("ann").await;
    let anns = relay.credential(&ann).await;
    let there = || Raw::open_from(&relay, ATTACKER);
    let root = admin(server).await;
    let (door, gate) = (
        add_device(&root, "door").await,
        add_device(&root, "gate").await,
    );
    assert_eq!(there().allocate(Some(&door)), Some(0));
    let mut running = there();
    assert_eq!(running.allocate(Some(&anns)), Some(0));

    // What has proven no address counts against none, as it may come from anywhere: such as with another's nonce.
    let mut forged = there();
    forged.nonce.clone_from(&running.nonce);
    for n in 0..30 {
        let nonce = running.nonce.clone();
        let guess = credential(&format!("guess{n}"), "guess");
        assert_eq!(forged.allocate(Some(&guess)), Some(438), "{n}");
        forged.nonce = nonce;
    }
    assert_eq!(printed(server, &["ban", "list"]), "");

    // Nor against this machine, which may ask for everybody.
    let mut front = Raw::open(&relay);
    for n in 0..9 {
        let guess = credential(&format!("guess{n}"), "guess");
        assert_eq!(front.allocate(Some(&guess)), Some(401), "{n}");
    }
    assert_eq!(printed(server, &["ban", "list"]), "");

    let mut raw = there();
    for n in 0..9 {
        let guess = credential(&format!("guess{n}"), "guess");
        assert_eq!(raw.allocate(Some(&guess)), Some(401), "{n}");
    }
    let line = printed(server, &["ban", "list"]);
    assert!(line.contains("turn") && line.contains(ATTACKER), "{line}");
    // Who guesses hears nothing any more, nor does a device that has never been here, though it is right.
    assert_eq!(raw.allocate(Some(&credential("guess", "guess"))), None);
    assert_eq!(raw.allocate(Some(&gate)), None);
    // What cannot be guessed is taken, and so is a device that has been here before. What runs goes on.
    assert_eq!(there().allocate(Some(&anns)), Some(0));
    assert_eq!(there().allocate(Some(&door)), Some(0));
    assert_eq!(running.ask(Stun::Refresh, Some(&anns)), Some(0));
    // To have something that runs is no way to guess on.
    assert_eq!(
        running.ask(Stun::Refresh, Some(&credential("guess", "guess"))),
        None
    );
    let dropped = "moznods_turn_dropped_total{reason=\"banned\"}";
    assert_eq!(relay.metric(dropped).await, 3.0);

    let id = line.split_whitespace().next().unwrap();
    printed(server, &["ban", "lift", id]);
    assert_eq!(raw.allocate(Some(&gate)), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_stranger_keeps_a_device_out() {
    let relay = Relay::start(&[
        "--limits-enabled=true",
        "--limits-ban-after=3",
        "--turn-proxy-protocol=127.0.0.1",
    ]);
    let door = add_device(&admin(&relay.server).await, "door").await;
    let guess = credential("door", "guess");
    for n in 0..20 {
        let from = format!("203.0.113.{n}");
        let told = Raw::open_from(&relay, &from).allocate(Some(&guess));
        assert_eq!(told, Some(401), "{n}");
    }
    let home = "198.51.100.2";
    assert_eq!(Raw::open_from(&relay, home).allocate(Some(&door)), Some(0));
    assert_eq!(printed(&relay.server, &["ban", "list"]), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_guesses_the_password_of_a_device_has_to_wait_for_longer_and_longer() {
    let relay = Relay::start(&["--limits-enabled=true"]);
    add_device(&admin(&relay.server).await, "door").await;
    // The same is true of a name that nobody has.
    for name in ["door", "nobody"] {
        let mut raw = Raw::open(&relay);
        for n in 0..6 {
            assert_eq!(
                raw.allocate(Some(&credential(name, "guess"))),
                Some(401),
                "{n}"
            );
        }
        assert_eq!(
            raw.allocate(Some(&credential(name, "a password of it"))),
            None,
            "{name}"
        );
    }
    let looked_at =
        || async { Raw::open(&relay).allocate(Some(&credential("door", "guess"))) == Some(401) };
    eventually("another one is looked at", looked_at).await;
    assert_eq!(
        Raw::open(&relay).allocate(Some(&credential("door", "a password of it"))),
        None
    );
}
