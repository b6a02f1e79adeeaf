//! One request to the token endpoint (RFC 6749 section 4.4, 6; RFC 7523 for assertions): the form, its repetition while
//! the endpoint is unwell, and the refresh token's way into the vault.

use std::{fmt, sync::Arc, time::Duration};

use http::header::{ACCEPT, CONTENT_TYPE};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use portreeve_model::Secret;
use tokio::time::{Instant, sleep};

use super::{TokenError, TokenFault, answer};
use crate::{
    credential::{Credential, Form},
    net::{
        Net,
        http::{Lost, chunk, send},
    },
    patience::{jittered, retry_after},
    vault::Vault,
};

/// Most tries of one request.
const TRIES: u32 = 4;
/// Longest wait between two tries, whatever the endpoint asks for.
const MOST_WAIT: Duration = Duration::from_secs(30);
/// Largest answer that is read.
const MOST_BODY: usize = 256 * 1024;

/// A token and when it was asked for: its life is counted from then.
pub(crate) struct Granted {
    pub(super) token: Secret,
    pub(super) at: Instant,
    pub(super) lives: Duration,
}

/// All that is needed to ask for one kind of token.
pub(crate) struct Asker {
    pub(crate) net: Arc<Net>,
    pub(crate) endpoint: String,
    pub(crate) client: String,
    pub(crate) scope: String,
    pub(crate) credential: Credential,
    pub(crate) vault: Arc<dyn Vault>,
    /// Held while a refresh token is in use: two requests with the same one would each bring a successor.
    pub(crate) turn: Arc<tokio::sync::Mutex<()>>,
    /// The first wait between two tries; each is twice the one before.
    pub(crate) backoff: Duration,
}

impl fmt::Debug for Asker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asker")
            .field("endpoint", &self.endpoint)
            .field("client", &self.client)
            .field("scope", &self.scope)
            .field("credential", &self.credential)
            .finish_non_exhaustive()
    }
}

impl Asker {
    /// Asks until there is a token or a reason; once where it is not to be waited for.
    pub(super) async fn ask(&self, patient: bool) -> Result<Granted, TokenError> {
        let most = if patient { TRIES } else { 1 };
        let mut wait = self.backoff;
        let mut tries = 1;
        loop {
            match self.once().await {
                Err(error) if error.passes() && tries < most => {
                    let pause = error.retry.unwrap_or(wait).min(MOST_WAIT);
                    tracing::debug!(%error, tries, "the token endpoint is asked again");
                    sleep(jittered(pause)).await;
                    wait = (wait * 2).min(MOST_WAIT);
                    tries += 1;
                }
                outcome => return outcome,
            }
        }
    }

    async fn once(&self) -> Result<Granted, TokenError> {
        let mut form: Form = vec![
            ("client_id", Secret::new(self.client.clone())),
            ("scope", Secret::new(self.scope.clone())),
        ];
        form.extend(self.credential.fields(&self.client, &self.endpoint).await?);
        let Credential::Refresh {
            vault_name, initial, ..
        } = &self.credential
        else {
            form.push(("grant_type", Secret::new("client_credentials".to_owned())));
            return self.post(&form).await.map(|(granted, _)| granted);
        };
        let _turn = self.turn.lock().await;
        let told = |e: crate::VaultError| TokenError::here(TokenFault::Vault, format!("refresh token: {e}"));
        let kept = self.vault.load(vault_name).await.map_err(told)?;
        // Where the kept one does not hold any more, the configuration may have a new one: somebody signed in again.
        let initial = initial.as_ref();
        let other = initial.filter(|one| kept.as_ref().is_some_and(|kept| kept.expose() != one.expose()));
        let Some(refresh) = kept.as_ref().or(initial) else {
            return Err(TokenError {
                hint: Some("sign in once and give Portreeve the refresh token"),
                ..TokenError::here(TokenFault::SignIn, "there is no refresh token".to_owned())
            });
        };
        form.push(("grant_type", Secret::new("refresh_token".to_owned())));
        form.push(("refresh_token", refresh.clone()));
        let (granted, next) = match (self.post(&form).await, other) {
            (Err(error), Some(other)) if error.kind == TokenFault::SignIn => {
                form.pop();
                form.push(("refresh_token", other.clone()));
                // What is told is why the kept one was refused: the other is as a rule long used.
                self.post(&form).await.map_err(|_| error)?
            }
            (outcome, _) => outcome?,
        };
        if let Some(next) = next {
            self.vault.save(vault_name, &next).await.map_err(told)?;
        }
        Ok(granted)
    }

    async fn post(&self, form: &Form) -> Result<(Granted, Option<Secret>), TokenError> {
        let at = Instant::now();
        let network = |lost: Lost| {
            TokenError::here(
                TokenFault::Network,
                format!("{}: {}", host(&self.endpoint), lost.words),
            )
        };
        let body = encode(form);
        let request = self
            .net
            .http(&self.client)
            .post(&self.endpoint)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(ACCEPT, "application/json")
            .header("client-request-id", uuid::Uuid::new_v4().to_string())
            .body(body.expose().to_owned());
        let mut answer = send(request, body.expose().len()).await.map_err(network)?;
        let status = answer.status();
        let retry = retry_after(answer.headers());
        let mut read = zeroize::Zeroizing::new(Vec::new());
        while let Some(piece) = chunk(&mut answer).await.map_err(network)? {
            if read.len() + piece.len() > MOST_BODY {
                return Err(TokenError::here(
                    TokenFault::Broken,
                    "the token endpoint's answer has no end".to_owned(),
                ));
            }
            read.extend_from_slice(&piece);
        }
        if !status.is_success() {
            return Err(answer::refused(status.as_u16(), &read, retry));
        }
        let given = answer::granted(&read)?;
        let granted = Granted {
            token: given.token,
            at,
            lives: given.lives,
        };
        Ok((granted, given.refresh))
    }
}

/// The form as it is sent, every value percent-encoded: secrets hold `+`, `%`, `&` and `~`.
fn encode(form: &Form) -> Secret {
    let mut body = String::new();
    for (name, value) in form {
        if !body.is_empty() {
            body.push('&');
        }
        body.push_str(name);
        body.push('=');
        body.extend(utf8_percent_encode(value.expose(), NON_ALPHANUMERIC));
    }
    Secret::new(body)
}

/// The host within a URL, for a message.
fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split(['/', '?']).next().unwrap_or(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_keeps_what_secrets_hold() {
        let form = vec![
            ("a", Secret::new("x+y z%&=~ü".to_owned())),
            ("b", Secret::new(String::new())),
        ];
        assert_eq!(encode(&form).expose(), "a=x%2By%20z%25%26%3D%7E%C3%BC&b=");
    }

    #[test]
    fn hosts() {
        assert_eq!(
            host("https://login.microsoftonline.com/t/oauth2/v2.0/token"),
            "login.microsoftonline.com"
        );
        assert_eq!(host("nothing"), "nothing");
    }
}
