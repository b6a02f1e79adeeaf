//! Listings of [`super::Memory`]: they go on after the last name they gave, so that whatever comes
//! and goes in between, no name that stays is missed or told twice.

use std::{ops::Bound, sync::Arc};

use async_trait::async_trait;
use portreeve_model::Name;

use super::{Shared, tree::Id};
use crate::{Cursor, Entry, FsError, FsErrorKind, FsResult, Listing};

pub(super) struct MemoryListing {
    shared: Arc<Shared>,
    dir: Id,
    after: Option<Name>,
}

impl MemoryListing {
    pub(super) fn new(shared: Arc<Shared>, dir: Id, from: Option<Cursor>) -> FsResult<Self> {
        let after = match from {
            Some(cursor) => {
                let bad = |_| FsError::new(FsErrorKind::Conflict).context("not a cursor of this listing");
                Some(Name::new(cursor.0).map_err(bad)?)
            }
            None => None,
        };
        Ok(Self { shared, dir, after })
    }
}

#[async_trait]
impl Listing for MemoryListing {
    async fn next(&mut self, max: usize) -> FsResult<Vec<Entry>> {
        let tree = self.shared.tree.lock();
        let start = self.after.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let children = tree.dir(self.dir)?.children.range((start, Bound::Unbounded));
        let entries = children
            .take(max)
            .map(|(name, id)| tree.entry(*id, Some(name.clone())))
            .collect::<FsResult<Vec<_>>>()?;
        if let Some(last) = entries.last() {
            self.after.clone_from(&last.name);
        }
        Ok(entries)
    }

    fn cursor(&self) -> Option<Cursor> {
        self.after.as_ref().map(|name| Cursor(name.as_bytes().into()))
    }
}
