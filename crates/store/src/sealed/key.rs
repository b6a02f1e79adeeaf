//! The key that secrets are sealed under: 32 random bytes, written as base64 or as hexadecimal digits.
//!
//! Invariants: a key file is its owner's alone (0600) and appears whole or not at all; an existing one is
//! never overwritten; no message shows any of it.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use aws_lc_rs::{
    aead::{AES_256_GCM, LessSafeKey, UnboundKey},
    digest,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use portreeve_model::Secret;
use zeroize::Zeroizing;

/// Longest key file that is read.
const MAX: u64 = 4 << 10;

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The text is no key.
    #[error(
        "a sealing key is 32 random bytes in base64 (44 characters) or hexadecimal (64); make one with: openssl rand -base64 32"
    )]
    Text,
    /// The file cannot be read or made.
    #[error("the sealing key {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The system cannot make one.
    #[error("the system gives no random numbers")]
    Random,
}

/// A key.
pub struct SealKey {
    cipher: LessSafeKey,
    fingerprint: String,
}

impl std::fmt::Debug for SealKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SealKey(…)")
    }
}

impl SealKey {
    /// Reads a key as written.
    ///
    /// # Errors
    /// [`KeyError::Text`].
    pub fn parse(text: &Secret) -> Result<Self, KeyError> {
        let text = text.expose().trim();
        let bytes = match text.len() {
            64 => hexadecimal(text),
            _ => STANDARD.decode(text).ok().map(Zeroizing::new),
        };
        let bytes = bytes.filter(|bytes| bytes.len() == 32).ok_or(KeyError::Text)?;
        Self::of(&bytes)
    }

    /// The key in a file, made there where it is missing. Blocks.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn open_or_make(path: &Path) -> Result<Self, KeyError> {
        let failed = |source| KeyError::File {
            path: path.to_owned(),
            source,
        };
        if !path.try_exists().map_err(failed)? {
            make(path)?;
        }
        let file = fs::File::open(path).map_err(failed)?;
        let mut text = Zeroizing::new(String::new());
        io::Read::read_to_string(&mut io::Read::take(file, MAX), &mut text).map_err(failed)?;
        Self::parse(&Secret::new(text.to_string()))
    }

    fn of(bytes: &[u8]) -> Result<Self, KeyError> {
        let key = UnboundKey::new(&AES_256_GCM, bytes).map_err(|_| KeyError::Text)?;
        let mut whole = Zeroizing::new(b"portreeve seal key id 1".to_vec());
        whole.extend_from_slice(bytes);
        let digest = digest::digest(&digest::SHA256, &whole);
        Ok(Self {
            cipher: LessSafeKey::new(key),
            fingerprint: STANDARD.encode(digest.as_ref().get(..9).unwrap_or_default()),
        })
    }

    pub(super) const fn cipher(&self) -> &LessSafeKey {
        &self.cipher
    }

    /// Tells keys apart and says nothing about them.
    pub(super) fn fingerprint(&self) -> &str {
        &self.fingerprint
    }
}

fn hexadecimal(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let digits: Option<Vec<u32>> = text.chars().map(|c| c.to_digit(16)).collect();
    let pairs = digits?;
    let bytes = pairs.chunks(2).map(|pair| match pair {
        [high, low] => u8::try_from(high * 16 + low).ok(),
        _ => None,
    });
    bytes.collect::<Option<Vec<u8>>>().map(Zeroizing::new)
}

/// Writes a new key beside `path` and links it there: whoever comes second finds the first one's.
fn make(path: &Path) -> Result<(), KeyError> {
    let failed = |source| KeyError::File {
        path: path.to_owned(),
        source,
    };
    let mut bytes = Zeroizing::new([0; 32]);
    aws_lc_rs::rand::fill(bytes.as_mut_slice()).map_err(|_| KeyError::Random)?;
    let mut text = Zeroizing::new(STANDARD.encode(bytes.as_slice()));
    text.push('\n');
    let beside = path.with_extension(format!("new.{}", std::process::id()));
    let write = || {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&beside)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        match fs::hard_link(&beside, path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => Ok(()),
        }
    };
    let written = write();
    let _ = fs::remove_file(&beside);
    written.map_err(failed)?;
    // The name itself must survive a crash: what is sealed under a lost key is lost.
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    fs::File::open(directory.unwrap_or(Path::new(".")))
        .and_then(|directory| directory.sync_all())
        .map_err(failed)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn parse(text: &str) -> Result<SealKey, KeyError> {
        SealKey::parse(&Secret::new(text.to_owned()))
    }

    #[test]
    fn reads_both_spellings_of_one_key() {
        let one = parse("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n").unwrap();
        let two = parse("000102030405060708090a0b0c0d0e0f101112131415161718191A1B1C1D1E1F").unwrap();
        assert_eq!(one.fingerprint(), two.fingerprint());
        for bad in ["", "hunter2", "AAECAwQFBgcICQoLDA0ODw==", &"zz".repeat(32)] {
            let error = parse(bad).unwrap_err().to_string();
            assert!(
                error.contains("openssl rand") && !error.contains("hunter2"),
                "{error}"
            );
        }
        assert_eq!(format!("{one:?}"), "SealKey(…)");
    }

    #[test]
    fn a_file_is_made_once_and_is_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret.key");
        let first = SealKey::open_or_make(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let second = SealKey::open_or_make(&path).unwrap();
        assert_eq!(first.fingerprint(), second.fingerprint());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        let other = SealKey::open_or_make(&dir.path().join("other.key")).unwrap();
        assert_ne!(first.fingerprint(), other.fingerprint());
        fs::write(&path, "torn").unwrap();
        assert!(matches!(SealKey::open_or_make(&path), Err(KeyError::Text)));
        assert_eq!(fs::read(&path).unwrap(), b"torn", "never overwritten");
        assert!(SealKey::open_or_make(Path::new("/no/such/dir/key")).is_err());
    }
}
