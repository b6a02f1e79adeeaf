//! From a configuration to a running server.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use portreeve_auth::BanList;
use portreeve_model::{Act, Event, Outcome};
use portreeve_session::Gatekeeper;
use portreeve_store::{Store, StoreError};
use tokio_util::sync::CancellationToken;

use super::{DataDir, DataDirError, Now, Service, open_audit};
use crate::{
    control,
    ops::{self, notify::Notifier},
    options::Config,
    supervisor::{Reserve, Supervisor},
    wiring::{self, Backends, Doors, Lasting, Methods},
};

/// Why the server does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data directory cannot be had.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The state database cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What the configuration asks for cannot be built.
    #[error("{}", .0.join("\n"))]
    Configuration(Vec<String>),
    /// The start cannot be recorded, the control socket cannot be made, and the like.
    #[error("{0}")]
    Other(String),
}

impl StartError {
    /// Whether another configuration would help.
    #[must_use]
    pub const fn is_configuration(&self) -> bool {
        matches!(self, Self::Configuration(_))
    }
}

impl Service {
    /// Starts everything. Listeners that cannot bind are tried again and are no error.
    ///
    /// # Errors
    /// [`StartError`]; nothing goes on running then.
    pub async fn start(config: Config) -> Result<Arc<Self>, StartError> {
        ops::metrics::begin();
        ops::system::raise_descriptors(config.limits.connections);
        let data_dir = DataDir::take(&config.server.data_dir)?;
        let store = Store::open(&config.store.url, &config.server.data_dir).await?;
        let bans = Arc::new(BanList::new(Some(Arc::new(store.clone()))));
        bans.load()
            .await
            .map_err(|error| StartError::Other(error.to_string()))?;
        let lasting = Lasting::new(&config, &store, bans);
        let config = Arc::new(config);
        let (world, now) = provision(&config, &lasting, &Now::nothing(&config))
            .await
            .map_err(StartError::Configuration)?;
        let audit = open_audit(&config).map_err(|why| StartError::Configuration(vec![why]))?;
        let gate = Gatekeeper::new(world, audit, Arc::new(store.clone()));
        record(&gate, Act::Start, Outcome::Ok).map_err(StartError::Other)?;
        now.methods.watch_new(&Methods::default());
        let reserve = Arc::new(Reserve::default());
        let service = Arc::new_cyclic(|myself| Self {
            file: config.file.clone(),
            supervisor: Supervisor::new(Arc::clone(&reserve)),
            notifier: Notifier::from_env(),
            gate,
            store,
            lasting,
            reserve,
            now: ArcSwap::from_pointee(now),
            reloading: tokio::sync::Mutex::default(),
            reload_trouble: parking_lot::Mutex::default(),
            probes: parking_lot::Mutex::default(),
            probes_trouble: parking_lot::Mutex::default(),
            myself: myself.clone(),
            stop: CancellationToken::new(),
            _data_dir: data_dir,
        });
        service.open_control()?;
        service.place_probes().await;
        let desired = service.now.load().doors.desired(&config, &service.gate);
        service.supervisor.apply(desired).await;
        service.lasting.around.send_what_waits();
        service.spawn_background();
        service.tell_ready();
        Ok(service)
    }

    fn open_control(self: &Arc<Self>) -> Result<(), StartError> {
        let path = self.lasting.data_dir.join(control::SOCKET);
        let steward = Arc::clone(self) as Arc<dyn control::Steward>;
        control::listen(&path, steward, self.stop.clone(), Arc::clone(&self.reserve))
            .map_err(|error| StartError::Other(format!("the control socket {}: {error}", path.display())))
    }

    pub(super) fn tell_ready(&self) {
        let (ready, text) = self.summary();
        let trouble = self.reload_trouble.lock().is_some();
        let text = if trouble {
            format!("{text}; the last reload failed")
        } else {
            text
        };
        if ready {
            tracing::info!("{text}");
        } else {
            tracing::warn!("{text}");
        }
        self.notifier.ready(&text);
    }
}

impl Now {
    fn nothing(config: &Arc<Config>) -> Self {
        Self {
            config: Arc::clone(config),
            backends: Backends::default(),
            methods: Methods::default(),
            doors: Doors::default(),
        }
    }
}

/// Builds everything that `config` asks for, keeping of `before` what stays the same.
///
/// # Errors
/// Everything that cannot be built, each a sentence.
pub(super) async fn provision(
    config: &Arc<Config>,
    lasting: &Lasting,
    before: &Now,
) -> Result<(portreeve_session::World, Now), Vec<String>> {
    let (config, lasting, before) = (Arc::clone(config), lasting.clone(), before.clone());
    let runtime = tokio::runtime::Handle::current();
    let work = move || {
        // Parts may spawn what they need while they are opened.
        let _inside = runtime.enter();
        let built = wiring::build(&config, &lasting, &before.backends, &before.methods);
        let doors = before.doors.open(&config, &lasting.data_dir);
        match (built, doors) {
            (Ok((world, backends, methods)), Ok(doors)) => Ok((
                world,
                Now {
                    config,
                    backends,
                    methods,
                    doors,
                },
            )),
            (built, doors) => {
                let mut problems = built.err().unwrap_or_default();
                problems.extend(doors.err().unwrap_or_default());
                Err(problems)
            }
        }
    };
    let built = tokio::task::spawn_blocking(work).await;
    built.unwrap_or_else(|error| Err(vec![format!("building the configuration failed: {error}")]))
}

/// Records an act of the server itself.
pub(super) fn record(gate: &Gatekeeper, act: Act, outcome: Outcome) -> Result<(), String> {
    let event = Event {
        at: SystemTime::now(),
        connection: None,
        session: None,
        origin: None,
        user: None,
        act,
        item: None,
        outcome,
        took: Duration::ZERO,
    };
    gate.record(&event).map_err(|fault| fault.to_string())
}
