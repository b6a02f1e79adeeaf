//! The audit log: every event, to every sink, before the answer that it describes.
//!
//! Sinks are written synchronously, by `write(2)`: a record costs some microseconds, reaches the
//! kernel before the client learns of the act, and can be written from a `Drop`.

mod encode;
mod file;
mod stream;
mod verify;

use std::{
    fmt,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

use parking_lot::Mutex;
use portreeve_model::Event;

pub use verify::{Finding, verify};

use crate::{AuditMode, AuditOptions, SinkOptions};

/// A place for records. One line, without its end.
trait Sink: Send {
    fn write(&mut self, line: &str) -> std::io::Result<()>;
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

/// The audit log.
pub struct Audit {
    mode: AuditMode,
    digest: Option<crate::DigestKind>,
    sinks: Mutex<Vec<Named>>,
    lost: AtomicU64,
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
                } => {
                    let path = data_dir.join(path);
                    let sink = file::File::open(&path, rotate_at.0, *keep);
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
        Ok(Self {
            mode: options.mode,
            digest: options.digest,
            sinks: Mutex::new(sinks),
            lost: AtomicU64::new(0),
        })
    }

    /// A log that goes nowhere: for tests.
    #[must_use]
    pub fn nowhere() -> Self {
        Self {
            mode: AuditMode::BestEffort,
            digest: None,
            sinks: Mutex::default(),
            lost: AtomicU64::new(0),
        }
    }

    /// The digest that transfers carry, where one is asked for.
    #[must_use]
    pub const fn digest(&self) -> Option<crate::DigestKind> {
        self.digest
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
        metrics::counter!("portreeve_events_total", "act" => event.act.name()).increment(1);
        let line = encode::line(event);
        let mut fault = None;
        for named in self.sinks.lock().iter_mut() {
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
        match (self.mode, fault) {
            (AuditMode::Required, Some(fault)) => Err(fault),
            _ => Ok(()),
        }
    }

    /// Whether an operation may begin: in mode `required` not while a sink is broken, unless it takes
    /// `event` now (a sink heals by being written to).
    #[must_use]
    pub fn healthy(&self) -> bool {
        self.mode == AuditMode::BestEffort || !self.sinks.lock().iter().any(|named| named.broken)
    }
}
