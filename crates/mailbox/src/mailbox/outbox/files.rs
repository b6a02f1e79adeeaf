//! The Outbox as directories and files.

use std::sync::Arc;

use async_trait::async_trait;
use portreeve_model::{Name, Timestamp, VPath};
use portreeve_vfs::{Cursor, Entry, FsError, FsErrorKind, FsResult, Listing, Note};

use super::{OUTBOX, Share, Waiting};
use crate::{
    Content, Draft,
    address::is_address,
    mailbox::{
        Shared,
        relist::version,
        telling::tell_message,
        tree::{Dir, Node, check_clean, taken},
    },
    name::fold,
};

impl Waiting {
    pub(in crate::mailbox) fn entry(&self) -> Option<Entry> {
        let mut entry = Entry::file(Name::new(self.name.as_bytes()).ok()?, self.size);
        entry.modified = Some(Timestamp::from_seconds(
            i64::try_from(self.since).unwrap_or(i64::MAX),
        ));
        entry.version = Some(version([&*self.message, &*self.part]));
        Some(entry)
    }
}

impl Shared {
    /// What the Outbox, or one recipient's directory in it, has of the name.
    pub(in crate::mailbox) async fn below_outbox(
        &self,
        to: Option<&str>,
        name: &str,
    ) -> FsResult<Option<Node>> {
        let Some(to) = to else {
            return Ok(is_address(name).then(|| Node::Dir(Dir::Recipient(name.to_owned()))));
        };
        Ok(self.outbox()?.find(to, name).await?.map(Node::Waiting))
    }

    pub(in crate::mailbox) fn outbox(&self) -> FsResult<&Arc<Share>> {
        self.outbox.as_ref().ok_or_else(|| FsErrorKind::NotFound.into())
    }

    /// The recipients to whom something waits, or what waits for one.
    pub(in crate::mailbox) async fn list_outbox(
        &self,
        to: Option<&str>,
        from: Option<Cursor>,
    ) -> FsResult<Box<dyn Listing>> {
        let all = self.outbox()?.all().await?;
        let mut entries: Vec<Entry> = match to {
            Some(to) => {
                let of = all.iter().filter(|waiting| waiting.to == to);
                of.filter_map(Waiting::entry).collect()
            }
            None => {
                let mut recipients: Vec<&str> = all.iter().map(|waiting| &*waiting.to).collect();
                recipients.dedup();
                let names = recipients
                    .into_iter()
                    .filter_map(|to| Name::new(to.as_bytes()).ok());
                names.map(|name| Entry::dir(Some(name))).collect()
            }
        };
        if let Some(Cursor(after)) = from {
            entries.retain(|entry| entry.name.as_ref().is_some_and(|name| *name.as_bytes() > *after));
        }
        entries.reverse();
        Ok(Box::new(Held {
            left: entries,
            after: Vec::new(),
        }))
    }

    /// Where a file to be sent may be put: the recipient and its name.
    pub(in crate::mailbox) async fn sending_place(&self, path: &VPath) -> FsResult<(String, String)> {
        let parent = path.parent().unwrap_or_else(VPath::root);
        let (Ok(Dir::Recipient(to)), Some(name)) = (self.resolve_dir(&parent).await, path.file_name()) else {
            return Err(FsError::new(FsErrorKind::Refused).context(format!(
                "uploads into this mailbox are sent: put the file into /{OUTBOX}/<address of one recipient>/"
            )));
        };
        let name = name.as_str().unwrap_or_default();
        check_clean(name)?;
        let outbox = self.outbox()?;
        let waiting = outbox.all().await?;
        let mut of = waiting.iter().filter(|waiting| waiting.to == to);
        if let Some(other) = of.find(|waiting| fold(&waiting.name) == fold(name)) {
            return Err(taken(name, &other.name));
        }
        outbox.check_room().await?;
        Ok((to, name.to_owned()))
    }

    /// Makes the draft of a file to be sent, and lets it wait.
    pub(in crate::mailbox) async fn commit_to_outbox(
        &self,
        note: &Note,
        to: &str,
        name: &str,
        content: Arc<dyn Content>,
    ) -> FsResult<Entry> {
        let outbox = self.outbox()?;
        // One by one: two of one name do not both find it free.
        let _alone = self.sending.lock().await;
        let all = outbox.all().await?;
        let mut of = all.iter().filter(|waiting| waiting.to == to);
        if let Some(other) = of.find(|waiting| fold(&waiting.name) == fold(name)) {
            return Err(taken(name, &other.name));
        }
        outbox.check_room().await?;
        let waiting = self.draft_to_send(to, name, content).await?;
        tell_message(note, &waiting.internet_id);
        let entry = waiting.entry().ok_or(FsErrorKind::InvalidName)?;
        self.unless_stray(&waiting, outbox.add(waiting.clone()).await)
            .await?;
        Ok(entry)
    }

    /// Gives what waits another name: its draft is made anew, since the name is in it.
    pub(in crate::mailbox) async fn rename_waiting(
        &self,
        waiting: &Waiting,
        to: &VPath,
        note: &Note,
    ) -> FsResult<()> {
        let (recipient, name) = self.sending_place(to).await?;
        if recipient != waiting.to {
            return Err(FsError::new(FsErrorKind::Refused).context(
                "what waits for one recipient cannot become another's: delete it, and upload it there",
            ));
        }
        let outbox = self.outbox()?;
        let _alone = self.sending.lock().await;
        let content = self.open_waiting(waiting).await?;
        let anew = self.draft_to_send(&recipient, &name, content).await?;
        self.unless_stray(&anew, outbox.replace(waiting, anew.clone()).await)
            .await?;
        Node::Waiting(anew).told_to(note);
        let (folder, message) = waiting.ids();
        if let Err(left) = outbox.store().delete_message(&folder, &message).await {
            tracing::warn!(%left, "a draft that is not to be sent any more could not be deleted");
        }
        Ok(())
    }

    /// A draft to `to`, in the folder of drafts; nobody has been told of it yet.
    async fn draft_to_send(&self, to: &str, name: &str, content: Arc<dyn Content>) -> FsResult<Waiting> {
        let store = Arc::clone(self.outbox()?.store());
        let folder = store.drafts_folder().await?;
        let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
        let draft = Draft {
            subject: stem.to_owned(),
            file_name: name.to_owned(),
            to: vec![to.to_owned()],
        };
        let size = content.size();
        let message = store.create_draft(&folder, &draft, content).await?;
        let part = message.attachments.iter().find(|attachment| attachment.counts());
        let waiting = Waiting {
            storage: self.outbox()?.storage().to_owned(),
            to: to.to_owned(),
            name: name.to_owned(),
            folder: folder.0.to_string(),
            message: message.id.0.to_string(),
            part: part.map_or_else(String::new, |part| part.id.0.to_string()),
            internet_id: message.summary.internet_id.clone(),
            size,
            since: self.outbox()?.now(),
            due: 0,
            tries: 0,
            sending: false,
        };
        let whole = part.map(|_| ()).ok_or_else(|| {
            FsError::new(FsErrorKind::Backend).context("the store made a draft without its attachment")
        });
        self.unless_stray(&waiting, whole).await?;
        Ok(waiting)
    }

    /// Deletes the draft of what could not be recorded: it would lie there and never be sent.
    async fn unless_stray(&self, waiting: &Waiting, recorded: FsResult<()>) -> FsResult<()> {
        if recorded.is_err() {
            let (folder, message) = waiting.ids();
            if let Err(left) = self.outbox()?.store().delete_message(&folder, &message).await {
                tracing::warn!(%left, "a draft that is not to be sent could not be deleted");
            }
        }
        recorded
    }

    pub(in crate::mailbox) async fn open_waiting(&self, waiting: &Waiting) -> FsResult<Arc<dyn Content>> {
        let (folder, message) = waiting.ids();
        let part = waiting.part.as_str().into();
        self.outbox()?.store().open_part(&folder, &message, &part).await
    }
}

/// Entries that were there when the directory was opened.
struct Held {
    /// The next at the end.
    left: Vec<Entry>,
    after: Vec<u8>,
}

#[async_trait]
impl Listing for Held {
    async fn next(&mut self, max: usize) -> FsResult<Vec<Entry>> {
        let rest = self.left.len().saturating_sub(max);
        let some: Vec<Entry> = self.left.split_off(rest).into_iter().rev().collect();
        if let Some(name) = some.last().and_then(|entry| entry.name.as_ref()) {
            self.after = name.as_bytes().to_vec();
        }
        Ok(some)
    }

    fn cursor(&self) -> Option<Cursor> {
        Some(Cursor(self.after.clone().into()))
    }
}
