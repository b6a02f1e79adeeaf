//! What people have: curl, lftp, rclone and Python's ftplib, each over FTPS, signed in by password.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
    time::Duration,
};

use crate::{
    clients,
    config::PASSWORD,
    curl::encode,
    ftp::Version,
    process::{self, Done, Running},
    server::{Doors, Portreeve},
};

const PATIENCE: Duration = Duration::from_secs(600);

/// One way to the door for one person.
#[derive(Debug, Clone)]
pub struct Ftps {
    dir: PathBuf,
    doors: Doors,
    user: String,
    /// TLS from the first byte.
    pub implicit: bool,
    /// Which TLS the client may speak.
    pub version: Version,
    /// Over IPv6.
    pub six: bool,
    port: Option<u16>,
}

impl Ftps {
    /// The explicit door over IPv4, any TLS.
    #[must_use]
    pub fn new(server: &Portreeve, user: &str) -> Self {
        Self {
            dir: server.dir().to_owned(),
            doors: server.doors().clone(),
            user: user.to_owned(),
            implicit: false,
            version: Version::Any,
            six: false,
            port: None,
        }
    }

    /// The implicit door.
    #[must_use]
    pub const fn implicit(mut self) -> Self {
        self.implicit = true;
        self
    }

    /// One version of TLS.
    #[must_use]
    pub const fn version(mut self, version: Version) -> Self {
        self.version = version;
        self
    }

    /// Over IPv6.
    #[must_use]
    pub const fn six(mut self) -> Self {
        self.six = true;
        self
    }

    /// Another port, such as a relay's.
    #[must_use]
    pub const fn through(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    fn host(&self) -> &'static str {
        if self.six { "[::1]" } else { "127.0.0.1" }
    }

    fn port(&self) -> u16 {
        let doors = &self.doors;
        let door = if self.implicit {
            doors.ftps_implicit
        } else {
            doors.ftps
        };
        self.port.unwrap_or(door.port())
    }

    fn scheme(&self) -> &'static str {
        if self.implicit { "ftps" } else { "ftp" }
    }

    /// curl on one path.
    #[must_use]
    pub fn curl(&self, args: &[&str], path: &str) -> Done {
        process::run(&mut self.curl_command(args, path), b"", PATIENCE)
    }

    /// The same, left running.
    #[must_use]
    pub fn start_curl(&self, args: &[&str], path: &str) -> Running {
        Running::start(&mut self.curl_command(args, path), b"")
    }

    /// A path's address.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!(
            "{}://{}:{}{}",
            self.scheme(),
            self.host(),
            self.port(),
            encode(path)
        )
    }

    fn curl_command(&self, args: &[&str], path: &str) -> Command {
        let mut command = Command::new("curl");
        command
            .args(["-q", "-s", "-S", "-k", "--connect-timeout", "20"])
            .args(["-u", &format!("{}:{PASSWORD}", self.user)])
            .args(match self.version {
                Version::Any => &[][..],
                Version::Tls12 => &["--tlsv1.2", "--tls-max", "1.2"],
                Version::Tls13 => &["--tlsv1.3"],
            });
        if !self.implicit {
            command.arg("--ssl-reqd");
        }
        command.args(args).arg(self.url(path)).current_dir(&self.dir);
        command
    }

    /// An lftp script, ended by its first error.
    #[must_use]
    pub fn lftp(&self, script: &str) -> Done {
        let (mut command, script) = self.lftp_command(script);
        process::run(&mut command, script.as_bytes(), PATIENCE)
    }

    /// The same, left running.
    #[must_use]
    pub fn start_lftp(&self, script: &str) -> Running {
        let (mut command, script) = self.lftp_command(script);
        Running::start(&mut command, script.as_bytes())
    }

    fn lftp_command(&self, script: &str) -> (Command, String) {
        let versions = match self.version {
            Version::Any => "",
            Version::Tls12 => "set ssl:priority NORMAL:-VERS-ALL:+VERS-TLS1.2\n",
            Version::Tls13 => "set ssl:priority NORMAL:-VERS-ALL:+VERS-TLS1.3\n",
        };
        let script = format!(
            "set cmd:fail-exit yes\nset net:max-retries 1\nset net:timeout 60\nset net:reconnect-interval-base 1\n\
             set xfer:use-temp-file no\nset ssl:verify-certificate no\nset ftp:ssl-force yes\n\
             set ftp:ssl-protect-data yes\nset ftp:ssl-protect-list yes\n{versions}\
             open -u \"{},{PASSWORD}\" -p {} {}://{}\n{script}\n",
            self.user,
            self.port(),
            self.scheme(),
            self.host()
        );
        let mut command = Command::new("lftp");
        command
            .args(["--norc", "-f", "/dev/stdin"])
            .current_dir(&self.dir)
            .env("LC_ALL", "C.UTF-8")
            .env("HOME", &self.dir);
        (command, script)
    }

    /// rclone; the remote is called `r:`.
    #[must_use]
    pub fn rclone(&self, args: &[&str]) -> Done {
        let mut command = clients::rclone_alone();
        command
            .args(args)
            .env("RCLONE_CONFIG_R_TYPE", "ftp")
            .env("RCLONE_CONFIG_R_HOST", self.host())
            .env("RCLONE_CONFIG_R_PORT", self.port().to_string())
            .env("RCLONE_CONFIG_R_USER", &self.user)
            .env("RCLONE_CONFIG_R_PASS", obscured())
            .env("RCLONE_CONFIG_R_NO_CHECK_CERTIFICATE", "true")
            .env(
                if self.implicit {
                    "RCLONE_CONFIG_R_TLS"
                } else {
                    "RCLONE_CONFIG_R_EXPLICIT_TLS"
                },
                "true",
            )
            .env("HOME", &self.dir)
            .current_dir(&self.dir);
        if self.version == Version::Tls12 {
            command.env("RCLONE_CONFIG_R_DISABLE_TLS13", "true");
        }
        process::run(&mut command, b"", PATIENCE)
    }

    /// Python's ftplib, by the script beside this file; `args` are the script's. As it is it never resumes a TLS
    /// session; a first word `resuming` teaches it to.
    #[must_use]
    pub fn ftplib(&self, args: &[&str]) -> Done {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("kit/py/ftplib_client.py");
        let mut command = Command::new("python3");
        command
            .arg(path)
            .args([self.host().trim_matches(['[', ']']), &self.port().to_string()])
            .args([&self.user, PASSWORD])
            .arg(if self.implicit { "implicit" } else { "explicit" })
            .arg(match self.version {
                Version::Any => "any",
                Version::Tls12 => "1.2",
                Version::Tls13 => "1.3",
            })
            .args(args)
            .env("PYTHONUTF8", "1")
            .current_dir(&self.dir);
        process::run(&mut command, b"", PATIENCE)
    }
}

/// The password in rclone's own disguise.
fn obscured() -> &'static str {
    static OBSCURED: OnceLock<String> = OnceLock::new();
    OBSCURED.get_or_init(|| {
        let mut command = Command::new("rclone");
        command.args(["--config", "/dev/null", "obscure", PASSWORD]);
        let done = process::run(&mut command, b"", PATIENCE).ok();
        done.text().trim().to_owned()
    })
}
