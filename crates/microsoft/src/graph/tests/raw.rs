//! Downloads.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    graph::{Download, GraphError, GraphFault, GraphLimits},
    tests::stage::{Answer, Stage, graph_play, quick},
};

async fn whole(mut download: Download) -> Result<Vec<u8>, GraphError> {
    let mut all = Vec::new();
    while let Some(chunk) = download.chunk().await? {
        all.extend_from_slice(&chunk);
    }
    Ok(all)
}

#[tokio::test]
async fn content_comes_as_it_is() {
    let content: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
    let sent = content.clone();
    let stage = Stage::open(graph_play(move |_| {
        Answer::With(
            200,
            vec![("content-type", "application/pdf".to_owned())],
            sent.clone(),
        )
    }))
    .await;
    let download = stage.mailbox().download("messages/x/$value").await.unwrap();
    assert_eq!(download.length, Some(300_000));
    assert_eq!(download.content_type.as_deref(), Some("application/pdf"));
    assert_eq!(whole(download).await.unwrap(), content);
}

#[tokio::test]
async fn what_ends_early_is_no_file() {
    for raw in [
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n",
    ] {
        let stage = Stage::open(graph_play(move |_| Answer::Raw(raw.into()))).await;
        let download = stage.mailbox().download("x").await.unwrap();
        let told = whole(download).await.unwrap_err();
        assert!(matches!(told.kind, GraphFault::Broken), "{told}");
        assert_eq!(stage.count_of("/x"), 1, "the caller begins anew, nobody else");
    }
    let raw = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    let stage = Stage::open(graph_play(move |_| Answer::Raw(raw.into()))).await;
    let download = stage.mailbox().download("x").await.unwrap();
    assert_eq!(download.length, None);
    assert_eq!(whole(download).await.unwrap(), b"abc");
}

#[tokio::test]
async fn a_download_is_tried_again_until_it_begins() {
    let stage = Stage::open(graph_play(|asked| match asked.nth {
        0 => Answer::error(503, "serviceNotAvailable"),
        1 => Answer::Raw(Vec::new()),
        _ => Answer::With(200, Vec::new(), b"abc".to_vec()),
    }))
    .await;
    let download = stage.mailbox().download("x").await.unwrap();
    assert_eq!(whole(download).await.unwrap(), b"abc");
    let stage = Stage::open(graph_play(|_| Answer::error(405, ""))).await;
    let told = stage.mailbox().download("x").await.unwrap_err();
    assert!(matches!(told.kind, GraphFault::Unsupported), "{told}");
}

#[tokio::test]
async fn a_download_keeps_its_place_until_it_is_dropped() {
    let stage = Stage::open(graph_play(|asked| {
        if asked.path.ends_with("$value") {
            Answer::With(200, Vec::new(), b"abc".to_vec())
        } else {
            Answer::json(200, &json!({}))
        }
    }))
    .await;
    let limits = GraphLimits {
        in_flight: 1,
        queue: Duration::from_millis(20),
        ..quick()
    };
    let mailbox = stage.graph(limits).mailbox("a@b");
    let download = mailbox.download("x/$value").await.unwrap();
    assert_eq!(mailbox.in_flight(), 1);
    let told = mailbox.get::<Value>("y").await.unwrap_err();
    assert!(matches!(told.kind, GraphFault::Throttled), "{told}");
    drop(download);
    mailbox.get::<Value>("y").await.unwrap();
    assert_eq!(stage.count_of("/y"), 1);
}
