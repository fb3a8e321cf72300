//! The log of what has happened: its order, who has missed what, how long it is kept.

use moznods_storage::{Audience, Event, EventKind, LastAdmin, UserId};
use tokio::sync::mpsc;

use super::{ALL, LIMITS, Shared, by, new_message, new_room, owned_by, room, say, user};

/// All that waits to be told.
fn told(events: &mut mpsc::Receiver<Event>) -> Vec<(EventKind, Audience, i64, UserId)> {
    std::iter::from_fn(|| events.try_recv().ok())
        .map(|event| (event.kind, event.audience, event.subject, event.by))
        .collect()
}

async fn missed(store: &Shared, user: UserId, after: i64) -> Option<Vec<(EventKind, i64)>> {
    let missed = store.missed(user, after, 100).await.unwrap();
    let events = missed.events?;
    assert!(events.iter().map(|event| event.id).is_sorted());
    assert!(
        events
            .iter()
            .all(|event| event.id > after && event.id <= missed.last)
    );
    Some(
        events
            .iter()
            .map(|event| (event.kind, event.subject))
            .collect(),
    )
}

pub async fn each_change_is_told_and_logged_once(store: Shared) {
    let (listener, mut events) = mpsc::channel(100);
    store.tell_events(listener);
    let (ann, bob) = (user(&store, "ann").await, user(&store, "bob").await);
    let room = room(&store, ann.id, "room").await;
    let (to_ann, to_bob) = (Audience::User(ann.id), Audience::User(bob.id));
    let to_room = Audience::Room(room);
    assert_eq!(
        told(&mut events),
        [(EventKind::RoomAdded, to_ann, room, ann.id)]
    );

    let coming = store.add_participant(room, bob.id, by(&ann), LIMITS, 11);
    coming.await.unwrap().expect("newly in");
    let again = store.add_participant(room, bob.id, by(&ann), LIMITS, 11);
    assert!(again.await.unwrap().is_none());
    let message = say(&store, room, ann.id, "hi").await;
    assert!(store.mark_read(room, bob.id, message).await.unwrap());
    assert!(!store.mark_read(room, bob.id, message).await.unwrap());
    store.leave(room, bob.id).await.unwrap();
    store.leave(room, bob.id).await.unwrap();
    let refused = store.add_message(new_message(room, bob.id, "x")).await;
    assert!(refused.unwrap().is_none());
    store.delete_room(room, owned_by(&ann)).await.unwrap();
    let expected = [
        (EventKind::ParticipantChanged, to_room, bob.id, bob.id),
        (EventKind::RoomAdded, to_bob, room, bob.id),
        (EventKind::MessageNew, to_room, message, ann.id),
        (EventKind::MessageRead, to_room, message, bob.id),
        (EventKind::RoomRemoved, to_bob, room, bob.id),
        (EventKind::ParticipantChanged, to_room, bob.id, bob.id),
        (EventKind::RoomRemoved, to_ann, room, ann.id),
    ];
    assert_eq!(told(&mut events), expected);

    let logged = store.events_after(1, 100).await.unwrap();
    let logged: Vec<_> = logged
        .into_iter()
        .map(|event| {
            (
                event.id,
                (event.kind, event.audience, event.subject, event.by),
            )
        })
        .collect();
    let numbered: Vec<_> = (2..).zip(expected).collect();
    assert_eq!(logged, numbered);
    assert_eq!(store.last_event().await.unwrap(), 8);
}

pub async fn an_undone_change_leaves_no_event(store: Shared) {
    let ann = user(&store, "ann").await;
    let gone = user(&store, "gone").await;
    store.delete_user(gone.id, LastAdmin::MayGo).await.unwrap();
    let (listener, mut events) = mpsc::channel(100);
    store.tell_events(listener);
    // Ann has entered before it is found that the other one cannot; all share a transaction.
    let (missing, made) = tokio::join!(
        store.direct_room(ann.id, gone.id, "none".to_owned(), LIMITS, 10),
        store.create_room(new_room(ann.id, "good"), LIMITS),
    );
    assert!(missing.is_err());
    let added = (
        EventKind::RoomAdded,
        Audience::User(ann.id),
        made.unwrap(),
        ann.id,
    );
    assert_eq!(told(&mut events), [added]);
    assert_eq!(store.last_event().await.unwrap(), 1, "ids have no gaps");
}

pub async fn one_has_missed_what_is_his_now(store: Shared) {
    let (ann, bob) = (user(&store, "ann").await, user(&store, "bob").await);
    let shared = room(&store, ann.id, "shared").await;
    let others = room(&store, ann.id, "others").await;
    let before = say(&store, shared, ann.id, "before he came").await;
    let come = async |room| {
        let coming = store.add_participant(room, bob.id, by(&ann), LIMITS, 11);
        coming.await.unwrap().expect("newly in");
    };
    come(shared).await;
    let seen = store.last_event().await.unwrap();
    assert_eq!(missed(&store, bob.id, seen).await.unwrap(), []);
    let heard = say(&store, shared, ann.id, "for him").await;
    say(&store, others, ann.id, "not for him").await;
    assert_eq!(
        missed(&store, bob.id, seen).await.unwrap(),
        [(EventKind::MessageNew, heard)]
    );
    // Nothing of a room from before he came to it, though he has not missed that he came.
    let all = missed(&store, bob.id, 0).await.unwrap();
    assert_eq!(
        all,
        [
            (EventKind::RoomAdded, shared),
            (EventKind::MessageNew, heard)
        ]
    );
    assert!(!all.contains(&(EventKind::MessageNew, before)));

    store
        .remove_participant(shared, owned_by(&ann), bob.id)
        .await
        .unwrap();
    assert_eq!(
        missed(&store, bob.id, seen).await.unwrap(),
        [(EventKind::RoomRemoved, shared)],
        "what he might have read then is not his any more"
    );
    say(&store, shared, ann.id, "meanwhile").await;
    come(shared).await;
    let last = say(&store, shared, ann.id, "back again").await;
    assert_eq!(
        missed(&store, bob.id, seen).await.unwrap(),
        [
            (EventKind::RoomRemoved, shared),
            (EventKind::RoomAdded, shared),
            (EventKind::MessageNew, last)
        ]
    );

    let newest = store.last_event().await.unwrap();
    assert!(
        missed(&store, bob.id, newest + 1).await.is_none(),
        "of another log"
    );
    let few = store.missed(bob.id, seen, 2).await.unwrap();
    assert!(few.events.is_none(), "too many");
    assert_eq!(few.last, newest);
}

pub async fn events_are_kept_by_number_and_by_age(store: Shared) {
    let ann = user(&store, "ann").await;
    store.sweep_events(10, 0).await.unwrap();
    let room = room(&store, ann.id, "room").await;
    for n in 0..30 {
        say(&store, room, ann.id, &n.to_string()).await;
    }
    store.sweep_events(100, 0).await.unwrap();
    assert_eq!(store.events_after(0, 100).await.unwrap().len(), 31);
    store.sweep_events(10, 0).await.unwrap();
    assert_eq!(store.events_after(0, 100).await.unwrap().len(), 10);
    assert!(missed(&store, ann.id, 20).await.is_none(), "21 is gone");
    assert_eq!(missed(&store, ann.id, 21).await.unwrap().len(), 10);
    store.sweep_events(10, i64::MAX).await.unwrap();
    let left = store.events_after(0, 100).await.unwrap();
    assert_eq!(left.len(), 1, "the newest, so that no id is given twice");
    assert_eq!(left[0].id, 31);
    let next = say(&store, room, ann.id, "next").await;
    assert_eq!(
        missed(&store, ann.id, 31).await.unwrap(),
        [(EventKind::MessageNew, next)]
    );
}

pub async fn many_writers_at_once_lose_nothing_and_are_told_in_order(store: Shared) {
    const WRITERS: i64 = 8;
    const EACH: i64 = 100;
    let ann = user(&store, "ann").await;
    let room = room(&store, ann.id, "room").await;
    let (listener, mut events) = mpsc::channel(1);
    store.tell_events(listener);
    let writers: Vec<_> = (0..WRITERS)
        .map(|_| {
            let store = std::sync::Arc::clone(&store);
            tokio::spawn(async move {
                for n in 0..EACH {
                    let message = new_message(room, ann.id, &n.to_string());
                    let message = store.add_message(message).await;
                    message.unwrap().expect("a participant");
                }
            })
        })
        .collect();
    for n in 0..WRITERS * EACH {
        let event = events.recv().await.unwrap();
        assert_eq!(event.id, n + 2);
        assert_eq!(event.message.unwrap().id, event.subject);
    }
    for writer in writers {
        writer.await.unwrap();
    }
    assert!(events.try_recv().is_err());
    let messages = store.messages(room, ALL).await.unwrap();
    assert_eq!(messages.count, WRITERS * EACH);
}
