//! Setting size, mode and times by path, and making directories with theirs.
//!
//! Invariant: whatever is changed is changed through a descriptor of the very object that was looked at.

use portreeve_model::VPath;
use portreeve_vfs::{Attrs, FileKind, FsErrorKind, FsResult, Links};
use rustix::{
    fd::{AsRawFd, OwnedFd},
    fs::{self, AtFlags, CWD, Mode, OFlags, Statx},
};

use crate::{
    error::{OrFsError, refused},
    finish, names,
    stat::{self, SAFE_MODE},
    storage::{READ, Storage, regular},
};

impl Storage {
    pub(crate) fn make_dir(&self, path: &VPath, attrs: Attrs) -> FsResult<()> {
        names::refuse_reserved(path)?;
        if path.is_root() {
            return Err(FsErrorKind::Exists.into());
        }
        let place = self.root.parent(path)?;
        let name = place.name.as_bytes();
        fs::mkdirat(&*place.dir, name, Mode::RWXU).or_fs()?;
        // Not by mkdirat: the umask would cut bits off, and set-group-id is inherited, not given.
        let flags = READ | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = fs::openat(&*place.dir, name, flags, Mode::empty()).or_fs()?;
        let inherited = u32::from(stat::of(&made).or_fs()?.stx_mode) & Mode::SGID.as_raw_mode();
        let mode = attrs.mode.map_or(self.dir_mode, |mode| mode & SAFE_MODE);
        fs::fchmod(&made, Mode::from_raw_mode(mode | inherited)).or_fs()?;
        finish::apply(&made, None, attrs)
    }

    pub(crate) fn set_attrs(&self, path: &VPath, attrs: Attrs, links: Links) -> FsResult<()> {
        names::hide_reserved(path)?;
        if attrs.is_empty() {
            return self.root.stat(path, links).map(drop);
        }
        let nofollow = match links {
            Links::Follow => OFlags::empty(),
            Links::Keep => OFlags::NOFOLLOW,
        };
        let object = self.root.open(path, OFlags::PATH | nofollow)?;
        let found = stat::of(&object).or_fs()?;
        match stat::kind(&found) {
            FileKind::File | FileKind::Dir => {}
            // A link has no content and no mode; its times can be set.
            FileKind::Symlink if attrs.size.is_none() && attrs.mode.is_none() => {}
            FileKind::Symlink | FileKind::Other => {
                return Err(refused("it is neither a file nor a directory"));
            }
        }
        if let Some(size) = attrs.size {
            regular(&found)?;
            let file = self.reopen(path, OFlags::WRONLY | nofollow, &found)?;
            fs::ftruncate(&file, size).or_fs()?;
        }
        if let Some(mode) = attrs.mode {
            self.set_mode(path, &object, &found, nofollow, mode & SAFE_MODE)?;
        }
        if attrs.modified.is_some() || attrs.accessed.is_some() {
            fs::utimensat(&object, c"", &finish::timestamps(attrs), AtFlags::EMPTY_PATH).or_fs()?;
        }
        Ok(())
    }

    fn set_mode(
        &self,
        path: &VPath,
        object: &OwnedFd,
        found: &Statx,
        nofollow: OFlags,
        mode: u32,
    ) -> FsResult<()> {
        let kept = if stat::kind(found) == FileKind::Dir {
            u32::from(found.stx_mode) & Mode::SGID.as_raw_mode()
        } else {
            0
        };
        let mode = Mode::from_raw_mode(mode | kept);
        match self.reopen(path, READ | nofollow, found) {
            Ok(open) => fs::fchmod(open, mode).or_fs(),
            // Ours to change, but not to read: through the descriptor's own magic link.
            Err(error) if error.kind() == FsErrorKind::Denied => {
                let link = format!("/proc/self/fd/{}", object.as_raw_fd());
                fs::chmodat(CWD, link, mode, AtFlags::empty()).or_fs()
            }
            Err(error) => Err(error),
        }
    }

    /// Opens `path` once more for a use that `O_PATH` does not allow, and makes sure it is the same.
    fn reopen(&self, path: &VPath, flags: OFlags, found: &Statx) -> FsResult<OwnedFd> {
        let open = self.root.open(path, flags | OFlags::NONBLOCK | OFlags::NOCTTY)?;
        if stat::identity(&stat::of(&open).or_fs()?) != stat::identity(found) {
            return Err(FsErrorKind::Conflict.into());
        }
        Ok(open)
    }
}
