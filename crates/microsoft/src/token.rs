//! Access tokens of one app for one resource: asked for once by whoever comes first, shared by all, renewed before
//! they end.
//!
//! Invariants: one request at a time, whoever waits gets its outcome, a failure too; a request that was begun is gone
//! through with though its caller is gone, since a refresh token may change by it; a new refresh token is in the vault
//! before the access token is handed out.

mod answer;
mod error;
mod hints;
mod request;

use std::{fmt, sync::Arc, time::Duration};

use futures::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use parking_lot::Mutex;
use portreeve_model::Secret;
use tokio::time::Instant;

pub(crate) use answer::cut;
pub use error::{SupportIds, TokenError, TokenFault};
pub(crate) use request::Asker;

/// How long a refusal stands before the endpoint is asked again, in first waits of the app (5 s as a rule): whoever asks
/// in a loop is throttled there (AADSTS50196).
const STANDS: u32 = 5;
/// How long, in the same measure, an endpoint that was away to the end of the tries is asked once each time: nobody else
/// waits for it as well.
const AWAY: u32 = 30;

/// An access token: what it says is nobody's business here.
#[derive(Clone)]
pub struct AccessToken {
    text: Secret,
    expires: Instant,
    serial: u64,
}

impl AccessToken {
    /// The token itself, for a header or a SASL exchange.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.text.expose()
    }

    /// How long it still holds.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.expires.saturating_duration_since(Instant::now())
    }
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AccessToken(…, {} s)", self.remaining().as_secs())
    }
}

type Flight = Shared<BoxFuture<'static, Result<AccessToken, TokenError>>>;

#[derive(Default)]
struct State {
    current: Option<AccessToken>,
    /// What was taken out of use because it was rejected; never handed out again.
    serial: u64,
    flight: Option<Flight>,
    refused: Option<(Instant, TokenError)>,
    /// Until when the endpoint is taken to be away.
    away: Option<Instant>,
}

/// Where the tokens of one app for one resource come from.
pub struct TokenSource {
    asker: Asker,
    grace: Duration,
    state: Mutex<State>,
}

impl fmt::Debug for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenSource")
            .field("asker", &self.asker)
            .finish_non_exhaustive()
    }
}

impl TokenSource {
    pub(crate) fn new(asker: Asker, grace: Duration) -> Arc<Self> {
        Arc::new(Self {
            asker,
            grace,
            state: Mutex::default(),
        })
    }

    /// A token that holds for the grace period at least, or, where the endpoint is out of reach, one that still holds.
    ///
    /// # Errors
    /// The endpoint refuses or is out of reach, or what the app proves itself with cannot be used.
    pub async fn token(self: &Arc<Self>) -> Result<AccessToken, TokenError> {
        let flight = {
            let mut state = self.state.lock();
            let now = Instant::now();
            if let Some(token) = &state.current
                && token.expires > now + self.grace
            {
                return Ok(token.clone());
            }
            if let Some((until, error)) = &state.refused
                && *until > now
            {
                return Err(error.clone());
            }
            match &state.flight {
                Some(flight) => flight.clone(),
                None => {
                    let patient = state.away.is_none_or(|until| until <= now);
                    let flight = self.launch(patient);
                    state.flight = Some(flight.clone());
                    flight
                }
            }
        };
        flight.await
    }

    /// Takes a token out of use that a service answered 401 to: the next [`TokenSource::token`] asks anew. Rejecting
    /// the same token twice costs one request.
    pub fn reject(&self, used: &AccessToken) {
        let mut state = self.state.lock();
        if state
            .current
            .as_ref()
            .is_some_and(|token| token.serial == used.serial)
        {
            state.current = None;
        }
    }

    /// The request in a task of its own: callers come and go.
    fn launch(self: &Arc<Self>, patient: bool) -> Flight {
        let source = Arc::clone(self);
        let task = tokio::spawn(async move {
            let outcome = source.asker.ask(patient).await;
            source.landed(outcome, patient)
        });
        let source = Arc::clone(self);
        async move {
            task.await.unwrap_or_else(|_| {
                source.state.lock().flight = None;
                Err(TokenError::here(
                    TokenFault::Network,
                    "the request for a token was broken off".to_owned(),
                ))
            })
        }
        .boxed()
        .shared()
    }

    fn landed(
        &self,
        outcome: Result<request::Granted, TokenError>,
        patient: bool,
    ) -> Result<AccessToken, TokenError> {
        let mut state = self.state.lock();
        state.flight = None;
        match &outcome {
            Err(error) if error.passes() => {
                if patient {
                    state.away = Some(Instant::now() + self.asker.backoff * AWAY);
                }
            }
            _ => state.away = None,
        }
        match outcome {
            Ok(granted) => {
                state.serial += 1;
                let token = AccessToken {
                    text: granted.token,
                    expires: granted.at + granted.lives,
                    serial: state.serial,
                };
                state.refused = None;
                state.current = Some(token.clone());
                Ok(token)
            }
            Err(error) => {
                let now = Instant::now();
                if let Some(token) = &state.current
                    && token.expires > now
                    && error.passes()
                {
                    tracing::warn!(%error, "a token could not be renewed; the old one still holds");
                    return Ok(token.clone());
                }
                if !error.passes() {
                    state.refused = Some((now + self.asker.backoff * STANDS, error.clone()));
                }
                Err(error)
            }
        }
    }
}

#[cfg(test)]
mod tests;
