//! Sign-ins, and what users prove themselves by.

use std::collections::HashSet;

use moznods_storage::{
    AccountChange, AdminGrant, Credentials, Identity, LastAdmin, MAX_SIGN_INS, NewMessage,
    NewSignIn, NewUser, PasswordChange, StorageError, TokenHash, TotpSecret, UserKey,
};

use super::{ALL, Shared, block, new_user, sign_in, user};

fn token(n: u8) -> TokenHash {
    TokenHash([n; 32])
}

pub async fn sign_ins_are_named_listed_and_ended_by_their_user_alone(store: Shared) {
    let (ann, bob) = (user(&store, "ann").await, user(&store, "bob").await);
    for (n, owner, name) in [(1, &ann, "phone"), (2, &ann, "laptop"), (3, &bob, "")] {
        let new = NewSignIn {
            name: name.to_owned(),
            ..sign_in(token(n), owner.id, 0, i64::from(n))
        };
        store.add_token(new).await.unwrap();
    }
    store.touch_token(token(1), 9).await.unwrap();
    let listed = store.sign_ins(ann.id).await.unwrap();
    let seen: Vec<_> = listed
        .iter()
        .map(|s| (s.name.as_str(), s.token, s.created_at, s.last_used_at))
        .collect();
    assert_eq!(
        seen,
        [("phone", token(1), 1, 9), ("laptop", token(2), 2, 2)]
    );
    let phone = listed[0].id;
    let named = |user, id| store.rename_sign_in(user, id, "tablet".to_owned());
    assert_eq!(named(ann.id, phone).await.unwrap().name, "tablet");
    for refused in [named(bob.id, phone).await, named(ann.id, 999).await] {
        assert!(matches!(refused, Err(StorageError::NotFound)));
    }
    let by_bob = store.remove_sign_in(bob.id, phone).await;
    assert!(matches!(by_bob, Err(StorageError::NotFound)));
    let ended = store.remove_sign_in(ann.id, phone).await.unwrap();
    assert_eq!(ended, token(1));
    assert!(store.token_owner(token(1)).await.unwrap().is_none());
    assert_eq!(store.sign_ins(ann.id).await.unwrap().len(), 1);
    assert_eq!(store.sign_ins(bob.id).await.unwrap().len(), 1);
}

pub async fn the_sign_in_unused_for_longest_makes_room(store: Shared) {
    let (ann, bob) = (user(&store, "ann").await, user(&store, "bob").await);
    let of_bob = TokenHash([255; 32]);
    store
        .add_token(sign_in(of_bob, bob.id, 0, 0))
        .await
        .unwrap();
    let hash = |n: usize| token(u8::try_from(n).unwrap());
    for n in 0..MAX_SIGN_INS {
        let now = i64::try_from(n).unwrap();
        let new = sign_in(hash(n), ann.id, 0, now);
        assert!(store.add_token(new).await.unwrap().is_empty());
    }
    store.touch_token(hash(0), 1000).await.unwrap();
    // However its clock goes, the new one is not the one that ends.
    let new = sign_in(hash(MAX_SIGN_INS), ann.id, 0, 0);
    assert_eq!(store.add_token(new).await.unwrap(), [hash(1)]);
    let left = store.sign_ins(ann.id).await.unwrap();
    let left: HashSet<_> = left.iter().map(|sign_in| sign_in.token).collect();
    assert_eq!(left.len(), MAX_SIGN_INS);
    assert!(left.contains(&hash(0)) && left.contains(&hash(MAX_SIGN_INS)));
    assert!(store.token_owner(of_bob).await.unwrap().is_some());
}

pub async fn who_changes_his_password_stays_signed_in_once(store: Shared) {
    let (ann, bob) = (user(&store, "ann").await, user(&store, "bob").await);
    for (n, owner) in [(1, &ann), (2, &ann), (3, &bob)] {
        let new = sign_in(token(n), owner.id, 0, 5);
        store.add_token(new).await.unwrap();
    }
    store.set_reset(ann.id, token(9), 100).await.unwrap();
    let change = |epoch, keep, hash: &str| {
        store.change_password(PasswordChange {
            user: ann.id,
            epoch,
            keep: token(keep),
            password_hash: hash.to_owned(),
        })
    };
    for (epoch, keep) in [(1, 1), (0, 3), (0, 7)] {
        let refused = change(epoch, keep, "no").await;
        assert!(matches!(refused, Err(StorageError::NotFound)));
    }
    let both = tokio::join!(change(0, 1, "one"), change(0, 2, "two"));
    let (kept, hash) = match both {
        (Ok(()), Err(StorageError::NotFound)) => (1, "one"),
        (Err(StorageError::NotFound), Ok(())) => (2, "two"),
        other => panic!("one of two changes at once, not {other:?}"),
    };
    let living = store.living_tokens((1..=3).map(token).collect());
    assert_eq!(living.await.unwrap(), [token(kept), token(3)]);
    let key = UserKey::Id(ann.id);
    let (now, set) = store.user_with_password(key).await.unwrap().unwrap();
    assert_eq!((now.epoch, set.as_str()), (1, hash));
    assert!(store.reset_owner(token(9), 1).await.unwrap().is_none());
}

pub async fn a_link_for_a_password_is_good_once_and_until_its_end(store: Shared) {
    let (ann, bob) = (user(&store, "ann").await, user(&store, "bob").await);
    store
        .add_token(sign_in(token(1), ann.id, 0, 5))
        .await
        .unwrap();
    store.set_reset(ann.id, token(7), 100).await.unwrap();
    store.set_reset(ann.id, token(8), 100).await.unwrap();
    store.set_reset(bob.id, token(9), 100).await.unwrap();
    let take = |n, now| store.take_reset(token(n), "new".to_owned(), now);
    for (n, now) in [(7, 1), (8, 100), (6, 1)] {
        assert!(matches!(take(n, now).await, Err(StorageError::NotFound)));
    }
    let owner = store.reset_owner(token(8), 99).await.unwrap().unwrap();
    assert_eq!(owner.id, ann.id);
    assert_eq!(take(8, 99).await.unwrap().epoch, 1);
    assert!(store.token_owner(token(1)).await.unwrap().is_none());
    assert!(matches!(take(8, 99).await, Err(StorageError::NotFound)));
    block(&store, bob.id, true).await.unwrap();
    assert!(matches!(take(9, 1).await, Err(StorageError::NotFound)));
    store.delete_user(bob.id, LastAdmin::MayGo).await.unwrap();
    let late = store.set_reset(bob.id, token(9), 100).await;
    assert!(matches!(late, Err(StorageError::NotFound)));
}

pub async fn codes_of_a_second_factor_are_taken_once(store: Shared) {
    let ann = user(&store, "ann").await;
    let secret = |n: u8| TotpSecret(vec![n; 20]);
    let is_on = async || store.credentials(ann.id).await.unwrap().has_second_factor;
    let stale = store.begin_second_factor(ann.id, 1, secret(1)).await;
    assert!(matches!(stale, Err(StorageError::NotFound)));
    for n in [1, 2] {
        store
            .begin_second_factor(ann.id, 0, secret(n))
            .await
            .unwrap();
    }
    assert!(!is_on().await);
    assert!(!store.take_step(ann.id, secret(2), 5).await.unwrap());
    let confirm = |n| store.confirm_second_factor(ann.id, secret(n), 10, vec![token(1), token(2)]);
    assert!(matches!(confirm(1).await, Err(StorageError::NotFound)));
    confirm(2).await.unwrap();
    assert!(matches!(confirm(2).await, Err(StorageError::NotFound)));
    assert!(is_on().await);
    let again = store.begin_second_factor(ann.id, 0, secret(3)).await;
    assert!(matches!(again, Err(StorageError::SecondFactorOn)));

    for (step, taken) in [(10, false), (11, true), (11, false), (9, false), (12, true)] {
        let took = store.take_step(ann.id, secret(2), step).await.unwrap();
        assert_eq!(took, taken, "{step}");
    }
    assert!(!store.take_step(ann.id, secret(1), 20).await.unwrap());
    let (a, b) = tokio::join!(
        store.take_step(ann.id, secret(2), 30),
        store.take_step(ann.id, secret(2), 30)
    );
    assert_ne!(a.unwrap(), b.unwrap(), "one of the two");
    let take = async |n| store.take_recovery_code(ann.id, token(n)).await.unwrap();
    assert!(take(1).await && !take(1).await && !take(3).await);
    assert_eq!(store.credentials(ann.id).await.unwrap().recovery_codes, 1);

    store.remove_second_factor(ann.id).await.unwrap();
    assert!(!take(2).await && !is_on().await);
    let none = store.remove_second_factor(ann.id).await;
    assert!(matches!(none, Err(StorageError::NotFound)));
}

pub async fn an_identity_is_of_one_account(store: Shared) {
    let identity = |subject: &str| Identity {
        issuer: "https://id.example".to_owned(),
        subject: subject.to_owned(),
    };
    let nobody = |name: &str| NewUser {
        email: String::new(),
        password_hash: String::new(),
        ..new_user(name)
    };
    let make = |name: &str, subject: &str| {
        store.create_user_with_identity(nobody(name), identity(subject))
    };
    let ann = make("ann", "1").await.unwrap();
    let second = make("ann2", "1").await;
    assert!(matches!(second, Err(StorageError::IdentityTaken)));
    assert!(matches!(
        make("ann", "2").await,
        Err(StorageError::UsernameTaken)
    ));
    // Of what was refused nothing is left, and several may have no mail.
    let eve = make("ann2", "2").await.unwrap();
    let owner = async |subject| store.identity_owner(identity(subject)).await.unwrap();
    assert_eq!(owner("1").await.unwrap().id, ann.id);
    assert_eq!(
        store.credentials(ann.id).await.unwrap(),
        Credentials {
            has_password: false,
            has_second_factor: false,
            recovery_codes: 0,
            has_identity: true
        }
    );

    let bob = user(&store, "bob").await;
    let link = |subject, epoch| store.link_identity(identity(subject), bob.id, epoch, 5);
    assert!(matches!(
        link("1", 0).await,
        Err(StorageError::IdentityTaken)
    ));
    assert!(matches!(link("3", 1).await, Err(StorageError::NotFound)));
    link("3", 0).await.unwrap();
    assert!(matches!(
        link("4", 0).await,
        Err(StorageError::IdentityTaken)
    ));
    let unlink = |user| store.unlink_identity(user, "https://id.example".to_owned());
    assert!(
        matches!(unlink(ann.id).await, Err(StorageError::NotFound)),
        "the only way in"
    );
    unlink(bob.id).await.unwrap();
    assert!(owner("3").await.is_none());
    store.delete_user(eve.id, LastAdmin::MayGo).await.unwrap();
    assert!(owner("2").await.is_none());
}

pub async fn the_last_administrator_stays(store: Shared) {
    let admin = |name: &str| NewUser {
        admin: AdminGrant::Yes,
        ..new_user(name)
    };
    let ann = store.create_user(admin("ann")).await.unwrap();
    let eve = store.create_user(admin("eve")).await.unwrap();
    let bob = user(&store, "bob").await;
    let stale = store.delete_own_account(bob.id, 1).await;
    assert!(matches!(stale, Err(StorageError::NotFound)));
    store.delete_own_account(bob.id, 0).await.unwrap();
    let (a, b) = tokio::join!(
        store.delete_own_account(ann.id, 0),
        store.delete_own_account(eve.id, 0)
    );
    assert_eq!(u8::from(a.is_ok()) + u8::from(b.is_ok()), 1);
    assert!(matches!(a.and(b), Err(StorageError::LastAdmin)));
    assert!(store.has_admin().await.unwrap());
    let users = store.users().await.unwrap();
    let last = users.iter().find(|user| user.is_admin).unwrap();
    let unmade = AccountChange {
        is_admin: Some(false),
        ..AccountChange::default()
    };
    let blocked = AccountChange {
        blocked: Some(true),
        ..AccountChange::default()
    };
    for change in [unmade, blocked] {
        let changed = store.change_account(last.id, change, LastAdmin::Stays);
        assert!(matches!(changed.await, Err(StorageError::LastAdmin)));
    }
    let deleted = store.delete_user(last.id, LastAdmin::Stays).await;
    assert!(matches!(deleted, Err(StorageError::LastAdmin)));
    let still = store.user(UserKey::Id(last.id)).await.unwrap().unwrap();
    assert!(still.is_admin && !still.blocked);
    // Who is none is not the last one.
    let cid = user(&store, "cid").await;
    let changed = store.change_account(cid.id, blocked, LastAdmin::Stays);
    changed.await.unwrap();
    store
        .change_account(last.id, unmade, LastAdmin::MayGo)
        .await
        .unwrap();
    assert!(!store.has_admin().await.unwrap());
}

pub async fn administrators_see_all_users_and_rooms(store: Shared) {
    let (ann, bob) = (user(&store, "ann").await, user(&store, "bob").await);
    let gone = user(&store, "gone").await;
    store.delete_user(gone.id, LastAdmin::MayGo).await.unwrap();
    store
        .add_token(sign_in(token(1), ann.id, 0, 5))
        .await
        .unwrap();
    store.touch_token(token(1), 7).await.unwrap();
    store.remove_all_tokens(ann.id).await.unwrap();
    let room = super::room(&store, ann.id, "Комната").await;
    let file = super::files::upload(&store, ann.id, 1).await;
    let message = NewMessage {
        room,
        author: ann.id,
        content: "x".to_owned(),
        attachments: vec![file.id],
        now: 9,
        ..NewMessage::default()
    };
    store.add_message(message).await.unwrap().unwrap();
    let other = super::room(&store, bob.id, "other").await;

    let found = store.accounts(String::new(), ALL).await.unwrap();
    let seen = found.items.iter().map(|account| {
        let bytes = account.files.bytes;
        (account.user.id, account.last_seen, bytes)
    });
    let expected = [(bob.id, None, 0), (ann.id, Some(7), file.size)];
    assert_eq!(seen.collect::<Vec<_>>(), expected);
    assert_eq!(found.count, 2);
    for search in ["ANN", "ann@exam"] {
        let found = store.accounts(search.to_owned(), ALL).await.unwrap();
        assert_eq!((found.count, found.items[0].user.id), (1, ann.id));
    }
    assert!(store.account(gone.id).await.unwrap().is_none());

    let found = store.all_rooms(String::new(), ALL).await.unwrap();
    let seen = found.items.iter().map(|item| {
        let counts = (item.participant_count, item.message_count);
        (
            item.room.id,
            item.owner.id,
            counts,
            item.file_bytes,
            item.last_message_at,
        )
    });
    let expected = [
        (other, bob.id, (1, 0), 0, None),
        (room, ann.id, (1, 1), file.size, Some(9)),
    ];
    assert_eq!(seen.collect::<Vec<_>>(), expected);
    let found = store.all_rooms("комн".to_owned(), ALL).await.unwrap();
    assert_eq!((found.count, found.items[0].room.id), (1, room));
    store.delete_any_room(room).await.unwrap();
    let again = store.delete_any_room(room).await;
    assert!(matches!(again, Err(StorageError::NotFound)));
    assert!(store.room(room).await.unwrap().is_none());
}
