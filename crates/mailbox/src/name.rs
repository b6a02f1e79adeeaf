//! Names of attachments: what a composed name may look like on Windows, Linux and macOS alike.
//!
//! Invariants: pure functions. Whatever comes in (subjects are written by strangers), a [`BaseName`]
//! is at most 240 characters and 255 bytes of NFC text with every number it is given, holds none of
//! the characters that one of the three systems forbids, no control and no bidi control character,
//! neither begins nor ends with a dot or a blank, and is no device name of Windows.

#[cfg(test)]
mod tests;

use unicode_normalization::UnicodeNormalization;

/// Longest name, in characters (Unicode scalar values).
pub const MAX_CHARS: usize = 240;
/// Longest name, in bytes of UTF-8: what ext4 and others take when a client mirrors the folder.
pub const MAX_BYTES: usize = 255;
/// Longest extension that survives truncation, in characters, without its dot.
const MAX_EXTENSION: usize = 9;
/// What a name becomes when nothing is left of it.
const UNNAMED: &str = "unnamed";

/// A clean name, cut in two so that ` (N)` fits before the extension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseName {
    stem: String,
    /// With its dot; empty where there is none.
    extension: String,
}

impl BaseName {
    /// Cleans `raw`, the expanded template.
    #[must_use]
    pub fn new(raw: &str) -> Self {
        let clean = sanitise(raw);
        let (stem, extension) = split_extension(&clean);
        Self {
            stem: stem.to_owned(),
            extension: extension.to_owned(),
        }
    }

    /// The name, with ` (n)` before the extension where `n` is not 0, cut to the limits.
    #[must_use]
    pub fn numbered(&self, n: u32) -> String {
        let number = if n == 0 { String::new() } else { format!(" ({n})") };
        let tail = format!("{number}{}", self.extension);
        let chars = MAX_CHARS.saturating_sub(tail.chars().count());
        let bytes = MAX_BYTES.saturating_sub(tail.len());
        format!("{}{tail}", cut(&self.stem, chars, bytes))
    }
}

/// Cleans text to a name, without cutting it to length. Cleaning twice changes nothing.
#[must_use]
pub fn sanitise(raw: &str) -> String {
    // NFC first: `<` followed by U+0338 is one letter, not a forbidden character.
    let text: String = raw
        .chars()
        .filter(|c| !is_invisible(*c))
        .nfc()
        .map(|c| if is_forbidden(c) { '-' } else { c })
        .collect();
    let trimmed = text.trim_matches(is_edge);
    if trimmed.is_empty() {
        return UNNAMED.to_owned();
    }
    if is_device(trimmed) {
        return format!("_{trimmed}");
    }
    trimmed.to_owned()
}

/// The form in which names are compared: two names that fold alike are one file on Windows or macOS.
#[must_use]
pub fn fold(name: &str) -> String {
    // Upper, then lower, stands for full case folding: it unites `ß`, `ss` and `SS`.
    name.nfc()
        .flat_map(char::to_uppercase)
        .flat_map(char::to_lowercase)
        .nfc()
        .collect()
}

/// Whether a client may give `name` to an upload: it must already be clean and short enough, since
/// the file has to appear under exactly the name that was asked for.
#[must_use]
pub fn is_clean(name: &str) -> bool {
    sanitise(name) == name && name.chars().count() <= MAX_CHARS && name.len() <= MAX_BYTES
}

/// What is dropped without a trace: newlines and all other controls, bidi controls (they disguise
/// `exe.pdf`), and characters without width that only make equal-looking names differ. Joiners stay:
/// Persian and emoji need them.
fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{061C}' | '\u{200B}' | '\u{200E}' | '\u{200F}' | '\u{2028}' | '\u{2029}'
            | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{206F}' | '\u{FEFF}' | '\u{FFF9}'..='\u{FFFB}')
}

/// What Windows, Linux or macOS forbids in a name.
const fn is_forbidden(c: char) -> bool {
    matches!(c, '<' | '>' | ':' | '"' | '/' | '\\' | '|' | '?' | '*')
}

/// What may neither begin nor end a name: a leading dot hides it, trailing dots and blanks vanish on
/// Windows.
fn is_edge(c: char) -> bool {
    c == '.' || c.is_whitespace()
}

/// `CON`, `nul.txt`, `COM1 .log`: names that Windows takes for devices whatever their extension.
fn is_device(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default().trim_end();
    let stem = stem.to_uppercase();
    if matches!(&*stem, "CON" | "PRN" | "AUX" | "NUL" | "CONIN$" | "CONOUT$") {
        return true;
    }
    let number = stem.strip_prefix("COM").or_else(|| stem.strip_prefix("LPT"));
    let mut chars = number.unwrap_or_default().chars();
    matches!(
        (chars.next(), chars.next()),
        (Some('0'..='9' | '\u{b9}' | '\u{b2}' | '\u{b3}'), None)
    )
}

/// Stem and extension (with its dot). An extension is 1 to 9 letters, digits or `_`: what follows
/// the dot of `Dr. Who` is none, and one of ten characters is not worth keeping.
fn split_extension(name: &str) -> (&str, &str) {
    let Some(dot) = name.rfind('.') else {
        return (name, "");
    };
    let (stem, extension) = name.split_at(dot);
    let letters = extension.chars().skip(1);
    let short = (1..=MAX_EXTENSION).contains(&letters.clone().count());
    if !stem.is_empty() && short && letters.clone().all(|c| c.is_alphanumeric() || c == '_') {
        (stem, extension)
    } else {
        (name, "")
    }
}

/// The longest head of `text` within both limits, cut between characters; where something was cut,
/// no blank, dot or joiner dangles at the end.
fn cut(text: &str, chars: usize, bytes: usize) -> &str {
    let end = text
        .char_indices()
        .map(|(at, c)| at + c.len_utf8())
        .take(chars)
        .take_while(|end| *end <= bytes)
        .last()
        .unwrap_or(0);
    let head = text.get(..end).unwrap_or_default();
    if end == text.len() {
        return head;
    }
    head.trim_end_matches(|c| is_edge(c) || matches!(c, '\u{200C}' | '\u{200D}'))
}
