//! PostgreSQL: the suite that every store must pass, and what is true of several nodes on one database.

mod suite;
#[path = "support/postgres.rs"]
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use moznods_storage::{
    AdminGrant, BlobError, BlobHash, Blobs, DatabaseBlobs, Event, EventId, MigrateError, Migration,
    Missing, NewMessage, NewUser, PostgresUrl, SqlStore, StorageError, Store, TableCopy, UserKey,
    Variant,
};
use suite::{LIMITS, new_room, new_user, user};
use support::Postgres;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

const SOON: Duration = Duration::from_secs(30);

/// One for all tests; what ends and starts it again has its own.
static SERVER: LazyLock<Postgres> = LazyLock::new(|| Postgres::start(free_port()));

fn free_port() -> u16 {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    socket.local_addr().unwrap().port()
}

fn node(url: &str) -> Arc<dyn Store> {
    let url: PostgresUrl = url.parse().unwrap();
    Arc::new(SqlStore::connect_to_serve(&url).unwrap())
}

fn store() -> ((), Arc<dyn Store>) {
    ((), node(&SERVER.database()))
}

suite::tests!(crate::store);

/// What a node's listener is told, until there are `count` of it.
async fn told(events: &mut mpsc::Receiver<Event>, count: usize) -> Vec<EventId> {
    let mut ids = Vec::new();
    while ids.len() < count {
        let event = timeout(SOON, events.recv()).await.expect("an event");
        ids.push(event.unwrap().id);
    }
    ids
}

async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(began.elapsed() < SOON, "{what}");
        sleep(Duration::from_millis(20)).await;
    }
}

fn message(room: i64, author: i64, content: &str, client_id: &str) -> NewMessage {
    NewMessage {
        room,
        author,
        content: content.to_owned(),
        now: 20,
        client_id: Some(client_id.to_owned()),
        ..NewMessage::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_node_writes_the_others_hear_of_and_oneself_not() {
    let url = SERVER.database();
    let (one, two) = (node(&url), node(&url));
    let (mut events, mut access) = (two.changed_elsewhere(), two.access_changed_elsewhere());
    let own = one.changed_elsewhere();
    let ann = user(&one, "ann").await;
    timeout(SOON, access.changed())
        .await
        .expect("a new user")
        .unwrap();
    let room = one
        .create_room(new_room(ann.id, "room"), LIMITS)
        .await
        .unwrap();
    timeout(SOON, events.changed())
        .await
        .expect("a new room")
        .unwrap();
    assert_eq!(two.room(room).await.unwrap().unwrap().name, "room");
    // What says nothing of access is no news of it.
    access.mark_unchanged();
    one.add_message(message(room, ann.id, "hello", "1"))
        .await
        .unwrap();
    until("the message", async || {
        timeout(SOON, events.changed())
            .await
            .expect("news")
            .unwrap();
        let last = two.last_event().await.unwrap();
        (two.events_after(last - 1, 1).await.unwrap()[0].subject == 1).then_some(())
    })
    .await;
    assert!(!access.has_changed().unwrap() && !own.has_changed().unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ids_of_events_have_no_gaps_whoever_writes_and_whatever_fails() {
    let url = SERVER.database();
    let nodes = [node(&url), node(&url), node(&url)];
    let ann = user(&nodes[0], "ann").await;
    let room = nodes[0]
        .create_room(new_room(ann.id, "room"), LIMITS)
        .await
        .unwrap();
    let before = nodes[0].last_event().await.unwrap();
    let mut listeners = Vec::new();
    let mut work = Vec::new();
    for (n, node) in nodes.iter().enumerate() {
        let (sender, listener) = mpsc::channel(1000);
        node.tell_events(sender);
        listeners.push(listener);
        for i in 0..60 {
            let node = Arc::clone(node);
            work.push(tokio::spawn(async move {
                let mut new = message(room, ann.id, "hello", &format!("{n}-{i}"));
                // It is undone after it has made an event or two.
                new.attachments = if i % 3 == 0 { vec![999] } else { Vec::new() };
                node.add_message(new).await.is_ok()
            }));
        }
    }
    let mut done = 0;
    for work in work {
        done += usize::from(work.await.unwrap());
    }
    assert_eq!(done, 120);
    let events = nodes[1].events_after(before, 1000).await.unwrap();
    let ids: Vec<EventId> = events.iter().map(|event| event.id).collect();
    assert_eq!(ids, (before + 1..=before + 120).collect::<Vec<_>>());
    let subjects: Vec<i64> = events.iter().map(|event| event.subject).collect();
    assert!(subjects.is_sorted(), "messages are in the order of events");
    let mut all = BTreeSet::new();
    for listener in &mut listeners {
        let own = told(listener, 40).await;
        assert!(own.is_sorted());
        all.extend(own);
    }
    assert_eq!(
        all.into_iter().collect::<Vec<_>>(),
        ids,
        "each was told by one"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_first_administrators_at_several_nodes_there_is_one() {
    let url = SERVER.database();
    let nodes = [node(&url), node(&url), node(&url)];
    let mut work = Vec::new();
    for i in 0..30 {
        let node = Arc::clone(&nodes[i % 3]);
        work.push(tokio::spawn(async move {
            let new = NewUser {
                admin: AdminGrant::First,
                ..new_user(&format!("user{i}"))
            };
            node.create_user(new).await
        }));
    }
    let mut made = 0;
    for work in work {
        match work.await.unwrap() {
            Ok(_) => made += 1,
            Err(error) => assert!(matches!(error, StorageError::AdminExists), "{error}"),
        }
    }
    assert_eq!(made, 1);
}

#[test]
fn several_nodes_may_start_at_once_on_an_empty_database() {
    let url = SERVER.database();
    std::thread::scope(|scope| {
        let starts: Vec<_> = (0..4).map(|_| scope.spawn(|| drop(node(&url)))).collect();
        for start in starts {
            start.join().unwrap();
        }
    });
}

#[test]
fn what_cannot_be_used_is_refused_with_a_reason_and_without_the_password() {
    let refused = |url: &str, missing| {
        let url: PostgresUrl = url.parse().unwrap();
        let error = SqlStore::connect(&url, missing).unwrap_err().to_string();
        assert!(!error.contains("geheim"), "{error}");
        error
    };
    let empty = SERVER.database();
    assert!(refused(&empty, Missing::Refuse).contains("no database"));
    let database = empty.rsplit('/').next().unwrap();
    SERVER.sql(database, "CREATE TABLE theirs (x INT)");
    assert!(refused(&empty, Missing::Create).contains("another program"));
    let newer = SERVER.database();
    drop(node(&newer));
    let database = newer.rsplit('/').next().unwrap();
    SERVER.sql(database, "UPDATE moznods_schema SET version = 999");
    assert!(refused(&newer, Missing::Create).contains("schema 999"));
    let nowhere = format!("postgres://ann:geheim@127.0.0.1:{}/chat", free_port());
    assert!(refused(&nowhere, Missing::Create).contains("refused"));
    assert!(refused(&SERVER.url("missing"), Missing::Create).contains("does not exist"));
    SERVER.sql(
        "postgres",
        "CREATE DATABASE latin ENCODING 'SQL_ASCII' TEMPLATE template0",
    );
    assert!(refused(&SERVER.url("latin"), Missing::Create).contains("UTF8"));
}

#[tokio::test]
async fn both_have_the_same_tables_and_columns() {
    let url = SERVER.database();
    drop(node(&url));
    let directory = tempfile::tempdir().unwrap();
    drop(SqlStore::open(directory.path(), Missing::Create).unwrap());
    let sqlite = rusqlite::Connection::open(directory.path().join("moznods.db")).unwrap();
    let of_sqlite =
        "SELECT t.name || '.' || c.name FROM sqlite_schema t, pragma_table_info(t.name) c
        WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite%' AND t.name NOT LIKE 'search_index%'";
    let mut statement = sqlite.prepare(of_sqlite).unwrap();
    let columns = statement.query_map([], |row| row.get(0)).unwrap();
    let ours: BTreeSet<String> = columns.map(Result::unwrap).collect();
    let of_postgres = "SELECT table_name || '.' || column_name FROM information_schema.columns
        WHERE table_schema = 'public' AND table_name NOT IN
            ('search_index', 'moznods_schema', 'blob_chunks', 'stored_blobs', 'moznods_migration')";
    let theirs = SERVER.sql(url.rsplit('/').next().unwrap(), of_postgres);
    let theirs: BTreeSet<String> = theirs.lines().map(str::to_owned).collect();
    assert_eq!(ours, theirs);
    let version: i64 = sqlite
        .query_row("PRAGMA user_version", [], |row| row.get(0))
        .unwrap();
    let known = SERVER.sql(
        url.rsplit('/').next().unwrap(),
        "SELECT version FROM moznods_schema",
    );
    assert_eq!(known, version.to_string());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_it_is_killed_what_was_answered_is_there_once_and_all_goes_on() {
    let server = Postgres::start(free_port());
    let url = server.database();
    let (one, two) = (node(&url), node(&url));
    let ann = user(&one, "ann").await;
    let room = one
        .create_room(new_room(ann.id, "room"), LIMITS)
        .await
        .unwrap();
    let mut elsewhere = two.changed_elsewhere();
    // As a client does: the same again until it is answered.
    let writing: Vec<_> = (0..6)
        .map(|n| {
            let node = Arc::clone(if n % 2 == 0 { &one } else { &two });
            tokio::spawn(async move {
                let mut answered = BTreeMap::new();
                let began = Instant::now();
                for i in 0..100 {
                    let new = message(room, ann.id, "hello", &format!("{n}-{i}"));
                    let sent = loop {
                        match node.add_message(new.clone()).await {
                            Ok(sent) => break sent.unwrap().into_message(),
                            Err(StorageError::Unavailable(_) | StorageError::NotCommitted(_)) => {}
                            Err(error) => panic!("{error}"),
                        }
                        assert!(began.elapsed() < SOON, "it does not come back");
                        sleep(Duration::from_millis(50)).await;
                    };
                    answered.insert(sent.id, new.client_id);
                    sleep(Duration::from_millis(10)).await;
                }
                answered
            })
        })
        .collect();
    sleep(Duration::from_millis(300)).await;
    server.stop("QUIT");
    // Refused at once, and clearly.
    let began = Instant::now();
    assert!(matches!(
        one.room(room).await,
        Err(StorageError::Unavailable(_))
    ));
    assert!(matches!(
        two.ready().await,
        Err(StorageError::Unavailable(_))
    ));
    assert!(began.elapsed() < Duration::from_secs(10));
    server.start_again();
    let mut answered = BTreeMap::new();
    for writing in writing {
        answered.extend(writing.await.unwrap());
    }
    assert_eq!(answered.len(), 600, "each has a number of its own");
    let found = server.sql(
        "chat0",
        "SELECT count(*), count(DISTINCT client_id) FROM messages",
    );
    assert_eq!(found, "600|600");
    let gaps = "SELECT count(*), max(id) - min(id) + 1 FROM events";
    let found = server.sql("chat0", gaps);
    let (count, span) = found.split_once('|').unwrap();
    assert_eq!(count, span, "events without gaps");
    until("it is ready again", async || two.ready().await.ok()).await;
    elsewhere.mark_unchanged();
    one.add_message(message(room, ann.id, "after", "after"))
        .await
        .unwrap();
    timeout(SOON, elsewhere.changed())
        .await
        .expect("it listens again")
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_stands_still_hangs_nobody_up() {
    let server = Postgres::start(free_port());
    let one = node(&server.database());
    let ann = user(&one, "ann").await;
    let room = one
        .create_room(new_room(ann.id, "room"), LIMITS)
        .await
        .unwrap();
    server.signal_all("STOP");
    let began = Instant::now();
    let (read, written) = tokio::join!(
        one.room(room),
        one.add_message(message(room, ann.id, "a", "a"))
    );
    assert!(matches!(read, Err(StorageError::Unavailable(_))));
    assert!(matches!(written, Err(StorageError::Unavailable(_))));
    assert!(began.elapsed() < Duration::from_secs(20));
    server.signal_all("CONT");
    let sent = until("it goes on", async || {
        one.add_message(message(room, ann.id, "a", "a")).await.ok()
    })
    .await;
    assert_eq!(sent.unwrap().into_message().content, "a");
    assert_eq!(server.sql("chat0", "SELECT count(*) FROM messages"), "1");
}

/// What ends the connections that hold this advisory lock.
fn end_holders(lock: u32) -> String {
    format!(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_locks JOIN pg_database d ON d.oid = database
        WHERE locktype = 'advisory' AND objid = {lock} AND granted AND datname = current_database()"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_waits_too_long_for_others_to_write_is_told_that_it_is_unavailable() {
    let url = SERVER.database();
    let database = url.rsplit('/').next().unwrap().to_owned();
    let node = node(&url);
    let ann = user(&node, "ann").await;
    let other = {
        let database = database.clone();
        let hold = "SELECT pg_advisory_lock(1299151428, 1); SELECT pg_sleep(60)";
        std::thread::spawn(move || SERVER.try_sql(&database, hold))
    };
    let held = "SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database
        WHERE locktype = 'advisory' AND objid = 1 AND granted AND datname = current_database()";
    until("the lock", async || {
        (SERVER.sql(&database, held) == "1").then_some(())
    })
    .await;
    let refused = node.create_room(new_room(ann.id, "room"), LIMITS).await;
    match refused {
        Err(StorageError::Unavailable(why)) => assert!(why.contains("lock"), "{why}"),
        refused => panic!("{:?}", refused.map(drop)),
    }
    assert_eq!(SERVER.sql(&database, &end_holders(1)), "1");
    other.join().unwrap();
    until("it goes on", async || {
        let made = node.create_room(new_room(ann.id, "room"), LIMITS).await;
        made.ok()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_of_a_newer_version_are_let_alone_by_one_that_runs() {
    let url = SERVER.database();
    let database = url.rsplit('/').next().unwrap();
    let node = node(&url);
    let ann = user(&node, "ann").await;
    let version = SERVER.sql(database, "SELECT version FROM moznods_schema");
    // As one does that finds nobody there.
    SERVER.sql(database, "UPDATE moznods_schema SET version = 999");
    assert_eq!(SERVER.sql(database, &end_holders(3)), "1");
    let newer = |error| match error {
        StorageError::Unavailable(why) => why.contains("schema 999").then_some(()),
        error => panic!("{error}"),
    };
    until("reads are refused", async || {
        node.user(UserKey::Id(ann.id)).await.err().and_then(newer)
    })
    .await;
    let written = node.create_room(new_room(ann.id, "room"), LIMITS).await;
    newer(written.map(drop).unwrap_err()).expect("writes are refused");
    newer(node.ready().await.unwrap_err()).expect("it is not ready");
    // Those who write the next version find nobody in their way.
    let serving = end_holders(3).replace("pg_terminate_backend(pid)", "*");
    until("nobody serves", async || {
        (SERVER.sql(database, &serving) == "0").then_some(())
    })
    .await;
    let back = format!("UPDATE moznods_schema SET version = {version}");
    SERVER.sql(database, &back);
    until("it goes on", async || node.ready().await.ok()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_several_hosts_one_that_does_not_answer_is_passed_over() {
    let url = SERVER.database();
    // As a machine that is off: with its queue full, what knocks has no answer.
    let silent = tokio::net::TcpSocket::new_v4().unwrap();
    silent.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let silent = silent.listen(1).unwrap();
    let address = silent.local_addr().unwrap();
    let mut queue = Vec::new();
    while let Ok(one) = timeout(
        Duration::from_secs(1),
        tokio::net::TcpStream::connect(address),
    )
    .await
    {
        queue.push(one.unwrap());
    }
    let several = url.replace("@", &format!("@{address},"));
    let node = node(&several);
    node.ready().await.unwrap();
    user(&node, "ann").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_tls_a_server_proves_who_it_is_where_that_is_asked_for() {
    let server = Postgres::start_with(free_port(), Postgres::make_certificate);
    let url = server.database().replace("127.0.0.1", "localhost");
    let roots = server.certificate();
    let open = |parameters: &str| {
        let url: PostgresUrl = format!("{url}?{parameters}").parse().unwrap();
        SqlStore::connect(&url, Missing::Create)
            .map(drop)
            .map_err(|error| error.to_string())
    };
    open("sslmode=prefer").unwrap();
    let secured = "SELECT count(*) FROM pg_stat_ssl WHERE ssl";
    let store = node(&format!("{url}?sslmode=require"));
    store.ready().await.unwrap();
    assert_ne!(server.sql("postgres", secured), "0");
    open(&format!("sslmode=verify-full&sslrootcert={roots}")).unwrap();
    let stranger = open("sslmode=verify-full").unwrap_err();
    assert!(stranger.contains("certificate"), "{stranger}");
    let elsewhere = format!("sslmode=verify-full&sslrootcert={roots}");
    let elsewhere: PostgresUrl = format!("{}?{elsewhere}", server.url("chat0"))
        .parse()
        .unwrap();
    let refused = SqlStore::connect(&elsewhere, Missing::Create)
        .unwrap_err()
        .to_string();
    assert!(refused.contains("certificate"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_of_files_are_in_the_database_for_every_node() {
    const CHUNK: usize = 256 * 1024;
    let url = SERVER.database();
    let (one, two) = (node(&url), node(&url));
    assert!(one.has_chunks());
    let directory = tempfile::tempdir().unwrap();
    let place = |store: &Arc<dyn Store>| {
        let shared = DatabaseBlobs::new(Arc::clone(store));
        Blobs::shared(directory.path(), Arc::new(shared))
    };
    let (here, there) = (place(&one), place(&two));
    here.prepare().await.unwrap();
    let bytes: Vec<u8> = (0..CHUNK * 2 + 1000).map(|n| (n / 7 % 251) as u8).collect();
    let hash = BlobHash([7; 32]);
    let keep = async |blobs: &Blobs, variant, bytes: &[u8]| {
        let mut partial = blobs.begin().await.unwrap();
        partial.write(bytes).await.unwrap();
        blobs.keep(partial, hash, variant).await.unwrap();
    };
    // Of one that was broken off.
    one.put_chunk(hash, Variant::Whole, 0, bytes[..CHUNK].to_vec())
        .await
        .unwrap();
    let missing = there.open(hash, Variant::Whole, None).await;
    assert!(matches!(missing, Err(BlobError::Missing)));
    keep(&here, Variant::Whole, &bytes).await;
    keep(&there, Variant::Whole, &bytes).await;
    keep(&here, Variant::Thumbnail, b"small").await;

    let size = bytes.len();
    for (from, to) in [
        (0, size),
        (0, 1),
        (CHUNK - 1, CHUNK + 1),
        (CHUNK, CHUNK * 2),
        (size - 1, size),
        (5, 5),
    ] {
        let blob = there.open(hash, Variant::Whole, Some(size as u64)).await;
        let range = from as u64..to as u64;
        let pieces = blob.unwrap().read(range).await.unwrap();
        let pieces: Vec<_> = pieces.map(Result::unwrap).collect().await;
        assert!(pieces.iter().all(|piece| piece.len() <= CHUNK));
        assert!(pieces.concat() == bytes[from..to], "{from}..{to}");
    }
    let mut small = there.open(hash, Variant::Thumbnail, None).await.unwrap();
    assert_eq!((small.size(), small.first().await.unwrap()), (5, b's'));
    // More than there is.
    let blob = there
        .open(hash, Variant::Whole, Some(size as u64 + 1))
        .await;
    let beyond = blob.unwrap().read(0..size as u64 + 1).await;
    assert!(matches!(beyond, Err(BlobError::Unavailable(_))));
    let database = url.rsplit('/').next().unwrap();
    let left = "SELECT count(*) FROM blob_chunks";
    assert_eq!(SERVER.sql(database, left), "4");
    there.remove(hash).await.unwrap();
    there.remove(hash).await.unwrap();
    assert_eq!(SERVER.sql(database, left), "0");
    let gone = here.open(hash, Variant::Whole, None).await;
    assert!(matches!(gone, Err(BlobError::Missing)));
    let tmp = directory.path().join("files/tmp");
    assert_eq!(std::fs::read_dir(tmp).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_moved_is_compared_with_its_source() {
    let url = SERVER.database();
    let database = url.rsplit('/').next().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let source = SqlStore::open(directory.path(), Missing::Create).unwrap();
    let source_as_store: Arc<dyn Store> = Arc::new(source);
    let ann = user(&source_as_store, "ann").await;
    let room = suite::room(&source_as_store, ann.id, "room").await;
    for n in 0..3 {
        let id = format!("m{n}");
        let said = source_as_store.add_message(message(room, ann.id, "text", &id));
        said.await.unwrap();
    }
    let source = SqlStore::open(directory.path(), Missing::Refuse).unwrap();
    let parsed: PostgresUrl = url.parse().unwrap();
    let target = SqlStore::connect(&parsed, Missing::Create).unwrap();
    let migration = Migration::begin(&source, &target).await.unwrap();
    let tables = migration.copy(|_| {}).await.unwrap();
    let messages = |tables: &[TableCopy]| {
        let found = tables.iter().find(|table| table.name == "messages");
        found.map(|table| (table.added, table.changed, table.removed))
    };
    assert_eq!(messages(&tables), Some((3, 0, 0)));
    let proofs = migration.verify(|_| {}).await.unwrap();
    assert!(proofs.iter().any(|proof| proof.rows == 3));
    // Nothing has followed from the copying.
    let counted = "SELECT message_count FROM rooms";
    assert_eq!(SERVER.sql(database, counted), "3");
    assert_eq!(
        SERVER.sql(database, "SELECT count(*) FROM search_pending"),
        "0"
    );

    for (wrong, table) in [
        (
            "UPDATE messages SET content = 'other' WHERE id = 2",
            "messages",
        ),
        // Which counts in its room as well.
        ("DELETE FROM messages WHERE id = 3", "rooms"),
        (
            "INSERT INTO secrets (name, value) VALUES ('x', 'y')",
            "secrets",
        ),
        ("UPDATE messages SET reply_to = 1 WHERE id = 3", "messages"),
    ] {
        SERVER.sql(database, wrong);
        match migration.verify(|_| {}).await {
            Err(MigrateError::Different(name)) => assert_eq!(name, table),
            outcome => panic!("{wrong}: {outcome:?}"),
        }
        migration.copy(|_| {}).await.unwrap();
        migration.verify(|_| {}).await.unwrap();
    }
    let other = tempfile::tempdir().unwrap();
    let stranger = SqlStore::open(other.path(), Missing::Create).unwrap();
    stranger
        .secret("link_secret", "another".to_owned())
        .await
        .unwrap();
    let refused = Migration::begin(&stranger, &target).await;
    assert!(matches!(refused, Err(MigrateError::AnotherSource)));
    let unfinished = SqlStore::connect_to_serve(&parsed);
    assert!(matches!(unfinished, Err(StorageError::Open { .. })));
    migration.finish().await.unwrap();
    let node = node(&url);
    assert_eq!(user(&node, "bob").await.id, ann.id + 1);
    let refused = Migration::begin(&source, &target).await;
    assert!(matches!(refused, Err(MigrateError::Served)));
    let used = SERVER.database();
    let mine = crate::node(&used);
    user(&mine, "ann").await;
    drop(mine);
    let parsed: PostgresUrl = used.parse().unwrap();
    let target = SqlStore::connect(&parsed, Missing::Refuse).unwrap();
    let refused = until("nobody serves there", async || {
        match Migration::begin(&source, &target).await {
            Err(MigrateError::Served) => None,
            refused => Some(refused.map(drop)),
        }
    })
    .await;
    assert!(
        matches!(refused, Err(MigrateError::NotEmpty(_))),
        "{refused:?}"
    );
}
