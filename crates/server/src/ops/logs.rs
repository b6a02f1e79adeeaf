//! Structured logs on standard error.
//!
//! Invariant: nothing that is a `Secret` can be written, since it has no form to write; the level can
//! change while the server runs, the format cannot.

use std::{io::IsTerminal, sync::OnceLock};

use tracing_subscriber::{EnvFilter, Registry, layer::SubscriberExt, reload, util::SubscriberInitExt};

use crate::options::{LogFormat, LogOptions};

static FILTER: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

/// Begins to log, or, where that was done before, sets the level anew. `PORTREEVE_LOG`, in the form of
/// `RUST_LOG`, wins over the configuration.
pub fn set(options: &LogOptions) {
    if let Some(handle) = FILTER.get() {
        if let Err(error) = handle.reload(filter(options)) {
            tracing::warn!(%error, "the log level stays as it was");
        }
        return;
    }
    let (layer, handle) = reload::Layer::new(filter(options));
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let registry = tracing_subscriber::registry().with(layer);
    let begun = match options.format {
        LogFormat::Text => registry.with(lines.with_target(false)).try_init(),
        LogFormat::Json => registry.with(lines.json().flatten_event(true)).try_init(),
    };
    if begun.is_ok() {
        // Only one caller can have begun.
        let _ = FILTER.set(handle);
    }
}

fn filter(options: &LogOptions) -> EnvFilter {
    let ours = options.level.word();
    // Libraries speak of packets at `debug`: they are asked only where somebody wants everything.
    let theirs = if ours == "trace" { "debug" } else { "warn" };
    let theirs = if ours == "error" { "error" } else { theirs };
    let crates = [
        "model", "vfs", "auth", "session", "store", "disk", "mailbox", "sftp", "web", "server",
    ];
    // What hostile clients make these complain about is told by the doors, once a connection.
    let quiet = if ours == "trace" {
        ""
    } else {
        ",rustls=error,russh=error,hyper=error"
    };
    let configured = crates.iter().fold(format!("{theirs}{quiet}"), |text, name| {
        format!("{text},portreeve_{name}={ours}")
    });
    let text = std::env::var("PORTREEVE_LOG").unwrap_or(configured);
    EnvFilter::try_new(&text).unwrap_or_else(|_| EnvFilter::new("info"))
}
