//! A certificate chain and its key, read from two PEM files and checked against each other.

use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

/// Why two files are no pair.
#[derive(Debug, thiserror::Error)]
pub enum PairError {
    /// A file is missing, unreadable or no PEM.
    #[error("{path}: {why}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The key is no secret.
    #[error("the key {key}: everybody may read it (mode {mode:04o}); run: chmod 600 {key}")]
    Exposed {
        /// The key's file.
        key: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The key does not belong to the certificate, or is of a kind that TLS does not use.
    #[error("{certificate} and {key} do not belong together: {why}")]
    Mismatch {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What the TLS library says.
        why: rustls::Error,
    },
}

/// Reads both and checks that they belong together.
///
/// # Errors
/// [`PairError`], which names the file.
pub(super) fn read(certificate: &Path, key: &Path) -> Result<CertifiedKey, PairError> {
    let wrong = |path: &Path, why: String| PairError::File {
        path: path.to_owned(),
        why,
    };
    let read = |path: &Path| std::fs::read(path).map_err(|error| wrong(path, error.to_string()));
    let mode = |path: &Path| std::fs::metadata(path).map(|found| found.mode() & 0o7777);
    if let Some(mode) = mode(key).ok().filter(|mode| mode & 0o004 != 0) {
        return Err(PairError::Exposed {
            key: key.to_owned(),
            mode,
        });
    }
    let (chain_pem, key_pem) = (read(certificate)?, zeroize::Zeroizing::new(read(key)?));
    let chain = CertificateDer::pem_slice_iter(&chain_pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| wrong(certificate, error.to_string()))?;
    if chain.is_empty() {
        return Err(wrong(certificate, "holds no certificate in PEM form".to_owned()));
    }
    let secret = PrivateKeyDer::from_pem_slice(&key_pem).map_err(|error| wrong(key, error.to_string()))?;
    CertifiedKey::from_der(chain, secret, &super::provider()).map_err(|why| PairError::Mismatch {
        certificate: certificate.to_owned(),
        key: key.to_owned(),
        why,
    })
}
