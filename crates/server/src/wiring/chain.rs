//! The chain from the configured steps. A local file is opened once and kept while its options stay
//! the same, so that its last good content survives a reload.

use std::{collections::HashMap, sync::Arc};

use portreeve_auth::{
    Anonymous, Application, Chain, DenyUsername, Gate, IpTimeBan, LocalFile, Method, OnFault, OnReject, Step,
    StepKind as Kind,
};
use portreeve_model::GroupName;

use super::{Lasting, fingerprint};
use crate::options::{self, MethodOptions, OnTrouble, StepKind};

/// Methods with a state of their own, by the names of their steps.
#[derive(Clone, Default)]
pub(crate) struct Methods {
    files: HashMap<Arc<str>, (String, Arc<LocalFile>)>,
}

impl Methods {
    /// Builds the chain. `private`: some mount is named after its user, so no two accounts of a file may
    /// come to one name. Blocks while it reads files.
    ///
    /// # Errors
    /// Every step that cannot be built, each a sentence.
    pub(crate) fn build(
        &self,
        steps: &[options::Step],
        groups: &[GroupName],
        private: bool,
        lasting: &Lasting,
    ) -> Result<(Chain, Self), Vec<String>> {
        let (mut built, mut methods, mut problems) = (Vec::new(), Self::default(), Vec::new());
        let suffixes: Vec<String> = steps
            .iter()
            .filter_map(|step| step.kind.method())
            .flat_map(|method| method.remove_username_suffix.iter().cloned())
            .collect();
        for step in steps {
            let kind = match &step.kind {
                StepKind::IpTimeBan(_, options) => gate(
                    IpTimeBan::new(options, Arc::clone(&lasting.bans)).map_err(|error| error.to_string()),
                ),
                StepKind::DenyUsername(_, options) => {
                    gate(DenyUsername::new(options, &suffixes).map_err(|error| error.to_string()))
                }
                StepKind::LocalFile(shared, options) => {
                    let private = private.then_some(shared.remove_username_suffix.as_slice());
                    let print = fingerprint(&(options, groups, private));
                    let kept = self.files.get(&step.name).filter(|(before, _)| *before == print);
                    let file = match kept {
                        Some((_, file)) => Ok(Arc::clone(file)),
                        None => LocalFile::open(options, Some(groups), private, Arc::clone(&lasting.hasher))
                            .map_err(|error| error.to_string()),
                    };
                    file.map(|file| {
                        methods
                            .files
                            .insert(Arc::clone(&step.name), (print, Arc::clone(&file)));
                        method(file, shared)
                    })
                }
                StepKind::Application(shared, options) => {
                    let accounts = Arc::clone(&lasting.accounts);
                    let built = Application::new(options, accounts, Arc::clone(&lasting.hasher));
                    Ok(method(Arc::new(built), shared))
                }
                StepKind::Anonymous(shared, options) => Anonymous::new(options)
                    .map(|built| method(Arc::new(built), shared))
                    .map_err(|error| error.to_string()),
            };
            match kind {
                Ok(kind) => built.push(Step {
                    name: Arc::clone(&step.name),
                    enabled: step.enabled,
                    kind,
                }),
                Err(why) => problems.push(format!("[[auth]] '{}': {why}", step.name)),
            }
        }
        if problems.is_empty() {
            Ok((Chain::new(built), methods))
        } else {
            Err(problems)
        }
    }

    /// Begins to watch the files that `before` did not have.
    pub(crate) fn watch_new(&self, before: &Self) {
        for (name, (_, file)) in &self.files {
            let watched = before
                .files
                .get(name)
                .is_some_and(|(_, old)| Arc::ptr_eq(old, file));
            if !watched {
                LocalFile::watch(file);
            }
        }
    }

    /// What is wrong with a file while its last good content serves.
    pub(crate) fn trouble(&self) -> Vec<String> {
        let troubles = self.files.iter().filter_map(|(name, (_, file))| {
            let problems = file.trouble()?;
            Some(format!("[[auth]] '{name}': {problems}"))
        });
        troubles.collect()
    }

    /// The files, to be read at once.
    pub(crate) fn files(&self) -> Vec<Arc<LocalFile>> {
        self.files.values().map(|(_, file)| Arc::clone(file)).collect()
    }
}

fn gate<G: Gate + 'static>(built: Result<G, String>) -> Result<Kind, String> {
    built.map(|gate| Kind::Gate(Arc::new(gate)))
}

fn method(method: Arc<dyn Method>, shared: &MethodOptions) -> Kind {
    let on_fault = match shared.on_unavailable {
        OnTrouble::Stop => OnFault::Stop,
        OnTrouble::Next => OnFault::Next,
    };
    let on_reject = match shared.on_reject {
        OnTrouble::Stop => OnReject::Stop,
        OnTrouble::Next => OnReject::Next,
    };
    Kind::Method {
        method,
        on_fault,
        on_reject,
    }
}

#[cfg(test)]
mod tests {
    use portreeve_auth::BanList;

    use super::*;
    use crate::{check, wiring};

    #[tokio::test(flavor = "multi_thread")]
    async fn a_file_that_gets_twins_while_it_serves_is_not_taken_over() {
        for (subpath, twins) in [("home/{user}", true), ("home", false)] {
            let dir = tempfile::tempdir().unwrap();
            let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
            write("accounts.toml", "[accounts.alice]\n");
            write(
                "p.toml",
                &format!(
                    "[[listener]]\nprotocol = \"sftp\"\naddress = \"127.0.0.1:0\"\n[[auth]]\ntype = \"local-file\"\n\
                     path = \"accounts.toml\"\nremove_username_suffix = [\"@corp\"]\n[groups.staff]\nmounts = [{{ path \
                     = \"/\", storage = \"files\", subpath = \"{subpath}\", verbs = \"full\" }}]\n[storage.files]\n\
                     type = \"disk\"\nroot = \".\"\n"
                ),
            );
            let config = check::check_file(&dir.path().join("p.toml")).unwrap();
            let store = portreeve_store::Store::open("sqlite:t.db", dir.path())
                .await
                .unwrap();
            let lasting = Lasting::new(&config, &store, Arc::new(BanList::new(None)));
            let built = wiring::build(
                &config,
                &lasting,
                &wiring::Backends::default(),
                &Methods::default(),
            );
            let (_, _, methods) = built.unwrap();
            write("accounts.toml", "[accounts.alice]\n[accounts.\"alice@corp\"]\n");
            for file in methods.files() {
                assert_eq!(file.reload().await.is_err(), twins, "{subpath}");
                assert_eq!(file.accounts(), if twins { 1 } else { 2 }, "{subpath}");
            }
            assert_eq!(methods.trouble().len(), usize::from(twins));
        }
    }
}
