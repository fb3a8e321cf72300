//! Files, attachments and avatars.

use moznods_storage::{
    BlobHash, ExpectedBlob, File, FileUsage, LastAdmin, NewFile, NewMessage, StorageError, UserId,
};

use super::{ALL, LIMITS, Shared, by, owned_by, room, user};

pub(super) async fn expected(store: &Shared, hash: u8) -> ExpectedBlob {
    let expected = store.expect_blob(BlobHash([hash; 32]), 5).await;
    expected.unwrap().expect("nobody removes it")
}

fn new_file(uploader: UserId, blob: ExpectedBlob, size: i64) -> NewFile {
    NewFile {
        uploader,
        blob,
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
    let blob = expected(store, hash).await;
    store.add_file(new_file(uploader, blob, 10)).await.unwrap()
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

/// When nobody expects anything any more.
const LATER: i64 = 10_000_000_000;

/// Of all that are loose, without removing them.
async fn loose(store: &Shared) -> Vec<u8> {
    loose_at(store, LATER).await
}

async fn loose_at(store: &Shared, now: i64) -> Vec<u8> {
    let loose = store.loose_blobs(100, now).await.unwrap();
    for hash in &loose.hashes {
        let after = now + 601_000_000;
        let again = store.expect_blob(*hash, after).await.unwrap().unwrap();
        store.release_blob(again).await.unwrap();
    }
    let mut hashes: Vec<u8> = loose.hashes.iter().map(|hash| hash.0[0]).collect();
    hashes.sort_unstable();
    hashes
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
    let add = async |uploader, hash, size| {
        let file = NewFile {
            quota: Some(100),
            ..new_file(uploader, expected(&store, hash).await, size)
        };
        store.add_file(file).await
    };
    let first = add(ann.id, 1, 60).await.unwrap();
    // The same bytes once more count once more.
    let too_much = add(ann.id, 1, 60).await;
    assert!(matches!(too_much, Err(StorageError::QuotaExceeded)));
    let huge = add(ann.id, 1, i64::MAX).await;
    assert!(matches!(huge, Err(StorageError::QuotaExceeded)));
    add(ann.id, 2, 40).await.unwrap();
    add(bob.id, 1, 100).await.unwrap();
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
    assert!(add(ann.id, 3, 41).await.is_err());
    let last = add(ann.id, 3, 40).await.unwrap();
    // Neither another's nor what is attached.
    assert!(!store.delete_file(last.id, bob.id).await.unwrap());
    assert!(!store.delete_file(first.id, ann.id).await.unwrap());
    assert!(store.delete_file(last.id, ann.id).await.unwrap());
    assert!(!store.delete_file(last.id, ann.id).await.unwrap());
    assert_eq!(store.file_usage(ann.id).await.unwrap(), usage(1, 60));
    let nobody = add(bob.id + 1, 3, 40).await;
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
    let picture = Some(expected(&store, 4).await);
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
        expected(&store, hash).await;
        expected(&store, hash).await;
    }
    assert!(loose_at(&store, 6).await.is_empty(), "all are expected");
    assert_eq!(loose(&store).await, [1, 2, 3]);
    upload(&store, ann.id, 1).await;
    upload(&store, bob.id, 1).await;
    assert_eq!(loose(&store).await, [2, 3]);
    let removed = store.loose_blobs(1, LATER).await.unwrap();
    assert_eq!(removed.hashes, [BlobHash([2; 32])]);
    store.forget_blobs(removed).await.unwrap();
    assert_eq!(loose(&store).await, [3]);
    let picture = Some(expected(&store, 3).await);
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

pub async fn nobody_removes_what_another_stores(store: Shared) {
    let ann = user(&store, "ann").await;
    let [hour, minute] = [3_600_000_000, 60_000_000];
    let hash = BlobHash([1; 32]);
    let expect = async |now| store.expect_blob(hash, now).await.unwrap();
    let add = async |blob| store.add_file(new_file(ann.id, blob, 10)).await;
    // The same bytes are stored twice at once; one upload fails, the other one's file is deleted.
    let [first, second, third] = [expect(1).await, expect(2).await, expect(3).await];
    store.release_blob(first.unwrap()).await.unwrap();
    let file = add(second.unwrap()).await.unwrap();
    assert!(store.delete_file(file.id, ann.id).await.unwrap());
    assert!(loose_at(&store, minute).await.is_empty());
    store.release_blob(third.unwrap()).await.unwrap();

    // While they are removed they are not stored, however often one asks.
    let removed = store.loose_blobs(10, minute).await.unwrap();
    assert_eq!(removed.hashes, [hash]);
    assert_eq!(expect(minute).await, None);
    assert_eq!(expect(2 * minute).await, None);
    assert!(
        store
            .loose_blobs(10, 2 * minute)
            .await
            .unwrap()
            .hashes
            .is_empty()
    );
    store.forget_blobs(removed).await.unwrap();
    assert!(expect(3 * minute).await.is_some());

    // Who died while he stored is waited for an hour, who died while he removed ten minutes.
    assert!(store.loose_blobs(10, hour).await.unwrap().hashes.is_empty());
    let late = expect(4 * minute).await.unwrap();
    let lost = store.loose_blobs(10, hour + 5 * minute).await.unwrap();
    assert_eq!(lost.hashes, [hash]);
    assert!(matches!(add(late).await, Err(StorageError::BlobGone)));
    let picture = store.set_avatar(ann.id, Some(late)).await;
    assert!(matches!(picture, Err(StorageError::BlobGone)));
    assert_eq!(expect(hour + 6 * minute).await, None);
    let again = expect(hour + 16 * minute).await.unwrap();
    // He was only slow: what he has removed has been stored anew, or will be.
    store.forget_blobs(lost).await.unwrap();
    add(again).await.unwrap();
    assert!(loose_at(&store, 9 * hour).await.is_empty());

    // What could not be removed is soon free again, for whoever wants it.
    let other = expected(&store, 2).await;
    store.release_blob(other).await.unwrap();
    let failed = store.loose_blobs(10, 10 * hour).await.unwrap();
    assert_eq!(failed.hashes, [other.hash]);
    store.return_blobs(failed, 10 * hour).await.unwrap();
    let expect = async |now| store.expect_blob(other.hash, now).await.unwrap();
    assert_eq!(expect(10 * hour + 9_000_000).await, None);
    assert!(expect(10 * hour + 11_000_000).await.is_some());
}

pub async fn avatars_are_seen_while_somebody_has_them(store: Shared) {
    let (ann, bob) = (user(&store, "ann").await, user(&store, "bob").await);
    let [first, second] = [1, 2].map(|hash| BlobHash([hash; 32]));
    let set = async |user, hash| {
        let picture = Some(expected(&store, hash).await);
        store.set_avatar(user, picture).await.unwrap()
    };
    assert_eq!(set(ann.id, 1).await.avatar, Some(first));
    set(bob.id, 1).await;
    set(bob.id, 1).await;
    assert!(loose(&store).await.is_empty());
    set(ann.id, 2).await;
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
