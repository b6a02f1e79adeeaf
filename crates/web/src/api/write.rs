//! `PUT /api/v1/files/content?path=`: a whole file, or the rest of one (`Content-Range`).
//!
//! Everything that can be refused is refused before the body is read: a client that waits for
//! `100 Continue` sends nothing in vain. What the request expects of the file is asked twice: then, and
//! when the body is there, so that a change in between is not overwritten.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Response, StatusCode, header},
};
use portreeve_model::VPath;
use portreeve_session::{
    Attrs, Entry, FsError, FsErrorKind, FsResult, Links, OpenWrite, Session, UserFs, WriteMode,
};

use super::stat::{IntoProblem, UPLOAD_INCOMPLETE, insert};
use crate::{
    api,
    door::Shared,
    etag::{self, Condition},
    location,
    problem::Problem,
    range,
    signed_in::SignedIn,
    stamp,
    transfer::incoming::{self, Place, Received, Unfinished},
};

pub(crate) async fn write(
    State(door): State<Arc<Shared>>,
    who: SignedIn,
    request: Request,
) -> Result<Response<Body>, Problem> {
    let path = api::path_of(&api::query(request.uri())?)?;
    let (head, body) = request.into_parts();
    let wanted = Wanted::parse(&head.headers)?;
    let session = who.session;
    let fs = session.fs();
    let there = there(fs, &path).await?;
    if there.as_ref().is_some_and(Entry::is_dir) {
        return Err(FsErrorKind::IsDir.into_problem());
    }
    if etag::for_writing(&head.headers, there.as_ref()) == Condition::Fails {
        return Err(Problem::precondition());
    }
    let how = wanted.open(&head.headers);
    let conditional = etag::has_condition(&head.headers);
    let upload = match fs.upload(&path, how).await {
        Ok(upload) => upload,
        Err(error) if error.kind() == FsErrorKind::Exists && conditional => {
            return Err(Problem::precondition());
        }
        Err(error) => {
            let misplaced = matches!(error.kind(), FsErrorKind::Conflict | FsErrorKind::Incomplete);
            let kept = if misplaced {
                kept(&session, &path).await
            } else {
                None
            };
            return Err(Problem::from(error).upload_offset(kept));
        }
    };
    let receiving = {
        let (session, path, place, minimum) =
            (session.clone(), path.clone(), wanted.place, door.minimum_rate);
        tokio::spawn(async move {
            let stands = still_stands(session.fs(), &path, &head.headers);
            incoming::receive(upload, body, place, &session, minimum, stands).await
        })
    };
    let received = receiving.await.unwrap_or_else(|panic| {
        let lost = FsError::new(FsErrorKind::Backend).caused_by(panic);
        Err(Unfinished::Storage(lost))
    });
    match received {
        Ok(Received::Whole(entry)) => Ok(done(&path, &entry, there.is_none())),
        Ok(Received::Piece { kept }) => Ok(piece(kept)),
        Err(Unfinished::Storage(error)) if error.kind() == FsErrorKind::Exists && conditional => {
            Err(Problem::precondition())
        }
        Err(Unfinished::Storage(error)) => {
            let kept = kept(&session, &path).await;
            Err(Problem::from(error).upload_offset(kept).close())
        }
        Err(Unfinished::Client { why, too_slow, kept }) => {
            let problem = if too_slow {
                Problem::new(StatusCode::REQUEST_TIMEOUT, "too-slow", why.message())
            } else {
                Problem::from(why)
            };
            Err(problem.upload_offset(Some(kept)).close())
        }
    }
}

/// What is at a path, as far as this person may know.
async fn there(fs: &UserFs, path: &VPath) -> FsResult<Option<Entry>> {
    match fs.stat(path, Links::Follow).await {
        Ok(entry) => Ok(Some(entry)),
        Err(error) if matches!(error.kind(), FsErrorKind::NotFound | FsErrorKind::Refused) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether the file is still as the request expects, now that its new content is there. If not, that
/// content is thrown away: it was made of something that is no more, and kept it would hide what is.
async fn still_stands(fs: &UserFs, path: &VPath, headers: &HeaderMap) -> FsResult<()> {
    if !etag::has_condition(headers) {
        return Ok(());
    }
    match etag::for_writing(headers, there(fs, path).await?.as_ref()) {
        Condition::Fails => Err(FsError::new(FsErrorKind::Exists)
            .context("it was changed while its new content came, and the request did not expect that")),
        Condition::Holds | Condition::NotModified => Ok(()),
    }
}

/// What the headers of a PUT ask for.
#[derive(Debug)]
struct Wanted {
    place: Place,
    /// The size of the whole file, where known.
    total: Option<u64>,
    attrs: Attrs,
}

impl Wanted {
    fn parse(headers: &HeaderMap) -> Result<Self, Problem> {
        let length = length(headers)?;
        let attrs = Attrs {
            modified: modified(headers)?,
            ..Attrs::default()
        };
        if headers
            .get(header::CONTENT_ENCODING)
            .is_some_and(|value| value != "identity")
        {
            return Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "encoded-body",
                "a file is sent as it is: without Content-Encoding",
            ));
        }
        let mut ranges = headers.get_all(header::CONTENT_RANGE).iter();
        let Some(value) = ranges.next() else {
            let place = Place {
                at: 0,
                length,
                last: true,
            };
            let total = Some(length);
            return Ok(Self { place, total, attrs });
        };
        let piece = value
            .to_str()
            .ok()
            .and_then(range::piece)
            .filter(|_| ranges.next().is_none());
        let Some(piece) = piece else {
            return Err(Problem::bad_request(
                "Content-Range must be like 'bytes 100-199/200' (or '/*' while the size is not known)",
            ));
        };
        if piece.length() != length {
            return Err(Problem::bad_request(format!(
                "Content-Range speaks of {} bytes, Content-Length of {length}",
                piece.length()
            )));
        }
        let place = Place {
            at: piece.start,
            length,
            last: piece.is_last(),
        };
        Ok(Self {
            place,
            total: piece.total,
            attrs,
        })
    }

    fn open(&self, headers: &HeaderMap) -> OpenWrite {
        let mode = match (self.place.at, etag::only_new(headers)) {
            (0, true) => WriteMode::CreateNew,
            (0, false) => WriteMode::Replace,
            (at, _) => WriteMode::Resume { at },
        };
        let mut how = OpenWrite::new(mode);
        how.size_hint = self.total;
        how.attrs = self.attrs;
        how
    }
}

/// The declared length. A chunked body has none: a connection that is cut could not be told from its end.
fn length(headers: &HeaderMap) -> Result<u64, Problem> {
    let declared = headers
        .get(header::CONTENT_LENGTH)
        .filter(|_| !headers.contains_key(header::TRANSFER_ENCODING))
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.parse().ok());
    declared.ok_or_else(|| {
        Problem::new(
            StatusCode::LENGTH_REQUIRED,
            "length-required",
            "a PUT must say the length of its body (Content-Length); a chunked body is not taken",
        )
        .close()
    })
}

/// The time of the last change that the file is to have.
fn modified(headers: &HeaderMap) -> Result<Option<portreeve_model::Timestamp>, Problem> {
    let Some(value) = headers.get(header::LAST_MODIFIED) else {
        return Ok(None);
    };
    let stamp = value.to_str().ok().and_then(stamp::parse_http_date);
    match stamp {
        Some(stamp) => Ok(Some(stamp)),
        None => Err(Problem::bad_request(
            "Last-Modified must be an HTTP date (RFC 9110 section 5.6.7)",
        )),
    }
}

/// How much of an unfinished upload to this path is kept.
async fn kept(session: &Session, path: &VPath) -> Option<u64> {
    let partial = session.fs().partial(path).await.ok()?;
    partial.map(|partial| partial.size)
}

fn done(path: &VPath, entry: &Entry, new: bool) -> Response<Body> {
    let tag = etag::of(entry);
    let body = api::json::entry_with(path.as_bytes(), tag.as_deref(), entry);
    let mut answer = api::list::json(Body::from(body));
    if new {
        *answer.status_mut() = StatusCode::CREATED;
        let place = format!(
            "/api/v1/files/content?path={}",
            location::encode_value(path.as_bytes())
        );
        insert(answer.headers_mut(), header::LOCATION, &place);
    }
    if let Some(tag) = tag {
        insert(answer.headers_mut(), header::ETAG, &tag);
    }
    answer
}

fn piece(kept: u64) -> Response<Body> {
    let mut answer = api::list::json(Body::from(format!("{{\"upload_offset\":{kept}}}")));
    *answer.status_mut() = StatusCode::ACCEPTED;
    let headers = answer.headers_mut();
    headers.insert("upload-offset", HeaderValue::from(kept));
    headers.insert(UPLOAD_INCOMPLETE, HeaderValue::from_static("1"));
    answer
}
