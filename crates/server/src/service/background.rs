//! What goes on beside the connections: standings, certificates, bans, leftovers, the heartbeat; and
//! the requests of the control socket.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use async_trait::async_trait;
use portreeve_model::Door;
use serde_json::{Value as Json, json};

use super::Service;
use crate::{
    control::{self, Desk, Request, Seat, Steward},
    tls::{self, Exchange, WatchedPair},
};

/// How often live sessions are asked whether they still stand.
const SWEEP: Duration = Duration::from_secs(1);
/// How often certificate files are looked at.
const LOOK: Duration = Duration::from_secs(2);
/// How often leftovers of crashed uploads are cleared away.
const CLEAN: Duration = Duration::from_secs(3600);

impl Service {
    /// Starts all of it; it ends with the service.
    pub(super) fn spawn_background(self: &Arc<Self>) {
        self.every(SWEEP, |service| async move { service.gate.sweep().await });
        self.every(LOOK, |service| async move {
            let pair = service.now.load().doors.pair();
            if let Some(pair) = pair {
                refresh(pair).await;
            }
        });
        self.every(CLEAN, |service| async move { service.clean().await });
        if let Some(heartbeat) = self.notifier.heartbeat() {
            self.every(heartbeat, |service| async move { service.notifier.alive() });
        }
        let (bans, stop) = (Arc::clone(&self.lasting.bans), self.stop.clone());
        tokio::spawn(stop.run_until_cancelled_owned(async move { bans.keep_written().await }));
    }

    fn every<F>(self: &Arc<Self>, pause: Duration, mut work: impl FnMut(Arc<Self>) -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let service: Weak<Self> = Arc::downgrade(self);
        let stop = self.stop.clone();
        tokio::spawn(stop.run_until_cancelled_owned(async move {
            let mut tick = tokio::time::interval(pause);
            tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                tick.tick().await;
                let Some(service) = service.upgrade() else { return };
                // In a task of its own: a panic in one round does not end the rounds.
                if let Err(error) = tokio::spawn(work(service)).await {
                    tracing::error!(%error, "background work");
                }
            }
        }));
    }

    async fn clean(&self) {
        let config = self.config();
        if config.tls.is_none() && self.now.load().doors.pair().is_some() {
            // Renewed where it is nearly past its time; the files are watched.
            let (data_dir, name) = (self.lasting.data_dir.clone(), config.server.name.clone());
            let renewed = tokio::task::spawn_blocking(move || tls::self_signed(&data_dir, &name)).await;
            if let Ok(Err(error)) = renewed {
                tracing::error!(%error, "the self-signed certificate cannot be renewed");
            }
        }
        let disks = self.now.load().backends.disks();
        for (storage, disk) in disks {
            match disk.sweep().await {
                Ok(swept) => tracing::debug!(storage, ?swept, "cleared"),
                Err(error) => tracing::warn!(storage, %error, "leftovers cannot be cleared"),
            }
        }
    }
}

/// Looks at the files of a certificate, off the async threads.
pub(super) async fn refresh(pair: Arc<WatchedPair>) {
    let looked = Arc::clone(&pair);
    let Ok(exchange) = tokio::task::spawn_blocking(move || looked.refresh()).await else {
        return;
    };
    let certificate = pair.files().0.display().to_string();
    match exchange {
        Exchange::Same => {}
        Exchange::Swapped => {
            metrics::counter!("portreeve_tls_exchanges_total", "outcome" => "ok").increment(1);
            tracing::info!(certificate, "a new certificate is served");
        }
        Exchange::Kept(error) => {
            metrics::counter!("portreeve_tls_exchanges_total", "outcome" => "kept").increment(1);
            tracing::error!(certificate, %error, "the old certificate goes on");
        }
    }
}

#[async_trait]
impl Steward for Service {
    async fn answer(&self, request: Request, who: &str) -> Result<Json, String> {
        match request {
            Request::Status => Ok(self.readiness_of().1),
            Request::Reload => {
                let service = self.myself.upgrade().ok_or("the server is stopping")?;
                let generation = service.reload().await.map_err(|error| error.0)?;
                Ok(json!({ "generation": generation }))
            }
            request => self.desk().answer(request, who).await,
        }
    }
}

impl Service {
    fn desk(&self) -> Desk {
        let config = self.config();
        let listeners = config
            .listeners
            .iter()
            .map(|listener| (Arc::clone(&listener.name), listener.protocol.door()));
        Desk {
            seat: Seat::Running(self.gate.clone()),
            accounts: Arc::clone(&self.lasting.accounts),
            secrets: Arc::clone(&self.lasting.secrets) as Arc<dyn control::SecretDesk>,
            bans: Arc::clone(&self.lasting.bans),
            listeners: listeners.collect::<Vec<(Arc<str>, Door)>>(),
            sections: Desk::sections_of(&config),
            suffixes: Desk::suffixes_of(&config),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        path::Path,
        time::{Duration, SystemTime},
    };

    use super::*;
    use crate::check;

    /// What a crash left two days ago.
    fn plant(files: &Path) -> std::path::PathBuf {
        let path = files.join(".~portreeve-0123456789abcdef.part");
        let old = SystemTime::now() - Duration::from_secs(2 * 86_400);
        fs::create_dir_all(files).unwrap();
        fs::write(&path, "left").unwrap();
        let file = fs::File::options().write(true).open(&path).unwrap();
        file.set_times(fs::FileTimes::new().set_modified(old)).unwrap();
        path
    }

    async fn gone(path: &Path) {
        let wait = async {
            while path.exists() {
                tokio::task::yield_now().await;
            }
        };
        let in_the_end = tokio::time::timeout(Duration::from_secs(60), wait).await;
        assert!(in_the_end.is_ok(), "{} is still there", path.display());
    }

    #[tokio::test]
    async fn leftovers_are_cleared_at_the_start_and_every_hour() {
        let dir = tempfile::tempdir().unwrap();
        let text = "[[listener]]\nprotocol = \"sftp\"\naddress = \"127.0.0.1:0\"\n[[auth]]\ntype = \"application\"\n\
                    [storage.files]\ntype = \"disk\"\nroot = \"files\"\n[server]\ndata_dir = \"data\"\n\
                    [groups.staff]\nmounts = [{ path = \"/\", storage = \"files\", verbs = \"full\" }]\n";
        fs::write(dir.path().join("p.toml"), text).unwrap();
        let files = dir.path().join("files");
        let first = plant(&files);
        let config = check::check_file(&dir.path().join("p.toml")).unwrap();
        let service = Service::start(config).await.unwrap();
        gone(&first).await;
        let second = plant(&files);
        tokio::time::pause();
        tokio::time::advance(CLEAN).await;
        tokio::time::resume();
        gone(&second).await;
        drop(service);
    }
}
