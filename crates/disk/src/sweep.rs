//! Clearing away what nobody will finish: partials older than they are kept, journals of a crash.

use std::sync::Arc;

use portreeve_model::{Name, VPath};
use portreeve_vfs::{FsError, FsErrorKind, FsResult};
use rustix::{
    fd::OwnedFd,
    fs::{self, Dir, FileType, Mode, OFlags},
};

use crate::{draft, error::OrFsError, names, root::Place, storage::Storage, undo};

/// What a sweep did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Swept {
    /// Dead partials removed.
    pub removed: u64,
    /// Journals of broken appends played back.
    pub recovered: u64,
    /// Directories or partials that could not be dealt with; each is in the log.
    pub failed: u64,
}

const DIR: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::CLOEXEC);

/// Walks the whole storage, no link followed, one directory open at a time.
pub(crate) fn everything(storage: &Storage) -> Swept {
    let mut swept = Swept::default();
    let mut left = vec![VPath::root()];
    while let Some(path) = left.pop() {
        if let Err(error) = directory(storage, &path, &mut left, &mut swept) {
            tracing::warn!(%path, %error, "cannot sweep a directory");
            swept.failed += 1;
        }
    }
    swept
}

/// Empties a directory that holds nothing but unfinished uploads: nobody can go on with them once it is
/// gone. Where anything else is in it, or an upload is going on, nothing is touched.
pub(crate) fn empty_dir(storage: &Storage, place: &Place) -> FsResult<()> {
    let open = fs::openat(&*place.dir, place.name.as_bytes(), DIR, Mode::empty()).or_fs()?;
    let dir = Arc::new(open);
    let mut ours = Vec::new();
    let mut entries = Dir::read_from(&*dir).or_fs()?;
    while let Some(entry) = entries.read() {
        let entry = entry.or_fs()?;
        match Name::new(entry.file_name().to_bytes()) {
            Err(_) => {} // "." and ".."
            Ok(name) if names::is_partial(name.as_bytes()) => ours.push(name),
            Ok(_) => return Err(FsErrorKind::NotEmpty.into()),
        }
    }
    for name in ours {
        let place = Place {
            dir: Arc::clone(&dir),
            name,
        };
        if !draft::clear(&storage.live, &place, place.name.as_bytes())? {
            return Err(
                FsError::new(FsErrorKind::NotEmpty).context("an upload into the directory is going on")
            );
        }
    }
    Ok(())
}

fn directory(storage: &Storage, path: &VPath, below: &mut Vec<VPath>, swept: &mut Swept) -> FsResult<()> {
    let dir = Arc::new(storage.root.open(path, DIR)?);
    let mut entries = Dir::read_from(&*dir).or_fs()?;
    while let Some(entry) = entries.read() {
        let entry = entry.or_fs()?;
        let Ok(name) = Name::new(entry.file_name().to_bytes()) else {
            continue;
        };
        if names::is_reserved(name.as_bytes()) {
            let place = Place {
                dir: Arc::clone(&dir),
                name,
            };
            match reserved(storage, &place, swept) {
                Ok(()) => {}
                Err(error) => {
                    tracing::warn!(%path, %error, "cannot sweep an unfinished upload");
                    swept.failed += 1;
                }
            }
        } else if matches!(entry.file_type(), FileType::Directory | FileType::Unknown)
            && let Ok(child) = path.join(&name)
            && is_dir(&dir, &name, entry.file_type())
        {
            below.push(child);
        }
    }
    Ok(())
}

fn reserved(storage: &Storage, place: &Place, swept: &mut Swept) -> FsResult<()> {
    if names::is_partial(place.name.as_bytes()) {
        if draft::sweep(&storage.live, place, storage.keep)? {
            swept.removed += 1;
        }
    } else if names::is_undo(place.name.as_bytes()) {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let journal = fs::openat(&*place.dir, place.name.as_bytes(), flags, Mode::empty()).or_fs()?;
        let Some(name) = undo::target(&journal)? else {
            return Ok(()); // being written this moment
        };
        drop(journal);
        let dir = Arc::clone(&place.dir);
        if undo::recover(&Place { dir, name }, false)? {
            swept.recovered += 1;
        }
    }
    Ok(())
}

fn is_dir(dir: &OwnedFd, name: &Name, kind: FileType) -> bool {
    kind == FileType::Directory || fs::openat(dir, name.as_bytes(), DIR, Mode::empty()).is_ok()
}
