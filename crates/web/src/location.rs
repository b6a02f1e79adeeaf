//! Paths in addresses: percent-encoding of bytes, decoded exactly once, and the query of the API.
//!
//! Invariant: whatever bytes a name has, [`encode`] writes an address that [`decode`] reads back to
//! the same bytes, and that stands safely in an attribute, a header and a form.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};
use portreeve_model::{PathError, VPath};

/// Everything but the unreserved characters of RFC 3986 and the slash.
const KEEP: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'/');

/// As [`KEEP`], for one value (RFC 8187 `attr-char` is a superset).
const KEEP_VALUE: &AsciiSet = &KEEP.add(b'/');

/// A path as it stands in an address.
pub(crate) fn encode(path: &[u8]) -> String {
    percent_encode(path, KEEP).to_string()
}

/// One value: slashes are encoded too.
pub(crate) fn encode_value(value: &[u8]) -> String {
    percent_encode(value, KEEP_VALUE).to_string()
}

/// The path that an address names, decoded once.
pub(crate) fn decode(text: &str) -> Result<VPath, PathError> {
    let bytes: Vec<u8> = percent_decode_str(text).collect();
    VPath::parse(bytes)
}

/// The values of a query string that the API knows. Unknown keys and keys given twice are errors:
/// a mistyped `path` must not mean the root.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Query {
    pub(crate) path: Option<VPath>,
    pub(crate) cursor: Option<Box<[u8]>>,
    pub(crate) limit: Option<usize>,
    pub(crate) kind: Option<String>,
    pub(crate) next: Option<String>,
}

impl Query {
    /// Reads `a=b&c=d`; `+` is a blank, as forms write it.
    pub(crate) fn parse(text: Option<&str>) -> Result<Self, String> {
        let mut query = Self::default();
        for pair in text.unwrap_or("").split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = value.replace('+', " ");
            let bytes: Vec<u8> = percent_decode_str(&value).collect();
            query.set(key, bytes)?;
        }
        Ok(query)
    }

    fn set(&mut self, key: &str, value: Vec<u8>) -> Result<(), String> {
        match key {
            "path" => put(&mut self.path, key, parse_path(&value)?),
            "path_b64" => put(&mut self.path, key, path_from_base64(&value)?),
            "cursor" => {
                let raw = BASE64_URL_SAFE_NO_PAD
                    .decode(&value)
                    .map_err(|_| "the cursor is not one that this server gave out".to_owned())?;
                put(&mut self.cursor, key, raw.into())
            }
            "limit" => {
                let limit = text(value, key)?
                    .parse()
                    .map_err(|_| "limit must be a number".to_owned())?;
                put(&mut self.limit, key, limit)
            }
            "kind" => put(&mut self.kind, key, text(value, key)?),
            "next" => put(&mut self.next, key, text(value, key)?),
            other => Err(format!(
                "unknown query parameter '{}'",
                other.chars().take(40).collect::<String>()
            )),
        }
    }
}

fn put<T>(slot: &mut Option<T>, key: &str, value: T) -> Result<(), String> {
    if slot.replace(value).is_some() {
        return Err(format!(
            "'{key}' was given more than once (path and path_b64 are one)"
        ));
    }
    Ok(())
}

fn text(value: Vec<u8>, key: &str) -> Result<String, String> {
    String::from_utf8(value).map_err(|_| format!("{key} must be UTF-8"))
}

/// A path as sent in a query or a JSON body.
pub(crate) fn parse_path(bytes: &[u8]) -> Result<VPath, String> {
    VPath::parse(bytes).map_err(|e| e.to_string())
}

/// A path whose bytes were sent as base64url without padding: for names that are no UTF-8.
pub(crate) fn path_from_base64(text: &[u8]) -> Result<VPath, String> {
    let bytes = BASE64_URL_SAFE_NO_PAD
        .decode(text)
        .map_err(|_| "a path in base64 must be base64url without padding (RFC 4648 section 5)".to_owned())?;
    parse_path(&bytes)
}

/// Where to go after sign-in: only a page of files of ours, never another site.
pub(crate) fn safe_next(next: Option<&str>) -> &str {
    match next {
        Some(path) if path.starts_with("/files/") && path.bytes().all(|b| (0x21..0x7f).contains(&b)) => path,
        _ => "/files/",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_queries() {
        let query = Query::parse(Some("path=/a%20b+c%2Fd%FF&limit=5&cursor=AAE")).unwrap();
        assert_eq!(query.path.unwrap().as_bytes(), b"/a b c/d\xff");
        assert_eq!((query.limit, query.cursor), (Some(5), Some(Box::from([0, 1]))));
        let query = Query::parse(Some("path_b64=L_8")).unwrap();
        assert_eq!(query.path.unwrap().as_bytes(), b"/\xff");
        assert_eq!(Query::parse(None), Ok(Query::default()));
        for bad in [
            "pth=/a",
            "path=/a&path=/b",
            "path=/a&path_b64=L_8",
            "path=%00",
            "limit=-1",
            "limit=x",
            "cursor=%",
            "path_b64=a=",
            "kind=%FF",
        ] {
            assert!(Query::parse(Some(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn decodes_once_and_stays_beneath_the_root() {
        for (text, want) in [
            ("/a%2520b", "/a%20b"),
            ("/../../etc/passwd", "/etc/passwd"),
            ("/%2e%2e/%2e%2e/etc", "/etc"),
            ("/a%2f..%2f..%2fb", "/b"),
            ("/..%5cx", "/..\\x"),
        ] {
            assert_eq!(decode(text).unwrap().as_str(), Some(want), "{text}");
        }
    }

    #[test]
    fn next_never_leaves_the_site() {
        assert_eq!(safe_next(Some("/files/a%20b")), "/files/a%20b");
        for bad in [
            "//evil.example",
            "/\\evil",
            "https://evil.example",
            "/files",
            "/files/\r\nX: y",
            "/signout",
            "",
        ] {
            assert_eq!(safe_next(Some(bad)), "/files/", "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn every_name_comes_back(name in proptest::collection::vec(1u8..=255, 1..40)) {
            let mut raw = vec![b'/'];
            raw.extend(&name);
            let path = VPath::parse(&raw).unwrap();
            let text = encode(path.as_bytes());
            prop_assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~/%".contains(&b)));
            prop_assert_eq!(decode(&text).unwrap(), path.clone());
            let query = format!("path={}", encode_value(path.as_bytes()));
            prop_assert_eq!(Query::parse(Some(&query)).unwrap().path, Some(path));
        }
    }
}
