//! What Graph says of folders, messages and attachments, and what it means to us.
//!
//! Invariants: total (any JSON of the right shape becomes something, a missing property is never guessed
//! at the expense of a message); the `size` that Graph reports is never taken for the content's length.
//! Sources: the resource pages `mailFolder`, `message` and `attachment` of Microsoft Graph v1.0.

use portreeve_model::Timestamp;
use serde::{Deserialize, de::IgnoredAny};

use crate::{Attachment, AttachmentKind, Message, Person, Summary};

/// `$select` of messages whose attachments come with them.
pub(super) const FIELDS: &str = "id,subject,from,sender,receivedDateTime,sentDateTime,internetMessageId,\
     conversationId,importance,inferenceClassification,categories,hasAttachments,parentFolderId,changeKey";
/// `$expand` that brings the attachments; without the inner `$select` it would bring their content, too.
pub(super) const EXPAND: &str = "attachments($select=id,name,size,contentType,isInline,lastModifiedDateTime)";
/// `$select` of a message's own list of attachments.
pub(super) const PART_FIELDS: &str = "id,name,size,contentType,isInline,lastModifiedDateTime";
/// `$select` of message deltas: enough to tell what must be looked at.
pub(super) const DELTA_FIELDS: &str = "hasAttachments,changeKey,parentFolderId";
/// `$select` of folders.
pub(super) const FOLDER_FIELDS: &str = "displayName,parentFolderId,childFolderCount,totalItemCount,isHidden";

/// A folder, whole or what a delta says of it.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct FolderItem {
    pub(super) id: String,
    pub(super) display_name: Option<String>,
    pub(super) parent_folder_id: Option<String>,
    pub(super) child_folder_count: Option<i64>,
    pub(super) total_item_count: Option<i64>,
    pub(super) is_hidden: Option<bool>,
    #[serde(rename = "@odata.type")]
    pub(super) what: Option<String>,
    #[serde(rename = "@removed")]
    pub(super) removed: Option<IgnoredAny>,
}

impl FolderItem {
    /// Whether it is a search folder: a question that is kept, whose messages lie elsewhere.
    pub(super) fn is_search(&self) -> bool {
        self.what
            .as_deref()
            .is_some_and(|what| what.ends_with("mailSearchFolder"))
    }
}

/// A message, whole or what a delta says of it.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MessageItem {
    pub(super) id: String,
    subject: Option<String>,
    from: Option<Recipient>,
    sender: Option<Recipient>,
    received_date_time: Option<String>,
    sent_date_time: Option<String>,
    internet_message_id: Option<String>,
    conversation_id: Option<String>,
    importance: Option<String>,
    inference_classification: Option<String>,
    categories: Option<Vec<String>>,
    body_preview: Option<String>,
    pub(super) has_attachments: Option<bool>,
    pub(super) parent_folder_id: Option<String>,
    pub(super) change_key: Option<String>,
    pub(super) attachments: Option<Vec<AttachmentItem>>,
    #[serde(rename = "attachments@odata.nextLink")]
    pub(super) more_attachments: Option<String>,
    #[serde(rename = "@removed")]
    pub(super) removed: Option<IgnoredAny>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Recipient {
    email_address: Option<Address>,
}

#[derive(Debug, Clone, Deserialize)]
struct Address {
    name: Option<String>,
    address: Option<String>,
}

/// An attachment without its content.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AttachmentItem {
    pub(super) id: String,
    name: Option<String>,
    content_type: Option<String>,
    is_inline: Option<bool>,
    #[serde(rename = "@odata.type")]
    what: Option<String>,
    /// What is attached, of an item attachment that was asked for it.
    item: Option<Inner>,
}

#[derive(Debug, Clone, Deserialize)]
struct Inner {
    #[serde(rename = "@odata.type")]
    what: Option<String>,
}

/// Whether a message is still a draft, and where.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DraftItem {
    pub(super) is_draft: Option<bool>,
    pub(super) parent_folder_id: Option<String>,
}

/// The text of a message.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct BodyItem {
    pub(super) body: Option<Body>,
}

/// What [`BodyItem`] holds.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Body {
    pub(super) content: Option<String>,
}

impl MessageItem {
    /// What is known of it without its content.
    pub(super) fn summary(&self) -> Summary {
        let from = person(self.from.as_ref());
        let sender = self
            .sender
            .as_ref()
            .map_or_else(|| from.clone(), |who| person(Some(who)));
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let id = self.internet_message_id.as_deref().unwrap_or_default().trim();
        let id = id.strip_prefix('<').unwrap_or(id);
        Summary {
            subject: text(&self.subject),
            sender,
            from,
            received: self
                .received_date_time
                .as_deref()
                .and_then(time)
                .unwrap_or_default(),
            sent: self.sent_date_time.as_deref().and_then(time),
            internet_id: id.strip_suffix('>').unwrap_or(id).to_owned(),
            conversation_id: text(&self.conversation_id),
            importance: text(&self.importance),
            inference: text(&self.inference_classification),
            categories: self.categories.clone().unwrap_or_default(),
            body_preview: text(&self.body_preview),
        }
    }

    /// Whether it is said to have attachments and shows none: its list is not believed.
    pub(super) fn is_hollow(&self) -> bool {
        let kinds = || self.attachments.iter().flatten().map(AttachmentItem::kind);
        self.has_attachments == Some(true) && !kinds().any(|kind| kind != AttachmentKind::Inline)
    }

    /// The message with what it brought of its attachments. `complete` says whether those are all: it is
    /// not believed of a message that has attachments and shows none.
    pub(super) fn message(&self, complete: bool) -> Message {
        let attachments: Vec<Attachment> = self
            .attachments
            .iter()
            .flatten()
            .map(AttachmentItem::attachment)
            .collect();
        Message {
            id: (*self.id).into(),
            summary: self.summary(),
            complete: complete
                && self.attachments.is_some()
                && self.more_attachments.is_none()
                && !self.is_hollow(),
            attachments,
            stamp: self.change_key.as_deref().unwrap_or_default().into(),
        }
    }
}

impl AttachmentItem {
    /// What it is. A kind that Graph may have added since is treated like a reference: never shown, and
    /// it keeps its message alive.
    pub(super) fn kind(&self) -> AttachmentKind {
        let what = self
            .what
            .as_deref()
            .map(|what| what.rsplit('.').next().unwrap_or(what));
        match what {
            Some("itemAttachment") => AttachmentKind::Item,
            Some("fileAttachment") | None if self.is_inline == Some(true) => AttachmentKind::Inline,
            Some("fileAttachment") | None => AttachmentKind::File,
            Some(_) => AttachmentKind::Reference,
        }
    }

    /// Whether it is an attached item of which it is not known what.
    pub(super) fn is_unknown_item(&self) -> bool {
        self.kind() == AttachmentKind::Item && self.item.is_none() && self.content_type.is_none()
    }

    /// Takes over what another answer told of the attached item.
    pub(super) fn learn(&mut self, other: Self) {
        self.item = other.item;
    }

    /// The attachment; its size is not known.
    pub(super) fn attachment(&self) -> Attachment {
        let kind = self.kind();
        let sent = self
            .name
            .as_deref()
            .map(str::trim)
            .filter(|name| !name.is_empty());
        let content_type = self.content_type.as_deref().map(str::trim).unwrap_or_default();
        let name = match (kind, sent) {
            (AttachmentKind::Item, sent) => with_extension(sent.unwrap_or("message"), self.item_extension()),
            (_, Some(name)) => name.to_owned(),
            (_, None) => format!("attachment.{}", extension(content_type)),
        };
        Attachment {
            id: (*self.id).into(),
            kind,
            name,
            size: None,
            content_type: content_type.to_ascii_lowercase(),
        }
    }

    fn item_extension(&self) -> &'static str {
        let what = self
            .item
            .as_ref()
            .and_then(|item| item.what.as_deref())
            .unwrap_or_default();
        let kind = self
            .content_type
            .as_deref()
            .unwrap_or_default()
            .to_ascii_lowercase();
        match what.rsplit('.').next().unwrap_or_default() {
            "event" => ".ics",
            "contact" => ".vcf",
            "" if kind.starts_with("text/calendar") => ".ics",
            "" if kind.starts_with("text/vcard") || kind.starts_with("text/x-vcard") => ".vcf",
            _ => ".eml",
        }
    }
}

fn with_extension(name: &str, extension: &str) -> String {
    let tail = name
        .len()
        .checked_sub(extension.len())
        .and_then(|at| name.get(at..));
    if tail.is_some_and(|tail| tail.eq_ignore_ascii_case(extension)) {
        return name.to_owned();
    }
    format!("{name}{extension}")
}

/// An extension for parts that were sent without a name.
fn extension(content_type: &str) -> &'static str {
    let essence = content_type
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    match &*essence {
        "text/plain" => "txt",
        "text/html" => "html",
        "text/csv" => "csv",
        "text/calendar" => "ics",
        "text/xml" | "application/xml" => "xml",
        "application/json" => "json",
        "application/pdf" => "pdf",
        "application/zip" => "zip",
        "image/jpeg" => "jpg",
        "image/png" => "png",
        "image/gif" => "gif",
        "message/rfc822" => "eml",
        _ => "bin",
    }
}

fn person(who: Option<&Recipient>) -> Person {
    let address = who.and_then(|who| who.email_address.as_ref());
    Person {
        name: address
            .and_then(|address| address.name.clone())
            .unwrap_or_default(),
        email: address
            .and_then(|address| address.address.clone())
            .unwrap_or_default(),
    }
}

/// An ISO 8601 time in UTC as Graph writes it, e.g. `2024-05-01T09:30:05Z`.
fn time(text: &str) -> Option<Timestamp> {
    let at: jiff::Timestamp = text.parse().ok()?;
    let (seconds, nanos) = (at.as_second(), at.subsec_nanosecond());
    Some(match u32::try_from(nanos) {
        Ok(nanos) => Timestamp { seconds, nanos },
        // Before 1970 the fraction is negative.
        Err(_) => Timestamp {
            seconds: seconds - 1,
            nanos: u32::try_from(1_000_000_000 + nanos).unwrap_or(0),
        },
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, from_value, json};

    use super::*;
    use crate::PartId;

    fn part(value: Value) -> Attachment {
        from_value::<AttachmentItem>(value).unwrap().attachment()
    }

    #[test]
    fn each_kind_of_attachment_is_what_it_is() {
        for (what, inline, kind) in [
            (
                json!("#microsoft.graph.fileAttachment"),
                false,
                AttachmentKind::File,
            ),
            (
                json!("#microsoft.graph.fileAttachment"),
                true,
                AttachmentKind::Inline,
            ),
            (
                json!("#microsoft.graph.itemAttachment"),
                false,
                AttachmentKind::Item,
            ),
            (
                json!("#microsoft.graph.itemAttachment"),
                true,
                AttachmentKind::Item,
            ),
            (
                json!("#microsoft.graph.referenceAttachment"),
                false,
                AttachmentKind::Reference,
            ),
            (
                json!("#microsoft.graph.referenceAttachment"),
                true,
                AttachmentKind::Reference,
            ),
            (
                json!("#microsoft.graph.somethingNew"),
                false,
                AttachmentKind::Reference,
            ),
            (Value::Null, false, AttachmentKind::File),
            (Value::Null, true, AttachmentKind::Inline),
        ] {
            let got = part(json!({"id": "a=", "@odata.type": what, "isInline": inline, "name": "n.txt"}));
            assert_eq!(got.kind, kind, "{what} {inline}");
            assert_eq!(got.id, PartId::from("a="));
        }
    }

    #[test]
    fn the_reported_size_is_never_believed() {
        let got = part(json!({"id": "a", "name": "x.bin", "size": 1053}));
        assert_eq!(got.size, None);
    }

    #[test]
    fn names_are_made_up_where_there_are_none() {
        for (value, name) in [
            (
                json!({"id": "a", "name": " ", "contentType": "application/pdf"}),
                "attachment.pdf",
            ),
            (
                json!({"id": "a", "name": null, "contentType": null}),
                "attachment.bin",
            ),
            (
                json!({"id": "a", "name": "", "contentType": "TEXT/CSV; charset=x"}),
                "attachment.csv",
            ),
            (json!({"id": "a", "name": "a/b.pdf"}), "a/b.pdf"),
        ] {
            assert_eq!(part(value.clone()).name, name, "{value}");
        }
        let item = |name: Value, what: Value| {
            let item = json!({"@odata.type": what});
            let kind = "#microsoft.graph.itemAttachment";
            part(json!({"id": "a", "@odata.type": kind, "name": name, "item": item})).name
        };
        assert_eq!(
            item(json!("Re: x"), json!("#microsoft.graph.message")),
            "Re: x.eml"
        );
        assert_eq!(
            item(json!("Re: x.EML"), json!("#microsoft.graph.message")),
            "Re: x.EML"
        );
        assert_eq!(item(json!("Lunch"), json!("#microsoft.graph.event")), "Lunch.ics");
        assert_eq!(item(json!("Bob"), json!("#microsoft.graph.contact")), "Bob.vcf");
        assert_eq!(item(json!(""), Value::Null), "message.eml");
    }

    #[test]
    fn a_message_is_complete_only_when_nothing_hints_at_more() {
        let message = |value: Value| from_value::<MessageItem>(value).unwrap().message(true);
        let file = json!({"id": "p", "name": "x"});
        assert!(message(json!({"id": "m", "attachments": [file], "hasAttachments": true})).complete);
        assert!(message(json!({"id": "m", "attachments": [], "hasAttachments": false})).complete);
        // Told to have some, and shows none.
        assert!(!message(json!({"id": "m", "attachments": [], "hasAttachments": true})).complete);
        assert!(!message(json!({"id": "m", "hasAttachments": false})).complete);
        let more = json!({"id": "m", "attachments": [file], "attachments@odata.nextLink": "https://x/"});
        assert!(!message(more).complete);
    }

    #[test]
    fn reads_a_message_with_everything_missing_and_one_with_everything() {
        let bare: MessageItem = from_value(json!({"id": "m", "subject": null, "from": null})).unwrap();
        assert_eq!(bare.summary(), Summary::default());
        let full: MessageItem = from_value(json!({
            "@odata.etag": "W/\"x\"", "id": "m", "subject": "Report", "importance": "high",
            "from": {"emailAddress": {"name": "Ann", "address": "ann@example.com"}},
            "receivedDateTime": "2024-05-01T09:30:05.25Z", "sentDateTime": "1969-12-31T23:59:59.5Z",
            "internetMessageId": "<1@example.com>", "conversationId": "c", "categories": ["red"],
            "inferenceClassification": "focused", "bodyPreview": "Hi", "changeKey": "k"
        }))
        .unwrap();
        let got = full.summary();
        assert_eq!(got.sender, got.from);
        assert_eq!(got.from.email, "ann@example.com");
        assert_eq!(
            got.received,
            Timestamp {
                seconds: 1_714_555_805,
                nanos: 250_000_000
            }
        );
        assert_eq!(
            got.sent,
            Some(Timestamp {
                seconds: -1,
                nanos: 500_000_000
            })
        );
        assert_eq!(got.internet_id, "1@example.com");
        assert_eq!(
            (&*got.subject, &*got.importance, &*got.inference),
            ("Report", "high", "focused")
        );
    }
}
