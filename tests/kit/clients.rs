//! Other clients: lftp, rclone, sshfs, and Python's paramiko and asyncssh.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use crate::{
    process::{self, Done, Running, until},
    server::Portreeve,
    sftp::Sftp,
    skip,
};

const PATIENCE: Duration = Duration::from_secs(600);

/// Runs an lftp script against the SFTP door, signed in by key.
#[must_use]
pub fn lftp(server: &Portreeve, user: &str, script: &str) -> Done {
    let mut options = String::new();
    for option in Sftp::by_key(server, user).ssh_options() {
        options.push_str(&format!(" -o {option}"));
    }
    let script = format!(
        "set cmd:fail-exit yes\nset net:max-retries 1\nset net:timeout 60\nset xfer:use-temp-file no\n\
         set sftp:connect-program \"ssh -a -x -F /dev/null{options}\"\n\
         open -u {user}, -p {} sftp://127.0.0.1\n{script}\n",
        server.doors().sftp.port()
    );
    let mut command = Command::new("lftp");
    command
        .args(["--norc", "-f", "/dev/stdin"])
        .current_dir(server.dir())
        .env("HOME", server.dir());
    process::run(&mut command, script.as_bytes(), PATIENCE)
}

/// rclone without anybody's settings, which tries once: what is refused is to be seen.
pub(crate) fn rclone_alone() -> Command {
    let mut command = Command::new("rclone");
    command.args([
        "--config",
        "/dev/null",
        "--retries",
        "1",
        "--low-level-retries",
        "1",
    ]);
    command
}

/// Runs rclone; the remote is called `r:`.
#[must_use]
pub fn rclone(server: &Portreeve, user: &str, args: &[&str]) -> Done {
    let mut command = rclone_alone();
    command
        .args(args)
        .env("RCLONE_CONFIG_R_TYPE", "sftp")
        .env("RCLONE_CONFIG_R_HOST", "127.0.0.1")
        .env("RCLONE_CONFIG_R_PORT", server.doors().sftp.port().to_string())
        .env("RCLONE_CONFIG_R_USER", user)
        .env("RCLONE_CONFIG_R_KEY_FILE", server.config.key())
        .env("RCLONE_CONFIG_R_SHELL_TYPE", "none")
        .env("HOME", server.dir())
        .current_dir(server.dir());
    process::run(&mut command, b"", PATIENCE)
}

/// Runs one of the scripts beside this file with the interpreter that has paramiko and asyncssh. The
/// script gets the port, the user and the key, then `args`. None where Python's packages are missing.
#[must_use]
pub fn python(server: &Portreeve, script: &str, user: &str, args: &[&str]) -> Option<Done> {
    let Some(python) = skip::python() else {
        skip("paramiko and asyncssh");
        return None;
    };
    Some(process::run(
        &mut python_command(server, &python, script, user, args),
        b"",
        PATIENCE,
    ))
}

/// The same, left running with its input open.
#[must_use]
pub fn python_start(server: &Portreeve, script: &str, user: &str, args: &[&str]) -> Option<Running> {
    let Some(python) = skip::python() else {
        skip("paramiko and asyncssh");
        return None;
    };
    Some(Running::hold(
        &mut python_command(server, &python, script, user, args),
        b"",
    ))
}

fn python_command(server: &Portreeve, python: &str, script: &str, user: &str, args: &[&str]) -> Command {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("kit/py").join(script);
    let mut command = Command::new(python);
    command
        .arg(path)
        .arg(server.doors().sftp.port().to_string())
        .arg(user)
        .arg(server.config.key())
        .args(args)
        .current_dir(server.dir());
    command
}

/// A mount of the SFTP door by sshfs; unmounted when dropped.
#[derive(Debug)]
pub struct Sshfs {
    point: PathBuf,
    running: Option<Running>,
}

impl Sshfs {
    /// Mounts it. None where the machine cannot (said and counted).
    #[must_use]
    pub fn mount(server: &Portreeve, user: &str) -> Option<Self> {
        if !Path::new("/dev/fuse").exists() {
            skip::skip_by_nature("sshfs: no /dev/fuse");
            return None;
        }
        if !skip::have("sshfs") {
            skip("sshfs");
            return None;
        }
        let point = server.dir().join("mnt");
        std::fs::create_dir_all(&point).expect("a mount point");
        let mut command = Command::new("sshfs");
        command.args(["-f", "-p", &server.doors().sftp.port().to_string()]);
        for option in Sftp::by_key(server, user).ssh_options() {
            command.args(["-o", &option]);
        }
        command.arg(format!("{user}@127.0.0.1:/")).arg(&point);
        let mut running = Running::start(&mut command, b"");
        let mounted = || {
            std::fs::read_to_string("/proc/self/mounts")
                .is_ok_and(|m| m.lines().any(|l| l.split(' ').nth(1) == point.to_str()))
        };
        let mut ended = false;
        until("sshfs mounts", Duration::from_secs(30), || {
            ended = !running.alive();
            mounted() || ended
        });
        if ended && !mounted() {
            let said = running.kill().said();
            // A container may have the device and forbid its use.
            if said.contains("not permitted") || said.contains("fuse: device") {
                skip::skip_by_nature("sshfs: /dev/fuse cannot be used here");
                return None;
            }
            panic!("sshfs ended\n{said}");
        }
        Some(Self {
            point,
            running: Some(running),
        })
    }

    /// The mount point.
    #[must_use]
    pub fn point(&self) -> &Path {
        &self.point
    }
}

impl Drop for Sshfs {
    fn drop(&mut self) {
        let _ = Command::new("fusermount3").arg("-u").arg(&self.point).output();
        if let Some(running) = self.running.take() {
            running.kill();
        }
        let _ = Command::new("umount").arg("-l").arg(&self.point).output();
    }
}
