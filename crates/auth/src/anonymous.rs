//! The method `anonymous`: certain names need no proof. There is none unless it is configured.
//!
//! Invariants: transfer users only; whoever comes in so carries [`READ_ONLY_CLAIM`] unless writing was
//! allowed in so many words; what was typed as a password is kept only where it is an address.

use std::collections::BTreeMap;

use async_trait::async_trait;
use portreeve_model::{GroupName, UserName};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::{
    Attempt, Audience, Credential, CredentialKind, Explanation, Identity, Inquiry, Method, OptionError,
    READ_ONLY_CLAIM, Reason, Standing, Verdict,
};

/// The claim that holds the address an anonymous visitor gave as password. Nobody has checked it.
pub const ANONYMOUS_MAIL_CLAIM: &str = "anonymous.mail";

/// Longest address that is kept, in bytes (RFC 5321, 4.5.3.1.3).
const MAX_MAIL: usize = 254;

/// Options of `type = "anonymous"`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AnonymousOptions {
    /// The names that need no proof, in any capitals.
    #[serde(default = "usual_names")]
    pub usernames: Vec<String>,
    /// The groups of anonymous visitors, the primary one first.
    #[serde(default)]
    pub groups: Vec<String>,
    /// Lets anonymous visitors write where their groups do. By default they read only.
    #[serde(default)]
    pub allow_write: bool,
}

fn usual_names() -> Vec<String> {
    vec!["anonymous".into(), "ftp".into()]
}

impl Default for AnonymousOptions {
    fn default() -> Self {
        Self {
            usernames: usual_names(),
            groups: Vec::new(),
            allow_write: false,
        }
    }
}

/// The method.
pub struct Anonymous {
    names: Vec<(String, UserName)>,
    groups: Vec<GroupName>,
    allow_write: bool,
}

impl Anonymous {
    /// From its options.
    ///
    /// # Errors
    /// [`OptionError`].
    pub fn new(options: &AnonymousOptions) -> Result<Self, OptionError> {
        if options.usernames.is_empty() {
            return Err(OptionError::new(
                "usernames",
                "without a name nobody could come in; leave the step out instead",
            ));
        }
        let name = |text: &String| match UserName::new(text) {
            Ok(name) => Ok((name.folded(), name)),
            Err(why) => Err(OptionError::new("usernames", format!("'{text}': {why}"))),
        };
        let group = |text: &String| {
            GroupName::new(text).map_err(|why| OptionError::new("groups", format!("'{text}': {why}")))
        };
        Ok(Self {
            names: options.usernames.iter().map(name).collect::<Result<_, _>>()?,
            groups: options.groups.iter().map(group).collect::<Result<_, _>>()?,
            allow_write: options.allow_write,
        })
    }

    fn identity(&self, user: &UserName, mail: Option<String>) -> Option<Identity> {
        let folded = user.folded();
        let (subject, user) = self.names.iter().find(|(name, _)| *name == folded)?;
        let mut claims = BTreeMap::new();
        if !self.allow_write {
            claims.insert(READ_ONLY_CLAIM.to_owned(), "true".to_owned());
        }
        claims.extend(mail.map(|mail| (ANONYMOUS_MAIL_CLAIM.to_owned(), mail)));
        Some(Identity {
            user: user.clone(),
            subject: subject.clone(),
            groups: self.groups.clone(),
            roles: Vec::new(),
            external: Vec::new(),
            claims,
        })
    }
}

#[async_trait]
impl Method for Anonymous {
    fn answers(&self, attempt: &Attempt) -> bool {
        attempt.audience == Audience::Transfer && self.takes().contains(&attempt.credential.kind())
    }

    fn takes(&self) -> &[CredentialKind] {
        &[CredentialKind::Password, CredentialKind::Nothing]
    }

    async fn verify(&self, attempt: &Attempt) -> Verdict {
        let mail = match &attempt.credential {
            Credential::Password(password) => address(password.expose()),
            _ => None,
        };
        self.identity(&attempt.user, mail)
            .map_or(Verdict::NotMine, Verdict::Accept)
    }

    async fn still_valid(&self, who: &Identity, audience: Audience) -> Standing {
        let mail = who.claims.get(ANONYMOUS_MAIL_CLAIM).cloned();
        match self.identity(&who.user, mail) {
            Some(now) if audience == Audience::Transfer && now == *who => Standing::Valid,
            Some(now) if audience == Audience::Transfer => Standing::Changed(now),
            _ => Standing::Gone(Reason(format!("'{}' is no longer an anonymous name", who.user))),
        }
    }

    async fn explain(&self, inquiry: &Inquiry<'_>) -> Explanation {
        match self
            .identity(inquiry.user, None)
            .filter(|_| inquiry.audience == Audience::Transfer)
        {
            Some(identity) => Explanation::Known {
                identity,
                barred: None,
                state: "anonymous: any password will do".into(),
            },
            None => Explanation::Unknown,
        }
    }
}

/// What looks like an address, and only that: somebody's real password may have been typed here.
fn address(text: &str) -> Option<String> {
    let (local, domain) = text.split_once('@')?;
    let plain = |part: &str, more: &str| {
        !part.is_empty()
            && part
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || more.contains(c))
    };
    let fits = text.len() <= MAX_MAIL && plain(local, "._+-") && plain(domain, ".-");
    fits.then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_addresses_and_nothing_else() {
        let long = format!("{}@example.com", "x".repeat(250));
        for (typed, kept) in [
            ("a.b+c@example.com", true),
            ("guest@", false),
            ("@host", false),
            ("hunter2", false),
            ("p@ss word", false),
            ("a@b\n", false),
            ("a@b@c", false),
            ("a@ex\u{202e}ample", false),
            (&long, false),
        ] {
            assert_eq!(address(typed).is_some(), kept, "{typed:?}");
        }
    }

    #[test]
    fn reads_only_unless_writing_was_allowed() {
        let name = UserName::new("ANONYMOUS").unwrap();
        let mut options = AnonymousOptions {
            groups: vec!["guests".into()],
            ..AnonymousOptions::default()
        };
        let who = Anonymous::new(&options).unwrap().identity(&name, None).unwrap();
        assert_eq!(who.claims.get(READ_ONLY_CLAIM).map(String::as_str), Some("true"));
        assert_eq!(who.user.as_str(), "anonymous");
        options.allow_write = true;
        let who = Anonymous::new(&options).unwrap().identity(&name, None).unwrap();
        assert!(!who.claims.contains_key(READ_ONLY_CLAIM));
    }

    #[tokio::test]
    async fn a_live_visitor_loses_the_right_to_write_with_the_option() {
        let name = UserName::new("ftp").unwrap();
        let writing = AnonymousOptions {
            allow_write: true,
            ..AnonymousOptions::default()
        };
        let who = Anonymous::new(&writing)
            .unwrap()
            .identity(&name, Some("a@b".into()))
            .unwrap();
        let reading = Anonymous::new(&AnonymousOptions::default()).unwrap();
        let Standing::Changed(now) = reading.still_valid(&who, Audience::Transfer).await else {
            panic!("it must have changed");
        };
        assert!(now.claims.contains_key(READ_ONLY_CLAIM) && now.claims.contains_key(ANONYMOUS_MAIL_CLAIM));
        assert!(matches!(
            reading.still_valid(&now, Audience::Transfer).await,
            Standing::Valid
        ));
        assert!(matches!(
            reading.still_valid(&now, Audience::Admin).await,
            Standing::Gone(_)
        ));
    }

    #[test]
    fn refuses_options_that_mean_nothing() {
        for text in ["usernames = []", "usernames = [\"\"]", "groups = [\"\"]"] {
            let options: AnonymousOptions = toml::from_str(text).unwrap();
            assert!(Anonymous::new(&options).is_err(), "{text}");
        }
        assert!(toml::from_str::<AnonymousOptions>("write = true").is_err());
    }
}
