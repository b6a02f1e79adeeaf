//! The running server: what outlives every configuration, and the way from one to the next.
//!
//! Invariants: a new configuration is read, checked and built as a whole before anything of the old one
//! is touched; whatever fails leaves the old one serving, and says so; the audit log is written last.

mod background;
mod drain;
mod lock;
mod readiness;
mod reload;
mod start;

use std::{path::PathBuf, sync::Arc};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use portreeve_session::{Gatekeeper, audit::Audit};
use portreeve_store::Store;
use tokio_util::sync::CancellationToken;

pub use drain::Ended;
pub use lock::{DataDir, DataDirError};
pub use reload::ReloadError;
pub use start::StartError;

use crate::{
    ops::{notify::Notifier, probes::Probes},
    options::Config,
    supervisor::{Reserve, Supervisor},
    wiring::{Backends, Doors, Lasting, Methods},
};

/// The server.
pub struct Service {
    /// The configuration's file: what a reload reads.
    file: PathBuf,
    gate: Gatekeeper,
    store: Store,
    lasting: Lasting,
    supervisor: Supervisor,
    notifier: Notifier,
    reserve: Arc<Reserve>,
    /// What the configuration of now was built into. Replaced as a whole by a reload.
    now: ArcSwap<Now>,
    /// One reload at a time.
    reloading: tokio::sync::Mutex<()>,
    /// Why the last reload failed; none after one that did not.
    reload_trouble: Mutex<Option<String>>,
    /// The probes and the address that they were asked for at.
    probes: Mutex<Option<Probes>>,
    probes_trouble: Mutex<Option<String>>,
    /// For requests that need the service as a whole.
    myself: std::sync::Weak<Self>,
    /// Ends what runs in the background.
    stop: CancellationToken,
    _data_dir: DataDir,
}

/// What belongs to one configuration.
#[derive(Clone)]
struct Now {
    config: Arc<Config>,
    backends: Backends,
    methods: Methods,
    doors: Doors,
}

impl Service {
    /// The configuration that serves now.
    #[must_use]
    pub fn config(&self) -> Arc<Config> {
        Arc::clone(&self.now.load().config)
    }

    /// The gatekeeper.
    #[must_use]
    pub const fn gate(&self) -> &Gatekeeper {
        &self.gate
    }

    /// The listeners.
    #[must_use]
    pub const fn supervisor(&self) -> &Supervisor {
        &self.supervisor
    }

    /// The state database.
    #[must_use]
    pub const fn store(&self) -> &Store {
        &self.store
    }
}

/// Opens the audit log of a configuration.
fn open_audit(config: &Config) -> Result<Audit, String> {
    Audit::open(&config.audit, &config.server.data_dir).map_err(|fault| fault.to_string())
}

#[cfg(test)]
mod tests;
