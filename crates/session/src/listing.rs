//! An open directory as one session sees it: its own pending uploads in it (V1), what its person left
//! unfinished where the mount lists that (V2), and without what the rules hide.
//!
//! Invariant: no name twice, and the own upload before the partial.

use std::{
    collections::{HashMap, HashSet},
    vec,
};

use portreeve_model::Name;
use portreeve_vfs::{Cursor, Entry, FsError, FsErrorKind, FsResult};

use crate::plan::Filter;

/// A cursor among the unfinished uploads: this, then the last name told.
const AMONG_UNFINISHED: u8 = b'u';
/// A cursor behind them: this, then the storage's own.
const IN_STORAGE: u8 = b's';

/// An open directory.
pub struct Listing {
    inner: Box<dyn portreeve_vfs::Listing>,
    /// Pending uploads of this session in it: they stand in for what is visible.
    own: HashMap<Name, Entry>,
    /// Whether it began at the start: pending names that are not visible yet are told once.
    first: bool,
    filter: Filter,
    /// None where the mount hides them.
    unfinished: Option<Unfinished>,
    done: bool,
}

impl Listing {
    pub(crate) fn new(
        inner: Box<dyn portreeve_vfs::Listing>,
        own: HashMap<Name, Entry>,
        first: bool,
        filter: Filter,
        unfinished: Option<Unfinished>,
    ) -> Self {
        Self {
            inner,
            own,
            first,
            filter,
            unfinished,
            done: false,
        }
    }

    /// The next entries, at most `max`; none means the end.
    ///
    /// # Errors
    /// What the storage says.
    pub async fn next(&mut self, max: usize) -> FsResult<Vec<Entry>> {
        if let Some(unfinished) = &mut self.unfinished {
            let head = unfinished.next(max);
            if !head.is_empty() || max == 0 {
                return Ok(head);
            }
            unfinished.told_all = true;
        }
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
            entries.retain(|entry| entry.name.as_ref().is_none_or(|name| self.shows(name)));
            if !entries.is_empty() {
                return Ok(entries);
            }
        }
        Ok(Vec::new())
    }

    /// Where it stands, for going on later without holding it.
    #[must_use]
    pub fn cursor(&self) -> Option<Cursor> {
        let tagged = |tag: u8, rest: &[u8]| Cursor([&[tag], rest].concat().into());
        match &self.unfinished {
            None => self.inner.cursor(),
            Some(told) if !told.told_all => Some(tagged(AMONG_UNFINISHED, &told.last)),
            Some(_) => self.inner.cursor().map(|Cursor(at)| tagged(IN_STORAGE, &at)),
        }
    }

    fn shows(&self, name: &Name) -> bool {
        // One that was completed since the listing began has been told already.
        let told = self
            .unfinished
            .as_ref()
            .is_some_and(|told| told.names.contains(name));
        !told && self.filter.shows(name)
    }
}

/// Where a listing begins.
pub(crate) enum Begin {
    /// Among the unfinished uploads, behind this name; before all of them where it is empty.
    Unfinished(Vec<u8>),
    /// In the storage's own listing: at its start, or where a former one stood.
    Storage(Option<Cursor>),
}

impl Begin {
    /// What a cursor means; `listed`: whether unfinished uploads come first.
    pub(crate) fn of(from: Option<Cursor>, listed: bool) -> FsResult<Self> {
        if !listed {
            return Ok(Self::Storage(from));
        }
        let Some(Cursor(bytes)) = from else {
            return Ok(Self::Unfinished(Vec::new()));
        };
        match bytes.split_first() {
            Some((&AMONG_UNFINISHED, last)) => Ok(Self::Unfinished(last.to_vec())),
            Some((&IN_STORAGE, rest)) => Ok(Self::Storage(Some(Cursor(rest.into())))),
            _ => {
                Err(FsError::new(FsErrorKind::Conflict)
                    .context("the listing cannot be continued; start it anew"))
            }
        }
    }

    /// Whether the storage's own listing is still to be told from its start.
    pub(crate) const fn is_first(&self) -> bool {
        matches!(self, Self::Unfinished(_) | Self::Storage(None))
    }

    /// Where the storage's own listing goes on.
    pub(crate) fn in_storage(&self) -> Option<Cursor> {
        match self {
            Self::Unfinished(_) => None,
            Self::Storage(from) => from.clone(),
        }
    }
}

/// What the person left unfinished in the directory: told first, in the order of names.
pub(crate) struct Unfinished {
    left: vec::IntoIter<Entry>,
    names: HashSet<Name>,
    /// The last name told, a place to go on from whatever comes and goes meanwhile.
    last: Vec<u8>,
    told_all: bool,
}

impl Unfinished {
    /// Those of `entries` (in the order of names) that come behind `begin`.
    pub(crate) fn new(mut entries: Vec<Entry>, begin: &Begin) -> Self {
        let names = entries.iter().filter_map(|entry| entry.name.clone()).collect();
        let (last, told_all) = match begin {
            Begin::Unfinished(last) => (last.clone(), false),
            Begin::Storage(_) => (Vec::new(), true),
        };
        entries.retain(|entry| {
            let name = entry.name.as_ref();
            name.is_some_and(|name| name.as_bytes() > last.as_slice())
        });
        Self {
            left: entries.into_iter(),
            names,
            last,
            told_all,
        }
    }

    fn next(&mut self, max: usize) -> Vec<Entry> {
        let page: Vec<Entry> = self.left.by_ref().take(max).collect();
        if let Some(name) = page.last().and_then(|entry| entry.name.as_ref()) {
            self.last = name.as_bytes().to_vec();
        }
        page
    }
}
