//! The sign-in form and the way out.
//!
//! Invariants: the words on failure are the same whatever failed; a sign-in always makes a new
//! cookie, and ends the session of the old one; the way on never leaves the site.

use std::{net::IpAddr, sync::Arc, time::Instant};

use askama::Template;
use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderValue, Response, StatusCode, header, request::Parts},
    response::{IntoResponse, Redirect},
};
use percent_encoding::percent_decode_str;
use portreeve_model::UserName;

use super::page;
use crate::{
    body,
    credentials::{self, COOKIE},
    door::{Browser, Shared},
    link::Link,
    location,
    problem::Problem,
    signed_in::{self, Refusal},
};

/// Browsers that one name may have signed in from one source; the least used makes room. Else who
/// signs in again and again would use up `limits.sessions_per_user` for all doors.
const MOST_BROWSERS: usize = 20;

/// Longest form.
const MAX_FORM: usize = 16 << 10;

/// The words for a wrong password, an unknown name, a closed account and a banned one alike.
const WRONG: &str = "That user name and password do not open anything here.";

#[derive(Template)]
#[template(path = "signin.html")]
struct SignInPage<'a> {
    next: &'a str,
    user: &'a str,
    failure: Option<&'a str>,
}

/// `GET /signin`.
pub(crate) async fn form(
    State(door): State<Arc<Shared>>,
    request: Request,
) -> Result<Response<Body>, Problem> {
    let next = location::Query::parse(request.uri().query())
        .ok()
        .and_then(|query| query.next);
    let next = location::safe_next(next.as_deref()).to_owned();
    let (parts, _) = request.into_parts();
    if signed_in::browser(&door, &parts).await.is_some() {
        return Ok(Redirect::to(&next).into_response());
    }
    show(StatusCode::OK, &next, "", None)
}

/// `POST /signin`.
pub(crate) async fn submit(
    State(door): State<Arc<Shared>>,
    request: Request,
) -> Result<Response<Body>, Problem> {
    let (parts, body) = request.into_parts();
    let link = parts.extensions.get::<Arc<Link>>().cloned();
    let link = link.ok_or_else(|| Problem::bad_request("the request came on no connection"))?;
    let form = Form::read(&parts, body).await?;
    let next = location::safe_next(form.value("next")).to_owned();
    let user = form.value("user").unwrap_or("").trim();
    let Some(basic) = credentials::named(user, form.value("password").unwrap_or("")) else {
        return show(StatusCode::UNAUTHORIZED, &next, user, Some(WRONG));
    };
    let mut connection = link.connection.lock().await;
    let mut answer = signed_in::ask(&link, &mut connection, &basic).await;
    let from = (basic.user.clone(), link.origin.source());
    if matches!(answer, Err(Refusal::Full(_))) && make_room(&door, 0, &from) {
        answer = signed_in::ask(&link, &mut connection, &basic).await;
    }
    drop(connection);
    let session = match answer {
        Ok(session) => session,
        Err(Refusal::Refused { .. }) => return show(StatusCode::UNAUTHORIZED, &next, user, Some(WRONG)),
        Err(Refusal::Full(text)) => return show(StatusCode::SERVICE_UNAVAILABLE, &next, user, Some(&text)),
    };
    forget(&door, &parts);
    let no_randomness = |_| {
        Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "the system gave no random bytes",
        )
    };
    let cookie = credentials::random_text().map_err(no_randomness)?;
    let token = credentials::random_text().map_err(no_randomness)?;
    session.lives_by(door.session_idle);
    let browser = Arc::new(Browser {
        session,
        from: from.clone(),
        token,
    });
    drop(
        door.browsers
            .put(credentials::cookie_key(&cookie), browser, Instant::now()),
    );
    make_room(&door, MOST_BROWSERS, &from);
    let mut answer = Redirect::to(&next).into_response();
    set_cookie(
        &mut answer,
        &format!("{COOKIE}={cookie}; Path=/; Secure; HttpOnly; SameSite=Lax"),
    );
    Ok(answer)
}

/// `POST /signout`.
pub(crate) async fn leave(
    State(door): State<Arc<Shared>>,
    request: Request,
) -> Result<Response<Body>, Problem> {
    let (parts, body) = request.into_parts();
    let form = Form::read(&parts, body).await?;
    if let Some(browser) = signed_in::browser(&door, &parts).await {
        let shown = form.value("token").unwrap_or("");
        if !signed_in::same_token(shown.as_bytes(), &browser) {
            return Err(Problem::new(
                StatusCode::FORBIDDEN,
                "token-missing",
                "sign out with the button on a page of this site",
            ));
        }
        forget(&door, &parts);
    }
    let mut answer = Redirect::to("/signin").into_response();
    set_cookie(
        &mut answer,
        &format!("{COOKIE}=; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=0"),
    );
    Ok(answer)
}

/// Signs out the least used browser of the same name and source, where there are more than `most`.
fn make_room(door: &Shared, most: usize, from: &(UserName, IpAddr)) -> bool {
    let old = door.browsers.evict(most, |browser| browser.from == *from);
    old.inspect(|old| old.session.end("closed")).is_some()
}

/// Ends the session of the cookie that the request showed.
fn forget(door: &Shared, parts: &Parts) {
    let Some(cookie) = credentials::cookie(&parts.headers) else {
        return;
    };
    if let Some(browser) = door.browsers.remove(&credentials::cookie_key(cookie)) {
        browser.session.end("closed");
    }
}

fn set_cookie(answer: &mut Response<Body>, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        answer.headers_mut().insert(header::SET_COOKIE, value);
    }
}

fn show(
    status: StatusCode,
    next: &str,
    user: &str,
    failure: Option<&str>,
) -> Result<Response<Body>, Problem> {
    page(status, &SignInPage { next, user, failure })
}

/// A form's fields.
struct Form(Vec<(String, String)>);

impl Form {
    async fn read(parts: &Parts, body: Body) -> Result<Self, Problem> {
        let media = parts
            .headers
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok());
        let media = media.and_then(|text| text.split(';').next()).map(str::trim);
        if !media.is_some_and(|media| media.eq_ignore_ascii_case("application/x-www-form-urlencoded")) {
            return Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "not-a-form",
                "the body must be a form: application/x-www-form-urlencoded",
            ));
        }
        let bytes = body::small(body, MAX_FORM).await?;
        let text = std::str::from_utf8(&bytes).map_err(|_| Problem::bad_request("the form is not UTF-8"))?;
        let decode = |text: &str| {
            let text = text.replace('+', " ");
            percent_decode_str(&text)
                .decode_utf8()
                .map(std::borrow::Cow::into_owned)
        };
        let mut fields = Vec::new();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (Ok(key), Ok(value)) = (decode(key), decode(value)) else {
                return Err(Problem::bad_request("the form is not UTF-8"));
            };
            fields.push((key, value));
        }
        Ok(Self(fields))
    }

    /// The first field of that name.
    fn value(&self, key: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(name, _)| name == key)
            .map(|(_, value)| value.as_str())
    }
}
