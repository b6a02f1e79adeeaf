//! How cases end, and what is told of them.

use std::{fmt, panic::Location};

use super::Case;
use crate::FsError;

/// Why a case ended before its end.
#[derive(Debug)]
pub enum Stop {
    /// The backend cannot do this by its own word.
    Skip(&'static str),
    /// It broke the contract.
    Fail(String),
}

impl Stop {
    /// A failure at the caller's line.
    #[track_caller]
    #[must_use]
    pub fn fail(why: impl fmt::Display) -> Self {
        let at = Location::caller();
        Self::Fail(format!("{}:{}: {why}", at.file(), at.line()))
    }
}

impl From<FsError> for Stop {
    #[track_caller]
    fn from(error: FsError) -> Self {
        Self::fail(format_args!("unexpected error {:?}: {error}", error.kind()))
    }
}

/// What passed and what was skipped.
#[derive(Debug, Default)]
pub struct Report {
    /// Names of the cases that passed.
    pub passed: Vec<&'static str>,
    /// Names of the cases that were skipped, with the ability that is missing.
    pub skipped: Vec<(&'static str, &'static str)>,
    failed: Vec<String>,
}

impl Report {
    pub(super) fn add(&mut self, case: &Case, outcome: Result<(), Stop>) {
        match outcome {
            Ok(()) => self.passed.push(case.name),
            Err(Stop::Skip(missing)) => self.skipped.push((case.name, missing)),
            Err(Stop::Fail(why)) => self.failed.push(format!("{} ({}): {why}", case.name, case.rule)),
        }
    }

    pub(super) fn finish(self) -> Result<Self, Failures> {
        if self.failed.is_empty() {
            return Ok(self);
        }
        Err(Failures(self.failed))
    }
}

/// Everything that failed.
pub struct Failures(Vec<String>);

impl fmt::Display for Failures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} cases failed", self.0.len())?;
        self.0.iter().try_for_each(|failure| write!(f, "\n  {failure}"))
    }
}

/// As `Display`, so that `unwrap` in a test prints one case a line.
impl fmt::Debug for Failures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Failures {}
