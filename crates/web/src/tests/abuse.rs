//! Hostile requests: ambiguous ones, endless ones, ones for somebody else.

use super::*;

/// Whatever two parsers could read differently gets one answer at most.
#[tokio::test(start_paused = true)]
async fn nothing_is_smuggled() {
    let rig = Rig::new(sample(1));
    let after = "GET /signin HTTP/1.1\r\nHost: x\r\n\r\n";
    let plain = rig.raw(format!("{after}{after}").as_bytes()).await;
    assert_eq!(
        plain.matches("HTTP/1.1 200").count(),
        2,
        "two plain requests get two answers"
    );
    for attack in [
        // CL.TE, TE.CL, both, doubled and disguised.
        "POST /signin HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST /signin HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
        "POST /signin HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        "POST /signin HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: identity\r\n\r\n",
        "POST /signin HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        "POST /signin HTTP/1.1\r\nHost: x\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        "POST /signin HTTP/1.1\r\nHost: x\r\nTransfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
        "POST /signin HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST /signin HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nContent-Length: 5\r\n\r\n",
        "POST /signin HTTP/1.1\r\nHost: x\r\nContent-Length: +0\r\n\r\n",
        "POST /signin HTTP/1.1\r\nHost: x\r\nContent-Length: 0x0\r\n\r\n",
        "POST /signin HTTP/1.1\r\nHost: x\r\nContent-Length: 0, 0\r\n\r\n",
        "POST /signin HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        // Chunks with bare line feeds, signs, and more than fits.
        "POST /signin HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\n\n",
        "POST /signin HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\n0\r\n\r\n",
        "POST /signin HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n\r\n0\r\n\r\n",
        "POST /signin HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000000\r\n\r\n0\r\n\r\n",
        "POST /signin HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0;a\nb\r\n\r\n",
        // Hosts and targets.
        "GET /signin HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
        "GET https://y/signin HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /signin HTTP/1.1\r\n\r\n",
        "GET /signin HTTP/1.1\r\nHost: x\r\n X: folded\r\n\r\n",
        "GET /signin HTTP/1.1\r\nHost : x\r\n\r\n",
        "GET /signin HTTP/1.1\r\nHost: x\r\nA\0: b\r\n\r\n",
        "GET /sign in HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /signin HTTP/1.1 HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /signin HTTP/9.9\r\nHost: x\r\n\r\n",
        "CONNECT x:443 HTTP/1.1\r\nHost: x:443\r\n\r\n",
    ] {
        let got = rig.raw(format!("{attack}{after}").as_bytes()).await;
        let answers = got.matches("HTTP/1.1 ").count() + got.matches("HTTP/1.0 ").count();
        assert!(answers <= 1, "{attack:?}: {got}");
        assert!(!got.contains("HTTP/1.1 2"), "{attack:?}: {got}");
    }
    assert_eq!(rig.verified(), 0);
}

#[tokio::test(start_paused = true)]
async fn heads_are_bounded() {
    let rig = Rig::new(sample(1));
    for (head, status) in [
        (
            format!("GET /signin?x={} HTTP/1.1\r\nhost: x\r\n", "a".repeat(9_000)),
            414,
        ),
        (
            format!("GET /signin HTTP/1.1\r\nhost: x\r\na: {}\r\n", "a".repeat(17_000)),
            431,
        ),
        (
            format!("GET /signin HTTP/1.1\r\nhost: x\r\n{}", "a: b\r\n".repeat(101)),
            431,
        ),
    ] {
        let got = rig.raw(format!("{head}\r\n").as_bytes()).await;
        assert!(got.starts_with(&format!("HTTP/1.1 {status} ")), "{status}: {got}");
    }
    let mut many = request("GET", "/signin", &[], "");
    for n in 0..101 {
        many.headers_mut().insert(
            http::HeaderName::from_bytes(format!("a{n}").as_bytes()).unwrap(),
            "b".parse().unwrap(),
        );
    }
    assert_eq!(
        rig.send_h2(many).await.status,
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
    );
}

#[tokio::test]
async fn bodies_are_bounded() {
    let rig = Rig::new(sample(1));
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let answer = rig
        .send(request("POST", "/signin", &form, &"a".repeat(20_000)))
        .await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    let json = [("authorization", ALICE), ("content-type", "application/json")];
    for (body, status) in [
        (format!("{{\"path\":\"/{}\"}}", "a".repeat(1 << 20)), 413),
        ("[".repeat(100_000), 400),
        ("{\"path\":\"/x\"".into(), 400),
    ] {
        let answer = rig
            .send(request("POST", "/api/v1/files/mkdir", &json, &body))
            .await;
        assert_eq!(answer.status.as_u16(), status);
    }
}

/// Nothing, half a head, half a form: each ends in its time. The clock is the test's.
#[tokio::test(start_paused = true)]
async fn nobody_waits_for_ever() {
    let rig = Rig::new(sample(1));
    for (sent, within) in [
        ("", 12),
        ("GET /signin HTTP/1.1\r\nhost: x\r\n", 12),
        ("GET /signin HTTP/1.1\r\nhost: x\r\n\r\n", 12),
        (
            "POST /signin HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-www-form-urlencoded\r\ncontent-length: 9\r\n\r\na",
            42,
        ),
    ] {
        let began = tokio::time::Instant::now();
        let mut stream = rig.connect().await;
        stream.write_all(sent.as_bytes()).await.unwrap();
        let mut got = Vec::new();
        let _ = stream.read_to_end(&mut got).await;
        assert!(
            began.elapsed().as_secs() <= within,
            "{sent:?}: {:?}",
            began.elapsed()
        );
    }
}

#[tokio::test]
async fn answers_for_its_own_hosts() {
    let options = WebOptions {
        public_url: Some("https://files.example".into()),
        ..WebOptions::default()
    };
    let rig = Rig::with(sample(1), &options, MountLimits::default());
    for (host, status) in [
        ("files.example", 200),
        ("FILES.example:8443", 200),
        ("192.0.2.1", 200),
        ("127.0.0.1:8443", 200),
        ("evil.example", 421),
        ("files.example.evil.example", 421),
        ("198.51.100.1", 421),
    ] {
        let answer = rig.get("/signin", &[("host", host)]).await;
        assert_eq!(answer.status.as_u16(), status, "{host}");
    }
}

/// The drain lets a running download end, and says goodbye to who only waits.
#[tokio::test]
async fn a_drain_ends_nothing_in_mid_way() {
    for h2 in [false, true] {
        let rig = Rig::new(sample(3_000_000));
        let waiting = rig.connect_from("198.51.100.7:1", h2).await;
        let mut stream = rig.connect().await;
        let head = format!(
            "GET /api/v1/files/content?path=/a.bin HTTP/1.1\r\nhost: x\r\nauthorization: {ALICE}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut got = vec![0; 1_000];
        stream.read_exact(&mut got).await.unwrap();
        rig.gate.drain();
        stream.read_to_end(&mut got).await.unwrap();
        let text = String::from_utf8(got).unwrap();
        let body = text.split_once("\r\n\r\n").unwrap().1;
        assert!(body.as_bytes() == content(3_000_000), "{} bytes", body.len());
        let mut rest = Vec::new();
        let (mut waiting, _writer) = tokio::io::split(waiting);
        waiting.read_to_end(&mut rest).await.unwrap();
    }
}

/// The end of a session breaks its transfers instead of ending them as if they were whole.
#[tokio::test]
async fn a_killed_session_breaks_its_download() {
    let rig = Rig::new(sample(3_000_000));
    let mut stream = rig.connect().await;
    let head = format!(
        "GET /api/v1/files/content?path=/a.bin HTTP/1.1\r\nhost: x\r\nauthorization: {ALICE}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut got = vec![0; 1_000];
    stream.read_exact(&mut got).await.unwrap();
    rig.gate.end_all("killed");
    let _ = stream.read_to_end(&mut got).await;
    assert!(got.len() < 2_500_000, "{}", got.len());
}

/// Whoever does not sign in leaves after `login_grace`, however often the form is fetched; who is signed in
/// stays.
#[tokio::test]
async fn strangers_do_not_keep_a_connection() {
    let limits = LimitsOptions {
        login_grace: DurationText(Duration::from_millis(200)),
        ..Rig::limits()
    };
    let storage: Arc<dyn FileSystem> = Arc::new(sample(1));
    let rig = Rig::limited(&storage, &WebOptions::default(), MountLimits::default(), limits);
    let mut alices = rig.connect().await;
    let get = |target: &str, auth: &str| format!("GET {target} HTTP/1.1\r\nHost: x\r\n{auth}\r\n");
    let by_alice = get("/api/v1/me", &format!("Authorization: {ALICE}\r\n"));
    let mut buffer = [0; 4096];
    alices.write_all(by_alice.as_bytes()).await.unwrap();
    let read = alices.read(&mut buffer).await.unwrap();
    assert!(buffer[..read].starts_with(b"HTTP/1.1 200"));

    let mut stranger = rig.connect().await;
    loop {
        if stranger.write_all(get("/signin", "").as_bytes()).await.is_err() {
            break;
        }
        if matches!(stranger.read(&mut buffer).await, Ok(0) | Err(_)) {
            break;
        }
        tokio::task::yield_now().await;
    }
    alices.write_all(by_alice.as_bytes()).await.unwrap();
    let read = alices.read(&mut buffer).await.unwrap();
    assert!(buffer[..read].starts_with(b"HTTP/1.1 200"));
}
