//! The parts of a message from its BODYSTRUCTURE (RFC 3501 §7.4.2): their sections, names and kinds.
//!
//! Invariants: the tree is walked with a stack of our own, to the depth and number of parts that a message at
//! hand is (see `mime`); whatever does not look as it should is said to be incomplete, so that no deletion
//! ever costs a message that was not understood.

use super::wire::Value;
use crate::mime::{Described, MAX_DEPTH, MAX_PARTS, Within, describe, within};

/// One part that is no multipart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    /// Its number in the message: `2.1`.
    pub(super) section: String,
    /// What it is.
    pub(super) described: Described,
    /// Length of its body as it is encoded, in bytes, as the server says.
    pub(super) octets: u64,
    /// Whether its multipart holds nothing else.
    pub(super) alone: bool,
    /// Whether it is the message's own body.
    pub(super) root: bool,
}

/// A message in parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Structure {
    /// In the message's order.
    pub(super) parts: Vec<Part>,
    /// Whether these are all.
    pub(super) complete: bool,
}

struct Piece<'a> {
    value: &'a Value,
    section: String,
    within: Within,
    alone: bool,
    depth: usize,
}

impl Structure {
    /// Reads a BODYSTRUCTURE.
    pub(super) fn read(body: &Value) -> Self {
        let mut parts = Vec::new();
        let mut complete = true;
        let mut todo = vec![Piece {
            value: body,
            section: String::new(),
            within: Within::Message,
            alone: true,
            depth: 0,
        }];
        while let Some(piece) = todo.pop() {
            if parts.len() >= MAX_PARTS {
                complete = false;
                break;
            }
            let Some(items) = piece.value.list() else {
                complete = false;
                continue;
            };
            let children = items.iter().take_while(|item| item.list().is_some()).count();
            if children == 0 {
                match leaf(items, &piece) {
                    Some(part) => parts.push(part),
                    None => complete = false,
                }
                continue;
            }
            if piece.depth >= MAX_DEPTH {
                complete = false;
                continue;
            }
            let kept = children.min(MAX_PARTS - parts.len());
            complete &= kept == children;
            let subtype = items.get(children).and_then(Value::text).unwrap_or_default();
            let subtype = subtype.to_ascii_lowercase();
            for (index, value) in items.iter().take(kept).enumerate().rev() {
                let dot = if piece.section.is_empty() { "" } else { "." };
                todo.push(Piece {
                    value,
                    section: format!("{}{dot}{}", piece.section, index + 1),
                    within: within(&subtype, index == 0),
                    alone: children == 1,
                    depth: piece.depth + 1,
                });
            }
        }
        Self { parts, complete }
    }
}

fn leaf(items: &[Value], piece: &Piece<'_>) -> Option<Part> {
    let main = items.first()?.text().unwrap_or_default().to_ascii_lowercase();
    let subtype = items.get(1)?.text().unwrap_or_default().to_ascii_lowercase();
    let octets = items.get(6)?.number()?;
    let message = main == "message"
        && matches!(&*subtype, "rfc822" | "global")
        && items.get(8).is_some_and(|inner| inner.list().is_some());
    let extension = match &*main {
        "text" => 8,
        _ if message => 10,
        _ => 7,
    };
    let mut header = Vec::new();
    if !main.is_empty() {
        field(
            &mut header,
            b"Content-Type",
            format!("{main}/{subtype}").as_bytes(),
        );
        parameters(&mut header, items.get(2));
        header.extend_from_slice(b"\r\n");
    }
    if let Some(id) = items.get(3).and_then(Value::bytes) {
        field(&mut header, b"Content-ID", id);
        header.extend_from_slice(b"\r\n");
    }
    if let Some(encoding) = items.get(5).and_then(Value::bytes) {
        field(&mut header, b"Content-Transfer-Encoding", encoding);
        header.extend_from_slice(b"\r\n");
    }
    // After the digest: (type parameters).
    if let Some(disposition) = items.get(extension + 1).and_then(Value::list)
        && let Some(word) = disposition.first().and_then(Value::bytes)
    {
        field(&mut header, b"Content-Disposition", word);
        parameters(&mut header, disposition.get(1));
        header.extend_from_slice(b"\r\n");
    }
    header.extend_from_slice(b"\r\n");
    let envelope = items.get(7).filter(|_| message).and_then(Value::list);
    let subject = envelope.and_then(|envelope| envelope.get(1)?.bytes());
    let root = piece.section.is_empty();
    Some(Part {
        section: if root { "1".into() } else { piece.section.clone() },
        described: describe(&header, piece.within, subject.map(|subject| &subject[..])),
        octets,
        alone: piece.alone,
        root,
    })
}

/// Writes the beginning of a header field; nothing of what a stranger sent begins another one.
fn field(header: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    header.extend_from_slice(name);
    header.extend_from_slice(b": ");
    header.extend(value.iter().filter(|byte| !matches!(byte, b'\r' | b'\n')));
}

/// Writes the parameters of a field as they were in the message: tokens as tokens, the rest quoted.
fn parameters(header: &mut Vec<u8>, list: Option<&Value>) {
    let (pairs, _) = list.and_then(Value::list).unwrap_or_default().as_chunks::<2>();
    for [name, value] in pairs {
        let (Some(name), Some(value)) = (name.bytes(), value.bytes()) else {
            continue;
        };
        header.extend_from_slice(b";\r\n ");
        header.extend(name.iter().filter(|byte| is_token(**byte)));
        header.push(b'=');
        if name.ends_with(b"*") && !value.is_empty() && value.iter().all(|byte| is_token(*byte)) {
            header.extend_from_slice(value);
            continue;
        }
        header.push(b'"');
        for byte in value {
            match byte {
                b'\r' | b'\n' => {}
                b'"' | b'\\' => header.extend_from_slice(&[b'\\', *byte]),
                _ => header.push(*byte),
            }
        }
        header.push(b'"');
    }
}

const fn is_token(byte: u8) -> bool {
    byte.is_ascii_graphic()
        && !matches!(
            byte,
            b'(' | b')'
                | b'<'
                | b'>'
                | b'@'
                | b','
                | b';'
                | b':'
                | b'\\'
                | b'"'
                | b'/'
                | b'['
                | b']'
                | b'?'
                | b'='
        )
}

/// The section that a part had before `removed` parts were taken out, one after the other, each named by its
/// section at that time: what stays the same while siblings go.
pub(super) fn original(section: &str, removed: &[String]) -> String {
    let mut path: Vec<u32> = numbers(section);
    for gone in removed.iter().rev() {
        let gone = numbers(gone);
        let Some((last, parents)) = gone.split_last() else {
            continue;
        };
        let below = path.get(..parents.len()).is_some_and(|own| own == parents);
        if let Some(step) = path.get_mut(parents.len())
            && below
            && *step >= *last
        {
            *step = step.saturating_add(1);
        }
    }
    let path: Vec<String> = path.iter().map(u32::to_string).collect();
    path.join(".")
}

fn numbers(section: &str) -> Vec<u32> {
    section.split('.').filter_map(|step| step.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::{AttachmentKind, mime::Encoding};

    fn read(text: &str) -> Structure {
        let values = Value::parse(&Bytes::copy_from_slice(text.as_bytes()), 0)
            .unwrap()
            .0;
        Structure::read(&values[0])
    }

    fn check(text: &str, want: &[(&str, Option<AttachmentKind>, &str, u64)]) {
        let found = read(text);
        let have: Vec<_> = found
            .parts
            .iter()
            .map(|part| {
                (
                    &*part.section,
                    part.described.kind,
                    &*part.described.name,
                    part.octets,
                )
            })
            .collect();
        assert_eq!(have, want, "{text}");
        assert!(found.complete, "{text}");
    }

    const TEXT: &str = r#"("text" "plain" ("charset" "utf-8") NIL NIL "7bit" 10 1 NIL NIL NIL NIL)"#;

    #[test]
    fn tells_parts_as_a_message_at_hand_does() {
        use AttachmentKind::{File, Inline, Item};
        let pdf = r#"("application" "pdf" ("name" "a.pdf") NIL NIL "base64" 20 NIL ("attachment" ("filename" "a.pdf")) NIL NIL)"#;
        check(
            &format!(r#"({TEXT}{pdf} "mixed" ("boundary" "b") NIL NIL NIL)"#),
            &[("1", None, "attachment.txt", 10), ("2", Some(File), "a.pdf", 20)],
        );
        // A message that is nothing but a file; one that is nothing but a text.
        check(pdf, &[("1", Some(File), "a.pdf", 20)]);
        check(TEXT, &[("1", None, "attachment.txt", 10)]);
        // Without extension data, in lower and upper case.
        check(
            r#"(("TEXT" "PLAIN" NIL NIL NIL "7BIT" 1 1)("IMAGE" "PNG" ("NAME" "p.png") NIL NIL "BASE64" 8) "MIXED")"#,
            &[("1", None, "attachment.txt", 1), ("2", Some(File), "p.png", 8)],
        );
        // A text with its picture, deeper down.
        check(
            &format!(
                r#"((({TEXT}("text" "html" NIL NIL NIL "7bit" 4 1) "alternative")("image" "gif" ("name" "l.gif") "<l@x>" NIL "base64" 9 NIL ("inline" NIL) NIL) "related"){pdf} "mixed")"#
            ),
            &[
                ("1.1.1", None, "attachment.txt", 10),
                ("1.1.2", None, "attachment.html", 4),
                ("1.2", Some(Inline), "l.gif", 9),
                ("2", Some(File), "a.pdf", 20),
            ],
        );
        // A message within: one part, with the subject of what it holds; nothing of it is a part of ours.
        check(
            &format!(
                r#"({TEXT}("message" "rfc822" NIL NIL NIL "7bit" 300 ("date" "=?utf-8?Q?Gr=C3=BC=C3=9Fe?=" NIL NIL NIL NIL NIL NIL NIL "<i@x>") ({TEXT}{pdf} "mixed") 9 NIL ("attachment" ("filename" "x.eml")) NIL) "mixed")"#
            ),
            &[
                ("1", None, "attachment.txt", 10),
                ("2", Some(Item), "Gr\u{fc}\u{df}e.eml", 300),
            ],
        );
    }

    #[test]
    fn names_are_decoded_as_they_were_sent() {
        for (parameters, want) in [
            (r#"("filename" "=?utf-8?Q?=C3=A9.pdf?=")"#, "\u{e9}.pdf"),
            (r#"("filename*" "utf-8''%E2%82%AC.pdf")"#, "\u{20ac}.pdf"),
            (
                r#"("filename*0*" "utf-8''%E2%82%AC" "filename*1*" ".pdf")"#,
                "\u{20ac}.pdf",
            ),
            (r#"("filename" "a \"b\" \\ c.txt")"#, r#"a "b" \ c.txt"#),
            ("(\"filename\" {10}\r\n\u{e9}\r\nX:.txt)", "\u{e9}X:.txt"),
            (r#"("filename" NIL "filename")"#, "attachment.zip"),
        ] {
            let text =
                format!(r#"("application" "zip" NIL NIL NIL "8bit" 1 NIL ("attachment" {parameters}))"#);
            let found = read(&text);
            assert_eq!(found.parts[0].described.name, want, "{text}");
            assert_eq!(found.parts[0].described.encoding, Encoding::Identity);
        }
    }

    #[test]
    fn what_is_not_understood_is_incomplete() {
        for text in [
            "NIL",
            "()",
            "(NIL)",
            r#"("text" "plain")"#,
            r#"(("a" "b") "mixed")"#,
            "((()))",
        ] {
            assert!(!read(text).complete, "{text}");
        }
        let deep = format!("{}{TEXT}{}", "(".repeat(60), r#" "mixed")"#.repeat(60));
        assert!(!read(&deep).complete);
        let wide = format!(r#"({} "mixed")"#, TEXT.repeat(MAX_PARTS + 1));
        let wide = read(&wide);
        assert_eq!((wide.complete, wide.parts.len()), (false, MAX_PARTS));
    }

    #[test]
    fn sections_keep_their_first_numbers() {
        let removed = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        for (section, gone, want) in [
            ("2", &[][..], "2"),
            ("2", &["2"], "3"),
            ("1", &["2"], "1"),
            // First the second of four, then what was the third.
            ("2", &["2", "2"], "4"),
            ("2", &["1", "2"], "4"),
            ("1.2", &["1.1"], "1.3"),
            ("2.1", &["1"], "3.1"),
            ("2.1", &["1.1"], "2.1"),
            ("1", &["1.1"], "1"),
        ] {
            assert_eq!(original(section, &removed(gone)), want, "{section} {gone:?}");
        }
    }
}
