//! Options before a key: which are kept, which are granted anyway, which refuse the key.

use std::{net::IpAddr, time::SystemTime};

use jiff::{civil::DateTime, tz::TimeZone};

use super::{KINDS, KeyLineError, pattern::Sources};
use crate::Reason;

/// Options that forbid what Portreeve never gives: kept without doing anything.
const HARMLESS: [&str; 6] = [
    "restrict",
    "no-pty",
    "no-port-forwarding",
    "no-agent-forwarding",
    "no-x11-forwarding",
    "no-user-rc",
];

/// What restricts a key.
#[derive(Debug, Clone, Default)]
pub(super) struct KeyOptions {
    from: Option<Sources>,
    pub(super) expires: Option<SystemTime>,
}

impl KeyOptions {
    pub(super) fn parse(text: &str) -> Result<Self, KeyLineError> {
        let mut options = Self::default();
        for option in pieces(text)? {
            let (name, value) = match option.split_once('=') {
                Some((name, value)) => (name, Some(unquote(name, value)?)),
                None => (option, None),
            };
            match (name.to_ascii_lowercase().as_str(), value) {
                ("from", Some(value)) if options.from.is_none() => {
                    options.from = Some(Sources::parse(&value)?);
                }
                ("expiry-time", Some(value)) if options.expires.is_none() => {
                    options.expires = Some(expiry(&value)?);
                }
                ("from" | "expiry-time", Some(_)) => {
                    return Err(KeyLineError(format!("the option '{name}' is given twice")));
                }
                ("from" | "expiry-time", None) => {
                    return Err(KeyLineError(format!(
                        "the option '{name}' needs a value: {name}=\"…\""
                    )));
                }
                (name, None) if HARMLESS.contains(&name) => {}
                _ => {
                    return Err(KeyLineError(format!(
                        "the option '{name}' is not supported, and leaving it out of account might grant too much; \
                         supported are from, expiry-time, {}",
                        HARMLESS.join(", ")
                    )));
                }
            }
        }
        Ok(options)
    }

    pub(super) fn admits(&self, ip: IpAddr) -> Result<(), Reason> {
        match &self.from {
            Some(sources) if !sources.admit(ip) => Err(Reason(format!(
                "the key may not be used from {ip} (its option 'from')"
            ))),
            _ => Ok(()),
        }
    }

    pub(super) fn fresh(&self, at: SystemTime) -> Result<(), Reason> {
        match self.expires {
            Some(expires) if at >= expires => {
                Err(Reason("the key has expired (its option 'expiry-time')".into()))
            }
            _ => Ok(()),
        }
    }
}

/// Splits a line into its options, none being "", and what follows them.
pub(super) fn split(line: &str) -> Result<(&str, &str), KeyLineError> {
    let first = line.split_ascii_whitespace().next().unwrap_or_default();
    // Without options the type comes first; any other word before the type is an option.
    let has_kind_first = KINDS.contains(&first) || (!first.contains(['=', '"', ',']) && is_kind(first));
    if has_kind_first {
        return Ok(("", line));
    }
    let mut scan = Scan::default();
    for (at, c) in line.char_indices() {
        if scan.step(c) && (c == ' ' || c == '\t') {
            let (options, key) = line.split_at(at);
            return Ok((options, key.trim_start()));
        }
    }
    if scan.quoted {
        return Err(KeyLineError(
            "a quotation mark in the options is not closed".into(),
        ));
    }
    Err(KeyLineError(
        "the key itself is missing: a line is [options] type base64 [comment]".into(),
    ))
}

fn is_kind(word: &str) -> bool {
    ["ssh-", "ecdsa-", "sk-"]
        .iter()
        .any(|start| word.starts_with(start))
}

/// Where one is within quotation marks; `\"` is a mark that does not count.
#[derive(Default)]
struct Scan {
    quoted: bool,
    escaped: bool,
}

impl Scan {
    /// Whether `c` stands outside of quotation marks.
    fn step(&mut self, c: char) -> bool {
        let outside = !self.quoted;
        if self.escaped {
            self.escaped = false;
        } else if self.quoted && c == '\\' {
            self.escaped = true;
        } else if c == '"' {
            self.quoted = !self.quoted;
        }
        outside
    }
}

fn pieces(text: &str) -> Result<Vec<&str>, KeyLineError> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let (mut scan, mut start, mut pieces) = (Scan::default(), 0, Vec::new());
    for (at, c) in text.char_indices() {
        if scan.step(c) && c == ',' {
            pieces.extend(text.get(start..at));
            start = at + 1;
        }
    }
    pieces.extend(text.get(start..));
    if pieces.iter().any(|piece| piece.is_empty()) {
        return Err(KeyLineError(
            "an option is empty: there is a comma too many".into(),
        ));
    }
    Ok(pieces)
}

fn unquote(name: &str, value: &str) -> Result<String, KeyLineError> {
    let inner = value.strip_prefix('"').and_then(|v| v.strip_suffix('"'));
    match inner.map(|inner| inner.replace("\\\"", "\"")) {
        Some(inner) if !inner.contains('"') => Ok(inner),
        _ => Err(KeyLineError(format!(
            "the value of '{name}' must stand in quotation marks"
        ))),
    }
}

/// `YYYYMMDD[HHMM[SS]]`, always in UTC; a trailing `Z` may say so.
fn expiry(text: &str) -> Result<SystemTime, KeyLineError> {
    let wrong = || {
        KeyLineError(format!(
            "expiry-time=\"{text}\" is no time: write YYYYMMDD, YYYYMMDDHHMM or YYYYMMDDHHMMSS (UTC)"
        ))
    };
    let digits = text.strip_suffix(['Z', 'z']).unwrap_or(text);
    if !matches!(digits.len(), 8 | 12 | 14) || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(wrong());
    }
    let number = |from: usize, to: usize| {
        digits
            .get(from..to)
            .map_or(Ok(0), str::parse::<i8>)
            .map_err(|_| wrong())
    };
    let year: i16 = digits.get(..4).unwrap_or_default().parse().map_err(|_| wrong())?;
    let time = DateTime::new(
        year,
        number(4, 6)?,
        number(6, 8)?,
        number(8, 10)?,
        number(10, 12)?,
        number(12, 14)?,
        0,
    );
    let zoned = time
        .and_then(|time| time.to_zoned(TimeZone::UTC))
        .map_err(|_| wrong())?;
    Ok(zoned.timestamp().into())
}
