//! A certificate of our own, made once and kept: TLS without a certificate is better than none, and
//! a client that pinned it keeps working after a restart.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use rcgen::{CertificateParams, DnType, KeyPair};

/// The files of the self-signed pair in `data_dir`, made where they are missing, for `name` and
/// the loopback names.
///
/// # Errors
/// The directory cannot be written, or the name is none that a certificate can hold.
pub fn self_signed(data_dir: &Path, name: &str) -> io::Result<(PathBuf, PathBuf)> {
    let certificate = data_dir.join("self-signed.crt");
    let key = data_dir.join("self-signed.key");
    if certificate.exists() && key.exists() {
        return Ok((certificate, key));
    }
    let mut names = vec![name.to_owned()];
    names.extend(
        ["localhost", "127.0.0.1", "::1"]
            .map(str::to_owned)
            .into_iter()
            .filter(|n| n != name),
    );
    let pair = KeyPair::generate().map_err(io::Error::other)?;
    let mut params = CertificateParams::new(names).map_err(io::Error::other)?;
    params.distinguished_name.push(DnType::CommonName, name);
    let signed = params.self_signed(&pair).map_err(io::Error::other)?;
    // The key first: a crash between the two leaves no certificate, and the next start makes both.
    write_private(&key, pair.serialize_pem().as_bytes())?;
    write_private(&certificate, signed.pem().as_bytes())?;
    Ok((certificate, key))
}

fn write_private(path: &Path, content: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("new");
    let mut file = fs::OpenOptions::new();
    let mut file = file
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&temporary, path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn is_made_once_and_private() {
        let dir = tempfile::tempdir().unwrap();
        let (certificate, key) = self_signed(dir.path(), "files.example.com").unwrap();
        super::super::pair::read(&certificate, &key).unwrap();
        let first = fs::read(&certificate).unwrap();
        assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
        self_signed(dir.path(), "other.example.com").unwrap();
        assert_eq!(
            fs::read(&certificate).unwrap(),
            first,
            "a pinned certificate stays"
        );
    }
}
