//! One SFTP channel as russh's callbacks and its driver task see it.
//!
//! The callbacks bring bytes in and send whatever is answered at once. The driver waits for backends
//! that answer later and sends through russh's queue; it may be held up there by a client that does not
//! read, and nothing waits for it.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::{Arc, atomic::Ordering},
    task::Poll,
};

use bytes::Bytes;
use parking_lot::Mutex;
use russh::{ChannelId, server::Handle};

use super::{
    engine::{Engine, Env, Phase},
    flow::{Flow, Traffic},
};

/// A channel on which SFTP is spoken.
pub(crate) struct SftpChannel {
    engine: Arc<Mutex<Engine>>,
    traffic: Arc<Traffic>,
}

/// What a callback has to do after bytes came.
pub(crate) struct Outcome {
    pub(crate) sends: Vec<Bytes>,
    /// Nothing more may be read before the backend has caught up.
    pub(crate) overfull: bool,
}

impl SftpChannel {
    pub(crate) fn start(id: ChannelId, env: Arc<Env>, traffic: &Arc<Traffic>, handle: Handle) -> Self {
        let flow = Flow::new(Arc::clone(traffic));
        let engine = Arc::new(Mutex::new(Engine::new(env, flow)));
        let mut guard = CutOnPanic(Some(Arc::clone(traffic)));
        let driven = Arc::clone(&engine);
        tokio::spawn(async move {
            drive(id, driven, handle).await;
            guard.disarm();
        });
        Self {
            engine,
            traffic: Arc::clone(traffic),
        }
    }

    /// Takes bytes and begins what may begin.
    pub(crate) fn push(&self, data: Bytes) -> Outcome {
        let mut engine = self.engine.lock();
        engine.push(data);
        engine.pump_here();
        outcome(&mut engine)
    }

    /// Begins what may begin (the client took some of what was sent); the driver hears of the rest.
    pub(crate) fn resume(&self) -> Outcome {
        let mut engine = self.engine.lock();
        engine.pump_here();
        outcome(&mut engine)
    }

    /// Waits until the backend has taken something; answers what is to be sent by then. What still runs
    /// then would wake the caller, who waits no longer: [`SftpChannel::resume`] gives it to the driver.
    pub(crate) async fn catch_up(&self) -> Outcome {
        poll_fn(|cx| {
            self.traffic.reader.register(cx.waker());
            let mut engine = self.engine.lock();
            if self.traffic.killed.load(Ordering::Acquire) {
                engine.close();
            }
            engine.pump_as_reader(cx);
            let outcome = outcome(&mut engine);
            if outcome.overfull && outcome.sends.is_empty() {
                return Poll::Pending;
            }
            Poll::Ready(outcome)
        })
        .await
    }

    /// The client will ask nothing more.
    pub(crate) fn end(&self) {
        let mut engine = self.engine.lock();
        if engine.phase == Phase::Open {
            engine.phase = Phase::Ending;
        }
        engine.wake_driver();
    }

    pub(crate) fn is_over(&self) -> bool {
        self.engine.lock().is_over()
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.engine.lock().is_idle()
    }
}

impl Drop for SftpChannel {
    fn drop(&mut self) {
        self.engine.lock().close();
    }
}

fn outcome(engine: &mut Engine) -> Outcome {
    let mut sends = Vec::new();
    while let Some(send) = engine.next_send() {
        sends.push(send);
    }
    Outcome {
        sends,
        overfull: engine.is_overfull(),
    }
}

enum Step {
    Send(Bytes),
    Over(Phase),
}

async fn drive(id: ChannelId, engine: Arc<Mutex<Engine>>, handle: Handle) {
    loop {
        let step = poll_fn(|cx| {
            let mut engine = engine.lock();
            engine.pump_as_driver(cx);
            if let Some(send) = engine.next_detour() {
                return Poll::Ready(Step::Send(send));
            }
            if engine.is_over() {
                return Poll::Ready(Step::Over(engine.phase.clone()));
            }
            Poll::Pending
        })
        .await;
        match step {
            Step::Send(bytes) => send_by_queue(id, &engine, &handle, bytes).await,
            Step::Over(phase) => {
                engine.lock().close();
                say_goodbye(id, &handle, phase).await;
                finish(&engine).await;
                return;
            }
        }
    }
}

/// Waits for a place in russh's queue. What a backend answers meanwhile is taken in all the same: a
/// callback may be waiting for it, and russh does not look into its queue before that callback is done.
async fn send_by_queue(id: ChannelId, engine: &Mutex<Engine>, handle: &Handle, bytes: Bytes) {
    let mut sending = pin!(handle.data(id, bytes));
    let sent = poll_fn(|cx| {
        let sent = sending.as_mut().poll(cx);
        if sent.is_pending() {
            engine.lock().pump_as_driver(cx);
        }
        sent
    });
    if sent.await.is_err() {
        engine.lock().close();
    }
}

/// Lets what runs come to its end: a CLOSE that was asked for is carried out though nobody listens.
async fn finish(engine: &Mutex<Engine>) {
    poll_fn(|cx| {
        let mut engine = engine.lock();
        engine.pump_as_driver(cx);
        if engine.is_over() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
}

/// Tells the client; where the connection is gone, there is nobody to be told.
async fn say_goodbye(id: ChannelId, handle: &Handle, phase: Phase) {
    let status = match phase {
        Phase::Closed => return,
        Phase::Broken(why) => {
            tracing::debug!(%why, "sftp channel closed");
            let _ = handle.extended_data(id, 1, format!("{why}\r\n")).await;
            1
        }
        Phase::Open | Phase::Ending => 0,
    };
    let _ = handle.exit_status_request(id, status).await;
    let _ = handle.eof(id).await;
    let _ = handle.close(id).await;
}

/// A panic in a driver ends its connection (and no other).
struct CutOnPanic(Option<Arc<Traffic>>);

impl CutOnPanic {
    fn disarm(&mut self) {
        self.0 = None;
    }
}

impl Drop for CutOnPanic {
    fn drop(&mut self) {
        if let Some(traffic) = &self.0 {
            traffic.kill();
        }
    }
}
