//! The next configuration: read, check, build, swap. Until the swap nothing of the old one is touched.

use std::sync::Arc;

use portreeve_model::{Act, Outcome};

use super::{
    Service, open_audit,
    start::{provision, record},
};
use crate::{check, ops, ops::probes::Probes, options::Config};

/// Why the old configuration goes on.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ReloadError(pub String);

impl Service {
    /// Reads the configuration anew; answers the number of the one that serves from now on.
    ///
    /// # Errors
    /// [`ReloadError`] with everything that is wrong; the old configuration goes on, its number too.
    pub async fn reload(self: &Arc<Self>) -> Result<u64, ReloadError> {
        let _one = self.reloading.lock().await;
        self.notifier.reloading();
        let done = self.exchange().await;
        let outcome = match &done {
            Ok(_) => Outcome::Ok,
            Err(error) => Outcome::Failed(error.0.clone()),
        };
        let label = if done.is_ok() { "ok" } else { "failed" };
        metrics::counter!("portreeve_reloads_total", "outcome" => label).increment(1);
        if let Err(error) = &done {
            tracing::error!("the configuration was not loaded, the old one goes on:\n{error}");
        }
        *self.reload_trouble.lock() = done.as_ref().err().map(|error| error.0.clone());
        let generation = self.gate.generation();
        if let Err(why) = record(&self.gate, Act::Reload { generation }, outcome) {
            tracing::error!(why, "the reload could not be recorded");
        }
        self.tell_ready();
        done
    }

    async fn exchange(self: &Arc<Self>) -> Result<u64, ReloadError> {
        let file = self.file.clone();
        let checked = tokio::task::spawn_blocking(move || check::check_file(&file)).await;
        let config = checked.map_err(|error| ReloadError(error.to_string()))?;
        let config = Arc::new(config.map_err(|error| ReloadError(error.to_string()))?);
        let before = self.now.load_full();
        same_state(&before.config, &config)?;
        let built = provision(&config, &self.lasting, &before).await;
        let (world, now) = built.map_err(|problems| ReloadError(problems.join("\n")))?;
        let changed = |a: &dyn std::fmt::Debug, b: &dyn std::fmt::Debug| format!("{a:?}") != format!("{b:?}");
        let audit = changed(&before.config.audit, &config.audit).then(|| open_audit(&config));
        let audit = audit.transpose().map_err(ReloadError)?;

        // From here on nothing can fail.
        if let Some(audit) = audit {
            self.gate.swap_audit(audit);
        }
        let generation = self.gate.swap(world);
        now.methods.watch_new(&before.methods);
        let files = now.methods.files();
        let desired = now.doors.desired(&config, &self.gate);
        let pair = now.doors.pair();
        self.now.store(Arc::new(now));
        ops::logs::set(&config.log);
        self.supervisor.apply(desired).await;
        self.place_probes().await;
        for file in files {
            // Its problems are kept by the file, and shown by /readyz.
            let _ = file.reload().await;
        }
        if let Some(pair) = pair {
            super::background::refresh(pair).await;
        }
        metrics::gauge!("portreeve_generation").set(generation as f64);
        tracing::info!(generation, "the configuration was loaded");
        Ok(generation)
    }

    /// Brings the probes to where the configuration wants them.
    pub(super) async fn place_probes(self: &Arc<Self>) {
        let wanted = self.config().metrics;
        let is_there = match (&*self.probes.lock(), wanted) {
            (Some(probes), Some(wanted)) => probes.asked == wanted,
            (None, None) => true,
            _ => false,
        };
        if is_there {
            return;
        }
        // Closed first: the new address may overlap with the old one.
        *self.probes.lock() = None;
        let (placed, trouble) = match wanted {
            None => (None, None),
            Some(address) => match Probes::start(address, Arc::downgrade(self)).await {
                Ok(probes) => (Some(probes), None),
                Err(error) => {
                    tracing::error!(%address, %error, "probes and metrics cannot listen");
                    (None, Some(format!("metrics.address {address}: {error}")))
                }
            },
        };
        *self.probes.lock() = placed;
        *self.probes_trouble.lock() = trouble;
    }

    /// Where the probes answer.
    #[must_use]
    pub fn probes_address(&self) -> Option<std::net::SocketAddr> {
        self.probes.lock().as_ref().map(|probes| probes.address)
    }
}

/// State stays where it is for as long as the process lives.
fn same_state(before: &Config, after: &Config) -> Result<(), ReloadError> {
    for (name, same) in [
        ("server.data_dir", before.server.data_dir == after.server.data_dir),
        ("store.url", before.store.url == after.store.url),
        (
            "store.key",
            format!("{:?}", before.store.key) == format!("{:?}", after.store.key),
        ),
        ("spool", before.spool == after.spool),
    ] {
        if !same {
            return Err(ReloadError(format!("{name} changed: that needs a restart")));
        }
    }
    Ok(())
}
