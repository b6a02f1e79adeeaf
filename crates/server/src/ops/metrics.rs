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
    describe_gauge!(
        "portreeve_graph_in_flight",
        "Requests to Microsoft Graph that are under way"
    );
    describe_gauge!(
        "portreeve_graph_throttled",
        "Mailboxes that Microsoft Graph wants to be left alone about"
    );
    describe_gauge!(
        "portreeve_spool_bytes",
        Unit::Bytes,
        "Bytes of remote content in the spool"
    );
    describe_counter!("portreeve_graph_calls_total", "Requests to Microsoft Graph");
    describe_counter!(
        "portreeve_graph_bytes_total",
        Unit::Bytes,
        "Bytes of bodies from and to Microsoft Graph, by direction"
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
        "portreeve_events_damped_total",
        "Acts that changed nothing and were counted instead of recorded one by one"
    );
    describe_counter!(
        "portreeve_events_damped_total",
        "Refusals, failures and listings beyond so many a minute, counted instead of recorded, by act"
    );
    describe_counter!(
        "portreeve_audit_lost_total",
        "Audit records that could not be written"
    );
    describe_counter!(
        "portreeve_knocks_unrecorded_total",
        "Refused connections that were not recorded one by one"
    );
    describe_counter!(
        "portreeve_panics_total",
        "Panics; each failed one request or ended one connection"
    );
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
        "portreeve_ftp_strangers_total",
        "FTP data connections that did not come from the client"
    );
    describe_counter!(
        "portreeve_tls_exchanges_total",
        "Changed certificate files, by outcome"
    );
}

#[cfg(test)]
mod tests {
    use std::{
        collections::{BTreeMap, BTreeSet},
        fs,
        path::Path,
    };

    /// Names behind `before`, such as `counter!(`, with what they are.
    fn named(text: &str, kinds: &mut BTreeMap<String, BTreeSet<&'static str>>, before: &str) {
        for kind in ["counter", "gauge", "histogram"] {
            for rest in text.split(&format!("{before}{kind}!(")).skip(1) {
                let Some(name) = rest
                    .trim_start()
                    .strip_prefix('"')
                    .and_then(|rest| rest.split('"').next())
                else {
                    panic!(
                        "the name of a metric stands in its call: {}",
                        rest.lines().next().unwrap()
                    );
                };
                kinds.entry(name.to_owned()).or_default().insert(kind);
            }
        }
    }

    fn sources(dir: &Path, found: &mut Vec<String>) {
        for entry in fs::read_dir(dir).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                sources(&path, found);
            } else if path.extension().is_some_and(|end| end == "rs") {
                found.push(fs::read_to_string(&path).unwrap());
            }
        }
    }

    /// Who looks at the numbers finds each of them described beside its value, and in the documents.
    #[test]
    fn every_metric_is_described_and_documented_and_no_other() {
        let home = Path::new(env!("CARGO_MANIFEST_DIR"));
        let (mut used, mut described) = (BTreeMap::new(), BTreeMap::new());
        for entry in fs::read_dir(home.parent().unwrap()).unwrap().flatten() {
            let mut texts = Vec::new();
            if entry.path().join("src").is_dir() {
                sources(&entry.path().join("src"), &mut texts);
            }
            // In two pieces: this file is searched too.
            texts
                .iter()
                .for_each(|text| named(text, &mut used, concat!("metrics", "::")));
        }
        named(
            include_str!("metrics.rs"),
            &mut described,
            concat!("describe", "_"),
        );
        assert!(used.len() > 15, "the sources were not found: {used:?}");
        assert_eq!(used, described, "used (left) and described (right)");
        let page = fs::read_to_string(home.join("docs/operations.md")).unwrap();
        let told: BTreeSet<String> = page
            .split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
            .filter(|word| word.starts_with("portreeve_"))
            .map(str::to_owned)
            .collect();
        assert_eq!(
            told,
            described.into_keys().collect(),
            "docs/operations.md (left) and described (right)"
        );
    }
}
