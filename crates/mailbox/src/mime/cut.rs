//! Taking one part out of a message, byte-exactly: every other byte stays as it was.

use super::inspect::{Located, REMOVED};

/// The message without `part`, as slices of it and of what is put in.
///
/// - Of several parts in a multipart, the part goes with its delimiter.
/// - The only part of a multipart is replaced by an empty text: a multipart must have a part.
/// - The body of a message without multipart becomes empty, and the headers that describe it go.
/// - Where an equal part remains, a header remembers which one went.
pub(crate) fn cut(raw: &[u8], part: &Located) -> Vec<u8> {
    let mut out = Vec::with_capacity(raw.len());
    if part.twin {
        let break_ = if raw.contains(&b'\r') { "\r\n" } else { "\n" };
        out.extend_from_slice(format!("{REMOVED}: {}{break_}", part.attachment.id.0).as_bytes());
    }
    if part.root {
        let header = raw.get(..part.body.start).unwrap_or_default();
        without_content_headers(header, &mut out);
        return out;
    }
    out.extend_from_slice(raw.get(..part.cut.start).unwrap_or_default());
    if part.alone {
        let delimiter = raw.get(part.cut.clone()).unwrap_or_default();
        let line = delimiter
            .split_inclusive(|b| *b == b'\n')
            .next()
            .unwrap_or_default();
        let break_: &[u8] = if line.ends_with(b"\r\n") { b"\r\n" } else { b"\n" };
        out.extend_from_slice(line);
        for piece in [b"Content-Type: text/plain", break_, break_, break_] {
            out.extend_from_slice(piece);
        }
    }
    out.extend_from_slice(raw.get(part.cut.end..).unwrap_or_default());
    out
}

/// Copies a header without its `Content-…` fields and their continuation lines.
fn without_content_headers(header: &[u8], out: &mut Vec<u8>) {
    let mut dropping = false;
    for line in header.split_inclusive(|b| *b == b'\n') {
        if !matches!(line.first(), Some(b' ' | b'\t')) {
            dropping = line
                .get(..8)
                .is_some_and(|name| name.eq_ignore_ascii_case(b"content-"));
        }
        if !dropping {
            out.extend_from_slice(line);
        }
    }
}

#[cfg(test)]
mod tests {
    use portreeve_model::Timestamp;
    use proptest::prelude::*;

    use super::*;
    use crate::mime::{Inspected, inspect};

    fn look(raw: &[u8]) -> Inspected {
        inspect(raw, Timestamp::default())
    }

    fn ids(raw: &[u8]) -> Vec<String> {
        look(raw)
            .parts
            .iter()
            .map(|p| p.attachment.id.0.to_string())
            .collect()
    }

    fn part(name: &str, body: &str) -> String {
        format!("--b\r\nContent-Disposition: attachment; filename={name}\r\n\r\n{body}\r\n")
    }

    fn message(parts: &[(&str, &str)]) -> String {
        let parts: String = parts.iter().map(|(name, body)| part(name, body)).collect();
        format!("Subject: s\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\npre\r\n{parts}--b--\r\npost")
    }

    #[test]
    fn leaves_every_other_byte() {
        let raw = message(&[("a", "1"), ("b", "2"), ("c", "3")]);
        let found = look(raw.as_bytes());
        let after = cut(raw.as_bytes(), &found.parts[1]);
        assert_eq!(
            String::from_utf8(after).unwrap(),
            message(&[("a", "1"), ("c", "3")])
        );
    }

    #[test]
    fn an_equal_twin_keeps_its_id() {
        let raw = message(&[("a", "1"), ("a", "1"), ("a", "1")]);
        let before = ids(raw.as_bytes());
        let first = cut(raw.as_bytes(), &look(raw.as_bytes()).parts[0]);
        assert_eq!(ids(&first), before[1..]);
        let second = cut(&first, &look(&first).parts[0]);
        assert_eq!(ids(&second), before[2..]);
    }

    #[test]
    fn the_last_part_and_the_body_leave_a_message_behind() {
        let raw = message(&[("a", "1")]);
        let after = cut(raw.as_bytes(), &look(raw.as_bytes()).parts[0]);
        assert_eq!(
            String::from_utf8(after.clone()).unwrap(),
            "Subject: s\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\npre\r\n\
             --b\r\nContent-Type: text/plain\r\n\r\n\r\n--b--\r\npost"
        );
        assert!(look(&after).parts.is_empty());

        let raw = "Subject: s\nContent-Type: application/pdf;\n name=x.pdf\nTo: a@b\n\n%PDF";
        let after = cut(raw.as_bytes(), &look(raw.as_bytes()).parts[0]);
        assert_eq!(after, b"Subject: s\nTo: a@b\n\n");
        assert!(look(&after).parts.is_empty());
    }

    proptest! {
        /// Whatever is cut in whatever order: the others keep their ids and their bytes.
        #[test]
        fn siblings_stay(bodies in proptest::collection::vec("[ab]{0,2}(\r\n[ab-]{0,3})?", 1..7), order in proptest::collection::vec(0usize..7, 0..6)) {
            let parts: Vec<(&str, &str)> = bodies.iter().map(|b| ("same", b.as_str())).collect();
            let mut raw = message(&parts).into_bytes();
            for pick in order {
                let found = look(&raw);
                if found.parts.is_empty() { break; }
                let at = pick % found.parts.len();
                let mut want: Vec<(String, Vec<u8>)> = found.parts.iter()
                    .map(|p| (p.attachment.id.0.to_string(), raw[p.body.clone()].to_vec())).collect();
                want.remove(at);
                raw = cut(&raw, &found.parts[at]);
                let have: Vec<(String, Vec<u8>)> = look(&raw).parts.iter()
                    .map(|p| (p.attachment.id.0.to_string(), raw[p.body.clone()].to_vec())).collect();
                prop_assert_eq!(have, want);
            }
        }
    }
}
