//! A file of records, each sealed and bound to the one before it: `"hash"` is the BLAKE3 hash of the
//! line before that field, `"prev"` the former line's `"hash"`, across rotations and restarts. So a
//! changed line shows by itself, a missing one by its successor.

use std::{
    fs,
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use portreeve_model::options::SizeText;

use super::rotation::{self, Retention, WhenFull};

/// What `prev` says in the very first record.
pub(super) const GENESIS: &str = "genesis";

pub(super) struct File {
    path: PathBuf,
    file: fs::File,
    len: u64,
    prev: String,
    terms: Retention,
    /// Bytes of the rotated files, when they were looked at last.
    rotated: u64,
    /// When there was found to be no room.
    full: Option<Instant>,
    /// When somebody last looked whether the file is still the one of that name.
    looked: Instant,
    /// A rotation that failed is not tried again before.
    rotate_after: Instant,
}

/// How often to look whether the file was moved, and to try a rotation again that failed.
const LOOK: Duration = Duration::from_secs(1);
const RETRY: Duration = Duration::from_mins(1);

const SEAL: &[u8] = b",\"hash\":\"";
const SEAL_END: &[u8] = b"\"}";
const DIGITS: usize = 32;

fn hash(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().chars().take(DIGITS).collect()
}

/// A line apart: what is sealed, and the hash that seals it. None for a line that has no seal.
pub(super) fn sealed(line: &[u8]) -> Option<(&[u8], &str)> {
    let line = line.strip_suffix(SEAL_END)?;
    let (line, digits) = line.split_at_checked(line.len().checked_sub(DIGITS)?)?;
    Some((line.strip_suffix(SEAL)?, std::str::from_utf8(digits).ok()?))
}

/// Whether the seal of a line fits it.
pub(super) fn is_intact((body, seal): (&[u8], &str)) -> bool {
    hash(body) == seal
}

/// What the next line's `prev` says of `line`: its seal, or the hash of a torn line.
pub(super) fn bind(line: &[u8]) -> String {
    sealed(line).map_or_else(|| hash(line), |(_, seal)| seal.to_owned())
}

impl File {
    pub(super) fn open(path: &Path, terms: Retention) -> io::Result<Self> {
        let mut file = fs::OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .open(path)?;
        let len = file.metadata()?.len();
        let last = last_line(&mut file, len)?;
        let prev = match &last {
            Some((line, _)) => bind(line),
            None => predecessor(path)?,
        };
        let mut this = Self {
            path: path.to_owned(),
            file,
            len,
            prev,
            terms,
            rotated: rotation::total(&rotation::rotated(path)?),
            full: None,
            looked: Instant::now(),
            rotate_after: Instant::now(),
        };
        if last.is_some_and(|(_, whole)| !whole) {
            // The process died within a write: end the torn line, so that it stays one line.
            this.file.write_all(b"\n")?;
            this.len += 1;
        }
        Ok(this)
    }

    /// The file gets the number 1, a new one its name, and what is too old goes.
    fn rotate(&mut self) -> io::Result<()> {
        rotation::shift(&self.path)?;
        self.reopen()?;
        match self.terms.prune(&self.path) {
            Ok(left) => self.rotated = rotation::total(&left),
            Err(error) => {
                self.rotated = self.rotated.saturating_add(self.terms.rotate_at);
                tracing::error!(path = %self.path.display(), %error, "old audit files cannot be removed");
            }
        }
        if self.rotated > self.terms.max_total / 5 * 4 {
            tracing::warn!(
                path = %self.path.display(),
                max_total = %SizeText(self.terms.max_total),
                "the audit files have used four fifths of max_total"
            );
        }
        Ok(())
    }

    fn reopen(&mut self) -> io::Result<()> {
        self.file = fs::OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&self.path)?;
        self.len = self.file.metadata()?.len();
        Ok(())
    }

    /// Whether somebody else rotated or removed the file.
    fn moved(&self) -> bool {
        match (fs::metadata(&self.path), self.file.metadata()) {
            (Ok(there), Ok(ours)) => (there.dev(), there.ino()) != (ours.dev(), ours.ino()),
            _ => true,
        }
    }
}

impl File {
    /// Before a record: the right file, and the right line to bind to.
    fn settle(&mut self) -> io::Result<()> {
        // logrotate, or an administrator, may have moved the file away.
        if self.looked.elapsed() >= LOOK {
            self.looked = Instant::now();
            if self.moved() {
                self.reopen()?;
                self.rotated = rotation::total(&rotation::rotated(&self.path)?);
            }
        }
        self.catch_up()?;
        if self.len >= self.terms.rotate_at && Instant::now() >= self.rotate_after {
            let done = if self.moved() {
                self.reopen()
            } else {
                self.rotate()
            };
            if let Err(error) = done {
                // A directory that forbids renaming is no reason to lose records.
                self.rotate_after = Instant::now() + RETRY;
                tracing::error!(path = %self.path.display(), %error, "the audit file cannot be rotated");
            }
        }
        Ok(())
    }

    /// That one more record stays within `max_total`.
    fn make_room(&mut self, record: u64) -> io::Result<()> {
        let (own, max) = (self.len.saturating_add(record), self.terms.max_total);
        if self.rotated.saturating_add(own) <= max {
            return Ok(());
        }
        if self.full.is_some_and(|since| since.elapsed() < LOOK) {
            return Err(self.terms.full());
        }
        // Time has passed, or somebody has moved files away.
        let mut left = self.terms.prune(&self.path)?;
        let has_room = |left: &[_]| rotation::total(left).saturating_add(own) <= max;
        while self.terms.when_full == WhenFull::Remove
            && !has_room(&left)
            && self.terms.remove_oldest(&mut left)?
        {}
        self.rotated = rotation::total(&left);
        self.full = (!has_room(&left)).then(Instant::now);
        self.full.map_or(Ok(()), |_| Err(self.terms.full()))
    }

    #[cfg(test)]
    pub(super) fn look_now(&mut self) {
        self.looked = Instant::now().checked_sub(LOOK).unwrap_or(self.looked);
        self.full = None;
    }

    /// Somebody else has written: a command line beside the server. Their last line is the one before.
    fn catch_up(&mut self) -> io::Result<()> {
        let len = self.file.metadata()?.len();
        if len == self.len {
            return Ok(());
        }
        if let Some((line, whole)) = last_line(&mut self.file, len)? {
            self.prev = bind(&line);
            if !whole {
                self.file.write_all(b"\n")?;
            }
        }
        self.len = self.file.metadata()?.len();
        Ok(())
    }
}

impl super::Sink for File {
    fn write(&mut self, line: &str) -> io::Result<()> {
        self.settle()?;
        let body = line.strip_prefix('{').unwrap_or(line);
        let mut record = format!(
            "{{\"prev\":\"{}\",{}",
            self.prev,
            body.strip_suffix('}').unwrap_or(body)
        );
        let seal = hash(record.as_bytes());
        record.push_str(",\"hash\":\"");
        record.push_str(&seal);
        record.push_str("\"}\n");
        let bytes = record.as_bytes();
        self.make_room(bytes.len() as u64)?;
        if let Err(error) = self.file.write_all(bytes) {
            // A part may have been written (disk full): take it back, so that no torn line stays.
            let _ = self.file.set_len(self.len);
            return Err(error);
        }
        self.len += bytes.len() as u64;
        self.prev = seal;
        Ok(())
    }
}

/// The hash of the last line of the newest rotated file, where there is one.
fn predecessor(path: &Path) -> io::Result<String> {
    match fs::File::open(rotation::numbered(path, 1)) {
        Ok(mut file) => {
            let len = file.metadata()?.len();
            Ok(last_line(&mut file, len)?.map_or_else(|| GENESIS.to_owned(), |(line, _)| bind(&line)))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(GENESIS.to_owned()),
        Err(error) => Err(error),
    }
}

/// The last line without its end, and whether it had one.
fn last_line(file: &mut fs::File, len: u64) -> io::Result<Option<(Vec<u8>, bool)>> {
    let mut window = 64 * 1024;
    loop {
        let from = len.saturating_sub(window);
        file.seek(SeekFrom::Start(from))?;
        let mut tail = Vec::new();
        file.take(window).read_to_end(&mut tail)?;
        let whole = tail.last() == Some(&b'\n');
        if whole {
            tail.pop();
        }
        if tail.is_empty() {
            return Ok(None);
        }
        match tail.iter().rposition(|b| *b == b'\n') {
            Some(at) => return Ok(Some((tail.split_off(at + 1), whole))),
            None if from == 0 => return Ok(Some((tail, whole))),
            None => window *= 8,
        }
    }
}
