//! The target's name on a draft, in an extended attribute: drafts have hashes for names, and their owner
//! may want to be told of them by directory.
//!
//! Invariant: what the attribute says counts only where the draft's own name follows from it and from
//! the owner who asks. Nobody is told of what is not theirs, whoever wrote the attribute. Where the file
//! system has no such attributes a draft is found by its exact name, as ever, and told of to nobody.
//!
//! A draft is labelled when it is kept, and while it is written to as soon as it is worth going on with
//! after a crash: ext4 takes a block of its own for a name of more than some 50 bytes, which costs up to
//! milliseconds. Small files do not pay for it.

use std::{ffi::CStr, sync::Arc};

use portreeve_model::{Name, VPath};
use portreeve_vfs::{FsErrorKind, FsResult, OpCx, Partial};
use rustix::{
    fd::{AsFd, OwnedFd},
    fs::{self, Dir, Mode, OFlags, XattrFlags},
    io::Errno,
};

use crate::{
    draft,
    error::OrFsError,
    names,
    root::Place,
    storage::{READ, Storage},
};

const ATTRIBUTE: &CStr = c"user.portreeve.name";
/// From this size on a draft is labelled while it is written.
pub(crate) const WORTH_IT: u64 = 1 << 20;
/// Longest name of a file.
const MAX_NAME: usize = 255;
/// How many drafts of a directory are looked at, whosever they are: each costs an open.
const MAX_DRAFTS: usize = 10_000;

/// Whether the file system of `dir` keeps such attributes at all.
pub(crate) fn is_supported(dir: impl AsFd) -> bool {
    match fs::fgetxattr(dir, ATTRIBUTE, &mut [0_u8; MAX_NAME][..]) {
        Ok(_) | Err(Errno::NODATA | Errno::RANGE) => true,
        Err(_) => false,
    }
}

/// Writes the target's name on a draft. Whatever fails: a resume does not need it.
pub(crate) fn write(draft: &OwnedFd, target: &Name) {
    let _ = fs::fsetxattr(draft, ATTRIBUTE, target.as_bytes(), XattrFlags::empty());
}

/// Whether a draft bears one.
pub(crate) fn is_there(draft: &OwnedFd) -> bool {
    match fs::fgetxattr(draft, ATTRIBUTE, &mut [0_u8; MAX_NAME][..]) {
        Ok(_) | Err(Errno::RANGE) => true,
        Err(_) => false,
    }
}

/// Takes it off again.
pub(crate) fn erase(draft: &OwnedFd) {
    let _ = fs::fremovexattr(draft, ATTRIBUTE);
}

fn read(draft: &OwnedFd) -> Option<Name> {
    let mut bytes = [0_u8; MAX_NAME];
    let len = fs::fgetxattr(draft, ATTRIBUTE, &mut bytes[..]).ok()?;
    let name = Name::new(bytes.get(..len)?).ok()?;
    (!names::is_reserved(name.as_bytes())).then_some(name)
}

impl Storage {
    /// What the owner left unfinished right in `path`.
    pub(crate) fn partials(&self, cx: &OpCx, path: &VPath) -> FsResult<Vec<(Name, Partial)>> {
        names::hide_reserved(path)?;
        let dir = match self.root.open(path, READ | OFlags::DIRECTORY) {
            Ok(dir) => Arc::new(dir),
            Err(error) if matches!(error.kind(), FsErrorKind::NotFound | FsErrorKind::NotDir) => {
                return Ok(Vec::new());
            }
            Err(error) => return Err(error),
        };
        let mut found = Vec::new();
        let mut left = MAX_DRAFTS;
        let mut entries = Dir::read_from(&*dir).or_fs()?;
        while let Some(entry) = entries.read() {
            if cx.cancel.is_cancelled() {
                return Err(FsErrorKind::Cancelled.into());
            }
            let entry = entry.or_fs()?;
            let raw = entry.file_name().to_bytes();
            if !names::is_partial(raw) {
                continue;
            }
            if left == 0 {
                tracing::warn!(%path, "more than {MAX_DRAFTS} unfinished uploads: some are not listed");
                break;
            }
            left -= 1;
            let Some(name) = target(&dir, raw) else {
                continue;
            };
            if names::partial(&cx.owner, &name) != raw {
                continue; // somebody else's, or an upload's that is still going on beside another
            }
            let dir = Arc::clone(&dir);
            let place = Place { dir, name };
            // One that cannot be looked at cannot be gone on with either: it does not end the listing.
            if let Ok(Some(partial)) = draft::kept(&self.live, &cx.owner, &place, self.keep) {
                found.push((place.name, partial));
            }
        }
        Ok(found)
    }
}

fn target(dir: &OwnedFd, draft: &[u8]) -> Option<Name> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = fs::openat(dir, draft, flags, Mode::empty()).ok()?;
    read(&file)
}
