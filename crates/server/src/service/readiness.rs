//! What `/readyz`, `portreeve status` and systemd's status line say.

use portreeve_session::Gatekeeper;
use serde_json::{Value as Json, json};

use super::Service;
use crate::{
    ops::probes::Subject,
    supervisor::{State, Status},
};

impl Service {
    /// Ready: state can be reached, a listener listens, and the server does not stop. What is degraded
    /// beside that is told too.
    #[must_use]
    pub fn readiness_of(&self) -> (bool, Json) {
        let status = self.supervisor.status();
        let store = self.store.trouble();
        let draining = self.gate.draining().is_cancelled();
        let (up, _) = counts(&status);
        let ready = store.is_none() && !draining && up > 0;
        let reload = self.reload_trouble.lock().clone();
        let now = self.now.load();
        let mut trouble = now.methods.trouble();
        trouble.extend(self.probes_trouble.lock().clone());
        let degraded = up < status.len() || reload.is_some() || !trouble.is_empty();
        let listeners: Vec<Json> = status.iter().map(listener).collect();
        let told = json!({
            "ready": ready,
            "degraded": degraded,
            "draining": draining,
            "generation": self.gate.generation(),
            "listeners": listeners,
            "reload_error": reload,
            "store_error": store,
            "trouble": trouble,
        });
        (ready, told)
    }

    /// One line.
    pub(super) fn summary(&self) -> (bool, String) {
        let status = self.supervisor.status();
        let (up, all) = counts(&status);
        (
            up == all,
            format!(
                "{up} of {all} listeners are up, configuration {}",
                self.gate.generation()
            ),
        )
    }
}

fn counts(status: &[Status]) -> (usize, usize) {
    let up = status
        .iter()
        .filter(|status| matches!(status.state, State::Up(_)))
        .count();
    (up, status.len())
}

fn listener(status: &Status) -> Json {
    let (state, address, error) = match &status.state {
        State::Starting => ("starting", status.address, None),
        State::Up(real) => ("up", *real, None),
        State::Down(error) => ("down", status.address, Some(error)),
    };
    json!({
        "name": &*status.name, "protocol": status.door.name(), "address": address.to_string(),
        "state": state, "error": error,
    })
}

impl Subject for std::sync::Weak<Service> {
    fn readiness(&self) -> (bool, Json) {
        self.upgrade().map_or_else(
            || (false, json!({ "ready": false })),
            |service| service.readiness_of(),
        )
    }

    fn freshen(&self) {
        let Some(service) = self.upgrade() else { return };
        let (ready, _) = service.readiness_of();
        let gate: &Gatekeeper = &service.gate;
        metrics::gauge!("portreeve_ready").set(if ready { 1.0 } else { 0.0 });
        metrics::gauge!("portreeve_generation").set(gate.generation() as f64);
        metrics::gauge!("portreeve_connections").set(f64::from(gate.connections()));
        let up = counts(&service.supervisor.status());
        metrics::gauge!("portreeve_listeners_up").set(up.0 as f64);
        metrics::gauge!("portreeve_listeners").set(up.1 as f64);
        let around = &service.lasting.around;
        let usage = around.cloud.usage();
        metrics::counter!("portreeve_graph_calls_total").absolute(usage.calls);
        for (direction, bytes) in [("in", usage.bytes_in), ("out", usage.bytes_out)] {
            metrics::counter!("portreeve_graph_bytes_total", "direction" => direction).absolute(bytes);
        }
        metrics::gauge!("portreeve_graph_in_flight").set(usage.in_flight as f64);
        metrics::gauge!("portreeve_graph_throttled").set(usage.throttled as f64);
        metrics::gauge!("portreeve_spool_bytes").set(around.spool.used() as f64);
    }
}
