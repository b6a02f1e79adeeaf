//! Upload sessions: large attachments in parts, at another host, without a bearer.
//! Invariants: parts come in order and without gaps; the URL alone gives access and dies with the session; nothing hangs on the
//! message before the last byte is there.

use std::time::Instant;

use jiff::Timestamp;
use serde_json::json;

use super::{Desk, messages, time};
use crate::{
    faults::Settings,
    mailbox::Stored,
    message::Attachment,
    wire::{Answer, Asked},
    world::World,
};

/// Below this a session is refused.
const LEAST: u64 = 3_000_000;
/// The most that one part may have.
const LARGEST_PART: usize = 4 << 20;

#[derive(Debug)]
pub(crate) struct Upload {
    pub(crate) mailbox: String,
    /// The application that opened it, on whose account its requests go.
    pub(crate) app: String,
    message: u64,
    attachment: Attachment,
    size: u64,
    bytes: Vec<u8>,
    expires: Instant,
    pub(crate) expired: bool,
}

fn bad(code: &str, message: &str) -> Answer {
    Answer::error(400, code, message)
}

/// Opens a session.
pub(crate) fn open(desk: &mut Desk<'_>, stored: &Stored) -> Result<Answer, Answer> {
    let body = desk.asked.json()?;
    let item = body.get("AttachmentItem").or_else(|| body.get("attachmentItem"));
    let item = item.ok_or_else(|| {
        bad(
            "ErrorInvalidParameter",
            "The parameter AttachmentItem is missing.",
        )
    })?;
    let (Some(name), Some(size)) = (item["name"].as_str(), item["size"].as_u64()) else {
        return Err(bad(
            "ErrorInvalidParameter",
            "The attachment item needs a name and a size.",
        ));
    };
    if !item["attachmentType"]
        .as_str()
        .is_some_and(|t| t.eq_ignore_ascii_case("file"))
    {
        return Err(bad("ErrorInvalidParameter", "The attachment type must be file."));
    }
    if size < LEAST {
        return Err(bad(
            "ErrorAttachmentSizeShouldNotBeLessThanMinimumSize",
            "Attachment size must be greater than the minimum size.",
        ));
    }
    let held: u64 = stored
        .hung
        .iter()
        .filter_map(|h| h.attachment.content())
        .map(crate::Content::len)
        .sum();
    messages::fits(desk, held + size)?;
    let mut attachment = Attachment::file(name, "");
    if let Some(kind) = item["contentType"].as_str() {
        attachment.content_type = Some(kind.to_owned());
    }
    attachment.inline = item["isInline"] == json!(true);
    let word = desk.world.mint();
    let (uploads, app, lifetime) = (desk.uploads, desk.app, desk.settings.upload_lifetime);
    let mailbox = desk.mailbox();
    let target = format!(
        "/api/gv1.0/users('{}@{}')/messages('{}')/AttachmentSessions('{}')?authtoken={word}",
        mailbox.guid,
        crate::world::TENANT,
        stored.ids.regular,
        &word[..24],
    );
    let address = mailbox.address.clone();
    let upload = Upload {
        mailbox: address,
        app: app.to_owned(),
        message: stored.key,
        attachment,
        size,
        bytes: Vec::new(),
        expires: Instant::now() + lifetime,
        expired: false,
    };
    desk.world.uploads.insert(target.clone(), upload);
    let expires = Timestamp::now() + jiff::SignedDuration::try_from(lifetime).unwrap_or_default();
    Ok(Answer::json(
        201,
        json!({
            "@odata.context": format!("{}/v1.0/$metadata#microsoft.graph.uploadSession", desk.asked.origin),
            "uploadUrl": format!("{uploads}{target}"),
            "expirationDateTime": time(expires),
            "nextExpectedRanges": ["0-"],
        }),
    ))
}

/// `bytes a-b/n`.
fn range(text: &str) -> Option<(u64, u64, u64)> {
    let (span, whole) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (from, to) = span.split_once('-')?;
    Some((from.parse().ok()?, to.parse().ok()?, whole.parse().ok()?))
}

/// Answers what comes to an upload URL.
pub(crate) fn answer(world: &mut World, settings: &Settings, asked: &Asked) -> Answer {
    let gone = || {
        Answer::error(
            404,
            "ErrorItemNotFound",
            "The upload session was not found or has expired.",
        )
    };
    if asked.header("authorization").is_some() {
        return Answer::error(
            401,
            "InvalidAuthenticationToken",
            "The upload session must not be sent an Authorization header.",
        );
    }
    if let Some((mailbox, message)) = world
        .uploads
        .get(&asked.target)
        .map(|u| (u.mailbox.clone(), u.message))
        && !world
            .mailbox(&mailbox)
            .is_some_and(|m| m.messages.contains_key(&message))
    {
        world.uploads.remove(&asked.target);
        return gone();
    }
    let Some(upload) = world.uploads.get_mut(&asked.target) else {
        return gone();
    };
    if upload.expired || upload.expires <= Instant::now() {
        world.uploads.remove(&asked.target);
        return gone();
    }
    match asked.method.as_str() {
        "DELETE" => {
            world.uploads.remove(&asked.target);
            return Answer::empty(204);
        }
        "PUT" => {}
        _ => return Answer::error(405, "BadRequest", "The HTTP method is not allowed here."),
    }
    let Some((from, to, whole)) = asked.header("content-range").and_then(range) else {
        return bad(
            "InvalidContentRange",
            "The Content-Range header is missing or malformed.",
        );
    };
    if asked.body.len() > LARGEST_PART {
        return Answer::error(413, "RequestEntityTooLarge", "The part is larger than 4 MB.");
    }
    if whole != upload.size || to < from || to - from + 1 != asked.body.len() as u64 || to >= whole {
        return bad(
            "InvalidContentRange",
            "The range does not fit the size of the attachment or of the part.",
        );
    }
    if from != upload.bytes.len() as u64 {
        return Answer::error(
            416,
            "InvalidContentRange",
            "The range is not the one that is expected next.",
        );
    }
    upload.bytes.extend_from_slice(&asked.body);
    upload.expires = Instant::now() + settings.upload_lifetime;
    if (upload.bytes.len() as u64) < upload.size {
        let expires =
            Timestamp::now() + jiff::SignedDuration::try_from(settings.upload_lifetime).unwrap_or_default();
        // As Graph has it: another case of the name, and a start without a dash.
        return Answer::json(
            200,
            json!({"ExpirationDateTime": time(expires), "nextExpectedRanges": [upload.bytes.len().to_string()]}),
        );
    }
    let Some(upload) = world.uploads.remove(&asked.target) else {
        return gone();
    };
    let mut attachment = upload.attachment;
    if let crate::message::Kind::File { content, .. } = &mut attachment.kind {
        *content = upload.bytes.into();
    }
    let Some(mailbox) = world.mailbox(&upload.mailbox) else {
        return gone();
    };
    let Some(ids) = mailbox.hang(upload.message, attachment) else {
        return Answer::error(
            404,
            "ErrorItemNotFound",
            "The specified object was not found in the store.",
        );
    };
    let message = mailbox
        .messages
        .get(&upload.message)
        .map(|m| m.ids.regular.clone())
        .unwrap_or_default();
    let place = format!(
        "{}/api/v2.0/Users('{}@{}')/Messages('{message}')/Attachments('{}')",
        asked.origin,
        mailbox.guid,
        crate::world::TENANT,
        ids.regular
    );
    Answer::empty(201).with("location", &place)
}
