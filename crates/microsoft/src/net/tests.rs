use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::TcpListener,
};

use super::*;
use crate::tests::stage::{Answer, Stage, graph_play, quick, secret};

/// A proxy that answers each CONNECT so, and joins the ends where the answer is a success.
async fn proxy(answer: &'static str) -> (u16, tokio::sync::mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (told, heads) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let told = told.clone();
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await.unwrap());
                }
                let head = String::from_utf8(head).unwrap();
                let target = head.split(' ').nth(1).unwrap().replace("localhost", "127.0.0.1");
                told.send(head).unwrap();
                stream.write_all(answer.as_bytes()).await.unwrap();
                if answer.starts_with("HTTP/1.1 200") {
                    let mut onward = TcpStream::connect(target).await.unwrap();
                    let _ = copy_bidirectional(&mut stream, &mut onward).await;
                }
            });
        }
    });
    (port, heads)
}

const OPEN: &str = "HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n";

#[tokio::test]
async fn a_host_is_trusted_by_the_file_of_authorities_alone() {
    let stage = Stage::open(|_| Answer::Raw(Vec::new())).await;
    stage
        .net(None)
        .connect_tls("localhost", stage.port)
        .await
        .unwrap();
    let bare = Net::open(&NetOptions::default()).unwrap();
    let told = bare.connect_tls("localhost", stage.port).await.unwrap_err();
    assert!(
        matches!(&told, NetError::Tls { why, .. } if why.contains("ca_file")),
        "{told}"
    );
    // The certificate is that of another name.
    let told = stage
        .net(None)
        .connect_tls("127.0.0.1", stage.port)
        .await
        .unwrap_err();
    assert!(matches!(told, NetError::Tls { .. }), "{told}");
}

#[tokio::test]
async fn raw_connections_and_https_go_through_the_proxy() {
    let stage = Stage::open(graph_play(|_| Answer::json(200, &serde_json::json!({"id": "x"})))).await;
    let (port, mut heads) = proxy(OPEN).await;
    let net = stage.net(Some(format!("connect://user:p%40ss@127.0.0.1:{port}")));
    net.connect_tls("localhost", stage.port).await.unwrap();
    let first = heads.recv().await.unwrap();
    let target = format!("localhost:{}", stage.port);
    assert!(
        first.starts_with(&format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n")),
        "{first}"
    );
    // "user:p@ss"
    assert!(
        first.contains("Proxy-Authorization: Basic dXNlcjpwQHNz\r\n"),
        "{first}"
    );

    let mut app = stage.app(secret("s"));
    app.net = net;
    let cloud = crate::Cloud::new(Arc::new(crate::MemoryVault::default()));
    let graph = cloud.graph(&app, &stage.url("/v1.0"), quick()).unwrap();
    let _: serde_json::Value = graph.mailbox("a@b").get("x").await.unwrap();
    let second = heads.recv().await.unwrap().to_lowercase();
    assert!(second.starts_with("connect localhost:"), "{second}");
    assert!(
        second.contains("proxy-authorization: basic dxnlcjpwqhnz"),
        "{second}"
    );
    assert_eq!(stage.count(), 2, "a token and an answer");
}

#[tokio::test]
async fn what_a_proxy_refuses_is_told_plainly() {
    for (answer, status, word) in [
        (
            "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\r\n",
            407,
            "credentials",
        ),
        ("HTTP/1.1 403 Forbidden\r\n\r\n", 403, "forbids"),
        ("HTTP/1.1 502 Bad Gateway\r\n\r\n", 502, "cannot reach"),
        ("SSH-2.0-OpenSSH_9.9\r\n\r\n", 0, "not HTTP"),
        ("HTTP/1.0 200 OK\r\n", 0, "closed"),
        ("", 0, "closed"),
    ] {
        let (port, _heads) = proxy(answer).await;
        let options = NetOptions {
            proxy: Some(format!("connect://u:geheim@127.0.0.1:{port}")),
            ca_file: None,
        };
        let net = Net::open(&options).unwrap();
        let told = net.connect("mail.example.org", 993).await.unwrap_err();
        assert!(
            matches!(&told, NetError::Refused { status: s, .. } if *s == status),
            "{answer:?}: {told}"
        );
        assert!(told.to_string().contains(word), "{answer:?}: {told}");
        let shown = format!("{told} {told:?} {options:?} {net:?}");
        assert!(
            !shown.contains("geheim") && !shown.contains("Z2VoZWlt"),
            "{shown}"
        );
    }
}

#[tokio::test]
async fn the_https_client_tells_of_a_407_too() {
    let stage = Stage::open(graph_play(|_| Answer::json(200, &serde_json::Value::Null))).await;
    let (port, _heads) =
        proxy("HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n").await;
    let mut app = stage.app(secret("s"));
    app.net = stage.net(Some(format!("connect://u:geheim@127.0.0.1:{port}")));
    let cloud = crate::Cloud::new(Arc::new(crate::MemoryVault::default()));
    let told = cloud.tokens(&app, "s").unwrap().token().await.unwrap_err();
    assert_eq!(told.kind, crate::TokenFault::Network);
    assert!(told.to_string().contains("407"), "{told}");
    assert!(!told.to_string().contains("geheim"), "{told}");
}

#[tokio::test]
async fn a_reply_without_end_is_cut_off() {
    let (port, _heads) = proxy(Box::leak(
        format!("HTTP/1.1 403 No\r\n{}", "x: y\r\n".repeat(4000)).into_boxed_str(),
    ))
    .await;
    let net = Net::open(&NetOptions {
        proxy: Some(format!("connect://127.0.0.1:{port}")),
        ca_file: None,
    });
    let told = net.unwrap().connect("h", 1).await.unwrap_err();
    assert!(told.to_string().contains("no end"), "{told}");
}

#[tokio::test]
async fn what_follows_the_reply_belongs_to_the_tunnel() {
    // A server that speaks first may have its greeting in the proxy's very packet.
    let (port, _heads) = proxy("HTTP/1.0 200 OK\r\n\r\n* OK ready\r\n").await;
    let net = Net::open(&NetOptions {
        proxy: Some(format!("connect://127.0.0.1:{port}")),
        ca_file: None,
    });
    let mut stream = net.unwrap().connect("imap.example.org", 143).await.unwrap();
    let mut greeting = String::new();
    stream.read_to_string(&mut greeting).await.unwrap();
    assert_eq!(greeting, "* OK ready\r\n");
}

#[tokio::test]
async fn a_host_name_cannot_smuggle_lines() {
    let (port, mut heads) = proxy(OPEN).await;
    let net = Net::open(&NetOptions {
        proxy: Some(format!("connect://127.0.0.1:{port}")),
        ca_file: None,
    })
    .unwrap();
    let told = net.connect("a\r\nX: y", 1).await.unwrap_err();
    assert!(matches!(told, NetError::Host(_)), "{told}");
    assert!(heads.try_recv().is_err());
}

#[test]
fn files_of_authorities_that_are_none() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ca.pem");
    for content in ["", "-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n"] {
        std::fs::write(&file, content).unwrap();
        let options = NetOptions {
            proxy: None,
            ca_file: Some(file.clone()),
        };
        let told = Net::open(&options).unwrap_err();
        assert!(told.to_string().contains("ca.pem"), "{told}");
    }
    assert!(
        Net::open(&NetOptions {
            proxy: None,
            ca_file: Some(dir.path().join("none"))
        })
        .is_err()
    );
}
