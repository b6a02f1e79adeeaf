//! A pair of files that may change while it is served.

use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rustls::{
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use super::pair::{self, PairError};

/// What tells one version of a file from another: change time, inode and size.
type Stamp = Option<(i64, i64, u64, u64, u32)>;

/// What a look at the files brought.
#[derive(Debug)]
pub enum Exchange {
    /// They are as they were.
    Same,
    /// A new pair is served from now on.
    Swapped,
    /// They changed and are no pair: the old one goes on.
    Kept(PairError),
}

/// A certificate and its key, and the files they come from.
#[derive(Debug)]
pub struct WatchedPair {
    certificate: PathBuf,
    key: PathBuf,
    current: ArcSwap<CertifiedKey>,
    stamps: Mutex<(Stamp, Stamp)>,
}

impl WatchedPair {
    /// Reads the pair.
    ///
    /// # Errors
    /// [`PairError`], which names the file.
    pub fn open(certificate: &Path, key: &Path) -> Result<Self, PairError> {
        let stamps = (stamp(certificate), stamp(key));
        let current = ArcSwap::from_pointee(pair::read(certificate, key)?);
        Ok(Self {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            current,
            stamps: Mutex::new(stamps),
        })
    }

    /// Looks at the files and takes a new pair, if it is one. Reads files: not for an async thread.
    pub fn refresh(&self) -> Exchange {
        // Before reading: a change in between is seen by the next look.
        let now = (stamp(&self.certificate), stamp(&self.key));
        if *self.stamps.lock() == now {
            return Exchange::Same;
        }
        match pair::read(&self.certificate, &self.key) {
            Ok(pair) => {
                self.current.store(Arc::new(pair));
                *self.stamps.lock() = now;
                Exchange::Swapped
            }
            Err(error) => {
                // Remembered, so that one bad pair is told once and not every two seconds.
                *self.stamps.lock() = now;
                Exchange::Kept(error)
            }
        }
    }

    /// The two files.
    #[must_use]
    pub fn files(&self) -> (&Path, &Path) {
        (&self.certificate, &self.key)
    }
}

impl ResolvesServerCert for WatchedPair {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load_full())
    }
}

fn stamp(path: &Path) -> Stamp {
    let meta = std::fs::metadata(path).ok()?;
    Some((
        meta.mtime(),
        meta.mtime_nsec(),
        meta.ino(),
        meta.size(),
        meta.mode(),
    ))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::tls::self_signed;

    fn leaf(pair: &WatchedPair) -> Vec<u8> {
        pair.current.load().cert[0].to_vec()
    }

    /// Another pair in another directory.
    fn other() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let (certificate, key) = self_signed(dir.path(), "other.example.com").unwrap();
        (dir, certificate, key)
    }

    #[test]
    fn a_good_pair_is_taken_and_a_bad_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let (certificate, key) = self_signed(dir.path(), "a.example.com").unwrap();
        let pair = WatchedPair::open(&certificate, &key).unwrap();
        let first = leaf(&pair);
        assert!(matches!(pair.refresh(), Exchange::Same));

        let (_keep, new_certificate, new_key) = other();
        fs::copy(&new_certificate, &certificate).unwrap();
        assert!(
            matches!(pair.refresh(), Exchange::Kept(PairError::Mismatch { .. })),
            "half of a pair"
        );
        assert_eq!(leaf(&pair), first);
        assert!(matches!(pair.refresh(), Exchange::Same), "told once");

        fs::copy(&new_key, &key).unwrap();
        assert!(
            matches!(pair.refresh(), Exchange::Swapped),
            "the second half completes it"
        );
        let second = leaf(&pair);
        assert_ne!(second, first);

        fs::write(&key, "no key").unwrap();
        assert!(matches!(pair.refresh(), Exchange::Kept(PairError::File { .. })));
        fs::remove_file(&certificate).unwrap();
        assert!(matches!(pair.refresh(), Exchange::Kept(PairError::File { .. })));
        assert_eq!(leaf(&pair), second);
    }

    #[test]
    fn a_key_that_everybody_may_read_is_not_taken() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let (certificate, key) = self_signed(dir.path(), "a.example.com").unwrap();
        let pair = WatchedPair::open(&certificate, &key).unwrap();
        let (_keep, new_certificate, new_key) = other();
        fs::copy(&new_certificate, &certificate).unwrap();
        fs::copy(&new_key, &key).unwrap();
        let allow = |mode| fs::set_permissions(&key, fs::Permissions::from_mode(mode)).unwrap();
        allow(0o644);
        let Exchange::Kept(error) = pair.refresh() else {
            panic!("it was taken");
        };
        let text = error.to_string();
        assert!(text.contains("(mode 0644); run: chmod 600 "), "{text}");
        allow(0o640);
        assert!(matches!(pair.refresh(), Exchange::Swapped), "its group may");
    }

    #[test]
    fn a_hundred_rotations_each_take() {
        let dir = tempfile::tempdir().unwrap();
        let (certificate, key) = self_signed(dir.path(), "a.example.com").unwrap();
        let pair = WatchedPair::open(&certificate, &key).unwrap();
        let pairs = [other(), other()];
        for (_, new_certificate, new_key) in pairs.iter().cycle().take(100) {
            for (from, to) in [(new_certificate, &certificate), (new_key, &key)] {
                let staged = to.with_extension("staged");
                fs::copy(from, &staged).unwrap();
                fs::rename(&staged, to).unwrap();
            }
            assert!(matches!(pair.refresh(), Exchange::Swapped));
        }
    }
}
