//! HTTPS × local disk with curl: the file API's bytes, refusals, resume, and what a cut leaves behind.

use std::{fs, io::Write};

use portreeve_tests::{
    Curl, Cut, Portreeve, Proxy, Sftp, Tmpfs, config::PASSWORD, curl::encode, data, process::until,
    server::PATIENCE, skip,
};
use rustix::process::Signal;

const GIB: u64 = 1 << 30;

fn alice(server: &Portreeve) -> Curl {
    Curl::new(server, "alice", PASSWORD)
}

#[test]
fn a_gibibyte_up_and_down_is_one_event_each() {
    let server = Portreeve::start();
    let (source, back) = (server.dir().join("source"), server.dir().join("back"));
    data::file(&source, GIB, 1);
    let curl = alice(&server);
    curl.upload(&source, "/big").is(201);
    curl.download("/big", &back).is(200);
    data::same(&source, &back);
    let acts: Vec<String> = server
        .audit()
        .iter()
        .map(|r| r.story())
        .filter(|s| s.contains("load"))
        .collect();
    assert_eq!(
        acts,
        [
            format!("https upload ok /big {GIB}"),
            "https download ok /big".to_owned()
        ]
    );
    let ranged = curl
        .request(&["-r", "1000000-1000099"], &Curl::content("/big"))
        .is(206);
    assert_eq!(ranged.body, &fs::read(&source).unwrap()[1_000_000..1_000_100]);
}

#[test]
fn one_file_through_two_doors() {
    let server = Portreeve::start();
    let source = server.dir().join("source");
    data::file(&source, 20 << 20, 2);
    Sftp::by_key(&server, "alice")
        .batch("mkdir d\nput source \"d/by sftp \u{1f680}\"")
        .ok();
    let curl = alice(&server);
    assert_eq!(curl.list("/d"), ["by sftp \u{1f680}"]);
    curl.download("/d/by sftp \u{1f680}", &server.dir().join("back"))
        .is(200);
    data::same(&source, &server.dir().join("back"));
    curl.upload(&source, "/d/by https").is(201);
    Sftp::by_key(&server, "alice")
        .batch("get \"d/by https\" back2")
        .ok();
    data::same(&source, &server.dir().join("back2"));
}

#[test]
fn names_of_every_kind() {
    let server = Portreeve::start();
    let curl = alice(&server);
    fs::write(server.dir().join("one"), "content").unwrap();
    let mut names = vec![
        "with space",
        " both ends ",
        "-rf",
        "quote\"",
        "new\nline",
        "back\\slash",
        "100%",
        "a+b&c=d?e#f",
        "\u{1f680}",
        "e\u{301}",
        "\u{202e}gnp.exe",
        "...",
        "<script>alert(1)<script>",
    ];
    for name in &names {
        let path = format!("/d/{name}");
        let made = curl.request(
            &[
                "-X",
                "POST",
                "-H",
                "Content-Type: application/json",
                "-d",
                "{\"path\":\"/d\"}",
            ],
            "/api/v1/files/mkdir",
        );
        assert!(
            [200, 201, 409].contains(&made.status),
            "{}: {}",
            made.status,
            made.text()
        );
        curl.upload(&server.dir().join("one"), &path).is(201);
        assert_eq!(curl.read(&path).is(200).body, b"content", "{name:?}");
        assert_eq!(
            fs::read(server.config.home("alice").join("d").join(name)).unwrap(),
            b"content",
            "{name:?}"
        );
    }
    let mut listed = curl.list("/d");
    listed.sort();
    names.sort_unstable();
    assert_eq!(listed, names);
    // Pages show such names as text, never as markup.
    let page = curl.get("/files/d/").text();
    assert!(!page.contains("<script>alert"), "{page}");
}

#[test]
fn many_small_files_are_listed_page_by_page() {
    let server = Portreeve::start();
    let count = skip::slice_or_full(2_500, 10_000);
    let home = server.config.home("alice");
    alice(&server).get("/api/v1/me").is(200);
    fs::create_dir_all(home.join("many")).unwrap();
    for n in 0..count {
        fs::write(home.join(format!("many/{n}")), "x").unwrap();
    }
    let mut listed = alice(&server).list("/many");
    listed.sort();
    listed.dedup();
    assert_eq!(listed.len(), count);
}

#[test]
fn many_small_files_up_and_down() {
    let server = Portreeve::start();
    let curl = alice(&server);
    let (many, back) = (server.dir().join("many"), server.dir().join("back"));
    fs::create_dir(&many).unwrap();
    let mut files = Vec::new();
    for n in 0..skip::slice_or_full(1_000, 10_000) {
        let name = format!("file {n}");
        fs::write(many.join(&name), data::bytes(n % 300, n as u64)).unwrap();
        files.push((many.join(&name), back.join(&name), format!("/{name}")));
    }
    let up = files.iter().map(|(from, _, path)| (&**from, &**path));
    curl.batch("upload-file", up).ok();
    curl.batch("output", files.iter().map(|(_, to, path)| (&**to, &**path)))
        .ok();
    assert_eq!(data::tree(&back), data::tree(&many));
    for (from, to, _) in &files {
        assert_eq!(
            fs::read(from).unwrap(),
            fs::read(to).unwrap(),
            "{}",
            from.display()
        );
    }
    let count = |story: &str| {
        let log = server.audit();
        log.iter().filter(|r| r.story().starts_with(story)).count()
    };
    assert_eq!(count("https upload ok"), files.len());
    assert_eq!(count("https download ok"), files.len());
}

#[test]
fn refusals_are_one_event_each_and_say_nothing() {
    let server = Portreeve::start();
    for (who, user, password) in [
        ("wrong password", "alice", "wrong"),
        ("unknown user", "nobody", PASSWORD),
        ("denied user", "root", PASSWORD),
        ("disabled account", "carol", PASSWORD),
        ("expired account", "dave", PASSWORD),
    ] {
        let since = server.audit().len();
        let reply = Curl::new(&server, user, password).get("/api/v1/me").is(401);
        let text = reply.text().to_lowercase();
        assert!(
            !text.contains("disabled") && !text.contains("expired") && !text.contains("unknown"),
            "{who}: {text}"
        );
        server.expect_story(since, &["https login refused"]);
    }
    Curl::new(&server, "", "").get("/api/v1/me").is(401);
    alice(&server).get("/api/v1/me").is(200);
}

#[test]
fn forbidden_verbs_and_paths_outside_change_nothing() {
    let server = Portreeve::start();
    fs::write(server.dir().join("a"), "hello").unwrap();
    fs::write(server.dir().join("shared/there"), "there").unwrap();
    fs::write(server.dir().join("secret"), "secret").unwrap();
    let reader = Curl::new(&server, "reader", PASSWORD);
    assert_eq!(reader.read("/there").is(200).body, b"there");
    let json = ["-X", "POST", "-H", "Content-Type: application/json", "-d"];
    let with = |body: &'static str| [&json[..], &[body]].concat();
    let refused = |reply: portreeve_tests::Reply, story: &str, since: usize| {
        assert_eq!(reply.status, 403, "{story}: {}", reply.text());
        until("the refusal is recorded", PATIENCE, || {
            server.audit()[since..]
                .iter()
                .filter(|r| r.story() == story)
                .count()
                == 1
        });
    };
    let since = server.audit().len();
    refused(
        reader.upload(&server.dir().join("a"), "/x"),
        "https upload refused /x",
        since,
    );
    refused(
        reader.request(&["-X", "DELETE"], "/api/v1/files?path=/there"),
        "https remove-file refused /there",
        since,
    );
    refused(
        reader.request(&with("{\"path\":\"/d\"}"), "/api/v1/files/mkdir"),
        "https make-dir refused /d",
        since,
    );
    let rename = reader.request(
        &with("{\"from\":\"/there\",\"to\":\"/here\"}"),
        "/api/v1/files/rename",
    );
    refused(rename, "https rename refused /there /here", since);
    assert_eq!(data::tree(&server.dir().join("shared")), ["there"]);

    let curl = alice(&server);
    curl.get("/api/v1/me").is(200);
    std::os::unix::fs::symlink(
        server.dir().join("secret"),
        server.config.home("alice").join("out"),
    )
    .unwrap();
    for path in [
        "/out",
        "/../secret",
        "/../../../../etc/passwd",
        "/..%2f..%2fsecret",
        "/%2e%2e/secret",
    ] {
        let reply = curl.request(&["--path-as-is"], &format!("/api/v1/files/content?path={path}"));
        assert!(
            matches!(reply.status, 400 | 403 | 404),
            "{path}: {} {}",
            reply.status,
            reply.text()
        );
        assert!(
            !reply.text().contains("secret\n") && !reply.text().contains("root:"),
            "{path}"
        );
    }
    assert_eq!(curl.upload(&server.dir().join("a"), "/out").status / 100, 4);
    assert_eq!(fs::read(server.dir().join("secret")).unwrap(), b"secret");
}

/// V2, V5: the declared length did not come.
#[test]
fn a_cut_upload_shows_nothing_keeps_its_part_and_is_resumed() {
    let server = Portreeve::start();
    let source = server.dir().join("source");
    data::file(&source, 24 << 20, 3);
    let bytes = fs::read(&source).unwrap();
    let curl = alice(&server);
    curl.get("/api/v1/me").is(200);
    let home = server.config.home("alice");
    for (n, how) in [Some(Cut::Fin), Some(Cut::Rst), None].into_iter().enumerate() {
        let name = format!("cut{n}");
        fs::write(home.join(&name), "the old content").unwrap();
        let since = server.audit().len();
        if let Some(how) = how {
            let relay = Proxy::cutting(server.doors().https, 9 << 20, how);
            let reply = curl
                .clone()
                .through(relay.address().port())
                .upload(&source, &format!("/{name}"));
            assert!(!(200..300).contains(&reply.status), "{how:?}: {}", reply.status);
        } else {
            let relay = Proxy::plain(server.doors().https);
            let slow = curl.clone().through(relay.address().port());
            let client = slow.start_upload(&source, &format!("/{name}"), &["--limit-rate", "4M"]);
            until("some of it has passed", PATIENCE, || relay.passed() > 2 << 20);
            client.signal(Signal::KILL);
            let _ = client.kill();
        }
        until("the upload's end is recorded", PATIENCE, || {
            server.audit()[since..].iter().any(|r| r.text("act") == "upload")
        });
        let uploads: Vec<_> = server
            .audit()
            .split_off(since)
            .into_iter()
            .filter(|r| r.text("act") == "upload")
            .collect();
        assert_eq!(uploads.len(), 1, "{how:?}: {uploads:?}");
        assert_eq!(
            uploads[0].story(),
            format!("https upload failed /{name}"),
            "{how:?}"
        );
        assert_eq!(fs::read(home.join(&name)).unwrap(), b"the old content", "{how:?}");
        assert!(!curl.list("/").iter().any(|n| n.contains("part")), "{how:?}");

        let path = format!("/{name}");
        let offset = curl
            .kept(&path)
            .unwrap_or_else(|| panic!("{how:?}: nothing is kept"));
        assert!(offset > 0 && offset < bytes.len(), "{offset}");
        // A wrong offset is an error that names the right one, never a hole.
        let wrong = curl.go_on(&path, &bytes, offset + 1).is(409);
        assert_eq!(
            wrong.header("upload-offset").map(str::to_owned),
            Some(offset.to_string())
        );
        assert!(matches!(
            curl.go_on(&path, &bytes, offset).status,
            200 | 201 | 204
        ));
        data::same(&source, &home.join(&name));
    }
}

/// R-04: a disk that is full says so in words, shows nothing torn, keeps nothing, and serves the others.
#[test]
fn a_full_disk_is_said_so_and_leaves_room_again() {
    let Some(mount) = Tmpfs::mount("1m") else {
        return;
    };
    let server = Portreeve::start_with(|c| c.files = mount.path().to_owned());
    data::file(&server.dir().join("large"), 2 << 20, 5);
    data::file(&server.dir().join("small"), 300 << 10, 6);
    data::file(&server.dir().join("tiny"), 10 << 10, 7);
    let (curl, bob) = (alice(&server), Curl::new(&server, "bob", PASSWORD));
    let (small, tiny) = (server.dir().join("small"), server.dir().join("tiny"));
    let _ = curl.upload(&tiny, "/old").is(201);
    let _ = bob.upload(&tiny, "/bobs").is(201);
    let before = data::tree(mount.path());
    // Nothing is left of it, not even a hidden part.
    let refused = |what: &str, path: &str| {
        let since = server.audit().len();
        let reply = curl.upload(&server.dir().join(what), path).is(507);
        let text = reply.text().to_lowercase();
        assert!(text.contains("space"), "{what}: {text}");
        let failed = |r: &portreeve_tests::Record| r.story() == format!("https upload failed {path}");
        until("the failure is recorded", PATIENCE, || {
            server.audit()[since..].iter().any(failed)
        });
        assert_eq!(server.audit()[since..].iter().filter(|r| failed(r)).count(), 1);
        assert_eq!(curl.kept(path), None, "{what} to {path}: a part was kept");
    };
    for path in ["/new", "/old"] {
        refused("large", path);
        assert_eq!(data::tree(mount.path()), before, "{path}");
        data::same(&tiny, &mount.path().join("alice/old"));
    }
    // Somebody else has filled it to the last page.
    let ballast = mount.path().join("ballast");
    let mut file = fs::File::create(&ballast).unwrap();
    while file.write_all(&[1; 4096]).is_ok() {}
    drop(file);
    refused("small", "/new");
    let _ = bob.read("/bobs").is(200);
    assert_eq!(bob.list("/").iter().filter(|n| *n == "bobs").count(), 1);
    // There is room again.
    fs::remove_file(&ballast).unwrap();
    let _ = curl.upload(&small, "/new").is(201);
    data::same(&small, &mount.path().join("alice/new"));
    let _ = bob.upload(&small, "/also").is(201);
    data::same(&small, &mount.path().join("bob/also"));
}

#[test]
fn a_full_quota_is_said_so() {
    let server = Portreeve::start_with(|c| c.mount = ", limits = { quota = \"1 MiB\" }");
    data::file(&server.dir().join("large"), 2 << 20, 5);
    data::file(&server.dir().join("small"), 300 << 10, 6);
    let curl = alice(&server);
    let reply = curl.upload(&server.dir().join("large"), "/x").is(507);
    assert_eq!(
        reply.header("content-type").map(|t| t.contains("problem+json")),
        Some(true),
        "{:?}",
        reply.headers
    );
    curl.read("/x").is(404);
    curl.upload(&server.dir().join("small"), "/y").is(201);
    Curl::new(&server, "bob", PASSWORD)
        .upload(&server.dir().join("small"), "/y")
        .is(201);
}

#[test]
fn headers_that_keep_a_browser_honest() {
    let server = Portreeve::start();
    fs::write(server.dir().join("a.html"), "<script>alert(1)</script>").unwrap();
    let curl = alice(&server);
    curl.upload(&server.dir().join("a.html"), "/a.html").is(201);
    let file = curl.read("/a.html").is(200);
    assert_eq!(file.header("x-content-type-options"), Some("nosniff"));
    let inert = file
        .header("content-disposition")
        .is_some_and(|v| v.starts_with("attachment"))
        || file
            .header("content-security-policy")
            .is_some_and(|v| v.contains("sandbox"));
    assert!(
        inert,
        "a file of a user must not run as a page: {:?}",
        file.headers
    );
    let page = Curl::new(&server, "", "").get("/signin").is(200);
    let policy = page.header("content-security-policy").unwrap_or_default();
    assert!(
        policy.contains("default-src 'none'") && !policy.contains("unsafe-inline"),
        "{policy}"
    );
    assert!(page.header("strict-transport-security").is_some());
    assert!(
        page.header("server").is_none_or(|v| !v.contains('.')),
        "{:?}",
        page.header("server")
    );
    assert!(!page.text().contains("<script"), "the page works without scripts");
}

/// A state-changing request that a foreign page could make a browser send.
#[test]
fn cookies_alone_change_nothing() {
    let server = Portreeve::start();
    let jar = server.dir().join("jar");
    let jar = jar.to_str().unwrap();
    let stranger = Curl::new(&server, "", "");
    let form = stranger.request(&["-c", jar], "/signin").is(200).text();
    // The form as a browser would send it: all hidden fields.
    let mut fields: Vec<String> = vec![
        "-d".into(),
        "user=alice".into(),
        "--data-urlencode".into(),
        format!("password={PASSWORD}"),
    ];
    for input in form.split("<input").skip(1).filter(|i| i.contains("hidden")) {
        let value = |key: &str| {
            input
                .split(&format!("{key}=\""))
                .nth(1)
                .and_then(|v| v.split('"').next())
                .unwrap_or_default()
                .to_owned()
        };
        fields.push("--data-urlencode".into());
        fields.push(format!("{}={}", value("name"), value("value")));
    }
    let origin = format!("Origin: https://{}", server.doors().https);
    let mut args: Vec<&str> = vec!["-b", jar, "-c", jar, "-H", &origin];
    args.extend(fields.iter().map(String::as_str));
    let signed = stranger.request(&args, "/signin");
    assert!(
        matches!(signed.status, 302 | 303),
        "{}: {}",
        signed.status,
        signed.text()
    );
    stranger.request(&["-b", jar], "/api/v1/me").is(200);
    fs::write(server.config.home("alice").join("victim"), "x").unwrap();
    let foreign = [
        "-b",
        jar,
        "-X",
        "DELETE",
        "-H",
        "Origin: https://evil.example",
        "-H",
        "Sec-Fetch-Site: cross-site",
    ];
    let reply = stranger.request(&foreign, &format!("/api/v1/files?path={}", encode("/victim")));
    assert_eq!(reply.status, 403, "{}", reply.text());
    assert!(server.config.home("alice").join("victim").exists());
}
