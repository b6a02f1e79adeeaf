//! Records that outlive the process: what a mailbox remembers of itself (names, the index of its
//! messages, messages that wait to be sent), kept wherever its host keeps state.

use std::collections::BTreeMap;

use async_trait::async_trait;
use parking_lot::Mutex;
use portreeve_vfs::FsResult;

/// A change of one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It is this from now on.
    Put {
        /// Its key, unique within its space.
        key: String,
        /// What it holds: text that its writer understands.
        value: String,
    },
    /// It is gone.
    Drop {
        /// Its key.
        key: String,
    },
}

/// Records in named spaces. A space is one folder's bindings, or one folder's index; it is read whole and
/// changed in part. What was answered survives a crash; all changes of one call happen, or none.
#[async_trait]
pub trait Shelf: Send + Sync {
    /// All records of a space: key and value, in the order of keys.
    async fn load(&self, space: &str) -> FsResult<Vec<(String, String)>>;

    /// The spaces that hold something and whose names begin so, in the order of their bytes.
    async fn spaces(&self, prefix: &str) -> FsResult<Vec<String>>;

    /// Changes some records of a space, all or none.
    async fn save(&self, space: &str, changes: &[Change]) -> FsResult<()>;

    /// Puts these records in the place of all that a space holds.
    async fn replace(&self, space: &str, records: &[(String, String)]) -> FsResult<()>;

    /// A space got another name; what that name held before is gone.
    async fn rename(&self, from: &str, to: &str) -> FsResult<()>;
}

/// A shelf that forgets at restart.
#[derive(Debug, Default)]
pub struct MemoryShelf(Mutex<BTreeMap<String, BTreeMap<String, String>>>);

#[async_trait]
impl Shelf for MemoryShelf {
    async fn load(&self, space: &str) -> FsResult<Vec<(String, String)>> {
        let spaces = self.0.lock();
        let records = spaces.get(space).into_iter().flatten();
        Ok(records.map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    async fn spaces(&self, prefix: &str) -> FsResult<Vec<String>> {
        let spaces = self.0.lock();
        let some = spaces
            .iter()
            .filter(|(name, records)| name.starts_with(prefix) && !records.is_empty());
        Ok(some.map(|(name, _)| name.clone()).collect())
    }

    async fn save(&self, space: &str, changes: &[Change]) -> FsResult<()> {
        let mut spaces = self.0.lock();
        let records = spaces.entry(space.to_owned()).or_default();
        for change in changes {
            match change {
                Change::Put { key, value } => records.insert(key.clone(), value.clone()),
                Change::Drop { key } => records.remove(key),
            };
        }
        Ok(())
    }

    async fn replace(&self, space: &str, records: &[(String, String)]) -> FsResult<()> {
        self.0
            .lock()
            .insert(space.to_owned(), records.iter().cloned().collect());
        Ok(())
    }

    async fn rename(&self, from: &str, to: &str) -> FsResult<()> {
        let mut spaces = self.0.lock();
        spaces.remove(to);
        if let Some(records) = spaces.remove(from) {
            spaces.insert(to.to_owned(), records);
        }
        Ok(())
    }
}
