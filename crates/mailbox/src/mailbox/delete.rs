//! Deleting and moving: the rule that decides what becomes of the message.
//!
//! Invariants: the attachment goes first, or together with its message, never the message alone. The
//! message goes only when the store itself, asked afresh and unfiltered, knows all its attachments
//! and shows none that is not inline. Inline parts never decide over a message.

use portreeve_model::VPath;
use portreeve_vfs::{FsError, FsErrorKind, FsResult, Rename};

use super::{Shared, items::Item, now, view::Need, whole::Whole};
use crate::{Attachment, Folder, FolderKind, Message, OnDelete, PartId, book::PartKey};

impl Shared {
    pub(super) async fn delete(&self, folder: &Folder, item: &Item) -> FsResult<()> {
        let key = &item.key;
        if Whole::of(key).is_some() {
            return Err(FsError::new(FsErrorKind::Refused).context(
                "the message itself is deleted by removing its directory, when no attachment is left in it",
            ));
        }
        let before = match self.store.message(&folder.id, &key.message).await {
            Ok(message) => message,
            Err(error) => return self.lost(folder, key, error).await,
        };
        let Some(mine) = before.attachments.iter().find(|a| a.id == key.part) else {
            return self.lost(folder, key, FsErrorKind::NotFound.into()).await;
        };
        let decides = mine.counts();
        if decides && is_last(&before, &key.part) {
            self.finish(folder, key).await?;
            return self.gone(folder, |other| other.message == key.message).await;
        }
        if let Err(error) = self.store.delete_part(&folder.id, &key.message, &key.part).await {
            return self.lost(folder, key, error).await;
        }
        self.gone(folder, |other| other == key).await?;
        if !decides {
            return Ok(());
        }
        // Somebody else may have deleted the others meanwhile, and neither of us saw the last one go.
        let after = match self.store.message(&folder.id, &key.message).await {
            Ok(after) => after,
            Err(error) if error.kind() == FsErrorKind::NotFound => return Ok(()),
            Err(error) => {
                // The attachment is gone, as was asked; the message stays until it is deleted by hand.
                tracing::warn!(message = ?key.message, %error, "cannot tell whether this was the last attachment: the message stays");
                return Ok(());
            }
        };
        if is_last(&after, &key.part) {
            self.finish(folder, key).await?;
            return self.gone(folder, |other| other.message == key.message).await;
        }
        Ok(())
    }

    /// What becomes of a message whose last attachment goes.
    pub(super) async fn finish(&self, folder: &Folder, key: &PartKey) -> FsResult<()> {
        let done = match self.policy.on_delete {
            OnDelete::Remove => self.store.delete_message(&folder.id, &key.message).await,
            OnDelete::Soft => self.store.soft_delete(&folder.id, &key.message).await,
            OnDelete::Move => {
                let to = self.policy.move_to.as_ref().ok_or(FsErrorKind::Refused)?;
                let to = match self.folder_unfiltered(to).await {
                    Ok(Some(to)) if to.kind != FolderKind::Container => to,
                    _ => {
                        return Err(FsError::new(FsErrorKind::Refused)
                            .context("the folder for processed messages (option move_to) is missing"));
                    }
                };
                if to.id == folder.id {
                    // It is there already: nothing to move it to, so its attachment goes.
                    return self.store.delete_part(&folder.id, &key.message, &key.part).await;
                }
                let moved = self.store.move_message(&folder.id, &key.message, &to.id).await;
                self.views.slot(&to.id).lock().await.stale();
                moved
            }
        };
        match done {
            // Gone meanwhile: as was asked.
            Err(error) if error.kind() == FsErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    /// Something could not be done to a part; when because it is gone, its name is freed in time.
    pub(super) async fn lost(&self, folder: &Folder, key: &PartKey, error: FsError) -> FsResult<()> {
        if error.kind() == FsErrorKind::NotFound {
            self.gone(folder, |other| other == key).await?;
        }
        Err(error)
    }

    /// Marks parts as gone and takes them out of the view.
    pub(super) async fn gone(&self, folder: &Folder, gone: impl Fn(&PartKey) -> bool) -> FsResult<()> {
        let slot = self.views.slot(&folder.id);
        let mut state = slot.lock().await;
        let book = self.book();
        let bindings = state.bindings(self, &folder.id).await?;
        let keys: Vec<PartKey> = bindings.live().filter(|key| gone(key)).cloned().collect();
        let changed = keys.iter().filter_map(|key| bindings.gone(key, now())).collect();
        state.record(book, &folder.id, changed).await;
        state.take_out(gone);
        Ok(())
    }

    /// Moves a message to another folder by moving its only file there.
    pub(super) async fn move_file(
        &self,
        from: &VPath,
        folder: &Folder,
        item: &Item,
        to: &VPath,
        how: Rename,
    ) -> FsResult<()> {
        let refused = |text: &str| FsError::new(FsErrorKind::Refused).context(text);
        if from == to {
            return match how {
                Rename::NoReplace => Err(FsErrorKind::Exists.into()),
                Rename::Replace => Ok(()),
            };
        }
        let (target, name) = self.vacant(to).await?;
        let target = target.filter(|target| target.kind != FolderKind::Container);
        let target = target.ok_or_else(|| refused("messages can be moved to a mail folder only"))?;
        let key = &item.key;
        let message = self.store.message(&folder.id, &key.message).await?;
        let visible = self.view(folder, Need::Fresh).await?;
        let shown = visible
            .files
            .iter()
            .filter(|other| other.key.message == key.message)
            .count();
        if !is_last(&message, &key.part) || shown != 1 {
            return Err(refused(
                "the message has other attachments; only a message with one file can be moved to another folder",
            ));
        }
        self.carry(folder, item, &target, name).await
    }

    /// Moves the message of `item` to `target`, where the item is `name` from then on.
    pub(super) async fn carry(
        &self,
        folder: &Folder,
        item: &Item,
        target: &Folder,
        name: String,
    ) -> FsResult<()> {
        let key = &item.key;
        let slot = self.views.slot(&target.id);
        let _alone = slot.put_alone().await;
        let mut state = slot.lock().await;
        let book = self.book();
        let bindings = state.bindings(self, &target.id).await?;
        if !bindings.free_rested(&name) {
            return Err(FsErrorKind::Exists.into());
        }
        self.store
            .move_message(&folder.id, &key.message, &target.id)
            .await?;
        let bound = state.bindings(self, &target.id).await?.bind(key.clone(), name);
        state.record(book, &target.id, vec![bound]).await;
        state.stale();
        drop(state);
        self.gone(folder, |other| other.message == key.message).await
    }
}

/// Whether a message would have no attachment left that counts, were `part` gone.
pub(super) fn is_last(message: &Message, part: &PartId) -> bool {
    let others = |attachment: &&Attachment| attachment.counts() && attachment.id != *part;
    message.complete && !message.attachments.iter().any(|attachment| others(&attachment))
}
