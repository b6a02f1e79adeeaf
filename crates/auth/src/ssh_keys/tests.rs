use std::time::{Duration, UNIX_EPOCH};

use super::*;

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKHEChAs0I1aEzvMPgrVYFMnQd7l+HHJzUAlBEy3YvgG";
const OTHER: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJd4HLBs8sZpLPXm1iqHXqCKVdFZ3oqLmhp1eqLhHVaB";

fn rsa(bits: usize) -> String {
    let mut n = vec![0xff; bits / 8];
    *n.last_mut().unwrap() = 0x01;
    let public = ssh_key::public::RsaPublicKey::new(
        ssh_key::Mpint::from_positive_bytes(&[1, 0, 1]),
        ssh_key::Mpint::from_positive_bytes(&n),
    )
    .unwrap();
    ssh_key::PublicKey::from(KeyData::Rsa(public))
        .to_openssh()
        .unwrap()
}

fn parse(line: &str) -> Result<AuthorizedKey, KeyLineError> {
    AuthorizedKey::parse(line, KeyRules::default())
}

fn offered(line: &str) -> PublicKey {
    PublicKey(std::sync::Arc::new(
        ssh_key::PublicKey::from_openssh(line).unwrap(),
    ))
}

#[test]
fn a_key_is_its_data_not_its_comment() {
    let key = parse(&format!("{KEY}  alice's old   laptop ")).unwrap();
    assert_eq!(key.comment(), "alice's old laptop");
    assert!(key.is(&offered(&format!("{KEY} mallory"))));
    assert!(!key.is(&offered(OTHER)));
    assert!(key.fingerprint().starts_with("SHA256:"));
}

#[test]
fn from_decides_by_address() {
    for (from, ip, admitted) in [
        ("10.0.0.0/8", "10.1.2.3", true),
        ("10.0.0.0/8", "11.1.2.3", false),
        ("10.0.0.0/8", "::ffff:10.1.2.3", true),
        ("10.0.0.0/8,!10.1.0.0/16", "10.1.2.3", false),
        ("!10.1.0.0/16,10.0.0.0/8", "10.2.2.3", true),
        ("!10.1.0.0/16,10.0.0.0/8", "10.1.2.3", false),
        ("192.0.2.*", "192.0.2.200", true),
        ("192.0.2.*", "192.0.20.2", false),
        ("192.0.2.?", "192.0.2.20", false),
        ("192.0.2.7", "192.0.2.7", true),
        ("192.0.2.7", "192.0.2.77", false),
        ("2001:db8::/32", "2001:db8:1::5", true),
        ("2001:DB8:*", "2001:db8:1::5", true),
        ("2001:db8::/32", "10.0.0.1", false),
        ("*,!192.0.2.9", "192.0.2.9", false),
        ("*,!192.0.2.9", "2001:db8::1", true),
    ] {
        let key = parse(&format!("from=\"{from}\" {KEY}")).unwrap();
        let answer = key.usable(ip.parse().unwrap(), UNIX_EPOCH);
        assert_eq!(answer.is_ok(), admitted, "{from} and {ip}");
    }
}

#[test]
fn expiry_is_in_utc_and_exclusive() {
    let second = |n| UNIX_EPOCH + Duration::from_secs(n);
    for (text, expires) in [
        ("20270101", 1_798_761_600),
        ("20270101Z", 1_798_761_600),
        ("202701010130", 1_798_767_000),
        ("20270101013015Z", 1_798_767_015),
        ("20240229", 1_709_164_800),
    ] {
        let key = parse(&format!("expiry-time=\"{text}\" {KEY}")).unwrap();
        let from = "192.0.2.1".parse().unwrap();
        assert!(key.usable(from, second(expires - 1)).is_ok(), "{text}");
        assert!(key.usable(from, second(expires)).is_err(), "{text}");
        assert!(key.fresh(second(expires)).is_err(), "{text}");
    }
}

#[test]
fn both_restrictions_and_harmless_options_go_together() {
    let line = format!(
        "restrict,From=\"10.0.0.0/8, !10.9.9.9\",no-pty,no-X11-forwarding,expiry-time=\"20270101\" {KEY} a b"
    );
    let key = parse(&line).unwrap();
    assert!(key.usable("10.0.0.1".parse().unwrap(), UNIX_EPOCH).is_ok());
    assert!(key.usable("10.9.9.9".parse().unwrap(), UNIX_EPOCH).is_err());
    assert_eq!(key.comment(), "a b");
}

#[test]
fn refuses_lines_that_could_grant_too_much_or_nothing() {
    let long = format!("{KEY} {}", "x".repeat(9000));
    for (line, want) in [
        ("".to_owned(), "no key"),
        ("# comment".to_owned(), "no key"),
        ("ssh-ed25519".to_owned(), "missing"),
        ("ssh-ed25519 AAAA".to_owned(), "cannot be read"),
        ("ssh-ed25519 !!!!".to_owned(), "cannot be read"),
        ("nonsense".to_owned(), "missing"),
        (format!("command=\"ls\" {KEY}"), "'command' is not supported"),
        (
            format!("cert-authority {KEY}"),
            "'cert-authority' is not supported",
        ),
        (format!("pty {KEY}"), "'pty' is not supported"),
        (format!("from {KEY}"), "needs a value"),
        (format!("from=10.0.0.0/8 {KEY}"), "quotation marks"),
        (format!("from=\"10.0.0.0/8 {KEY}"), "not closed"),
        (format!("from=\"10.0.0.0/8\",from=\"*\" {KEY}"), "twice"),
        (format!("from=\"10.0.0.1/8\" {KEY}"), "did you mean 10.0.0.0/8"),
        (format!("from=\"10.0.0.0/33\" {KEY}"), "no network"),
        (format!("from=\"*.example.com\" {KEY}"), "no address"),
        (format!("from=\"bad.cafe\" {KEY}"), "no address"),
        (format!("from=\"\" {KEY}"), "no address"),
        (format!("from=\"!10.0.0.0/8\" {KEY}"), "only forbids"),
        (format!("from=\"*\",,no-pty {KEY}"), "comma"),
        (format!("expiry-time=\"2027\" {KEY}"), "no time"),
        (format!("expiry-time=\"20270230\" {KEY}"), "no time"),
        (format!("expiry-time=\"2027010124\" {KEY}"), "no time"),
        (format!("expiry-time=\"202701012460\" {KEY}"), "no time"),
        (format!("expiry-time=\"never\" {KEY}"), "no time"),
        (format!("{KEY}\n{OTHER}"), "control character"),
        (long, "longer than"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----".to_owned(), "private key"),
        ("ssh-dss AAAAB3NzaC1kc3M=".to_owned(), "DSA"),
        ("sk-ssh-ed25519@openssh.com AAAA".to_owned(), "security tokens"),
        ("ssh-ed25519-cert-v01@openssh.com AAAA".to_owned(), "certificates"),
        (KEY.replacen("ssh-ed25519", "ssh-rsa", 1), "cannot be read"),
        (rsa(2048), "allow_rsa_2048"),
        (rsa(1024), "too weak"),
    ] {
        let error = parse(&line).unwrap_err().to_string();
        assert!(error.contains(want), "{line}: {error}");
    }
}

#[test]
fn rsa_bounds() {
    let lenient = KeyRules { allow_rsa_2048: true };
    assert!(parse(&rsa(3072)).is_ok());
    assert!(parse(&rsa(8192)).is_ok());
    assert!(AuthorizedKey::parse(&rsa(2048), lenient).is_ok());
    assert!(AuthorizedKey::parse(&rsa(2040), lenient).is_err());
    assert!(parse(&rsa(16_384)).is_err());
}

#[test]
fn a_patient_wildcard_is_not_slow() {
    let stars = format!("{}1", "*".repeat(200));
    let key = parse(&format!("from=\"{stars}\" {KEY}")).unwrap();
    assert!(key.usable("192.0.2.1".parse().unwrap(), UNIX_EPOCH).is_ok());
    assert!(key.usable("192.0.2.2".parse().unwrap(), UNIX_EPOCH).is_err());
}

proptest::proptest! {
    #[test]
    fn no_line_breaks_the_reader(line in "(from=|expiry-time=|restrict|,|\"|\\\\|!|10\\.0\\.0\\.0/8|2027|ssh-rsa|ssh-ed25519| |AAAA|\\PC){0,20}") {
        let _ = parse(&line);
        let _ = parse(&format!("{line} {KEY}"));
    }
}
