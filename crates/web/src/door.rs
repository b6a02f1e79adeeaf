//! What all connections of one listener share: sign-ins, buffers, hosts, routes.

use std::{
    net::IpAddr,
    sync::{Arc, Once},
    time::{Duration, Instant},
};

use axum::Router;
use portreeve_model::UserName;
use portreeve_session::Session;

use crate::{
    WebOptions, WebOptionsError, credentials::BasicKey, routes, site::Hosts, transfer::pool::Pool,
    vault::Vault,
};

/// Most browsers, and most Basic sign-ins, that are remembered at once.
const REMEMBERED: usize = 10_000;

/// A Basic sign-in is used again within these times; each use still asks whether the session stands.
const BASIC_IDLE: Duration = Duration::from_secs(60);
const BASIC_LIFETIME: Duration = Duration::from_secs(5 * 60);

/// How often what is past its time is thrown away.
const SWEEP: Duration = Duration::from_secs(5);

/// The HTTPS door of one listener. It outlives worlds: keep it while its options stay the same, or
/// browsers have to sign in again.
pub struct WebDoor {
    pub(crate) shared: Arc<Shared>,
    pub(crate) router: Router,
    sweeping: Once,
}

/// What handlers see of the door.
pub(crate) struct Shared {
    pub(crate) hosts: Hosts,
    pub(crate) browsers: Vault<Arc<Browser>>,
    pub(crate) basics: Vault<Session>,
    pub(crate) basic_key: BasicKey,
    pub(crate) pool: Arc<Pool>,
    pub(crate) header_timeout: Duration,
    /// How long a browser's session may do nothing.
    pub(crate) session_idle: Duration,
    /// Bytes a second.
    pub(crate) minimum_rate: u64,
}

impl Shared {
    /// A session that was ended is let go of, and leaves the register.
    fn sweep(&self) {
        let (now, over) = (Instant::now(), |session: &Session| session.ended().is_cancelled());
        let browsers = self.browsers.sweep(now, |browser| over(&browser.session));
        drop((browsers, self.basics.sweep(now, over)));
    }
}

/// A browser that signed in.
pub(crate) struct Browser {
    pub(crate) session: Session,
    /// The name that was given, and from where.
    pub(crate) from: (UserName, IpAddr),
    /// What a request that changes something has to show beside the cookie.
    pub(crate) token: String,
}

impl WebDoor {
    /// From its options.
    ///
    /// # Errors
    /// The first option that cannot be used.
    pub fn new(options: &WebOptions) -> Result<Arc<Self>, WebOptionsError> {
        let hosts = Hosts::new(options.check()?);
        let shared = Arc::new(Shared {
            hosts,
            browsers: Vault::new(REMEMBERED, options.session_idle.0, options.session_lifetime.0),
            basics: Vault::new(REMEMBERED, BASIC_IDLE, BASIC_LIFETIME),
            basic_key: BasicKey::fresh().map_err(|_| WebOptionsError::NoRandomness)?,
            pool: Pool::new(options.read_ahead.0),
            header_timeout: options.header_timeout.0,
            session_idle: options.session_idle.0,
            minimum_rate: options.minimum_rate.0,
        });
        Ok(Arc::new(Self {
            router: routes::router(Arc::clone(&shared)),
            shared,
            sweeping: Once::new(),
        }))
    }

    /// Starts throwing away what is past its time or over, once, for as long as the door lives.
    pub(crate) fn keep_clean(&self) {
        self.sweeping.call_once(|| {
            let shared = Arc::downgrade(&self.shared);
            tokio::spawn(async move {
                let mut tick = tokio::time::interval(SWEEP);
                loop {
                    tick.tick().await;
                    let Some(shared) = shared.upgrade() else { return };
                    shared.sweep();
                }
            });
        });
    }
}
