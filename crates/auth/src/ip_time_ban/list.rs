//! The one list of bans of a process: shared by all doors, older than any world.
//!
//! Invariants: a ban's length is measured on the monotonic clock, whatever the wall clock does; what is
//! written to the book is written in the order in which it happened; memory is bounded whatever comes.

use std::{
    collections::VecDeque,
    net::IpAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use parking_lot::Mutex;
use portreeve_model::Origin;
use tokio::sync::Notify;

use super::{
    MAX_BAN, MAX_WINDOW, Rule,
    table::{Counted, Live, Moment, Table},
};
use crate::{Ban, BanBook, BanBookError, BanChange, Clock, MachineClock};

/// Most sources that are remembered.
const CAPACITY: usize = 100_000;

/// Failures that wait to be written; further ones are counted but not written.
const MAX_PENDING_FAILURES: usize = 8_192;

/// Bans and lifted bans that wait to be written.
const MAX_PENDING: usize = 2 * CAPACITY;

/// Changes in one transaction.
const BATCH: usize = 512;

/// Pause after the book failed, and between two cleanings of the book.
const RETRY: Duration = Duration::from_secs(5);
const PRUNE_EVERY: Duration = Duration::from_secs(3600);

/// Added to the monotonic clock, so that moments before the process's start can be told.
const BEFORE_START: Duration = Duration::from_secs(2 * 86_400);

/// One ban, for lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BannedSource {
    /// An IPv4 address, or the first address of an IPv6 /64.
    pub source: IpAddr,
    /// When it began.
    pub since: SystemTime,
    /// How long it still lasts.
    pub remaining: Duration,
    /// Why.
    pub reason: String,
}

/// The list.
pub struct BanList {
    state: Mutex<Inner>,
    clock: Arc<dyn Clock>,
    book: Option<Arc<dyn BanBook>>,
    pending: Notify,
    writing: tokio::sync::Mutex<()>,
}

struct Inner {
    table: Table,
    pending: VecDeque<BanChange>,
    unwritten: u64,
}

impl BanList {
    /// An empty list on the machine's clocks; what happens is written to `book`, where there is one,
    /// by [`BanList::keep_written`].
    #[must_use]
    pub fn new(book: Option<Arc<dyn BanBook>>) -> Self {
        Self::with_clock(book, Arc::new(MachineClock::default()))
    }

    /// The same with clocks of one's own.
    #[must_use]
    pub fn with_clock(book: Option<Arc<dyn BanBook>>, clock: Arc<dyn Clock>) -> Self {
        Self::bounded(book, clock, CAPACITY)
    }

    pub(super) fn bounded(book: Option<Arc<dyn BanBook>>, clock: Arc<dyn Clock>, capacity: usize) -> Self {
        Self {
            state: Mutex::new(Inner {
                table: Table::new(capacity),
                pending: VecDeque::new(),
                unwritten: 0,
            }),
            clock,
            book,
            pending: Notify::new(),
            writing: tokio::sync::Mutex::new(()),
        }
    }

    /// Takes over what the book remembers: once, at the start, before anybody is admitted. A ban lasts
    /// at most as long as it was meant to, even if the wall clock was set back meanwhile.
    ///
    /// # Errors
    /// [`BanBookError`]; the list goes on without the past, and the call may be repeated.
    pub async fn load(&self) -> Result<usize, BanBookError> {
        let Some(book) = &self.book else {
            return Ok(0);
        };
        let wall = self.clock.wall();
        let records = book
            .load(
                wall,
                wall.checked_sub(MAX_WINDOW).unwrap_or(SystemTime::UNIX_EPOCH),
            )
            .await?;
        let now = self.now();
        // Which rule will judge is not known yet: all that any rule could count is kept.
        let keep_all = Rule {
            count: usize::MAX,
            window: MAX_WINDOW,
            length: Duration::ZERO,
        };
        let mut state = self.state.lock();
        for (source, at) in records.failures.into_iter().take(CAPACITY) {
            let age = wall.duration_since(at).unwrap_or_default();
            if age < MAX_WINDOW {
                let source = Origin::source_of(source);
                state.table.failed(source, now.saturating_sub(age), now, keep_all);
            }
        }
        let mut loaded = 0;
        for ban in records.bans {
            let left = ban.until.duration_since(wall).unwrap_or_default();
            let meant = ban.until.duration_since(ban.since).unwrap_or_default();
            let left = left.min(meant).min(MAX_BAN);
            if !left.is_zero() {
                let live = Live {
                    until: now.saturating_add(left),
                    since: ban.since,
                    reason: ban.reason,
                };
                state.table.ban(Origin::source_of(ban.source), live);
                loaded += 1;
            }
        }
        Ok(loaded)
    }

    /// The ban of an address, if there is one.
    #[must_use]
    pub fn banned(&self, ip: IpAddr) -> Option<BannedSource> {
        let (source, now) = (Origin::source_of(ip), self.now());
        let live = self.state.lock().table.banned(source, now)?;
        Some(view(source, live, now))
    }

    /// Bans an address by hand; replaces the ban that there is. At most ten years.
    pub fn ban(&self, ip: IpAddr, length: Duration, reason: &str) -> BannedSource {
        let (source, now) = (Origin::source_of(ip), self.now());
        let mut state = self.state.lock();
        let live = self.enter(&mut state, source, now, length.min(MAX_BAN), reason.to_owned());
        drop(state);
        view(source, live, now)
    }

    /// Lifts the ban of an address and forgets its failures; whether there was a ban.
    pub fn lift(&self, ip: IpAddr) -> bool {
        let source = Origin::source_of(ip);
        let mut state = self.state.lock();
        let lifted = state.table.lift(source, self.now());
        self.note(&mut state, BanChange::Lifted(source));
        lifted
    }

    /// Every live ban, the one that ends first at the front.
    #[must_use]
    pub fn list(&self) -> Vec<BannedSource> {
        let now = self.now();
        let bans = self.state.lock().table.bans(now);
        bans.into_iter()
            .map(|(source, live)| view(source, live, now))
            .collect()
    }

    /// Changes that the book will never see, since it was away for too long.
    #[must_use]
    pub fn unwritten(&self) -> u64 {
        self.state.lock().unwritten
    }

    #[cfg(test)]
    pub(super) fn sources(&self) -> usize {
        self.state.lock().table.len()
    }

    pub(super) fn failed(&self, source: IpAddr, rule: Rule) {
        let now = self.now();
        let mut state = self.state.lock();
        match state.table.failed(source, now, now, rule) {
            Counted::AlreadyBanned => {}
            Counted::Failed => {
                let at = self.clock.wall();
                self.note(&mut state, BanChange::Failed { source, at });
            }
            Counted::Banned => {
                let (count, window) = (rule.count, portreeve_model::options::DurationText(rule.window));
                let reason = format!("{count} failed sign-ins within {window}");
                tracing::warn!(%source, "banned: {reason}");
                self.enter(&mut state, source, now, rule.length, reason);
            }
        }
    }

    /// Writes to the book for as long as the process runs. Run it as one task; before the end, call
    /// [`BanList::flush`].
    pub async fn keep_written(&self) {
        let Some(book) = &self.book else {
            return;
        };
        let mut pruned: Option<Moment> = None;
        loop {
            let now = self.now();
            if pruned.is_none_or(|then| now.saturating_sub(then) >= PRUNE_EVERY) {
                let wall = self.clock.wall();
                let failures_before = wall.checked_sub(MAX_WINDOW).unwrap_or(SystemTime::UNIX_EPOCH);
                let change = BanChange::Pruned {
                    now: wall,
                    failures_before,
                };
                if book.apply(&[change]).await.is_ok() {
                    pruned = Some(now);
                }
            }
            if let Err(error) = self.flush().await {
                tracing::error!("bans are kept in memory only for now: {error}");
                tokio::time::sleep(RETRY).await;
                continue;
            }
            tokio::select! {
                () = self.pending.notified() => {}
                () = tokio::time::sleep(PRUNE_EVERY) => {}
            }
        }
    }

    /// Writes what waits to be written.
    ///
    /// # Errors
    /// [`BanBookError`]; what was not written still waits.
    pub async fn flush(&self) -> Result<(), BanBookError> {
        let Some(book) = &self.book else {
            return Ok(());
        };
        // One writer at a time: order is kept across batches.
        let _turn = self.writing.lock().await;
        loop {
            let batch: Vec<BanChange> = self.state.lock().pending.iter().take(BATCH).cloned().collect();
            if batch.is_empty() {
                return Ok(());
            }
            book.apply(&batch).await?;
            // Only now: a batch whose writing was cancelled or failed comes again, which changes nothing
            // for bans and at worst counts a failure twice.
            self.state.lock().pending.drain(..batch.len());
        }
    }

    fn enter(
        &self,
        state: &mut Inner,
        source: IpAddr,
        now: Moment,
        length: Duration,
        reason: String,
    ) -> Live {
        let since = self.clock.wall();
        let live = Live {
            until: now.saturating_add(length),
            since,
            reason: reason.clone(),
        };
        state.table.ban(source, live.clone());
        let until = since.checked_add(length).unwrap_or(since);
        let ban = Ban {
            source,
            since,
            until,
            reason,
        };
        self.note(state, BanChange::Banned(ban));
        live
    }

    fn note(&self, state: &mut Inner, change: BanChange) {
        if self.book.is_none() {
            return;
        }
        let room = match change {
            BanChange::Failed { .. } => MAX_PENDING_FAILURES,
            _ => MAX_PENDING,
        };
        if state.pending.len() >= room {
            state.unwritten += 1;
            return;
        }
        state.pending.push_back(change);
        self.pending.notify_one();
    }

    fn now(&self) -> Moment {
        self.clock.passed().saturating_add(BEFORE_START)
    }
}

fn view(source: IpAddr, live: Live, now: Moment) -> BannedSource {
    BannedSource {
        source,
        since: live.since,
        remaining: live.until.saturating_sub(now),
        reason: live.reason,
    }
}
