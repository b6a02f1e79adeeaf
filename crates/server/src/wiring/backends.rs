//! Storages, opened once and kept while their options stay the same, in the layers that each needs.
//!
//! A disk can do all that the contract has, and itself refuses hard links where they are not wanted: it
//! passes the whole conformance suite bare. A capability check around it would refuse nothing, and cost
//! an allocation for each piece that is written.
//!
//! Invariants: nothing is asked over a network here, so that a mail server that is down keeps nobody else
//! from being served; a secret that changed where it is kept makes its storage anew at the next reload.

use std::{collections::HashMap, sync::Arc};

use portreeve_disk::Disk;
use portreeve_mailbox::Mailbox;
use portreeve_vfs::{Checked, FileSystem, Patience, PatienceLimits};

use super::{
    Lasting, fingerprint,
    remote::{self, Given},
};
use crate::options::{Storage, StorageKind};

/// An open storage.
#[derive(Clone)]
struct Open {
    fingerprint: String,
    backend: Arc<dyn FileSystem>,
    disk: Option<Disk>,
}

/// All open storages, by name.
#[derive(Clone, Default)]
pub(crate) struct Backends {
    open: HashMap<String, Open>,
}

impl Backends {
    /// Opens what is not open yet. Blocks on the file system.
    ///
    /// # Errors
    /// Every storage that cannot be opened, each a sentence.
    pub(crate) fn open(&self, storages: &[Storage], lasting: &Lasting) -> Result<Self, Vec<String>> {
        let (mut open, mut problems) = (HashMap::new(), Vec::new());
        for storage in storages {
            let secrets = match Given::read(&storage.kind, &lasting.secrets) {
                Ok(secrets) => secrets,
                Err(why) => {
                    problems.push(format!("[storage.{}]: {why}", storage.name));
                    continue;
                }
            };
            let fingerprint = format!("{}\n{}", fingerprint(&storage.kind), secrets.fingerprint());
            if let Some(kept) = self
                .open
                .get(&storage.name)
                .filter(|kept| kept.fingerprint == fingerprint)
            {
                open.insert(storage.name.clone(), kept.clone());
                continue;
            }
            match open_one(storage, &secrets, lasting) {
                Ok((backend, disk)) => {
                    open.insert(
                        storage.name.clone(),
                        Open {
                            fingerprint,
                            backend,
                            disk,
                        },
                    );
                }
                Err(why) => problems.push(format!("[storage.{}]: {why}", storage.name)),
            }
        }
        if problems.is_empty() {
            Ok(Self { open })
        } else {
            Err(problems)
        }
    }

    /// The storage of this name.
    pub(crate) fn of(&self, name: &str) -> Option<Arc<dyn FileSystem>> {
        self.open.get(name).map(|open| Arc::clone(&open.backend))
    }

    /// The disks: what is left there of crashed uploads is cleared away now and then.
    pub(crate) fn disks(&self) -> Vec<(String, Disk)> {
        let disks = self
            .open
            .iter()
            .filter_map(|(name, open)| Some((name.clone(), open.disk.clone()?)));
        disks.collect()
    }
}

fn open_one(
    storage: &Storage,
    secrets: &Given,
    lasting: &Lasting,
) -> Result<(Arc<dyn FileSystem>, Option<Disk>), String> {
    match &storage.kind {
        StorageKind::Disk(options) => {
            let disk = Disk::open(options).map_err(|error| error.to_string())?;
            Ok((patient(Arc::new(disk.clone()), disk.may_hang()), Some(disk)))
        }
        StorageKind::Maildir(options) => {
            let mut options = options.clone();
            options.mail.storage.clone_from(&storage.name);
            let state = || lasting.data_dir.join("mailboxes").join(&storage.name);
            let dir = options.state_dir.get_or_insert_with(state).clone();
            std::fs::create_dir_all(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
            let mailbox = Mailbox::maildir(&options).map_err(|error| error.to_string())?;
            // A mailbox can do less than a disk: the rest is refused before it is asked.
            Ok((Arc::new(Checked::over(Arc::new(mailbox))), None))
        }
        // No patience around remote mailboxes: each request below has its own bounds and tries, and a whole
        // listing may take as many of them as the mailbox has pages.
        StorageKind::Exchange(options) => {
            let mut options = options.clone();
            options.mail.storage.clone_from(&storage.name);
            let mailboxes = remote::exchange(&options, secrets, &lasting.around)?;
            Ok((Arc::new(Checked::over(mailboxes)), None))
        }
        StorageKind::Imap(options) => {
            let mut options = options.clone();
            options.mail.storage.clone_from(&storage.name);
            let mailboxes = remote::imap(&options, secrets, &lasting.around)?;
            Ok((Arc::new(Checked::over(mailboxes)), None))
        }
    }
}

/// A file system that may hang is not waited for without end; one that cannot is asked directly.
fn patient(backend: Arc<dyn FileSystem>, may_hang: bool) -> Arc<dyn FileSystem> {
    if may_hang {
        Arc::new(Patience::over(backend, PatienceLimits::default()))
    } else {
        backend
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use portreeve_model::{SessionId, VPath};
    use portreeve_vfs::{Call, Capabilities, Faulty, FsErrorKind, Memory, OpCx, Owner, Removal};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_what_may_hang_is_given_up() {
        for may_hang in [false, true] {
            let faulty = Arc::new(Faulty::over(Arc::new(Memory::new())));
            let _hangs = faulty.hold(Call::Remove);
            let backend = patient(faulty, may_hang);
            let cx = OpCx::new(SessionId::fresh(), Owner("a".into()), Default::default());
            let file = VPath::parse("/f").unwrap();
            let removal = backend.remove(&cx, &file, Removal::File);
            let end = tokio::time::timeout(Duration::from_secs(3600), removal).await;
            let told = end.ok().map(|end| end.unwrap_err().kind());
            assert_eq!(told, may_hang.then_some(FsErrorKind::TimedOut));
        }
    }

    /// Why a disk goes without the capability check: there is nothing that it would refuse.
    #[test]
    fn a_disk_lacks_nothing_but_unwanted_links() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::open(&portreeve_disk::Options::new(dir.path())).unwrap();
        assert!(!disk.may_hang(), "the tests' own file system");
        let expected = Capabilities {
            hard_links: false,
            ..Capabilities::full()
        };
        assert_eq!(*disk.capabilities(), expected);
    }
}
