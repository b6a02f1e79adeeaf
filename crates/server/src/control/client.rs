//! The command line's end of the control socket.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

use serde_json::Value as Json;

use super::{MAX_LINE, Request, SOCKET};

/// How long an answer may take: a reload may have to open storages.
const PATIENCE: Duration = Duration::from_secs(120);

/// What was found at the socket.
#[derive(Debug)]
pub enum Link {
    /// A server that listens.
    Up(UnixStream),
    /// None: nobody listens.
    Down,
}

/// Looks whether a server runs with this data directory.
///
/// # Errors
/// A socket is there and may not be spoken to.
pub fn link(data_dir: &Path) -> io::Result<Link> {
    match UnixStream::connect(data_dir.join(SOCKET)) {
        Ok(stream) => Ok(Link::Up(stream)),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
            ) =>
        {
            Ok(Link::Down)
        }
        Err(error) => Err(error),
    }
}

/// Asks one question.
///
/// # Errors
/// What the server says, or why it could not be asked.
pub fn call(mut stream: UnixStream, request: &Request) -> Result<Json, String> {
    let broken = |error: io::Error| format!("the control socket: {error}");
    stream.set_read_timeout(Some(PATIENCE)).map_err(broken)?;
    let mut line = serde_json::to_vec(request).map_err(|error| error.to_string())?;
    line.push(b'\n');
    stream.write_all(&line).map_err(broken)?;
    let mut answer = String::new();
    BufReader::new(stream)
        .take(MAX_LINE)
        .read_line(&mut answer)
        .map_err(broken)?;
    if answer.is_empty() {
        return Err("the server did not answer: run this as the server's own user or as root".to_owned());
    }
    let mut answer: Json =
        serde_json::from_str(&answer).map_err(|error| format!("the server's answer: {error}"))?;
    if let Some(why) = answer.get("error").and_then(Json::as_str) {
        return Err(why.to_owned());
    }
    Ok(answer.get_mut("ok").map(Json::take).unwrap_or_default())
}
