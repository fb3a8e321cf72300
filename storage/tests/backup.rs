//! Backups of the bytes of files, what `check` finds wrong with them, and archives that are none of ours.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use moznods_storage::backup::{
    BACKUP, BackupError, Files, back_up, check, restore, unfinished_file,
};
use moznods_storage::{
    AdminGrant, BlobHash, Blobs, DirectoryLock, EventStore, FileStore, MessageStore, Missing,
    NewFile, NewMessage, NewRoom, NewUser, RoomLimits, RoomStore, SqlStore, UserKey, UserStore,
    Variant,
};

/// The SHA-256 of "abc", and of nothing.
const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
const NOTHING: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const ABC_FILE: &str = "files/ba/7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

async fn keep(directory: &Path, hash: BlobHash, variant: Variant, bytes: &[u8]) {
    let blobs = Blobs::in_directory(directory);
    let mut partial = blobs.begin().await.unwrap();
    partial.write(bytes).await.unwrap();
    blobs.keep(partial, hash, variant).await.unwrap();
}

/// Two files, one of them with a thumbnail.
async fn fill(directory: &Path) -> SqlStore {
    let store = SqlStore::open(directory, Missing::Create).unwrap();
    Blobs::in_directory(directory).prepare().await.unwrap();
    let user = NewUser {
        username: "ann".to_owned(),
        email: "ann@example.org".to_owned(),
        display_name: String::new(),
        password_hash: "hash".to_owned(),
        admin: AdminGrant::No,
        now: 1,
    };
    let uploader = store.create_user(user).await.unwrap().id;
    for (name, bytes, has_thumbnail) in [(ABC, &b"abc"[..], true), (NOTHING, b"", false)] {
        let hash = BlobHash::parse(name).unwrap();
        keep(directory, hash, Variant::Whole, bytes).await;
        if has_thumbnail {
            keep(directory, hash, Variant::Thumbnail, b"small").await;
        }
        let blob = store.expect_blob(hash, 1).await.unwrap();
        let file = NewFile {
            uploader,
            blob: blob.unwrap(),
            name: "a".to_owned(),
            content_type: "text/plain".to_owned(),
            size: i64::try_from(bytes.len()).unwrap(),
            dimensions: None,
            has_thumbnail,
            quota: None,
            now: 1,
        };
        store.add_file(file).await.unwrap();
    }
    store
}

fn packed(directory: &Path) -> Vec<u8> {
    let beside = tempfile::tempdir().unwrap();
    let mut archive = Vec::new();
    back_up(directory, Files::Beside, beside.path(), &mut archive).unwrap();
    archive
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn what_was_backed_up_is_restored_with_the_bytes_of_files() {
    let data = tempfile::tempdir().unwrap();
    let store = fill(data.path()).await;
    let before = names(data.path());
    let archive = packed(data.path());
    assert_eq!(names(data.path()), before, "nothing is left");

    let other = tempfile::tempdir().unwrap();
    let there = other.path().join("data");
    let restored = restore(&there, Files::Beside, &mut &archive[..]).unwrap();
    assert_eq!((restored.files, restored.faults.len()), (3, 0));
    assert_eq!(names(&there), ["files", "moznods.db", "serve.lock"]);
    assert_eq!(std::fs::read(there.join(ABC_FILE)).unwrap(), b"abc");
    let thumbnail = there.join(format!("{ABC_FILE}.thumb"));
    assert_eq!(std::fs::read(&thumbnail).unwrap(), b"small");
    for directory in [&there, &there.join("files"), &there.join("files/ba")] {
        assert_eq!(mode(directory), 0o700);
    }
    for file in ["moznods.db", ABC_FILE] {
        assert_eq!(mode(&there.join(file)), 0o600);
    }
    assert!(check(&there, Files::Beside).unwrap().is_empty());
    let again = SqlStore::open(&there, Missing::Refuse).unwrap();
    let ann = UserKey::Username("ann".to_owned());
    assert!(again.user(ann).await.unwrap().is_some());
    drop(store);
}

#[tokio::test]
async fn faults_of_files_are_found_and_travel_with_the_backup() {
    let data = tempfile::tempdir().unwrap();
    let _store = fill(data.path()).await;
    let say = || -> Vec<(&str, String)> {
        let faults = check(data.path(), Files::Beside).unwrap();
        let said = faults.iter().map(|fault| (fault.code(), fault.to_string()));
        said.collect()
    };
    let file = data.path().join(ABC_FILE);
    std::fs::write(&file, "abd").unwrap();
    let changed = format!("{}: its bytes are not those of its name", file.display());
    assert_eq!(say(), [("file_changed", changed)]);
    std::fs::remove_file(&file).unwrap();
    let missing = format!("{}: it is not there", file.display());
    assert_eq!(say(), [("file_missing", missing)]);

    let beside = tempfile::tempdir().unwrap();
    let mut archive = Vec::new();
    let packed = back_up(data.path(), Files::Beside, beside.path(), &mut archive).unwrap();
    assert_eq!((packed.files, packed.missing), (2, vec![file]));
    let there = tempfile::tempdir().unwrap();
    let restored = restore(there.path(), Files::Beside, &mut &archive[..]).unwrap();
    assert_eq!(restored.faults.len(), 1, "{:?}", restored.faults);
}

#[tokio::test]
async fn only_a_whole_backup_of_ours_is_restored_and_only_into_an_empty_directory() {
    let data = tempfile::tempdir().unwrap();
    let _store = fill(data.path()).await;
    let archive = packed(data.path());
    let refused = |archive: &[u8]| {
        let there = tempfile::tempdir().unwrap();
        let error = restore(there.path(), Files::Beside, &mut &*archive).unwrap_err();
        assert_eq!(names(there.path()), ["serve.lock"], "something was made");
        error
    };

    for end in [archive.len() - 4096, archive.len() / 2, 2000, 700] {
        let error = refused(&archive[..end]);
        assert!(
            matches!(error, BackupError::Damaged(_) | BackupError::NotABackup(_)),
            "{end}: {error}"
        );
    }
    assert!(matches!(refused(b""), BackupError::NotABackup(_)));
    assert!(matches!(refused(&[7; 4096]), BackupError::NotABackup(_)));

    // The number of the schema, in the header of the database that follows that of its entry.
    let mut newer = archive.clone();
    newer[512 + 60..512 + 64].copy_from_slice(&1000_u32.to_be_bytes());
    let error = refused(&newer);
    assert!(
        matches!(error, BackupError::Newer { found: 1000, .. }),
        "{error}"
    );
    let mut foreign = archive.clone();
    foreign[512 + 68] ^= 1;
    assert!(matches!(refused(&foreign), BackupError::NotABackup(_)));
    // A page in the midst of it.
    let mut damaged = archive.clone();
    damaged[512 + 8192..512 + 3 * 8192].fill(0x55);
    assert!(matches!(refused(&damaged), BackupError::Damaged(_)));

    let length = std::str::from_utf8(&archive[124..135]).unwrap();
    let length = usize::from_str_radix(length, 8).unwrap();
    let database = &archive[512..512 + length];
    for path in ["files/../../outside", "other", "files/ba", "/etc/outside"] {
        let mut with_more = Vec::new();
        let mut tar = tar::Builder::new(&mut with_more);
        let mut header = tar::Header::new_gnu();
        header.set_size(database.len() as u64);
        tar.append_data(&mut header, "moznods.db", database)
            .unwrap();
        let mut header = tar::Header::new_gnu();
        // Past what `tar` itself would not write.
        header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
        header.set_size(0);
        header.set_cksum();
        tar.append(&header, std::io::empty()).unwrap();
        tar.into_inner().unwrap();
        let error = refused(&with_more);
        assert!(error.to_string().contains("no place"), "{path}: {error}");
    }

    let full = tempfile::tempdir().unwrap();
    std::fs::write(full.path().join("mine"), "").unwrap();
    let error = restore(full.path(), Files::Beside, &mut &archive[..]).unwrap_err();
    assert!(matches!(error, BackupError::NotEmpty(_)), "{error}");
    assert_eq!(names(full.path()), ["mine"]);
    let taken = tempfile::tempdir().unwrap();
    let _lock = DirectoryLock::take(taken.path()).unwrap();
    let error = restore(taken.path(), Files::Beside, &mut &archive[..]).unwrap_err();
    assert!(
        error.to_string().contains("another `moznods serve`"),
        "{error}"
    );
}

#[tokio::test]
async fn an_event_of_a_lost_time_does_not_come_again_as_another() {
    let data = tempfile::tempdir().unwrap();
    let store = fill(data.path()).await;
    let ann = UserKey::Username("ann".to_owned());
    let ann = store.user(ann).await.unwrap().unwrap().id;
    let limits = RoomLimits {
        participants: 10,
        rooms: 10,
    };
    let room = NewRoom {
        owner: ann,
        name: "room".to_owned(),
        topic: String::new(),
        is_public: false,
        now: 1,
    };
    let room = store.create_room(room, limits).await.unwrap();
    let say = async |store: &SqlStore, text: &str| {
        let message = NewMessage {
            room,
            author: ann,
            content: text.to_owned(),
            ..NewMessage::default()
        };
        store.add_message(message).await.unwrap().unwrap();
        store.last_event().await.unwrap()
    };
    let kept = say(&store, "kept").await;
    let archive = packed(data.path());
    let lost = say(&store, "lost").await;
    let lost_too = say(&store, "lost, too").await;

    let other = tempfile::tempdir().unwrap();
    let there = other.path().join("data");
    restore(&there, Files::Beside, &mut &archive[..]).unwrap();
    let again = SqlStore::open(&there, Missing::Refuse).unwrap();
    let first = again.last_event().await.unwrap();
    assert!(first > lost_too);
    for text in ["one", "two", "three"] {
        say(&again, text).await;
    }
    // Who has seen what is lost reads all anew; who has not hears of what has happened since.
    for after in [lost, lost_too, first - 1] {
        assert!(
            again
                .missed(ann, after, 100)
                .await
                .unwrap()
                .events
                .is_none()
        );
    }
    for after in [kept, first] {
        let events = again.missed(ann, after, 100).await.unwrap().events;
        assert_eq!(events.unwrap().len(), 3);
    }
    assert!(check(&there, Files::Beside).unwrap().is_empty());
}

#[tokio::test]
async fn what_killed_ones_have_left_is_removed_by_the_next() {
    let data = tempfile::tempdir().unwrap();
    let store = fill(data.path()).await;
    let before = names(data.path());
    let leave = |directory: &Path| {
        for name in [".moznods-backup-x1", ".moznods-restore-x2"] {
            std::fs::create_dir_all(directory.join(name).join("ab")).unwrap();
            std::fs::write(directory.join(name).join("ab/cd"), "left").unwrap();
        }
        std::fs::write(directory.join(".moznods-export-x3"), "left").unwrap();
    };
    leave(data.path());
    let living = unfinished_file(data.path(), BACKUP).unwrap();
    let archive = packed(data.path());
    assert!(living.path().exists());
    drop(living);
    assert_eq!(names(data.path()), before);

    // Nor do they make a directory one in which something is.
    let other = tempfile::tempdir().unwrap();
    leave(other.path());
    restore(other.path(), Files::Beside, &mut &archive[..]).unwrap();
    assert_eq!(names(other.path()), ["files", "moznods.db", "serve.lock"]);
    drop(store);
}
