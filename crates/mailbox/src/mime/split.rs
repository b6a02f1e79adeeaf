//! The tree of parts of a message (RFC 2046 §5.1), as ranges of its bytes.
//!
//! Invariants: a delimiter counts only at the start of a line and only as a whole (`--b` is not
//! `--bc`); outer delimiters are found before inner ones, so that an inner multipart that is never
//! closed ends with its parent; every level scans its range once, and there are at most
//! [`MAX_DEPTH`] levels.

use std::ops::Range;

use super::headers::PartHeaders;

/// Deepest nesting of multiparts; what lies deeper is one opaque part.
pub(crate) const MAX_DEPTH: usize = 32;
/// Most parts of a message; what follows is not looked at, and said to be missing.
pub(crate) const MAX_PARTS: usize = 10_000;
/// Longest header of a part that is read, in bytes; the rest of it is ignored.
const MAX_HEADER: usize = 256 * 1024;

/// What encloses a part, as far as that tells what it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Within {
    /// The message itself: it has no multipart.
    Message,
    /// `multipart/alternative`.
    Alternative,
    /// `multipart/related`; the first child is the text that the others belong to.
    Related { first: bool },
    /// Any other multipart.
    Mixed,
}

/// A part that is no multipart.
#[derive(Debug)]
pub(super) struct Leaf {
    pub(super) headers: PartHeaders,
    /// Header and body.
    pub(super) whole: Range<usize>,
    /// Body, still encoded.
    pub(super) body: Range<usize>,
    /// What to take away with it: from its delimiter to the next one.
    pub(super) cut: Range<usize>,
    /// Whether it is the only child of its multipart.
    pub(super) alone: bool,
    pub(super) within: Within,
}

/// A message in parts.
#[derive(Debug)]
pub(super) struct Split {
    pub(super) leaves: Vec<Leaf>,
    /// The header of the message, blank line included.
    pub(super) header: Range<usize>,
    /// Whether all of it was looked at.
    pub(super) complete: bool,
}

/// A piece of the message between two delimiters.
struct Piece {
    range: Range<usize>,
    cut: Range<usize>,
    alone: bool,
    within: Within,
    depth: usize,
}

/// Splits `raw`.
pub(super) fn split(raw: &[u8]) -> Split {
    let mut leaves = Vec::new();
    let mut complete = true;
    // A stack instead of recursion; children are pushed in reverse, so that leaves come in order.
    let mut todo = vec![Piece {
        range: 0..raw.len(),
        cut: 0..raw.len(),
        alone: true,
        within: Within::Message,
        depth: 0,
    }];
    while let Some(piece) = todo.pop() {
        if leaves.len() >= MAX_PARTS {
            complete = false;
            break;
        }
        let body = header_end(raw, &piece.range)..piece.range.end;
        let header = piece.range.start..body.start.min(piece.range.start + MAX_HEADER);
        let headers = PartHeaders::read(raw.get(header).unwrap_or_default());
        if let Some(boundary) = headers.boundary.as_deref() {
            if piece.depth >= MAX_DEPTH {
                complete = false;
            } else {
                let room = MAX_PARTS - leaves.len();
                let (mut children, all) = children(raw, &body, boundary, room);
                complete &= all;
                if !children.is_empty() {
                    let alone = children.len() == 1;
                    for (index, (range, cut)) in children.drain(..).enumerate().rev() {
                        todo.push(Piece {
                            range,
                            cut,
                            alone,
                            within: within(&headers.subtype, index == 0),
                            depth: piece.depth + 1,
                        });
                    }
                    continue;
                }
            }
        }
        leaves.push(Leaf {
            headers,
            whole: piece.range,
            body,
            cut: piece.cut,
            alone: piece.alone,
            within: piece.within,
        });
    }
    Split {
        leaves,
        header: 0..header_end(raw, &(0..raw.len())),
        complete,
    }
}

/// What a multipart of this subtype makes of its first child, or of another.
pub(crate) fn within(subtype: &str, first: bool) -> Within {
    match subtype {
        "alternative" => Within::Alternative,
        "related" => Within::Related { first },
        _ => Within::Mixed,
    }
}

/// Where the body begins: after the first blank line.
fn header_end(raw: &[u8], range: &Range<usize>) -> usize {
    Lines::new(raw, range.clone())
        .find(|line| matches!(raw.get(line.clone()), Some(b"\n" | b"\r\n")))
        .map_or(range.end, |line| line.end)
}

type Ranges = Vec<(Range<usize>, Range<usize>)>;

/// The children of a multipart: content and what to cut. Answers whether all of them fitted.
fn children(raw: &[u8], body: &Range<usize>, boundary: &[u8], room: usize) -> (Ranges, bool) {
    let mut found = Vec::new();
    // The delimiter line that opened the child we are in.
    let mut open: Option<Range<usize>> = None;
    for line in Lines::new(raw, body.clone()) {
        let Some(closing) = delimiter(raw.get(line.clone()).unwrap_or_default(), boundary) else {
            continue;
        };
        if let Some(opener) = open.take() {
            if found.len() >= room {
                return (found, false);
            }
            let end = before_line_break(raw, opener.end, line.start);
            found.push((opener.end..end, opener.start..line.start));
        }
        if closing {
            return (found, true);
        }
        open = Some(line);
    }
    // Never closed: the last child ends with its parent.
    if let Some(opener) = open {
        if found.len() >= room {
            return (found, false);
        }
        found.push((opener.end..body.end, opener.start..body.end));
    }
    (found, true)
}

/// Whether `line` delimits `boundary`, and if so, whether it closes the multipart.
fn delimiter(line: &[u8], boundary: &[u8]) -> Option<bool> {
    let rest = line.strip_prefix(b"--")?.strip_prefix(boundary)?;
    let (closing, rest) = match rest.strip_prefix(b"--") {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    rest.iter().all(u8::is_ascii_whitespace).then_some(closing)
}

/// The line break before a delimiter belongs to the delimiter (RFC 2046 §5.1.1).
fn before_line_break(raw: &[u8], start: usize, end: usize) -> usize {
    let content = raw.get(start..end).unwrap_or_default();
    let content = content
        .strip_suffix(b"\r\n")
        .or_else(|| content.strip_suffix(b"\n"))
        .unwrap_or(content);
    start + content.len()
}

/// The lines of a range, each with its line break.
struct Lines<'a> {
    raw: &'a [u8],
    rest: Range<usize>,
}

impl<'a> Lines<'a> {
    const fn new(raw: &'a [u8], rest: Range<usize>) -> Self {
        Self { raw, rest }
    }
}

impl Iterator for Lines<'_> {
    type Item = Range<usize>;

    fn next(&mut self) -> Option<Range<usize>> {
        if self.rest.is_empty() {
            return None;
        }
        let text = self.raw.get(self.rest.clone())?;
        let length = text
            .iter()
            .position(|b| *b == b'\n')
            .map_or(text.len(), |at| at + 1);
        let line = self.rest.start..self.rest.start + length;
        self.rest.start = line.end;
        Some(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bodies(raw: &str) -> Vec<String> {
        let raw = raw.replace('\n', "\r\n");
        split(raw.as_bytes())
            .leaves
            .iter()
            .map(|leaf| raw[leaf.body.clone()].to_owned())
            .collect()
    }

    #[test]
    fn splits_what_is_well_formed_and_what_is_not() {
        let mixed = "Content-Type: multipart/mixed; boundary=b\n\n";
        for (body, want) in [
            ("pre\n--b\n\none\n--b\n\ntwo\n--b--\npost", &["one", "two"][..]),
            // Never closed; boundary with blanks after it; no line break before the delimiter.
            ("--b  \n\none\n--b\n\ntwo", &["one", "two"]),
            // A longer delimiter is another one; one within a line is none.
            ("--b\n\none\n--bc\n x--b\n--b--", &["one\r\n--bc\r\n x--b"]),
            // Empty parts.
            ("--b\n\n--b\n\n\n--b--", &["", ""]),
            // No delimiter at all: the message is one opaque part.
            ("nothing", &["nothing"]),
        ] {
            assert_eq!(bodies(&format!("{mixed}{body}")), want, "{body}");
        }
        // An inner multipart that is never closed ends with the outer one; the same boundary twice.
        let inner = "Content-Type: multipart/alternative; boundary=i\n\n--i\n\nin";
        assert_eq!(
            bodies(&format!("{mixed}--b\n{inner}\n--b\n\nout\n--b--\n")),
            ["in", "out"]
        );
        assert_eq!(bodies(&format!("{mixed}--b\n{mixed}--b\n\nx\n--b--")).len(), 2);
    }

    #[test]
    fn stays_within_its_bounds() {
        let mut deep = String::new();
        for level in 0..1000 {
            deep.push_str(&format!(
                "Content-Type: multipart/mixed; boundary=b{level}\r\n\r\n--b{level}\r\n"
            ));
        }
        let deep = split(deep.as_bytes());
        assert!(!deep.complete);
        assert_eq!(deep.leaves.len(), 1);

        let mut wide = "Content-Type: multipart/mixed; boundary=b\r\n\r\n".to_owned();
        wide.push_str(&"--b\r\n\r\nx\r\n".repeat(MAX_PARTS + 5));
        let wide = split(wide.as_bytes());
        assert!(!wide.complete);
        assert_eq!(wide.leaves.len(), MAX_PARTS);
    }
}
