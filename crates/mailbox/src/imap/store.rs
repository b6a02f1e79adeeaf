//! The mailbox as the file system sees it: folders, messages and their parts.
//!
//! Invariants: what a folder is called on the wire is its id; a folder is deleted only when nothing is in it, and the
//! mailbox's own folders never.

use std::sync::Arc;

use async_trait::async_trait;
use portreeve_vfs::{FsError, FsErrorKind, FsResult};

use super::{Imap, PAGE, connection::folder as argument, reading};
use crate::{
    ChangeToken, Content, Draft, Folder, FolderId, FolderKind, MailStore, Message, MessageId, Page,
    PageCursor, PartId, StoreAbilities,
};

#[async_trait]
impl MailStore for Imap {
    fn abilities(&self) -> &StoreAbilities {
        &self.abilities
    }

    fn address(&self) -> Option<&str> {
        Some(&self.inner.address)
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
        let wire = tree.wire(parent, name).ok_or_else(cannot_be)?;
        let id = FolderId(wire.as_str().into());
        let inbox = parent.is_none() && name.eq_ignore_ascii_case("INBOX");
        if tree.find(&id).is_some() || inbox {
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
        let wire = tree.wire(parent, name).ok_or_else(cannot_be)?;
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

fn cannot_be() -> FsError {
    FsError::new(FsErrorKind::InvalidName).context(
        "the mail server can have no folder of that name there: it holds what stands between two folders, or nothing \
         can be below the folder above it",
    )
}

fn unprotected(folder: &Folder) -> FsResult<()> {
    match folder.kind {
        FolderKind::Inbox | FolderKind::WellKnown => Err(FsError::new(FsErrorKind::Refused)
            .context("the mailbox's own folders can be neither renamed nor deleted")),
        FolderKind::Ordinary | FolderKind::Container => Ok(()),
    }
}
