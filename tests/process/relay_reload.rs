//! What an administrator changes while the relay runs, and quotas that end calls.

use std::net::UdpSocket;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use webrtc_util::Conn;

use crate::relay::{Relay, hears};
use crate::relay_admin::printed;
use crate::support::{SOON, Server, eventually, text};

/// A settings file that changes.
pub struct Settings {
    _directory: TempDir,
    path: PathBuf,
    section: &'static str,
}

impl Settings {
    pub fn new(turn: &str) -> Self {
        Self::of("turn", turn)
    }

    /// Those of one section.
    pub fn of(section: &'static str, text: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("settings.toml");
        let settings = Settings {
            _directory: directory,
            path,
            section,
        };
        settings.write(text);
        settings
    }

    pub fn write(&self, text: &str) {
        let section = self.section;
        std::fs::write(&self.path, format!("[{section}]\n{text}\n")).unwrap();
    }

    pub fn flag(&self) -> String {
        format!("--config={}", Path::display(&self.path))
    }

    /// Has the server read what stands there now; the line of its log that holds `said`.
    pub async fn reload(&self, server: &Server, text: &str, said: &str) -> String {
        let count = || server.log().matches(said).count();
        let before = count();
        self.write(text);
        server.signal("HUP");
        eventually(said, || async { count() > before }).await;
        let log = server.log();
        log.lines()
            .rfind(|line| line.contains(said))
            .unwrap()
            .to_owned()
    }
}

pub const READ: &str = "the settings have been read again";

#[tokio::test(flavor = "multi_thread")]
async fn networks_and_quotas_are_read_again_and_calls_go_on() {
    let settings = Settings::new("");
    let relay = Relay::start(&["--turn-workers=2", &settings.flag()]);
    let server = &relay.server;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let anns = relay.credential(&ann).await;
    let (_ann, ann_end) = relay.webrtc_rs(&anns).await.unwrap();
    let (_bob, bob_end) = relay
        .webrtc_rs(&relay.credential(&bob).await)
        .await
        .unwrap();
    let (of_ann, of_bob) = (ann_end.local_addr().unwrap(), bob_end.local_addr().unwrap());
    ann_end.send_to(b"may be lost", of_bob).await.unwrap();
    let call_goes_on = async |word: &[u8]| {
        bob_end.send_to(word, of_ann).await.unwrap();
        hears(&ann_end, word).await;
    };
    call_goes_on(b"before").await;

    let peer = UdpSocket::bind("127.0.0.2:0").unwrap();
    peer.set_read_timeout(Some(SOON)).unwrap();
    let at = peer.local_addr().unwrap();
    assert!(
        ann_end.send_to(b"no", at).await.is_err(),
        "not public, not allowed"
    );
    settings
        .reload(server, "allow_peers = \"127.0.0.2\"", READ)
        .await;
    let sent = || async { ann_end.send_to(b"hello", at).await.is_ok() };
    eventually("the peer is allowed", sent).await;
    let mut buffer = [0; 100];
    let (count, from) = peer.recv_from(&mut buffer).unwrap();
    assert_eq!((&buffer[..count], from), (&b"hello"[..], of_ann));
    call_goes_on(b"with new networks").await;

    settings
        .reload(server, "max_allocations_per_user = 1", READ)
        .await;
    let refused = || async {
        let more = relay.webrtc_rs(&anns).await;
        more.is_err_and(|error| error.to_string().contains("486"))
    };
    eventually("no second one", refused).await;
    let last = peer.try_clone().unwrap();
    last.set_nonblocking(true).unwrap();
    while last.recv(&mut buffer).is_ok() {}
    // Nothing but what was asked for before stands in the relay's way: the permission has gone with the network.
    let _ = ann_end.send_to(b"no", at).await;
    call_goes_on(b"with fewer").await;
    assert!(last.recv(&mut buffer).is_err(), "the peer hears no more");

    let bad = "allow_peers = \"127.0.0.2\"\nmax_allocations_per_user = \"many\"";
    let line = settings
        .reload(server, bad, "the settings stay as they were")
        .await;
    let expected = "turn.max_allocations_per_user = \"many\" (";
    assert!(line.contains("ERROR") && line.contains(expected), "{line}");
    assert!(line.contains("expected a whole number"), "{line}");
    assert!(relay.webrtc_rs(&anns).await.is_err(), "still no second one");
    assert!(ann_end.send_to(b"no", at).await.is_err() || last.recv(&mut buffer).is_err());

    let fixed = "realm = \"other\"\nworkers = 1\nmax_allocations_per_user = 2";
    let line = settings.reload(server, fixed, "at the next start").await;
    // The flag of the second one is stronger than the file.
    assert!(
        line.contains("WARN") && line.contains("turn.realm"),
        "{line}"
    );
    assert!(
        !line.contains("turn.workers") && !line.contains("max_allocations"),
        "{line}"
    );
    let second = || async { relay.webrtc_rs(&anns).await.is_ok() };
    eventually("what can change has changed", second).await;
    call_goes_on(b"after all").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_had_his_bytes_of_the_month_is_cut_off_until_he_may_have_more() {
    let settings = Settings::new("max_bytes_per_month_per_user = 20000");
    let mut relay = Relay::start(&[&settings.flag()]);
    let (anns, bobs) = {
        let (ann, bob) = (
            relay.server.user("ann").await,
            relay.server.user("bob").await,
        );
        (relay.credential(&ann).await, relay.credential(&bob).await)
    };
    let (_ann, ann_end) = relay.webrtc_rs(&anns).await.unwrap();
    let (_bob, bob_end) = relay.webrtc_rs(&bobs).await.unwrap();
    let of_bob = bob_end.local_addr().unwrap();
    // He permits nobody: what she sends counts for her alone.
    for _ in 0..25 {
        ann_end.send_to(&[0; 1000], of_bob).await.unwrap();
    }
    eventually("ann's call ends", || async { relay.live().await == 1.0 }).await;
    let ended = "moznods_turn_allocations_ended_total{reason=\"over_quota\"}";
    assert_eq!(relay.metric(ended).await, 1.0);
    let refused = async |relay: &Relay| {
        let error = relay.webrtc_rs(&anns).await.err().expect("no new one");
        assert!(error.to_string().contains("486"), "{error}");
    };
    refused(&relay).await;
    relay.webrtc_rs(&bobs).await.expect("one for bob");

    // It is asked for, and so it is written.
    assert!(printed(&relay.server, &["turn", "usage"]).starts_with("ann  25000 bytes to peers"));
    relay.server.crash_and_restart();
    refused(&relay).await;
    settings
        .reload(&relay.server, "max_bytes_per_month_per_user = 30000", READ)
        .await;
    relay.webrtc_rs(&anns).await.expect("more for ann");
    settings
        .reload(&relay.server, "max_bytes_per_month_per_user = 25000", READ)
        .await;
    eventually("the smaller limit holds for what runs", || async {
        relay.live().await == 0.0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_of_another_program_has_its_own_bytes_of_the_month() {
    let relay = Relay::start(&[]);
    let add = [
        "turn",
        "secret",
        "add",
        "matrix",
        "--max-bytes-per-month",
        "10000",
    ];
    let secret = printed(&relay.server, &add);
    let secret = secret.split_whitespace().last().unwrap();
    assert_eq!(
        printed(&relay.server, &["turn", "secret", "list"]),
        "matrix\tat most 10000 bytes a month\n"
    );
    let calls = |user: &str| {
        let modes = [
            "-W", secret, "-u", user, "-y", "-c", "-n", "50", "-l", "200",
        ];
        let output = relay.coturn("turnutils_uclient", &modes);
        text(&output.stdout) + &text(&output.stderr)
    };
    let refused = || async { calls("eve").contains("486 (Allocation Quota Reached)") };
    eventually("all of its users are refused", refused).await;
    eventually("what they had has ended", || async {
        relay.live().await == 0.0
    })
    .await;
    let ann = relay.server.user("ann").await;
    let credential = relay.credential(&ann).await;
    relay
        .webrtc_rs(&credential)
        .await
        .expect("ann is no user of it");
}
