//! SSH authentication (RFC 4252, RFC 4256) as a rendering of the chain: questions and answers only.
//!
//! Invariants: nothing is decided here. A key counts only when russh has verified its signature; an
//! offered one is merely asked about, and unknown names look like known ones. A dialogue belongs to one
//! name: another name starts from zero.

use std::borrow::Cow;

use portreeve_model::{Secret, UserName};
use portreeve_session::{Connection, Credential, CredentialKind, Prompt, PublicKey, Session, SignIn};
use russh::{
    MethodKind, MethodSet,
    keys::{Algorithm, PublicKey as SshKey},
    server::Auth,
};

/// Where a keyboard-interactive dialogue stands.
enum Dialogue {
    /// We asked for the password.
    Password(UserName),
    /// A method of the chain asks.
    Challenge(UserName, String, Vec<Prompt>),
}

/// What a step of signing in came to.
pub(crate) struct Step {
    pub(crate) auth: Auth,
    pub(crate) session: Option<Session>,
    /// Say this and close the connection.
    pub(crate) goodbye: Option<String>,
}

/// One connection's way in.
pub(crate) struct Entrance {
    connection: Connection,
    dialogue: Option<Dialogue>,
    min_rsa_bits: u32,
}

impl Entrance {
    pub(crate) fn new(connection: Connection, min_rsa_bits: u32) -> Self {
        Self {
            connection,
            dialogue: None,
            min_rsa_bits,
        }
    }

    pub(crate) async fn none(&mut self, user: &str) -> Step {
        if !self.takes(CredentialKind::Nothing) {
            return self.reject(false);
        }
        self.submit(user, Credential::Nothing).await
    }

    pub(crate) async fn password(&mut self, user: &str, password: &str) -> Step {
        if !self.takes(CredentialKind::Password) {
            return self.reject(false);
        }
        self.submit(user, Credential::Password(Secret::new(password.to_owned())))
            .await
    }

    /// Whether the key may be tried: nothing was proved yet.
    pub(crate) async fn key_offered(&mut self, user: &str, key: &SshKey, algorithm: &Algorithm) -> Auth {
        if !self.takes(CredentialKind::PublicKey) || !self.is_strong(key, algorithm) {
            return self.reject(false).auth;
        }
        let Ok(user) = UserName::from_wire(user.as_bytes()) else {
            return self.reject(false).auth;
        };
        if self
            .connection
            .offer_key(&user, PublicKey(key.clone().into()))
            .await
        {
            return Auth::Accept;
        }
        self.reject(false).auth
    }

    /// A key whose signature russh verified over this very name.
    pub(crate) async fn key_proved(&mut self, user: &str, key: &SshKey, algorithm: &Algorithm) -> Step {
        if !self.takes(CredentialKind::PublicKey) || !self.is_strong(key, algorithm) {
            return self.reject(false);
        }
        self.submit(user, Credential::PublicKey(PublicKey(key.clone().into())))
            .await
    }

    pub(crate) async fn interactive_begin(&mut self, user: &str) -> Step {
        let Ok(user) = UserName::from_wire(user.as_bytes()) else {
            return self.reject(false);
        };
        if let Some(Dialogue::Challenge(asked, instruction, prompts)) = &self.dialogue
            && *asked == user
        {
            return ask(instruction.clone(), prompts);
        }
        self.dialogue = None;
        if !self.takes(CredentialKind::Password) {
            return self.reject(false);
        }
        self.dialogue = Some(Dialogue::Password(user));
        let prompt = Prompt {
            text: "Password: ".to_owned(),
            echo: false,
        };
        ask(String::new(), &[prompt])
    }

    pub(crate) async fn interactive_answer(&mut self, user: &str, answers: Vec<Option<String>>) -> Step {
        let answers: Option<Vec<String>> = answers.into_iter().collect();
        let (Ok(user), Some(dialogue), Some(mut answers)) = (
            UserName::from_wire(user.as_bytes()),
            self.dialogue.take(),
            answers,
        ) else {
            return self.reject(false);
        };
        match dialogue {
            Dialogue::Password(asked) if asked == user && answers.len() == 1 => {
                let password = Secret::new(answers.pop().unwrap_or_default());
                let end = self
                    .connection
                    .sign_in(&user, Credential::Password(password))
                    .await;
                self.interactive_step(user, end)
            }
            Dialogue::Challenge(asked, _, prompts) if asked == user && answers.len() == prompts.len() => {
                let answers = answers.into_iter().map(Secret::new).collect();
                let end = self.connection.reply(&user, answers).await;
                self.interactive_step(user, end)
            }
            _ => self.reject(false),
        }
    }

    fn interactive_step(&mut self, user: UserName, end: SignIn) -> Step {
        if let SignIn::Ask { instruction, prompts } = end {
            let step = ask(instruction.clone(), &prompts);
            self.dialogue = Some(Dialogue::Challenge(user, instruction, prompts));
            return step;
        }
        self.step(user, end)
    }

    async fn submit(&mut self, user: &str, credential: Credential) -> Step {
        self.dialogue = None;
        let Ok(user) = UserName::from_wire(user.as_bytes()) else {
            return self.reject(false);
        };
        let end = self.connection.sign_in(&user, credential).await;
        self.step(user, end)
    }

    fn step(&mut self, user: UserName, end: SignIn) -> Step {
        match end {
            SignIn::Welcome(session) => Step {
                auth: Auth::Accept,
                session: Some(session),
                goodbye: None,
            },
            SignIn::Refused => self.reject(false),
            SignIn::Closed => self.close("too many failed attempts to sign in".to_owned()),
            SignIn::Full(text) => self.close(text),
            // The first factor was right; the second is asked for by keyboard-interactive (RFC 4252 §5.1).
            SignIn::Ask { instruction, prompts } => {
                self.dialogue = Some(Dialogue::Challenge(user, instruction, prompts));
                self.reject(true)
            }
        }
    }

    fn close(&self, text: String) -> Step {
        Step {
            goodbye: Some(text),
            ..self.reject(false)
        }
    }

    fn reject(&self, partial: bool) -> Step {
        let methods = if partial {
            MethodSet::from(&[MethodKind::KeyboardInteractive][..])
        } else {
            self.methods()
        };
        Step {
            auth: Auth::Reject {
                proceed_with_methods: Some(methods),
                partial_success: partial,
            },
            session: None,
            goodbye: None,
        }
    }

    /// What the client may try: what the chain takes, no more.
    fn methods(&self) -> MethodSet {
        let mut methods = MethodSet::empty();
        if self.takes(CredentialKind::PublicKey) {
            methods.push(MethodKind::PublicKey);
        }
        if self.takes(CredentialKind::Password) {
            methods.push(MethodKind::Password);
            methods.push(MethodKind::KeyboardInteractive);
        }
        methods
    }

    fn takes(&self, kind: CredentialKind) -> bool {
        self.connection.takes().contains(&kind)
    }

    /// No SHA-1 signatures, and RSA keys of sensible size: a huge one costs minutes.
    fn is_strong(&self, key: &SshKey, algorithm: &Algorithm) -> bool {
        if matches!(algorithm, Algorithm::Rsa { hash: None } | Algorithm::Dsa) {
            return false;
        }
        match key.key_data().rsa() {
            Some(rsa) => (self.min_rsa_bits..=8192).contains(&rsa.key_size()),
            None => true,
        }
    }
}

fn ask(instruction: String, prompts: &[Prompt]) -> Step {
    let prompts: Vec<(Cow<'static, str>, bool)> = prompts
        .iter()
        .map(|prompt| (prompt.text.clone().into(), prompt.echo))
        .collect();
    Step {
        auth: Auth::Partial {
            name: "".into(),
            instructions: instruction.into(),
            prompts: prompts.into(),
        },
        session: None,
        goodbye: None,
    }
}
