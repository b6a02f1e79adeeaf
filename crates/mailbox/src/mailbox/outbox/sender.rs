//! The task that sends what is due. It ends when nothing waits any more.

use std::{sync::Arc, time::Duration};

use portreeve_vfs::{FsErrorKind, FsResult, Retry};

use super::{Outbox, Waiting};

/// Pause after a first failure; doubled each time.
const PAUSE: Duration = Duration::from_secs(30);
/// Longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_hours(1);
/// How often sending is tried: for about two days.
pub(super) const TRIES: u32 = 54;
/// Pause where the shelf cannot be read.
const SHELF_PAUSE: Duration = Duration::from_secs(10);

impl Outbox {
    /// Sees to it that what waits is sent.
    pub(super) fn start(self: &Arc<Self>) {
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let outbox = Arc::clone(self);
            runtime.spawn(async move { outbox.run().await });
        }
    }

    async fn run(&self) {
        {
            let mut state = self.state.lock().await;
            if state.running {
                return;
            }
            state.running = true;
        }
        // Where the process ends without it, so does this.
        let mut held = self.held.clone();
        if held.wait_for(|held| !held).await.is_err() {
            self.state.lock().await.running = false;
            return;
        }
        loop {
            let next = match self.next().await {
                Ok(Some(next)) => next,
                // Nothing is left that can be sent, and nothing can come before the next start: the lock was held.
                Ok(None) => return,
                Err(error) => {
                    tracing::warn!(%error, "what waits in the Outbox cannot be read; it is tried again");
                    tokio::time::sleep(SHELF_PAUSE).await;
                    continue;
                }
            };
            let wait = next.due.saturating_sub(self.now());
            if wait > 0 {
                let changed = self.changed.notified();
                drop(tokio::time::timeout(Duration::from_secs(wait), changed).await);
                continue;
            }
            self.send(&next).await;
        }
    }

    /// What is due first, marked where it is due now; none ends the task, and so does it that nobody can send.
    async fn next(&self) -> FsResult<Option<Waiting>> {
        let mut state = self.state().await?;
        if !self.can_send() {
            state.running = false;
            return Ok(None);
        }
        let now = self.now();
        let live = state.waiting.values_mut().filter(|waiting| waiting.tries < TRIES);
        let Some(first) = live.min_by_key(|waiting| waiting.due) else {
            state.running = false;
            return Ok(None);
        };
        first.sending = first.due <= now;
        Ok(Some(first.clone()))
    }

    async fn send(&self, waiting: &Waiting) {
        let (folder, message) = waiting.ids();
        let sent = match self.store_of(&waiting.storage) {
            Some(store) => store.send_draft(&folder, &message).await,
            None => Err(FsErrorKind::Backend.into()),
        };
        let mut state = self.state.lock().await;
        match sent {
            Err(error) if error.kind() != FsErrorKind::NotFound => {
                let Some(there) = state.waiting.get_mut(&waiting.message) else {
                    return;
                };
                there.sending = false;
                there.tries = there.tries.saturating_add(1);
                let doubled = PAUSE
                    .saturating_mul(2_u32.saturating_pow(there.tries - 1))
                    .min(LONGEST_PAUSE);
                let pause = match error.retry() {
                    Retry::After(pause) => doubled.max(pause.min(LONGEST_PAUSE)),
                    Retry::Soon | Retry::Never => doubled,
                };
                there.due = self.now().saturating_add(pause.as_secs());
                let (to, tries) = (there.to.clone(), there.tries);
                let there = there.clone();
                if tries < TRIES {
                    tracing::warn!(%to, %error, tries, "a message in the Outbox could not be sent; it is tried again");
                } else {
                    tracing::error!(%to, %error, tries, "a message in the Outbox could not be sent and is not tried again: delete its file, or upload it anew");
                }
                if let Err(error) = self.record(&there).await {
                    tracing::warn!(%error, "it could not be recorded that sending failed");
                }
            }
            done => {
                if done.is_err() {
                    tracing::info!(to = %waiting.to, "a draft in the Outbox is gone: it was sent before, or deleted in the mailbox");
                }
                state.waiting.remove(&waiting.message);
                // A record that stays does no harm: the draft is gone.
                if let Err(error) = self.forget(&waiting.message).await {
                    tracing::warn!(%error, "the record of a message that was sent could not be removed");
                }
            }
        }
    }
}
