//! Addresses of mailboxes and recipients, as they stand in paths.
//!
//! Invariant: whatever passes is one address and nothing else: it can neither add a header, nor a second
//! recipient, nor leave its directory.

use crate::name::is_clean;

/// Longest address, in bytes (RFC 5321 §4.5.3.1, less its angle brackets).
const MAX: usize = 254;

/// Whether `text` is one plain address, `local@domain`: letters, digits and what RFC 5322 allows in a
/// dot-atom (§3.2.3), letters of other scripts too (RFC 6531); no quoted local part, no comment, no list.
pub(crate) fn is_address(text: &str) -> bool {
    let Some((local, domain)) = text.split_once('@') else {
        return false;
    };
    let dotted = |part: &str, allowed: &dyn Fn(char) -> bool| {
        !part.is_empty()
            && part
                .split('.')
                .all(|atom| !atom.is_empty() && atom.chars().all(allowed))
    };
    let letter = |c: char| c.is_ascii_alphanumeric() || (!c.is_ascii() && c.is_alphanumeric());
    let local_char = |c: char| letter(c) || "!#$%&'*+-=?^_`{|}~".contains(c);
    let domain_char = |c: char| letter(c) || c == '-';
    text.len() <= MAX
        && local.len() <= 64
        && dotted(local, &local_char)
        && dotted(domain, &domain_char)
        && is_clean(text)
}

/// Whether `text` names a mailbox: an address, or the name of an account on its server.
pub(crate) fn is_mailbox(text: &str) -> bool {
    let plain = |c: char| c.is_alphanumeric() || "._-+~".contains(c);
    is_address(text) || (!text.is_empty() && text.len() <= MAX && text.chars().all(plain) && is_clean(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_and_nothing_else() {
        for good in [
            "a@b",
            "first.last+tag@mail.example.org",
            "o'neil@x-y.example",
            "j\u{fc}rgen@m\u{fc}nchen.example",
        ] {
            assert!(is_address(good), "{good}");
        }
        let long = format!("{}@example.org", "a".repeat(65));
        for bad in [
            "",
            "a",
            "@b",
            "a@",
            "a@b@c",
            "a@b,c@d",
            "a@b;c@d",
            "a@b\r\nBcc: c@d",
            "a b@c",
            "<a@b>",
            "\"a b\"@c",
            "a@b/..",
            "../a@b",
            ".a@b",
            "a..b@c",
            "a@.b",
            "a@b.",
            "a(x)@b",
            "a@[127.0.0.1]",
            "a\\@b",
            "a@b\u{202e}",
            &long,
        ] {
            assert!(!is_address(bad), "{bad:?}");
        }
        assert!(is_mailbox("alice") && is_mailbox("alice@x.example") && is_mailbox("DOMAIN_alice"));
        for bad in ["", "..", "a/b", "a b", "a\n", "*", "."] {
            assert!(!is_mailbox(bad), "{bad:?}");
        }
    }
}
