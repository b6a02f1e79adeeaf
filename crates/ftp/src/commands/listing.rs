//! What LIST, NLST, MLSD and STAT have in common: what is listed, and how an entry becomes a line.
//!
//! Invariant: one entry is one line, whatever its name holds.

use std::{
    hash::{BuildHasher, Hasher},
    sync::Arc,
    time::SystemTime,
};

use portreeve_model::{Timestamp, VPath, VerbSet};
use portreeve_session::{Entry, FsError, FsErrorKind, Links, Listing, UserFs};

use super::{Answer, Step, say};
use crate::{
    FtpDoor,
    control::Client,
    data::{Broken, Progress, Sheet},
    wire::{self, Facts, Pattern, Reply, Told, ToldKind},
};

/// Entries asked for at once.
const PAGE: usize = 1024;

/// What a line looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// As `ls -l`.
    Long,
    /// The name alone.
    Names,
    /// RFC 3659.
    Facts,
}

/// A listing about to be sent.
pub(super) struct Lister {
    source: Source,
    form: Form,
    dir: VPath,
    /// What stands in front of each name (NLST of another directory).
    prefix: Vec<u8>,
    pattern: Option<Pattern>,
    fs: UserFs,
    door: Arc<FtpDoor>,
    facts: Facts,
    /// The same for every entry, where that is so.
    verbs: Option<VerbSet>,
    now: i64,
}

enum Source {
    Dir(Box<Listing>),
    One(Option<Box<Entry>>),
}

impl Lister {
    /// Opens what the argument means.
    pub(super) async fn open(client: &Client, argument: &[u8], form: Form) -> Result<Self, Step> {
        let fs = client.fs()?;
        let (place, pattern) = if form == Form::Facts {
            (argument, None)
        } else {
            wanted(client, &fs, argument).await
        };
        let path = if place.is_empty() {
            client.cwd.clone()
        } else {
            client.path(place)?
        };
        let (source, dir) = match fs.list(&path, None).await {
            Ok(listing) => (Source::Dir(Box::new(listing)), path),
            // Of a file LIST and NLST tell that file; MLSD is for directories (RFC 3659, section 7.1).
            Err(error) if error.kind() == FsErrorKind::NotDir && form != Form::Facts && pattern.is_none() => {
                let entry = fs.stat(&path, Links::Follow).await?;
                let dir = path.parent().unwrap_or_else(VPath::root);
                (Source::One(Some(Box::new(entry))), dir)
            }
            Err(error) if error.kind() == FsErrorKind::NotDir => {
                return Err(Reply::new(501, "that is not a directory").into());
            }
            Err(error) => return Err(error.into()),
        };
        let prefix = match (&source, form) {
            (Source::Dir(_), Form::Names) => in_front(place),
            (Source::One(_), Form::Names) => in_front(up_to_slash(place)),
            _ => Vec::new(),
        };
        Ok(Self {
            verbs: fs.verbs_below(&dir),
            source,
            form,
            dir,
            prefix,
            pattern,
            fs,
            door: Arc::clone(&client.door),
            facts: client.facts,
            now: Timestamp::from(SystemTime::now()).seconds,
        })
    }

    /// Appends the next lines; whether there may be more.
    pub(super) async fn page(&mut self, out: &mut Vec<u8>) -> Result<bool, FsError> {
        match &mut self.source {
            Source::One(entry) => {
                if let Some(entry) = entry.take() {
                    self.line(out, &entry);
                }
                Ok(false)
            }
            Source::Dir(listing) => {
                let entries = listing.next(PAGE).await?;
                for entry in &entries {
                    self.line(out, entry);
                }
                Ok(!entries.is_empty())
            }
        }
    }

    fn line(&self, out: &mut Vec<u8>, entry: &Entry) {
        let Some(name) = &entry.name else { return };
        if self
            .pattern
            .as_ref()
            .is_some_and(|pattern| !pattern.matches(name.as_bytes()))
        {
            return;
        }
        match self.form {
            Form::Names => {
                out.extend_from_slice(&self.prefix);
                wire::append_shown(out, name.as_bytes());
            }
            Form::Long => wire::append_long(out, entry, self.now),
            Form::Facts => {
                let verbs = self.verbs.unwrap_or_else(|| {
                    let path = self.dir.join(name);
                    path.map_or(VerbSet::NONE, |path| self.fs.verbs(&path))
                });
                let unique = self.unique(name.as_bytes());
                wire::append_facts(
                    out,
                    self.facts,
                    &Told {
                        entry,
                        kind: ToldKind::Named,
                        verbs,
                        unique,
                    },
                );
                wire::append_shown(out, name.as_bytes());
            }
        }
        out.extend_from_slice(b"\r\n");
    }

    fn unique(&self, name: &[u8]) -> u64 {
        unique(&self.door, &self.dir, Some(name))
    }
}

/// The `unique` fact (RFC 3659, section 7.5.2) of a path: a number for the name, the same on every
/// connection of this listener.
pub(super) fn unique(door: &FtpDoor, dir: &VPath, name: Option<&[u8]>) -> u64 {
    let mut hasher = door.identities.build_hasher();
    if !dir.is_root() {
        hasher.write(dir.as_bytes());
    }
    if let Some(name) = name {
        hasher.write(b"/");
        hasher.write(name);
    }
    hasher.finish()
}

/// What an argument of LIST or NLST means: without the options of `ls` that clients put in front (`-la`),
/// and with a pattern in its last component, unless there is something of the name that remains.
async fn wanted<'a>(client: &Client, fs: &UserFs, argument: &'a [u8]) -> (&'a [u8], Option<Pattern>) {
    // Options are options, whatever is there: or whoever made a file `-la` would hide all others from
    // clients that say it. That file is `./-la`.
    let bare = wire::without_options(argument);
    let (place, pattern) = wire::split(bare);
    if pattern.is_none() {
        return (bare, None);
    }
    if let Ok(path) = client.path(bare)
        && fs.stat(&path, Links::Keep).await.is_ok()
    {
        return (bare, None);
    }
    (place, pattern)
}

/// Names of another directory are told with the directory in front, as they were asked for.
fn in_front(place: &[u8]) -> Vec<u8> {
    let mut prefix = Vec::new();
    if !place.is_empty() {
        wire::append_shown(&mut prefix, place);
        if prefix.last() != Some(&b'/') {
            prefix.push(b'/');
        }
    }
    prefix
}

/// A path up to its last slash, that included.
fn up_to_slash(path: &[u8]) -> &[u8] {
    let end = path.iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1);
    path.get(..end).unwrap_or_default()
}

/// Sends a listing over a data connection.
pub(super) async fn send(client: &mut Client, argument: &[u8], form: Form) -> Answer {
    client.restart = 0;
    let channel = client.open_data().await?;
    let mut lister = match Lister::open(client, argument, form).await {
        Ok(lister) => lister,
        Err(refusal) => {
            channel.leave();
            return Err(refusal);
        }
    };
    if client
        .talk
        .say(&Reply::new(150, "here comes the listing"))
        .await
        .is_err()
    {
        return Err(Step::Gone);
    }
    let progress = Progress::default();
    let pace = client.pace();
    let sent = match client.protect(channel, &progress).await {
        Ok(stream) => {
            let job = async {
                let mut sheet = Sheet::new(stream, &pace, &progress);
                while lister.page(sheet.room()).await.map_err(Broken::Storage)? {
                    sheet.flush_if_full().await?;
                }
                sheet.finish().await
            };
            client.pump(&progress, job).await
        }
        Err(cut) => {
            client.turned_away(cut.error.message());
            Err(cut)
        }
    };
    match sent {
        Ok(_) => say(226, "that is all"),
        Err(cut) => Ok(client.tell(cut).await),
    }
}
