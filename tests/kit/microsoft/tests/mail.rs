//! Folders, messages and attachments.

use portreeve_tests_microsoft::{Attachment, Content, Message, Standin};
use serde_json::json;

use crate::client::Client;

#[tokio::test]
async fn messages_come_in_pages_and_links_are_good_as_given_only() {
    let standin = Standin::start();
    let mailbox = standin.mailbox("box@example.test");
    for n in 0..25 {
        mailbox.deliver("Inbox", Message::new(&format!("Message {n}")));
    }
    let client = Client::new(&standin).await;
    let (all, _) = client.all("mailFolders/inbox/messages?$select=subject").await;
    assert_eq!(all.len(), 25);
    let first = client.get("mailFolders/inbox/messages?$select=subject").await;
    assert_eq!(
        first.ids().len(),
        10,
        "a page holds ten unless more are asked for"
    );
    assert!(
        first.json()["value"][0].get("body").is_none() && first.json()["value"][0].get("subject").is_some()
    );
    let link = first.json()["@odata.nextLink"].as_str().unwrap().to_owned();
    for changed in [
        link.replace("%24", "$"),
        link.replace("%7E", "~"),
        format!("{link}&$top=50"),
        format!("{link}0"),
    ] {
        assert_eq!(client.get(&changed).await.status, 400, "{changed}");
    }
    assert_eq!(client.get(&link).await.ids().len(), 10);
    assert_eq!(
        client
            .get("mailFolders/inbox/messages?$top=1000")
            .await
            .ids()
            .len(),
        25
    );
    assert_eq!(
        client.get("mailFolders/inbox/messages?$top=1001").await.status,
        400
    );
}

#[tokio::test]
async fn attachments_are_what_they_are() {
    let standin = Standin::start();
    let mailbox = standin.mailbox("box@example.test");
    let id = mailbox.deliver(
        "Inbox",
        Message::new("All kinds")
            .file("a.txt", b"hello")
            .with(Attachment::generated("big.bin", 5 << 20, 3))
            .with(Attachment::inline("logo.png", b"png"))
            .with(Attachment::item("A message", b"Subject: inner\r\n\r\nHi\r\n"))
            .with(Attachment::reference("cloud", "https://cloud.example.test/x")),
    );
    let client = Client::new(&standin).await;
    let list = client.get(&format!("messages/{id}/attachments")).await.json();
    let list = list["value"].as_array().unwrap();
    assert_eq!(list.len(), 5);
    assert!(
        list[0]["size"].as_u64().unwrap() > 5,
        "size is not the length of the content"
    );
    assert_eq!(list[0]["contentBytes"], json!("aGVsbG8="));
    assert!(list[1].get("contentBytes").is_none(), "too large for a list");
    assert_eq!(list[2]["isInline"], json!(true));
    assert_eq!(list[3]["@odata.type"], json!("#microsoft.graph.itemAttachment"));
    let value = |n: usize| {
        format!(
            "messages/{id}/attachments/{}/$value",
            list[n]["id"].as_str().unwrap()
        )
    };
    let big = client.get(&value(1)).await;
    assert_eq!(big.headers["content-length"], (5 << 20).to_string().as_str());
    let expected = Content::Generated {
        size: 5 << 20,
        seed: 3,
    };
    assert_eq!(Content::from(big.bytes).sha256(), expected.sha256());
    let ranged = client
        .request(reqwest::Method::GET, &value(1))
        .header("Range", "bytes=5-")
        .send()
        .await
        .unwrap();
    assert_eq!(
        (ranged.status().as_u16(), ranged.bytes().await.unwrap().len()),
        (200, 5 << 20),
        "no ranges"
    );
    assert_eq!(client.get(&value(3)).await.bytes, b"Subject: inner\r\n\r\nHi\r\n");
    assert_eq!(client.get(&value(4)).await.status, 405);
    let slim = client
        .get(&format!("messages/{id}/attachments?$select=id,name,size"))
        .await
        .json();
    assert!(slim["value"][0].get("contentBytes").is_none());
    assert_eq!(
        client
            .get(&format!("messages/{id}/attachments?$select=contentBytes"))
            .await
            .status,
        400
    );
    let expanded = client
        .get(&format!("messages/{id}?$expand=attachments($select=id,name)"))
        .await
        .json();
    assert!(expanded["attachments"][0].get("contentBytes").is_none());
    let fat = client
        .get(&format!("messages/{id}?$expand=attachments"))
        .await
        .json();
    assert_eq!(fat["attachments"][0]["contentBytes"], json!("aGVsbG8="));
    let mime = client.get(&format!("messages/{id}/$value")).await;
    assert!(String::from_utf8_lossy(&mime.bytes).contains("filename=\"a.txt\""));
}

#[tokio::test]
async fn an_item_says_what_it_is_and_an_expanded_list_may_be_cut() {
    let standin = Standin::start();
    let mailbox = standin.mailbox("box@example.test");
    let mut message =
        Message::new("M").with(Attachment::item("event", b"BEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n"));
    for n in 0..5 {
        message = message.file(&format!("{n}.txt"), b"x");
    }
    let id = mailbox.deliver("Inbox", message);
    let event = mailbox.message(&id).unwrap().attachments.remove(0);
    let client = Client::new(&standin).await;
    let path = format!("messages/{id}/attachments/{event}");
    let expanded = client
        .get(&format!(
            "{path}?$select=id,name&$expand=microsoft.graph.itemattachment/item($select=id)"
        ))
        .await;
    assert_eq!(
        expanded.json()["item"]["@odata.type"],
        json!("#microsoft.graph.event")
    );
    assert_eq!(client.get(&format!("{path}?$expand=item")).await.status, 400);
    standin.faults().expand_most(Some(4));
    let cut = client
        .get(&format!(
            "messages/{id}?$select=id&$expand=attachments($select=id,name)"
        ))
        .await
        .json();
    assert_eq!(cut["attachments"].as_array().unwrap().len(), 4);
    let (rest, _) = client
        .all(cut["attachments@odata.nextLink"].as_str().unwrap())
        .await;
    assert_eq!(
        rest.iter()
            .map(|a| a["name"].as_str().unwrap())
            .collect::<Vec<_>>(),
        ["3.txt", "4.txt"]
    );
    assert!(rest[0].get("size").is_none(), "only what was selected");
}

#[tokio::test]
async fn a_large_mailbox_is_complete() {
    let standin = Standin::start();
    let mailbox = standin.mailbox("box@example.test");
    for folder in 0..20 {
        mailbox.folder(&format!("Folder {folder}"));
        for n in 0..250 {
            let message = Message::new(&format!("Message {n}")).file("a.csv", b"1");
            mailbox.deliver(&format!("Folder {folder}"), message);
        }
    }
    let client = Client::new(&standin).await;
    let (folders, _) = client.all("mailFolders?$top=100").await;
    let mut seen = std::collections::BTreeSet::new();
    for folder in folders {
        let id = folder["id"].as_str().unwrap();
        let (delta, _) = client
            .all(&format!("mailFolders/{id}/messages/delta?$select=id&$top=100"))
            .await;
        let listed =
            format!("mailFolders/{id}/messages?$select=id&$top=100&$expand=attachments($select=id,name)");
        let (listed, _) = client.all(&listed).await;
        assert_eq!(delta.len(), listed.len());
        seen.extend(listed.iter().map(|m| m["id"].as_str().unwrap().to_owned()));
    }
    assert_eq!(seen.len(), 5000);
}

#[tokio::test]
async fn a_whole_message_can_be_read_again() {
    let standin = Standin::start();
    let mailbox = standin.mailbox("box@example.test");
    let message = Message::new("Gr\u{fc}\u{df}e")
        .file("a.txt", b"hello")
        .with(Attachment::generated("b.bin", 100_000, 9))
        .with(Attachment::item("mail", b"Subject: inner\r\n\r\nHi\r\n"));
    let id = mailbox.deliver("Inbox", message);
    let client = Client::new(&standin).await;
    let mime = client.get(&format!("messages/{id}/$value")).await.bytes;
    let body = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &mime);
    let import = client
        .request(reqwest::Method::POST, "messages")
        .header("Content-Type", "text/plain")
        .body(body);
    assert_eq!(import.send().await.unwrap().status().as_u16(), 201);
    let found = mailbox.messages("Drafts").remove(0);
    assert_eq!(found.message.subject.as_deref(), Some("Gr\u{fc}\u{df}e"));
    let digests: Vec<String> = found
        .message
        .attachments
        .iter()
        .map(|a| a.content().unwrap().sha256())
        .collect();
    let expected = [
        Content::from("hello").sha256(),
        Content::Generated {
            size: 100_000,
            seed: 9,
        }
        .sha256(),
        Content::from("Subject: inner\r\n\r\nHi\r\n").sha256(),
    ];
    assert_eq!(digests, expected);
}
