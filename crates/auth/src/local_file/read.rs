//! Reading the file as one state of it, and noticing another.

use std::{
    fs::{File, Metadata},
    io::Read as _,
    os::unix::fs::MetadataExt as _,
    path::Path,
};

/// Largest accounts file.
const MAX_FILE: u64 = 16 << 20;

/// Tries to read the file while nobody writes it.
const TRIES: usize = 3;

/// What changes when a file is written or replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(meta: &Metadata) -> Self {
        Self {
            device: meta.dev(),
            inode: meta.ino(),
            size: meta.size(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        }
    }
}

/// The stamp of what the path leads to now. Blocks.
pub(super) fn stamp(path: &Path) -> Result<Stamp, String> {
    std::fs::metadata(path)
        .map(|meta| Stamp::of(&meta))
        .map_err(|why| unreadable(path, &why))
}

/// The text and the stamp that belongs to it. Blocks.
pub(super) fn read(path: &Path) -> Result<(String, Stamp), String> {
    for _ in 0..TRIES {
        // Looked at before it is opened: opening a pipe would wait for its other end.
        let meta = std::fs::metadata(path).map_err(|why| unreadable(path, &why))?;
        if !meta.is_file() {
            return Err(format!("{} is not a regular file", path.display()));
        }
        if meta.size() > MAX_FILE {
            return Err(format!("{} is larger than 16 MiB", path.display()));
        }
        let file = File::open(path).map_err(|why| unreadable(path, &why))?;
        let opened = file.metadata().map_err(|why| unreadable(path, &why))?;
        let mut bytes = Vec::new();
        (&file)
            .take(MAX_FILE)
            .read_to_end(&mut bytes)
            .map_err(|why| unreadable(path, &why))?;
        let after = file.metadata().map_err(|why| unreadable(path, &why))?;
        let (before, after) = (Stamp::of(&opened), Stamp::of(&after));
        if before != after || u64::try_from(bytes.len()) != Ok(after.size) {
            continue;
        }
        if after_mode_is_open(&opened) {
            tracing::warn!(
                "{} holds password hashes and can be read by everybody on this machine; chmod 0640 it",
                path.display()
            );
        }
        let text = String::from_utf8(bytes).map_err(|why| {
            let valid = why.utf8_error().valid_up_to();
            let line = why.as_bytes().iter().take(valid).filter(|b| **b == b'\n').count() + 1;
            format!("{}: line {line} is not UTF-8", path.display())
        })?;
        return Ok((text, after));
    }
    Err(format!(
        "{} changes while it is read; replace it by renaming a whole file",
        path.display()
    ))
}

fn after_mode_is_open(meta: &Metadata) -> bool {
    meta.mode() & 0o004 != 0
}

fn unreadable(path: &Path, why: &std::io::Error) -> String {
    format!("{} cannot be read: {why}", path.display())
}
