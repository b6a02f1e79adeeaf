//! Bodies: the one that every answer is sent in, reading small ones to their end, and what is done
//! with what nobody wants to read.
//!
//! A request that is refused early leaves its body unread. Closing then would make the kernel reset
//! the connection, and the client might lose the very answer that tells it why (RFC 9112 §9.6). So
//! the rest is read and thrown away for a while.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::{body::Body, http::StatusCode};
use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use parking_lot::Mutex;

use crate::{link::Turn, problem::Problem};

/// How long the body of a form or of a JSON request may take.
const SMALL_TIME: Duration = Duration::from_secs(30);

/// How long the rest of a refused request is read, in all and without anything coming.
const LINGER: Duration = Duration::from_secs(30);
const LINGER_SILENT: Duration = Duration::from_secs(5);

/// An answer's body, and the turn that lasts until it is gone.
pub(crate) struct Tracked {
    pub(crate) body: Body,
    pub(crate) turn: Arc<Turn>,
}

impl http_body::Body for Tracked {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        match &polled {
            Poll::Ready(_) => self.turn.moves(),
            Poll::Pending => self.turn.thinks(),
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Where the body of a request goes when its handler lets go of it before its end.
pub(crate) struct Unread {
    /// The client waits for `100 Continue`: until somebody reads, it has sent nothing.
    waits: bool,
    rest: Mutex<Option<Incoming>>,
}

impl Unread {
    pub(crate) const fn new(waits: bool) -> Self {
        Self {
            waits,
            rest: Mutex::new(None),
        }
    }

    /// The body for the handler.
    pub(crate) fn body(self: &Arc<Self>, incoming: Incoming) -> Body {
        Body::new(Watched {
            incoming: Some(incoming),
            asked: !self.waits,
            unread: Arc::clone(self),
        })
    }

    /// Reads what was left and throws it away, in the background. `turn` lasts as long.
    pub(crate) fn throw_away(&self, turn: Arc<Turn>) {
        let Some(mut incoming) = self.rest.lock().take() else {
            return;
        };
        tokio::spawn(async move {
            let drained = async {
                while let Ok(Some(Ok(_))) = tokio::time::timeout(LINGER_SILENT, incoming.frame()).await {}
            };
            let _ = tokio::time::timeout(LINGER, drained).await;
            drop(turn);
        });
    }
}

struct Watched {
    incoming: Option<Incoming>,
    /// Whether the client may have sent something.
    asked: bool,
    unread: Arc<Unread>,
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        self.asked = true;
        match &mut self.incoming {
            Some(incoming) => Pin::new(incoming).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(http_body::Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming
            .as_ref()
            .map(http_body::Body::size_hint)
            .unwrap_or_default()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let left = self.incoming.take();
        *self.unread.rest.lock() = left.filter(|incoming| self.asked && !incoming.is_end_stream());
    }
}

/// Reads a body of at most `limit` bytes to its end.
pub(crate) async fn small(body: Body, limit: usize) -> Result<Bytes, Problem> {
    let read = tokio::time::timeout(SMALL_TIME, Limited::new(body, limit).collect());
    match read.await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => Err(Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too-large",
            format!("the body of such a request has at most {limit} bytes"),
        )
        .close()),
        Ok(Err(_)) => Err(Problem::bad_request("the body ended too early").close()),
        Err(_) => Err(Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            "too-slow",
            format!("the body did not come within {} seconds", SMALL_TIME.as_secs()),
        )
        .close()),
    }
}
