//! Open handles of one channel: a map from random numbers, bounded for all channels of a connection
//! together.
//!
//! Dropping a handle for writing keeps what was written as a partial (V5): only CLOSE commits.

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use portreeve_model::VPath;
use portreeve_session::{Download, FsError, Listing, Upload};

use super::{claims::Ticket, flow::Room};

/// Most handles open at once in one connection: what `limits@openssh.com` tells.
pub(crate) const MAX_HANDLES: usize = 256;

/// How many of a connection's handles are open or being opened.
#[derive(Debug, Clone, Default)]
pub(crate) struct Places(Arc<AtomicUsize>);

impl Places {
    fn take(&self) -> Option<Place> {
        let free = |taken: usize| (taken < MAX_HANDLES).then_some(taken + 1);
        self.0
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, free)
            .ok()?;
        Some(Place(self.clone()))
    }
}

/// The right to one handle. Dropping it gives it back.
#[derive(Debug)]
struct Place(Places);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// What a handle stands for.
pub(crate) enum Open {
    Read(Arc<Download>),
    Write(Writer),
    Dir(Directory),
}

/// A directory being listed.
#[derive(Clone)]
pub(crate) struct Directory {
    pub(crate) path: VPath,
    pub(crate) state: Arc<tokio::sync::Mutex<DirState>>,
}

/// Where a listing stands.
pub(crate) struct DirState {
    pub(crate) listing: Listing,
    /// Read, but too many for the last reply.
    pub(crate) left: VecDeque<portreeve_session::Entry>,
}

/// A file being written.
pub(crate) struct Writer {
    pub(crate) path: VPath,
    pub(crate) upload: Arc<Upload>,
    /// Every WRITE goes to the end, whatever its offset says.
    pub(crate) append: bool,
    /// The upload goes on with a kept partial: the first WRITE must be at its end.
    pub(crate) resume_at: Option<u64>,
    /// A WRITE was refused here, before the storage saw it: every later one fails, and CLOSE too (V4).
    pub(crate) failed: Option<FsError>,
    /// WRITEs that the backend does not have yet, in order of arrival.
    pub(crate) queue: VecDeque<Waiting>,
    /// A write is with the backend.
    pub(crate) busy: bool,
}

/// One WRITE that waits.
pub(crate) struct Waiting {
    pub(crate) ticket: Ticket,
    pub(crate) id: u32,
    pub(crate) room: Room,
    pub(crate) at: u64,
    pub(crate) len: u64,
    pub(crate) data: Vec<Bytes>,
}

impl Open {
    pub(crate) fn path(&self) -> VPath {
        match self {
            Self::Read(download) => download.path().clone(),
            Self::Write(writer) => writer.path.clone(),
            Self::Dir(dir) => dir.path.clone(),
        }
    }
}

/// The handles of one channel.
pub(crate) struct Handles {
    places: Places,
    open: HashMap<u64, (Open, Place)>,
    /// Of handles that are being opened.
    promised: Vec<Place>,
}

impl Handles {
    pub(crate) fn new(places: Places) -> Self {
        Self {
            places,
            open: HashMap::new(),
            promised: Vec::new(),
        }
    }

    /// Whether another may be opened; if so, its place is kept until [`Handles::settle`].
    pub(crate) fn promise(&mut self) -> bool {
        let place = self.places.take();
        let free = place.is_some();
        self.promised.extend(place);
        free
    }

    /// Fills a kept place, or gives it up. None where the system has no random numbers.
    pub(crate) fn settle(&mut self, open: Option<Open>) -> Option<u64> {
        let place = self.promised.pop();
        let (open, held) = (open?, place?);
        let mut bytes = [0; 8];
        loop {
            getrandom::fill(&mut bytes).ok()?;
            let handle = u64::from_be_bytes(bytes);
            if let Entry::Vacant(slot) = self.open.entry(handle) {
                slot.insert((open, held));
                return Some(handle);
            }
        }
    }

    pub(crate) fn find(&self, handle: u64) -> Option<&Open> {
        self.open.get(&handle).map(|(open, _)| open)
    }

    pub(crate) fn writer(&mut self, handle: u64) -> Option<&mut Writer> {
        match self.open.get_mut(&handle)? {
            (Open::Write(writer), _) => Some(writer),
            _ => None,
        }
    }

    pub(crate) fn close(&mut self, handle: u64) -> Option<Open> {
        let closed = self.open.remove(&handle);
        if self.open.is_empty() {
            self.open.shrink_to_fit();
        }
        closed.map(|(open, _)| open)
    }

    pub(crate) fn len(&self) -> usize {
        self.open.len() + self.promised.len()
    }

    pub(crate) fn clear(&mut self) {
        self.open = HashMap::new();
        self.promised = Vec::new();
    }
}
