//! The recorder behind the `metrics` facade, and what each number means.

use std::sync::{Mutex, OnceLock, PoisonError};

use metrics::{Unit, describe_counter, describe_gauge};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
static BEGIN: Mutex<()> = Mutex::new(());

/// Begins to record, once a process.
pub fn begin() {
    let _one = BEGIN.lock().unwrap_or_else(PoisonError::into_inner);
    if HANDLE.get().is_some() {
        return;
    }
    match PrometheusBuilder::new().install_recorder() {
        Ok(handle) => {
            describe();
            let _ = HANDLE.set(handle);
        }
        Err(error) => tracing::warn!(%error, "metrics cannot be recorded"),
    }
}

/// All numbers in Prometheus' text form (version 0.0.4).
#[must_use]
pub fn render() -> String {
    HANDLE.get().map_or_else(String::new, |handle| {
        handle.run_upkeep();
        handle.render()
    })
}

fn describe() {
    describe_gauge!("portreeve_listeners", "Listeners that the configuration asks for");
    describe_gauge!("portreeve_listeners_up", "Listeners that listen");
    describe_gauge!("portreeve_listener_up", "1 where the listener listens");
    describe_gauge!("portreeve_connections", "Connections open now");
    describe_gauge!("portreeve_sessions", "Sessions open now");
    describe_gauge!(
        "portreeve_generation",
        "Number of the configuration that serves, from 1 at start"
    );
    describe_gauge!("portreeve_ready", "1 while /readyz says so");
    describe_counter!("portreeve_connections_total", "Connections accepted");
    describe_counter!("portreeve_logins_total", "Tries to sign in, by outcome");
    describe_counter!(
        "portreeve_bytes_total",
        Unit::Bytes,
        "Bytes that passed, by direction"
    );
    describe_counter!("portreeve_events_total", "Audit events, by act");
    describe_counter!(
        "portreeve_audit_lost_total",
        "Audit records that could not be written"
    );
    describe_counter!("portreeve_panics_total", "Panics; each ended one connection");
    describe_counter!("portreeve_reloads_total", "Reloads, by outcome");
    describe_counter!(
        "portreeve_accept_exhausted_total",
        "Accepts that found no free descriptor"
    );
    describe_counter!(
        "portreeve_proxy_header_errors_total",
        "Trusted proxies that sent no usable header"
    );
    describe_counter!(
        "portreeve_tls_handshakes_failed_total",
        "TLS handshakes that failed or took too long"
    );
    describe_counter!(
        "portreeve_tls_exchanges_total",
        "Changed certificate files, by outcome"
    );
}
