//! One SFTP channel: requests in, replies out, as many at a time as may be.
//!
//! The engine has no task of its own. Whoever has news calls [`Engine::pump`]: the callback of russh
//! when bytes came, which sends replies without any hop between tasks; and the channel's driver task
//! when a backend answered later. A request's future is polled once where it begins: a backend that has
//! the answer costs no wake-up at all.
//!
//! Invariants: requests begin in order of arrival (V3); replies reach the wire in the order in which they
//! were made, whichever of the two sends them; a reply begins only when there is room for it; nothing
//! here waits for the network.

use std::{
    borrow::Cow,
    collections::VecDeque,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use futures::stream::{FuturesUnordered, StreamExt};
use portreeve_session::{FsError, Session};

use super::{
    claims::{Claims, Ticket},
    errors,
    flow::{Detour, Flow, Outgoing, Room},
    handles::{Handles, Open, Places},
    pool::Pool,
    queue::{self, Queue},
};
use crate::{
    SftpOptions,
    wire::{self, Inbox, Incoming, Status},
};

/// Most requests that run at once in one channel.
const MAX_RUNNING: usize = 256;

/// Small replies are sent together up to about this size.
const BATCH: usize = 32 * 1024;

/// What every request of a channel needs.
pub(crate) struct Env {
    pub(crate) session: Session,
    pub(crate) options: Arc<SftpOptions>,
    pub(crate) pool: Arc<Pool>,
    pub(crate) places: Places,
    pub(crate) queue: Arc<Queue>,
    pub(crate) draining: tokio_util::sync::CancellationToken,
}

/// What a request comes to.
pub(crate) enum Reply {
    /// STATUS with a text.
    Status(Status, Cow<'static, str>),
    /// A whole packet.
    Packet(Vec<u8>),
    /// A handle, or why not.
    Opened(Result<Open, FsError>),
    /// WRITEs that the backend took together, or refused together.
    Written {
        handle: u64,
        batch: Vec<(Ticket, u32, Room)>,
        bytes: usize,
        result: Result<(), FsError>,
    },
}

/// Why a request is answered without any work.
pub(crate) struct Refusal(pub(crate) Status, pub(crate) Cow<'static, str>);

impl From<Refusal> for Reply {
    fn from(Refusal(code, text): Refusal) -> Self {
        Self::Status(code, text)
    }
}

impl Reply {
    pub(crate) const OK: Self = Self::Status(Status::Ok, Cow::Borrowed(""));

    pub(crate) fn failure(error: &FsError) -> Self {
        let (code, text) = errors::status(error);
        Self::Status(code, Cow::Owned(text.to_owned()))
    }

    pub(crate) fn of(result: Result<(), FsError>) -> Self {
        match result {
            Ok(()) => Self::OK,
            Err(error) => Self::failure(&error),
        }
    }
}

/// A request's work.
pub(crate) type Work = Pin<Box<dyn Future<Output = Reply> + Send>>;

/// Work that runs, with what is needed when it is done.
struct Job {
    tag: Option<Tag>,
    work: Work,
}

struct Tag {
    ticket: Ticket,
    id: u32,
    room: Room,
}

impl Future for Job {
    type Output = (Option<Tag>, Reply);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let reply = std::task::ready!(self.work.as_mut().poll(cx));
        Poll::Ready((self.tag.take(), reply))
    }
}

/// How a channel stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Requests are served.
    Open,
    /// The client sent EOF: what it asked is still answered.
    Ending,
    /// Something impossible came: say so and close.
    Broken(String),
    /// Over. What runs is brought to its end, nothing is answered.
    Closed,
}

/// One channel.
pub(crate) struct Engine {
    pub(crate) env: Arc<Env>,
    pub(crate) flow: Arc<Flow>,
    pub(crate) inbox: Inbox,
    pub(crate) head: Option<Incoming>,
    pub(crate) greeted: bool,
    pub(crate) handles: Handles,
    pub(crate) claims: Claims,
    running: FuturesUnordered<Job>,
    batch: Vec<u8>,
    batch_room: Option<Room>,
    sends: VecDeque<Bytes>,
    /// How many of the driver's replies russh has not encrypted yet.
    detours: Arc<AtomicUsize>,
    /// Handles whose backend has taken what it had, and may be given more.
    writers: Vec<u64>,
    /// Bytes of WRITEs that the backend has not taken.
    pub(crate) unwritten: usize,
    /// What this channel has queued, as its connection's [`Queue`] knows it.
    counted: usize,
    pub(crate) phase: Phase,
    driver: Waker,
    /// The callback that waits until less is queued.
    reader: Option<Waker>,
}

impl Engine {
    pub(crate) fn new(env: Arc<Env>, flow: Arc<Flow>) -> Self {
        let handles = Handles::new(env.places.clone());
        Self {
            env,
            flow,
            inbox: Inbox::default(),
            head: None,
            greeted: false,
            handles,
            claims: Claims::default(),
            running: FuturesUnordered::new(),
            batch: Vec::new(),
            batch_room: None,
            sends: VecDeque::new(),
            detours: Arc::default(),
            writers: Vec::new(),
            unwritten: 0,
            counted: 0,
            phase: Phase::Open,
            driver: Waker::noop().clone(),
            reader: None,
        }
    }

    /// Takes what the client sent.
    pub(crate) fn push(&mut self, data: Bytes) {
        if self.phase != Phase::Open {
            return;
        }
        self.inbox.push(data);
        if !self.count() {
            self.phase = Phase::Broken("too many requests at once".to_owned());
        }
    }

    /// Tells the connection how much is queued here; false where that is too much.
    fn count(&mut self) -> bool {
        let now = self.inbox.len() + self.unwritten;
        let before = std::mem::replace(&mut self.counted, now);
        self.env.queue.change(before, now)
    }

    /// Whether the reader should let the backend catch up. Never while only the client could help.
    pub(crate) fn is_overfull(&self) -> bool {
        !self.running.is_empty()
            && matches!(self.phase, Phase::Open | Phase::Ending)
            && self.env.queue.len() > queue::FREE
    }

    /// Lets the driver look again.
    pub(crate) fn wake_driver(&self) {
        self.driver.wake_by_ref();
    }

    /// Whether nothing is open or under way.
    pub(crate) fn is_idle(&self) -> bool {
        self.handles.len() == 0 && self.claims.len() == 0 && self.head.is_none() && self.inbox.is_empty()
    }

    /// Whether everything was answered after EOF, or the rest was brought to its end after a close.
    pub(crate) fn is_over(&self) -> bool {
        match self.phase {
            Phase::Open => false,
            Phase::Ending => self.claims.len() == 0 && self.head.is_none() && self.sends.is_empty(),
            Phase::Broken(_) => true,
            Phase::Closed => self.running.is_empty(),
        }
    }

    /// Ends the channel: nothing further begins, unfinished uploads are kept as partials.
    pub(crate) fn close(&mut self) {
        self.phase = Phase::Closed;
        self.inbox.clear();
        self.count();
        self.head = None;
        self.handles.clear();
        self.sends.clear();
        self.batch = Vec::new();
        self.batch_room = None;
        self.driver.wake_by_ref();
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }

    /// What a callback may send at once: nothing while something of the driver's is still on its way
    /// to russh, which would then come later. Clients may not depend on the order of replies, but
    /// paramiko waits for ever for a WRITE's answer that came before an earlier one's.
    pub(crate) fn next_send(&mut self) -> Option<Bytes> {
        if self.detours.load(Ordering::Acquire) > 0 {
            if !self.sends.is_empty() {
                self.driver.wake_by_ref();
            }
            return None;
        }
        self.sends.pop_front()
    }

    /// What the driver is to send next, by russh's queue.
    pub(crate) fn next_detour(&mut self) -> Option<Bytes> {
        let send = self.sends.pop_front()?;
        Some(Bytes::from_owner(Detour::new(send, &self.detours)))
    }

    /// As [`Engine::pump`], by a callback: later news wake the driver.
    pub(crate) fn pump_here(&mut self) {
        let driver = self.driver.clone();
        self.pump(&mut Context::from_waker(&driver));
        // The driver says goodbye.
        if self.is_over() {
            driver.wake();
        }
    }

    /// As [`Engine::pump`], by the driver.
    pub(crate) fn pump_as_driver(&mut self, cx: &mut Context<'_>) {
        if !self.driver.will_wake(cx.waker()) {
            self.driver = cx.waker().clone();
            self.flow.set_waker(cx.waker());
        }
        self.pump(cx);
    }

    /// As [`Engine::pump`], by a callback that waits: it is woken by backends and by the driver.
    pub(crate) fn pump_as_reader(&mut self, cx: &mut Context<'_>) {
        self.reader = Some(cx.waker().clone());
        self.pump(cx);
    }

    /// Collects what is done and begins what may begin.
    fn pump(&mut self, cx: &mut Context<'_>) {
        loop {
            let mut moved = false;
            while let Poll::Ready(Some((tag, reply))) = self.running.poll_next_unpin(cx) {
                self.finish(tag, reply);
                moved = true;
            }
            while let Some(handle) = self.writers.pop() {
                self.write_next(handle, cx, false);
                moved = true;
            }
            while self.begin_next(cx) {
                moved = true;
            }
            if !moved {
                break;
            }
        }
        self.send_batch();
        // Less than when it came: nothing to be refused.
        self.count();
        if !self.is_overfull()
            && let Some(reader) = self.reader.take()
        {
            reader.wake();
        }
    }

    /// Begins the next request, where there is one and it may begin.
    fn begin_next(&mut self, cx: &mut Context<'_>) -> bool {
        if self.claims.len() >= MAX_RUNNING || !matches!(self.phase, Phase::Open | Phase::Ending) {
            return false;
        }
        let next = match self.head.take() {
            Some(head) => head,
            None => match self.inbox.next_request() {
                Ok(Some(incoming)) => incoming,
                Ok(None) => return false,
                Err(broken) => {
                    self.phase = Phase::Broken(format!("this is not SFTP: {broken}"));
                    return false;
                }
            },
        };
        self.begin(next, cx)
    }

    /// Puts a request back that may not begin yet.
    pub(crate) fn put_back(&mut self, incoming: Incoming) -> bool {
        self.head = Some(incoming);
        false
    }

    /// Answers at once.
    pub(crate) fn answer(&mut self, id: u32, room: Room, reply: Reply) -> bool {
        self.encode(id, room, reply);
        true
    }

    /// Runs `work` until it answers request `id`.
    pub(crate) fn run(&mut self, ticket: Ticket, id: u32, room: Room, mut work: Work, cx: &mut Context<'_>) {
        match work.as_mut().poll(cx) {
            Poll::Ready(reply) => self.finish(Some(Tag { ticket, id, room }), reply),
            Poll::Pending => self.running.push(Job {
                tag: Some(Tag { ticket, id, room }),
                work,
            }),
        }
    }

    /// Runs `work` that carries its tickets itself.
    pub(crate) fn run_untagged(&mut self, mut work: Work, cx: &mut Context<'_>) {
        match work.as_mut().poll(cx) {
            Poll::Ready(reply) => self.finish(None, reply),
            Poll::Pending => self.running.push(Job { tag: None, work }),
        }
    }

    fn finish(&mut self, tag: Option<Tag>, reply: Reply) {
        if let Reply::Written {
            handle,
            batch,
            bytes,
            result,
        } = reply
        {
            self.unwritten = self.unwritten.saturating_sub(bytes);
            for (ticket, id, room) in batch {
                self.claims.release(ticket);
                self.encode(id, room, Reply::of(result.clone()));
            }
            self.writers.push(handle);
            return;
        }
        let Some(Tag { ticket, id, room }) = tag else {
            return;
        };
        self.claims.release(ticket);
        self.encode(id, room, reply);
    }

    fn encode(&mut self, id: u32, mut room: Room, reply: Reply) {
        if self.phase == Phase::Closed {
            return; // an upload that was opened meanwhile is dropped with the reply, and kept
        }
        match reply {
            Reply::Packet(packet) if packet.len() > BATCH / 2 => {
                self.send_batch();
                room.shrink_to(packet.len());
                self.send(packet, room);
                return;
            }
            Reply::Packet(packet) => {
                self.batch.extend_from_slice(&packet);
                self.env.pool.put(packet);
            }
            Reply::Status(code, text) => wire::status(&mut self.batch, id, code, &text),
            Reply::Opened(Ok(open)) => match self.handles.settle(Some(open)) {
                Some(handle) => wire::handle(&mut self.batch, id, handle),
                None => wire::status(
                    &mut self.batch,
                    id,
                    Status::Failure,
                    "the system has no random numbers",
                ),
            },
            Reply::Opened(Err(error)) => {
                self.handles.settle(None);
                let (code, text) = errors::status(&error);
                wire::status(&mut self.batch, id, code, text);
            }
            Reply::Written { .. } => {}
        }
        match &mut self.batch_room {
            Some(whole) => whole.merge(room),
            None => self.batch_room = Some(room),
        }
        if self.batch.len() > BATCH {
            self.send_batch();
        }
    }

    fn send_batch(&mut self) {
        if let Some(room) = self.batch_room.take() {
            let batch = std::mem::take(&mut self.batch);
            self.send(batch, room);
        }
    }

    fn send(&mut self, bytes: Vec<u8>, room: Room) {
        let outgoing = Outgoing::new(bytes, room, Arc::clone(&self.env.pool));
        self.sends.push_back(Bytes::from_owner(outgoing));
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.env.queue.change(self.counted, 0);
    }
}
