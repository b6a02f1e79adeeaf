//! SQLite under the contract, and what only a file can suffer.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use async_trait::async_trait;
use portreeve_auth::{Account, Accounts, AccountsError, Audience, Membership};
use portreeve_model::UserName;
use tempfile::TempDir;

use crate::{
    Store, StoreError,
    contract::{self, Place, Places},
};

struct Directory(TempDir);

#[async_trait]
impl Place for Directory {
    async fn open(&self) -> Result<Store, StoreError> {
        Store::open("sqlite:state.db", self.0.path()).await
    }
}

struct Directories;

#[async_trait]
impl Places for Directories {
    async fn fresh(&self) -> Box<dyn Place> {
        Box::new(Directory(tempfile::tempdir().unwrap()))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_keeps_the_contract() {
    match contract::run(&Directories).await {
        Ok(cases) => assert!(cases >= 19, "{cases} cases"),
        Err(failures) => panic!("{}", failures.join("\n")),
    }
}

fn account(name: &str) -> Account {
    Account::new(
        UserName::new(name).unwrap(),
        Membership::Groups(Vec::new()),
        std::time::UNIX_EPOCH + Duration::from_secs(1),
    )
}

async fn open(dir: &Path) -> Store {
    Store::open("sqlite:state.db", dir).await.unwrap()
}

/// Everything that SQLite keeps beside the file.
fn files(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect()
}

#[tokio::test]
async fn only_the_owner_reads_the_files() {
    let dir = tempfile::tempdir().unwrap();
    // An administrator's umask, or a copy that was put back, left it open.
    fs::write(dir.path().join("state.db"), b"").unwrap();
    fs::set_permissions(dir.path().join("state.db"), fs::Permissions::from_mode(0o664)).unwrap();
    let store = open(dir.path()).await;
    store.add(&account("alice")).await.unwrap();
    let files = files(dir.path());
    assert!(files.len() >= 2, "no journal beside the file: {files:?}");
    for file in files {
        let mode = fs::metadata(&file).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", file.display());
    }
}

#[tokio::test]
async fn a_newer_schema_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    sqlx::query("INSERT INTO schema_migrations VALUES (999, '0999_future', 0)")
        .execute(&store.db().pool)
        .await
        .unwrap();
    store.close().await;
    let error = Store::open("sqlite:state.db", dir.path()).await.unwrap_err();
    assert!(matches!(error, StoreError::Newer { found: 999, .. }), "{error}");
    assert!(
        error.to_string().contains("a newer version has used it"),
        "{error}"
    );
}

#[tokio::test]
async fn what_is_no_database_is_named_and_kept() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    let junk = vec![0x5a; 8192];
    fs::write(&path, &junk).unwrap();
    let error = Store::open("sqlite:state.db", dir.path()).await.unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}");
    assert!(error.to_string().contains(&path.display().to_string()), "{error}");
    assert_eq!(
        fs::read(&path).unwrap(),
        junk,
        "the evidence must not be overwritten"
    );
}

#[tokio::test]
async fn a_missing_directory_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let error = Store::open("sqlite:no/such/state.db", dir.path())
        .await
        .unwrap_err();
    assert!(matches!(error, StoreError::File { .. }), "{error:?}");
    assert!(error.to_string().contains("no/such/state.db"), "{error}");
}

/// the pages go bad under a running server.
#[tokio::test]
async fn a_file_damaged_while_open_is_an_error_and_not_a_panic() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    for n in 0..200 {
        store
            .add(&account(&format!("user {n} {}", "x".repeat(100))))
            .await
            .unwrap();
    }
    store.close().await;
    let path = dir.path().join("state.db");
    let mut bytes = fs::read(&path).unwrap();
    // The first page stays: it opens, and every table behind it is noise.
    bytes[4096..].fill(0xa5);
    fs::write(&path, bytes).unwrap();
    match Store::open("sqlite:state.db", dir.path()).await {
        Err(error) => assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}"),
        Ok(store) => {
            let found = store
                .find(Audience::Transfer, &UserName::new("user 7").unwrap())
                .await;
            let Err(AccountsError::Unavailable(why)) = found else {
                panic!("{found:?}")
            };
            assert!(why.contains("damaged"), "{why}");
        }
    }
}

/// another program holds the write lock for longer than anybody waits.
#[tokio::test]
async fn a_locked_file_is_an_error_for_writers_and_readers_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    store.add(&account("alice")).await.unwrap();
    let other = open(dir.path()).await;
    let hold = other.db().write().await.unwrap();
    let error = store.add(&account("bob")).await.unwrap_err();
    let AccountsError::Unavailable(why) = error else {
        panic!("{error:?}")
    };
    assert!(why.contains("locked by another process"), "{why}");
    let alice = UserName::new("alice").unwrap();
    assert!(store.find(Audience::Transfer, &alice).await.unwrap().is_some());
    drop(hold);
    store.add(&account("bob")).await.unwrap();
}

/// the file is moved away under a running server, and put back.
#[tokio::test]
async fn a_file_that_was_moved_away_turns_readiness_red_until_it_is_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let (path, away) = (dir.path().join("state.db"), dir.path().join("away.db"));
    let eventually = async |what: &str, wanted: bool| {
        let seen = async {
            while store.trouble().is_some() != wanted {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), seen)
            .await
            .unwrap_or_else(|_| panic!("{what}"));
    };
    fs::rename(&path, &away).unwrap();
    eventually("the missing file was not noticed", true).await;
    fs::rename(&away, &path).unwrap();
    eventually("the file's return was not noticed", false).await;
    store.add(&account("alice")).await.unwrap();
}

#[tokio::test]
async fn an_interrupted_start_leaves_the_schema_it_found() {
    let dir = tempfile::tempdir().unwrap();
    // A table of the last migration is in the way: everything before it must be rolled back.
    let path = dir.path().join("state.db");
    let pool = crate::engine::connect(&path).await.unwrap();
    sqlx::raw_sql("CREATE TABLE sealed (x BIGINT)")
        .execute(&pool)
        .await
        .unwrap();
    let error = crate::migrate::run(&pool, &path).await.unwrap_err();
    assert!(error.to_string().contains("sealed"), "{error}");
    let tables: Vec<String> = sqlx::query_scalar("SELECT name FROM sqlite_master WHERE type = 'table'")
        .fetch_all(&pool)
        .await
        .unwrap();
    assert_eq!(tables, ["sealed"]);
    sqlx::raw_sql("DROP TABLE sealed").execute(&pool).await.unwrap();
    crate::migrate::run(&pool, &path).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_that_start_together_migrate_once() {
    let dir = tempfile::tempdir().unwrap();
    let starts = (0..4).map(|_| {
        let dir = dir.path().to_owned();
        tokio::spawn(async move { Store::open("sqlite:state.db", &dir).await.map(|_| ()) })
    });
    for start in starts.collect::<Vec<_>>() {
        start.await.unwrap().unwrap();
    }
}

#[test]
fn every_migration_file_is_embedded_in_order() {
    let mut files: Vec<String> = fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations"))
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    let embedded: Vec<String> = crate::migrate::ALL
        .iter()
        .map(|m| format!("{}.sql", m.name))
        .collect();
    assert_eq!(embedded, files);
    for (n, migration) in crate::migrate::ALL.iter().enumerate() {
        assert_eq!(migration.version, i64::try_from(n).unwrap() + 1);
        assert!(migration.name.starts_with(&format!("{:04}_", migration.version)));
    }
}

/// What lies on the disk tells no secret, and a record cannot be put in another's place.
#[tokio::test]
async fn sealed_secrets_are_not_in_the_file_and_not_interchangeable() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let key = crate::SealKey::parse(&portreeve_model::Secret::new("ab".repeat(32))).unwrap();
    for (name, secret) in [("a", "correct horse"), ("b", "battery staple")] {
        let secret = portreeve_model::Secret::new(secret.to_owned());
        store.seal(&key, name, &secret).await.unwrap();
    }
    for file in files(dir.path()) {
        let bytes = fs::read(&file).unwrap();
        for part in [&b"correct"[..], b"staple"] {
            assert!(
                !bytes.windows(part.len()).any(|w| w == part),
                "{}",
                file.display()
            );
        }
    }
    sqlx::query(
        "UPDATE sealed SET nonce = (SELECT nonce FROM sealed WHERE name = 'b'), \
        value = (SELECT value FROM sealed WHERE name = 'b') WHERE name = 'a'",
    )
    .execute(&store.db().pool)
    .await
    .unwrap();
    let error = store.unseal(&key, "a").await.unwrap_err().to_string();
    assert!(error.contains("changed"), "{error}");
    assert!(store.unseal(&key, "b").await.unwrap().is_some());
}
