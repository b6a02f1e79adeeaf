//! The open database: its pool, its one writer, its state of health.
//!
//! Invariant: within this process writers stand in line for one permit, so that none waits by polling
//! the engine's lock; other processes are met by the engine's own lock and its timeout.

use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::{
    StoreError,
    engine::{self, Engine, Pool},
    migrate,
};

pub(crate) struct Db {
    pub(crate) pool: Pool,
    path: PathBuf,
    file: (u64, u64),
    writer: Semaphore,
}

/// A transaction that writes; rolled back unless committed.
pub(crate) struct Write<'a> {
    pub(crate) tx: sqlx::Transaction<'static, Engine>,
    _turn: SemaphorePermit<'a>,
}

impl Db {
    pub(crate) async fn open(path: PathBuf) -> Result<Self, StoreError> {
        let pool = engine::connect(&path).await?;
        migrate::run(&pool, &path).await?;
        let file = identity(&path)?;
        Ok(Self {
            pool,
            path,
            file,
            writer: Semaphore::new(1),
        })
    }

    pub(crate) async fn write(&self) -> Result<Write<'_>, StoreError> {
        let turn = self.writer.acquire().await.map_err(|_| StoreError::Locked {
            path: self.path.clone(),
        })?;
        let tx = engine::write(&self.pool).await.map_err(|e| self.failed(&e))?;
        Ok(Write { tx, _turn: turn })
    }

    pub(crate) fn failed(&self, error: &sqlx::Error) -> StoreError {
        StoreError::from_engine(&self.path, error)
    }

    pub(crate) fn damaged(&self, what: String) -> StoreError {
        StoreError::Corrupt {
            path: self.path.clone(),
            detail: what,
        }
    }

    /// Whether the file is still the one that was opened: a renamed or replaced one would take changes
    /// that nobody finds again.
    pub(crate) fn same_file(&self) -> Result<(), StoreError> {
        if identity(&self.path)? == self.file {
            return Ok(());
        }
        Err(StoreError::Engine {
            path: self.path.clone(),
            detail: "another file took its place; restart the server to use that".to_owned(),
        })
    }
}

fn identity(path: &Path) -> Result<(u64, u64), StoreError> {
    let meta = std::fs::metadata(path).map_err(|source| StoreError::File {
        path: path.to_owned(),
        source,
    })?;
    Ok((meta.dev(), meta.ino()))
}

/// Microseconds since 1970: what the schema's times are.
pub(crate) fn micros(time: SystemTime) -> i64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_micros()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_micros()).map_or(i64::MIN, |m| -m),
    }
}

/// The way back; what no clock can show becomes the epoch.
pub(crate) fn time(micros: i64) -> SystemTime {
    let span = Duration::from_micros(micros.unsigned_abs());
    let time = if micros < 0 {
        UNIX_EPOCH.checked_sub(span)
    } else {
        UNIX_EPOCH.checked_add(span)
    };
    time.unwrap_or(UNIX_EPOCH)
}
