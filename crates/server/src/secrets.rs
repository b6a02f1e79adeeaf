//! Secrets of the configuration, read where they are kept.
//!
//! Invariants: what is read goes to whoever needs it and into no message, log or answer; a secret that
//! cannot be read is an error that names its place and what to do, never an empty secret; what is sealed is
//! written by people and read by the server alone.

use std::{
    fs,
    io::{self, Read as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use async_trait::async_trait;
use portreeve_model::{Secret, options::SecretText};
use portreeve_store::{KeyError, MAX_SECRET, SealKey, Store};
use zeroize::Zeroizing;

/// The default sealing key's file in the data directory.
pub(crate) const KEY_FILE: &str = "secret.key";
/// What sealed names begin with that the server writes by itself.
pub(crate) const OWN: &str = "vault:";

/// Why a secret cannot be had: where it should be, what is wrong there and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct SecretError(pub(crate) String);

/// Reads secrets, also those sealed in the state database.
pub(crate) struct Keeper {
    store: Store,
    /// Where the sealing key is kept; in the data directory without it.
    key: Option<SecretText>,
    data_dir: PathBuf,
    /// Read once: what was sealed under one key must be opened by it.
    sealer: OnceLock<Arc<SealKey>>,
}

impl Keeper {
    pub(crate) fn new(store: Store, key: Option<SecretText>, data_dir: &Path) -> Self {
        Self {
            store,
            key,
            data_dir: data_dir.to_owned(),
            sealer: OnceLock::new(),
        }
    }

    /// The secret itself. Blocks: on the file system and, for what is sealed, on the runtime whose handle
    /// is entered.
    ///
    /// # Errors
    /// [`SecretError`].
    pub(crate) fn read(&self, secret: &SecretText) -> Result<Secret, SecretError> {
        let SecretText::Sealed(name) = secret else {
            return read_plain(secret);
        };
        let found = tokio::runtime::Handle::current().block_on(self.unseal(name))?;
        found.ok_or_else(|| {
            SecretError(format!(
                "there is no sealed secret '{name}': write it with 'portreeve secret set {name}' and reload"
            ))
        })
    }

    /// Seals a secret under a name.
    ///
    /// # Errors
    /// [`SecretError`].
    pub(crate) async fn seal(&self, name: &str, secret: &Secret) -> Result<(), SecretError> {
        let key = self.sealer().await?;
        let sealed = self.store.seal(&key, name, secret).await;
        sealed.map_err(|error| SecretError(error.to_string()))
    }

    /// The sealed secret of this name.
    ///
    /// # Errors
    /// [`SecretError`].
    pub(crate) async fn unseal(&self, name: &str) -> Result<Option<Secret>, SecretError> {
        let key = self.sealer().await?;
        let found = self.store.unseal(&key, name).await;
        found.map_err(|error| SecretError(error.to_string()))
    }

    /// Names of what is sealed, and when each was written.
    ///
    /// # Errors
    /// [`SecretError`].
    pub(crate) async fn names(&self) -> Result<Vec<(String, std::time::SystemTime)>, SecretError> {
        let names = self.store.sealed_names().await;
        names.map_err(|error| SecretError(error.to_string()))
    }

    /// Forgets a sealed secret; whether there was one.
    ///
    /// # Errors
    /// [`SecretError`].
    pub(crate) async fn forget(&self, name: &str) -> Result<bool, SecretError> {
        let dropped = self.store.drop_sealed(name).await;
        dropped.map_err(|error| SecretError(error.to_string()))
    }

    async fn sealer(&self) -> Result<Arc<SealKey>, SecretError> {
        if let Some(key) = self.sealer.get() {
            return Ok(Arc::clone(key));
        }
        let (place, data_dir) = (self.key.clone(), self.data_dir.clone());
        let work = move || -> Result<SealKey, SecretError> {
            let told = |error: KeyError| SecretError(format!("[store] key: {error}"));
            match &place {
                Some(place) => {
                    let text = read_plain(place)?;
                    SealKey::parse(&text).map_err(told)
                }
                None => SealKey::open_or_make(&data_dir.join(KEY_FILE)).map_err(told),
            }
        };
        let read = tokio::task::spawn_blocking(work).await;
        let key = read.map_err(|error| SecretError(error.to_string()))??;
        Ok(Arc::clone(self.sealer.get_or_init(|| Arc::new(key))))
    }
}

#[async_trait]
impl crate::control::SecretDesk for Keeper {
    async fn set(&self, name: &str, secret: &Secret) -> Result<(), String> {
        self.seal(name, secret).await.map_err(|error| error.0)
    }

    async fn list(&self) -> Result<Vec<(String, std::time::SystemTime)>, String> {
        self.names().await.map_err(|error| error.0)
    }

    async fn delete(&self, name: &str) -> Result<bool, String> {
        self.forget(name).await.map_err(|error| error.0)
    }
}

/// A secret that is kept outside the database. Blocks on the file system.
///
/// # Errors
/// [`SecretError`].
pub(crate) fn read_plain(secret: &SecretText) -> Result<Secret, SecretError> {
    let place = secret.place();
    match secret {
        SecretText::Inline(secret) => Ok(secret.clone()),
        SecretText::Env(name) => match std::env::var(name) {
            Ok(text) if !text.is_empty() => Ok(Secret::new(text)),
            Ok(_) => Err(SecretError(format!("{place} is empty"))),
            Err(std::env::VarError::NotPresent) => Err(SecretError(format!(
                "{place} is not set: give it to the service (Environment=, EnvironmentFile=) and restart it"
            ))),
            Err(std::env::VarError::NotUnicode(_)) => Err(SecretError(format!("{place} is not UTF-8"))),
        },
        SecretText::File(path) => read_file(path, &place),
        SecretText::Credential(name) => {
            let directory = std::env::var_os("CREDENTIALS_DIRECTORY").ok_or_else(|| {
                SecretError(format!(
                    "{place}: systemd passes no credentials; add LoadCredential={name}:/path to the unit"
                ))
            })?;
            read_file(&Path::new(&directory).join(name), &place)
        }
        SecretText::Sealed(_) => Err(SecretError(format!("{place} cannot be used here"))),
    }
}

fn read_file(path: &Path, place: &str) -> Result<Secret, SecretError> {
    let failed = |error: io::Error| {
        let hint = match error.kind() {
            io::ErrorKind::NotFound => ": write the secret there, alone, with mode 0600",
            io::ErrorKind::PermissionDenied => ": let the server's user read it",
            _ => "",
        };
        SecretError(format!("{place}: {error}{hint}"))
    };
    // Asked before it is opened: a pipe would be waited for.
    let meta = fs::metadata(path).map_err(failed)?;
    if !meta.is_file() {
        return Err(SecretError(format!("{place} is no regular file")));
    }
    if meta.permissions().mode() & 0o007 != 0 {
        tracing::warn!(
            place,
            "a secret that everybody on this machine may use: chmod o-rwx"
        );
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_SECRET + 1));
    let file = fs::File::open(path).map_err(failed)?;
    file.take(MAX_SECRET as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() > MAX_SECRET {
        return Err(SecretError(format!(
            "{place} is longer than 64 KiB: is it the right file?"
        )));
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| SecretError(format!("{place} is not UTF-8")))?;
    // Editors and `echo` end a file with a line end: it is none of the secret.
    let text = text.strip_suffix('\n').unwrap_or(text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.is_empty() {
        return Err(SecretError(format!("{place} is empty")));
    }
    Ok(Secret::new(text.to_owned()))
}

/// What is wrong with where a secret is kept, as far as the configuration's checker may judge: the
/// environment and the credentials of a service are not those of the shell that runs `portreeve check`, and
/// a file may be readable to the service alone.
pub(crate) fn problem(secret: &SecretText) -> Option<String> {
    let SecretText::File(path) = secret else {
        return None;
    };
    match fs::metadata(path) {
        Ok(meta) if !meta.is_file() => Some(format!("{} is no regular file", secret.place())),
        Ok(meta) if meta.len() == 0 => Some(format!("{} is empty", secret.place())),
        Ok(meta) if meta.len() > MAX_SECRET as u64 => {
            Some(format!("{} is longer than 64 KiB", secret.place()))
        }
        Ok(_) => None,
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => None,
        Err(error) => Some(format!("{}: {error}", secret.place())),
    }
}

/// What this process does not have of a secret that a service may well have.
pub(crate) fn unseen(secret: &SecretText) -> Option<String> {
    match secret {
        SecretText::Env(name) if std::env::var_os(name).is_none() => {
            Some(format!("{} is not set here; the server needs it", secret.place()))
        }
        SecretText::Credential(_) if std::env::var_os("CREDENTIALS_DIRECTORY").is_none() => Some(format!(
            "{} is not there without systemd; the server needs it",
            secret.place()
        )),
        SecretText::File(path) => match fs::File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Some(format!(
                "{} is not readable to this user; the server must read it",
                secret.place()
            )),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &Path) -> SecretText {
        SecretText::File(path.to_owned())
    }

    #[test]
    fn a_file_gives_its_content_without_the_line_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        for (bytes, want) in [
            (&b"hunter2"[..], "hunter2"),
            (b"hunter2\n", "hunter2"),
            (b"hunter2\r\n", "hunter2"),
            (b" two\nlines\n\n", " two\nlines\n"),
        ] {
            fs::write(&path, bytes).unwrap();
            assert_eq!(read_plain(&file(&path)).unwrap().expose(), want);
            assert_eq!(problem(&file(&path)), None);
        }
    }

    #[test]
    fn what_cannot_be_read_is_named_and_never_shown() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        let told = |secret: &SecretText| read_plain(secret).unwrap_err().0;
        assert!(told(&file(&path)).contains("mode 0600"));
        assert!(problem(&file(&path)).is_some());
        for (bytes, part) in [
            (b"".to_vec(), "is empty"),
            (b"\n".to_vec(), "is empty"),
            (b"hunter2\xff".to_vec(), "not UTF-8"),
            (vec![b'x'; MAX_SECRET + 1], "longer than"),
        ] {
            fs::write(&path, bytes).unwrap();
            let text = told(&file(&path));
            assert!(text.contains(part) && !text.contains("hunter"), "{text}");
        }
        assert!(told(&file(dir.path())).contains("no regular file"));
        assert!(problem(&file(dir.path())).is_some());
        let unset = SecretText::Env("PORTREEVE_TEST_NEVER_SET".into());
        assert!(told(&unset).contains("is not set"));
        assert!(unseen(&unset).is_some() && problem(&unset).is_none());
        let path = SecretText::Env("PATH".into());
        assert_eq!(
            read_plain(&path).unwrap().expose(),
            std::env::var("PATH").unwrap()
        );
        assert_eq!(unseen(&path), None);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_was_sealed_is_read_back_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let sealed = SecretText::Sealed("graph".into());
        for first in [true, false] {
            let store = Store::open("sqlite:state.db", dir.path()).await.unwrap();
            let keeper = Arc::new(Keeper::new(store.clone(), None, dir.path()));
            if first {
                keeper
                    .seal("graph", &Secret::new("hunter2".into()))
                    .await
                    .unwrap();
            }
            let (reader, secret) = (keeper.clone(), sealed.clone());
            let read = tokio::task::spawn_blocking(move || reader.read(&secret))
                .await
                .unwrap();
            assert_eq!(read.unwrap().expose(), "hunter2");
            store.close().await;
        }
        let mode = fs::metadata(dir.path().join(KEY_FILE))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        // Under another key it is an error, not another secret.
        let store = Store::open("sqlite:state.db", dir.path()).await.unwrap();
        let key = SecretText::Inline(Secret::new("cd".repeat(32)));
        let keeper = Keeper::new(store, Some(key), dir.path());
        let told = keeper.unseal("graph").await.unwrap_err().0;
        assert!(told.contains("another key"), "{told}");
        assert!(keeper.unseal("nobody").await.unwrap().is_none());
    }
}
