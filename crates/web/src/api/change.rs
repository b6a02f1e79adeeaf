//! `POST /api/v1/files/{mkdir,rename,copy}` and `DELETE /api/v1/files?path=`.

use axum::{
    body::Body,
    extract::Request,
    http::{Response, StatusCode, header},
    response::IntoResponse,
};
use portreeve_model::VPath;
use portreeve_session::{Attrs, Links, Removal, Rename};
use serde::{Deserialize, de::DeserializeOwned};

use crate::{
    api, body,
    etag::{self, Condition},
    location,
    problem::Problem,
    signed_in::SignedIn,
};

/// Longest JSON body.
const MAX_JSON: usize = 1 << 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MakeDir {
    path: Option<String>,
    path_b64: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FromTo {
    from: Option<String>,
    from_b64: Option<String>,
    to: Option<String>,
    to_b64: Option<String>,
    /// Whether what is at `to` may be replaced.
    #[serde(default)]
    replace: bool,
}

pub(crate) async fn make_dir(who: SignedIn, request: Request) -> Result<Response<Body>, Problem> {
    let asked: MakeDir = json(request).await?;
    let path = one_path("path", asked.path, asked.path_b64)?;
    who.session.fs().make_dir(&path, Attrs::default()).await?;
    Ok(StatusCode::CREATED.into_response())
}

pub(crate) async fn rename(who: SignedIn, request: Request) -> Result<Response<Body>, Problem> {
    let (from, to, how) = from_to(request).await?;
    who.session.fs().rename(&from, &to, how).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub(crate) async fn copy(who: SignedIn, request: Request) -> Result<Response<Body>, Problem> {
    let (from, to, how) = from_to(request).await?;
    who.session.fs().copy(&from, &to, how).await?;
    Ok(StatusCode::CREATED.into_response())
}

/// Removes a file, or with `kind=dir` an empty directory.
pub(crate) async fn remove(who: SignedIn, request: Request) -> Result<Response<Body>, Problem> {
    let query = api::query(request.uri())?;
    let path = api::path_of(&query)?;
    let what = match query.kind.as_deref() {
        None | Some("file") => Removal::File,
        Some("dir") => Removal::Dir,
        Some(_) => return Err(Problem::bad_request("kind must be 'file' or 'dir'")),
    };
    if etag::has_condition(request.headers()) {
        let there = who.session.fs().stat(&path, Links::Follow).await.ok();
        if etag::for_writing(request.headers(), there.as_ref()) == Condition::Fails {
            return Err(Problem::precondition());
        }
    }
    who.session.fs().remove(&path, what).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn from_to(request: Request) -> Result<(VPath, VPath, Rename), Problem> {
    let asked: FromTo = json(request).await?;
    let from = one_path("from", asked.from, asked.from_b64)?;
    let to = one_path("to", asked.to, asked.to_b64)?;
    let how = if asked.replace {
        Rename::Replace
    } else {
        Rename::NoReplace
    };
    Ok((from, to, how))
}

fn one_path(key: &str, text: Option<String>, base64: Option<String>) -> Result<VPath, Problem> {
    match (text, base64) {
        (Some(text), None) => location::parse_path(text.as_bytes()),
        (None, Some(base64)) => location::path_from_base64(base64.as_bytes()),
        _ => Err(format!("the body must hold either {key} or {key}_b64")),
    }
    .map_err(Problem::bad_request)
}

/// A body of JSON: the media type is part of the defence against other sites' forms, which cannot send it.
async fn json<T: DeserializeOwned>(request: Request) -> Result<T, Problem> {
    let media = request
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let media = media.and_then(|text| text.split(';').next()).map(str::trim);
    if !media.is_some_and(|media| media.eq_ignore_ascii_case("application/json")) {
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "not-json",
            "the body must be JSON, with Content-Type: application/json",
        ));
    }
    let bytes = body::small(request.into_body(), MAX_JSON).await?;
    serde_json::from_slice(&bytes)
        .map_err(|error| Problem::bad_request(format!("the body is not as expected: {error}")))
}
