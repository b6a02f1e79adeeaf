//! Storages, opened once and kept while their options stay the same.

use std::{collections::HashMap, path::Path, sync::Arc};

use portreeve_disk::Disk;
use portreeve_mailbox::Mailbox;
use portreeve_vfs::{Checked, FileSystem};

use super::fingerprint;
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
    pub(crate) fn open(&self, storages: &[Storage], data_dir: &Path) -> Result<Self, Vec<String>> {
        let (mut open, mut problems) = (HashMap::new(), Vec::new());
        for storage in storages {
            let fingerprint = fingerprint(&storage.kind);
            if let Some(kept) = self
                .open
                .get(&storage.name)
                .filter(|kept| kept.fingerprint == fingerprint)
            {
                open.insert(storage.name.clone(), kept.clone());
                continue;
            }
            match open_one(storage, data_dir) {
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

fn open_one(storage: &Storage, data_dir: &Path) -> Result<(Arc<dyn FileSystem>, Option<Disk>), String> {
    match &storage.kind {
        StorageKind::Disk(options) => {
            let disk = Disk::open(options).map_err(|error| error.to_string())?;
            Ok((Arc::new(disk.clone()), Some(disk)))
        }
        StorageKind::Maildir(options) => {
            let mut options = options.clone();
            let state = || data_dir.join("mailboxes").join(&storage.name);
            let dir = options.state_dir.get_or_insert_with(state).clone();
            std::fs::create_dir_all(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
            let mailbox = Mailbox::maildir(&options).map_err(|error| error.to_string())?;
            // A mailbox can do less than a disk: the rest is refused before it is asked.
            Ok((Arc::new(Checked::over(Arc::new(mailbox))), None))
        }
    }
}
