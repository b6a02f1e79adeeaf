//! This test binary started once more, for what can only be seen from outside a process: being
//! killed, being another user, using memory.

use std::{
    io::{BufRead, BufReader, Write},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
};

use portreeve_vfs::{Attrs, FileSystem, WriteMode};

use super::{cx, open, p};
use crate::{Disk, Options};

const TASK: &str = "PORTREEVE_DISK_TEST_TASK";
const ROOT: &str = "PORTREEVE_DISK_TEST_ROOT";

/// Starts a child with a task; none where this user may not.
pub(super) fn start(task: &str, root: &Path, user: Option<u32>) -> Option<Child> {
    let mut command = Command::new(std::env::current_exe().unwrap());
    if let Some(user) = user {
        command.uid(user).gid(user);
    }
    spawn(command, task, root)
}

/// Starts a child under strace(1) with these arguments; none where that is missing or forbidden.
pub(super) fn traced(strace: &[&str], task: &str, root: &Path) -> Option<Child> {
    let probe = Command::new("strace")
        .args(["-qq", "-o", "/dev/null", "true"])
        .status();
    if !probe.is_ok_and(|status| status.success()) {
        super::skipped("strace is missing, or may not trace here");
        return None;
    }
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-y"]).args(strace);
    command.arg(std::env::current_exe().unwrap());
    spawn(command, task, root)
}

fn spawn(mut command: Command, task: &str, root: &Path) -> Option<Child> {
    command.args([
        "--exact",
        "tests::child::perform",
        "--nocapture",
        "--test-threads=1",
    ]);
    command
        .env(TASK, task)
        .env(ROOT, root)
        .stdout(Stdio::piped())
        .stdin(Stdio::piped());
    command.spawn().ok()
}

/// Reads the child's output up to its next answer.
pub(super) fn answer(child: &mut Child) -> String {
    let mut lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
    lines
        .find_map(|line| line.unwrap().split("ANSWER ").nth(1).map(str::to_owned))
        .expect("the child died")
}

fn say(text: &str) {
    println!("ANSWER {text}");
    std::io::stdout().flush().unwrap();
}

/// Not a test by itself: what a child does. Without a task there is nothing to do.
#[tokio::test]
async fn perform() {
    let (Ok(task), Ok(root)) = (std::env::var(TASK), std::env::var(ROOT)) else {
        return;
    };
    let mut options = Options::new(&root);
    if task.starts_with("append in place") {
        options.copy_limit.0 = 0;
    }
    let disk = Disk::open(&options).unwrap();
    match task.as_str() {
        "upload" | "large upload" | "append in place" => {
            let mode = if task == "append in place" {
                WriteMode::Append { create: false }
            } else {
                WriteMode::Replace
            };
            let len = if task == "large upload" { 3 << 20 } else { 100_000 };
            let file = open(&disk, "a", "/f", mode).await.unwrap();
            file.append(vec![vec![7; len].into()]).await.unwrap();
            say("written");
            // Until killed; the pipe closes should the parent die first.
            std::io::stdin().read_line(&mut String::new()).unwrap();
        }
        "append in place and commit" => {
            let file = open(&disk, "a", "/f", WriteMode::Append { create: false }).await;
            let file = file.unwrap();
            file.append(vec!["new".into()]).await.unwrap();
            file.commit().await.unwrap();
            say("committed");
        }
        "commit and keep" | "commit and discard" => {
            let file = open(&disk, "a", "/f", WriteMode::Replace).await.unwrap();
            file.append(vec![vec![7; 100_000].into()]).await.unwrap();
            // Of 2001: no reason to take what is kept for dead.
            let modified = Some(portreeve_model::Timestamp {
                seconds: 1_000_000_000,
                nanos: 0,
            });
            let times = Attrs {
                modified,
                ..Attrs::default()
            };
            file.set_attrs(times).await.unwrap();
            let end = match file.commit().await {
                Ok(_) => "committed".into(),
                Err(error) if task == "commit and discard" => {
                    file.discard().await.unwrap();
                    format!("{:?} discarded", error.kind())
                }
                Err(error) => format!("{:?} kept {:?}", error.kind(), file.keep().await.unwrap()),
            };
            say(&end);
        }
        "look" => {
            let file = disk.open_read(&cx("a"), &p("/closed")).await.map(drop);
            let list = disk.list(&cx("a"), &p("/closed-dir"), None).await.map(drop);
            let write = open(&disk, "a", "/closed-dir/x", WriteMode::Replace)
                .await
                .map(drop);
            let kinds = [file, list, write].map(|done| format!("{:?}", done.map_err(|e| e.kind())));
            say(&kinds.join(" "));
        }
        "list" => {
            let before = peak();
            let mut listing = disk.list(&cx("a"), &p("/"), None).await.unwrap();
            let mut total = 0;
            loop {
                let batch = listing.next(200).await.unwrap();
                if batch.is_empty() {
                    break;
                }
                total += batch.len();
            }
            say(&format!("{total} {}", peak() - before));
        }
        other => panic!("unknown task {other}"),
    }
}

/// The most memory used so far, in KiB (proc(5): VmHWM).
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
