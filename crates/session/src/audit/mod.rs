//! The audit log: every event, to every sink, before the answer that it describes.
//!
//! Sinks are written synchronously, by `write(2)`: a record costs some microseconds, reaches the
//! kernel before the client learns of the act, and can be written from a `Drop`.

mod encode;
mod file;
mod rotation;
mod stream;
mod verify;

use std::{
    fmt,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

use parking_lot::Mutex;
use portreeve_model::Event;

pub use verify::{Finding, Verified, verify};

use crate::{AuditMode, AuditOptions, SinkOptions, damp::Unwritten};
use rotation::{Retention, WhenFull};

/// A place for records. One line, without its end.
trait Sink: Send {
    fn write(&mut self, line: &str) -> std::io::Result<()>;
}

/// What a record tells beside its event.
#[derive(Debug, Clone, Default)]
pub(crate) struct Beside {
    /// Records that were not written before it.
    pub(crate) unwritten: Unwritten,
    /// Whether the data connection of a transfer resumed the TLS session of its control connection; none
    /// where there was no data connection, or no TLS on it.
    pub(crate) tls_reused: Option<bool>,
}

/// A record could not be written.
#[derive(Debug, Clone)]
pub struct AuditFault(String);

impl fmt::Display for AuditFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for AuditFault {}

/// The audit log. One for the life of the process: a reload puts other sinks into it, so that no two
/// logs ever write one file.
pub struct Audit {
    state: Mutex<State>,
    lost: AtomicU64,
}

struct State {
    mode: AuditMode,
    digest: Option<crate::DigestKind>,
    sinks: Vec<Named>,
}

struct Named {
    name: String,
    sink: Box<dyn Sink>,
    broken: bool,
}

impl Audit {
    /// Opens every sink; relative paths count from `data_dir`.
    ///
    /// # Errors
    /// The first sink that cannot be opened, in plain words.
    pub fn open(options: &AuditOptions, data_dir: &Path) -> Result<Self, AuditFault> {
        let mut sinks = Vec::new();
        for option in &options.sinks {
            let (name, sink): (String, std::io::Result<Box<dyn Sink>>) = match option {
                SinkOptions::File {
                    path,
                    rotate_at,
                    keep,
                    keep_for,
                    max_total,
                } => {
                    let path = data_dir.join(path);
                    let terms = Retention {
                        rotate_at: rotate_at.0,
                        keep: *keep,
                        keep_for: keep_for.0,
                        max_total: max_total.0,
                        when_full: match options.mode {
                            AuditMode::Required => WhenFull::Refuse,
                            AuditMode::BestEffort => WhenFull::Remove,
                        },
                    };
                    let sink = terms
                        .check()
                        .map_err(std::io::Error::other)
                        .and_then(|()| file::File::open(&path, terms));
                    (
                        format!("file {}", path.display()),
                        sink.map(|s| Box::new(s) as Box<dyn Sink>),
                    )
                }
                SinkOptions::Stdout => ("stdout".into(), Ok(Box::new(stream::Stdout))),
                SinkOptions::Syslog { socket } => (
                    format!("syslog {}", socket.display()),
                    Ok(Box::new(stream::Syslog::new(socket.clone()))),
                ),
            };
            let sink = sink.map_err(|error| AuditFault(format!("the audit sink {name}: {error}")))?;
            sinks.push(Named {
                name,
                sink,
                broken: false,
            });
        }
        Ok(Self::with(options.mode, options.digest, sinks))
    }

    const fn with(mode: AuditMode, digest: Option<crate::DigestKind>, sinks: Vec<Named>) -> Self {
        Self {
            state: Mutex::new(State { mode, digest, sinks }),
            lost: AtomicU64::new(0),
        }
    }

    /// Goes on as `next` was opened, between two records.
    pub(crate) fn become_like(&self, next: Self) {
        *self.state.lock() = next.state.into_inner();
    }

    /// A log that goes nowhere: for tests.
    #[must_use]
    pub fn nowhere() -> Self {
        Self::with(AuditMode::BestEffort, None, Vec::new())
    }

    /// The digest that transfers carry, where one is asked for.
    #[must_use]
    pub fn digest(&self) -> Option<crate::DigestKind> {
        self.state.lock().digest
    }

    /// Records that could not be written to some sink so far.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Writes one event to every sink.
    ///
    /// # Errors
    /// In mode `required`, the fault of the first sink that failed.
    pub fn record(&self, event: &Event) -> Result<(), AuditFault> {
        self.record_with(event, &Beside::default())
    }

    /// As [`Audit::record`], with what is told beside the event.
    pub(crate) fn record_with(&self, event: &Event, beside: &Beside) -> Result<(), AuditFault> {
        metrics::counter!("portreeve_events_total", "act" => event.act.name()).increment(1);
        let line = encode::line(event, beside);
        let mut fault = None;
        let mut state = self.state.lock();
        for named in &mut state.sinks {
            let Err(error) = named.sink.write(&line) else {
                named.broken = false;
                continue;
            };
            self.lost.fetch_add(1, Ordering::Relaxed);
            metrics::counter!("portreeve_audit_lost_total").increment(1);
            if !named.broken {
                tracing::error!(sink = named.name, %error, "an audit record could not be written");
            }
            named.broken = true;
            fault.get_or_insert_with(|| AuditFault(format!("the audit sink {}: {error}", named.name)));
        }
        match (state.mode, fault) {
            (AuditMode::Required, Some(fault)) => Err(fault),
            _ => Ok(()),
        }
    }

    /// Whether an operation may begin: in mode `required` not while a sink is broken. A sink heals by
    /// being written to.
    #[must_use]
    pub fn healthy(&self) -> bool {
        let state = self.state.lock();
        state.mode == AuditMode::BestEffort || !state.sinks.iter().any(|named| named.broken)
    }
}

#[cfg(test)]
mod tests;
