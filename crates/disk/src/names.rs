//! Names that belong to the server: unfinished uploads and journals.
//!
//! Invariant: a name that begins with [`PREFIX`] is never shown to a client, and no client can make,
//! open, rename or remove one.

use portreeve_model::{Name, VPath};
use portreeve_vfs::{FsError, FsErrorKind, FsResult, Owner};

/// How every name of ours begins.
const PREFIX: &[u8] = b".~portreeve-";

/// Whether a name belongs to the server.
pub(crate) fn is_reserved(name: &[u8]) -> bool {
    name.starts_with(PREFIX)
}

/// For look-ups: nothing is there under a reserved name.
pub(crate) fn hide_reserved(path: &VPath) -> FsResult<()> {
    if path.components().any(is_reserved) {
        return Err(FsErrorKind::NotFound.into());
    }
    Ok(())
}

/// For whatever makes a name: reserved names cannot be made.
pub(crate) fn refuse_reserved(path: &VPath) -> FsResult<()> {
    if path.components().any(is_reserved) {
        return Err(
            FsError::new(FsErrorKind::InvalidName).context("names that begin with .~portreeve- are reserved")
        );
    }
    Ok(())
}

/// Where the upload of `owner` to `name` is kept: the same name in every session and after a crash,
/// so that what a crash leaves is at once the partial that a resume finds.
pub(crate) fn partial(owner: &Owner, name: &Name) -> Vec<u8> {
    let mut input = Vec::with_capacity(owner.0.len() + 1 + name.as_bytes().len());
    input.extend_from_slice(owner.0.as_bytes());
    input.push(0);
    input.extend_from_slice(name.as_bytes());
    with_suffix(
        &stem("portreeve 2026 partial of owner and name", &input),
        b".part",
    )
}

/// A name of its own for one more upload of the same owner to the same name.
pub(crate) fn unique(owner: &Owner, name: &Name) -> FsResult<Vec<u8>> {
    let number = getrandom::u64().map_err(|error| FsError::new(FsErrorKind::Backend).caused_by(error))?;
    let partial = partial(owner, name);
    let stem = partial.strip_suffix(b".part").unwrap_or(&partial);
    Ok(with_suffix(stem, format!("-{number:016x}.part").as_bytes()))
}

/// The journal of an append in place to `name`.
pub(crate) fn undo(name: &Name) -> Vec<u8> {
    with_suffix(&stem("portreeve 2026 undo of name", name.as_bytes()), b".undo")
}

/// Whether a reserved name is an unfinished upload.
pub(crate) fn is_partial(name: &[u8]) -> bool {
    is_reserved(name) && name.ends_with(b".part")
}

/// Whether a reserved name is a journal.
pub(crate) fn is_undo(name: &[u8]) -> bool {
    is_reserved(name) && name.ends_with(b".undo")
}

/// Keeps names apart and short; hides nothing that the owner of the disk does not see anyway.
fn stem(context: &str, input: &[u8]) -> Vec<u8> {
    let hex = blake3::Hasher::new_derive_key(context)
        .update(input)
        .finalize()
        .to_hex();
    let half = hex.as_bytes().get(..32).unwrap_or(hex.as_bytes());
    with_suffix(PREFIX, half)
}

fn with_suffix(head: &[u8], tail: &[u8]) -> Vec<u8> {
    [head, tail].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::new(text.as_bytes()).unwrap()
    }

    #[test]
    fn one_owner_and_name_one_partial() {
        let (a, b) = (Owner("a".into()), Owner("b".into()));
        assert_eq!(partial(&a, &name("x")), partial(&a, &name("x")));
        assert_ne!(partial(&a, &name("x")), partial(&b, &name("x")));
        assert_ne!(partial(&a, &name("x")), partial(&a, &name("y")));
        assert_ne!(partial(&Owner("ab".into()), &name("c")), partial(&a, &name("bc")));
        assert_ne!(unique(&a, &name("x")).unwrap(), unique(&a, &name("x")).unwrap());
        let long = name(&"n".repeat(255));
        assert!(unique(&a, &long).unwrap().len() < 255 && undo(&long).len() < 255);
        for ours in [partial(&a, &long), unique(&a, &long).unwrap()] {
            assert!(is_partial(&ours) && !is_undo(&ours));
        }
    }

    #[test]
    fn reserved_anywhere_in_a_path() {
        for path in ["/.~portreeve-x", "/a/.~portreeve-/b"] {
            let path = VPath::parse(path).unwrap();
            assert!(hide_reserved(&path).is_err() && refuse_reserved(&path).is_err());
        }
        assert!(refuse_reserved(&VPath::parse("/.~portreev/x").unwrap()).is_ok());
    }
}
