//! Ends of lines (RFC 959, section 3.1.1.1): CRLF on the wire, LF in files.
//!
//! Invariants: only ends of lines change; a CR at the end of one piece and the LF at the beginning of the
//! next are one end of line.

/// What becomes of bytes on their way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Text {
    /// Nothing.
    AsIs,
    /// LF goes out as CRLF (and CRLF as it is); CRLF comes in as LF.
    Convert,
}

/// Outward.
#[derive(Debug, Default)]
pub(super) struct Outward {
    after_cr: bool,
}

impl Outward {
    /// Appends `text` with CRLF for LF.
    pub(super) fn convert(&mut self, text: &[u8], out: &mut Vec<u8>) {
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            match line.split_last() {
                Some((b'\n', before)) => {
                    let after_cr = before.last().map_or(self.after_cr, |byte| *byte == b'\r');
                    out.extend_from_slice(before);
                    out.extend_from_slice(if after_cr { b"\n" } else { b"\r\n" });
                    self.after_cr = false;
                }
                _ => {
                    out.extend_from_slice(line);
                    self.after_cr = line.last() == Some(&b'\r');
                }
            }
        }
    }
}

/// Inward.
#[derive(Debug, Default)]
pub(super) struct Inward {
    /// A CR came last and was not passed on.
    held: bool,
}

impl Inward {
    /// Appends `text` with LF for CRLF.
    pub(super) fn convert(&mut self, text: &[u8], out: &mut Vec<u8>) {
        for line in text.split_inclusive(|byte| *byte == b'\r') {
            if std::mem::take(&mut self.held) && line.first() != Some(&b'\n') {
                out.push(b'\r');
            }
            match line.split_last() {
                Some((b'\r', before)) => {
                    out.extend_from_slice(before);
                    self.held = true;
                }
                _ => out.extend_from_slice(line),
            }
        }
    }

    /// A CR that nothing followed.
    pub(super) fn end(&mut self, out: &mut Vec<u8>) {
        if std::mem::take(&mut self.held) {
            out.push(b'\r');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outward(pieces: &[&[u8]]) -> Vec<u8> {
        let (mut outward, mut out) = (Outward::default(), Vec::new());
        for piece in pieces {
            outward.convert(piece, &mut out);
        }
        out
    }

    fn inward(pieces: &[&[u8]]) -> Vec<u8> {
        let (mut inward, mut out) = (Inward::default(), Vec::new());
        for piece in pieces {
            inward.convert(piece, &mut out);
        }
        inward.end(&mut out);
        out
    }

    #[test]
    fn ends_of_lines_change_and_nothing_else() {
        for (file, wire) in [
            (&b""[..], &b""[..]),
            (b"a\nb\n", b"a\r\nb\r\n"),
            (b"\n\n", b"\r\n\r\n"),
            (b"a\rb", b"a\rb"),
            (b"\xff\x00\r", b"\xff\x00\r"),
            (b"a\r\rb\n", b"a\r\rb\r\n"),
        ] {
            assert_eq!(outward(&[file]), wire);
            assert_eq!(inward(&[wire]), file);
        }
        assert_eq!(outward(&[b"a\r\nb\n"]), b"a\r\nb\r\n");
        assert_eq!(inward(&[b"a\r\r\nb"]), b"a\r\nb");
    }

    #[test]
    fn where_pieces_end_does_not_matter() {
        let (file, wire) = (
            b"\na\r\n\n\rb\n\r\n\r".as_slice(),
            b"\r\na\r\n\r\n\r\rb\r\n\n\r".as_slice(),
        );
        let (whole_out, whole_in) = (outward(&[file]), inward(&[wire]));
        for i in 0..file.len() {
            for j in i..file.len() {
                assert_eq!(outward(&[&file[..i], &file[i..j], &file[j..]]), whole_out);
            }
        }
        for i in 0..wire.len() {
            for j in i..wire.len() {
                assert_eq!(inward(&[&wire[..i], &wire[i..j], &wire[j..]]), whole_in);
            }
        }
    }
}
