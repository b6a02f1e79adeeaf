//! What is known of one folder's messages, and how that is written down.
//!
//! Invariants: pure; a message is whole or not there; each change of what is shown makes a new revision,
//! and no two indexes of a process share one; what does not fit the bound is an error, never left out.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use portreeve_model::{Secret, Timestamp};
use portreeve_vfs::FsResult;
use serde::{Deserialize, Serialize};

use crate::{
    Attachment, AttachmentKind, Change, Message, MessageId, PartId, Person, Summary, store::too_many,
};

/// The key under which the delta link is kept; no id begins like that.
const LINK: &str = "@delta";
/// The key of what the records mean: their form, and what was asked for.
const FORM: &str = "@form";

/// Revisions of all indexes.
static REVISIONS: AtomicU64 = AtomicU64::new(1);

/// A number that nothing else of this process has.
pub(super) fn unique() -> u64 {
    REVISIONS.fetch_add(1, Ordering::Relaxed)
}

/// A message and what tells whether it has changed since.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) message: Arc<Message>,
    /// Graph's `changeKey`; empty where it told none, which fits nothing.
    pub(super) stamp: Box<str>,
}

/// One folder's messages.
#[derive(Debug)]
pub(super) struct Index {
    rows: BTreeMap<MessageId, Known>,
    /// Where the next delta begins. It lets its holder read mail: treated as a secret.
    link: Option<Secret>,
    revision: u64,
    entries: usize,
    max_entries: usize,
    /// Messages that are not as they were written down last, whoever changed them: the link moves on, and what it
    /// told once it never tells again.
    dirty: BTreeSet<MessageId>,
}

impl Index {
    /// Nothing yet; `max_entries` messages and attachments at most.
    pub(super) fn new(max_entries: usize) -> Self {
        Self {
            rows: BTreeMap::new(),
            link: None,
            revision: REVISIONS.fetch_add(1, Ordering::Relaxed),
            entries: 0,
            max_entries,
            dirty: BTreeSet::new(),
        }
    }

    /// From records. None where they are of another form, were made for another question, or are not
    /// whole: then the folder is asked anew.
    pub(super) fn load(records: Vec<(String, String)>, form: &str, max_entries: usize) -> Option<Self> {
        let mut index = Self::new(max_entries);
        let mut fits = false;
        for (key, value) in records {
            match &*key {
                LINK => index.link = Some(Secret::new(value)),
                FORM => fits = value == form,
                _ => {
                    let row: Row = serde_json::from_str(&value).ok()?;
                    let known = row.known(&key);
                    index.put(known).ok()?;
                }
            }
        }
        index.clean();
        (fits && index.link.is_some()).then_some(index)
    }

    /// A message, written down and read again.
    pub(super) fn round_trip(message: &Message) -> Option<Message> {
        let known = Known {
            message: Arc::new(message.clone()),
            stamp: "".into(),
        };
        let back: Row = serde_json::from_str(&row(&known)).ok()?;
        Some(Message::clone(&back.known(&message.id.0).message))
    }

    /// Everything, as records.
    pub(super) fn records(&self, form: &str) -> Vec<(String, String)> {
        let rows = self.rows.iter().map(|(id, known)| (id.0.to_string(), row(known)));
        let link = self
            .link
            .iter()
            .map(|link| (LINK.to_owned(), link.expose().to_owned()));
        rows.chain(link)
            .chain([(FORM.to_owned(), form.to_owned())])
            .collect()
    }

    /// What to write down: every message that is not as it was written last, and the link.
    pub(super) fn changes(&self) -> Vec<Change> {
        let rows = self.dirty.iter().map(|id| {
            let key = id.0.to_string();
            match self.rows.get(id) {
                Some(known) => Change::Put {
                    key,
                    value: row(known),
                },
                None => Change::Drop { key },
            }
        });
        let link = self.link.iter().map(|link| Change::Put {
            key: LINK.to_owned(),
            value: link.expose().to_owned(),
        });
        rows.chain(link).collect()
    }

    /// Takes a message in. Answers whether anything that is shown changed.
    pub(super) fn put(&mut self, known: Known) -> FsResult<bool> {
        let old = self.rows.get(&known.message.id);
        if let Some(old) = old
            && old.message == known.message
        {
            let id = known.message.id.clone();
            self.dirty.insert(id.clone());
            self.rows.insert(id, known);
            return Ok(false);
        }
        let entries = self.entries - old.map_or(0, |old| old.message.entries()) + known.message.entries();
        if entries > self.max_entries {
            return Err(too_many(self.max_entries));
        }
        self.entries = entries;
        self.dirty.insert(known.message.id.clone());
        self.rows.insert(known.message.id.clone(), known);
        self.touch();
        Ok(true)
    }

    /// Takes a message out.
    pub(super) fn remove(&mut self, id: &MessageId) -> bool {
        let Some(old) = self.rows.remove(id) else {
            return false;
        };
        self.entries -= old.message.entries();
        self.dirty.insert(id.clone());
        self.touch();
        true
    }

    /// Takes one attachment out of a message, and forgets the stamp: what else changed is asked.
    pub(super) fn remove_part(&mut self, id: &MessageId, part: &PartId) -> bool {
        let Some(known) = self.rows.get_mut(id) else {
            return false;
        };
        let message = Arc::make_mut(&mut known.message);
        let before = message.attachments.len();
        message.attachments.retain(|attachment| attachment.id != *part);
        let gone = before - message.attachments.len();
        known.stamp = "".into();
        self.dirty.insert(id.clone());
        self.entries -= gone;
        if gone > 0 {
            self.touch();
        }
        gone > 0
    }

    /// Whether this message is known, and as it is at this stamp.
    pub(super) fn is_current(&self, id: &MessageId, stamp: Option<&str>) -> bool {
        let known = self.rows.get(id);
        known.is_some_and(|known| !known.stamp.is_empty() && stamp == Some(&*known.stamp))
    }

    /// What tells a message's state; none where that is not known.
    pub(super) fn stamp(&self, id: &MessageId) -> Option<Box<str>> {
        let known = self.rows.get(id)?;
        Some(known.stamp.clone()).filter(|stamp| !stamp.is_empty())
    }

    pub(super) fn get(&self, id: &MessageId) -> Option<&Known> {
        self.rows.get(id)
    }

    /// The ids of all messages.
    pub(super) fn ids(&self) -> impl Iterator<Item = &MessageId> {
        self.rows.keys()
    }

    /// Up to `max` messages after the one with this id, and whether there are more.
    pub(super) fn page(&self, after: Option<&str>, max: usize) -> (Vec<Arc<Message>>, bool) {
        let start = after.map_or(Bound::Unbounded, |after| Bound::Excluded(MessageId::from(after)));
        let mut rows = self
            .rows
            .range((start, Bound::Unbounded))
            .map(|(_, known)| &known.message);
        let page = rows.by_ref().take(max).cloned().collect();
        (page, rows.next().is_some())
    }

    /// Changes when what is shown does.
    pub(super) const fn revision(&self) -> u64 {
        self.revision
    }

    pub(super) const fn link(&self) -> Option<&Secret> {
        self.link.as_ref()
    }

    pub(super) fn set_link(&mut self, link: Secret) {
        self.link = Some(link);
    }

    /// All of it is written down.
    pub(super) fn clean(&mut self) {
        self.dirty.clear();
    }

    /// Messages and attachments held.
    pub(super) const fn entries(&self) -> usize {
        self.entries
    }

    fn touch(&mut self) {
        self.revision = REVISIONS.fetch_add(1, Ordering::Relaxed);
    }
}

/// A record, in short keys: there may be a hundred thousand.
#[derive(Serialize, Deserialize)]
struct Row {
    s: String,
    f: (String, String),
    #[serde(default, skip_serializing_if = "Option::is_none")]
    n: Option<(String, String)>,
    r: (i64, u32),
    #[serde(default, skip_serializing_if = "Option::is_none")]
    t: Option<(i64, u32)>,
    i: String,
    c: String,
    p: String,
    q: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    g: Vec<String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    b: String,
    k: String,
    w: bool,
    a: Vec<(String, u8, String, String)>,
}

const KINDS: [AttachmentKind; 4] = [
    AttachmentKind::File,
    AttachmentKind::Item,
    AttachmentKind::Reference,
    AttachmentKind::Inline,
];

fn row(known: &Known) -> String {
    let message = &*known.message;
    let summary = &message.summary;
    let pair = |who: &Person| (who.name.clone(), who.email.clone());
    let kind = |kind| KINDS.iter().position(|other| *other == kind).unwrap_or_default();
    let row = Row {
        s: summary.subject.clone(),
        f: pair(&summary.from),
        n: (summary.sender != summary.from).then(|| pair(&summary.sender)),
        r: (summary.received.seconds, summary.received.nanos),
        t: summary.sent.map(|at| (at.seconds, at.nanos)),
        i: summary.internet_id.clone(),
        c: summary.conversation_id.clone(),
        p: summary.importance.clone(),
        q: summary.inference.clone(),
        g: summary.categories.clone(),
        b: summary.body_preview.clone(),
        k: known.stamp.to_string(),
        w: message.complete,
        a: message
            .attachments
            .iter()
            .map(|a| {
                let kind = u8::try_from(kind(a.kind)).unwrap_or_default();
                (a.id.0.to_string(), kind, a.name.clone(), a.content_type.clone())
            })
            .collect(),
    };
    // Strings, numbers and lists of them: this cannot fail; were it to, the row would not load and the
    // folder would be asked anew.
    serde_json::to_string(&row).unwrap_or_default()
}

impl Row {
    fn known(self, id: &str) -> Known {
        let who = |(name, email): (String, String)| Person { name, email };
        let at = |(seconds, nanos)| Timestamp { seconds, nanos };
        let from = who(self.f);
        let attachments = self
            .a
            .into_iter()
            .map(|(id, kind, name, content_type)| Attachment {
                id: (*id).into(),
                // What an unknown number stands for is kept and not shown.
                kind: KINDS
                    .get(usize::from(kind))
                    .copied()
                    .unwrap_or(AttachmentKind::Reference),
                name,
                size: None,
                content_type,
            });
        let message = Message {
            id: id.into(),
            summary: Summary {
                subject: self.s,
                sender: self.n.map_or_else(|| from.clone(), who),
                from,
                received: at(self.r),
                sent: self.t.map(at),
                internet_id: self.i,
                conversation_id: self.c,
                importance: self.p,
                inference: self.q,
                categories: self.g,
                body_preview: self.b,
            },
            attachments: attachments.collect(),
            complete: self.w,
            stamp: self.k.as_str().into(),
        };
        Known {
            message: Arc::new(message),
            stamp: self.k.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(id: &str, parts: &[&str]) -> Known {
        let attachment = |part: &&str| Attachment {
            id: (*part).into(),
            kind: AttachmentKind::Item,
            name: format!("{part}.eml"),
            size: None,
            content_type: "x/y".into(),
        };
        let message = Message {
            id: id.into(),
            summary: Summary {
                subject: "S".into(),
                sender: Person {
                    name: "N".into(),
                    email: "n@x".into(),
                },
                received: Timestamp {
                    seconds: -1,
                    nanos: 5,
                },
                sent: Some(Timestamp { seconds: 7, nanos: 0 }),
                categories: vec!["red".into()],
                body_preview: "B".into(),
                ..Summary::default()
            },
            attachments: parts.iter().map(attachment).collect(),
            complete: true,
            stamp: "k1".into(),
        };
        Known {
            message: Arc::new(message),
            stamp: "k1".into(),
        }
    }

    #[test]
    fn what_is_written_down_comes_back_whole() {
        let mut index = Index::new(100);
        index.put(known("b", &["1", "2"])).unwrap();
        index.put(known("a", &[])).unwrap();
        index.set_link(Secret::new("https://x/delta?t".into()));
        let back = Index::load(index.records("f"), "f", 100).unwrap();
        let (page, more) = back.page(None, 10);
        assert!(!more);
        assert_eq!(page, index.page(None, 10).0);
        assert_eq!(back.link().unwrap().expose(), "https://x/delta?t");
        assert_eq!(back.entries(), 4);
        assert!(back.is_current(&"b".into(), Some("k1")));
        assert_ne!(back.revision(), index.revision());
    }

    #[test]
    fn records_that_do_not_fit_are_not_believed() {
        let mut index = Index::new(100);
        index.put(known("b", &["1"])).unwrap();
        assert!(
            Index::load(index.records("f"), "f", 100).is_none(),
            "no link: it was never whole"
        );
        index.set_link(Secret::new("l".into()));
        assert!(Index::load(index.records("f"), "other", 100).is_none());
        let mut records = index.records("f");
        records.push(("z".into(), "{".into()));
        assert!(Index::load(records, "f", 100).is_none());
    }

    #[test]
    fn revisions_follow_what_is_shown() {
        let mut index = Index::new(100);
        let mut last = index.revision();
        let mut changed = |index: &Index, want: bool| {
            assert_eq!(index.revision() != last, want);
            last = index.revision();
        };
        index.put(known("a", &["1", "2"])).unwrap();
        changed(&index, true);
        index
            .put(Known {
                stamp: "k2".into(),
                ..known("a", &["1", "2"])
            })
            .unwrap();
        changed(&index, false);
        assert!(index.is_current(&"a".into(), Some("k2")) && !index.is_current(&"a".into(), Some("k1")));
        assert!(index.remove_part(&"a".into(), &"1".into()));
        changed(&index, true);
        assert!(
            !index.is_current(&"a".into(), Some("k2")),
            "what else changed must be asked"
        );
        assert!(!index.remove_part(&"a".into(), &"1".into()));
        changed(&index, false);
        assert!(index.remove(&"a".into()) && !index.remove(&"a".into()));
        changed(&index, true);
        assert_eq!(index.entries(), 0);
    }

    #[test]
    fn pages_go_on_where_the_last_ended_whatever_came_between() {
        let mut index = Index::new(100);
        for id in ["a", "b", "c", "d"] {
            index.put(known(id, &[])).unwrap();
        }
        let ids = |page: &[Arc<Message>]| page.iter().map(|m| m.id.0.to_string()).collect::<Vec<_>>();
        let (page, more) = index.page(None, 2);
        assert_eq!((ids(&page), more), (vec!["a".into(), "b".into()], true));
        index.remove(&"b".into());
        let (page, more) = index.page(Some("b"), 2);
        assert_eq!((ids(&page), more), (vec!["c".into(), "d".into()], false));
    }

    #[test]
    fn too_many_are_refused() {
        let mut index = Index::new(3);
        index.put(known("a", &["1", "2"])).unwrap();
        assert!(index.put(known("b", &[])).is_err());
        index.remove_part(&"a".into(), &"1".into());
        assert!(index.put(known("b", &[])).is_ok());
    }

    #[test]
    fn changes_tell_what_is_there_and_what_is_gone() {
        let mut index = Index::new(10);
        for id in ["a", "b", "c"] {
            index.put(known(id, &[])).unwrap();
        }
        index.clean();
        index.put(known("a", &[])).unwrap();
        index.remove(&"b".into());
        index.set_link(Secret::new("l".into()));
        let changes = index.changes();
        assert!(
            matches!(&changes[..], [Change::Put { key, .. }, Change::Drop { key: gone }, Change::Put { key: link, .. }]
            if key == "a" && gone == "b" && link == LINK)
        );
    }
}
