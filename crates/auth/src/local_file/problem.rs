//! What is wrong with an accounts file, and where.

use std::{fmt, ops::Range};

/// Most problems that are reported at once.
const MOST: usize = 100;

/// One problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileProblem {
    /// The line, from 1; 0 where it concerns the file itself.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

impl fmt::Display for FileProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "line {}, column {}: ", self.line, self.column)?;
        }
        f.write_str(&self.message)?;
        self.hint.iter().try_for_each(|hint| write!(f, " ({hint})"))
    }
}

/// All problems of one file, in the order of their lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileProblems(pub Vec<FileProblem>);

impl FileProblems {
    pub(super) fn of_file(message: impl Into<String>) -> Self {
        Self(vec![FileProblem {
            line: 0,
            column: 0,
            message: message.into(),
            hint: None,
        }])
    }
}

impl fmt::Display for FileProblems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, problem) in self.0.iter().enumerate() {
            if n > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for FileProblems {}

/// Collects problems of a text.
pub(super) struct Collector<'a> {
    text: &'a str,
    found: Vec<(usize, FileProblem)>,
}

impl<'a> Collector<'a> {
    pub(super) const fn new(text: &'a str) -> Self {
        Self {
            text,
            found: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, at: &Range<usize>, message: impl Into<String>, hint: Option<String>) {
        if self.found.len() >= MOST {
            return;
        }
        let before = self.text.get(..at.start).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let problem = FileProblem {
            line: before.matches('\n').count() + 1,
            column: before.get(line_start..).unwrap_or_default().chars().count() + 1,
            message: message.into(),
            hint,
        };
        self.found.push((at.start, problem));
    }

    pub(super) fn finish(mut self) -> Result<(), FileProblems> {
        if self.found.is_empty() {
            return Ok(());
        }
        self.found.sort_by_key(|(at, _)| *at);
        Err(FileProblems(
            self.found.into_iter().map(|(_, problem)| problem).collect(),
        ))
    }
}
