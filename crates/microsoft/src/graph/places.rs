//! Places that requests stand in, so many at once; how many can be changed while they stand there.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
    task::{Context, Waker},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A number of places.
pub(crate) struct Places {
    permits: Arc<Semaphore>,
    most: AtomicU32,
}

impl Places {
    pub(crate) fn new(most: u32) -> Self {
        let most = most.max(1);
        Self {
            permits: Arc::new(Semaphore::new(most as usize)),
            most: AtomicU32::new(most),
        }
    }

    /// How many there are.
    pub(crate) fn most(&self) -> u32 {
        self.most.load(SeqCst)
    }

    /// How many are taken.
    pub(crate) fn taken(&self) -> usize {
        (self.most() as usize).saturating_sub(self.permits.available_permits())
    }

    /// Waits for so many, for all there are at most. Nothing where they are closed, which nobody does.
    pub(crate) async fn take(&self, count: u32) -> Option<OwnedSemaphorePermit> {
        let count = count.clamp(1, self.most());
        Arc::clone(&self.permits).acquire_many_owned(count).await.ok()
    }

    /// Changes how many there are. Fewer are so as soon as those who stand there leave.
    pub(crate) fn resize(&self, most: u32) {
        let most = most.max(1);
        let before = self.most.swap(most, SeqCst);
        if most > before {
            self.permits.add_permits((most - before) as usize);
        } else if most < before {
            let fewer = before - most;
            let left = fewer as usize - self.permits.forget_permits(fewer as usize);
            // Whoever stands there keeps the place; a task waits for it in their stead.
            if let (Ok(left @ 1..), Ok(runtime)) =
                (u32::try_from(left), tokio::runtime::Handle::try_current())
            {
                let permits = Arc::clone(&self.permits);
                let mut leaving = Box::pin(async move {
                    if let Ok(permit) = permits.acquire_many_owned(left).await {
                        permit.forget();
                    }
                });
                // It stands in the queue from now on, not from when the task first runs.
                let _ = leaving.as_mut().poll(&mut Context::from_waker(Waker::noop()));
                runtime.spawn(leaving);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn fewer_places_are_fewer_once_they_are_left() {
        let places = Places::new(3);
        let (one, two) = (places.take(1).await.unwrap(), places.take(2).await.unwrap());
        places.resize(1);
        assert_eq!(places.most(), 1);
        drop(two);
        // Two of the three go; one stands.
        assert!(timeout(Duration::from_secs(1), places.take(1)).await.is_err());
        drop(one);
        let again = timeout(Duration::from_secs(1), places.take(9))
            .await
            .unwrap()
            .unwrap();
        assert!(timeout(Duration::from_secs(1), places.take(1)).await.is_err());
        places.resize(2);
        let more = timeout(Duration::from_secs(1), places.take(1))
            .await
            .unwrap()
            .unwrap();
        drop((again, more));
        assert_eq!(places.taken(), 0);
    }
}
