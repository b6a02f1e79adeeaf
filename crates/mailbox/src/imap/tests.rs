//! The store and the file system over it against a real Dovecot.

mod bounds;
mod changing;
mod lacking;
mod namespaces;
mod racing;
mod reading;
mod scripted;
mod several;
mod signing;
mod surviving;

use std::sync::Arc;

use portreeve_microsoft::{Cloud, MemoryVault};
use portreeve_model::{
    Secret, SessionId, VPath,
    options::{DurationText, SecretText},
};
use portreeve_tests::{Dovecot, Tokens, dovecot::PASSWORD};
use portreeve_vfs::{FileSystem, FsError, FsErrorKind, FsResult, Links, OpCx, Owner, Removal, SpoolArea};
use tempfile::TempDir;

use super::{Imap, ImapOptions, ImapSecrets};
use crate::{FolderId, MailStore, Mailbox, MemoryShelf, Shelf, Surroundings};

/// A Dovecot, and a mailbox on it.
struct World {
    dovecot: Arc<Dovecot>,
    spool: TempDir,
    shelf: Arc<MemoryShelf>,
    options: ImapOptions,
    around: Surroundings,
    store: Arc<Imap>,
    mailbox: Arc<Mailbox>,
}

impl World {
    /// None where there is no Dovecot.
    fn new(change: impl FnOnce(&mut ImapOptions)) -> Option<Self> {
        Dovecot::installed().then(|| {
            let dovecot = Dovecot::start(&Tokens::Introspected);
            Self::on(Arc::new(dovecot), change)
        })
    }

    fn on(dovecot: Arc<Dovecot>, change: impl FnOnce(&mut ImapOptions)) -> Self {
        let mut options = ImapOptions::new("localhost");
        options.port = dovecot.port();
        options.ca_file = Some(dovecot.ca_file());
        options.username = Some("alice".into());
        options.password = Some(SecretText::Inline(Secret::new("unused".into())));
        options.fresh_for = DurationText(std::time::Duration::ZERO);
        options.idle = false;
        options.mail.template = "{attachment.name}".into();
        change(&mut options);
        let spool = tempfile::tempdir().unwrap();
        let shelf = Arc::new(MemoryShelf::default());
        let around = surroundings(&shelf, &spool);
        let (store, mailbox) = open(&options, &around);
        Self {
            dovecot,
            spool,
            shelf,
            options,
            around,
            store,
            mailbox,
        }
    }

    /// The same mailbox by another process: nothing is held, what is on the shelf is there.
    fn restart(&mut self) {
        self.around = surroundings(&self.shelf, &self.spool);
        (self.store, self.mailbox) = open(&self.options, &self.around);
    }

    async fn list(&self, dir: &str) -> Vec<String> {
        let mut listing = self.mailbox.list(&cx(), &path(dir), None).await.unwrap();
        let mut names = Vec::new();
        loop {
            let page = listing.next(1000).await.unwrap();
            if page.is_empty() {
                names.sort();
                return names;
            }
            names.extend(page.iter().map(|entry| entry.name.as_ref().unwrap().to_string()));
        }
    }

    async fn read(&self, file: &str) -> FsResult<Vec<u8>> {
        let open = self.mailbox.open_read(&cx(), &path(file)).await?;
        let size = open.entry().size.expect("an open file knows its size");
        let mut out = Vec::new();
        loop {
            let before = out.len();
            out = open.read(before as u64, 1 << 20, out).await?;
            if out.len() == before {
                assert_eq!(size, out.len() as u64);
                return Ok(out);
            }
        }
    }

    async fn delete(&self, file: &str) -> FsResult<()> {
        self.mailbox.remove(&cx(), &path(file), Removal::File).await
    }

    async fn size(&self, file: &str) -> Option<u64> {
        self.mailbox
            .stat(&cx(), &path(file), Links::Keep)
            .await
            .unwrap()
            .size
    }

    /// How many messages are in a folder, as an administrator sees it.
    fn count(&self, folder: &str) -> usize {
        let said = self
            .dovecot
            .doveadm(&["search", "-u", "alice", "mailbox", folder], b"");
        said.lines().count()
    }
}

fn surroundings(shelf: &Arc<MemoryShelf>, spool: &TempDir) -> Surroundings {
    let area = Arc::new(SpoolArea::new(spool.path().to_owned(), 1 << 30, 1 << 30));
    let cloud = Cloud::new(Arc::new(MemoryVault::default()));
    Surroundings::new(Arc::clone(shelf) as Arc<dyn Shelf>, area, cloud)
}

fn open(options: &ImapOptions, around: &Surroundings) -> (Arc<Imap>, Arc<Mailbox>) {
    let secrets = ImapSecrets {
        password: Some(Secret::new(PASSWORD.into())),
        refresh_token: None,
    };
    let address = options.addresses().remove(0);
    let store = Imap::open(options, &address, &secrets, around).unwrap();
    let store = Arc::new(store);
    let over = Arc::clone(&store) as Arc<dyn MailStore>;
    let mailbox = Mailbox::over(over, "imap test", &options.mail, around).unwrap();
    (store, Arc::new(mailbox))
}

fn cx() -> OpCx {
    OpCx::new(SessionId::fresh(), Owner("alice".into()), Default::default())
}

fn path(text: &str) -> VPath {
    VPath::parse(text).unwrap()
}

fn kind<T>(result: Result<T, FsError>) -> Option<FsErrorKind> {
    result.err().map(|error| error.kind())
}

fn inbox() -> FolderId {
    FolderId("INBOX".into())
}

/// A message with attachments in base64.
fn mail(subject: &str, n: u32, parts: &[(&str, &[u8])]) -> Vec<u8> {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let mut text = format!(
        "From: Shop <shop@example.com>\r\nSubject: {subject}\r\nMessage-ID: <m{n}@example.com>\r\n\
         Date: Mon, 02 Mar 2026 10:00:00 +0000\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/mixed; boundary=b0\r\n\r\n--b0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nSee the files.\r\n"
    );
    for (name, content) in parts {
        text.push_str(&format!(
            "--b0\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\
             Content-Disposition: attachment; filename=\"{name}\"\r\n\r\n"
        ));
        for line in content.chunks(57) {
            text.push_str(&STANDARD.encode(line));
            text.push_str("\r\n");
        }
    }
    text.push_str("--b0--\r\n");
    text.into_bytes()
}
