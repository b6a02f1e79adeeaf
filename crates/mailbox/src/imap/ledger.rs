//! What is remembered of messages that were written anew: IMAP messages never change, so taking a part out of
//! one makes another message, with another UID. The file system keeps its id.
//!
//! Invariants: what is to be done is on the shelf before it is begun, and what has been done before the next
//! step: a crash anywhere leaves the old message, the new one or both, and what is on the shelf tells which of
//! them is meant. Records of another UIDVALIDITY mean nothing and are dropped.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use portreeve_vfs::FsResult;
use serde::{Deserialize, Serialize};

use crate::{Change, FolderId, MessageId, Shelf};

/// A message that stands for another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Alias {
    /// The id that it goes by.
    pub(super) id: String,
    /// The sections that were taken out, each as it was numbered then.
    pub(super) removed: Vec<String>,
    /// The message that it takes the place of, as long as that is still there.
    pub(super) replaces: Option<u32>,
}

/// A message that is about to be written anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Intent {
    /// What the new one will be.
    pub(super) alias: Alias,
    /// The lowest UID that the new one can have.
    pub(super) from: u32,
    /// Its `Message-ID`.
    pub(super) internet_id: String,
    /// The names of the attachments that it will have.
    pub(super) names: Vec<String>,
    /// When the old one arrived, as the server writes it: the new one is given the same.
    #[serde(default)]
    pub(super) date: Option<String>,
    /// How long it will be, in bytes.
    #[serde(default)]
    pub(super) size: Option<u64>,
}

/// All records of one folder under one UIDVALIDITY.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Records {
    /// By UID of the new message.
    pub(super) aliases: BTreeMap<u32, Alias>,
    /// By UID of the old message.
    pub(super) intents: BTreeMap<u32, Intent>,
}

impl Records {
    /// Messages that another one has taken the place of.
    pub(super) fn replaced(&self) -> BTreeSet<u32> {
        self.aliases.values().filter_map(|alias| alias.replaces).collect()
    }

    /// From which UID on messages may be ones that are being written.
    pub(super) fn being_written(&self) -> Option<u32> {
        self.intents.values().map(|intent| intent.from).min()
    }

    /// Whether something was begun and not ended.
    pub(super) fn unfinished(&self) -> bool {
        !self.intents.is_empty() || self.aliases.values().any(|alias| alias.replaces.is_some())
    }
}

/// The records of a mailbox.
pub(super) struct Ledger {
    shelf: Arc<dyn Shelf>,
    space: String,
}

impl Ledger {
    /// In spaces that begin with `space`.
    pub(super) const fn new(shelf: Arc<dyn Shelf>, space: String) -> Self {
        Self { shelf, space }
    }

    fn space(&self, folder: &FolderId) -> String {
        format!("{}\u{0}written\u{0}{}", self.space, folder.0)
    }

    /// The records of a folder; those of another UIDVALIDITY are dropped: only for who has just opened it, since an
    /// older word of the server's would drop what was written under a newer one.
    pub(super) async fn load(&self, folder: &FolderId, validity: u32) -> FsResult<Records> {
        let (records, old) = self.read(folder, validity).await?;
        if !old.is_empty() {
            self.shelf.save(&self.space(folder), &old).await?;
        }
        Ok(records)
    }

    /// The records of a folder; nothing is dropped.
    pub(super) async fn peek(&self, folder: &FolderId, validity: u32) -> FsResult<Records> {
        Ok(self.read(folder, validity).await?.0)
    }

    /// The records under `validity`, and how the others are dropped.
    async fn read(&self, folder: &FolderId, validity: u32) -> FsResult<(Records, Vec<Change>)> {
        let mut records = Records::default();
        let mut old = Vec::new();
        for (key, value) in self.shelf.load(&self.space(folder)).await? {
            let known = place(&key).filter(|(own, ..)| *own == validity);
            let taken = match known {
                Some((_, 'a', uid)) => serde_json::from_str(&value)
                    .map(|alias| records.aliases.insert(uid, alias))
                    .is_ok(),
                Some((_, 'i', uid)) => serde_json::from_str(&value)
                    .map(|intent| records.intents.insert(uid, intent))
                    .is_ok(),
                _ => false,
            };
            if !taken {
                old.push(Change::Drop { key });
            }
        }
        Ok((records, old))
    }

    /// A message is about to be written anew.
    pub(super) async fn intend(
        &self,
        folder: &FolderId,
        validity: u32,
        old: u32,
        intent: &Intent,
    ) -> FsResult<()> {
        let put = put(format!("{validity}.i.{old}"), intent);
        self.shelf.save(&self.space(folder), &[put]).await
    }

    /// It has been written, and is `uid`; what it was meant to be is no intention any more.
    pub(super) async fn written(
        &self,
        folder: &FolderId,
        validity: u32,
        uid: u32,
        alias: &Alias,
        old: Option<u32>,
    ) -> FsResult<()> {
        let mut changes = vec![put(format!("{validity}.a.{uid}"), alias)];
        changes.extend(old.map(|old| Change::Drop {
            key: format!("{validity}.i.{old}"),
        }));
        self.shelf.save(&self.space(folder), &changes).await
    }

    /// It was not written, and will not be.
    pub(super) async fn given_up(&self, folder: &FolderId, validity: u32, old: u32) -> FsResult<()> {
        let key = format!("{validity}.i.{old}");
        self.shelf
            .save(&self.space(folder), &[Change::Drop { key }])
            .await
    }

    /// These messages are gone.
    pub(super) async fn gone(&self, folder: &FolderId, validity: u32, uids: &[u32]) -> FsResult<()> {
        let key = |uid| format!("{validity}.a.{uid}");
        let drops: Vec<Change> = uids.iter().map(|uid| Change::Drop { key: key(uid) }).collect();
        self.shelf.save(&self.space(folder), &drops).await
    }

    /// A folder got another name.
    pub(super) async fn renamed(&self, from: &FolderId, to: &FolderId) -> FsResult<()> {
        self.shelf.rename(&self.space(from), &self.space(to)).await
    }
}

/// UIDVALIDITY, kind and UID of a record's key.
fn place(key: &str) -> Option<(u32, char, u32)> {
    let (validity, rest) = key.split_once('.')?;
    let (kind, uid) = rest.split_once('.')?;
    Some((validity.parse().ok()?, kind.chars().next()?, uid.parse().ok()?))
}

fn put(key: String, record: &impl Serialize) -> Change {
    Change::Put {
        key,
        // Records are plain data, which can always be written.
        value: serde_json::to_string(record).unwrap_or_default(),
    }
}

/// The id of a message that has never been written anew.
pub(super) fn natural(validity: u32, uid: u32) -> MessageId {
    MessageId(format!("{validity}.{uid}").into())
}

/// The UID that an id was made of, if it was made under this UIDVALIDITY.
pub(super) fn uid_of(id: &MessageId, validity: u32) -> Option<u32> {
    let (own, uid) = id.0.split_once('.')?;
    (own.parse() == Ok(validity)).then(|| uid.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemoryShelf;

    fn alias(replaces: Option<u32>) -> Alias {
        Alias {
            id: "7.3".into(),
            removed: vec!["2".into()],
            replaces,
        }
    }

    #[tokio::test]
    async fn remembers_each_step_and_forgets_another_validity() {
        let ledger = Ledger::new(Arc::new(MemoryShelf::default()), "imap".into());
        let inbox = FolderId("INBOX".into());
        let intent = Intent {
            alias: alias(Some(3)),
            from: 9,
            internet_id: "m@x".into(),
            names: vec!["a".into()],
            date: None,
            size: None,
        };
        ledger.intend(&inbox, 7, 3, &intent).await.unwrap();
        let records = ledger.load(&inbox, 7).await.unwrap();
        assert_eq!((records.being_written(), records.unfinished()), (Some(9), true));
        ledger
            .written(&inbox, 7, 9, &intent.alias, Some(3))
            .await
            .unwrap();
        let records = ledger.load(&inbox, 7).await.unwrap();
        assert!(records.intents.is_empty() && records.unfinished());
        assert_eq!(records.replaced(), BTreeSet::from([3]));
        ledger.written(&inbox, 7, 9, &alias(None), None).await.unwrap();
        assert!(!ledger.load(&inbox, 7).await.unwrap().unfinished());
        let lists = FolderId("Lists".into());
        ledger.renamed(&inbox, &lists).await.unwrap();
        assert_eq!(ledger.load(&lists, 7).await.unwrap().aliases.len(), 1);
        // Only who loads drops.
        assert_eq!(ledger.peek(&lists, 8).await.unwrap(), Records::default());
        assert_eq!(ledger.peek(&lists, 7).await.unwrap().aliases.len(), 1);
        assert_eq!(ledger.load(&lists, 8).await.unwrap(), Records::default());
        assert_eq!(ledger.load(&lists, 7).await.unwrap(), Records::default());
    }

    #[test]
    fn ids_hang_on_the_validity() {
        assert_eq!(uid_of(&natural(7, 3), 7), Some(3));
        assert_eq!(uid_of(&natural(7, 3), 8), None);
        assert_eq!(uid_of(&MessageId("x".into()), 7), None);
    }
}
