//! The bytes of an upload in progress: in a file without a name, beside the mailbox or in the spool.
//!
//! Invariant: gone with its last holder; nothing is ever left to be swept.

use std::{fs::File, io, os::unix::fs::FileExt, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use portreeve_vfs::{FsResult, SpoolArea, SpoolFile};

use crate::{
    Content,
    maildir::{InFile, fault},
};

/// Where uploads in progress are put down.
pub enum Spooling {
    /// In files without a name that this makes, on the mailbox's own disk.
    Beside(Box<dyn Fn() -> io::Result<File> + Send + Sync>),
    /// In the spool that all storages share, encrypted.
    Area(Arc<SpoolArea>),
}

impl Spooling {
    /// Largest upload that it takes, where it has a limit of its own.
    pub(super) fn max_file(&self) -> Option<u64> {
        match self {
            Self::Beside(_) => None,
            Self::Area(area) => Some(area.max_file()),
        }
    }

    /// A place for one upload; makes a file, so it runs off the async threads.
    pub(super) async fn intake(self: &Arc<Self>) -> FsResult<Intake> {
        let spooling = Arc::clone(self);
        match &**self {
            Self::Area(area) => Ok(Intake::Spool(Arc::new(
                SpoolFile::create(Arc::clone(area)).await?,
            ))),
            Self::Beside(_) => {
                let file = off_thread(move || match &*spooling {
                    Self::Beside(make) => make(),
                    Self::Area(_) => Err(io::ErrorKind::Unsupported.into()),
                });
                Ok(Intake::File(Arc::new(file.await?)))
            }
        }
    }
}

/// The bytes of one upload.
#[derive(Clone)]
pub(super) enum Intake {
    File(Arc<File>),
    Spool(Arc<SpoolFile>),
}

impl Intake {
    pub(super) async fn write(&self, mut at: u64, data: Vec<Bytes>) -> FsResult<()> {
        match self {
            Self::Spool(spool) => spool.write(Some(at), data).await.map(drop),
            Self::File(file) => {
                let file = Arc::clone(file);
                off_thread(move || {
                    for piece in data {
                        file.write_all_at(&piece, at)?;
                        at += piece.len() as u64;
                    }
                    Ok(())
                })
                .await
            }
        }
    }

    pub(super) async fn resize(&self, size: u64) -> FsResult<()> {
        match self {
            Self::Spool(spool) => spool.resize(size).await,
            Self::File(file) => {
                let file = Arc::clone(file);
                off_thread(move || file.set_len(size)).await
            }
        }
    }

    pub(super) async fn sync(&self) -> FsResult<()> {
        match self {
            // Its key lives in memory: no sync would make it outlive the process.
            Self::Spool(_) => Ok(()),
            Self::File(file) => {
                let file = Arc::clone(file);
                off_thread(move || file.sync_data()).await
            }
        }
    }

    /// What has been written, `size` bytes of it.
    pub(super) fn content(&self, size: u64) -> Arc<dyn Content> {
        match self {
            Self::File(file) => Arc::new(InFile {
                file: Arc::clone(file),
                start: 0,
                size,
            }),
            Self::Spool(spool) => Arc::new(InSpool {
                spool: Arc::clone(spool),
                size,
            }),
        }
    }
}

/// Content in the spool.
struct InSpool {
    spool: Arc<SpoolFile>,
    size: u64,
}

#[async_trait]
impl Content for InSpool {
    fn size(&self) -> u64 {
        self.size
    }

    async fn read(&self, at: u64, len: usize, into: Vec<u8>) -> FsResult<Vec<u8>> {
        let left = usize::try_from(self.size.saturating_sub(at)).unwrap_or(usize::MAX);
        self.spool.read(at, len.min(left), into).await
    }
}

async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> FsResult<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| fault(&io::Error::other(error)))?
        .map_err(|error| fault(&error))
}
