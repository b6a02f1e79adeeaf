//! Contents, fetched in pieces: a part, a whole message, the text of one.
//!
//! Invariants: BODY.PEEK only, so that nothing is marked as read; a piece is of bounded length; a connection
//! that breaks is replaced and reading goes on where it stood; a message that is gone, or whose folder was made
//! anew, ends with an error and never with a shorter content.

use std::sync::{Arc, atomic::Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::FutureExt;
use mail_parser::decoders::charsets::map::charset_decoder;
use portreeve_vfs::{FsError, FsErrorKind, FsResult};

use super::{
    Inner,
    connection::{self, Connection},
    error::ImapError,
    row::{Known, Row},
};
use crate::{
    Content, FolderId, MessageId, PartId,
    fetch::{Opened, Pieces, Source},
    in_memory::InMemory,
    mime::{Decoder, Encoding},
};

/// Bytes asked for at a time, still encoded.
pub(super) const PIECE: u32 = 1 << 20;
/// How much of a text is shown, in bytes as it is encoded.
const MAX_TEXT: u64 = 8 << 20;

/// A section of a message, and where to find it.
#[derive(Debug, Clone)]
pub(super) struct Section {
    pub(super) folder: FolderId,
    pub(super) validity: u32,
    pub(super) uid: u32,
    /// Empty for the whole message.
    pub(super) section: String,
    /// Its length as the server tells it, which may be an estimate.
    pub(super) octets: u64,
}

/// Opens an attachment.
pub(super) async fn open_part(
    inner: &Arc<Inner>,
    folder: &FolderId,
    id: &MessageId,
    part: &PartId,
) -> FsResult<Arc<dyn Content>> {
    let (validity, known) = known(inner, folder, id).await?;
    let place = known
        .places
        .iter()
        .find(|place| place.id == *part)
        .ok_or(FsErrorKind::NotFound)?;
    let encoding = place.part.described.encoding;
    let source = PartSource {
        inner: Arc::clone(inner),
        section: Section {
            folder: folder.clone(),
            validity,
            uid: known.uid,
            section: place.part.section.clone(),
            octets: place.part.octets,
        },
        encoding,
        length: (encoding == Encoding::Identity && !inner.estimates.load(Ordering::Relaxed))
            .then_some(place.part.octets),
    };
    let key = format!("{}\u{0}{}\u{0}{}\u{0}{}", inner.space, folder.0, id.0, part.0);
    inner
        .around
        .fetches
        .open(&key, inner.spool_keep, Box::new(source))
        .await
}

/// Opens a whole message, as it is now.
pub(super) async fn open_message(
    inner: &Arc<Inner>,
    folder: &FolderId,
    id: &MessageId,
) -> FsResult<Arc<dyn Content>> {
    let (validity, known) = known(inner, folder, id).await?;
    let source = PartSource {
        inner: Arc::clone(inner),
        section: Section {
            folder: folder.clone(),
            validity,
            uid: known.uid,
            section: String::new(),
            octets: known.size,
        },
        encoding: Encoding::Identity,
        // Some servers estimate it.
        length: None,
    };
    let key = format!(
        "{}\u{0}{}\u{0}{validity}.{}\u{0}",
        inner.space, folder.0, known.uid
    );
    inner
        .around
        .fetches
        .open(&key, inner.spool_keep, Box::new(source))
        .await
}

/// Opens the text of a message, in UTF-8.
pub(super) async fn open_text(
    inner: &Arc<Inner>,
    folder: &FolderId,
    id: &MessageId,
) -> FsResult<Arc<dyn Content>> {
    let (validity, known) = known(inner, folder, id).await?;
    let plain = known
        .texts
        .iter()
        .find(|part| part.described.content_type == "text/plain");
    let mut text = Vec::new();
    let mut charset = None;
    if let Some(part) = plain {
        let section = Section {
            folder: folder.clone(),
            validity,
            uid: known.uid,
            section: part.section.clone(),
            octets: part.octets,
        };
        charset = part.described.charset.clone();
        let mut pieces = PartPieces::new(Arc::clone(inner), section, part.described.encoding, 0);
        while let Some(piece) = pieces.next().await? {
            text.extend_from_slice(&piece);
            if text.len() as u64 > MAX_TEXT {
                text.truncate(usize::try_from(MAX_TEXT).unwrap_or(usize::MAX));
                break;
            }
        }
    }
    let decoder = charset.and_then(|name| charset_decoder(name.as_bytes()));
    let text = decoder.map_or_else(
        || String::from_utf8_lossy(&text).into_owned(),
        |decoder| decoder(&text),
    );
    Ok(Arc::new(InMemory(text.into())))
}

/// A message and the UIDVALIDITY that its number hangs on: from the index where that has it.
async fn known(inner: &Arc<Inner>, folder: &FolderId, id: &MessageId) -> FsResult<(u32, Arc<Known>)> {
    if let Some(found) = inner.slots.of(folder).find(id) {
        // A message that was written anew has another number, also where that was another process.
        let records = inner.ledger.peek(folder, found.0).await?;
        if !records.replaced().contains(&found.1.uid) {
            return Ok(found);
        }
    }
    let index = inner.index(folder).await?;
    let validity = index
        .state
        .as_ref()
        .map(|state| state.validity)
        .ok_or(FsErrorKind::NotFound)?;
    match index.find(id) {
        Some(known) => Ok((validity, Arc::clone(known))),
        None => Err(FsErrorKind::NotFound.into()),
    }
}

/// A part as it can be fetched.
struct PartSource {
    inner: Arc<Inner>,
    section: Section,
    encoding: Encoding,
    length: Option<u64>,
}

#[async_trait]
impl Source for PartSource {
    async fn open(&mut self, from: u64) -> FsResult<Opened> {
        // In the middle of an encoding nobody knows how many bytes came before.
        let at = if self.encoding == Encoding::Identity {
            from
        } else {
            0
        };
        Ok(Opened {
            at,
            length: self.length,
            pieces: Box::new(PartPieces::new(
                Arc::clone(&self.inner),
                self.section.clone(),
                self.encoding,
                at,
            )),
        })
    }
}

/// The pieces of a section, decoded.
pub(super) struct PartPieces {
    inner: Arc<Inner>,
    section: Section,
    decoder: Option<Decoder>,
    at: u64,
}

impl PartPieces {
    pub(super) const fn new(inner: Arc<Inner>, section: Section, encoding: Encoding, at: u64) -> Self {
        Self {
            inner,
            section,
            decoder: Some(Decoder::new(encoding)),
            at,
        }
    }
}

#[async_trait]
impl Pieces for PartPieces {
    async fn next(&mut self) -> FsResult<Option<Bytes>> {
        while let Some(decoder) = &mut self.decoder {
            let piece = self.inner.piece(&self.section, self.at).await?;
            self.at += piece.len() as u64;
            let short = piece.len() < PIECE as usize;
            let mut out = Vec::with_capacity(piece.len());
            decoder.feed(&piece, &mut out);
            // A short piece is the last, unless the server has promised more.
            if (piece.is_empty() || (short && self.at >= self.section.octets))
                && let Some(decoder) = self.decoder.take()
            {
                decoder.finish(&mut out);
                if self.at != self.section.octets && !self.section.section.is_empty() {
                    // Then no length is promised from now on, so that the next opening succeeds.
                    self.inner.estimates.store(true, Ordering::Relaxed);
                    tracing::debug!(
                        told = self.section.octets,
                        real = self.at,
                        "the mail server estimates lengths"
                    );
                }
            }
            if !out.is_empty() {
                return Ok(Some(out.into()));
            }
        }
        Ok(None)
    }
}

impl Inner {
    /// A piece of a section; empty at its end.
    pub(super) async fn piece(&self, section: &Section, at: u64) -> FsResult<Bytes> {
        let folder = Some(&*section.folder.0);
        match self
            .pool
            .read(folder, |connection| owned(connection, section, at))
            .await
        {
            Ok(Some(piece)) => Ok(piece),
            Ok(None) => {
                self.slots.of(&section.folder).stale();
                Err(FsError::new(FsErrorKind::NotFound).context("the message was deleted or moved meanwhile"))
            }
            Err(error) => Err(self.settle(&section.folder, error).await),
        }
    }
}

fn owned<'a>(
    connection: &'a mut Connection,
    section: &Section,
    at: u64,
) -> futures::future::BoxFuture<'a, Result<Option<Bytes>, ImapError>> {
    let section = section.clone();
    async move { piece(connection, &section, at).await }.boxed()
}

/// None: the message is not there any more.
pub(super) async fn piece(
    connection: &mut Connection,
    section: &Section,
    at: u64,
) -> Result<Option<Bytes>, ImapError> {
    // Who changes the message reads it too: the folder stays open for changes.
    let writes = |open: &connection::Selected| open.writable && *open.name == *section.folder.0;
    let write = connection.selected().is_some_and(writes);
    let open: &connection::Selected = connection.select(&section.folder.0, write, false).await?;
    if open.validity != section.validity {
        return Ok(None);
    }
    let line = format!(
        "UID FETCH {} (UID BODY.PEEK[{}]<{at}.{PIECE}>)",
        section.uid, section.section
    );
    let mut row = None;
    for asked_before in [false, true] {
        // What came after this connection last looked is not there for it: another one may have seen it.
        if asked_before {
            connection.run("NOOP").await?;
        }
        let answer = connection.run(&line).await?;
        let mut rows = answer.data.iter().filter_map(Row::read);
        row = rows.find(|row| row.uid == section.uid && row.body.is_some());
        let nil = row.as_ref().is_some_and(|row| row.nil);
        let empty = row
            .as_ref()
            .and_then(|row| row.body.as_ref())
            .is_none_or(Bytes::is_empty);
        // A message that somebody removed meanwhile may be answered with nothing at all: that is no end of it.
        if empty && (answer.code("EXPUNGEISSUED").is_some() || (nil && at < section.octets)) {
            return Ok(None);
        }
        if row.is_some() {
            break;
        }
    }
    match row.and_then(|row| row.body) {
        Some(body) if body.len() > PIECE as usize => {
            Err(ImapError::lost("the mail server sent more than was asked for"))
        }
        body => Ok(body),
    }
}
