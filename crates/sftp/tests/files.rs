//! What a client does with files, over a storage that answers at once and one that never does.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    unreachable_pub,
    reason = "a test says what is wrong by failing"
)]

mod desk;

use std::sync::Arc;

use desk::{CREAT, Desk, EXCL, NO_ATTRS, READ, Sftp, Slow, TRUNC, WRITE, desk, desk_over, noise, string};
use portreeve_model::VPath;
use portreeve_sftp::SftpOptions;
use portreeve_vfs::Memory;

const APPEND: u32 = 4;

fn desks() -> [Desk; 2] {
    let memory = Arc::new(Memory::new());
    let slow = desk_over(Slow::over(&memory), memory, None, &SftpOptions::default());
    [desk(), slow]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_put_is_got() {
    for desk in desks() {
        let mut sftp = desk.sftp().await;
        for len in [0, 1, 261_120, 3_000_001] {
            let data = noise(len);
            sftp.put("/f", &data).await;
            assert_eq!(sftp.stat("/f").await.size(), len as u64);
            assert!(sftp.get("/f").await == data, "{len}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pipelined_writes_in_any_order_and_pipelined_reads() {
    for desk in desks() {
        let mut sftp = desk.sftp().await;
        let data = noise(5_000_000);
        let handle = sftp.open("/f", WRITE | CREAT | TRUNC).await.handle();
        let mut sent = 0;
        let chunks: Vec<_> = data.chunks(32_768).enumerate().collect();
        for (n, piece) in chunks.iter().step_by(2).chain(chunks.iter().skip(1).step_by(2)) {
            sftp.send(6, &Sftp::write_body(&handle, *n as u64 * 32_768, piece))
                .await;
            sent += 1;
        }
        let close = sftp.send(4, &handle).await;
        let mut last = 0;
        for _ in 0..=sent {
            let answer = sftp.answer().await;
            assert_eq!(answer.code(), 0);
            last = answer.id;
        }
        assert_eq!(last, close, "CLOSE is answered after the WRITEs before it");

        let handle = sftp.open("/f", READ).await.handle();
        let mut asked = std::collections::HashMap::new();
        for at in (0..data.len()).step_by(100_000) {
            asked.insert(
                sftp.send(5, &Sftp::read_body(&handle, at as u64, 100_000)).await,
                at,
            );
        }
        while !asked.is_empty() {
            let answer = sftp.answer().await;
            let at = asked.remove(&answer.id).unwrap();
            assert!(answer.data() == &data[at..(at + 100_000).min(data.len())], "{at}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn barriers_keep_the_order_of_arrival() {
    for desk in desks() {
        let mut sftp = desk.sftp().await;
        // OPEN, then LSTAT without waiting: the file is there for whoever opened it (V1, V3).
        let open = [
            &string(b"/a.filepart")[..],
            &(WRITE | CREAT | TRUNC).to_be_bytes(),
            &NO_ATTRS,
        ]
        .concat();
        sftp.send(3, &open).await;
        sftp.send(7, &string(b"/a.filepart")).await;
        let handle = sftp.answer().await.handle();
        assert_eq!(sftp.answer().await.size(), 0);
        // WRITE, CLOSE, RENAME, STAT, all at once.
        sftp.send(6, &Sftp::write_body(&handle, 0, b"content")).await;
        sftp.send(4, &handle).await;
        sftp.send(18, &[string(b"/a.filepart"), string(b"/a")].concat())
            .await;
        sftp.send(17, &string(b"/a")).await;
        for _ in 0..3 {
            let answer = sftp.answer().await;
            assert_eq!((answer.code(), answer.text()), (0, String::new()));
        }
        assert_eq!(sftp.answer().await.size(), 7);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_else_sees_a_file_before_its_close() {
    for desk in desks() {
        let (mut writer, mut other) = (desk.sftp().await, desk.sftp().await);
        let handle = writer.open("/f", WRITE | CREAT | TRUNC).await.handle();
        writer.ask(6, &Sftp::write_body(&handle, 0, b"1234")).await;
        assert_eq!(writer.stat("/f").await.size(), 4);
        assert_eq!(other.ask(11, &string(b"/")).await.kind, 102);
        assert_eq!(other.open("/f", READ).await.kind, 101);
        assert_eq!(writer.close(&handle).await.code(), 0);
        assert_eq!(other.stat("/f").await.size(), 4);
    }
}

/// A cut upload is kept for its owner; resumed at its end only (V2).
#[tokio::test(flavor = "multi_thread")]
async fn a_cut_upload_is_resumed_at_its_end_only() {
    for desk in desks() {
        let data = noise(300_000);
        let mut sftp = desk.sftp().await;
        sftp.put("/f", b"an older file").await;
        let handle = sftp.open("/f", WRITE | CREAT | TRUNC).await.handle();
        sftp.ask(6, &Sftp::write_body(&handle, 0, &data[..200_000])).await;
        sftp.cut().await;

        let mut sftp = desk.sftp().await;
        // The upload is kept in the background: what is asked for is waited for.
        while sftp.stat("/f").await.size() != 200_000 {
            tokio::task::yield_now().await;
        }
        assert_eq!(sftp.get("/f").await, b"an older file");
        for flags in [WRITE | CREAT | APPEND, WRITE | CREAT, WRITE] {
            let handle = sftp.open("/f", flags).await.handle();
            let refused = sftp.ask(6, &Sftp::write_body(&handle, 13, b"x")).await;
            assert_eq!(refused.code(), 4);
            assert!(refused.text().contains("200000 bytes"), "{}", refused.text());
            let late = sftp.ask(6, &Sftp::write_body(&handle, 200_000, b"x")).await;
            assert_eq!(late.code(), 4, "errors stick");
            assert_eq!(sftp.close(&handle).await.code(), 4);
            assert_eq!(sftp.stat("/f").await.size(), 200_000);
        }
        let handle = sftp.open("/f", WRITE | CREAT | APPEND).await.handle();
        assert_eq!(
            sftp.ask(6, &Sftp::write_body(&handle, 200_000, &data[200_000..]))
                .await
                .code(),
            0
        );
        assert_eq!(sftp.close(&handle).await.code(), 0);
        assert!(sftp.get("/f").await == data);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn open_flags() {
    let desk = desk();
    let mut sftp = desk.sftp().await;
    assert_eq!(sftp.open("/new", WRITE).await.code(), 2, "no CREAT");
    assert_eq!(sftp.open("/new", WRITE | TRUNC).await.code(), 2, "no CREAT");
    assert_eq!(sftp.open("/new", READ).await.code(), 2);
    assert_eq!(sftp.open("/new", 0).await.code(), 4);
    sftp.put("/f", b"0123456789").await;
    assert_eq!(sftp.open("/f", WRITE | CREAT | EXCL).await.code(), 4);
    // Without TRUNC the rest stays; with READ it can be read back.
    let handle = sftp.open("/f", READ | WRITE).await.handle();
    sftp.send(6, &Sftp::write_body(&handle, 2, b"xx")).await;
    sftp.send(5, &Sftp::read_body(&handle, 0, 100)).await;
    assert_eq!(sftp.answer().await.code(), 0);
    assert_eq!(sftp.answer().await.data(), b"01xx456789");
    assert_eq!(sftp.close(&handle).await.code(), 0);
    // APPEND goes to the end, whatever the offset says.
    let handle = sftp.open("/f", WRITE | APPEND).await.handle();
    assert_eq!(sftp.ask(6, &Sftp::write_body(&handle, 0, b"++")).await.code(), 0);
    assert_eq!(sftp.close(&handle).await.code(), 0);
    assert_eq!(sftp.get("/f").await, b"01xx456789++");
    // A read handle is not written, nor a written one read without READ.
    let handle = sftp.open("/f", READ).await.handle();
    assert_eq!(sftp.ask(6, &Sftp::write_body(&handle, 0, b"x")).await.code(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn directories_and_names() {
    for desk in desks() {
        let mut sftp = desk.sftp().await;
        assert_eq!(
            sftp.ask(14, &[&string(b"/d")[..], &NO_ATTRS].concat())
                .await
                .code(),
            0
        );
        for n in 0..700 {
            sftp.put(&format!("/d/file {n} \u{1f980}"), b"x").await;
        }
        sftp.put("/d/-dash\n\"quote", b"x").await;
        let dir = sftp.ask(11, &string(b"/d")).await.handle();
        let mut names = std::collections::BTreeSet::new();
        loop {
            let answer = sftp.ask(12, &dir).await;
            if answer.kind == 101 {
                assert_eq!(answer.code(), 1);
                break;
            }
            assert_eq!(answer.kind, 104);
            assert!(answer.body.len() < 33 * 1024, "{}", answer.body.len());
            names.extend(parse_names(&answer.body));
        }
        assert_eq!(names.len(), 701);
        assert!(names.contains("-dash\n\"quote") && names.contains("file 699 \u{1f980}"));
        assert_eq!(sftp.close(&dir).await.code(), 0);
        assert_eq!(sftp.ask(15, &string(b"/d")).await.code(), 4, "not empty");
        // RENAME does not replace, posix-rename does.
        sftp.put("/a", b"a").await;
        sftp.put("/b", b"b").await;
        let both = [string(b"/a"), string(b"/b")].concat();
        assert_eq!(sftp.ask(18, &both).await.code(), 4);
        let posix = [string(b"posix-rename@openssh.com"), both].concat();
        assert_eq!(sftp.ask(200, &posix).await.code(), 0);
        assert_eq!(sftp.get("/b").await, b"a");
        assert_eq!(sftp.ask(13, &string(b"/b")).await.code(), 0);
        assert_eq!(sftp.ask(17, &string(b"/b")).await.code(), 2);
        // REALPATH of what is not there (put -r asks so), of nothing, and upwards.
        for (raw, real) in [
            ("nothing/here", "/nothing/here"),
            ("", "/"),
            (".", "/"),
            ("/d/../../x", "/x"),
        ] {
            let answer = sftp.ask(16, &string(raw.as_bytes())).await;
            assert_eq!(parse_names(&answer.body), [real]);
        }
        assert_eq!(
            sftp.ask(20, &[string(b"/x"), string(b"/y")].concat())
                .await
                .code(),
            8
        );
    }
}

/// The names of a NAME packet.
fn parse_names(body: &[u8]) -> Vec<String> {
    fn take<'a>(rest: &mut &'a [u8], n: usize) -> &'a [u8] {
        let (head, tail) = rest.split_at(n);
        *rest = tail;
        head
    }
    fn number(rest: &mut &[u8]) -> u32 {
        u32::from_be_bytes(take(rest, 4).try_into().unwrap())
    }
    let mut rest = body;
    let mut names = Vec::new();
    for _ in 0..number(&mut rest) {
        let len = number(&mut rest) as usize;
        names.push(String::from_utf8_lossy(take(&mut rest, len)).into_owned());
        let longname = number(&mut rest) as usize;
        take(&mut rest, longname);
        let flags = number(&mut rest);
        for (bit, size) in [(1, 8), (2, 8), (4, 4), (8, 8)] {
            take(&mut rest, if flags & bit == 0 { 0 } else { size });
        }
    }
    assert!(rest.is_empty());
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn attributes() {
    let desk = desk();
    let mut sftp = desk.sftp().await;
    sftp.put("/f", b"0123456789").await;
    let set = |flags: u32, values: &[u8]| [&string(b"/f")[..], &flags.to_be_bytes(), values].concat();
    assert_eq!(sftp.ask(9, &set(1, &4_u64.to_be_bytes())).await.code(), 0);
    assert_eq!(sftp.get("/f").await, b"0123");
    assert_eq!(sftp.ask(9, &set(4, &0o4755_u32.to_be_bytes())).await.code(), 0);
    assert_eq!(sftp.ask(9, &set(8, &[0, 0, 0, 1, 0, 0, 0, 2])).await.code(), 0);
    let answer = sftp.stat("/f").await;
    assert!(answer.body.ends_with(&[0, 0, 0, 1, 0, 0, 0, 2]), "{answer:?}");
    let mode = 0o100_755_u32.to_be_bytes();
    assert!(
        answer.body.windows(4).any(|w| w == mode),
        "set-user-id is stripped: {answer:?}"
    );
    assert_eq!(
        sftp.ask(9, &set(2, &[0; 8])).await.code(),
        8,
        "owners cannot be changed"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn extensions() {
    for desk in desks() {
        let mut sftp = desk.sftp().await;
        let data = noise(700_000);
        sftp.put("/from", &data).await;
        let from = sftp.open("/from", READ).await.handle();
        let to = sftp.open("/to", WRITE | CREAT | TRUNC).await.handle();
        let copy = |len: u64| {
            [
                &string(b"copy-data")[..],
                &from,
                &[0; 8],
                &len.to_be_bytes(),
                &to,
                &[0; 8],
            ]
            .concat()
        };
        assert_eq!(sftp.ask(200, &copy(0)).await.code(), 0);
        assert_eq!(
            sftp.ask(200, &[string(b"fsync@openssh.com"), to.clone()].concat())
                .await
                .code(),
            0
        );
        assert_eq!(sftp.close(&to).await.code(), 0);
        assert!(sftp.get("/to").await == data);

        let limits = sftp.ask(200, &string(b"limits@openssh.com")).await;
        assert_eq!(limits.kind, 201);
        assert_eq!(limits.body[8..16], 261_120_u64.to_be_bytes());
        let home = sftp
            .ask(200, &[string(b"home-directory"), string(b"alice")].concat())
            .await;
        assert_eq!(parse_names(&home.body), ["/"]);
        let other = sftp
            .ask(200, &[string(b"home-directory"), string(b"root")].concat())
            .await;
        assert_eq!(other.code(), 3);
        let expand = |path: &[u8]| [string(b"expand-path@openssh.com"), string(path)].concat();
        assert_eq!(parse_names(&sftp.ask(200, &expand(b"~//x")).await.body), ["/x"]);
        assert_eq!(sftp.ask(200, &expand(b"~root/x")).await.code(), 3);
        let ids = [
            string(b"users-groups-by-id@openssh.com"),
            string(&[0; 8]),
            string(&[0; 4]),
        ]
        .concat();
        assert_eq!(
            sftp.ask(200, &ids).await.body,
            [string(&[0; 8]), string(&[0; 4])].concat()
        );
        let link = [string(b"hardlink@openssh.com"), string(b"/from"), string(b"/l")].concat();
        assert_eq!(sftp.ask(200, &link).await.code(), 3);
        assert_eq!(sftp.ask(200, &string(b"no-such@example.com")).await.code(), 8);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn space_links_and_their_attributes() {
    let options = SftpOptions {
        hard_links: true,
        ..SftpOptions::default()
    };
    let memory = || Arc::new(Memory::new());
    let (one, other) = (memory(), memory());
    for desk in [
        desk_over(Arc::clone(&one) as _, Arc::clone(&one), None, &options),
        desk_over(Slow::over(&other), Arc::clone(&other), None, &options),
    ] {
        let mut sftp = desk.sftp().await;
        sftp.put("/f", &noise(10_000)).await;
        // f_bsize, f_frsize, f_blocks, f_bfree: a GiB, less what the file takes.
        let fields = |answer: &desk::Answer| -> Vec<u64> {
            assert_eq!((answer.kind, answer.body.len()), (201, 88), "{answer:?}");
            let fields = answer.body.chunks(8);
            fields
                .map(|field| u64::from_be_bytes(field.try_into().unwrap()))
                .collect()
        };
        let by_path = [string(b"statvfs@openssh.com"), string(b"/f")].concat();
        let by_path = fields(&sftp.ask(200, &by_path).await);
        assert_eq!(by_path[..4], [4096, 4096, 262_144, 262_141]);
        let handle = sftp.open("/f", READ).await.handle();
        let by_handle = [string(b"fstatvfs@openssh.com"), handle].concat();
        assert_eq!(fields(&sftp.ask(200, &by_handle).await), by_path);
        let nowhere = [string(b"statvfs@openssh.com"), string(b"/none")].concat();
        assert_eq!(sftp.ask(200, &nowhere).await.code(), 2);
        // A second name stays when the first one goes.
        let link = [string(b"hardlink@openssh.com"), string(b"/f"), string(b"/l")].concat();
        assert_eq!(sftp.ask(200, &link).await.code(), 0);
        assert_eq!(sftp.ask(200, &link).await.code(), 4, "it is there");
        assert_eq!(sftp.ask(13, &string(b"/f")).await.code(), 0);
        assert!(sftp.get("/l").await == noise(10_000));
        // lsetstat means the link, SETSTAT what it leads to.
        desk.memory
            .plant_link(&VPath::parse("/s").unwrap(), b"l")
            .unwrap();
        let answer = sftp.ask(19, &string(b"/s")).await;
        assert_eq!(parse_names(&answer.body), ["l"]);
        let times = |n: u8| [&[0, 0, 0, 8][..], &[0, 0, 0, n, 0, 0, 0, n]].concat();
        let on_link = [string(b"lsetstat@openssh.com"), string(b"/s"), times(1)].concat();
        assert_eq!(sftp.ask(200, &on_link).await.code(), 0);
        let through = [string(b"/s"), times(2)].concat();
        assert_eq!(sftp.ask(9, &through).await.code(), 0);
        let link = sftp.ask(7, &string(b"/s")).await;
        assert!(link.body.ends_with(&times(1)[4..]), "{link:?}");
        let file = sftp.stat("/l").await;
        assert!(file.body.ends_with(&times(2)[4..]), "{file:?}");
    }
}
