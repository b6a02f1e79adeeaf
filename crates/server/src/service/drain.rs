//! The end: stop accepting, let transfers finish, cut what does not, write the audit log last.

use std::{future::Future, sync::Arc, time::Duration};

use portreeve_model::{Act, Outcome};

use super::{Service, start::record};

/// After the grace, sessions are told to end; this long they may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(2);

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Everybody finished.
    Clean,
    /// Somebody was cut.
    Cut,
}

impl Service {
    /// Drains for at most the grace period, or until `hurry`.
    pub async fn drain(self: &Arc<Self>, hurry: impl Future<Output = ()>) -> Ended {
        let grace = self.config().server.grace_period.0;
        self.notifier.stopping();
        self.gate.drain();
        self.supervisor.stop().await;
        tracing::info!(
            connections = self.supervisor.connections(),
            grace = %portreeve_model::options::DurationText(grace),
            "draining"
        );
        let ended = tokio::select! {
            () = self.supervisor.idle() => Ended::Clean,
            () = tokio::time::sleep(grace) => Ended::Cut,
            () = hurry => Ended::Cut,
        };
        if ended == Ended::Cut {
            tracing::warn!(
                connections = self.supervisor.connections(),
                "cutting what is left"
            );
            self.gate.end_all("drained");
            let _ = tokio::time::timeout(GOODBYE, self.supervisor.idle()).await;
        }
        self.stop.cancel();
        if let Err(error) = self.lasting.bans.flush().await {
            tracing::error!(%error, "bans are not written");
        }
        if let Err(why) = record(&self.gate, Act::Stop, Outcome::Ok) {
            tracing::error!(why, "the end could not be recorded");
        }
        self.store.close().await;
        ended
    }
}
