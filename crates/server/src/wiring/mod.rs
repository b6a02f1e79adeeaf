//! From a checked configuration to running parts: the one place that knows every backend, every method
//! and every door. A new one is an arm here and nothing else.
//!
//! Invariant: what is built here touches nothing that serves already; the caller swaps when all of it
//! stands.

mod backends;
mod chain;
mod doors;
mod world;

use std::{path::PathBuf, sync::Arc};

use portreeve_auth::{Accounts, BanList, Hasher};

pub(crate) use backends::Backends;
pub(crate) use chain::Methods;
pub(crate) use doors::Doors;
pub(crate) use world::build;

/// What outlives every world and is needed to build one.
#[derive(Clone)]
pub(crate) struct Lasting {
    /// Where state is kept.
    pub data_dir: PathBuf,
    /// Accounts of the store.
    pub accounts: Arc<dyn Accounts>,
    /// Bans, shared by all doors.
    pub bans: Arc<BanList>,
    /// Password hashes, bounded over all methods.
    pub hasher: Arc<Hasher>,
}

/// Parts keep their state over a reload where their options stay the same: this is what "same" means.
fn fingerprint(options: &impl std::fmt::Debug) -> String {
    format!("{options:?}")
}
