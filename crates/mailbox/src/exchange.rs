//! A mailbox in Exchange Online as a [`MailStore`], by Microsoft Graph.
//!
//! Invariants: every id is immutable (the client of Graph asks for such ids on every call); sizes that Graph
//! reports are never shown, they are not those of the content; listings are answered from an index that
//! delta queries keep up, so that a second look costs one call; what is deleted is decided by an answer that
//! was asked for then and there; all sessions share the mailbox's budget of requests, below this room.

mod changes;
mod content;
mod delta;
mod drafts;
mod errors;
mod folders;
mod index;
mod messages;
mod options;
mod sync;
#[cfg(test)]
mod tests;
mod tree;
mod wire;

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use portreeve_microsoft::{BatchItem, Cloud, GraphLimits, GraphMailbox};
use portreeve_vfs::{FsErrorKind, FsResult};
use tokio::sync::Mutex;

use crate::{
    ChangeToken, Content, Draft, Folder, FolderId, Layout, LeftWaiting, MailStore, Mailbox, Message,
    MessageId, OnUpload, OptionsError, Page, PageCursor, PartId, StoreAbilities, Surroundings, Template,
    mailbox::to_its_end,
};
use delta::{First, Round};
use folders::Folders;
pub use options::{Addresses, ExchangeOptions, ExchangeSecrets};
use sync::{Slot, Slots};
use wire::{FIELDS, FolderItem, MessageItem};

/// Messages on a page of what the index tells.
const PAGE: usize = 500;
/// Largest attachment that Exchange takes, in bytes.
const MAX_DRAFT: u64 = 150 << 20;
/// How the names of these mailboxes begin; their address follows.
const KIND: &str = "exchange ";
/// The form of records; another number makes every folder be listed anew.
const FORM: u32 = 2;

/// A mailbox in Exchange Online.
pub struct Exchange {
    inner: Arc<Inner>,
    abilities: StoreAbilities,
}

struct Inner {
    graph: GraphMailbox,
    /// In lower case.
    address: String,
    around: Surroundings,
    /// `$select` of messages.
    fields: String,
    /// Messages that are said to have no attachments count, too: inline parts are shown, or messages.
    every_message: bool,
    /// What the records of an index mean.
    form: String,
    /// Which messages they tell of, and what: storages that ask otherwise have their own.
    kind: &'static str,
    fresh_for: Duration,
    spool_keep: Duration,
    max_entries: usize,
    /// Whether Graph tells attachments with their messages.
    expands: AtomicBool,
    folders: Mutex<Folders>,
    slots: Slots,
    /// When trouble was last told to the log.
    told_at: parking_lot::Mutex<Option<Instant>>,
}

impl Exchange {
    /// The mailbox of this address. Nothing is asked yet.
    ///
    /// # Errors
    /// [`OptionsError`] that names the option: a file cannot be read, an address or a key cannot be used.
    pub fn open(
        options: &ExchangeOptions,
        address: &str,
        secrets: &ExchangeSecrets,
        cloud: &Cloud,
        around: &Surroundings,
    ) -> Result<Self, OptionsError> {
        if let Some(problem) = options.problems().into_iter().next() {
            return Err(problem);
        }
        let wrong = |option: &'static str, text: String| OptionsError { option, text };
        if !options::is_address(address) || address.contains('{') {
            return Err(wrong(
                "mailbox",
                format!("{address:?} is no address of a mailbox"),
            ));
        }
        let app = options.app(secrets)?;
        let limits = GraphLimits {
            in_flight: options.max_in_flight,
            app_in_flight: options.app_in_flight,
            ..GraphLimits::default()
        };
        let graph = cloud.graph(&app, &options.graph_base(), limits);
        let graph = graph.map_err(|error| wrong("application_id", error.to_string()))?;
        Self::over(graph.mailbox(address), options, address, around)
    }

    /// The same over a mailbox that was reached some other way.
    pub(crate) fn over(
        graph: GraphMailbox,
        options: &ExchangeOptions,
        address: &str,
        around: &Surroundings,
    ) -> Result<Self, OptionsError> {
        let template = Template::parse(&options.mail.template);
        let template = template.map_err(|text| OptionsError {
            option: "template",
            text,
        })?;
        let preview = if template.wants_preview() {
            ",bodyPreview"
        } else {
            ""
        };
        let every_message = options.mail.inline || options.mail.layout == Layout::Messages;
        let fields = format!("{FIELDS}{preview}");
        let inner = Inner {
            graph,
            address: address.to_lowercase(),
            around: around.clone(),
            // Where the links lead is part of it: those of another cloud cannot be followed.
            form: format!("{FORM} {} {fields}", options.graph_base()),
            kind: match (every_message, preview.is_empty()) {
                (false, true) => "with attachments",
                (false, false) => "with attachments, previewed",
                (true, true) => "all",
                (true, false) => "all, previewed",
            },
            fields,
            every_message,
            fresh_for: options.fresh_for.0,
            spool_keep: options.spool_keep.0,
            max_entries: usize::try_from(options.mail.max_entries).unwrap_or(usize::MAX),
            expands: AtomicBool::new(true),
            folders: Mutex::default(),
            slots: Slots::default(),
            told_at: parking_lot::Mutex::default(),
        };
        Ok(Self {
            inner: Arc::new(inner),
            abilities: StoreAbilities {
                delete_part: true,
                delete_message: true,
                folders: true,
                drafts: true,
                send: true,
                import: true,
                whole: true,
                max_draft: Some(MAX_DRAFT),
                fresh_for: options.fresh_for.0,
                remote: true,
            },
        })
    }

    /// The mailbox in Graph: for figures.
    #[must_use]
    pub fn graph(&self) -> &GraphMailbox {
        &self.inner.graph
    }
}

impl Mailbox {
    /// A mailbox in Exchange Online. Nothing is asked yet.
    ///
    /// # Errors
    /// [`OptionsError`] that names the option and says what is wrong.
    pub fn exchange(
        options: &ExchangeOptions,
        address: &str,
        secrets: &ExchangeSecrets,
        around: &Surroundings,
    ) -> Result<Self, OptionsError> {
        let store = Exchange::open(options, address, secrets, &around.cloud, around)?;
        let name = format!("{KIND}{}", address.to_lowercase());
        Self::over(Arc::new(store), &name, &options.mail, around)
    }
}

impl ExchangeOptions {
    /// The mailboxes of this storage from which messages are still to be sent; none where it does not send.
    #[must_use]
    pub fn left_waiting(&self, around: &Surroundings) -> Option<LeftWaiting> {
        let sends = self.mail.on_upload == OnUpload::Send;
        sends.then(|| LeftWaiting::new(around, &self.mail.storage, KIND.to_owned()))
    }
}

impl Inner {
    /// Whether Graph wants to be left alone now.
    fn is_throttled(&self) -> bool {
        self.graph
            .throttled_until()
            .is_some_and(|until| until > Instant::now())
    }

    /// Brings a folder's index up to date, also when nobody waits for it any more: a client that gives up on the
    /// first listing of a large folder finds it done when it comes again.
    async fn refreshed(self: &Arc<Self>, folder: &FolderId, slot: &Arc<Slot>) -> FsResult<()> {
        let (inner, folder, slot) = (Arc::clone(self), folder.clone(), Arc::clone(slot));
        to_its_end(async move {
            let mut state = slot.state.lock().await;
            inner.refresh(&folder, &slot, &mut state, None).await
        })
        .await
    }

    /// Brings folders and a folder's messages up to date: one call where both have a delta to follow.
    async fn look(self: &Arc<Self>, folder: Option<&FolderId>) -> FsResult<()> {
        let Some(folder) = folder else {
            let mut folders = self.folders.lock().await;
            return self.refresh_folders(&mut folders, None).await;
        };
        let slot = self.slot(folder);
        // Somebody is at this folder, perhaps for long: it is waited for later, by who needs it. The folders are never
        // held while a folder's messages are waited for.
        let Ok(mut state) = slot.state.try_lock() else {
            let mut folders = self.folders.lock().await;
            return self.refresh_folders(&mut folders, None).await;
        };
        self.look_up(folder, &mut state).await;
        let mut folders = self.folders.lock().await;
        let above = folders.link.clone().filter(|_| !folders.is_fresh(self.fresh_for));
        let (Some(above), Some(below)) = (above, state.due(self)) else {
            self.refresh_folders(&mut folders, None).await?;
            drop(folders);
            return self.refresh(folder, &slot, &mut state, None).await;
        };
        if self.is_throttled() {
            // What is there serves.
            return Ok(());
        }
        let items = [above, below].map(|link| BatchItem::link(&self.graph, link.expose()));
        let asked = match items {
            [Ok(above), Ok(below)] => self.graph.batch(vec![above, below]).await,
            [Err(error), _] | [_, Err(error)] => Err(error),
        };
        let (above, below) = match asked {
            Ok(answers) => {
                let mut answers = answers.into_iter();
                (answers.next(), answers.next())
            }
            Err(error) => {
                let error = self.told(&error);
                if error.kind() == FsErrorKind::Throttled {
                    return Ok(());
                }
                return Err(error);
            }
        };
        let above = above.map(|answer| answer.read::<First<FolderItem>>().map(Round::Begun));
        let below = below.map(|answer| answer.read::<First<MessageItem>>().map(Round::Begun));
        self.refresh_folders(&mut folders, above).await?;
        drop(folders);
        self.refresh(folder, &slot, &mut state, below).await
    }
}

/// Each message of a page of JSON as Graph sends it, and the same written into the index and read again; for
/// the fuzz target.
#[doc(hidden)]
#[must_use]
pub fn fuzz_page(page: &[u8]) -> Vec<(Message, Option<Message>)> {
    let Ok(page) = serde_json::from_slice::<First<MessageItem>>(page) else {
        return Vec::new();
    };
    let both = |item: MessageItem| {
        let message = item.message(true);
        let again = index::Index::round_trip(&message);
        (message, again)
    };
    page.into_items().into_iter().map(both).collect()
}

#[async_trait]
impl MailStore for Exchange {
    fn abilities(&self) -> &StoreAbilities {
        &self.abilities
    }

    fn address(&self) -> Option<&str> {
        Some(&self.inner.address)
    }

    async fn folders(&self, parent: Option<&FolderId>, _from: Option<&PageCursor>) -> FsResult<Page<Folder>> {
        let tree = self.inner.tree().await?;
        if let Some(parent) = parent
            && !tree.contains(&parent.0)
        {
            return Err(FsErrorKind::NotFound.into());
        }
        Ok(Page {
            items: tree.children(parent),
            next: None,
        })
    }

    async fn look(&self, folder: Option<&FolderId>) -> FsResult<()> {
        let (inner, folder) = (Arc::clone(&self.inner), folder.cloned());
        to_its_end(async move { inner.look(folder.as_ref()).await }).await
    }

    async fn messages(&self, folder: &FolderId, from: Option<&PageCursor>) -> FsResult<Page<Arc<Message>>> {
        let slot = self.inner.slot(folder);
        let begun = slot.state.lock().await.index.is_some();
        if from.is_none() || !begun {
            self.inner.refreshed(folder, &slot).await?;
        }
        let state = slot.state.lock().await;
        let index = state.index.as_ref().ok_or(FsErrorKind::NotFound)?;
        let (items, more) = index.page(from.map(|cursor| &*cursor.0), PAGE);
        let next = items
            .last()
            .filter(|_| more)
            .map(|last| PageCursor((&*last.id.0).into()));
        Ok(Page { items, next })
    }

    async fn change_token(&self, folder: &FolderId) -> FsResult<Option<ChangeToken>> {
        let slot = self.inner.slot(folder);
        self.inner.refreshed(folder, &slot).await?;
        let state = slot.state.lock().await;
        let index = state.index.as_ref().ok_or(FsErrorKind::NotFound)?;
        Ok(Some(ChangeToken(index.revision().to_string().into())))
    }

    async fn message(&self, folder: &FolderId, message: &MessageId) -> FsResult<Message> {
        let item = self.inner.one(message).await?;
        // Moved away: what was listed here is not here any more.
        if item
            .parent_folder_id
            .as_deref()
            .is_some_and(|parent| *parent != *folder.0)
        {
            return Err(FsErrorKind::NotFound.into());
        }
        Ok(item.message(true))
    }

    async fn open_part(
        &self,
        _folder: &FolderId,
        message: &MessageId,
        part: &PartId,
    ) -> FsResult<Arc<dyn Content>> {
        self.inner.part(message, part).await
    }

    async fn open_message(&self, folder: &FolderId, message: &MessageId) -> FsResult<Arc<dyn Content>> {
        self.inner.whole(folder, message).await
    }

    async fn open_text(&self, _folder: &FolderId, message: &MessageId) -> FsResult<Arc<dyn Content>> {
        self.inner.text(message).await
    }

    async fn delete_part(&self, folder: &FolderId, message: &MessageId, part: &PartId) -> FsResult<()> {
        self.inner.delete_part(folder, message, part).await
    }

    async fn delete_message(&self, folder: &FolderId, message: &MessageId) -> FsResult<()> {
        self.inner.delete_message(folder, message).await
    }

    async fn soft_delete(&self, folder: &FolderId, message: &MessageId) -> FsResult<()> {
        self.inner.soft_delete(folder, message).await
    }

    async fn move_message(&self, folder: &FolderId, message: &MessageId, to: &FolderId) -> FsResult<()> {
        self.inner.move_message(folder, message, to).await
    }

    async fn create_folder(&self, parent: Option<&FolderId>, name: &str) -> FsResult<Folder> {
        self.inner.create_folder(parent, name).await
    }

    async fn rename_folder(
        &self,
        folder: &FolderId,
        parent: Option<&FolderId>,
        name: &str,
    ) -> FsResult<Vec<(FolderId, FolderId)>> {
        self.inner.rename_folder(folder, parent, name).await?;
        Ok(Vec::new())
    }

    async fn delete_folder(&self, folder: &FolderId) -> FsResult<()> {
        self.inner.delete_folder(folder).await
    }

    async fn create_draft(
        &self,
        folder: &FolderId,
        draft: &Draft,
        content: Arc<dyn Content>,
    ) -> FsResult<Message> {
        self.inner.create_draft(folder, draft, content).await
    }

    async fn import(&self, folder: &FolderId, content: Arc<dyn Content>) -> FsResult<MessageId> {
        self.inner.import(folder, content).await
    }

    async fn drafts_folder(&self) -> FsResult<FolderId> {
        let drafts = self.inner.tree().await?.well_known("drafts");
        drafts.ok_or_else(|| FsErrorKind::NotFound.into())
    }

    async fn send_draft(&self, folder: &FolderId, message: &MessageId) -> FsResult<()> {
        self.inner.send_draft(folder, message).await
    }
}
