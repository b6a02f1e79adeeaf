//! What lets a transfer go on. The plan under which it began may be replaced while it runs: then it is
//! asked once whether the new one still allows it (promise R-13).

use std::sync::Arc;

use parking_lot::Mutex;
use portreeve_model::{VPath, Verb};
use portreeve_vfs::{FsResult, OpenWrite, WriteMode};

use crate::{
    deed::lacks,
    live::{Live, View},
};

/// Any of these verbs, on the path that the transfer has now.
pub(crate) struct Mandate {
    verbs: Vec<Verb>,
    /// Under which it was asked last.
    view: Mutex<Arc<View>>,
}

impl Mandate {
    pub(crate) const fn new(verbs: Vec<Verb>, view: Arc<View>) -> Self {
        Self {
            verbs,
            view: Mutex::new(view),
        }
    }

    /// For an upload; `there` says whether something visible was to be changed, where that was asked.
    pub(crate) fn to_write(how: &OpenWrite, there: bool, view: Arc<View>) -> Self {
        let mut verbs = match how.mode {
            WriteMode::CreateNew => vec![],
            WriteMode::Replace | WriteMode::Update { .. } => vec![Verb::Overwrite],
            WriteMode::Append { .. } | WriteMode::Resume { .. } => vec![Verb::Append, Verb::Overwrite],
        };
        if !there {
            verbs.push(Verb::Create);
        }
        Self::new(verbs, view)
    }

    /// Whether it still stands. `path` is asked for only after a change.
    ///
    /// # Errors
    /// `Refused` with the verb that is missing.
    pub(crate) fn stands(&self, live: &Live, path: impl FnOnce() -> VPath) -> FsResult<()> {
        let now = live.view();
        let mut asked = self.view.lock();
        if Arc::ptr_eq(&now, &asked) {
            return Ok(());
        }
        let path = path();
        if let Some(missing) = self.verbs.first()
            && !self.verbs.iter().any(|verb| now.plan.allows(&path, *verb))
        {
            return Err(lacks(*missing));
        }
        *asked = now;
        Ok(())
    }
}
