//! Drafts with one attachment: made as a whole, or not at all.
//!
//! Invariant: what is taken away is what was made here: the id that Graph answered, or, where that answer was lost, the one
//! draft of the folder that bears a mark which nobody else can know.

use std::{io, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use portreeve_microsoft::{GraphError, GraphFault, UploadSource, segment};
use portreeve_vfs::{FsError, FsErrorKind, FsResult};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Inner,
    index::Known,
    wire::{DraftItem, MessageItem},
};
use crate::{Content, Draft, FolderId, Message, MessageId};

/// The property that a draft is known by again; its value is chance. One name for all: Exchange keeps each for ever.
/// Source: Microsoft, "Outlook extended properties overview".
const MARK: &str = "String {c08713f7-279a-4240-9bce-d98d21ff893b} Name portreeve-upload";
/// Pauses before a draft is looked for whose creation was not answered: it may still be under way.
const LOOKS: [Duration; 2] = [Duration::ZERO, Duration::from_secs(2)];

/// An upload's bytes, read again for each piece.
struct Pieces(Arc<dyn Content>);

#[async_trait]
impl UploadSource for Pieces {
    async fn read(&self, at: u64, len: usize) -> io::Result<Bytes> {
        let read = self
            .0
            .read(at, len, Vec::with_capacity(len))
            .await
            .map_err(io::Error::other)?;
        if read.len() < len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(read.into())
    }
}

/// What nobody else can know.
fn mark() -> FsResult<String> {
    let mut chance = [0_u8; 16];
    getrandom::fill(&mut chance).map_err(|error| FsError::new(FsErrorKind::Backend).caused_by(error))?;
    Ok(format!("{:032x}", u128::from_be_bytes(chance)))
}

#[derive(Deserialize)]
struct IdItem {
    id: String,
}

/// A message that may bear the mark.
#[derive(Deserialize)]
struct MarkedItem {
    #[serde(flatten)]
    draft: DraftItem,
    #[serde(default, rename = "singleValueExtendedProperties")]
    extended: Vec<Property>,
}

#[derive(Deserialize)]
struct Property {
    value: String,
}

impl Inner {
    /// Makes a draft with one attachment: as a whole, or not at all.
    pub(super) async fn create_draft(
        self: &Arc<Self>,
        folder: &FolderId,
        draft: &Draft,
        content: Arc<dyn Content>,
    ) -> FsResult<Message> {
        let to: Vec<Value> = draft
            .to
            .iter()
            .map(|address| json!({ "emailAddress": { "address": address } }))
            .collect();
        let mark = mark()?;
        let body = json!({
            "subject": draft.subject,
            "toRecipients": to,
            "singleValueExtendedProperties": [{ "id": MARK, "value": mark }],
        });
        let path = format!("mailFolders/{}/messages", segment(&folder.0));
        let id = match self.graph.post::<_, MessageItem>(&path, &body).await {
            Ok(made) => MessageId::from(&*made.id),
            // The answer was lost: it is gone on with what was made, if it was.
            Err(error) if error.uncertain => match self.marked(folder, &mark).await {
                Some(id) => id,
                None => return Err(self.told(&error)),
            },
            Err(error) => return Err(self.told(&error)),
        };
        // Taken away again however this ends early, also when nobody waits for it any more.
        let mut unfinished = Unfinished(Some((Arc::clone(self), folder.clone(), id.clone())));
        let done = self.fill_draft(&id, draft, content).await;
        let draft = match done {
            Ok(message) => {
                unfinished.0 = None;
                message
            }
            Err(error) => {
                unfinished.0 = None;
                self.discard(folder, &id).await;
                return Err(error);
            }
        };
        let (message, stamp) = draft;
        self.changed(folder, |index| {
            let known = Known {
                message: Arc::new(message.clone()),
                stamp: stamp.into(),
            };
            // A full index is refused at the next listing, not here: the draft is made.
            let _ = index.put(known);
        })
        .await;
        Ok(message)
    }

    /// The draft with this mark, where it can be told for certain.
    async fn marked(&self, folder: &FolderId, mark: &str) -> Option<MessageId> {
        for pause in LOOKS {
            tokio::time::sleep(pause).await;
            match self.find_marked(folder, mark).await {
                Ok(None) => {}
                Ok(found) => return found,
                Err(error) => {
                    tracing::warn!(mailbox = %self.address, %error, "whether a draft was made cannot be told: an empty one may be left behind");
                    return None;
                }
            }
        }
        None
    }

    /// Looks for the mark among the folder's messages, and then at the message itself: Exchange compares without regard to
    /// case, and a filter that was not heeded would give somebody else's.
    async fn find_marked(&self, folder: &FolderId, mark: &str) -> Result<Option<MessageId>, GraphError> {
        let filter =
            format!("singleValueExtendedProperties/any(ep: ep/id eq '{MARK}' and ep/value eq '{mark}')");
        let path = format!(
            "mailFolders/{}/messages?$select=id&$filter={}",
            segment(&folder.0),
            segment(&filter)
        );
        // One that was copied meanwhile is two, and neither is touched.
        let found = self.graph.pages::<IdItem>(&path, None).all(1).await?;
        let Some(found) = found.into_iter().next() else {
            return Ok(None);
        };
        let property = format!("singleValueExtendedProperties($filter=id eq '{MARK}')");
        let path = format!(
            "messages/{}?$select=isDraft,parentFolderId&$expand={}",
            segment(&found.id),
            segment(&property)
        );
        let item: MarkedItem = self.graph.get(&path).await?;
        let ours = item.draft.is_draft == Some(true)
            && item.draft.parent_folder_id.as_deref() == Some(&*folder.0)
            && item.extended.iter().any(|property| property.value == mark);
        Ok(ours.then(|| MessageId::from(&*found.id)))
    }

    async fn fill_draft(
        &self,
        id: &MessageId,
        draft: &Draft,
        content: Arc<dyn Content>,
    ) -> FsResult<(Message, String)> {
        let size = content.size();
        let source = Pieces(content);
        let added = self
            .graph
            .upload(&id.0, &draft.file_name, size, "application/octet-stream", &source)
            .await;
        added.map_err(|error| self.told(&error))?;
        let item = self.one(id).await?;
        Ok((item.message(true), item.change_key.unwrap_or_default()))
    }

    /// Takes a draft away that did not become whole. One that somebody has sent or moved meanwhile keeps its id, and is
    /// theirs.
    async fn discard(&self, folder: &FolderId, id: &MessageId) {
        match self.is_draft(folder, id).await {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => return self.left_behind(&error),
        }
        let id = segment(&id.0);
        let path = format!("messages/{id}/permanentDelete");
        let done = self
            .graph
            .post_raw::<Value>(&path, "text/plain", Bytes::new())
            .await;
        if done.is_ok() {
            return;
        }
        match self.graph.delete(&format!("messages/{id}")).await {
            Ok(()) => {}
            Err(error) if matches!(error.kind, GraphFault::NotFound) => {}
            Err(error) => self.left_behind(&error),
        }
    }

    fn left_behind(&self, error: &dyn std::fmt::Display) {
        tracing::warn!(mailbox = %self.address, %error, "a draft that did not become whole could not be deleted: delete it by hand");
    }
}

/// A draft under way; dropped before it is whole, it is taken away.
struct Unfinished(Option<(Arc<Inner>, FolderId, MessageId)>);

impl Drop for Unfinished {
    fn drop(&mut self) {
        let Some((inner, folder, id)) = self.0.take() else {
            return;
        };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { inner.discard(&folder, &id).await });
        }
    }
}
