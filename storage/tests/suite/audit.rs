//! The log of what was done over others.

use moznods_storage::{
    AuditActor, AuditEntry, AuditFilter, AuditTarget, LastAdmin, NewRelaySecret, Note, Right, Role,
    SecretText, StorageError, UserId,
};

use super::{Shared, new_user, owned_by, room, user};

fn note(at: i64, actor: Option<UserId>, action: &'static str, target: AuditTarget) -> Note {
    Note {
        at,
        actor: actor.map_or(AuditActor::CommandLine, AuditActor::User),
        action,
        target,
        details: r#"{"a":1}"#.to_owned(),
        address: actor.map(|_| "192.0.2.1".parse().unwrap()),
    }
}

async fn log(store: &Shared, filter: AuditFilter) -> Vec<AuditEntry> {
    store.audit_log(filter, 100).await.unwrap().0
}

pub async fn a_note_stands_where_its_change_does(store: Shared) {
    let (ann, bob) = (user(&store, "ann").await, user(&store, "bob").await);
    let room = room(&store, ann.id, "room").await;
    let of_room = || {
        let target = AuditTarget::Room(room);
        store.noting(note(5, Some(ann.id), "room.delete", target))
    };

    let without_right = of_room().delete_room(room, owned_by(&bob)).await;
    assert!(matches!(without_right, Err(StorageError::NotFound)));
    let right = Right {
        by: ann.id,
        least: Role::Owner,
    };
    assert!(!of_room().lift_ban(room, right, bob.id).await.unwrap());
    let all = AuditFilter::default;
    assert_eq!(log(&store, all()).await, [], "nothing was done");

    of_room().delete_room(room, owned_by(&ann)).await.unwrap();
    let added = store.noting(note(6, None, "user.add", AuditTarget::NewUser));
    let eve = added.create_user(new_user("eve")).await.unwrap();
    let target = AuditTarget::User(bob.id);
    let gone = store.noting(note(7, Some(eve.id), "user.delete", target));
    gone.delete_user(bob.id, LastAdmin::MayGo).await.unwrap();
    let secret = AuditTarget::RelaySecret("matrix".to_owned());
    let new = NewRelaySecret {
        name: "matrix".to_owned(),
        secret: SecretText("hidden".to_owned()),
        max_allocations: None,
        max_bytes_per_month: None,
        created_at: 8,
    };
    let adding = store.noting(note(8, None, "relay_secret.add", secret.clone()));
    adding.add_relay_secret(new).await.unwrap();
    let revoking = store.noting(note(9, None, "relay_secret.revoke", secret));
    revoking
        .revoke_relay_secret("matrix".to_owned())
        .await
        .unwrap();
    let allocation = AuditTarget::Allocation("0-5f".to_owned());
    let ended = note(10, Some(ann.id), "allocation.end", allocation);
    store.note(ended).await.unwrap();

    let entries = log(&store, all()).await;
    let seen = entries.iter().rev().map(|entry| {
        (
            entry.at,
            entry.actor_name.as_str(),
            entry.action.as_str(),
            entry.target_kind.as_str(),
            entry.target_id,
            entry.target_name.as_str(),
        )
    });
    let secret = entries[1].target_id;
    assert!(secret.is_some());
    let expected = [
        (5, "ann", "room.delete", "room", Some(room), "room"),
        (6, "", "user.add", "user", Some(eve.id), "eve"),
        (7, "eve", "user.delete", "user", Some(bob.id), "bob"),
        (8, "", "relay_secret.add", "relay_secret", secret, "matrix"),
        (
            9,
            "",
            "relay_secret.revoke",
            "relay_secret",
            secret,
            "matrix",
        ),
        (10, "ann", "allocation.end", "allocation", None, "0-5f"),
    ];
    assert_eq!(seen.collect::<Vec<_>>(), expected);
    assert_eq!(entries[5].details, r#"{"a":1}"#);
    assert_eq!(entries[5].address.as_deref(), Some("192.0.2.1"));
    assert_eq!(entries[5].actor, AuditActor::User(ann.id));
    let secret = entries[1].clone();
    assert_eq!(
        (secret.actor, secret.address),
        (AuditActor::CommandLine, None)
    );
}

pub async fn the_log_is_read_by_part_and_forgotten_by_age(store: Shared) {
    let (ann, bob) = (user(&store, "ann").await, user(&store, "bob").await);
    for at in 1..=6 {
        let (actor, action) = match at {
            1..=3 => (Some(ann.id), "user.block"),
            4 => (Some(ann.id), "user.unblock"),
            _ => (None, "user.block"),
        };
        let note = note(at, actor, action, AuditTarget::User(bob.id));
        store.note(note).await.unwrap();
    }
    let times = async |filter: AuditFilter| -> Vec<i64> {
        let entries = log(&store, filter).await;
        entries.iter().map(|entry| entry.at).collect()
    };
    let none = AuditFilter::default;
    assert_eq!(times(none()).await, [6, 5, 4, 3, 2, 1]);
    let of_ann = || AuditFilter {
        actor: Some(AuditActor::User(ann.id)),
        ..none()
    };
    assert_eq!(times(of_ann()).await, [4, 3, 2, 1]);
    let commands = AuditFilter {
        actor: Some(AuditActor::CommandLine),
        ..none()
    };
    assert_eq!(times(commands).await, [6, 5]);
    let blocks = AuditFilter {
        action: Some("user.block".to_owned()),
        since: Some(2),
        until: Some(6),
        ..of_ann()
    };
    assert_eq!(times(blocks).await, [3, 2]);

    let (first, more) = store.audit_log(none(), 4).await.unwrap();
    assert_eq!((first.len(), more), (4, true));
    let rest = AuditFilter {
        before: Some(first[3].id),
        ..none()
    };
    let (rest, more) = store.audit_log(rest, 4).await.unwrap();
    assert_eq!((rest.len(), more), (2, false));

    store.sweep_audit_log(4).await.unwrap();
    assert_eq!(times(none()).await, [6, 5, 4]);
}
