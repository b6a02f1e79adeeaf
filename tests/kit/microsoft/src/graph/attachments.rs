//! Attachments: lists, single ones, their bytes, adding small ones, taking away.
//! Invariants: `size` is never the number of bytes of a file; `contentBytes` is left out above a size; a link has no bytes.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};

use super::{Desk, malformed, messages, no_route, not_found, pages, time, uploads, well_formed};
use crate::{
    mailbox::{Hung, Stored},
    message::{Attachment, Kind},
    wire::{Answer, Body, odata},
};

/// The most that an attachment added in one request may have.
pub(crate) const MOST_AT_ONCE: usize = 3 << 20;

/// What Graph says of the size: more than there is.
fn said(hung: &Hung) -> u64 {
    let real = hung.attachment.content().map_or(0, crate::Content::len);
    real + real * 45 / 1000 + 200
}

/// An attachment as JSON.
pub(crate) fn show(desk: &Desk<'_>, hung: &Hung, select: Option<&[String]>, collection: bool) -> Value {
    let attachment = &hung.attachment;
    let kind = match attachment.kind {
        Kind::File { .. } => "#microsoft.graph.fileAttachment",
        Kind::Item { .. } => "#microsoft.graph.itemAttachment",
        Kind::Reference { .. } => "#microsoft.graph.referenceAttachment",
    };
    let wanted = |name: &str| select.is_none_or(|s| s.iter().any(|n| n == name));
    let mut shown = Map::new();
    shown.insert("@odata.type".to_owned(), json!(kind));
    if let Kind::File { .. } = attachment.kind {
        shown.insert(
            "@odata.mediaContentType".to_owned(),
            json!(attachment.content_type),
        );
    }
    shown.insert("id".to_owned(), json!(hung.ids.shown(desk.immutable)));
    let base = [
        ("name", json!(attachment.name)),
        ("contentType", json!(attachment.content_type)),
        ("size", json!(said(hung))),
        ("isInline", json!(attachment.inline)),
        ("lastModifiedDateTime", json!(time(hung.modified))),
    ];
    for (name, value) in base {
        if wanted(name) {
            shown.insert(name.to_owned(), value);
        }
    }
    if let Kind::File { content, content_id } = &attachment.kind {
        let cast = |name: &str| wanted(&format!("microsoft.graph.fileAttachment/{name}"));
        if cast("contentId") {
            shown.insert("contentId".to_owned(), json!(content_id));
        }
        if cast("contentLocation") {
            shown.insert("contentLocation".to_owned(), Value::Null);
        }
        let inlined = !collection || content.len() <= desk.settings.inline_limit;
        // A single one has it whole, however large, but of what is made up on the fly there may be too much.
        if cast("contentBytes") && inlined && content.len() <= 64 << 20 {
            shown.insert("contentBytes".to_owned(), json!(STANDARD.encode(content.all())));
        }
    }
    Value::Object(shown)
}

fn select(desk: &Desk<'_>, collection: bool) -> Result<Option<Vec<String>>, Answer> {
    let query = desk.asked.query();
    // `contentBytes` belongs to files: a list of attachments of every kind does not know it without the cast.
    let mut known: Vec<&str> = odata::ATTACHMENT.iter().chain(odata::CAST).copied().collect();
    if !collection {
        known.extend(["contentBytes", "contentId", "contentLocation"]);
    }
    let chosen = odata::select(
        query.get("$select").map(String::as_str),
        &known,
        "Microsoft.OutlookServices.Attachment",
    )?;
    let cast = |name: String| match name.as_str() {
        "contentBytes" | "contentId" | "contentLocation" => format!("microsoft.graph.fileAttachment/{name}"),
        _ => name,
    };
    Ok(chosen.map(|c| c.into_iter().map(cast).collect()))
}

fn find(stored: &Stored, id: &str) -> Result<Hung, Answer> {
    if !well_formed(id) || id.starts_with("AQMk") {
        return Err(malformed());
    }
    stored
        .hung
        .iter()
        .find(|h| h.ids.are(id))
        .cloned()
        .ok_or_else(not_found)
}

/// `$expand=microsoft.graph.itemattachment/item`, with or without a `$select` of its own: what the item is.
fn expand(desk: &Desk<'_>, hung: &Hung, shown: &mut Value) -> Result<(), Answer> {
    let text = desk
        .asked
        .query()
        .remove("$expand")
        .unwrap_or_default()
        .to_ascii_lowercase();
    let inner = text.strip_prefix("microsoft.graph.itemattachment/item");
    if !inner.is_some_and(|i| i.is_empty() || (i.starts_with("($select=") && i.ends_with(')'))) {
        return Err(Answer::error(
            400,
            "RequestBroker--ParseUri",
            "Parsing OData Select and Expand failed.",
        ));
    }
    if let Kind::Item { mime } = &hung.attachment.kind {
        let start = mime.piece(0, 15);
        let kind = match start.as_ref() {
            b"BEGIN:VCALENDAR" => "event",
            start if start.starts_with(b"BEGIN:VCARD") => "contact",
            _ => "message",
        };
        shown["item"] = json!({"@odata.type": format!("#microsoft.graph.{kind}"), "id": ""});
    }
    Ok(())
}

/// Everything below `attachments`.
pub(crate) fn answer(
    desk: &mut Desk<'_>,
    stored: &Stored,
    rest: &[&str],
    skip: usize,
) -> Result<Answer, Answer> {
    match (desk.asked.method.as_str(), rest) {
        ("GET", []) => {
            pages::only(desk, &["$select", "$top", "$skip", "$count"])?;
            let select = select(desk, true)?;
            pages::cut(desk, &stored.hung, skip, 1000, |desk, hung| {
                show(desk, hung, select.as_deref(), true)
            })
        }
        ("GET", [id]) => {
            pages::only(desk, &["$select", "$expand"])?;
            let hung = find(stored, id)?;
            let select = select(desk, false)?;
            let mut shown = show(desk, &hung, select.as_deref(), false);
            if desk.asked.query().contains_key("$expand") {
                expand(desk, &hung, &mut shown)?;
            }
            Ok(Answer::json(200, shown))
        }
        ("GET", [id, "$value"]) => {
            let hung = find(stored, id)?;
            let Some(content) = hung.attachment.content() else {
                return Err(Answer::error(
                    405,
                    "ErrorInvalidRequest",
                    "The attachment has no content.",
                ));
            };
            let kind = hung
                .attachment
                .content_type
                .clone()
                .unwrap_or_else(|| "text/plain".to_owned());
            let mut answer = Answer::empty(200);
            answer.body = Body::Content(content.clone(), kind);
            Ok(answer)
        }
        ("DELETE", [id]) => {
            let hung = find(stored, id)?;
            let mailbox = desk.mailbox();
            if let Some(now) = mailbox.messages.get_mut(&stored.key) {
                now.hung.retain(|h| h.ids != hung.ids);
                now.message.mime = None;
            }
            mailbox.touch(stored.key);
            Ok(Answer::empty(204))
        }
        ("POST", []) => add(desk, stored),
        ("POST", ["createUploadSession"]) => uploads::open(desk, stored),
        (_, [] | [_]) => Err(Answer::error(
            405,
            "BadRequest",
            "The HTTP method is not allowed here.",
        )),
        (_, [.., last]) => Err(no_route(last)),
    }
}

/// An attachment out of JSON.
pub(crate) fn read(body: &Value) -> Result<Attachment, Answer> {
    let bad = |text: &str| Answer::error(400, "ErrorInvalidParameter", text);
    let name = body["name"]
        .as_str()
        .ok_or_else(|| bad("The attachment has no name."))?;
    match body["@odata.type"].as_str() {
        Some("#microsoft.graph.fileAttachment" | "microsoft.graph.fileAttachment") => {}
        Some("#microsoft.graph.referenceAttachment") => {
            return Ok(Attachment::reference(
                name,
                body["sourceUrl"].as_str().unwrap_or_default(),
            ));
        }
        _ => {
            return Err(bad(
                "The annotation 'odata.type' is missing or names a type that cannot be made.",
            ));
        }
    }
    let bytes = STANDARD
        .decode(body["contentBytes"].as_str().unwrap_or_default())
        .map_err(|_| bad("Cannot convert the literal to the expected type 'Edm.Binary'."))?;
    if bytes.len() > MOST_AT_ONCE {
        return Err(Answer::error(
            413,
            "RequestEntityTooLarge",
            "Maximum request length exceeded.",
        ));
    }
    let mut attachment = Attachment::file(name, bytes);
    if let Some(kind) = body["contentType"].as_str() {
        attachment.content_type = Some(kind.to_owned());
    }
    attachment.inline = body["isInline"] == json!(true);
    Ok(attachment)
}

fn add(desk: &mut Desk<'_>, stored: &Stored) -> Result<Answer, Answer> {
    let attachment = read(&desk.asked.json()?)?;
    let held: u64 = stored
        .hung
        .iter()
        .filter_map(|h| h.attachment.content())
        .map(crate::Content::len)
        .sum();
    messages::fits(desk, held + attachment.content().map_or(0, crate::Content::len))?;
    let mailbox = desk.mailbox();
    mailbox.hang(stored.key, attachment);
    let hung = mailbox
        .messages
        .get(&stored.key)
        .and_then(|m| m.hung.last())
        .cloned()
        .ok_or_else(not_found)?;
    Ok(Answer::json(201, show(desk, &hung, None, false)))
}
