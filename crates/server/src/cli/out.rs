//! The only place that writes to standard output and standard error.

use std::io::{self, IsTerminal, Write};

use serde::Serialize;

/// Where answers and complaints go.
pub(crate) struct Out {
    answers: Box<dyn Write>,
    complaints: Box<dyn Write>,
    /// Whether answers are for programs.
    pub(crate) json: bool,
}

impl Out {
    /// The process's own.
    pub(crate) fn standard() -> Self {
        Self {
            answers: Box::new(io::stdout()),
            complaints: Box::new(io::stderr()),
            json: false,
        }
    }

    /// Into buffers.
    #[cfg(test)]
    pub(crate) fn to(answers: Box<dyn Write>, complaints: Box<dyn Write>, json: bool) -> Self {
        Self {
            answers,
            complaints,
            json,
        }
    }

    /// Bytes as they are.
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        let written = self.answers.write_all(bytes).and_then(|()| self.answers.flush());
        // `portreeve … | head` is no failure.
        written.or_else(|error| {
            if error.kind() == io::ErrorKind::BrokenPipe {
                Ok(())
            } else {
                Err(error)
            }
        })
    }

    /// An answer: one JSON line for programs, `text` for people.
    pub(crate) fn answer<T: Serialize>(
        &mut self,
        answer: &T,
        text: impl FnOnce(&T) -> String,
    ) -> io::Result<()> {
        let mut shown = if self.json {
            serde_json::to_string(answer)?
        } else {
            text(answer)
        };
        if !shown.ends_with('\n') && !shown.is_empty() {
            shown.push('\n');
        }
        self.raw(shown.as_bytes())
    }

    /// Something to know beside the answer.
    pub(crate) fn note(&mut self, text: &str) {
        // Nobody is left to be told.
        let _ = writeln!(self.complaints, "{text}");
    }

    /// Why it did not work.
    pub(crate) fn failure(&mut self, why: &str) {
        if self.json {
            // Nobody is left to be told.
            let _ = self.raw(format!("{}\n", serde_json::json!({ "error": why })).as_bytes());
        }
        self.note(&format!("portreeve: {why}"));
    }
}

/// Whether a person sits at standard input.
pub(crate) fn person_types() -> bool {
    io::stdin().is_terminal()
}
