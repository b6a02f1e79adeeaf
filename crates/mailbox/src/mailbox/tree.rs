//! Folders by path, and what changes them.

use std::{collections::HashMap, sync::Arc, time::Instant};

use parking_lot::Mutex;
use portreeve_model::{Name, VPath};
use portreeve_vfs::{FsError, FsErrorKind, FsResult};

use super::{
    Shared,
    items::Item,
    outbox::{OUTBOX, Waiting},
    view::Need,
};
use crate::{
    Folder, FolderId, FolderKind, MailStore,
    address::is_address,
    name::{BaseName, fold, is_clean},
};

/// Folders of which the children are held.
pub(super) const MAX_HELD: usize = 1024;

/// The children of a folder under the names they are shown by.
pub(super) type Children = Arc<Vec<(String, Folder)>>;

/// What is known of the tree.
pub(super) struct Tree {
    store: Arc<dyn MailStore>,
    held: Mutex<HashMap<Option<FolderId>, (Instant, Children)>>,
}

/// A directory.
pub(super) enum Dir {
    Root,
    /// A mail folder; one that only leads to folders that are shown is a `Container` here.
    Folder(Folder),
    /// A message, where each is a directory.
    Message(Folder, Item),
    /// Where uploads are sent from.
    Outbox,
    /// What waits to be sent to this address.
    Recipient(String),
}

/// What a path leads to.
pub(super) enum Node {
    Dir(Dir),
    File(Folder, Item),
    Waiting(Waiting),
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

    /// Makes what is held so old that nobody believes it.
    #[cfg(test)]
    pub(super) fn age(&self) {
        for (since, _) in self.held.lock().values_mut() {
            *since = since
                .checked_sub(std::time::Duration::from_hours(2))
                .unwrap_or(*since);
        }
    }

    /// The folder that `path` led to when it was last looked at, where that was too long ago to be believed.
    fn before(&self, path: &VPath) -> Option<FolderId> {
        let held = self.held.lock();
        let (mut folder, mut stale) = (None, false);
        for name in path.components() {
            let (since, children) = held.get(&folder)?;
            stale |= !Need::Cheap.allows(since.elapsed(), self.store.abilities());
            let child = children.iter().find(|(shown, _)| shown.as_bytes() == name);
            folder = Some(child?.1.id.clone());
        }
        folder.filter(|_| stale)
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

/// `path` with `name` below it.
pub(super) fn below(path: &VPath, name: &str) -> FsResult<VPath> {
    let joined = Name::new(name.as_bytes()).and_then(|name| path.join(&name));
    joined.map_err(|_| FsErrorKind::NotFound.into())
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
            return Ok(Node::Dir(Dir::Root));
        };
        let dir = self.resolve_dir(&parent).await?;
        let last = last.as_str().ok_or(FsErrorKind::NotFound)?;
        let found = self.below(dir, &parent, last).await?;
        found.ok_or_else(|| FsErrorKind::NotFound.into())
    }

    /// The directory that `path` leads to.
    pub(super) async fn resolve_dir(&self, path: &VPath) -> FsResult<Dir> {
        // A store that is far away looks at folders and messages in one go, if it is told which. A guess
        // that was wrong, or a look that fails, shows in what follows.
        if let Some(before) = self.tree.before(path) {
            let _ = self.store.look(Some(&before)).await;
        }
        let (mut dir, mut at) = (Dir::Root, VPath::root());
        for name in path.components() {
            let text = std::str::from_utf8(name).map_err(|_| FsErrorKind::NotFound)?;
            match self.below(dir, &at, text).await? {
                Some(Node::Dir(next)) => dir = next,
                Some(Node::File(..) | Node::Waiting(_)) => return Err(FsErrorKind::NotDir.into()),
                None => return Err(FsErrorKind::NotFound.into()),
            }
            at = below(&at, text)?;
        }
        Ok(dir)
    }

    /// What `dir`, which is at `path`, has of the name; asks again before it says no.
    async fn below(&self, dir: Dir, path: &VPath, name: &str) -> FsResult<Option<Node>> {
        let folder = match dir {
            Dir::Root if self.outbox.is_some() && name == OUTBOX => return Ok(Some(Node::Dir(Dir::Outbox))),
            Dir::Root if self.is_outbox(name) => return Ok(None),
            Dir::Outbox => return self.below_outbox(None, name).await,
            Dir::Recipient(to) => return self.below_outbox(Some(&to), name).await,
            Dir::Root => None,
            Dir::Folder(folder) => Some(folder),
            Dir::Message(folder, item) => {
                let found = self.find_inside(&folder, &item, name).await?;
                return Ok(found.map(|found| Node::File(folder, found)));
            }
        };
        let id = folder.as_ref().map(|folder| &folder.id);
        if let Some(child) = self.tree.child(id, name).await?
            && let Some(child) = self.filtered(child, &below(path, name)?).await?
        {
            return Ok(Some(Node::Dir(Dir::Folder(child))));
        }
        let Some(folder) = folder else {
            return Ok(None);
        };
        let found = self.find(&folder, name).await?;
        Ok(found.map(|item| {
            if item.is_message() {
                Node::Dir(Dir::Message(folder, item))
            } else {
                Node::File(folder, item)
            }
        }))
    }

    /// A folder by its path, whatever is shown; none for the root.
    pub(super) async fn folder_unfiltered(&self, path: &VPath) -> FsResult<Option<Folder>> {
        let mut folder: Option<Folder> = None;
        for name in path.components() {
            let name = std::str::from_utf8(name).map_err(|_| FsErrorKind::NotFound)?;
            let id = folder.as_ref().map(|folder| &folder.id);
            let child = self.tree.child(id, name).await?;
            folder = Some(child.ok_or(FsErrorKind::NotFound)?);
        }
        Ok(folder)
    }

    /// A place where something new may be: its folder (none for the root) and its name, which is
    /// clean and not taken by a folder or file.
    pub(super) async fn vacant(&self, path: &VPath) -> FsResult<(Option<Folder>, String)> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(FsErrorKind::Exists.into());
        };
        let folder = match self.resolve_dir(&parent).await? {
            Dir::Root => None,
            Dir::Folder(folder) => Some(folder),
            Dir::Outbox | Dir::Recipient(_) => {
                return Err(FsError::new(FsErrorKind::Refused)
                    .context("the Outbox holds what is uploaded to be sent, and nothing else"));
            }
            Dir::Message(..) => {
                return Err(FsError::new(FsErrorKind::Refused)
                    .context("the directory of a message holds what came with it, and takes nothing more"));
            }
        };
        let name = name.as_str().unwrap_or_default();
        check_clean(name)?;
        if folder.is_none() && self.is_outbox(name) {
            return Err(taken(name, OUTBOX));
        }
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
        if let Some(parent) = path.parent()
            && let Ok(Dir::Outbox) = self.resolve_dir(&parent).await
        {
            let name = path.file_name();
            let name = name.as_ref().and_then(Name::as_str).unwrap_or_default();
            // Every address is a directory already; saying so would make clients give up.
            return if is_address(name) {
                Ok(())
            } else {
                Err(FsError::new(FsErrorKind::InvalidName)
                    .context("a directory of the Outbox is the address of one recipient"))
            };
        }
        let (parent, name) = self.vacant(path).await?;
        self.check_shown(path)?;
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
        self.check_shown(from)?;
        self.check_shown(to)?;
        self.check_all_shown(folder, from).await?;
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
