//! Who asks: the one way for a handler to get a session.
//!
//! Invariants: a password is handed to the chain at most once per name, password and source while
//! the sign-in is remembered, and every use asks whether the session still stands; refusals are never
//! remembered and look alike; a cookie alone changes nothing without the session's token.

use std::{sync::Arc, time::Instant};

use axum::{
    extract::FromRequestParts,
    http::{HeaderValue, Response, StatusCode, header, request::Parts},
    response::IntoResponse,
};
use portreeve_session::{Credential, Session, SignIn};
use subtle::ConstantTimeEq;

use crate::{
    credentials::{self, Basic},
    door::{Browser, Shared},
    link::Link,
    location,
    problem::Problem,
};

/// The header in which a browser's script shows the session's token.
pub(crate) const TOKEN_HEADER: &str = "x-portreeve-token";

/// Somebody who is signed in.
pub(crate) struct SignedIn {
    pub(crate) session: Session,
    /// The browser, where a cookie was shown.
    pub(crate) browser: Option<Arc<Browser>>,
}

/// Nobody is signed in, or not for this.
pub(crate) enum NotSignedIn {
    /// A page: the sign-in form comes first.
    Form { next: String },
    /// A client: why.
    Problem(Problem),
}

impl FromRequestParts<Arc<Shared>> for SignedIn {
    type Rejection = NotSignedIn;

    async fn from_request_parts(parts: &mut Parts, door: &Arc<Shared>) -> Result<Self, NotSignedIn> {
        if let Some(basic) = credentials::basic(&parts.headers) {
            let link = link(parts)?;
            let basic = basic.map_err(|_| unauthorized(parts))?;
            let session = by_password(door, &link, &basic)
                .await
                .map_err(|refusal| refusal.into_problem(parts))?;
            link.is_somebodys();
            return Ok(Self {
                session,
                browser: None,
            });
        }
        let Some(browser) = browser(door, parts).await else {
            return Err(stranger(parts));
        };
        if !parts.method.is_safe() && !shows_token(parts, &browser) {
            return Err(NotSignedIn::Problem(Problem::new(
                StatusCode::FORBIDDEN,
                "token-missing",
                format!(
                    "a request that changes something needs the header {TOKEN_HEADER}, as GET /api/v1/me tells it"
                ),
            )));
        }
        browser.session.touch();
        link(parts)?.is_somebodys();
        Ok(Self {
            session: browser.session.clone(),
            browser: Some(browser),
        })
    }
}

/// The connection that the request came on.
fn link(parts: &Parts) -> Result<Arc<Link>, NotSignedIn> {
    let link = parts.extensions.get::<Arc<Link>>().cloned();
    link.ok_or_else(|| {
        let text = "the request came on no connection";
        NotSignedIn::Problem(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", text))
    })
}

/// The browser that the cookie names, while its session stands.
pub(crate) async fn browser(door: &Shared, parts: &Parts) -> Option<Arc<Browser>> {
    let key = credentials::cookie_key(credentials::cookie(&parts.headers)?);
    let browser = door.browsers.find(&key, Instant::now())?;
    if browser.session.standing().await {
        return Some(browser);
    }
    door.browsers.remove(&key);
    None
}

/// Whether two tokens are the same, in a time that tells nothing of where they differ.
pub(crate) fn same_token(shown: &[u8], browser: &Browser) -> bool {
    shown.ct_eq(browser.token.as_bytes()).into()
}

fn shows_token(parts: &Parts, browser: &Browser) -> bool {
    let shown = parts.headers.get(TOKEN_HEADER);
    shown.is_some_and(|shown| same_token(shown.as_bytes(), browser))
}

/// Why a name and a password let nobody in.
pub(crate) enum Refusal {
    /// Wrong, unknown, forbidden: it looks the same.
    Refused {
        /// The connection has used up its tries.
        last: bool,
    },
    /// Right, but not now; the text may be shown.
    Full(String),
}

/// Signs in by name and password: by memory where the same was accepted from the same source a
/// moment ago and its session stands, else by the chain.
async fn by_password(door: &Shared, link: &Link, basic: &Basic) -> Result<Session, Refusal> {
    let key = door.basic_key.digest(basic, link.origin.source());
    if let Some(session) = remembered(door, &key).await {
        return Ok(session);
    }
    let mut connection = link.connection.lock().await;
    // Another request of this connection may have signed in while we waited for our turn.
    if let Some(session) = remembered(door, &key).await {
        return Ok(session);
    }
    let session = ask(link, &mut connection, basic).await?;
    drop(connection);
    let before = door.basics.put(key, session.clone(), Instant::now());
    drop(before);
    Ok(session)
}

async fn remembered(door: &Shared, key: &crate::vault::Key) -> Option<Session> {
    let session = door.basics.find(key, Instant::now())?;
    if session.standing().await {
        session.touch();
        return Some(session);
    }
    drop(door.basics.remove(key));
    None
}

/// Hands name and password to the chain.
pub(crate) async fn ask(
    link: &Link,
    connection: &mut portreeve_session::Connection,
    basic: &Basic,
) -> Result<Session, Refusal> {
    let credential = Credential::Password(basic.password.clone());
    match connection.sign_in(&basic.user, credential).await {
        SignIn::Welcome(session) => Ok(session),
        // A second factor needs a dialogue, which neither Basic nor this release's form can hold.
        SignIn::Ask { .. } | SignIn::Refused => Err(Refusal::Refused { last: false }),
        SignIn::Closed => {
            link.goodbye.cancel();
            Err(Refusal::Refused { last: true })
        }
        SignIn::Full(text) => Err(Refusal::Full(text)),
    }
}

impl Refusal {
    fn into_problem(self, parts: &Parts) -> NotSignedIn {
        match self {
            Self::Refused { last: false } => unauthorized(parts),
            Self::Refused { last: true } => match unauthorized(parts) {
                NotSignedIn::Problem(problem) => NotSignedIn::Problem(problem.close()),
                form @ NotSignedIn::Form { .. } => form,
            },
            Self::Full(text) => NotSignedIn::Problem(
                Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too-many-sessions", text)
                    .header(header::RETRY_AFTER, HeaderValue::from_static("10")),
            ),
        }
    }
}

/// Nobody: a page leads to the form, everything else is told how to sign in.
fn stranger(parts: &Parts) -> NotSignedIn {
    let path = parts.uri.path();
    if parts.method.is_safe() && path.starts_with("/files/") {
        let target = parts.uri.path_and_query().map_or(path, |target| target.as_str());
        return NotSignedIn::Form {
            next: location::safe_next(Some(target)).to_owned(),
        };
    }
    unauthorized(parts)
}

fn unauthorized(parts: &Parts) -> NotSignedIn {
    // Browsers answer a Basic challenge to a script with a box of their own; the page has a form.
    let script = parts
        .headers
        .get("sec-fetch-mode")
        .is_some_and(|mode| mode != "navigate");
    let challenge = if script {
        "Cookie realm=\"Portreeve\", form-action=\"/signin\", cookie-name=\"__Host-sid\""
    } else {
        "Basic realm=\"Portreeve\", charset=\"UTF-8\""
    };
    NotSignedIn::Problem(
        Problem::new(
            StatusCode::UNAUTHORIZED,
            "not-signed-in",
            "sign in with a user name and a password that are valid here",
        )
        .header(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge)),
    )
}

impl IntoResponse for NotSignedIn {
    fn into_response(self) -> Response<axum::body::Body> {
        match self {
            Self::Problem(problem) => problem.into_response(),
            Self::Form { next } => {
                let next = location::encode_value(next.as_bytes());
                axum::response::Redirect::to(&format!("/signin?next={next}")).into_response()
            }
        }
    }
}
