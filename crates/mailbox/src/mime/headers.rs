//! What the headers of a part and of a message say, read by `mail-parser`.

use mail_parser::{
    Addr, Address, ContentType, DateTime, HeaderName, HeaderValue, Message, MessageParser, MimeHeaders,
};
use portreeve_model::Timestamp;

use super::decode::Encoding;
use crate::{Person, Summary};

/// Longest text that is kept of one header, in characters.
const MAX_TEXT: usize = 1000;

/// The MIME headers of one part.
#[derive(Debug, Default)]
pub(super) struct PartHeaders {
    /// Media type in lower case; empty where there is none.
    pub(super) main: String,
    /// Subtype in lower case.
    pub(super) subtype: String,
    pub(super) charset: Option<String>,
    /// Only of multiparts, and only where it is one (1 to 200 bytes).
    pub(super) boundary: Option<Vec<u8>>,
    /// Name as sent, decoded.
    pub(super) name: Option<String>,
    pub(super) disposition: Disposition,
    pub(super) has_content_id: bool,
    pub(super) encoding: Option<Encoding>,
}

/// `Content-Disposition` (RFC 2183).
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Disposition {
    #[default]
    None,
    Inline,
    /// `attachment`, and whatever is unknown (RFC 2183 §2.8).
    Attachment,
}

impl PartHeaders {
    pub(super) fn read(header: &[u8]) -> Self {
        let Some(message) = MessageParser::default().parse_headers(header) else {
            return Self::default();
        };
        let Some(part) = message.parts.first() else {
            return Self::default();
        };
        let kind = part.content_type();
        let main = kind
            .map(|k| clip(k.ctype()).to_ascii_lowercase())
            .unwrap_or_default();
        Self {
            boundary: kind
                .filter(|_| main == "multipart")
                .and_then(|k| k.attribute("boundary"))
                .map(|b| b.trim_end().as_bytes().to_vec())
                .filter(|b| (1..=200).contains(&b.len())),
            main,
            subtype: kind
                .and_then(ContentType::subtype)
                .map(|subtype| clip(subtype).to_ascii_lowercase())
                .unwrap_or_default(),
            charset: kind.and_then(|k| k.attribute("charset")).map(clip),
            name: part.attachment_name().map(clip).filter(|n| !n.trim().is_empty()),
            disposition: match part.content_disposition() {
                None => Disposition::None,
                Some(d) if d.is_inline() => Disposition::Inline,
                Some(_) => Disposition::Attachment,
            },
            has_content_id: part.content_id().is_some(),
            encoding: part.content_transfer_encoding().map(Encoding::named),
        }
    }

    pub(super) fn is(&self, main: &str, subtype: &str) -> bool {
        self.main == main && self.subtype == subtype
    }

    pub(super) fn encoding(&self) -> Encoding {
        self.encoding.unwrap_or(Encoding::Identity)
    }
}

/// The subject of a message whose header is at the beginning of `raw`.
pub(super) fn subject(raw: &[u8]) -> Option<String> {
    let message = MessageParser::default().parse_headers(raw)?;
    message.subject().map(clip).filter(|s| !s.trim().is_empty())
}

/// What a message's header says. `delivered` is when the file came, for messages that bear no date.
pub(crate) fn summary(header: &[u8], delivered: Timestamp) -> Summary {
    let Some(message) = MessageParser::default().parse_headers(header) else {
        return Summary {
            received: delivered,
            importance: "normal".into(),
            ..Summary::default()
        };
    };
    let from = person(message.from());
    let sent = message.date().and_then(timestamp);
    // The topmost hop is the last one: `received()` would be the first.
    let received = message
        .received_all()
        .next()
        .and_then(|hop| hop.date)
        .and_then(|date| timestamp(&date));
    let internet_id = message.message_id().map(clip).unwrap_or_default();
    Summary {
        subject: message.subject().map(clip).unwrap_or_default(),
        sender: message.sender().map_or_else(|| from.clone(), |s| person(Some(s))),
        from,
        received: received.or(sent).unwrap_or(delivered),
        sent,
        conversation_id: first(message.header(HeaderName::References))
            .or_else(|| first(message.header(HeaderName::InReplyTo)))
            .unwrap_or_else(|| internet_id.clone()),
        internet_id,
        importance: importance(&message),
        inference: String::new(),
        categories: texts(message.header(HeaderName::Keywords)),
        body_preview: String::new(),
    }
}

fn importance(message: &Message<'_>) -> String {
    let value = first(message.header(HeaderName::Importance)).unwrap_or_default();
    let value = value.trim();
    ["low", "high"]
        .into_iter()
        .find(|word| value.eq_ignore_ascii_case(word))
        .unwrap_or("normal")
        .to_owned()
}

fn person(address: Option<&Address<'_>>) -> Person {
    address
        .and_then(Address::first)
        .map_or_else(Person::default, |addr: &Addr<'_>| Person {
            name: addr.name().map(clip).unwrap_or_default(),
            email: addr.address().map(clip).unwrap_or_default(),
        })
}

/// None for dates that no calendar has.
fn timestamp(date: &DateTime) -> Option<Timestamp> {
    date.is_valid()
        .then(|| Timestamp::from_seconds(date.to_timestamp()))
}

fn first(value: Option<&HeaderValue<'_>>) -> Option<String> {
    texts(value).into_iter().next()
}

fn texts(value: Option<&HeaderValue<'_>>) -> Vec<String> {
    match value {
        Some(HeaderValue::Text(text)) => vec![clip(text)],
        Some(HeaderValue::TextList(list)) => list.iter().take(20).map(|text| clip(text)).collect(),
        _ => Vec::new(),
    }
}

fn clip(text: &str) -> String {
    text.chars().take(MAX_TEXT).collect()
}
