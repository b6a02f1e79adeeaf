//! The template that composes a file's name from its message and its attachment.
//!
//! Invariants: parsed once, when the configuration is read; expanding cannot fail. Values are
//! trimmed one by one and put in raw: [`crate::name::BaseName`] cleans the whole.

use std::time::SystemTime;

use jiff::{civil::DateTime, tz::TimeZone};
use portreeve_model::Timestamp;

use crate::{Attachment, FolderId, Message, Person};

/// The template where none is configured.
pub(crate) const DEFAULT: &str = "{message.subject}-{attachment.name}";
/// The template of message directories where none is configured.
pub(crate) const MESSAGE: &str = "{message.subject}";
/// Longest value that is put in: more would be cut off anyway.
const MAX_VALUE: usize = 1000;
/// 2000-01-01T00:00:00Z, for messages without a date of sending.
const NO_DATE: i64 = 946_684_800;

/// A parsed template.
#[derive(Debug, Clone)]
pub struct Template {
    source: String,
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone)]
enum Piece {
    Text(String),
    Field(Field),
}

/// What a template is expanded with.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The folder.
    pub folder: &'a FolderId,
    /// The message.
    pub message: &'a Message,
    /// The attachment; none for the directory of a message.
    pub attachment: Option<&'a Attachment>,
    /// The present, for `{now.…}`: a name is composed once and stays.
    pub now: SystemTime,
}

macro_rules! fields {
    ($($variant:ident = $name:literal,)+) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        enum Field { $($variant,)+ Now(Clock), Sent(Clock) }
        const FIELDS: &[(&str, Field)] = &[$(($name, Field::$variant),)+];
    };
}

fields! {
    FromEmail = "from.email",
    FromName = "from.name",
    SenderEmail = "sender.email",
    SenderName = "sender.name",
    AttachmentName = "attachment.name",
    AttachmentSize = "attachment.size",
    Subject = "message.subject",
    Id = "message.id",
    InternetId = "message.internet_id",
    ParentId = "message.parent_id",
    ConversationId = "message.conversation_id",
    BodyPreview = "message.body_preview",
    Importance = "message.importance",
    Inference = "message.inference",
    Categories = "message.categories",
}

/// Parts of a point in time, all in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Clock {
    Iso,
    Date,
    Time,
    Year,
    Month,
    Day,
    Hour,
    Minute,
    Second,
    Timestamp,
}

const CLOCKS: &[(&str, Clock)] = &[
    ("iso", Clock::Iso),
    ("date", Clock::Date),
    ("time", Clock::Time),
    ("year", Clock::Year),
    ("month", Clock::Month),
    ("day", Clock::Day),
    ("hour", Clock::Hour),
    ("minute", Clock::Minute),
    ("second", Clock::Second),
    ("timestamp", Clock::Timestamp),
];

impl Template {
    /// Parses `source`; `{{` and `}}` stand for braces.
    ///
    /// # Errors
    /// A sentence that says what is wrong and which placeholders there are.
    pub fn parse(source: &str) -> Result<Self, String> {
        let template = Self::read(source)?;
        if !template.uses(Field::AttachmentName) {
            return Err(
                "template: it must contain {attachment.name}, else files lose their extension".into(),
            );
        }
        Ok(template)
    }

    /// Parses a template for directories of messages: without the placeholders of attachments.
    ///
    /// # Errors
    /// As for [`Template::parse`].
    pub fn parse_for_messages(source: &str) -> Result<Self, String> {
        let template = Self::read(source)?;
        if [Field::AttachmentName, Field::AttachmentSize]
            .iter()
            .any(|field| template.uses(*field))
        {
            return Err("message_template: a message is no attachment: it has neither \
                        {attachment.name} nor {attachment.size}"
                .into());
        }
        if template.pieces.is_empty() {
            return Err("message_template: it is empty; the default is {message.subject}".into());
        }
        Ok(template)
    }

    fn read(source: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut text = String::new();
        let mut rest = source;
        while let Some(at) = rest.find(['{', '}']) {
            let (head, tail) = rest.split_at(at);
            text.push_str(head);
            if let Some(after) = tail.strip_prefix("{{") {
                text.push('{');
                rest = after;
            } else if let Some(after) = tail.strip_prefix("}}") {
                text.push('}');
                rest = after;
            } else if let Some((word, after)) = tail.strip_prefix('{').and_then(|t| t.split_once('}')) {
                if !text.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut text)));
                }
                pieces.push(Piece::Field(Field::parse(word)?));
                rest = after;
            } else {
                return Err(format!(
                    "template: a brace stands alone in '{source}'; write it twice"
                ));
            }
        }
        text.push_str(rest);
        if !text.is_empty() {
            pieces.push(Piece::Text(text));
        }
        Ok(Self {
            source: source.to_owned(),
            pieces,
        })
    }

    /// The template as written.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Whether it needs the message's text: a store may skip decoding it otherwise.
    #[must_use]
    pub fn wants_preview(&self) -> bool {
        self.uses(Field::BodyPreview)
    }

    fn uses(&self, field: Field) -> bool {
        self.pieces
            .iter()
            .any(|piece| matches!(piece, Piece::Field(f) if *f == field))
    }

    /// Expands it; the result is raw.
    #[must_use]
    pub fn expand(&self, facts: &Facts<'_>) -> String {
        let mut out = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Field(field) => {
                    let value = field.value(facts);
                    out.extend(value.trim().chars().take(MAX_VALUE));
                }
            }
        }
        out
    }
}

impl Field {
    fn parse(word: &str) -> Result<Self, String> {
        let clock = |name: &str| CLOCKS.iter().find(|(n, _)| *n == name).map(|(_, c)| *c);
        let found = match word.split_once('.') {
            Some(("now", part)) => clock(part).map(Self::Now),
            Some(("sent", part)) => clock(part).map(Self::Sent),
            _ => FIELDS.iter().find(|(name, _)| *name == word).map(|(_, f)| *f),
        };
        found.ok_or_else(|| {
            let fields: Vec<&str> = FIELDS.iter().map(|(name, _)| *name).collect();
            let clocks: Vec<&str> = CLOCKS.iter().map(|(name, _)| *name).collect();
            format!(
                "template: there is no {{{word}}}; there are {}, and now.* and sent.* with {}",
                fields.join(", "),
                clocks.join(", ")
            )
        })
    }

    fn value(self, facts: &Facts<'_>) -> String {
        let summary = &facts.message.summary;
        let name = |who: &Person| {
            if who.name.is_empty() {
                who.email.clone()
            } else {
                who.name.clone()
            }
        };
        match self {
            Self::FromEmail => summary.from.email.clone(),
            Self::FromName => name(&summary.from),
            Self::SenderEmail => summary.sender.email.clone(),
            Self::SenderName => name(&summary.sender),
            Self::AttachmentName => facts.attachment.map_or_else(String::new, |a| a.name.clone()),
            Self::AttachmentSize => facts
                .attachment
                .and_then(|a| a.size)
                .map_or_else(String::new, |size| size.to_string()),
            Self::Subject => summary.subject.clone(),
            Self::Id => facts.message.id.0.to_string(),
            Self::InternetId => summary.internet_id.clone(),
            Self::ParentId => facts.folder.0.to_string(),
            Self::ConversationId => summary.conversation_id.clone(),
            Self::BodyPreview => summary.body_preview.clone(),
            Self::Importance => summary.importance.clone(),
            Self::Inference => summary.inference.clone(),
            Self::Categories => summary.categories.join(", "),
            Self::Now(clock) => clock.text(facts.now.into()),
            Self::Sent(clock) => clock.text(summary.sent.unwrap_or(Timestamp::from_seconds(NO_DATE))),
        }
    }
}

impl Clock {
    fn text(self, at: Timestamp) -> String {
        let t = civil(at.seconds);
        match self {
            Self::Iso => t.strftime("%Y%m%dT%H%M%SZ").to_string(),
            Self::Date => t.strftime("%Y-%m-%d").to_string(),
            Self::Time => t.strftime("%H%M%S").to_string(),
            Self::Year => t.strftime("%Y").to_string(),
            Self::Month => t.strftime("%m").to_string(),
            Self::Day => t.strftime("%d").to_string(),
            Self::Hour => t.strftime("%H").to_string(),
            Self::Minute => t.strftime("%M").to_string(),
            Self::Second => t.strftime("%S").to_string(),
            Self::Timestamp => at.seconds.to_string(),
        }
    }
}

fn civil(seconds: i64) -> DateTime {
    jiff::Timestamp::from_second(seconds)
        .unwrap_or_default()
        .to_zoned(TimeZone::UTC)
        .datetime()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AttachmentKind, Summary};

    fn check(template: &str, want: &str) {
        let message = Message {
            id: "1.2".into(),
            summary: Summary {
                subject: " Order\r\n".into(),
                from: Person {
                    name: String::new(),
                    email: "a@example.com".into(),
                },
                sender: Person {
                    name: "Bob".into(),
                    email: "b@example.com".into(),
                },
                sent: None,
                categories: vec!["red".into(), "blue".into()],
                ..Summary::default()
            },
            attachments: vec![],
            complete: true,
            stamp: Box::default(),
        };
        let attachment = Attachment {
            id: "p".into(),
            kind: AttachmentKind::File,
            name: "order.xml".into(),
            size: Some(12),
            content_type: "text/xml".into(),
        };
        let facts = Facts {
            folder: &"INBOX".into(),
            message: &message,
            attachment: Some(&attachment),
            now: SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_714_555_805),
        };
        assert_eq!(
            Template::parse(template).unwrap().expand(&facts),
            want,
            "{template}"
        );
    }

    #[test]
    fn expands_every_kind_of_field() {
        check(DEFAULT, "Order-order.xml");
        check("{{{attachment.size}}} {attachment.name}", "{12} order.xml");
        check(
            "{from.name} {sender.name} {message.id} {message.parent_id} {message.categories} {attachment.name}",
            "a@example.com Bob 1.2 INBOX red, blue order.xml",
        );
        check(
            "{now.iso} {now.date} {now.time} {attachment.name}",
            "20240501T093005Z 2024-05-01 093005 order.xml",
        );
        check(
            "{sent.year}{sent.month}{sent.day}-{attachment.name}",
            "20000101-order.xml",
        );
    }

    #[test]
    fn says_what_is_wrong() {
        for (template, part) in [
            ("{attachment.name} {subject}", "message.subject"),
            ("{now.century}{attachment.name}", "now.*"),
            ("{attachment.name", "brace"),
            ("a}{attachment.name}", "brace"),
            ("{message.subject}", "{attachment.name}"),
        ] {
            let error = Template::parse(template).unwrap_err();
            assert!(error.contains(part), "{template}: {error}");
        }
    }

    #[test]
    fn directories_of_messages_know_no_attachment() {
        for source in ["{message.subject} {attachment.name}", "{attachment.size}", ""] {
            let error = Template::parse_for_messages(source).unwrap_err();
            assert!(error.starts_with("message_template: "), "{error}");
        }
        assert!(Template::parse_for_messages(MESSAGE).is_ok());
    }
}
