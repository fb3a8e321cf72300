//! Roles, bans and the ends of invitations.

use moznods_storage::{Admission, Mute, NewInvitation, Right, Role, RoomLimits, StorageError};

use super::{ALL, LIMITS, Shared, by, new_invitation, owned_by, room, user};

pub async fn a_right_against_somebody_ends_where_he_is_as_much(store: Shared) {
    let (ann, bob) = (user(&store, "ann").await, user(&store, "bob").await);
    let eve = user(&store, "eve").await;
    let room = room(&store, ann.id, "room").await;
    for user in [&bob, &eve] {
        let adding = store.add_participant(room, user.id, by(&ann), LIMITS, 11);
        adding.await.unwrap().expect("new");
    }
    let moderate = |user| Right {
        by: user,
        least: Role::Moderator,
    };
    let ban = |by, whom| store.ban(room, moderate(by), whom, String::new(), 12);
    assert!(matches!(
        ban(bob.id, eve.id).await,
        Err(StorageError::NotFound)
    ));
    let appointed = store.set_role(room, owned_by(&ann), bob.id, Role::Moderator);
    assert_eq!(appointed.await.unwrap().role, Role::Moderator);
    let themselves = store.set_role(room, moderate(bob.id), bob.id, Role::Moderator);
    assert!(matches!(themselves.await, Err(StorageError::NotFound)));
    for above in [ann.id, bob.id] {
        let removing = store.remove_participant(room, moderate(bob.id), above);
        assert!(matches!(removing.await, Err(StorageError::NotFound)));
        assert!(matches!(
            ban(bob.id, above).await,
            Err(StorageError::NotFound)
        ));
    }

    assert!(ban(bob.id, eve.id).await.unwrap());
    assert!(
        !ban(bob.id, eve.id).await.unwrap(),
        "once more, but he is out"
    );
    let bans = store.bans(room, ALL).await.unwrap();
    assert_eq!(
        (
            bans.count,
            bans.items[0].user.id,
            bans.items[0].banned_by.id
        ),
        (1, eve.id, bob.id)
    );
    let adding = store.add_participant(room, eve.id, by(&ann), LIMITS, 13);
    assert!(matches!(adding.await, Err(StorageError::Banned)));
    let lift = |by| store.lift_ban(room, moderate(by), eve.id);
    assert!(matches!(lift(eve.id).await, Err(StorageError::NotFound)));
    assert!(lift(bob.id).await.unwrap());
    assert!(!lift(bob.id).await.unwrap());

    assert!(matches!(
        store.transfer_room(room, owned_by(&bob), bob.id, 14).await,
        Err(StorageError::NotFound)
    ));
    store
        .transfer_room(room, owned_by(&ann), bob.id, 14)
        .await
        .unwrap();
    let role = async |user| store.room_and_role(room, user).await.unwrap().unwrap().1;
    assert_eq!(role(bob.id).await, Some(Role::Owner));
    assert_eq!(role(ann.id).await, Some(Role::Moderator));
    assert_eq!(role(eve.id).await, None);
}

pub async fn an_invitation_ends_with_its_uses(store: Shared) {
    let ann = user(&store, "ann").await;
    let (bob, eve) = (user(&store, "bob").await, user(&store, "eve").await);
    let room = room(&store, ann.id, "room").await;
    let once = NewInvitation {
        max_uses: Some(1),
        ..new_invitation("once", room, ann.id, None)
    };
    store.add_invitation(once, 2).await.unwrap();
    store
        .add_invitation(new_invitation("short", room, ann.id, Some(20)), 2)
        .await
        .unwrap();
    let third = store.add_invitation(new_invitation("third", room, ann.id, None), 2);
    assert!(matches!(third.await, Err(StorageError::TooManyInvitations)));
    let enter = |user| {
        let by = Admission::Invitation("once".to_owned());
        store.add_participant(room, user, by, LIMITS, 13)
    };
    let small = RoomLimits {
        participants: 1,
        ..LIMITS
    };
    let full = store.add_participant(room, eve.id, by(&ann), small, 13);
    assert!(matches!(full.await, Err(StorageError::RoomFull)));
    let (one, other) = tokio::join!(enter(bob.id), enter(eve.id));
    let refused = [&one, &other]
        .into_iter()
        .filter(|entered| entered.is_err());
    assert_eq!(refused.count(), 1);
    let tokens = async |now| {
        let found = store.invitations(room, None, now).await.unwrap();
        found.into_iter().map(|one| one.token).collect::<Vec<_>>()
    };
    assert_eq!(tokens(13).await, ["short"]);
    assert!(tokens(20).await.is_empty());
    store.sweep_invitations(19).await.unwrap();
    assert!(store.invitation("once".to_owned()).await.unwrap().is_none());
    assert!(
        store
            .invitation("short".to_owned())
            .await
            .unwrap()
            .is_some()
    );
    store.sweep_invitations(20).await.unwrap();
    assert!(
        store
            .invitation("short".to_owned())
            .await
            .unwrap()
            .is_none()
    );
}

pub async fn a_room_is_muted_by_one_for_himself(store: Shared) {
    let (ann, bob) = (user(&store, "ann").await, user(&store, "bob").await);
    let room = room(&store, ann.id, "room").await;
    let mute = async || store.room_view(room, ann.id).await.unwrap().unwrap().mute;
    for wanted in [Mute::Forever, Mute::Until(70), Mute::No] {
        assert!(store.set_mute(room, ann.id, wanted).await.unwrap());
        assert_eq!(mute().await, wanted);
    }
    assert!(!store.set_mute(room, bob.id, Mute::Forever).await.unwrap());
    assert!(Mute::Until(70).holds(69) && !Mute::Until(70).holds(70));
}
