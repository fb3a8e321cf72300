//! What every implementation of `Store` must do. [`tests!`] runs all of it against one.

mod accounts;
mod audit;
mod bots;
mod events;
mod files;
mod messages;
mod moderation;
mod search;

pub use messages::*;

use std::sync::Arc;

use moznods_storage::{
    AccountChange, AdminGrant, Admission, Deleter, DeviceKeys, LastAdmin, MAX_UNREAD, Month,
    NewInvitation, NewMessage, NewRelayDevice, NewRelaySecret, NewRoom, NewSignIn, NewUser, Page,
    RelayOwner, RelayUsage, Right, Role, RoomChange, RoomId, RoomLimits, SecretText, StorageError,
    Store, TokenHash, User, UserId, UserKey,
};

pub use events::*;
pub use moderation::*;
pub use search::*;

/// Makes a test of every function below; `$store` returns a guard and an empty store.
macro_rules! tests {
    ($store:path) => {
        $crate::suite::tests!($store:
            names_and_mails_are_unique_whatever_their_case,
            there_is_one_first_administrator,
            a_blocked_user_has_no_tokens_and_gets_none,
            a_new_password_ends_all_tokens,
            all_tokens_of_a_user_end_at_once,
            sign_ins_are_named_listed_and_ended_by_their_user_alone,
            the_sign_in_unused_for_longest_makes_room,
            who_changes_his_password_stays_signed_in_once,
            a_link_for_a_password_is_good_once_and_until_its_end,
            codes_of_a_second_factor_are_taken_once,
            an_identity_is_of_one_account,
            the_last_administrator_stays,
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
            what_is_unread_is_right_after_whatever_happened,
            a_right_against_somebody_ends_where_he_is_as_much,
            an_invitation_ends_with_its_uses,
            a_room_is_muted_by_one_for_himself,
            secrets_are_made_once,
            secrets_of_other_programs_come_and_go_by_name,
            devices_come_and_go_by_name,
            usage_adds_up_by_month_and_owner,
            many_writers_at_once_lose_nothing_and_are_told_in_order,
            a_failed_change_undoes_itself_alone,
            files_are_seen_by_who_uploaded_them_and_where_they_are_attached,
            only_own_files_are_attached_and_once,
            a_quota_holds_for_all_files_of_a_user,
            what_is_attached_goes_with_its_message_room_and_user,
            blobs_are_loose_when_nothing_refers_to_them,
            nobody_removes_what_another_stores,
            avatars_are_seen_while_somebody_has_them,
            each_change_is_told_and_logged_once,
            an_undone_change_leaves_no_event,
            one_has_missed_what_is_his_now,
            events_are_kept_by_number_and_by_age,
            a_message_sent_twice_is_there_once,
            only_the_author_changes_a_message_and_only_while_he_takes_part,
            a_deleted_message_leaves_counts_and_replies_right,
            a_reply_answers_a_message_of_its_own_room,
            reactions_are_one_of_each_kind_from_each,
            mentions_are_of_those_in_the_room,
            a_history_is_read_from_any_place_of_it,
            own_messages_are_never_unread,
            a_note_stands_where_its_change_does,
            the_log_is_read_by_part_and_forgotten_by_age,
            words_are_found_in_all_their_forms,
            one_finds_what_is_said_where_one_takes_part,
            what_was_changed_is_found_by_what_it_says_now,
            what_was_found_is_read_page_by_page,
            the_newest_of_many_are_found_first,
            who_is_in_many_rooms_finds_in_all_of_them,
            administrators_see_all_users_and_rooms,
            a_bot_may_what_its_owner_may_and_goes_with_him,
            what_comes_by_a_webhook_is_of_nobody_else,
            a_pin_goes_with_its_message,
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

pub use accounts::*;
pub use audit::*;
pub use bots::*;
pub use files::*;

type Shared = Arc<dyn Store>;

pub const LIMITS: RoomLimits = RoomLimits {
    participants: 100,
    rooms: 100,
};

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

async fn block(store: &Shared, user: UserId, blocked: bool) -> Result<(), StorageError> {
    let change = AccountChange {
        blocked: Some(blocked),
        ..AccountChange::default()
    };
    store.change_account(user, change, LastAdmin::MayGo).await
}

pub async fn user(store: &Shared, name: &str) -> User {
    store.create_user(new_user(name)).await.unwrap()
}

fn sign_in(token: TokenHash, user: UserId, epoch: i64, now: i64) -> NewSignIn {
    NewSignIn {
        token,
        user,
        epoch,
        name: String::new(),
        now,
    }
}

pub async fn room(store: &Shared, owner: UserId, name: &str) -> RoomId {
    store
        .create_room(new_room(owner, name), LIMITS)
        .await
        .unwrap()
}

fn by(owner: &User) -> Admission {
    Admission::By(owned_by(owner))
}

fn owned_by(owner: &User) -> Right {
    Right {
        by: owner.id,
        least: Role::Owner,
    }
}

pub fn new_room(owner: UserId, name: &str) -> NewRoom {
    NewRoom {
        owner,
        name: name.to_owned(),
        topic: String::new(),
        is_public: false,
        now: 10,
    }
}

fn new_invitation(token: &str, room: RoomId, by: UserId, end: Option<i64>) -> NewInvitation {
    NewInvitation {
        token: token.to_owned(),
        room,
        by,
        expires_at: end,
        max_uses: None,
        now: 12,
    }
}

fn new_message(room: RoomId, author: UserId, text: &str) -> NewMessage {
    NewMessage {
        room,
        author,
        content: text.to_owned(),
        now: 20,
        ..NewMessage::default()
    }
}

async fn say(store: &Shared, room: RoomId, author: UserId, text: &str) -> i64 {
    let message = store.add_message(new_message(room, author, text));
    let sent = message.await.unwrap();
    sent.expect("a participant").into_message().id
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
    store.add_token(sign_in(token, ann.id, 0, 5)).await.unwrap();
    let owner = store.token_owner(token).await.unwrap().unwrap();
    assert_eq!((owner.user.id, owner.last_used_at), (ann.id, 5));
    store.touch_token(token, 6).await.unwrap();
    let owner = store.token_owner(token).await.unwrap().unwrap();
    assert_eq!(owner.last_used_at, 6);

    block(&store, ann.id, true).await.unwrap();
    assert!(store.token_owner(token).await.unwrap().is_none());
    assert!(store.living_tokens(vec![token]).await.unwrap().is_empty());
    assert!(store.users_with_access().await.unwrap().is_empty());
    assert!(store.add_token(sign_in(token, ann.id, 1, 7)).await.is_err());

    block(&store, ann.id, false).await.unwrap();
    assert!(store.token_owner(token).await.unwrap().is_none());
    assert_eq!(store.users_with_access().await.unwrap(), [(ann.id, 1)]);
    // Who began to sign in before that is too late.
    let late = store.add_token(sign_in(token, ann.id, 0, 8)).await;
    assert!(matches!(late, Err(StorageError::NotFound)));
    store.add_token(sign_in(token, ann.id, 1, 8)).await.unwrap();
    assert!(store.token_owner(token).await.unwrap().is_some());
    assert!(matches!(
        block(&store, ann.id + 1, true).await,
        Err(StorageError::NotFound)
    ));
}

pub async fn a_new_password_ends_all_tokens(store: Shared) {
    let (ann, bob) = (user(&store, "ann").await, user(&store, "bob").await);
    let (of_ann, of_bob) = (TokenHash([1; 32]), TokenHash([2; 32]));
    store
        .add_token(sign_in(of_ann, ann.id, 0, 5))
        .await
        .unwrap();
    store
        .add_token(sign_in(of_bob, bob.id, 0, 5))
        .await
        .unwrap();
    store.set_password(ann.id, "new".to_owned()).await.unwrap();
    let epochs = store.users_with_access().await.unwrap();
    assert_eq!(epochs, [(ann.id, 1), (bob.id, 0)]);
    let living = store.living_tokens(vec![of_ann, of_bob]).await.unwrap();
    assert_eq!(living, [of_bob]);
    let key = UserKey::Id(ann.id);
    let (_, hash) = store.user_with_password(key).await.unwrap().unwrap();
    assert_eq!(hash, "new");
    store.remove_token(of_bob).await.unwrap();
    assert!(store.token_owner(of_bob).await.unwrap().is_none());
}

pub async fn all_tokens_of_a_user_end_at_once(store: Shared) {
    let (ann, bob) = (user(&store, "ann").await, user(&store, "bob").await);
    let tokens = [1, 2, 3].map(|n| TokenHash([n; 32]));
    for (token, owner) in tokens.iter().zip([&ann, &ann, &bob]) {
        store
            .add_token(sign_in(*token, owner.id, 0, 5))
            .await
            .unwrap();
    }
    store.remove_all_tokens(ann.id).await.unwrap();
    let living = store.living_tokens(tokens.to_vec()).await.unwrap();
    assert_eq!(living, tokens[2..]);
    let found = store.user(UserKey::Id(ann.id)).await.unwrap().unwrap();
    assert_eq!((ann.epoch, found.epoch), (0, 1));
    assert!(matches!(
        store.remove_all_tokens(bob.id + 1).await,
        Err(StorageError::NotFound)
    ));
}

pub async fn a_deleted_user_is_gone_but_what_he_wrote_stays(store: Shared) {
    let (ann, bob) = (user(&store, "ann").await, user(&store, "bob").await);
    let shared = room(&store, ann.id, "shared").await;
    let alone = room(&store, ann.id, "alone").await;
    store
        .add_participant(shared, bob.id, by(&ann), LIMITS, 11)
        .await
        .unwrap();
    say(&store, shared, ann.id, "still here").await;
    store.delete_user(ann.id, LastAdmin::MayGo).await.unwrap();

    assert!(store.user(UserKey::Id(ann.id)).await.unwrap().is_none());
    assert_eq!(store.users_with_access().await.unwrap(), [(bob.id, 0)]);
    assert!(store.room(alone).await.unwrap().is_none());
    assert_eq!(store.room(shared).await.unwrap().unwrap().owner_id, bob.id);
    assert_eq!(store.participant_ids(shared).await.unwrap(), [bob.id]);
    let messages = store.messages(shared, ALL).await.unwrap();
    assert_eq!(messages.items[0].content, "still here");
    assert_eq!(messages.items[0].author.email, "");
    let again = user(&store, "ann").await;
    assert_ne!(again.id, ann.id);
    assert!(matches!(
        store.delete_user(ann.id, LastAdmin::MayGo).await,
        Err(StorageError::NotFound)
    ));
}

pub async fn rooms_are_listed_newest_first_with_what_the_viewer_needs(store: Shared) {
    let (ann, bob) = (user(&store, "ann").await, user(&store, "bob").await);
    let first = room(&store, ann.id, "first").await;
    let second = room(&store, bob.id, "second").await;
    let third = room(&store, ann.id, "third").await;
    store
        .add_participant(first, bob.id, by(&ann), LIMITS, 11)
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
        topic: Some("of it".to_owned()),
        is_public: None,
    };
    store
        .change_room(first, owned_by(&ann), change, 99)
        .await
        .unwrap();
    let view = store.room_view(first, ann.id).await.unwrap().unwrap();
    assert_eq!(view.room.name, "1st");
    assert_eq!((view.room.created_at, view.room.updated_at), (10, 99));
    assert!(!view.room.is_public);
}

pub async fn a_direct_room_is_one_for_both(store: Shared) {
    let (ann, bob) = (user(&store, "ann").await, user(&store, "bob").await);
    let direct = |a: UserId, b: UserId| store.direct_room(a, b, "DM".to_owned(), LIMITS, 10);
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
        .add_participant(room, bob.id, by(&ann), LIMITS, 11)
        .await
        .unwrap();
    let bobs = bobs.expect("new");
    assert_eq!((bobs.user.id, bobs.joined_at), (bob.id, 11));
    assert!(
        store
            .add_participant(room, bob.id, by(&ann), LIMITS, 12)
            .await
            .unwrap()
            .is_none()
    );
    assert_eq!(store.participants(room).await.unwrap().len(), 2);
    assert!(store.is_participant(room, bob.id).await.unwrap());
    assert!(store.leave(room, bob.id).await.unwrap());
    assert!(!store.leave(room, bob.id).await.unwrap());
    assert!(matches!(
        store
            .add_participant(room + 1, bob.id, by(&ann), LIMITS, 12)
            .await,
        Err(StorageError::NotFound)
    ));
}

pub async fn the_room_of_an_owner_who_leaves_goes_to_the_next(store: Shared) {
    let (ann, bob) = (user(&store, "ann").await, user(&store, "bob").await);
    let room = room(&store, ann.id, "room").await;
    store
        .add_participant(room, bob.id, by(&ann), LIMITS, 11)
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
    let refused = store.add_message(new_message(room, bob.id, "x"));
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
        .add_participant(room, bob.id, by(&ann), LIMITS, 11)
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
        .add_invitation(new_invitation("t", room, ann.id, None), 100)
        .await
        .unwrap();
    store.delete_room(room, owned_by(&ann)).await.unwrap();
    assert!(store.room(room).await.unwrap().is_none());
    assert!(store.participant_ids(room).await.unwrap().is_empty());
    assert!(store.room_of_message(message).await.unwrap().is_none());
    assert!(store.invitation(token).await.unwrap().is_none());
    assert!(matches!(
        store.delete_room(room, owned_by(&ann)).await,
        Err(StorageError::NotFound)
    ));
}

pub async fn invitations_are_kept_with_their_end(store: Shared) {
    let ann = user(&store, "ann").await;
    let room = room(&store, ann.id, "room").await;
    let token = "t".to_owned();
    store
        .add_invitation(new_invitation("t", room, ann.id, Some(77)), 100)
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
        let made = store.add_invitation(new_invitation(token, room, by.id, None), 100);
        made.await.unwrap();
    };
    let is_there = async |token: &str| store.invitation(token.to_owned()).await.unwrap().is_some();
    let enter = async |token: &str| {
        let by = Admission::Invitation(token.to_owned());
        store.add_participant(room, bob.id, by, LIMITS, 13).await
    };
    invite("a", &ann).await;
    enter("a").await.unwrap().expect("new");
    invite("b", &bob).await;
    assert!(store.leave(room, bob.id).await.unwrap());
    assert!(is_there("a").await && !is_there("b").await);

    enter("a").await.unwrap().expect("new");
    let removed = store.remove_participant(room, owned_by(&ann), bob.id).await;
    assert!(removed.unwrap());
    assert!(!is_there("a").await);
    assert!(matches!(enter("a").await, Err(StorageError::NotFound)));
    let again = store.remove_participant(room, owned_by(&ann), bob.id).await;
    assert!(!again.unwrap());

    invite("c", &ann).await;
    store.delete_user(ann.id, LastAdmin::MayGo).await.unwrap();
    assert!(!is_there("c").await);
}

pub async fn rights_must_hold_at_the_moment_of_the_change(store: Shared) {
    let (ann, bob) = (user(&store, "ann").await, user(&store, "bob").await);
    let eve = user(&store, "eve").await;
    let room = room(&store, ann.id, "room").await;
    let other = self::room(&store, bob.id, "other").await;
    let invite = |token: &str, room, by: &User, end| {
        store.add_invitation(new_invitation(token, room, by.id, end), 100)
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
        let entered = store.add_participant(room, eve.id, admission.clone(), LIMITS, 13);
        assert!(
            matches!(entered.await, Err(StorageError::NotFound)),
            "{admission:?}"
        );
    }
    let (direct, _) = store
        .direct_room(ann.id, bob.id, "DM".to_owned(), LIMITS, 10)
        .await
        .unwrap();
    for refused in [
        store.delete_room(room, owned_by(&eve)).await,
        store
            .change_room(room, owned_by(&eve), RoomChange::default(), 9)
            .await,
        store
            .remove_participant(room, owned_by(&eve), ann.id)
            .await
            .map(drop),
        store
            .remove_participant(direct, owned_by(&ann), bob.id)
            .await
            .map(drop),
        store
            .add_participant(direct, eve.id, by(&ann), LIMITS, 9)
            .await
            .map(drop),
        invite("new", room, &eve, None).await,
    ] {
        assert!(matches!(refused, Err(StorageError::NotFound)));
    }
    let public = RoomChange {
        is_public: Some(true),
        ..RoomChange::default()
    };
    store
        .change_room(room, owned_by(&ann), public, 9)
        .await
        .unwrap();
    let entered = store.add_participant(room, eve.id, Admission::Public, LIMITS, 13);
    entered.await.unwrap().expect("new");
}

pub async fn what_was_said_before_one_came_is_neither_unread_nor_read(store: Shared) {
    let (ann, bob) = (user(&store, "ann").await, user(&store, "bob").await);
    let room = room(&store, ann.id, "room").await;
    let old = say(&store, room, ann.id, "old").await;
    store
        .add_participant(room, bob.id, by(&ann), LIMITS, 11)
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

/// Lists are asked for all the while, so that what is known of the last one is used for the next.
pub async fn what_is_unread_is_right_after_whatever_happened(store: Shared) {
    let (ann, bob) = (user(&store, "ann").await, user(&store, "bob").await);
    let room = room(&store, ann.id, "room").await;
    store
        .add_participant(room, bob.id, by(&ann), LIMITS, 11)
        .await
        .unwrap();
    let mut said: Vec<(i64, UserId)> = Vec::new();
    let mut read = [(ann.id, 0), (bob.id, 0)];
    let mut state: u64 = 7;
    for _ in 0..400 {
        // xorshift64
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let draw = usize::try_from(state >> 8 & 0xffff).unwrap();
        let author = [ann.id, bob.id][draw % 2];
        match state % 8 {
            0 if !said.is_empty() => {
                let (message, author) = said.remove(draw % said.len());
                let gone = store.delete_message(message, Deleter::Author(author));
                assert!(gone.await.unwrap());
            }
            1 if !said.is_empty() => {
                let (message, _) = said[draw % said.len()];
                let (reader, position) = &mut read[draw % 2];
                let moved = store.mark_read(room, *reader, message).await.unwrap();
                assert_eq!(moved, message > *position);
                *position = message.max(*position);
            }
            _ => said.push((say(&store, room, author, "x").await, author)),
        }
        for (reader, position) in read {
            let unread: Vec<i64> = said
                .iter()
                .filter(|(message, author)| *message > position && *author != reader)
                .map(|(message, _)| *message)
                .collect();
            let view = store.room_view(room, reader).await.unwrap().unwrap();
            let first = unread.first().copied();
            assert_eq!(
                (view.unread_count as usize, view.first_unread_id),
                (unread.len(), first)
            );
        }
    }
}

pub async fn secrets_of_other_programs_come_and_go_by_name(store: Shared) {
    let new = |name: &str, secret: &str| NewRelaySecret {
        name: name.to_owned(),
        secret: SecretText(secret.to_owned()),
        max_allocations: Some(7),
        max_bytes_per_month: Some(1 << 40),
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
    assert_eq!(all[1].max_bytes_per_month, Some(1 << 40));
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

pub async fn devices_come_and_go_by_name(store: Shared) {
    let new = |name: &str, byte| NewRelayDevice {
        name: name.to_owned(),
        realm: "here".to_owned(),
        keys: DeviceKeys {
            md5: vec![byte; 16],
            sha256: vec![byte; 32],
        },
        created_at: 5,
    };
    store.add_relay_device(new("gate", 1)).await.unwrap();
    store.add_relay_device(new("door", 2)).await.unwrap();
    assert!(matches!(
        store.add_relay_device(new("gate", 3)).await,
        Err(StorageError::DeviceNameTaken)
    ));
    let all = store.relay_devices().await.unwrap();
    let names: Vec<_> = all.iter().map(|device| device.name.as_str()).collect();
    assert_eq!(names, ["door", "gate"]);
    assert_eq!((&*all[1].realm, all[1].created_at), ("here", 5));
    assert_eq!(all[1].keys, new("gate", 1).keys);
    assert_eq!(format!("{:?}", all[1].keys), "[keys]");
    store.remove_relay_device("gate".to_owned()).await.unwrap();
    assert!(matches!(
        store.remove_relay_device("gate".to_owned()).await,
        Err(StorageError::NotFound)
    ));
    store.add_relay_device(new("gate", 4)).await.unwrap();
    let again = store.relay_devices().await.unwrap();
    assert!(again[1].id > all[1].id, "it is another one");
}

pub async fn usage_adds_up_by_month_and_owner(store: Shared) {
    let month = |text: &str| text.parse::<Month>().unwrap();
    let used = |text, owner, to_peer, to_client| RelayUsage {
        month: month(text),
        owner,
        to_peer,
        to_client,
        milliseconds: 1500,
        allocations: 1,
    };
    let (ann, matrix) = (RelayOwner::User(1), RelayOwner::Secret(1));
    let first = vec![
        used("2026-11", ann, 1, 2),
        used("2026-11", matrix, 10, 20),
        used("2026-12", ann, 5, 5),
    ];
    store.add_relay_usage(first).await.unwrap();
    let more = vec![used("2026-11", ann, 100, 200)];
    store.add_relay_usage(more).await.unwrap();
    store.add_relay_usage(Vec::new()).await.unwrap();
    let both = RelayUsage {
        milliseconds: 3000,
        allocations: 2,
        ..used("2026-11", ann, 101, 202)
    };
    let november = store.relay_usage(month("2026-11")).await.unwrap();
    assert_eq!(november, [both, used("2026-11", matrix, 10, 20)]);
    let december = store.relay_usage(month("2026-12")).await.unwrap();
    assert_eq!(december, [used("2026-12", ann, 5, 5)]);
    assert!(
        store
            .relay_usage(month("2027-01"))
            .await
            .unwrap()
            .is_empty()
    );
    for text in [
        "2026",
        "2026-13",
        "2026-00",
        "26-01",
        "2026-1",
        "+026-01",
        "2026-01-01",
        "",
    ] {
        assert!(text.parse::<Month>().is_err(), "{text}");
    }
}

pub async fn a_failed_change_undoes_itself_alone(store: Shared) {
    let ann = user(&store, "ann").await;
    let gone = user(&store, "gone").await;
    store.delete_user(gone.id, LastAdmin::MayGo).await.unwrap();
    // The direct room is made before its second participant is found missing; all wait together and share a transaction.
    let (missing, good, taken) = tokio::join!(
        store.direct_room(ann.id, gone.id, "none".to_owned(), LIMITS, 10),
        store.create_room(new_room(ann.id, "good"), LIMITS),
        store.create_user(new_user("ANN")),
    );
    assert!(matches!(missing, Err(StorageError::NotFound)));
    assert!(matches!(taken, Err(StorageError::UsernameTaken)));
    let rooms = store.rooms_of(ann.id, ALL).await.unwrap();
    assert_eq!(rooms.count, 1);
    assert_eq!(rooms.items[0].room.id, good.unwrap());
}
