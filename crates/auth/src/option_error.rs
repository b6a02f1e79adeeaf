//! An option that cannot be used.

/// Which option, and why, with what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{option}: {why}")]
pub struct OptionError {
    /// The option's name within its step.
    pub option: &'static str,
    /// What is wrong, and how to put it right.
    pub why: String,
}

impl OptionError {
    pub(crate) fn new(option: &'static str, why: impl Into<String>) -> Self {
        Self {
            option,
            why: why.into(),
        }
    }
}
