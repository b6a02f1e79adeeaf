//! What hangs on a message: every attachment with its id, kind, name and exact size.
//!
//! Invariants: pure; a part's id is a digest of its own bytes (and a count among parts that are
//! equal), so that taking one part away changes no other's id.

use std::{
    collections::{HashMap, HashSet},
    ops::Range,
};

use mail_parser::decoders::{charsets::map::charset_decoder, html::html_to_text};
use portreeve_model::Timestamp;

use super::{
    decode::{Encoding, decode, decoded_size},
    headers::{Disposition, PartHeaders, subject, summary},
    split::{Leaf, Split, Within, split},
};
use crate::{Attachment, AttachmentKind, PartId, Summary};

/// Header that remembers parts that were taken out of a message in which an equal part remains, so
/// that the remaining one keeps its id.
pub(crate) const REMOVED: &str = "X-Portreeve-Removed";

/// How many characters of the text a preview has.
const PREVIEW: usize = 255;
/// How much of a text is shown, in bytes as sent.
const MAX_TEXT: usize = 4 << 20;

/// What to do beyond the attachments.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Wanted {
    /// Also decode the beginning of the text.
    pub(crate) preview: bool,
}

/// A message, looked through.
#[derive(Debug)]
pub struct Inspected {
    /// What its header says.
    pub summary: Summary,
    /// Its attachments, in order.
    pub parts: Vec<Located>,
    /// Whether these are all.
    pub complete: bool,
}

/// An attachment and where it is.
#[derive(Debug)]
pub struct Located {
    /// What it is.
    pub attachment: Attachment,
    /// Its body within the message, still encoded.
    pub body: Range<usize>,
    /// How the body is encoded.
    pub(crate) encoding: Encoding,
    /// What to take away to delete it.
    pub(crate) cut: Range<usize>,
    /// Whether it is the only part of its multipart.
    pub(crate) alone: bool,
    /// Whether it is the message's own body.
    pub(crate) root: bool,
    /// Whether another part is equal to it, byte for byte.
    pub(crate) twin: bool,
}

/// Looks through the bytes of a message. Never fails: what is no message has no attachments.
#[must_use]
pub fn inspect(raw: &[u8], delivered: Timestamp) -> Inspected {
    inspect_for(raw, delivered, Wanted::default())
}

pub(crate) fn inspect_for(raw: &[u8], delivered: Timestamp, wanted: Wanted) -> Inspected {
    let Split {
        leaves,
        header,
        complete,
    } = split(raw);
    let header_bytes = raw.get(header).unwrap_or_default();
    let mut summary = summary(header_bytes, delivered);
    if wanted.preview {
        summary.body_preview = preview(raw, &leaves);
    }
    let removed = removed(header_bytes);
    let mut seen: HashMap<String, usize> = HashMap::new();
    let mut parts: Vec<Located> = Vec::new();
    for leaf in leaves {
        let Some(kind) = kind(&leaf.headers, leaf.within) else {
            continue;
        };
        let digest = digest(raw.get(leaf.whole.clone()).unwrap_or_default());
        let count = seen.entry(digest.clone()).or_default();
        let id = loop {
            let id = format!("{digest}.{count}");
            *count += 1;
            if !removed.contains(&id) {
                break id;
            }
        };
        parts.push(Located {
            attachment: attachment(raw, &leaf, PartId(id.into()), kind),
            body: leaf.body,
            encoding: leaf.headers.encoding(),
            cut: leaf.cut,
            alone: leaf.alone,
            root: leaf.within == Within::Message,
            twin: false,
        });
    }
    for part in &mut parts {
        let digest = part.attachment.id.0.split('.').next().unwrap_or_default();
        part.twin = seen.get(digest).is_some_and(|count| *count > 1);
    }
    Inspected {
        summary,
        parts,
        complete,
    }
}

/// What a leaf is to us; none for the text itself, which is no attachment.
pub(super) fn kind(headers: &PartHeaders, within: Within) -> Option<AttachmentKind> {
    if headers.main == "message" {
        return match &*headers.subtype {
            "external-body" => Some(AttachmentKind::Reference),
            "rfc822" | "global" => Some(AttachmentKind::Item),
            _ => Some(AttachmentKind::File),
        };
    }
    if headers.disposition == Disposition::Attachment {
        return Some(AttachmentKind::File);
    }
    let text = headers.main.is_empty() || headers.is("text", "plain") || headers.is("text", "html");
    if text && headers.name.is_none() && !headers.has_content_id {
        return None;
    }
    match within {
        // A text with a name in place of the body is still the body.
        Within::Message if text => None,
        Within::Related { first: true } | Within::Alternative if text => None,
        Within::Related { first: false } => Some(AttachmentKind::Inline),
        Within::Alternative => Some(AttachmentKind::Inline),
        // Apple Mail marks every attachment `inline`; only what the text refers to by its id, and
        // pictures without a name, are part of the text.
        _ if headers.disposition == Disposition::Inline
            && (headers.has_content_id || headers.name.is_none()) =>
        {
            Some(AttachmentKind::Inline)
        }
        _ => Some(AttachmentKind::File),
    }
}

fn attachment(raw: &[u8], leaf: &Leaf, id: PartId, kind: AttachmentKind) -> Attachment {
    let headers = &leaf.headers;
    let body = raw.get(leaf.body.clone()).unwrap_or_default();
    let encoding = headers.encoding();
    let name = match kind {
        AttachmentKind::Item => {
            let inner = if encoding == Encoding::Identity {
                subject(body.get(..body.len().min(64 * 1024)).unwrap_or_default())
            } else {
                subject(&decode(
                    encoding,
                    body.get(..body.len().min(64 * 1024)).unwrap_or_default(),
                ))
            };
            item_name(inner, headers)
        }
        _ => file_name(headers),
    };
    Attachment {
        id,
        kind,
        name,
        size: Some(decoded_size(encoding, body)),
        content_type: content_type(headers),
    }
}

/// The name of an attached message: its subject, else the name it was sent with.
pub(super) fn item_name(subject: Option<String>, headers: &PartHeaders) -> String {
    let stem = subject.or_else(|| headers.name.clone());
    let stem = stem.unwrap_or_else(|| "message".into());
    if stem.to_ascii_lowercase().ends_with(".eml") {
        stem
    } else {
        format!("{stem}.eml")
    }
}

/// The name of a file: as it was sent, else one by its type.
pub(super) fn file_name(headers: &PartHeaders) -> String {
    headers
        .name
        .clone()
        .unwrap_or_else(|| format!("attachment.{}", extension(headers)))
}

/// The media type, with the one that is meant where none is given.
pub(super) fn content_type(headers: &PartHeaders) -> String {
    if headers.main.is_empty() {
        "text/plain".to_owned()
    } else {
        format!("{}/{}", headers.main, headers.subtype)
    }
}

/// An extension for parts that were sent without a name.
fn extension(headers: &PartHeaders) -> &'static str {
    match (&*headers.main, &*headers.subtype) {
        ("" | "text", "" | "plain") | ("message", _) => "txt",
        ("text", "html") => "html",
        ("text", "csv") => "csv",
        ("text", "calendar") => "ics",
        ("text", "vcard") => "vcf",
        (_, "xml") => "xml",
        (_, "json") => "json",
        (_, "pdf") => "pdf",
        (_, "zip") => "zip",
        ("image", "png") => "png",
        ("image", "jpeg") => "jpg",
        ("image", "gif") => "gif",
        (_, "pkcs7-signature" | "x-pkcs7-signature") => "p7s",
        (_, "pkcs7-mime" | "x-pkcs7-mime") => "p7m",
        (_, "pgp-signature") => "asc",
        _ => "bin",
    }
}

fn digest(part: &[u8]) -> String {
    let hash = blake3::hash(part).to_hex();
    hash.get(..32).unwrap_or_default().to_owned()
}

/// The ids in the headers that remember parts taken away.
fn removed(header: &[u8]) -> HashSet<String> {
    let prefix = format!("{REMOVED}: ");
    header
        .split(|b| *b == b'\n')
        .filter_map(|line| line.strip_prefix(prefix.as_bytes()))
        .filter_map(|id| std::str::from_utf8(id).ok())
        .map(|id| id.trim().to_owned())
        .collect()
}

fn preview(raw: &[u8], leaves: &[Leaf]) -> String {
    let Some(leaf) = leaves
        .iter()
        .find(|leaf| leaf.headers.is("text", "plain") || leaf.headers.main.is_empty())
    else {
        return String::new();
    };
    let text = decoded_text(raw, leaf, 8 * 1024);
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").chars().take(PREVIEW).collect()
}

/// The text of a message, plain: its first part that is text and no attachment; markup is taken off where
/// there is no plain one. Empty where it has none.
pub(crate) fn text(raw: &[u8]) -> String {
    let leaves = split(raw).leaves;
    let texts = || {
        leaves
            .iter()
            .filter(|leaf| kind(&leaf.headers, leaf.within).is_none())
    };
    if let Some(leaf) = texts().find(|leaf| leaf.headers.is("text", "plain") || leaf.headers.main.is_empty())
    {
        return decoded_text(raw, leaf, MAX_TEXT);
    }
    match texts().find(|leaf| leaf.headers.is("text", "html")) {
        Some(leaf) => html_to_text(&decoded_text(raw, leaf, MAX_TEXT)),
        None => String::new(),
    }
}

/// What the first `limit` bytes of a part say, in UTF-8.
fn decoded_text(raw: &[u8], leaf: &Leaf, limit: usize) -> String {
    let body = raw.get(leaf.body.clone()).unwrap_or_default();
    let head = body.get(..body.len().min(limit)).unwrap_or_default();
    let bytes = decode(leaf.headers.encoding(), head);
    let charset = leaf.headers.charset.as_deref();
    match charset.and_then(|name| charset_decoder(name.as_bytes())) {
        Some(decoder) => decoder(&bytes),
        None => String::from_utf8_lossy(&bytes).into_owned(),
    }
}

#[cfg(test)]
mod tests;
