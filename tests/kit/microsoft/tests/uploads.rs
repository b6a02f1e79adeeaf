//! Upload sessions.

use std::time::Duration;

use portreeve_tests_microsoft::{Content, Message, Standin};
use reqwest::Method;
use serde_json::{Value, json};

use crate::client::{Client, Got};

const SIZE: u64 = 9_000_001;

fn item(size: u64) -> Value {
    json!({"AttachmentItem": {"attachmentType": "file", "name": "big.bin", "size": size}})
}

async fn put(client: &Client<'_>, url: &str, from: u64, bytes: &[u8], whole: u64) -> Got {
    let to = from + bytes.len() as u64 - 1;
    let request = client
        .http
        .put(url)
        .header("Content-Range", format!("bytes {from}-{to}/{whole}"));
    Got::of(request.body(bytes.to_vec()).send().await.unwrap()).await
}

async fn open(client: &Client<'_>, id: &str) -> String {
    let made = client
        .post(
            &format!("messages/{id}/attachments/createUploadSession"),
            item(SIZE),
        )
        .await;
    assert_eq!(made.status, 201, "{}", made.json());
    made.json()["uploadUrl"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn parts_in_order_make_an_attachment() {
    let standin = Standin::start();
    let mailbox = standin.mailbox("box@example.test");
    let id = mailbox.deliver("Drafts", Message::new("Draft"));
    let client = Client::new(&standin).await;
    let url = open(&client, &id).await;
    assert!(
        url.starts_with(&format!("https://127.0.0.1:{}/", standin.upload_port())),
        "another host"
    );
    let content = Content::Generated { size: SIZE, seed: 11 };
    let all = content.all();
    let first = put(&client, &url, 0, &all[..4_000_000], SIZE).await;
    assert_eq!(
        (first.status, &first.json()["nextExpectedRanges"]),
        (200, &json!(["4000000"]))
    );
    assert_eq!(
        put(&client, &url, 0, &all[..4_000_000], SIZE).await.status,
        416,
        "not twice"
    );
    assert_eq!(
        put(&client, &url, 5_000_000, &all[..1000], SIZE).await.status,
        416,
        "no gaps"
    );
    assert_eq!(
        put(&client, &url, 4_000_000, &all[..10], SIZE + 1).await.status,
        400,
        "another size"
    );
    assert_eq!(
        put(&client, &url, 4_000_000, &all[..5_000_000], SIZE)
            .await
            .status,
        413,
        "too much at once"
    );
    let barred = client
        .http
        .put(&url)
        .bearer_auth(&client.token)
        .body("x")
        .send()
        .await
        .unwrap();
    assert_eq!(barred.status().as_u16(), 401, "the URL alone gives access");
    assert_eq!(
        client
            .http
            .put(format!("{url}0"))
            .body("x")
            .send()
            .await
            .unwrap()
            .status()
            .as_u16(),
        404
    );
    assert_eq!(
        put(&client, &url, 4_000_000, &all[4_000_000..8_000_000], SIZE)
            .await
            .status,
        200
    );
    assert!(
        mailbox.message(&id).unwrap().names().is_empty(),
        "nothing before the last byte"
    );
    let last = put(&client, &url, 8_000_000, &all[8_000_000..], SIZE).await;
    assert_eq!((last.status, last.bytes.len()), (201, 0));
    assert!(
        last.headers["location"]
            .to_str()
            .unwrap()
            .contains("/Attachments('AAMk")
    );
    assert_eq!(
        mailbox.attachment(&id, "big.bin").unwrap().sha256(),
        content.sha256()
    );
    assert_eq!(
        put(&client, &url, 0, &all[..10], SIZE).await.status,
        404,
        "the session is over"
    );
}

#[tokio::test]
async fn sessions_are_refused_cancelled_and_expire() {
    let standin = Standin::start();
    let mailbox = standin.mailbox("box@example.test");
    let id = mailbox.deliver("Drafts", Message::new("Draft"));
    let client = Client::new(&standin).await;
    let session = format!("messages/{id}/attachments/createUploadSession");
    let small = client.post(&session, item(2_900_000)).await;
    assert_eq!(small.code(), "ErrorAttachmentSizeShouldNotBeLessThanMinimumSize");
    mailbox.largest_message(10 << 20);
    assert_eq!(
        client.post(&session, item(11 << 20)).await.code(),
        "ErrorMessageSizeExceeded"
    );
    let url = open(&client, &id).await;
    let cancelled = client.http.request(Method::DELETE, &url).send().await.unwrap();
    assert_eq!((cancelled.status().as_u16(), standin.open_uploads()), (204, 0));
    let url = open(&client, &id).await;
    standin.expire_uploads();
    assert_eq!(put(&client, &url, 0, b"x", SIZE).await.status, 404);
    standin.faults().upload_lifetime(Duration::ZERO);
    let url = open(&client, &id).await;
    assert_eq!(put(&client, &url, 0, b"x", SIZE).await.status, 404);
    standin.faults().upload_lifetime(Duration::from_secs(60));
    let url = open(&client, &id).await;
    mailbox.delete_message(&id);
    assert_eq!(
        put(&client, &url, 0, b"x", SIZE).await.status,
        404,
        "the message has gone"
    );
}
