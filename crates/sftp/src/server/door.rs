//! A listener's SFTP side: made once, given every connection, and the supervisor of each.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use portreeve_session::{Connection, Session};
use russh::{
    Disconnect, Limits, SshId,
    server::{Config, Handle, RunningSession},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::mpsc,
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{
    algorithms,
    client::{Client, News, Open},
    flow::Traffic,
    handles::Users,
    host_keys::HostKeys,
    pool::Pool,
    queue::Budget,
    socket::Socket,
};
use crate::SftpOptions;

/// New keys after this many bytes each way, or this long.
const REKEY_BYTES: usize = 1 << 30;
const REKEY_TIME: Duration = Duration::from_secs(3600);

/// Largest channel packet taken.
const CHANNEL_PACKET: u32 = 64 * 1024;

/// Rejections of one connection, the keys that were merely offered among them. The chain counts what
/// was tried in earnest.
const MAX_REJECTIONS: usize = 12;

/// How long a client gets to read why it is sent away.
const FAREWELL: Duration = Duration::from_secs(3);

/// How often a draining connection is looked at.
const DRAIN_LOOK: Duration = Duration::from_millis(100);

/// An SFTP listener.
pub struct SftpDoor {
    config: Arc<Config>,
    pub(crate) options: Arc<SftpOptions>,
    pub(crate) pool: Arc<Pool>,
    pub(crate) users: Users,
    pub(crate) budget: Arc<Budget>,
}

impl SftpDoor {
    /// A door with these options and keys. `ecdsa_host_key` counts only where `keys` have one.
    #[must_use]
    pub fn new(options: &SftpOptions, keys: &HostKeys) -> Arc<Self> {
        let config = Config {
            server_id: SshId::Standard("SSH-2.0-Portreeve".into()),
            // The chain delays refusals itself; what it takes is told with each.
            auth_rejection_time: Duration::ZERO,
            auth_rejection_time_initial: None,
            keys: keys.offered(options.rsa_host_key),
            limits: Limits::new(REKEY_BYTES, REKEY_BYTES, REKEY_TIME),
            window_size: u32::try_from(options.window.0).unwrap_or(u32::MAX),
            maximum_packet_size: CHANNEL_PACKET,
            channel_buffer_size: 32,
            event_buffer_size: 16,
            preferred: algorithms::preferred(options),
            max_auth_attempts: MAX_REJECTIONS,
            // The supervisor below has the timers.
            inactivity_timeout: None,
            keepalive_interval: Some(Duration::from_secs(60)),
            keepalive_max: 5,
            ..Config::default()
        };
        Arc::new(Self {
            config: Arc::new(config),
            options: Arc::new(options.clone()),
            pool: Arc::new(Pool::default()),
            users: Users::default(),
            budget: Arc::default(),
        })
    }
}

/// Serves one connection until it ends. `stream` is the socket, past any PROXY header, with
/// TCP_NODELAY set.
pub async fn serve<S>(door: Arc<SftpDoor>, stream: S, connection: Connection)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let id = connection.id();
    let draining = connection.draining().clone();
    let deadline = Instant::now() + connection.login_grace();
    let traffic = Arc::new(Traffic::default());
    let socket = Socket::new(stream, Arc::clone(&traffic), Arc::clone(&door.pool));
    let (tell, mut news) = mpsc::unbounded_channel();
    let open: Open = Arc::new(Mutex::new(Vec::new()));
    let client = Client::new(
        Arc::clone(&door),
        connection,
        Arc::clone(&traffic),
        tell,
        Arc::clone(&open),
    );
    let config = Arc::clone(&door.config);
    let begun = tokio::select! {
        begun = tokio::time::timeout_at(deadline, russh::server::run_stream(config, socket, client)) => begun,
        () = draining.cancelled() => return,
    };
    let running = match begun {
        Ok(Ok(running)) => running,
        Ok(Err(error)) => return tracing::debug!(connection = %id, %error, "no SSH greeting"),
        Err(_) => return tracing::debug!(connection = %id, "no SSH greeting within the login grace"),
    };
    let mut supervised = Supervised {
        handle: running.handle(),
        running,
        traffic,
    };
    let ended = supervised.watch(&mut news, &draining, &open, deadline).await;
    match ended {
        End::Closed(Ok(())) => tracing::debug!(connection = %id, "closed"),
        End::Closed(Err(error)) => tracing::debug!(connection = %id, %error, "closed"),
        End::SendAway(why) => {
            tracing::debug!(connection = %id, %why, "sent away");
            supervised.send_away(why).await;
        }
    }
}

struct Supervised {
    handle: Handle,
    running: RunningSession<Client>,
    traffic: Arc<Traffic>,
}

enum End {
    Closed(Result<(), russh::Error>),
    SendAway(String),
}

impl Supervised {
    async fn watch(
        &mut self,
        news: &mut mpsc::UnboundedReceiver<News>,
        draining: &tokio_util::sync::CancellationToken,
        open: &Open,
        deadline: Instant,
    ) -> End {
        let session = tokio::select! {
            closed = &mut self.running => return End::Closed(closed),
            news = news.recv() => match news {
                Some(News::SignedIn(session)) => session,
                Some(News::Goodbye(why)) => return End::SendAway(why),
                None => return End::Closed(Ok(())),
            },
            () = sleep_until(deadline) => return End::SendAway("not signed in within the time for that".to_owned()),
            () = draining.cancelled() => return End::SendAway("the server is shutting down".to_owned()),
        };
        tokio::select! {
            closed = &mut self.running => End::Closed(closed),
            () = session.ended().cancelled() => End::SendAway(why(&session)),
            () = drained(draining, open) => {
                session.end("drained");
                End::SendAway("the server is shutting down".to_owned())
            }
        }
    }

    /// Says why and closes; a client that does not go is cut off.
    async fn send_away(&mut self, why: String) {
        let said = self
            .handle
            .disconnect(Disconnect::ByApplication, why, "en".to_owned());
        if timeout(FAREWELL, said).await.is_ok() && timeout(FAREWELL, &mut self.running).await.is_ok() {
            return;
        }
        self.traffic.kill();
        if timeout(FAREWELL, &mut self.running).await.is_err() {
            tracing::warn!("a connection that was cut off is still held by a backend");
        }
    }
}

fn why(session: &Session) -> String {
    match session.end_reason() {
        Some("idle") => "idle for too long".to_owned(),
        Some("drained") => "the server is shutting down".to_owned(),
        Some(reason) => format!("the session was ended: {reason}"),
        None => "the session is over".to_owned(),
    }
}

/// Waits until the server stops and nothing is open here any more.
async fn drained(draining: &tokio_util::sync::CancellationToken, open: &Open) {
    draining.cancelled().await;
    loop {
        let idle = open
            .lock()
            .iter()
            .filter_map(std::sync::Weak::upgrade)
            .all(|channel| channel.is_idle());
        if idle {
            return;
        }
        sleep(DRAIN_LOOK).await;
    }
}
