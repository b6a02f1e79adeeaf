//! A mailbox on a mail server as a [`MailStore`], by IMAP (RFC 3501) over TLS.
//!
//! - `wire`, `connection`, `sign_in`, `pool`: from bytes to a few connections that are kept.
//! - `structure`, `row`, `folders`: what the server tells of parts, messages and folders.
//! - `index`: a folder's messages, kept between listings; `watch` hears of what happens in one.
//! - `reading`, `writing`, `ledger`: contents by pieces; messages taken in, written anew and removed.
//!
//! Invariants: nothing is marked as read; a message goes only by its UID, and only where the server can
//! expunge by UID, since others' deleted mail would go with it; a message that is written anew is there before
//! the old one goes, and keeps its id.

mod connection;
mod error;
mod folders;
mod index;
mod ledger;
mod open;
mod options;
mod pool;
mod reading;
mod row;
mod sign_in;
mod structure;
#[cfg(test)]
mod tests;
mod utf7;
mod watch;
mod wire;
mod writing;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use futures::FutureExt;
use parking_lot::Mutex;
use portreeve_vfs::{FsError, FsErrorKind, FsResult};

use crate::{
    ChangeToken, Content, Draft, Folder, FolderId, FolderKind, MailStore, Message, MessageId, Page,
    PageCursor, PartId, StoreAbilities, Surroundings, store::too_many,
};
use connection::{Connection, folder as argument};
use error::{ImapError, Kind};
use folders::{Given, Listed, MAX_FOLDERS, Tree};
use index::{Index, Slots};
use ledger::{Ledger, Records, uid_of};
pub use options::{ImapOptions, ImapSecrets, Mechanism};
use pool::Pool;
use row::Known;
use watch::Watch;
pub use wire::take_apart;

/// Messages on one page.
const PAGE: usize = 500;
/// How long a folder may go unasked while the server tells of its changes.
const WATCHED: Duration = Duration::from_mins(5);

/// A mailbox by IMAP.
pub struct Imap {
    inner: Arc<Inner>,
    abilities: StoreAbilities,
    watch: Option<Watch>,
}

/// What tasks of the mailbox share.
struct Inner {
    pool: Pool,
    around: Surroundings,
    ledger: Ledger,
    /// Unique among mailboxes.
    space: String,
    fresh_for: Duration,
    spool_keep: Duration,
    max_entries: usize,
    given: Given,
    tree: Mutex<Option<(Instant, Arc<Tree>)>>,
    tree_gate: tokio::sync::Mutex<()>,
    slots: Slots,
    /// The server's word for the length of a part was wrong once.
    estimates: AtomicBool,
    revision: AtomicU64,
    /// Changes of messages go one by one.
    changing: tokio::sync::Mutex<()>,
}

/// How a mailbox is treated: what the options say of it beyond the connection.
struct Treatment {
    space: String,
    fresh_for: Duration,
    spool_keep: Duration,
    max_entries: usize,
    max_draft: u64,
    idle: bool,
    given: Given,
}

impl Imap {
    fn new(pool: Pool, around: &Surroundings, how: Treatment) -> Self {
        let inner = Arc::new(Inner {
            pool,
            around: around.clone(),
            ledger: Ledger::new(Arc::clone(&around.shelf), how.space.clone()),
            space: how.space,
            fresh_for: how.fresh_for,
            spool_keep: how.spool_keep,
            max_entries: how.max_entries,
            given: how.given,
            tree: Mutex::default(),
            tree_gate: tokio::sync::Mutex::default(),
            slots: Slots::default(),
            estimates: AtomicBool::new(false),
            revision: AtomicU64::new(1),
            changing: tokio::sync::Mutex::default(),
        });
        Self {
            watch: how.idle.then(|| Watch::new(&inner)),
            inner,
            abilities: StoreAbilities {
                delete_part: true,
                delete_message: true,
                folders: true,
                drafts: true,
                send: false,
                import: true,
                whole: true,
                max_draft: Some(how.max_draft),
                // What is reused for longer is known here, where news of the server arrives.
                fresh_for: how.fresh_for.min(Duration::from_secs(1)),
                remote: true,
            },
        }
    }
}

impl Inner {
    /// The folders, asked anew when they were seen too long ago or `afresh`.
    async fn tree(&self, afresh: bool) -> FsResult<Arc<Tree>> {
        let asked = Instant::now();
        let known = |since: Instant| {
            let tree = self.tree.lock().clone();
            tree.filter(|(at, _)| *at >= since).map(|(_, tree)| tree)
        };
        let old = asked.checked_sub(self.fresh_for);
        let since = if afresh { asked } else { old.unwrap_or(asked) };
        if let Some(tree) = known(since) {
            return Ok(tree);
        }
        let _gate = self.tree_gate.lock().await;
        if let Some(tree) = known(since) {
            return Ok(tree);
        }
        let began = Instant::now();
        let listed = self
            .pool
            .read(None, |connection| list(connection).boxed())
            .await?;
        if listed.len() > MAX_FOLDERS {
            return Err(FsError::new(FsErrorKind::TooLarge)
                .context(format!("the mailbox has more than {MAX_FOLDERS} folders")));
        }
        let tree = Arc::new(Tree::new(&listed, &self.given));
        *self.tree.lock() = Some((began, Arc::clone(&tree)));
        Ok(tree)
    }

    fn forget_tree(&self) {
        *self.tree.lock() = None;
    }

    /// A refusal that may mean that the folder is gone, in the contract's terms.
    async fn settle(&self, folder: &FolderId, error: ImapError) -> FsError {
        if !matches!(error.kind, Kind::Refused | Kind::Gone) {
            return error.into();
        }
        match self.tree(true).await {
            Ok(tree)
                if tree
                    .find(folder)
                    .is_none_or(|folder| folder.kind == FolderKind::Container) =>
            {
                self.slots.forget(folder);
                FsError::new(FsErrorKind::NotFound).caused_by(error)
            }
            _ => error.into(),
        }
    }

    /// A folder's messages, asked anew when they were seen too long ago.
    async fn index(&self, folder: &FolderId) -> FsResult<Arc<Index>> {
        let slot = self.slots.of(folder);
        if let Some(index) = slot.fresh(self.fresh_for, WATCHED) {
            return Ok(index);
        }
        let tree = self.tree(false).await?;
        if tree
            .find(folder)
            .is_some_and(|folder| folder.kind == FolderKind::Container)
        {
            // A mere level of names: it cannot be opened.
            return Ok(Arc::default());
        }
        let _gate = slot.gate.lock().await;
        if let Some(index) = slot.fresh(self.fresh_for, WATCHED) {
            return Ok(index);
        }
        let index = match self.refresh(folder, slot.index()).await {
            Ok(index) => index,
            Err(Refresh::Imap(error)) => return Err(self.settle(folder, error).await),
            Err(Refresh::Fs(error)) => return Err(error),
        };
        Ok(index)
    }

    async fn refresh(&self, folder: &FolderId, before: Option<Arc<Index>>) -> Result<Arc<Index>, Refresh> {
        let slot = self.slots.of(folder);
        let mut tries = 0;
        loop {
            tries += 1;
            let (began, changes) = (Instant::now(), slot.changes());
            let outcome = async {
                let mut lease = self.pool.take(Some(&folder.0)).await?;
                let connection = lease.connection()?;
                let state = connection.select(&folder.0, false, true).await?.clone();
                let mut records = self.ledger.load(folder, state.validity).await?;
                if records.unfinished()
                    && let Ok(_turn) = self.changing.try_lock()
                {
                    // What was begun before a crash, or before a connection broke.
                    self.repair(connection, folder, state.validity, &records).await;
                    records = self.ledger.load(folder, state.validity).await?;
                    connection.select(&folder.0, false, true).await?;
                } else if let Some(before) = before.as_ref().filter(|before| before.holds(&state)) {
                    return Ok((Some(Arc::clone(before)), records));
                }
                let revision = self.revision.fetch_add(1, Ordering::Relaxed);
                let before = before.as_deref();
                let new = index::update(connection, before, &records, revision, self.max_entries).await?;
                Ok::<(Option<Arc<Index>>, Records), Refresh>((new.map(Arc::new), records))
            };
            match outcome.await {
                Err(Refresh::Imap(error)) if error.kind == Kind::Lost && tries < 3 => {}
                Err(error) => return Err(error),
                Ok((None, _)) => return Err(Refresh::Fs(too_many(self.max_entries))),
                Ok((Some(index), records)) => {
                    slot.set(Arc::clone(&index), began, changes);
                    self.slots.trim(folder, self.max_entries);
                    self.tidy(folder, &index, &records).await;
                    return Ok(index);
                }
            }
        }
    }

    /// Drops records of messages that are gone.
    async fn tidy(&self, folder: &FolderId, index: &Index, records: &Records) {
        let Some(state) = &index.state else { return };
        let gone: Vec<u32> = records
            .aliases
            .iter()
            .filter(|(uid, alias)| alias.replaces.is_none() && !index.known.contains_key(uid))
            // What came after the folder was looked at is no loss.
            .filter(|(uid, _)| state.next.is_some_and(|next| **uid < next) && records.intents.is_empty())
            .map(|(uid, _)| *uid)
            .collect();
        if !gone.is_empty()
            && let Err(error) = self.ledger.gone(folder, state.validity, &gone).await
        {
            tracing::warn!(%error, "records of deleted messages stay");
        }
    }

    /// The UID that an id stands for in a folder that is open under `validity`.
    async fn locate(&self, folder: &FolderId, validity: u32, id: &MessageId) -> FsResult<(u32, Vec<String>)> {
        let held = self.slots.of(folder).find(id);
        let records = self.ledger.load(folder, validity).await?;
        let replaced = records.replaced();
        let known = held.filter(|(own, known)| *own == validity && !replaced.contains(&known.uid));
        let by_alias = || {
            let mut all = records.aliases.iter();
            all.find(|(_, alias)| *alias.id == *id.0).map(|(uid, _)| *uid)
        };
        let uid = known.map(|(_, known)| known.uid).or_else(by_alias);
        let uid = uid
            .or_else(|| uid_of(id, validity))
            .ok_or(FsErrorKind::NotFound)?;
        let removed = records.aliases.get(&uid).map(|alias| alias.removed.clone());
        Ok((uid, removed.unwrap_or_default()))
    }

    /// A message as the server has it now, on a connection on which its folder is open.
    async fn look_at(
        &self,
        connection: &mut Connection,
        folder: &FolderId,
        id: &MessageId,
    ) -> FsResult<Known> {
        let open = connection
            .selected()
            .map(|open| open.validity)
            .ok_or(FsErrorKind::NotFound)?;
        let (uid, removed) = self.locate(folder, open, id).await?;
        let rows = index::details(connection, &[uid]).await?;
        let row = rows
            .into_iter()
            .find(|row| row.uid == uid && !row.has("\\Deleted"));
        Ok(Known::new(
            row.ok_or(FsErrorKind::NotFound)?,
            id.clone(),
            &removed,
        ))
    }
}

/// Why a folder could not be looked at.
#[derive(Debug)]
enum Refresh {
    Imap(ImapError),
    Fs(FsError),
}

impl From<ImapError> for Refresh {
    fn from(error: ImapError) -> Self {
        Self::Imap(error)
    }
}

impl From<FsError> for Refresh {
    fn from(error: FsError) -> Self {
        Self::Fs(error)
    }
}

async fn list(connection: &mut Connection) -> Result<Vec<Listed>, ImapError> {
    let special = connection.can("SPECIAL-USE") && connection.can("LIST-EXTENDED");
    let line = if special {
        "LIST \"\" \"*\" RETURN (SPECIAL-USE)"
    } else {
        "LIST \"\" \"*\""
    };
    let answer = connection.run(line).await?;
    Ok(answer.data.iter().filter_map(Listed::read).collect())
}

#[async_trait]
impl MailStore for Imap {
    fn abilities(&self) -> &StoreAbilities {
        &self.abilities
    }

    async fn folders(&self, parent: Option<&FolderId>, _from: Option<&PageCursor>) -> FsResult<Page<Folder>> {
        let tree = self.inner.tree(false).await?;
        if let Some(parent) = parent
            && tree.find(parent).is_none()
        {
            return Err(FsErrorKind::NotFound.into());
        }
        Ok(Page {
            items: tree.below(parent).to_vec(),
            next: None,
        })
    }

    async fn look(&self, folder: Option<&FolderId>) -> FsResult<()> {
        let tree = self.inner.tree(false).await?;
        let holds_messages = |folder: &FolderId| {
            let found = tree.find(folder);
            found.is_some_and(|folder| folder.kind != FolderKind::Container)
        };
        if let Some(folder) = folder
            && holds_messages(folder)
        {
            self.inner.index(folder).await?;
            if let Some(watch) = &self.watch {
                watch.turn_to(folder, &self.inner.slots.of(folder));
            }
        }
        Ok(())
    }

    async fn messages(&self, folder: &FolderId, from: Option<&PageCursor>) -> FsResult<Page<Arc<Message>>> {
        let after: u32 = from.and_then(|from| from.0.parse().ok()).unwrap_or(0);
        // Pages are of one index, as long as it is held.
        let held = if from.is_some() {
            self.inner.slots.of(folder).index()
        } else {
            None
        };
        let index = match held {
            Some(index) => index,
            None => self.inner.index(folder).await?,
        };
        let rest = index.known.range(after.saturating_add(1)..);
        let items: Vec<_> = rest.take(PAGE).collect();
        let last = items.last().filter(|_| items.len() == PAGE).map(|(uid, _)| **uid);
        Ok(Page {
            items: items
                .into_iter()
                .map(|(_, known)| Arc::clone(&known.message))
                .collect(),
            next: last.map(|uid| PageCursor(uid.to_string().into())),
        })
    }

    async fn change_token(&self, folder: &FolderId) -> FsResult<Option<ChangeToken>> {
        let index = self.inner.index(folder).await?;
        Ok(Some(ChangeToken(index.revision.to_string().into())))
    }

    async fn message(&self, folder: &FolderId, message: &MessageId) -> FsResult<Message> {
        self.inner.message(folder, message).await
    }

    async fn open_part(
        &self,
        folder: &FolderId,
        message: &MessageId,
        part: &PartId,
    ) -> FsResult<Arc<dyn Content>> {
        reading::open_part(&self.inner, folder, message, part).await
    }

    async fn open_message(&self, folder: &FolderId, message: &MessageId) -> FsResult<Arc<dyn Content>> {
        reading::open_message(&self.inner, folder, message).await
    }

    async fn open_text(&self, folder: &FolderId, message: &MessageId) -> FsResult<Arc<dyn Content>> {
        reading::open_text(&self.inner, folder, message).await
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
        let tree = self.inner.tree(true).await?;
        let wire = tree.wire(parent, name).ok_or(FsErrorKind::InvalidName)?;
        let id = FolderId(wire.as_str().into());
        if tree.find(&id).is_some() || wire.eq_ignore_ascii_case("INBOX") {
            return Err(FsErrorKind::Exists.into());
        }
        let mut lease = self.inner.pool.take(None).await?;
        let made = lease
            .connection()?
            .run(&format!("CREATE {}", argument(&wire)?))
            .await;
        self.inner.forget_tree();
        made?;
        // Mail programs show subscribed folders; who made it wants it seen there, but it is no part of making it.
        if let Err(error) = lease
            .connection()?
            .run(&format!("SUBSCRIBE {}", argument(&wire)?))
            .await
        {
            tracing::debug!(%error, "a new folder is not subscribed to");
        }
        Ok(Folder {
            id,
            name: name.to_owned(),
            kind: FolderKind::Ordinary,
        })
    }

    async fn rename_folder(
        &self,
        folder: &FolderId,
        parent: Option<&FolderId>,
        name: &str,
    ) -> FsResult<Vec<(FolderId, FolderId)>> {
        let tree = self.inner.tree(true).await?;
        let found = tree.find(folder).ok_or(FsErrorKind::NotFound)?;
        unprotected(found)?;
        let wire = tree.wire(parent, name).ok_or(FsErrorKind::InvalidName)?;
        let moved = tree.at_or_below(folder);
        if parent.is_some_and(|parent| moved.contains(parent)) {
            return Err(FsErrorKind::InvalidName.into());
        }
        if tree.find(&FolderId(wire.as_str().into())).is_some() {
            return Err(FsErrorKind::Exists.into());
        }
        let _turn = self.inner.changing.lock().await;
        let mut lease = self.inner.pool.take(None).await?;
        let line = format!("RENAME {} {}", argument(&folder.0)?, argument(&wire)?);
        let renamed = lease.connection()?.run(&line).await;
        self.inner.forget_tree();
        self.inner
            .pool
            .forget(|open| moved.iter().any(|old| *old.0 == *open));
        renamed?;
        let mut ids = Vec::new();
        for old in moved {
            let rest = old.0.get(folder.0.len()..).unwrap_or_default();
            let new = FolderId(format!("{wire}{rest}").into());
            self.inner.slots.forget(&old);
            if let Err(error) = self.inner.ledger.renamed(&old, &new).await {
                tracing::warn!(%error, "records of a renamed folder are lost: messages that were written anew get new names");
            }
            ids.push((old, new));
        }
        Ok(ids)
    }

    async fn delete_folder(&self, folder: &FolderId) -> FsResult<()> {
        let tree = self.inner.tree(true).await?;
        let found = tree.find(folder).ok_or(FsErrorKind::NotFound)?;
        unprotected(found)?;
        if tree.at_or_below(folder).len() > 1 {
            return Err(FsErrorKind::NotEmpty.into());
        }
        let mut lease = self.inner.pool.take(Some(&folder.0)).await?;
        let connection = lease.connection()?;
        if found.kind != FolderKind::Container {
            // Hidden ones count too: the server would delete whatever is in it.
            let state = connection.select(&folder.0, false, true).await?;
            if state.exists > 0 {
                return Err(FsErrorKind::NotEmpty.into());
            }
            connection.unselect().await?;
        }
        let deleted = connection.run(&format!("DELETE {}", argument(&folder.0)?)).await;
        self.inner.forget_tree();
        self.inner.slots.forget(folder);
        self.inner.pool.forget(|open| *open == *folder.0);
        deleted?;
        Ok(())
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
}

impl Inner {
    async fn message(&self, folder: &FolderId, id: &MessageId) -> FsResult<Message> {
        let known = self.known_afresh(folder, id).await?;
        Ok(Arc::unwrap_or_clone(known.message))
    }

    /// A message asked from the server itself.
    async fn known_afresh(&self, folder: &FolderId, id: &MessageId) -> FsResult<Known> {
        let mut tries = 0;
        loop {
            tries += 1;
            let outcome = async {
                let mut lease = self.pool.take(Some(&folder.0)).await?;
                let connection = lease.connection()?;
                connection.select(&folder.0, false, false).await?;
                Ok::<_, Refresh>(self.look_at(connection, folder, id).await?)
            };
            match outcome.await {
                Err(Refresh::Imap(error)) if error.kind == Kind::Lost && tries < 3 => {}
                Err(Refresh::Fs(error)) if error.kind() == FsErrorKind::Backend && tries < 3 => {}
                Err(Refresh::Imap(error)) => return Err(self.settle(folder, error).await),
                Err(Refresh::Fs(error)) => return Err(error),
                Ok(known) => return Ok(known),
            }
        }
    }
}

fn unprotected(folder: &Folder) -> FsResult<()> {
    match folder.kind {
        FolderKind::Inbox | FolderKind::WellKnown => Err(FsError::new(FsErrorKind::Refused)
            .context("the mailbox's own folders can be neither renamed nor deleted")),
        FolderKind::Ordinary | FolderKind::Container => Ok(()),
    }
}
