//! Ways around verbs and rules.

use portreeve_vfs::{Attrs, FsErrorKind, Links, Removal, Rename, WriteMode};

use super::*;
use crate::Effect;

fn rule(pattern: &str, effect: Effect, verbs: &[&str]) -> RuleOptions {
    RuleOptions {
        pattern: pattern.into(),
        effect,
        verbs: Some(VerbWords::Many(verbs.iter().map(ToString::to_string).collect())),
    }
}

fn planted(files: &[&str]) -> Memory {
    let memory = Memory::new();
    for file in files {
        memory.plant(&p(file), b"content").unwrap();
    }
    memory
}

#[tokio::test]
async fn a_directory_does_not_carry_files_out_of_their_rules() {
    let deny = |pattern: &str, verbs: &[&str]| rule(pattern, Effect::Deny, verbs);
    for (rules, from, to, moves) in [
        (vec![], "/d", "/e", true),
        (vec![deny("/d/secret/**", &["full"])], "/d", "/e", false),
        (vec![deny("/d/secret/**", &["full"])], "/other", "/e", true),
        (vec![deny("/d/secret/**", &["full"])], "/other", "/d/o", true),
        (
            vec![deny("/d/secret/**", &["full"])],
            "/other",
            "/d/secret",
            false,
        ),
        (vec![deny("/d/*.txt", &["read"])], "/d", "/e", false),
        (vec![deny("/d/*.txt", &["read"])], "/d/sub", "/e", true),
        (vec![deny("/**/*.exe", &["create"])], "/d", "/e", true),
        (vec![deny("/**/*.exe", &["rename"])], "/d", "/e", false),
        (vec![deny("/**/keep/*", &["delete"])], "/d", "/e", false),
        (vec![deny("/{d,x}/f", &["delete"])], "/d", "/e", false),
        (vec![deny("/d/**", &["delete"])], "/d/sub", "/d/other", true),
        (vec![deny("/d/**", &["delete"])], "/d/sub", "/e", false),
        (
            vec![rule("/drop/**", Effect::Allow, &["full"])],
            "/d",
            "/drop",
            false,
        ),
    ] {
        let terms = Terms {
            rules: rules.clone(),
            ..Terms::default()
        };
        let memory = planted(&["/d/secret/f", "/d/sub/f", "/other/f"]);
        let session = Rig::new(memory, &terms).session().await;
        let moved = session.fs().rename(&p(from), &p(to), Rename::NoReplace).await;
        match moved {
            Ok(()) => assert!(moves, "{from} {to} {rules:?}"),
            Err(error) => assert_eq!(
                (error.kind(), moves),
                (FsErrorKind::Refused, false),
                "{from} {to} {rules:?}: {error}"
            ),
        }
    }
}

#[tokio::test]
async fn a_new_name_brings_no_new_right() {
    let terms = Terms {
        rules: vec![rule("/archive/**", Effect::Deny, &["delete", "read"])],
        ..Terms::default()
    };
    let session = Rig::new(planted(&["/archive/f", "/free"]), &terms)
        .session()
        .await;
    let fs = session.fs();
    let out = fs.rename(&p("/archive/f"), &p("/f"), Rename::NoReplace).await;
    assert_eq!(out.unwrap_err().kind(), FsErrorKind::Refused);
    fs.rename(&p("/archive/f"), &p("/archive/g"), Rename::NoReplace)
        .await
        .unwrap();
    fs.rename(&p("/free"), &p("/archive/free"), Rename::NoReplace)
        .await
        .unwrap();
}

#[tokio::test]
async fn who_may_write_but_not_read_reads_nothing_back() {
    let terms = Terms {
        verbs: Some(&["list", "create", "overwrite", "append"]),
        ..Terms::default()
    };
    let session = Rig::new(planted(&["/f"]), &terms).session().await;
    for mode in [
        WriteMode::Update { create: true },
        WriteMode::Append { create: true },
    ] {
        let mut open = how(mode);
        open.read_back = true;
        let opened = session.fs().upload(&p("/f"), open.clone()).await;
        assert_eq!(opened.unwrap_err().kind(), FsErrorKind::Refused, "{mode:?}");
        // What one writes oneself may be read.
        session.fs().upload(&p("/new"), open).await.unwrap();
    }
}

#[tokio::test]
async fn who_may_only_create_replaces_nothing_that_came_meanwhile() {
    let terms = Terms {
        verbs: Some(&["list", "create", "rename"]),
        ..Terms::default()
    };
    for mode in [
        WriteMode::Replace,
        WriteMode::Update { create: true },
        WriteMode::Append { create: true },
    ] {
        let memory = Memory::new();
        let session = Rig::new(memory.clone(), &terms).session().await;
        let fs = session.fs();
        let upload = fs.upload(&p("/f"), how(mode)).await.unwrap();
        upload.append(zeros(3)).await.unwrap();
        memory.plant(&p("/f"), b"somebody else's").unwrap();
        assert_eq!(
            upload.commit().await.unwrap_err().kind(),
            FsErrorKind::Exists,
            "{mode:?}"
        );
        assert_eq!(fs.stat(&p("/f"), Links::Keep).await.unwrap().size, Some(15));
        // Nor by a rename of an upload that is pending.
        let upload = fs.upload(&p("/g"), how(WriteMode::Replace)).await.unwrap();
        fs.rename(&p("/g"), &p("/h"), Rename::Replace).await.unwrap();
        memory.plant(&p("/h"), b"theirs").unwrap();
        assert_eq!(upload.commit().await.unwrap_err().kind(), FsErrorKind::Exists);
    }
}

#[tokio::test]
async fn listings_and_look_ups_hide_the_same() {
    let terms = Terms {
        rules: vec![rule("/d/*.key", Effect::Deny, &["full"])],
        ..Terms::default()
    };
    let files: Vec<String> = (0..300)
        .map(|n| format!("/d/{n}.key"))
        .chain(["/d/z".into()])
        .collect();
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    let session = Rig::new(planted(&files), &terms).session().await;
    let fs = session.fs();
    let mut listing = fs.list(&p("/d"), None).await.unwrap();
    let mut names = Vec::new();
    loop {
        let page = listing.next(7).await.unwrap();
        if page.is_empty() {
            break;
        }
        names.extend(page.into_iter().map(|entry| entry.name.unwrap().to_string()));
    }
    assert_eq!(names, ["z"]);
    assert_eq!(
        fs.stat(&p("/d/1.key"), Links::Keep).await.unwrap_err().kind(),
        FsErrorKind::NotFound
    );
}

#[tokio::test]
async fn nothing_tells_a_writer_what_is_there() {
    let terms = Terms {
        verbs: Some(&["create"]),
        ..Terms::default()
    };
    let session = Rig::new(planted(&["/there"]), &terms).session().await;
    let fs = session.fs();
    for path in ["/there", "/absent"] {
        let path = p(path);
        let looked = fs.stat(&path, Links::Keep).await.unwrap_err().kind();
        let read = fs.download(&path).await.unwrap_err().kind();
        let set = fs
            .set_attrs(&path, Attrs::default(), Links::Follow)
            .await
            .unwrap_err()
            .kind();
        let removed = fs.remove(&path, Removal::File).await.unwrap_err().kind();
        let (gone, refused) = (FsErrorKind::NotFound, FsErrorKind::Refused);
        assert_eq!(
            (looked, read, set, removed),
            (gone, gone, refused, refused),
            "{path}"
        );
    }
}

#[tokio::test]
async fn a_directory_takes_the_uploads_in_it_along() {
    let rig = Rig::new(planted(&["/d/x"]), &Terms::default());
    let session = rig.session().await;
    let upload = session
        .fs()
        .upload(&p("/d/new"), how(WriteMode::Replace))
        .await
        .unwrap();
    session
        .fs()
        .rename(&p("/d"), &p("/e"), Rename::NoReplace)
        .await
        .unwrap();
    assert_eq!(upload.path(), p("/e/new"));
    upload.commit().await.unwrap();
    assert!(session.fs().stat(&p("/e/new"), Links::Keep).await.is_ok());
}

/// Who comes in without a password may look, whatever the mount's verbs say.
#[tokio::test]
async fn the_claim_read_only_takes_every_right_to_change() {
    for (claim, may_change) in [("true", false), ("false", true)] {
        let rig = Rig::new(planted(&["/a", "/b", "/d/x"]), &Terms::default());
        let claims = [(portreeve_auth::READ_ONLY_CLAIM.to_owned(), claim.to_owned())];
        *rig.keeper.claims.lock() = claims.into();
        let session = rig.session().await;
        let fs = session.fs();
        let attrs = Attrs {
            mode: Some(0o600),
            ..Attrs::default()
        };
        let ends = [
            put(&session, "/new", 3).await,
            put(&session, "/a", 3).await,
            fs.make_dir(&p("/dir"), Attrs::default()).await,
            fs.set_attrs(&p("/a"), attrs, Links::Keep).await,
            fs.copy(&p("/a"), &p("/copy"), Rename::NoReplace).await,
            fs.link(&p("/a"), &p("/link")).await,
            fs.rename(&p("/a"), &p("/moved"), Rename::NoReplace).await,
            fs.remove(&p("/b"), Removal::File).await,
        ];
        for (n, end) in ends.into_iter().enumerate() {
            let end = end.map_err(|error| error.kind());
            assert_eq!(end.is_ok(), may_change, "{n}: {end:?}");
            assert!(may_change || end == Err(FsErrorKind::Refused), "{n}: {end:?}");
        }
        let download = fs.download(&p("/d/x")).await.unwrap();
        assert_eq!(download.read(0, 100, Vec::new()).await.unwrap(), b"content");
        assert!(fs.list(&p("/"), None).await.is_ok());
    }
}
