//! Signing in: PLAIN (RFC 4616), LOGIN, XOAUTH2, OAUTHBEARER (RFC 7628).
//!
//! Invariants: only over TLS; a token that the server rejects is taken out of use and one fresh one is tried,
//! once; what the server says of a refusal is told, what we sent never is.

use std::{fmt, sync::Arc};

use base64::{Engine, engine::general_purpose::STANDARD};
use portreeve_microsoft::TokenSource;
use portreeve_model::Secret;
use serde::Deserialize;

use super::{
    connection::Connection,
    error::{ImapError, Kind},
    options::Mechanism,
    wire::Status,
};

/// Who signs in, and with what.
pub(super) struct SignIn {
    /// Whose credentials they are.
    pub(super) user: String,
    /// Whose mailbox is to be opened.
    pub(super) mailbox: String,
    /// The proof.
    pub(super) proof: Proof,
    /// How it is shown.
    pub(super) mechanism: Mechanism,
    /// Host and port, which OAUTHBEARER names.
    pub(super) host: String,
    /// See `host`.
    pub(super) port: u16,
}

/// What is shown to the server.
pub(super) enum Proof {
    /// A password.
    Password(Secret),
    /// An access token.
    Token(Arc<TokenSource>),
}

impl fmt::Debug for SignIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignIn")
            .field("mailbox", &self.mailbox)
            .field("mechanism", &self.mechanism)
            .finish_non_exhaustive()
    }
}

impl SignIn {
    /// Signs in on a connection that has just been opened; afterwards its capabilities are known.
    pub(super) async fn run(&self, connection: &mut Connection) -> Result<(), ImapError> {
        connection.ask_capabilities(false).await?;
        let refused = match &self.proof {
            Proof::Password(password) => self.by_password(connection, password).await?,
            Proof::Token(tokens) => self.by_token(connection, tokens).await?,
        };
        if let Some(refusal) = refused {
            return Err(refusal);
        }
        if !connection.knows_capabilities() {
            connection.ask_capabilities(true).await?;
        }
        Ok(())
    }

    async fn by_password(
        &self,
        connection: &mut Connection,
        password: &Secret,
    ) -> Result<Option<ImapError>, ImapError> {
        let plain = match self.mechanism {
            Mechanism::Plain => true,
            Mechanism::Login => false,
            _ => connection.can("AUTH=PLAIN"),
        };
        if plain {
            let other = if self.mailbox == self.user {
                ""
            } else {
                &self.mailbox
            };
            let text = Secret::new(format!("{other}\0{}\0{}", self.user, password.expose()));
            let first = Secret::new(STANDARD.encode(text.expose()));
            connection.signing_in();
            let outcome = connection.authenticate("PLAIN", first.expose(), |_| "*").await?;
            return Ok(outcome.err().map(|status| self.refusal(&status, None)));
        }
        if self.mailbox != self.user {
            return Err(ImapError::new(
                Kind::SignIn,
                "a mailbox that is not the user's own needs the mechanism PLAIN, which the server does not offer",
            ));
        }
        if connection.can("LOGINDISABLED") {
            return Err(ImapError::new(
                Kind::SignIn,
                "the mail server takes no passwords (LOGINDISABLED, and no AUTH=PLAIN): it may want OAuth",
            ));
        }
        connection.signing_in();
        let outcome = connection.login(&self.user, password.expose()).await?;
        Ok(outcome.err().map(|status| self.refusal(&status, None)))
    }

    async fn by_token(
        &self,
        connection: &mut Connection,
        tokens: &Arc<TokenSource>,
    ) -> Result<Option<ImapError>, ImapError> {
        let bearer = match self.mechanism {
            Mechanism::Oauthbearer => true,
            Mechanism::Xoauth2 => false,
            _ => !connection.can("AUTH=XOAUTH2") && connection.can("AUTH=OAUTHBEARER"),
        };
        connection.signing_in();
        let mut refused = None;
        for _ in 0..2 {
            let token = tokens.token().await.map_err(|error| {
                ImapError::new(
                    Kind::SignIn,
                    format!("no access token for the mail server: {error}"),
                )
            })?;
            let (mechanism, text, done) = if bearer {
                ("OAUTHBEARER", self.bearer(token.expose()), "AQ==")
            } else {
                ("XOAUTH2", self.xoauth2(token.expose()), "")
            };
            let first = Secret::new(STANDARD.encode(text.expose()));
            let mut said = None;
            // A refusal comes as a challenge with the reason, which has to be answered before the server says no.
            let reply = |challenge: &[u8]| {
                said = said.take().or_else(|| reason(challenge));
                done
            };
            match connection.authenticate(mechanism, first.expose(), reply).await? {
                Ok(()) => return Ok(None),
                Err(status) => refused = Some(self.refusal(&status, said)),
            }
            tokens.reject(&token);
        }
        Ok(refused)
    }

    fn xoauth2(&self, token: &str) -> Secret {
        Secret::new(format!("user={}\x01auth=Bearer {token}\x01\x01", self.mailbox))
    }

    fn bearer(&self, token: &str) -> Secret {
        // RFC 5801 §4: `=` and `,` of a name are written out.
        let name = self.mailbox.replace('=', "=3D").replace(',', "=2C");
        Secret::new(format!(
            "n,a={name},\x01host={}\x01port={}\x01auth=Bearer {token}\x01\x01",
            self.host, self.port
        ))
    }

    fn refusal(&self, status: &Status, said: Option<String>) -> ImapError {
        let said = said.map(|said| format!(" ({said})")).unwrap_or_default();
        ImapError::new(
            match &status.code {
                Some(code) if code.eq_ignore_ascii_case("UNAVAILABLE") => Kind::Unreachable,
                _ => Kind::SignIn,
            },
            format!(
                "the mail server refuses to open {}: {}{said}",
                self.mailbox, status.text
            ),
        )
    }
}

/// What the challenge of a refusal says (base64 of JSON).
fn reason(challenge: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Reason {
        status: Option<String>,
        scope: Option<String>,
    }
    let text = STANDARD
        .decode(challenge.get(..challenge.len().min(8192))?)
        .ok()?;
    let reason: Reason = serde_json::from_slice(&text).ok()?;
    let status = reason.status?;
    let all = match reason.scope.filter(|scope| !scope.is_empty()) {
        Some(scope) => format!("status {status}, scope {scope}"),
        None => format!("status {status}"),
    };
    Some(all.chars().filter(|c| !c.is_control()).take(200).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_reason_of_a_refusal() {
        for (json, want) in [
            (
                r#"{"status":"401","schemes":"bearer","scope":"mail"}"#,
                Some("status 401, scope mail"),
            ),
            (
                r#"{"status":"401","schemes":"bearer","scope":""}"#,
                Some("status 401"),
            ),
            (r#"{"status":"invalid_token"}"#, Some("status invalid_token")),
            ("{}", None),
            ("no", None),
        ] {
            let challenge = STANDARD.encode(json);
            assert_eq!(reason(challenge.as_bytes()).as_deref(), want, "{json}");
        }
        assert_eq!(reason(b"!"), None);
    }

    #[test]
    fn writes_what_the_mechanisms_want() {
        let sign_in = SignIn {
            user: "app".into(),
            mailbox: "a,b=c@x".into(),
            proof: Proof::Password(Secret::new("hush".into())),
            mechanism: Mechanism::Auto,
            host: "h".into(),
            port: 993,
        };
        assert_eq!(
            sign_in.bearer("T").expose(),
            "n,a=a=2Cb=3Dc@x,\x01host=h\x01port=993\x01auth=Bearer T\x01\x01"
        );
        assert_eq!(
            sign_in.xoauth2("T").expose(),
            "user=a,b=c@x\x01auth=Bearer T\x01\x01"
        );
        assert!(!format!("{sign_in:?}").contains("hush"));
    }
}
