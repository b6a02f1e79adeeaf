mod conformance;
mod crashes;
mod deleting;
mod filtering;
mod interleaving;
mod messages;
mod remote;
mod sending;
mod showing;
mod store;
mod telling;
mod uploading;

use std::{fs, path::PathBuf, sync::Arc};

use portreeve_model::{SessionId, VPath};
use portreeve_vfs::{
    Attrs, Entry, FileSystem, FsErrorKind, FsResult, Links, OpCx, OpenWrite, Owner, ReadFile, Removal,
    Rename, WriteMode,
};
use tempfile::TempDir;

use super::Mailbox;
use crate::{Maildir, MaildirOptions, OnUpload, sample};

impl Mailbox {
    /// Makes the next operation look at the mailbox, however recent the last look is.
    pub(crate) fn look_again(&self) {
        self.shared.tree.age();
        self.shared.views.expire();
    }
}

/// A mailbox in a temporary directory.
struct World {
    _dir: TempDir,
    options: MaildirOptions,
    mailbox: Arc<Mailbox>,
    store: Arc<Maildir>,
}

impl World {
    /// With the sample mails.
    fn sample(change: impl Fn(&mut MaildirOptions)) -> Self {
        let world = Self::empty(change);
        sample::write(&world.options.root).unwrap();
        world
    }

    fn empty(change: impl Fn(&mut MaildirOptions)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("mail");
        for sub in ["cur", "new", "tmp"] {
            fs::create_dir_all(root.join(sub)).unwrap();
        }
        let mut options = MaildirOptions::new(&root);
        options.state_dir = Some(dir.path().join("names"));
        options.mail.on_upload = OnUpload::Draft;
        change(&mut options);
        let (mailbox, store) = Mailbox::over_maildir(&options).unwrap();
        Self {
            _dir: dir,
            options,
            mailbox: Arc::new(mailbox),
            store,
        }
    }

    /// As after a restart of the server.
    fn restart(&mut self) {
        let (mailbox, store) = Mailbox::over_maildir(&self.options).unwrap();
        (self.mailbox, self.store) = (Arc::new(mailbox), store);
    }

    /// Makes the next operation look at the directories, however recent the last look is.
    fn look_again(&self) {
        self.mailbox.shared.tree.forget();
        self.mailbox.shared.views.expire();
    }

    fn root(&self, path: &str) -> PathBuf {
        self.options.root.join(path)
    }

    /// Delivers a message as another program would.
    fn deliver(&self, path: &str, raw: impl AsRef<[u8]>) {
        let path = self.root(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, raw).unwrap();
    }

    async fn list(&self, dir: &str) -> Vec<String> {
        self.look_again();
        let mut listing = self.mailbox.list(&cx(), &path(dir), None).await.unwrap();
        let mut out = Vec::new();
        loop {
            let entries = listing.next(3).await.unwrap();
            if entries.is_empty() {
                return out;
            }
            for entry in entries {
                let slash = if entry.is_dir() { "/" } else { "" };
                out.push(format!("{}{slash}", entry.name.unwrap().as_str().unwrap()));
            }
        }
    }

    async fn open(&self, file: &str) -> FsResult<Arc<dyn ReadFile>> {
        self.mailbox.open_read(&cx(), &path(file)).await
    }

    async fn get(&self, file: &str) -> FsResult<Vec<u8>> {
        let open = self.open(file).await?;
        let stat = self.mailbox.stat(&cx(), &path(file), Links::Follow).await?;
        let mut got = Vec::new();
        loop {
            let before = got.len();
            got = open.read(before as u64, 100_000, got).await?;
            if got.len() == before {
                assert_eq!(stat.size, Some(got.len() as u64), "the size of {file} is exact");
                return Ok(got);
            }
        }
    }

    async fn delete(&self, file: &str) -> FsResult<()> {
        self.mailbox.remove(&cx(), &path(file), Removal::File).await
    }

    async fn stat(&self, at: &str) -> FsResult<Entry> {
        self.mailbox.stat(&cx(), &path(at), Links::Keep).await
    }

    async fn make_dir(&self, dir: &str) -> FsResult<()> {
        self.mailbox.make_dir(&cx(), &path(dir), Attrs::default()).await
    }

    async fn remove_dir(&self, dir: &str) -> FsResult<()> {
        self.mailbox.remove(&cx(), &path(dir), Removal::Dir).await
    }

    async fn rename(&self, from: &str, to: &str) -> FsResult<()> {
        let (from, to) = (path(from), path(to));
        self.mailbox.rename(&cx(), &from, &to, Rename::NoReplace).await
    }

    async fn put(&self, file: &str, content: &[u8]) -> FsResult<()> {
        let how = OpenWrite::new(WriteMode::Replace);
        let open = self.mailbox.open_write(&cx(), &path(file), how).await?;
        open.write(0, vec![content.to_vec().into()]).await?;
        open.commit().await.map(drop)
    }

    /// The files of a directory on disk.
    fn files(&self, dir: &str) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.root(dir))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

/// A message with these attachments (name, content), received at `second`.
fn mail(subject: &str, second: u32, files: &[(&str, &str)]) -> String {
    let parts: String = files
        .iter()
        .map(|(name, content)| {
            format!("--b\r\nContent-Disposition: attachment; filename=\"{name}\"\r\n\r\n{content}\r\n")
        })
        .collect();
    format!(
        "Received: by x; Wed, 1 May 2024 10:00:{second:02} +0000\r\nSubject: {subject}\r\n\
         Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\ntext\r\n{parts}--b--\r\n"
    )
}

fn cx() -> OpCx {
    OpCx::new(SessionId::fresh(), Owner("alice".into()), Default::default())
}

fn path(text: &str) -> VPath {
    VPath::parse(text).unwrap()
}

fn kind<T>(result: FsResult<T>) -> Option<FsErrorKind> {
    result.err().map(|error| error.kind())
}
