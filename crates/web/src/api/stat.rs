//! `GET /api/v1/files/stat?path=` and `HEAD /api/v1/files/content?path=`.

use axum::{
    body::Body,
    extract::Request,
    http::{HeaderMap, HeaderValue, Response, StatusCode, header},
    response::IntoResponse,
};
use portreeve_model::VPath;
use portreeve_session::{Entry, FsErrorKind, Links};

use crate::{
    api,
    etag::{self, Condition},
    problem::Problem,
    shield,
    signed_in::SignedIn,
    stamp,
};

/// Asks for (and marks) the length of an unfinished upload.
pub(crate) const UPLOAD_INCOMPLETE: &str = "upload-incomplete";

pub(crate) async fn stat(who: SignedIn, request: Request) -> Result<Response<Body>, Problem> {
    let path = api::path_of(&api::query(request.uri())?)?;
    let entry = who.session.fs().stat(&path, Links::Follow).await?;
    let tag = etag::of(&entry);
    let mut answer = api::list::json(Body::from(api::json::entry_with(
        path.as_bytes(),
        tag.as_deref(),
        &entry,
    )));
    if let Some(tag) = tag {
        insert(answer.headers_mut(), header::ETAG, &tag);
    }
    Ok(answer)
}

/// The headers that the content would have; or, with `Upload-Incomplete: 1`, how much of an
/// unfinished upload of the same person is kept.
pub(crate) async fn head(who: SignedIn, request: Request) -> Result<Response<Body>, Problem> {
    let path = api::path_of(&api::query(request.uri())?)?;
    if request.headers().contains_key(UPLOAD_INCOMPLETE) {
        return partial(&who, &path).await;
    }
    let entry = who.session.fs().stat(&path, Links::Follow).await?;
    if !entry.is_file() {
        return Err(FsErrorKind::IsDir.into_problem());
    }
    of_content(request.headers(), &path, &entry)
}

/// What a HEAD of a file's content is answered with. Nothing is opened: nobody downloads.
pub(crate) fn of_content(asked: &HeaderMap, path: &VPath, entry: &Entry) -> Result<Response<Body>, Problem> {
    let mut answer = match etag::for_reading(asked, entry) {
        Condition::Fails => return Err(Problem::precondition()),
        Condition::NotModified => StatusCode::NOT_MODIFIED.into_response(),
        Condition::Holds => Response::new(Body::empty()),
    };
    describe(answer.headers_mut(), path, entry);
    if answer.status() == StatusCode::OK
        && let Some(size) = entry.size
    {
        answer
            .headers_mut()
            .insert(header::CONTENT_LENGTH, HeaderValue::from(size));
    }
    Ok(answer)
}

async fn partial(who: &SignedIn, path: &VPath) -> Result<Response<Body>, Problem> {
    let Some(partial) = who.session.fs().partial(path).await? else {
        return Err(FsErrorKind::NotFound.into_problem());
    };
    let mut answer = Response::new(Body::empty());
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(partial.size));
    headers.insert("upload-offset", HeaderValue::from(partial.size));
    headers.insert(UPLOAD_INCOMPLETE, HeaderValue::from_static("1"));
    Ok(answer)
}

/// The headers of a file's content: validators, and that it is to be saved, not shown.
pub(crate) fn describe(headers: &mut HeaderMap, path: &VPath, entry: &Entry) {
    shield::file(
        headers,
        path.file_name().as_ref().map_or(b"file", |name| name.as_bytes()),
    );
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if let Some(tag) = etag::of(entry) {
        insert(headers, header::ETAG, &tag);
    }
    if let Some(date) = entry.modified.and_then(stamp::http_date) {
        insert(headers, header::LAST_MODIFIED, &date);
    }
}

/// Digits, letters and quotes of our own making: always a header value.
pub(crate) fn insert(headers: &mut HeaderMap, name: header::HeaderName, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        headers.insert(name, value);
    }
}

/// A kind without further words.
pub(crate) trait IntoProblem {
    fn into_problem(self) -> Problem;
}

impl IntoProblem for FsErrorKind {
    fn into_problem(self) -> Problem {
        Problem::from(portreeve_session::FsError::from(self))
    }
}
