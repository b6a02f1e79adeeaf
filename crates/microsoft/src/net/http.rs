//! One request of HTTPS and its answer, with a bound on every wait: for the answer to begin, and for each piece of it.

use std::time::Duration;

use bytes::Bytes;
use reqwest::{RequestBuilder, Response};
use tokio::time::timeout;

use super::words;

/// How long a server may be silent before an answer and within it.
const SILENCE: Duration = Duration::from_secs(60);
/// The slowest line that a body is expected to go out over, in bytes a second.
const SLOWEST: u64 = 32 * 1024;

/// An answer that did not come, or not to its end.
#[derive(Debug)]
pub(crate) struct Lost {
    /// Why; no URL in it.
    pub(crate) words: String,
    /// Nothing was sent: the host was not reached.
    pub(crate) unsent: bool,
}

impl From<reqwest::Error> for Lost {
    fn from(error: reqwest::Error) -> Self {
        Self {
            words: words(&error),
            unsent: error.is_connect(),
        }
    }
}

impl Lost {
    fn silent(after: Duration) -> Self {
        Self {
            words: format!("no answer within {} s", after.as_secs()),
            unsent: false,
        }
    }
}

/// Sends a request with a body of this length and waits for the answer to begin.
pub(crate) async fn send(request: RequestBuilder, body: usize) -> Result<Response, Lost> {
    let most = patience(body, SILENCE);
    match timeout(most, request.send()).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(Lost::silent(most)),
    }
}

/// The next piece of an answer, or none at its end.
pub(crate) async fn chunk(answer: &mut Response) -> Result<Option<Bytes>, Lost> {
    match timeout(SILENCE, answer.chunk()).await {
        Ok(chunk) => Ok(chunk?),
        Err(_) => Err(Lost::silent(SILENCE)),
    }
}

/// Silence that is borne while a body goes out: a large one takes its time on a slow line.
fn patience(body: usize, silence: Duration) -> Duration {
    silence + Duration::from_secs(body as u64 / SLOWEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_body_may_take_longer() {
        assert_eq!(patience(0, SILENCE), SILENCE);
        assert_eq!(patience(3_932_160, SILENCE), SILENCE + Duration::from_secs(120));
    }
}
