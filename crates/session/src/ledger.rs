//! Quotas: reserve before the bytes come, settle when it is known what stayed.
//!
//! What counts under a quota: visible files, what open uploads hold, and partials that were kept. The
//! book holds the sum. Files are counted when a directory's quota is first used after a start, so that
//! nothing a crash left reserved stays so, and again (at most every ten minutes) after a refusal, so
//! that partials that were swept after their day come back.
//!
//! Invariants: whoever changes what is visible under a path holds that path's turn, so that what a
//! change replaces is known and given back once; a count sees no change half done.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use portreeve_model::VPath;
use portreeve_vfs::{FileKind, FileSystem, FsError, FsErrorKind, FsResult, OpCx, Owner, Retry};
use tokio::sync::{MutexGuard, RwLock, RwLockReadGuard};

use crate::QuotaBook;

/// How long a partial is kept (rule V2).
const KEPT_FOR: Duration = Duration::from_hours(24);
/// How soon a refusal may lead to another count.
const COUNT_AGAIN: Duration = Duration::from_mins(10);
/// Partials remembered one by one for each quota; more are remembered as a sum.
const KEPT_EACH: usize = 1024;
/// Tallies held; beyond, idle ones are forgotten, and their directories counted anew.
const TALLIES: usize = 10_000;
/// Changes of one directory that may go on at the same time, if their paths differ.
const TURNS: usize = 16;

/// The quotas of the process.
pub(crate) struct Ledger {
    book: Arc<dyn QuotaBook>,
    tallies: Mutex<HashMap<String, Arc<Tally>>>,
}

/// What the process knows of one quota.
struct Tally {
    /// When the files were counted last. Read by changes, written by a count.
    counted: RwLock<Option<Instant>>,
    /// Whether something was refused since.
    doubted: AtomicBool,
    /// Bytes that open uploads hold.
    open: AtomicU64,
    kept: Mutex<HashMap<(Owner, VPath), Kept>>,
    turns: [tokio::sync::Mutex<()>; TURNS],
    hasher: RandomState,
}

#[derive(Clone, Copy)]
struct Kept {
    bytes: u64,
    until: Instant,
}

/// The quota of one grant.
#[derive(Clone)]
pub(crate) struct Quota {
    book: Arc<dyn QuotaBook>,
    tally: Arc<Tally>,
    key: Arc<str>,
    limit: u64,
}

/// The right to change what is visible under one path.
pub(crate) struct Turn<'a> {
    _uncounted: RwLockReadGuard<'a, Option<Instant>>,
    _path: MutexGuard<'a, ()>,
}

impl Ledger {
    pub(crate) fn new(book: Arc<dyn QuotaBook>) -> Self {
        Self {
            book,
            tallies: Mutex::default(),
        }
    }

    /// The quota `key`; what lies below `root` is counted first, where that is due.
    ///
    /// # Errors
    /// What the book or the storage says.
    pub(crate) async fn quota(
        &self,
        key: String,
        limit: u64,
        cx: &OpCx,
        tree: &dyn FileSystem,
        root: &VPath,
    ) -> FsResult<Quota> {
        let quota = Quota {
            book: Arc::clone(&self.book),
            tally: self.tally(&key),
            key: key.into(),
            limit,
        };
        quota.count_where_due(cx, tree, root).await?;
        Ok(quota)
    }

    fn tally(&self, key: &str) -> Arc<Tally> {
        let mut tallies = self.tallies.lock();
        if tallies.len() >= TALLIES && !tallies.contains_key(key) {
            tallies.retain(|_, tally| Arc::strong_count(tally) > 1 || !tally.is_idle());
        }
        Arc::clone(tallies.entry(key.to_owned()).or_default())
    }
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            counted: RwLock::default(),
            doubted: AtomicBool::new(false),
            open: AtomicU64::new(0),
            kept: Mutex::default(),
            turns: std::array::from_fn(|_| tokio::sync::Mutex::default()),
            hasher: RandomState::new(),
        }
    }
}

impl Tally {
    fn is_idle(&self) -> bool {
        self.open.load(Ordering::Acquire) == 0 && self.kept.lock().is_empty()
    }

    fn is_due(&self, counted: Option<Instant>) -> bool {
        let doubted = self.doubted.load(Ordering::Acquire);
        counted.is_none_or(|at| doubted && at.elapsed() >= COUNT_AGAIN)
    }
}

impl Quota {
    async fn count_where_due(&self, cx: &OpCx, tree: &dyn FileSystem, root: &VPath) -> FsResult<()> {
        if !self.tally.is_due(*self.tally.counted.read().await) {
            return Ok(());
        }
        let mut counted = self.tally.counted.write().await;
        if !self.tally.is_due(*counted) {
            return Ok(());
        }
        let visible = measure(cx, tree, root).await?;
        let kept: u64 = {
            let now = Instant::now();
            let mut kept = self.tally.kept.lock();
            kept.retain(|_, kept| kept.until > now);
            kept.values().map(|kept| kept.bytes).sum()
        };
        let open = self.tally.open.load(Ordering::Acquire);
        self.book.forget(&self.key).await?;
        self.book
            .establish(&self.key, visible.saturating_add(kept).saturating_add(open))
            .await?;
        self.tally.doubted.store(false, Ordering::Release);
        *counted = Some(Instant::now());
        Ok(())
    }

    /// Waits for the right to change what is visible under `path`. Held across the change and its
    /// settling; one at a time, or two of them could wait for each other.
    pub(crate) async fn turn(&self, path: &VPath) -> Turn<'_> {
        let uncounted = self.tally.counted.read().await;
        let hash = usize::try_from(self.tally.hasher.hash_one(path) % TURNS as u64).unwrap_or(0);
        let [first, ..] = &self.tally.turns;
        let turn = self.tally.turns.get(hash).unwrap_or(first);
        Turn {
            _uncounted: uncounted,
            _path: turn.lock().await,
        }
    }

    /// Takes `bytes`.
    ///
    /// # Errors
    /// `Quota`, with what is used and what is allowed.
    pub(crate) async fn reserve(&self, bytes: u64) -> FsResult<()> {
        if bytes == 0 || self.book.reserve(&self.key, bytes, self.limit).await? {
            return Ok(());
        }
        self.tally.doubted.store(true, Ordering::Release);
        let used = self.used().await?;
        Err(FsError::new(FsErrorKind::Quota)
            .context(format!(
                "the quota is used up: {used} of {} bytes are in use, {bytes} more do not fit",
                self.limit
            ))
            .retry_advice(Retry::Never))
    }

    /// Gives `bytes` back. A book that fails here over-counts until the next count, which is the safe
    /// side; it is logged.
    pub(crate) async fn release(&self, bytes: u64) {
        if bytes == 0 {
            return;
        }
        if let Err(error) = self.book.release(&self.key, bytes).await {
            self.tally.doubted.store(true, Ordering::Release);
            tracing::warn!(key = &*self.key, bytes, %error, "quota could not be given back");
        }
    }

    pub(crate) async fn used(&self) -> FsResult<u64> {
        Ok(self.book.used(&self.key).await?.unwrap_or(0))
    }

    pub(crate) const fn limit(&self) -> u64 {
        self.limit
    }

    /// Remembers that `owner` left `bytes` unfinished under `path`; they stay counted.
    pub(crate) fn remember(&self, owner: &Owner, path: &VPath, bytes: u64) {
        if bytes == 0 {
            return;
        }
        let mut kept = self.tally.kept.lock();
        let one = (owner.clone(), path.clone());
        let key = if kept.len() < KEPT_EACH || kept.contains_key(&one) {
            one
        } else {
            (owner.clone(), VPath::root())
        };
        let until = Instant::now() + KEPT_FOR;
        let entry = kept.entry(key).or_insert(Kept { bytes: 0, until });
        *entry = Kept {
            bytes: entry.bytes.saturating_add(bytes),
            until,
        };
    }

    /// What `owner` left under `path` and is counted: it passes to the caller.
    pub(crate) fn take_over(&self, owner: &Owner, path: &VPath) -> u64 {
        let taken = self.tally.kept.lock().remove(&(owner.clone(), path.clone()));
        taken.map_or(0, |kept| kept.bytes)
    }

    /// What anybody left in `dir` and is counted: it passes to the caller.
    pub(crate) fn take_over_all(&self, dir: &VPath) -> u64 {
        let mut kept = self.tally.kept.lock();
        let gone = kept.extract_if(|(_, path), _| path.parent().as_ref() == Some(dir));
        gone.map(|(_, kept)| kept.bytes).sum()
    }

    /// Notes that an open upload holds `bytes` more.
    pub(crate) fn hold(&self, bytes: u64) {
        self.tally.open.fetch_add(bytes, Ordering::AcqRel);
    }

    /// Notes that an open upload holds `bytes` less.
    pub(crate) fn let_go(&self, bytes: u64) {
        self.tally.open.fetch_sub(bytes, Ordering::AcqRel);
    }

    /// Keeps a count away while a reservation is made and noted.
    pub(crate) async fn uncounted(&self) -> RwLockReadGuard<'_, Option<Instant>> {
        self.tally.counted.read().await
    }
}

/// Bytes of all files below `root`.
async fn measure(cx: &OpCx, tree: &dyn FileSystem, root: &VPath) -> FsResult<u64> {
    let (mut sum, mut open) = (0u64, vec![root.clone()]);
    while let Some(dir) = open.pop() {
        let mut listing = match tree.list(cx, &dir, None).await {
            Ok(listing) => listing,
            Err(error) if error.kind() == FsErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        loop {
            let entries = listing.next(1024).await?;
            if entries.is_empty() {
                break;
            }
            for entry in entries {
                match (entry.kind, &entry.name) {
                    (FileKind::Dir, Some(name)) => open.extend(dir.join(name)),
                    (FileKind::File, _) => sum = sum.saturating_add(entry.size.unwrap_or(0)),
                    _ => {}
                }
            }
        }
    }
    Ok(sum)
}
