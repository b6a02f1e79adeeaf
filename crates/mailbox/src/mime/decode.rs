//! Undoing a transfer encoding (RFC 2045 §6), piece by piece.
//!
//! Invariants: the result does not depend on how the input is cut into pieces; damage never fails
//! and never hangs: what is no base64 is skipped (RFC 2045 §6.8), what is no quoted-printable is
//! taken as it is (§6.7, note on robustness).

/// How a part's body is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// 7bit, 8bit, binary, and whatever is unknown: the bytes as they are.
    Identity,
    /// base64.
    Base64,
    /// quoted-printable.
    QuotedPrintable,
}

impl Encoding {
    /// By the value of `Content-Transfer-Encoding`.
    #[must_use]
    pub(crate) fn named(value: &str) -> Self {
        let value = value.trim();
        if value.eq_ignore_ascii_case("base64") {
            Self::Base64
        } else if value.eq_ignore_ascii_case("quoted-printable") {
            Self::QuotedPrintable
        } else {
            Self::Identity
        }
    }
}

/// Where decoded bytes go: a buffer, or only a count.
pub(crate) trait Sink {
    /// Takes one byte.
    fn push(&mut self, byte: u8);
    /// Takes several.
    fn extend(&mut self, bytes: &[u8]);
}

impl Sink for Vec<u8> {
    fn push(&mut self, byte: u8) {
        Self::push(self, byte);
    }

    fn extend(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// Counts.
impl Sink for u64 {
    fn push(&mut self, _: u8) {
        *self += 1;
    }

    fn extend(&mut self, bytes: &[u8]) {
        *self += bytes.len() as Self;
    }
}

/// A decoder in mid-stream.
#[derive(Debug)]
pub(crate) struct Decoder(State);

#[derive(Debug)]
enum State {
    Identity,
    Base64 {
        bits: u32,
        digits: u8,
    },
    Quoted {
        /// Blanks that are only real when more text follows on the line.
        blanks: Vec<u8>,
        /// `=` and what followed it, undecided.
        escape: Vec<u8>,
    },
}

impl Decoder {
    /// At the start of a body.
    #[must_use]
    pub(crate) const fn new(encoding: Encoding) -> Self {
        Self(match encoding {
            Encoding::Identity => State::Identity,
            Encoding::Base64 => State::Base64 { bits: 0, digits: 0 },
            Encoding::QuotedPrintable => State::Quoted {
                blanks: Vec::new(),
                escape: Vec::new(),
            },
        })
    }

    /// Decodes the next piece.
    pub(crate) fn feed(&mut self, piece: &[u8], into: &mut impl Sink) {
        match &mut self.0 {
            State::Identity => into.extend(piece),
            State::Base64 { bits, digits } => {
                for byte in piece {
                    base64(*byte, bits, digits, into);
                }
            }
            State::Quoted { blanks, escape } => {
                for byte in piece {
                    quoted(*byte, blanks, escape, into);
                }
            }
        }
    }

    /// Ends the body.
    pub(crate) fn finish(self, into: &mut impl Sink) {
        match self.0 {
            State::Identity => {}
            State::Base64 { bits, digits } => flush(bits, digits, into),
            // A lone `=` at the end is a soft line break; half an escape is taken as it is.
            State::Quoted { escape, .. } => {
                if escape.len() > 1 && !escape.iter().skip(1).all(u8::is_ascii_whitespace) {
                    into.extend(&escape);
                }
            }
        }
    }
}

/// The whole of `body`, decoded.
#[must_use]
pub(crate) fn decode(encoding: Encoding, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    run(encoding, body, &mut out);
    out
}

/// The decoded size of `body`, without decoding it into memory.
#[must_use]
pub(crate) fn decoded_size(encoding: Encoding, body: &[u8]) -> u64 {
    let mut count = 0u64;
    run(encoding, body, &mut count);
    count
}

fn run(encoding: Encoding, body: &[u8], into: &mut impl Sink) {
    let mut decoder = Decoder::new(encoding);
    decoder.feed(body, into);
    decoder.finish(into);
}

fn base64(byte: u8, bits: &mut u32, digits: &mut u8, into: &mut impl Sink) {
    let value = match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        b'=' => {
            flush(*bits, *digits, into);
            (*bits, *digits) = (0, 0);
            return;
        }
        _ => return,
    };
    *bits = *bits << 6 | u32::from(value);
    *digits += 1;
    if *digits == 4 {
        let [_, a, b, c] = bits.to_be_bytes();
        into.extend(&[a, b, c]);
        (*bits, *digits) = (0, 0);
    }
}

fn flush(bits: u32, digits: u8, into: &mut impl Sink) {
    match digits {
        2 => into.push((bits >> 4).to_be_bytes()[3]),
        3 => {
            let [.., a, b] = (bits >> 2).to_be_bytes();
            into.extend(&[a, b]);
        }
        _ => {}
    }
}

fn quoted(byte: u8, blanks: &mut Vec<u8>, escape: &mut Vec<u8>, into: &mut impl Sink) {
    if !escape.is_empty() {
        escape.push(byte);
        match **escape {
            // A soft line break, with blanks before its end or without.
            [_, .., b'\n'] if escape.iter().skip(1).all(u8::is_ascii_whitespace) => escape.clear(),
            [_, b' ' | b'\t' | b'\r', ..] if byte.is_ascii_whitespace() && escape.len() < 256 => {}
            [_, a] if a.is_ascii_hexdigit() => {}
            [_, a, b] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit() => {
                into.push(hex(a) << 4 | hex(b));
                escape.clear();
            }
            // No escape: taken as it is, but its last byte may begin one.
            _ => {
                let mut held = std::mem::take(escape);
                if byte == b'=' {
                    held.pop();
                    escape.push(byte);
                }
                into.extend(&held);
            }
        }
        return;
    }
    match byte {
        b'=' => {
            into.extend(blanks);
            blanks.clear();
            escape.push(byte);
        }
        // Blanks at the end of a line were added on the way (RFC 2045 §6.7 rule 3). Longer runs
        // than a line may have are passed on, so that nobody makes us hold them.
        b' ' | b'\t' if blanks.len() < 1024 => blanks.push(byte),
        b'\r' if blanks.len() < 1024 => {
            // Kept with the blanks before it until the line feed shows that it was a line's end.
            blanks.push(byte);
        }
        b'\n' => {
            let crlf = blanks.last() == Some(&b'\r');
            blanks.clear();
            into.extend(if crlf { b"\r\n" } else { b"\n" });
        }
        _ => {
            into.extend(blanks);
            blanks.clear();
            into.push(byte);
        }
    }
}

const fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit.wrapping_sub(b'A').wrapping_add(10),
    }
}

#[cfg(test)]
mod tests {
    use base64::{Engine, engine::general_purpose::STANDARD};
    use proptest::prelude::*;

    use super::*;

    fn check(encoding: Encoding, body: &str, want: &[u8]) {
        assert_eq!(decode(encoding, body.as_bytes()), want, "{body:?}");
        assert_eq!(decoded_size(encoding, body.as_bytes()), want.len() as u64);
    }

    #[test]
    fn base64_survives_damage() {
        for (body, want) in [
            ("", &b""[..]),
            ("QUJD", b"ABC"),
            ("QUI=", b"AB"),
            ("QQ==", b"A"),
            ("QQ", b"A"),
            ("Q", b""),
            ("QU\r\nJD\r\n", b"ABC"),
            ("Q-U*J D", b"ABC"),
            ("QQ==QUJD", b"AABC"),
            ("====", b""),
        ] {
            check(Encoding::Base64, body, want);
        }
    }

    #[test]
    fn quoted_printable_survives_damage() {
        for (body, want) in [
            ("a=3Db", &b"a=b"[..]),
            ("a=3db", b"a=b"),
            ("soft=\r\nbreak=\nhere= \t\r\nend", b"softbreakhereend"),
            ("trailing \t\r\nblanks \n", b"trailing\r\nblanks\n"),
            ("a =20\r\n", b"a  \r\n"),
            ("bad=XYescape=4", b"bad=XYescape=4"),
            ("==41=4=41", b"=A=4A"),
            ("end=", b"end"),
            ("=C3=A9", "\u{e9}".as_bytes()),
            ("=\r\n", b""),
        ] {
            check(Encoding::QuotedPrintable, body, want);
        }
    }

    proptest! {
        #[test]
        fn base64_round_trips(data in proptest::collection::vec(any::<u8>(), 0..500)) {
            prop_assert_eq!(decode(Encoding::Base64, STANDARD.encode(&data).as_bytes()), data);
        }

        #[test]
        fn pieces_do_not_matter(
            body in proptest::collection::vec(prop_oneof![Just(b'='), Just(b'\r'), Just(b'\n'), Just(b' '), Just(b'4'), any::<u8>()], 0..200),
            size in 1usize..20,
            which in 0..3,
        ) {
            let encoding = [Encoding::Identity, Encoding::Base64, Encoding::QuotedPrintable][which as usize];
            let mut decoder = Decoder::new(encoding);
            let mut out = Vec::new();
            for piece in body.chunks(size) {
                decoder.feed(piece, &mut out);
            }
            decoder.finish(&mut out);
            prop_assert_eq!(out, decode(encoding, &body));
        }
    }
}
