//! Bots, webhooks, pins.

use moznods_storage::{
    HookMessage, LastAdmin, NewBot, NewHook, NewMentions, Right, Role, StorageError, TokenHash,
    UserId, UserKey, UserKind,
};

use super::{LIMITS, Shared, block, by, owned_by, room, say, user};

fn token(n: u8) -> TokenHash {
    TokenHash([n; 32])
}

fn bot(owner: UserId, name: &str, n: u8) -> NewBot {
    NewBot {
        owner,
        username: name.to_owned(),
        display_name: String::new(),
        token: token(n),
        now: 5,
    }
}

pub async fn a_bot_may_what_its_owner_may_and_goes_with_him(store: Shared) {
    let (ann, bob) = (user(&store, "ann").await, user(&store, "bob").await);
    let made = store.add_bot(bot(ann.id, "helper", 1), 2).await.unwrap();
    assert_eq!(made.kind, UserKind::Bot);
    let taken = store.add_bot(bot(ann.id, "BOB", 2), 2).await;
    assert!(matches!(taken, Err(StorageError::UsernameTaken)));
    let child = store.add_bot(bot(made.id, "child", 2), 2).await;
    assert!(matches!(child, Err(StorageError::NotFound)));
    store.add_bot(bot(ann.id, "second", 2), 2).await.unwrap();
    let third = store.add_bot(bot(ann.id, "third", 3), 2).await;
    assert!(matches!(third, Err(StorageError::TooManyBots)));

    let may = async || {
        let access = store.users_with_access().await.unwrap();
        let listed = access.iter().any(|(user, _)| *user == made.id);
        let owner = store.token_owner(token(1)).await.unwrap();
        assert_eq!(owner.is_some(), listed);
        listed
    };
    assert!(may().await);
    block(&store, ann.id, true).await.unwrap();
    assert!(!may().await);
    block(&store, ann.id, false).await.unwrap();
    assert!(may().await);
    for refused in [
        store.set_bot_token(bob.id, made.id, None, 6).await,
        store.rename_bot(bob.id, made.id, "x".to_owned()).await,
        store.delete_bot(bob.id, made.id).await,
        store.delete_bot(ann.id, ann.id).await,
    ] {
        assert!(matches!(refused, Err(StorageError::NotFound)));
    }
    let another = store.set_bot_token(ann.id, made.id, Some(token(9)), 6);
    another.await.unwrap();
    assert!(store.token_owner(token(1)).await.unwrap().is_none());
    assert!(store.token_owner(token(9)).await.unwrap().is_some());
    let bots = store.bots(ann.id).await.unwrap();
    assert_eq!(bots[0].token.unwrap().created_at, 6);

    // No bot comes to own a room.
    let room = room(&store, ann.id, "room").await;
    let adding = store.add_participant(room, made.id, by(&ann), LIMITS, 7);
    adding.await.unwrap().expect("new");
    let given = store.transfer_room(room, owned_by(&ann), made.id, 8).await;
    assert!(matches!(given, Err(StorageError::NotFound)));
    store.leave(room, ann.id).await.unwrap();
    assert!(store.room(room).await.unwrap().is_none());

    store.delete_user(ann.id, LastAdmin::MayGo).await.unwrap();
    assert!(!may().await);
    assert!(store.user(UserKey::Id(made.id)).await.unwrap().is_none());
    assert!(store.bots(ann.id).await.unwrap().is_empty());
}

pub async fn what_comes_by_a_webhook_is_of_nobody_else(store: Shared) {
    let (ann, bob) = (user(&store, "ann").await, user(&store, "bob").await);
    let room = room(&store, ann.id, "room").await;
    let new = |by: Right, n: u8| NewHook {
        room,
        right: by,
        name: "Ann".to_owned(),
        secret: token(n),
        now: 5,
    };
    let refused = store.add_hook(new(owned_by(&bob), 1), 1).await;
    assert!(matches!(refused, Err(StorageError::NotFound)));
    // Called as somebody is: it is not found by it.
    let hook = store.add_hook(new(owned_by(&ann), 1), 1).await.unwrap();
    let full = store.add_hook(new(owned_by(&ann), 2), 1).await;
    assert!(matches!(full, Err(StorageError::TooManyHooks)));
    let named = UserKey::Username("ann".to_owned());
    assert_eq!(store.user(named).await.unwrap().unwrap().id, ann.id);
    assert!(store.user(UserKey::Id(hook)).await.unwrap().is_none());
    assert_eq!(store.users().await.unwrap().len(), 2);
    assert_eq!(store.users_with_access().await.unwrap().len(), 2);

    let say = |n: u8, name: Option<&str>| {
        store.add_hook_message(HookMessage {
            hook,
            secret: token(n),
            content: "x".to_owned(),
            author_name: name.map(str::to_owned),
            mentions: NewMentions::default(),
            now: 6,
        })
    };
    assert!(matches!(say(2, None).await, Err(StorageError::NotFound)));
    let said = say(1, Some("CI")).await.unwrap();
    assert_eq!((said.author.id, said.author.shown_name()), (hook, "CI"));
    let read = store.message(said.id).await.unwrap().unwrap();
    assert_eq!(read.author, said.author);
    let said = say(1, None).await.unwrap();
    assert_eq!(said.author.shown_name(), "Ann");
    let hooks = store.hooks(room).await.unwrap();
    assert_eq!(
        (hooks[0].made_by.id, hooks[0].last_used_at),
        (ann.id, Some(6))
    );

    let renewing = store.renew_hook(room, owned_by(&ann), hook, token(3));
    renewing.await.unwrap();
    assert!(!store.is_hook(hook, token(1)).await.unwrap());
    assert!(store.is_hook(hook, token(3)).await.unwrap());
    let name = "Bob".to_owned();
    let renaming = store.rename_hook(room, owned_by(&ann), hook, name);
    renaming.await.unwrap();
    store.remove_hook(room, owned_by(&ann), hook).await.unwrap();
    assert!(matches!(say(3, None).await, Err(StorageError::NotFound)));
    let read = store.message(said.id).await.unwrap().unwrap();
    assert_eq!(read.author.username, "Bob");
}

pub async fn a_pin_goes_with_its_message(store: Shared) {
    let ann = user(&store, "ann").await;
    let room = room(&store, ann.id, "room").await;
    let (first, second) = (
        say(&store, room, ann.id, "1").await,
        say(&store, room, ann.id, "2").await,
    );
    let right = Right {
        by: ann.id,
        least: Role::Moderator,
    };
    assert!(store.pin(first, right, 1, 5).await.unwrap());
    assert!(!store.pin(first, right, 1, 6).await.unwrap());
    let full = store.pin(second, right, 1, 6).await;
    assert!(matches!(full, Err(StorageError::TooManyPins)));
    assert!(store.pin(second, right, 2, 6).await.unwrap());
    let pinned = async || {
        let pins = store.pins(room).await.unwrap();
        let seen = pins.iter().map(|pin| (pin.message.id, pin.pinned_at));
        seen.collect::<Vec<_>>()
    };
    assert_eq!(pinned().await, [(second, 6), (first, 5)]);
    let deleting = moznods_storage::Deleter::Author(ann.id);
    assert!(store.delete_message(second, deleting).await.unwrap());
    assert_eq!(pinned().await, [(first, 5)]);
    assert!(store.unpin(first, right).await.unwrap());
    assert!(!store.unpin(first, right).await.unwrap());
    let gone = store.unpin(second, right).await;
    assert!(matches!(gone, Err(StorageError::NotFound)));
}
