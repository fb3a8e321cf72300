//! Search: what is found by whom, and that the index follows the messages.

use moznods_storage::{
    Deleter, Found, MessageEdit, MessageId, NewMentions, RoomId, Search, StorageError, User, UserId,
};

use super::{LIMITS, Shared, by, owned_by, room, say, user};

fn search(viewer: &User, text: &str) -> Search {
    Search {
        viewer: viewer.id,
        text: text.to_owned(),
        room: None,
        author: None,
        before: None,
        limit: 20,
    }
}

fn ids(found: &Found) -> Vec<MessageId> {
    found.hits.iter().map(|hit| hit.message.id).collect()
}

async fn found(store: &Shared, viewer: &User, text: &str) -> Vec<MessageId> {
    ids(&store.search(search(viewer, text)).await.unwrap())
}

async fn index(store: &Shared) {
    while store.index_messages().await.unwrap() {}
}

async fn edit(store: &Shared, message: MessageId, author: UserId, content: &str) {
    let edit = MessageEdit {
        message,
        author,
        content: content.to_owned(),
        mentions: NewMentions::default(),
        now: 30,
    };
    store.edit_message(edit).await.unwrap().unwrap();
}

async fn shared_by(store: &Shared, owner: &User, other: &User, name: &str) -> RoomId {
    let room = room(store, owner.id, name).await;
    let added = store.add_participant(room, other.id, by(owner), LIMITS, 11);
    added.await.unwrap();
    room
}

pub async fn words_are_found_in_all_their_forms(store: Shared) {
    let ann = user(&store, "ann").await;
    let room = room(&store, ann.id, "room").await;
    let books = say(&store, room, ann.id, "Новые КНИГИ, и ещё одна").await;
    let run = say(
        &store,
        room,
        ann.id,
        "We were running to https://example.org/Path",
    )
    .await;
    let marked = say(&store, room, ann.id, "замо́к «Ёж»").await;
    index(&store).await;
    for (text, expected) in [
        ("книга", vec![books]),
        ("книгами еще", vec![books]),
        ("кни", vec![books]),
        // It is no beginning once something follows.
        ("кни ", vec![]),
        ("runs", vec![run]),
        ("example.org", vec![run]),
        ("PATH ", vec![run]),
        ("\"книги и\"", vec![books]),
        ("\"и книги\"", vec![]),
        ("\"книга и\"", vec![]),
        ("замок еж", vec![marked]),
        ("e", vec![]),
        ("книги running", vec![]),
        ("\") OR * NEAR(", vec![]),
        ("rowid:1 - ^books' ; DROP \\", vec![]),
    ] {
        assert_eq!(found(&store, &ann, text).await, expected, "{text}");
    }
    for nothing in ["", " * ", "\"\"", "👍"] {
        let refused = store.search(search(&ann, nothing)).await;
        assert!(matches!(refused, Err(StorageError::NothingToFind)));
    }
    // However long.
    let long = "слово ".repeat(2000) + &"\"".repeat(1000);
    assert!(found(&store, &ann, &long).await.is_empty());
    let hit = store.search(search(&ann, "одни книги")).await.unwrap();
    let pieces = hit.hits[0].excerpt.iter();
    let pieces: Vec<_> = pieces.map(|p| (p.text.as_str(), p.is_match)).collect();
    assert_eq!(
        pieces,
        [
            ("Новые ", false),
            ("КНИГИ", true),
            (", и ещё ", false),
            ("одна", true)
        ]
    );
}

pub async fn one_finds_what_is_said_where_one_takes_part(store: Shared) {
    let (ann, bob) = (user(&store, "ann").await, user(&store, "bob").await);
    let own = room(&store, ann.id, "own").await;
    let shared = shared_by(&store, &ann, &bob, "shared").await;
    let other = shared_by(&store, &bob, &ann, "other").await;
    let a = say(&store, own, ann.id, "слово").await;
    let b = say(&store, shared, ann.id, "слово").await;
    let c = say(&store, shared, bob.id, "слово").await;
    let d = say(&store, other, bob.id, "слово").await;
    index(&store).await;
    assert_eq!(found(&store, &ann, "слово").await, [d, c, b, a]);
    assert_eq!(found(&store, &bob, "слово").await, [d, c, b]);
    let within = async |viewer: &User, room: Option<RoomId>, author: Option<UserId>| {
        let search = Search {
            room,
            author,
            ..search(viewer, "слово")
        };
        ids(&store.search(search).await.unwrap())
    };
    assert_eq!(within(&bob, Some(shared), None).await, [c, b]);
    assert_eq!(within(&bob, Some(own), None).await, [0; 0]);
    assert_eq!(within(&bob, None, Some(bob.id)).await, [d, c]);
    assert_eq!(within(&ann, Some(shared), Some(ann.id)).await, [b]);

    // Who leaves or is banned finds nothing there from that moment on.
    store.leave(other, ann.id).await.unwrap();
    assert_eq!(found(&store, &ann, "слово").await, [c, b, a]);
    let banned = store.ban(shared, owned_by(&ann), bob.id, String::new(), 40);
    assert!(banned.await.unwrap());
    assert_eq!(found(&store, &bob, "слово").await, [d]);
    store.delete_room(own, owned_by(&ann)).await.unwrap();
    assert_eq!(found(&store, &ann, "слово").await, [c, b]);
}

pub async fn what_was_changed_is_found_by_what_it_says_now(store: Shared) {
    let ann = user(&store, "ann").await;
    let room = room(&store, ann.id, "room").await;
    let first = say(&store, room, ann.id, "кошка").await;
    let second = say(&store, room, ann.id, "кошка и собака").await;
    index(&store).await;
    edit(&store, first, ann.id, "хомяк").await;
    let deleted = store.delete_message(second, Deleter::Author(ann.id));
    assert!(deleted.await.unwrap());
    // Before the index has heard of it.
    assert_eq!(found(&store, &ann, "кошка").await, [0; 0]);
    index(&store).await;
    assert_eq!(found(&store, &ann, "кошка").await, [0; 0]);
    assert_eq!(found(&store, &ann, "собака").await, [0; 0]);
    assert_eq!(found(&store, &ann, "хомяки").await, [first]);
    // Changed before it was in the index, and again while it is brought up to date.
    let third = say(&store, room, ann.id, "раз").await;
    edit(&store, third, ann.id, "два").await;
    store.index_messages().await.unwrap();
    edit(&store, third, ann.id, "три").await;
    index(&store).await;
    assert_eq!(found(&store, &ann, "раз два").await, [0; 0]);
    assert_eq!(found(&store, &ann, "три").await, [third]);
    assert!(!store.index_messages().await.unwrap());
}

pub async fn what_was_found_is_read_page_by_page(store: Shared) {
    let ann = user(&store, "ann").await;
    let room = room(&store, ann.id, "room").await;
    let mut all = Vec::new();
    for n in 0..250 {
        let text = if n % 3 == 0 { "слово" } else { "иное" };
        let message = say(&store, room, ann.id, text).await;
        if n % 3 == 0 {
            all.insert(0, message);
        }
    }
    index(&store).await;
    let mut before = None;
    let mut pages = Vec::new();
    loop {
        let search = Search {
            before,
            limit: 28,
            ..search(&ann, "слово")
        };
        let found = store.search(search).await.unwrap();
        pages.extend(ids(&found));
        assert!(found.hits.len() == 28 || found.before.is_none());
        before = found.before;
        if before.is_none() {
            break;
        }
    }
    assert_eq!(pages, all);
    // As many as are asked for, and no more.
    let search = Search {
        limit: all.len(),
        ..search(&ann, "слово")
    };
    assert_eq!(store.search(search).await.unwrap().before, None);
}

pub async fn the_newest_of_many_are_found_first(store: Shared) {
    let ann = user(&store, "ann").await;
    let room = room(&store, ann.id, "room").await;
    let mut all = Vec::new();
    for _ in 0..1000 {
        all.push(say(&store, room, ann.id, "слово").await);
    }
    // The first step sees how much there is, the next begins with the newest.
    store.index_messages().await.unwrap();
    store.index_messages().await.unwrap();
    let newest = found(&store, &ann, "слово").await;
    assert_eq!(newest[0], all[999]);
    // What is said meanwhile does not wait for what is old.
    let last = say(&store, room, ann.id, "слово").await;
    store.index_messages().await.unwrap();
    assert_eq!(found(&store, &ann, "слово").await[0], last);
    index(&store).await;
    let oldest = Search {
        before: Some(all[3]),
        ..search(&ann, "слово")
    };
    let oldest = store.search(oldest).await.unwrap();
    assert_eq!(ids(&oldest), [all[2], all[1], all[0]]);
}

pub async fn who_is_in_many_rooms_finds_in_all_of_them(store: Shared) {
    let (ann, bob) = (user(&store, "ann").await, user(&store, "bob").await);
    let limits = moznods_storage::RoomLimits {
        rooms: 1000,
        ..LIMITS
    };
    let mut said = Vec::new();
    for n in 0..250 {
        let owner = if n % 100 == 0 { &bob } else { &ann };
        let new = super::new_room(owner.id, "room");
        let room = store.create_room(new, limits).await.unwrap();
        let message = say(&store, room, owner.id, "слово").await;
        if owner.id == ann.id {
            said.insert(0, message);
        }
    }
    index(&store).await;
    let search = Search {
        limit: 300,
        ..search(&ann, "слово")
    };
    assert_eq!(ids(&store.search(search).await.unwrap()), said);
}
