//! The server's end of the control socket.

use std::{io, os::unix::fs::PermissionsExt, path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;
use serde_json::{Value as Json, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
    sync::Semaphore,
};
use tokio_util::sync::CancellationToken;

use super::{MAX_LINE, Request};
use crate::{
    ops::system,
    supervisor::{Reserve, is_exhausted},
};

/// Who may speak at once.
const AT_ONCE: usize = 16;
/// How long somebody may be silent.
const SILENCE: Duration = Duration::from_secs(60);

/// Who answers.
#[async_trait]
pub(crate) trait Steward: Send + Sync {
    /// Answers one request of the person whose user id is in `who`.
    async fn answer(&self, request: Request, who: &str) -> Result<Json, String>;
}

/// Listens until `stop`. The socket is in place, with its mode, when this returns.
///
/// # Errors
/// The socket cannot be made.
pub(crate) fn listen(
    path: &Path,
    steward: Arc<dyn Steward>,
    stop: CancellationToken,
    reserve: Arc<Reserve>,
) -> io::Result<()> {
    // Whoever holds the lock of the data directory owns this name: what lies there is left over.
    let fresh = path.with_extension("new");
    for old in [&fresh, path] {
        match std::fs::remove_file(old) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    let listener = UnixListener::bind(&fresh)?;
    std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(0o600))?;
    std::fs::rename(&fresh, path)?;
    let path = path.to_owned();
    tokio::spawn(async move {
        stop.run_until_cancelled(accept(&listener, &steward, &reserve))
            .await;
        let _ = std::fs::remove_file(path);
    });
    Ok(())
}

async fn accept(listener: &UnixListener, steward: &Arc<dyn Steward>, reserve: &Arc<Reserve>) {
    let room = Arc::new(Semaphore::new(AT_ONCE));
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else {
            return;
        };
        let accepted = match listener.accept().await {
            // The administrator gets the descriptor that is kept for this.
            Err(error) if is_exhausted(&error) => {
                let soon = Duration::from_millis(100);
                let lent = || async { tokio::time::timeout(soon, listener.accept()).await.ok() };
                match reserve.lend(lent).await {
                    Some(accepted) => accepted,
                    None => continue,
                }
            }
            accepted => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let (steward, reserve) = (Arc::clone(steward), Arc::clone(reserve));
                tokio::spawn(async move {
                    let _permit = permit;
                    if let Err(error) = converse(stream, &*steward).await {
                        tracing::debug!(%error, "control connection");
                    }
                    // Where it was the reserve's descriptor, it is free now.
                    reserve.refill();
                });
            }
            Err(error) => {
                tracing::warn!(%error, "control socket");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn converse(stream: UnixStream, steward: &dyn Steward) -> io::Result<()> {
    let uid = stream.peer_cred()?.uid();
    if !system::may_speak(uid) {
        tracing::warn!(uid, "somebody else spoke at the control socket");
        return Ok(());
    }
    let who = format!("uid {uid}");
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    loop {
        let mut line = Vec::new();
        let read = (&mut reader).take(MAX_LINE);
        let mut read = read;
        let length = tokio::time::timeout(SILENCE, read.read_until(b'\n', &mut line)).await??;
        if length == 0 {
            return Ok(());
        }
        let answer = if line.last() == Some(&b'\n') {
            match serde_json::from_slice::<Request>(&line) {
                Ok(request) => steward.answer(request, &who).await,
                Err(error) => Err(format!("no request: {error}")),
            }
        } else {
            Err("the request is too long or has no end".to_owned())
        };
        let failed_to_read = line.last() != Some(&b'\n');
        let answer = match answer {
            Ok(value) => json!({ "ok": value }),
            Err(why) => json!({ "error": why }),
        };
        let mut text = answer.to_string();
        text.push('\n');
        writer.write_all(text.as_bytes()).await?;
        if failed_to_read {
            return Ok(());
        }
    }
}
