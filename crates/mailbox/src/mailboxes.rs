//! Several mailboxes as one file system: one directory for each.
//!
//! Invariants: looking at the top asks nobody over the network; a mailbox is made when it is first asked
//! for (where uploads are allowed, those of a list at once, and those of a template in which a message waits to be
//! sent), and is one as long as it is used; what is wrong with one touches no other; how many are held is bounded.

mod file;
#[cfg(test)]
mod tests;

use std::{collections::HashMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use parking_lot::Mutex;
use portreeve_model::{Name, VPath};
use portreeve_vfs::{
    Attrs, Capabilities, Cursor, Entry, FileSystem, FsError, FsErrorKind, FsResult, Links, Listing, OpCx,
    OpenWrite, Partial, ReadFile, Removal, Rename, Space, WriteAccess, WriteFile,
};

use crate::{LeftWaiting, OptionsError, address::is_mailbox};
use file::Within;

/// How many mailboxes are held beyond those in use.
const MAX_HELD: usize = 1024;
/// Of whose capabilities all mailboxes of an open storage are: reserved by RFC 2606, never asked for.
const NOBODY: &str = "nobody@example.invalid";

/// Pause where what waits to be sent cannot be read.
const SHELF_PAUSE: Duration = Duration::from_secs(10);

/// Makes the mailbox of an address. It asks nobody over the network.
pub type MakeMailbox = Box<dyn Fn(&str) -> FsResult<Arc<dyn FileSystem>> + Send + Sync>;

/// Several mailboxes as one file system.
pub struct Mailboxes {
    /// The addresses, sorted; none where any address is a directory.
    listed: Option<Vec<String>>,
    make: MakeMailbox,
    capabilities: Capabilities,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    mailboxes: HashMap<String, (Arc<dyn FileSystem>, u64)>,
    clock: u64,
}

/// Where a path leads.
enum Place {
    Top,
    Below(Arc<dyn FileSystem>, Name, VPath),
}

impl Mailboxes {
    /// The mailboxes of these addresses, each a directory of that name.
    ///
    /// # Errors
    /// [`OptionsError`] for the option `mailbox`: an address that is none, or is there twice.
    pub fn listed(addresses: &[String], make: MakeMailbox) -> Result<Self, OptionsError> {
        let wrong = |text: String| OptionsError {
            option: "mailbox",
            text,
        };
        let mut sorted = addresses.to_vec();
        sorted.sort();
        for address in &sorted {
            if !is_mailbox(address) {
                return Err(wrong(format!("'{address}' is no address of a mailbox")));
            }
            let alike = sorted.iter().filter(|other| other.eq_ignore_ascii_case(address));
            if alike.count() > 1 {
                return Err(wrong(format!("'{address}' is there twice")));
            }
        }
        let Some(first) = sorted.first() else {
            return Err(wrong("the list is empty; write the address of a mailbox".into()));
        };
        let one = make(first).map_err(|error| wrong(error.to_string()))?;
        let capabilities = one.capabilities().clone();
        let mailboxes = Self::with(Some(sorted.clone()), capabilities, make);
        if mailboxes.capabilities.write != WriteAccess::None {
            // What waits in an Outbox since before the last restart is sent though nobody looks.
            for name in sorted
                .iter()
                .filter_map(|address| Name::new(address.as_bytes()).ok())
            {
                // What is wrong with one is told to who asks for it.
                let _ = mailboxes.mailbox(&name);
            }
        }
        Ok(mailboxes)
    }

    /// The mailbox of whatever address is the first name of a path: the host sees to it that each person
    /// comes to the addresses that are theirs, and to no other. The top shows none.
    ///
    /// # Errors
    /// [`OptionsError`] for the option `mailbox`, when none can be made.
    pub fn any(make: MakeMailbox) -> Result<Self, OptionsError> {
        let one = make(NOBODY).map_err(|error| OptionsError {
            option: "mailbox",
            text: error.to_string(),
        })?;
        Ok(Self::with(None, one.capabilities().clone(), make))
    }

    /// Opens those in which messages wait that were accepted before the last restart, so that they are sent though
    /// nobody looks. It is done behind the start, as long as the mailboxes are in use.
    pub fn open_waiting(self: &Arc<Self>, left: LeftWaiting) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let all = Arc::downgrade(self);
        runtime.spawn(async move {
            let addresses = loop {
                match left.addresses().await {
                    Ok(addresses) => break addresses,
                    Err(error) => {
                        tracing::warn!(%error, "what waits to be sent cannot be read; it is tried again");
                    }
                }
                tokio::time::sleep(SHELF_PAUSE).await;
                if all.strong_count() == 0 {
                    return;
                }
            };
            for address in addresses {
                let Some(all) = all.upgrade() else {
                    return;
                };
                let opened = Name::new(address.as_bytes())
                    .map_err(|_| FsErrorKind::NotFound.into())
                    .and_then(|name| all.mailbox(&name));
                if let Err(error) = opened {
                    tracing::warn!(mailbox = %address, %error, "a mailbox in which messages wait to be sent cannot be opened");
                }
            }
        });
    }

    fn with(listed: Option<Vec<String>>, capabilities: Capabilities, make: MakeMailbox) -> Self {
        Self {
            listed,
            make,
            capabilities,
            held: Mutex::default(),
        }
    }

    fn place(&self, path: &VPath) -> FsResult<Place> {
        let Some(first) = path.components().next() else {
            return Ok(Place::Top);
        };
        let name = Name::new(first).map_err(|_| FsErrorKind::NotFound)?;
        let top = VPath::root().join(&name).map_err(|_| FsErrorKind::NotFound)?;
        let below = path.strip_prefix(&top).ok_or(FsErrorKind::NotFound)?;
        Ok(Place::Below(self.mailbox(&name)?, name, below))
    }

    fn mailbox(&self, name: &Name) -> FsResult<Arc<dyn FileSystem>> {
        let address = name.as_str().ok_or(FsErrorKind::NotFound)?;
        let address = match &self.listed {
            Some(listed) => {
                let known = listed
                    .binary_search_by(|other| other.as_str().cmp(address))
                    .is_ok();
                known.then(|| address.to_owned())
            }
            // One mailbox, however its address is written.
            None => is_mailbox(address).then(|| address.to_lowercase()),
        };
        let address = address.ok_or(FsErrorKind::NotFound)?;
        let mut held = self.held.lock();
        held.clock += 1;
        let now = held.clock;
        if let Some((mailbox, used)) = held.mailboxes.get_mut(&address) {
            *used = now;
            return Ok(Arc::clone(mailbox));
        }
        // With the lock held: two of one mailbox would give names that contradict each other.
        let mailbox = (self.make)(&address)?;
        held.mailboxes.insert(address, (Arc::clone(&mailbox), now));
        held.trim();
        Ok(mailbox)
    }

    /// A path below a mailbox; the top and the mailboxes themselves are refused.
    fn inside(&self, path: &VPath, what: &str) -> FsResult<(Arc<dyn FileSystem>, Name, VPath)> {
        match self.place(path)? {
            Place::Below(mailbox, name, below) if !below.is_root() => Ok((mailbox, name, below)),
            _ => {
                let text = format!("mailboxes are set in the configuration: they cannot be {what}");
                Err(FsError::new(FsErrorKind::Refused).context(text))
            }
        }
    }

    /// Two paths below the same mailbox.
    fn both(&self, from: &VPath, to: &VPath, what: &str) -> FsResult<(Arc<dyn FileSystem>, VPath, VPath)> {
        let (mailbox, name, from) = self.inside(from, what)?;
        let (_, other, to) = self.inside(to, what)?;
        if name != other {
            return Err(FsError::new(FsErrorKind::CrossMount).context("these are different mailboxes"));
        }
        Ok((mailbox, from, to))
    }
}

impl Held {
    /// Lets go of what was not used for longest and is not in use.
    fn trim(&mut self) {
        while self.mailboxes.len() > MAX_HELD {
            let idle = self
                .mailboxes
                .iter()
                .filter(|(_, (fs, _))| Arc::strong_count(fs) == 1);
            let oldest = idle
                .min_by_key(|(_, (_, used))| *used)
                .map(|(address, _)| address.clone());
            let Some(oldest) = oldest else {
                break;
            };
            self.mailboxes.remove(&oldest);
        }
    }
}

#[async_trait]
impl FileSystem for Mailboxes {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn stat(&self, cx: &OpCx, path: &VPath, links: Links) -> FsResult<Entry> {
        match self.place(path)? {
            Place::Top => Ok(Entry::dir(None)),
            Place::Below(_, name, below) if below.is_root() => Ok(Entry::dir(Some(name))),
            Place::Below(mailbox, _, below) => mailbox.stat(cx, &below, links).await,
        }
    }

    async fn list(&self, cx: &OpCx, dir: &VPath, from: Option<Cursor>) -> FsResult<Box<dyn Listing>> {
        match self.place(dir)? {
            Place::Below(mailbox, _, below) => mailbox.list(cx, &below, from).await,
            Place::Top => {
                let names = self.listed.iter().flatten();
                let names = names.filter_map(|address| Name::new(address.as_bytes()).ok());
                Ok(Box::new(Top {
                    names: names.collect(),
                    after: from.map(|cursor| cursor.0.into_vec()).unwrap_or_default(),
                }))
            }
        }
    }

    async fn open_read(&self, cx: &OpCx, file: &VPath) -> FsResult<Arc<dyn ReadFile>> {
        match self.place(file)? {
            Place::Top => Err(FsErrorKind::IsDir.into()),
            Place::Below(mailbox, _, below) => mailbox.open_read(cx, &below).await,
        }
    }

    async fn open_write(&self, cx: &OpCx, file: &VPath, how: OpenWrite) -> FsResult<Arc<dyn WriteFile>> {
        let Place::Below(mailbox, name, below) = self.place(file)? else {
            return Err(FsErrorKind::IsDir.into());
        };
        let inner = mailbox.open_write(cx, &below, how).await?;
        Ok(Arc::new(Within { inner, name }))
    }

    async fn partial(&self, cx: &OpCx, file: &VPath) -> FsResult<Option<Partial>> {
        match self.place(file)? {
            Place::Top => Ok(None),
            Place::Below(mailbox, _, below) => mailbox.partial(cx, &below).await,
        }
    }

    async fn partials(&self, cx: &OpCx, dir: &VPath) -> FsResult<Vec<(Name, Partial)>> {
        match self.place(dir)? {
            Place::Top => Ok(Vec::new()),
            Place::Below(mailbox, _, below) => mailbox.partials(cx, &below).await,
        }
    }

    async fn make_dir(&self, cx: &OpCx, dir: &VPath, attrs: Attrs) -> FsResult<()> {
        if let Ok(Place::Below(_, _, below)) = self.place(dir)
            && below.is_root()
        {
            return Err(FsErrorKind::Exists.into());
        }
        let (mailbox, _, below) = self.inside(dir, "made")?;
        mailbox.make_dir(cx, &below, attrs).await
    }

    async fn remove(&self, cx: &OpCx, path: &VPath, what: Removal) -> FsResult<()> {
        let (mailbox, _, below) = self.inside(path, "removed")?;
        mailbox.remove(cx, &below, what).await
    }

    async fn rename(&self, cx: &OpCx, from: &VPath, to: &VPath, how: Rename) -> FsResult<()> {
        let (mailbox, from, to) = self.both(from, to, "renamed")?;
        mailbox.rename(cx, &from, &to, how).await
    }

    async fn set_attrs(&self, cx: &OpCx, path: &VPath, attrs: Attrs, links: Links) -> FsResult<()> {
        let (mailbox, _, below) = self.inside(path, "changed")?;
        mailbox.set_attrs(cx, &below, attrs, links).await
    }

    async fn copy(&self, cx: &OpCx, from: &VPath, to: &VPath, how: Rename) -> FsResult<()> {
        if from.depth() < 2 {
            return Err(FsErrorKind::IsDir.into());
        }
        let (mailbox, from, to) = self.both(from, to, "copied")?;
        mailbox.copy(cx, &from, &to, how).await
    }

    async fn space(&self, cx: &OpCx, path: &VPath) -> FsResult<Space> {
        match self.place(path)? {
            Place::Top => Err(FsErrorKind::Unsupported.into()),
            Place::Below(mailbox, _, below) => mailbox.space(cx, &below).await,
        }
    }

    async fn link(&self, cx: &OpCx, existing: &VPath, new: &VPath) -> FsResult<()> {
        let (mailbox, existing, new) = self.both(existing, new, "linked")?;
        mailbox.link(cx, &existing, &new).await
    }

    async fn read_link(&self, cx: &OpCx, path: &VPath) -> FsResult<Vec<u8>> {
        let (mailbox, _, below) = self.inside(path, "links")?;
        mailbox.read_link(cx, &below).await
    }
}

/// The addresses.
struct Top {
    names: Vec<Name>,
    /// The last that was given; empty at the start.
    after: Vec<u8>,
}

#[async_trait]
impl Listing for Top {
    async fn next(&mut self, max: usize) -> FsResult<Vec<Entry>> {
        let start = self.names.partition_point(|name| name.as_bytes() <= &*self.after);
        let some: Vec<Name> = self.names.iter().skip(start).take(max).cloned().collect();
        if let Some(last) = some.last() {
            self.after = last.as_bytes().to_vec();
        }
        Ok(some.into_iter().map(|name| Entry::dir(Some(name))).collect())
    }

    fn cursor(&self) -> Option<Cursor> {
        Some(Cursor(self.after.clone().into()))
    }
}
