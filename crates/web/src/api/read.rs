//! `GET /api/v1/files/content?path=`: a file, or parts of it.

use std::{ops::Range, sync::Arc};

use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Response, StatusCode, header},
    response::IntoResponse,
};
use bytes::Bytes;
use portreeve_model::VPath;
use portreeve_session::{Download, FsErrorKind, Session};

use super::stat::{IntoProblem, describe, insert};
use crate::{
    api,
    door::Shared,
    etag::{self, Condition},
    problem::Problem,
    range::{self, Wanted},
    signed_in::SignedIn,
    transfer::{
        outgoing::{Outgoing, Part},
        pool::CHUNK,
    },
};

pub(crate) async fn read(
    State(door): State<Arc<Shared>>,
    who: SignedIn,
    request: Request,
) -> Result<Response<Body>, Problem> {
    let path = api::path_of(&api::query(request.uri())?)?;
    send(&door, who.session, &path, request.headers()).await
}

/// Answers with the content of a file, as the headers ask for it.
pub(crate) async fn send(
    door: &Shared,
    session: Session,
    path: &VPath,
    headers: &HeaderMap,
) -> Result<Response<Body>, Problem> {
    let download = Arc::new(session.fs().download(path).await?);
    let entry = download.entry();
    let mut answer = Response::new(Body::empty());
    match etag::for_reading(headers, entry) {
        Condition::Fails => return Err(Problem::precondition()),
        Condition::NotModified => {
            *answer.status_mut() = StatusCode::NOT_MODIFIED;
            describe(answer.headers_mut(), path, entry);
            return Ok(answer);
        }
        Condition::Holds => {}
    }
    let Some(size) = entry.size else {
        // Backends know the exact size of what they open; one that does not is broken.
        return Err(FsErrorKind::Backend.into_problem());
    };
    let asked = headers.get(header::RANGE).and_then(|value| value.to_str().ok());
    let asked = asked.filter(|_| etag::range_applies(headers, entry));
    describe(answer.headers_mut(), path, entry);
    let parts = match asked.map_or(Wanted::Whole, |text| range::wanted(text, size)) {
        Wanted::Whole => vec![Part::File(0..size)],
        Wanted::Outside => return Ok(outside(size)),
        Wanted::Parts(ranges) => {
            *answer.status_mut() = StatusCode::PARTIAL_CONTENT;
            match ranges.as_slice() {
                [one] => {
                    insert(
                        answer.headers_mut(),
                        header::CONTENT_RANGE,
                        &content_range(one, size),
                    );
                    vec![Part::File(one.clone())]
                }
                many => several(answer.headers_mut(), many, size),
            }
        }
    };
    let length: u64 = parts.iter().map(Part::len).sum();
    answer
        .headers_mut()
        .insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    *answer.body_mut() = match parts.as_slice() {
        [Part::File(range)] if length <= CHUNK as u64 => whole(&download, range).await?,
        _ => Body::new(Outgoing::new(download, parts, Arc::clone(&door.pool), session)),
    };
    Ok(answer)
}

/// A small part, read at once: an error is still an answer of its own.
async fn whole(download: &Download, range: &Range<u64>) -> Result<Body, Problem> {
    let length = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
    if length == 0 {
        return Ok(Body::empty());
    }
    let bytes = download
        .read(range.start, length, Vec::with_capacity(length))
        .await?;
    if bytes.len() != length {
        return Err(FsErrorKind::Conflict.into_problem());
    }
    Ok(Body::from(bytes))
}

fn outside(size: u64) -> Response<Body> {
    let detail = format!("the file has {size} bytes");
    let mut answer = Problem::new(StatusCode::RANGE_NOT_SATISFIABLE, "out-of-range", detail).into_response();
    insert(
        answer.headers_mut(),
        header::CONTENT_RANGE,
        &format!("bytes */{size}"),
    );
    answer
}

fn content_range(range: &Range<u64>, size: u64) -> String {
    format!("bytes {}-{}/{size}", range.start, range.end.saturating_sub(1))
}

/// `multipart/byteranges` (RFC 9110 §14.6). The boundary can be fixed: clients go by the lengths, and
/// whoever wrote the file gains nothing from a part that the browser only saves.
fn several(headers: &mut HeaderMap, ranges: &[Range<u64>], size: u64) -> Vec<Part> {
    const BOUNDARY: &str = "portreeve-5c1d2f0b9e7a4380";
    insert(
        headers,
        header::CONTENT_TYPE,
        &format!("multipart/byteranges; boundary={BOUNDARY}"),
    );
    let mut parts = Vec::with_capacity(ranges.len() * 2 + 1);
    for range in ranges {
        let head = format!(
            "\r\n--{BOUNDARY}\r\ncontent-type: application/octet-stream\r\ncontent-range: {}\r\n\r\n",
            content_range(range, size)
        );
        parts.push(Part::Text(Bytes::from(head)));
        parts.push(Part::File(range.clone()));
    }
    parts.push(Part::Text(Bytes::from(format!("\r\n--{BOUNDARY}--\r\n"))));
    parts
}
