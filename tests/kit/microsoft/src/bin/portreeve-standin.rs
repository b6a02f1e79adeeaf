//! The stand-in as a program, for trying by hand and for the bench: prints where it is, as one line of JSON, and serves until
//! its standard input ends.
//!
//! `portreeve-standin [--sample | FILE.json] [--port N] [--latency MILLISECONDS] [--faults SHARE] [--seed N]
//! [--page-size N]`; a client that is started with it ends it by closing the pipe.

use std::{io::Read as _, process::ExitCode, time::Duration};

use portreeve_tests_microsoft::{SAMPLE, Standin};
use serde_json::json;

fn run() -> Result<(), String> {
    let mut arguments = std::env::args().skip(1);
    let (mut port, mut text) = (0, None);
    let (mut latency, mut faults, mut seed, mut page_size) = (0, 0.0, 1, None);
    while let Some(argument) = arguments.next() {
        let mut value = || {
            arguments
                .next()
                .ok_or_else(|| format!("{argument} needs a value"))
        };
        let number = |text: String| text.parse::<u64>().map_err(|_| format!("{text} is no number"));
        match argument.as_str() {
            "--sample" => text = Some(SAMPLE.to_owned()),
            "--port" => port = u16::try_from(number(value()?)?).map_err(|_| "no such port".to_owned())?,
            "--latency" => latency = number(value()?)?,
            "--seed" => seed = number(value()?)?,
            "--page-size" => page_size = usize::try_from(number(value()?)?).ok(),
            "--faults" => faults = value()?.parse::<f64>().map_err(|e| e.to_string())?,
            file if !file.starts_with('-') => {
                text = Some(std::fs::read_to_string(file).map_err(|e| format!("{file}: {e}"))?);
            }
            other => return Err(format!("{other} is no option of this program")),
        }
    }
    let standin = Standin::start_at(port);
    standin.load(text.as_deref().unwrap_or(SAMPLE))?;
    standin.faults().seed(seed);
    standin.faults().latency(Duration::from_millis(latency));
    if faults > 0.0 {
        standin.faults().every_kind(faults);
    }
    standin.faults().page_size(page_size);
    let place = json!({
        "authority": standin.authority(), "graph": standin.graph(), "ca_file": standin.ca_file(),
        "tenant": standin.tenant(), "client_id": standin.app_id(), "client_secret": standin.secret(),
        "pid": std::process::id(),
    });
    println!("{place}");
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    let calls = json!({"calls": standin.calls(), "over_limit": standin.over_limit(), "tokens": standin.tokens_issued()});
    println!("{calls}");
    Ok(())
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("portreeve-standin: {error}");
            ExitCode::FAILURE
        }
    }
}
