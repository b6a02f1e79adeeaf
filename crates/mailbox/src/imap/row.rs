//! What FETCH tells of one message (RFC 3501 §7.4.2), and the message that we make of it.

use std::sync::Arc;

use bytes::Bytes;
use portreeve_model::Timestamp;

use super::{
    structure::{Part, Structure, original},
    wire::{Data, Value},
};
use crate::{Attachment, Message, MessageId, PartId, mime::Encoding};

/// The header fields that a summary is made of.
pub(super) const FIELDS: &str =
    "FROM SENDER SUBJECT DATE MESSAGE-ID REFERENCES IN-REPLY-TO IMPORTANCE KEYWORDS";
/// Most flags of a message that are looked at.
const MAX_FLAGS: usize = 100;
/// Longest flag that is held, in bytes. A longer one is left out: cut, it would be another one.
const MAX_FLAG: usize = 128;
/// Longest INTERNALDATE, in bytes: those that are one have 26.
const MAX_DATE: usize = 64;

/// One message as FETCH tells it; what was not asked for is not there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Row {
    /// Its number for ever, while its folder keeps its UIDVALIDITY.
    pub(super) uid: u32,
    /// Its flags and keywords; none where they were not told.
    pub(super) flags: Option<Vec<String>>,
    /// INTERNALDATE as it is written.
    pub(super) date: Option<String>,
    /// RFC822.SIZE: an estimate, on some servers.
    pub(super) size: Option<u64>,
    /// Header fields.
    pub(super) header: Option<Bytes>,
    /// A section, or a piece of one.
    pub(super) body: Option<Bytes>,
    /// The section was answered with NIL, which an empty one is too.
    pub(super) nil: bool,
    /// Its parts.
    pub(super) structure: Option<Structure>,
}

impl Row {
    /// Reads a FETCH response; none for anything else, and where no UID is told.
    pub(super) fn read(data: &Data) -> Option<Self> {
        if data.name != "FETCH" {
            return None;
        }
        let (pairs, _) = data.values.first()?.list()?.as_chunks::<2>();
        let mut row = Self::default();
        let mut uid = None;
        for [name, value] in pairs {
            if name.is("UID") {
                uid = value.number().and_then(|uid| u32::try_from(uid).ok());
            } else if name.is("FLAGS") {
                let flags = value.list().unwrap_or_default();
                let flags = flags.iter().take(MAX_FLAGS);
                row.flags = Some(flags.filter_map(|flag| short(flag, MAX_FLAG)).collect());
            } else if name.is("INTERNALDATE") {
                row.date = short(value, MAX_DATE);
            } else if name.is("RFC822.SIZE") {
                row.size = value.number();
            } else if name.is("BODYSTRUCTURE") {
                row.structure = Some(Structure::read(value));
            } else if let Some(word) = name.bytes().map(|word| word.to_ascii_uppercase()) {
                if word.starts_with(b"BODY[HEADER") {
                    row.header = Some(value.bytes().cloned().unwrap_or_default());
                } else if word.starts_with(b"BODY[") {
                    row.nil = value.bytes().is_none();
                    row.body = Some(value.bytes().cloned().unwrap_or_default());
                }
            }
        }
        row.uid = uid?;
        Some(row)
    }

    /// Whether it has this flag.
    pub(super) fn has(&self, flag: &str) -> bool {
        let flags = self.flags.iter().flatten();
        flags.into_iter().any(|own| own.eq_ignore_ascii_case(flag))
    }
}

/// A text of at most `most` bytes: rows are held as long as their folder is, and only their number is counted.
fn short(value: &Value, most: usize) -> Option<String> {
    value.bytes().filter(|bytes| bytes.len() <= most)?;
    value.text()
}

/// A part of a message that the file system knows of, and where its bytes are now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// Its section now.
    pub(super) part: Part,
    /// Its id.
    pub(super) id: PartId,
}

/// A message of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Known {
    /// Its number.
    pub(super) uid: u32,
    /// As the file system sees it.
    pub(super) message: Arc<Message>,
    /// Its attachments, in the order of `message.attachments`.
    pub(super) places: Vec<Place>,
    /// The parts of its text.
    pub(super) texts: Vec<Part>,
    /// When it arrived, as the server writes it.
    pub(super) date: Option<String>,
    /// Its flags when it was seen.
    pub(super) flags: Vec<String>,
    /// Those that people give.
    pub(super) keywords: Vec<String>,
    /// Its size, which may be an estimate.
    pub(super) size: u64,
}

impl Known {
    /// Makes a message of a row. `removed` are the parts that were taken out of it before.
    pub(super) fn new(row: Row, id: MessageId, removed: &[String]) -> Self {
        let delivered = row.date.as_deref().and_then(timestamp).unwrap_or_default();
        let mut summary = crate::mime::summary(&ended(row.header.unwrap_or_default()), delivered);
        summary.received = delivered;
        let flags = row.flags.unwrap_or_default();
        let keywords: Vec<String> = keywords(&flags).cloned().collect();
        summary.categories.extend(keywords.iter().cloned());
        let complete = row.structure.as_ref().is_some_and(|found| found.complete);
        let parts = row.structure.map(|found| found.parts).unwrap_or_default();
        let (mut places, mut attachments, mut texts) = (Vec::new(), Vec::new(), Vec::new());
        for part in parts {
            let Some(kind) = part.described.kind else {
                texts.push(part);
                continue;
            };
            let id = PartId(original(&part.section, removed).into());
            attachments.push(Attachment {
                id: id.clone(),
                kind,
                name: part.described.name.clone(),
                // Only what is not encoded has the length that the server tells.
                size: (part.described.encoding == Encoding::Identity).then_some(part.octets),
                content_type: part.described.content_type.clone(),
            });
            places.push(Place { part, id });
        }
        Self {
            uid: row.uid,
            message: Arc::new(Message {
                id,
                summary,
                attachments,
                complete,
                stamp: Box::default(),
            }),
            places,
            texts,
            date: row.date,
            flags,
            keywords,
            size: row.size.unwrap_or(0),
        }
    }
}

/// A header that ends: where it was cut, its last field would not be one.
fn ended(header: Bytes) -> Bytes {
    if header.is_empty() || header.ends_with(b"\n\r\n") || header.ends_with(b"\n\n") {
        return header;
    }
    [&header[..], b"\r\n\r\n"].concat().into()
}

/// The flags that people give; others are the protocol's.
pub(super) fn keywords(flags: &[String]) -> impl Iterator<Item = &String> {
    flags.iter().filter(|flag| !flag.starts_with(['\\', '$']))
}

/// ` 1-May-2024 10:00:00 +0200`.
pub(super) fn timestamp(date: &str) -> Option<Timestamp> {
    let parsed = jiff::fmt::strtime::parse("%d-%b-%Y %H:%M:%S %z", date.trim()).ok()?;
    Some(Timestamp::from_seconds(parsed.to_timestamp().ok()?.as_second()))
}

/// For the fuzzer.
pub(super) fn take_apart(data: &Data) {
    if let Some(row) = Row::read(data) {
        let removed = ["1".to_owned(), "1.2".to_owned()];
        let known = Known::new(row, MessageId("1.1".into()), &removed);
        assert_eq!(known.places.len(), known.message.attachments.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imap::wire::Response;

    fn row(text: &str) -> Option<Row> {
        match Response::parse(&Bytes::copy_from_slice(text.as_bytes())) {
            Ok(Response::Data(data)) => Row::read(&data),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn reads_a_message() {
        let row = row(
            "* 3 FETCH (UID 17 FLAGS (\\Seen red $Phishing) INTERNALDATE \" 1-May-2024 10:00:00 +0200\" \
             RFC822.SIZE 99 BODY[HEADER.FIELDS (FROM SUBJECT)] {32}\r\nSubject: hello\r\nFrom: a@b.c\r\n\r\n \
             BODYSTRUCTURE (\"application\" \"pdf\" (\"name\" \"a.pdf\") NIL NIL \"base64\" 20 NIL NIL))\r\n",
        )
        .unwrap();
        assert!(row.has("\\seen") && !row.has("\\Deleted"));
        let known = Known::new(row, MessageId("1.17".into()), &[]);
        let message = &known.message;
        assert_eq!((known.uid, &*message.summary.subject), (17, "hello"));
        assert_eq!(message.summary.received.seconds, 1_714_550_400);
        assert_eq!(message.summary.categories, ["red"]);
        assert_eq!(message.attachments.len(), 1);
        assert_eq!((&*known.places[0].id.0, message.attachments[0].size), ("1", None));
        assert!(message.complete);
    }

    #[test]
    fn what_is_held_of_a_message_is_bounded() {
        let long = "x".repeat(100_000);
        let flags = format!(
            "\\Seen {long} {}{}",
            "y".repeat(MAX_FLAG),
            format!(" {long}").repeat(3)
        );
        let structure = format!("(\"{long}\" \"{long}\" (\"name\" \"{long}\") \"{long}\" NIL \"{long}\" 20)");
        let row = row(&format!(
            "* 3 FETCH (UID 17 FLAGS ({flags}) INTERNALDATE \"{long}\" BODYSTRUCTURE {structure})\r\n"
        ))
        .unwrap();
        assert_eq!(
            row.flags.as_deref(),
            Some(&["\\Seen".to_owned(), "y".repeat(MAX_FLAG)][..])
        );
        assert_eq!(row.date, None);
        let known = Known::new(row, MessageId("1.17".into()), &[]);
        assert_eq!(known.message.attachments.len(), 1);
        assert!(format!("{known:?}").len() < 20_000);
    }

    #[test]
    fn pieces_and_oddities() {
        let piece = row("* 3 FETCH (UID 1 BODY[1.2]<0> {3}\r\n)\r\n)\r\n").unwrap();
        assert_eq!(piece.body.as_deref(), Some(&b")\r\n"[..]));
        assert_eq!(
            row("* 3 FETCH (UID 1 BODY[1]<9> NIL)\r\n")
                .unwrap()
                .body
                .unwrap()
                .len(),
            0
        );
        assert_eq!(row("* 3 FETCH (FLAGS ())\r\n"), None);
        assert_eq!(row("* 3 FETCH (UID 99999999999)\r\n"), None);
        assert_eq!(row("* 3 EXISTS\r\n"), None);
        // Without a structure, nothing is known of its parts.
        let known = Known::new(
            row("* 3 FETCH (UID 1)\r\n").unwrap(),
            MessageId("1.1".into()),
            &[],
        );
        assert!(!known.message.complete);
    }
}
