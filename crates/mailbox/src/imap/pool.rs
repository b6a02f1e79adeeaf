//! Connections to one mailbox, few and kept.
//!
//! Invariants: never more connections than allowed; a connection that broke, or whose command broke off, is
//! dropped; one that rested is asked whether it lives before it is trusted, and is let go in the end though nobody
//! asks for the mailbox any more; a refused sign-in stands for a while, so that nobody's account is locked by us;
//! whoever waits for a connection waits a bounded time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};

use super::{
    connection::{Connection, Stream},
    error::{ImapError, Kind},
    sign_in::SignIn,
};

/// How long a connection may rest and still be trusted.
const TRUSTED: Duration = Duration::from_secs(5);
/// How long a connection may rest before it is let go.
const MAX_REST: Duration = Duration::from_mins(4);
/// How long a connection that rested may take to say that it lives.
const PULSE: Duration = Duration::from_secs(5);
/// How long somebody waits for a connection.
const PATIENCE: Duration = Duration::from_mins(1);
/// How long a refusal to sign in stands.
const REFUSAL_STANDS: Duration = Duration::from_secs(15);
/// How long signing in may take.
const SIGN_IN: Duration = Duration::from_secs(45);
/// How often a reading is begun in all, when connections break under it.
const TRIES: u32 = 4;

/// Makes streams to the server.
pub(super) type Dial = Arc<dyn Fn() -> BoxFuture<'static, Result<Box<dyn Stream>, ImapError>> + Send + Sync>;

/// The connections to one mailbox.
pub(super) struct Pool {
    dial: Dial,
    sign_in: SignIn,
    permits: Arc<Semaphore>,
    resting: Arc<Mutex<Resting>>,
    refused: Mutex<Option<(Instant, ImapError)>>,
    dialled: AtomicU64,
    #[cfg(test)]
    slow: std::sync::atomic::AtomicBool,
}

/// Connections that nobody uses.
struct Resting {
    connections: Vec<Connection>,
    /// How long they may rest.
    longest: Duration,
    /// Whether somebody lets go of them when that is over.
    swept: bool,
}

impl Resting {
    fn let_go(&mut self) {
        let longest = self.longest;
        self.connections
            .retain(|connection| connection.rested() < longest);
    }
}

/// A connection in use; goes back when dropped, if it can be used again.
pub(super) struct Lease {
    connection: Option<Connection>,
    resting: Arc<Mutex<Resting>>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Lease {
    /// The connection.
    pub(super) fn connection(&mut self) -> Result<&mut Connection, ImapError> {
        self.connection
            .as_mut()
            .ok_or_else(|| ImapError::lost("the connection is gone"))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take().filter(Connection::usable) {
            rest(&self.resting, connection);
        }
    }
}

/// Puts a connection to rest, and sees to it that it does not rest for ever: a storage may hold the mailboxes of
/// hundreds of people who have left.
fn rest(resting: &Arc<Mutex<Resting>>, connection: Connection) {
    let mut all = resting.lock();
    all.connections.push(connection);
    let longest = all.longest;
    let Some(runtime) = Handle::try_current().ok().filter(|_| !all.swept) else {
        return;
    };
    all.swept = true;
    let resting = Arc::downgrade(resting);
    runtime.spawn(async move {
        loop {
            sleep(longest).await;
            let Some(resting) = resting.upgrade() else {
                return;
            };
            let mut all = resting.lock();
            all.let_go();
            if all.connections.is_empty() {
                all.swept = false;
                return;
            }
        }
    });
}

impl Pool {
    pub(super) fn new(dial: Dial, sign_in: SignIn, connections: u32) -> Self {
        Self {
            dial,
            sign_in,
            permits: Arc::new(Semaphore::new(connections.max(1) as usize)),
            resting: Arc::new(Mutex::new(Resting {
                connections: Vec::new(),
                longest: MAX_REST,
                swept: false,
            })),
            refused: Mutex::default(),
            dialled: AtomicU64::new(0),
            #[cfg(test)]
            slow: Default::default(),
        }
    }

    /// From now on folders are opened anew for each command, as they are when commands take long.
    #[cfg(test)]
    pub(super) fn slow(&self) {
        self.slow.store(true, Ordering::Relaxed);
    }

    /// How many connections were made so far.
    #[cfg(test)]
    pub(super) fn dialled(&self) -> u64 {
        self.dialled.load(Ordering::Relaxed)
    }

    /// How long connections may rest.
    #[cfg(test)]
    pub(super) fn rests_for(&self, longest: Duration) {
        self.resting.lock().longest = longest;
    }

    /// A connection, best one on which `folder` is open.
    pub(super) async fn take(&self, folder: Option<&str>) -> Result<Lease, ImapError> {
        let permit = timeout(PATIENCE, Arc::clone(&self.permits).acquire_owned()).await;
        let Ok(Ok(permit)) = permit else {
            return Err(ImapError::new(
                Kind::Busy,
                "every connection to the mail server is in use",
            ));
        };
        while let Some(mut connection) = self.rested(folder) {
            if connection.rested() < TRUSTED || alive(&mut connection).await {
                return Ok(self.lease(connection, Some(permit)));
            }
        }
        let connection = self.connect().await?;
        Ok(self.lease(connection, Some(permit)))
    }

    /// A connection beside the others, for whoever waits for news.
    pub(super) async fn extra(&self) -> Result<Connection, ImapError> {
        self.connect().await
    }

    fn lease(&self, connection: Connection, permit: Option<OwnedSemaphorePermit>) -> Lease {
        Lease {
            connection: Some(connection),
            resting: Arc::clone(&self.resting),
            _permit: permit,
        }
    }

    fn rested(&self, folder: Option<&str>) -> Option<Connection> {
        let mut resting = self.resting.lock();
        resting.let_go();
        let resting = &mut resting.connections;
        let open = |connection: &Connection| {
            let open = connection.selected().map(|open| open.name.as_str());
            open == folder
        };
        let best = resting.iter().rposition(open);
        match best {
            Some(at) => Some(resting.swap_remove(at)),
            None => resting.pop(),
        }
    }

    async fn connect(&self) -> Result<Connection, ImapError> {
        if let Some((since, error)) = &*self.refused.lock()
            && since.elapsed() < REFUSAL_STANDS
        {
            return Err(error.clone());
        }
        self.dialled.fetch_add(1, Ordering::Relaxed);
        let connected = async {
            let stream = (self.dial)().await?;
            let mut connection = Connection::open(stream).await?;
            self.sign_in.run(&mut connection).await?;
            #[cfg(test)]
            if self.slow.load(Ordering::Relaxed) {
                connection.trust_nothing();
            }
            Ok(connection)
        };
        let connected = timeout(SIGN_IN, connected).await;
        let connected: Result<Connection, ImapError> = connected.unwrap_or_else(|_| {
            Err(ImapError::new(
                Kind::Unreachable,
                "signing in to the mail server took too long",
            ))
        });
        match &connected {
            Ok(_) => *self.refused.lock() = None,
            Err(error) => {
                tracing::warn!(host = %self.sign_in.host, mailbox = %self.sign_in.mailbox, %error, "no connection to the mail server");
                if error.kind == Kind::SignIn {
                    *self.refused.lock() = Some((Instant::now(), error.clone()));
                }
            }
        }
        connected
    }

    /// Reads: begun again on another connection when one breaks under it.
    pub(super) async fn read<T: Send>(
        &self,
        folder: Option<&str>,
        work: impl for<'a> Fn(&'a mut Connection) -> BoxFuture<'a, Result<T, ImapError>> + Send + Sync,
    ) -> Result<T, ImapError> {
        let mut tries = 0;
        loop {
            tries += 1;
            let outcome = async {
                let mut lease = self.take(folder).await?;
                work(lease.connection()?).await
            };
            match outcome.await {
                Err(error) if error.kind == Kind::Lost && tries < TRIES => {
                    tracing::debug!(%error, tries, "a connection to the mail server broke; reading goes on with another");
                    // Others rest for the same server, which may have gone away: at the last they are not trusted.
                    if tries + 1 == TRIES {
                        self.resting.lock().connections.clear();
                    }
                }
                outcome => return outcome,
            }
        }
    }

    /// A connection on which a folder was just opened to be changed. What follows is done once: where it breaks
    /// off, that is told.
    pub(super) async fn change(&self, folder: &str) -> Result<Lease, ImapError> {
        let mut tries = 0;
        loop {
            tries += 1;
            let mut lease = self.take(Some(folder)).await?;
            match lease.connection()?.select(folder, true, true).await {
                // One that rested, and broke meanwhile.
                Err(error) if error.kind == Kind::Lost && tries < TRIES => {}
                Err(error) => return Err(error),
                Ok(_) => return Ok(lease),
            }
        }
    }

    /// Folders were renamed or deleted: connections on which one is open are of no use.
    pub(super) fn forget(&self, gone: impl Fn(&str) -> bool) {
        self.resting
            .lock()
            .connections
            .retain(|connection| !connection.selected().is_some_and(|open| gone(&open.name)));
    }
}

async fn alive(connection: &mut Connection) -> bool {
    matches!(timeout(PULSE, connection.run("NOOP")).await, Ok(Ok(_)))
}
