//! Raw content as it comes. A download that ends before its length is an error, not a short file.

use std::sync::Arc;

use ::http::{HeaderName, header};
use bytes::Bytes;
use reqwest::Response;

use super::{Budget, GraphError, budget::Pass, send::broken};
use crate::net::http;

/// Content on its way. Dropping it gives its place in the budget back, and breaks it off.
pub struct Download {
    /// How long it is, where Graph says so.
    pub length: Option<u64>,
    /// What it is said to be.
    pub content_type: Option<String>,
    response: Response,
    budget: Arc<Budget>,
    came: u64,
    _pass: Pass,
}

impl std::fmt::Debug for Download {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Download")
            .field("length", &self.length)
            .field("came", &self.came)
            .finish_non_exhaustive()
    }
}

impl Download {
    pub(super) fn new(response: Response, pass: Pass, budget: Arc<Budget>) -> Self {
        let header = |name: HeaderName| {
            let value = response.headers().get(name)?.to_str().ok()?;
            Some(value.to_owned())
        };
        Self {
            length: header(header::CONTENT_LENGTH).and_then(|text| text.parse().ok()),
            content_type: header(header::CONTENT_TYPE),
            response,
            budget,
            came: 0,
            _pass: pass,
        }
    }

    /// The next piece, or none at the end.
    ///
    /// # Errors
    /// It broke off: begin anew.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, GraphError> {
        match http::chunk(&mut self.response).await {
            Ok(Some(chunk)) => {
                self.budget.came(chunk.len());
                self.came += chunk.len() as u64;
                if self.length.is_some_and(|length| self.came > length) {
                    return Err(broken("a download is longer than it was said to be"));
                }
                Ok(Some(chunk))
            }
            Ok(None) if self.length.is_some_and(|length| self.came < length) => {
                Err(broken("a download ended early"))
            }
            Ok(None) => Ok(None),
            Err(lost) => Err(broken(&format!("a download broke off: {}", lost.words))),
        }
    }

    /// How many bytes have come.
    #[must_use]
    pub fn came(&self) -> u64 {
        self.came
    }
}
