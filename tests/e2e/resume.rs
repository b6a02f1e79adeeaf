//! an upload that was cut at any offset goes on where it ended, for the one who began it, or is refused.

use std::{
    fs,
    io::{Read, Write},
    path::Path,
};

use portreeve_tests::{
    Curl, Cut, Ftp, Ftps, Portreeve, Proxy, Sftp, clients,
    config::PASSWORD,
    data,
    ftp::{End, connect},
    process::until,
    server::PATIENCE,
    skip,
};

const SIZE: u64 = 4 << 20;
/// What was there under the name before.
const OLD: &[u8] = b"the old content";

/// Where uploads are cut, in bytes of the connection: behind the handshake, before the end of the content.
fn cuts() -> Vec<(u64, Cut)> {
    let offsets = data::somewhere(skip::slice_or_full(8, 50), 1 << 20, SIZE);
    let ways = [Cut::Fin, Cut::Rst].into_iter().cycle();
    offsets.into_iter().zip(ways).collect()
}

/// Waits for the end of the one upload of `path` and gives how much was kept.
fn kept(server: &Portreeve, path: &str, how: (u64, Cut)) -> u64 {
    let mut uploads = Vec::new();
    until("the upload's end is recorded", PATIENCE, || {
        uploads = server.audit();
        uploads.retain(|r| r.text("act") == "upload" && r.text("path") == path);
        !uploads.is_empty()
    });
    assert_eq!(uploads.len(), 1, "{how:?}: {uploads:?}");
    assert_eq!(
        uploads[0].text("outcome"),
        "failed",
        "{how:?}: {:?}",
        uploads[0].0
    );
    let kept = uploads[0].number("kept").unwrap_or(0);
    assert!((1..SIZE).contains(&kept), "{how:?}: {:?}", uploads[0].0);
    kept
}

/// What others see: nothing, or what was there before.
fn unchanged(at: &Path, existed: bool, how: (u64, Cut)) {
    let content = fs::read(at).ok();
    assert_eq!(content.as_deref(), existed.then_some(OLD), "{how:?}");
}

#[test]
fn cut_anywhere_and_gone_on_with_over_sftp() {
    let server = Portreeve::start();
    let (source, home) = (server.dir().join("source"), server.config.home("alice"));
    data::file(&source, SIZE, 1);
    let alice = Sftp::by_key(&server, "alice");
    alice.batch("pwd").ok();
    for (n, how) in cuts().into_iter().enumerate() {
        let (name, existed) = (format!("x{n}"), n % 4 < 2);
        let at = home.join(&name);
        if existed {
            fs::write(&at, OLD).unwrap();
        }
        let relay = Proxy::cutting(server.doors().sftp, how.0, how.1);
        let cut = alice.clone().through(relay.address().port());
        let done = cut.batch(&format!("put source {name}"));
        assert!(!done.status.success(), "{how:?}: {}", done.said());
        let path = format!("/{name}");
        let kept = kept(&server, &path, how);
        unchanged(&at, existed, how);
        let python = |args: &[&str]| {
            let all = [&args[..1], &["source", &path], &args[1..]].concat();
            clients::python(&server, "paramiko_client.py", "alice", &all)
        };
        // Behind the end would be a hole.
        if n % 4 == 0
            && let Some(done) = python(&["resume-at", &(kept + 1).to_string()])
        {
            assert!(!done.status.success(), "{how:?}, kept {kept}: a hole was allowed");
            unchanged(&at, existed, how);
        }
        // By OpenSSH and by paramiko in turn.
        match (n % 2 == 1).then(|| python(&["resume"])).flatten() {
            Some(done) => assert_eq!(done.ok().text().trim(), kept.to_string(), "{how:?}"),
            None => drop(alice.batch(&format!("reput source {name}")).ok()),
        }
        data::same(&source, &at);
    }
    let left = data::tree(&home);
    assert!(
        left.iter().all(|n| n.starts_with('x')),
        "parts were left: {left:?}"
    );
}

#[test]
fn cut_anywhere_and_gone_on_with_over_https() {
    let server = Portreeve::start();
    let (source, home) = (server.dir().join("source"), server.config.home("alice"));
    data::file(&source, SIZE, 2);
    let bytes = fs::read(&source).unwrap();
    let curl = Curl::new(&server, "alice", PASSWORD);
    let _ = curl.get("/api/v1/me").is(200);
    for (n, how) in cuts().into_iter().enumerate() {
        let (path, existed) = (format!("/x{n}"), n % 4 < 2);
        let at = home.join(&path[1..]);
        if existed {
            fs::write(&at, OLD).unwrap();
        }
        let relay = Proxy::cutting(server.doors().https, how.0, how.1);
        let cut = curl.clone().through(relay.address().port());
        let reply = cut.upload(&source, &path);
        assert!(!(200..300).contains(&reply.status), "{how:?}: {}", reply.status);
        let kept = usize::try_from(kept(&server, &path, how)).unwrap();
        assert_eq!(curl.kept(&path), Some(kept), "{how:?}");
        unchanged(&at, existed, how);
        for wrong in [kept - 1, kept + 1, bytes.len() - 1] {
            let reply = curl.go_on(&path, &bytes, wrong).is(409);
            let right = reply.header("upload-offset").map(str::to_owned);
            assert_eq!(right, Some(kept.to_string()), "{how:?}, {wrong}");
            unchanged(&at, existed, how);
        }
        let done = curl.go_on(&path, &bytes, kept);
        assert!(
            (200..300).contains(&done.status),
            "{how:?}, kept {kept}: {} {}",
            done.status,
            done.text()
        );
        data::same(&source, &at);
    }
    let left = data::tree(&home);
    assert!(
        left.iter().all(|n| n.starts_with('x')),
        "parts were left: {left:?}"
    );
}

/// Cut by the data connection, at any byte of it; gone on with by curl, lftp and by hand.
#[test]
fn cut_anywhere_and_gone_on_with_over_ftps() {
    let server = Portreeve::start();
    let (source, home) = (server.dir().join("source"), server.config.home("alice"));
    data::file(&source, SIZE, 2);
    let whole = fs::read(&source).unwrap();
    let way = Ftps::new(&server, "alice");
    // From within the first record on; before that there is a handshake.
    let cuts = data::somewhere(skip::slice_or_full(9, 50), 4_000, SIZE);
    for (n, cut) in cuts.into_iter().enumerate() {
        let (name, existed) = (format!("x{n}"), n % 4 < 2);
        let how = (cut, [Cut::Fin, Cut::Rst][n % 2]);
        let mut ftp = Ftp::signed_in(&server, "alice");
        if existed {
            fs::write(home.join(&name), OLD).unwrap();
        }
        let since = server.audit().len();
        cut_upload(&mut ftp, &name, &whole, how);
        ftp.answer().is(426);
        let mut uploads = Vec::new();
        until("the upload's end is recorded", PATIENCE, || {
            uploads = server.audit().split_off(since);
            uploads.retain(|r| r.text("act") == "upload");
            !uploads.is_empty()
        });
        assert_eq!(uploads.len(), 1, "{how:?}: {uploads:?}");
        assert_eq!(
            uploads[0].story(),
            format!("ftps upload failed /{name}"),
            "{how:?}"
        );
        let kept = uploads[0].number("kept").unwrap_or(0);
        assert!(kept < SIZE, "{how:?}: {:?}", uploads[0].0);
        unchanged(&home.join(&name), existed, how);
        match n % 3 {
            0 if kept > 0 => drop(way.curl(&["-C", "-", "-T", "source"], &format!("/{name}")).ok()),
            1 if kept > 0 => drop(way.lftp(&format!("put -c source -o {name}")).ok()),
            _ => {
                ftp.say(&format!("REST {kept}")).is(350);
                let rest = &whole[usize::try_from(kept).unwrap()..];
                ftp.store(&format!("STOR {name}"), rest, End::Clean).is(226);
            }
        }
        data::same(&source, &home.join(&name));
        let log = server.audit().split_off(since);
        let last = log.iter().rfind(|r| r.story().starts_with("ftps upload ok"));
        let sent = last.and_then(|r| r.number("bytes"));
        assert_eq!(sent, Some(SIZE - kept), "{how:?}, kept {kept}: {last:?}");
    }
    let left = data::tree(&home);
    assert!(
        left.iter().all(|n| n.starts_with('x')),
        "parts were left: {left:?}"
    );
}

/// An upload whose data connection goes through a relay that cuts it.
fn cut_upload(ftp: &mut Ftp, name: &str, content: &[u8], (after, how): (u64, Cut)) {
    let relay = Proxy::cutting(ftp.epsv(), after, how);
    let stream = connect(relay.address(), None).unwrap();
    ftp.say(&format!("STOR {name}")).is(150);
    let mut wire = ftp.tls().clone().wrap(stream, true).unwrap();
    let _ = wire.write_all(content).and_then(|()| wire.flush());
    let _ = wire.read(&mut [0]);
}

/// A part belongs to its owner: in a directory that two people share, the other one neither sees nor extends it.
#[test]
fn nobody_goes_on_with_the_part_of_another() {
    let server = Portreeve::start();
    let source = server.dir().join("source");
    data::file(&source, SIZE, 3);
    let bytes = fs::read(&source).unwrap();
    let alice = Curl::new(&server, "alice", PASSWORD);
    let bob = Curl::new(&server, "bob", PASSWORD);
    // The sign-in is remembered: else the cut could fall before the upload begins.
    let _ = alice.get("/api/v1/me").is(200);
    let how = (2 << 20, Cut::Fin);
    let relay = Proxy::cutting(server.doors().https, how.0, how.1);
    let cut = alice.clone().through(relay.address().port());
    assert!(!(200..300).contains(&cut.upload(&source, "/shared/x").status));
    let kept = usize::try_from(kept(&server, "/shared/x", how)).unwrap();
    assert_eq!(bob.kept("/shared/x"), None);
    let _ = bob.go_on("/shared/x", &bytes, kept).is(409);
    Sftp::by_key(&server, "bob")
        .batch("reput source /shared/x")
        .fails("");
    assert!(!server.dir().join("shared/x").exists());
    // The other door is no stranger.
    assert_eq!(alice.kept("/shared/x"), Some(kept));
    Sftp::by_key(&server, "alice")
        .batch("reput source /shared/x")
        .ok();
    data::same(&source, &server.dir().join("shared/x"));
}
