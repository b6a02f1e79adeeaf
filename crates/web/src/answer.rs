//! One request, from the outside: limits, host and source before anything else; the headers on every
//! answer; a panic ends the request and nothing more.

use std::{convert::Infallible, panic::AssertUnwindSafe, sync::Arc};

use axum::{
    http::{HeaderValue, Method, Request, Response, StatusCode, Version, header},
    response::IntoResponse,
};
use futures::FutureExt;
use hyper::body::Incoming;
use tower::ServiceExt;

use crate::{
    WebDoor,
    body::{Tracked, Unread},
    link::Link,
    problem::Problem,
    shield, site,
};

/// Longest target.
const MAX_URI: usize = 8 << 10;
/// Most header fields (hyper counts them for HTTP/1.1, nobody for HTTP/2).
pub(crate) const MAX_FIELDS: usize = 100;

/// Answers a request.
pub(crate) async fn answer(
    door: Arc<WebDoor>,
    link: Arc<Link>,
    mut request: Request<Incoming>,
) -> Result<Response<Tracked>, Infallible> {
    let turn = link.turn();
    let version = request.version();
    let chunked = request.headers().contains_key(header::TRANSFER_ENCODING);
    // Over HTTP/2 clients send whatever they expect.
    let waits = version != Version::HTTP_2 && request.headers().contains_key(header::EXPECT);
    let unread = Arc::new(Unread::new(waits));
    let admitted = admit(&door, &link, &request);
    request.extensions_mut().insert(Arc::clone(&link));
    let request = request.map(|incoming| unread.body(incoming));
    let mut response = match admitted {
        Err(problem) => {
            drop(request);
            problem.into_response()
        }
        Ok(()) => {
            let routed = AssertUnwindSafe(door.router.clone().oneshot(request)).catch_unwind();
            match routed.await {
                Ok(Ok(response)) => response,
                Ok(Err(never)) => match never {},
                Err(_) => {
                    tracing::error!("a handler panicked; the request was answered with 500");
                    Problem::new(
                        StatusCode::INTERNAL_SERVER_ERROR,
                        "internal",
                        "the request failed inside the server; its log says where",
                    )
                    .close()
                    .into_response()
                }
            }
        }
    };
    let headers = response.headers_mut();
    shield::raise(headers);
    if version == Version::HTTP_2 {
        if headers.remove(header::CONNECTION).is_some() {
            link.goodbye.cancel();
        }
    } else if chunked {
        // Whoever disagrees with us about where a chunked body ends gets no second answer out of it.
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    // Who was too slow already is not waited for.
    if response.status() != StatusCode::REQUEST_TIMEOUT {
        unread.throw_away(Arc::clone(&turn));
    }
    turn.moves();
    Ok(response.map(|body| Tracked { body, turn }))
}

fn admit(door: &WebDoor, link: &Link, request: &Request<Incoming>) -> Result<(), Problem> {
    if request.method() == Method::CONNECT {
        // What follows a CONNECT is no HTTP to whoever thinks that it was taken.
        return Err(Problem::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "wrong-method",
            "this server is no proxy",
        )
        .close());
    }
    let uri = request.uri();
    let length = uri.path_and_query().map_or(0, |target| target.as_str().len());
    if length > MAX_URI {
        return Err(Problem::new(
            StatusCode::URI_TOO_LONG,
            "uri-too-long",
            format!("a target has at most {MAX_URI} bytes"),
        )
        .close());
    }
    if request.headers().len() > MAX_FIELDS {
        return Err(Problem::new(
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "too-many-headers",
            format!("a request has at most {MAX_FIELDS} header fields"),
        )
        .close());
    }
    let authority = site::authority(uri, request.headers())?;
    site::check_host(&door.shared.hosts, &authority, link.origin.local.ip())?;
    site::check_source(request.method(), request.headers(), &authority)
}
