//! The seam to the database engine: the only file that knows it is SQLite.
//!
//! Everything else writes SQL of the subset that SQLite and PostgreSQL share: `$1` parameters, `TEXT`
//! and `BIGINT` columns, `INSERT … ON CONFLICT … DO UPDATE`, `RETURNING`. Times are microseconds since 1970.
//!
//! Invariants: the database file and its journal are readable by the server's user alone; a change is on
//! the disk (`synchronous = FULL`) before it is answered; a writer takes the write lock at once, so that
//! two never read, then both write.

use std::{
    fs::{self, OpenOptions},
    io,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

use crate::StoreError;

/// The engine.
pub(crate) type Engine = sqlx::Sqlite;
/// Its pool.
pub(crate) type Pool = sqlx::Pool<Engine>;
/// One of its rows.
pub(crate) type Row = sqlx::sqlite::SqliteRow;
/// The parameters of a statement.
pub(crate) type Arguments = sqlx::sqlite::SqliteArguments;
/// One of its connections.
pub(crate) type Connection = sqlx::SqliteConnection;

/// How a transaction begins that will write.
const BEGIN_WRITE: &str = "BEGIN IMMEDIATE";
/// How long a statement waits for another process's lock.
const BUSY: Duration = Duration::from_secs(5);
/// How long a request waits for a free connection: longer than [`BUSY`], so that the lock is named.
const ACQUIRE: Duration = Duration::from_secs(10);
/// Connections: readers run beside one writer.
const CONNECTIONS: u32 = 8;

/// What an administrator does about an error of the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    Locked,
    Corrupt,
    Unwritable,
    Other,
}

/// Where the URL says the database is.
pub(crate) fn locate(url: &str, data_dir: &Path) -> Result<PathBuf, StoreError> {
    let wrong = |what: &str| StoreError::Url {
        what: what.to_owned(),
    };
    let Some((scheme, rest)) = url.split_once(':') else {
        return Err(wrong("it has no scheme"));
    };
    match scheme {
        "sqlite" => {}
        "postgres" | "postgresql" => return Err(wrong("PostgreSQL is not built yet")),
        other => return Err(wrong(&format!("{other:?} is no database that is known here"))),
    }
    let path = rest.strip_prefix("//").unwrap_or(rest);
    if path.is_empty() || path == ":memory:" {
        return Err(wrong("it names no file"));
    }
    if path.contains(['?', '#']) {
        return Err(wrong("it takes no parameters"));
    }
    Ok(data_dir.join(path))
}

/// Opens the file, makes it where it is missing.
pub(crate) async fn connect(path: &Path) -> Result<Pool, StoreError> {
    claim(path).map_err(|source| StoreError::File {
        path: path.to_owned(),
        source,
    })?;
    let options = SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(BUSY);
    SqlitePoolOptions::new()
        .max_connections(CONNECTIONS)
        .acquire_timeout(ACQUIRE)
        .connect_with(options)
        .await
        .map_err(|e| StoreError::from_engine(path, &e))
}

/// Makes the file with mode 0600, or narrows the mode it has: the journal files inherit it.
fn claim(path: &Path) -> io::Result<()> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)?;
    let mode = file.metadata()?.permissions().mode();
    if mode & 0o077 != 0 {
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    }
    Ok(())
}

/// Begins a transaction that will write.
pub(crate) async fn write(pool: &Pool) -> Result<sqlx::Transaction<'static, Engine>, sqlx::Error> {
    pool.begin_with(BEGIN_WRITE).await
}

/// Sorts the engine's error codes (<https://www.sqlite.org/rescode.html>): the low byte is the primary code.
pub(crate) fn sort(code: Option<&str>) -> Fault {
    let Some(code) = code.and_then(|c| c.parse::<u32>().ok()) else {
        return Fault::Other;
    };
    match code & 0xff {
        5 | 6 => Fault::Locked,
        11 | 26 => Fault::Corrupt,
        8 | 10 | 13 | 14 => Fault::Unwritable,
        _ => Fault::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_relative_to_the_data_directory_or_refused_with_a_hint() {
        let base = Path::new("/var/lib/portreeve");
        for (url, expected) in [
            ("sqlite:portreeve.db", "/var/lib/portreeve/portreeve.db"),
            ("sqlite://state/a.db", "/var/lib/portreeve/state/a.db"),
            ("sqlite:/srv/a.db", "/srv/a.db"),
            ("sqlite:///srv/a.db", "/srv/a.db"),
        ] {
            assert_eq!(locate(url, base).unwrap(), Path::new(expected), "{url}");
        }
        for (url, part) in [
            ("postgres://user:hunter2@db/x", "not built yet"),
            ("postgresql://db/x", "not built yet"),
            ("mysql://db/x", "mysql"),
            ("portreeve.db", "no scheme"),
            ("sqlite:", "no file"),
            ("sqlite::memory:", "no file"),
            ("sqlite:a.db?mode=memory", "no parameters"),
        ] {
            let message = locate(url, base).unwrap_err().to_string();
            assert!(message.contains(part), "{url}: {message}");
            assert!(!message.contains("hunter2"), "{message}");
        }
    }

    #[test]
    fn extended_codes_are_sorted_by_their_primary_code() {
        for (code, fault) in [
            (Some("5"), Fault::Locked),
            (Some("261"), Fault::Locked),
            (Some("26"), Fault::Corrupt),
            (Some("267"), Fault::Corrupt),
            (Some("13"), Fault::Unwritable),
            (Some("1555"), Fault::Other),
            (Some("what"), Fault::Other),
            (None, Fault::Other),
        ] {
            assert_eq!(sort(code), fault, "{code:?}");
        }
    }
}
