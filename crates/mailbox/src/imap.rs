//! A mailbox on a mail server as a [`MailStore`], by IMAP (RFC 3501) over TLS.
//!
//! - `wire`, `answer`, `connection`, `sign_in`, `pool`: from bytes to a few connections that are kept.
//! - `structure`, `row`, `namespace`, `folders`: what the server tells of parts, messages and folders.
//! - `index`: a folder's messages, kept between listings; `watch` hears of what happens in one.
//! - `reading`, `writing`, `ledger`: contents by pieces; messages taken in, written anew and removed.
//!
//! Invariants: nothing is marked as read; a message goes only by its UID, and only where the server can
//! expunge by UID, since others' deleted mail would go with it; a message that is written anew is there before
//! the old one goes, and keeps its id.

mod answer;
mod connection;
mod error;
mod folders;
mod index;
mod ledger;
mod namespace;
mod open;
mod options;
mod pool;
mod reading;
mod row;
mod sign_in;
mod store;
mod structure;
#[cfg(test)]
mod tests;
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

use futures::FutureExt;
use parking_lot::Mutex;
use portreeve_vfs::{FsError, FsErrorKind, FsResult};

use crate::{FolderId, FolderKind, Message, MessageId, StoreAbilities, Surroundings, store::too_many};
use connection::Connection;
use error::{ImapError, Kind};
use folders::{Given, Listed, MAX_FOLDERS, Tree};
use index::{Index, Slots};
use ledger::{Ledger, Records, uid_of};
use namespace::Home;
pub use options::{ImapOptions, ImapSecrets, Mechanism};
use pool::Pool;
use row::Known;
use watch::Watch;
pub use wire::take_apart;

/// Messages on one page.
const PAGE: usize = 500;
/// How long a folder may go unasked while the server tells of its changes.
const WATCHED: Duration = Duration::from_mins(5);
/// How long who lists a folder waits for those who change messages: one of them may write for minutes.
const TURN: Duration = Duration::from_secs(2);

/// A mailbox by IMAP.
pub struct Imap {
    inner: Arc<Inner>,
    abilities: StoreAbilities,
    watch: Option<Watch>,
}

/// What tasks of the mailbox share.
struct Inner {
    pool: Pool,
    /// As it was configured.
    address: String,
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
    /// Changes of messages go one by one, whichever storage they come through: the records are shared.
    changing: Arc<tokio::sync::Mutex<()>>,
}

/// How a mailbox is treated: what the options say of it beyond the connection.
struct Treatment {
    space: String,
    address: String,
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
            changing: around.turn(&how.space),
            ledger: Ledger::new(Arc::clone(&around.shelf), how.space.clone()),
            space: how.space,
            address: how.address,
            fresh_for: how.fresh_for,
            spool_keep: how.spool_keep,
            max_entries: how.max_entries,
            given: how.given,
            tree: Mutex::default(),
            tree_gate: tokio::sync::Mutex::default(),
            slots: Slots::default(),
            estimates: AtomicBool::new(false),
            revision: AtomicU64::new(1),
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
        let (listed, home) = self
            .pool
            .read(None, |connection| list(connection).boxed())
            .await?;
        if listed.len() > MAX_FOLDERS {
            return Err(FsError::new(FsErrorKind::TooLarge)
                .context(format!("the mailbox has more than {MAX_FOLDERS} folders")));
        }
        let tree = Arc::new(Tree::new(&listed, home, &self.given));
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
        let mut before = before;
        let mut tries = 0;
        let mut again = false;
        let mut turn = None;
        loop {
            tries += 1;
            let (began, changes) = (Instant::now(), slot.changes());
            match self.look(folder, before.as_ref(), turn.is_some()).await {
                Err(Refresh::Imap(error)) if error.kind == Kind::Lost && tries < 3 => {}
                Err(error) => return Err(error),
                // A message that was written anew meanwhile would go by an id of its own, and its files by new
                // names: once more, while nobody writes if that can be had. Only what has changed is fetched then,
                // so that the turn is not held for long.
                Ok(look) if look.torn && !again => {
                    again = true;
                    before = look.index.or(before);
                    turn = tokio::time::timeout(TURN, self.changing.lock()).await.ok();
                }
                Ok(Look { index: None, .. }) => return Err(Refresh::Fs(too_many(self.max_entries))),
                Ok(Look {
                    index: Some(index),
                    records,
                    torn,
                }) => {
                    if torn {
                        // Better than nothing, but whoever comes next looks again.
                        slot.stale();
                    }
                    slot.set(Arc::clone(&index), began, changes);
                    self.slots.trim(folder, self.max_entries);
                    if index.whole() {
                        self.tidy(folder, &index, &records).await;
                    }
                    return Ok(index);
                }
            }
        }
    }

    /// Looks at a folder's messages once; `alone` where the caller holds the turn of changes.
    async fn look(
        &self,
        folder: &FolderId,
        before: Option<&Arc<Index>>,
        alone: bool,
    ) -> Result<Look, Refresh> {
        let mut lease = self.pool.take(Some(&folder.0)).await?;
        let connection = lease.connection()?;
        let state = connection.select(&folder.0, false, true).await?.clone();
        let mut records = self.ledger.load(folder, state.validity).await?;
        if records.unfinished() {
            let turn = self.changing.try_lock();
            if alone || turn.is_ok() {
                // What was begun before a crash, or before a connection broke.
                self.repair(connection, folder, state.validity, &records).await;
                records = self.ledger.peek(folder, state.validity).await?;
                connection.select(&folder.0, false, true).await?;
            }
        } else if let Some(before) = before.filter(|before| before.holds(&state)) {
            let index = Some(Arc::clone(before));
            return Ok(Look {
                index,
                records,
                torn: false,
            });
        }
        let revision = self.revision.fetch_add(1, Ordering::Relaxed);
        let before = before.map(Arc::as_ref);
        let index = index::update(connection, before, &records, revision, self.max_entries).await?;
        let torn = self.ledger.peek(folder, state.validity).await? != records;
        let index = index.map(|index| if torn { index.torn() } else { index });
        Ok(Look {
            torn,
            index: index.map(Arc::new),
            records,
        })
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
        let records = self.ledger.peek(folder, validity).await?;
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
        let mut rows = index::details(connection, &[uid]).await?;
        if rows.is_empty() {
            // What came after this connection last looked is not there for it: another one may have seen it.
            connection.run("NOOP").await?;
            rows = index::details(connection, &[uid]).await?;
        }
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

/// What one look at a folder brought.
struct Look {
    /// None: there are too many messages.
    index: Option<Arc<Index>>,
    records: Records,
    /// The records have changed meanwhile.
    torn: bool,
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

async fn list(connection: &mut Connection) -> Result<(Vec<Listed>, Home), ImapError> {
    let home = home(connection).await?;
    let special = connection.can("SPECIAL-USE") && connection.can("LIST-EXTENDED");
    let line = if special {
        "LIST \"\" \"*\" RETURN (SPECIAL-USE)"
    } else {
        "LIST \"\" \"*\""
    };
    let answer = connection.run(line).await?;
    Ok((answer.data.iter().filter_map(Listed::read).collect(), home))
}

/// Where the account's own folders are: asked once on each connection, since it hangs on the server's configuration.
async fn home(connection: &mut Connection) -> Result<Home, ImapError> {
    if let Some(home) = &connection.home {
        return Ok(home.clone());
    }
    let mut home = Home::default();
    if connection.can("NAMESPACE") || connection.can("IMAP4REV2") {
        match connection.run("NAMESPACE").await {
            Ok(answer) => home = answer.data.iter().find_map(Home::read).unwrap_or_default(),
            Err(error) if error.kind == Kind::Lost => return Err(error),
            Err(error) => tracing::debug!(%error, "the mail server does not say where folders are"),
        }
    }
    connection.home = Some(home.clone());
    Ok(home)
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
