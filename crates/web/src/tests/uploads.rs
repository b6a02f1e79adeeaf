//! Uploads: whole, cut, resumed, refused.

use portreeve_model::{SessionId, options::SizeText};
use portreeve_session::{FsErrorKind, Links, Removal};
use portreeve_vfs::{Call, Fault, OpCx, Owner};

use super::*;

const CONTENT: &str = "/api/v1/files/content?path=/up.bin";

/// What everybody else sees of `/up.bin`.
async fn visible(memory: &Memory) -> Option<Vec<u8>> {
    let cx = OpCx::new(SessionId::fresh(), Owner("somebody".into()), Default::default());
    let size = memory
        .stat(&cx, &path("/up.bin"), Links::Follow)
        .await
        .ok()?
        .size
        .unwrap();
    let file = memory.open_read(&cx, &path("/up.bin")).await.unwrap();
    Some(
        file.read(0, usize::try_from(size).unwrap(), Vec::new())
            .await
            .unwrap(),
    )
}

/// Sends a head and some of the body, then goes; waits until the server has noticed.
async fn cut(rig: &Rig, head: &str, body: &[u8]) {
    let mut stream = rig.connect().await;
    let head = format!("PUT {CONTENT} HTTP/1.1\r\nhost: x\r\nauthorization: {ALICE}\r\n{head}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
}

async fn kept(rig: &Rig) -> Option<u64> {
    let headers = [("authorization", ALICE), ("upload-incomplete", "1")];
    let answer = rig.send(request("HEAD", CONTENT, &headers, "")).await;
    (answer.status == StatusCode::OK).then(|| answer.header("upload-offset").parse().unwrap())
}

#[tokio::test]
async fn puts_and_replaces() {
    let memory = Memory::new();
    let rig = Rig::new(memory.clone());
    let all = String::from_utf8(content(2_000_000)).unwrap();
    for (size, status) in [(0, 201), (5, 200), (2_000_000, 200)] {
        let length = size.to_string();
        let headers = [("authorization", ALICE), ("content-length", length.as_str())];
        let answer = rig.send(request("PUT", CONTENT, &headers, &all[..size])).await;
        assert_eq!(answer.status.as_u16(), status, "{}", answer.text());
        assert_eq!(answer.json()["size"], size);
        assert!(visible(&memory).await.unwrap() == all.as_bytes()[..size]);
    }
    let headers = [("authorization", ALICE), ("content-length", "700000")];
    let answer = rig
        .send_h2(request("PUT", CONTENT, &headers, &all[..700_000]))
        .await;
    assert_eq!(answer.status, StatusCode::OK);
    assert!(visible(&memory).await.unwrap() == all.as_bytes()[..700_000]);
    let dated = [
        ("authorization", ALICE),
        ("content-length", "1"),
        ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT"),
    ];
    let answer = rig.send(request("PUT", CONTENT, &dated, "x")).await;
    assert_eq!(answer.json()["modified"], "1994-11-06T08:49:37Z");
}

/// 50 cuts at random places, each resumed: never a torn file, never a hole.
#[tokio::test]
async fn resumes_after_any_cut() {
    let mut dice = Dice(11);
    let all = content(1_500_000);
    for _ in 0..50 {
        let memory = Memory::new();
        memory.plant(&path("/up.bin"), b"old").unwrap();
        let rig = Rig::new(memory.clone());
        let at = dice.roll(all.len());
        cut(&rig, &format!("content-length: {}", all.len()), &all[..at]).await;
        assert_eq!(visible(&memory).await.unwrap(), b"old", "cut at {at}");
        let have = kept(&rig).await.unwrap_or(0);
        assert_eq!(have, at as u64, "everything that came is kept");
        for wrong in [have + 1, have.saturating_sub(1)] {
            if wrong == have || wrong == 0 || wrong >= all.len() as u64 {
                continue;
            }
            let range = format!("bytes {wrong}-{}/{}", all.len() - 1, all.len());
            let length = (all.len() as u64 - wrong).to_string();
            let body = String::from_utf8_lossy(&all[usize::try_from(wrong).unwrap()..]).into_owned();
            let headers = [
                ("authorization", ALICE),
                ("content-range", &range),
                ("content-length", &length),
            ];
            let answer = rig.send(request("PUT", CONTENT, &headers, &body)).await;
            assert_eq!(answer.status, StatusCode::CONFLICT, "{range}");
            if have > 0 {
                assert_eq!(answer.json()["upload_offset"], have, "{}", answer.text());
            }
        }
        let start = usize::try_from(have).unwrap();
        let range = format!("bytes {start}-{}/{}", all.len() - 1, all.len());
        let length = (all.len() - start).to_string();
        let body = String::from_utf8(all[start..].to_vec()).unwrap();
        let headers = [
            ("authorization", ALICE),
            ("content-range", &range),
            ("content-length", &length),
        ];
        let answer = rig.send(request("PUT", CONTENT, &headers, &body)).await;
        assert_eq!(answer.status, StatusCode::OK, "{at}: {}", answer.text());
        assert!(visible(&memory).await.unwrap() == all, "cut at {at}");
        assert_eq!(kept(&rig).await, None);
    }
}

#[tokio::test]
async fn takes_a_file_in_pieces() {
    let memory = Memory::new();
    let rig = Rig::new(memory.clone());
    for (range, body, status) in [
        ("bytes 0-3/*", "abcd", 202),
        ("bytes 4-5/10", "ef", 202),
        ("bytes 8-9/10", "ij", 409),
        ("bytes 6-9/10", "ghij", 201),
    ] {
        let length = body.len().to_string();
        let headers = [
            ("authorization", ALICE),
            ("content-range", range),
            ("content-length", &length),
        ];
        let answer = rig.send(request("PUT", CONTENT, &headers, body)).await;
        assert_eq!(answer.status.as_u16(), status, "{range}: {}", answer.text());
        if status != 201 {
            assert_eq!(visible(&memory).await, None, "{range}");
        }
    }
    assert_eq!(visible(&memory).await.unwrap(), b"abcdefghij");
}

#[tokio::test]
async fn nobody_sees_it_before_it_is_whole() {
    let memory = Memory::new();
    let rig = Rig::new(memory.clone());
    let mut stream = rig.connect().await;
    let head =
        format!("PUT {CONTENT} HTTP/1.1\r\nhost: x\r\nauthorization: {ALICE}\r\ncontent-length: 4\r\n\r\nab");
    stream.write_all(head.as_bytes()).await.unwrap();
    for target in ["/api/v1/files/stat?path=/up.bin", CONTENT] {
        let answer = rig.get(target, &[("authorization", ALICE)]).await;
        assert!(answer.status.is_client_error(), "{target}: {}", answer.text());
    }
    let list = rig.get("/api/v1/files?path=/", &[("authorization", ALICE)]).await;
    assert_eq!(list.json()["entries"], serde_json::json!([]));
    stream.write_all(b"cd").await.unwrap();
    let mut got = [0; 12];
    stream.read_exact(&mut got).await.unwrap();
    assert_eq!(&got, b"HTTP/1.1 201");
    assert_eq!(visible(&memory).await.unwrap(), b"abcd");
}

/// What can be refused is refused before the body is asked for.
#[tokio::test(start_paused = true)]
async fn refuses_before_the_body() {
    let rig = Rig::with(
        Memory::new(),
        &WebOptions::default(),
        MountLimits {
            quota: Some(SizeText(10_000)),
            max_file_size: Some(SizeText(5_000)),
            ..MountLimits::default()
        },
    );
    for (who, target, headers, status) in [
        (WRONG, CONTENT, "content-length: 5", 401),
        (READER, CONTENT, "content-length: 5", 403),
        (ALICE, CONTENT, "content-length: 6000", 413),
        (ALICE, CONTENT, "content-length: 99999999999999999999", 400),
        (ALICE, "/api/v1/files/content?path=/", "content-length: 5", 409),
        (
            ALICE,
            "/api/v1/files/content?path=/no/x",
            "content-length: 5",
            404,
        ),
        (ALICE, CONTENT, "transfer-encoding: chunked", 411),
        (
            ALICE,
            CONTENT,
            "content-length: 5\r\ncontent-range: bytes 0-9/10",
            400,
        ),
        (
            ALICE,
            CONTENT,
            "content-length: 5\r\ncontent-range: five of ten",
            400,
        ),
        (ALICE, CONTENT, "content-length: 5\r\ncontent-encoding: gzip", 415),
        (ALICE, CONTENT, "content-length: 5\r\nlast-modified: today", 400),
        (ALICE, CONTENT, "content-length: 5\r\nif-match: \"x\"", 412),
    ] {
        let head = format!(
            "PUT {target} HTTP/1.1\r\nhost: x\r\nauthorization: {who}\r\nexpect: 100-continue\r\n{headers}\r\n\r\n"
        );
        let answer = rig.raw(head.as_bytes()).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{headers}: {answer}"
        );
        assert!(!answer.contains("100 Continue"), "{headers}");
    }
}

/// A client that sends everything before it reads gets its refusal all the same.
#[tokio::test]
async fn a_refusal_reaches_who_does_not_listen() {
    let rig = Rig::new(Memory::limited(1 << 20));
    let body = content(3_000_000);
    for (target, who, more, status) in [
        (CONTENT, READER, "", 403),
        (CONTENT, WRONG, "", 401),
        (CONTENT, ALICE, "content-range: bytes 5-3000004/3000005\r\n", 409),
        (CONTENT, ALICE, "origin: https://evil.example\r\n", 403),
        (CONTENT, ALICE, "", 507),
        ("/signin", ALICE, "", 405),
    ] {
        let mut stream = rig.connect().await;
        let head = format!(
            "PUT {target} HTTP/1.1\r\nhost: x\r\nauthorization: {who}\r\ncontent-length: 3000000\r\n{more}\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&body).await.unwrap();
        let mut got = [0; 12];
        stream.read_exact(&mut got).await.unwrap();
        let got = String::from_utf8_lossy(&got).into_owned();
        assert_eq!(got, format!("HTTP/1.1 {status}"), "{target} {more}");
        let headers = [("authorization", who), ("expect", "100-continue")];
        let body = String::from_utf8(body.clone()).unwrap();
        if more.is_empty() {
            let answer = rig.send_h2(request("PUT", target, &headers, &body)).await;
            assert_eq!(answer.status.as_u16(), status, "{target}");
        }
    }
}

#[tokio::test]
async fn a_full_storage_is_507() {
    let memory = Memory::limited(1 << 20);
    let rig = Rig::new(memory.clone());
    let all = String::from_utf8(content(2 << 20)).unwrap();
    let length = all.len().to_string();
    let headers = [("authorization", ALICE), ("content-length", length.as_str())];
    let answer = rig.send(request("PUT", CONTENT, &headers, &all)).await;
    assert_eq!(
        answer.status,
        StatusCode::INSUFFICIENT_STORAGE,
        "{}",
        answer.text()
    );
    assert_eq!(visible(&memory).await, None);
    let headers = [("authorization", ALICE), ("content-length", "524288")];
    let answer = rig.send(request("PUT", CONTENT, &headers, &all[..524_288])).await;
    assert_eq!(
        answer.status,
        StatusCode::CREATED,
        "the space came back: {}",
        answer.text()
    );
}

/// A client that stalls is cut, and what it sent is kept. The clock is the test's.
#[tokio::test(start_paused = true)]
async fn a_slow_sender_is_cut() {
    let memory = Memory::new();
    let rig = Rig::new(memory.clone());
    let mut stream = rig.connect().await;
    let head =
        format!("PUT {CONTENT} HTTP/1.1\r\nhost: x\r\nauthorization: {ALICE}\r\ncontent-length: 9\r\n\r\nab");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut got = String::new();
    stream.read_to_string(&mut got).await.unwrap();
    assert!(got.starts_with("HTTP/1.1 408 "), "{got}");
    assert_eq!(visible(&memory).await, None);
    assert_eq!(kept(&rig).await, Some(2));
}

/// Begins a PUT and sends the first byte of two when the server asks for the body.
async fn begin(rig: &Rig, headers: &str) -> DuplexStream {
    let mut stream = rig.connect().await;
    let head = format!(
        "PUT {CONTENT} HTTP/1.1\r\nhost: x\r\nauthorization: {ALICE}\r\ncontent-length: 2\r\n\
         expect: 100-continue\r\n{headers}\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut go_on = [0; 25];
    stream.read_exact(&mut go_on).await.unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n", "{headers}");
    stream.write_all(b"n").await.unwrap();
    stream
}

/// What changed while the body came is not overwritten by who did not expect it.
#[tokio::test]
async fn conditions_are_weighed_again_when_the_body_is_there() {
    let old = Some("old");
    for (before, meanwhile, headers, status) in [
        (old, old, "", 200),
        (old, Some("other"), "", 200),
        (old, old, "if-match: ETAG\r\n", 200),
        (old, Some("other"), "if-match: ETAG\r\n", 412),
        (old, None, "if-match: ETAG\r\n", 412),
        (old, Some("other"), "if-match: *\r\n", 200),
        (old, None, "if-match: *\r\n", 412),
        (None, None, "if-none-match: *\r\n", 201),
        (None, Some("other"), "if-none-match: *\r\n", 412),
        (
            None,
            Some("other"),
            "if-none-match: *\r\ncontent-range: bytes 1-2/3\r\n",
            412,
        ),
        (
            old,
            Some("other"),
            "if-match: ETAG\r\ncontent-range: bytes 1-2/3\r\n",
            412,
        ),
        (old, old, "if-match: ETAG\r\ncontent-range: bytes 1-2/3\r\n", 200),
    ] {
        let memory = Memory::new();
        let rig = Rig::new(memory.clone());
        if let Some(before) = before {
            memory.plant(&path("/up.bin"), before.as_bytes()).unwrap();
        }
        if headers.contains("content-range") {
            let first = [
                ("authorization", ALICE),
                ("content-length", "1"),
                ("content-range", "bytes 0-0/3"),
            ];
            let answer = rig.send(request("PUT", CONTENT, &first, "p")).await;
            assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text());
        }
        let stat = rig
            .get("/api/v1/files/stat?path=/up.bin", &[("authorization", ALICE)])
            .await;
        let etag = stat.json()["etag"].as_str().unwrap_or_default().to_owned();
        let filled_in = headers.replace("ETAG", &etag);
        let mut stream = begin(&rig, &filled_in).await;
        if meanwhile != before {
            let cx = OpCx::new(SessionId::fresh(), Owner("somebody".into()), Default::default());
            let _ = memory.remove(&cx, &path("/up.bin"), Removal::File).await;
            if let Some(meanwhile) = meanwhile {
                memory.plant(&path("/up.bin"), meanwhile.as_bytes()).unwrap();
            }
        }
        stream.write_all(b"w").await.unwrap();
        let mut got = [0; 12];
        stream.read_exact(&mut got).await.unwrap();
        let row = format!("{before:?} {meanwhile:?} {headers:?}");
        assert_eq!(
            String::from_utf8_lossy(&got),
            format!("HTTP/1.1 {status}"),
            "{row}"
        );
        let seen = visible(&memory)
            .await
            .map(|seen| String::from_utf8(seen).unwrap());
        let new = if headers.contains("content-range") {
            "pnw"
        } else {
            "nw"
        };
        assert_eq!(
            seen.as_deref(),
            if status == 412 { meanwhile } else { Some(new) },
            "{row}"
        );
        assert_eq!(kept(&rig).await, None, "{row}");
    }
}

/// When the second look itself fails, nothing appears and nothing is lost.
#[tokio::test]
async fn a_second_look_that_fails_keeps_what_came() {
    let memory = Memory::new();
    memory.plant(&path("/up.bin"), b"old").unwrap();
    let faulty = Arc::new(Faulty::over(Arc::new(memory.clone())));
    let rig = Rig::shared(Arc::clone(&faulty));
    let mut stream = begin(&rig, "if-match: *\r\n").await;
    faulty.set(Fault {
        call: Some(Call::Stat),
        nth: 1,
        times: 1,
        error: FsErrorKind::Backend.into(),
    });
    stream.write_all(b"w").await.unwrap();
    let mut got = [0; 12];
    stream.read_exact(&mut got).await.unwrap();
    assert_eq!(&got, b"HTTP/1.1 502");
    assert_eq!(visible(&memory).await.unwrap(), b"old");
    assert_eq!(kept(&rig).await, Some(2));
}

/// hyper drops a request when its client goes. An end that was begun is gone through with.
#[tokio::test]
async fn an_end_goes_on_when_the_client_goes() {
    for (call, last) in [(Call::Commit, "0-1/2"), (Call::Keep, "0-1/3")] {
        let memory = Memory::new();
        let faulty = Arc::new(Faulty::over(Arc::new(memory.clone())));
        let rig = Rig::shared(Arc::clone(&faulty));
        let hold = faulty.hold(call);
        let mut stream = begin(&rig, &format!("content-range: bytes {last}\r\n")).await;
        stream.write_all(b"w").await.unwrap();
        until(async || hold.arrived() == 1).await;
        drop(stream);
        until(async || rig.gate.connections() == 0).await;
        hold.let_go(1);
        match call {
            Call::Commit => {
                until(async || visible(&memory).await.is_some()).await;
                assert_eq!(visible(&memory).await.unwrap(), b"nw");
            }
            _ => {
                until(async || kept(&rig).await.is_some()).await;
                assert_eq!((kept(&rig).await, visible(&memory).await), (Some(2), None));
            }
        }
    }
}
