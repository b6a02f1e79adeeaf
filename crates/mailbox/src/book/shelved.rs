//! A name book on a shelf: one space for each folder, one record for each binding.
//!
//! Invariant: of two bindings of one name the living one counts, whichever was recorded first.

use std::{collections::HashMap, sync::Arc};

use async_trait::async_trait;
use parking_lot::Mutex;
use portreeve_vfs::{FsError, FsErrorKind, FsResult};
use serde::{Deserialize, Serialize};

use super::{Binding, NameBook, PartKey};
use crate::{Change, FolderId, Shelf};

/// A space may hold this many times what it must before it is written anew.
const SLACK: usize = 4;
/// Below this many records nobody bothers.
const FEW: usize = 1000;

/// A book on a shelf.
pub struct ShelfBook {
    shelf: Arc<dyn Shelf>,
    /// Begins the name of every space.
    prefix: String,
    /// About how many records each space holds, of the folders that were asked for.
    records: Mutex<HashMap<FolderId, usize>>,
}

#[derive(Serialize, Deserialize)]
struct Record {
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    gone: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
}

impl ShelfBook {
    /// The book of the mailbox that `name` stands for; with another `scheme` of names it is another book.
    #[must_use]
    pub fn new(shelf: Arc<dyn Shelf>, name: &str, scheme: &str) -> Self {
        let scheme = blake3::hash(scheme.as_bytes()).to_hex();
        let scheme = scheme.get(..16).unwrap_or_default();
        Self {
            shelf,
            prefix: format!("names\n{name}\n{scheme}\n"),
            records: Mutex::default(),
        }
    }

    fn space(&self, folder: &FolderId) -> String {
        format!("{}{}", self.prefix, folder.0)
    }
}

#[async_trait]
impl NameBook for ShelfBook {
    async fn load(&self, folder: &FolderId) -> FsResult<Vec<Binding>> {
        let records = self.shelf.load(&self.space(folder)).await?;
        self.records.lock().insert(folder.clone(), records.len());
        let mut bindings: Vec<Binding> = records
            .iter()
            .filter_map(|(key, value)| read(key, value))
            .collect();
        // What lives is put last, over what has gone.
        bindings.sort_by_key(|binding| binding.gone.unwrap_or(u64::MAX));
        Ok(bindings)
    }

    async fn save(&self, folder: &FolderId, changed: &[Binding], held: usize) -> FsResult<bool> {
        let changes: FsResult<Vec<Change>> = changed
            .iter()
            .map(|binding| {
                let (key, value) = written(binding)?;
                Ok(Change::Put { key, value })
            })
            .collect();
        self.shelf.save(&self.space(folder), &changes?).await?;
        let mut records = self.records.lock();
        let records = records.entry(folder.clone()).or_default();
        *records = records.saturating_add(changed.len());
        Ok(*records > FEW && *records / SLACK > held)
    }

    async fn replace(&self, folder: &FolderId, all: &[Binding]) -> FsResult<()> {
        let records: FsResult<Vec<_>> = all.iter().map(written).collect();
        self.shelf.replace(&self.space(folder), &records?).await?;
        self.records.lock().insert(folder.clone(), all.len());
        Ok(())
    }

    async fn renamed(&self, from: &FolderId, to: &FolderId) -> FsResult<()> {
        if from == to {
            return Ok(());
        }
        self.shelf.rename(&self.space(from), &self.space(to)).await?;
        let mut records = self.records.lock();
        if let Some(held) = records.remove(from) {
            records.insert(to.clone(), held);
        }
        Ok(())
    }
}

fn written(binding: &Binding) -> FsResult<(String, String)> {
    let key = serde_json::to_string(&(&*binding.key.message.0, &*binding.key.part.0));
    let value = serde_json::to_string(&Record {
        name: binding.name.clone(),
        gone: binding.gone,
        size: binding.size,
    });
    let failed = |error| FsError::new(FsErrorKind::Backend).caused_by(error);
    Ok((key.map_err(failed)?, value.map_err(failed)?))
}

fn read(key: &str, value: &str) -> Option<Binding> {
    let (message, part): (String, String) = serde_json::from_str(key).ok()?;
    let record: Record = serde_json::from_str(value).ok()?;
    Some(Binding {
        name: record.name,
        key: PartKey {
            message: message.as_str().into(),
            part: part.as_str().into(),
        },
        gone: record.gone,
        size: record.size,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MemoryShelf, bind::Bindings};

    fn binding(message: &str, name: &str, gone: Option<u64>) -> Binding {
        Binding {
            name: name.into(),
            key: PartKey {
                message: message.into(),
                part: "p\n\"".into(),
            },
            gone,
            size: Some(7),
        }
    }

    #[tokio::test]
    async fn remembers_and_lets_the_living_win() {
        let shelf = Arc::new(MemoryShelf::default());
        let book = ShelfBook::new(Arc::clone(&shelf) as _, "test", "s");
        let folder = FolderId::from("in\nbox");
        // By key, the one that has gone comes last.
        let all = [binding("z", "a.pdf", Some(7)), binding("a", "a.pdf", None)];
        assert!(!book.save(&folder, &all, 2).await.unwrap());
        let again = ShelfBook::new(Arc::clone(&shelf) as _, "test", "s");
        let lines = again.load(&folder).await.unwrap();
        assert_eq!(lines, all);
        let bindings = Bindings::load(lines, false, 8);
        assert_eq!(bindings.name(&all[1].key), Some("a.pdf"));
        assert_eq!(bindings.name(&all[0].key), None);
        assert_eq!(bindings.size(&all[1].key), Some(7));

        let other = ShelfBook::new(Arc::clone(&shelf) as _, "test", "another template");
        assert!(other.load(&folder).await.unwrap().is_empty());
        book.renamed(&folder, &"new".into()).await.unwrap();
        assert_eq!(book.load(&"new".into()).await.unwrap().len(), 2);
        assert!(book.load(&folder).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn stays_small() {
        let shelf = Arc::new(MemoryShelf::default());
        let book = ShelfBook::new(Arc::clone(&shelf) as _, "test", "s");
        let folder = FolderId::from("inbox");
        let live = [binding("m", "only one", None)];
        for n in 0..20_000 {
            let gone = binding(&format!("m{n}"), "x", Some(n));
            if book.save(&folder, &[gone], 1).await.unwrap() {
                book.replace(&folder, &live).await.unwrap();
            }
        }
        assert!(book.load(&folder).await.unwrap().len() <= FEW + 1);
    }
}
