//! A directory held open, and names in it: every access goes name by name from the root's handle.
//!
//! Invariants: no symbolic link is ever followed (but for the root itself, which the administrator
//! names); names hold no `/` and are neither `.` nor `..`; so nothing outside the root can be
//! reached, also while directories are swapped underneath.

use std::{
    fs::File,
    io,
    os::fd::{AsFd, OwnedFd},
    path::Path,
    time::SystemTime,
};

use portreeve_model::Timestamp;
use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags, RenameFlags, Stat, Timespec, Timestamps},
    io::Errno,
};

/// A directory held open.
#[derive(Debug)]
pub(super) struct Dir(OwnedFd);

/// What tells one state of a file from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) inode: u64,
    pub(super) size: u64,
    pub(super) modified: Timestamp,
}

impl Dir {
    /// Opens the root; links in its path are followed.
    pub(super) fn root(path: &Path) -> io::Result<Self> {
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        Ok(Self(rustix::fs::open(path, flags, Mode::empty())?))
    }

    /// Opens a directory in this one.
    pub(super) fn sub(&self, name: &str) -> io::Result<Self> {
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::RDONLY | OFlags::CLOEXEC;
        Ok(Self(rustix::fs::openat(
            &self.0,
            checked(name)?,
            flags,
            Mode::empty(),
        )?))
    }

    /// Opens a directory further down; `path` is relative, `.` for this one.
    pub(super) fn walk(&self, path: &str) -> io::Result<Self> {
        let mut dir = Self(self.0.try_clone()?);
        for name in path.split('/').filter(|name| *name != ".") {
            dir = dir.sub(name)?;
        }
        Ok(dir)
    }

    /// Names of entries and whether each is a directory; links and what is no UTF-8 are left out.
    pub(super) fn names(&self) -> io::Result<Vec<(String, bool)>> {
        let mut out = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.0)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().to_str() else {
                continue;
            };
            let kind = match entry.file_type() {
                FileType::Unknown => match rustix::fs::statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW) {
                    Ok(stat) => FileType::from_raw_mode(stat.st_mode),
                    Err(_) => continue,
                },
                known => known,
            };
            if name != "." && name != ".." && matches!(kind, FileType::Directory | FileType::RegularFile) {
                out.push((name.to_owned(), kind == FileType::Directory));
            }
        }
        Ok(out)
    }

    /// Opens a regular file for reading.
    pub(super) fn open(&self, name: &str) -> io::Result<File> {
        // Non-blocking: a pipe put there must not make us wait.
        let flags = OFlags::NOFOLLOW | OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let fd = rustix::fs::openat(&self.0, checked(name)?, flags, Mode::empty())?;
        let stat = rustix::fs::fstat(&fd)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(Errno::INVAL.into());
        }
        Ok(File::from(fd))
    }

    /// Makes a file that was not there, readable and writable by us alone.
    pub(super) fn create(&self, name: &str) -> io::Result<File> {
        let flags = OFlags::NOFOLLOW | OFlags::RDWR | OFlags::CLOEXEC | OFlags::CREATE | OFlags::EXCL;
        let mode = Mode::RUSR | Mode::WUSR;
        Ok(File::from(rustix::fs::openat(
            &self.0,
            checked(name)?,
            flags,
            mode,
        )?))
    }

    /// The state of an entry; none where there is none.
    pub(super) fn stamp(&self, name: &str) -> io::Result<Option<Stamp>> {
        match rustix::fs::statat(&self.0, checked(name)?, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stamp(&stat))),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The state of this directory.
    pub(super) fn own_stamp(&self) -> io::Result<Stamp> {
        Ok(stamp(&rustix::fs::fstat(&self.0)?))
    }

    /// Renames, never over something else.
    pub(super) fn rename(&self, from: &str, to_dir: &Self, to: &str) -> io::Result<()> {
        let (from, to) = (checked(from)?, checked(to)?);
        match rustix::fs::renameat_with(&self.0, from, &to_dir.0, to, RenameFlags::NOREPLACE) {
            // A file system that knows no flags: look first, which is all one can do there.
            Err(Errno::INVAL | Errno::NOSYS) => {
                if to_dir.stamp(to)?.is_some() {
                    return Err(Errno::EXIST.into());
                }
                Ok(rustix::fs::renameat(&self.0, from, &to_dir.0, to)?)
            }
            other => Ok(other?),
        }
    }

    /// Swaps two files in one step; both must be there. Answers false where the file system cannot
    /// swap: then `new` has replaced `old`.
    pub(super) fn exchange(&self, new: &str, old_dir: &Self, old: &str) -> io::Result<bool> {
        let (new, old) = (checked(new)?, checked(old)?);
        match rustix::fs::renameat_with(&self.0, new, &old_dir.0, old, RenameFlags::EXCHANGE) {
            Err(Errno::INVAL | Errno::NOSYS) => {
                rustix::fs::renameat(&self.0, new, &old_dir.0, old)?;
                Ok(false)
            }
            other => {
                other?;
                Ok(true)
            }
        }
    }

    /// Removes a file.
    pub(super) fn unlink(&self, name: &str) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(&self.0, checked(name)?, AtFlags::empty())?)
    }

    /// Makes a directory.
    pub(super) fn mkdir(&self, name: &str) -> io::Result<()> {
        Ok(rustix::fs::mkdirat(&self.0, checked(name)?, Mode::RWXU)?)
    }

    /// Removes an empty directory.
    pub(super) fn rmdir(&self, name: &str) -> io::Result<()> {
        match rustix::fs::unlinkat(&self.0, checked(name)?, AtFlags::REMOVEDIR) {
            Err(Errno::EXIST) => Err(Errno::NOTEMPTY.into()),
            other => Ok(other?),
        }
    }

    /// Makes changes of names in this directory durable.
    pub(super) fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::fsync(&self.0)?)
    }
}

/// The state of an open file.
pub(super) fn stamp_of(file: &File) -> io::Result<Stamp> {
    Ok(stamp(&rustix::fs::fstat(file)?))
}

/// Gives `to` the permissions and the time of last change of `from`.
pub(super) fn copy_attributes(from: &File, to: &File) -> io::Result<()> {
    let stat = rustix::fs::fstat(from)?;
    rustix::fs::fchmod(to, Mode::from_raw_mode(stat.st_mode & 0o777))?;
    let time = stamp(&stat).modified;
    let time = Timespec {
        tv_sec: time.seconds,
        tv_nsec: time.nanos.into(),
    };
    let both = Timestamps {
        last_access: time,
        last_modification: time,
    };
    Ok(rustix::fs::futimens(to.as_fd(), &both)?)
}

/// Whether `time` is so recent that a further change might bear the same time.
pub(super) fn is_recent(time: Timestamp) -> bool {
    let now = Timestamp::from(SystemTime::now());
    now.seconds.saturating_sub(time.seconds) < 2
}

#[expect(
    clippy::useless_conversion,
    clippy::cast_sign_loss,
    reason = "the kernel's types differ between machines"
)]
fn stamp(stat: &Stat) -> Stamp {
    Stamp {
        inode: stat.st_ino.into(),
        size: stat.st_size as u64,
        modified: Timestamp {
            seconds: stat.st_mtime.into(),
            nanos: u32::try_from(stat.st_mtime_nsec).unwrap_or(0),
        },
    }
}

fn checked(name: &str) -> io::Result<&str> {
    if name.is_empty() || name == "." || name == ".." || name.contains('/') {
        return Err(Errno::INVAL.into());
    }
    Ok(name)
}
