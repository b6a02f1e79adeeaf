//! Open handles of one channel: a map from random numbers, bounded for all channels of a connection
//! together, and for all connections of a user.
//!
//! Dropping a handle for writing keeps what was written as a partial (V5): only CLOSE commits.

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    sync::{
        Arc, Weak,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use parking_lot::Mutex;
use portreeve_model::{UserName, VPath};
use portreeve_session::{Download, FsError, Listing, Upload};

use super::{claims::Ticket, flow::Room};

/// Most handles open at once in one connection: what `limits@openssh.com` tells.
pub(crate) const MAX_HANDLES: usize = 256;

/// Most handles that one user has open at a listener, all connections together: each may be a descriptor.
pub(crate) const MAX_OF_USER: usize = 1024;

/// The users of a listener who have channels, with how many handles they have open.
#[derive(Debug, Default)]
pub(crate) struct Users(Mutex<HashMap<UserName, Weak<AtomicUsize>>>);

impl Users {
    /// The places of a new connection of `user`.
    pub(crate) fn places(&self, user: &UserName) -> Places {
        let mut users = self.0.lock();
        users.retain(|_, count| count.strong_count() > 0);
        let known = users.get(user).and_then(Weak::upgrade);
        let count = known.unwrap_or_default();
        users.insert(user.clone(), Arc::downgrade(&count));
        Places {
            connection: Arc::default(),
            user: count,
        }
    }
}

/// How many handles of a connection, and of its user, are open or being opened.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    connection: Arc<AtomicUsize>,
    user: Arc<AtomicUsize>,
}

/// Why there is no place.
const CONNECTION_FULL: &str = "too many open handles: 256 are possible";
const USER_FULL: &str = "too many open handles of this user: 1024 are possible";

impl Places {
    fn take(&self) -> Result<Place, &'static str> {
        let one = Counted::take(&self.connection, MAX_HANDLES).ok_or(CONNECTION_FULL)?;
        let other = Counted::take(&self.user, MAX_OF_USER).ok_or(USER_FULL)?;
        Ok(Place(one, other))
    }
}

/// The right to one handle. Dropping it gives it back.
#[derive(Debug)]
struct Place(
    #[expect(dead_code, reason = "held for its drop")] Counted,
    #[expect(dead_code, reason = "held for its drop")] Counted,
);

#[derive(Debug)]
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn take(count: &Arc<AtomicUsize>, most: usize) -> Option<Self> {
        let free = |taken: usize| (taken < most).then_some(taken + 1);
        count
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, free)
            .ok()?;
        Some(Self(Arc::clone(count)))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
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

    /// Keeps a place for another until [`Handles::settle`].
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) fn promise(&mut self) -> Result<(), &'static str> {
        let place = self.places.take()?;
        self.promised.push(place);
        Ok(())
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
