//! Messages: lists, single ones, MIME, drafts, changes, moves, deletion.
//! Invariants: what Graph calls `hasAttachments` leaves inline parts out; a deleted message goes to Deleted Items first.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};

use super::{
    Desk, attachments, denied, folders, malformed, no_route, not_found, pages, send, time, well_formed,
};
use crate::{
    content::mix,
    mailbox::{Mailbox, Stored},
    message::Message,
    wire::{Answer, Body, extended, mime, odata},
};

pub(crate) fn internet_id(stored: &Stored) -> String {
    let made = || {
        let number = mix(stored.created.as_second().unsigned_abs() ^ (stored.key << 20));
        format!("<{number:016x}@standin.test>")
    };
    stored.message.message_id.clone().unwrap_or_else(made)
}

pub(crate) fn find(desk: &mut Desk<'_>, id: &str) -> Result<Stored, Answer> {
    if !well_formed(id) || id.starts_with("AQMk") {
        return Err(malformed());
    }
    desk.mailbox().by_id(id).cloned().ok_or_else(not_found)
}

fn person(name: &str, address: &str) -> Value {
    json!({"emailAddress": {"name": name, "address": address}})
}

fn property(mailbox: &Mailbox, stored: &Stored, name: &str, text_body: bool) -> Option<Value> {
    let message = &stored.message;
    let from = || message.from.as_ref().map(|f| person(&message.from_name, f));
    Some(match name {
        "createdDateTime" => json!(time(stored.created)),
        "lastModifiedDateTime" => json!(time(stored.modified)),
        "changeKey" => json!(change_key(stored)),
        "categories" => json!(message.categories),
        "receivedDateTime" | "sentDateTime" => json!(time(stored.received)),
        "hasAttachments" => json!(stored.has_attachments()),
        "internetMessageId" => json!(internet_id(stored)),
        "subject" => json!(message.subject),
        "bodyPreview" => json!(message.body.chars().take(255).collect::<String>().trim()),
        "importance" => json!(message.importance),
        "parentFolderId" => json!(mailbox.folders.get(&stored.folder).map(|f| &f.id)),
        "conversationId" => json!(format!("AAQkAGI2TG93AAA{:016x}", mix(stored.key))),
        "conversationIndex" => json!("AQHZ"),
        "isDeliveryReceiptRequested" => Value::Null,
        "isReadReceiptRequested" => json!(false),
        "isRead" => json!(message.read),
        "isDraft" => json!(message.draft),
        "webLink" => json!(format!(
            "https://outlook.office365.com/owa/?ItemID={}",
            stored.ids.regular
        )),
        "inferenceClassification" => json!("focused"),
        "body" | "uniqueBody" => body(message, text_body),
        "sender" | "from" => json!(from()),
        "toRecipients" => message.to.iter().map(|a| person(a, a)).collect(),
        "ccRecipients" | "bccRecipients" | "replyTo" => json!([]),
        "flag" => json!({"flagStatus": "notFlagged"}),
        "internetMessageHeaders" => json!([{"name": "Message-ID", "value": internet_id(stored)}]),
        _ => return None,
    })
}

/// HTML unless text is preferred, as Graph does.
fn body(message: &Message, text: bool) -> Value {
    if message.html != text {
        let kind = if message.html { "html" } else { "text" };
        return json!({"contentType": kind, "content": message.body});
    }
    if text {
        let mut plain = String::new();
        let mut within = false;
        for c in message.body.chars() {
            match c {
                '<' => within = true,
                '>' => within = false,
                c if !within => plain.push(c),
                _ => {}
            }
        }
        return json!({"contentType": "text", "content": plain});
    }
    let escaped = message
        .body
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace("\r\n", "<br>");
    json!({"contentType": "html", "content": format!("<html><body><div>{escaped}</div></body></html>")})
}

fn change_key(stored: &Stored) -> String {
    format!("CQAAABYAAAB{:016x}", mix(stored.key << 20 | stored.version))
}

/// A message as JSON. Properties that must be asked for by name are left out otherwise.
pub(crate) fn show(desk: &mut Desk<'_>, stored: &Stored, select: Option<&[String]>) -> Value {
    let text = desk.asked.prefer().contains("outlook.body-content-type=\"text\"");
    let immutable = desk.immutable;
    let mailbox = desk.mailbox();
    let mut shown = Map::new();
    shown.insert(
        "@odata.etag".to_owned(),
        json!(format!("W/\"{}\"", change_key(stored))),
    );
    shown.insert("id".to_owned(), json!(stored.ids.shown(immutable)));
    for name in odata::MESSAGE {
        let wanted = match select {
            Some(select) => select.iter().any(|s| s == name),
            None => !["internetMessageHeaders", "uniqueBody"].contains(name),
        };
        if wanted && let Some(value) = property(mailbox, stored, name, text) {
            shown.insert((*name).to_owned(), value);
        }
    }
    Value::Object(shown)
}

/// With its attachments, or an extended property, where they are asked for.
fn show_expanded(
    desk: &mut Desk<'_>,
    stored: &Stored,
    select: Option<&[String]>,
    expand: Option<&odata::Expand>,
) -> Value {
    let mut shown = show(desk, stored, select);
    if let Some(id) = expand.and_then(|e| e.extended.as_deref()) {
        if let Some(property) = extended::show(&stored.message.extended, id) {
            shown["singleValueExtendedProperties"] = property;
        }
    } else if let Some(expand) = expand {
        let most = desk
            .settings
            .expand_most
            .unwrap_or(usize::MAX)
            .min(stored.hung.len());
        let show = |h| attachments::show(desk, h, expand.select.as_deref(), true);
        let all: Vec<Value> = stored.hung.iter().take(most).map(show).collect();
        shown["attachments"] = json!(all);
        if most < stored.hung.len() {
            let user = desk.mailbox().address.clone();
            let select = expand
                .select
                .as_ref()
                .map(|s| format!("?$select={}", s.join(",")))
                .unwrap_or_default();
            let id = stored.ids.shown(desk.immutable);
            let first = format!("/v1.0/users/{user}/messages/{id}/attachments{select}");
            shown["attachments@odata.nextLink"] = json!(pages::link_to(desk, first, most, false));
        }
    }
    shown
}

fn expanded(desk: &Desk<'_>) -> Result<Option<odata::Expand>, Answer> {
    let expand = odata::expand(desk.asked.query().get("$expand").map(String::as_str))?;
    if desk.settings.no_inner_select && expand.as_ref().is_some_and(|e| e.select.is_some()) {
        return Err(Answer::error(
            400,
            "RequestBroker--ParseUri",
            "Query option 'Select' within 'Expand' is not allowed for this resource.",
        ));
    }
    Ok(expand)
}

/// The messages of a folder, or of the whole mailbox.
pub(crate) fn collection(desk: &mut Desk<'_>, folder: Option<&str>, skip: usize) -> Result<Answer, Answer> {
    let folder = folder.map(|f| folders::find(desk, f)).transpose()?;
    match desk.asked.method.as_str() {
        "GET" => {}
        "POST" => {
            let drafts = desk.mailbox().well_known("drafts").map_or(0, |f| f.key);
            return create(desk, folder.map_or(drafts, |f| f.key));
        }
        _ => {
            return Err(Answer::error(
                405,
                "BadRequest",
                "The HTTP method is not allowed here.",
            ));
        }
    }
    pages::only(
        desk,
        &[
            "$select", "$top", "$skip", "$count", "$filter", "$orderby", "$expand",
        ],
    )?;
    let query = desk.asked.query();
    let option = |name: &str| query.get(name).map(String::as_str);
    let select = odata::select(
        option("$select"),
        odata::MESSAGE,
        "Microsoft.OutlookServices.Message",
    )?;
    let filter = odata::filter(option("$filter"))?;
    let order = odata::orderby(option("$orderby"), &filter)?;
    let expand = expanded(desk)?;
    let mailbox = desk.mailbox();
    let searched = folder.as_ref().is_some_and(|f| f.search);
    let within = |m: &&Stored| {
        folder
            .as_ref()
            .is_none_or(|f| f.key == m.folder || (searched && m.has_attachments()))
    };
    let mut found: Vec<&Stored> = mailbox
        .messages
        .values()
        .filter(within)
        .filter(|m| filter.iter().all(|t| t.holds(m)))
        .collect();
    odata::sort(&mut found, &order);
    let keys: Vec<u64> = found.into_iter().map(|m| m.key).collect();
    pages::cut(desk, &keys, skip, 10, |desk, key| {
        let stored = desk.mailbox().messages[key].clone();
        show_expanded(desk, &stored, select.as_deref(), expand.as_ref())
    })
}

pub(crate) fn count(desk: &mut Desk<'_>, folder: &str) -> Result<Answer, Answer> {
    let folder = folders::find(desk, folder)?;
    let many = desk.mailbox().held(folder.key).count();
    let mut answer = Answer::empty(200);
    answer.body = Body::Text(many.to_string(), "text/plain");
    Ok(answer)
}

fn create(desk: &mut Desk<'_>, folder: u64) -> Result<Answer, Answer> {
    let kind = desk
        .asked
        .header("content-type")
        .unwrap_or_default()
        .to_ascii_lowercase();
    let message = if kind.starts_with("text/plain") {
        from_mime(desk)?
    } else {
        send::read(&desk.asked.json()?)?
    };
    fits(
        desk,
        message
            .attachments
            .iter()
            .filter_map(|a| a.content())
            .map(crate::Content::len)
            .sum(),
    )?;
    let mailbox = desk.mailbox();
    let key = mailbox.add(folder, message);
    let stored = mailbox.messages[&key].clone();
    Ok(Answer::json(201, show(desk, &stored, None)))
}

pub(crate) fn fits(desk: &mut Desk<'_>, bytes: u64) -> Result<(), Answer> {
    if bytes > desk.mailbox().most {
        return Err(Answer::error(
            413,
            "ErrorMessageSizeExceeded",
            "The message exceeds the maximum supported size.",
        ));
    }
    Ok(())
}

pub(crate) fn from_mime(desk: &Desk<'_>) -> Result<Message, Answer> {
    let invalid = || {
        Answer::error(
            400,
            "ErrorMimeContentInvalidBase64String",
            "Invalid base64 string for MIME content.",
        )
    };
    let text: Vec<u8> = desk
        .asked
        .body
        .iter()
        .copied()
        .filter(|b| !b.is_ascii_whitespace())
        .collect();
    let bytes = STANDARD.decode(text).map_err(|_| invalid())?;
    let mut message = mime::read(&bytes)
        .ok_or_else(|| Answer::error(400, "ErrorMimeContentInvalid", "The MIME content is invalid."))?;
    message.mime = Some(bytes.into());
    Ok(message)
}

/// Everything below `messages/{id}`.
pub(crate) fn one(desk: &mut Desk<'_>, id: &str, rest: &[&str], skip: usize) -> Result<Answer, Answer> {
    let stored = find(desk, id)?;
    match (desk.asked.method.as_str(), rest) {
        ("GET", []) => {
            pages::only(desk, &["$select", "$expand"])?;
            let query = desk.asked.query();
            let select = query.get("$select").map(String::as_str);
            let select = odata::select(select, odata::MESSAGE, "Microsoft.OutlookServices.Message")?;
            let expand = expanded(desk)?;
            Ok(Answer::json(
                200,
                show_expanded(desk, &stored, select.as_deref(), expand.as_ref()),
            ))
        }
        ("GET", ["$value"]) => {
            let mut answer = Answer::empty(200);
            answer.body = Body::Content(mime::write(&stored), "text/plain".to_owned());
            Ok(answer)
        }
        ("PATCH", []) => change(desk, &stored),
        ("DELETE", []) => {
            let mailbox = desk.mailbox();
            let bin = mailbox.well_known("deleteditems").map_or(0, |f| f.key);
            if mailbox.beneath(stored.folder, bin) {
                mailbox.remove(stored.key);
            } else {
                mailbox.relocate(stored.key, bin);
            }
            Ok(Answer::empty(204))
        }
        ("POST", ["permanentDelete"]) => {
            desk.mailbox().remove(stored.key);
            Ok(Answer::empty(204))
        }
        ("POST", [how @ ("move" | "copy")]) => {
            let body = desk.asked.json()?;
            let to = folders::find(desk, body["destinationId"].as_str().unwrap_or_default())?;
            if to.search {
                return Err(denied());
            }
            let mailbox = desk.mailbox();
            let key = if *how == "move" {
                mailbox.relocate(stored.key, to.key);
                stored.key
            } else {
                mailbox.copy(stored.key, to.key).ok_or_else(not_found)?
            };
            let stored = mailbox.messages[&key].clone();
            Ok(Answer::json(201, show(desk, &stored, None)))
        }
        ("POST", ["send"]) => send::send_draft(desk, &stored),
        (_, ["attachments", more @ ..]) => attachments::answer(desk, &stored, more, skip),
        (_, []) => Err(Answer::error(
            405,
            "BadRequest",
            "The HTTP method is not allowed here.",
        )),
        (_, [first, ..]) => Err(no_route(first)),
    }
}

fn change(desk: &mut Desk<'_>, stored: &Stored) -> Result<Answer, Answer> {
    let body = desk.asked.json()?;
    let fresh = send::read(&body)?;
    let given = |name: &str| body.get(name).is_some();
    let mailbox = desk.mailbox();
    let Some(now) = mailbox.messages.get_mut(&stored.key) else {
        return Err(not_found());
    };
    let message = &mut now.message;
    let only_drafts = ["subject", "body", "toRecipients", "from", "sender"];
    if !message.draft && only_drafts.iter().any(|n| given(n)) && !given("isDraft") {
        // Of what was received the text cannot be changed, the subject can.
        if only_drafts.iter().skip(1).any(|n| given(n)) {
            return Err(Answer::error(
                400,
                "ErrorInvalidPropertySet",
                "The property can be set only on drafts.",
            ));
        }
    }
    if given("subject") {
        message.subject = fresh.subject;
    }
    if given("body") {
        (message.body, message.html) = (fresh.body, fresh.html);
    }
    if given("toRecipients") {
        message.to = fresh.to;
    }
    if given("categories") {
        message.categories = fresh.categories;
    }
    if given("importance") {
        message.importance = fresh.importance;
    }
    if given("isRead") {
        message.read = fresh.read;
    }
    mailbox.touch(stored.key);
    let stored = mailbox.messages[&stored.key].clone();
    Ok(Answer::json(200, show(desk, &stored, None)))
}
