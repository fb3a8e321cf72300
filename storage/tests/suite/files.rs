//! Files, attachments and avatars.

use moznods_storage::{
    BlobHash, File, FileUsage, LastAdmin, NewFile, NewMessage, StorageError, UserId,
};

use super::{ALL, LIMITS, Shared, by, owned_by, room, user};

fn new_file(uploader: UserId, hash: u8, size: i64) -> NewFile {
    NewFile {
        uploader,
        hash: BlobHash([hash; 32]),
        name: "cat.png".to_owned(),
        content_type: "image/png".to_owned(),
        size,
        dimensions: Some((4, 3)),
        has_thumbnail: true,
        quota: None,
        now: 5,
    }
}

pub(super) async fn upload(store: &Shared, uploader: UserId, hash: u8) -> File {
    store.add_file(new_file(uploader, hash, 10)).await.unwrap()
}

async fn say_with(
    store: &Shared,
    room: i64,
    author: UserId,
    files: &[i64],
) -> Result<i64, StorageError> {
    let message = NewMessage {
        room,
        author,
        attachments: files.to_vec(),
        now: 20,
        ..NewMessage::default()
    };
    let stored = store.add_message(message).await?;
    Ok(stored.expect("a participant").into_message().id)
}

async fn loose(store: &Shared) -> Vec<u8> {
    let hashes = store.loose_blobs(100).await.unwrap();
    hashes.iter().map(|hash| hash.0[0]).collect()
}

pub async fn files_are_seen_by_who_uploaded_them_and_where_they_are_attached(store: Shared) {
    let (ann, bob) = (user(&store, "ann").await, user(&store, "bob").await);
    let eve = user(&store, "eve").await;
    let room = room(&store, ann.id, "room").await;
    store
        .add_participant(room, bob.id, by(&ann), LIMITS, 11)
        .await
        .unwrap();
    let file = upload(&store, ann.id, 1).await;
    let sees = async |viewer| store.file(file.id, viewer).await.unwrap();
    assert_eq!(sees(ann.id).await.as_ref(), Some(&file));
    assert_eq!(sees(bob.id).await, None);
    let message = say_with(&store, room, ann.id, &[file.id]).await.unwrap();
    assert_eq!(sees(bob.id).await.as_ref(), Some(&file));
    assert_eq!(sees(eve.id).await, None);
    assert_eq!(store.any_file(file.id).await.unwrap().as_ref(), Some(&file));
    assert_eq!(store.any_file(file.id + 1).await.unwrap(), None);
    store.leave(room, bob.id).await.unwrap();
    assert_eq!(sees(bob.id).await, None);

    say_with(&store, room, ann.id, &[]).await.unwrap();
    let page = store.messages(room, ALL).await.unwrap().items;
    assert!(page[0].attachments.is_empty());
    assert_eq!(page[1].id, message);
    assert_eq!(page[1].attachments[0].file, file);
}

pub async fn only_own_files_are_attached_and_once(store: Shared) {
    let (ann, bob) = (user(&store, "ann").await, user(&store, "bob").await);
    let room = room(&store, ann.id, "room").await;
    let mine = upload(&store, ann.id, 1).await.id;
    let second = upload(&store, ann.id, 2).await.id;
    let his = upload(&store, bob.id, 1).await.id;
    for wrong in [
        vec![his],
        vec![second + 100],
        vec![mine, mine],
        vec![mine, his],
    ] {
        let refused = say_with(&store, room, ann.id, &wrong).await;
        assert!(matches!(refused, Err(StorageError::NoSuchFile)));
    }
    assert_eq!(store.messages(room, ALL).await.unwrap().count, 0);
    say_with(&store, room, ann.id, &[second, mine])
        .await
        .unwrap();
    let page = store.messages(room, ALL).await.unwrap().items;
    let attached = page[0].attachments.iter();
    let attached: Vec<i64> = attached.map(|attachment| attachment.file.id).collect();
    assert_eq!(attached, [second, mine], "in this order");
    let again = say_with(&store, room, ann.id, &[mine]).await;
    assert!(matches!(again, Err(StorageError::NoSuchFile)));
}

pub async fn a_quota_holds_for_all_files_of_a_user(store: Shared) {
    let (ann, bob) = (user(&store, "ann").await, user(&store, "bob").await);
    let limited = |uploader, hash, size| NewFile {
        quota: Some(100),
        ..new_file(uploader, hash, size)
    };
    let first = store.add_file(limited(ann.id, 1, 60)).await.unwrap();
    // The same bytes once more count once more.
    let too_much = store.add_file(limited(ann.id, 1, 60)).await;
    assert!(matches!(too_much, Err(StorageError::QuotaExceeded)));
    let huge = store.add_file(limited(ann.id, 1, i64::MAX)).await;
    assert!(matches!(huge, Err(StorageError::QuotaExceeded)));
    store.add_file(limited(ann.id, 2, 40)).await.unwrap();
    store.add_file(limited(bob.id, 1, 100)).await.unwrap();
    let usage = |files, bytes| FileUsage { files, bytes };
    assert_eq!(store.file_usage(ann.id).await.unwrap(), usage(2, 100));
    assert_eq!(store.all_file_usage().await.unwrap(), usage(3, 200));

    assert_eq!(store.remove_orphans(5, 10).await.unwrap(), 0, "not yet");
    let room = room(&store, ann.id, "room").await;
    say_with(&store, room, ann.id, &[first.id]).await.unwrap();
    assert!(!store.has_orphans(5).await.unwrap() && store.has_orphans(6).await.unwrap());
    assert_eq!(store.remove_orphans(6, 1).await.unwrap(), 1);
    assert_eq!(store.remove_orphans(6, 10).await.unwrap(), 1);
    assert_eq!(store.file_usage(ann.id).await.unwrap(), usage(1, 60));
    assert_eq!(store.all_file_usage().await.unwrap(), usage(1, 60));
    assert!(store.add_file(limited(ann.id, 3, 41)).await.is_err());
    let last = store.add_file(limited(ann.id, 3, 40)).await.unwrap();
    // Neither another's nor what is attached.
    assert!(!store.delete_file(last.id, bob.id).await.unwrap());
    assert!(!store.delete_file(first.id, ann.id).await.unwrap());
    assert!(store.delete_file(last.id, ann.id).await.unwrap());
    assert!(!store.delete_file(last.id, ann.id).await.unwrap());
    assert_eq!(store.file_usage(ann.id).await.unwrap(), usage(1, 60));
    let nobody = store.add_file(limited(bob.id + 1, 3, 40)).await;
    assert!(matches!(nobody, Err(StorageError::NotFound)));
}

pub async fn what_is_attached_goes_with_its_message_room_and_user(store: Shared) {
    let ann = user(&store, "ann").await;
    let room = room(&store, ann.id, "room").await;
    let attached = upload(&store, ann.id, 1).await.id;
    say_with(&store, room, ann.id, &[attached]).await.unwrap();
    store.delete_room(room, owned_by(&ann)).await.unwrap();
    assert_eq!(store.any_file(attached).await.unwrap(), None);
    assert_eq!(loose(&store).await, [1]);

    let bob = user(&store, "bob").await;
    let room = super::room(&store, bob.id, "room").await;
    let cat = user(&store, "cat").await;
    store
        .add_participant(room, cat.id, by(&bob), LIMITS, 11)
        .await
        .unwrap();
    let said = upload(&store, bob.id, 2).await.id;
    say_with(&store, room, bob.id, &[said]).await.unwrap();
    let unsaid = upload(&store, bob.id, 3).await.id;
    let picture = Some(BlobHash([4; 32]));
    store.set_avatar(bob.id, picture).await.unwrap();
    store.delete_user(bob.id, LastAdmin::MayGo).await.unwrap();
    assert_eq!(store.any_file(unsaid).await.unwrap(), None);
    assert!(store.file(said, cat.id).await.unwrap().is_some());
    assert_eq!(loose(&store).await, [1, 3, 4]);
}

pub async fn blobs_are_loose_when_nothing_refers_to_them(store: Shared) {
    let (ann, bob) = (user(&store, "ann").await, user(&store, "bob").await);
    assert!(loose(&store).await.is_empty());
    for hash in [1, 2, 3] {
        store.expect_blob(BlobHash([hash; 32])).await.unwrap();
        store.expect_blob(BlobHash([hash; 32])).await.unwrap();
    }
    assert_eq!(loose(&store).await, [1, 2, 3]);
    assert_eq!(store.loose_blobs(2).await.unwrap().len(), 2);
    upload(&store, ann.id, 1).await;
    upload(&store, bob.id, 1).await;
    assert_eq!(loose(&store).await, [2, 3]);
    store.forget_blobs(vec![BlobHash([2; 32])]).await.unwrap();
    assert_eq!(loose(&store).await, [3]);
    let picture = Some(BlobHash([3; 32]));
    store.set_avatar(ann.id, picture).await.unwrap();
    assert!(loose(&store).await.is_empty());

    let needed = |after| store.needed_blobs(after, 10);
    let all = [(BlobHash([1; 32]), true), (BlobHash([3; 32]), false)];
    assert_eq!(needed(None).await.unwrap(), all);
    assert_eq!(needed(Some(all[0].0)).await.unwrap(), all[1..]);

    // One of two that have the same bytes goes, then the other.
    store.delete_user(ann.id, LastAdmin::MayGo).await.unwrap();
    assert_eq!(loose(&store).await, [3]);
    assert_eq!(store.remove_orphans(6, 10).await.unwrap(), 1);
    assert_eq!(loose(&store).await, [1, 3]);
}

pub async fn avatars_are_seen_while_somebody_has_them(store: Shared) {
    let (ann, bob) = (user(&store, "ann").await, user(&store, "bob").await);
    let [first, second] = [1, 2].map(|hash| BlobHash([hash; 32]));
    let set = store.set_avatar(ann.id, Some(first)).await.unwrap();
    assert_eq!(set.avatar, Some(first));
    store.set_avatar(bob.id, Some(first)).await.unwrap();
    store.expect_blob(first).await.unwrap();
    store.set_avatar(bob.id, Some(first)).await.unwrap();
    assert!(loose(&store).await.is_empty());
    store.set_avatar(ann.id, Some(second)).await.unwrap();
    assert!(store.is_avatar(first).await.unwrap());
    assert!(loose(&store).await.is_empty(), "bob's still");
    let taken_away = store.set_avatar(bob.id, None).await.unwrap();
    assert_eq!(taken_away.avatar, None);
    assert!(!store.is_avatar(first).await.unwrap());
    assert!(store.is_avatar(second).await.unwrap());
    assert_eq!(loose(&store).await, [1]);
    let nobody = store.set_avatar(bob.id + 1, None).await;
    assert!(matches!(nobody, Err(StorageError::NotFound)));
}
