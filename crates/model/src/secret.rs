//! Secrets that print nothing and are wiped when dropped.

use std::fmt;

use zeroize::Zeroizing;

/// Text that must not leak: no `Display`, a `Debug` that says nothing, no serialisation, wiped on
/// drop. It is opened by name, with [`Secret::expose`].
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes the text over.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text itself: for the verifier, never for a message.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_nothing() {
        assert!(!format!("{:?}", Secret::new("hunter2".into())).contains("hunter"));
    }
}
