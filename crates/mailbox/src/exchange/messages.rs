//! Messages with all their attachments, however many calls that takes.
//!
//! Invariant: what is answered as complete was followed to the end of every list that Graph began.

use std::sync::{Arc, atomic::Ordering};

use portreeve_microsoft::{BatchItem, GraphError, GraphFault, segment};
use portreeve_vfs::FsResult;
use serde::Deserialize;

use super::{
    Inner,
    folders::is_refusal,
    index::Known,
    wire::{AttachmentItem, EXPAND, MessageItem, PART_FIELDS},
};
use crate::{MessageId, store::too_many};

/// A list of attachments.
#[derive(Deserialize)]
struct Parts {
    value: Vec<AttachmentItem>,
    #[serde(rename = "@odata.nextLink")]
    next: Option<String>,
}

/// A message as the index keeps it, and the folder that it is in.
pub(super) type Placed = (Known, Box<str>);

impl Inner {
    /// The end of a query that brings attachments with their messages, where Graph does that.
    pub(super) fn expand(&self) -> String {
        if self.expands.load(Ordering::Relaxed) {
            format!("&$expand={EXPAND}")
        } else {
            String::new()
        }
    }

    /// One message, asked now.
    pub(super) async fn one(&self, id: &MessageId) -> FsResult<MessageItem> {
        let path = |expand: &str| format!("messages/{}?$select={}{expand}", segment(&id.0), self.fields);
        let expand = self.expand();
        let mut got = self.graph.get::<MessageItem>(&path(&expand)).await;
        if let Err(error) = &got
            && !expand.is_empty()
            && is_refusal(error)
        {
            got = self.graph.get(&path("")).await;
        }
        let mut items = vec![got.map_err(|error| self.told(&error))?];
        // Unfiltered: a message may be deleted by what this says.
        self.complete(&mut items, true).await?;
        items
            .pop()
            .ok_or_else(|| portreeve_vfs::FsErrorKind::NotFound.into())
    }

    /// The messages with these ids, asked now, twenty a call; those that are gone are left out.
    pub(super) async fn fetch(&self, ids: &[MessageId]) -> FsResult<Vec<Placed>> {
        let mut out = Vec::new();
        // In pieces, so that what is held of them is bounded.
        for ids in ids.chunks(100) {
            let mut items = self.fetch_some(ids, &self.expand()).await?;
            self.complete(&mut items, false).await?;
            out.extend(items.into_iter().map(|item| {
                let place = item.parent_folder_id.clone().unwrap_or_default();
                (known(&item), place.into())
            }));
        }
        Ok(out)
    }

    async fn fetch_some(&self, ids: &[MessageId], expand: &str) -> FsResult<Vec<MessageItem>> {
        let ask = |id: &MessageId| {
            let id = segment(&id.0);
            BatchItem::get(format!("messages/{id}?$select={}{expand}", self.fields))
        };
        let answers = self.graph.batch(ids.iter().map(ask).collect()).await;
        let mut items = Vec::with_capacity(ids.len());
        for answer in answers.map_err(|error| self.told(&error))? {
            match answer.read::<MessageItem>() {
                Ok(item) => items.push(item),
                Err(error) if is_gone(&error) => {}
                Err(error) if !expand.is_empty() && is_refusal(&error) => {
                    return Box::pin(self.fetch_some(ids, "")).await;
                }
                Err(error) => return Err(self.told(&error)),
            }
        }
        Ok(items)
    }

    /// The messages of a page of a listing.
    pub(super) async fn with_attachments(&self, mut items: Vec<MessageItem>) -> FsResult<Vec<Known>> {
        self.complete(&mut items, false).await?;
        Ok(items.iter().map(known).collect())
    }

    /// Asks for what is missing: attachments that did not come with their message, the rest of lists that
    /// were begun, and what attached items are. Messages that are gone meanwhile are taken out.
    ///
    /// `all` asks also where a message is said to have none, which counts only what is not inline.
    async fn complete(&self, items: &mut Vec<MessageItem>, all: bool) -> FsResult<()> {
        let bare: Vec<usize> = places(items, |item| {
            let some = all || self.every_message || item.has_attachments != Some(false);
            item.attachments.is_none() && some || item.is_hollow()
        });
        let ask = |item: &MessageItem| {
            BatchItem::get(format!(
                "messages/{}/attachments?$select={PART_FIELDS}",
                segment(&item.id)
            ))
        };
        let asked: Vec<BatchItem> = bare.iter().filter_map(|at| items.get(*at)).map(ask).collect();
        let mut gone = Vec::new();
        for (at, answer) in bare.into_iter().zip(self.batch(asked).await?) {
            let Some(item) = items.get_mut(at) else {
                continue;
            };
            match answer.read::<Parts>() {
                Ok(parts) => {
                    item.attachments = Some(parts.value);
                    item.more_attachments = parts.next;
                }
                Err(error) if is_gone(&error) => gone.push(item.id.clone()),
                Err(error) => return Err(self.told(&error)),
            }
        }
        items.retain(|item| !gone.contains(&item.id));
        for item in items.iter_mut() {
            // It was not asked, since it is said to have none.
            item.attachments.get_or_insert_default();
            if let Some(link) = item.more_attachments.take() {
                self.follow(item, &link).await?;
            }
        }
        self.tell_items(items).await
    }

    /// The rest of a list of attachments.
    async fn follow(&self, item: &mut MessageItem, link: &str) -> FsResult<()> {
        let parts = item.attachments.get_or_insert_default();
        let mut pages = self.graph.pages_from_link::<AttachmentItem>(link, None);
        while let Some(page) = pages.next().await.map_err(|error| self.told(&error))? {
            if parts.len() + page.value.len() > self.max_entries {
                return Err(too_many(self.max_entries));
            }
            parts.extend(page.value);
        }
        Ok(())
    }

    /// What attached items are: messages, calendar entries or contacts. Where that is not told, they are
    /// taken for messages.
    async fn tell_items(&self, items: &mut [MessageItem]) -> FsResult<()> {
        let mut asked = Vec::new();
        let mut places = Vec::new();
        for (at, item) in items.iter().enumerate() {
            for (part, attachment) in item.attachments.iter().flatten().enumerate() {
                if attachment.is_unknown_item() {
                    let (message, id) = (segment(&item.id), segment(&attachment.id));
                    let query = "$select=id,name&$expand=microsoft.graph.itemattachment/item($select=id)";
                    asked.push(BatchItem::get(format!(
                        "messages/{message}/attachments/{id}?{query}"
                    )));
                    places.push((at, part));
                }
            }
        }
        for ((at, part), answer) in places.into_iter().zip(self.batch(asked).await?) {
            let attachment = items.get_mut(at).and_then(|item| item.attachments.as_mut());
            if let (Some(attachment), Ok(told)) = (
                attachment.and_then(|parts| parts.get_mut(part)),
                answer.read::<AttachmentItem>(),
            ) {
                attachment.learn(told);
            }
        }
        Ok(())
    }

    /// A batch, or nothing where there is nothing to ask.
    async fn batch(&self, items: Vec<BatchItem>) -> FsResult<Vec<portreeve_microsoft::BatchAnswer>> {
        if items.is_empty() {
            return Ok(Vec::new());
        }
        self.graph
            .batch(items)
            .await
            .map_err(|error: GraphError| self.told(&error))
    }
}

/// Whether it is the message that is gone, and not the mailbox that is not there for a while.
fn is_gone(error: &GraphError) -> bool {
    matches!(error.kind, GraphFault::NotFound) && !error.mailbox_unknown()
}

fn places(items: &[MessageItem], wanted: impl Fn(&MessageItem) -> bool) -> Vec<usize> {
    let all = items.iter().enumerate();
    all.filter(|(_, item)| wanted(item)).map(|(at, _)| at).collect()
}

fn known(item: &MessageItem) -> Known {
    Known {
        message: Arc::new(item.message(true)),
        stamp: item.change_key.clone().unwrap_or_default().into(),
    }
}
