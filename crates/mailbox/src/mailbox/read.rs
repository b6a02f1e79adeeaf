//! Listing and reading.

use std::sync::Arc;

use async_trait::async_trait;
use portreeve_model::{Name, VPath};
use portreeve_vfs::{Cursor, Entry, FsErrorKind, FsResult, Listing, ReadFile};

use super::{
    Shared,
    tree::{Children, Node},
    view::{Need, View},
};
use crate::{Content, Sizes};

impl Shared {
    pub(super) async fn open_listing(&self, dir: &VPath, from: Option<Cursor>) -> FsResult<Box<dyn Listing>> {
        let folder = self.resolve_folder(dir).await?;
        let id = folder.as_ref().map(|folder| &folder.id);
        self.look(id).await?;
        let folders = self.tree.children(id, Need::Fresh).await?;
        let files = match &folder {
            Some(folder) => self.view(folder, Need::Fresh).await?,
            None => Arc::default(),
        };
        if let (Some(folder), Sizes::OnList) = (&folder, self.policy.sizes) {
            self.learn_all(folder, &files).await?;
        }
        Ok(Box::new(Snapshot {
            folders,
            files,
            after: from.map(|cursor| cursor.0.into_vec()).unwrap_or_default(),
        }))
    }

    pub(super) async fn open_read(&self, path: &VPath) -> FsResult<Arc<dyn ReadFile>> {
        let Node::File(folder, item) = self.resolve(path).await? else {
            return Err(FsErrorKind::IsDir.into());
        };
        let content = self
            .store
            .open_part(&folder.id, &item.key.message, &item.key.part)
            .await?;
        let mut entry = item.entry();
        entry.size = Some(content.size());
        if item.is_unsized() {
            self.learnt(&folder, &[(&item, content.size())]).await;
        }
        Ok(Arc::new(Open { entry, content }))
    }
}

/// A folder as it was when it was opened: folders and files in one order, by name.
struct Snapshot {
    folders: Children,
    files: Arc<View>,
    /// The last name that was given; empty at the start.
    after: Vec<u8>,
}

#[async_trait]
impl Listing for Snapshot {
    async fn next(&mut self, max: usize) -> FsResult<Vec<Entry>> {
        let mut folder = self
            .folders
            .partition_point(|(name, _)| name.as_bytes() <= &*self.after);
        let mut file = self
            .files
            .files
            .partition_point(|item| item.name() <= &*self.after);
        let mut out = Vec::new();
        while out.len() < max {
            let entry = match (self.folders.get(folder), self.files.files.get(file)) {
                (None, None) => break,
                (Some((name, _)), other) if other.is_none_or(|item| name.as_bytes() <= item.name()) => {
                    folder += 1;
                    // A folder that came later hides a file of its name: one name, one entry.
                    if other.is_some_and(|item| item.name() == name.as_bytes()) {
                        file += 1;
                    }
                    let Ok(name) = Name::new(name.as_bytes()) else {
                        continue;
                    };
                    Entry::dir(Some(name))
                }
                (_, Some(item)) => {
                    file += 1;
                    item.entry()
                }
                (Some(_), None) => break,
            };
            out.push(entry);
        }
        if let Some(name) = out.last().and_then(|entry| entry.name.as_ref()) {
            self.after = name.as_bytes().to_vec();
        }
        Ok(out)
    }

    fn cursor(&self) -> Option<Cursor> {
        Some(Cursor(self.after.clone().into()))
    }
}

/// An attachment open for reading.
struct Open {
    entry: Entry,
    content: Arc<dyn Content>,
}

#[async_trait]
impl ReadFile for Open {
    fn entry(&self) -> &Entry {
        &self.entry
    }

    async fn read(&self, at: u64, len: usize, into: Vec<u8>) -> FsResult<Vec<u8>> {
        self.content.read(at, len, into).await
    }
}
