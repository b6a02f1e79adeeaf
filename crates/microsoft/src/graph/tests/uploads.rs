//! Uploads of attachments.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use async_trait::async_trait;
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::json;

use crate::{
    graph::{GraphFault, UploadSource},
    tests::stage::{Answer, Asked, Stage, graph_play},
};

const PIECE: usize = 3_932_160;

fn content(size: usize) -> Bytes {
    (0..size).map(|n| (n % 253) as u8).collect::<Vec<u8>>().into()
}

fn session(asked: &Asked) -> Answer {
    let url = format!("https://{}/up?t=upl0ad", asked.header("host"));
    Answer::json(201, &json!({"uploadUrl": url, "nextExpectedRanges": ["0-"]}))
}

fn is_put(asked: &Asked) -> bool {
    asked.method == "PUT"
}

#[tokio::test]
async fn a_small_file_goes_in_one_request() {
    let stage = Stage::open(graph_play(|_| Answer::json(201, &json!({"id": "att"})))).await;
    let file = content(1000);
    let id = stage
        .mailbox()
        .upload("m/1", "a.pdf", 1000, "application/pdf", &file)
        .await
        .unwrap();
    assert_eq!(id, "att");
    let asked = stage.asked().remove(1);
    assert!(
        asked.path.ends_with("/messages/m%2F1/attachments"),
        "{}",
        asked.path
    );
    let body = asked.json();
    assert_eq!(body["@odata.type"], "#microsoft.graph.fileAttachment");
    assert_eq!(body["name"], "a.pdf");
    assert_eq!(body["contentBytes"], STANDARD.encode(&file));
}

#[tokio::test]
async fn a_large_file_goes_in_pieces() {
    let size = PIECE * 2 + 5;
    let taken = Arc::new(Mutex::new(Vec::new()));
    let into = Arc::clone(&taken);
    let stage = Stage::open(graph_play(move |asked| {
        if asked.path.ends_with("createUploadSession") {
            return session(asked);
        }
        let mut taken = into.lock();
        taken.extend_from_slice(&asked.body);
        match taken.len() {
            done if done == size => Answer::With(
                201,
                vec![(
                    "location",
                    "https://x/Messages('m')/Attachments('att')".to_owned(),
                )],
                Vec::new(),
            ),
            // As Outlook writes it: a bare number.
            done => Answer::json(200, &json!({"nextExpectedRanges": [done.to_string()]})),
        }
    }))
    .await;
    let file = content(size);
    let mailbox = stage.mailbox();
    let id = mailbox.upload("m", "a", size as u64, "x/y", &file).await.unwrap();
    assert_eq!(id, "att");
    assert_eq!(*taken.lock(), file);
    let asked = stage.asked();
    let made = asked[1].json();
    assert_eq!(made["AttachmentItem"]["size"], size);
    let ranges: Vec<&str> = asked
        .iter()
        .filter(|a| is_put(a))
        .map(|a| a.header("content-range"))
        .collect();
    assert_eq!(
        ranges,
        [
            format!("bytes 0-{}/{size}", PIECE - 1),
            format!("bytes {PIECE}-{}/{size}", 2 * PIECE - 1),
            format!("bytes {}-{}/{size}", 2 * PIECE, size - 1)
        ]
    );
    for asked in asked.iter().filter(|a| is_put(a)) {
        assert_eq!(asked.header("authorization"), "", "the URL is the permission");
    }
}

#[tokio::test]
async fn a_piece_is_sent_again_and_an_expired_session_begins_anew() {
    let size = PIECE + 5;
    let stage = Stage::open(graph_play(move |asked| match asked.nth {
        1 => Answer::error(503, ""),
        2 => Answer::json(200, &json!({"nextExpectedRanges": [format!("{PIECE}-")]})),
        3 => Answer::error(404, "ErrorItemNotFound"),
        6 => Answer::json(200, &json!({"nextExpectedRanges": [format!("{PIECE}-")]})),
        7 => Answer::json(201, &json!({"id": "att"})),
        _ if asked.method == "DELETE" => Answer::With(204, Vec::new(), Vec::new()),
        _ => session(asked),
    }))
    .await;
    let id = stage
        .mailbox()
        .upload("m", "a", size as u64, "x/y", &content(size))
        .await
        .unwrap();
    assert_eq!(id, "att");
    let story: Vec<String> = stage.asked()[1..]
        .iter()
        .map(|a| {
            format!(
                "{} {}",
                a.method,
                a.header("content-range").split('-').next().unwrap()
            )
        })
        .collect();
    assert_eq!(
        story,
        [
            "POST ",
            "PUT bytes 0",
            "PUT bytes 0",
            &format!("PUT bytes {PIECE}"),
            "DELETE ",
            "POST ",
            "PUT bytes 0",
            &format!("PUT bytes {PIECE}")
        ]
    );
}

/// The service may have taken less of a piece, or more, than was sent.
#[tokio::test]
async fn a_session_goes_on_where_the_service_says() {
    let size = PIECE * 2;
    let stage = Stage::open(graph_play(move |asked| match asked.nth {
        1 => Answer::json(200, &json!({"nextExpectedRanges": ["100-", "200-300"]})),
        2 => Answer::json(200, &json!({"nextExpectedRanges": [format!("{}-", size - 1)]})),
        3 => Answer::json(201, &json!({"id": "att"})),
        _ => session(asked),
    }))
    .await;
    let file = content(size);
    stage
        .mailbox()
        .upload("m", "a", size as u64, "x/y", &file)
        .await
        .unwrap();
    let asked = stage.asked();
    let puts: Vec<&Asked> = asked.iter().filter(|asked| is_put(asked)).collect();
    for (put, (from, to)) in puts
        .iter()
        .zip([(0, PIECE), (100, PIECE + 100), (size - 1, size)])
    {
        assert_eq!(
            put.header("content-range"),
            format!("bytes {from}-{}/{size}", to - 1)
        );
        assert_eq!(put.body, file[from..to]);
    }
    assert_eq!(puts.len(), 3);
}

#[tokio::test]
async fn a_lost_answer_to_the_last_piece_is_not_sent_twice() {
    let size = PIECE + 5;
    let stage = Stage::open(graph_play(move |asked| match asked.nth {
        0 => session(asked),
        1 => Answer::json(200, &json!({"nextExpectedRanges": [format!("{PIECE}-")]})),
        2 => Answer::Raw(Vec::new()),
        _ => Answer::error(404, "ErrorItemNotFound"),
    }))
    .await;
    let told = stage
        .mailbox()
        .upload("m", "a", size as u64, "x/y", &content(size))
        .await
        .unwrap_err();
    assert!(told.uncertain, "{told}");
    assert!(!format!("{told:?} {told}").contains("upl0ad"));
    assert_eq!(stage.count_of("createUploadSession"), 1);
}

#[tokio::test]
async fn a_failed_session_is_cancelled_and_not_told() {
    let size = PIECE + 5;
    let stage = Stage::open(graph_play(move |asked| match &*asked.method {
        "POST" => session(asked),
        "DELETE" => Answer::With(204, Vec::new(), Vec::new()),
        _ => Answer::error(413, "ErrorMessageSizeExceeded"),
    }))
    .await;
    let told = stage
        .mailbox()
        .upload("m", "a", size as u64, "x/y", &content(size))
        .await
        .unwrap_err();
    assert!(matches!(told.kind, GraphFault::TooLarge), "{told}");
    assert!(!format!("{told:?} {told}").contains("upl0ad"));
    let last = stage.asked().pop().unwrap();
    assert_eq!((&*last.method, &*last.path), ("DELETE", "/up?t=upl0ad"));
    assert_eq!(stage.count_of("createUploadSession"), 1);
}

#[tokio::test]
async fn a_service_that_never_has_enough_comes_to_an_end() {
    let size = PIECE + 5;
    let stage = Stage::open(graph_play(move |asked| match &*asked.method {
        "POST" => session(asked),
        _ => Answer::json(200, &json!({"nextExpectedRanges": ["0-"]})),
    }))
    .await;
    let told = stage
        .mailbox()
        .upload("m", "a", size as u64, "x/y", &content(size))
        .await
        .unwrap_err();
    assert!(matches!(told.kind, GraphFault::Broken), "{told}");
    assert_eq!(stage.count_of("createUploadSession"), 3);
}

/// A file that somebody cut while it was read.
struct Short(AtomicUsize);

#[async_trait]
impl UploadSource for Short {
    async fn read(&self, _: u64, len: usize) -> io::Result<Bytes> {
        self.0.fetch_add(1, SeqCst);
        Ok(content(len - 1))
    }
}

#[tokio::test]
async fn a_file_that_is_shorter_than_it_was_is_not_sent() {
    let stage = Stage::open(graph_play(session)).await;
    let told = stage
        .mailbox()
        .upload("m", "a", 10, "x/y", &Short(AtomicUsize::new(0)))
        .await
        .unwrap_err();
    assert!(told.to_string().contains("9 bytes"), "{told}");
    assert_eq!(stage.count(), 0);
}
