//! The order of a commit, and each of its steps failing: seen, and done, from outside by strace(1).

use std::{fs, path::Path};

use portreeve_vfs::{FileSystem, FsErrorKind, Links, Removal, Rename, WriteMode};

use super::{child, content, cx, disk, names, open, p, put};
use crate::Disk;

/// Runs a task of the child under strace; answers what it said, and the calls in their order.
fn judged(task: &str, strace: &[&str], root: &Path) -> Option<(String, Vec<String>)> {
    let log = root.with_extension("log");
    let mut args = vec!["-o", log.to_str().unwrap()];
    args.extend_from_slice(strace);
    let mut child = child::traced(&args, task, root)?;
    let said = child::answer(&mut child);
    child.wait().unwrap();
    let calls = fs::read_to_string(&log).unwrap();
    Some((said, calls.lines().map(str::to_owned).collect()))
}

/// content, then name, then directory, then the answer; each durable before the next begins.
#[tokio::test]
async fn nothing_is_answered_before_it_is_durable() {
    const ANSWER: [&str; 2] = ["write(1", "ANSWER committed"];
    let upload = [
        ["pwritev(", ".part>"],
        ["fsync(", ".part>"],
        ["rename", "\"f\""],
        ["fsync(", "/root>"],
        ANSWER,
    ];
    in_order("commit and keep", &upload).await;
    // The old length is written down before the first byte, and forgotten for good before the answer.
    let append = [
        ["fsync(", ".undo>"],
        ["pwritev(", "/root/f>"],
        ["fsync(", "/root/f>"],
        ["unlinkat(", ".undo\""],
        ["fsync(", "/root>"],
        ANSWER,
    ];
    in_order("append in place and commit", &append).await;
}

/// Each step was taken, for the last time, after the one before it.
async fn in_order(task: &str, steps: &[[&str; 2]]) {
    let (dir, disk) = disk();
    put(&disk, "/f", b"old").await;
    let trace = ["-e", "trace=pwritev,write,fsync,renameat,renameat2,unlinkat"];
    let Some((said, calls)) = judged(task, &trace, &dir.path().join("root")) else {
        return;
    };
    assert_eq!(said, "committed");
    let last = |step: &[&str; 2]| {
        let is_step = |call: &String| step.iter().all(|part| call.contains(part)) && !call.contains("= -1");
        calls.iter().rposition(is_step)
    };
    let order: Vec<_> = steps.iter().map(last).collect();
    let taken = order.iter().all(Option::is_some);
    assert!(
        taken && order.is_sorted(),
        "{task}: {order:?}\n{}",
        calls.join("\n")
    );
}

async fn failing(step: &str, task: &str, said: &str, left: &[u8], kept: Option<u64>) {
    let (dir, disk) = disk();
    put(&disk, "/f", b"old").await;
    let root = dir.path().join("root");
    let Some((answer, calls)) = judged(task, &["-e", step], &root) else {
        return;
    };
    assert!(
        calls.iter().any(|call| call.contains("INJECTED")),
        "{step}: nothing was made to fail"
    );
    assert_eq!(answer, said, "{step}");
    assert!(
        content(&disk, "/f").await.unwrap() == left,
        "{step}, {task}: torn"
    );
    let partial = disk.partial(&cx("a"), &p("/f")).await.unwrap();
    assert_eq!(partial.map(|partial| partial.size), kept, "{step}");
    assert_eq!(names(&disk, "/").await, ["f"]);
    let files = fs::read_dir(&root).unwrap().count();
    assert_eq!(
        files,
        1 + usize::from(kept.is_some()),
        "{step}: something is left over"
    );
}

#[tokio::test]
async fn whichever_step_fails_the_name_shows_one_whole_file() {
    let new = [7; 100_000];
    // The content may be lost though it can be read back: nobody is to go on from it.
    let file = "inject=fsync:error=EIO:when=1";
    failing(file, "commit and keep", "Backend kept 0", b"old", None).await;
    failing(file, "commit and discard", "Backend discarded", b"old", None).await;
    let full = "inject=fsync:error=ENOSPC:when=1";
    failing(full, "commit and keep", "NoSpace kept 0", b"old", None).await;
    let rename = "inject=renameat:error=EDQUOT:when=1";
    failing(
        rename,
        "commit and keep",
        "Quota kept 100000",
        b"old",
        Some(100_000),
    )
    .await;
    failing(rename, "commit and discard", "Quota discarded", b"old", None).await;
    // It has its name already: what fails now may be told, but must not touch it.
    let directory = "inject=fsync:error=EIO:when=2";
    failing(directory, "commit and keep", "Backend kept 0", &new, None).await;
    failing(directory, "commit and discard", "Backend discarded", &new, None).await;
}

async fn leave(disk: &Disk, path: &str) {
    let file = open(disk, "a", path, WriteMode::Replace).await.unwrap();
    file.append(vec!["unfinished".into()]).await.unwrap();
    assert_eq!(file.keep().await.unwrap(), 10);
}

#[tokio::test]
async fn what_was_left_under_a_name_goes_with_what_the_name_meant() {
    let (_dir, disk) = disk();
    leave(&disk, "/f").await;
    put(&disk, "/f.filepart", b"whole").await;
    disk.rename(&cx("a"), &p("/f.filepart"), &p("/f"), Rename::NoReplace)
        .await
        .unwrap();
    let more = open(&disk, "a", "/f", WriteMode::Append { create: false })
        .await
        .unwrap();
    more.append(vec!["!".into()]).await.unwrap();
    more.commit().await.unwrap();
    assert_eq!(content(&disk, "/f").await.unwrap(), b"whole!");

    leave(&disk, "/f").await;
    disk.remove(&cx("a"), &p("/f"), Removal::File).await.unwrap();
    assert_eq!(disk.partial(&cx("a"), &p("/f")).await.unwrap(), None);
    let gone = disk.stat(&cx("a"), &p("/f"), Links::Keep).await.unwrap_err();
    assert_eq!(gone.kind(), FsErrorKind::NotFound);
}

/// Where a rename that must not replace is a link and an unlink, a crash between leaves both names.
#[tokio::test]
async fn a_partial_that_has_its_real_name_too_is_not_written_to() {
    let (dir, disk) = disk();
    leave(&disk, "/f").await;
    let root = dir.path().join("root");
    let partial = fs::read_dir(&root).unwrap().next().unwrap().unwrap().path();
    fs::hard_link(partial, root.join("f")).unwrap();
    assert_eq!(disk.partial(&cx("a"), &p("/f")).await.unwrap(), None);
    for mode in [WriteMode::Replace, WriteMode::Append { create: true }] {
        let again = open(&disk, "a", "/f", mode).await.unwrap();
        again.append(vec!["x".into()]).await.unwrap();
        assert_eq!(content(&disk, "/f").await.unwrap(), b"unfinished");
        again.discard().await.unwrap();
    }
    assert_eq!(content(&disk, "/f").await.unwrap(), b"unfinished");
    assert_eq!(names(&disk, "/").await, ["f"]);
}
