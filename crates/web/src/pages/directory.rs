//! `/files/…`: a directory as a page, a file as a download.

use std::sync::Arc;

use askama::Template;
use axum::{
    body::Body,
    extract::{Request, State},
    http::{Method, Response, StatusCode, header, request::Parts},
    response::{IntoResponse, Redirect},
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use portreeve_model::{Timestamp, VPath};
use portreeve_session::{Cursor, Entry, FileKind, FsResult, Links};

use super::{page, refused};
use crate::{api, door::Shared, location, problem::Problem, signed_in::SignedIn, stamp};

/// Entries on one page.
const ROWS: usize = 1_000;

#[derive(Template)]
#[template(path = "directory.html")]
struct DirectoryPage {
    user: String,
    token: Option<String>,
    title: String,
    crumbs: Vec<Crumb>,
    parent: Option<String>,
    rows: Vec<Row>,
    next: Option<String>,
    continued: bool,
}

struct Crumb {
    name: String,
    href: String,
    last: bool,
}

struct Row {
    name: String,
    href: String,
    is_dir: bool,
    is_open: bool,
    size: String,
    bytes: String,
    modified: String,
    date: String,
    order: (bool, Vec<u8>),
}

pub(crate) async fn show(
    State(door): State<Arc<Shared>>,
    who: SignedIn,
    request: Request,
) -> Result<Response<Body>, Problem> {
    let (head, _) = request.into_parts();
    match answer(&door, who, &head).await {
        // A person reads it; a program that asks for the file gets the problem as such.
        Err(problem) if wants_page(&head) => refused(&problem),
        answer => answer,
    }
}

fn wants_page(head: &Parts) -> bool {
    let accept = head.headers.get(header::ACCEPT);
    accept
        .and_then(|value| value.to_str().ok())
        .is_some_and(|text| text.contains("text/html"))
}

async fn answer(door: &Shared, who: SignedIn, head: &Parts) -> Result<Response<Body>, Problem> {
    let raw = head.uri.path().strip_prefix("/files").unwrap_or("/");
    let path = location::decode(raw).map_err(|error| Problem::bad_request(error.to_string()))?;
    let entry = who.session.fs().stat(&path, Links::Follow).await?;
    if !entry.is_dir() && head.method == Method::HEAD {
        return api::stat::of_content(&head.headers, &path, &entry);
    }
    if !entry.is_dir() {
        return api::read::send(door, who.session, &path, &head.headers).await;
    }
    if !raw.ends_with('/') {
        return Ok(Redirect::to(&format!("/files{}/", location::encode(path.as_bytes()))).into_response());
    }
    let query = api::query(&head.uri)?;
    directory(&who, &path, query.cursor.map(Cursor)).await
}

async fn directory(who: &SignedIn, path: &VPath, from: Option<Cursor>) -> Result<Response<Body>, Problem> {
    let continued = from.is_some();
    let (mut rows, cursor) = rows(who, path, from).await?;
    rows.sort_by(|a, b| a.order.cmp(&b.order));
    let here = href(path);
    let template = DirectoryPage {
        user: who.session.user().to_string(),
        token: who.browser.as_ref().map(|browser| browser.token.clone()),
        title: path.to_string(),
        crumbs: crumbs(path),
        parent: path.parent().map(|parent| href(&parent)),
        rows,
        next: cursor.map(|Cursor(raw)| format!("{here}?cursor={}", BASE64_URL_SAFE_NO_PAD.encode(&raw))),
        continued,
    };
    page(StatusCode::OK, &template)
}

async fn rows(who: &SignedIn, path: &VPath, from: Option<Cursor>) -> FsResult<(Vec<Row>, Option<Cursor>)> {
    let mut listing = who.session.fs().list(path, from).await?;
    let mut rows = Vec::new();
    while rows.len() < ROWS {
        let entries = listing.next(ROWS - rows.len()).await?;
        if entries.is_empty() {
            return Ok((rows, None));
        }
        rows.extend(entries.iter().filter_map(|entry| row(path, entry)));
    }
    let cursor = listing.cursor();
    let more = !listing.next(1).await?.is_empty();
    Ok((rows, cursor.filter(|_| more)))
}

fn row(dir: &VPath, entry: &Entry) -> Option<Row> {
    let name = entry.name.as_ref()?;
    let path = dir.join(name).ok()?;
    let is_dir = entry.is_dir();
    let modified = entry.modified.and_then(stamp::rfc3339);
    Some(Row {
        name: name.to_string(),
        href: if is_dir {
            href(&path)
        } else {
            format!("/files{}", location::encode(path.as_bytes()))
        },
        is_dir,
        is_open: matches!(entry.kind, FileKind::Dir | FileKind::File | FileKind::Symlink),
        size: entry.size.filter(|_| !is_dir).map(human).unwrap_or_default(),
        bytes: entry
            .size
            .filter(|_| !is_dir)
            .map(|size| format!("{size} bytes"))
            .unwrap_or_default(),
        date: entry.modified.map(date).unwrap_or_default(),
        modified: modified.unwrap_or_default(),
        order: (!is_dir, name.as_bytes().to_ascii_lowercase()),
    })
}

/// The address of a directory's page.
fn href(path: &VPath) -> String {
    let text = location::encode(path.as_bytes());
    if path.is_root() {
        "/files/".to_owned()
    } else {
        format!("/files{text}/")
    }
}

fn crumbs(path: &VPath) -> Vec<Crumb> {
    let mut above: Vec<VPath> = std::iter::successors(Some(path.clone()), VPath::parent).collect();
    above.reverse();
    above
        .iter()
        .map(|step| Crumb {
            name: step
                .file_name()
                .map_or_else(|| "Files".to_owned(), |name| name.to_string()),
            href: href(step),
            last: step == path,
        })
        .collect()
}

/// A size in a unit in which it has one to four digits.
fn human(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut tenths = u128::from(bytes) * 10 / 1024;
    let mut unit = "KiB";
    for next in UNITS.iter().skip(1) {
        if tenths < 10_240 {
            break;
        }
        tenths /= 1024;
        unit = next;
    }
    if tenths < 100 {
        format!("{}.{} {unit}", tenths / 10, tenths % 10)
    } else {
        format!("{} {unit}", tenths / 10)
    }
}

/// `2026-11-22 16:41`, in UTC.
fn date(stamp: Timestamp) -> String {
    let text = stamp::rfc3339(stamp).unwrap_or_default();
    text.chars()
        .take(16)
        .map(|c| if c == 'T' { ' ' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short() {
        for (bytes, want) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (10_188, "9.9 KiB"),
            (10_240, "10 KiB"),
            (1_048_575, "1023 KiB"),
            (1 << 30, "1.0 GiB"),
            (u64::MAX, "15 EiB"),
        ] {
            assert_eq!(human(bytes), want, "{bytes}");
        }
        assert_eq!(date(Timestamp::from_seconds(0)), "1970-01-01 00:00");
    }
}
