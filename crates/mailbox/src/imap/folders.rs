//! Folders: LIST (RFC 3501 §7.2.2, RFC 6154) as a tree. Pure.
//!
//! Invariants: a folder's id is its mailbox name on the wire; levels that exist only in names are containers;
//! a name that cannot be said back to the server is left out.

use std::collections::BTreeMap;

use super::wire::{Data, Value};
use crate::{Folder, FolderId, FolderKind, utf7};

/// Most folders of a mailbox that are held.
pub(super) const MAX_FOLDERS: usize = 20_000;
/// Longest mailbox name on the wire, in bytes.
const MAX_NAME: usize = 4_000;

/// What a server uses a folder for (RFC 6154).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// Drafts.
    Drafts,
    /// Deleted messages.
    Trash,
    /// Sent ones, junk, an archive: protected, nothing else.
    Other,
}

/// One line of LIST.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listed {
    /// The name on the wire.
    pub(super) name: String,
    /// What stands between the levels of a name; none where there are no levels.
    pub(super) delimiter: Option<char>,
    /// Whether it holds messages.
    pub(super) selectable: bool,
    /// Its use, where the server tells.
    pub(super) special: Option<Use>,
}

impl Listed {
    /// Reads a LIST response; none for anything else.
    pub(super) fn read(data: &Data) -> Option<Self> {
        if data.name != "LIST" {
            return None;
        }
        let [flags, delimiter, name, ..] = &data.values[..] else {
            return None;
        };
        let has = |flag: &str| flags.list().unwrap_or_default().iter().any(|own| own.is(flag));
        // A mailbox may be called NIL.
        let name = match name {
            Value::Nil => "NIL".to_owned(),
            other => String::from_utf8(other.bytes()?.to_vec()).ok()?,
        };
        if name.is_empty() || name.len() > MAX_NAME || name.chars().any(char::is_control) {
            return None;
        }
        let name = if name.eq_ignore_ascii_case("INBOX") {
            "INBOX".to_owned()
        } else {
            name
        };
        let special = if has("\\Drafts") {
            Some(Use::Drafts)
        } else if has("\\Trash") {
            Some(Use::Trash)
        } else if ["\\Sent", "\\Junk", "\\Archive", "\\All"].into_iter().any(has) {
            Some(Use::Other)
        } else {
            None
        };
        Some(Self {
            name,
            delimiter: delimiter.text().and_then(|text| text.chars().next()),
            selectable: !has("\\Noselect") && !has("\\NonExistent"),
            special,
        })
    }
}

/// Names that servers without RFC 6154 give to folders of a use, compared without case.
const USUAL: &[(&str, Use)] = &[
    ("Drafts", Use::Drafts),
    ("Trash", Use::Trash),
    ("Deleted Items", Use::Trash),
    ("Deleted Messages", Use::Trash),
    ("Sent", Use::Other),
    ("Sent Items", Use::Other),
    ("Sent Messages", Use::Other),
    ("Junk", Use::Other),
    ("Junk Email", Use::Other),
    ("Junk E-mail", Use::Other),
    ("Spam", Use::Other),
    ("Archive", Use::Other),
    ("Outbox", Use::Other),
];

/// Names of folders that an administrator gave, in place of the server's word.
#[derive(Debug, Clone, Default)]
pub(super) struct Given {
    /// Where drafts lie.
    pub(super) drafts: Option<String>,
    /// Where deleted messages lie.
    pub(super) trash: Option<String>,
}

/// All folders.
#[derive(Debug, Clone, Default)]
pub(super) struct Tree {
    children: BTreeMap<Option<FolderId>, Vec<Folder>>,
    delimiter: Option<char>,
    drafts: Option<FolderId>,
    trash: Option<FolderId>,
}

impl Tree {
    /// Of what LIST told.
    pub(super) fn new(listed: &[Listed], given: &Given) -> Self {
        let mut tree = Self {
            delimiter: listed.iter().find_map(|folder| folder.delimiter),
            ..Self::default()
        };
        let told = listed.iter().any(|folder| folder.special.is_some());
        let mut seen: BTreeMap<String, Option<FolderKind>> = BTreeMap::new();
        for folder in listed.iter().take(MAX_FOLDERS) {
            let special = folder.special.or_else(|| usual(&folder.name, told));
            let kind = if folder.name == "INBOX" {
                FolderKind::Inbox
            } else if !folder.selectable {
                FolderKind::Container
            } else if special.is_some() {
                FolderKind::WellKnown
            } else {
                FolderKind::Ordinary
            };
            let id = FolderId(folder.name.as_str().into());
            match special {
                Some(Use::Drafts) => tree.drafts = tree.drafts.or(Some(id)),
                Some(Use::Trash) => tree.trash = tree.trash.or(Some(id)),
                _ => {}
            }
            // The levels above it, which may not be listed themselves.
            if let Some(delimiter) = tree.delimiter {
                let ends = folder.name.match_indices(delimiter).map(|(at, _)| at);
                for end in ends.filter(|end| *end > 0) {
                    if let Some(above) = folder.name.get(..end) {
                        seen.entry(above.to_owned()).or_insert(None);
                    }
                }
            }
            seen.insert(folder.name.clone(), Some(kind));
        }
        for (given, own) in [(&given.drafts, &mut tree.drafts), (&given.trash, &mut tree.trash)] {
            if let Some(name) = given {
                *own = Some(FolderId(utf7::encode(name).into()));
            }
        }
        for (wire, kind) in seen {
            let kind = kind.unwrap_or(FolderKind::Container);
            let (parent, last) = tree.split(&wire);
            let name = if kind == FolderKind::Inbox {
                "Inbox".to_owned()
            } else {
                utf7::decode(last)
            };
            let id = FolderId(wire.as_str().into());
            let kind = match kind {
                FolderKind::Ordinary
                    if tree.drafts.as_ref() == Some(&id) || tree.trash.as_ref() == Some(&id) =>
                {
                    FolderKind::WellKnown
                }
                kind => kind,
            };
            if last.is_empty() {
                continue;
            }
            let parent = parent.map(|parent| FolderId(parent.into()));
            tree.children
                .entry(parent)
                .or_default()
                .push(Folder { id, name, kind });
        }
        tree
    }

    fn split<'a>(&self, wire: &'a str) -> (Option<&'a str>, &'a str) {
        let cut = self.delimiter.and_then(|delimiter| wire.rsplit_once(delimiter));
        match cut {
            Some((parent, last)) if !parent.is_empty() => (Some(parent), last),
            _ => (None, wire),
        }
    }

    /// The folders below `parent`, or at the top.
    pub(super) fn below(&self, parent: Option<&FolderId>) -> &[Folder] {
        let found = self.children.get(&parent.cloned());
        found.map(Vec::as_slice).unwrap_or_default()
    }

    /// One folder.
    pub(super) fn find(&self, id: &FolderId) -> Option<&Folder> {
        self.children.values().flatten().find(|folder| folder.id == *id)
    }

    /// The name on the wire of a folder called `name` below `parent`; none where such a name cannot be.
    pub(super) fn wire(&self, parent: Option<&FolderId>, name: &str) -> Option<String> {
        let name = utf7::encode(name);
        let delimiter = self.delimiter;
        if name.is_empty() || delimiter.is_some_and(|delimiter| name.contains(delimiter)) {
            return None;
        }
        let wire = match (parent, delimiter) {
            (None, _) => name,
            (Some(parent), Some(delimiter)) => format!("{}{delimiter}{name}", parent.0),
            (Some(_), None) => return None,
        };
        (wire.len() <= MAX_NAME).then_some(wire)
    }

    /// Every folder at or below `id`.
    pub(super) fn at_or_below(&self, id: &FolderId) -> Vec<FolderId> {
        let below = self.delimiter.map(|delimiter| format!("{}{delimiter}", id.0));
        let all = self.children.values().flatten().map(|folder| &folder.id);
        let within = all.filter(|one| {
            *one == id
                || below
                    .as_ref()
                    .is_some_and(|below| one.0.starts_with(below.as_str()))
        });
        within.cloned().collect()
    }

    /// Where drafts lie.
    #[cfg(test)]
    pub(super) const fn drafts(&self) -> Option<&FolderId> {
        self.drafts.as_ref()
    }

    /// Where deleted messages lie.
    #[cfg(test)]
    pub(super) const fn trash(&self) -> Option<&FolderId> {
        self.trash.as_ref()
    }
}

/// The use of a folder by its name, where the server tells no uses at all.
fn usual(wire: &str, told: bool) -> Option<Use> {
    if told {
        return None;
    }
    let below_inbox = wire.strip_prefix("INBOX").and_then(|rest| rest.get(1..));
    let name = below_inbox.unwrap_or(wire);
    let found = USUAL.iter().find(|(usual, _)| name.eq_ignore_ascii_case(usual));
    found.map(|(_, special)| *special)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::imap::wire::Response;

    fn listed(lines: &[&str]) -> Vec<Listed> {
        let lines = lines.iter().map(|line| format!("* LIST {line}\r\n"));
        let parsed = lines.map(|line| Response::parse(&Bytes::from(line)).unwrap());
        parsed
            .filter_map(|response| match response {
                Response::Data(data) => Listed::read(&data),
                _ => None,
            })
            .collect()
    }

    fn shown(tree: &Tree, parent: Option<&str>) -> Vec<(String, FolderKind)> {
        let parent = parent.map(FolderId::from);
        let below = tree.below(parent.as_ref()).iter();
        below.map(|folder| (folder.name.clone(), folder.kind)).collect()
    }

    #[test]
    fn makes_a_tree() {
        use FolderKind::{Container, Inbox, Ordinary, WellKnown};
        let tree = Tree::new(
            &listed(&[
                r#"(\HasNoChildren) "/" inbox"#,
                r#"(\HasChildren \Noselect) "/" "Lists""#,
                r#"() "/" "Lists/R&-D &APw-""#,
                r#"() "/" "a/b/c""#,
                r#"(\Drafts) "/" Entw&APw-rfe"#,
                r#"() "/" Trash"#,
                r#"() "/" {3}
x y"#
                    .replace('\n', "\r\n")
                    .as_str(),
                "() \"/\" {2}\r\n\u{1}x",
                r#"() "/" """#,
            ]),
            &Given::default(),
        );
        let name = |text: &str| text.to_owned();
        assert_eq!(
            shown(&tree, None),
            [
                (name("Entw\u{fc}rfe"), WellKnown),
                (name("Inbox"), Inbox),
                (name("Lists"), Container),
                // Since the server tells uses, names mean nothing.
                (name("Trash"), Ordinary),
                (name("a"), Container),
                (name("x y"), Ordinary),
            ]
        );
        assert_eq!(shown(&tree, Some("Lists")), [(name("R&D \u{fc}"), Ordinary)]);
        assert_eq!(shown(&tree, Some("a")), [(name("b"), Container)]);
        assert_eq!(
            tree.at_or_below(&"a".into()),
            ["a".into(), "a/b".into(), "a/b/c".into()]
        );
        assert_eq!(tree.drafts(), Some(&"Entw&APw-rfe".into()));
        assert_eq!(tree.wire(Some(&"a".into()), "\u{fc}").as_deref(), Some("a/&APw-"));
        assert_eq!(tree.wire(None, "a/b"), None);
    }

    #[test]
    fn knows_the_usual_names_where_uses_are_not_told() {
        let lines = [
            r#"() "." INBOX"#,
            r#"() "." "INBOX.Drafts""#,
            r#"() "." "deleted items""#,
        ];
        let tree = Tree::new(&listed(&lines), &Given::default());
        assert_eq!(tree.drafts(), Some(&"INBOX.Drafts".into()));
        assert_eq!(tree.trash(), Some(&"deleted items".into()));
        assert_eq!(
            shown(&tree, Some("INBOX")),
            [("Drafts".to_owned(), FolderKind::WellKnown)]
        );
        let given = Given {
            drafts: Some("Entw\u{fc}rfe".into()),
            trash: None,
        };
        assert_eq!(
            Tree::new(&listed(&lines), &given).drafts(),
            Some(&"Entw&APw-rfe".into())
        );
        // A server without levels.
        let flat = Tree::new(&listed(&["() NIL a/b"]), &Given::default());
        assert_eq!(flat.wire(Some(&"a".into()), "b"), None);
        assert_eq!(shown(&flat, None).len(), 1);
    }
}
