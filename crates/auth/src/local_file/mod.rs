//! The method `local-file`: accounts in a TOML file of their own, read anew when it changes.
//!
//! Invariants: a file is taken over whole or not at all; while the file on disk is wrong, the last good
//! one serves and the problem can be seen; an account belongs to transfer users only.

mod parse;
mod problem;
mod read;

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use parking_lot::{Mutex, RwLock};
use portreeve_model::{GroupName, UserName};
use schemars::JsonSchema;
use serde::Deserialize;

pub use problem::{FileProblem, FileProblems};

use crate::{
    Attempt, Audience, Clock, CredentialKind, Explanation, Hasher, Identity, Inquiry, KeyAnswer, KeyRules,
    MachineClock, Method, Standing, Verdict,
    account::{self, Known, Proof},
};
use read::Stamp;

/// How often the file is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Options of `type = "local-file"`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LocalFileOptions {
    /// The file with the accounts; relative to the configuration's directory.
    pub path: PathBuf,
    /// Takes RSA keys from 2,048 bits on; by default from 3,072.
    #[serde(default)]
    pub allow_rsa_2048: bool,
}

type Accounts = HashMap<UserName, Known>;

/// The method.
pub struct LocalFile {
    path: PathBuf,
    rules: KeyRules,
    groups: Option<Vec<GroupName>>,
    private: Option<Vec<String>>,
    hasher: Arc<Hasher>,
    clock: Arc<dyn Clock>,
    accounts: RwLock<Arc<Accounts>>,
    generation: AtomicU64,
    watched: Mutex<Watched>,
    loading: tokio::sync::Mutex<()>,
}

/// The file's stamp; none where it cannot be looked at.
type Sight = Option<Stamp>;

/// What the watcher knows.
struct Watched {
    /// The sight of the file that was last taken over or refused.
    judged: Sight,
    /// Another sight, had once: the file is read when it is had again, since somebody may still write.
    seen: Option<Sight>,
    trouble: Option<Arc<FileProblems>>,
}

impl LocalFile {
    /// Reads the file. `groups` are those of the main configuration; an account in another group is a
    /// problem. `private` is there where folders are made of people's names, and holds the suffixes that
    /// are cut off before: two accounts that would share a folder are a problem then, now and whenever the
    /// file is read anew. Blocks while it reads.
    ///
    /// # Errors
    /// [`FileProblems`]: all of them, with line and column.
    pub fn open(
        options: &LocalFileOptions,
        groups: Option<&[GroupName]>,
        private: Option<&[String]>,
        hasher: Arc<Hasher>,
    ) -> Result<Arc<Self>, FileProblems> {
        Self::open_by(
            options,
            groups,
            private,
            hasher,
            Arc::new(MachineClock::default()),
        )
    }

    /// [`LocalFile::open`] with another clock by which live sessions expire.
    ///
    /// # Errors
    /// As [`LocalFile::open`].
    pub fn open_by(
        options: &LocalFileOptions,
        groups: Option<&[GroupName]>,
        private: Option<&[String]>,
        hasher: Arc<Hasher>,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>, FileProblems> {
        let rules = KeyRules {
            allow_rsa_2048: options.allow_rsa_2048,
        };
        let (accounts, stamp) = load(&options.path, rules, groups, private)?;
        Ok(Arc::new(Self {
            path: options.path.clone(),
            rules,
            groups: groups.map(<[GroupName]>::to_vec),
            private: private.map(<[String]>::to_vec),
            hasher,
            clock,
            accounts: RwLock::new(Arc::new(accounts)),
            generation: AtomicU64::new(1),
            watched: Mutex::new(Watched {
                judged: Some(stamp),
                seen: None,
                trouble: None,
            }),
            loading: tokio::sync::Mutex::new(()),
        }))
    }

    /// Looks at the file every two seconds for as long as the method is in use. Ends by itself.
    pub fn watch(this: &Arc<Self>) -> tokio::task::JoinHandle<()> {
        let this: Weak<Self> = Arc::downgrade(this);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(LOOK_EVERY).await;
                let Some(this) = this.upgrade() else {
                    return;
                };
                this.look().await;
            }
        })
    }

    /// Reads the file now (SIGHUP). Whatever comes of it, the last good one serves.
    ///
    /// # Errors
    /// [`FileProblems`], which [`LocalFile::trouble`] shows from then on.
    pub async fn reload(&self) -> Result<(), FileProblems> {
        let _turn = self.loading.lock().await;
        let (path, rules) = (self.path.clone(), self.rules);
        let (groups, private) = (self.groups.clone(), self.private.clone());
        let work = move || {
            let judged = read::stamp(&path).ok();
            (judged, load(&path, rules, groups.as_deref(), private.as_deref()))
        };
        let (judged, loaded) = tokio::task::spawn_blocking(work).await.unwrap_or_else(|why| {
            (
                None,
                Err(FileProblems::of_file(format!("reading did not finish: {why}"))),
            )
        });
        let mut watched = self.watched.lock();
        watched.seen = None;
        match loaded {
            Ok((accounts, stamp)) => {
                tracing::info!(file = %self.path.display(), accounts = accounts.len(), "accounts read");
                *self.accounts.write() = Arc::new(accounts);
                self.generation.fetch_add(1, Ordering::Release);
                watched.judged = Some(stamp);
                watched.trouble = None;
                Ok(())
            }
            Err(problems) => {
                tracing::error!(file = %self.path.display(), "the last good accounts stay in use: {problems}");
                watched.judged = judged;
                watched.trouble = Some(Arc::new(problems.clone()));
                Err(problems)
            }
        }
    }

    /// What is wrong with the file on disk, while the last good one serves.
    #[must_use]
    pub fn trouble(&self) -> Option<Arc<FileProblems>> {
        self.watched.lock().trouble.clone()
    }

    /// How many accounts there are.
    #[must_use]
    pub fn accounts(&self) -> usize {
        self.accounts.read().len()
    }

    /// One look at the file: whether it was read.
    async fn look(&self) -> bool {
        let path = self.path.clone();
        let sight: Sight = tokio::task::spawn_blocking(move || read::stamp(&path).ok())
            .await
            .unwrap_or_default();
        let read_it = {
            let mut watched = self.watched.lock();
            if watched.judged == sight {
                watched.seen = None;
                false
            } else {
                watched.seen.replace(sight) == Some(sight)
            }
        };
        if read_it {
            // Problems were logged and are kept for whoever asks.
            let _ = self.reload().await;
        }
        read_it
    }

    fn known(&self) -> Arc<Accounts> {
        Arc::clone(&self.accounts.read())
    }
}

/// Checks a file as [`LocalFile::open`] does, and answers its accounts with their groups: for `check`.
///
/// # Errors
/// [`FileProblems`].
pub fn local_file_accounts(
    options: &LocalFileOptions,
    groups: Option<&[GroupName]>,
    private: Option<&[String]>,
) -> Result<Vec<(UserName, Vec<GroupName>)>, FileProblems> {
    let rules = KeyRules {
        allow_rsa_2048: options.allow_rsa_2048,
    };
    let (accounts, _) = load(&options.path, rules, groups, private)?;
    let mut accounts: Vec<_> = accounts
        .into_iter()
        .map(|(name, known)| (name, known.groups))
        .collect();
    accounts.sort();
    Ok(accounts)
}

fn load(
    path: &Path,
    rules: KeyRules,
    groups: Option<&[GroupName]>,
    private: Option<&[String]>,
) -> Result<(Accounts, Stamp), FileProblems> {
    let (text, stamp) = read::read(path).map_err(FileProblems::of_file)?;
    Ok((parse::parse(&text, rules, groups, private)?, stamp))
}

#[async_trait]
impl Method for LocalFile {
    fn answers(&self, attempt: &Attempt) -> bool {
        attempt.audience == Audience::Transfer && self.takes().contains(&attempt.credential.kind())
    }

    fn takes(&self) -> &[CredentialKind] {
        &[CredentialKind::Password, CredentialKind::PublicKey]
    }

    async fn knows_key(&self, attempt: &Attempt) -> KeyAnswer {
        if account::knows_key(self.known().get(&attempt.user), attempt) {
            KeyAnswer::Yes
        } else {
            KeyAnswer::No
        }
    }

    async fn verify(&self, attempt: &Attempt) -> Verdict {
        let accounts = self.known();
        match account::prove(accounts.get(&attempt.user), attempt, &self.hasher).await {
            Proof::Right { identity, .. } => Verdict::Accept(identity),
            Proof::NotMine => Verdict::NotMine,
            Proof::Wrong(reason) => Verdict::Reject(reason),
            Proof::Fault(fault) => Verdict::Fault(fault),
        }
    }

    async fn decoy(&self, attempt: &Attempt) {
        // What came of it is nobody's business.
        let _ = account::prove(None, attempt, &self.hasher).await;
    }

    async fn still_valid(&self, who: &Identity, _: Audience) -> Standing {
        let accounts = self.known();
        let known = UserName::new(&who.subject).ok();
        account::standing(known.and_then(|name| accounts.get(&name)), who, self.clock.wall())
    }

    fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    async fn explain(&self, inquiry: &Inquiry<'_>) -> Explanation {
        match inquiry.audience {
            Audience::Transfer => account::explanation(self.known().get(inquiry.user), inquiry),
            Audience::Admin => Explanation::Unknown,
        }
    }
}

#[cfg(test)]
mod tests;
