//! What a backend can do, decided when it is built.

/// Which names a storage holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Names {
    /// Any bytes but NUL and `/`.
    Bytes,
    /// UTF-8 only.
    Utf8,
}

/// How ranges are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ranges {
    /// Any range at its own cost.
    Native,
    /// Only from the start on: a spool is needed for the rest.
    Sequential,
}

/// How files are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteAccess {
    /// Not at all.
    None,
    /// From the start to the end: a spool is needed for anything else.
    Sequential,
    /// At any offset.
    Random,
}

/// What a backend can do. A plain record: [`crate::Checked`] refuses what is missing before the
/// backend is called, so that no backend silently ignores an argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capabilities {
    /// Which names it holds.
    pub names: Names,
    /// How ranges are read.
    pub ranges: Ranges,
    /// How files are written.
    pub write: WriteAccess,
    /// `WriteMode::Update` and `read_back` on existing files.
    pub update: bool,
    /// `WriteMode::Append` on existing files.
    pub append: bool,
    /// Kept partials and `WriteMode::Resume`.
    pub resume: bool,
    /// Kept partials are told by directory, not by exact name alone.
    pub list_partials: bool,
    /// An existing file can be replaced by an upload.
    pub replace: bool,
    /// Files can be removed.
    pub remove: bool,
    /// Directories can be made and removed.
    pub directories: bool,
    /// Files can be renamed.
    pub rename: bool,
    /// Files can be moved to another directory under the same name; `rename` implies it.
    pub moves: bool,
    /// Directories can be renamed.
    pub rename_dir: bool,
    /// Times can be set.
    pub set_times: bool,
    /// Permission bits can be set.
    pub set_mode: bool,
    /// Times and permissions that cannot be set are taken and dropped, not refused: for clients that
    /// give every file they have uploaded its times, and call the upload failed where that fails.
    pub drops_attrs: bool,
    /// Server-side copy.
    pub copy: bool,
    /// Symbolic links can be read.
    pub symlinks: bool,
    /// Hard links can be made.
    pub hard_links: bool,
    /// Free space is known.
    pub space: bool,
    /// Longest name, in bytes.
    pub max_name: usize,
    /// Largest file that can be written, in bytes.
    pub max_file: Option<u64>,
    /// Listings come from a remote store, page by page: a cache is worth its price.
    pub paged: bool,
}

impl Capabilities {
    /// A read-only store of UTF-8 names: what a backend starts from.
    #[must_use]
    pub const fn read_only() -> Self {
        Self {
            names: Names::Utf8,
            ranges: Ranges::Native,
            write: WriteAccess::None,
            update: false,
            append: false,
            resume: false,
            list_partials: false,
            replace: false,
            remove: false,
            directories: false,
            rename: false,
            moves: false,
            rename_dir: false,
            set_times: false,
            set_mode: false,
            drops_attrs: false,
            copy: false,
            symlinks: false,
            hard_links: false,
            space: false,
            max_name: 255,
            max_file: None,
            paged: false,
        }
    }

    /// A full read-write store of byte names, as a local disk is.
    #[must_use]
    pub const fn full() -> Self {
        Self {
            names: Names::Bytes,
            ranges: Ranges::Native,
            write: WriteAccess::Random,
            update: true,
            append: true,
            resume: true,
            list_partials: true,
            replace: true,
            remove: true,
            directories: true,
            rename: true,
            moves: true,
            rename_dir: true,
            set_times: true,
            set_mode: true,
            drops_attrs: false,
            copy: true,
            symlinks: true,
            hard_links: true,
            space: true,
            max_name: 255,
            max_file: None,
            paged: false,
        }
    }
}
