//! The disk space that spools share.
//!
//! Invariants: files have no name, so none outlives the process and nothing is ever left to be swept; no
//! more bytes than agreed are held at a time. What a file takes on the disk is rounded up to its sectors.

use std::{
    fs::{self, DirBuilder, Permissions},
    io,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
};

use parking_lot::Mutex;

use crate::{FsError, FsErrorKind, FsResult};

/// A directory for spooled files, shared by all storages that need one, with its limits.
pub struct SpoolArea {
    directory: PathBuf,
    total: u64,
    file: u64,
    used: Mutex<u64>,
}

impl SpoolArea {
    /// At most `total` bytes in `directory` at a time, at most `file` bytes in one file. The directory is
    /// there already.
    #[must_use]
    pub fn new(directory: PathBuf, total: u64, file: u64) -> Self {
        Self {
            directory,
            total,
            file: file.min(total),
            used: Mutex::new(0),
        }
    }

    /// Makes the directory where it is missing, and its owner's alone (0700). A file is made there once, so
    /// that a directory that cannot be used is told now and not at the first download. Blocks.
    ///
    /// # Errors
    /// What the disk says, with the directory's name.
    pub fn prepare(&self) -> io::Result<()> {
        let directory = &self.directory;
        let work = || {
            DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
            if fs::metadata(directory)?.permissions().mode() & 0o077 != 0 {
                fs::set_permissions(directory, Permissions::from_mode(0o700))?;
            }
            tempfile::tempfile_in(directory).map(drop)
        };
        work().map_err(|error: io::Error| {
            io::Error::new(
                error.kind(),
                format!("the spool {}: {error}", directory.display()),
            )
        })
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Bytes in use.
    #[must_use]
    pub fn used(&self) -> u64 {
        *self.used.lock()
    }

    /// Bytes that all files together may take.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.total
    }

    /// Largest file, in bytes.
    #[must_use]
    pub const fn max_file(&self) -> u64 {
        self.file
    }

    /// That a file may become `size` bytes long.
    pub fn check(&self, size: u64) -> FsResult<()> {
        if size > self.file {
            let max = self.file;
            let text = format!("files of this storage pass through a spool that takes at most {max} bytes");
            return Err(FsError::new(FsErrorKind::TooLarge).context(text));
        }
        Ok(())
    }

    pub(super) fn reserve(&self, bytes: u64) -> FsResult<()> {
        let mut used = self.used.lock();
        let after = used.saturating_add(bytes);
        if after > self.total {
            let text = "the spool for this storage is full; try again when other transfers have ended";
            return Err(FsError::new(FsErrorKind::NoSpace).context(text));
        }
        *used = after;
        Ok(())
    }

    pub(super) fn release(&self, bytes: u64) {
        let mut used = self.used.lock();
        *used = used.saturating_sub(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_directory_is_made_and_is_its_owners_alone() {
        let base = tempfile::tempdir().unwrap();
        let (fresh, wide) = (base.path().join("a/spool"), base.path().join("wide"));
        fs::create_dir(&wide).unwrap();
        fs::set_permissions(&wide, Permissions::from_mode(0o755)).unwrap();
        for directory in [fresh, wide] {
            SpoolArea::new(directory.clone(), 10, 10).prepare().unwrap();
            let mode = fs::metadata(&directory).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode, 0o700, "{}", directory.display());
            assert_eq!(fs::read_dir(&directory).unwrap().count(), 0, "files have no name");
        }
        fs::write(base.path().join("file"), "").unwrap();
        let error = SpoolArea::new(base.path().join("file"), 10, 10)
            .prepare()
            .unwrap_err();
        assert!(error.to_string().contains("/file:"), "{error}");
    }
}
