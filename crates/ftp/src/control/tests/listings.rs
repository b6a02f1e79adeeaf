//! LIST, NLST, MLSD and STAT of directories: what they show, and how.

use portreeve_session::FsErrorKind;
use portreeve_vfs::{Call, Fault};
use serde_json::json;

use super::rig::{Rig, Terms, p};

fn planted() -> Rig {
    let rig = Rig::optional();
    for path in ["/a.csv", "/b.csv", "/d/c.csv", "/d/e/f", "/[x]", "/-la"] {
        rig.plant(path, path.as_bytes());
    }
    rig
}

/// The names of a listing, in order.
async fn names(rig: &Rig, command: &str) -> Vec<String> {
    let listing = rig.alice().await.listing(command).await;
    assert!(listing.is_empty() || listing.ends_with("\r\n"), "{listing:?}");
    let mut names: Vec<String> = listing
        .lines()
        .map(|line| line.rsplit(' ').next().unwrap().to_owned())
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn what_is_asked_for_is_listed() {
    let rig = planted();
    let all = ["-la", "[x]", "a.csv", "b.csv", "d"];
    for (argument, expected) in [
        ("", &all[..]),
        (" -a", &all),
        (" -l -a", &all),
        (" -aF --", &all),
        (" .", &all),
        (" /", &all),
        (" *", &all),
        (" -a *.csv", &["a.csv", "b.csv"]),
        (" ?.csv", &["a.csv", "b.csv"]),
        (" [a-a]*", &["a.csv"]),
        (" [!a]*.csv", &["b.csv"]),
        (" *.txt", &[]),
        (" a.csv", &["a.csv"]),
        (" -l a.csv", &["a.csv"]),
        (" [x]", &["[x]"]),
        (" -la", &all),
        (" ./-la", &["-la"]),
        (" d", &["c.csv", "e"]),
        (" d/", &["c.csv", "e"]),
        (" d/*.csv", &["c.csv"]),
        (" d/c.csv", &["c.csv"]),
        (" /d/e", &["f"]),
    ] {
        let listed = names(&rig, &format!("LIST{argument}")).await;
        assert_eq!(listed, expected, "LIST{argument}");
        let listed = names(&rig, &format!("NLST{argument}")).await;
        let bare: Vec<&str> = listed
            .iter()
            .map(|name| name.rsplit('/').next().unwrap())
            .collect();
        assert_eq!(bare, expected, "NLST{argument}");
    }
}

#[tokio::test]
async fn names_are_told_as_retr_takes_them() {
    let rig = planted();
    for (argument, expected) in [
        ("d", vec!["d/c.csv", "d/e"]),
        ("d/", vec!["d/c.csv", "d/e"]),
        ("/d", vec!["/d/c.csv", "/d/e"]),
        ("/d/*.csv", vec!["/d/c.csv"]),
        ("d/c.csv", vec!["d/c.csv"]),
        ("a.csv", vec!["a.csv"]),
        ("./a.csv", vec!["./a.csv"]),
        (".", vec!["./-la", "./[x]", "./a.csv", "./b.csv", "./d"]),
    ] {
        let listed = names(&rig, &format!("NLST {argument}")).await;
        assert_eq!(listed, expected, "NLST {argument}");
        for name in listed.iter().filter(|name| name.ends_with(".csv")) {
            let (content, _) = rig.alice().await.get(&format!("RETR {name}")).await;
            assert!(
                content.ends_with(name.trim_start_matches('.').as_bytes()),
                "{name}"
            );
        }
    }
}

#[tokio::test]
async fn long_lines_are_those_of_ls() {
    let rig = Rig::optional();
    rig.plant("/d/f", &[0; 1234]);
    rig.memory.plant_link(&p("/d/link"), b"f").unwrap();
    let mut far = rig.alice().await;
    far.check(&[
        ("MFMT 20010203040506 d/f", "213 …"),
        ("SITE CHMOD 604 d/f", "200 done"),
        ("MKD d/sub", "257 …"),
        ("MFMT 20010203040506 d/sub", "213 …"),
    ])
    .await;
    let file = "-rw----r--    1 0        0            1234 Feb  3  2001 f\r\n";
    assert_eq!(far.listing("LIST d/f").await, file);
    let listing = far.listing("LIST d").await;
    assert!(listing.contains(file), "{listing}");
    assert!(
        listing
            .lines()
            .any(|line| line.starts_with("lrwxrwxrwx ") && line.ends_with(" link")),
        "{listing}"
    );
    assert!(
        listing.contains("drwxr-x---    1 0        0               0 Feb  3  2001 sub\r\n"),
        "{listing}"
    );
    let link = far.listing("LIST d/link").await;
    assert!(
        link.starts_with("-rw----r-- ") && link.ends_with(" link\r\n"),
        "{link}"
    );
    let stat = far.say("STAT d/f").await;
    assert_eq!(stat, format!("213-Listing:\n {}\n213 End", file.trim_end()));
}

#[tokio::test]
async fn stat_lists_over_the_control_connection() {
    let rig = planted();
    let mut far = rig.alice().await;
    let stat = far.say("STAT d").await;
    let lines: Vec<&str> = stat.lines().collect();
    assert_eq!((lines[0], lines[3]), ("213-Listing:", "213 End"));
    assert!(lines[1].ends_with(" c.csv") && lines[2].ends_with(" e"), "{stat}");
    let stat = far.say("STAT -la *.csv").await;
    assert_eq!(stat.matches(".csv\n").count(), 2, "{stat}");
    far.check(&[
        ("STAT x", "550 no such file or directory"),
        ("STAT *.txt", "213 Listing:"),
        ("MKD new", "257 …"),
        ("STAT new", "213 Listing:"),
    ])
    .await;
}

#[tokio::test]
async fn facts_of_a_directory() {
    let rig = Rig::optional();
    rig.plant("/d/f", b"12345");
    rig.memory.plant_link(&p("/d/link"), b"f").unwrap();
    let mut far = rig.alice().await;
    far.check(&[
        ("MKD d/ sub ", "257 …"),
        ("OPTS MLST type;size;perm;", "200 MLST OPTS type;size;perm;"),
    ])
    .await;
    let listing = far.listing("MLSD d").await;
    assert_eq!(
        listing,
        "type=dir;perm=ecdflmp;  sub \r\n\
         type=file;size=5;perm=adfrw; f\r\n\
         type=OS.unix=slink;perm=df; link\r\n"
    );
    far.expect("CWD d", "250 there you are").await;
    assert_eq!(far.listing("MLSD").await, listing);
    far.expect("OPTS MLST", "200 MLST OPTS").await;
    assert_eq!(far.listing("MLSD").await, "  sub \r\n f\r\n link\r\n");
    far.refused("MLSD f", "501 that is not a directory").await;
    far.refused("MLSD *", "550 no such file or directory").await;
    far.refused("MLSD x", "550 no such file or directory").await;
    far.refused("LIST x", "550 no such file or directory").await;
    far.refused("LIST f/*", "501 that is not a directory").await;
    far.refused(
        "NLST a\tb",
        "553 a path cannot contain control characters over FTP",
    )
    .await;
}

#[tokio::test]
async fn rules_show_in_the_facts_and_in_what_is_listed() {
    let rig = Rig::new(Terms {
        options: json!({"tls": "optional"}),
        mount: json!({"rules": [
            {"pattern": "/keep.txt", "effect": "deny", "verbs": ["delete", "overwrite", "rename"]},
            {"pattern": "/secret/**", "effect": "deny"},
        ]}),
        ..Terms::default()
    });
    rig.plant("/keep.txt", b"");
    rig.plant("/other.txt", b"");
    rig.plant("/secret/f", b"");
    let mut far = rig.alice().await;
    far.expect("OPTS MLST perm", "200 MLST OPTS perm;").await;
    let listing = far.listing("MLSD").await;
    assert!(
        listing.contains("perm=ar; keep.txt\r\n") && listing.contains("perm=adfrw; other.txt\r\n"),
        "{listing}"
    );
    assert_eq!(far.listing("MLSD secret").await, "");
}

#[tokio::test]
async fn one_entry_is_one_line_whatever_its_name() {
    let rig = Rig::optional();
    rig.plant("/d/new\nline\r\x7f", b"");
    let shown = "new\\x0aline\\x0d\\x7f";
    let mut far = rig.alice().await;
    far.expect("OPTS MLST type", "200 MLST OPTS type;").await;
    assert_eq!(far.listing("MLSD d").await, format!("type=file; {shown}\r\n"));
    assert_eq!(far.listing("NLST d").await, format!("d/{shown}\r\n"));
    let long = far.listing("LIST d").await;
    assert!(
        long.ends_with(&format!(" {shown}\r\n")) && long.lines().count() == 1,
        "{long:?}"
    );
    assert_eq!(far.say("STAT d").await.lines().count(), 3);
}

#[tokio::test]
async fn an_empty_directory_is_an_empty_listing() {
    let rig = Rig::tls("explicit");
    let mut far = rig.alice().await;
    for command in ["LIST", "NLST", "MLSD", "LIST -a", "NLST *"] {
        assert_eq!(far.listing(command).await, "", "{command}");
    }
    assert_eq!(rig.events("list", &["path"]).len(), 5);
}

#[tokio::test]
async fn many_entries_come_whole() {
    let rig = Rig::tls("explicit");
    for n in 0..5000 {
        rig.plant(&format!("/d/a name of some length {n:05}"), b"");
    }
    let mut far = rig.alice().await;
    for command in ["LIST d", "NLST d", "MLSD d"] {
        let listing = far.listing(command).await;
        let mut names: Vec<&str> = listing.lines().map(|line| &line[line.len() - 5..]).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), 5000, "{command}");
    }
    let stat = far.say("STAT d").await;
    assert_eq!(stat.lines().count(), 5002);
}

#[tokio::test]
async fn a_listing_that_breaks_is_not_told_as_whole() {
    let rig = planted();
    let mut far = rig.alice().await;
    for command in ["LIST", "MLSD"] {
        rig.faulty.set(Fault {
            call: Some(Call::Next),
            nth: 2,
            times: 1,
            error: FsErrorKind::Backend.into(),
        });
        let (_, end) = far.get(command).await;
        assert_eq!(end, "451 the storage failed", "{command}");
    }
    rig.faulty.set(Fault {
        call: Some(Call::Next),
        nth: 1,
        times: 1,
        error: FsErrorKind::Backend.into(),
    });
    far.expect("STAT d", "451 the storage failed").await;
}
