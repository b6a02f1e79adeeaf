//! A certificate of our own, made once and kept: TLS without a certificate is better than none, and
//! a client that pinned it keeps working after a restart.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::{Timestamp, ToSpan, civil::Date, tz::TimeZone};
use rcgen::{CertificateParams, DnType, KeyPair};
use zeroize::Zeroizing;

/// How long a certificate holds: what browsers and scanners accept of anybody.
const DAYS: i64 = 365;
/// A certificate older than this is made anew.
const RENEW: Duration = Duration::from_secs(335 * 86_400);

/// The files of the self-signed pair in `data_dir`, for `name` and the loopback names. Where they are
/// missing or nearly past their time they are made; the key stays the same for as long as it is there.
///
/// # Errors
/// The directory cannot be written, or the name is none that a certificate can hold.
pub fn self_signed(data_dir: &Path, name: &str) -> io::Result<(PathBuf, PathBuf)> {
    let certificate = data_dir.join("self-signed.crt");
    let key = data_dir.join("self-signed.key");
    if key.exists() && is_young(&certificate) {
        return Ok((certificate, key));
    }
    let pair = match fs::read_to_string(&key) {
        Ok(pem) => KeyPair::from_pem(&Zeroizing::new(pem)).map_err(io::Error::other)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let pair = KeyPair::generate().map_err(io::Error::other)?;
            write_private(&key, Zeroizing::new(pair.serialize_pem()).as_bytes())?;
            pair
        }
        Err(error) => return Err(error),
    };
    let mut names = vec![name.to_owned()];
    names.extend(
        ["localhost", "127.0.0.1", "::1"]
            .map(str::to_owned)
            .into_iter()
            .filter(|n| n != name),
    );
    let mut params = CertificateParams::new(names).map_err(io::Error::other)?;
    params.distinguished_name.push(DnType::CommonName, name);
    // From yesterday on: clocks of clients differ.
    let from = Timestamp::now()
        .to_zoned(TimeZone::UTC)
        .date()
        .saturating_sub(1.day());
    let day = |date: Date| {
        let part = |number: i8| u8::try_from(number).unwrap_or(1);
        rcgen::date_time_ymd(date.year().into(), part(date.month()), part(date.day()))
    };
    params.not_before = day(from);
    params.not_after = day(from.saturating_add(DAYS.days()));
    let signed = params.self_signed(&pair).map_err(io::Error::other)?;
    write_private(&certificate, signed.pem().as_bytes())?;
    Ok((certificate, key))
}

fn is_young(certificate: &Path) -> bool {
    let made = fs::metadata(certificate).and_then(|meta| meta.modified());
    // A time that lies ahead is a clock that was set back.
    made.is_ok_and(|made| made.elapsed().is_ok_and(|age| age < RENEW))
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

    #[test]
    fn an_old_certificate_is_renewed_and_the_key_stays() {
        let dir = tempfile::tempdir().unwrap();
        let (certificate, key) = self_signed(dir.path(), "a.example.com").unwrap();
        let (first, secret) = (fs::read(&certificate).unwrap(), fs::read(&key).unwrap());
        let old = std::time::SystemTime::now() - RENEW - Duration::from_secs(1);
        let file = fs::File::options().write(true).open(&certificate).unwrap();
        file.set_modified(old).unwrap();
        self_signed(dir.path(), "a.example.com").unwrap();
        assert_ne!(fs::read(&certificate).unwrap(), first);
        assert_eq!(fs::read(&key).unwrap(), secret);
        super::super::pair::read(&certificate, &key).unwrap();
    }
}
