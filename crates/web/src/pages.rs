//! The pages for browsers: no script, escaped by the templates, usable with the keyboard alone.

pub(crate) mod assets;
pub(crate) mod directory;
pub(crate) mod sign_in;

use askama::Template;
use axum::{
    body::Body,
    http::{HeaderValue, Response, StatusCode, header},
    response::Redirect,
};

use crate::problem::Problem;

/// `/` and `/files`: the files are below `/files/`.
pub(crate) async fn home() -> Redirect {
    Redirect::to("/files/")
}

/// A page.
fn page(status: StatusCode, template: &impl Template) -> Result<Response<Body>, Problem> {
    let text = template.render().map_err(|error| {
        tracing::error!(%error, "a page could not be rendered");
        Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "the page could not be made",
        )
    })?;
    let mut answer = Response::new(Body::from(text));
    *answer.status_mut() = status;
    answer.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/html; charset=utf-8"),
    );
    Ok(answer)
}

/// A refusal, as a page.
#[derive(Template)]
#[template(path = "refused.html")]
struct Refused<'a> {
    title: &'a str,
    detail: &'a str,
}

/// Shows a refusal to a person instead of a program.
fn refused(problem: &Problem) -> Result<Response<Body>, Problem> {
    let status = problem.status();
    let title = status.canonical_reason().unwrap_or("Refused");
    let detail = problem.detail();
    page(status, &Refused { title, detail })
}
