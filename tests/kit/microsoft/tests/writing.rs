//! Drafts, sending, moving, deleting, batches.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use portreeve_tests_microsoft::{Content, Message, Standin};
use reqwest::Method;
use serde_json::json;

use crate::client::{Client, Got};

fn file(name: &str, size: usize) -> serde_json::Value {
    json!({"@odata.type": "#microsoft.graph.fileAttachment", "name": name, "contentBytes": STANDARD.encode(vec![7; size])})
}

#[tokio::test]
async fn a_draft_is_made_filled_and_sent() {
    let standin = Standin::start();
    let mailbox = standin.mailbox("box@example.test");
    let client = Client::new(&standin).await;
    let to = json!([{"emailAddress": {"address": "a@example.test"}}]);
    let draft = client
        .post(
            "messages",
            json!({"subject": "S", "toRecipients": to, "isDraft": false}),
        )
        .await;
    assert_eq!((draft.status, &draft.json()["isDraft"]), (201, &json!(true)));
    let id = draft.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(mailbox.messages("Drafts").len(), 1);
    let attachments = format!("messages/{id}/attachments");
    assert_eq!(client.post(&attachments, file("a.bin", 1000)).await.status, 201);
    assert_eq!(
        client
            .post(&attachments, file("b.bin", (3 << 20) + 1))
            .await
            .status,
        413,
        "over 3 MB"
    );
    assert_eq!(
        client
            .post(&attachments, json!({"name": "x", "contentBytes": ""}))
            .await
            .status,
        400
    );
    assert_eq!(client.post("messages", json!({"subjekt": "S"})).await.status, 400);
    let regular = mailbox.message(&id).unwrap().regular_id;
    assert_eq!(
        client
            .post(&format!("messages/{id}/send"), json!({}))
            .await
            .status,
        202
    );
    let sent = mailbox.sent();
    assert_eq!(sent[0].to, ["a@example.test"]);
    let digest = Content::from(vec![7; 1000]).sha256();
    assert_eq!(sent[0].attachments, [("a.bin".to_owned(), digest)]);
    let found = mailbox.messages("Sent Items").remove(0);
    assert_eq!(found.id, id);
    assert_ne!(found.regular_id, regular, "a regular id changes with the folder");
    assert_eq!(
        client
            .post(&format!("messages/{id}/send"), json!({}))
            .await
            .status,
        400,
        "not twice"
    );
    let mail = json!({"message": {"subject": "T", "toRecipients": [{"emailAddress": {"address": "b@example.test"}}],
        "attachments": [file("c.bin", 10)]}, "saveToSentItems": false});
    assert_eq!(client.post("sendMail", mail).await.status, 202);
    assert_eq!(
        (mailbox.sent().len(), mailbox.messages("Sent Items").len()),
        (2, 1)
    );
    assert_eq!(
        client
            .post("sendMail", json!({"message": {"subject": "x"}}))
            .await
            .code(),
        "ErrorInvalidRecipients"
    );
}

#[tokio::test]
async fn mime_becomes_a_draft() {
    let standin = Standin::start();
    let mailbox = standin.mailbox("box@example.test");
    let client = Client::new(&standin).await;
    let mime = "From: A <a@example.test>\r\nMessage-ID: <x@y.test>\r\nSubject: Imported\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nHi\r\n--b\r\nContent-Type: text/csv; name=\"a.csv\"\r\nContent-Disposition: attachment; filename=\"a.csv\"\r\n\r\n1,2\r\n--b--\r\n";
    let import = |body: String| {
        client
            .request(Method::POST, "mailFolders/inbox/messages")
            .header("Content-Type", "text/plain")
            .body(body)
    };
    let made = Got::of(import(STANDARD.encode(mime)).send().await.unwrap()).await;
    assert_eq!(
        (made.status, &made.json()["isDraft"]),
        (201, &json!(true)),
        "{}",
        made.json()
    );
    let id = made.json()["id"].as_str().unwrap().to_owned();
    let found = mailbox.message(&id).unwrap();
    assert_eq!(
        (found.message.subject.as_deref(), found.names()),
        (Some("Imported"), vec!["a.csv".to_owned()])
    );
    assert_eq!(
        client.get(&format!("messages/{id}/$value")).await.bytes,
        mime.as_bytes()
    );
    let by_id = client
        .get("messages?$filter=internetMessageId eq '<x@y.test>'&$select=id")
        .await;
    assert_eq!(by_id.ids(), [id]);
    let bad = Got::of(import(mime.to_owned()).send().await.unwrap()).await;
    assert_eq!(bad.code(), "ErrorMimeContentInvalidBase64String");
    let huge = Got::of(import("A".repeat((4 << 20) + 1)).send().await.unwrap()).await;
    assert_eq!(huge.status, 413);
}

#[tokio::test]
async fn ids_change_with_a_move_unless_the_immutable_ones_are_asked_for() {
    let standin = Standin::start();
    let mailbox = standin.mailbox("box@example.test");
    let id = mailbox.deliver("Inbox", Message::new("M").file("a", b"1"));
    let mut client = Client::new(&standin).await;
    client.immutable = false;
    let list = client
        .get("mailFolders/inbox/messages?$expand=attachments($select=id)")
        .await
        .json();
    let old = list["value"][0]["id"].as_str().unwrap().to_owned();
    let old_attachment = list["value"][0]["attachments"][0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let moved = client
        .post(
            &format!("messages/{old}/move"),
            json!({"destinationId": "archive"}),
        )
        .await;
    assert_eq!(moved.status, 201);
    let new = moved.json()["id"].as_str().unwrap().to_owned();
    assert_ne!(old, new);
    assert_eq!(
        client.get(&format!("messages/{old}")).await.code(),
        "ErrorItemNotFound"
    );
    assert_eq!(
        client
            .get(&format!("messages/{new}/attachments/{old_attachment}"))
            .await
            .status,
        404
    );
    client.immutable = true;
    let got = client.get(&format!("messages/{id}")).await;
    assert_eq!((got.status, &got.json()["id"]), (200, &json!(id)));
    assert_eq!(got.headers["preference-applied"], "IdType=\"ImmutableId\"");
    assert_eq!(client.delete(&format!("messages/{id}")).await.status, 204);
    assert_eq!(mailbox.messages("Deleted Items").len(), 1);
    assert_eq!(
        client
            .post(&format!("messages/{id}/permanentDelete"), json!({}))
            .await
            .status,
        204
    );
    assert_eq!(mailbox.total(), 0);
    let inline =
        Message::new("only inline").with(portreeve_tests_microsoft::Attachment::inline("x.png", b"1"));
    let id = mailbox.deliver("Inbox", inline);
    let got = client
        .get(&format!("messages/{id}?$select=hasAttachments"))
        .await
        .json();
    assert_eq!(got["hasAttachments"], json!(false), "inline parts do not count");
}

#[tokio::test]
async fn each_request_of_a_batch_stands_for_itself() {
    let standin = Standin::start();
    let mailbox = standin.mailbox("box@example.test");
    mailbox.deliver("Inbox", Message::new("M"));
    let client = Client::new(&standin).await;
    let url = format!("{}/$batch", standin.graph());
    let one = |id: &str, path: &str| json!({"id": id, "method": "GET", "url": format!("/users/box@example.test/{path}")});
    let mut dependent = one("c", "mailFolders/inbox");
    dependent["dependsOn"] = json!(["b"]);
    let all = json!({"requests": [one("a", "mailFolders/inbox/messages"), one("b", "messages/nonsense"), dependent]});
    let got = client.post(&url, all).await.json();
    let answers = got["responses"].as_array().unwrap();
    assert_eq!(answers[0]["id"], json!("c"), "another order than the questions");
    let status = |id: &str| {
        answers.iter().find(|a| a["id"] == json!(id)).unwrap()["status"]
            .as_u64()
            .unwrap()
    };
    assert_eq!((status("a"), status("b"), status("c")), (200, 400, 424));
    standin
        .faults()
        .fail_next(1, "GET /v1.0/users/box@example.test/mailFolders/inbox", 429);
    let got = client
        .post(
            &url,
            json!({"requests": [one("a", "mailFolders/inbox"), one("b", "mailFolders/inbox")]}),
        )
        .await;
    assert_eq!(got.status, 200, "the batch itself is well");
    let throttled = got.json()["responses"]
        .as_array()
        .unwrap()
        .iter()
        .find(|a| a["status"] == 429)
        .unwrap()
        .clone();
    assert_eq!(throttled["headers"]["Retry-After"], json!("1"));
    assert_eq!(
        client
            .post(
                &url,
                json!({"requests": [one("a", "mailFolders"), one("a", "mailFolders")]})
            )
            .await
            .status,
        400
    );
    let many: Vec<_> = (0..21).map(|n| one(&n.to_string(), "mailFolders")).collect();
    assert_eq!(client.post(&url, json!({"requests": many})).await.status, 400);
    assert!(
        standin
            .log()
            .iter()
            .any(|c| c.batched && c.mailbox.as_deref() == Some("box@example.test"))
    );
}
