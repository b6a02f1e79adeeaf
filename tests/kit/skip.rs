//! What may be left out, and how that is said: a skip is printed and counted, and in CI it is a failure.

use std::{fs::OpenOptions, io::Write, path::Path, process::Command};

/// Whether this is the long run: `tests/run --full`.
#[must_use]
pub fn full() -> bool {
    std::env::var("PORTREEVE_FULL").is_ok_and(|v| v == "1")
}

/// `a` in the slice for every change, `b` in the long run.
#[must_use]
pub fn slice_or_full<T>(a: T, b: T) -> T {
    if full() { b } else { a }
}

/// Notes that a test cannot run here, and why. Return from the test afterwards.
///
/// # Panics
/// In CI: what cannot run there is broken.
pub fn skip(why: &str) {
    assert!(
        std::env::var("CI").is_err_or_not_true(),
        "cannot run here, and in CI that is a failure: {why}"
    );
    eprintln!("skipped: {why}");
    note(why);
}

/// Notes a skip that is one in CI too: the machine's kernel lacks something, not the installation.
pub fn skip_by_nature(why: &str) {
    eprintln!("skipped: {why}");
    note(why);
}

fn note(why: &str) {
    let Ok(path) = std::env::var("PORTREEVE_SKIPS") else {
        return;
    };
    if let Ok(mut file) = OpenOptions::new().append(true).create(true).open(path) {
        let _ = writeln!(file, "{why}");
    }
}

/// Whether a program can be found.
#[must_use]
pub fn have(program: &str) -> bool {
    if program.contains('/') {
        return Path::new(program).exists();
    }
    let paths = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
    paths.split(':').any(|dir| Path::new(dir).join(program).exists())
}

/// Whether this process is root.
#[must_use]
pub fn root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The Python interpreter that has paramiko and asyncssh, where it is there.
#[must_use]
pub fn python() -> Option<String> {
    let venv = std::env::var("PORTREEVE_VENV")
        .unwrap_or_else(|_| format!("{}/../target/venv", env!("CARGO_MANIFEST_DIR")));
    let python = format!("{venv}/bin/python");
    let ok = Command::new(&python)
        .args(["-c", "import paramiko, asyncssh"])
        .output()
        .is_ok_and(|o| o.status.success());
    ok.then_some(python)
}

trait NotTrue {
    fn is_err_or_not_true(&self) -> bool;
}

impl NotTrue for Result<String, std::env::VarError> {
    fn is_err_or_not_true(&self) -> bool {
        !matches!(self.as_deref(), Ok("true"))
    }
}
