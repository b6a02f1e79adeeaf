//! Bodies: the one that every answer is sent in, and reading small ones to their end.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::{body::Body, http::StatusCode};
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use http_body_util::{BodyExt, Limited};

use crate::{link::Turn, problem::Problem};

/// How long the body of a form or of a JSON request may take.
const SMALL_TIME: Duration = Duration::from_secs(30);

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
