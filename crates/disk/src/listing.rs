//! Directories as a held stream: the kernel's own cursor, one `statx` for each entry, a buffer of at
//! most 32 KiB, whatever the size of the directory.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use portreeve_model::Name;
use portreeve_vfs::{Cursor, Entry, FileKind, FsError, FsErrorKind, FsResult, Listing};
use rustix::{
    fd::OwnedFd,
    fs::{Dir, FileType},
    io::Errno,
};

use crate::{
    draft::{self, Live},
    error::OrFsError,
    hop::{Hop, blocking},
    names,
    root::Place,
    stat,
};

/// Version of the cursor's form.
const CURSOR: u8 = 1;

/// An open listing.
pub(crate) struct DirStream {
    /// None only while a batch is on its way.
    inner: Option<Inner>,
    hop: Hop,
    at: i64,
}

struct Inner {
    dir: Dir,
    live: Arc<Live>,
    keep: Duration,
    at: i64,
}

impl DirStream {
    /// Lists the open directory, from `from` on.
    pub(crate) fn open(
        fd: OwnedFd,
        from: Option<&Cursor>,
        hop: Hop,
        live: Arc<Live>,
        keep: Duration,
    ) -> FsResult<Self> {
        let mut dir = Dir::new(fd).or_fs()?;
        let at = from.map_or(Ok(0), decode)?;
        if at != 0 {
            dir.seek(at).map_err(|_| bad_cursor())?;
        }
        Ok(Self {
            inner: Some(Inner { dir, live, keep, at }),
            hop,
            at,
        })
    }
}

#[async_trait]
impl Listing for DirStream {
    async fn next(&mut self, max: usize) -> FsResult<Vec<Entry>> {
        let Some(mut inner) = self.inner.take() else {
            // A former call was dropped half-way: what it had read is gone.
            return Err(FsError::new(FsErrorKind::Cancelled).context("the listing was broken off"));
        };
        let (inner, batch) = if self.hop.data_in_place() {
            let batch = inner.next(max);
            (inner, batch)
        } else {
            blocking(move || {
                let batch = inner.next(max);
                Ok((inner, batch))
            })
            .await?
        };
        self.at = inner.at;
        self.inner = Some(inner);
        batch
    }

    fn cursor(&self) -> Option<Cursor> {
        let mut bytes = vec![CURSOR];
        bytes.extend_from_slice(&self.at.to_le_bytes());
        Some(Cursor(bytes.into()))
    }
}

impl Inner {
    fn next(&mut self, max: usize) -> FsResult<Vec<Entry>> {
        let mut batch = Vec::with_capacity(max.min(512));
        while batch.len() < max {
            let Some(item) = self.dir.read() else {
                break;
            };
            let item = item.or_fs()?;
            self.at = item.offset();
            let raw = item.file_name().to_bytes();
            let Ok(name) = Name::new(raw) else {
                continue; // "." and ".."
            };
            if names::is_reserved(raw) {
                self.sweep(name);
                continue;
            }
            match self.dir.fd().and_then(|dir| stat::at(dir, raw)) {
                Ok(Some(found)) => batch.push(stat::entry(Some(name), &found)),
                Ok(None) => {} // removed meanwhile
                // Known by name and kind only: an entry that cannot be looked at does not end a listing.
                Err(Errno::ACCESS | Errno::PERM) => {
                    batch.push(Entry::bare(Some(name), kind(item.file_type())));
                }
                Err(errno) => return Err(errno).or_fs(),
            }
        }
        Ok(batch)
    }

    fn sweep(&self, name: Name) {
        if names::is_partial(name.as_bytes())
            && let Ok(Ok(dir)) = self.dir.fd().map(|dir| dir.try_clone_to_owned())
        {
            let place = Place {
                dir: Arc::new(dir),
                name,
            };
            // Best effort: the hourly sweep reports what cannot be removed.
            let _ = draft::sweep(&self.live, &place, self.keep);
        }
    }
}

fn kind(of: FileType) -> FileKind {
    match of {
        FileType::RegularFile => FileKind::File,
        FileType::Directory => FileKind::Dir,
        FileType::Symlink => FileKind::Symlink,
        _ => FileKind::Other,
    }
}

fn decode(cursor: &Cursor) -> FsResult<i64> {
    match cursor.0.split_first() {
        Some((&CURSOR, rest)) => rest.try_into().map(i64::from_le_bytes).map_err(|_| bad_cursor()),
        _ => Err(bad_cursor()),
    }
}

fn bad_cursor() -> FsError {
    FsError::new(FsErrorKind::Conflict).context("the listing cannot be continued; start it anew")
}
