//! What the kernel says about an object, as the contract's entry.

use portreeve_model::{Name, Timestamp};
use portreeve_vfs::{Entry, FileKind};
use rustix::{
    fd::AsFd,
    fs::{self, AtFlags, FileType, Statx, StatxFlags, StatxTimestamp},
    io::Errno,
};

/// Permission bits without set-user-id, set-group-id and sticky: all that a client may set.
pub(crate) const SAFE_MODE: u32 = 0o777;

/// Asks about `name` in `dir`, never through a link; none where nothing is there.
pub(crate) fn at(dir: impl AsFd, name: &[u8]) -> Result<Option<Statx>, Errno> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    match fs::statx(dir, name, flags, StatxFlags::BASIC_STATS) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Asks about what is open.
pub(crate) fn of(fd: impl AsFd) -> Result<Statx, Errno> {
    fs::statx(fd, c"", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS)
}

/// What it is.
pub(crate) fn kind(stat: &Statx) -> FileKind {
    match FileType::from_raw_mode(stat.stx_mode.into()) {
        FileType::RegularFile => FileKind::File,
        FileType::Directory => FileKind::Dir,
        FileType::Symlink => FileKind::Symlink,
        _ => FileKind::Other,
    }
}

/// Device and inode: what makes two names one file.
pub(crate) type Identity = (u32, u32, u64);

/// The identity of an object.
pub(crate) fn identity(stat: &Statx) -> Identity {
    (stat.stx_dev_major, stat.stx_dev_minor, stat.stx_ino)
}

fn time(stamp: StatxTimestamp) -> Timestamp {
    Timestamp {
        seconds: stamp.tv_sec,
        nanos: stamp.tv_nsec,
    }
}

/// When the content changed last.
pub(crate) fn modified(stat: &Statx) -> Timestamp {
    time(stat.stx_mtime)
}

/// When anything about it changed last: no client can set this time.
pub(crate) fn changed(stat: &Statx) -> Timestamp {
    time(stat.stx_ctime)
}

/// The entry for `stat` under `name`.
pub(crate) fn entry(name: Option<Name>, stat: &Statx) -> Entry {
    Entry {
        name,
        kind: kind(stat),
        size: Some(stat.stx_size),
        mode: Some(u32::from(stat.stx_mode) & 0o7777),
        owner: Some((stat.stx_uid, stat.stx_gid)),
        links: Some(stat.stx_nlink.into()),
        modified: Some(modified(stat)),
        accessed: Some(time(stat.stx_atime)),
        version: Some(version(stat)),
    }
}

/// Changes with the content: the inode (an upload makes a new one) and the time of change, which no
/// client can set. Mixed (the finaliser of splitmix64), since the parts are not uniform.
fn version(stat: &Statx) -> u64 {
    let changed = stat.stx_ctime.tv_sec.cast_unsigned().wrapping_mul(1_000_000_000);
    let parts = [
        changed.wrapping_add(stat.stx_ctime.tv_nsec.into()),
        stat.stx_ino,
        stat.stx_size,
    ];
    parts.into_iter().fold(0, |state: u64, part| {
        let mut x = state.wrapping_add(part).wrapping_add(0x9e37_79b9_7f4a_7c15);
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    })
}
