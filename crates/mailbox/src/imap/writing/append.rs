//! Messages that are taken in: drafts made of an upload, and whole messages as they are.
//!
//! Invariants: a message is streamed, its length is said before; one that cannot be sent to its end is never taken
//! in by the server.

use std::{collections::BTreeSet, sync::Arc, time::SystemTime};

use async_trait::async_trait;
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use portreeve_vfs::{FsError, FsErrorKind, FsResult};

use super::MAX_CANDIDATES;
use crate::{
    Content, Draft, FolderId, Message, MessageId,
    imap::{
        Inner,
        connection::{AppendError, Connection, Source},
        error::{ImapError, Kind},
        index::details,
        ledger::natural,
        row::{Known, Row},
        wire::{Value, quoted},
    },
    mime::{Envelope, compose},
};

/// Bytes of content in one line of base64.
const LINE: usize = 57;
/// Bytes of content that are encoded at a time: whole lines.
const BLOCK: usize = LINE * 4096;

/// One piece, once.
pub(in crate::imap) struct Once(pub(in crate::imap) Option<Bytes>);

#[async_trait]
impl Source for Once {
    async fn next(&mut self) -> FsResult<Option<Bytes>> {
        Ok(self.0.take())
    }
}

/// A content between two texts, encoded or as it is.
struct Framed {
    head: Option<Bytes>,
    content: Arc<dyn Content>,
    at: u64,
    encode: bool,
    tail: Option<Bytes>,
}

#[async_trait]
impl Source for Framed {
    async fn next(&mut self) -> FsResult<Option<Bytes>> {
        if let Some(head) = self.head.take() {
            return Ok(Some(head));
        }
        let size = self.content.size();
        if self.at >= size {
            return Ok(self.tail.take());
        }
        let wanted = usize::try_from(size - self.at).unwrap_or(BLOCK).min(BLOCK);
        let mut block = Vec::with_capacity(wanted);
        while block.len() < wanted {
            let before = block.len();
            block = self
                .content
                .read(self.at + before as u64, wanted - before, block)
                .await?;
            if block.len() == before {
                return Err(FsError::new(FsErrorKind::Backend).context("the upload ends before its length"));
            }
        }
        self.at += block.len() as u64;
        if !self.encode {
            return Ok(Some(block.into()));
        }
        let mut text = String::with_capacity(block.len() / LINE * 78 + 80);
        for line in block.chunks(LINE) {
            STANDARD.encode_string(line, &mut text);
            text.push_str("\r\n");
        }
        Ok(Some(text.into()))
    }
}

/// Length of `bytes` bytes as lines of base64.
const fn encoded(bytes: u64) -> u64 {
    let line = LINE as u64;
    let rest = bytes % line;
    let last = if rest == 0 { 0 } else { rest.div_ceil(3) * 4 + 2 };
    bytes / line * 78 + last
}

impl Inner {
    /// Makes a draft with `content` attached.
    pub(in crate::imap) async fn create_draft(
        self: &Arc<Self>,
        folder: &FolderId,
        draft: &Draft,
        content: Arc<dyn Content>,
    ) -> FsResult<Message> {
        let unique = unique()?;
        let mut frame = Vec::new();
        let envelope = Envelope {
            subject: &draft.subject,
            file_name: &draft.file_name,
            now: SystemTime::now(),
            unique: &unique,
        };
        compose(&envelope, &mut std::io::empty(), &mut frame).map_err(|_| FsErrorKind::InvalidName)?;
        let tail = format!("--=_portreeve_{unique}--\r\n");
        let head = frame.strip_suffix(tail.as_bytes()).ok_or(FsErrorKind::Backend)?;
        let size = frame.len() as u64 + encoded(content.size());
        let mut source = Framed {
            head: Some(Bytes::copy_from_slice(head)),
            content,
            at: 0,
            encode: true,
            tail: Some(tail.into()),
        };
        let internet_id = format!("{unique}@portreeve.invalid");
        let id = self
            .take_in(folder, "\\Draft \\Seen", size, &mut source, Some(&internet_id))
            .await?;
        self.message(folder, &id).await
    }

    /// Takes in a whole message as it is.
    pub(in crate::imap) async fn import(
        self: &Arc<Self>,
        folder: &FolderId,
        content: Arc<dyn Content>,
    ) -> FsResult<MessageId> {
        let size = content.size();
        let mut source = Framed {
            head: None,
            content,
            at: 0,
            encode: false,
            tail: None,
        };
        self.take_in(folder, "", size, &mut source, None).await
    }

    async fn take_in(
        &self,
        folder: &FolderId,
        flags: &str,
        size: u64,
        source: &mut Framed,
        internet_id: Option<&str>,
    ) -> FsResult<MessageId> {
        let _turn = self.changing.lock().await;
        let mut lease = self.open_to_change(folder).await?;
        let connection = lease.connection()?;
        let open = connection.select(&folder.0, true, false).await?.clone();
        let appended = connection.append(&folder.0, flags, None, size, source).await;
        self.slots.of(folder).stale();
        match appended {
            Ok(Some((validity, uid))) => return Ok(natural(validity, uid)),
            Ok(None) => {}
            // The connection broke, maybe after all was there: whether it is, can be seen.
            Err(AppendError::Imap(error)) if error.kind == Kind::Lost && internet_id.is_some() => {
                drop(lease);
                let mut again = self.pool.change(&folder.0).await?;
                let found = newest(again.connection()?, open.next, internet_id).await?;
                let found = found.map(|uid| natural(open.validity, uid));
                return found.ok_or_else(|| error.into());
            }
            Err(error) => return Err(error.into()),
        }
        let found = newest(connection, open.next, internet_id).await?;
        found.map(|uid| natural(open.validity, uid)).ok_or_else(|| {
            FsError::new(FsErrorKind::Backend)
                .context("the mail server does not show the message that it has taken in")
        })
    }
}

/// The newest message from `from` on, with this `Message-ID` where one is given: for servers that do not say
/// where they put a message.
async fn newest(
    connection: &mut Connection,
    from: Option<u32>,
    internet_id: Option<&str>,
) -> Result<Option<u32>, ImapError> {
    let from = from.unwrap_or(1);
    let header = internet_id.and_then(quoted);
    let header = header
        .map(|id| format!(" HEADER MESSAGE-ID {id}"))
        .unwrap_or_default();
    connection.run("NOOP").await?;
    let answer = connection
        .run(&format!("UID SEARCH UID {from}:*{header}"))
        .await?;
    if !answer.data.iter().any(|data| data.name == "SEARCH") {
        return newest_shown(connection, from, internet_id).await;
    }
    let uids = answer.data.iter().filter(|data| data.name == "SEARCH");
    let uids = uids.flat_map(|data| &data.values).filter_map(Value::number);
    let newest = uids
        .filter_map(|uid| u32::try_from(uid).ok())
        .filter(|uid| *uid >= from)
        .max();
    Ok(newest)
}

/// The same without a search, for servers that answer it in another way or not at all.
async fn newest_shown(
    connection: &mut Connection,
    from: u32,
    internet_id: Option<&str>,
) -> Result<Option<u32>, ImapError> {
    let answer = connection.run(&format!("UID FETCH {from}:* (UID)")).await?;
    let rows = answer.data.iter().filter_map(Row::read);
    // `*` is the last message, even where that came before `from`.
    let uids: BTreeSet<u32> = rows.map(|row| row.uid).filter(|uid| *uid >= from).collect();
    let Some(internet_id) = internet_id else {
        return Ok(uids.last().copied());
    };
    let skipped = uids.len().saturating_sub(MAX_CANDIDATES);
    let uids: Vec<u32> = uids.into_iter().skip(skipped).collect();
    let rows = details(connection, &uids).await?.into_iter().rev();
    let mut known = rows.map(|row| Known::new(row, MessageId("".into()), &[]));
    let found = known.find(|known| known.uid >= from && known.message.summary.internet_id == internet_id);
    Ok(found.map(|known| known.uid))
}

fn unique() -> FsResult<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|_| FsErrorKind::Backend)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use portreeve_model::Timestamp;
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

    use super::*;
    use crate::mime::{decode, inspect};

    struct Held(Vec<u8>);

    #[async_trait]
    impl Content for Held {
        fn size(&self) -> u64 {
            self.0.len() as u64
        }

        async fn read(&self, at: u64, len: usize, mut into: Vec<u8>) -> FsResult<Vec<u8>> {
            let at = usize::try_from(at).unwrap();
            // In uneven pieces.
            let stop = (at + len.min(1000)).min(self.0.len());
            into.extend_from_slice(&self.0[at..stop]);
            Ok(into)
        }
    }

    /// A server that answers a search as RFC 9051 has it.
    #[tokio::test]
    async fn a_message_is_found_without_a_search() {
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        tokio::spawn(async move {
            let (read, mut write) = tokio::io::split(theirs);
            let mut lines = BufReader::new(read).lines();
            write.write_all(b"* OK hello\r\n").await.unwrap();
            while let Ok(Some(line)) = lines.next_line().await {
                let (tag, command) = line.split_once(' ').unwrap();
                let mut text = String::new();
                if command.starts_with("UID SEARCH") {
                    text = format!("* ESEARCH (TAG \"{tag}\") UID ALL 8:9\r\n");
                } else if command.starts_with("UID FETCH") {
                    for (uid, id) in [(6, "new"), (8, "new"), (9, "other")] {
                        let header = format!("Message-ID: <{id}@x>\r\n\r\n");
                        let length = header.len();
                        text.push_str(&format!(
                            "* 1 FETCH (UID {uid} RFC822.SIZE 9 BODY[HEADER.FIELDS (X)] {{{length}}}\r\n{header})\r\n"
                        ));
                    }
                }
                text.push_str(&format!("{tag} OK done\r\n"));
                write.write_all(text.as_bytes()).await.unwrap();
            }
        });
        let mut connection = Connection::open(Box::new(ours)).await.unwrap();
        assert_eq!(newest(&mut connection, Some(7), None).await.unwrap(), Some(9));
        let found = newest(&mut connection, Some(7), Some("new@x")).await.unwrap();
        assert_eq!(found, Some(8));
        let none = newest(&mut connection, Some(9), Some("new@x")).await.unwrap();
        assert_eq!(none, None);
    }

    #[tokio::test]
    async fn the_length_that_is_said_is_the_length_that_is_sent() {
        for size in [0, 1, 56, 57, 58, 114, BLOCK - 1, BLOCK, BLOCK + 1, 300_000] {
            let content: Vec<u8> = (0..size).map(|n| u8::try_from(n % 251).unwrap()).collect();
            let envelope = Envelope {
                subject: "s",
                file_name: "f",
                now: SystemTime::UNIX_EPOCH,
                unique: "u",
            };
            let mut frame = Vec::new();
            compose(&envelope, &mut std::io::empty(), &mut frame).unwrap();
            let head = frame.strip_suffix(b"--=_portreeve_u--\r\n").unwrap();
            let mut source = Framed {
                head: Some(Bytes::copy_from_slice(head)),
                content: Arc::new(Held(content.clone())),
                at: 0,
                encode: true,
                tail: Some("--=_portreeve_u--\r\n".into()),
            };
            let mut raw = Vec::new();
            while let Some(piece) = source.next().await.unwrap() {
                raw.extend_from_slice(&piece);
            }
            assert_eq!(
                raw.len() as u64,
                frame.len() as u64 + encoded(size as u64),
                "{size}"
            );
            let part = &inspect(&raw, Timestamp::default()).parts[0];
            assert!(
                decode(part.encoding, &raw[part.body.clone()]) == content,
                "{size}"
            );
        }
    }
}
