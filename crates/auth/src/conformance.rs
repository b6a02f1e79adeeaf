//! What every method that looks at passwords must do, whatever it asks: run against each.
//!
//! Work is counted, not timed: hashes computed, requests sent, or whatever the method pays with.

use std::time::SystemTime;

use portreeve_model::{ConnectionId, Door, Origin, Secret, UserName};

use crate::{Attempt, Audience, Credential, Identity, Method, Standing, Verdict};

/// A name and what signs it in.
#[derive(Debug, Clone)]
pub struct Person {
    /// The name.
    pub user: UserName,
    /// The right password.
    pub password: Secret,
}

impl Person {
    /// From plain text.
    ///
    /// # Errors
    /// As [`UserName::new`].
    pub fn new(user: &str, password: &str) -> Result<Self, portreeve_model::NameError> {
        Ok(Self {
            user: UserName::new(user)?,
            password: Secret::new(password.to_owned()),
        })
    }
}

/// The method under test and whom it knows.
pub struct Subject<'a> {
    /// The method.
    pub method: &'a dyn Method,
    /// For what its people sign in.
    pub audience: Audience,
    /// Work done so far.
    pub works: &'a (dyn Fn() -> u64 + Sync),
    /// Who may sign in.
    pub active: Person,
    /// Who is disabled, where the method knows such a thing.
    pub disabled: Option<Person>,
    /// Whose account has expired, where the method knows such a thing.
    pub expired: Option<Person>,
    /// Takes away (`true`) and gives back what the method asks, where it asks anything.
    pub outage: Option<&'a (dyn Fn(bool) + Sync)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Accept,
    NotMine,
    Reject,
    Challenge,
    Fault,
}

const fn kind(verdict: &Verdict) -> Kind {
    match verdict {
        Verdict::Accept(_) => Kind::Accept,
        Verdict::NotMine => Kind::NotMine,
        Verdict::Reject(_) => Kind::Reject,
        Verdict::Challenge(_) => Kind::Challenge,
        Verdict::Fault(_) => Kind::Fault,
    }
}

/// Runs every case.
///
/// # Errors
/// One line for each rule that was broken.
pub async fn check(subject: &Subject<'_>) -> Result<(), Vec<String>> {
    let mut run = Run {
        subject,
        broken: Vec::new(),
    };
    run.verdicts().await;
    run.standing().await;
    run.other_audience().await;
    run.outage().await;
    if run.broken.is_empty() {
        Ok(())
    } else {
        Err(run.broken)
    }
}

struct Run<'a> {
    subject: &'a Subject<'a>,
    broken: Vec<String>,
}

impl Run<'_> {
    async fn verdicts(&mut self) {
        let active = self.subject.active.clone();
        let Ok(nobody) = UserName::new("nobody-knows-me") else {
            return;
        };
        let unknown = |password: &str| Person {
            user: nobody.clone(),
            password: Secret::new(password.to_owned()),
        };
        let wrong = |person: &Person, password: String| Person {
            user: person.user.clone(),
            password: Secret::new(password),
        };
        let price = self
            .case("unknown name", &unknown("hunter2"), Kind::NotMine)
            .await;
        let mut cases = vec![
            ("unknown name, empty password", unknown(""), Kind::NotMine),
            (
                "unknown name, long password",
                unknown(&"x".repeat(5000)),
                Kind::NotMine,
            ),
            ("wrong password", wrong(&active, "wrong".into()), Kind::Reject),
            ("empty password", wrong(&active, String::new()), Kind::Reject),
            ("long password", wrong(&active, "x".repeat(5000)), Kind::Reject),
            (
                "right password with more behind a NUL",
                wrong(&active, format!("{}\0", active.password.expose())),
                Kind::Reject,
            ),
        ];
        for (who, person) in [
            ("disabled", &self.subject.disabled),
            ("expired", &self.subject.expired),
        ] {
            if let Some(person) = person {
                cases.push((who, person.clone(), Kind::Reject));
                cases.push((who, wrong(person, "wrong".into()), Kind::Reject));
            }
        }
        for (name, person, want) in cases {
            let cost = self.case(name, &person, want).await;
            self.rule(cost == price, || {
                format!("{name}: costs {cost} works, an unknown name costs {price}")
            });
        }
        let attempt = self.attempt(&active, self.subject.audience);
        let before = (self.subject.works)();
        self.subject.method.decoy(&attempt).await;
        let cost = (self.subject.works)() - before;
        self.rule(cost == price, || {
            format!("decoy: costs {cost} works, an unknown name costs {price}")
        });
        self.case("right password", &active, Kind::Accept).await;
    }

    async fn standing(&mut self) {
        let Some(who) = self.accepted().await else {
            return;
        };
        let now = self.subject.method.still_valid(&who, self.subject.audience).await;
        self.rule(now == Standing::Valid, || {
            format!("just accepted, and stands as {now:?}")
        });
        for (name, person) in [
            ("disabled", &self.subject.disabled),
            ("expired", &self.subject.expired),
        ] {
            let Some(person) = person else {
                continue;
            };
            let gone = Identity {
                user: person.user.clone(),
                subject: person.user.to_string(),
                ..who.clone()
            };
            let now = self
                .subject
                .method
                .still_valid(&gone, self.subject.audience)
                .await;
            self.rule(matches!(now, Standing::Gone(_)), || {
                format!("{name}, and stands as {now:?}")
            });
        }
    }

    async fn other_audience(&mut self) {
        let other = match self.subject.audience {
            Audience::Transfer => Audience::Admin,
            Audience::Admin => Audience::Transfer,
        };
        let attempt = self.attempt(&self.subject.active, other);
        if self.subject.method.answers(&attempt) {
            let got = kind(&self.subject.method.verify(&attempt).await);
            self.rule(got != Kind::Accept, || {
                "accepts its people for the other audience".to_owned()
            });
        }
    }

    async fn outage(&mut self) {
        let Some(outage) = self.subject.outage else {
            return;
        };
        let who = self.accepted().await;
        outage(true);
        let active = self.subject.active.clone();
        self.case("outage, right password", &active, Kind::Fault).await;
        let nobody = UserName::new("nobody-knows-me").unwrap_or_else(|_| active.user.clone());
        let unknown = Person {
            user: nobody,
            ..active.clone()
        };
        self.case("outage, unknown name", &unknown, Kind::Fault).await;
        if let Some(who) = &who {
            let now = self.subject.method.still_valid(who, self.subject.audience).await;
            self.rule(matches!(now, Standing::Unknown(_)), || {
                format!("in an outage it stands as {now:?}")
            });
        }
        outage(false);
        self.case("after the outage", &active, Kind::Accept).await;
    }

    async fn accepted(&mut self) -> Option<Identity> {
        let attempt = self.attempt(&self.subject.active, self.subject.audience);
        match self.subject.method.verify(&attempt).await {
            Verdict::Accept(who) => Some(who),
            other => {
                self.broken
                    .push(format!("the right password gives {:?}", kind(&other)));
                None
            }
        }
    }

    async fn case(&mut self, name: &str, person: &Person, want: Kind) -> u64 {
        let attempt = self.attempt(person, self.subject.audience);
        self.rule(self.subject.method.answers(&attempt), || {
            format!("{name}: does not take passwords")
        });
        let before = (self.subject.works)();
        let got = kind(&self.subject.method.verify(&attempt).await);
        self.rule(got == want, || format!("{name}: {got:?} instead of {want:?}"));
        (self.subject.works)() - before
    }

    fn rule(&mut self, kept: bool, otherwise: impl FnOnce() -> String) {
        if !kept {
            self.broken.push(otherwise());
        }
    }

    fn attempt(&self, person: &Person, audience: Audience) -> Attempt {
        let end = std::net::SocketAddr::from(([192, 0, 2, 1], 4711));
        let door = match audience {
            Audience::Transfer => Door::Sftp,
            Audience::Admin => Door::Console,
        };
        Attempt {
            connection: ConnectionId::fresh(),
            origin: Origin::new(door, "conformance".into(), end, end),
            audience,
            user: person.user.clone(),
            credential: Credential::Password(person.password.clone()),
            at: SystemTime::now(),
        }
    }
}
