//! What a backend leaves word of with an operation: what the path stands for.
//!
//! Invariants: the backend alone writes it, in words of its own; nothing here knows what they mean, and no
//! layer between the backend and whoever records has to pass anything on. An operation whose backend has
//! nothing to say costs no allocation.

use std::sync::Arc;

use parking_lot::Mutex;
use portreeve_model::Item;

/// Word about one operation. A handle: a file that is open goes on writing in it until it ends, since an
/// upload learns only at its commit what became of it.
#[derive(Debug, Clone, Default)]
pub struct Note(Arc<Mutex<Item>>);

impl Note {
    /// Says `value` of `key`, in place of what was said of it before.
    pub fn put(&self, key: &'static str, value: impl Into<String>) {
        let value = value.into();
        self.0.lock().put(key, value);
    }

    /// What is said by now; none where that is nothing.
    #[must_use]
    pub fn item(&self) -> Option<Item> {
        Some(self.0.lock().clone()).filter(|item| !item.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::cx;

    #[test]
    fn a_note_is_one_operations_and_is_written_on() {
        let session = cx("alice");
        let operation = session.afresh();
        assert!(operation.noted().is_none());
        let note = operation.note().clone();
        assert_eq!(note.item(), None);
        note.put("shelf", "1");
        operation.note().put("shelf", "2");
        let item = operation.noted().unwrap().item().unwrap();
        assert_eq!(item.facts().collect::<Vec<_>>(), [("shelf", "2")]);
        assert!(session.noted().is_none() && operation.afresh().noted().is_none());

        let other = session.afresh();
        other.adopt(&note);
        note.put("row", "3");
        assert_eq!(other.noted().unwrap().item().unwrap().get("row"), Some("3"));
    }
}
