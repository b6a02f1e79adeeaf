//! Attachments on their way in: one request, or an upload session piece by piece. Source: Microsoft, "Attach large files
//! to Outlook messages or events".
//!
//! Invariants: pieces go in order; the session's URL is a permission, so it stands in no text; a session that failed is
//! cancelled.

use std::io;

use async_trait::async_trait;
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{
    Method,
    header::{CONTENT_RANGE, LOCATION},
};
use portreeve_model::Secret;
use reqwest::Url;
use serde::Deserialize;
use serde_json::json;

use super::{
    GraphError, GraphFault, GraphMailbox, segment,
    send::{Ask, Repeat, broken},
};

/// Largest file that goes in one request at first. Graph's border is "3 MB", and where exactly it lies is not written:
/// what one way refuses for its size goes the other.
const SIMPLE: u64 = 3_000_000;
/// No file of more goes in one request, whatever was said to it: as base64 it is beyond Graph's 4 MB.
const MOST_SIMPLE: u64 = 3 * 1024 * 1024;
/// One piece: at most 4 MB, a multiple of 320 KiB.
const PIECE: u64 = 12 * 320 * 1024;
/// How many sessions are begun for one file.
const SESSIONS: u32 = 3;
/// Largest answer to a piece that is read.
const MOST_ANSWER: usize = 64 * 1024;

/// What is uploaded. It may be read again from the beginning.
#[async_trait]
pub trait UploadSource: Send + Sync {
    /// Exactly `len` bytes from `at`.
    ///
    /// # Errors
    /// They cannot be read.
    async fn read(&self, at: u64, len: usize) -> io::Result<Bytes>;
}

#[async_trait]
impl UploadSource for Bytes {
    async fn read(&self, at: u64, len: usize) -> io::Result<Self> {
        let at = usize::try_from(at).map_err(io::Error::other)?;
        let end = at.checked_add(len).filter(|end| *end <= self.len());
        end.map(|end| self.slice(at..end))
            .ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

#[derive(Deserialize)]
struct Added {
    id: String,
}

#[derive(Deserialize)]
struct Session {
    #[serde(rename = "uploadUrl")]
    url: String,
}

#[derive(Deserialize, Default)]
struct Progress {
    #[serde(default, rename = "nextExpectedRanges", alias = "NextExpectedRanges")]
    next: Vec<String>,
}

pub(super) async fn run(
    mailbox: &GraphMailbox,
    message: &str,
    name: &str,
    size: u64,
    content_type: &str,
    source: &dyn UploadSource,
) -> Result<String, GraphError> {
    let at = format!("messages/{}/attachments", segment(message));
    let file = File {
        name,
        size,
        content_type,
        source,
    };
    if size <= SIMPLE {
        return whole(mailbox, &at, &file).await;
    }
    match in_session(mailbox, &at, &file).await {
        Err(error)
            if error.code == "ErrorAttachmentSizeShouldNotBeLessThanMinimumSize" && size <= MOST_SIMPLE =>
        {
            whole(mailbox, &at, &file).await
        }
        outcome => outcome,
    }
}

/// What is uploaded, and what it is called.
struct File<'a> {
    name: &'a str,
    size: u64,
    content_type: &'a str,
    source: &'a dyn UploadSource,
}

/// All of it in one request.
async fn whole(mailbox: &GraphMailbox, at: &str, file: &File<'_>) -> Result<String, GraphError> {
    let content = read(file.source, 0, file.size).await?;
    let body = json!({
        "@odata.type": "#microsoft.graph.fileAttachment",
        "name": file.name,
        "contentType": file.content_type,
        "contentBytes": STANDARD.encode(&content),
    });
    mailbox.budget.upload(file.size).await;
    let added: Added = mailbox.post(at, &body).await?;
    Ok(added.id)
}

/// In pieces, the session begun anew where it does not hold any more.
async fn in_session(mailbox: &GraphMailbox, at: &str, file: &File<'_>) -> Result<String, GraphError> {
    let body = json!({
        "AttachmentItem": {
            "attachmentType": "file",
            "name": file.name,
            "size": file.size,
            "contentType": file.content_type,
            "isInline": false,
        }
    });
    let mut begun = 0;
    loop {
        begun += 1;
        // A session that nobody uses ends by itself, so a second one for a lost answer does no harm.
        let ask = mailbox.ask(Method::POST, &format!("{at}/createUploadSession"), Repeat::Always)?;
        let session: Session = mailbox.json(&ask.json(&body)?).await?;
        let session = Secret::new(session.url);
        match pieces(mailbox, &session, file.size, file.source).await {
            Ok(id) => return Ok(id),
            Err(Stop::Anew(error)) if begun < SESSIONS => {
                tracing::debug!(%error, "an upload begins anew");
                cancel(mailbox, &session).await;
            }
            Err(Stop::Anew(error) | Stop::Failed(error)) => {
                cancel(mailbox, &session).await;
                return Err(error);
            }
        }
    }
}

/// Why a session came to no end.
enum Stop {
    /// It does not hold any more; another may.
    Anew(GraphError),
    /// Another would fare no better.
    Failed(GraphError),
}

async fn pieces(
    mailbox: &GraphMailbox,
    session: &Secret,
    size: u64,
    source: &dyn UploadSource,
) -> Result<String, Stop> {
    let url = Url::parse(session.expose())
        .ok()
        .filter(|url| url.scheme() == "https")
        .ok_or_else(|| Stop::Failed(broken("an upload session has no https URL")))?;
    let mut at = 0;
    // A service that asks for the same piece over and over must come to an end.
    let mut most = 2 * size.div_ceil(PIECE) + 8;
    loop {
        most = most
            .checked_sub(1)
            .ok_or_else(|| Stop::Anew(broken("an upload session makes no headway")))?;
        let len = PIECE.min(size - at);
        let content = read(source, at, len).await.map_err(Stop::Failed)?;
        mailbox.budget.upload(len).await;
        let ask = Ask::new(Method::PUT, url.clone(), Repeat::Always)
            .bare()
            .header(CONTENT_RANGE, format!("bytes {at}-{}/{size}", at + len - 1))
            .body("application/octet-stream", content);
        let last = at + len == size;
        match put(mailbox, &ask, last).await? {
            Put::Done(id) => return Ok(id),
            Put::Next(Some(next)) if next < size => at = next,
            Put::Next(Some(_)) => return Err(Stop::Failed(uncertain("an upload ended without a name"))),
            Put::Next(None) if last => {
                return Err(Stop::Failed(uncertain("an upload ended without a name")));
            }
            Put::Next(None) => at += len,
        }
    }
}

enum Put {
    Done(String),
    Next(Option<u64>),
}

async fn put(mailbox: &GraphMailbox, ask: &Ask, last: bool) -> Result<Put, Stop> {
    let mut tries = mailbox.tries();
    // An answer to the last piece that was lost may have been a success.
    let mut lost = false;
    loop {
        let outcome = match mailbox.attempt(ask, &mut tries).await {
            Ok((mut response, _pass)) => {
                mailbox.budget.breaker.reset();
                if let Some(id) = response
                    .headers()
                    .get(LOCATION)
                    .and_then(|v| id_of(v.to_str().ok()?))
                {
                    return Ok(Put::Done(id));
                }
                mailbox.body(&mut response, MOST_ANSWER).await
            }
            Err(error) => Err(error),
        };
        let error = match outcome {
            Ok(body) => {
                if let Ok(Added { id }) = serde_json::from_slice(&body) {
                    return Ok(Put::Done(id));
                }
                let progress: Progress = serde_json::from_slice(&body).unwrap_or_default();
                return Ok(Put::Next(progress.next.first().and_then(|range| start(range))));
            }
            Err(error) => error,
        };
        match error.kind {
            GraphFault::NotFound | GraphFault::Gone | GraphFault::Invalid | GraphFault::Unauthorized => {
                if last && lost {
                    return Err(Stop::Failed(uncertain(
                        "the answer to an upload's last piece was lost",
                    )));
                }
                return Err(Stop::Anew(error));
            }
            GraphFault::Network if !error.unsent => lost = true,
            GraphFault::Broken | GraphFault::Unavailable if error.status != Some(503) => lost = true,
            _ => {}
        }
        mailbox
            .again(Repeat::Always, &mut tries, error)
            .await
            .map_err(|mut error| {
                error.uncertain |= last && lost;
                Stop::Failed(error)
            })?;
    }
}

/// A session that nobody will go on with. It ends by itself too, so a failure does not matter.
async fn cancel(mailbox: &GraphMailbox, session: &Secret) {
    let Ok(url) = Url::parse(session.expose()) else {
        return;
    };
    let ask = Ask::new(Method::DELETE, url, Repeat::Always).bare();
    if let Err(error) = mailbox.attempt(&ask, &mut mailbox.tries()).await {
        tracing::debug!(%error, "an upload session was not cancelled");
    }
}

async fn read(source: &dyn UploadSource, at: u64, len: u64) -> Result<Bytes, GraphError> {
    let failed = |why: String| GraphError::here(GraphFault::Invalid, format!("what is uploaded: {why}"));
    let len = usize::try_from(len).map_err(|e| failed(e.to_string()))?;
    let content = source.read(at, len).await.map_err(|e| failed(e.to_string()))?;
    if content.len() == len {
        Ok(content)
    } else {
        Err(failed(format!("{} bytes came of {len}", content.len())))
    }
}

fn uncertain(why: &str) -> GraphError {
    GraphError {
        uncertain: true,
        ..broken(why)
    }
}

/// Where the next piece begins: `26-`, `26-100`, or, as Outlook writes it, `26`.
fn start(range: &str) -> Option<u64> {
    let digits = range.split('-').next()?;
    digits.trim().parse().ok()
}

/// The attachment's id at the end of `…/Attachments('<id>')`.
fn id_of(location: &str) -> Option<String> {
    let (_, rest) = location.rsplit_once("ttachments(")?;
    let id = rest.strip_suffix(')')?.trim_matches('\'');
    let id = percent_encoding::percent_decode_str(id).decode_utf8().ok()?;
    (!id.is_empty()).then(|| id.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        for (range, at) in [
            ("0-", Some(0)),
            ("2097152", Some(2_097_152)),
            ("5-9", Some(5)),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(start(range), at, "{range}");
        }
    }

    #[test]
    fn locations() {
        let location =
            "https://outlook.office.com/api/v2.0/Users('a')/Messages('m')/Attachments('AAMk=x%2B')";
        assert_eq!(id_of(location).as_deref(), Some("AAMk=x+"));
        assert_eq!(id_of("https://x/Attachments('')"), None);
        assert_eq!(id_of("https://x/other"), None);
    }
}
