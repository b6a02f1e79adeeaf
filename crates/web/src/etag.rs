//! Validators of a file (RFC 9110 §8.8) and the preconditions that name them (§13).

use axum::http::{HeaderMap, HeaderName, header};
use portreeve_session::Entry;

use crate::stamp;

/// The strong validator of a file as it is; none where nothing that changes with it is known.
pub(crate) fn of(entry: &Entry) -> Option<String> {
    let size = entry.size?;
    match (entry.version, entry.modified) {
        (Some(version), _) => Some(format!("\"{version:x}-{size:x}\"")),
        (None, Some(at)) => Some(format!("\"{size:x}-{:x}.{:x}\"", at.seconds, at.nanos)),
        (None, None) => None,
    }
}

/// A list of validators: `*`, or entity tags.
#[derive(Debug, PartialEq, Eq)]
enum Tags<'a> {
    Any,
    List(Vec<&'a str>),
}

fn tags<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<Tags<'a>> {
    let mut list = Vec::new();
    for value in headers.get_all(name) {
        let text = value.to_str().unwrap_or("").trim();
        if text == "*" {
            return Some(Tags::Any);
        }
        list.extend(split(text));
    }
    headers.contains_key(name).then_some(Tags::List(list))
}

/// Cuts `"a", W/"b,c"` at the commas between quotes.
fn split(text: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    text.split(move |c| {
        if c == '"' {
            quoted = !quoted;
        }
        c == ',' && !quoted
    })
    .map(str::trim)
    .filter(|tag| !tag.is_empty())
}

/// What the preconditions of a request say about the file that is there (or is not).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Condition {
    /// Go on.
    Holds,
    /// 412: the file is not as the client thinks.
    Fails,
    /// 304: the client has it already (only for reading).
    NotModified,
}

/// Whether a request that reads may go on (`If-Match`, `If-None-Match`, and the two dates).
pub(crate) fn for_reading(headers: &HeaderMap, entry: &Entry) -> Condition {
    let tag = of(entry);
    let tag = tag.as_deref();
    if let Some(wanted) = tags(headers, &header::IF_MATCH) {
        if !matches(&wanted, true, tag, strong) {
            return Condition::Fails;
        }
    } else if let (Some(since), Some(at)) = (date(headers, &header::IF_UNMODIFIED_SINCE), entry.modified)
        && at.seconds > since
    {
        return Condition::Fails;
    }
    if let Some(known) = tags(headers, &header::IF_NONE_MATCH) {
        if matches(&known, true, tag, weak) {
            return Condition::NotModified;
        }
    } else if let (Some(since), Some(at)) = (date(headers, &header::IF_MODIFIED_SINCE), entry.modified)
        && at.seconds <= since
    {
        return Condition::NotModified;
    }
    Condition::Holds
}

/// Whether a request that changes what is at a path may go on. `entry` is none where nothing is.
pub(crate) fn for_writing(headers: &HeaderMap, entry: Option<&Entry>) -> Condition {
    let tag = entry.and_then(of);
    let tag = tag.as_deref();
    let there = entry.is_some();
    if tags(headers, &header::IF_MATCH).is_some_and(|wanted| !matches(&wanted, there, tag, strong)) {
        return Condition::Fails;
    }
    if tags(headers, &header::IF_NONE_MATCH).is_some_and(|known| matches(&known, there, tag, weak)) {
        return Condition::Fails;
    }
    let since = date(headers, &header::IF_UNMODIFIED_SINCE);
    match (since, entry.and_then(|entry| entry.modified)) {
        (Some(since), Some(at)) if at.seconds > since => Condition::Fails,
        _ => Condition::Holds,
    }
}

/// Whether the request asks about the state of its target at all.
pub(crate) fn has_condition(headers: &HeaderMap) -> bool {
    [
        header::IF_MATCH,
        header::IF_NONE_MATCH,
        header::IF_UNMODIFIED_SINCE,
    ]
    .iter()
    .any(|name| headers.contains_key(name))
}

/// Whether only a new file will do: `If-None-Match: *`.
pub(crate) fn only_new(headers: &HeaderMap) -> bool {
    tags(headers, &header::IF_NONE_MATCH) == Some(Tags::Any)
}

/// Whether a `Range` is to be heeded (`If-Range`, §13.1.5): a weak tag or another date never is.
pub(crate) fn range_applies(headers: &HeaderMap, entry: &Entry) -> bool {
    let Some(value) = headers.get(header::IF_RANGE) else {
        return true;
    };
    let text = value.to_str().unwrap_or("").trim();
    if text.starts_with('"') || text.starts_with("W/") {
        return of(entry).is_some_and(|tag| strong(&tag, text));
    }
    match (stamp::parse_http_date(text), entry.modified) {
        (Some(date), Some(at)) => date.seconds == at.seconds,
        _ => false,
    }
}

fn matches(wanted: &Tags<'_>, there: bool, tag: Option<&str>, same: fn(&str, &str) -> bool) -> bool {
    match wanted {
        Tags::Any => there,
        Tags::List(list) => tag.is_some_and(|tag| list.iter().any(|one| same(tag, one))),
    }
}

fn strong(ours: &str, theirs: &str) -> bool {
    ours == theirs
}

fn weak(ours: &str, theirs: &str) -> bool {
    ours == theirs.strip_prefix("W/").unwrap_or(theirs)
}

fn date(headers: &HeaderMap, name: &HeaderName) -> Option<i64> {
    let text = headers.get(name)?.to_str().ok()?;
    Some(stamp::parse_http_date(text)?.seconds)
}

#[cfg(test)]
mod tests {
    use portreeve_model::{Name, Timestamp};

    use super::*;

    fn file() -> Entry {
        let mut entry = Entry::file(Name::new(*b"a").unwrap(), 16);
        entry.version = Some(0xab);
        entry.modified = Some(Timestamp {
            seconds: 784_111_777,
            nanos: 5,
        });
        entry
    }

    fn headers(list: &[(&'static str, &'static str)]) -> HeaderMap {
        list.iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect()
    }

    const TAG: &str = "\"ab-10\"";
    const SAME: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";

    #[test]
    fn a_tag_changes_with_the_file() {
        let entry = file();
        assert_eq!(of(&entry).as_deref(), Some(TAG));
        let mut other = entry.clone();
        other.version = None;
        assert_eq!(of(&other).as_deref(), Some("\"10-2ebc98a1.5\""));
        other.modified = None;
        assert_eq!(of(&other), None);
    }

    #[test]
    fn reading() {
        use Condition::{Fails, Holds, NotModified};
        for (list, want) in [
            (&[][..], Holds),
            (&[("if-match", TAG)], Holds),
            (&[("if-match", "*")], Holds),
            (&[("if-match", "W/\"ab-10\"")], Fails),
            (&[("if-match", "\"x\", \"y,z\"")], Fails),
            (&[("if-none-match", "\"a,b\", W/\"ab-10\"")], NotModified),
            (&[("if-none-match", "\"x\"")], Holds),
            (&[("if-none-match", "\"x\""), ("if-modified-since", SAME)], Holds),
            (&[("if-modified-since", SAME)], NotModified),
            (&[("if-modified-since", BEFORE)], Holds),
            (&[("if-unmodified-since", BEFORE)], Fails),
            (&[("if-unmodified-since", SAME)], Holds),
            (&[("if-modified-since", "nonsense")], Holds),
        ] {
            assert_eq!(for_reading(&headers(list), &file()), want, "{list:?}");
        }
    }

    #[test]
    fn writing() {
        use Condition::{Fails, Holds};
        for (list, there, absent) in [
            (&[][..], Holds, Holds),
            (&[("if-match", "*")], Holds, Fails),
            (&[("if-match", TAG)], Holds, Fails),
            (&[("if-match", "\"x\"")], Fails, Fails),
            (&[("if-none-match", "*")], Fails, Holds),
            (&[("if-none-match", TAG)], Fails, Holds),
            (&[("if-unmodified-since", BEFORE)], Fails, Holds),
        ] {
            assert_eq!(for_writing(&headers(list), Some(&file())), there, "{list:?}");
            assert_eq!(for_writing(&headers(list), None), absent, "{list:?}");
        }
    }

    #[test]
    fn if_range() {
        for (list, want) in [
            (&[][..], true),
            (&[("if-range", TAG)], true),
            (&[("if-range", "W/\"ab-10\"")], false),
            (&[("if-range", "\"x\"")], false),
            (&[("if-range", SAME)], true),
            (&[("if-range", BEFORE)], false),
        ] {
            assert_eq!(range_applies(&headers(list), &file()), want, "{list:?}");
        }
    }
}
