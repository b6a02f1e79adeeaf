//! Listing and reading.

use std::sync::Arc;

use async_trait::async_trait;
use portreeve_model::{Name, VPath};
use portreeve_vfs::{Cursor, Entry, FsErrorKind, FsResult, Listing, Note, ReadFile};

use super::{
    Shared,
    items::{Item, Items},
    tree::{Children, Dir, Node},
    view::Need,
    whole::Whole,
};
use crate::{Content, Folder, Sizes, book::PartKey};

impl Shared {
    pub(super) async fn open_listing(&self, dir: &VPath, from: Option<Cursor>) -> FsResult<Box<dyn Listing>> {
        let found = self.resolve_dir(dir).await?;
        let (folders, files) = match &found {
            Dir::Outbox => return self.list_outbox(None, from).await,
            Dir::Recipient(to) => return self.list_outbox(Some(to), from).await,
            Dir::Root => {
                self.look(None).await?;
                (self.children(None, dir, Need::Fresh).await?, Arc::default())
            }
            Dir::Folder(folder) => {
                self.look(Some(&folder.id)).await?;
                let folders = self.children(Some(folder), dir, Need::Fresh).await?;
                (folders, Arc::clone(&self.view(folder, Need::Fresh).await?.files))
            }
            Dir::Message(folder, item) => {
                self.look(Some(&folder.id)).await?;
                (Arc::default(), self.inside(folder, item, Need::Fresh).await?)
            }
        };
        if let (Dir::Folder(folder) | Dir::Message(folder, _), Sizes::OnList) = (&found, self.policy.sizes) {
            self.learn_all(folder, &files).await?;
        }
        Ok(Box::new(Snapshot {
            folders,
            files,
            after: from.map(|cursor| cursor.0.into_vec()).unwrap_or_default(),
        }))
    }

    pub(super) async fn open_read(&self, path: &VPath, note: &Note) -> FsResult<Arc<dyn ReadFile>> {
        let node = self.resolve(path).await?;
        node.told_to(note);
        let (folder, item) = match node {
            Node::File(folder, item) => (folder, item),
            Node::Dir(_) => return Err(FsErrorKind::IsDir.into()),
            Node::Waiting(waiting) => {
                return Ok(Arc::new(Open {
                    entry: waiting.entry().ok_or(FsErrorKind::NotFound)?,
                    content: self.open_waiting(&waiting).await?,
                }));
            }
        };
        let content = self.content(&folder, &item).await?;
        let mut entry = item.entry();
        entry.size = Some(content.size());
        if item.is_unsized() {
            self.learnt(&folder, &[(&item, content.size())]).await;
        }
        Ok(Arc::new(Open { entry, content }))
    }

    /// The bytes of a file.
    pub(super) async fn content(&self, folder: &Folder, item: &Item) -> FsResult<Arc<dyn Content>> {
        let (folder, PartKey { message, part }) = (&folder.id, &item.key);
        match Whole::of(&item.key) {
            None => self.store.open_part(folder, message, part).await,
            Some(Whole::Message) => self.store.open_message(folder, message).await,
            Some(Whole::Text) => self.store.open_text(folder, message).await,
        }
    }
}

/// A folder as it was when it was opened: folders and files in one order, by name.
struct Snapshot {
    folders: Children,
    files: Arc<Items>,
    /// The last name that was given; empty at the start.
    after: Vec<u8>,
}

#[async_trait]
impl Listing for Snapshot {
    async fn next(&mut self, max: usize) -> FsResult<Vec<Entry>> {
        let mut folder = self
            .folders
            .partition_point(|(name, _)| name.as_bytes() <= &*self.after);
        let mut file = self.files.partition_point(|item| item.name() <= &*self.after);
        let mut out = Vec::new();
        while out.len() < max {
            let entry = match (self.folders.get(folder), self.files.get(file)) {
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
