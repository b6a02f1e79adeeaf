//! `GET /api/v1/files?path=&cursor=&limit=`: a directory, streamed.
//!
//! A listing that fits into one piece is one answer with its length; a longer one is made in its own
//! task, so that the next piece is written while the last is encrypted and sent. An error in mid-way
//! breaks the connection: nobody takes half a listing for a whole one.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderValue, Response, header},
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use bytes::Bytes;
use portreeve_session::{Cursor, FsResult, Listing, Session};

use crate::{api, door::Shared, problem::Problem, signed_in::SignedIn};

/// Entries of a page unless the client asks for another number.
const DEFAULT: usize = 1_000;
/// Most entries of a page.
const MOST: usize = 100_000;
/// Entries asked of the storage at a time.
const STEP: usize = 1_024;
/// About what an entry takes.
const ENTRY: usize = 128;

pub(crate) async fn list(
    State(_): State<Arc<Shared>>,
    who: SignedIn,
    request: Request,
) -> Result<Response<Body>, Problem> {
    let query = api::query(request.uri())?;
    let path = api::path_of(&query)?;
    let limit = query.limit.unwrap_or(DEFAULT);
    if !(1..=MOST).contains(&limit) {
        return Err(Problem::bad_request(format!("limit must be from 1 to {MOST}")));
    }
    let listing = who.session.fs().list(&path, query.cursor.map(Cursor)).await?;
    let mut page = Page {
        listing,
        left: limit,
        first: true,
        done: false,
        _session: who.session,
    };
    let mut out = Vec::with_capacity(STEP * ENTRY);
    out.push(b'{');
    api::json::push_text_member(&mut out, "path", path.as_bytes());
    out.extend_from_slice(b"\"entries\":[");
    page.step(&mut out).await?;
    if !page.done {
        page.step(&mut out).await?;
    }
    let body = if page.done {
        Body::from(out)
    } else {
        page.stream(Bytes::from(out))
    };
    Ok(json(body))
}

/// An answer in JSON.
pub(crate) fn json(body: Body) -> Response<Body> {
    let mut answer = Response::new(body);
    answer
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

/// A page that is being written.
struct Page {
    listing: Listing,
    left: usize,
    first: bool,
    done: bool,
    _session: Session,
}

impl Page {
    /// Appends the next entries, and what ends the page when there are no more.
    async fn step(&mut self, out: &mut Vec<u8>) -> FsResult<()> {
        if self.left == 0 {
            return self.end(out).await;
        }
        let entries = self.listing.next(self.left.min(STEP)).await?;
        if entries.is_empty() {
            self.done = true;
            out.extend_from_slice(b"]}");
            return Ok(());
        }
        self.left = self.left.saturating_sub(entries.len());
        for entry in &entries {
            if !std::mem::take(&mut self.first) {
                out.push(b',');
            }
            api::json::push_entry(out, entry);
        }
        Ok(())
    }

    /// The page is full: it names where the next one begins, if there is a next one.
    async fn end(&mut self, out: &mut Vec<u8>) -> FsResult<()> {
        self.done = true;
        out.push(b']');
        let cursor = self.listing.cursor();
        if let Some(Cursor(raw)) = cursor
            && !self.listing.next(1).await?.is_empty()
        {
            out.extend_from_slice(b",\"cursor\":");
            api::json::push_string(out, &BASE64_URL_SAFE_NO_PAD.encode(&raw));
        }
        out.push(b'}');
        Ok(())
    }

    /// The rest, made in a task of its own that ends when nobody takes it any more.
    fn stream(mut self, begun: Bytes) -> Body {
        let (sender, receiver) = tokio::sync::mpsc::channel::<FsResult<Bytes>>(2);
        tokio::spawn(async move {
            let mut piece = Ok(begun);
            loop {
                let broken = piece.is_err();
                if sender.send(piece).await.is_err() || broken || self.done {
                    return;
                }
                let mut out = Vec::with_capacity(STEP * ENTRY);
                piece = self.step(&mut out).await.map(|()| Bytes::from(out));
            }
        });
        Body::from_stream(futures::stream::unfold(receiver, |mut receiver| async move {
            receiver.recv().await.map(|piece| (piece, receiver))
        }))
    }
}
