//! Acts that go on when their caller gives up. A door drops the future of an operation when its client
//! goes; the backend may have done the act by then, or may be doing it. What is half done is finished
//! and recorded as it ended, and a sign-in whose client hangs up before the answer still counts.
//!
//! Costs one allocation, and no hop to another task where the caller waits, as callers do.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

type Act<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Runs `act` to its end, in the background where the future is dropped before.
pub(crate) const fn carried_through<T: Send + 'static>(act: Act<T>) -> CarriedThrough<T> {
    CarriedThrough(Some(act))
}

/// See [`carried_through`].
pub(crate) struct CarriedThrough<T: Send + 'static>(Option<Act<T>>);

impl<T: Send + 'static> Future for CarriedThrough<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        // Out of its place while it runs: an act that panics is over, not carried on.
        let Some(mut act) = self.0.take() else {
            return Poll::Pending;
        };
        let end = act.as_mut().poll(cx);
        if end.is_pending() {
            self.0 = Some(act);
        }
        end
    }
}

impl<T: Send + 'static> Drop for CarriedThrough<T> {
    fn drop(&mut self) {
        if let (Some(act), Ok(runtime)) = (self.0.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(async move {
                drop(act.await);
            });
        }
    }
}
