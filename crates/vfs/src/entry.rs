//! What is said about files, and how they are asked for.

use portreeve_model::{Name, Timestamp};

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A symbolic link (seen only with [`Links::Keep`] and in listings).
    Symlink,
    /// A device, socket or pipe: listed, never opened.
    Other,
}

/// One entry of a directory, or the answer to a look-up. `None` means that the backend does not
/// know; a door then leaves the field out and invents nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name within its directory; none for a root.
    pub name: Option<Name>,
    /// What it is.
    pub kind: FileKind,
    /// Exact size in bytes.
    pub size: Option<u64>,
    /// Permission bits (no file type), e.g. `0o640`.
    pub mode: Option<u32>,
    /// Numeric owner and group.
    pub owner: Option<(u32, u32)>,
    /// Number of hard links.
    pub links: Option<u64>,
    /// Last change of the content.
    pub modified: Option<Timestamp>,
    /// Last access.
    pub accessed: Option<Timestamp>,
    /// A number that changes when the content does (for ETag); none where size and time must do.
    pub version: Option<u64>,
}

impl Entry {
    /// A directory of which nothing but its existence is known.
    #[must_use]
    pub const fn dir(name: Option<Name>) -> Self {
        Self::bare(name, FileKind::Dir)
    }

    /// A file of which only the size is known.
    #[must_use]
    pub const fn file(name: Name, size: u64) -> Self {
        let mut entry = Self::bare(Some(name), FileKind::File);
        entry.size = Some(size);
        entry
    }

    /// An entry of which only the kind is known.
    #[must_use]
    pub const fn bare(name: Option<Name>, kind: FileKind) -> Self {
        Self {
            name,
            kind,
            size: None,
            mode: None,
            owner: None,
            links: None,
            modified: None,
            accessed: None,
            version: None,
        }
    }

    /// Whether it is a directory.
    #[must_use]
    pub fn is_dir(&self) -> bool {
        self.kind == FileKind::Dir
    }

    /// Whether it is a regular file.
    #[must_use]
    pub fn is_file(&self) -> bool {
        self.kind == FileKind::File
    }
}

/// Whether a look-up follows a symbolic link in the last component.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Links {
    /// Tell of the target (stat).
    Follow,
    /// Tell of the link (lstat).
    Keep,
}

/// Attributes to set; `None` leaves one as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Attrs {
    /// Cut or extend to this size.
    pub size: Option<u64>,
    /// Permission bits; set-user-id, set-group-id and sticky are always stripped.
    pub mode: Option<u32>,
    /// Last change.
    pub modified: Option<Timestamp>,
    /// Last access.
    pub accessed: Option<Timestamp>,
}

impl Attrs {
    /// Whether there is nothing to set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// How a file is opened for writing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenWrite {
    /// What becomes of what is there.
    pub mode: WriteMode,
    /// Whether the handle will also be read (SFTP `READ|WRITE`).
    pub read_back: bool,
    /// The size that was announced (Content-Length, ALLO), to refuse early.
    pub size_hint: Option<u64>,
    /// Attributes of the file to be.
    pub attrs: Attrs,
}

impl OpenWrite {
    /// Opening in `mode`, write-only, nothing announced.
    #[must_use]
    pub fn new(mode: WriteMode) -> Self {
        Self {
            mode,
            read_back: false,
            size_hint: None,
            attrs: Attrs::default(),
        }
    }
}

/// What becomes of what is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteMode {
    /// Make a new file; one that exists is an error, at open and again at commit.
    CreateNew,
    /// Start empty; at commit replace what is there. A kept partial is thrown away.
    Replace,
    /// Work on what is there (or on a kept partial), at any offset.
    Update {
        /// Make the file where it is missing.
        create: bool,
    },
    /// Add at the end of what is there (or of a kept partial), whatever offset is given.
    Append {
        /// Make the file where it is missing.
        create: bool,
    },
    /// Go on with a kept partial (or a complete file) whose length must be `at`; otherwise
    /// `Conflict` with a message that names the length.
    Resume {
        /// The offset at which the client goes on.
        at: u64,
    },
}

/// An upload that was not finished and is kept for its owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partial {
    /// Bytes kept.
    pub size: u64,
    /// When the last byte came.
    pub modified: Timestamp,
}

/// What is to be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// A file or link; where only a kept partial of the caller is there, that.
    File,
    /// An empty directory (dead partials in it are swept).
    Dir,
}

/// Whether a rename may replace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rename {
    /// `Exists` where the new name is taken (SFTP v3 RENAME).
    NoReplace,
    /// Replace atomically (posix-rename@openssh.com, RNTO).
    Replace,
}

/// Space of a storage, in bytes and files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Space {
    /// All bytes.
    pub total: u64,
    /// Free bytes.
    pub free: u64,
    /// Free bytes that this process may use.
    pub available: u64,
    /// All inodes.
    pub files: u64,
    /// Free inodes.
    pub files_free: u64,
    /// Longest name, in bytes.
    pub name_max: u64,
}

/// Where a listing stands: opaque to everybody but the backend that made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor(pub Box<[u8]>);
