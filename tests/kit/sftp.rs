//! OpenSSH's `sftp`.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use crate::{
    process::{self, Done, Running},
    server::Portreeve,
};

/// How somebody signs in.
#[derive(Debug, Clone)]
pub enum Proof {
    /// By key.
    Key(PathBuf),
    /// By password, through the askpass program.
    Password(String),
    /// By keyboard-interactive, with the password as the answer.
    Interactive(String),
}

/// A client: where, who, with what.
#[derive(Debug, Clone)]
pub struct Sftp {
    port: u16,
    user: String,
    proof: Proof,
    dir: PathBuf,
    /// Options of ssh, `Name=value`.
    pub options: Vec<String>,
    /// How long a batch may take.
    pub patience: Duration,
}

impl Sftp {
    /// Somebody with the key of the test configuration.
    #[must_use]
    pub fn by_key(server: &Portreeve, user: &str) -> Self {
        Self::new(server, user, Proof::Key(server.config.key()))
    }

    /// Somebody with a password.
    #[must_use]
    pub fn by_password(server: &Portreeve, user: &str, password: &str) -> Self {
        Self::new(server, user, Proof::Password(password.to_owned()))
    }

    /// Somebody who shows `proof`.
    #[must_use]
    pub fn new(server: &Portreeve, user: &str, proof: Proof) -> Self {
        Self {
            port: server.doors().sftp.port(),
            user: user.to_owned(),
            proof,
            dir: server.dir().to_owned(),
            options: Vec::new(),
            patience: Duration::from_secs(300),
        }
    }

    /// Through another port, such as a relay's.
    #[must_use]
    pub const fn through(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// With an option of ssh.
    #[must_use]
    pub fn option(mut self, option: &str) -> Self {
        self.options.push(option.to_owned());
        self
    }

    /// Options that every OpenSSH program takes here.
    #[must_use]
    pub fn ssh_options(&self) -> Vec<String> {
        let mut options = vec![
            "StrictHostKeyChecking=no".to_owned(),
            "UserKnownHostsFile=/dev/null".to_owned(),
            "GlobalKnownHostsFile=/dev/null".to_owned(),
            "LogLevel=ERROR".to_owned(),
            "NumberOfPasswordPrompts=1".to_owned(),
            "IdentitiesOnly=yes".to_owned(),
            "IdentityAgent=none".to_owned(),
            "BatchMode=no".to_owned(),
        ];
        match &self.proof {
            Proof::Key(key) => {
                options.push("PreferredAuthentications=publickey".to_owned());
                options.push(format!("IdentityFile={}", key.display()));
            }
            Proof::Password(_) => options.push("PreferredAuthentications=password".to_owned()),
            Proof::Interactive(_) => options.push("PreferredAuthentications=keyboard-interactive".to_owned()),
        }
        options.extend(self.options.iter().cloned());
        options
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("sftp");
        command.args(["-F", "/dev/null"]);
        for option in self.ssh_options() {
            command.args(["-o", &option]);
        }
        command.args(["-P", &self.port.to_string()]).args(args);
        self.ask(&mut command);
        command.current_dir(&self.dir);
        command
    }

    fn ask(&self, command: &mut Command) {
        if let Proof::Password(password) | Proof::Interactive(password) = &self.proof {
            command
                .env("SSH_ASKPASS", askpass(&self.dir))
                .env("SSH_ASKPASS_REQUIRE", "force");
            command.env("DISPLAY", ":0").env("TEST_PASSWORD", password);
        }
    }

    fn target(&self) -> String {
        format!("{}@127.0.0.1", self.user)
    }

    /// Runs a batch, stopping at the first error: `-b -`.
    #[must_use]
    pub fn batch(&self, lines: &str) -> Done {
        self.batch_with(&[], lines)
    }

    /// The same with more arguments, such as `-B 32768`.
    #[must_use]
    pub fn batch_with(&self, args: &[&str], lines: &str) -> Done {
        let mut all = args.to_vec();
        let target = self.target();
        all.extend(["-b", "-", &target]);
        process::run(
            &mut self.command(&all),
            format!("{lines}\n").as_bytes(),
            self.patience,
        )
    }

    /// Starts a batch and leaves it running.
    #[must_use]
    pub fn start(&self, lines: &str) -> Running {
        self.start_with(&[], lines)
    }

    /// The same, held back to so many Kbit/s.
    #[must_use]
    pub fn start_slowly(&self, kbits: u32, lines: &str) -> Running {
        self.start_with(&["-l", &kbits.to_string()], lines)
    }

    fn start_with(&self, args: &[&str], lines: &str) -> Running {
        let mut all = args.to_vec();
        let target = self.target();
        all.extend(["-b", "-", &target]);
        Running::start(&mut self.command(&all), format!("{lines}\n").as_bytes())
    }

    /// `ssh` itself with the same proof, for what must be refused.
    #[must_use]
    pub fn ssh(&self, args: &[&str]) -> Done {
        process::run(&mut self.ssh_command(args), b"", self.patience)
    }

    /// Starts `ssh`, sends `input`, and leaves its input open.
    #[must_use]
    pub fn ssh_held(&self, args: &[&str], input: &[u8]) -> Running {
        Running::hold(&mut self.ssh_command(args), input)
    }

    /// Starts `ssh` and leaves it running.
    #[must_use]
    pub fn ssh_start(&self, args: &[&str], input: &[u8]) -> Running {
        Running::start(&mut self.ssh_command(args), input)
    }

    fn ssh_command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("ssh");
        command.args(["-F", "/dev/null", "-p", &self.port.to_string()]);
        for option in self.ssh_options() {
            command.args(["-o", &option]);
        }
        command.args(args);
        self.ask(&mut command);
        command
    }

    /// `user@127.0.0.1`.
    #[must_use]
    pub fn at(&self) -> String {
        self.target()
    }
}

/// A name as a word of an sftp batch.
#[must_use]
pub fn word(name: &str) -> String {
    let mut out = String::from("\"");
    for c in name.chars() {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
    out
}

fn askpass(dir: &Path) -> PathBuf {
    let path = dir.join("askpass");
    if !path.exists() {
        // Made beside and renamed: several clients start at once.
        let fresh = tempfile::NamedTempFile::new_in(dir).expect("a script");
        fs::write(fresh.path(), "#!/bin/sh\nprintf '%s\\n' \"$TEST_PASSWORD\"\n").expect("a script");
        fs::set_permissions(fresh.path(), fs::Permissions::from_mode(0o755)).expect("executable");
        fresh.into_temp_path().persist(&path).expect("a script");
    }
    path
}
