//! What changes the mailbox: messages and folders.
//!
//! Invariants: what we changed is out of the index before it is answered; a folder is deleted only when
//! Exchange, asked now, says that it is empty, since Graph deletes whatever is in it.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use portreeve_microsoft::{BatchItem, GraphError, GraphFault, segment};
use portreeve_vfs::{FsError, FsErrorKind, FsResult};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Inner,
    index::Known,
    wire::{DraftItem, FOLDER_FIELDS, FolderItem, MessageItem},
};
use crate::{Content, Folder, FolderId, FolderKind, MessageId, PartId};

/// Largest message that is taken in whole, in bytes: Graph takes 4 MB in one request, and base64 adds a
/// third.
pub(super) const MAX_IMPORT: u64 = 3_000_000;

/// A list of which only the length matters.
#[derive(Deserialize)]
struct Sample {
    value: Vec<Value>,
}

impl Inner {
    /// Takes one attachment out of its message.
    pub(super) async fn delete_part(
        &self,
        folder: &FolderId,
        message: &MessageId,
        part: &PartId,
    ) -> FsResult<()> {
        let path = format!(
            "messages/{}/attachments/{}",
            segment(&message.0),
            segment(&part.0)
        );
        let done = self.graph.delete(&path).await;
        if is_done(&done) {
            self.changed(folder, |index| {
                index.remove_part(message, part);
            })
            .await;
        }
        done.map_err(|error| self.told(&error))
    }

    /// Deletes a message: it goes to Deleted Items, from there to the recoverable ones.
    pub(super) async fn delete_message(&self, folder: &FolderId, message: &MessageId) -> FsResult<()> {
        let done = self
            .graph
            .delete(&format!("messages/{}", segment(&message.0)))
            .await;
        if is_done(&done) {
            self.gone(folder, message).await;
            self.stale_well_known("deleteditems").await;
        }
        done.map_err(|error| self.told(&error))
    }

    /// Moves a message to Deleted Items; one that is there already is deleted.
    pub(super) async fn soft_delete(&self, folder: &FolderId, message: &MessageId) -> FsResult<()> {
        let bin = self.tree().await?.well_known("deleteditems");
        match bin {
            Some(bin) if bin != *folder => self.move_message(folder, message, &bin).await,
            _ => self.delete_message(folder, message).await,
        }
    }

    pub(super) async fn move_message(
        &self,
        folder: &FolderId,
        message: &MessageId,
        to: &FolderId,
    ) -> FsResult<()> {
        let path = format!("messages/{}/move", segment(&message.0));
        let body = json!({ "destinationId": &*to.0 });
        match self.graph.post::<_, Value>(&path, &body).await {
            Ok(_) => {}
            // The answer was lost: where the message is says whether it was done.
            Err(error) if error.uncertain => {
                let item = self.one(message).await?;
                if item.parent_folder_id.as_deref() != Some(&*to.0) {
                    return Err(self.told(&error));
                }
            }
            Err(error) => {
                if matches!(error.kind, GraphFault::NotFound) {
                    self.gone(folder, message).await;
                }
                return Err(self.told(&error));
            }
        }
        let known = self.known(folder, message).await;
        self.gone(folder, message).await;
        match known {
            Some(known) => {
                let known = Known {
                    stamp: "".into(),
                    ..known
                };
                self.changed(to, |index| {
                    // A full index is refused at the next listing, not here: the message is moved.
                    let _ = index.put(known);
                })
                .await;
            }
            None => self.stale(to).await,
        }
        Ok(())
    }

    async fn gone(&self, folder: &FolderId, message: &MessageId) {
        self.changed(folder, |index| {
            index.remove(message);
        })
        .await;
    }

    pub(super) async fn create_folder(&self, parent: Option<&FolderId>, name: &str) -> FsResult<Folder> {
        let path = match parent {
            Some(parent) => format!("mailFolders/{}/childFolders", segment(&parent.0)),
            None => "mailFolders".to_owned(),
        };
        let made = self
            .graph
            .post::<_, FolderItem>(&path, &json!({ "displayName": name }))
            .await;
        let made = made.map_err(|error| self.told(&error))?;
        let folder = Folder {
            id: (*made.id).into(),
            name: made.display_name.unwrap_or_else(|| name.to_owned()),
            kind: FolderKind::Ordinary,
        };
        self.with_tree(|tree| tree.put(&folder.id, &folder.name, parent))
            .await;
        Ok(folder)
    }

    /// Moves and renames a folder; its id stays, and so do those below it.
    pub(super) async fn rename_folder(
        &self,
        folder: &FolderId,
        parent: Option<&FolderId>,
        name: &str,
    ) -> FsResult<()> {
        let tree = self.tree().await?;
        self.check_ordinary(&tree, folder)?;
        let (old_name, old_parent) = tree.place(folder).ok_or(FsErrorKind::NotFound)?;
        let moved = old_parent.as_ref() != parent;
        if moved {
            self.move_folder(folder, parent)
                .await
                .map_err(|error| self.told(&error))?;
            self.with_tree(|tree| tree.put(folder, &old_name, parent)).await;
        }
        if old_name != name {
            let path = format!("mailFolders/{}", segment(&folder.0));
            let named = self
                .graph
                .patch::<_, Value>(&path, &json!({ "displayName": name }))
                .await;
            if let Err(error) = named {
                // Half a rename is none.
                if moved && let Err(back) = self.move_folder(folder, old_parent.as_ref()).await {
                    tracing::warn!(mailbox = %self.address, error = %back, "a folder was moved, but neither renamed nor moved back");
                } else if moved {
                    self.with_tree(|tree| tree.put(folder, &old_name, old_parent.as_ref()))
                        .await;
                }
                return Err(self.told(&error));
            }
        }
        self.with_tree(|tree| tree.put(folder, name, parent)).await;
        Ok(())
    }

    async fn move_folder(&self, folder: &FolderId, to: Option<&FolderId>) -> Result<(), GraphError> {
        let path = format!("mailFolders/{}/move", segment(&folder.0));
        let to = to.map_or("msgfolderroot", |to| &*to.0);
        self.graph
            .post::<_, Value>(&path, &json!({ "destinationId": to }))
            .await
            .map(drop)
    }

    pub(super) async fn delete_folder(&self, folder: &FolderId) -> FsResult<()> {
        let tree = self.tree().await?;
        self.check_ordinary(&tree, folder)?;
        let id = segment(&folder.0);
        let asked = vec![
            BatchItem::get(format!("mailFolders/{id}?$select={FOLDER_FIELDS}")),
            BatchItem::get(format!(
                "mailFolders/{id}/childFolders?includeHiddenFolders=true&$select=id&$top=1"
            )),
            BatchItem::get(format!("mailFolders/{id}/messages?$select=id&$top=1")),
        ];
        let answers = self.graph.batch(asked).await.map_err(|error| self.told(&error))?;
        let mut answers = answers.into_iter();
        let not_empty = || FsError::from(FsErrorKind::NotEmpty);
        let told = answers.next().ok_or_else(not_empty)?.read::<FolderItem>();
        let told = told.map_err(|error| self.told(&error))?;
        // What is not told is not taken for nothing.
        if told.total_item_count != Some(0) || told.child_folder_count != Some(0) {
            return Err(not_empty());
        }
        for answer in answers {
            let found = answer.read::<Sample>().map_err(|error| self.told(&error))?;
            if !found.value.is_empty() {
                return Err(not_empty());
            }
        }
        self.graph
            .delete(&format!("mailFolders/{id}"))
            .await
            .map_err(|error| self.told(&error))?;
        self.with_tree(|tree| tree.remove(&folder.0)).await;
        self.forget(folder).await;
        Ok(())
    }

    fn check_ordinary(&self, tree: &super::tree::Tree, folder: &FolderId) -> FsResult<()> {
        if tree.kind(&folder.0) == FolderKind::Ordinary {
            return Ok(());
        }
        Err(FsError::new(FsErrorKind::Refused).context("the mailbox needs this folder"))
    }

    /// Takes in a whole message. Graph makes it a draft.
    pub(super) async fn import(&self, folder: &FolderId, content: Arc<dyn Content>) -> FsResult<MessageId> {
        if content.size() > MAX_IMPORT {
            return Err(FsError::new(FsErrorKind::TooLarge).context(format!(
                "Microsoft Graph takes whole messages of up to {MAX_IMPORT} bytes"
            )));
        }
        let len = usize::try_from(content.size()).map_err(|_| FsErrorKind::TooLarge)?;
        let mut mime = Vec::with_capacity(len);
        loop {
            let before = mime.len();
            mime = content.read(before as u64, len.max(1), mime).await?;
            if mime.len() == before {
                break;
            }
        }
        let path = format!("mailFolders/{}/messages", segment(&folder.0));
        let made = self
            .graph
            .post_raw::<MessageItem>(&path, "text/plain", STANDARD.encode(mime).into())
            .await;
        match made {
            Ok(made) => {
                self.stale(folder).await;
                Ok((*made.id).into())
            }
            Err(error)
                if error.code == "ErrorMimeContentInvalidBase64String"
                    || error.code == "ErrorMimeContentInvalid" =>
            {
                Err(FsError::new(FsErrorKind::Refused).context(
                    "Exchange does not take this file for a message (it must be as RFC 5322 has it)",
                ))
            }
            Err(error) => Err(self.told(&error)),
        }
    }

    /// Sends what is still a draft in `folder`. A message that was sent keeps its id, so it is asked first.
    pub(super) async fn send_draft(&self, folder: &FolderId, message: &MessageId) -> FsResult<()> {
        if !self.is_draft(folder, message).await? {
            self.gone(folder, message).await;
            return Err(FsErrorKind::NotFound.into());
        }
        let path = format!("messages/{}/send", segment(&message.0));
        match self
            .graph
            .post_raw::<Value>(&path, "text/plain", Bytes::new())
            .await
        {
            Ok(_) => {}
            // The answer was lost: where the message is says whether it went out.
            Err(error) if error.uncertain => {
                if self.is_draft(folder, message).await? {
                    return Err(self.told(&error));
                }
            }
            Err(error) => return Err(self.told(&error)),
        }
        self.gone(folder, message).await;
        self.stale_well_known("sentitems").await;
        Ok(())
    }

    /// Whether it is a draft in this folder, asked now.
    pub(super) async fn is_draft(&self, folder: &FolderId, message: &MessageId) -> FsResult<bool> {
        let path = format!("messages/{}?$select=isDraft,parentFolderId", segment(&message.0));
        match self.graph.get::<DraftItem>(&path).await {
            Ok(item) => {
                let here = item.parent_folder_id.as_deref() == Some(&*folder.0);
                Ok(here && item.is_draft == Some(true))
            }
            Err(error) if matches!(error.kind, GraphFault::NotFound) && !error.mailbox_unknown() => Ok(false),
            Err(error) => Err(self.told(&error)),
        }
    }
}

/// Whether something is not there any more, by us or before.
fn is_done(done: &Result<(), GraphError>) -> bool {
    match done {
        Ok(()) => true,
        Err(error) => matches!(error.kind, GraphFault::NotFound) && !error.mailbox_unknown(),
    }
}
