//! Every address there is, in one table: a test walks it and asserts that only a fixed list answers
//! strangers.

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    http::{Response, StatusCode},
    response::IntoResponse,
    routing::{MethodRouter, delete, get, post},
};

use crate::{api, door::Shared, pages, problem::Problem};

type Handlers = MethodRouter<Arc<Shared>>;

/// The addresses that answer strangers: the form, its post, and what the form needs to look well.
#[cfg(test)]
pub(crate) const PUBLIC: &[(&str, &str)] = &[
    ("GET", "/"),
    ("GET", "/signin"),
    ("POST", "/signin"),
    ("POST", "/signout"),
    ("GET", "/assets/portreeve.css"),
    ("GET", "/assets/icon.svg"),
    ("GET", "/favicon.ico"),
];

/// Pattern, methods, handlers.
pub(crate) fn table() -> Vec<(&'static str, &'static [&'static str], Handlers)> {
    vec![
        ("/", &["GET"], get(pages::home)),
        (
            "/signin",
            &["GET", "POST"],
            get(pages::sign_in::form).post(pages::sign_in::submit),
        ),
        ("/signout", &["POST"], post(pages::sign_in::leave)),
        ("/files", &["GET"], get(pages::home)),
        ("/files/", &["GET"], get(pages::directory::show)),
        ("/files/{*path}", &["GET"], get(pages::directory::show)),
        ("/assets/portreeve.css", &["GET"], get(pages::assets::style)),
        ("/assets/icon.svg", &["GET"], get(pages::assets::icon)),
        ("/favicon.ico", &["GET"], get(pages::assets::icon)),
        ("/api/v1/me", &["GET"], get(api::me::me)),
        (
            "/api/v1/files",
            &["GET", "DELETE"],
            get(api::list::list).merge(delete(api::change::remove)),
        ),
        ("/api/v1/files/stat", &["GET"], get(api::stat::stat)),
        (
            "/api/v1/files/content",
            &["GET", "HEAD", "PUT"],
            get(api::read::read).head(api::stat::head).put(api::write::write),
        ),
        ("/api/v1/files/mkdir", &["POST"], post(api::change::make_dir)),
        ("/api/v1/files/rename", &["POST"], post(api::change::rename)),
        ("/api/v1/files/copy", &["POST"], post(api::change::copy)),
    ]
}

/// The table as a router.
pub(crate) fn router(door: Arc<Shared>) -> Router {
    let mut router = Router::new();
    for (pattern, _, handlers) in table() {
        router = router.route(pattern, handlers);
    }
    router
        .fallback(nothing)
        .method_not_allowed_fallback(wrong_method)
        .with_state(door)
}

async fn nothing() -> Response<Body> {
    Problem::new(
        StatusCode::NOT_FOUND,
        "no-such-address",
        "there is no such address; files are under /files/ and /api/v1/files",
    )
    .into_response()
}

async fn wrong_method() -> Response<Body> {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "wrong-method",
        "this address does not take that method",
    )
    .into_response()
}
