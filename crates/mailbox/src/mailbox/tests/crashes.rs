//! Killed while deleting, and no space left: the message is whole as it was, or as it was to become.

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use super::*;

const TASK: &str = "PORTREEVE_MAILBOX_TEST_ROOT";
const NAMES: [&str; 3] = ["one", "two", "three"];

fn content(name: &str) -> String {
    format!("{name} ").repeat(20_000)
}

fn message(subject: &str) -> String {
    let files = NAMES.map(|name| (name, content(name)));
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
    mail(subject, 0, &files)
}

/// This test binary once more, deleting in the mailbox at `root` until killed.
fn deleter(root: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "mailbox::tests::crashes::perform", "--nocapture"])
        .env(TASK, root)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Not a test by itself: what the child does. Without a task there is nothing to do.
#[tokio::test]
async fn perform() {
    let Ok(root) = std::env::var(TASK) else {
        return;
    };
    let mut options = MaildirOptions::new(&root);
    options.state_dir = Some(Path::new(&root).with_file_name("names"));
    let mailbox = Mailbox::maildir(&options).unwrap();
    for subject in 0.. {
        for name in NAMES {
            let file = path(&format!("/Inbox/{subject}-{name}"));
            mailbox.remove(&cx(), &file, Removal::File).await.unwrap();
            println!("DELETED {subject}-{name}");
            std::io::stdout().flush().unwrap();
        }
    }
}

#[tokio::test]
async fn killed_while_deleting() {
    const MESSAGES: usize = 10;
    for round in 0..24 {
        let mut world = World::empty(|_| {});
        for subject in 0..MESSAGES {
            world.deliver(&format!("cur/{subject}.host:2,"), message(&subject.to_string()));
        }
        let mut child = deleter(&world.options.root);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut told: Vec<String> = Vec::new();
        while told.len() <= round {
            let line = lines.next().expect("the child died").unwrap();
            told.extend(line.split_once("DELETED ").map(|(_, file)| file.to_owned()));
        }
        // At any moment of the next deletion, another one each round.
        std::thread::sleep(Duration::from_micros(200 * (round as u64 * 7 % 24)));
        child.kill().unwrap();
        child.wait().unwrap();
        told.extend(
            lines
                .map_while(Result::ok)
                .filter_map(|line| line.split_once("DELETED ").map(|(_, file)| file.to_owned())),
        );

        world.restart();
        let left = world.list("/Inbox").await;
        let all: Vec<String> = (0..MESSAGES)
            .flat_map(|subject| NAMES.map(|name| format!("{subject}-{name}")))
            .collect();
        assert!(told.iter().all(|file| !left.contains(file)), "{told:?} {left:?}");
        // In order: what was told is gone, and perhaps the one that nobody was told of.
        let gone = all.len() - left.len();
        assert!((told.len()..=told.len() + 1).contains(&gone), "{told:?} {left:?}");
        for file in &left {
            let name = file.split_once('-').unwrap().1;
            let got = world.get(&format!("/Inbox/{file}")).await.unwrap();
            assert!(got == content(name).into_bytes(), "{file} is torn");
        }
        let with_files = MESSAGES - gone / NAMES.len();
        assert_eq!(
            world.files("cur").len(),
            with_files,
            "a message without attachments stayed, or one with some went"
        );
    }
}

/// Mounts 1 MiB of memory at `dir` for as long as the value lives; none where that is not permitted.
struct Small(PathBuf);

impl Small {
    fn mount(dir: &Path) -> Option<Self> {
        let mut mount = Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"])
            .arg(dir)
            .stderr(Stdio::null());
        if mount.status().is_ok_and(|status| status.success()) {
            return Some(Self(dir.to_owned()));
        }
        skipped("mounting is not permitted here");
        None
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[tokio::test]
async fn no_space() {
    let dir = tempfile::tempdir().unwrap();
    let Some(_small) = Small::mount(dir.path()) else {
        return;
    };
    // The names are on the full disk too: a name that cannot be recorded stops nobody.
    let world = World::empty(|options| {
        let root = dir.path().join("mail");
        for sub in ["cur", "new", "tmp"] {
            fs::create_dir_all(root.join(sub)).unwrap();
        }
        options.root = root;
        options.state_dir = Some(dir.path().join("names"));
    });
    world.deliver("cur/1.host:2,", message("s"));
    assert_eq!(world.list("/Inbox").await, ["s-one", "s-three", "s-two"]);
    let big = vec![1; 2 << 20];
    assert_eq!(
        kind(world.put("/Inbox/big", &big).await),
        Some(FsErrorKind::NoSpace)
    );
    // It fits once, as the upload, but not twice, as the draft.
    let twice = vec![1; 400 << 10];
    assert_eq!(
        kind(world.put("/Inbox/twice", &twice).await),
        Some(FsErrorKind::NoSpace)
    );
    assert!(world.files("tmp").is_empty(), "what failed leaves nothing");

    let filler = dir.path().join("filler");
    // To the last byte: it ends by an error.
    assert!(fs::write(&filler, &big).is_err());
    let before = fs::read(world.root("cur/1.host:2,")).unwrap();
    assert_eq!(
        kind(world.delete("/Inbox/s-one").await),
        Some(FsErrorKind::NoSpace)
    );
    assert!(
        fs::read(world.root("cur/1.host:2,")).unwrap() == before,
        "the message has changed"
    );
    assert!(world.files("tmp").is_empty());
    for name in NAMES {
        assert!(world.get(&format!("/Inbox/s-{name}")).await.unwrap() == content(name).into_bytes());
    }
    fs::remove_file(&filler).unwrap();
    world.delete("/Inbox/s-one").await.unwrap();
    world.delete("/Inbox/s-two").await.unwrap();
    assert!(fs::write(&filler, &big).is_err());
    // The last goes with its message: that takes no space.
    world.delete("/Inbox/s-three").await.unwrap();
    assert!(world.files("cur").is_empty());
    fs::remove_file(&filler).unwrap();
    world.put("/Inbox/small", b"again").await.unwrap();
    assert_eq!(world.get("/Inbox/small").await.unwrap(), b"again");
}

/// Notes for `tests/run` that something cannot be tried here. In CI it has to be.
fn skipped(why: &str) {
    assert!(
        std::env::var("CI").as_deref() != Ok("true"),
        "cannot run here: {why}"
    );
    eprintln!("skipped: {why}");
    if let Some(path) = std::env::var_os("PORTREEVE_SKIPS")
        && let Ok(mut list) = fs::File::options().append(true).create(true).open(path)
    {
        let _ = Write::write_all(&mut list, format!("{why}\n").as_bytes());
    }
}
