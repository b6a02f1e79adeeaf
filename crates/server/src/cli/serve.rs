//! `serve` and `check`.

use std::{path::Path, sync::Arc};

use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Failure, Out};
use crate::{
    check, ops,
    options::Config,
    secrets,
    service::{Ended, Service, StartError},
};

/// Checks a configuration and says what is wrong with it.
pub(super) fn check(path: &Path, out: &mut Out) -> Result<(), Failure> {
    match check::check_file(path) {
        Ok(config) => {
            // The environment of this shell is not the service's: no problem, but something to know.
            let unseen = config.secrets().into_iter();
            let unseen = unseen.filter_map(|(place, secret)| Some((place, secrets::unseen(secret)?)));
            for (place, text) in unseen {
                out.note(&format!("note: {place}: {text}"));
            }
            let (listeners, steps) = (config.listeners.len(), config.steps.len());
            let answer = json!({
                "ok": true, "file": path, "listeners": listeners, "auth": steps,
                "groups": config.groups.len(), "storages": config.storages.len(),
            });
            Ok(out.answer(&answer, |_| {
                format!(
                    "{}: fine ({listeners} listeners, {steps} steps in the chain)",
                    path.display()
                )
            })?)
        }
        Err(error) => {
            if out.json {
                out.raw(format!("{}\n", error.json()).as_bytes())?;
            } else {
                out.note(&format!("portreeve: {error}"));
            }
            Err(Failure::Told(2))
        }
    }
}

/// Runs the server until it is told to stop.
pub(super) fn serve(path: &Path) -> Result<(), Failure> {
    let config = check::check_file(path)?;
    ops::logs::set(&config.log);
    ops::panics::watch();
    let runtime = runtime()?;
    runtime.block_on(async {
        // Before anything else: a signal that comes early is not lost.
        let mut signals = Signals::new()?;
        let service = start(config).await?;
        signals.obey(&service).await
    })
}

/// The runtime of a server.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    Ok(tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("portreeve")
        .build()?)
}

/// Starts a service; its errors become exit codes.
pub(crate) async fn start(config: Config) -> Result<Arc<Service>, Failure> {
    Service::start(config).await.map_err(|error: StartError| {
        let text = error.to_string();
        if error.is_configuration() {
            Failure::Usage(text)
        } else {
            Failure::Failed(text)
        }
    })
}

/// The signals that a server obeys.
pub(crate) struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// From now on they are ours.
    pub(crate) fn new() -> Result<Self, Failure> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// SIGHUP loads the configuration anew, SIGTERM and SIGINT drain, a second one ends at once.
    pub(crate) async fn obey(&mut self, service: &Arc<Service>) -> Result<(), Failure> {
        loop {
            tokio::select! {
                _ = self.hangup.recv() => {
                    // Told in the log, in the audit log and by /readyz.
                    let _ = service.reload().await;
                }
                _ = self.terminate.recv() => break,
                _ = self.interrupt.recv() => break,
            }
        }
        let hurry = async {
            tokio::select! {
                _ = self.terminate.recv() => {}
                _ = self.interrupt.recv() => {}
            }
        };
        match service.drain(hurry).await {
            Ended::Clean => Ok(()),
            Ended::Cut => Err(Failure::Failed(
                "the grace period was too short: connections were cut".to_owned(),
            )),
        }
    }
}
