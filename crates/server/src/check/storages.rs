//! The options of storages, as far as they can be judged without the storage.

use portreeve_mailbox::{MailOptions, OnUpload, OptionsError};

use super::{problem::Problem, read::Partial, tree::Node};
use crate::{
    options::{Storage, StorageKind},
    secrets,
};

/// Adds every problem.
pub(super) fn check(tree: &Node, config: &Partial, problems: &mut Vec<Problem>) {
    for storage in &config.sections().storages {
        for wrong in own(storage) {
            let span = tree.place(&format!("storage.{}.{}", storage.name, wrong.option));
            problems.push(Problem::new(span, format!("'{}': {}", wrong.option, wrong.text)));
        }
        for (option, secret) in storage.kind.secrets() {
            if let Some(wrong) = secrets::problem(secret) {
                let span = tree.place(&format!("storage.{}.{option}", storage.name));
                let problem = Problem::new(span, format!("'{option}': {wrong}"));
                problems
                    .push(problem.hint("write the secret there, alone, readable to the server's user only"));
            }
        }
    }
    if let Some(key) = &config.sections().store.key {
        let wrong = match key {
            portreeve_model::options::SecretText::Sealed(_) => {
                Some("it opens what is sealed, and cannot be sealed itself".to_owned())
            }
            key => secrets::problem(key),
        };
        if let Some(wrong) = wrong {
            problems.push(Problem::new(tree.place("store.key"), format!("'key': {wrong}")));
        }
    }
}

fn own(storage: &Storage) -> Vec<OptionsError> {
    match &storage.kind {
        StorageKind::Disk(_) => Vec::new(),
        StorageKind::Maildir(options) => {
            let found = portreeve_mailbox::option_problems(&options.mail);
            without_sending(found, &options.mail)
        }
        StorageKind::Exchange(options) => {
            let mut found = options.problems();
            found.extend(mixed(options.mailbox.all()));
            found
        }
        StorageKind::Imap(options) => {
            let mut found = without_sending(options.problems(), &options.mail);
            found.extend(mixed(&options.addresses()));
            found
        }
    }
}

/// A template stands alone: among others it would be one more directory, whose is anybody's guess.
fn mixed(addresses: &[String]) -> Option<OptionsError> {
    let template = addresses.iter().find(|address| address.contains('{'))?;
    (addresses.len() > 1).then(|| OptionsError {
        option: "mailbox",
        text: format!("the template '{template}' stands in a list; give it a storage of its own"),
    })
}

/// The problems of a storage from which nothing can be sent.
fn without_sending(mut found: Vec<OptionsError>, mail: &MailOptions) -> Vec<OptionsError> {
    if mail.on_upload == OnUpload::Send {
        let text =
            "mail can be sent from storages of type \"exchange\" alone; write \"draft\" or \"import\" here";
        found.push(OptionsError {
            option: "on_upload",
            text: text.to_owned(),
        });
    }
    found
}
