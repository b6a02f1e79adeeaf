//! The list of sources in `from="…"` (ssh_config(5), PATTERNS): addresses, networks, wildcards, negation.
//!
//! Invariants: a negated pattern that fits refuses whatever else fits; host names are refused when the
//! line is read, since whoever answers the reverse lookup would choose them.

use std::net::IpAddr;

use ipnet::IpNet;

use super::KeyLineError;

/// A list of patterns.
#[derive(Debug, Clone)]
pub(super) struct Sources(Vec<(bool, Pattern)>);

#[derive(Debug, Clone)]
enum Pattern {
    Network(IpNet),
    Text(String),
}

impl Sources {
    pub(super) fn parse(list: &str) -> Result<Self, KeyLineError> {
        let mut patterns = Vec::new();
        for text in list.split(',').map(str::trim) {
            let (negated, text) = text.strip_prefix('!').map_or((false, text), |rest| (true, rest));
            patterns.push((negated, Pattern::parse(text)?));
        }
        if patterns.iter().all(|(negated, _)| *negated) {
            return Err(KeyLineError(format!(
                "from=\"{list}\" only forbids, so nobody could use the key: add what is allowed, such as \"*\""
            )));
        }
        Ok(Self(patterns))
    }

    pub(super) fn admit(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        let text = ip.to_string();
        let mut fits = self
            .0
            .iter()
            .filter(|(_, pattern)| pattern.fits(ip, &text))
            .peekable();
        fits.peek().is_some() && fits.all(|(negated, _)| !negated)
    }
}

impl Pattern {
    fn parse(text: &str) -> Result<Self, KeyLineError> {
        if text.contains('/') {
            let net: IpNet = text
                .parse()
                .map_err(|_| KeyLineError(format!("'{text}' in 'from' is no network: write address/bits")))?;
            if net.trunc() != net {
                return Err(KeyLineError(format!(
                    "'{text}' in 'from' has bits set behind its length: did you mean {}?",
                    net.trunc()
                )));
            }
            return Ok(Self::Network(net));
        }
        if let Ok(ip) = text.parse::<IpAddr>() {
            return Ok(Self::Network(ip.to_canonical().into()));
        }
        let wild = text.contains(['*', '?']);
        let v6 = text.contains(':');
        let letters = |c: char| v6 && c.is_ascii_hexdigit();
        if wild
            && text
                .chars()
                .all(|c| c.is_ascii_digit() || matches!(c, '.' | ':' | '*' | '?') || letters(c))
        {
            return Ok(Self::Text(text.to_ascii_lowercase()));
        }
        Err(KeyLineError(format!(
            "'{text}' in 'from' is no address: write an address, a network or a pattern of addresses (host names are not \
             looked up)"
        )))
    }

    fn fits(&self, ip: IpAddr, text: &str) -> bool {
        match self {
            Self::Network(net) => net.contains(&ip),
            Self::Text(pattern) => wildcard(pattern.as_bytes(), text.as_bytes()),
        }
    }
}

/// `*` is any run, `?` any one character. Linear but for one step back, so no pattern is slow.
fn wildcard(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    while let Some(byte) = text.get(t) {
        match pattern.get(p) {
            Some(b'*') => {
                back = Some((p, t));
                p += 1;
            }
            Some(c) if *c == b'?' || c == byte => {
                p += 1;
                t += 1;
            }
            _ => {
                let Some((star, from)) = back else {
                    return false;
                };
                back = Some((star, from + 1));
                p = star + 1;
                t = from + 1;
            }
        }
    }
    pattern.get(p..).unwrap_or_default().iter().all(|c| *c == b'*')
}
