//! A configuration file: every text is either a configuration or a list of problems, each with a place.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let here = Path::new("/nonexistent/portreeve.toml");
    if let Err(report) = portreeve_server::check::check_text(text, here, here) {
        assert!(!report.render().is_empty(), "refused without a word");
    }
});
