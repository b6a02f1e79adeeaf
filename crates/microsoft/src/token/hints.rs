//! Entra's numbers and what an administrator can do about each. Source: Microsoft, "Microsoft Entra authentication and
//! authorization error codes"; several lines from practice.
//!
//! Numbers are for hints alone: Microsoft may change them, so nothing branches on a number but what passes by itself.

/// Numbers and the hint that they share.
const HINTS: &[(&[u32], &str)] = &[
    (
        &[7_000_215, 70002],
        "the client secret is wrong: use the secret's Value, not its Secret ID",
    ),
    (
        &[7_000_222],
        "the client secret has expired: create a new one in the app registration",
    ),
    (
        &[700_016, 700_011],
        "the application is not in this tenant: check client_id and tenant, and that an administrator consented",
    ),
    (
        &[90002, 50059, 50128, 90038],
        "the tenant is not known here: check tenant, and that cloud is the one the tenant lives in",
    ),
    (
        &[50011, 70004],
        "the redirect URI is not registered exactly like this",
    ),
    (
        &[50194, 9_001_023],
        "tenant must be the directory's id or domain, not common, organizations or consumers",
    ),
    (
        &[700_054, 70005],
        "the app registration does not allow this kind of token: tick ID tokens or Access tokens",
    ),
    (&[50105], "the user is not assigned to the enterprise application"),
    (&[50020, 50034, 51004, 16000], "the account is not in this tenant"),
    (
        &[65001, 65004, 90008, 650_056],
        "consent is missing: grant the API permissions and have an administrator consent",
    ),
    (
        &[70011, 28002],
        "the scope is wrong: an app asks for <resource>/.default",
    ),
    (
        &[500_011, 50001],
        "the resource is not known in this tenant: check cloud and the scope's host",
    ),
    (
        &[50076, 50079, 50072, 50074],
        "multi-factor authentication is needed: a person has to sign in with a browser",
    ),
    (
        &[53000, 53001, 53003, 530_034, 530_035],
        "Conditional Access or security defaults block this sign-in",
    ),
    (&[50053], "the account is locked, or the address has a bad name"),
    (
        &[50055, 50057, 50126],
        "the password has expired, or the account is disabled, or the credentials are wrong",
    ),
    (
        &[50173, 50132, 50133, 70008, 700_082, 70043, 70000],
        "the refresh token was revoked or has expired: sign in again",
    ),
    (
        &[700_027, 50012, 700_030, 50048, 500_133, 7_000_272],
        "the assertion does not hold: check that this certificate is uploaded to the app registration, and the clock",
    ),
    (
        &[700_025],
        "the app is a public client and must not send a secret",
    ),
    (
        &[70021, 700_211, 700_212, 700_213, 700_223],
        "no federated credential fits: issuer, subject and audience must equal those in the app registration",
    ),
    (
        &[900_144, 90014, 900_561],
        "the request lacks a part: this is a defect of Portreeve",
    ),
    (
        &[50196],
        "the endpoint was asked too often: this is a defect of Portreeve",
    ),
    (
        &[9_002_313],
        "something in the request is malformed: look whether the refresh token or secret was cut when it was copied",
    ),
    (TRANSIENT, "Microsoft is busy: it is asked again by itself"),
];

/// Numbers of what passes by itself.
const TRANSIENT: &[u32] = &[90055, 50087, 90033, 90006, 90024];

/// The hint for the first number that has one.
pub(super) fn hint(numbers: &[u32]) -> Option<&'static str> {
    numbers.iter().find_map(|number| {
        HINTS
            .iter()
            .find(|(those, _)| those.contains(number))
            .map(|(_, hint)| *hint)
    })
}

/// Whether one of these passes by itself.
pub(super) fn transient(numbers: &[u32]) -> bool {
    numbers.iter().any(|number| TRANSIENT.contains(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_one_hint() {
        let mut all: Vec<u32> = HINTS
            .iter()
            .flat_map(|(those, _)| those.iter().copied())
            .collect();
        let before = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), before);
    }

    #[test]
    fn numbers() {
        assert!(hint(&[7_000_215]).unwrap().contains("Value"));
        assert!(hint(&[1, 7_000_222]).unwrap().contains("expired"));
        assert!(hint(&[1]).is_none());
        assert!(transient(&[90033]) && !transient(&[7_000_215]));
    }
}
