//! The folders of a mailbox as a tree, kept up by what delta queries tell.
//!
//! Invariants: pure; only what hangs on the mailbox's visible root is seen, so search folders, hidden
//! folders and whatever lies below them never are; bounded.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use portreeve_vfs::{FsError, FsErrorKind, FsResult};

use super::wire::FolderItem;
use crate::{Folder, FolderId, FolderKind};

/// Folders held of one mailbox.
const MAX_FOLDERS: usize = 50_000;

/// The well-known names that a mailbox is asked for at the start, 20 at most (one batch): those that mean
/// something to us, and those that Exchange protects.
pub(super) const WELL_KNOWN: [&str; 17] = [
    "msgfolderroot",
    "inbox",
    "drafts",
    "sentitems",
    "deleteditems",
    "outbox",
    "junkemail",
    "archive",
    "conversationhistory",
    "clutter",
    "scheduled",
    "syncissues",
    "conflicts",
    "localfailures",
    "serverfailures",
    "searchfolders",
    "recoverableitemsdeletions",
];

/// The folders.
#[derive(Debug, Clone, Default)]
pub(super) struct Tree {
    root: FolderIdText,
    known: HashMap<&'static str, FolderIdText>,
    nodes: HashMap<FolderIdText, Node>,
    below: HashMap<FolderIdText, BTreeSet<FolderIdText>>,
}

type FolderIdText = Arc<str>;

#[derive(Debug, Clone, PartialEq, Eq)]
struct Node {
    name: String,
    parent: FolderIdText,
    /// Hidden, or a search folder.
    hidden: bool,
}

impl Tree {
    /// A mailbox whose well-known folders are these (name and id).
    pub(super) fn new(known: HashMap<&'static str, Arc<str>>) -> Self {
        Self {
            root: known.get("msgfolderroot").cloned().unwrap_or_default(),
            known,
            ..Self::default()
        }
    }

    /// The id of a well-known folder, where the mailbox has it.
    pub(super) fn well_known(&self, name: &str) -> Option<FolderId> {
        self.known.get(name).cloned().map(FolderId)
    }

    /// Takes in what a delta says of one folder. What it does not say stays as it is.
    pub(super) fn apply(&mut self, item: &FolderItem) -> FsResult<()> {
        if *item.id == *self.root {
            return Ok(());
        }
        let id: FolderIdText = (*item.id).into();
        let before = self.nodes.get(&id).cloned();
        if item.removed.is_some() {
            self.remove(&id);
            return Ok(());
        }
        let parent = match (&item.parent_folder_id, &before) {
            (Some(parent), _) => (**parent).into(),
            (None, Some(before)) => Arc::clone(&before.parent),
            // A folder from nowhere cannot be shown.
            (None, None) => return Ok(()),
        };
        let known = before.as_ref().map(|node| (node.name.clone(), node.hidden));
        let (name, hidden) = known.unwrap_or_default();
        let node = Node {
            name: item.display_name.clone().unwrap_or(name),
            parent,
            hidden: item.is_search() || item.is_hidden.unwrap_or(hidden),
        };
        if before.is_none() && self.nodes.len() >= MAX_FOLDERS {
            return Err(FsError::new(FsErrorKind::TooLarge).context(format!(
                "the mailbox has more than {MAX_FOLDERS} folders, and is not shown"
            )));
        }
        self.remove(&id);
        self.below
            .entry(Arc::clone(&node.parent))
            .or_default()
            .insert(Arc::clone(&id));
        self.nodes.insert(id, node);
        Ok(())
    }

    /// Takes a folder out; what lies below it is out of reach with it.
    pub(super) fn remove(&mut self, id: &str) {
        let Some(node) = self.nodes.remove(id) else {
            return;
        };
        if let Some(siblings) = self.below.get_mut(&node.parent) {
            siblings.remove(id);
            if siblings.is_empty() {
                self.below.remove(&node.parent);
            }
        }
    }

    /// The folders directly below `parent`, or at the top.
    pub(super) fn children(&self, parent: Option<&FolderId>) -> Vec<Folder> {
        let parent = parent.map_or(&self.root, |folder| &folder.0);
        let ids = self.below.get(parent).into_iter().flatten();
        ids.filter_map(|id| self.folder(id)).collect()
    }

    /// A folder that is shown, its ancestors not asked.
    fn folder(&self, id: &FolderIdText) -> Option<Folder> {
        let node = self.nodes.get(id).filter(|node| !node.hidden)?;
        Some(Folder {
            id: FolderId(Arc::clone(id)),
            name: node.name.clone(),
            kind: self.kind(id),
        })
    }

    /// What a folder is.
    pub(super) fn kind(&self, id: &str) -> FolderKind {
        let name = self
            .known
            .iter()
            .find(|(_, known)| ***known == *id)
            .map(|(name, _)| *name);
        match name {
            Some("inbox") => FolderKind::Inbox,
            Some(_) => FolderKind::WellKnown,
            None => FolderKind::Ordinary,
        }
    }

    /// Whether it is there, however hidden.
    pub(super) fn contains(&self, id: &str) -> bool {
        self.nodes.contains_key(id)
    }

    /// Name and parent of a folder; no parent for one at the top.
    pub(super) fn place(&self, id: &FolderId) -> Option<(String, Option<FolderId>)> {
        let node = self.nodes.get(&id.0)?;
        let parent = (node.parent != self.root).then(|| FolderId(Arc::clone(&node.parent)));
        Some((node.name.clone(), parent))
    }

    /// A folder was made or moved by us: seen at once, whatever the next delta is late to tell.
    pub(super) fn put(&mut self, id: &FolderId, name: &str, parent: Option<&FolderId>) {
        self.remove(&id.0);
        let parent = parent.map_or_else(|| Arc::clone(&self.root), |parent| Arc::clone(&parent.0));
        self.below
            .entry(Arc::clone(&parent))
            .or_default()
            .insert(Arc::clone(&id.0));
        let node = Node {
            name: name.to_owned(),
            parent,
            hidden: false,
        };
        self.nodes.insert(Arc::clone(&id.0), node);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, from_value, json};

    use super::*;

    fn tree(items: &[Value]) -> Tree {
        let mut tree = Tree::new(
            [
                ("msgfolderroot", "root".into()),
                ("inbox", "in".into()),
                ("drafts", "dr".into()),
            ]
            .into(),
        );
        apply(&mut tree, items);
        tree
    }

    fn apply(tree: &mut Tree, items: &[Value]) {
        for item in items {
            tree.apply(&from_value(item.clone()).unwrap()).unwrap();
        }
    }

    fn names(tree: &Tree, parent: Option<&str>) -> Vec<String> {
        let parent = parent.map(FolderId::from);
        tree.children(parent.as_ref())
            .into_iter()
            .map(|folder| folder.name)
            .collect()
    }

    #[test]
    fn shows_what_hangs_on_the_root_and_nothing_else() {
        let search = "#microsoft.graph.mailSearchFolder";
        let tree = tree(&[
            json!({"id": "root", "displayName": "Top of Information Store", "parentFolderId": "deep"}),
            // A child may be told of before its parent.
            json!({"id": "b", "displayName": "B", "parentFolderId": "in"}),
            json!({"id": "in", "displayName": "Posteingang", "parentFolderId": "root"}),
            json!({"id": "h", "displayName": "Hidden", "parentFolderId": "root", "isHidden": true}),
            json!({"id": "hb", "displayName": "Below hidden", "parentFolderId": "h"}),
            json!({"id": "s", "displayName": "Found", "parentFolderId": "root", "@odata.type": search}),
            json!({"id": "x", "displayName": "Elsewhere", "parentFolderId": "nowhere"}),
        ]);
        assert_eq!(names(&tree, None), ["Posteingang"]);
        assert_eq!(names(&tree, Some("in")), ["B"]);
        assert_eq!(tree.kind("in"), FolderKind::Inbox);
        assert_eq!(tree.kind("dr"), FolderKind::WellKnown);
        assert_eq!(tree.kind("b"), FolderKind::Ordinary);
    }

    #[test]
    fn deltas_rename_move_hide_and_remove() {
        let mut tree = tree(&[
            json!({"id": "a", "displayName": "A", "parentFolderId": "root"}),
            json!({"id": "b", "displayName": "B", "parentFolderId": "a"}),
        ]);
        apply(&mut tree, &[json!({"id": "b", "displayName": "B2"})]);
        assert_eq!(names(&tree, Some("a")), ["B2"]);
        apply(&mut tree, &[json!({"id": "b", "parentFolderId": "root"})]);
        assert_eq!(
            (names(&tree, None), names(&tree, Some("a")).len()),
            (vec!["A".into(), "B2".into()], 0)
        );
        apply(&mut tree, &[json!({"id": "b", "isHidden": true})]);
        assert_eq!(names(&tree, None), ["A"]);
        apply(
            &mut tree,
            &[
                json!({"id": "b", "isHidden": false}),
                json!({"id": "a", "@removed": {"reason": "deleted"}}),
            ],
        );
        assert_eq!(names(&tree, None), ["B2"]);
        assert!(!tree.contains("a"));
    }

    #[test]
    fn what_we_made_is_seen_at_once_and_told_twice_is_there_once() {
        let mut tree = tree(&[]);
        tree.put(&"n".into(), "New", None);
        apply(
            &mut tree,
            &[json!({"id": "n", "displayName": "New", "parentFolderId": "root"})],
        );
        assert_eq!(names(&tree, None), ["New"]);
        assert_eq!(tree.place(&"n".into()), Some(("New".into(), None)));
    }

    #[test]
    fn folders_are_bounded() {
        let mut tree = tree(&[]);
        let item =
            |n: usize| from_value(json!({"id": n.to_string(), "displayName": "x", "parentFolderId": "root"}));
        for n in 0..MAX_FOLDERS {
            tree.apply(&item(n).unwrap()).unwrap();
        }
        let refused = tree.apply(&item(MAX_FOLDERS).unwrap()).unwrap_err();
        assert_eq!(refused.kind(), FsErrorKind::TooLarge);
    }
}
