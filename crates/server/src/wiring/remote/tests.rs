//! Storages elsewhere, from a configuration's text to an open backend, over the stand-in.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use portreeve_auth::BanList;
use portreeve_model::{SessionId, VPath};
use portreeve_store::Store;
use portreeve_tests_microsoft::{Message, Standin};
use portreeve_vfs::{FsResult, Links, OpCx, OpenWrite, Owner, WriteMode};

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
        let lasting = Self::lasting(dir.path(), &standin).await;
        Self {
            dir,
            standin,
            lasting,
        }
    }

    async fn lasting(dir: &Path, standin: &Standin) -> Lasting {
        let store = Store::open("sqlite:t.db", dir).await.unwrap();
        let config = config(dir, standin, &format!("\"{BOX}\""));
        Lasting::new(&config, &store, Arc::new(BanList::new(None)))
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

/// The mailbox of somebody who does not sign in again.
#[tokio::test(flavor = "multi_thread")]
async fn what_waits_in_a_mailbox_of_a_template_is_sent_after_a_restart_though_nobody_uses_it() {
    let bench = Bench::new().await;
    let send = |delay: &str| format!("\"{{user.mail}}\"\non_upload = \"send\"\nsend_delay = \"{delay}\"");
    // A process of its own: what it would still do ends with it.
    let before = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let mut bench = before
        .spawn(async move {
            let backends = bench.open(&Backends::default(), &send("3s")).await.unwrap();
            let file = VPath::parse(format!("/{BOX}/Outbox/ann@fabrikam.example/a.txt")).unwrap();
            let how = OpenWrite::new(WriteMode::CreateNew);
            let open = backends.of("mail").unwrap().open_write(&cx(), &file, how).await;
            let open = open.unwrap();
            open.write(0, vec!["content".into()]).await.unwrap();
            open.commit().await.unwrap();
            bench
        })
        .await
        .unwrap();
    before.shutdown_background();
    let sender = bench.standin.mailbox(BOX);
    assert!(sender.sent().is_empty());
    bench.lasting = Bench::lasting(bench.dir.path(), &bench.standin).await;
    let _after = bench.open(&Backends::default(), &send("3s")).await.unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(sender.sent().is_empty(), "who does not serve sends nothing");
    bench.lasting.around.send_what_waits();
    let deadline = Instant::now() + Duration::from_secs(60);
    while sender.sent().is_empty() {
        assert!(Instant::now() < deadline, "it is not sent");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(sender.sent()[0].to, ["ann@fabrikam.example"]);
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
