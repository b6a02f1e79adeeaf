//! The register of live sessions: who is in, since when, and the way to end one.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
    time::{Duration, SystemTime},
};

use parking_lot::Mutex;
use portreeve_model::{Origin, SessionId};

use crate::live::Live;

/// What is told of a live session.
#[derive(Debug, Clone)]
pub struct SessionInfo {
    /// Its id.
    pub id: SessionId,
    /// The person's name.
    pub user: String,
    /// The step of the chain that let it in.
    pub method: String,
    /// Where it comes from.
    pub origin: Origin,
    /// Since when.
    pub since: SystemTime,
    /// For how long it did nothing.
    pub idle: Duration,
    /// Bytes read so far.
    pub bytes_read: u64,
    /// Bytes written so far.
    pub bytes_written: u64,
    /// Transfers open now.
    pub transfers: u32,
}

/// Sessions by id. "Gone" is absence: a session takes itself out when it is dropped.
#[derive(Default)]
pub(crate) struct Registry {
    live: Mutex<HashMap<SessionId, Weak<Live>>>,
}

impl Registry {
    pub(crate) fn enter(&self, live: &Arc<Live>) {
        let mut map = self.live.lock();
        map.insert(live.id, Arc::downgrade(live));
        metrics::gauge!("portreeve_sessions").set(map.len() as f64);
    }

    pub(crate) fn leave(&self, id: SessionId) {
        let mut map = self.live.lock();
        map.remove(&id);
        metrics::gauge!("portreeve_sessions").set(map.len() as f64);
    }

    pub(crate) fn all(&self) -> Vec<Arc<Live>> {
        self.live.lock().values().filter_map(Weak::upgrade).collect()
    }

    pub(crate) fn list(&self) -> Vec<SessionInfo> {
        let mut list: Vec<_> = self.all().iter().map(|live| live.info()).collect();
        list.sort_by_key(|info| info.id);
        list
    }

    pub(crate) fn end(&self, id: SessionId, reason: &'static str) -> bool {
        let live = self.live.lock().get(&id).and_then(Weak::upgrade);
        live.inspect(|live| live.end(reason)).is_some()
    }

    pub(crate) fn end_all(&self, reason: &'static str) {
        for live in self.all() {
            live.end(reason);
        }
    }
}
