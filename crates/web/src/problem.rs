//! Refusals as `application/problem+json` (RFC 9457): what, where, and how to put it right.

use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, Response, StatusCode, header},
    response::IntoResponse,
};
use portreeve_session::{FsError, FsErrorKind, Retry};
use serde::Serialize;

/// One refusal.
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
    /// Bytes that are kept of an unfinished upload: where to go on.
    upload_offset: Option<u64>,
    /// Whether the connection is of no use any more.
    close: bool,
    headers: Vec<(HeaderName, HeaderValue)>,
}

#[derive(Serialize)]
struct Document<'a> {
    #[serde(rename = "type")]
    kind: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    upload_offset: Option<u64>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            status,
            code,
            detail: detail.into(),
            upload_offset: None,
            close: false,
            headers: Vec::new(),
        }
    }

    pub(crate) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-request", detail)
    }

    pub(crate) fn precondition() -> Self {
        Self::new(
            StatusCode::PRECONDITION_FAILED,
            "precondition-failed",
            "the file is not as the request expects; read it again and decide anew",
        )
    }

    /// Names the length at which an upload may go on.
    pub(crate) const fn upload_offset(mut self, offset: Option<u64>) -> Self {
        self.upload_offset = offset;
        self
    }

    /// Says that the connection will be closed after this answer.
    pub(crate) const fn close(mut self) -> Self {
        self.close = true;
        self
    }

    pub(crate) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    pub(crate) const fn status(&self) -> StatusCode {
        self.status
    }

    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }
}

/// The status and the stable code of every kind of storage error. No wildcard: a new kind has to be
/// answered for here.
const fn of_kind(kind: FsErrorKind) -> (StatusCode, &'static str) {
    match kind {
        FsErrorKind::NotFound => (StatusCode::NOT_FOUND, "not-found"),
        FsErrorKind::Exists => (StatusCode::CONFLICT, "exists"),
        FsErrorKind::Refused => (StatusCode::FORBIDDEN, "refused"),
        FsErrorKind::Denied => (StatusCode::FORBIDDEN, "denied"),
        FsErrorKind::ReadOnly => (StatusCode::FORBIDDEN, "read-only"),
        FsErrorKind::IsDir => (StatusCode::CONFLICT, "is-directory"),
        FsErrorKind::NotDir => (StatusCode::CONFLICT, "not-directory"),
        FsErrorKind::NotEmpty => (StatusCode::CONFLICT, "not-empty"),
        FsErrorKind::Unsupported => (StatusCode::NOT_IMPLEMENTED, "unsupported"),
        FsErrorKind::NoSpace => (StatusCode::INSUFFICIENT_STORAGE, "no-space"),
        FsErrorKind::Quota => (StatusCode::INSUFFICIENT_STORAGE, "quota"),
        FsErrorKind::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too-large"),
        FsErrorKind::InvalidName => (StatusCode::UNPROCESSABLE_ENTITY, "invalid-name"),
        FsErrorKind::Conflict => (StatusCode::CONFLICT, "conflict"),
        FsErrorKind::Incomplete => (StatusCode::CONFLICT, "incomplete"),
        FsErrorKind::OutOfRange => (StatusCode::RANGE_NOT_SATISFIABLE, "out-of-range"),
        FsErrorKind::CrossMount => (StatusCode::UNPROCESSABLE_ENTITY, "different-storages"),
        FsErrorKind::Busy => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
        FsErrorKind::Throttled => (StatusCode::SERVICE_UNAVAILABLE, "throttled"),
        FsErrorKind::TimedOut => (StatusCode::GATEWAY_TIMEOUT, "timed-out"),
        FsErrorKind::Cancelled => (StatusCode::SERVICE_UNAVAILABLE, "session-ended"),
        FsErrorKind::Backend => (StatusCode::BAD_GATEWAY, "storage-failed"),
    }
}

impl From<FsError> for Problem {
    fn from(error: FsError) -> Self {
        Self::from(&error)
    }
}

impl From<&FsError> for Problem {
    fn from(error: &FsError) -> Self {
        let (status, code) = of_kind(error.kind());
        let problem = Self::new(status, code, error.message());
        match error.retry() {
            Retry::Never => problem,
            Retry::Soon => problem.header(header::RETRY_AFTER, HeaderValue::from_static("1")),
            Retry::After(wait) => {
                let seconds = wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0));
                problem.header(header::RETRY_AFTER, HeaderValue::from(seconds))
            }
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response<Body> {
        let document = Document {
            kind: format!("urn:portreeve:problem:{}", self.code),
            title: self.status.canonical_reason().unwrap_or("Refused"),
            status: self.status.as_u16(),
            detail: &self.detail,
            upload_offset: self.upload_offset,
        };
        // Text and numbers alone: there is nothing in it that could fail to be written.
        let body = serde_json::to_vec(&document).unwrap_or_default();
        let mut answer = Response::new(Body::from(body));
        *answer.status_mut() = self.status;
        let headers = answer.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if let Some(offset) = self.upload_offset {
            headers.insert("upload-offset", HeaderValue::from(offset));
        }
        if self.close {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        headers.extend(self.headers);
        answer
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn says_what_where_and_when() {
        let error = FsError::new(FsErrorKind::Throttled)
            .context("the mailbox asks to slow down")
            .retry_advice(Retry::After(Duration::from_millis(1_500)));
        let answer = Problem::from(error).upload_offset(Some(7)).into_response();
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer.headers()["retry-after"], "2");
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
        assert_eq!(answer.headers()["upload-offset"], "7");
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        let json: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(
            json,
            serde_json::json!({"type": "urn:portreeve:problem:throttled", "title": "Service Unavailable",
                "status": 503, "detail": "the mailbox asks to slow down", "upload_offset": 7})
        );
    }

    #[test]
    fn full_storage_is_507() {
        for kind in [FsErrorKind::NoSpace, FsErrorKind::Quota] {
            assert_eq!(
                Problem::from(FsError::new(kind)).status(),
                StatusCode::INSUFFICIENT_STORAGE
            );
        }
    }
}
