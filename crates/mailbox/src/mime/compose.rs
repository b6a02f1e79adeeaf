//! Making a draft: one message with one attachment (RFC 5322, 2045, 2047, 2231), streamed.

use std::{
    io::{self, Read, Write},
    time::SystemTime,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::tz::TimeZone;

/// Bytes of content in one line of base64: 76 characters.
const LINE: usize = 57;

/// What the headers of a draft say.
#[derive(Debug)]
pub(crate) struct Envelope<'a> {
    pub(crate) subject: &'a str,
    pub(crate) file_name: &'a str,
    pub(crate) now: SystemTime,
    /// Random text for boundary and message id.
    pub(crate) unique: &'a str,
}

/// Writes the message, with `content` to its end attached.
pub(crate) fn compose(
    envelope: &Envelope<'_>,
    content: &mut impl Read,
    out: &mut impl Write,
) -> io::Result<()> {
    let boundary = format!("=_portreeve_{}", envelope.unique);
    let name = parameter(envelope.file_name);
    write!(
        out,
        "Date: {}\r\n\
         Subject: {}\r\n\
         Message-ID: <{}@portreeve.invalid>\r\n\
         MIME-Version: 1.0\r\n\
         Content-Type: multipart/mixed; boundary=\"{boundary}\"\r\n\
         \r\n\
         --{boundary}\r\n\
         Content-Type: text/plain; charset=us-ascii\r\n\
         \r\n\
         \r\n\
         --{boundary}\r\n\
         Content-Type: application/octet-stream\r\n\
         Content-Transfer-Encoding: base64\r\n\
         Content-Disposition: attachment;\r\n {name}\r\n\
         \r\n",
        date(envelope.now),
        words(envelope.subject),
        envelope.unique,
    )?;
    let mut block = vec![0; LINE * 1024];
    let mut text = String::new();
    loop {
        let filled = fill(content, &mut block)?;
        for line in block.get(..filled).unwrap_or_default().chunks(LINE) {
            text.clear();
            STANDARD.encode_string(line, &mut text);
            text.push_str("\r\n");
            out.write_all(text.as_bytes())?;
        }
        if filled < block.len() {
            break;
        }
    }
    write!(out, "--{boundary}--\r\n")
}

/// Reads until `block` is full or the content ends.
fn fill(content: &mut impl Read, block: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(room) = block.get_mut(filled..).filter(|room| !room.is_empty()) {
        match content.read(room)? {
            0 => break,
            n => filled += n,
        }
    }
    Ok(filled)
}

/// `Wed, 01 May 2024 09:30:05 +0000`.
fn date(now: SystemTime) -> String {
    let seconds = portreeve_model::Timestamp::from(now).seconds;
    let now = jiff::Timestamp::from_second(seconds).unwrap_or_default();
    now.to_zoned(TimeZone::UTC)
        .strftime("%a, %d %b %Y %H:%M:%S +0000")
        .to_string()
}

/// Text as encoded words (RFC 2047), each within the 75 characters it may have.
fn words(text: &str) -> String {
    let plain = text.bytes().all(|b| matches!(b, b' '..=b'~')) && text.len() <= 60 && !text.contains("=?");
    if plain {
        return text.to_owned();
    }
    let mut out = Vec::new();
    let mut chunk = String::new();
    for c in text.chars() {
        if chunk.len() + c.len_utf8() > 36 {
            out.push(STANDARD.encode(&chunk));
            chunk.clear();
        }
        chunk.push(c);
    }
    out.push(STANDARD.encode(&chunk));
    let words: Vec<String> = out.iter().map(|word| format!("=?utf-8?B?{word}?=")).collect();
    words.join("\r\n ")
}

/// `filename=` as RFC 2183 and 2231 have it, folded so that no line grows long.
fn parameter(name: &str) -> String {
    let plain = name.len() <= 60
        && name
            .bytes()
            .all(|b| matches!(b, b' '..=b'~') && !matches!(b, b'"' | b'\\'));
    if plain {
        return format!("filename=\"{name}\"");
    }
    let mut pieces: Vec<String> = vec![String::new()];
    // Never cut within a character: many readers decode piece by piece.
    for c in name.chars() {
        let mut bytes = [0; 4];
        let mut next = String::new();
        for byte in c.encode_utf8(&mut bytes).bytes() {
            if byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_') {
                next.push(char::from(byte));
            } else {
                next.push_str(&format!("%{byte:02X}"));
            }
        }
        match pieces.last_mut() {
            Some(last) if last.len() + next.len() <= 55 => last.push_str(&next),
            _ => pieces.push(next),
        }
    }
    let lines: Vec<String> = pieces
        .iter()
        .enumerate()
        .map(|(n, piece)| {
            let charset = if n == 0 { "utf-8''" } else { "" };
            format!("filename*{n}*={charset}{piece}")
        })
        .collect();
    lines.join(";\r\n ")
}

#[cfg(test)]
mod tests {
    use portreeve_model::Timestamp;
    use proptest::prelude::*;

    use super::*;
    use crate::mime::{decode, inspect};

    proptest! {
        #[test]
        fn what_goes_in_comes_out(
            subject in "[^\\x00-\\x1f\\x7f]{0,80}",
            name in "[^\\x00-\\x1f\\x7f/]{1,80}",
            content in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            let mut raw = Vec::new();
            let envelope = Envelope { subject: &subject, file_name: &name, now: SystemTime::UNIX_EPOCH, unique: "u" };
            compose(&envelope, &mut &content[..], &mut raw).unwrap();
            prop_assert!(raw.split(|b| *b == b'\n').all(|line| line.len() <= 80), "a long line");
            let found = inspect(&raw, Timestamp::default());
            prop_assert_eq!(found.parts.len(), 1);
            let part = &found.parts[0];
            prop_assert_eq!(decode(part.encoding, &raw[part.body.clone()]), content);
            if !name.trim().is_empty() {
                prop_assert_eq!(part.attachment.name.trim(), name.trim());
            }
            prop_assert_eq!(found.summary.subject.trim(), subject.trim());
        }
    }

    #[test]
    fn long_content_is_whole() {
        let content: Vec<u8> = (0..200_000u32).flat_map(u32::to_le_bytes).collect();
        let mut raw = Vec::new();
        let envelope = Envelope {
            subject: "s",
            file_name: "f",
            now: SystemTime::now(),
            unique: "u",
        };
        compose(&envelope, &mut &content[..], &mut raw).unwrap();
        let part = &inspect(&raw, Timestamp::default()).parts[0];
        assert!(decode(part.encoding, &raw[part.body.clone()]) == content);
    }
}
