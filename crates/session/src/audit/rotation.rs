//! The rotated files beside an audit file: `FILE.1` is the newest, a higher number an older one.
//!
//! Invariants: no rotation overwrites a file; only the oldest is ever removed, so that what is left is
//! one unbroken chain; and while the retention age is not over, only [`WhenFull::Remove`] removes one.

use std::{
    fs, io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use portreeve_model::options::SizeText;

/// How long records are kept, and how much room they have.
#[derive(Debug, Clone, Copy)]
pub(super) struct Retention {
    /// A file larger than this is rotated.
    pub(super) rotate_at: u64,
    /// Rotated files that stay, however old.
    pub(super) keep: u32,
    /// Rotated files that are younger stay, however many.
    pub(super) keep_for: Duration,
    /// Bytes of all files.
    pub(super) max_total: u64,
    pub(super) when_full: WhenFull,
}

/// What happens when `max_total` is used up by what is to be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WhenFull {
    /// No more records are taken.
    Refuse,
    /// The oldest file goes.
    Remove,
}

/// A rotated file.
pub(super) struct Rotated {
    path: PathBuf,
    len: u64,
    /// When its last record was written.
    modified: SystemTime,
}

impl Retention {
    /// Whether the terms can be kept at all.
    ///
    /// # Errors
    /// In plain words, when they cannot.
    pub(super) fn check(&self) -> Result<(), String> {
        let least = self.rotate_at.saturating_mul(u64::from(self.keep) + 2);
        if least <= self.max_total {
            return Ok(());
        }
        Err(format!(
            "max_total = {:?} has no room for keep + 2 files of rotate_at: make it {:?} at least",
            SizeText(self.max_total).to_string(),
            SizeText(least).to_string(),
        ))
    }

    /// Removes what is too old and too much, and answers what is left, the newest first.
    ///
    /// # Errors
    /// What the file system says.
    pub(super) fn prune(&self, path: &Path) -> io::Result<Vec<Rotated>> {
        let (mut left, now) = (rotated(path)?, SystemTime::now());
        while let Some(oldest) = left.last().filter(|_| left.len() > self.keep as usize) {
            // A clock that was set back makes a file young, and keeps it.
            if now.duration_since(oldest.modified).unwrap_or_default() < self.keep_for {
                break;
            }
            fs::remove_file(&oldest.path)?;
            left.pop();
        }
        Ok(left)
    }

    /// Removes the oldest file; answers whether there was one.
    ///
    /// # Errors
    /// What the file system says.
    pub(super) fn remove_oldest(&self, left: &mut Vec<Rotated>) -> io::Result<bool> {
        let Some(oldest) = left.last() else {
            return Ok(false);
        };
        fs::remove_file(&oldest.path)?;
        tracing::warn!(
            path = %oldest.path.display(),
            max_total = %SizeText(self.max_total),
            "an audit file was removed before its time: max_total is used up"
        );
        left.pop();
        Ok(true)
    }

    /// Why no record is taken.
    pub(super) fn full(&self) -> io::Error {
        let text = format!(
            "max_total = {:?} is used up, and no rotated file is older than keep_for: move the oldest away, \
             raise max_total or lower keep_for",
            SizeText(self.max_total).to_string()
        );
        io::Error::new(io::ErrorKind::StorageFull, text)
    }
}

/// Bytes of all of them.
pub(super) fn total(rotated: &[Rotated]) -> u64 {
    rotated.iter().map(|file| file.len).sum()
}

/// The rotated files, the newest first.
///
/// # Errors
/// What the file system says.
pub(super) fn rotated(path: &Path) -> io::Result<Vec<Rotated>> {
    let mut found = Vec::new();
    for n in numbers(path)? {
        let path = numbered(path, n);
        match fs::symlink_metadata(&path) {
            Ok(meta) if meta.is_file() => found.push(Rotated {
                path,
                len: meta.len(),
                modified: meta.modified()?,
            }),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// Gives the file the number 1, and those before it the next higher one, up to the first that is free.
/// When it fails, or the machine dies within it, the order is still right.
///
/// # Errors
/// What the file system says.
pub(super) fn shift(path: &Path) -> io::Result<()> {
    let mut taken: u32 = 0;
    for n in numbers(path)? {
        if n != taken + 1 {
            break;
        }
        taken = n;
    }
    for n in (1..=taken).rev() {
        match fs::rename(numbered(path, n), numbered(path, n + 1)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    fs::rename(path, numbered(path, 1))
}

/// The name of a rotated file.
pub(super) fn numbered(path: &Path, n: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{n}"));
    PathBuf::from(name)
}

/// The numbers that are taken, by whatever is there, from below.
fn numbers(path: &Path) -> io::Result<Vec<u32>> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    let file = path.file_name().unwrap_or_default().as_bytes();
    let mut found = Vec::new();
    for entry in fs::read_dir(dir.unwrap_or_else(|| Path::new(".")))? {
        let name = entry?.file_name();
        let number: Option<u32> = name
            .as_bytes()
            .strip_prefix(file)
            .and_then(|rest| rest.strip_prefix(b"."))
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .filter(|digits| digits.starts_with(|c| matches!(c, '1'..='9')))
            .and_then(|digits| digits.parse().ok());
        found.extend(number.filter(|n| *n < u32::MAX));
    }
    found.sort_unstable();
    Ok(found)
}
