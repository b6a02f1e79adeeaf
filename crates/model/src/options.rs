//! The written forms that every configuration uses: durations, sizes and secrets.

mod secret_text;

use std::{borrow::Cow, fmt, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

pub use secret_text::SecretText;

/// A duration as written: `"30s"`, `"10m"`, `"1h 30m"`, `"7d"`, `"250ms"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct DurationText(pub Duration);

/// A size as written: `"512"`, `"64 KiB"`, `"10 MiB"`, `"1.5 GiB"`, `"2 TB"` (decimal without the `i`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SizeText(pub u64);

/// Why text is neither.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotAQuantity {
    text: String,
    wanted: &'static str,
}

impl fmt::Display for NotAQuantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not {}", self.text, self.wanted)
    }
}

impl std::error::Error for NotAQuantity {}

const DURATION_PATTERN: &str = r"^\s*([0-9]+\s*(ms|s|m|h|d)\s*)+$";
const SIZE_PATTERN: &str = r"^\s*[0-9]+(\.[0-9]+)?\s*(B|KiB|MiB|GiB|TiB|KB|MB|GB|TB)?\s*$";

impl std::str::FromStr for DurationText {
    type Err = NotAQuantity;

    fn from_str(text: &str) -> Result<Self, NotAQuantity> {
        let wrong = || NotAQuantity {
            text: text.to_owned(),
            wanted: "a duration; write a number and ms, s, m, h or d, like \"30s\" or \"1h 30m\"",
        };
        let mut total = Duration::ZERO;
        let mut rest = text.trim();
        if rest.is_empty() {
            return Err(wrong());
        }
        while !rest.is_empty() {
            let (number, tail) = split_while(rest, |c| c.is_ascii_digit());
            let (unit, tail) = split_while(tail.trim_start(), |c| c.is_ascii_alphabetic());
            let number: u64 = number.parse().map_err(|_| wrong())?;
            let unit_ms: u64 = match unit {
                "ms" => 1,
                "s" => 1_000,
                "m" => 60_000,
                "h" => 3_600_000,
                "d" => 86_400_000,
                _ => return Err(wrong()),
            };
            let piece = Duration::from_millis(number.checked_mul(unit_ms).ok_or_else(wrong)?);
            total = total.checked_add(piece).ok_or_else(wrong)?;
            rest = tail.trim_start();
        }
        Ok(Self(total))
    }
}

impl std::str::FromStr for SizeText {
    type Err = NotAQuantity;

    fn from_str(text: &str) -> Result<Self, NotAQuantity> {
        let wrong = || NotAQuantity {
            text: text.to_owned(),
            wanted: "a size; write a number and B, KiB, MiB, GiB or TiB, like \"10 MiB\"",
        };
        let (number, unit) = split_while(text.trim(), |c| c.is_ascii_digit() || c == '.');
        let factor: u64 = match unit.trim() {
            "" | "B" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            "TiB" => 1 << 40,
            "KB" => 1_000,
            "MB" => 1_000_000,
            "GB" => 1_000_000_000,
            "TB" => 1_000_000_000_000,
            _ => return Err(wrong()),
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let whole: u64 = whole.parse().map_err(|_| wrong())?;
        let mut bytes = whole.checked_mul(factor).ok_or_else(wrong)?;
        if number.contains('.') {
            let digits = u32::try_from(fraction.len())
                .ok()
                .filter(|n| (1..=9).contains(n))
                .ok_or_else(wrong)?;
            let fraction: u64 = fraction.parse().map_err(|_| wrong())?;
            let part = u128::from(fraction) * u128::from(factor) / 10u128.pow(digits);
            bytes = u64::try_from(part)
                .ok()
                .and_then(|p| bytes.checked_add(p))
                .ok_or_else(wrong)?;
        }
        Ok(Self(bytes))
    }
}

fn split_while(text: &str, keep: impl Fn(char) -> bool) -> (&str, &str) {
    let end = text.find(|c| !keep(c)).unwrap_or(text.len());
    text.split_at(end)
}

impl fmt::Display for DurationText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0.as_millis();
        let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")];
        match units
            .into_iter()
            .find(|(unit, _)| ms > 0 && ms.is_multiple_of(*unit))
        {
            Some((unit, name)) => write!(f, "{}{name}", ms / unit),
            None => write!(f, "{ms}ms"),
        }
    }
}

impl fmt::Display for SizeText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [
            (1u64 << 40, "TiB"),
            (1 << 30, "GiB"),
            (1 << 20, "MiB"),
            (1 << 10, "KiB"),
        ];
        match units
            .into_iter()
            .find(|(unit, _)| self.0 > 0 && self.0.is_multiple_of(*unit))
        {
            Some((unit, name)) => write!(f, "{} {name}", self.0 / unit),
            None => write!(f, "{} B", self.0),
        }
    }
}

macro_rules! text_option {
    ($type:ident, $name:literal, $pattern:ident, $doc:literal) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = Cow::<'de, str>::deserialize(from)?;
                text.parse().map_err(de::Error::custom)
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "pattern": $pattern, "description": $doc })
            }
        }
    };
}

text_option!(
    DurationText,
    "Duration",
    DURATION_PATTERN,
    "A duration, like \"30s\", \"10m\" or \"1h 30m\"."
);
text_option!(
    SizeText,
    "Size",
    SIZE_PATTERN,
    "A size, like \"64 KiB\" or \"10 MiB\"."
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_durations() {
        for (text, ms) in [
            ("30s", 30_000),
            ("1h 30m", 5_400_000),
            ("250ms", 250),
            ("7d", 604_800_000),
            ("0s", 0),
        ] {
            assert_eq!(
                text.parse(),
                Ok(DurationText(Duration::from_millis(ms))),
                "{text}"
            );
        }
        for bad in ["", "30", "s", "1x", "-1s", "1.5s", "99999999999999999999d"] {
            assert!(bad.parse::<DurationText>().is_err(), "{bad:?}");
        }
        assert_eq!(DurationText(Duration::from_secs(5400)).to_string(), "90m");
    }

    #[test]
    fn reads_sizes() {
        for (text, bytes) in [
            ("512", 512),
            ("64 KiB", 65_536),
            ("1.5 GiB", 1_610_612_736),
            ("2MB", 2_000_000),
        ] {
            assert_eq!(text.parse(), Ok(SizeText(bytes)), "{text}");
        }
        for bad in ["", "KiB", "1 kib", "1.", "-1", "99999999999 TiB"] {
            assert!(bad.parse::<SizeText>().is_err(), "{bad:?}");
        }
        assert_eq!(SizeText(65_536).to_string(), "64 KiB");
    }
}
