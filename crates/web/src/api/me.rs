//! `GET /api/v1/me`: who is signed in, and the token that a browser's script has to show.

use axum::{body::Body, http::Response};
use serde::Serialize;

use crate::{api::list::json, problem::Problem, signed_in::SignedIn};

#[derive(Serialize)]
struct Me<'a> {
    user: &'a str,
    home: String,
    signed_in_by: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
}

pub(crate) async fn me(who: SignedIn) -> Result<Response<Body>, Problem> {
    let user = who.session.user();
    let me = Me {
        user: user.as_str(),
        home: who.session.fs().home().to_string(),
        signed_in_by: if who.browser.is_some() { "cookie" } else { "basic" },
        token: who.browser.as_ref().map(|browser| browser.token.as_str()),
    };
    Ok(json(Body::from(serde_json::to_vec(&me).unwrap_or_default())))
}
