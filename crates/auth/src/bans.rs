//! What must outlive a restart of ip-time-ban: the contract that a store fulfils.
//!
//! Invariant: sources are [`portreeve_model::Origin::source`]s, one IPv4 address or the /64 of an IPv6
//! one. Times here are on the wall clock, since they are read by another process; while one process
//! runs, bans are measured on the monotonic clock.

use std::{net::IpAddr, time::SystemTime};

use async_trait::async_trait;

/// A source that is refused for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ban {
    /// An IPv4 address, or the first address of an IPv6 /64.
    pub source: IpAddr,
    /// When it began.
    pub since: SystemTime,
    /// When it ends.
    pub until: SystemTime,
    /// Why, in plain words.
    pub reason: String,
}

/// One step of the record. A store applies a batch in its order, whole or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BanChange {
    /// Adds a ban or replaces the one of the same source, and forgets the failures of that source.
    Banned(Ban),
    /// Removes the ban and the failures of a source; nothing happens where there is none.
    Lifted(IpAddr),
    /// A sign-in failed. Several of one source at one time count severally.
    Failed {
        /// Where it came from.
        source: IpAddr,
        /// When.
        at: SystemTime,
    },
    /// Removes bans that ended before `now` and failures older than `failures_before`.
    Pruned {
        /// The time now.
        now: SystemTime,
        /// Failures before it no longer count.
        failures_before: SystemTime,
    },
}

/// What a store remembers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BanRecords {
    /// Bans that have not ended.
    pub bans: Vec<Ban>,
    /// Failures, oldest first.
    pub failures: Vec<(IpAddr, SystemTime)>,
}

/// The store did not do it; with what it said.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the ban store cannot be reached: {0}")]
pub struct BanBookError(pub String);

/// Where bans are kept.
#[async_trait]
pub trait BanBook: Send + Sync {
    /// Every ban that ends after `now` and every failure since `failures_since`, at most 100,000 of
    /// each, the newest preferred. `portreeve ban list` reads it where no server runs.
    ///
    /// # Errors
    /// [`BanBookError`].
    async fn load(&self, now: SystemTime, failures_since: SystemTime) -> Result<BanRecords, BanBookError>;

    /// Applies a batch, in order, in one transaction.
    ///
    /// # Errors
    /// [`BanBookError`]: then nothing of the batch was applied, and it comes again.
    async fn apply(&self, changes: &[BanChange]) -> Result<(), BanBookError>;
}
