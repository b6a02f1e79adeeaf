use std::{net::SocketAddr, path::PathBuf, time::Duration};

use portreeve_auth::{Account, Accounts, Membership};
use portreeve_model::{GroupName, UserName};
use tokio::{io::AsyncReadExt, net::TcpStream};

use super::*;
use crate::{check, control, supervisor::State};

mod unavailable;

const CONFIG: &str = r#"
[server]
data_dir = "data"
grace_period = "5s"
[audit]
sinks = [{ type = "file", path = "audit.jsonl" }]
[metrics]
address = "127.0.0.1:0"
[[listener]]
protocol = "sftp"
address = "127.0.0.1:0"
[[auth]]
type = "ip-time-ban"
allow = ["127.0.0.0/8"]
[[auth]]
type = "application"
[groups.staff]
mounts = [{ path = "/", storage = "files", subpath = "{user}", verbs = "full" }]
[storage.files]
type = "disk"
root = "files"
"#;

/// A server in a directory of its own.
struct Rig {
    dir: tempfile::TempDir,
    service: Arc<Service>,
}

impl Rig {
    async fn start(text: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("p.toml"), text).unwrap();
        let config = check::check_file(&dir.path().join("p.toml")).unwrap();
        let service = Service::start(config).await.unwrap();
        Self { dir, service }
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("p.toml")
    }

    fn write(&self, bytes: impl AsRef<[u8]>) {
        std::fs::write(self.file(), bytes).unwrap();
    }

    fn sftp(&self) -> SocketAddr {
        match self
            .service
            .supervisor()
            .status()
            .into_iter()
            .next()
            .unwrap()
            .state
        {
            State::Up(address) => address,
            state => panic!("{state:?}"),
        }
    }

    fn audit(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("data/audit.jsonl")).unwrap()
    }

    /// The old configuration answers: an SSH server says who it is.
    async fn answers(&self) {
        let mut stream = TcpStream::connect(self.sftp()).await.unwrap();
        let mut greeting = [0; 8];
        stream.read_exact(&mut greeting).await.unwrap();
        assert_eq!(&greeting, b"SSH-2.0-");
    }
}

/// A small generator whose sequence never changes: what failed once fails again.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % sides
    }
}

/// One mutant of the configuration.
fn mutant(dice: &mut Dice) -> Vec<u8> {
    let mut bytes = CONFIG.as_bytes().to_vec();
    for _ in 0..=dice.roll(3) {
        let at = dice.roll(bytes.len());
        match dice.roll(5) {
            0 => bytes[at] = u8::try_from(dice.roll(256)).unwrap(),
            1 => bytes.truncate(at),
            2 => {
                bytes.remove(at);
            }
            3 => {
                let word = [
                    &b"\"\n"[..],
                    b"[[",
                    b"= 7\n",
                    b"}",
                    b"[storage.files]\n",
                    b"x = \"y\"\n",
                ][dice.roll(6)];
                bytes.splice(at..at, word.iter().copied());
            }
            _ => {
                // A line goes.
                let lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
                let gone = dice.roll(lines.len());
                let kept: Vec<&[u8]> = lines
                    .iter()
                    .enumerate()
                    .filter(|(n, _)| *n != gone)
                    .map(|(_, line)| *line)
                    .collect();
                bytes = kept.join(&b'\n');
            }
        }
        if bytes.is_empty() {
            bytes.push(b'x');
        }
    }
    bytes
}

/// R-12: whatever the file has become, the old configuration serves and its number stays.
#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_mutants_change_nothing() {
    let rig = Rig::start(CONFIG).await;
    let address = rig.sftp();
    let (mut dice, mut refused) = (Dice(7), 0);
    while refused < 200 {
        let bytes = mutant(&mut dice);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let full = rig.file();
        let right =
            std::str::from_utf8(&bytes).is_ok_and(|text| check::check_text(text, &full, &full).is_ok());
        if right {
            // A mutant that means something is no mutant to be refused.
            continue;
        }
        refused += 1;
        rig.write(&bytes);
        let before = rig.service.gate().generation();
        assert!(rig.service.reload().await.is_err(), "{text}");
        assert_eq!(rig.service.gate().generation(), before, "{text}");
        assert!(rig.service.readiness_of().1["reload_error"].is_string());
    }
    assert_eq!(rig.service.gate().generation(), 1);
    assert_eq!(rig.sftp(), address);
    rig.answers().await;
    rig.write(CONFIG);
    assert_eq!(rig.service.reload().await.unwrap(), 2);
    assert_eq!(
        rig.service.readiness_of().1["reload_error"],
        serde_json::Value::Null
    );
    assert_eq!(rig.sftp(), address, "the socket was kept");
    rig.answers().await;
    let audit = rig.audit();
    assert_eq!(audit.matches("\"act\":\"reload\"").count(), 201);
    assert_eq!(audit.matches("\"outcome\":\"failed\"").count(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_built_keeps_the_old() {
    let rig = Rig::start(CONFIG).await;
    for (broken, word) in [
        (
            CONFIG.replace("root = \"files\"", "root = \"/proc/nothing/files\""),
            "[storage.files]",
        ),
        (
            format!(
                "{CONFIG}[[listener]]\nprotocol = \"https\"\naddress = \"127.0.0.1:0\"\n[tls]\ncertificate = \"no.pem\"\nkey = \"no.pem\"\n"
            ),
            "no.pem",
        ),
        (
            CONFIG.replace("data_dir = \"data\"", "data_dir = \"other\""),
            "needs a restart",
        ),
        (
            CONFIG.replace("audit.jsonl", "/proc/nothing/audit.jsonl"),
            "audit",
        ),
    ] {
        rig.write(&broken);
        let error = rig.service.reload().await.unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
        assert_eq!(rig.service.gate().generation(), 1);
        rig.answers().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_adds_and_removes_listeners() {
    let rig = Rig::start(CONFIG).await;
    rig.write(format!(
        "{CONFIG}[[listener]]\nname = \"web\"\nprotocol = \"https\"\naddress = \"127.0.0.1:0\"\n"
    ));
    rig.service.reload().await.unwrap();
    let status = rig.service.supervisor().status();
    let names: Vec<&str> = status.iter().map(|status| &*status.name).collect();
    assert_eq!(names, ["sftp", "web"]);
    let State::Up(web) = status[1].state else {
        panic!("{:?}", status[1].state)
    };
    rig.write(CONFIG);
    rig.service.reload().await.unwrap();
    assert!(TcpStream::connect(web).await.is_err());
    rig.answers().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_tells_what_the_chain_and_the_plan_would_say() {
    let rig = Rig::start(CONFIG).await;
    let groups = Membership::Groups(vec![GroupName::new("staff").unwrap()]);
    let name = UserName::new("alice").unwrap();
    rig.service
        .store()
        .add(&Account::new(name, groups, std::time::SystemTime::now()))
        .await
        .unwrap();
    let ask = |request: &str| {
        let request = serde_json::from_str(request).unwrap();
        let service = Arc::clone(&rig.service);
        async move { control::Steward::answer(&*service, request, "uid 0").await }
    };
    let told = ask(
        r#"{"do":"explain-login","user":"alice","from":"192.0.2.7","listener":"sftp","credential":"password"}"#,
    )
    .await
    .unwrap();
    assert_eq!(told["method"], "application");
    assert_eq!(told["groups"][0], "staff");
    assert_eq!(told["mounts"][0]["subpath"], "/alice");
    let told = ask(r#"{"do":"explain-access","user":"alice","path":"/a/b","verb":"delete"}"#)
        .await
        .unwrap();
    assert_eq!(told["verbs"].as_array().unwrap().len(), 1);
    assert_eq!(told["verbs"][0]["allowed"], true);
    let told = ask(
        r#"{"do":"explain-login","user":"nobody","from":"192.0.2.7","listener":"sftp","credential":"password"}"#,
    )
    .await
    .unwrap();
    assert_eq!(told["result"], "no step that takes a password knows this name");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_without_connections_is_clean_and_recorded() {
    let rig = Rig::start(CONFIG).await;
    let address = rig.sftp();
    let ended = rig.service.drain(std::future::pending()).await;
    assert_eq!(ended, Ended::Clean);
    assert!(TcpStream::connect(address).await.is_err());
    let audit = rig.audit();
    let acts: Vec<&str> = audit
        .lines()
        .map(|line| {
            if line.contains("\"act\":\"start\"") {
                "start"
            } else if line.contains("\"act\":\"stop\"") {
                "stop"
            } else {
                "other"
            }
        })
        .collect();
    assert_eq!((acts.first(), acts.last()), (Some(&"start"), Some(&"stop")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_a_drain_at_once() {
    let rig = Rig::start(&CONFIG.replace("\"5s\"", "\"1h\"")).await;
    // Says nothing: it would be given its login grace.
    let mut silent = TcpStream::connect(rig.sftp()).await.unwrap();
    let mut greeting = [0; 8];
    silent.read_exact(&mut greeting).await.unwrap();
    let hurried = tokio::time::timeout(Duration::from_secs(60), rig.service.drain(std::future::ready(())));
    // Either the door said goodbye first, or it was cut; an hour it did not take.
    hurried.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_data_directory_has_one_server() {
    let rig = Rig::start(CONFIG).await;
    let config = check::check_file(&rig.file()).unwrap();
    let error = Service::start(config).await.err().unwrap();
    assert!(
        matches!(error, StartError::DataDir(DataDirError::Taken(_))),
        "{error}"
    );
    rig.answers().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_tell_how_it_stands() {
    let rig = Rig::start(CONFIG).await;
    let (ready, told) = rig.service.readiness_of();
    assert!(ready, "{told}");
    assert_eq!(told["listeners"][0]["state"], "up");
    assert!(rig.service.probes_address().is_some());
    rig.service.gate().drain();
    assert!(!rig.service.readiness_of().0);
}
