//! A configuration for the server under test: written to a directory, one person of every kind.

use std::{
    fmt::Write as _,
    fs,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
    time::Duration,
};

use crate::{ports, process, server};

/// The password of everybody in the test configuration.
pub const PASSWORD: &str = "correct horse \u{e9} battery";

/// One person of the accounts file.
#[derive(Debug, Clone)]
pub struct Person {
    /// The name.
    pub name: String,
    /// `groups` of the account.
    pub groups: Vec<&'static str>,
    /// Whether it is switched off.
    pub disabled: bool,
    /// Its expiry, as TOML.
    pub expires: Option<&'static str>,
    /// Options in front of its key.
    pub key_options: &'static str,
    /// Its address, for templates.
    pub mail: Option<String>,
}

impl Person {
    /// Somebody with all rights on a private directory.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            groups: vec!["staff"],
            disabled: false,
            expires: None,
            key_options: "",
            mail: None,
        }
    }
}

/// What is written. Change the fields, then [`crate::server::Portreeve`].
#[derive(Debug)]
pub struct Config {
    /// The directory of everything.
    pub dir: PathBuf,
    /// The SFTP door's port.
    pub sftp: u16,
    /// The port of a second SFTP door, which takes old MACs too.
    pub old_sftp: u16,
    /// The HTTPS door's port.
    pub https: u16,
    /// The port of the FTPS door that begins in clear.
    pub ftps: u16,
    /// The port of the FTPS door that begins with TLS; over IPv6 too, where the machine has it.
    pub ftps_implicit: u16,
    /// The port of an FTPS door that insists on `session_reuse`.
    pub ftps_strict: u16,
    /// The port of an FTP door that insists on nothing, and has active mode.
    pub ftp: u16,
    /// The passive ports of all of them.
    pub passive: RangeInclusive<u16>,
    /// The port of metrics and health.
    pub metrics: u16,
    /// Everybody.
    pub people: Vec<Person>,
    /// Where the disk storage `files` has its root.
    pub files: PathBuf,
    /// How many failures ban an address. High, so that a test of refusals is not one of bans.
    pub ban_after: u32,
    /// `grace_period`.
    pub grace: &'static str,
    /// A line added to the SFTP, the HTTPS and the explicit FTPS listener, e.g. `proxy_protocol = ["127.0.0.0/8"]`.
    pub listener: &'static str,
    /// Lines added to every FTPS listener, e.g. `stall_timeout = "2s"`.
    pub ftp_listener: &'static str,
    /// Lines added to `[limits]`.
    pub limits: &'static str,
    /// Lines added to `[audit]`.
    pub audit: &'static str,
    /// Lines added to the mount of `files`, e.g. `, limits = { quota = "1 MiB" }`.
    pub mount: &'static str,
    /// Lines at the end of the file.
    pub more: String,
}

impl Config {
    /// The standard one, in `dir`.
    #[must_use]
    pub fn new(dir: &Path) -> Self {
        let mut people = vec![Person::new("alice"), Person::new("bob")];
        people.push(Person {
            groups: vec!["readers"],
            ..Person::new("reader")
        });
        people.push(Person {
            disabled: true,
            ..Person::new("carol")
        });
        people.push(Person {
            expires: Some("2020-01-01T00:00:00Z"),
            ..Person::new("dave")
        });
        people.push(Person {
            key_options: "expiry-time=\"20200101\" ",
            ..Person::new("erin")
        });
        people.push(Person {
            key_options: "from=\"192.0.2.0/24\" ",
            ..Person::new("frank")
        });
        Self {
            dir: dir.to_owned(),
            sftp: ports::free(),
            old_sftp: ports::free(),
            https: ports::free(),
            ftps: ports::free(),
            ftps_implicit: ports::free(),
            ftps_strict: ports::free(),
            ftp: ports::free(),
            passive: ports::passive(),
            metrics: ports::free(),
            people,
            files: dir.join("files"),
            ban_after: 100,
            grace: "20s",
            listener: "",
            ftp_listener: "",
            limits: "",
            audit: "",
            mount: "",
            more: String::new(),
        }
    }

    /// A person, to be changed.
    ///
    /// # Panics
    /// If there is nobody of that name.
    pub fn person(&mut self, name: &str) -> &mut Person {
        let found = self.people.iter_mut().find(|p| p.name == name);
        found.expect("somebody of the test configuration")
    }

    /// The configuration file.
    #[must_use]
    pub fn file(&self) -> PathBuf {
        self.dir.join("portreeve.toml")
    }

    /// The private key that everybody has.
    #[must_use]
    pub fn key(&self) -> PathBuf {
        self.dir.join("id_ed25519")
    }

    /// Where a person's files lie on this machine.
    #[must_use]
    pub fn home(&self, person: &str) -> PathBuf {
        self.files.join(person)
    }

    /// The Maildir behind `/mail`.
    #[must_use]
    pub fn maildir(&self) -> PathBuf {
        self.dir.join("mail")
    }

    /// Writes everything; again after a change.
    pub fn write(&self) {
        for dir in [
            self.dir.join("state"),
            self.dir.join("shared"),
            self.files.clone(),
        ] {
            fs::create_dir_all(dir).expect("a directory for the server");
        }
        for sub in ["cur", "new", "tmp"] {
            fs::create_dir_all(self.maildir().join(sub)).expect("a Maildir");
        }
        if !self.key().exists() {
            let mut keygen = Command::new("ssh-keygen");
            keygen
                .args(["-q", "-t", "ed25519", "-N", "", "-C", "test key", "-f"])
                .arg(self.key());
            process::run(&mut keygen, b"", Duration::from_secs(20)).ok();
        }
        fs::write(self.dir.join("accounts.toml"), self.accounts()).expect("accounts.toml");
        fs::write(self.file(), self.text()).expect("portreeve.toml");
    }

    fn accounts(&self) -> String {
        let public = fs::read_to_string(self.key().with_extension("pub")).expect("a public key");
        let mut text = String::new();
        for person in &self.people {
            let quote = |s: &str| serde_json::Value::from(s).to_string();
            let _ = writeln!(text, "[accounts.{}]", quote(&person.name));
            let _ = writeln!(text, "password = {}", quote(&hash()));
            let _ = writeln!(text, "groups = {:?}", person.groups);
            let _ = writeln!(
                text,
                "ssh_keys = [{}]",
                quote(&format!("{}{}", person.key_options, public.trim()))
            );
            let _ = writeln!(text, "disabled = {}", person.disabled);
            if let Some(mail) = &person.mail {
                let _ = writeln!(text, "mail = {}", quote(mail));
            }
            if let Some(expires) = person.expires {
                let _ = writeln!(text, "expires = {expires}");
            }
        }
        text
    }

    fn text(&self) -> String {
        format!(
            r#"[server]
name = "portreeve.test"
data_dir = "state"
grace_period = "{grace}"
[limits]
refusal_delay = "10ms"
auth_attempts = 3
{limits}
[audit]
sinks = [{{ type = "file", path = "audit.jsonl" }}]
mode = "required"
{audit}
[metrics]
address = "127.0.0.1:{metrics}"
[[listener]]
name = "sftp"
protocol = "sftp"
address = "127.0.0.1:{sftp}"
{listener}
[[listener]]
name = "old-sftp"
protocol = "sftp"
address = "127.0.0.1:{old_sftp}"
compatible = true
[[listener]]
name = "https"
protocol = "https"
address = "127.0.0.1:{https}"
{listener}
[[listener]]
name = "ftps"
protocol = "ftps"
address = "127.0.0.1:{ftps}"
passive_ports = "{passive}"
{listener}
{ftp_listener}
[[listener]]
name = "implicit"
protocol = "ftps"
address = "{all}:{ftps_implicit}"
tls = "implicit"
passive_ports = "{passive}"
{ftp_listener}
[[listener]]
name = "strict"
protocol = "ftps"
address = "127.0.0.1:{ftps_strict}"
session_reuse = "require"
active = true
passive_ports = "{passive}"
{ftp_listener}
[[listener]]
name = "plain"
protocol = "ftps"
address = "127.0.0.1:{ftp}"
tls = "optional"
active = true
passive_ports = "{passive}"
{ftp_listener}
[[auth]]
type = "ip-time-ban"
ban_after_count = {ban}
ban_interval = "1h"
[[auth]]
type = "deny-username"
usernames = ["root", "adm*"]
[[auth]]
name = "people"
type = "local-file"
path = "accounts.toml"
[[auth]]
type = "application"
[groups.staff]
mounts = [
  {{ path = "/", storage = "files", subpath = "{{user}}", verbs = "full"{mount} }},
  {{ path = "/shared", storage = "shared", verbs = "full" }},
  {{ path = "/mail", storage = "mail", verbs = ["list", "read", "delete"] }},
]
[groups.readers]
mounts = [{{ path = "/", storage = "shared", verbs = "read-only" }}]
[storage.files]
type = "disk"
root = {files}
[storage.shared]
type = "disk"
root = "shared"
[storage.mail]
type = "maildir"
root = "mail"
{more}"#,
            grace = self.grace,
            metrics = self.metrics,
            sftp = self.sftp,
            old_sftp = self.old_sftp,
            https = self.https,
            ftps = self.ftps,
            ftps_implicit = self.ftps_implicit,
            all = if ports::six() { "[::]" } else { "127.0.0.1" },
            ftps_strict = self.ftps_strict,
            ftp = self.ftp,
            passive = format_args!("{}-{}", self.passive.start(), self.passive.end()),
            ftp_listener = self.ftp_listener,
            limits = self.limits,
            audit = self.audit,
            ban = self.ban_after,
            listener = self.listener,
            mount = self.mount,
            files = serde_json::Value::from(self.files.to_string_lossy().as_ref()),
            more = self.more,
        )
    }
}

/// The hash of [`PASSWORD`], made by the server's own command.
fn hash() -> String {
    static HASH: OnceLock<String> = OnceLock::new();
    HASH.get_or_init(|| {
        let mut command = Command::new(server::binary());
        command.arg("hash-password");
        let done = process::run(&mut command, PASSWORD.as_bytes(), Duration::from_secs(30)).ok();
        done.text().trim().to_owned()
    })
    .clone()
}
