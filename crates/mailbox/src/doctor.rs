//! What stands in the way of a mailbox, looked for stage by stage: the options, the way to each host, the
//! token, the permission, the mailbox itself.
//!
//! Invariants: nothing is changed in any mailbox; a stage that another one stands in the way of is skipped
//! and not failed; no finding holds a secret or a token; each failure says what to do, with the command to run
//! where there is one.

mod advice;
mod exchange;
mod imap;

use portreeve_microsoft::{
    Net, TokenFault,
    probe::{self, Stage},
};
use serde::Serialize;

use crate::OptionsError;

/// How a stage came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It works, and is not as it should be.
    Warning,
    /// It does not work.
    Failed,
    /// Something before it stands in the way.
    Skipped,
}

/// What was found at one stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// `configuration`, `dns`, `proxy`, `tcp`, `tls`, `http`, `token`, `consent`, `mailbox`, `folders`, `throttle`,
    /// `outside`, `capabilities` or `login`.
    pub stage: &'static str,
    /// The host, mailbox or option that it is about.
    pub about: String,
    /// How it came out.
    pub verdict: Verdict,
    /// What was found, a sentence.
    pub text: String,
    /// What to do about it: commands to run, and sentences.
    pub run: Vec<String>,
}

/// Whose mailboxes are looked at.
#[derive(Debug, Clone, Default)]
pub struct Subjects {
    /// Addresses instead of those of the options; needed where the options hold a template.
    pub mailboxes: Vec<String>,
    /// A mailbox that must be refused.
    pub outside: Option<String>,
}

impl Subjects {
    /// The addresses to look at: those named, else those of the options that are no templates.
    fn of(&self, written: &[String]) -> Vec<String> {
        let named = self.mailboxes.iter();
        let own = written.iter().filter(|one| !one.contains('{'));
        match self.mailboxes.is_empty() {
            true => own.cloned().collect(),
            false => named.cloned().collect(),
        }
    }
}

/// The findings so far.
#[derive(Default)]
struct Sheet(Vec<Finding>);

impl Sheet {
    fn tell(&mut self, verdict: Verdict, stage: &'static str, about: &str, text: String, run: Vec<String>) {
        self.0.push(Finding {
            stage,
            about: about.to_owned(),
            verdict,
            text,
            run,
        });
    }

    fn ok(&mut self, stage: &'static str, about: &str, text: impl Into<String>) {
        self.tell(Verdict::Ok, stage, about, text.into(), Vec::new());
    }

    fn skipped(&mut self, stage: &'static str, about: &str, text: &str) {
        self.tell(Verdict::Skipped, stage, about, text.to_owned(), Vec::new());
    }

    fn options(&mut self, problems: &[OptionsError]) {
        for problem in problems {
            self.tell(
                Verdict::Failed,
                "configuration",
                problem.option,
                problem.text.clone(),
                Vec::new(),
            );
        }
        if problems.is_empty() {
            self.ok("configuration", "", "the options fit together");
        }
    }

    /// The way to a host; whether it is open. `needed` tells a failure from a warning.
    async fn host(&mut self, net: &Net, url: &str, https: bool, needed: bool) -> bool {
        let Some((host, port)) = place(url) else {
            self.tell(
                Verdict::Failed,
                "dns",
                url,
                "it is no address of a host".to_owned(),
                Vec::new(),
            );
            return false;
        };
        let stages = probe::host(net, &host, port, https).await;
        let open = stages.iter().all(|stage| stage.passed);
        for stage in stages {
            self.stage(&format!("{host}:{port}"), stage, needed);
        }
        open
    }

    fn stage(&mut self, about: &str, stage: Stage, needed: bool) {
        let verdict = match (stage.passed, &stage.advice) {
            (true, None) => Verdict::Ok,
            (false, _) if needed => Verdict::Failed,
            _ => Verdict::Warning,
        };
        let run = stage.advice.into_iter().collect();
        self.tell(verdict, stage.name, about, stage.found, run);
    }
}

/// Whether the token's own endpoint stands in the way, so that nothing else can be asked.
fn is_network(fault: TokenFault) -> bool {
    matches!(fault, TokenFault::Network | TokenFault::Transient)
}

/// Host and port of an `https` address, or of `host:port`.
fn place(url: &str) -> Option<(String, u16)> {
    let rest = url.strip_prefix("https://").unwrap_or(url);
    let authority = rest.split('/').next().filter(|text| !text.is_empty())?;
    if let Some(rest) = authority.strip_prefix('[') {
        let (host, port) = rest.split_once(']')?;
        let port = port.strip_prefix(':').map_or(Ok(443), str::parse).ok()?;
        return Some((host.to_owned(), port));
    }
    match authority.split_once(':') {
        Some((host, port)) if !host.is_empty() => Some((host.to_owned(), port.parse().ok()?)),
        Some(_) => None,
        None => Some((authority.to_owned(), 443)),
    }
}

/// An error with all that is behind it, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let more = inner.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        source = inner.source();
    }
    text
}

pub use exchange::examine as exchange;
pub use imap::examine as imap;

#[cfg(test)]
mod tests;
