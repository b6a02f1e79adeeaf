//! The root and every look-up beneath it.
//!
//! Invariant: the kernel resolves each path in one step from the root's descriptor
//! (`openat2` with `RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS`), and what is done afterwards is done to
//! a descriptor, or to one name in a directory's descriptor without following it. There is no moment
//! between check and use in which swapping a link could lead out.

use std::{borrow::Cow, sync::Arc};

use portreeve_model::{Name, VPath};
use portreeve_vfs::{FileKind, FsErrorKind, FsResult, Links};
use rustix::{
    fd::{AsFd, OwnedFd},
    fs::{self, Mode, OFlags, ResolveFlags, Statx},
    io::Errno,
};

use crate::{
    error::{OrFsError, lookup_error, outside, refused},
    stat,
};

/// How many links one look-up may pass: as many as the kernel allows (path_resolution(7)).
const MAX_LINKS: usize = 40;
/// How often a look-up that raced with renames is tried again.
const MAX_RACES: usize = 64;

/// The open root.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub(crate) struct Root {
    fd: Arc<OwnedFd>,
    follow: bool,
    openat2: bool,
}

/// A name in an open directory.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// The directory, opened with `O_PATH`.
    pub(crate) dir: Arc<OwnedFd>,
    /// The name in it.
    pub(crate) name: Name,
}

impl Place {
    /// What is there now, never through a link.
    pub(crate) fn stat(&self) -> FsResult<Option<Statx>> {
        stat::at(&*self.dir, self.name.as_bytes()).or_fs()
    }
}

impl Root {
    /// Takes over an open directory. Without `openat2` (before Linux 5.6, or forbidden by a sandbox) no
    /// link is followed.
    pub(crate) fn new(fd: OwnedFd, follow: bool) -> Self {
        let probe = fs::openat2(
            &fd,
            c".",
            OFlags::PATH | OFlags::CLOEXEC,
            Mode::empty(),
            beneath(follow),
        );
        Self {
            fd: Arc::new(fd),
            follow,
            openat2: probe.is_ok(),
        }
    }

    /// Whether links beneath the root are followed.
    pub(crate) fn follows(&self) -> bool {
        self.follow && self.openat2
    }

    /// Opens what is at `path`.
    pub(crate) fn open(&self, path: &VPath, flags: OFlags) -> FsResult<OwnedFd> {
        self.open_raw(relative(path), flags).map_err(lookup_error)
    }

    #[cfg(test)]
    pub(crate) fn forget_openat2(&mut self) {
        self.openat2 = false;
    }

    /// The directory of `path` and the last component, which is not looked at. `path` must not be `/`.
    pub(crate) fn parent(&self, path: &VPath) -> FsResult<Place> {
        let Some(name) = path.file_name() else {
            return Err(refused("this cannot be done to the root"));
        };
        let dir = self.dir(split(relative(path)).0)?;
        Ok(Place { dir, name })
    }

    /// What is at `path`, with links in the last component followed or not.
    pub(crate) fn stat(&self, path: &VPath, links: Links) -> FsResult<Statx> {
        let rel = relative(path);
        // One component beneath the root cannot lead out unless it is a link: one system call.
        if !rel.contains(&b'/') {
            let found = stat::at(&*self.fd, rel).or_fs()?.ok_or(FsErrorKind::NotFound)?;
            if links == Links::Keep || stat::kind(&found) != FileKind::Symlink {
                return Ok(found);
            }
        }
        let flags = match links {
            Links::Follow => OFlags::PATH,
            Links::Keep => OFlags::PATH | OFlags::NOFOLLOW,
        };
        let fd = self.open(path, flags)?;
        stat::of(fd).or_fs()
    }

    /// Where `path` really is: links in the last component are followed one by one, so that the answer
    /// is a directory's descriptor and a name that is no link (or nothing at all).
    pub(crate) fn resolve(&self, path: &VPath) -> FsResult<(Place, Option<Statx>)> {
        let mut place = self.parent(path)?;
        let mut found = place.stat()?;
        let mut at = Cow::Borrowed(relative(path));
        for _ in 0..MAX_LINKS {
            if !found
                .as_ref()
                .is_some_and(|stat| stat::kind(stat) == FileKind::Symlink)
            {
                return Ok((place, found));
            }
            if !self.follows() {
                return Err(refused("symbolic links are not followed here"));
            }
            let target = fs::readlinkat(&*place.dir, place.name.as_bytes(), Vec::new()).or_fs()?;
            let target = target.as_bytes();
            if target.starts_with(b"/") {
                return Err(outside());
            }
            // The kernel, not we, makes sense of the ".." in it: see `dir`.
            let (dir, _) = split(&at);
            at = Cow::Owned([dir, b"/".as_slice(), target].concat());
            let (dir, last) = split(&at);
            let Ok(name) = Name::new(last) else {
                return Err(FsErrorKind::IsDir.into()); // ends in "/", "." or ".."
            };
            if crate::names::is_reserved(last) {
                return Err(FsErrorKind::NotFound.into());
            }
            place = Place {
                dir: self.dir(dir)?,
                name,
            };
            found = place.stat()?;
        }
        Err(refused("too many symbolic links"))
    }

    fn dir(&self, rel: &[u8]) -> FsResult<Arc<OwnedFd>> {
        if rel == b"." {
            return Ok(Arc::clone(&self.fd));
        }
        let fd = self
            .open_raw(rel, OFlags::PATH | OFlags::DIRECTORY)
            .map_err(lookup_error)?;
        Ok(Arc::new(fd))
    }

    fn open_raw(&self, rel: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
        let flags = flags | OFlags::CLOEXEC;
        // "/x" can only come from a link's target joined to the root: still beneath it.
        let rel = match rel.iter().position(|byte| *byte != b'/') {
            Some(start) => rel.get(start..).unwrap_or(b"."),
            None => b".",
        };
        if !self.openat2 {
            return walk(&self.fd, rel, flags);
        }
        let mut races = 0;
        loop {
            match fs::openat2(&*self.fd, rel, flags, Mode::empty(), beneath(self.follow)) {
                Err(Errno::AGAIN) if races < MAX_RACES => races += 1,
                Err(Errno::INTR) => {}
                done => return done,
            }
        }
    }
}

fn beneath(follow: bool) -> ResolveFlags {
    let flags = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    if follow {
        flags
    } else {
        flags | ResolveFlags::NO_SYMLINKS
    }
}

/// Component by component, no link followed: where openat2 is missing.
fn walk(root: &OwnedFd, rel: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    let (dirs, last) = split(rel);
    let step = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut at: Option<OwnedFd> = None;
    for part in dirs
        .split(|byte| *byte == b'/')
        .filter(|part| !matches!(*part, b"" | b"."))
    {
        if part == b".." {
            return Err(Errno::XDEV);
        }
        at = Some(fs::openat(
            at.as_ref().unwrap_or(root),
            part,
            step,
            Mode::empty(),
        )?);
    }
    if last == b".." {
        return Err(Errno::XDEV);
    }
    let last = if last.is_empty() { b"." } else { last };
    fs::openat(
        at.as_ref().unwrap_or(root).as_fd(),
        last,
        flags | OFlags::NOFOLLOW,
        Mode::empty(),
    )
}

/// The path as seen from the root's descriptor.
fn relative(path: &VPath) -> &[u8] {
    match path.as_bytes().strip_prefix(b"/") {
        Some([]) | None => b".",
        Some(rel) => rel,
    }
}

/// What stands before the last slash (`.` where there is none) and what stands behind it.
fn split(rel: &[u8]) -> (&[u8], &[u8]) {
    match rel.iter().rposition(|byte| *byte == b'/') {
        Some(cut) => (
            rel.get(..cut).filter(|head| !head.is_empty()).unwrap_or(b"."),
            rel.get(cut + 1..).unwrap_or_default(),
        ),
        None => (b".", rel),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_like_the_kernel_resolves() {
        for (rel, dir, last) in [
            ("a", ".", "a"),
            ("a/b", "a", "b"),
            ("/a", ".", "a"),
            ("a/", "a", ""),
            ("a/..", "a", ".."),
            ("./a", ".", "a"),
        ] {
            assert_eq!(split(rel.as_bytes()), (dir.as_bytes(), last.as_bytes()), "{rel}");
        }
        assert_eq!(relative(&VPath::root()), b".");
    }
}
