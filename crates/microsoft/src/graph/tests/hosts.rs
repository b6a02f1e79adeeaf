//! Where the token goes, and where it does not: to Graph, whatever Graph answers.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};

use crate::{
    App, Cloud, GraphMailbox, MemoryVault, Net, NetOptions,
    graph::{BatchItem, GraphFault},
    tests::stage::{Answer, Asked, Stage, graph_play, quick, secret},
};

const PIECE: usize = 3_932_160;

/// A mailbox at one stage whose way leads to another, too.
fn trusting(stage: &Stage, other: &Stage) -> GraphMailbox {
    let both: Vec<u8> = [stage.ca(), other.ca()]
        .iter()
        .flat_map(|file| std::fs::read(file).unwrap())
        .collect();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), both).unwrap();
    let net = Net::open(&NetOptions {
        proxy: None,
        ca_file: Some(file.path().to_owned()),
    });
    let app = App {
        net: net.unwrap(),
        ..stage.app(secret("s3cret"))
    };
    let cloud = Cloud::new(Arc::new(MemoryVault::default()));
    let graph = cloud.graph(&app, &stage.url("/v1.0"), quick()).unwrap();
    graph.mailbox("box@example.org")
}

/// Another host, which would answer.
async fn elsewhere() -> Stage {
    Stage::open(|_| Answer::json(200, &json!({"id": "x", "value": []}))).await
}

#[tokio::test]
async fn a_link_to_another_host_is_not_followed_though_it_would_answer() {
    let other = elsewhere().await;
    let foreign = other.url("/v1.0/users/box/messages?$skiptoken=1");
    let link = foreign.clone();
    let stage = Stage::open(graph_play(move |asked| {
        let body = if asked.path.ends_with("/delta") {
            json!({"value": [], "@odata.deltaLink": link})
        } else {
            json!({"value": [1], "@odata.nextLink": link})
        };
        Answer::json(200, &body)
    }))
    .await;
    let mailbox = trusting(&stage, &other);
    let broken = |told: crate::GraphError| {
        assert!(matches!(told.kind, GraphFault::Broken), "{told}");
        assert!(!told.to_string().contains("skiptoken"), "{told}");
    };
    broken(mailbox.pages::<Value>("x", None).next().await.unwrap_err());
    // What a delta gave is kept, and no better for it.
    let mut pages = mailbox.pages::<Value>("x/delta", None);
    let kept = pages.next().await.unwrap().unwrap().delta_link.unwrap();
    let mut pages = mailbox.pages_from_link::<Value>(kept.expose(), None);
    broken(pages.next().await.unwrap_err());
    broken(BatchItem::link(&mailbox, kept.expose()).unwrap_err());
    // Nor does one with a name before the host lead there.
    let at = foreign.replace("https://", "https://user@");
    broken(
        mailbox
            .pages_from_link::<Value>(&at, None)
            .next()
            .await
            .unwrap_err(),
    );
    assert_eq!(other.count(), 0);
}

#[tokio::test]
async fn a_redirect_to_another_host_is_not_followed() {
    let other = elsewhere().await;
    let to = other.url("/v1.0/x");
    let stage = Stage::open(graph_play(move |_| {
        Answer::With(302, vec![("location", to.clone())], Vec::new())
    }))
    .await;
    assert!(trusting(&stage, &other).get::<Value>("x").await.is_err());
    assert_eq!(other.count(), 0);
}

#[tokio::test]
async fn an_upload_goes_to_another_host_without_the_token() {
    let size = PIECE + 5;
    for whole in [true, false] {
        let other = Stage::open(move |asked: &Asked| match (asked.nth, whole) {
            (0, _) => Answer::json(200, &json!({"nextExpectedRanges": [format!("{PIECE}-")]})),
            (1, true) => Answer::json(201, &json!({"id": "att"})),
            (_, false) if asked.method == "PUT" => Answer::error(403, "ErrorAccessDenied"),
            _ => Answer::With(204, Vec::new(), Vec::new()),
        })
        .await;
        let url = other.url("/up?t=1");
        let stage = Stage::open(graph_play(move |_| {
            Answer::json(201, &json!({"uploadUrl": url, "nextExpectedRanges": ["0-"]}))
        }))
        .await;
        let file = Bytes::from(vec![7; size]);
        let mailbox = trusting(&stage, &other);
        let done = mailbox.upload("m", "a", size as u64, "x/y", &file).await;
        assert_eq!(done.is_ok(), whole);
        let asked = other.asked();
        let methods: Vec<&str> = asked.iter().map(|asked| &*asked.method).collect();
        // The cancellation, too.
        assert_eq!(
            methods,
            if whole {
                vec!["PUT", "PUT"]
            } else {
                vec!["PUT", "PUT", "DELETE"]
            }
        );
        for asked in asked {
            for header in ["authorization", "prefer", "cookie"] {
                assert_eq!(asked.header(header), "", "{}", asked.method);
            }
        }
    }
}

#[tokio::test]
async fn an_upload_goes_nowhere_in_clear_text() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let stage = Stage::open(graph_play(move |_| {
        Answer::json(
            201,
            &json!({"uploadUrl": format!("http://localhost:{port}/up?t=upl0ad")}),
        )
    }))
    .await;
    let file = Bytes::from(vec![7; PIECE]);
    let told = stage
        .mailbox()
        .upload("m", "a", PIECE as u64, "x/y", &file)
        .await
        .unwrap_err();
    assert!(matches!(told.kind, GraphFault::Broken), "{told}");
    assert!(!format!("{told:?}").contains("upl0ad"));
    let came = tokio::time::timeout(std::time::Duration::from_millis(50), listener.accept()).await;
    assert!(came.is_err(), "somebody connected");
}
