//! A panic fails one request or ends one connection: it is counted, and logged with its place.

use std::sync::Once;

static HOOK: Once = Once::new();

/// Logs and counts every panic from now on. Tasks keep it to themselves: the runtime catches it.
pub fn watch() {
    HOOK.call_once(|| {
        std::panic::set_hook(Box::new(|info| {
            metrics::counter!("portreeve_panics_total").increment(1);
            let place = info.location().map_or_else(String::new, ToString::to_string);
            let payload = info.payload();
            let what = payload
                .downcast_ref::<&str>()
                .copied()
                .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
                .unwrap_or("a panic without a message");
            tracing::error!(place, what, "panic: what it was about fails, the server goes on");
        }));
    });
}
