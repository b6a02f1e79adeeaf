//! The one place that every operation passes. [`enter`] judges, [`Pass`] leads to the tree, and
//! leaving records: without a pass nobody reaches a backend, and no pass goes unrecorded.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use portreeve_model::{Act, Outcome, VPath};
use portreeve_vfs::{Entry, FileSystem, FsError, FsErrorKind, FsResult, Links, Note, OpCx};

use crate::{
    Plan,
    deed::{Deed, Present},
    live::{Live, View},
};

/// The right to do one deed.
#[must_use]
pub(crate) struct Pass {
    live: Arc<Live>,
    /// This operation's: its backend's word is about nothing else.
    cx: OpCx,
    view: Arc<View>,
    there: Option<Entry>,
    began: Instant,
    /// What is to be recorded; `None` once it was, or where success is not recorded.
    act: Option<Act>,
    records_success: bool,
}

/// Judges a deed: whether the session still stands, whether it can be recorded, whether the plan
/// allows it. A refusal is recorded here.
pub(crate) async fn enter(live: &Arc<Live>, deed: &Deed<'_>) -> FsResult<Pass> {
    let began = Instant::now();
    live.touch();
    if !live.standing().await {
        return Err(FsError::new(FsErrorKind::Cancelled).context("the session is over"));
    }
    let view = live.view();
    let (present, there) = match deed.asks_about(&view.plan) {
        None => (Present::Either, None),
        Some(path) => match view.tree.stat(&live.cx, path, Links::Follow).await {
            Ok(entry) => (Present::Yes, Some(entry)),
            Err(error) if matches!(error.kind(), FsErrorKind::NotFound | FsErrorKind::NotDir) => {
                (Present::No, None)
            }
            Err(_) => (Present::Either, None),
        },
    };
    let verdict = deed.check(&view.plan, present).and_then(|()| {
        if live.gate.0.audit.healthy() {
            Ok(())
        } else {
            Err(unrecordable())
        }
    });
    if let Err(error) = verdict {
        // This write also heals a sink that works again.
        record(live, deed.act(), &Err(error.clone()), began.elapsed())?;
        return Err(error);
    }
    let (act, records_success) = (Some(deed.act()), deed.is_recorded());
    Ok(Pass {
        cx: live.cx.afresh(),
        live: Arc::clone(live),
        view,
        there,
        began,
        act,
        records_success,
    })
}

impl Pass {
    /// The tree. Only a pass leads here.
    pub(crate) fn tree(&self) -> &dyn FileSystem {
        &self.view.tree
    }

    /// What others see at the path that the deed asks about.
    pub(crate) const fn there(&self) -> Option<&Entry> {
        self.there.as_ref()
    }

    pub(crate) fn plan(&self) -> &Plan {
        &self.view.plan
    }

    pub(crate) fn view(&self) -> Arc<View> {
        Arc::clone(&self.view)
    }

    pub(crate) const fn cx(&self) -> &OpCx {
        &self.cx
    }

    pub(crate) fn live(&self) -> &Arc<Live> {
        &self.live
    }

    pub(crate) const fn began(&self) -> Instant {
        self.began
    }

    fn known(&self) -> Known<'_> {
        Known {
            note: self.cx.noted(),
            tls_reused: None,
        }
    }

    /// Records how it ended and hands the result on.
    pub(crate) fn leave<T>(mut self, result: FsResult<T>) -> FsResult<T> {
        let Some(act) = self.act.take() else { return result };
        let unrecorded = match &result {
            Ok(_) => !self.records_success,
            // A look-up that finds nothing is no event; one that is refused is.
            Err(error) => matches!(act, Act::Stat(_)) && !is_refusal(error.kind()),
        };
        if unrecorded {
            return result;
        }
        let told = result.as_ref().map(|_| ()).map_err(Clone::clone);
        record_with(&self.live, act, &told, self.began.elapsed(), self.known())?;
        result
    }
}

impl Drop for Pass {
    /// The door dropped the operation in mid-course (its client went): that is recorded too.
    fn drop(&mut self) {
        if let Some(act) = self
            .act
            .take()
            .filter(|act| self.records_success && !matches!(act, Act::Stat(_)))
        {
            let gone = FsError::new(FsErrorKind::Cancelled).context("the client went before it ended");
            let _ = record_with(&self.live, act, &Err(gone), self.began.elapsed(), self.known());
        }
    }
}

/// What others see under the path of an upload that was let in, for its settling.
pub(crate) async fn visible(live: &Live, path: &VPath) -> Option<Entry> {
    live.view().tree.stat(&live.cx, path, Links::Follow).await.ok()
}

/// Writes the event of a deed, or counts it where it is one of too many that did nothing.
pub(crate) fn record(live: &Live, act: Act, result: &FsResult<()>, took: Duration) -> FsResult<()> {
    record_with(live, act, result, took, Known::default())
}

/// What is known of a deed beside how it ended.
#[derive(Clone, Copy, Default)]
pub(crate) struct Known<'a> {
    /// What its storage says.
    pub(crate) note: Option<&'a Note>,
    /// Of the data connection of a transfer.
    pub(crate) tls_reused: Option<bool>,
}

/// As [`record`], with what else is known.
pub(crate) fn record_with(
    live: &Live,
    act: Act,
    result: &FsResult<()>,
    took: Duration,
    known: Known<'_>,
) -> FsResult<()> {
    let outcome = match result {
        Ok(()) => Outcome::Ok,
        Err(error) if is_refusal(error.kind()) => Outcome::Refused(error.message().to_owned()),
        Err(error) => Outcome::Failed(told(error)),
    };
    if live.damps(&act, &outcome) {
        return Ok(());
    }
    let mut event = live.event(act, outcome, took);
    event.item = known.note.and_then(Note::item);
    live.record_over(&event, known.tls_reused)
        .map_err(|fault| unrecordable().caused_by(fault))
}

/// Message and causes: the log may know more than the client.
fn told(error: &FsError) -> String {
    let mut text = error.message().to_owned();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

fn unrecordable() -> FsError {
    FsError::new(FsErrorKind::Backend)
        .context("the audit log cannot be written, and nothing is done unrecorded; tell the administrator")
}

const fn is_refusal(kind: FsErrorKind) -> bool {
    matches!(
        kind,
        FsErrorKind::Refused | FsErrorKind::Quota | FsErrorKind::TooLarge
    )
}
