//! Folders by path, and what changes them.

use std::{collections::HashMap, sync::Arc, time::Instant};

use parking_lot::Mutex;
use portreeve_model::VPath;
use portreeve_vfs::{FsError, FsErrorKind, FsResult};

use super::{
    Shared,
    view::{Item, Need},
};
use crate::{
    Folder, FolderId, FolderKind, MailStore,
    name::{BaseName, fold, is_clean},
};

/// Folders of which the children are held.
const MAX_HELD: usize = 1024;

/// The children of a folder under the names they are shown by.
pub(super) type Children = Arc<Vec<(String, Folder)>>;

/// What is known of the tree.
pub(super) struct Tree {
    store: Arc<dyn MailStore>,
    held: Mutex<HashMap<Option<FolderId>, (Instant, Children)>>,
}

/// What a path leads to.
pub(super) enum Node {
    Root,
    Folder(Folder),
    File(Folder, Item),
}

impl Tree {
    pub(super) fn new(store: Arc<dyn MailStore>) -> Self {
        Self {
            store,
            held: Mutex::default(),
        }
    }

    /// After a change.
    pub(super) fn forget(&self) {
        self.held.lock().clear();
    }

    /// The folders below `parent`, or at the top.
    pub(super) async fn children(&self, parent: Option<&FolderId>, need: Need) -> FsResult<Children> {
        let key = parent.cloned();
        if let Some((since, children)) = self.held.lock().get(&key)
            && need.allows(since.elapsed(), self.store.abilities())
        {
            return Ok(Arc::clone(children));
        }
        let asked = Instant::now();
        let mut all = Vec::new();
        let mut from = None;
        loop {
            let page = self.store.folders(parent, from.as_ref()).await?;
            all.extend(page.items);
            from = page.next;
            if from.is_none() {
                break;
            }
        }
        let children = Arc::new(named(all));
        let mut held = self.held.lock();
        if held.len() >= MAX_HELD {
            held.clear();
        }
        held.insert(key, (asked, Arc::clone(&children)));
        Ok(children)
    }

    /// A folder by its name below `parent`; asks again before it says no.
    pub(super) async fn child(&self, parent: Option<&FolderId>, name: &str) -> FsResult<Option<Folder>> {
        for need in [Need::Cheap, Need::Fresh] {
            let children = self.children(parent, need).await?;
            if let Some((_, folder)) = children.iter().find(|(shown, _)| shown == name) {
                return Ok(Some(folder.clone()));
            }
        }
        Ok(None)
    }
}

/// Gives folders names that are clean and distinct.
fn named(mut folders: Vec<Folder>) -> Vec<(String, Folder)> {
    // The Inbox first: its name is its own. Then by id, which stays.
    folders.sort_by(|a, b| (a.kind != FolderKind::Inbox, &a.id).cmp(&(b.kind != FolderKind::Inbox, &b.id)));
    folders.dedup_by(|a, b| a.id == b.id);
    let mut taken = std::collections::HashSet::new();
    let mut out: Vec<(String, Folder)> = folders
        .into_iter()
        .filter_map(|folder| {
            let base = BaseName::new(&folder.name);
            let name = (0..)
                .map(|n| base.numbered(n))
                .find(|name| taken.insert(fold(name)))?;
            Some((name, folder))
        })
        .collect();
    out.sort_by(|a, b| a.0.cmp(&b.0));
    out
}

/// Refuses names that the mailbox would have to bend.
pub(super) fn check_clean(name: &str) -> FsResult<()> {
    if is_clean(name) {
        return Ok(());
    }
    Err(FsError::new(FsErrorKind::InvalidName).context(
        "a name in a mailbox has at most 240 characters in Unicode form NFC, none of < > : \" / \\ | ? * and \
         no control character, neither begins nor ends with a dot or a blank, and is no device name of Windows",
    ))
}

/// Refuses a name that another one has, or has but for case: on many systems that mirror the folder
/// these are one name.
pub(super) fn taken(name: &str, shown: &str) -> FsError {
    if name == shown {
        return FsError::new(FsErrorKind::Exists)
            .context("that name is taken, and what is there is never replaced: delete it first");
    }
    FsError::new(FsErrorKind::InvalidName).context(
        "a name that differs from it in case alone is taken, and would be the same file on other systems",
    )
}

impl Shared {
    /// What `path` leads to.
    pub(super) async fn resolve(&self, path: &VPath) -> FsResult<Node> {
        let (Some(parent), Some(last)) = (path.parent(), path.file_name()) else {
            return Ok(Node::Root);
        };
        let parent = self.resolve_folder(&parent).await?;
        let Some(last) = last.as_str() else {
            return Err(FsErrorKind::NotFound.into());
        };
        let id = parent.as_ref().map(|folder| &folder.id);
        if let Some(folder) = self.tree.child(id, last).await? {
            return Ok(Node::Folder(folder));
        }
        let folder = parent.ok_or(FsErrorKind::NotFound)?;
        let item = self.find(&folder, last).await?.ok_or(FsErrorKind::NotFound)?;
        Ok(Node::File(folder, item))
    }

    /// A directory; none for the root.
    pub(super) async fn resolve_folder(&self, path: &VPath) -> FsResult<Option<Folder>> {
        let mut folder: Option<Folder> = None;
        for name in path.components() {
            let name = std::str::from_utf8(name).map_err(|_| FsErrorKind::NotFound)?;
            let id = folder.as_ref().map(|folder| &folder.id);
            match self.tree.child(id, name).await? {
                Some(child) => folder = Some(child),
                None => {
                    let file = match &folder {
                        Some(folder) => self.find(folder, name).await?,
                        None => None,
                    };
                    let kind = if file.is_some() {
                        FsErrorKind::NotDir
                    } else {
                        FsErrorKind::NotFound
                    };
                    return Err(kind.into());
                }
            }
        }
        Ok(folder)
    }

    /// A place where something new may be: its folder (none for the root) and its name, which is
    /// clean and not taken by a folder or file.
    pub(super) async fn vacant(&self, path: &VPath) -> FsResult<(Option<Folder>, String)> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(FsErrorKind::Exists.into());
        };
        let folder = self.resolve_folder(&parent).await?;
        let name = name.as_str().unwrap_or_default();
        check_clean(name)?;
        let id = folder.as_ref().map(|folder| &folder.id);
        let children = self.tree.children(id, Need::Fresh).await?;
        if let Some((shown, _)) = children.iter().find(|(shown, _)| fold(shown) == fold(name)) {
            return Err(taken(name, shown));
        }
        if let Some(folder) = &folder {
            self.view(folder, Need::Fresh).await?;
            if let Some(shown) = self.alike(folder, name).await? {
                return Err(taken(name, &shown));
            }
        }
        Ok((folder, name.to_owned()))
    }

    pub(super) async fn make_dir(&self, path: &VPath) -> FsResult<()> {
        let (parent, name) = self.vacant(path).await?;
        let parent = parent.as_ref().map(|folder| &folder.id);
        let made = self.store.create_folder(parent, &name).await;
        self.tree.forget();
        made.map(drop)
    }

    pub(super) async fn rename_folder(&self, from: &VPath, folder: &Folder, to: &VPath) -> FsResult<()> {
        if matches!(folder.kind, FolderKind::Inbox | FolderKind::WellKnown) {
            return Err(
                FsError::new(FsErrorKind::Refused).context("the mailbox needs this folder under its name")
            );
        }
        if from == to {
            return Ok(());
        }
        if to.starts_with(from) {
            return Err(FsError::new(FsErrorKind::Conflict).context("a folder cannot be moved into itself"));
        }
        let (parent, name) = self.vacant(to).await?;
        let parent = parent.as_ref().map(|folder| &folder.id);
        let renamed = self.store.rename_folder(&folder.id, parent, &name).await;
        self.tree.forget();
        for (old, new) in renamed? {
            self.views.renamed(&old, &new).await?;
        }
        Ok(())
    }
}
