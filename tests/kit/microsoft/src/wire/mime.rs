//! MIME out of a message, and a message out of MIME.
//! Invariant: bytes that came as MIME go out unchanged.

use std::{fmt::Write as _, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::fmt::rfc2822;
use mail_parser::{MessageParser, MimeHeaders as _, PartType};

use crate::{
    content::{Content, Section},
    graph::messages::internet_id,
    mailbox::Stored,
    message::{Attachment, Kind, Message},
};

/// A message as RFC 5322 says it.
pub(crate) fn write(stored: &Stored) -> Content {
    let message = &stored.message;
    if let Some(mime) = &message.mime {
        return mime.clone();
    }
    let mut text = String::new();
    let encoded = |value: &str| {
        if value.is_ascii() && !value.chars().any(char::is_control) {
            value.to_owned()
        } else {
            format!("=?utf-8?B?{}?=", STANDARD.encode(value))
        }
    };
    let boundary = format!(
        "=_{}",
        &stored.ids.immutable[stored.ids.immutable.len().saturating_sub(24)..].trim_end_matches('=')
    );
    if let Some(from) = &message.from {
        let _ = write!(text, "From: {} <{from}>\r\n", encoded(&message.from_name));
    }
    if !message.to.is_empty() {
        let _ = write!(text, "To: {}\r\n", message.to.join(", "));
    }
    if let Some(subject) = &message.subject {
        let _ = write!(text, "Subject: {}\r\n", encoded(subject));
    }
    let date = rfc2822::DateTimePrinter::new()
        .timestamp_to_string(&stored.received)
        .unwrap_or_default();
    let _ = write!(
        text,
        "Date: {date}\r\nMessage-ID: {}\r\nMIME-Version: 1.0\r\n",
        internet_id(stored)
    );
    let kind = if message.html { "html" } else { "plain" };
    let body = format!(
        "Content-Type: text/{kind}; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n{}\r\n",
        STANDARD.encode(&message.body)
    );
    if stored.hung.is_empty() {
        text.push_str(&body);
        return Content::from(text.as_str());
    }
    let _ = write!(
        text,
        "Content-Type: multipart/mixed; boundary=\"{boundary}\"\r\n\r\n--{boundary}\r\n{body}"
    );
    let mut sections = Vec::new();
    for hung in &stored.hung {
        let Some(content) = hung.attachment.content() else {
            continue;
        };
        let name = encoded(&hung.attachment.name).replace('"', "'");
        let _ = write!(text, "--{boundary}\r\n");
        if matches!(hung.attachment.kind, Kind::Item { .. }) {
            let _ = write!(
                text,
                "Content-Type: message/rfc822; name=\"{name}\"\r\nContent-Disposition: attachment; filename=\"{name}\"\r\n\r\n"
            );
            sections.push(Section::plain(std::mem::take(&mut text).as_str().into()));
            sections.push(Section::plain(content.clone()));
            text.push_str("\r\n");
            continue;
        }
        let kind = hung
            .attachment
            .content_type
            .as_deref()
            .unwrap_or("application/octet-stream");
        let how = if hung.attachment.inline {
            "inline"
        } else {
            "attachment"
        };
        let _ = write!(
            text,
            "Content-Type: {kind}; name=\"{name}\"\r\nContent-Disposition: {how}; filename=\"{name}\"\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        );
        sections.push(Section::plain(std::mem::take(&mut text).as_str().into()));
        sections.push(Section::base64(content.clone()));
    }
    let _ = write!(text, "--{boundary}--\r\n");
    sections.push(Section::plain(text.as_str().into()));
    Content::Joined(Arc::new(sections))
}

/// A message of MIME text; it becomes a draft, as Graph makes of it.
pub(crate) fn read(bytes: &[u8]) -> Option<Message> {
    let parsed = MessageParser::default()
        .parse(bytes)
        .filter(|m| !m.parts.is_empty())?;
    parsed.headers().first()?;
    let address = |list: Option<&mail_parser::Address<'_>>| {
        let all = list.map(|l| {
            l.iter()
                .filter_map(|a| a.address().map(str::to_owned))
                .collect::<Vec<_>>()
        });
        all.unwrap_or_default()
    };
    let mut message = Message::new(parsed.subject().unwrap_or_default());
    message.subject = parsed.subject().map(str::to_owned);
    message.from = address(parsed.from()).into_iter().next();
    message.from_name = parsed
        .from()
        .and_then(|f| f.first())
        .and_then(|f| f.name())
        .unwrap_or_default()
        .to_owned();
    message.message_id = parsed.message_id().map(|id| format!("<{id}>"));
    message.to = address(parsed.to());
    message.received = parsed
        .date()
        .and_then(|d| jiff::Timestamp::from_second(d.to_timestamp()).ok());
    message.body = parsed.body_text(0).unwrap_or_default().into_owned();
    message.draft = true;
    message.mime = None;
    for part in parsed.attachments() {
        let name = part.attachment_name().unwrap_or_default().to_owned();
        if let PartType::Message(inner) = &part.body {
            message
                .attachments
                .push(Attachment::item(&name, inner.raw_message()));
            continue;
        }
        let mut attachment = Attachment::file(&name, part.contents());
        attachment.content_type = part.content_type().map(|c| match &c.c_subtype {
            Some(sub) => format!("{}/{sub}", c.c_type),
            None => c.c_type.to_string(),
        });
        attachment.inline = part
            .content_disposition()
            .is_some_and(|d| d.c_type.eq_ignore_ascii_case("inline"));
        message.attachments.push(attachment);
    }
    Some(message)
}
