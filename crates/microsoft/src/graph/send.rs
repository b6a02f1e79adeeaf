//! One request through to its answer: the budget, the token, the tries.
//!
//! What is repeated: everything that was refused before it happened (429, 503, no connection); reading, changing and
//! deleting also after an answer that was lost, broken or a gateway's. A creation is not: it may have happened. Once
//! one request has spent all its tries on a service that is away, the others do not wait for it as well.

use std::time::Duration;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE},
};
use reqwest::{Response, Url};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    GraphError, GraphFault, GraphMailbox,
    budget::{Pass, Patience},
};
use crate::{
    net::http::{chunk, send},
    patience::{jittered, retry_after},
};

/// Largest answer of JSON that is read: a page of 1000 messages has about 2 MB.
const MOST_JSON: usize = 64 << 20;
/// Largest answer that tells of an error.
const MOST_ERROR: usize = 64 << 10;
/// Longest wait between two tries that Graph did not ask for.
const MOST_BACKOFF: Duration = Duration::from_secs(60);
/// Message ids that stay when a message moves. Source: Microsoft, "Obtain immutable identifiers for Outlook resources".
pub(super) const IMMUTABLE: &str = "IdType=\"ImmutableId\"";

/// When a request may be made again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    /// Twice is once.
    Always,
    /// Only if it certainly did not happen.
    WhereRefused,
}

/// A request, to be made once or several times.
pub(super) struct Ask {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) repeat: Repeat,
    prefer: Vec<String>,
    accept: &'static str,
    body: Option<(&'static str, Bytes)>,
    more: Vec<(HeaderName, String)>,
    /// Whose URL holds its own permission gets no token along.
    bare: bool,
    places: u32,
    count: u64,
}

impl Ask {
    pub(super) fn new(method: Method, url: Url, repeat: Repeat) -> Self {
        Self {
            method,
            url,
            repeat,
            prefer: vec![IMMUTABLE.to_owned()],
            accept: "application/json",
            body: None,
            more: Vec::new(),
            bare: false,
            places: 1,
            count: 1,
        }
    }

    pub(super) fn prefer(mut self, more: impl IntoIterator<Item = String>) -> Self {
        self.prefer.extend(more);
        self
    }

    pub(super) fn accept(mut self, accept: &'static str) -> Self {
        self.accept = accept;
        self
    }

    pub(super) fn body(mut self, content_type: &'static str, body: Bytes) -> Self {
        self.body = Some((content_type, body));
        self
    }

    pub(super) fn json<B: Serialize + ?Sized>(self, body: &B) -> Result<Self, GraphError> {
        let body = serde_json::to_vec(body)
            .map_err(|e| GraphError::here(GraphFault::Invalid, format!("a body is no JSON: {e}")))?;
        Ok(self.body("application/json", body.into()))
    }

    /// A header of its own; a request with a URL that is its own permission.
    pub(super) fn bare(mut self) -> Self {
        self.bare = true;
        self.prefer.clear();
        self
    }

    pub(super) fn header(mut self, name: HeaderName, value: String) -> Self {
        self.more.push((name, value));
        self
    }

    /// It counts as several requests that run side by side.
    pub(super) fn weighs(mut self, places: u32, count: u64) -> Self {
        self.places = places;
        self.count = count;
        self
    }
}

/// The tries of one request.
pub(super) struct Tries {
    made: u32,
    renewed: bool,
    wait: Duration,
    patience: Patience,
    /// It is the one that looks whether a service that was away is back.
    probes: bool,
}

impl Tries {
    pub(super) fn made(&self) -> u32 {
        self.made
    }
}

impl GraphMailbox {
    pub(super) fn tries(&self) -> Tries {
        let limits = &self.graph.limits;
        Tries {
            made: 0,
            renewed: false,
            wait: limits.backoff,
            patience: Patience::new(limits.patience),
            probes: false,
        }
    }

    /// Asks until there is JSON. Nothing at all is JSON's `null`.
    pub(super) async fn json<T: DeserializeOwned>(&self, ask: &Ask) -> Result<T, GraphError> {
        let value = self.carried(ask).await?;
        self.budget.breaker.reset();
        Ok(value)
    }

    /// The same where the answer alone does not say that the mailbox is there: a batch carries others.
    pub(super) async fn carried<T: DeserializeOwned>(&self, ask: &Ask) -> Result<T, GraphError> {
        let mut tries = self.tries();
        loop {
            match self.read(ask, &mut tries).await {
                Ok(value) => return Ok(value),
                Err(error) => self.again(ask.repeat, &mut tries, error).await?,
            }
        }
    }

    async fn read<T: DeserializeOwned>(&self, ask: &Ask, tries: &mut Tries) -> Result<T, GraphError> {
        let (mut response, _pass) = self.attempt(ask, tries).await?;
        let body = self.body(&mut response, MOST_JSON).await?;
        if body.is_empty() {
            return serde_json::from_slice(b"null").map_err(|_| broken("an answer is empty"));
        }
        if let Some(error) = GraphError::embedded(&body) {
            return Err(error);
        }
        // serde's words may quote what it read: somebody's mail, or a link that is a permission.
        serde_json::from_slice(&body).map_err(|e| {
            broken(&format!(
                "an answer is not the JSON that was expected ({:?} at byte {} of {})",
                e.classify(),
                e.column(),
                body.len()
            ))
        })
    }

    /// Asks until it is gone.
    pub(super) async fn remove(&self, ask: &Ask) -> Result<(), GraphError> {
        let mut tries = self.tries();
        loop {
            match self.attempt(ask, &mut tries).await {
                Ok(_) => {
                    self.budget.breaker.reset();
                    return Ok(());
                }
                Err(error)
                    if tries.made > 0
                        && matches!(error.kind, GraphFault::NotFound)
                        && !error.mailbox_unknown() =>
                {
                    self.budget.breaker.reset();
                    return Ok(());
                }
                Err(error) => self.again(ask.repeat, &mut tries, error).await?,
            }
        }
    }

    /// Asks until an answer begins whose status is a success.
    pub(super) async fn answer(&self, ask: &Ask) -> Result<(Response, Pass), GraphError> {
        let mut tries = self.tries();
        loop {
            match self.attempt(ask, &mut tries).await {
                Ok(answer) => {
                    self.budget.breaker.reset();
                    return Ok(answer);
                }
                Err(error) => self.again(ask.repeat, &mut tries, error).await?,
            }
        }
    }

    /// One try.
    pub(super) async fn attempt(&self, ask: &Ask, tries: &mut Tries) -> Result<(Response, Pass), GraphError> {
        let pass = self
            .budget
            .enter(ask.places, ask.count, &mut tries.patience)
            .await?;
        let token = if ask.bare {
            None
        } else {
            Some(self.graph.tokens.token().await.map_err(GraphError::token)?)
        };
        let mut headers = HeaderMap::new();
        let mut put = |name: HeaderName, value: &str| {
            let value = HeaderValue::from_str(value)
                .map_err(|_| GraphError::here(GraphFault::Invalid, format!("{name} cannot be sent")));
            value.map(|mut value| {
                value.set_sensitive(name == AUTHORIZATION);
                headers.insert(name, value);
            })
        };
        put(ACCEPT, ask.accept)?;
        put(
            HeaderName::from_static("client-request-id"),
            &uuid::Uuid::new_v4().to_string(),
        )?;
        if !ask.prefer.is_empty() {
            put(HeaderName::from_static("prefer"), &ask.prefer.join(", "))?;
        }
        if let Some(token) = &token {
            let bearer = portreeve_model::Secret::new(format!("Bearer {}", token.expose()));
            put(AUTHORIZATION, bearer.expose())?;
        }
        for (name, value) in &ask.more {
            put(name.clone(), value)?;
        }
        let mut request = self
            .graph
            .net
            .http(&self.relative)
            .request(ask.method.clone(), ask.url.clone());
        if let Some((content_type, body)) = &ask.body {
            put(CONTENT_TYPE, content_type)?;
            self.budget.went(body.len());
            request = request.body(body.clone());
        } else if ask.method == Method::POST {
            // Gateways refuse a POST that does not tell its length.
            request = request.body(Bytes::new());
        }
        let length = ask.body.as_ref().map_or(0, |(_, body)| body.len());
        let mut response = send(request.headers(headers), length)
            .await
            .map_err(|lost| GraphError {
                unsent: lost.unsent,
                ..GraphError::here(GraphFault::Network, lost.words)
            })?;
        let status = response.status();
        if status.is_success() {
            return Ok((response, pass));
        }
        let asked = retry_after(response.headers());
        let id = response
            .headers()
            .get("request-id")
            .and_then(|id| id.to_str().ok())
            .map(crate::token::cut);
        let body = self.body(&mut response, MOST_ERROR).await.unwrap_or_default();
        let mut error = GraphError::read(status.as_u16(), &body);
        error.retry_after = asked;
        error.request_id = id.or(error.request_id);
        if matches!(error.kind, GraphFault::Unauthorized)
            && let Some(token) = &token
        {
            self.graph.tokens.reject(token);
        }
        Err(error)
    }

    /// Waits for the next try, or gives the error back with what is known about it.
    pub(super) async fn again(
        &self,
        repeat: Repeat,
        tries: &mut Tries,
        mut error: GraphError,
    ) -> Result<(), GraphError> {
        if matches!(error.kind, GraphFault::Unauthorized) && !tries.renewed {
            tries.renewed = true;
            return Ok(());
        }
        let throttled = matches!(error.kind, GraphFault::Throttled);
        // Our own budget and the token source have had their patience already.
        if error.unsent && !matches!(error.kind, GraphFault::Network) {
            return Err(error);
        }
        // Refused before anything happened; 409 is here the clash of two changes, another kind otherwise.
        // A bare 503 may be a gateway's, whose service has worked before it was lost.
        let refused = throttled || error.unsent || error.status == Some(409) || error.says_unavailable();
        // The clash of two changes is Graph's own word.
        let away = error.is_away() && error.status != Some(409);
        if !throttled && !error.is_away() {
            self.budget.breaker.reset();
            return Err(error);
        }
        if !refused && repeat == Repeat::WhereRefused {
            error.uncertain = true;
            return Err(error);
        }
        let closes = throttled || (error.retry_after.is_some() && matches!(error.status, Some(503 | 504)));
        let wait = error.retry_after.unwrap_or(tries.wait);
        if closes {
            self.budget.close(wait);
        }
        tries.made += 1;
        if tries.made >= self.graph.limits.attempts {
            if away {
                self.budget.breaker.trip();
            }
            return Err(error);
        }
        if away && !self.budget.breaker.allows(&mut tries.probes) {
            return Err(error);
        }
        tracing::debug!(%error, tries = tries.made, wait_ms = wait.as_millis() as u64, "Graph is asked again");
        tries.wait = (tries.wait * 2).min(MOST_BACKOFF);
        if !closes {
            if let Err(told) = tries.patience.spend(wait) {
                error.retry_after = told.retry_after;
                return Err(error);
            }
            tokio::time::sleep(jittered(wait)).await;
        }
        // A closed gate is waited for where all wait for it.
        Ok(())
    }

    pub(super) async fn body(&self, response: &mut Response, most: usize) -> Result<Vec<u8>, GraphError> {
        let mut body = Vec::new();
        loop {
            match chunk(response).await {
                Ok(Some(piece)) => {
                    self.budget.came(piece.len());
                    if body.len() + piece.len() > most {
                        return Err(broken(&format!("an answer is larger than {most} bytes")));
                    }
                    body.extend_from_slice(&piece);
                }
                Ok(None) => return Ok(body),
                Err(lost) => return Err(broken(&lost.words)),
            }
        }
    }
}

/// An answer that is not understood.
pub(super) fn broken(why: &str) -> GraphError {
    GraphError::here(GraphFault::Broken, why.to_owned())
}
