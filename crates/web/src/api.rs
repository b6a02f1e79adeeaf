//! The file API, version 1: one file for each verb, problem+json for each refusal.

pub(crate) mod change;
pub(crate) mod json;
pub(crate) mod list;
pub(crate) mod me;
pub(crate) mod read;
pub(crate) mod stat;
pub(crate) mod write;

use axum::http::Uri;
use portreeve_model::VPath;

use crate::{location::Query, problem::Problem};

/// The query of a request.
pub(crate) fn query(uri: &Uri) -> Result<Query, Problem> {
    Query::parse(uri.query()).map_err(Problem::bad_request)
}

/// The path that a query must name.
fn path_of(query: &Query) -> Result<VPath, Problem> {
    query
        .path
        .clone()
        .ok_or_else(|| Problem::bad_request("the query must name a path: ?path=/… (or path_b64)"))
}
