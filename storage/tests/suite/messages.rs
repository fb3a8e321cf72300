//! Messages: what is sent twice, changed and deleted, replies, reactions, mentions, and places in the history.

use moznods_storage::{
    Cursor, Deleter, EventKind, MAX_REACTIONS, Message, MessageEdit, NewMentions, NewMessage, Page,
    Reaction, Right, Role, RoomId, Sent, StorageError, UserId,
};

use super::{ALL, LIMITS, Shared, by, new_message, room, say, user};

async fn send(store: &Shared, message: NewMessage) -> Message {
    let sent = store.add_message(message).await.unwrap();
    sent.expect("a participant").into_message()
}

/// How many events of this kind there are.
async fn told(store: &Shared, kind: EventKind) -> usize {
    let events = store.events_after(0, 1000).await.unwrap();
    events.iter().filter(|event| event.kind == kind).count()
}

fn mentioning(names: &[&str], all: bool) -> NewMentions {
    let names = names.iter().map(|name| vec![(*name).to_owned()]);
    NewMentions {
        names: names.collect(),
        all,
    }
}

async fn ids_at(
    store: &Shared,
    room: RoomId,
    cursor: Cursor,
    limit: i64,
) -> (Vec<i64>, bool, bool) {
    let window = store.message_window(room, cursor, limit).await.unwrap();
    let ids = window.messages.iter().map(|message| message.id).collect();
    (ids, window.more_before, window.more_after)
}

pub async fn a_message_sent_twice_is_there_once(store: Shared) {
    let (ann, bob) = (user(&store, "ann").await, user(&store, "bob").await);
    let shared = room(&store, ann.id, "shared").await;
    let other = room(&store, ann.id, "other").await;
    store
        .add_participant(shared, bob.id, by(&ann), LIMITS, 11)
        .await
        .unwrap();
    let named = |room: RoomId, author: UserId, text: &str| NewMessage {
        client_id: Some("c1".to_owned()),
        ..new_message(room, author, text)
    };
    let send = async |message| store.add_message(message).await;
    // At once: one of them is the first.
    let (a, b) = tokio::join!(
        send(named(shared, ann.id, "one")),
        send(named(shared, ann.id, "one"))
    );
    let (a, b) = (a.unwrap().unwrap(), b.unwrap().unwrap());
    assert!(matches!(
        (&a, &b),
        (Sent::New(_), Sent::Again(_)) | (Sent::Again(_), Sent::New(_))
    ));
    assert_eq!(a.into_message().id, b.into_message().id);
    let again = send(named(shared, ann.id, "other words")).await.unwrap();
    assert_eq!(again.unwrap().into_message().content, "one");
    assert_eq!(told(&store, EventKind::MessageNew).await, 1);
    assert!(matches!(
        send(named(other, ann.id, "one")).await,
        Err(StorageError::ClientIdTaken)
    ));
    // Another author's is another message, and what has no name is never the same.
    send(named(shared, bob.id, "one")).await.unwrap().unwrap();
    say(&store, shared, ann.id, "same").await;
    say(&store, shared, ann.id, "same").await;
    assert_eq!(store.messages(shared, ALL).await.unwrap().count, 4);
}

pub async fn only_the_author_changes_a_message_and_only_while_he_takes_part(store: Shared) {
    let (ann, bob) = (user(&store, "ann").await, user(&store, "bob").await);
    let room = room(&store, ann.id, "room").await;
    store
        .add_participant(room, bob.id, by(&ann), LIMITS, 11)
        .await
        .unwrap();
    let message = say(&store, room, bob.id, "frist").await;
    let edit = |author: UserId| MessageEdit {
        message,
        author,
        content: "first".to_owned(),
        mentions: NewMentions::default(),
        now: 30,
    };
    let edited = store.edit_message(edit(ann.id)).await.unwrap();
    assert!(edited.is_none());
    let edited = store.edit_message(edit(bob.id)).await;
    let edited = edited.unwrap().unwrap();
    assert_eq!(
        (edited.content.as_str(), edited.edited_at, edited.created_at),
        ("first", Some(30), 20)
    );
    store.leave(room, bob.id).await.unwrap();
    let late = store.edit_message(edit(bob.id)).await.unwrap();
    assert!(late.is_none());
    let deleting = store.delete_message(message, Deleter::Author(bob.id));
    assert!(!deleting.await.unwrap());
    assert_eq!(told(&store, EventKind::MessageEdited).await, 1);
    assert_eq!(told(&store, EventKind::MessageDeleted).await, 0);
}

pub async fn a_deleted_message_leaves_counts_and_replies_right(store: Shared) {
    let (ann, bob) = (user(&store, "ann").await, user(&store, "bob").await);
    let room = room(&store, ann.id, "room").await;
    store
        .add_participant(room, bob.id, by(&ann), LIMITS, 11)
        .await
        .unwrap();
    let first = say(&store, room, ann.id, &"й".repeat(200)).await;
    let second = say(&store, room, ann.id, "second").await;
    let answer = NewMessage {
        reply_to: Some(first),
        ..new_message(room, ann.id, "answer")
    };
    let answer = send(&store, answer).await;
    let original = answer.reply_to.unwrap().original.unwrap();
    assert_eq!(original.excerpt, "й".repeat(140));
    assert_eq!(original.author.id, ann.id);

    let unread = async || {
        let view = store.room_view(room, bob.id).await.unwrap().unwrap();
        (view.unread_count, view.first_unread_id)
    };
    assert_eq!(unread().await, (3, Some(first)));
    let delete = |by| store.delete_message(first, by);
    assert!(!delete(Deleter::Author(bob.id)).await.unwrap());
    let member = Right {
        by: bob.id,
        least: Role::Moderator,
    };
    assert!(matches!(
        delete(Deleter::By(member)).await,
        Err(StorageError::NotFound)
    ));
    let owner = Right {
        by: ann.id,
        ..member
    };
    // It is his own: there is nobody whom he is more than.
    assert!(matches!(
        delete(Deleter::By(owner)).await,
        Err(StorageError::NotFound)
    ));
    assert!(delete(Deleter::Author(ann.id)).await.unwrap());
    assert!(!delete(Deleter::Author(ann.id)).await.unwrap());
    let of_bob = say(&store, room, bob.id, "a member's").await;
    let by_owner = store.delete_message(of_bob, Deleter::By(owner));
    assert!(by_owner.await.unwrap());
    assert_eq!(unread().await, (2, Some(second)));
    let page = store.messages(room, ALL).await.unwrap();
    assert_eq!((page.count, page.items.len()), (2, 2));
    let reply = page.items[0].reply_to.as_ref().unwrap();
    assert!(reply.id == first && reply.original.is_none());
    assert!(store.message(first).await.unwrap().is_none());
    let late = NewMessage {
        reply_to: Some(first),
        ..new_message(room, ann.id, "late")
    };
    assert!(matches!(
        store.add_message(late).await,
        Err(StorageError::NoSuchReply)
    ));
}

pub async fn a_reply_answers_a_message_of_its_own_room(store: Shared) {
    let ann = user(&store, "ann").await;
    let here = room(&store, ann.id, "here").await;
    let there = room(&store, ann.id, "there").await;
    let message = say(&store, there, ann.id, "secret").await;
    let answer = NewMessage {
        reply_to: Some(message),
        ..new_message(here, ann.id, "answer")
    };
    assert!(matches!(
        store.add_message(answer).await,
        Err(StorageError::NoSuchReply)
    ));
}

pub async fn reactions_are_one_of_each_kind_from_each(store: Shared) {
    let (ann, bob) = (user(&store, "ann").await, user(&store, "bob").await);
    let eve = user(&store, "eve").await;
    let room = room(&store, ann.id, "room").await;
    store
        .add_participant(room, bob.id, by(&ann), LIMITS, 11)
        .await
        .unwrap();
    let message = say(&store, room, ann.id, "x").await;
    let set = async |user: UserId, emoji: &str, present| {
        store
            .set_reaction(message, user, emoji.to_owned(), present)
            .await
    };
    for (user, emoji, present, changed) in [
        (ann.id, "b", true, Some(true)),
        (bob.id, "a", true, Some(true)),
        (bob.id, "b", true, Some(true)),
        (bob.id, "b", true, Some(false)),
        (eve.id, "b", true, None),
        (ann.id, "a", false, Some(false)),
    ] {
        assert_eq!(set(user, emoji, present).await.unwrap(), changed);
    }
    let reactions = async || store.message(message).await.unwrap().unwrap().reactions;
    let reaction = |emoji: &str, users: &[UserId]| Reaction {
        emoji: emoji.to_owned(),
        users: users.to_vec(),
    };
    assert_eq!(
        reactions().await,
        [reaction("b", &[ann.id, bob.id]), reaction("a", &[bob.id])]
    );
    assert_eq!(told(&store, EventKind::ReactionAdded).await, 3);
    assert_eq!(told(&store, EventKind::ReactionRemoved).await, 0);
    assert_eq!(set(ann.id, "b", false).await.unwrap(), Some(true));
    assert_eq!(
        reactions().await,
        [reaction("a", &[bob.id]), reaction("b", &[bob.id])]
    );
    for n in 2..MAX_REACTIONS {
        set(ann.id, &n.to_string(), true).await.unwrap();
    }
    assert!(matches!(
        set(ann.id, "one too many", true).await,
        Err(StorageError::TooManyReactions)
    ));
    assert_eq!(set(ann.id, "a", true).await.unwrap(), Some(true));
}

pub async fn mentions_are_of_those_in_the_room(store: Shared) {
    let (ann, bob) = (user(&store, "Änn").await, user(&store, "bob").await);
    let eve = user(&store, "eve").await;
    let room = room(&store, ann.id, "room").await;
    store
        .add_participant(room, bob.id, by(&ann), LIMITS, 11)
        .await
        .unwrap();
    let mention = async |author: UserId, mentions| {
        let message = NewMessage {
            mentions,
            ..new_message(room, author, "x")
        };
        send(&store, message).await
    };
    let of_ann = mention(bob.id, mentioning(&["äNN", "eve", "bob", "nobody"], false)).await;
    assert_eq!(of_ann.mentions, [ann.id]);
    assert!(!of_ann.mentions_all);
    let of_all = mention(ann.id, mentioning(&["bob"], true)).await;
    assert_eq!(
        (&of_all.mentions[..], of_all.mentions_all),
        (&[bob.id][..], true)
    );
    let stored = store.message(of_all.id).await.unwrap().unwrap();
    assert_eq!(
        (stored.mentions, stored.mentions_all),
        (of_all.mentions, true)
    );
    let dots = NewMentions {
        names: vec![vec!["bob.".to_owned(), "bob".to_owned()]],
        all: false,
    };
    let dotted = mention(ann.id, dots).await;
    assert_eq!(dotted.mentions, [bob.id]);

    let count = async |user: UserId| {
        let view = store.room_view(room, user).await.unwrap().unwrap();
        view.mention_count
    };
    assert_eq!((count(ann.id).await, count(bob.id).await), (1, 2));
    let of = async |user: UserId, before, limit| {
        let found = store.mentions_of(user, before, limit).await.unwrap();
        let ids: Vec<_> = found.messages.iter().map(|message| message.id).collect();
        (ids, found.more_before)
    };
    assert_eq!(of(ann.id, None, 10).await, (vec![of_ann.id], false));
    assert_eq!(of(bob.id, None, 1).await, (vec![dotted.id], true));
    assert_eq!(
        of(bob.id, Some(dotted.id), 1).await,
        (vec![of_all.id], false)
    );
    // Who comes later was not meant; who was meant and is gone, or has read it, is not told.
    store
        .add_participant(room, eve.id, by(&ann), LIMITS, 12)
        .await
        .unwrap();
    assert_eq!(of(eve.id, None, 10).await, (vec![], false));
    store.mark_read(room, bob.id, of_all.id).await.unwrap();
    assert_eq!(count(bob.id).await, 1);
    let edit = MessageEdit {
        message: dotted.id,
        author: ann.id,
        content: "y".to_owned(),
        mentions: mentioning(&["eve"], false),
        now: 30,
    };
    let edited = store.edit_message(edit).await.unwrap();
    assert_eq!(edited.unwrap().mentions, [eve.id]);
    assert_eq!((count(bob.id).await, count(eve.id).await), (0, 0));
    store.leave(room, bob.id).await.unwrap();
    assert_eq!(of(bob.id, None, 10).await, (vec![], false));
}

pub async fn a_history_is_read_from_any_place_of_it(store: Shared) {
    let ann = user(&store, "ann").await;
    let here = room(&store, ann.id, "here").await;
    let there = room(&store, ann.id, "there").await;
    let mut ids = Vec::new();
    for n in 0..10 {
        say(&store, there, ann.id, "elsewhere").await;
        ids.push(say(&store, here, ann.id, &n.to_string()).await);
    }
    let at = |cursor, limit| ids_at(&store, here, cursor, limit);
    let slice =
        |range: std::ops::Range<usize>| ids[range].iter().rev().copied().collect::<Vec<_>>();
    for (cursor, limit, range, before, after) in [
        (Cursor::Newest, 3, 7..10, true, false),
        (Cursor::Newest, 10, 0..10, false, false),
        (Cursor::Before(ids[7]), 3, 4..7, true, true),
        (Cursor::Before(ids[2]), 3, 0..2, false, true),
        (Cursor::Before(ids[0]), 3, 0..0, false, true),
        (Cursor::After(ids[3]), 3, 4..7, true, true),
        (Cursor::After(ids[8]), 3, 9..10, true, false),
        (Cursor::After(ids[9]), 3, 0..0, true, false),
        (Cursor::Around(ids[5]), 3, 4..7, true, true),
        (Cursor::Around(ids[5]), 4, 4..8, true, true),
        (Cursor::Around(ids[0]), 3, 0..2, false, true),
        (Cursor::Around(ids[5]), 1, 5..6, true, true),
    ] {
        let found = at(cursor, limit).await;
        assert_eq!(found, (slice(range), before, after), "{cursor:?} {limit}");
    }
    // The place may have been deleted.
    let delete = store.delete_message(ids[5], Deleter::Author(ann.id));
    assert!(delete.await.unwrap());
    let around = at(Cursor::Around(ids[5]), 3).await;
    assert_eq!(around.0, [ids[7], ids[6], ids[4]]);
    // Pages are the same from both ends.
    let kept: Vec<i64> = ids
        .iter()
        .rev()
        .copied()
        .filter(|id| *id != ids[5])
        .collect();
    for limit in 1..=4 {
        let mut paged = Vec::new();
        for offset in (0..12).step_by(usize::try_from(limit).unwrap()) {
            let page = Page {
                offset: i64::from(offset),
                limit,
            };
            let page = store.messages(here, page).await.unwrap();
            assert_eq!(page.count, 9);
            paged.extend(page.items.iter().map(|message| message.id));
        }
        assert_eq!(paged, kept, "{limit}");
    }
}

/// What unread messages are counted in must not grow with one's own.
pub async fn own_messages_are_never_unread(store: Shared) {
    let (ann, bob) = (user(&store, "ann").await, user(&store, "bob").await);
    let room = room(&store, ann.id, "room").await;
    store
        .add_participant(room, bob.id, by(&ann), LIMITS, 11)
        .await
        .unwrap();
    for _ in 0..5 {
        say(&store, room, ann.id, "mine").await;
    }
    let unread = async |room: RoomId| {
        let view = store.room_view(room, ann.id).await.unwrap().unwrap();
        (view.unread_count, view.first_unread_id)
    };
    assert_eq!(unread(room).await, (0, None));
    let others = say(&store, room, bob.id, "yours").await;
    assert_eq!(unread(room).await, (1, Some(others)));
}
