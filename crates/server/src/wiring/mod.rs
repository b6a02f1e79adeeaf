//! From a checked configuration to running parts: the one place that knows every backend, every method
//! and every door. A new one is an arm here and nothing else.
//!
//! Invariant: what is built here touches nothing that serves already; the caller swaps when all of it
//! stands.

mod backends;
mod chain;
mod doors;
mod keeping;
mod remote;
mod world;

use std::{path::PathBuf, sync::Arc};

use portreeve_mailbox::Surroundings;
use portreeve_microsoft::Cloud;
use portreeve_store::Store;
use portreeve_vfs::SpoolArea;

use portreeve_auth::{Accounts, BanList, Hasher};

pub(crate) use backends::Backends;
pub(crate) use chain::Methods;
pub(crate) use doors::Doors;
use keeping::{SealedVault, StoreShelf};
pub(crate) use remote::Given;
pub(crate) use world::build;

use crate::{options::Config, secrets::Keeper};

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
    /// Where secrets are read.
    pub secrets: Arc<Keeper>,
    /// What remote mailboxes need: records, the spool, tokens and budgets.
    pub around: Surroundings,
}

impl Lasting {
    /// Over an open store. Touches no file.
    pub(crate) fn new(config: &Config, store: &Store, bans: Arc<BanList>) -> Self {
        let data_dir = config.server.data_dir.clone();
        let spool = &config.spool;
        let directory = spool.directory.clone().unwrap_or_else(|| data_dir.join("spool"));
        let secrets = Arc::new(Keeper::new(store.clone(), config.store.key.clone(), &data_dir));
        let area = SpoolArea::new(directory, spool.max_total.0, spool.max_file.0);
        let vault = SealedVault(Arc::clone(&secrets));
        let around = Surroundings::new(
            Arc::new(StoreShelf(store.clone())),
            Arc::new(area),
            Cloud::new(Arc::new(vault)),
        )
        .holding_back();
        Self {
            accounts: Arc::new(store.clone()),
            bans,
            hasher: Arc::new(Hasher::for_this_machine()),
            around,
            secrets,
            data_dir,
        }
    }
}

/// Parts keep their state over a reload where their options stay the same: this is what "same" means.
fn fingerprint(options: &impl std::fmt::Debug) -> String {
    format!("{options:?}")
}
