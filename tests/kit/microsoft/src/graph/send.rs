//! Messages that go out, and messages as JSON that come in.
//! Invariant: what was sent is remembered with the digests of its attachments, whether a copy is kept or not.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;

use super::{Desk, attachments, messages, not_found};
use crate::{
    mailbox::Stored,
    message::{Attachment, Message, Sent},
    wire::{Answer, extended, mime, odata},
};

fn addresses(value: &Value) -> Vec<String> {
    let all = value.as_array().map(Vec::as_slice).unwrap_or_default();
    all.iter()
        .filter_map(|r| r["emailAddress"]["address"].as_str())
        .map(str::to_owned)
        .collect()
}

/// A draft out of JSON; properties that no message has are refused.
pub(crate) fn read(body: &Value) -> Result<Message, Answer> {
    let Some(fields) = body.as_object() else {
        return Err(Answer::error(400, "BadRequest", "The body is not an object."));
    };
    for name in fields.keys() {
        let more = [
            "attachments",
            "singleValueExtendedProperties",
            "multiValueExtendedProperties",
        ];
        let known =
            odata::MESSAGE.contains(&name.as_str()) || more.contains(&name.as_str()) || name.starts_with('@');
        if !known {
            return Err(Answer::error(
                400,
                "RequestBodyRead",
                &format!("The property '{name}' does not exist on type 'Microsoft.OutlookServices.Message'."),
            ));
        }
    }
    let mut message = Message::new("");
    message.subject = body["subject"].as_str().map(str::to_owned);
    message.from = addresses(&Value::Array(vec![body["from"].clone()])).pop();
    message.from_name = body["from"]["emailAddress"]["name"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    message.message_id = body["internetMessageId"].as_str().map(str::to_owned);
    message.to = addresses(&body["toRecipients"]);
    message.to.extend(addresses(&body["ccRecipients"]));
    message.to.extend(addresses(&body["bccRecipients"]));
    message.body = body["body"]["content"].as_str().unwrap_or_default().to_owned();
    message.html = body["body"]["contentType"]
        .as_str()
        .is_some_and(|t| t.eq_ignore_ascii_case("html"));
    message.importance = body["importance"]
        .as_str()
        .unwrap_or("normal")
        .to_ascii_lowercase();
    message.read = body["isRead"].as_bool().unwrap_or(true);
    let categories = body["categories"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    message.categories = categories
        .iter()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect();
    // Nothing that is made through Graph counts as received, whatever is said.
    message.draft = true;
    message.extended = extended::read(&body["singleValueExtendedProperties"])?;
    for attachment in body["attachments"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default()
    {
        message.attachments.push(attachments::read(attachment)?);
    }
    Ok(message)
}

fn no_recipients() -> Answer {
    Answer::error(
        400,
        "ErrorInvalidRecipients",
        "At least one recipient is not valid.",
    )
}

fn remember(to: &[String], subject: Option<&str>, attached: &[Attachment], saved: bool) -> Sent {
    let digest = |a: &Attachment| {
        (
            a.name.clone(),
            a.content().map(crate::Content::sha256).unwrap_or_default(),
        )
    };
    Sent {
        to: to.to_vec(),
        subject: subject.unwrap_or_default().to_owned(),
        attachments: attached.iter().map(digest).collect(),
        saved,
    }
}

/// `send` of a draft: it goes out and then stands in Sent Items.
pub(crate) fn send_draft(desk: &mut Desk<'_>, stored: &Stored) -> Result<Answer, Answer> {
    if !stored.message.draft {
        return Err(Answer::error(
            400,
            "ErrorInvalidOperation",
            "Only drafts can be sent.",
        ));
    }
    if stored.message.to.is_empty() || stored.message.to.iter().any(|a| !a.contains('@')) {
        return Err(no_recipients());
    }
    let attached: Vec<Attachment> = stored.hung.iter().map(|h| h.attachment.clone()).collect();
    let mailbox = desk.mailbox();
    let to = mailbox.well_known("sentitems").map_or(0, |f| f.key);
    let Some(now) = mailbox.messages.get_mut(&stored.key) else {
        return Err(not_found());
    };
    now.message.draft = false;
    mailbox.relocate(stored.key, to);
    mailbox.sent.push(remember(
        &stored.message.to,
        stored.message.subject.as_deref(),
        &attached,
        true,
    ));
    Ok(Answer::empty(202))
}

/// `sendMail`: JSON, or MIME in base64.
pub(crate) fn send_mail(desk: &mut Desk<'_>) -> Result<Answer, Answer> {
    if desk.asked.method != http::Method::POST {
        return Err(Answer::error(
            405,
            "BadRequest",
            "The HTTP method is not allowed here.",
        ));
    }
    let kind = desk
        .asked
        .header("content-type")
        .unwrap_or_default()
        .to_ascii_lowercase();
    let (mut message, saved) = if kind.starts_with("text/plain") {
        let bytes = STANDARD.decode(&desk.asked.body).ok();
        let message = bytes.and_then(|b| mime::read(&b));
        let invalid = || Answer::error(400, "ErrorMimeContentInvalid", "The MIME content is invalid.");
        (message.ok_or_else(invalid)?, true)
    } else {
        let body = desk.asked.json()?;
        (
            read(&body["message"])?,
            body["saveToSentItems"].as_bool().unwrap_or(true),
        )
    };
    if message.to.is_empty() || message.to.iter().any(|a| !a.contains('@')) {
        return Err(no_recipients());
    }
    messages::fits(
        desk,
        message
            .attachments
            .iter()
            .filter_map(Attachment::content)
            .map(crate::Content::len)
            .sum(),
    )?;
    message.draft = false;
    let mailbox = desk.mailbox();
    mailbox.sent.push(remember(
        &message.to,
        message.subject.as_deref(),
        &message.attachments,
        saved,
    ));
    if saved {
        let to = mailbox.well_known("sentitems").map_or(0, |f| f.key);
        mailbox.add(to, message);
    }
    Ok(Answer::empty(202))
}
