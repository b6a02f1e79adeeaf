//! Directories and files by their names: what is told of them, and what is done to them.

use portreeve_session::FsErrorKind;
use portreeve_vfs::{Call, Fault};
use serde_json::json;

use super::rig::{Rig, Terms, p};

const MISSING: &str = "550 no such file or directory";
const NO_PATH: &str = "501 a path is missing";
const CONTROL: &str = "553 a path cannot contain control characters over FTP";

fn planted() -> Rig {
    let rig = Rig::optional();
    rig.plant("/d/f", b"123456789");
    rig.plant("/with \"quotes\"/f", b"");
    rig.memory.plant_link(&p("/link"), b"d/f").unwrap();
    rig
}

#[tokio::test]
async fn changing_directories() {
    planted()
        .alice()
        .await
        .check(&[
            ("PWD", "257 \"/\" is where you are"),
            ("CWD d", "250 there you are"),
            ("XPWD", "257 \"/d\" is where you are"),
            ("CWD f", "550 that is not a directory"),
            ("CWD e", MISSING),
            ("CWD", NO_PATH),
            ("PWD", "257 \"/d\" is where you are"),
            ("CDUP", "250 there you are"),
            ("XCUP", "250 there you are"),
            ("PWD", "257 \"/\" is where you are"),
            ("CWD ../../d/.//", "250 there you are"),
            ("PWD", "257 \"/d\" is where you are"),
            ("CWD /with \"quotes\"", "250 there you are"),
            ("PWD", "257 \"/with \"\"quotes\"\"\" is where you are"),
            ("XCWD /", "250 there you are"),
            ("CWD ~", MISSING),
            ("CWD a\tb", CONTROL),
            ("CWD a\0b", CONTROL),
        ])
        .await;
}

#[tokio::test]
async fn making_and_removing() {
    let rig = planted();
    let mut far = rig.alice().await;
    far.check(&[
        ("MKD new", "257 \"/new\" was made"),
        ("MKD new", "550 it exists already"),
        ("MKD a/b", MISSING),
        ("MKD", NO_PATH),
        ("XMKD new/ a \"b\" ", "257 \"/new/ a \"\"b\"\" \" was made"),
        ("RMD new", "550 the directory is not empty"),
        ("XRMD new/ a \"b\" ", "250 removed"),
        ("RMD new", "250 removed"),
        ("RMD new", MISSING),
        ("RMD d/f", "550 it is not a directory"),
        ("DELE d", "550 it is a directory"),
        ("DELE d/f", "250 removed"),
        ("DELE d/f", MISSING),
        ("DELE", NO_PATH),
        ("DELE link", "250 removed"),
        ("RMD /", "550 …"),
    ])
    .await;
    assert_eq!(
        rig.events("make-dir", &["path"]),
        [
            json!(["ok", "/new"]),
            json!(["failed", "/new"]),
            json!(["failed", "/a/b"]),
            json!(["ok", "/new/ a \"b\" "]),
        ]
    );
    assert_eq!(
        rig.events("remove-file", &["path"]).last().unwrap(),
        &json!(["ok", "/link"])
    );
}

#[tokio::test]
async fn renaming() {
    let rig = planted();
    rig.plant("/g", b"gg");
    let mut far = rig.alice().await;
    far.check(&[
        ("RNTO x", "503 RNTO comes right after RNFR"),
        ("RNFR nothing", MISSING),
        ("RNTO x", "503 RNTO comes right after RNFR"),
        ("RNFR d/f", "350 now the new name, with RNTO"),
        ("NOOP", "200 nothing done"),
        ("RNTO x", "503 RNTO comes right after RNFR"),
        ("RNFR d/f", "350 now the new name, with RNTO"),
        ("RNTO", NO_PATH),
        ("RNTO x", "503 RNTO comes right after RNFR"),
        ("RNFR d/f", "350 now the new name, with RNTO"),
        ("RNTO x", "250 renamed"),
        ("RNTO y", "503 RNTO comes right after RNFR"),
        ("SIZE x", "213 9"),
        ("SIZE d/f", MISSING),
        ("RNFR d", "350 now the new name, with RNTO"),
        ("RNFR g", "350 now the new name, with RNTO"),
        ("RNTO x", "250 renamed"),
        ("SIZE x", "213 2"),
        ("RNFR d", "350 now the new name, with RNTO"),
        ("RNTO d/e", "554 a directory cannot be moved into itself"),
        ("CWD d", "250 there you are"),
    ])
    .await;
    let renames = rig.events("rename", &["path", "to"]);
    assert_eq!(
        renames[..2],
        [json!(["ok", "/d/f", "/x"]), json!(["ok", "/g", "/x"])]
    );
}

#[tokio::test]
async fn sizes_and_times() {
    let rig = planted();
    let mut far = rig.alice().await;
    far.check(&[
        ("SIZE d/f", "213 9"),
        ("SIZE link", "213 9"),
        ("SIZE d", "550 that is not a file with a size"),
        ("SIZE x", MISSING),
        ("SIZE", NO_PATH),
        ("MFMT 20240229123456 d/f", "213 Modify=20240229123456; d/f"),
        ("MDTM d/f", "213 20240229123456"),
        ("MFMT 19691231235959 d/f", "213 Modify=19691231235959; d/f"),
        ("MDTM d/f", "213 19691231235959"),
        ("MFMT 20240229123456.5 d/f", "213 Modify=20240229123456; d/f"),
        (
            "MFMT 20230229123456 d/f",
            "501 MFMT wants YYYYMMDDHHMMSS and a path",
        ),
        ("MFMT d/f", "501 MFMT wants YYYYMMDDHHMMSS and a path"),
        ("MFMT 20240229123456", NO_PATH),
        ("MFMT 20240229123456 x", MISSING),
        (
            "MFCT 20240229123456 d/f",
            "504 the time of creation cannot be set; MFMT sets that of the last change",
        ),
        ("MDTM x", MISSING),
        ("MDTM", NO_PATH),
        ("SITE UTIME 20200101000000 d/f", "200 done"),
        ("MDTM d/f", "213 20200101000000"),
        (
            "site utime d/f 20210101000000 20220101000000 20190101000000 UTC",
            "200 done",
        ),
        ("MDTM d/f", "213 20220101000000"),
        ("SITE UTIME d/f", "501 SITE UTIME wants YYYYMMDDHHMMSS and a path"),
        (
            "SITE UTIME 20200101000000",
            "501 SITE UTIME wants YYYYMMDDHHMMSS and a path",
        ),
        (
            "SITE UTIME d/f 20210101000000 20220101000000 20190101000000 CET",
            "501 SITE UTIME wants YYYYMMDDHHMMSS and a path",
        ),
        ("SITE UTIME 20200101000000 x", MISSING),
    ])
    .await;
    assert_eq!(
        rig.events("set-attrs", &[])
            .iter()
            .filter(|one| **one == json!(["ok"]))
            .count(),
        5
    );
}

#[tokio::test]
async fn permissions() {
    let rig = planted();
    let mut far = rig.alice().await;
    far.check(&[
        ("OPTS MLST UNIX.mode;", "200 MLST OPTS UNIX.mode;"),
        ("MLST d/f", "250-Facts:\n UNIX.mode=0640; /d/f\n250 End"),
        ("SITE CHMOD 604 d/f", "200 done"),
        ("MLST d/f", "250-Facts:\n UNIX.mode=0604; /d/f\n250 End"),
        ("SITE CHMOD 4755 d/f", "200 done"),
        ("MLST d/f", "250-Facts:\n UNIX.mode=0755; /d/f\n250 End"),
        ("SITE CHMOD 0700 d", "200 done"),
        ("MLST d", "250-Facts:\n UNIX.mode=0700; /d\n250 End"),
        (
            "SITE CHMOD",
            "501 SITE CHMOD wants permissions like 640 and a path",
        ),
        (
            "SITE CHMOD 888 d/f",
            "501 SITE CHMOD wants permissions like 640 and a path",
        ),
        (
            "SITE CHMOD 00644 d/f",
            "501 SITE CHMOD wants permissions like 640 and a path",
        ),
        (
            "SITE CHMOD u+x d/f",
            "501 SITE CHMOD wants permissions like 640 and a path",
        ),
        ("SITE CHMOD 640", NO_PATH),
        ("SITE CHMOD 640 x", MISSING),
    ])
    .await;
}

#[tokio::test]
async fn facts() {
    let rig = planted();
    let mut far = rig.alice().await;
    far.check(&[
        ("MFMT 20240229123456 d/f", "213 Modify=20240229123456; d/f"),
        (
            "OPTS MLST type;size;modify;perm;",
            "200 MLST OPTS type;size;modify;perm;",
        ),
        (
            "MLST d/f",
            "250-Facts:\n type=file;size=9;modify=20240229123456;perm=adfrw; /d/f\n250 End",
        ),
        (
            "MLST link",
            "250-Facts:\n type=file;size=9;modify=20240229123456;perm=adfrw; /link\n250 End",
        ),
        ("MLST x", MISSING),
        ("MLST d\t", CONTROL),
        ("OPTS MLST type;perm", "200 MLST OPTS type;perm;"),
        ("MLST", "250-Facts:\n type=dir;perm=ecdflmp; /\n250 End"),
        ("CWD d", "250 there you are"),
        ("MLST", "250-Facts:\n type=dir;perm=ecdflmp; /d\n250 End"),
        ("MLST f", "250-Facts:\n type=file;perm=adfrw; /d/f\n250 End"),
        ("OPTS MLST", "200 MLST OPTS"),
        ("MLST f", "250-Facts:\n  /d/f\n250 End"),
        ("OPTS MLST unique", "200 MLST OPTS unique;"),
        ("MLST f", "250-Facts:\n unique=…"),
    ])
    .await;
    let unique = far.say("MLST f").await;
    let listed = far.listing("MLSD").await;
    let of = |line: &str| line.trim().split(';').next().unwrap().to_owned();
    assert_eq!(
        of(unique.lines().nth(1).unwrap()),
        of(&listed),
        "the same in a listing"
    );
    let other = rig.alice().await.say("MLST /with \"quotes\"/f").await;
    assert_ne!(
        of(unique.lines().nth(1).unwrap()),
        of(other.lines().nth(1).unwrap())
    );
}

#[tokio::test]
async fn facts_tell_what_one_may() {
    let rig = Rig::new(Terms {
        options: json!({"tls": "optional"}),
        mount: json!({"verbs": ["list", "read", "create"]}),
        ..Terms::default()
    });
    rig.plant("/f", b"");
    let mut far = rig.alice().await;
    let refused = |verb| format!("550 permission denied: your account lacks '{verb}' here");
    far.check(&[
        ("OPTS MLST type;perm", "200 MLST OPTS type;perm;"),
        ("MLST", "250-Facts:\n type=dir;perm=ecl; /\n250 End"),
        ("MLST f", "250-Facts:\n type=file;perm=r; /f\n250 End"),
        ("DELE f", &refused("delete")),
        ("MKD d", &refused("make-dir")),
        ("SITE CHMOD 600 f", &refused("set-attrs")),
        ("MFMT 20240229123456 f", &refused("set-attrs")),
        ("RNFR f", "350 now the new name, with RNTO"),
        ("RNTO g", &refused("rename")),
    ])
    .await;
    far.refused("STOR f", &refused("overwrite")).await;
    far.refused("APPE f", &refused("append")).await;
    assert_eq!(far.put("STOR g", b"new").await, "226 3 bytes were stored");
}

#[tokio::test]
async fn digests() {
    const CRC: &str = "CBF43926";
    const MD5: &str = "25f9e794323b453885f5181f1b624d0b";
    let rig = planted();
    rig.plant("/a b", b"123456789");
    let mut far = rig.alice().await;
    far.check(&[
        (
            "HASH d/f",
            "213 SHA-256 0-8 15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225 d/f",
        ),
        ("OPTS HASH MD5", "200 MD5"),
        ("HASH a b", &format!("213 MD5 0-8 {MD5} a b")),
        ("OPTS HASH CRC32", "200 CRC32"),
        ("RANG 0 3", "350 from byte 0 to byte 3"),
        ("HASH d/f", "213 CRC32 0-3 9be3e0a3 d/f"),
        ("HASH d/f", "213 CRC32 0-8 cbf43926 d/f"),
        ("RANG 4 100", "350 from byte 4 to byte 100"),
        ("HASH d/f", "213 CRC32 4-8 131da070 d/f"),
        ("RANG 10 12", "350 from byte 10 to byte 12"),
        ("HASH d/f", "501 the range lies outside the file"),
        ("RANG 0 3", "350 from byte 0 to byte 3"),
        ("RANG 1 0", "350 the whole file"),
        ("HASH d/f", "213 CRC32 0-8 cbf43926 d/f"),
        ("XCRC d/f", &format!("250 {CRC}")),
        ("XCRC a b", &format!("250 {CRC}")),
        ("XCRC \"a b\"", &format!("250 {CRC}")),
        ("XCRC \"a b\" 0 3", "250 9BE3E0A3"),
        ("XCRC \"a b\" 4", "250 131DA070"),
        ("XMD5 d/f", &format!("250 {}", MD5.to_uppercase())),
        ("XSHA256 d/f", "250 15E2B0D3C33891EBB0F1EF609EC41942…"),
        (
            "XSHA512 d/f",
            "250 D9E6762DD1C8EAF6D61B3C6192FC408D4D6D5F1176D0C29169BC24E71C3F274A…",
        ),
        ("HASH x", MISSING),
        ("HASH d", "550 it is a directory"),
        ("HASH", NO_PATH),
        ("XCRC", NO_PATH),
    ])
    .await;
    let downloads = rig.events("download", &["path", "bytes"]);
    assert_eq!(downloads[0], json!(["ok", "/d/f", 9]));
    assert_eq!(downloads[2], json!(["ok", "/d/f", 4]));
    assert_eq!(downloads[5], json!(["failed", "/d/f", 0]), "the range outside");
}

#[tokio::test]
async fn space() {
    let rig = Rig::new(Terms {
        options: json!({"tls": "optional"}),
        mount: json!({"limits": {"quota": "1000 B"}}),
        ..Terms::default()
    });
    rig.plant("/d/f", &[0; 100]);
    let mut far = rig.alice().await;
    far.check(&[("AVBL", "213 900"), ("AVBL d", "213 900"), ("AVBL x", MISSING)])
        .await;
}

#[tokio::test]
async fn what_the_storage_says_is_told() {
    let rig = planted();
    let mut far = rig.alice().await;
    for (call, command, kind, expected) in [
        (
            Call::MakeDir,
            "MKD x",
            FsErrorKind::NoSpace,
            "452 no space left on the storage",
        ),
        (
            Call::Stat,
            "SIZE d/f",
            FsErrorKind::Backend,
            "451 the storage failed",
        ),
        (Call::Remove, "DELE d/f", FsErrorKind::Busy, "450 too busy"),
        (
            Call::SetAttrs,
            "SITE CHMOD 600 d/f",
            FsErrorKind::Unsupported,
            "504 this storage does not support that",
        ),
        (Call::Space, "AVBL", FsErrorKind::TimedOut, "451 it took too long"),
        (
            Call::Read,
            "XCRC d/f",
            FsErrorKind::Backend,
            "451 the storage failed",
        ),
    ] {
        rig.faulty.set(Fault {
            call: Some(call),
            nth: 1,
            times: 1,
            error: kind.into(),
        });
        far.expect(command, expected).await;
    }
    assert_eq!(rig.events("download", &["path"]), [json!(["failed", "/d/f"])]);
}
