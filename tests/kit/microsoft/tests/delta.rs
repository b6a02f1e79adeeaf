//! Delta queries.

use portreeve_tests_microsoft::{Message, Standin};
use serde_json::{Value, json};

use crate::client::Client;

fn link(page: &Value) -> String {
    page["@odata.deltaLink"]
        .as_str()
        .expect("a delta link")
        .to_owned()
}

#[tokio::test]
async fn a_folder_is_told_whole_and_then_only_what_changed() {
    let standin = Standin::start();
    let mailbox = standin.mailbox("box@example.test");
    let ids: Vec<String> = (0..23)
        .map(|n| mailbox.deliver("Inbox", Message::new(&format!("M{n}"))))
        .collect();
    let client = Client::new(&standin).await;
    let first = client
        .get("mailFolders/inbox/messages/delta?$select=subject")
        .await;
    assert_eq!(first.ids().len(), 10);
    let next = first.json()["@odata.nextLink"].as_str().unwrap().to_owned();
    // Something comes and something goes between two pages: it is told in the next round.
    let late = mailbox.deliver("Inbox", Message::new("late"));
    mailbox.delete_message(&ids[22]);
    let (rest, last) = client.all(&next).await;
    assert_eq!(rest.len(), 13);
    let (changes, last) = client.all(&link(&last)).await;
    assert_eq!(changes.len(), 2);
    assert!(
        changes
            .iter()
            .any(|c| c["id"] == json!(late) && c["subject"] == "late")
    );
    assert!(
        changes
            .iter()
            .any(|c| c["id"] == json!(ids[22]) && c["@removed"]["reason"] == "deleted")
    );
    let (none, last) = client.all(&link(&last)).await;
    assert!(none.is_empty());
    mailbox.change_subject(&ids[1], "other");
    mailbox.move_message(&ids[2], "Archive");
    let (changes, again) = client.all(&link(&last)).await;
    assert!(
        changes
            .iter()
            .any(|c| c["id"] == json!(ids[1]) && c["subject"] == "other")
    );
    assert!(
        changes
            .iter()
            .any(|c| c["id"] == json!(ids[2]) && c.get("@removed").is_some())
    );
    assert_eq!(changes.len(), 2);
    let (same, _) = client.all(&link(&last)).await;
    assert_eq!(
        same.len(),
        2,
        "a link tells the same again as long as it is asked"
    );
    assert_eq!(client.get(&format!("{}&x=1", link(&again))).await.status, 400);
    standin.expire_deltas();
    let gone = client.get(&link(&again)).await;
    assert_eq!((gone.status, gone.code().as_str()), (410, "syncStateNotFound"));
}

#[tokio::test]
async fn what_a_delta_query_does_not_know_is_refused() {
    let standin = Standin::start();
    let _ = standin.mailbox("box@example.test");
    let client = Client::new(&standin).await;
    for (options, status) in [
        ("$expand=attachments", 400),
        ("$filter=hasAttachments eq true", 400),
        ("$orderby=subject", 400),
        ("$skip=1", 400),
        ("$filter=receivedDateTime ge 2024-01-01T00:00:00Z", 200),
        ("$orderby=receivedDateTime desc", 200),
        ("changeType=created", 200),
    ] {
        let got = client
            .get(&format!("mailFolders/inbox/messages/delta?{options}"))
            .await;
        assert_eq!(got.status, status, "{options}");
    }
}

#[tokio::test]
async fn folders_have_a_delta_too() {
    let standin = Standin::start();
    let mailbox = standin.mailbox("box@example.test");
    let deep = mailbox.folder("Inbox/A/B");
    let client = Client::new(&standin).await;
    let (all, last) = client
        .all("mailFolders/delta?$select=displayName,parentFolderId")
        .await;
    assert_eq!(all.len(), 9, "flat, without the root");
    assert!(all.iter().any(|f| f["id"] == json!(deep)));
    mailbox.rename_folder("Inbox/A", "C");
    mailbox.delete_folder("Inbox/C/B");
    mailbox.folder("New");
    let (changes, _) = client.all(&link(&last)).await;
    assert!(changes.iter().any(|f| f["displayName"] == "C"));
    assert!(changes.iter().any(|f| f["displayName"] == "New"));
    assert!(
        changes
            .iter()
            .any(|f| f["id"] == json!(deep) && f.get("@removed").is_some())
    );
}

#[tokio::test]
async fn pages_of_offsets_skip_what_shifts_and_may_be_empty() {
    let standin = Standin::start();
    let mailbox = standin.mailbox("box@example.test");
    let ids: Vec<String> = (0..20)
        .map(|n| mailbox.deliver("Inbox", Message::new(&n.to_string())))
        .collect();
    let client = Client::new(&standin).await;
    let first = client.get("mailFolders/inbox/messages?$select=id").await;
    let next = first.json()["@odata.nextLink"].as_str().unwrap().to_owned();
    // One of the first page goes: the first of the second page slips through.
    let seen = first.ids();
    mailbox.delete_message(&seen[0]);
    let second = client.get(&next).await.ids();
    assert_eq!(seen.len() + second.len(), ids.len() - 1);
    let second_again = {
        mailbox.deliver("Inbox", Message::new("new"));
        mailbox.deliver("Inbox", Message::new("newer"));
        client.get(&next).await.ids()
    };
    assert!(
        second_again.iter().any(|id| seen.contains(id)),
        "what comes shifts others into the next page"
    );
    standin.faults().empty_pages(true);
    standin.faults().page_size(Some(3));
    let mut empty = 0;
    let mut at = "mailFolders/inbox/messages?$top=100".to_owned();
    let mut count = 0;
    loop {
        let page = client.get(&at).await.json();
        let many = page["value"].as_array().unwrap().len();
        assert!(many <= 3);
        empty += u32::from(many == 0);
        count += many;
        let Some(link) = page["@odata.nextLink"].as_str() else {
            break;
        };
        at = link.to_owned();
    }
    assert_eq!(count, 21);
    assert!(empty > 0, "a page without items is not the last");
    standin.faults().replays(true);
    let (told, _) = client.all("mailFolders/inbox/messages/delta").await;
    assert!(told.len() > 21, "delta tells things twice");
}
