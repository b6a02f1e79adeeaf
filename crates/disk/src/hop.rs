//! Which calls may run on an async thread, and which must go to the blocking pool.
//!
//! A hop costs 10 to 20 µs of CPU and two context switches; a metadata call on a local file system
//! costs 1 µs. So local file systems answer metadata in place, file systems in memory answer
//! everything in place, and whatever may hang (NFS, CIFS, FUSE, anything unknown) always hops.

use portreeve_vfs::{FsError, FsErrorKind, FsResult};
use rustix::{fd::AsFd, fs};

/// The policy for one file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hop {
    /// Lives in memory: nothing ever waits.
    Memory,
    /// A local disk: metadata in place, data and fsync in the pool.
    Local,
    /// May hang: everything in the pool.
    Remote,
}

impl Hop {
    /// Decides by the magic number of the file system that holds `fd` (statfs(2)).
    pub(crate) fn of(fd: impl AsFd) -> Self {
        let Ok(stat) = fs::fstatfs(fd) else {
            return Self::Remote;
        };
        match stat.f_type as u64 & 0xffff_ffff {
            0x0102_1994 | 0x8584_58f6 => Self::Memory, // tmpfs, ramfs
            // ext2 to ext4, xfs, btrfs, f2fs, bcachefs, zfs, overlayfs
            0xef53 | 0x5846_5342 | 0x9123_683e | 0xf2f5_2010 | 0xca45_1a4e | 0x2fc1_2fc1 | 0x794c_7630 => {
                Self::Local
            }
            _ => Self::Remote,
        }
    }

    /// Whether metadata calls run in place.
    pub(crate) fn metadata_in_place(self) -> bool {
        self != Self::Remote
    }

    /// Whether reads, writes and fsync run in place.
    pub(crate) fn data_in_place(self) -> bool {
        self == Self::Memory
    }
}

/// Runs `work` on the blocking pool.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> FsResult<T> + Send + 'static,
) -> FsResult<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(join) => Err(FsError::new(FsErrorKind::Backend).caused_by(join)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_is_not_taken_for_a_disk() {
        assert_eq!(Hop::of(std::fs::File::open("/proc").unwrap()), Hop::Remote);
    }
}
