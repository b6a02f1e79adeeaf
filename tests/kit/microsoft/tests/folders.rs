//! Mail folders.

use portreeve_tests_microsoft::{Message, Standin};
use reqwest::Method;
use serde_json::json;

use crate::client::{Client, Got};

#[tokio::test]
async fn a_list_is_one_level_of_ten_with_search_folders_among_them() {
    let standin = Standin::start();
    let mailbox = standin.mailbox("box@example.test");
    for n in 0..12 {
        mailbox.folder(&format!("Top {n}/Below"));
    }
    mailbox.search_folder("Found");
    mailbox.hidden_folder("Hidden");
    let client = Client::new(&standin).await;
    assert_eq!(client.get("mailFolders").await.ids().len(), 10);
    let (all, _) = client.all("mailFolders").await;
    assert_eq!(all.len(), 7 + 12 + 1, "one level, hidden ones left out");
    let found = all.iter().find(|f| f["displayName"] == "Found").unwrap();
    assert_eq!(found["@odata.type"], json!("#microsoft.graph.mailSearchFolder"));
    let (with_hidden, _) = client.all("mailFolders?includeHiddenFolders=true&$top=100").await;
    assert_eq!(with_hidden.len(), 21);
    let top = all.iter().find(|f| f["displayName"] == "Top 0").unwrap();
    assert_eq!(top["childFolderCount"], json!(1));
    let below = client
        .get(&format!(
            "mailFolders/{}/childFolders",
            top["id"].as_str().unwrap()
        ))
        .await;
    assert_eq!(below.json()["value"][0]["displayName"], json!("Below"));
    let root = client.get("mailFolders/msgfolderroot").await.json();
    assert_eq!(top["parentFolderId"], root["id"]);
}

#[tokio::test]
async fn folders_are_made_renamed_moved_and_deleted() {
    let standin = Standin::start();
    let mailbox = standin.mailbox("box@example.test");
    let client = Client::new(&standin).await;
    let made = client.post("mailFolders", json!({"displayName": "One"})).await;
    assert_eq!(made.status, 201);
    let id = made.json()["id"].as_str().unwrap().to_owned();
    let again = client.post("mailFolders", json!({"displayName": "oNE"})).await;
    assert_eq!((again.status, again.code().as_str()), (409, "ErrorFolderExists"));
    let child = client
        .post(
            &format!("mailFolders/{id}/childFolders"),
            json!({"displayName": "Two"}),
        )
        .await;
    assert_eq!(child.status, 201);
    assert_eq!(
        client
            .patch(&format!("mailFolders/{id}"), json!({"displayName": "Uno"}))
            .await
            .status,
        200
    );
    let taken = client
        .patch(&format!("mailFolders/{id}"), json!({"displayName": "INBOX"}))
        .await;
    assert_eq!(taken.code(), "ErrorFolderExists");
    let moved = client
        .post(
            &format!("mailFolders/{id}/move"),
            json!({"destinationId": "inbox"}),
        )
        .await;
    assert_eq!(
        (moved.status, &moved.json()["id"]),
        (201, &json!(id)),
        "folder ids are stable"
    );
    assert!(mailbox.folders().contains(&"Inbox/Uno/Two".to_owned()));
    let within = client
        .post(
            &format!("mailFolders/{id}/move"),
            json!({"destinationId": child.json()["id"]}),
        )
        .await;
    assert_eq!(within.status, 400);
    assert_eq!(client.delete(&format!("mailFolders/{id}")).await.status, 204);
    assert!(
        mailbox.folders().contains(&"Deleted Items/Uno/Two".to_owned()),
        "{:?}",
        mailbox.folders()
    );
    assert_eq!(client.delete(&format!("mailFolders/{id}")).await.status, 204);
    assert_eq!(
        client.get(&format!("mailFolders/{id}")).await.code(),
        "ErrorItemNotFound"
    );
    assert_eq!(
        client.get(&format!("mailFolders/{id}/messages")).await.code(),
        "ErrorFolderNotFound"
    );
    assert_eq!(
        client.delete("mailFolders/inbox").await.code(),
        "ErrorDeleteDistinguishedFolder"
    );
    assert_eq!(
        client
            .patch("mailFolders/inbox", json!({"displayName": "x"}))
            .await
            .status,
        403
    );
}

#[tokio::test]
async fn ids_are_case_sensitive_and_judged_by_their_form() {
    let standin = Standin::start();
    let mailbox = standin.mailbox("box@example.test");
    let ids: Vec<String> = (0..4)
        .map(|n| mailbox.deliver("Inbox", Message::new(&n.to_string())))
        .collect();
    let folded: std::collections::BTreeSet<String> = ids.iter().map(|i| i.to_lowercase()).collect();
    assert!(
        folded.len() < ids.len(),
        "some ids differ in the case of one letter alone"
    );
    let client = Client::new(&standin).await;
    for (n, id) in ids.iter().enumerate() {
        assert_eq!(
            client.get(&format!("messages/{id}")).await.json()["subject"],
            json!(n.to_string())
        );
    }
    let swapped: String = ids[0]
        .chars()
        .map(|c| {
            if c.is_lowercase() {
                c.to_ascii_uppercase()
            } else {
                c
            }
        })
        .collect();
    assert_ne!(client.get(&format!("messages/{swapped}")).await.status, 200);
    assert_eq!(
        client.get("messages/nonsense").await.code(),
        "ErrorInvalidIdMalformed"
    );
    assert_eq!(
        client.get("mailFolders/nonsense").await.code(),
        "ErrorInvalidIdMalformed"
    );
    assert_eq!(
        client.get("mailFolders/clutter").await.code(),
        "ErrorItemNotFound",
        "known, but not there"
    );
    let held = |folder: &str| format!("mailFolders/{folder}/messages/{}", ids[0]);
    assert_eq!(client.get(&held("inbox")).await.status, 200);
    assert_eq!(
        client.get(&held("archive")).await.status,
        404,
        "it is in another folder"
    );
    let unknown = format!("AAkA{}", "x".repeat(60));
    assert_eq!(
        client.get(&format!("messages/{unknown}")).await.code(),
        "ErrorItemNotFound"
    );
    for (path, why) in [
        (
            "mailFolders/inbox/messages?$select=subject,size",
            "an unknown property",
        ),
        (
            "mailFolders/inbox/messages?$search=x",
            "an option that is not known",
        ),
        (
            "mailFolders?$select=wellKnownName",
            "an unknown property of a folder",
        ),
        ("contacts", "something that is no mail"),
    ] {
        assert_eq!(client.get(path).await.status, 400, "{why}");
    }
    let put = client
        .request(Method::PUT, "mailFolders/inbox")
        .send()
        .await
        .unwrap();
    assert_eq!(Got::of(put).await.status, 405);
}
