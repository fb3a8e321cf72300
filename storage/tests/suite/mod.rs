//! What every implementation of `Store` must do. [`tests!`] runs all of it against one.

use std::sync::Arc;

use moznods_storage::{
    AdminGrant, Admission, MAX_UNREAD, Message, NewRelaySecret, NewUser, Page, RoomChange, RoomId,
    SecretText, StorageError, Store, TokenHash, User, UserId, UserKey,
};

/// Makes a test of every function below; `$store` returns a guard and an empty store.
macro_rules! tests {
    ($store:path) => {
        $crate::suite::tests!($store:
            names_and_mails_are_unique_whatever_their_case,
            there_is_one_first_administrator,
            a_blocked_user_has_no_tokens_and_gets_none,
            a_new_password_ends_all_tokens,
            a_deleted_user_is_gone_but_what_he_wrote_stays,
            rooms_are_listed_newest_first_with_what_the_viewer_needs,
            a_direct_room_is_one_for_both,
            participants_come_and_go_once,
            the_room_of_an_owner_who_leaves_goes_to_the_next,
            only_participants_write,
            read_positions_move_forward_only,
            a_deleted_room_takes_all_with_it,
            invitations_are_kept_with_their_end,
            invitations_go_with_who_made_them_and_with_who_is_removed,
            rights_must_hold_at_the_moment_of_the_change,
            what_was_said_before_one_came_is_neither_unread_nor_read,
            secrets_are_made_once,
            secrets_of_other_programs_come_and_go_by_name,
            many_writers_at_once_lose_nothing_and_are_announced_in_order,
            a_failed_change_undoes_itself_alone,
        );
    };
    ($store:path: $($name:ident),* $(,)?) => {
        $(
            #[tokio::test]
            async fn $name() {
                let (_guard, store) = $store();
                $crate::suite::$name(store).await;
            }
        )*
    };
}
pub(crate) use tests;

type Shared = Arc<dyn Store>;

const ALL: Page = Page {
    offset: 0,
    limit: 100,
};

pub fn new_user(name: &str) -> NewUser {
    NewUser {
        username: name.to_owned(),
        email: format!("{name}@example.org"),
        display_name: String::new(),
        password_hash: "hash".to_owned(),
        admin: AdminGrant::No,
        now: 1,
    }
}

async fn user(store: &Shared, name: &str) -> User {
    store.create_user(new_user(name)).await.unwrap()
}

async fn room(store: &Shared, owner: UserId, name: &str) -> RoomId {
    store
        .create_room(owner, name.to_owned(), false, 10)
        .await
        .unwrap()
}

fn by(owner: &User) -> Admission {
    Admission::Owner(owner.id)
}

async fn say(store: &Shared, room: RoomId, author: UserId, text: &str) -> i64 {
    let nothing = Box::new(|_: &Message| {});
    let message = store.add_message(room, author, text.to_owned(), 20, nothing);
    message.await.unwrap().expect("a participant").id
}

pub async fn names_and_mails_are_unique_whatever_their_case(store: Shared) {
    let ann = user(&store, "Änn").await;
    let same_name = NewUser {
        email: "other@example.org".to_owned(),
        ..new_user("äNN")
    };
    assert!(matches!(
        store.create_user(same_name).await,
        Err(StorageError::UsernameTaken)
    ));
    let same_mail = NewUser {
        email: "ÄNN@EXAMPLE.org".to_owned(),
        ..new_user("bob")
    };
    assert!(matches!(
        store.create_user(same_mail).await,
        Err(StorageError::EmailTaken)
    ));
    for key in [
        UserKey::Id(ann.id),
        UserKey::Username("ÄNN".to_owned()),
        UserKey::Email("änn@Example.ORG".to_owned()),
    ] {
        assert_eq!(store.user(key).await.unwrap().as_ref(), Some(&ann));
    }
    assert_eq!(ann.username, "Änn");
    assert!(store.user(UserKey::Id(ann.id + 1)).await.unwrap().is_none());
}

pub async fn there_is_one_first_administrator(store: Shared) {
    let first = |name: &str| NewUser {
        admin: AdminGrant::First,
        ..new_user(name)
    };
    assert!(!store.has_admin().await.unwrap());
    let (a, b) = tokio::join!(
        store.create_user(first("ann")),
        store.create_user(first("bob"))
    );
    assert_eq!(u8::from(a.is_ok()) + u8::from(b.is_ok()), 1);
    assert!(matches!(a.and(b), Err(StorageError::AdminExists)));
    assert!(store.has_admin().await.unwrap());
    assert_eq!(store.users().await.unwrap().len(), 1);
}

pub async fn a_blocked_user_has_no_tokens_and_gets_none(store: Shared) {
    let ann = user(&store, "ann").await;
    let token = TokenHash([1; 32]);
    store.add_token(token, ann.id, 5).await.unwrap();
    let owner = store.token_owner(token).await.unwrap().unwrap();
    assert_eq!((owner.user.id, owner.last_used_at), (ann.id, 5));
    store.touch_token(token, 6).await.unwrap();
    let owner = store.token_owner(token).await.unwrap().unwrap();
    assert_eq!(owner.last_used_at, 6);

    store.set_blocked(ann.id, true).await.unwrap();
    assert!(store.token_owner(token).await.unwrap().is_none());
    assert!(store.living_tokens(vec![token]).await.unwrap().is_empty());
    assert!(store.users_with_access().await.unwrap().is_empty());
    assert!(store.add_token(token, ann.id, 7).await.is_err());

    store.set_blocked(ann.id, false).await.unwrap();
    assert!(store.token_owner(token).await.unwrap().is_none());
    assert_eq!(store.users_with_access().await.unwrap(), [ann.id]);
    assert!(matches!(
        store.set_blocked(ann.id + 1, true).await,
        Err(StorageError::NotFound)
    ));
}

pub async fn a_new_password_ends_all_tokens(store: Shared) {
    let (ann, bob) = (user(&store, "ann").await, user(&store, "bob").await);
    let (of_ann, of_bob) = (TokenHash([1; 32]), TokenHash([2; 32]));
    store.add_token(of_ann, ann.id, 5).await.unwrap();
    store.add_token(of_bob, bob.id, 5).await.unwrap();
    store.set_password(ann.id, "new".to_owned()).await.unwrap();
    let living = store.living_tokens(vec![of_ann, of_bob]).await.unwrap();
    assert_eq!(living, [of_bob]);
    let key = UserKey::Id(ann.id);
    let (_, hash) = store.user_with_password(key).await.unwrap().unwrap();
    assert_eq!(hash, "new");
    store.remove_token(of_bob).await.unwrap();
    assert!(store.token_owner(of_bob).await.unwrap().is_none());
}

pub async fn a_deleted_user_is_gone_but_what_he_wrote_stays(store: Shared) {
    let (ann, bob) = (user(&store, "ann").await, user(&store, "bob").await);
    let shared = room(&store, ann.id, "shared").await;
    let alone = room(&store, ann.id, "alone").await;
    store
        .add_participant(shared, bob.id, by(&ann), 11)
        .await
        .unwrap();
    say(&store, shared, ann.id, "still here").await;
    store.delete_user(ann.id).await.unwrap();

    assert!(store.user(UserKey::Id(ann.id)).await.unwrap().is_none());
    assert_eq!(store.users_with_access().await.unwrap(), [bob.id]);
    assert!(store.room(alone).await.unwrap().is_none());
    assert_eq!(store.room(shared).await.unwrap().unwrap().owner_id, bob.id);
    assert_eq!(store.participant_ids(shared).await.unwrap(), [bob.id]);
    let messages = store.messages(shared, ALL).await.unwrap();
    assert_eq!(messages.items[0].content, "still here");
    assert_eq!(messages.items[0].author.email, "");
    let again = user(&store, "ann").await;
    assert_ne!(again.id, ann.id);
    assert!(matches!(
        store.delete_user(ann.id).await,
        Err(StorageError::NotFound)
    ));
}

pub async fn rooms_are_listed_newest_first_with_what_the_viewer_needs(store: Shared) {
    let (ann, bob) = (user(&store, "ann").await, user(&store, "bob").await);
    let first = room(&store, ann.id, "first").await;
    let second = room(&store, bob.id, "second").await;
    let third = room(&store, ann.id, "third").await;
    store
        .add_participant(first, bob.id, by(&ann), 11)
        .await
        .unwrap();
    say(&store, first, ann.id, "one").await;
    say(&store, first, ann.id, "two").await;
    say(&store, first, bob.id, "own words are read").await;
    assert!(store.set_pinned(first, bob.id, true).await.unwrap());
    assert!(!store.set_pinned(third, bob.id, true).await.unwrap());

    let rooms = store.rooms_of(bob.id, ALL).await.unwrap();
    assert_eq!(rooms.count, 2);
    let ids: Vec<_> = rooms.items.iter().map(|view| view.room.id).collect();
    assert_eq!(ids, [second, first]);
    let view = &rooms.items[1];
    assert_eq!(view.unread_count, 2);
    assert!(view.is_pinned);
    assert_eq!(view.owner, ann);
    let names: Vec<_> = view
        .participants
        .iter()
        .map(|p| p.username.as_str())
        .collect();
    assert_eq!(names, ["ann", "bob"]);

    let page = Page {
        offset: 1,
        limit: 1,
    };
    let rooms = store.rooms_of(ann.id, page).await.unwrap();
    assert_eq!((rooms.count, rooms.items.len()), (2, 1));
    assert_eq!(rooms.items[0].room.id, first);
    assert!(store.room_view(third, bob.id).await.unwrap().is_none());

    let change = RoomChange {
        name: Some("1st".to_owned()),
        is_public: None,
    };
    store.change_room(first, ann.id, change, 99).await.unwrap();
    let view = store.room_view(first, ann.id).await.unwrap().unwrap();
    assert_eq!(view.room.name, "1st");
    assert_eq!((view.room.created_at, view.room.updated_at), (10, 99));
    assert!(!view.room.is_public);
}

pub async fn a_direct_room_is_one_for_both(store: Shared) {
    let (ann, bob) = (user(&store, "ann").await, user(&store, "bob").await);
    let direct = |a: UserId, b: UserId| store.direct_room(a, b, "DM".to_owned(), 10);
    let (made, again) = tokio::join!(direct(ann.id, bob.id), direct(bob.id, ann.id));
    let ((one, came), (other, later)) = (made.unwrap(), again.unwrap());
    assert_eq!(one, other);
    assert_eq!(came.len() + later.len(), 2, "made once");
    assert!(store.room(one).await.unwrap().unwrap().is_direct);

    for user in [ann.id, bob.id] {
        assert!(store.leave(one, user).await.unwrap());
    }
    let again = direct(bob.id, ann.id).await.unwrap();
    assert_eq!(again, (one, vec![bob.id, ann.id]));
    store.leave(one, ann.id).await.unwrap();
    let again = direct(bob.id, ann.id).await.unwrap();
    assert_eq!(again, (one, vec![ann.id]));
    assert_eq!(store.participant_ids(one).await.unwrap().len(), 2);
}

pub async fn participants_come_and_go_once(store: Shared) {
    let (ann, bob) = (user(&store, "ann").await, user(&store, "bob").await);
    let room = room(&store, ann.id, "room").await;
    let bobs = store
        .add_participant(room, bob.id, by(&ann), 11)
        .await
        .unwrap();
    let bobs = bobs.expect("new");
    assert_eq!((bobs.user.id, bobs.joined_at), (bob.id, 11));
    assert!(
        store
            .add_participant(room, bob.id, by(&ann), 12)
            .await
            .unwrap()
            .is_none()
    );
    assert_eq!(store.participants(room).await.unwrap().len(), 2);
    assert!(store.is_participant(room, bob.id).await.unwrap());
    assert!(store.leave(room, bob.id).await.unwrap());
    assert!(!store.leave(room, bob.id).await.unwrap());
    assert!(matches!(
        store.add_participant(room + 1, bob.id, by(&ann), 12).await,
        Err(StorageError::NotFound)
    ));
}

pub async fn the_room_of_an_owner_who_leaves_goes_to_the_next(store: Shared) {
    let (ann, bob) = (user(&store, "ann").await, user(&store, "bob").await);
    let room = room(&store, ann.id, "room").await;
    store
        .add_participant(room, bob.id, by(&ann), 11)
        .await
        .unwrap();
    store.leave(room, ann.id).await.unwrap();
    assert_eq!(store.room(room).await.unwrap().unwrap().owner_id, bob.id);
    store.leave(room, bob.id).await.unwrap();
    assert!(store.room(room).await.unwrap().is_none());
}

pub async fn only_participants_write(store: Shared) {
    let (ann, bob) = (user(&store, "ann").await, user(&store, "bob").await);
    let room = room(&store, ann.id, "room").await;
    let announce = Box::new(|_: &Message| panic!("there is nothing to announce"));
    let refused = store.add_message(room, bob.id, "x".to_owned(), 20, announce);
    assert!(refused.await.unwrap().is_none());
    let text = "\u{1}Ünïcode 🦀\n";
    let id = say(&store, room, ann.id, text).await;
    let messages = store.messages(room, ALL).await.unwrap();
    assert_eq!(messages.count, 1);
    assert_eq!(messages.items[0].content, text);
    assert_eq!(store.room_of_message(id).await.unwrap(), Some(room));
    assert_eq!(store.room_of_message(id + 1).await.unwrap(), None);
}

pub async fn read_positions_move_forward_only(store: Shared) {
    let (ann, bob) = (user(&store, "ann").await, user(&store, "bob").await);
    let room = room(&store, ann.id, "room").await;
    store
        .add_participant(room, bob.id, by(&ann), 11)
        .await
        .unwrap();
    assert_eq!(store.last_message(room).await.unwrap(), None);
    let first = say(&store, room, ann.id, "1").await;
    let second = say(&store, room, ann.id, "2").await;
    assert_eq!(store.last_message(room).await.unwrap(), Some(second));

    assert!(store.mark_read(room, bob.id, first).await.unwrap());
    assert!(store.mark_read(room, ann.id, second).await.unwrap());
    let read: Vec<_> = store.messages(room, ALL).await.unwrap().items;
    assert_eq!(read[0].id, second);
    assert!(read[0].read_by.is_empty(), "an author is no reader");
    assert_eq!(read[1].read_by, [bob.id]);
    let view = store.room_view(room, bob.id).await.unwrap().unwrap();
    assert_eq!(view.unread_count, 1);

    assert!(store.mark_read(room, bob.id, second).await.unwrap());
    assert!(!store.mark_read(room, bob.id, first).await.unwrap());
    let view = store.room_view(room, bob.id).await.unwrap().unwrap();
    assert_eq!(view.unread_count, 0);
}

pub async fn a_deleted_room_takes_all_with_it(store: Shared) {
    let ann = user(&store, "ann").await;
    let room = room(&store, ann.id, "room").await;
    let message = say(&store, room, ann.id, "x").await;
    let token = "t".to_owned();
    store
        .add_invitation(token.clone(), room, ann.id, None, 12)
        .await
        .unwrap();
    store.delete_room(room, ann.id).await.unwrap();
    assert!(store.room(room).await.unwrap().is_none());
    assert!(store.participant_ids(room).await.unwrap().is_empty());
    assert!(store.room_of_message(message).await.unwrap().is_none());
    assert!(store.invitation(token).await.unwrap().is_none());
    assert!(matches!(
        store.delete_room(room, ann.id).await,
        Err(StorageError::NotFound)
    ));
}

pub async fn invitations_are_kept_with_their_end(store: Shared) {
    let ann = user(&store, "ann").await;
    let room = room(&store, ann.id, "room").await;
    let token = "t".to_owned();
    store
        .add_invitation(token.clone(), room, ann.id, Some(77), 12)
        .await
        .unwrap();
    let found = store.invitation(token).await.unwrap().unwrap();
    assert_eq!((found.room_id, found.expires_at), (room, Some(77)));
    assert!(store.invitation("u".to_owned()).await.unwrap().is_none());
}

pub async fn invitations_go_with_who_made_them_and_with_who_is_removed(store: Shared) {
    let (ann, bob) = (user(&store, "ann").await, user(&store, "bob").await);
    let room = room(&store, ann.id, "room").await;
    let invite = async |token: &str, by: &User| {
        let made = store.add_invitation(token.to_owned(), room, by.id, None, 12);
        made.await.unwrap();
    };
    let is_there = async |token: &str| store.invitation(token.to_owned()).await.unwrap().is_some();
    let enter = async |token: &str| {
        let by = Admission::Invitation(token.to_owned());
        store.add_participant(room, bob.id, by, 13).await
    };
    invite("a", &ann).await;
    enter("a").await.unwrap().expect("new");
    invite("b", &bob).await;
    assert!(store.leave(room, bob.id).await.unwrap());
    assert!(is_there("a").await && !is_there("b").await);

    enter("a").await.unwrap().expect("new");
    let removed = store.remove_participant(room, ann.id, bob.id).await;
    assert!(removed.unwrap());
    assert!(!is_there("a").await);
    assert!(matches!(enter("a").await, Err(StorageError::NotFound)));
    let again = store.remove_participant(room, ann.id, bob.id).await;
    assert!(!again.unwrap());

    invite("c", &ann).await;
    store.delete_user(ann.id).await.unwrap();
    assert!(!is_there("c").await);
}

pub async fn rights_must_hold_at_the_moment_of_the_change(store: Shared) {
    let (ann, bob) = (user(&store, "ann").await, user(&store, "bob").await);
    let eve = user(&store, "eve").await;
    let room = room(&store, ann.id, "room").await;
    let other = self::room(&store, bob.id, "other").await;
    let invite = |token: &str, room, by: &User, end| {
        store.add_invitation(token.to_owned(), room, by.id, end, 12)
    };
    invite("old", room, &ann, Some(13)).await.unwrap();
    invite("other", other, &bob, None).await.unwrap();
    let invited = |token: &str| Admission::Invitation(token.to_owned());
    for admission in [
        by(&bob),
        by(&eve),
        invited("old"),
        invited("other"),
        invited("none"),
        Admission::Public,
    ] {
        let entered = store.add_participant(room, eve.id, admission.clone(), 13);
        assert!(
            matches!(entered.await, Err(StorageError::NotFound)),
            "{admission:?}"
        );
    }
    let (direct, _) = store
        .direct_room(ann.id, bob.id, "DM".to_owned(), 10)
        .await
        .unwrap();
    for refused in [
        store.delete_room(room, eve.id).await,
        store
            .change_room(room, eve.id, RoomChange::default(), 9)
            .await,
        store
            .remove_participant(room, eve.id, ann.id)
            .await
            .map(drop),
        store
            .remove_participant(direct, ann.id, bob.id)
            .await
            .map(drop),
        store
            .add_participant(direct, eve.id, by(&ann), 9)
            .await
            .map(drop),
        invite("new", room, &eve, None).await,
    ] {
        assert!(matches!(refused, Err(StorageError::NotFound)));
    }
    let public = RoomChange {
        name: None,
        is_public: Some(true),
    };
    store.change_room(room, ann.id, public, 9).await.unwrap();
    let entered = store.add_participant(room, eve.id, Admission::Public, 13);
    entered.await.unwrap().expect("new");
}

pub async fn what_was_said_before_one_came_is_neither_unread_nor_read(store: Shared) {
    let (ann, bob) = (user(&store, "ann").await, user(&store, "bob").await);
    let room = room(&store, ann.id, "room").await;
    let old = say(&store, room, ann.id, "old").await;
    store
        .add_participant(room, bob.id, by(&ann), 11)
        .await
        .unwrap();
    let unread = async || {
        let view = store.room_view(room, bob.id).await.unwrap();
        view.expect("a participant").unread_count
    };
    assert_eq!(unread().await, 0);
    let new = say(&store, room, ann.id, "new").await;
    assert_eq!(unread().await, 1);
    assert!(store.mark_read(room, bob.id, new).await.unwrap());
    let messages = store.messages(room, ALL).await.unwrap().items;
    assert_eq!((messages[0].id, &messages[0].read_by), (new, &vec![bob.id]));
    assert_eq!((messages[1].id, &messages[1].read_by), (old, &vec![]));

    for _ in 0..=MAX_UNREAD {
        say(&store, room, ann.id, "much").await;
    }
    assert_eq!(unread().await, MAX_UNREAD);
}

pub async fn secrets_of_other_programs_come_and_go_by_name(store: Shared) {
    let new = |name: &str, secret: &str| NewRelaySecret {
        name: name.to_owned(),
        secret: SecretText(secret.to_owned()),
        max_allocations: Some(7),
        created_at: 1,
    };
    store
        .add_relay_secret(new("matrix", "first"))
        .await
        .unwrap();
    store.add_relay_secret(new("cloud", "other")).await.unwrap();
    let again = store.add_relay_secret(new("matrix", "again")).await;
    assert!(matches!(again, Err(StorageError::SecretNameTaken)));

    let second = SecretText("second".to_owned());
    store
        .rotate_relay_secret("matrix".to_owned(), second, 99)
        .await
        .unwrap();
    let all = store.relay_secrets().await.unwrap();
    let names: Vec<_> = all.iter().map(|secret| secret.name.as_str()).collect();
    assert_eq!(names, ["cloud", "matrix"]);
    assert_eq!(all[1].secret.0, "second");
    assert_eq!(all[1].previous, Some((SecretText("first".to_owned()), 99)));
    assert_eq!(all[1].max_allocations, Some(7));
    assert!(!format!("{all:?}").contains("first"));

    store
        .revoke_relay_secret("matrix".to_owned())
        .await
        .unwrap();
    let gone = store.revoke_relay_secret("matrix".to_owned()).await;
    assert!(matches!(gone, Err(StorageError::NotFound)));
    let lost = SecretText("x".to_owned());
    let lost = store
        .rotate_relay_secret("matrix".to_owned(), lost, 1)
        .await;
    assert!(matches!(lost, Err(StorageError::NotFound)));
    assert_eq!(store.relay_secrets().await.unwrap().len(), 1);
}

pub async fn secrets_are_made_once(store: Shared) {
    store.ready().await.unwrap();
    let secret = |fresh: &str| store.secret("relay", fresh.to_owned());
    assert_eq!(secret("a").await.unwrap(), "a");
    assert_eq!(secret("b").await.unwrap(), "a");
    store.ready().await.unwrap();
}

pub async fn many_writers_at_once_lose_nothing_and_are_announced_in_order(store: Shared) {
    const WRITERS: i64 = 8;
    const EACH: i64 = 100;
    let ann = user(&store, "ann").await;
    let room = room(&store, ann.id, "room").await;
    let (announced, mut announcements) = tokio::sync::mpsc::unbounded_channel();
    let writers: Vec<_> = (0..WRITERS)
        .map(|_| {
            let (store, announced) = (Arc::clone(&store), announced.clone());
            tokio::spawn(async move {
                for n in 0..EACH {
                    let announced = announced.clone();
                    let announce = Box::new(move |message: &Message| {
                        announced.send(message.id).unwrap();
                    });
                    let message = store.add_message(room, ann.id, n.to_string(), 20, announce);
                    message.await.unwrap().expect("a participant");
                }
            })
        })
        .collect();
    drop(announced);
    for writer in writers {
        writer.await.unwrap();
    }
    let messages = store.messages(room, ALL).await.unwrap();
    assert_eq!(messages.count, WRITERS * EACH);
    let mut ids = Vec::new();
    while let Some(id) = announcements.recv().await {
        ids.push(id);
    }
    assert_eq!(i64::try_from(ids.len()).unwrap(), WRITERS * EACH);
    assert!(ids.is_sorted());
}

pub async fn a_failed_change_undoes_itself_alone(store: Shared) {
    let ann = user(&store, "ann").await;
    let gone = user(&store, "gone").await;
    store.delete_user(gone.id).await.unwrap();
    // The direct room is made before its second participant is found missing; all wait together and share a transaction.
    let (missing, good, taken) = tokio::join!(
        store.direct_room(ann.id, gone.id, "none".to_owned(), 10),
        store.create_room(ann.id, "good".to_owned(), false, 10),
        store.create_user(new_user("ANN")),
    );
    assert!(matches!(missing, Err(StorageError::NotFound)));
    assert!(matches!(taken, Err(StorageError::UsernameTaken)));
    let rooms = store.rooms_of(ann.id, ALL).await.unwrap();
    assert_eq!(rooms.count, 1);
    assert_eq!(rooms.items[0].room.id, good.unwrap());
}
