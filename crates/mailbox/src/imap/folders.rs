//! Folders: LIST (RFC 3501 §7.2.2, RFC 6154) as a tree. Pure.
//!
//! Invariants: a folder's id is its mailbox name on the wire, wherever it is shown; levels that exist only in names
//! are containers; a name that cannot be said back to the server is left out; a new folder is shown where it was
//! made, or is not made.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    namespace::Home,
    wire::{Data, Value},
};
use crate::{Folder, FolderId, FolderKind, name::fold, utf7};

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
    home: Home,
    /// What stands between the levels of most names.
    delimiter: Option<char>,
    /// The folders of which that is another one.
    otherwise: BTreeMap<FolderId, Option<char>>,
    drafts: Option<FolderId>,
    trash: Option<FolderId>,
}

/// What is known of one name.
#[derive(Clone, Copy)]
struct Seen {
    /// None: a level that was not listed itself.
    kind: Option<FolderKind>,
    delimiter: Option<char>,
}

impl Tree {
    /// Of what LIST told. What is not the account's own stands beside that under its whole name.
    pub(super) fn new(listed: &[Listed], home: Home, given: &Given) -> Self {
        let mut tree = Self {
            delimiter: home
                .delimiter()
                .or_else(|| listed.iter().find_map(|folder| folder.delimiter)),
            home,
            ..Self::default()
        };
        let told = listed.iter().any(|folder| folder.special.is_some());
        let mut seen: BTreeMap<String, Seen> = BTreeMap::new();
        for folder in listed.iter().take(MAX_FOLDERS) {
            let special = folder.special.or_else(|| tree.usual(&folder.name, told));
            let kind = if folder.name == "INBOX" {
                FolderKind::Inbox
            } else if !folder.selectable {
                FolderKind::Container
            } else if special.is_some() {
                FolderKind::WellKnown
            } else {
                FolderKind::Ordinary
            };
            // It is the top itself.
            if kind == FolderKind::Container && tree.home.is_root(&folder.name) {
                continue;
            }
            let id = FolderId(folder.name.as_str().into());
            match special {
                Some(Use::Drafts) => tree.drafts = tree.drafts.or(Some(id)),
                Some(Use::Trash) => tree.trash = tree.trash.or(Some(id)),
                _ => {}
            }
            // The levels above it, which may not be listed themselves.
            let delimiter = folder.delimiter;
            if let Some(between) = delimiter {
                let from = tree.home.leads(&folder.name).unwrap_or(0);
                let rest = folder.name.get(from..).unwrap_or_default();
                let ends = rest.match_indices(between).map(|(at, _)| at);
                for end in ends.filter(|end| *end > 0) {
                    if let Some(above) = folder.name.get(..from + end) {
                        seen.entry(above.to_owned()).or_insert(Seen {
                            kind: None,
                            delimiter,
                        });
                    }
                }
            }
            let kind = Some(kind);
            seen.insert(folder.name.clone(), Seen { kind, delimiter });
        }
        for (given, own) in [(&given.drafts, &mut tree.drafts), (&given.trash, &mut tree.trash)] {
            if let Some(name) = given {
                // As the server calls it, or as it is shown.
                let name = utf7::encode(name);
                let at_home = format!("{}{name}", tree.home.prefix());
                let shown = !seen.contains_key(&name) && seen.contains_key(&at_home);
                *own = Some(FolderId(if shown { at_home } else { name }.into()));
            }
        }
        for (wire, seen) in seen {
            tree.add(&wire, seen);
        }
        tree.set_apart();
        tree
    }

    fn add(&mut self, wire: &str, seen: Seen) {
        let kind = seen.kind.unwrap_or(FolderKind::Container);
        let (parent, last) = self.split(wire, seen.delimiter);
        if last.is_empty() {
            return;
        }
        let name = if kind == FolderKind::Inbox {
            "Inbox".to_owned()
        } else {
            utf7::decode(last)
        };
        let id = FolderId(wire.into());
        let kind = match kind {
            FolderKind::Ordinary if self.drafts.as_ref() == Some(&id) || self.trash.as_ref() == Some(&id) => {
                FolderKind::WellKnown
            }
            kind => kind,
        };
        if seen.delimiter != self.delimiter {
            self.otherwise.insert(id.clone(), seen.delimiter);
        }
        let parent = parent.map(|parent| FolderId(parent.into()));
        let folder = Folder { id, name, kind };
        self.children.entry(parent).or_default().push(folder);
    }

    /// At the top, what is not the account's own gives way where it would be called like something that is.
    fn set_apart(&mut self) {
        let home = &self.home;
        let own = |folder: &Folder| folder.kind == FolderKind::Inbox || home.leads(&folder.id.0).is_some();
        let Some(top) = self.children.get_mut(&None).filter(|_| !home.prefix().is_empty()) else {
            return;
        };
        let names: BTreeSet<String> = top
            .iter()
            .filter(|folder| own(folder))
            .map(|folder| fold(&folder.name))
            .collect();
        for folder in top.iter_mut().filter(|folder| !own(folder)) {
            if names.contains(&fold(&folder.name)) {
                folder.name.push_str(" (shared)");
            }
        }
    }

    /// The folder above, none at the top, and the last level of a name.
    fn split<'a>(&self, wire: &'a str, delimiter: Option<char>) -> (Option<&'a str>, &'a str) {
        let from = self.home.leads(wire).unwrap_or(0);
        let rest = wire.get(from..).unwrap_or_default();
        let cut = delimiter.and_then(|delimiter| rest.rsplit_once(delimiter));
        match cut {
            Some((above, last)) if !above.is_empty() => (wire.get(..from + above.len()), last),
            _ => (None, rest),
        }
    }

    fn delimiter_of(&self, folder: &FolderId) -> Option<char> {
        self.otherwise.get(folder).copied().unwrap_or(self.delimiter)
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
        let last = utf7::encode(name);
        let delimiter = parent.map_or(self.delimiter, |parent| self.delimiter_of(parent));
        let wire = match (parent, delimiter) {
            (None, _) => format!("{}{last}", self.home.prefix()),
            (Some(parent), Some(delimiter)) => format!("{}{delimiter}{last}", parent.0),
            (Some(_), None) => return None,
        };
        // What is made has to show up where it was made: below an Inbox that is the way home, it would not.
        let back = self.split(&wire, delimiter) == (parent.map(|parent| &*parent.0), &last);
        (back && !last.is_empty() && wire.len() <= MAX_NAME).then_some(wire)
    }

    /// Every folder at or below `id`.
    pub(super) fn at_or_below(&self, id: &FolderId) -> Vec<FolderId> {
        let delimiter = self.delimiter_of(id).or(self.delimiter);
        let below = delimiter.map(|delimiter| format!("{}{delimiter}", id.0));
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

    /// The use of a folder by its name, where the server tells no uses at all.
    fn usual(&self, wire: &str, told: bool) -> Option<Use> {
        if told {
            return None;
        }
        let below_inbox = wire.strip_prefix("INBOX").and_then(|rest| rest.get(1..));
        let at_home = self.home.leads(wire).and_then(|from| wire.get(from..));
        let name = below_inbox.or(at_home).unwrap_or(wire);
        let found = USUAL.iter().find(|(usual, _)| name.eq_ignore_ascii_case(usual));
        found.map(|(_, special)| *special)
    }
}

/// For the fuzzer: whatever is listed, a folder's name leads back to where it is shown.
pub(super) fn take_apart(listed: &[Listed], home: Home) {
    let tree = Tree::new(listed, home, &Given::default());
    for (parent, folders) in &tree.children {
        for folder in folders {
            assert!(tree.at_or_below(&folder.id).contains(&folder.id));
            if let Some(wire) = tree.wire(parent.as_ref(), "x") {
                let delimiter = parent
                    .as_ref()
                    .map_or(tree.delimiter, |parent| tree.delimiter_of(parent));
                let above = parent.as_ref().map(|parent| &*parent.0);
                assert_eq!(tree.split(&wire, delimiter), (above, "x"));
            }
        }
    }
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
            Home::default(),
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
        let tree = Tree::new(&listed(&lines), Home::default(), &Given::default());
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
            Tree::new(&listed(&lines), Home::default(), &given).drafts(),
            Some(&"Entw&APw-rfe".into())
        );
        // A server without levels.
        let flat = Tree::new(&listed(&["() NIL a/b"]), Home::default(), &Given::default());
        assert_eq!(flat.wire(Some(&"a".into()), "b"), None);
        assert_eq!(shown(&flat, None).len(), 1);
    }

    fn home(text: &str) -> Home {
        let line = format!("* NAMESPACE {text}\r\n");
        match Response::parse(&Bytes::from(line)) {
            Ok(Response::Data(data)) => Home::read(&data).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    /// Courier, Cyrus: all of one's own below the Inbox's name, and others' beside it.
    #[test]
    fn own_folders_are_shown_without_the_way_to_them() {
        use FolderKind::{Container, Inbox, Ordinary, WellKnown};
        let cyrus = home(r#"(("INBOX." ".")) (("user." ".")) (("" "."))"#);
        let lines = [
            r#"() "." INBOX"#,
            r#"(\Noselect) "." "INBOX.""#,
            r#"() "." INBOX.Drafts"#,
            r#"() "." INBOX.Lists.dev"#,
            r#"() "." inbox.low"#,
            // Called like the Inbox, like a shared one, like somebody's.
            r#"() "." INBOX.Inbox"#,
            r#"() "." INBOX.News"#,
            r#"() "." news"#,
            r#"() "." user.bob.Work"#,
            // Another delimiter, and none.
            r##"() "/" "#mh/x""##,
            r#"() NIL INBOX.flat"#,
        ];
        let given = Given {
            drafts: None,
            trash: Some("low".into()),
        };
        let tree = Tree::new(&listed(&lines), cyrus, &given);
        let name = |text: &str| text.to_owned();
        assert_eq!(
            shown(&tree, None),
            [
                (name("#mh"), Container),
                (name("Inbox"), Inbox),
                (name("Drafts"), WellKnown),
                (name("Inbox"), Ordinary),
                (name("Lists"), Container),
                (name("News"), Ordinary),
                (name("flat"), Ordinary),
                (name("low"), Ordinary),
                (name("news (shared)"), Ordinary),
                (name("user"), Container),
            ]
        );
        assert!(shown(&tree, Some("INBOX")).is_empty());
        assert_eq!(shown(&tree, Some("INBOX.Lists")), [(name("dev"), Ordinary)]);
        assert_eq!(shown(&tree, Some("user.bob")), [(name("Work"), Ordinary)]);
        assert_eq!(shown(&tree, Some("#mh")), [(name("x"), Ordinary)]);
        let wire = |parent: Option<&str>, name: &str| tree.wire(parent.map(FolderId::from).as_ref(), name);
        assert_eq!(wire(None, "New").as_deref(), Some("INBOX.New"));
        assert_eq!(wire(Some("INBOX.Lists"), "x").as_deref(), Some("INBOX.Lists.x"));
        assert_eq!(wire(Some("#mh/x"), "a.b").as_deref(), Some("#mh/x/a.b"));
        for (parent, name) in [
            // It would be shown at the top.
            (Some("INBOX"), "x"),
            (None, "a.b"),
            (None, ""),
            (Some("INBOX.flat"), "x"),
            (Some("#mh"), "a/b"),
        ] {
            assert_eq!(wire(parent, name), None, "{parent:?} {name}");
        }
        assert_eq!(tree.at_or_below(&"user".into()).len(), 3);
    }

    /// A mailbox may be the level itself, where it holds messages.
    #[test]
    fn the_way_home_is_shown_only_where_it_holds_messages() {
        let mail = r#"(("mail/" "/")) NIL NIL"#;
        let names = |first: &str| {
            let lines = [first, r#"() "/" mail/a"#, r#"() NIL INBOX"#];
            let tree = Tree::new(&listed(&lines), home(mail), &Given::default());
            shown(&tree, None)
                .into_iter()
                .map(|(name, _)| name)
                .collect::<Vec<_>>()
        };
        assert_eq!(names(r#"(\Noselect) "/" mail"#), ["Inbox", "a"]);
        assert_eq!(names(r#"() "/" mail"#), ["Inbox", "mail", "a"]);
        // A prefix that ends within a level: as it is listed.
        let tree = Tree::new(
            &listed(&[r#"() "/" ~al/a"#]),
            home(r#"(("~al" "/"))"#),
            &Given::default(),
        );
        assert_eq!(shown(&tree, None).len(), 1);
        assert_eq!(shown(&tree, Some("~al"))[0].0, "a");
    }

    #[test]
    fn a_given_folder_may_be_written_as_it_is_shown() {
        for name in ["Papierkorb", "INBOX.Papierkorb"] {
            let given = Given {
                drafts: None,
                trash: Some(name.into()),
            };
            let lines = [r#"() "." INBOX"#, r#"() "." INBOX.Papierkorb"#];
            let tree = Tree::new(&listed(&lines), home(r#"(("INBOX." "."))"#), &given);
            assert_eq!(tree.trash(), Some(&"INBOX.Papierkorb".into()), "{name}");
        }
    }
}
