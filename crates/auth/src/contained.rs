//! A step that panics has not answered: the chain makes of it what it makes of a fault, and no connection
//! hangs or gets in by it. The panic hook has counted and logged it with its place.

use std::{
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    task::Poll,
};

/// What is told of a step that panicked.
pub(crate) const BROKE_DOWN: &str = "it broke down over this; the server's log says where";

/// What was answered; none if it panicked.
///
/// Unwind safety: a step shares nothing with the chain that it could leave half done, and is asked again
/// as it is.
pub(crate) async fn contained<T>(asked: impl Future<Output = T>) -> Option<T> {
    let mut asked = pin!(asked);
    poll_fn(
        |cx| match catch_unwind(AssertUnwindSafe(|| asked.as_mut().poll(cx))) {
            Ok(answer) => answer.map(Some),
            Err(_) => Poll::Ready(None),
        },
    )
    .await
}
