//! The switches: each fault is what it says, and nothing is done where it says so.

use std::time::Duration;

use portreeve_tests_microsoft::{Attachment, Fault, Message, Standin};
use reqwest::Version;
use serde_json::Value;

use crate::client::{Client, Got, http1};

const DEADLINE: Duration = Duration::from_secs(20);

#[tokio::test]
async fn chance_is_a_function_of_the_seed_and_every_kind_comes() {
    let standin = Standin::start();
    let mailbox = standin.mailbox("box@example.test");
    mailbox.deliver("Inbox", Message::new("M"));
    let client = Client::new(&standin).await;
    let mut rounds = Vec::new();
    for seed in [1, 1, 2] {
        standin.faults().seed(seed);
        standin.faults().every_kind(0.5);
        let mut round = Vec::new();
        for _ in 0..120 {
            let sent = client
                .request(reqwest::Method::GET, "mailFolders/inbox/messages")
                .send()
                .await;
            let Ok(response) = sent else {
                round.push("reset".to_owned());
                continue;
            };
            let got = Got::of(response).await;
            let whole = serde_json::from_slice::<Value>(&got.bytes);
            round.push(match (got.status, whole) {
                (200, Err(_)) => "truncated".to_owned(),
                (200, Ok(json)) if json.get("error").is_some() => "embedded".to_owned(),
                (429, _) => format!("429 after {}", got.headers["retry-after"].to_str().unwrap()),
                (status, _) => status.to_string(),
            });
        }
        rounds.push(round);
    }
    assert_eq!(rounds[0], rounds[1]);
    assert_ne!(rounds[0], rounds[2]);
    for kind in [
        "200",
        "429 after 1",
        "503",
        "504",
        "reset",
        "truncated",
        "embedded",
    ] {
        assert!(rounds[0].iter().any(|k| k == kind), "{kind} never came");
    }
    let injected = standin.faults().injected();
    standin.faults().calm();
    assert_eq!(client.get("mailFolders").await.status, 200);
    assert_eq!(standin.faults().injected(), injected);
}

#[tokio::test]
async fn a_refused_call_did_nothing_and_a_lost_reply_did_all() {
    let standin = Standin::start();
    let mailbox = standin.mailbox("box@example.test");
    let id = mailbox.deliver("Inbox", Message::new("M"));
    let client = Client::new(&standin).await;
    let path = format!("messages/{id}");
    for status in [429, 503, 504] {
        standin.faults().fail_next(1, "DELETE", status);
        assert_eq!(client.delete(&path).await.status, status);
    }
    standin.faults().fail_next(1, "DELETE", 0);
    assert!(
        client
            .request(reqwest::Method::DELETE, &path)
            .send()
            .await
            .is_err()
    );
    assert_eq!(mailbox.messages("Inbox").len(), 1);
    standin.faults().lose_replies(1, "DELETE");
    assert!(
        client
            .request(reqwest::Method::DELETE, &path)
            .send()
            .await
            .is_err()
    );
    assert_eq!(mailbox.messages("Inbox").len(), 0);
    standin.faults().rate(Fault::LostReply, 1.0);
    assert!(
        client
            .request(reqwest::Method::DELETE, &path)
            .send()
            .await
            .is_err()
    );
    assert_eq!(mailbox.total(), 0);
}

#[tokio::test]
async fn a_download_breaks_off_where_it_should() {
    for version in [Version::HTTP_11, Version::HTTP_2] {
        breaks_off(version).await;
    }
}

async fn breaks_off(version: Version) {
    let standin = Standin::start();
    let mailbox = standin.mailbox("box@example.test");
    let id = mailbox.deliver(
        "Inbox",
        Message::new("M").with(Attachment::generated("a", 1_000_000, 1)),
    );
    let attachment = mailbox.message(&id).unwrap().attachments.remove(0);
    let mut client = Client::new(&standin).await;
    if version == Version::HTTP_11 {
        client.http = http1(&standin);
    }
    standin.faults().cut_downloads(300_000, 1);
    let path = format!("messages/{id}/attachments/{attachment}/$value");
    let mut response = client.request(reqwest::Method::GET, &path).send().await.unwrap();
    assert_eq!((response.status().as_u16(), response.version()), (200, version));
    let mut got = 0;
    let broke = loop {
        match response.chunk().await {
            Ok(Some(chunk)) => got += chunk.len(),
            Ok(None) => break false,
            Err(_) => break true,
        }
    };
    assert!(broke && got <= 300_000, "{got}");
    assert_eq!(client.get(&path).await.bytes.len(), 1_000_000);
    standin.faults().no_content_length(true);
    assert!(client.get(&path).await.headers.get("content-length").is_none());
}

#[tokio::test]
async fn a_fifth_request_for_a_mailbox_is_over_the_limit() {
    let standin = Standin::start();
    let mailbox = standin.mailbox("box@example.test");
    let _ = standin.mailbox("other@example.test");
    let client = Client::new(&standin).await;
    let hold = standin.faults().hold("mailFolders/inbox");
    let four: Vec<_> = (0..4)
        .map(|_| tokio::spawn(client.request(reqwest::Method::GET, "mailFolders/inbox").send()))
        .collect();
    let hold = tokio::task::spawn_blocking(move || {
        assert!(hold.wait(4, DEADLINE));
        hold
    })
    .await
    .unwrap();
    let fifth = client.get("mailFolders/drafts").await;
    assert_eq!(
        (fifth.status, fifth.code().as_str()),
        (429, "ApplicationThrottled")
    );
    assert_eq!(fifth.headers["retry-after"], "1");
    let other = format!("{}/users/other@example.test/mailFolders", standin.graph());
    assert_eq!(
        client.get(&other).await.status,
        200,
        "each mailbox has its own limit"
    );
    hold.release();
    for one in four {
        assert_eq!(one.await.unwrap().unwrap().status().as_u16(), 200);
    }
    assert_eq!(
        (standin.most_in_flight("box@example.test"), standin.over_limit()),
        (5, 1)
    );
    standin.clear_log();
    let id = mailbox.deliver("Inbox", Message::new("M").file("a", b"1"));
    let attachment = mailbox.message(&id).unwrap().attachments.remove(0);
    let path = format!("messages/{id}/attachments/{attachment}/$value");
    for _ in 0..100 {
        client.get("mailFolders/inbox").await;
        assert_eq!(client.get(&path).await.bytes, b"1");
    }
    assert_eq!(
        standin.most_in_flight("box@example.test"),
        1,
        "an answer that came is not in flight"
    );
}

#[tokio::test]
async fn other_switches() {
    let standin = Standin::start();
    let mailbox = standin.mailbox("box@example.test");
    let id = mailbox.deliver("Inbox", Message::new("M").file("a.txt", b"12345"));
    let client = Client::new(&standin).await;
    standin.faults().no_inner_select(true);
    assert_eq!(
        client
            .get("mailFolders/inbox/messages?$expand=attachments($select=id)")
            .await
            .status,
        400
    );
    assert_eq!(
        client
            .get("mailFolders/inbox/messages?$expand=attachments")
            .await
            .status,
        200
    );
    standin.faults().inline_limit(4);
    let list = client.get(&format!("messages/{id}/attachments")).await.json();
    assert!(list["value"][0].get("contentBytes").is_none());
    standin.faults().retry_after(None);
    standin.faults().fail_next(1, "/mailFolders", 503);
    assert!(
        client
            .get("mailFolders")
            .await
            .headers
            .get("retry-after")
            .is_none()
    );
    let last = standin.log().pop().unwrap();
    assert_eq!((last.status, last.bearer), (503, Some(true)));
    assert!(last.prefer.contains("ImmutableId") && last.target.ends_with("/mailFolders"));
}

#[tokio::test]
async fn who_comes_back_too_early_is_counted() {
    let standin = Standin::start();
    let _ = standin.mailbox("box@example.test");
    let client = Client::new(&standin).await;
    standin.faults().retry_after(Some("3600"));
    standin.faults().fail_next(1, "mailFolders/inbox", 429);
    assert_eq!(client.get("mailFolders/inbox").await.status, 429);
    assert_eq!(client.get("mailFolders/drafts").await.status, 200);
    assert_eq!(
        standin.early_retries(),
        0,
        "another request is not the same again"
    );
    assert_eq!(client.get("mailFolders/inbox").await.status, 200);
    assert_eq!(standin.early_retries(), 1);
    standin.clear_log();
    standin.faults().retry_after(Some("0"));
    standin.faults().fail_next(1, "mailFolders/inbox", 503);
    client.get("mailFolders/inbox").await;
    client.get("mailFolders/inbox").await;
    assert_eq!(standin.early_retries(), 0);
}

#[tokio::test]
async fn an_application_can_have_a_limit_over_all_mailboxes() {
    let standin = Standin::start();
    let _ = (
        standin.mailbox("box@example.test"),
        standin.mailbox("other@example.test"),
    );
    let client = Client::new(&standin).await;
    standin.faults().app_concurrency(1);
    let hold = standin.faults().hold("mailFolders/inbox");
    let first = tokio::spawn(client.request(reqwest::Method::GET, "mailFolders/inbox").send());
    let hold = tokio::task::spawn_blocking(move || {
        assert!(hold.wait(1, DEADLINE));
        hold
    })
    .await
    .unwrap();
    let other = format!("{}/users/other@example.test/mailFolders", standin.graph());
    assert_eq!(client.get(&other).await.status, 429);
    hold.release();
    assert_eq!(first.await.unwrap().unwrap().status().as_u16(), 200);
    assert_eq!(client.get(&other).await.status, 200);
}

#[tokio::test]
async fn a_client_that_hangs_up_is_in_flight_no_more() {
    let standin = Standin::start();
    let mailbox = standin.mailbox("box@example.test");
    let big = Message::new("M").with(Attachment::generated("a", 50_000_000, 1));
    let id = mailbox.deliver("Inbox", big);
    let attachment = mailbox.message(&id).unwrap().attachments.remove(0);
    let client = Client::new(&standin).await;
    let path = format!("messages/{id}/attachments/{attachment}/$value");
    for _ in 0..6 {
        let response = client.request(reqwest::Method::GET, &path).send().await.unwrap();
        assert_eq!(response.status().as_u16(), 200);
        drop(response);
        let end = std::time::Instant::now() + DEADLINE;
        while standin.in_flight("box@example.test") > 0 {
            assert!(std::time::Instant::now() < end, "still in flight");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

#[tokio::test]
async fn connections_break_and_nobody_may_be_there() {
    let standin = Standin::start();
    let mailbox = standin.mailbox("box@example.test");
    let id = mailbox.deliver(
        "Inbox",
        Message::new("M").with(Attachment::generated("a", 50_000_000, 1)),
    );
    let attachment = mailbox.message(&id).unwrap().attachments.remove(0);
    let client = Client::new(&standin).await;
    let path = format!("messages/{id}/attachments/{attachment}/$value");
    let mut response = client.request(reqwest::Method::GET, &path).send().await.unwrap();
    standin.faults().break_connections();
    let broke = loop {
        match response.chunk().await {
            Ok(Some(_)) => {}
            Ok(None) => break false,
            Err(_) => break true,
        }
    };
    assert!(broke, "a transfer does not survive its connection");
    assert_eq!(client.get("mailFolders").await.status, 200);
    standin.faults().offline(true);
    assert!(
        client
            .request(reqwest::Method::GET, "mailFolders")
            .send()
            .await
            .is_err()
    );
    standin.faults().offline(false);
    assert_eq!(client.get("mailFolders").await.status, 200);
}
