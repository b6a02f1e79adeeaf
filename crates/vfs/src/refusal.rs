//! What a storage cannot do, said in words: pure checks of a request against [`Capabilities`].
//!
//! Every text names the ability that is missing and, where there is one, the limit.

use portreeve_model::VPath;

use crate::{Attrs, Capabilities, FsError, FsErrorKind, FsResult, Names, WriteAccess};

/// An error that says what the storage cannot do.
pub(crate) fn unsupported(what: &str) -> FsError {
    FsError::new(FsErrorKind::Unsupported).context(format!("this storage cannot {what}"))
}

/// `Ok` where `can`, else the refusal of `what`.
pub(crate) fn unless(can: bool, what: &str) -> FsResult<()> {
    if can { Ok(()) } else { Err(unsupported(what)) }
}

/// That anything can be written at all.
pub(crate) fn write(caps: &Capabilities) -> FsResult<()> {
    if caps.write == WriteAccess::None {
        return Err(FsError::new(FsErrorKind::ReadOnly).context("this storage is read-only"));
    }
    Ok(())
}

/// That the storage can hold the last name of `path`, which is to be made.
pub(crate) fn name(caps: &Capabilities, path: &VPath) -> FsResult<()> {
    let Some(name) = path.file_name() else {
        return Ok(());
    };
    if caps.names == Names::Utf8 && name.as_str().is_none() {
        return Err(FsError::new(FsErrorKind::InvalidName).context("this storage holds only names in UTF-8"));
    }
    let len = name.as_bytes().len();
    if len > caps.max_name {
        let max = caps.max_name;
        let text = format!("the name has {len} bytes, this storage holds names of at most {max}");
        return Err(FsError::new(FsErrorKind::InvalidName).context(text));
    }
    Ok(())
}

/// Whether a file can get this new path: by its new name, or by moving under the old one.
pub(crate) fn can_rename_file(caps: &Capabilities, from: &VPath, to: &VPath) -> bool {
    caps.rename || (caps.moves && from.file_name() == to.file_name() && from.parent() != to.parent())
}

/// That a file may have `size` bytes.
pub(crate) fn size(caps: &Capabilities, size: Option<u64>) -> FsResult<()> {
    if let (Some(size), Some(max)) = (size, caps.max_file)
        && size > max
    {
        let text = format!("{size} bytes are too many, this storage holds files of at most {max}");
        return Err(FsError::new(FsErrorKind::TooLarge).context(text));
    }
    Ok(())
}

/// That every attribute asked for can be set, or may be dropped; `resize` says whether a size can.
pub(crate) fn attrs(caps: &Capabilities, attrs: &Attrs, resize: bool) -> FsResult<()> {
    unless(attrs.size.is_none() || resize, "change the size of a file")?;
    unless(
        attrs.mode.is_none() || caps.set_mode || caps.drops_attrs,
        "set permissions",
    )?;
    unless(
        (attrs.modified.is_none() && attrs.accessed.is_none()) || caps.set_times || caps.drops_attrs,
        "set times",
    )
}

/// The attributes without those that the storage cannot set. For a file or directory to be made: a
/// client that creates always sends some (OpenSSH sends permissions), and to refuse the upload for
/// their sake would help nobody. Setting them later, by name, is refused, unless the storage drops them.
pub(crate) fn settable(caps: &Capabilities, attrs: Attrs) -> Attrs {
    Attrs {
        size: attrs.size,
        mode: attrs.mode.filter(|_| caps.set_mode),
        modified: attrs.modified.filter(|_| caps.set_times),
        accessed: attrs.accessed.filter(|_| caps.set_times),
    }
}
