//! What rustls is given to store and find sessions with: the control connection's view of the map, a data
//! connection's, and none.
//!
//! Invariants: views hold the map weakly, so that it ends with its binding whatever connection is still
//! open; a data connection's view adds nothing; the ticket that it hands out is the one it was shown, and
//! only for the same session.

use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use rustls::server::{ProducesTickets, StoresServerSessions};

use super::sessions::Sessions;

/// Told to clients (RFC 5077, section 3.3; RFC 8446, section 4.6.1: a week at most). In fact a session can
/// be resumed for as long as its control connection lasts.
const LIFETIME: u32 = 7 * 24 * 3600;

/// For the control connection: what it stores can be resumed.
#[derive(Debug)]
pub(super) struct ControlView(Weak<Sessions>);

impl ControlView {
    pub(super) fn new(sessions: &Arc<Sessions>) -> Self {
        Self(Arc::downgrade(sessions))
    }

    fn find(&self, name: &[u8]) -> Option<Vec<u8>> {
        self.0.upgrade()?.find(name)
    }
}

impl StoresServerSessions for ControlView {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        self.0.upgrade().is_some_and(|sessions| sessions.put(key, value))
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.find(key)
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.find(key)
    }

    fn can_cache(&self) -> bool {
        true
    }
}

impl ProducesTickets for ControlView {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        LIFETIME
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.0.upgrade()?.name(plain)
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.find(cipher)
    }
}

/// For one data connection: what the control connection stored is found, nothing is stored.
#[derive(Debug)]
pub(super) struct DataView {
    sessions: Weak<Sessions>,
    shown: Mutex<Option<Shown>>,
}

/// The ticket that the client showed, and where in it the session's secret ends.
struct Shown {
    ticket: Vec<u8>,
    session: Vec<u8>,
}

impl std::fmt::Debug for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shown")
    }
}

impl DataView {
    pub(super) fn new(sessions: &Arc<Sessions>) -> Self {
        Self {
            sessions: Arc::downgrade(sessions),
            shown: Mutex::new(None),
        }
    }

    fn find(&self, name: &[u8]) -> Option<Vec<u8>> {
        let session = self.sessions.upgrade()?.find(name)?;
        *self.shown.lock() = Some(Shown {
            ticket: name.to_vec(),
            session: session.clone(),
        });
        Some(session)
    }
}

impl StoresServerSessions for DataView {
    fn put(&self, _: Vec<u8>, _: Vec<u8>) -> bool {
        false
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.find(key)
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.find(key)
    }

    /// A full handshake gives the client no name of a session.
    fn can_cache(&self) -> bool {
        false
    }
}

impl ProducesTickets for DataView {
    /// TLS 1.2 asks this after the client's ticket was looked up: without a session found the client is
    /// promised no ticket. TLS 1.3 asks it before, to know where to look; here both places are the same.
    fn enabled(&self) -> bool {
        self.shown.lock().is_some()
    }

    fn lifetime(&self) -> u32 {
        LIFETIME
    }

    /// TLS 1.2 alone comes here: the client gets the ticket back that it showed, if this is the session
    /// that it belongs to. (It is another where the client has changed its cipher or its server name, for
    /// then rustls made a full handshake.)
    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let shown = self.shown.lock();
        let shown = shown.as_ref()?;
        let same = secret(plain).is_some() && secret(plain) == secret(&shown.session);
        same.then(|| shown.ticket.clone())
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.find(cipher)
    }
}

/// The part of a stored session that is no other's: server name, version, cipher and secret, which is how
/// rustls begins it. Without a match no ticket is given out: nothing worse happens if that ever changes.
fn secret(session: &[u8]) -> Option<&[u8]> {
    let named = match session.first()? {
        0 => 1,
        _ => 2 + usize::from(*session.get(1)?),
    };
    let length_at = named + 4;
    let length = usize::from(*session.get(length_at)?);
    if length < 32 {
        return None;
    }
    session.get(..=length_at + length)
}

/// Nothing is stored and nothing is found.
#[derive(Debug)]
pub(super) struct Never;

impl StoresServerSessions for Never {
    fn put(&self, _: Vec<u8>, _: Vec<u8>) -> bool {
        false
    }

    fn get(&self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }

    fn take(&self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }

    fn can_cache(&self) -> bool {
        false
    }
}

impl ProducesTickets for Never {
    fn enabled(&self) -> bool {
        false
    }

    fn lifetime(&self) -> u32 {
        0
    }

    fn encrypt(&self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }

    fn decrypt(&self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }
}
