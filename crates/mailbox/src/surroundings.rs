//! What a remote mailbox needs of its host: where records and fetched content are kept.

use std::{fmt, sync::Arc};

use portreeve_microsoft::Cloud;
use portreeve_vfs::SpoolArea;

use crate::{Shelf, fetch::Fetches};

/// What a remote mailbox needs of its host. One for the whole process: it outlives every reload, so that
/// records, fetched content and what is shared with Microsoft's services do.
#[derive(Clone)]
pub struct Surroundings {
    /// Where names and indexes are remembered over restarts.
    pub shelf: Arc<dyn Shelf>,
    /// Where content is put down while it is read or written.
    pub spool: Arc<SpoolArea>,
    /// Tokens and budgets of Microsoft's services.
    pub cloud: Cloud,
    /// Content being fetched, and what is kept of it for a while.
    pub(crate) fetches: Arc<Fetches>,
}

impl Surroundings {
    /// With records on `shelf`, content in `spool` and tokens in `cloud`.
    #[must_use]
    pub fn new(shelf: Arc<dyn Shelf>, spool: Arc<SpoolArea>, cloud: Cloud) -> Self {
        Self {
            shelf,
            fetches: Arc::new(Fetches::new(Arc::clone(&spool))),
            spool,
            cloud,
        }
    }
}

impl fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Surroundings").finish_non_exhaustive()
    }
}
