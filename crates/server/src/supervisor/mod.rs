//! Listeners as desired state: what should listen is said, and the supervisor sees to it.
//!
//! A listener that cannot bind is tried again, with growing pauses, and stops none of the others. When
//! the configuration changes, a listener whose address stays keeps its socket and only its entrance is
//! exchanged.

mod accept;
mod proxy;
mod reserve;

use std::{collections::BTreeMap, io, net::SocketAddr, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use ipnet::IpNet;
use parking_lot::Mutex;
use portreeve_model::{Door, Origin};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::{OwnedSemaphorePermit, watch},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use proxy::{Ends, HeaderError, read_header};
pub use reserve::{Reserve, is_exhausted};

/// First pause before another try to bind, and the longest.
const RETRY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));
/// Connections that the kernel keeps until they are accepted.
const BACKLOG: u32 = 1024;

/// What is behind a listener: everything from the origin on.
#[async_trait]
pub trait Entrance: Send + Sync {
    /// Serves one connection to its end. `waiting` is held by connections that nobody has judged yet;
    /// the entrance drops it as soon as it let the connection in or turned it away.
    async fn enter(&self, stream: TcpStream, origin: Origin, waiting: OwnedSemaphorePermit);
}

/// A listener as it should be.
#[derive(Clone)]
pub struct Desired {
    /// Its name, unique.
    pub name: Arc<str>,
    /// Where it listens.
    pub address: SocketAddr,
    /// Which door it is.
    pub door: Door,
    /// Whose PROXY header is required and believed.
    pub trusted: Vec<IpNet>,
    /// What is behind it.
    pub entrance: Arc<dyn Entrance>,
}

/// How a listener is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Not yet bound.
    Starting,
    /// It listens there (the port is the real one where 0 was asked for).
    Up(SocketAddr),
    /// It could not bind, and tries again.
    Down(String),
}

/// A listener and how it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Its name.
    pub name: Arc<str>,
    /// The door.
    pub door: Door,
    /// Where it should listen.
    pub address: SocketAddr,
    /// How it is.
    pub state: State,
}

/// One listener at work.
struct Running {
    address: SocketAddr,
    desired: Arc<ArcSwap<Desired>>,
    state: watch::Receiver<State>,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

/// Sees to the listeners. Connections live on in its tracker when their listener is gone.
pub struct Supervisor {
    running: Mutex<BTreeMap<Arc<str>, Running>>,
    connections: TaskTracker,
    reserve: Arc<Reserve>,
}

impl Supervisor {
    /// Without listeners.
    #[must_use]
    pub fn new(reserve: Arc<Reserve>) -> Self {
        Self {
            running: Mutex::default(),
            connections: TaskTracker::new(),
            reserve,
        }
    }

    /// Brings about what is desired: others stop, new ones start, those whose address stays keep their
    /// socket. Returns when each had its first try to bind.
    pub async fn apply(&self, desired: Vec<Desired>) {
        let (leaving, mut waiting) = self.exchange(desired);
        for gone in leaving {
            // Its address may be wanted by the one that comes: wait until the socket is closed.
            let _ = gone.await;
        }
        for state in &mut waiting {
            let _ = state.wait_for(|state| *state != State::Starting).await;
        }
        self.tell();
    }

    fn exchange(
        &self,
        desired: Vec<Desired>,
    ) -> (Vec<tokio::task::JoinHandle<()>>, Vec<watch::Receiver<State>>) {
        let mut running = self.running.lock();
        let (mut leaving, mut starting, mut waiting) = (Vec::new(), Vec::new(), Vec::new());
        let mut before = std::mem::take(&mut *running);
        for wanted in desired {
            match before.remove(&wanted.name) {
                Some(kept) if kept.address == wanted.address => {
                    kept.desired.store(Arc::new(wanted.clone()));
                    running.insert(wanted.name, kept);
                }
                Some(moved) => {
                    moved.stop.cancel();
                    leaving.push(moved.task);
                    starting.push(wanted);
                }
                None => starting.push(wanted),
            }
        }
        for (_, gone) in before {
            gone.stop.cancel();
            leaving.push(gone.task);
        }
        for wanted in starting {
            let started = self.start(wanted.clone());
            waiting.push(started.state.clone());
            running.insert(wanted.name, started);
        }
        (leaving, waiting)
    }

    fn start(&self, wanted: Desired) -> Running {
        let address = wanted.address;
        let desired = Arc::new(ArcSwap::from_pointee(wanted));
        let (tell, state) = watch::channel(State::Starting);
        let stop = CancellationToken::new();
        let work = listen(
            Arc::clone(&desired),
            tell,
            stop.clone(),
            self.connections.clone(),
            Arc::clone(&self.reserve),
        );
        Running {
            address,
            desired,
            state,
            stop,
            task: tokio::spawn(work),
        }
    }

    /// How every listener is, by name.
    #[must_use]
    pub fn status(&self) -> Vec<Status> {
        let running = self.running.lock();
        let status = running.iter().map(|(name, running)| Status {
            name: Arc::clone(name),
            door: running.desired.load().door,
            address: running.address,
            state: running.state.borrow().clone(),
        });
        status.collect()
    }

    fn tell(&self) {
        let status = self.status();
        let up = status
            .iter()
            .filter(|status| matches!(status.state, State::Up(_)))
            .count();
        metrics::gauge!("portreeve_listeners_up").set(up as f64);
        metrics::gauge!("portreeve_listeners").set(status.len() as f64);
    }

    /// Stops accepting, on every listener; connections go on. Returns when every socket is closed.
    pub async fn stop(&self) {
        let all: Vec<Running> = std::mem::take(&mut *self.running.lock()).into_values().collect();
        for running in &all {
            running.stop.cancel();
        }
        for running in all {
            let _ = running.task.await;
        }
        self.connections.close();
        metrics::gauge!("portreeve_listeners_up").set(0.0);
    }

    /// Waits until the last connection is gone; only after [`Supervisor::stop`].
    pub async fn idle(&self) {
        self.connections.wait().await;
    }

    /// How many connections are being served.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.len()
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        for running in self.running.lock().values() {
            running.stop.cancel();
        }
    }
}

/// One listener, from its first try to bind until it is stopped.
async fn listen(
    desired: Arc<ArcSwap<Desired>>,
    state: watch::Sender<State>,
    stop: CancellationToken,
    connections: TaskTracker,
    reserve: Arc<Reserve>,
) {
    let (name, address) = {
        let desired = desired.load();
        (Arc::clone(&desired.name), desired.address)
    };
    let mut pause = RETRY.0;
    let listener = loop {
        match bind(address) {
            Ok(listener) => break listener,
            Err(error) => {
                tracing::error!(listener = %name, %address, %error, "cannot listen; trying again");
                state.send_replace(State::Down(error.to_string()));
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(pause) => {}
                }
                pause = (pause * 2).min(RETRY.1);
            }
        }
    };
    let real = listener.local_addr().unwrap_or(address);
    tracing::info!(listener = %name, address = %real, "listening");
    metrics::gauge!("portreeve_listener_up", "listener" => name.to_string()).set(1.0);
    state.send_replace(State::Up(real));
    accept::accept(&listener, &desired, &stop, &connections, &reserve).await;
    metrics::gauge!("portreeve_listener_up", "listener" => name.to_string()).set(0.0);
    tracing::info!(listener = %name, address = %real, "no longer listening");
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }?;
    // So that a restart does not wait for connections of the last run to time out.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

#[cfg(test)]
mod tests;
