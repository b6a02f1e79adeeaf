//! The bytes of attachments and messages: Graph's `$value`, from the start to the end, length verified.
//!
//! Graph does not begin in the middle (nothing documents `Range` there), so a stream that broke off begins
//! anew, and what is there already is compared. The fetch behind it is shared by all readers.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use portreeve_microsoft::{Download, segment};
use portreeve_vfs::FsResult;

use super::{Inner, wire::BodyItem};
use crate::{
    Content, FolderId, MessageId, PartId,
    fetch::{Opened, Pieces, Source},
    in_memory::InMemory,
};

/// A `$value` of this mailbox.
struct Value {
    inner: Arc<Inner>,
    path: String,
}

#[async_trait]
impl Source for Value {
    async fn open(&mut self, _from: u64) -> FsResult<Opened> {
        let download = self.inner.graph.download(&self.path).await;
        let download = download.map_err(|error| self.inner.told(&error))?;
        Ok(Opened {
            at: 0,
            length: download.length,
            pieces: Box::new(Stream {
                inner: Arc::clone(&self.inner),
                download,
            }),
        })
    }
}

/// One download.
struct Stream {
    inner: Arc<Inner>,
    download: Download,
}

#[async_trait]
impl Pieces for Stream {
    async fn next(&mut self) -> FsResult<Option<Bytes>> {
        self.download
            .chunk()
            .await
            .map_err(|error| self.inner.told(&error))
    }
}

impl Inner {
    /// An attachment's content.
    pub(super) async fn part(
        self: &Arc<Self>,
        message: &MessageId,
        part: &PartId,
    ) -> FsResult<Arc<dyn Content>> {
        let path = format!(
            "messages/{}/attachments/{}/$value",
            segment(&message.0),
            segment(&part.0)
        );
        let key = format!("exchange\0{}\0{}\0{}", self.address, message.0, part.0);
        self.open(&key, path).await
    }

    /// A whole message. It is another one when an attachment of it was deleted: its state is part of the
    /// name that its readers share.
    pub(super) async fn whole(
        self: &Arc<Self>,
        folder: &FolderId,
        message: &MessageId,
    ) -> FsResult<Arc<dyn Content>> {
        let slot = self.slot(folder);
        let state = slot.state.lock().await;
        let stamp = state
            .index
            .as_ref()
            .and_then(|index| index.stamp(message))
            .unwrap_or_default();
        drop(state);
        let path = format!("messages/{}/$value", segment(&message.0));
        if stamp.is_empty() {
            // Not known which: nobody shares it.
            let key = format!(
                "exchange\0{}\0{}\0\0{}",
                self.address,
                message.0,
                super::index::unique()
            );
            return self.open(&key, path).await;
        }
        let key = format!("exchange\0{}\0{}\0\0@{stamp}", self.address, message.0);
        self.open(&key, path).await
    }

    async fn open(self: &Arc<Self>, key: &str, path: String) -> FsResult<Arc<dyn Content>> {
        let source = Value {
            inner: Arc::clone(self),
            path,
        };
        self.around
            .fetches
            .open(key, self.spool_keep, Box::new(source))
            .await
    }

    /// A message's text, plain.
    pub(super) async fn text(&self, message: &MessageId) -> FsResult<Arc<dyn Content>> {
        let plain = self.graph.preferring("outlook.body-content-type=\"text\"");
        let path = format!("messages/{}?$select=body", segment(&message.0));
        let item: BodyItem = plain.get(&path).await.map_err(|error| self.told(&error))?;
        let text = item.body.and_then(|body| body.content).unwrap_or_default();
        Ok(Arc::new(InMemory(text.into())))
    }
}
