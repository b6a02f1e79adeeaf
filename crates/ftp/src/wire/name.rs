//! Names and paths: bytes as they are, with UTF-8 as what they should be (RFC 2640).
//!
//! The rule for other bytes: they are taken and told unchanged. The rule for control characters: they
//! would split a line, so a name that holds one is shown escaped (`\x0a`) and cannot be asked for.

use portreeve_model::{PathError, VPath};

/// Why an argument is no path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAPath {
    /// Nothing was given.
    #[error("a path is missing")]
    Empty,
    /// A control character is in it.
    #[error("a path cannot contain control characters over FTP")]
    Control,
    /// It breaks a rule of all paths.
    #[error(transparent)]
    Path(#[from] PathError),
}

/// Appends `name` for a listing: in one line, whatever is in it.
pub fn append_shown(out: &mut Vec<u8>, name: &[u8]) {
    if !name.iter().any(u8::is_ascii_control) {
        out.extend_from_slice(name);
        return;
    }
    for byte in name {
        if byte.is_ascii_control() {
            out.extend_from_slice(&[b'\\', b'x', digit(byte >> 4), digit(byte & 15)]);
        } else {
            out.push(*byte);
        }
    }
}

const fn digit(nibble: u8) -> u8 {
    if nibble < 10 {
        b'0' + nibble
    } else {
        b'a' - 10 + nibble
    }
}

/// Appends `path` in quotation marks, those within it doubled, as 257 has it (RFC 959 appendix II).
pub fn append_quoted(out: &mut Vec<u8>, path: &VPath) {
    out.push(b'"');
    for (at, part) in path.as_bytes().split(|byte| *byte == b'"').enumerate() {
        if at > 0 {
            out.extend_from_slice(b"\"\"");
        }
        append_shown(out, part);
    }
    out.push(b'"');
}

/// The path that `argument` means to a client that is in `cwd`. A tilde is a name as any other.
///
/// # Errors
/// [`NotAPath`].
pub fn path(cwd: &VPath, argument: &[u8]) -> Result<VPath, NotAPath> {
    if argument.is_empty() {
        return Err(NotAPath::Empty);
    }
    if argument.iter().any(u8::is_ascii_control) {
        return Err(NotAPath::Control);
    }
    Ok(cwd.resolve(argument)?)
}
