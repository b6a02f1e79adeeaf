//! Listing, stat, reading, changing.

use serde_json::json;

use super::*;

const CONTENT: &str = "/api/v1/files/content?path=/a.bin";

#[tokio::test]
async fn lists_page_by_page() {
    let memory = Memory::new();
    for n in 0..2_500 {
        memory.plant(&path(&format!("/d/{n:04}")), b"x").unwrap();
    }
    let rig = Rig::new(memory);
    for limit in [1, 7, 1_000, 1_024, 2_499, 2_500, 2_501, 100_000] {
        let mut names = Vec::new();
        let mut cursor = String::new();
        loop {
            let target = format!("/api/v1/files?path=/d&limit={limit}{cursor}");
            if limit == 1 && names.len() > 20 {
                break;
            }
            let page = rig.get(&target, &[("authorization", ALICE)]).await.json();
            let entries = page["entries"].as_array().unwrap();
            assert!(entries.len() <= limit, "{limit}");
            names.extend(
                entries
                    .iter()
                    .map(|entry| entry["name"].as_str().unwrap().to_owned()),
            );
            match page.get("cursor") {
                Some(text) => cursor = format!("&cursor={}", text.as_str().unwrap()),
                None => break,
            }
        }
        if limit > 1 {
            names.sort();
            let want: Vec<String> = (0..2_500).map(|n| format!("{n:04}")).collect();
            assert!(names == want, "limit {limit}: {} names", names.len());
        }
    }
    let default = rig
        .get("/api/v1/files?path=/d", &[("authorization", ALICE)])
        .await
        .json();
    assert_eq!(default["entries"].as_array().unwrap().len(), 1_000);
    for bad in [
        "limit=0",
        "limit=100001",
        "cursor=!",
        "limit=1&limit=2",
        "sort=name",
    ] {
        let target = format!("/api/v1/files?path=/d&{bad}");
        let answer = rig.get(&target, &[("authorization", ALICE)]).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{bad}");
        assert_eq!(answer.header("content-type"), "application/problem+json");
    }
}

#[tokio::test]
async fn says_what_is_there() {
    let rig = Rig::new(sample(16));
    let answer = rig
        .get("/api/v1/files/stat?path=/a.bin", &[("authorization", ALICE)])
        .await;
    let stat = answer.json();
    assert_eq!(
        (&stat["path"], &stat["kind"], &stat["size"]),
        (&json!("/a.bin"), &json!("file"), &json!(16))
    );
    assert_eq!(stat["etag"], answer.header("etag"));
    let head = rig
        .send(request("HEAD", CONTENT, &[("authorization", ALICE)], ""))
        .await;
    assert_eq!(
        (head.status, head.header("content-length")),
        (StatusCode::OK, "16")
    );
    assert_eq!(head.header("etag"), answer.header("etag"));
    for (target, status, code) in [
        ("/api/v1/files/stat?path=/none", 404, "not-found"),
        ("/api/v1/files?path=/a.bin", 409, "not-directory"),
        ("/api/v1/files/content?path=/", 409, "is-directory"),
        ("/api/v1/files/content?path=/../../etc/passwd", 404, "not-found"),
        ("/api/v1/files/content", 400, "bad-request"),
        ("/api/v1/files/content?path=%00", 400, "bad-request"),
        ("/api/v2/files", 404, "no-such-address"),
    ] {
        let answer = rig.get(target, &[("authorization", ALICE)]).await;
        assert_eq!(answer.status.as_u16(), status, "{target}");
        assert_eq!(
            answer.json()["type"],
            format!("urn:portreeve:problem:{code}"),
            "{target}"
        );
    }
}

#[tokio::test]
async fn reads_whole_and_in_parts() {
    for size in [0, 1, 1_000, 262_144, 262_145, 3_000_000] {
        let rig = Rig::new(sample(size));
        for h2 in [false, true] {
            let whole = request("GET", CONTENT, &[("authorization", ALICE)], "");
            let answer = if h2 {
                rig.send_h2(whole).await
            } else {
                rig.send(whole).await
            };
            assert_eq!(answer.status, StatusCode::OK);
            assert!(answer.bytes() == content(size), "{size} {h2}");
            assert_eq!(answer.header("content-length"), size.to_string());
            assert_eq!(
                answer.header("content-disposition"),
                "attachment; filename*=UTF-8''a.bin"
            );
        }
    }
    let rig = Rig::new(sample(3_000_000));
    let all = content(3_000_000);
    for (range, want) in [
        ("bytes=0-0", 0..1),
        ("bytes=5-", 5..3_000_000),
        ("bytes=-7", 2_999_993..3_000_000),
        ("bytes=1000000-2000000", 1_000_000..2_000_001),
        ("bytes=0-9,5-20", 0..21),
    ] {
        let answer = rig
            .get(CONTENT, &[("authorization", ALICE), ("range", range)])
            .await;
        assert_eq!(answer.status, StatusCode::PARTIAL_CONTENT, "{range}");
        assert!(answer.bytes() == &all[want.clone()], "{range}");
        let said = format!("bytes {}-{}/3000000", want.start, want.end - 1);
        assert_eq!(answer.header("content-range"), said);
    }
    let many = rig
        .get(
            CONTENT,
            &[("authorization", ALICE), ("range", "bytes=0-1,100-101")],
        )
        .await;
    assert_eq!(many.status, StatusCode::PARTIAL_CONTENT);
    let boundary = many
        .header("content-type")
        .split("boundary=")
        .nth(1)
        .unwrap()
        .to_owned();
    let text = many.text();
    let parts: Vec<&str> = text.split(&format!("--{boundary}")).collect();
    assert_eq!(parts.len(), 4, "{text}");
    assert!(
        parts[1].contains("content-range: bytes 0-1/3000000\r\n\r\n01\r\n"),
        "{text}"
    );
    assert!(
        parts[2].contains("content-range: bytes 100-101/3000000\r\n\r\n01\r\n"),
        "{text}"
    );
    assert_eq!(many.header("content-length"), text.len().to_string());
    let outside = rig
        .get(CONTENT, &[("authorization", ALICE), ("range", "bytes=3000000-")])
        .await;
    assert_eq!(outside.status, StatusCode::RANGE_NOT_SATISFIABLE);
    assert_eq!(outside.header("content-range"), "bytes */3000000");
}

#[tokio::test]
async fn heeds_conditions() {
    let rig = Rig::new(sample(100));
    let tag = rig
        .get(CONTENT, &[("authorization", ALICE)])
        .await
        .header("etag")
        .to_owned();
    let put = "/api/v1/files/content?path=/a.bin";
    for (method, name, value, status) in [
        ("GET", "if-none-match", tag.as_str(), 304),
        ("GET", "if-match", "\"x\"", 412),
        ("GET", "if-match", &tag, 200),
        ("HEAD", "if-none-match", &tag, 304),
        ("PUT", "if-none-match", "*", 412),
        ("PUT", "if-match", "\"x\"", 412),
        ("DELETE", "if-match", "\"x\"", 412),
    ] {
        let target = if method == "DELETE" {
            "/api/v1/files?path=/a.bin"
        } else {
            put
        };
        let list = [("authorization", ALICE), (name, value), ("content-length", "0")];
        let headers = if method == "PUT" { &list[..] } else { &list[..2] };
        let answer = rig.send(request(method, target, headers, "")).await;
        assert_eq!(answer.status.as_u16(), status, "{method} {name} {value}");
    }
    let unlike = [
        ("authorization", ALICE),
        ("range", "bytes=0-1"),
        ("if-range", "\"x\""),
    ];
    assert_eq!(rig.get(CONTENT, &unlike).await.status, StatusCode::OK);
    let like = [
        ("authorization", ALICE),
        ("range", "bytes=0-1"),
        ("if-range", tag.as_str()),
    ];
    assert_eq!(rig.get(CONTENT, &like).await.status, StatusCode::PARTIAL_CONTENT);
    let right = [
        ("authorization", ALICE),
        ("if-match", tag.as_str()),
        ("content-length", "3"),
    ];
    let replaced = rig.send(request("PUT", put, &right, "new")).await;
    assert_eq!(replaced.status, StatusCode::OK);
    assert_ne!(replaced.header("etag"), tag);
}

#[tokio::test]
async fn changes_names() {
    let rig = Rig::new(sample(3));
    let post = async |verb: &str, body: serde_json::Value, who: &str| {
        let headers = [("authorization", who), ("content-type", "application/json")];
        let target = format!("/api/v1/files/{verb}");
        rig.send(request("POST", &target, &headers, &body.to_string()))
            .await
    };
    for (verb, body, who, status) in [
        ("mkdir", json!({"path": "/d"}), ALICE, 201),
        ("mkdir", json!({"path": "/d"}), ALICE, 409),
        ("mkdir", json!({"path": "/x/y"}), ALICE, 404),
        ("mkdir", json!({"path_b64": "L_8"}), ALICE, 201),
        ("mkdir", json!({"path": "/e", "path_b64": "L_8"}), ALICE, 400),
        ("mkdir", json!({"pth": "/e"}), ALICE, 400),
        ("mkdir", json!({"path": "/e"}), READER, 403),
        ("copy", json!({"from": "/a.bin", "to": "/d/b"}), ALICE, 201),
        ("copy", json!({"from": "/a.bin", "to": "/d/b"}), ALICE, 409),
        (
            "copy",
            json!({"from": "/a.bin", "to": "/d/b", "replace": true}),
            ALICE,
            201,
        ),
        ("rename", json!({"from": "/d/b", "to": "/a.bin"}), ALICE, 409),
        ("rename", json!({"from": "/d/b", "to": "/d/c"}), READER, 403),
        ("rename", json!({"from": "/d/b", "to": "/d/c"}), ALICE, 204),
        ("rename", json!({"from": "/d/b", "to": "/d/x"}), ALICE, 404),
    ] {
        let answer = post(verb, body.clone(), who).await;
        assert_eq!(answer.status.as_u16(), status, "{verb} {body}: {}", answer.text());
    }
    for (target, who, status) in [
        ("/api/v1/files?path=/d/c", READER, 403),
        ("/api/v1/files?path=/d&kind=dir", ALICE, 409),
        ("/api/v1/files?path=/d", ALICE, 409),
        ("/api/v1/files?path=/d/c&kind=x", ALICE, 400),
        ("/api/v1/files?path=/d/c", ALICE, 204),
        ("/api/v1/files?path=/d/c", ALICE, 404),
        ("/api/v1/files?path=/d&kind=dir", ALICE, 204),
    ] {
        let answer = rig
            .send(request("DELETE", target, &[("authorization", who)], ""))
            .await;
        assert_eq!(answer.status.as_u16(), status, "{target}: {}", answer.text());
    }
    let form = [
        ("authorization", ALICE),
        ("content-type", "application/x-www-form-urlencoded"),
    ];
    let answer = rig
        .send(request("POST", "/api/v1/files/mkdir", &form, "path=/z"))
        .await;
    assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
}

/// Names of every kind of byte: put, listed, read and removed again under the very same name.
#[tokio::test]
async fn any_name_round_trips() {
    let rig = Rig::new(Memory::new());
    let mut dice = Dice(7);
    let mut names: Vec<Vec<u8>> = [
        &b"a b+c%20&d=e?f#g"[..],
        b"\xff\xfe",
        b"\"<script>'",
        b"\\..\\",
        b"\r\nX: y",
        b"~$;,:@",
    ]
    .map(<[u8]>::to_vec)
    .to_vec();
    for _ in 0..30 {
        let name = (0..1 + dice.roll(40)).map(|_| u8::try_from(1 + dice.roll(255)).unwrap());
        names.push(name.map(|b| if b == b'/' { b'_' } else { b }).collect());
    }
    for name in names {
        let mut raw = vec![b'/'];
        raw.extend(&name);
        let encoded = crate::location::encode_value(&raw);
        let target = format!("/api/v1/files/content?path={encoded}");
        let headers = [("authorization", ALICE), ("content-length", "2")];
        let put = rig.send(request("PUT", &target, &headers, "ok")).await;
        assert_eq!(put.status, StatusCode::CREATED, "{encoded}: {}", put.text());
        assert_eq!(rig.get(&target, &headers[..1]).await.text(), "ok", "{encoded}");
        let page = format!("/files{}", crate::location::encode(&raw));
        assert_eq!(rig.get(&page, &headers[..1]).await.text(), "ok", "{page}");
        let list = rig.get("/api/v1/files?path=/", &headers[..1]).await.json();
        assert_eq!(list["entries"].as_array().unwrap().len(), 1);
        let target = format!("/api/v1/files?path={encoded}");
        let gone = rig.send(request("DELETE", &target, &headers[..1], "")).await;
        assert_eq!(gone.status, StatusCode::NO_CONTENT, "{encoded}");
    }
}

/// Slow readers hold so many buffers and no more, and give them back.
#[tokio::test]
async fn slow_readers_hold_little() {
    let options = WebOptions {
        read_ahead: portreeve_model::options::SizeText(1 << 20),
        ..WebOptions::default()
    };
    let rig = Rig::with(sample(4_000_000), &options, MountLimits::default());
    let mut idle = Vec::new();
    for _ in 0..20 {
        let mut stream = rig.connect().await;
        let head = format!("GET {CONTENT} HTTP/1.1\r\nhost: x\r\nauthorization: {ALICE}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut one = [0; 1];
        stream.read_exact(&mut one).await.unwrap();
        idle.push(stream);
    }
    let out = rig.door.shared.pool.out();
    assert!((1..=4).contains(&out), "{out}");
    let answer = rig.get(CONTENT, &[("authorization", ALICE)]).await;
    assert!(
        answer.bytes() == content(4_000_000),
        "others go on in smaller steps"
    );
    drop(idle);
    for _ in 0..1_000 {
        if rig.door.shared.pool.out() == 0 {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("{} buffers were not given back", rig.door.shared.pool.out());
}

/// A HEAD is no download: nothing is opened, and nothing that was not asked for is missing in the log.
#[tokio::test]
async fn head_of_a_page_opens_nothing() {
    let storage = Arc::new(Faulty::over(Arc::new(sample(1))));
    let rig = Rig::shared(Arc::clone(&storage));
    storage.set(portreeve_vfs::Fault {
        call: Some(portreeve_vfs::Call::OpenRead),
        nth: 1,
        times: 1,
        error: portreeve_session::FsErrorKind::Backend.into(),
    });
    let answer = rig
        .send(request("HEAD", "/files/a.bin", &[("authorization", ALICE)], ""))
        .await;
    assert_eq!(answer.status, StatusCode::OK);
    assert!(answer.headers.contains_key("content-length") && answer.headers.contains_key("etag"));
}
