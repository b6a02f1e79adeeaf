//! One server for each data directory.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::Path,
};

use rustix::fs::{FlockOperation, flock};

/// The directory, made where it is missing and readable by its owner alone, and held until dropped.
#[derive(Debug)]
pub struct DataDir {
    _lock: File,
}

/// Why it cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// Another process has it.
    #[error("another server uses {0}; stop it, or give this one a data_dir of its own")]
    Taken(String),
    /// Something else has its name.
    #[error("the data directory {0} is no directory; set server.data_dir to one, or to a new name")]
    NoDirectory(String),
    /// Everybody could exchange host keys and accounts.
    #[error("the data directory {path}: everybody may write to it (mode {mode:04o}); run: chmod 700 {path}")]
    Exposed {
        /// The directory.
        path: String,
        /// Its permission bits.
        mode: u32,
    },
    /// It cannot be made or written.
    #[error("the data directory {path}: {error}; make it writable for this user, or set server.data_dir")]
    Io {
        /// The directory.
        path: String,
        /// What the system says.
        error: io::Error,
    },
}

impl DataDir {
    /// Takes it.
    ///
    /// # Errors
    /// [`DataDirError`].
    pub fn take(path: &Path) -> Result<Self, DataDirError> {
        let shown = path.display().to_string();
        let failed = |error| DataDirError::Io {
            path: shown.clone(),
            error,
        };
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
        made.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => DataDirError::NoDirectory(shown.clone()),
            _ => failed(error),
        })?;
        let mode = fs::metadata(path).map_err(failed)?.mode() & 0o7777;
        if mode & 0o002 != 0 {
            return Err(DataDirError::Exposed { path: shown, mode });
        }
        let mut options = OpenOptions::new();
        let options = options.write(true).create(true).truncate(false).mode(0o600);
        let lock = options.open(path.join("lock")).map_err(failed)?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { _lock: lock }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(DataDirError::Taken(shown)),
            Err(error) => Err(failed(error.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn is_private_and_held_by_one() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("data");
        let held = DataDir::take(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        assert!(matches!(DataDir::take(&path), Err(DataDirError::Taken(_))));
        drop(held);
        DataDir::take(&path).unwrap();
    }

    #[test]
    fn says_what_is_wrong() {
        let parent = tempfile::tempdir().unwrap();
        let file = parent.path().join("file");
        fs::write(&file, "").unwrap();
        let open = parent.path().join("open");
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
        for (path, part) in [
            (&file.join("data"), "server.data_dir"),
            (&file, "is no directory"),
            (&open, "(mode 0777); run: chmod 700 "),
        ] {
            let error = DataDir::take(path).unwrap_err();
            assert!(error.to_string().contains(part), "{error}");
        }
        fs::set_permissions(&open, fs::Permissions::from_mode(0o770)).unwrap();
        DataDir::take(&open).unwrap();
    }
}
