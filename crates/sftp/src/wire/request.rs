//! Requests (draft-ietf-secsh-filexfer-02 §6, OpenSSH `PROTOCOL` §4): parsed once, trusted afterwards.

use bytes::Bytes;

use super::{
    WireAttrs,
    inbox::{Fields, Short},
};

/// A handle as the client sent it. Ours are eight random bytes; whatever else comes names nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Handle(pub Option<u64>);

/// What the flags of OPEN ask for (§6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OpenFlags(pub u32);

impl OpenFlags {
    /// `SSH_FXF_READ`.
    #[must_use]
    pub const fn read(self) -> bool {
        self.0 & 1 != 0
    }

    /// `SSH_FXF_WRITE`.
    #[must_use]
    pub const fn write(self) -> bool {
        self.0 & 2 != 0
    }

    /// `SSH_FXF_APPEND`.
    #[must_use]
    pub const fn append(self) -> bool {
        self.0 & 4 != 0
    }

    /// `SSH_FXF_CREAT`.
    #[must_use]
    pub const fn create(self) -> bool {
        self.0 & 8 != 0
    }

    /// `SSH_FXF_TRUNC`.
    #[must_use]
    pub const fn truncate(self) -> bool {
        self.0 & 16 != 0
    }

    /// `SSH_FXF_EXCL`.
    #[must_use]
    pub const fn exclusive(self) -> bool {
        self.0 & 32 != 0
    }
}

/// One packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incoming {
    /// Its id: comes back in the reply.
    pub id: u32,
    /// What it asks; none where the packet is malformed.
    pub request: Option<Request>,
}

/// What a client may ask. Paths are bytes as sent: the server resolves them.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the draft names every field so")]
pub enum Request {
    /// The first packet; its id is the version.
    Init,
    Open {
        path: Bytes,
        flags: OpenFlags,
        attrs: WireAttrs,
    },
    Close {
        handle: Handle,
    },
    Read {
        handle: Handle,
        offset: u64,
        len: u32,
    },
    Write {
        handle: Handle,
        offset: u64,
        data: Vec<Bytes>,
    },
    Lstat {
        path: Bytes,
    },
    Fstat {
        handle: Handle,
    },
    SetStat {
        path: Bytes,
        attrs: WireAttrs,
    },
    FSetStat {
        handle: Handle,
        attrs: WireAttrs,
    },
    OpenDir {
        path: Bytes,
    },
    ReadDir {
        handle: Handle,
    },
    Remove {
        path: Bytes,
    },
    MkDir {
        path: Bytes,
        attrs: WireAttrs,
    },
    RmDir {
        path: Bytes,
    },
    RealPath {
        path: Bytes,
    },
    Stat {
        path: Bytes,
    },
    Rename {
        from: Bytes,
        to: Bytes,
    },
    ReadLink {
        path: Bytes,
    },
    /// `target` is the first field: OpenSSH's order, not the draft's (`PROTOCOL` §4.1).
    SymLink {
        target: Bytes,
        link: Bytes,
    },
    Extended(Extension),
    /// A packet type that does not exist in version 3.
    Unknown(u8),
}

/// OpenSSH's extensions (`PROTOCOL` §4.3 to §4.13).
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "`PROTOCOL` names every field so")]
pub enum Extension {
    PosixRename {
        from: Bytes,
        to: Bytes,
    },
    StatVfs {
        path: Bytes,
    },
    FStatVfs {
        handle: Handle,
    },
    HardLink {
        existing: Bytes,
        new: Bytes,
    },
    FSync {
        handle: Handle,
    },
    LSetStat {
        path: Bytes,
        attrs: WireAttrs,
    },
    Limits,
    ExpandPath {
        path: Bytes,
    },
    HomeDirectory {
        user: Bytes,
    },
    CopyData {
        from: Handle,
        from_offset: u64,
        len: u64,
        to: Handle,
        to_offset: u64,
    },
    UsersGroupsById {
        users: usize,
        groups: usize,
    },
    Unknown(Bytes),
}

pub(super) fn parse(fields: &mut Fields<'_>) -> Incoming {
    let (Ok(kind), Ok(id)) = (fields.byte(), fields.u32()) else {
        return Incoming { id: 0, request: None };
    };
    Incoming {
        id,
        request: body(kind, fields).ok(),
    }
}

fn body(kind: u8, fields: &mut Fields<'_>) -> Result<Request, Short> {
    Ok(match kind {
        1 => Request::Init,
        3 => Request::Open {
            path: fields.string()?,
            flags: OpenFlags(fields.u32()?),
            attrs: WireAttrs::parse(fields)?,
        },
        4 => Request::Close {
            handle: handle(fields)?,
        },
        5 => Request::Read {
            handle: handle(fields)?,
            offset: fields.u64()?,
            len: fields.u32()?,
        },
        6 => Request::Write {
            handle: handle(fields)?,
            offset: fields.u64()?,
            data: fields.pieces()?,
        },
        7 => Request::Lstat {
            path: fields.string()?,
        },
        8 => Request::Fstat {
            handle: handle(fields)?,
        },
        9 => Request::SetStat {
            path: fields.string()?,
            attrs: WireAttrs::parse(fields)?,
        },
        10 => Request::FSetStat {
            handle: handle(fields)?,
            attrs: WireAttrs::parse(fields)?,
        },
        11 => Request::OpenDir {
            path: fields.string()?,
        },
        12 => Request::ReadDir {
            handle: handle(fields)?,
        },
        13 => Request::Remove {
            path: fields.string()?,
        },
        14 => Request::MkDir {
            path: fields.string()?,
            attrs: optional_attrs(fields)?,
        },
        15 => Request::RmDir {
            path: fields.string()?,
        },
        16 => Request::RealPath {
            path: fields.string()?,
        },
        17 => Request::Stat {
            path: fields.string()?,
        },
        18 => Request::Rename {
            from: fields.string()?,
            to: fields.string()?,
        },
        19 => Request::ReadLink {
            path: fields.string()?,
        },
        20 => Request::SymLink {
            target: fields.string()?,
            link: fields.string()?,
        },
        200 => Request::Extended(extension(fields)?),
        other => Request::Unknown(other),
    })
}

fn extension(fields: &mut Fields<'_>) -> Result<Extension, Short> {
    let name = fields.string()?;
    Ok(match &*name {
        b"posix-rename@openssh.com" => Extension::PosixRename {
            from: fields.string()?,
            to: fields.string()?,
        },
        b"statvfs@openssh.com" => Extension::StatVfs {
            path: fields.string()?,
        },
        b"fstatvfs@openssh.com" => Extension::FStatVfs {
            handle: handle(fields)?,
        },
        b"hardlink@openssh.com" => Extension::HardLink {
            existing: fields.string()?,
            new: fields.string()?,
        },
        b"fsync@openssh.com" => Extension::FSync {
            handle: handle(fields)?,
        },
        b"lsetstat@openssh.com" => Extension::LSetStat {
            path: fields.string()?,
            attrs: WireAttrs::parse(fields)?,
        },
        b"limits@openssh.com" => Extension::Limits,
        b"expand-path@openssh.com" => Extension::ExpandPath {
            path: fields.string()?,
        },
        b"home-directory" => Extension::HomeDirectory {
            user: fields.string()?,
        },
        b"copy-data" => Extension::CopyData {
            from: handle(fields)?,
            from_offset: fields.u64()?,
            len: fields.u64()?,
            to: handle(fields)?,
            to_offset: fields.u64()?,
        },
        b"users-groups-by-id@openssh.com" => Extension::UsersGroupsById {
            users: fields.string()?.len() / 4,
            groups: fields.string()?.len() / 4,
        },
        _ => Extension::Unknown(name),
    })
}

fn handle(fields: &mut Fields<'_>) -> Result<Handle, Short> {
    let raw = fields.string()?;
    Ok(Handle(raw.as_ref().try_into().ok().map(u64::from_be_bytes)))
}

/// MKDIR of some old clients carries no ATTRS at all.
fn optional_attrs(fields: &mut Fields<'_>) -> Result<WireAttrs, Short> {
    if fields.left() == 0 {
        return Ok(WireAttrs::default());
    }
    WireAttrs::parse(fields)
}
