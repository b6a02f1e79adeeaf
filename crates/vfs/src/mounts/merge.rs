//! The listing of a directory that holds mounts: first their names, then what the storage has there,
//! without those names.
//!
//! Invariant: no name twice. The mounts of a table never change, so their number in order is a place
//! to go on from.

use std::{collections::BTreeSet, vec};

use async_trait::async_trait;
use portreeve_model::Name;

use crate::{Cursor, Entry, FsError, FsErrorKind, FsResult, Listing};

/// A cursor among the mounts: this, then how many were told.
const AMONG_MOUNTS: u8 = 0;
/// A cursor in the storage's own listing: this, then its bytes.
const IN_STORAGE: u8 = 1;

pub(super) struct Merged {
    mounts: vec::IntoIter<Entry>,
    names: BTreeSet<Name>,
    told: u32,
    inner: Option<Box<dyn Listing>>,
    /// Whether the storage's own listing gave anything, so that its cursor means something.
    begun: bool,
}

/// How many mounts to skip, and where to go on in the storage's own listing.
pub(super) fn position(from: Option<Cursor>) -> FsResult<(u32, Option<Cursor>)> {
    let Some(Cursor(bytes)) = from else {
        return Ok((0, None));
    };
    match bytes.split_first() {
        Some((&AMONG_MOUNTS, rest)) if let Ok(told) = rest.try_into() => Ok((u32::from_be_bytes(told), None)),
        Some((&IN_STORAGE, rest)) => Ok((u32::MAX, Some(Cursor(rest.into())))),
        _ => Err(FsError::new(FsErrorKind::Conflict).context("not a cursor of this listing")),
    }
}

impl Merged {
    pub(super) fn new(
        mounts: Vec<Entry>,
        names: BTreeSet<Name>,
        skip: u32,
        inner: Option<Box<dyn Listing>>,
    ) -> Self {
        let mut mounts = mounts.into_iter();
        let told = skip.min(u32::try_from(mounts.len()).unwrap_or(u32::MAX));
        mounts.by_ref().take(told as usize).for_each(drop);
        Self {
            mounts,
            names,
            told,
            inner,
            begun: skip == u32::MAX,
        }
    }
}

#[async_trait]
impl Listing for Merged {
    async fn next(&mut self, max: usize) -> FsResult<Vec<Entry>> {
        let head: Vec<Entry> = self.mounts.by_ref().take(max).collect();
        if !head.is_empty() || max == 0 {
            self.told += u32::try_from(head.len()).unwrap_or(u32::MAX);
            return Ok(head);
        }
        let Some(inner) = &mut self.inner else {
            return Ok(Vec::new());
        };
        loop {
            let mut page = inner.next(max).await?;
            if page.is_empty() {
                return Ok(page);
            }
            self.begun = true;
            page.retain(|entry| entry.name.as_ref().is_none_or(|name| !self.names.contains(name)));
            if !page.is_empty() {
                return Ok(page);
            }
        }
    }

    fn cursor(&self) -> Option<Cursor> {
        if !self.begun {
            let mut bytes = vec![AMONG_MOUNTS];
            bytes.extend_from_slice(&self.told.to_be_bytes());
            return Some(Cursor(bytes.into()));
        }
        let Cursor(inner) = self.inner.as_ref()?.cursor()?;
        Some(Cursor([&[IN_STORAGE], &*inner].concat().into()))
    }
}
