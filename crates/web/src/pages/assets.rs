//! The style sheet and the icon, embedded.

use axum::{
    body::Body,
    http::{HeaderValue, Response, header},
};

const STYLE: &str = include_str!("../../assets/portreeve.css");
const ICON: &str = include_str!("../../assets/icon.svg");

pub(crate) async fn style() -> Response<Body> {
    asset(STYLE, "text/css; charset=utf-8")
}

pub(crate) async fn icon() -> Response<Body> {
    asset(ICON, "image/svg+xml")
}

/// The same for everybody, so it may be kept for an hour.
fn asset(text: &'static str, media: &'static str) -> Response<Body> {
    let mut answer = Response::new(Body::from(text));
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("public, max-age=3600"),
    );
    answer
}
