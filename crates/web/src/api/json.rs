//! Entries as JSON, written by hand: a listing has hundreds of thousands of them.
//!
//! Invariant: whatever bytes a name has, the text is valid JSON, and `name_b64` holds the bytes where
//! `name` cannot.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use portreeve_session::{Entry, FileKind};

use crate::stamp;

/// Appends one entry: `{"name":…,"kind":…,"size":…,"modified":…,"mode":…}`; what is not known is left out.
pub(crate) fn push_entry(out: &mut Vec<u8>, entry: &Entry) {
    out.push(b'{');
    push_members(out, entry);
    out.push(b'}');
}

/// As [`push_entry`], with `etag` and `path` in front: the answer to stat.
pub(crate) fn entry_with(path: &[u8], etag: Option<&str>, entry: &Entry) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    out.push(b'{');
    push_text_member(&mut out, "path", path);
    if let Some(etag) = etag {
        out.extend_from_slice(b"\"etag\":");
        push_string(&mut out, etag);
        out.push(b',');
    }
    push_members(&mut out, entry);
    out.push(b'}');
    out
}

fn push_members(out: &mut Vec<u8>, entry: &Entry) {
    if let Some(name) = &entry.name {
        push_text_member(out, "name", name.as_bytes());
    }
    out.extend_from_slice(match entry.kind {
        FileKind::File => b"\"kind\":\"file\"",
        FileKind::Dir => b"\"kind\":\"dir\"",
        FileKind::Symlink => b"\"kind\":\"symlink\"",
        FileKind::Other => b"\"kind\":\"other\"",
    });
    if let Some(size) = entry.size {
        out.extend_from_slice(b",\"size\":");
        push_number(out, size);
    }
    if let Some(modified) = entry.modified {
        let before = out.len();
        out.extend_from_slice(b",\"modified\":\"");
        if stamp::push_rfc3339(modified, out) {
            out.push(b'"');
        } else {
            out.truncate(before);
        }
    }
    if let Some(mode) = entry.mode {
        out.extend_from_slice(b",\"mode\":\"");
        for shift in [9, 6, 3, 0] {
            out.push(b'0' + u8::try_from((mode >> shift) & 7).unwrap_or(0));
        }
        out.push(b'"');
    }
}

/// Appends `"key":"text",`, and `"key_b64":"…",` where the text is no UTF-8.
pub(crate) fn push_text_member(out: &mut Vec<u8>, key: &str, bytes: &[u8]) {
    push_key(out, key, "");
    if let Ok(text) = std::str::from_utf8(bytes) {
        push_string(out, text);
    } else {
        push_string(out, &String::from_utf8_lossy(bytes));
        out.push(b',');
        push_key(out, key, "_b64");
        out.push(b'"');
        out.extend_from_slice(BASE64_URL_SAFE_NO_PAD.encode(bytes).as_bytes());
        out.push(b'"');
    }
    out.push(b',');
}

fn push_key(out: &mut Vec<u8>, key: &str, suffix: &str) {
    out.push(b'"');
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(suffix.as_bytes());
    out.extend_from_slice(b"\":");
}

/// Appends a JSON string. Most names need no escape, and are copied as they are.
pub(crate) fn push_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    if text.bytes().any(needs_escape) {
        for byte in text.bytes() {
            push_escaped(out, byte);
        }
    } else {
        out.extend_from_slice(text.as_bytes());
    }
    out.push(b'"');
}

const fn needs_escape(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\' || byte == 0x7f
}

fn push_escaped(out: &mut Vec<u8>, byte: u8) {
    const HEX: [u8; 16] = *b"0123456789abcdef";
    if !needs_escape(byte) {
        out.push(byte);
    } else if byte == b'"' || byte == b'\\' {
        out.extend_from_slice(&[b'\\', byte]);
    } else {
        let digit = |n: u8| HEX.get(usize::from(n)).copied().unwrap_or(b'0');
        out.extend_from_slice(b"\\u00");
        out.extend_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
    }
}

/// Appends a number.
pub(crate) fn push_number(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0u8; 20];
    let mut used = 0;
    for place in digits.iter_mut().rev() {
        *place = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
        used += 1;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(digits.len() - used..).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use portreeve_model::{Name, Timestamp};
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn parsed(entry: &Entry) -> Value {
        let mut out = Vec::new();
        push_entry(&mut out, entry);
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn writes_what_is_known() {
        let mut entry = Entry::file(Name::new(*b"a.txt").unwrap(), u64::MAX);
        assert_eq!(
            parsed(&entry),
            json!({"name": "a.txt", "kind": "file", "size": u64::MAX})
        );
        entry.modified = Some(Timestamp::from_seconds(0));
        entry.mode = Some(0o100_640);
        assert_eq!(
            parsed(&entry),
            json!({"name": "a.txt", "kind": "file", "size": u64::MAX,
                "modified": "1970-01-01T00:00:00Z", "mode": "0640"})
        );
        entry.modified = Some(Timestamp::from_seconds(i64::MAX));
        assert!(parsed(&entry).get("modified").is_none());
        assert_eq!(parsed(&Entry::dir(None)), json!({"kind": "dir"}));
    }

    #[test]
    fn stat_has_path_and_tag() {
        let entry = Entry::file(Name::new(*b"b\xff").unwrap(), 0);
        let got: Value = serde_json::from_slice(&entry_with(b"/b\xff", Some("\"1-0\""), &entry)).unwrap();
        assert_eq!(
            got,
            json!({"path": "/b\u{fffd}", "path_b64": "L2L_", "etag": "\"1-0\"", "name": "b\u{fffd}",
                "name_b64": "Yv8", "kind": "file", "size": 0})
        );
    }

    proptest! {
        #[test]
        fn any_name_is_valid_json(raw in proptest::collection::vec(1u8..=255, 1..60)) {
            let Ok(name) = Name::new(raw.clone()) else { return Ok(()) };
            let got = parsed(&Entry::bare(Some(name), FileKind::File));
            let back = match got.get("name_b64") {
                Some(text) => BASE64_URL_SAFE_NO_PAD.decode(text.as_str().unwrap()).unwrap(),
                None => got["name"].as_str().unwrap().as_bytes().to_vec(),
            };
            prop_assert_eq!(back, raw);
        }

        #[test]
        fn numbers_are_numbers(number: u64) {
            let mut out = Vec::new();
            push_number(&mut out, number);
            prop_assert_eq!(String::from_utf8(out).unwrap(), number.to_string());
        }
    }
}
