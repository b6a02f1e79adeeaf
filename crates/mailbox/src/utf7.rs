//! Folder names as IMAP and Maildir++ write them: modified UTF-7 (RFC 3501 §5.1.3). Pure.

use base64::{
    Engine,
    alphabet::IMAP_MUTF7,
    engine::{
        DecodePaddingMode,
        general_purpose::{GeneralPurpose, GeneralPurposeConfig},
    },
};

/// base64 with a comma, without padding. Some servers leave bits behind the last character.
const ENGINE: GeneralPurpose = GeneralPurpose::new(
    &IMAP_MUTF7,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// A name as it is written on the wire.
pub(crate) fn encode(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut wide: Vec<u8> = Vec::new();
    let flush = |wide: &mut Vec<u8>, out: &mut String| {
        if !wide.is_empty() {
            out.push('&');
            ENGINE.encode_string(&*wide, out);
            out.push('-');
            wide.clear();
        }
    };
    for c in name.chars() {
        if matches!(c, ' '..='~') {
            flush(&mut wide, &mut out);
            out.push(c);
            if c == '&' {
                out.push('-');
            }
        } else {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                wide.extend_from_slice(&unit.to_be_bytes());
            }
        }
    }
    flush(&mut wide, &mut out);
    out
}

/// The name that is meant; what is no modified UTF-7 stays as it is written.
pub(crate) fn decode(wire: &str) -> String {
    let mut out = String::with_capacity(wire.len());
    let mut rest = wire;
    while let Some((before, after)) = rest.split_once('&') {
        out.push_str(before);
        let Some((code, next)) = after.split_once('-') else {
            out.push('&');
            rest = after;
            continue;
        };
        rest = next;
        if code.is_empty() {
            out.push('&');
            continue;
        }
        match wide(code) {
            Some(text) => out.push_str(&text),
            None => {
                out.push('&');
                out.push_str(code);
                out.push('-');
            }
        }
    }
    out.push_str(rest);
    out
}

fn wide(code: &str) -> Option<String> {
    let bytes = ENGINE.decode(code).ok()?;
    let (units, rest) = bytes.as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    let units: Vec<u16> = units.iter().map(|pair| u16::from_be_bytes(*pair)).collect();
    String::from_utf16(&units).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_names() {
        for (name, wire) in [
            ("INBOX", "INBOX"),
            ("R&D", "R&-D"),
            ("Entw\u{fc}rfe", "Entw&APw-rfe"),
            (
                "~peter/mail/\u{53f0}\u{5317}/\u{65e5}\u{672c}\u{8a9e}",
                "~peter/mail/&U,BTFw-/&ZeVnLIqe-",
            ),
            ("\u{1f4e7}", "&2D3c5w-"),
        ] {
            assert_eq!(encode(name), wire);
            assert_eq!(decode(wire), name);
        }
        // What no encoder writes stays.
        for wire in ["a&", "a&b", "&!!-x", "&AA-"] {
            assert_eq!(decode(wire), wire, "{wire}");
        }
    }

    proptest! {
        #[test]
        fn comes_back(name in "\\PC{0,40}") {
            let wire = encode(&name);
            prop_assert!(wire.bytes().all(|byte| matches!(byte, b' '..=b'~')));
            prop_assert_eq!(decode(&wire), name);
        }

        #[test]
        fn takes_anything(wire in ".{0,60}") {
            decode(&wire);
        }
    }
}
