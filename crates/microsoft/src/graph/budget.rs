//! What one mailbox bears: requests under way, requests and uploaded bytes in a span of time, the gate that closes
//! for all when Graph asks for patience, and whether anybody is there at all. Source: Microsoft, "Microsoft Graph
//! service-specific throttling limits".

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant as SystemInstant},
};

use parking_lot::Mutex;
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, sleep_until, timeout},
};

use super::{GraphError, GraphFault, GraphLimits, breaker::Breaker, places::Places};
use crate::patience::jittered;

/// How finely a window counts: what was taken is given back up to one part late, never early.
const PARTS: u32 = 60;

/// One mailbox's budget.
pub(crate) struct Budget {
    places: Places,
    app: Mutex<Option<Arc<Places>>>,
    queue: Duration,
    closed: Mutex<Option<Instant>>,
    pub(super) breaker: Breaker,
    requests: Mutex<Window>,
    uploads: Mutex<Window>,
    calls: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
}

/// Places in the budget; dropping it gives them back.
pub(crate) struct Pass {
    _mailbox: OwnedSemaphorePermit,
    _app: Option<OwnedSemaphorePermit>,
}

/// How much longer a request is willing to wait for a throttled service.
pub(crate) struct Patience(Duration);

impl Patience {
    pub(crate) fn new(whole: Duration) -> Self {
        Self(whole)
    }

    /// Takes a wait off, or tells that it is too long.
    pub(crate) fn spend(&mut self, wait: Duration) -> Result<(), GraphError> {
        match self.0.checked_sub(wait) {
            Some(left) => {
                self.0 = left;
                Ok(())
            }
            None => Err(GraphError {
                retry_after: Some(wait),
                unsent: true,
                ..GraphError::here(
                    GraphFault::Throttled,
                    format!("the mailbox is to be left alone for {} s", wait.as_secs().max(1)),
                )
            }),
        }
    }
}

impl Budget {
    pub(crate) fn new(limits: &GraphLimits, app: Option<Arc<Places>>) -> Self {
        Self {
            places: Places::new(limits.in_flight),
            app: Mutex::new(app),
            queue: limits.queue,
            closed: Mutex::default(),
            breaker: Breaker::new(limits.away),
            requests: Mutex::new(Window::new(limits.requests, limits.request_span)),
            uploads: Mutex::new(Window::new(limits.upload_bytes, limits.upload_span)),
            calls: AtomicU64::new(0),
            bytes_in: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
        }
    }

    /// Takes over how many may be under way: who opens the mailbox last decides, so a reload can change it.
    pub(crate) fn resize(&self, in_flight: u32, app: Option<Arc<Places>>) {
        self.places.resize(in_flight);
        *self.app.lock() = app;
    }

    /// Waits for the gate, for `places` of those that are under way together, and for `count` requests in the window.
    pub(crate) async fn enter(
        &self,
        places: u32,
        count: u64,
        patience: &mut Patience,
    ) -> Result<Pass, GraphError> {
        loop {
            self.gate(patience).await?;
            let pass = timeout(self.queue, self.take(places))
                .await
                .map_err(|_| GraphError {
                    retry_after: Some(self.queue),
                    unsent: true,
                    ..GraphError::here(
                        GraphFault::Throttled,
                        format!(
                            "all {} places of the mailbox were taken for {} s",
                            self.most(),
                            self.queue.as_secs()
                        ),
                    )
                })??;
            // The gate may have closed while this one stood in the queue.
            if self.remaining().is_some() {
                continue;
            }
            let wait = self.requests.lock().take(Instant::now(), count);
            let Some(wait) = wait else {
                self.calls.fetch_add(count, Relaxed);
                return Ok(pass);
            };
            drop(pass);
            patience.spend(wait)?;
            tokio::time::sleep(jittered(wait)).await;
        }
    }

    async fn gate(&self, patience: &mut Patience) -> Result<(), GraphError> {
        while let Some(wait) = self.remaining() {
            patience.spend(wait)?;
            sleep_until(Instant::now() + jittered(wait)).await;
        }
        Ok(())
    }

    async fn take(&self, count: u32) -> Result<Pass, GraphError> {
        let broken = || GraphError::here(GraphFault::Network, "the budget is closed".to_owned());
        let mailbox = self.places.take(count).await.ok_or_else(broken)?;
        let app = self.app.lock().clone();
        let app = match app {
            None => None,
            Some(places) => Some(places.take(count.min(self.most())).await.ok_or_else(broken)?),
        };
        Ok(Pass {
            _mailbox: mailbox,
            _app: app,
        })
    }

    /// Waits until so many bytes may be uploaded. Uploads wait as long as it takes, a span at most: they go on from
    /// where they are.
    pub(crate) async fn upload(&self, bytes: u64) {
        loop {
            let wait = self.uploads.lock().take(Instant::now(), bytes);
            match wait {
                None => return,
                Some(wait) => tokio::time::sleep(jittered(wait)).await,
            }
        }
    }

    /// Closes the gate for all who use the mailbox. It never opens sooner than was said before.
    pub(crate) fn close(&self, wait: Duration) {
        let until = Instant::now() + wait;
        let mut closed = self.closed.lock();
        if closed.is_none_or(|before| before < until) {
            *closed = Some(until);
        }
    }

    /// How long the gate stays closed.
    fn remaining(&self) -> Option<Duration> {
        let mut closed = self.closed.lock();
        let left = (*closed)?.saturating_duration_since(Instant::now());
        if left.is_zero() {
            *closed = None;
            return None;
        }
        Some(left)
    }

    pub(crate) fn closed_until(&self) -> Option<SystemInstant> {
        self.remaining().map(|left| SystemInstant::now() + left)
    }

    pub(crate) fn calls(&self) -> u64 {
        self.calls.load(Relaxed)
    }

    pub(crate) fn bytes_in(&self) -> u64 {
        self.bytes_in.load(Relaxed)
    }

    pub(crate) fn bytes_out(&self) -> u64 {
        self.bytes_out.load(Relaxed)
    }

    pub(crate) fn came(&self, bytes: usize) {
        self.bytes_in.fetch_add(bytes as u64, Relaxed);
    }

    pub(crate) fn went(&self, bytes: usize) {
        self.bytes_out.fetch_add(bytes as u64, Relaxed);
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.places.taken()
    }

    /// How many places there are.
    pub(crate) fn most(&self) -> u32 {
        self.places.most()
    }
}

/// So much within a span that slides: never more in any span of that length.
struct Window {
    most: u64,
    span: Duration,
    taken: VecDeque<(Instant, u64)>,
    sum: u64,
}

impl Window {
    fn new(most: u64, span: Duration) -> Self {
        Self {
            most: most.max(1),
            span,
            taken: VecDeque::new(),
            sum: 0,
        }
    }

    /// Takes so much, or says how long to wait for it. More than the whole is taken for the whole.
    fn take(&mut self, now: Instant, count: u64) -> Option<Duration> {
        let count = count.min(self.most);
        let part = self.span / PARTS;
        // What was taken within a part counts from the part's end.
        while let Some((begun, some)) = self.taken.front()
            && now >= *begun + part + self.span
        {
            self.sum -= some;
            self.taken.pop_front();
        }
        if self.sum + count <= self.most {
            self.sum += count;
            match self.taken.back_mut() {
                Some((begun, some)) if now < *begun + part => *some += count,
                _ => self.taken.push_back((now, count)),
            }
            return None;
        }
        let mut free = self.most - self.sum;
        for (begun, some) in &self.taken {
            free += some;
            if free >= count {
                return Some((*begun + part + self.span).saturating_duration_since(now));
            }
        }
        Some(self.span)
    }
}

#[cfg(test)]
mod tests;
