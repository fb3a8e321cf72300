//! SQLite: the suite that every store must pass, and what is true of files alone.

mod suite;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use moznods_storage::{DirectoryLock, Missing, SqlStore, StorageError, Store, UserKey, UserStore};
use suite::new_user;
use tempfile::TempDir;

fn store() -> (TempDir, Arc<dyn Store>) {
    let directory = tempfile::tempdir().unwrap();
    let store = SqlStore::open(directory.path(), Missing::Create).unwrap();
    (directory, Arc::new(store))
}

suite::tests!(crate::store);

#[tokio::test]
async fn what_was_answered_is_there_after_opening_again() {
    let directory = tempfile::tempdir().unwrap();
    let first = SqlStore::open(directory.path(), Missing::Create).unwrap();
    first.create_user(new_user("ann")).await.unwrap();
    drop(first);
    let second = SqlStore::open(directory.path(), Missing::Refuse).unwrap();
    let key = UserKey::Username("ann".to_owned());
    assert!(second.user(key).await.unwrap().is_some());
}

#[tokio::test]
async fn another_process_is_noticed_and_oneself_is_not() {
    let (directory, ours) = store();
    let mut changes = ours.changed_elsewhere();
    ours.create_user(new_user("ann")).await.unwrap();
    let theirs = SqlStore::open(directory.path(), Missing::Refuse).unwrap();
    theirs.create_user(new_user("bob")).await.unwrap();
    let second = std::time::Duration::from_secs(10);
    tokio::time::timeout(second, changes.changed())
        .await
        .expect("noticed")
        .unwrap();
    assert_eq!(*changes.borrow(), 1, "their change, and not ours");
}

#[test]
fn one_server_serves_a_directory() {
    let directory = tempfile::tempdir().unwrap();
    let lock = DirectoryLock::take(directory.path()).unwrap();
    assert!(matches!(
        DirectoryLock::take(directory.path()),
        Err(StorageError::Locked { .. })
    ));
    drop(SqlStore::open_to_serve(&lock).unwrap());
    SqlStore::open(directory.path(), Missing::Refuse).unwrap();
    drop(lock);
    DirectoryLock::take(directory.path()).unwrap();
}

#[test]
fn the_database_is_its_owners_alone() {
    let (directory, _store) = store();
    for entry in std::fs::read_dir(directory.path()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{:?}", entry.file_name());
    }
}

#[test]
fn nothing_is_made_where_nothing_is_expected() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("data");
    assert!(matches!(
        SqlStore::open(&missing, Missing::Refuse),
        Err(StorageError::NoDatabase { .. })
    ));
    assert!(!missing.exists());
}

#[test]
fn a_newer_database_and_a_foreign_file_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("moznods.db");
    drop(SqlStore::open(directory.path(), Missing::Create).unwrap());
    rusqlite::Connection::open(&file)
        .unwrap()
        .pragma_update(None, "user_version", 999)
        .unwrap();
    let error = refusal(directory.path());
    assert!(error.contains("schema 999"), "{error}");

    for entry in std::fs::read_dir(directory.path()).unwrap() {
        std::fs::remove_file(entry.unwrap().path()).unwrap();
    }
    std::fs::write(
        &file,
        "not a database, but long enough to be looked at".repeat(100),
    )
    .unwrap();
    let error = refusal(directory.path());
    assert!(error.contains("expected a database of moznods"), "{error}");
}

#[test]
fn a_database_of_another_program_is_left_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("moznods.db");
    let theirs = rusqlite::Connection::open(&file).unwrap();
    theirs.execute_batch("CREATE TABLE users (x)").unwrap();
    drop(theirs);
    let before = std::fs::read(&file).unwrap();
    let error = refusal(directory.path());
    assert!(error.contains("another program"), "{error}");
    assert_eq!(std::fs::read(&file).unwrap(), before);
}

#[test]
fn an_older_schema_is_not_changed_beside_a_running_server() {
    let directory = tempfile::tempdir().unwrap();
    let old = rusqlite::Connection::open(directory.path().join("moznods.db")).unwrap();
    old.execute_batch(include_str!("../src/sqlite/migrations/0001_initial.sql"))
        .unwrap();
    old.execute_batch("PRAGMA application_id = 0x4D4F7A44; PRAGMA user_version = 1")
        .unwrap();
    let server = DirectoryLock::take(directory.path()).unwrap();
    let error = refusal(directory.path());
    assert!(
        error.contains("schema 1") && error.contains("restarted"),
        "{error}"
    );
    drop(SqlStore::open_to_serve(&server).unwrap());
    SqlStore::open(directory.path(), Missing::Refuse).unwrap();
}

#[tokio::test]
async fn a_store_that_cannot_write_is_not_ready() {
    let (directory, store) = store();
    store.ready().await.unwrap();
    let other = rusqlite::Connection::open(directory.path().join("moznods.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert!(store.ready().await.is_err());
    other.execute_batch("COMMIT").unwrap();
    store.ready().await.unwrap();
}

fn refusal(directory: &Path) -> String {
    SqlStore::open(directory, Missing::Create)
        .unwrap_err()
        .to_string()
}
