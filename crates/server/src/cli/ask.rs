//! A request to the running server, or, where none runs, to the state itself.

use std::path::Path;

use serde_json::Value as Json;

use super::{Failure, Out, offline};
use crate::{
    check,
    control::{self, Link, Request},
};

/// Asks, and shows the answer.
pub(super) fn ask(
    config: &Path,
    request: Request,
    out: &mut Out,
    show: fn(&Json) -> String,
) -> Result<(), Failure> {
    let data_dir = check::data_dir_of(config)?;
    let linked = control::link(&data_dir).map_err(|error| {
        Failure::Failed(format!(
            "the control socket in {}: {error}; run this as the server's own user or as root",
            data_dir.display()
        ))
    })?;
    let answer = match linked {
        Link::Up(stream) => control::call(stream, &request).map_err(Failure::Failed)?,
        Link::Down => offline::answer(config, &data_dir, request)?,
    };
    Ok(out.answer(&answer, show)?)
}
