//! A small file system of its own, for tests of a full disk.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use crate::{process, skip};

/// A tmpfs; unmounted when dropped.
#[derive(Debug)]
pub struct Tmpfs(PathBuf);

impl Tmpfs {
    /// Mounts one of a size such as `1m`. None where this machine does not let us mount (said and counted).
    ///
    /// # Panics
    /// If mounting fails for another reason than a missing right.
    #[must_use]
    pub fn mount(size: &str) -> Option<Self> {
        if !skip::root() {
            skip("a full disk: mounting a tmpfs needs root");
            return None;
        }
        let dir = tempfile::tempdir().expect("a mount point").keep();
        let mut mount = Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(&dir);
        let done = process::run(&mut mount, b"", Duration::from_secs(20));
        // Root in a container may lack the capability to mount.
        if !done.status.success() && done.said().to_lowercase().contains("permi") {
            let _ = fs::remove_dir(&dir);
            skip::skip_by_nature("a full disk: mounting is not permitted here");
            return None;
        }
        let _ = done.ok();
        Some(Self(dir))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
        let _ = fs::remove_dir(&self.0);
    }
}
