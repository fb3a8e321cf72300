//! Search where there is much to be found, and what it costs; with a million messages, which takes minutes:
//! `MOZNODS_SEARCH_MESSAGES=1000000 cargo test -p moznods-storage --release --test search_at_scale -- --nocapture`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use moznods_storage::{AdminGrant, Missing, NewRoom, NewUser, RoomLimits, Search, SqlStore, Store};

const MESSAGES: i64 = 20_000;
/// Hits of one page.
const PAGE: usize = 20;
const ROOMS: i64 = 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_messages_those_are_found_that_one_may_read() {
    let messages = std::env::var("MOZNODS_SEARCH_MESSAGES");
    let messages = messages.map_or(MESSAGES, |number| number.parse().unwrap());
    let directory = tempfile::tempdir_in(std::env::temp_dir()).unwrap();
    let store: Arc<dyn Store> =
        Arc::new(SqlStore::open(directory.path(), Missing::Create).unwrap());
    let limits = RoomLimits {
        participants: 10,
        rooms: 2000,
    };
    let ann = store.create_user(new_user("ann")).await.unwrap();
    let bob = store.create_user(new_user("bob")).await.unwrap();
    let cat = store.create_user(new_user("cat")).await.unwrap();
    let mut rooms = Vec::new();
    for n in 0..ROOMS {
        let owner = if n % 2 == 0 { ann.id } else { bob.id };
        let room = store.create_room(new_room(owner), limits);
        rooms.push(room.await.unwrap());
    }
    // Of whom nobody says anything.
    for _ in 0..1000 {
        store.create_room(new_room(cat.id), limits).await.unwrap();
    }
    fill(
        &directory.path().join("moznods.db"),
        &rooms,
        &[ann.id, bob.id],
        messages,
    );

    let size = |name: &str| directory.path().join(name).metadata().unwrap().len() >> 20;
    println!("{messages} messages: {} MiB", size("moznods.db"));
    let began = Instant::now();
    let (mut batches, mut longest, mut said) = (0, Duration::ZERO, 1);
    loop {
        let batch = Instant::now();
        if !store.index_messages().await.unwrap() {
            break;
        }
        batches += 1;
        longest = longest.max(batch.elapsed());
        if began.elapsed().as_secs() >= said * 10 {
            said += 1;
            println!(
                "  {batches} batches in {:?}, longest {longest:?}",
                began.elapsed()
            );
        }
    }
    println!(
        "indexed in {:?}, {batches} batches, the longest {longest:?}",
        began.elapsed()
    );
    store.settle().await.unwrap();
    println!("with the index: {} MiB", size("moznods.db"));

    for (viewer, text, expected) in [
        (ann.id, "w0", Some(PAGE)),
        (ann.id, "w", None),
        (ann.id, "w1", None),
        (ann.id, "w12", None),
        (ann.id, "w123", None),
        (ann.id, "w0 w1 w2", None),
        (ann.id, "\"w0 w1\"", None),
        (ann.id, "\"w0 w1 w2\"", None),
        (ann.id, "\"w0 w0 w0 w0 w0\"", None),
        (ann.id, "w1999 w1998", None),
        (ann.id, "odd", Some(0)),
        (ann.id, "od", Some(0)),
        (ann.id, "odd w0", Some(0)),
        (ann.id, "even odd", Some(0)),
        (ann.id, "even", Some(PAGE)),
        (ann.id, "ev", Some(PAGE)),
        (cat.id, "w0", Some(0)),
        (cat.id, "even odd", Some(0)),
    ] {
        let search = Search {
            viewer,
            text: text.to_owned(),
            room: None,
            author: None,
            before: None,
            limit: 20,
        };
        let mut times = Vec::new();
        let mut count = String::new();
        for _ in 0..5 {
            let began = Instant::now();
            let found = store.search(search.clone()).await;
            times.push(began.elapsed());
            count = match found {
                Ok(found) => {
                    let hits = found.hits.len();
                    assert_eq!(hits, expected.unwrap_or(hits), "{viewer} {text}");
                    format!("{hits} (more: {:?})", found.before)
                }
                Err(error) => panic!("{viewer} {text}: {error}"),
            };
        }
        times.sort();
        println!(
            "{viewer} {text:24} {:?} (first/worst {:?}): {count}",
            times[2], times[4]
        );
    }
}

fn new_user(name: &str) -> NewUser {
    NewUser {
        username: name.to_owned(),
        email: format!("{name}@example.org"),
        display_name: String::new(),
        password_hash: String::new(),
        admin: AdminGrant::No,
        now: 1,
    }
}

fn new_room(owner: i64) -> NewRoom {
    NewRoom {
        owner,
        name: "room".to_owned(),
        topic: String::new(),
        is_public: false,
        now: 1,
    }
}

/// Words by a law like that of languages; rooms of one say "odd", of the other "even".
fn fill(database: &std::path::Path, rooms: &[i64], authors: &[i64], messages: i64) {
    let mut c = rusqlite::Connection::open(database).unwrap();
    c.pragma_update(None, "synchronous", "OFF").unwrap();
    let transaction = c.transaction().unwrap();
    let mut insert = transaction
        .prepare(
            "INSERT INTO messages (room_id, author_id, content, created_at) VALUES (?, ?, ?, ?)",
        )
        .unwrap();
    let mut state = 1_u64;
    let mut random = move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 11) as f64 / (1_u64 << 53) as f64
    };
    for n in 0..messages {
        let room = usize::try_from(n).unwrap() % rooms.len();
        let mut text = String::from(if room % 2 == 1 { "odd" } else { "even" });
        for _ in 0..(2.0 + 18.0 * random() * random()) as usize {
            // Zipf's: ranks up to 100,000.
            let rank = (100_000_f64.powf(random()) - 1.0) as u32;
            text.push_str(&format!(" w{rank}"));
        }
        let author = authors[room % authors.len()];
        insert.execute((rooms[room], author, text, n)).unwrap();
    }
    drop(insert);
    transaction.commit().unwrap();
}
