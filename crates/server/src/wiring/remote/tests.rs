//! Storages elsewhere, from a configuration's text to an open backend, over the stand-in.

use std::{fs, path::Path};

use portreeve_auth::BanList;
use portreeve_model::{SessionId, VPath};
use portreeve_store::Store;
use portreeve_tests_microsoft::{Message, Standin};
use portreeve_vfs::{FsResult, Links, OpCx, Owner};

use super::*;
use crate::{
    check::check_text,
    options::Config,
    wiring::{Backends, Lasting},
};

const BOX: &str = "invoices@contoso.example";

struct Bench {
    dir: tempfile::TempDir,
    standin: Standin,
    lasting: Lasting,
}

impl Bench {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let standin = Standin::start();
        standin
            .mailbox(BOX)
            .deliver("Inbox", Message::new("Report").file("a.txt", "content"));
        fs::write(dir.path().join("secret"), format!("{}\n", standin.secret())).unwrap();
        let store = Store::open("sqlite:t.db", dir.path()).await.unwrap();
        let config = config(dir.path(), &standin, &format!("\"{BOX}\""));
        let lasting = Lasting::new(&config, &store, Arc::new(BanList::new(None)));
        Self {
            dir,
            standin,
            lasting,
        }
    }

    async fn open(&self, before: &Backends, mailbox: &str) -> Result<Backends, Vec<String>> {
        let config = config(self.dir.path(), &self.standin, mailbox);
        let (before, lasting) = (before.clone(), self.lasting.clone());
        let runtime = tokio::runtime::Handle::current();
        let work = move || {
            let _inside = runtime.enter();
            before.open(&config.storages, &lasting)
        };
        tokio::task::spawn_blocking(work).await.unwrap()
    }
}

fn config(dir: &Path, standin: &Standin, mailbox: &str) -> Config {
    let text = format!(
        "[server]\ndata_dir = \".\"\n[[listener]]\nprotocol = \"sftp\"\naddress = \"127.0.0.1:0\"\n[[auth]]\ntype = \
         \"application\"\n[storage.mail]\ntype = \"exchange\"\nmailbox = {mailbox}\ndirectory_id = \"{}\"\n\
         application_id = \"{}\"\npassword = {{ file = \"secret\" }}\nauthority = \"{}\"\ngraph = \"{}\"\nca_file = \
         \"{}\"\nfresh_for = \"100ms\"\n",
        standin.tenant(),
        standin.app_id(),
        standin.authority(),
        standin.graph(),
        standin.ca_file().display(),
    );
    let file = dir.join("p.toml");
    check_text(&text, &file, &file)
        .map_err(|report| report.render())
        .unwrap()
}

fn cx() -> OpCx {
    OpCx::new(SessionId::fresh(), Owner("alice".into()), Default::default())
}

async fn size(backends: &Backends, path: &str) -> FsResult<Option<u64>> {
    let mail = backends.of("mail").unwrap();
    let entry = mail
        .stat(&cx(), &VPath::parse(path).unwrap(), Links::Follow)
        .await?;
    Ok(entry.size)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_mailbox_is_the_storage_and_several_are_directories() {
    let bench = Bench::new().await;
    let nothing = Backends::default();
    let one = bench.open(&nothing, &format!("\"{BOX}\"")).await.unwrap();
    assert_eq!(size(&one, "/Inbox/Report-a.txt").await.unwrap(), Some(7));
    let listed = bench
        .open(&nothing, &format!("[\"{BOX}\", \"other@contoso.example\"]"))
        .await;
    let listed = listed.unwrap();
    assert_eq!(
        size(&listed, &format!("/{BOX}/Inbox/Report-a.txt"))
            .await
            .unwrap(),
        Some(7)
    );
    assert!(
        size(&listed, "/boss@contoso.example/Inbox").await.is_err(),
        "it is not listed"
    );
    let own = bench.open(&nothing, "\"{user.mail}\"").await.unwrap();
    assert_eq!(
        size(&own, &format!("/{BOX}/Inbox/Report-a.txt")).await.unwrap(),
        Some(7)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_was_exchanged_counts_at_the_next_reload() {
    let bench = Bench::new().await;
    let mailbox = format!("\"{BOX}\"");
    let first = bench.open(&Backends::default(), &mailbox).await.unwrap();
    let again = bench.open(&first, &mailbox).await.unwrap();
    let same = |a: &Backends, b: &Backends| Arc::ptr_eq(&a.of("mail").unwrap(), &b.of("mail").unwrap());
    assert!(same(&first, &again), "nothing changed: the storage is kept");
    let secret = bench.standin.rotate_secret(bench.standin.app_id());
    fs::write(bench.dir.path().join("secret"), secret).unwrap();
    let next = bench.open(&again, &mailbox).await.unwrap();
    assert!(
        !same(&again, &next),
        "the secret changed: the storage is made anew"
    );
    assert_eq!(size(&next, "/Inbox/Report-a.txt").await.unwrap(), Some(7));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_server_that_is_down_keeps_no_storage_from_opening() {
    let bench = Bench::new().await;
    bench.standin.faults().every_kind(1.0);
    let calls = bench.standin.calls();
    let backends = bench
        .open(&Backends::default(), &format!("\"{BOX}\""))
        .await
        .unwrap();
    assert_eq!(bench.standin.calls(), calls, "opening asks nobody");
    assert!(backends.of("mail").is_some());
}

#[test]
fn what_tells_secrets_apart_says_nothing_about_them() {
    let given = |password: &str, token: Option<&str>| {
        let mut given = Given::default();
        given.secrets.insert("password", Secret::new(password.to_owned()));
        if let Some(token) = token {
            given
                .secrets
                .insert("refresh_token", Secret::new(token.to_owned()));
        }
        given
    };
    let first = given("hunter2", None);
    assert_eq!(first.fingerprint(), given("hunter2", None).fingerprint());
    assert_ne!(first.fingerprint(), given("hunter3", None).fingerprint());
    assert_ne!(first.fingerprint(), given("hunter2", Some("x")).fingerprint());
    assert!(!first.fingerprint().contains("hunter") && !format!("{first:?}").contains("hunter"));
}
