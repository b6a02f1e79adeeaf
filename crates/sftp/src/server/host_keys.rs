//! The keys by which clients know the server again.
//!
//! Invariant: a private key is never in a file that others may read, not even for a moment.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use russh::keys::{Algorithm, EcdsaCurve, HashAlg, PrivateKey};
use ssh_key::LineEnding;

/// RSA host keys have this many bits.
const RSA_BITS: usize = 3072;

/// Why there are no host keys.
#[derive(Debug, thiserror::Error)]
pub enum HostKeyError {
    /// A file or the directory cannot be read or written.
    #[error("host key {path}: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others may read the file.
    #[error("host key {path}: others may read it (mode {mode:04o}); run: chmod 600 {path}")]
    Exposed {
        /// Which.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file is no private key of the expected kind.
    #[error("host key {path}: {why}")]
    Unusable {
        /// Which.
        path: PathBuf,
        /// Why.
        why: String,
    },
}

/// The private host keys of one installation.
#[derive(Clone)]
pub struct HostKeys {
    ed25519: PrivateKey,
    rsa: PrivateKey,
    ecdsa: Option<PrivateKey>,
}

impl std::fmt::Debug for HostKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.fingerprints()).finish()
    }
}

impl HostKeys {
    /// Reads `ssh_host_ed25519_key` and `ssh_host_rsa_key` (OpenSSH format, without passphrase) from `dir`;
    /// makes those that are missing, with mode 0600. Takes a second or so when the RSA key is made: call it
    /// off the async threads.
    ///
    /// # Errors
    /// [`HostKeyError`] that names the file.
    pub fn load_or_create(dir: &Path) -> Result<Self, HostKeyError> {
        fs::create_dir_all(dir).map_err(|source| HostKeyError::Io {
            path: dir.to_owned(),
            source,
        })?;
        Ok(Self {
            ed25519: load_or_make(&dir.join("ssh_host_ed25519_key"), &Algorithm::Ed25519)?,
            rsa: load_or_make(&dir.join("ssh_host_rsa_key"), &Algorithm::Rsa { hash: None })?,
            ecdsa: None,
        })
    }

    /// The same with `ssh_host_ecdsa_key`, for listeners whose options ask for it (`ecdsa_host_key`).
    ///
    /// # Errors
    /// As [`HostKeys::load_or_create`].
    pub fn with_ecdsa(mut self, dir: &Path) -> Result<Self, HostKeyError> {
        let algorithm = Algorithm::Ecdsa {
            curve: EcdsaCurve::NistP256,
        };
        self.ecdsa = Some(load_or_make(&dir.join("ssh_host_ecdsa_key"), &algorithm)?);
        Ok(self)
    }

    /// SHA-256 fingerprints as `ssh-keygen -l` shows them, each with its key type.
    #[must_use]
    pub fn fingerprints(&self) -> Vec<String> {
        let keys = self.offered(true);
        let one = |key: &PrivateKey| format!("{} {}", key.algorithm(), key.fingerprint(HashAlg::Sha256));
        keys.iter().map(one).collect()
    }

    /// What clients may choose from, the RSA key only where `rsa`.
    pub(crate) fn offered(&self, rsa: bool) -> Vec<PrivateKey> {
        let keys = [
            Some(&self.ed25519),
            self.ecdsa.as_ref(),
            Some(&self.rsa).filter(|_| rsa),
        ];
        keys.into_iter().flatten().cloned().collect()
    }
}

fn load_or_make(path: &Path, algorithm: &Algorithm) -> Result<PrivateKey, HostKeyError> {
    let failed = |source| HostKeyError::Io {
        path: path.to_owned(),
        source,
    };
    match fs::File::open(path) {
        Ok(file) => load(path, file, algorithm),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            make(path, algorithm)?;
            // What was written is what is used; where two processes raced, both use the winner's.
            load(path, fs::File::open(path).map_err(failed)?, algorithm)
        }
        Err(error) => Err(failed(error)),
    }
}

fn load(path: &Path, mut file: fs::File, algorithm: &Algorithm) -> Result<PrivateKey, HostKeyError> {
    let failed = |source| HostKeyError::Io {
        path: path.to_owned(),
        source,
    };
    let mode = file.metadata().map_err(failed)?.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(HostKeyError::Exposed {
            path: path.to_owned(),
            mode,
        });
    }
    let unusable = |why: String| HostKeyError::Unusable {
        path: path.to_owned(),
        why,
    };
    let mut text = Vec::new();
    io::Read::read_to_end(&mut file, &mut text).map_err(failed)?;
    let key = PrivateKey::from_openssh(&text).map_err(|error| unusable(error.to_string()))?;
    if key.is_encrypted() {
        return Err(unusable(
            "it has a passphrase; remove it with ssh-keygen -p".to_owned(),
        ));
    }
    let same = match (key.algorithm(), algorithm) {
        (Algorithm::Rsa { .. }, Algorithm::Rsa { .. }) => true,
        (found, wanted) => found == *wanted,
    };
    if !same {
        return Err(unusable(format!("it is a key of type {}", key.algorithm())));
    }
    Ok(key)
}

/// Writes a new key beside its place and links it there: a file that was made meanwhile stays.
fn make(path: &Path, algorithm: &Algorithm) -> Result<(), HostKeyError> {
    let failed = |source| HostKeyError::Io {
        path: path.to_owned(),
        source,
    };
    let unusable = |error: ssh_key::Error| HostKeyError::Unusable {
        path: path.to_owned(),
        why: error.to_string(),
    };
    let mut rng = russh::keys::key::safe_rng();
    let key = match algorithm {
        Algorithm::Rsa { .. } => {
            let pair = ssh_key::private::RsaKeypair::random(&mut rng, RSA_BITS).map_err(unusable)?;
            PrivateKey::from(pair)
        }
        other => PrivateKey::random(&mut rng, other.clone()).map_err(unusable)?,
    };
    let text = key.to_openssh(LineEnding::LF).map_err(unusable)?;
    let draft = path.with_extension(format!("new-{}", std::process::id()));
    let written = write(&draft, text.as_bytes()).and_then(|()| match fs::hard_link(&draft, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        linked => linked,
    });
    let removed = fs::remove_file(&draft);
    written.and(removed).map_err(failed)
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What lies in `dir`, each with its mode.
    fn files(dir: &Path) -> Vec<(String, u32)> {
        let mut files: Vec<_> = fs::read_dir(dir)
            .unwrap()
            .map(|file| {
                let file = file.unwrap();
                let mode = file.metadata().unwrap().mode() & 0o7777;
                (file.file_name().into_string().unwrap(), mode)
            })
            .collect();
        files.sort();
        files
    }

    #[test]
    fn an_ecdsa_key_is_made_only_where_it_is_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let two = [("ssh_host_ed25519_key", 0o600), ("ssh_host_rsa_key", 0o600)];
        let two = two.map(|(name, mode)| (name.to_owned(), mode));
        let keys = HostKeys::load_or_create(dir.path()).unwrap();
        assert_eq!(files(dir.path()), two);
        assert_eq!(keys.fingerprints().len(), 2);
        let more = keys.clone().with_ecdsa(dir.path()).unwrap();
        assert_eq!(files(dir.path())[0], ("ssh_host_ecdsa_key".to_owned(), 0o600));
        assert!(more.fingerprints()[1].starts_with("ecdsa-sha2-nistp256 SHA256:"));
        let again = HostKeys::load_or_create(dir.path()).unwrap();
        assert_eq!(
            again.fingerprints(),
            keys.fingerprints(),
            "one that is there is not offered unasked"
        );
        let again = again.with_ecdsa(dir.path()).unwrap();
        assert_eq!(again.fingerprints(), more.fingerprints());
    }
}
