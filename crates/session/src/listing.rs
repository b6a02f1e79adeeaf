//! An open directory as one session sees it: its own pending uploads in it (V1), and without what the
//! rules hide.

use std::collections::HashMap;

use portreeve_model::Name;
use portreeve_vfs::{Cursor, Entry, FsResult};

use crate::plan::Filter;

/// An open directory.
pub struct Listing {
    inner: Box<dyn portreeve_vfs::Listing>,
    /// Pending uploads of this session in it: they stand in for what is visible.
    own: HashMap<Name, Entry>,
    /// Whether it began at the start: pending names that are not visible yet are told once.
    first: bool,
    filter: Filter,
    done: bool,
}

impl Listing {
    pub(crate) fn new(
        inner: Box<dyn portreeve_vfs::Listing>,
        own: HashMap<Name, Entry>,
        first: bool,
        filter: Filter,
    ) -> Self {
        Self {
            inner,
            own,
            first,
            filter,
            done: false,
        }
    }

    /// The next entries, at most `max`; none means the end.
    ///
    /// # Errors
    /// What the storage says.
    pub async fn next(&mut self, max: usize) -> FsResult<Vec<Entry>> {
        while !self.done {
            let mut entries = self.inner.next(max).await?;
            self.done = entries.is_empty();
            for entry in &mut entries {
                if let Some(own) = entry.name.as_ref().and_then(|name| self.own.remove(name)) {
                    *entry = own;
                }
            }
            if self.done && self.first {
                entries.extend(self.own.drain().map(|(_, entry)| entry));
            }
            entries.retain(|entry| entry.name.as_ref().is_none_or(|name| self.filter.shows(name)));
            if !entries.is_empty() {
                return Ok(entries);
            }
        }
        Ok(Vec::new())
    }

    /// Where it stands, for going on later without holding it.
    #[must_use]
    pub fn cursor(&self) -> Option<Cursor> {
        self.inner.cursor()
    }
}
