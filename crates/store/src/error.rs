//! What can go wrong with the database, in words that say where and what to do.
//!
//! Invariant: no message carries a password, a hash or the credentials of a database URL.

use std::path::{Path, PathBuf};

/// Why the store cannot be opened or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The URL names a kind of database that this build does not know.
    #[error("[store] url: {what}; write \"sqlite:portreeve.db\" (a path relative to data_dir)")]
    Url {
        /// What is wrong with it.
        what: String,
    },
    /// The file or its directory cannot be made or opened.
    #[error("the database {} cannot be opened: {source}; check that its directory exists and belongs to the server's user", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A newer program was here before.
    #[error(
        "the database {} has schema {found}, this program knows {known}: a newer version has used it; \
         run that version, or restore the copy of the file that was made before the upgrade",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// The schema found.
        found: i64,
        /// The newest schema known here.
        known: i64,
    },
    /// The file is not a database, or parts of it are damaged.
    #[error("the database {} is damaged or no database ({detail}); stop the server and restore it from a copy", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// The engine's answer.
        detail: String,
    },
    /// Another process holds the lock, longer than we wait.
    #[error("the database {} is locked by another process; it is tried again at the next request", path.display())]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// The disk under the database is full or read-only.
    #[error("the database {} cannot be written: {detail}; free space or check the mount", path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// The engine's answer.
        detail: String,
    },
    /// A sealed secret cannot be opened or written.
    #[error("the sealed secret '{name}': {why}")]
    Sealed {
        /// Its name.
        name: String,
        /// What is wrong, and what to do.
        why: String,
    },
    /// Anything else the engine says.
    #[error("the database {} failed: {detail}", path.display())]
    Engine {
        /// The file.
        path: PathBuf,
        /// The engine's answer.
        detail: String,
    },
}

impl StoreError {
    /// Sorts the engine's errors by what an administrator does about them.
    pub(crate) fn from_engine(path: &Path, error: &sqlx::Error) -> Self {
        let path = path.to_owned();
        let detail = error.to_string();
        if matches!(error, sqlx::Error::PoolTimedOut) {
            return Self::Locked { path };
        }
        let code = error
            .as_database_error()
            .and_then(sqlx::error::DatabaseError::code);
        match crate::engine::sort(code.as_deref()) {
            crate::engine::Fault::Locked => Self::Locked { path },
            crate::engine::Fault::Corrupt => Self::Corrupt { path, detail },
            crate::engine::Fault::Unwritable => Self::Unwritable { path, detail },
            crate::engine::Fault::Other => Self::Engine { path, detail },
        }
    }
}
