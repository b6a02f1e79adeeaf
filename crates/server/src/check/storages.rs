//! The options of storages, as far as they can be judged without the storage.

use super::{problem::Problem, read::Partial, tree::Node};
use crate::options::StorageKind;

/// Adds every problem.
pub(super) fn check(tree: &Node, config: &Partial, problems: &mut Vec<Problem>) {
    for storage in &config.sections().storages {
        let StorageKind::Maildir(options) = &storage.kind else {
            continue;
        };
        for wrong in portreeve_mailbox::option_problems(&options.mail) {
            let span = tree.place(&format!("storage.{}.{}", storage.name, wrong.option));
            problems.push(Problem::new(span, format!("'{}': {}", wrong.option, wrong.text)));
        }
    }
}
