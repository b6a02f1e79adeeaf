//! The client against the stand-in for Entra and Graph: every way to sign in, and whole lists, downloads, uploads and
//! batches while a fifth of all calls goes wrong, over HTTP/2.
#![allow(clippy::unwrap_used, reason = "in a test a panic is how it fails")]

use std::{io, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::join_all;
use portreeve_microsoft::{
    App, BatchItem, Cloud, CloudName, Credential, Graph, GraphError, GraphFault, GraphLimits, GraphMailbox,
    MemoryVault, Net, NetOptions, TokenFault, UploadSource, Vault, segment,
};
use portreeve_model::Secret;
use portreeve_tests_microsoft::{Attachment, Content, Message, Standin};
use serde::Deserialize;
use serde_json::{Value, json};

const ADDRESS: &str = "reports@example.test";

fn app(standin: &Standin, credential: Credential) -> App {
    let net = Net::open(&NetOptions {
        proxy: None,
        ca_file: Some(standin.ca_file()),
    });
    App {
        authority: standin.authority(),
        backoff: Duration::from_millis(1),
        ..App::new(
            CloudName::Global,
            standin.tenant().to_owned(),
            standin.app_id().to_owned(),
            credential,
            net.unwrap(),
        )
    }
}

fn secret(standin: &Standin) -> Credential {
    Credential::Secret(Secret::new(standin.secret().to_owned()))
}

fn graph(standin: &Standin, credential: Credential) -> Arc<Graph> {
    let limits = GraphLimits {
        backoff: Duration::from_millis(1),
        attempts: 30,
        ..GraphLimits::default()
    };
    Cloud::new(Arc::new(MemoryVault::default()))
        .graph(&app(standin, credential), &standin.graph(), limits)
        .unwrap()
}

#[derive(Deserialize)]
struct Item {
    id: String,
}

async fn inbox(mailbox: &GraphMailbox) -> Result<String, GraphError> {
    Ok(mailbox.get::<Item>("mailFolders/inbox?$select=id").await?.id)
}

async fn subjects(mailbox: &GraphMailbox, folder: &str) -> Result<Vec<String>, GraphError> {
    #[derive(Deserialize)]
    struct Row {
        subject: String,
    }
    let path = format!("mailFolders/{}/messages?$select=subject", segment(folder));
    let mut all = Vec::new();
    let mut pages = mailbox.pages::<Row>(&path, Some(50));
    while let Some(page) = pages.next().await? {
        all.extend(page.value.into_iter().map(|row| row.subject));
    }
    all.sort();
    Ok(all)
}

async fn whole(mailbox: &GraphMailbox, path: &str) -> Result<Vec<u8>, GraphError> {
    let mut download = mailbox.download(path).await?;
    let mut all = Vec::new();
    while let Some(chunk) = download.chunk().await? {
        all.extend_from_slice(&chunk);
    }
    Ok(all)
}

#[tokio::test]
async fn every_credential_opens_the_mailbox() {
    let standin = Standin::start();
    let _ = standin.mailbox(ADDRESS);
    let certificate = standin.certificate(standin.app_id());
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), standin.federated_assertion(standin.app_id(), 600)).unwrap();
    let refresh = standin.refresh_token(standin.app_id(), ADDRESS);
    for credential in [
        secret(&standin),
        Credential::Certificate {
            certificate: certificate.certificate.into_bytes(),
            key: Secret::new(certificate.key),
        },
        Credential::Federated {
            file: file.path().to_owned(),
        },
        Credential::Refresh {
            client_secret: Some(Secret::new(standin.secret().to_owned())),
            vault_name: "reports".to_owned(),
            initial: Some(Secret::new(refresh)),
        },
    ] {
        let shown = format!("{credential:?}");
        let mailbox = graph(&standin, credential).mailbox(ADDRESS);
        inbox(&mailbox)
            .await
            .unwrap_or_else(|told| panic!("{shown}: {told}"));
    }
    assert!(standin.log().iter().any(|call| call.http2));
}

#[tokio::test]
async fn credentials_that_do_not_fit_have_hints() {
    let standin = Standin::start();
    let foreign = standin.foreign_certificate();
    for (credential, word) in [
        (Credential::Secret(Secret::new("wrong".to_owned())), "Value"),
        (
            Credential::Certificate {
                certificate: foreign.certificate.into_bytes(),
                key: Secret::new(foreign.key),
            },
            "certificate is uploaded",
        ),
        (
            Credential::Refresh {
                client_secret: Some(Secret::new(standin.secret().to_owned())),
                vault_name: "x".to_owned(),
                initial: Some(Secret::new("1.AX0Anever".to_owned())),
            },
            "was cut",
        ),
    ] {
        let cloud = Cloud::new(Arc::new(MemoryVault::default()));
        let source = cloud.tokens(
            &app(&standin, credential),
            &format!("{}/.default", standin.authority()),
        );
        let told = source.unwrap().token().await.unwrap_err();
        assert!(
            matches!(told.kind, TokenFault::Refused | TokenFault::SignIn),
            "{told}"
        );
        assert!(told.hint.is_some_and(|hint| hint.contains(word)), "{told}");
    }
}

#[tokio::test]
async fn refresh_tokens_that_hold_once_are_enough_for_ever() {
    let standin = Standin::start();
    let _ = standin.mailbox(ADDRESS);
    standin.faults().revoke_used_refresh_tokens(true);
    standin.faults().expires_in(20);
    let vault = Arc::new(MemoryVault::default());
    let credential = Credential::Refresh {
        client_secret: Some(Secret::new(standin.secret().to_owned())),
        vault_name: "reports".to_owned(),
        initial: Some(Secret::new(standin.refresh_token(standin.app_id(), ADDRESS))),
    };
    for _restart in 0..3 {
        let cloud = Cloud::new(Arc::clone(&vault) as Arc<dyn Vault>);
        let graph = cloud
            .graph(
                &app(&standin, credential.clone()),
                &standin.graph(),
                GraphLimits::default(),
            )
            .unwrap();
        for _ in 0..3 {
            inbox(&graph.mailbox(ADDRESS)).await.unwrap();
        }
    }
    assert_eq!(standin.tokens_issued(), 9);
}

#[tokio::test]
async fn a_job_comes_to_its_end_though_a_fifth_goes_wrong() {
    let standin = Standin::start();
    let box_ = standin.mailbox(ADDRESS);
    let content = Content::Generated {
        size: 5_000_000,
        seed: 7,
    };
    let expected = content.piece(0, 5_000_000);
    let mut ids = Vec::new();
    for n in 0..230 {
        let message = Message::new(&format!("{n:04}"));
        ids.push(box_.deliver(
            "Inbox",
            if n == 0 {
                message.file("big", content.clone())
            } else {
                message
            },
        ));
    }
    let names: Vec<String> = (0..230).map(|n| format!("{n:04}")).collect();
    let graph = graph(&standin, secret(&standin));
    let mailbox = graph.mailbox(ADDRESS);
    let folder = inbox(&mailbox).await.unwrap();
    let attachments: Vec<Item> = mailbox
        .pages(
            &format!("messages/{}/attachments?$select=id", segment(&ids[0])),
            None,
        )
        .all(10)
        .await
        .unwrap();
    let faults = standin.faults();
    faults.seed(4);
    faults.retry_after(Some("0"));
    faults.page_size(Some(7));
    faults.empty_pages(true);
    faults.every_kind(0.2);
    let jobs = (0..12).map(|_| {
        let (mailbox, folder) = (graph.mailbox(ADDRESS), folder.clone());
        tokio::spawn(async move { subjects(&mailbox, &folder).await })
    });
    for job in join_all(jobs.collect::<Vec<_>>()).await {
        assert_eq!(job.unwrap().unwrap(), names);
    }
    let path = format!(
        "messages/{}/attachments/{}/$value",
        segment(&ids[0]),
        segment(&attachments[0].id)
    );
    for _ in 0..5 {
        assert_eq!(whole(&mailbox, &path).await.unwrap(), expected);
    }
    let items = ids
        .iter()
        .take(50)
        .map(|id| BatchItem::get(format!("messages/{}?$select=subject", segment(id))));
    let answers = mailbox.batch(items.collect()).await.unwrap();
    for (n, answer) in answers.into_iter().enumerate() {
        assert_eq!(answer.read::<Value>().unwrap()["subject"], format!("{n:04}"));
    }
    for id in ids.iter().skip(1).take(20) {
        mailbox
            .delete(&format!("messages/{}", segment(id)))
            .await
            .unwrap();
    }
    faults.calm();
    assert_eq!(box_.messages("Inbox").len(), 210);
    assert!(faults.injected() > 50, "{}", faults.injected());
    assert_eq!(standin.over_limit(), 0, "never more than four");
    assert!(standin.most_in_flight(ADDRESS) <= 4);
}

/// Content that is made up as it is read.
struct Made(Content);

#[async_trait]
impl UploadSource for Made {
    async fn read(&self, at: u64, len: usize) -> io::Result<Bytes> {
        Ok(self.0.piece(at, len))
    }
}

async fn draft(mailbox: &GraphMailbox) -> String {
    mailbox
        .post::<_, Item>("messages", &json!({"subject": "upload"}))
        .await
        .unwrap()
        .id
}

#[tokio::test]
async fn uploads_of_every_size_arrive_whole() {
    let standin = Standin::start();
    let box_ = standin.mailbox(ADDRESS);
    let mailbox = graph(&standin, secret(&standin)).mailbox(ADDRESS);
    let piece = 3_932_160;
    for size in [
        0,
        1,
        3_000_000,
        3_000_001,
        3 * 1024 * 1024,
        piece,
        piece + 1,
        2 * piece,
        9_000_000,
    ] {
        let id = draft(&mailbox).await;
        let content = Content::Generated { size, seed: size };
        let made = Made(content.clone());
        let name = format!("f{size}");
        let attachment = mailbox
            .upload(&id, &name, size, "application/octet-stream", &made)
            .await
            .unwrap_or_else(|told| panic!("{size}: {told}"));
        assert!(!attachment.is_empty());
        assert_eq!(box_.message(&id).unwrap().names(), [&*name], "{size}");
        let found = box_.attachment(&id, &name).unwrap();
        let all = usize::try_from(size).unwrap();
        assert!(
            found.len() == size && found.piece(0, all) == content.piece(0, all),
            "{size}"
        );
    }
    assert_eq!(standin.open_uploads(), 0);
    assert!(
        standin
            .log()
            .iter()
            .filter(|call| call.method == "PUT")
            .all(|call| call.bearer.is_none())
    );
}

#[tokio::test]
async fn an_upload_survives_what_can_be_survived() {
    let standin = Standin::start();
    let box_ = standin.mailbox(ADDRESS);
    let mailbox = graph(&standin, secret(&standin)).mailbox(ADDRESS);
    let content = Content::Generated {
        size: 9_000_000,
        seed: 3,
    };
    let made = Made(content.clone());
    standin.faults().fail_next(1, "PUT ", 503);
    let id = draft(&mailbox).await;
    mailbox.upload(&id, "a", 9_000_000, "x/y", &made).await.unwrap();
    assert_eq!(box_.message(&id).unwrap().names(), ["a"]);
    // A session that expires between two pieces begins anew.
    let id = draft(&mailbox).await;
    standin.faults().upload_lifetime(Duration::ZERO);
    assert!(mailbox.upload(&id, "b", 9_000_000, "x/y", &made).await.is_err());
    assert!(box_.message(&id).unwrap().names().is_empty());
    standin.faults().upload_lifetime(Duration::from_secs(600));
    mailbox.upload(&id, "b", 9_000_000, "x/y", &made).await.unwrap();
    assert_eq!(box_.message(&id).unwrap().names(), ["b"]);
    // A message that is too large is told so, and nothing is left behind.
    box_.largest_message(4_000_000);
    let id = draft(&mailbox).await;
    let told = mailbox
        .upload(&id, "c", 9_000_000, "x/y", &made)
        .await
        .unwrap_err();
    assert!(matches!(told.kind, GraphFault::TooLarge), "{told}");
    assert!(!told.uncertain);
}

#[tokio::test]
async fn a_download_that_is_cut_is_an_error_and_then_whole() {
    let standin = Standin::start();
    let box_ = standin.mailbox(ADDRESS);
    let id = box_.deliver(
        "Inbox",
        Message::new("m").with(Attachment::generated("f", 2_000_000, 5)),
    );
    let attachment = box_.message(&id).unwrap().attachments.remove(0);
    let mailbox = graph(&standin, secret(&standin)).mailbox(ADDRESS);
    let path = format!(
        "messages/{}/attachments/{}/$value",
        segment(&id),
        segment(&attachment)
    );
    standin.faults().cut_downloads(1_000_000, 1);
    let told = whole(&mailbox, &path).await.unwrap_err();
    assert!(matches!(told.kind, GraphFault::Broken), "{told}");
    assert_eq!(whole(&mailbox, &path).await.unwrap().len(), 2_000_000);
    assert_eq!(mailbox.in_flight(), 0);
}

#[tokio::test]
async fn tokens_that_expire_meanwhile_are_renewed() {
    let standin = Standin::start();
    let _ = standin.mailbox(ADDRESS);
    let mailbox = graph(&standin, secret(&standin)).mailbox(ADDRESS);
    inbox(&mailbox).await.unwrap();
    standin.expire_tokens();
    for got in join_all((0..8).map(|_| inbox(&mailbox))).await {
        got.unwrap();
    }
    assert_eq!(standin.tokens_issued(), 2);
}

#[tokio::test]
async fn a_mailbox_that_is_not_granted_or_not_there() {
    let standin = Standin::start();
    let _ = standin.mailbox(ADDRESS);
    let _ = standin.mailbox("other@example.test");
    standin.access_policy(standin.app_id(), Some(&[ADDRESS]));
    let graph = graph(&standin, secret(&standin));
    inbox(&graph.mailbox(ADDRESS)).await.unwrap();
    let told = inbox(&graph.mailbox("other@example.test")).await.unwrap_err();
    assert!(matches!(told.kind, GraphFault::Denied), "{told}");
    assert!(told.hint().unwrap().contains("RBAC"), "{told}");
    standin.access_policy(standin.app_id(), None);
    let told = inbox(&graph.mailbox("nobody@example.test")).await.unwrap_err();
    assert!(told.mailbox_unknown(), "{told}");
}

#[tokio::test]
async fn downloads_that_nobody_reads_stop_nobody_else() {
    let standin = Standin::start();
    standin.faults().concurrency(20);
    let limits = GraphLimits {
        in_flight: 20,
        ..GraphLimits::default()
    };
    let cloud = Cloud::new(Arc::new(MemoryVault::default()));
    let graph = cloud.graph(&app(&standin, secret(&standin)), &standin.graph(), limits);
    let box_ = standin.mailbox(ADDRESS);
    let id = box_.deliver(
        "Inbox",
        Message::new("m").with(Attachment::generated("f", 5_000_000, 5)),
    );
    let attachment = box_.message(&id).unwrap().attachments.remove(0);
    let path = format!(
        "messages/{}/attachments/{}/$value",
        segment(&id),
        segment(&attachment)
    );
    let mailbox = graph.unwrap().mailbox(ADDRESS);
    let mut held = Vec::new();
    // All share one connection of HTTP/2, whose window they could fill.
    for _ in 0..16 {
        let mut download = mailbox.download(&path).await.unwrap();
        // A piece has come: the rest is on its way.
        download.chunk().await.unwrap();
        held.push(download);
    }
    for _ in 0..20 {
        let got = tokio::time::timeout(Duration::from_secs(20), inbox(&mailbox)).await;
        got.expect("it waits for downloads of others").unwrap();
    }
    assert_eq!(held.len(), 16);
}
