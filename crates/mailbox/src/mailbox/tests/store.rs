//! A mailbox in memory, far away: ids that never change, calls that can be made to fail before or after
//! they have had their effect, and a record of what was sent.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;

use super::*;
use crate::{
    Attachment, AttachmentKind, ChangeToken, Content, Draft, Folder, FolderId, FolderKind, MailStore,
    Message, MessageId, Page, PageCursor, PartId, StoreAbilities, Summary, in_memory::InMemory,
};

/// When a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fails {
    Before,
    After,
}

#[derive(Clone)]
pub(super) struct Mail {
    pub(super) folder: &'static str,
    pub(super) message: Message,
    pub(super) contents: BTreeMap<PartId, Bytes>,
    pub(super) to: Vec<String>,
}

#[derive(Default)]
pub(super) struct Inside {
    pub(super) mails: BTreeMap<MessageId, Mail>,
    /// Recipient, file name and content of what was sent.
    pub(super) sent: Vec<(String, String, Bytes)>,
    made: u32,
    /// The change, counted from now, that fails; and those after it too.
    fails: Option<(u32, Fails)>,
    pub(super) send_fails: bool,
    /// What another client does before each call, first to last.
    pub(super) meanwhile: VecDeque<Option<Act>>,
    /// Contents that the other client took away.
    pub(super) taken: BTreeSet<Bytes>,
    /// Contents that were ever there.
    pub(super) ever: BTreeSet<Bytes>,
}

/// What another client does with the mailbox itself.
#[derive(Debug, Clone, Copy)]
pub(super) enum Act {
    /// Deletes the n-th attachment of all.
    Part(usize),
    /// Deletes the n-th message.
    Message(usize),
    /// Delivers a message like the others, with so many attachments.
    Deliver(usize),
}

pub(super) struct Far {
    pub(super) inside: Mutex<Inside>,
    abilities: StoreAbilities,
    /// While this is held, a draft that is made does not come to its end.
    pub(super) gate: tokio::sync::Mutex<()>,
}

const FOLDERS: [(&str, FolderKind); 4] = [
    ("Inbox", FolderKind::Inbox),
    ("Drafts", FolderKind::WellKnown),
    ("Sent", FolderKind::WellKnown),
    ("outbox", FolderKind::Ordinary),
];

impl Far {
    pub(super) fn new() -> Arc<Self> {
        Self::fresh_for(Duration::ZERO)
    }

    /// One that can give whole messages: a line for the subject, and the attachments one after another.
    pub(super) fn whole() -> Arc<Self> {
        let mut far = Self::build(Duration::ZERO);
        far.abilities.whole = true;
        Arc::new(far)
    }

    pub(super) fn fresh_for(fresh_for: Duration) -> Arc<Self> {
        Arc::new(Self::build(fresh_for))
    }

    fn build(fresh_for: Duration) -> Self {
        Self {
            inside: Mutex::default(),
            gate: tokio::sync::Mutex::default(),
            abilities: StoreAbilities {
                delete_part: true,
                delete_message: true,
                folders: true,
                drafts: true,
                send: true,
                import: false,
                whole: false,
                max_draft: None,
                fresh_for,
                remote: true,
            },
        }
    }

    /// Makes the change after `n` others fail, and all that follow.
    pub(super) fn fail(&self, n: u32, how: Fails) {
        self.inside.lock().fails = Some((n, how));
    }

    pub(super) fn heal(&self) {
        self.inside.lock().fails = None;
    }

    /// Delivers a message with these attachments (name, content).
    pub(super) fn deliver(&self, subject: &str, files: &[(&str, &str)]) -> MessageId {
        let mut inside = self.inside.lock();
        let files = files
            .iter()
            .map(|(name, content)| (*name, Bytes::copy_from_slice(content.as_bytes())));
        inside.make("Inbox", subject, files.collect(), Vec::new()).id
    }

    fn change<T>(&self, act: impl FnOnce(&mut Inside) -> FsResult<T>) -> FsResult<T> {
        let mut inside = self.inside.lock();
        inside.turn();
        let fails = match &mut inside.fails {
            None => None,
            Some((0, how)) => {
                let how = *how;
                // What comes after it fails before it has any effect: the line is dead.
                inside.fails = Some((0, Fails::Before));
                Some(how)
            }
            Some((n, _)) => {
                *n -= 1;
                None
            }
        };
        if fails == Some(Fails::Before) {
            return Err(FsErrorKind::Backend.into());
        }
        let done = act(&mut inside);
        match fails {
            Some(_) => Err(FsErrorKind::Backend.into()),
            None => done,
        }
    }
}

impl Inside {
    /// What is gone and was not taken by the other client.
    pub(super) fn lost(&self) -> BTreeSet<Bytes> {
        let there = self.contents();
        let gone = self.ever.difference(&there);
        gone.filter(|content| !self.taken.contains(*content))
            .cloned()
            .collect()
    }

    /// All attachments' contents.
    pub(super) fn contents(&self) -> BTreeSet<Bytes> {
        self.mails
            .values()
            .flat_map(|mail| mail.contents.values().cloned())
            .collect()
    }

    /// Lets the other client act.
    fn turn(&mut self) {
        if let Some(Some(act)) = self.meanwhile.pop_front() {
            self.act(act);
        }
    }

    pub(super) fn act(&mut self, act: Act) {
        match act {
            Act::Part(n) => {
                let parts = self
                    .mails
                    .iter()
                    .flat_map(|(id, mail)| mail.contents.keys().map(move |part| (id, part)));
                let parts: Vec<(MessageId, PartId)> =
                    parts.map(|(id, part)| (id.clone(), part.clone())).collect();
                if parts.is_empty() {
                    return;
                }
                let (id, part) = &parts[n % parts.len()];
                let mail = self.mails.get_mut(id).unwrap();
                mail.message
                    .attachments
                    .retain(|attachment| attachment.id != *part);
                self.taken.extend(mail.contents.remove(part));
            }
            Act::Message(n) => {
                if self.mails.is_empty() {
                    return;
                }
                let id = self.mails.keys().nth(n % self.mails.len()).unwrap().clone();
                let mail = self.mails.remove(&id).unwrap();
                self.taken.extend(mail.contents.into_values());
            }
            Act::Deliver(parts) => {
                let made = self.made;
                let content = |n: usize| Bytes::from(format!("{made}.{n}"));
                let files = (0..parts).map(|n| ("a.pdf", content(n))).collect();
                self.make("Inbox", "s", files, Vec::new());
            }
        }
    }

    fn make(
        &mut self,
        folder: &'static str,
        subject: &str,
        files: Vec<(&str, Bytes)>,
        to: Vec<String>,
    ) -> Message {
        self.made += 1;
        let id = MessageId::from(&*format!("m{:04}", self.made));
        let mut contents = BTreeMap::new();
        let mut attachments = Vec::new();
        for (n, (name, content)) in files.into_iter().enumerate() {
            let part = PartId::from(&*format!("p{n}"));
            self.ever.insert(content.clone());
            contents.insert(part.clone(), content);
            attachments.push(Attachment {
                id: part,
                kind: AttachmentKind::File,
                name: name.into(),
                size: None,
                content_type: String::new(),
            });
        }
        let message = Message {
            id: id.clone(),
            summary: Summary {
                subject: subject.into(),
                internet_id: format!("{}@far", &*id.0),
                ..Summary::default()
            },
            attachments,
            complete: true,
            stamp: Box::default(),
        };
        let mail = Mail {
            folder,
            message: message.clone(),
            contents,
            to,
        };
        self.mails.insert(id, mail);
        message
    }

    fn mail(&mut self, folder: &FolderId, message: &MessageId) -> FsResult<&mut Mail> {
        let mail = self
            .mails
            .get_mut(message)
            .filter(|mail| *mail.folder == *folder.0);
        mail.ok_or_else(|| FsErrorKind::NotFound.into())
    }
}

fn place(folder: &FolderId) -> FsResult<&'static str> {
    let known = FOLDERS.iter().find(|(name, _)| **name == *folder.0);
    known
        .map(|(name, _)| *name)
        .ok_or_else(|| FsErrorKind::NotFound.into())
}

#[async_trait]
impl MailStore for Far {
    fn abilities(&self) -> &StoreAbilities {
        &self.abilities
    }

    async fn folders(&self, parent: Option<&FolderId>, _: Option<&PageCursor>) -> FsResult<Page<Folder>> {
        let all = FOLDERS.iter().filter(|_| parent.is_none());
        let items = all.map(|(name, kind)| Folder {
            id: (*name).into(),
            name: (*name).into(),
            kind: *kind,
        });
        Ok(Page {
            items: items.collect(),
            next: None,
        })
    }

    async fn messages(&self, folder: &FolderId, _: Option<&PageCursor>) -> FsResult<Page<Arc<Message>>> {
        let mut inside = self.inside.lock();
        inside.turn();
        let here = inside.mails.values().filter(|mail| *mail.folder == *folder.0);
        Ok(Page {
            items: here.map(|mail| Arc::new(mail.message.clone())).collect(),
            next: None,
        })
    }

    async fn change_token(&self, _: &FolderId) -> FsResult<Option<ChangeToken>> {
        Ok(None)
    }

    async fn message(&self, folder: &FolderId, message: &MessageId) -> FsResult<Message> {
        let mut inside = self.inside.lock();
        inside.turn();
        Ok(inside.mail(folder, message)?.message.clone())
    }

    async fn open_part(
        &self,
        folder: &FolderId,
        message: &MessageId,
        part: &PartId,
    ) -> FsResult<Arc<dyn Content>> {
        let mut inside = self.inside.lock();
        inside.turn();
        let content = inside.mail(folder, message)?.contents.get(part).cloned();
        Ok(Arc::new(InMemory(content.ok_or(FsErrorKind::NotFound)?)))
    }

    async fn open_message(&self, folder: &FolderId, message: &MessageId) -> FsResult<Arc<dyn Content>> {
        let mut inside = self.inside.lock();
        let mail = inside.mail(folder, message)?;
        let mut raw = format!("{}\n", mail.message.summary.subject).into_bytes();
        raw.extend(mail.contents.values().flatten());
        Ok(Arc::new(InMemory(raw.into())))
    }

    async fn delete_part(&self, folder: &FolderId, message: &MessageId, part: &PartId) -> FsResult<()> {
        self.change(|inside| {
            let mail = inside.mail(folder, message)?;
            mail.contents.remove(part).ok_or(FsErrorKind::NotFound)?;
            mail.message
                .attachments
                .retain(|attachment| attachment.id != *part);
            Ok(())
        })
    }

    async fn delete_message(&self, folder: &FolderId, message: &MessageId) -> FsResult<()> {
        self.change(|inside| {
            inside.mail(folder, message)?;
            inside.mails.remove(message);
            Ok(())
        })
    }

    async fn soft_delete(&self, folder: &FolderId, message: &MessageId) -> FsResult<()> {
        self.delete_message(folder, message).await
    }

    async fn move_message(&self, folder: &FolderId, message: &MessageId, to: &FolderId) -> FsResult<()> {
        let to = place(to)?;
        self.change(|inside| {
            inside.mail(folder, message)?.folder = to;
            Ok(())
        })
    }

    async fn create_folder(&self, _: Option<&FolderId>, _: &str) -> FsResult<Folder> {
        Err(FsErrorKind::Refused.into())
    }

    async fn rename_folder(
        &self,
        _: &FolderId,
        _: Option<&FolderId>,
        _: &str,
    ) -> FsResult<Vec<(FolderId, FolderId)>> {
        Err(FsErrorKind::Refused.into())
    }

    async fn delete_folder(&self, _: &FolderId) -> FsResult<()> {
        Err(FsErrorKind::Refused.into())
    }

    async fn create_draft(
        &self,
        folder: &FolderId,
        draft: &Draft,
        content: Arc<dyn Content>,
    ) -> FsResult<Message> {
        let size = usize::try_from(content.size()).unwrap();
        let bytes = content.read(0, size, Vec::new()).await?;
        let folder = place(folder)?;
        let made = self.change(|inside| {
            let files = vec![(&*draft.file_name, bytes.into())];
            Ok(inside.make(folder, &draft.subject, files, draft.to.clone()))
        });
        let _open = self.gate.lock().await;
        made
    }

    async fn drafts_folder(&self) -> FsResult<FolderId> {
        Ok("Drafts".into())
    }

    async fn send_draft(&self, folder: &FolderId, message: &MessageId) -> FsResult<()> {
        self.change(|inside| {
            if inside.send_fails {
                return Err(FsErrorKind::Backend.into());
            }
            let mail = inside.mail(folder, message)?;
            mail.folder = "Sent";
            let (attachment, to) = (&mail.message.attachments[0], mail.to.join(","));
            let sent = (to, attachment.name.clone(), mail.contents[&attachment.id].clone());
            inside.sent.push(sent);
            Ok(())
        })
    }
}
