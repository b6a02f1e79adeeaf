//! State in a database: accounts and administrators, bans, quota use, records of storages, sealed secrets.
//!
//! The traits are declared by their users ([`portreeve_auth::Accounts`], [`portreeve_auth::BanBook`],
//! `portreeve_session::QuotaBook`); [`Store`] fulfils them, one query module for each aggregate. One file,
//! `engine`, knows which database it is; `contract` (feature `contract`) is the suite that every engine
//! passes.
//!
//! Records and secrets have no trait here: whoever keeps state of its own declares one, and the server
//! adapts [`Store`] to it.
//!
//! Invariants: what was answered survives a crash; every failure of the database is an error that names the
//! file and what to do, never a panic; the schema only moves forward.

mod accounts;
mod bans;
#[cfg(any(test, feature = "contract"))]
pub mod contract;
mod db;
mod engine;
mod error;
mod migrate;
mod quota;
mod records;
mod sealed;
#[cfg(test)]
mod tests;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

pub use error::StoreError;
pub use records::RecordChange;
pub use sealed::{KeyError, MAX_SECRET, SealKey};

use db::Db;

/// How often changes by other processes, and the database's health, are looked at.
const LOOK: Duration = Duration::from_secs(2);

/// The open store. Clones share it.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    db: Arc<Db>,
    accounts: AtomicU64,
    looker: tokio::task::JoinHandle<()>,
    health: tokio::sync::watch::Receiver<Option<String>>,
}

/// SQLite answers "locked" at once, whatever time-out is set, while another process turns the journal to
/// WAL: processes that start together are asked to try again.
async fn open_patiently(path: PathBuf) -> Result<Db, StoreError> {
    let mut tries = 0;
    loop {
        match Db::open(path.clone()).await {
            Err(StoreError::Locked { .. }) if tries < 20 => {
                tries += 1;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            opened => return opened,
        }
    }
}

impl Store {
    /// Opens the database and brings its schema up to date. Needs a Tokio runtime, on which it goes on
    /// looking for changes by other processes.
    ///
    /// `url` is `sqlite:` and a path, relative to `data_dir`.
    ///
    /// # Errors
    /// [`StoreError`], with what to do about it.
    pub async fn open(url: &str, data_dir: &Path) -> Result<Self, StoreError> {
        let path = engine::locate(url, data_dir)?;
        let db = Arc::new(open_patiently(path).await?);
        let generation = accounts::generation(&db).await?;
        let (tell, health) = tokio::sync::watch::channel(None);
        let inner = Arc::new_cyclic(|me: &Weak<Inner>| Inner {
            db: Arc::clone(&db),
            accounts: AtomicU64::new(generation),
            looker: tokio::spawn(look(me.clone(), tell)),
            health,
        });
        Ok(Self(inner))
    }

    /// What is wrong with the database, as far as was seen within the last seconds; `None` while it works.
    /// For readiness.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.0.health.borrow().clone()
    }

    /// Closes it, after the statements that run. Dropping the last clone does so too, in its own time.
    pub async fn close(&self) {
        self.0.db.pool.close().await;
    }

    pub(crate) fn db(&self) -> &Arc<Db> {
        &self.0.db
    }

    pub(crate) fn accounts_generation(&self) -> u64 {
        self.0.accounts.load(Ordering::Acquire)
    }

    pub(crate) fn saw_accounts(&self, generation: u64) {
        self.0.accounts.fetch_max(generation, Ordering::AcqRel);
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("accounts", &self.accounts_generation())
            .finish_non_exhaustive()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.looker.abort();
    }
}

/// Looks for changes by other processes until the store is gone.
async fn look(store: Weak<Inner>, tell: tokio::sync::watch::Sender<Option<String>>) {
    let mut tick = tokio::time::interval(LOOK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let Some(db) = store.upgrade().map(|inner| Arc::clone(&inner.db)) else {
            return;
        };
        if db.pool.is_closed() {
            return;
        }
        let seen = match db.same_file() {
            Ok(()) => accounts::generation(&db).await,
            Err(gone) => Err(gone),
        };
        drop(db);
        let trouble = match seen {
            Ok(generation) => {
                let Some(inner) = store.upgrade() else { return };
                inner.accounts.fetch_max(generation, Ordering::AcqRel);
                None
            }
            Err(error) => Some(error.to_string()),
        };
        tell.send_if_modified(|old| {
            if *old == trouble {
                return false;
            }
            match &trouble {
                Some(error) => tracing::error!(error, "the state database is in trouble"),
                None => tracing::info!("the state database works again"),
            }
            *old = trouble;
            true
        });
    }
}
