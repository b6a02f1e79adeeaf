//! What may be typed.

use std::{net::IpAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};
use portreeve_model::options::DurationText;

use super::{Failure, accounts::Parts};
use crate::control::{AccountRequest, SecretRequest};

/// Secure file transfer over SFTP, FTPS and HTTPS, for files and mailboxes alike.
#[derive(Debug, Parser)]
#[command(name = "portreeve", version, propagate_version = true)]
#[command(after_help = "Exit codes: 0 done, 1 failed, 2 usage or configuration.")]
pub(crate) struct Arguments {
    /// Print JSON.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// Where the configuration is.
#[derive(Debug, Args)]
pub(crate) struct From {
    /// The configuration file.
    #[arg(
        long,
        short,
        env = "PORTREEVE_CONFIG",
        default_value = "/etc/portreeve/portreeve.toml"
    )]
    pub(crate) config: PathBuf,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Run the server.
    Serve(From),
    /// Check a configuration and tell everything that is wrong with it.
    Check(From),
    /// Look for what stands in the way of the mailboxes of a configuration, stage by stage; no server need run.
    Doctor(Doctor),
    /// Serve sample files and a sample mailbox on this machine, to try it out.
    Demo {
        /// Where everything is kept; made where it is missing.
        #[arg(long, default_value = "portreeve-demo")]
        dir: PathBuf,
        /// Take free ports.
        #[arg(long)]
        ephemeral: bool,
    },
    /// Read a password from standard input and print its hash.
    HashPassword,
    /// How the running server is.
    Status(From),
    /// Have the running server read its configuration anew.
    Reload(From),
    /// Accounts of transfer users.
    Account {
        #[command(subcommand)]
        verb: AccountVerb,
    },
    /// Accounts of administrators.
    Admin {
        #[command(subcommand)]
        verb: AdminVerb,
    },
    /// Addresses that are refused for a while.
    Ban {
        #[command(subcommand)]
        verb: BanVerb,
    },
    /// Live sessions.
    Session {
        #[command(subcommand)]
        verb: SessionVerb,
    },
    /// Why somebody gets in, or may do something, or not.
    Explain {
        #[command(subcommand)]
        verb: ExplainVerb,
    },
    /// Secrets that the configuration names as { sealed = "NAME" }.
    Secret {
        #[command(subcommand)]
        verb: SecretVerb,
    },
    /// The audit log.
    Audit {
        #[command(subcommand)]
        verb: AuditVerb,
    },
    /// Print completions for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Print the manual page.
    Man,
    /// Print what is generated from the options.
    #[command(hide = true)]
    Reference {
        /// Which text.
        what: ReferenceText,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum ReferenceText {
    /// `config/complete.toml`.
    Config,
    /// `config/schema.json`.
    Schema,
}

/// What an account may have when it is made.
#[derive(Debug, Args)]
pub(crate) struct NewAccount {
    /// The name.
    name: String,
    /// Read a password from standard input.
    #[arg(long)]
    password_stdin: bool,
    /// A public key, as in `authorized_keys`; may be given several times.
    #[arg(long = "ssh-key", value_name = "KEY")]
    keys: Vec<String>,
    /// When it expires: 2027-01-31 or 2027-01-31T12:00:00Z.
    #[arg(long)]
    expires: Option<String>,
    /// A mail address, for templates.
    #[arg(long)]
    mail: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AccountVerb {
    /// Add an account.
    Add {
        #[command(flatten)]
        new: NewAccount,
        /// A group; may be given several times, the first is primary.
        #[arg(long = "group", required = true)]
        groups: Vec<String>,
        #[command(flatten)]
        from: From,
    },
    /// List the accounts.
    List(From),
    /// Show an account.
    Show(Named),
    /// Set a password, read from standard input.
    Passwd(Named),
    /// Public keys.
    Key {
        #[command(subcommand)]
        verb: KeyVerb,
    },
    /// Replace the groups.
    Groups {
        #[command(flatten)]
        named: Named,
        /// The groups, the primary one first.
        #[arg(required = true)]
        groups: Vec<String>,
    },
    /// Switch an account off; its sessions end.
    Disable(Named),
    /// Switch an account on.
    Enable(Named),
    /// Set when an account expires: a date, a time, or `never`.
    Expire {
        #[command(flatten)]
        named: Named,
        /// 2027-01-31, 2027-01-31T12:00:00Z or never.
        when: String,
    },
    /// Remove an account; its sessions end, its files stay.
    Remove(Named),
}

#[derive(Debug, Subcommand)]
pub(crate) enum AdminVerb {
    /// Add an administrator.
    Add {
        #[command(flatten)]
        new: NewAccount,
        /// A role; may be given several times, the first is primary.
        #[arg(long = "role", required = true)]
        roles: Vec<String>,
        #[command(flatten)]
        from: From,
    },
    /// List the administrators.
    List(From),
    /// Show an administrator.
    Show(Named),
    /// Set a password, read from standard input.
    Passwd(Named),
    /// Public keys.
    Key {
        #[command(subcommand)]
        verb: KeyVerb,
    },
    /// Switch an administrator off.
    Disable(Named),
    /// Switch an administrator on.
    Enable(Named),
    /// Delete an administrator.
    Delete(Named),
}

#[derive(Debug, Args)]
pub(crate) struct Named {
    /// The name.
    name: String,
    #[command(flatten)]
    from: From,
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeyVerb {
    /// Add a public key.
    Add {
        #[command(flatten)]
        named: Named,
        /// The key, as in `authorized_keys`; `-` reads it from standard input.
        key: String,
    },
    /// Remove a public key.
    Remove {
        #[command(flatten)]
        named: Named,
        /// Its fingerprint, SHA256:…
        fingerprint: String,
    },
}

/// An address, in words where it is none.
fn address(text: &str) -> Result<IpAddr, &'static str> {
    text.parse().map_err(
        |_| "it is no address; write one like 192.0.2.7 or 2001:db8::7, neither a name nor a network",
    )
}

#[derive(Debug, Subcommand)]
pub(crate) enum BanVerb {
    /// List the bans.
    List(From),
    /// Ban an address (of IPv6, its /64).
    Add {
        /// The address.
        #[arg(value_parser = address)]
        address: IpAddr,
        /// For how long.
        #[arg(long = "for", default_value = "1h")]
        length: DurationText,
        /// Why.
        #[arg(long, default_value = "by hand")]
        reason: String,
        #[command(flatten)]
        from: From,
    },
    /// Lift a ban.
    Remove {
        /// The address.
        #[arg(value_parser = address)]
        address: IpAddr,
        #[command(flatten)]
        from: From,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum SessionVerb {
    /// List the live sessions.
    List(From),
    /// End a session.
    Kill {
        /// Its id.
        session: String,
        #[command(flatten)]
        from: From,
    },
}

/// What the doctor looks at.
#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// One storage alone.
    #[arg(long, value_name = "NAME")]
    pub(crate) storage: Option<String>,
    /// A mailbox to look at, where the storage's are those of whoever signs in; may be given several times.
    #[arg(long = "mailbox", value_name = "ADDRESS")]
    pub(crate) mailboxes: Vec<String>,
    /// A mailbox that must be refused.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) outside: Option<String>,
    #[command(flatten)]
    pub(crate) from: From,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SecretVerb {
    /// Seal a secret, read as one line from standard input; a running server takes it at the next reload.
    Set(Named),
    /// List the names. Nobody is shown a secret.
    List(From),
    /// Forget a sealed secret.
    Delete(Named),
}

#[derive(Debug, Subcommand)]
pub(crate) enum AuditVerb {
    /// Check that every record follows the one before it.
    Verify {
        /// The files of one log, the oldest first: audit.jsonl.2 audit.jsonl.1 audit.jsonl.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ExplainVerb {
    /// What each step of the chain would say about a name, without its credential.
    Login {
        /// The name.
        #[arg(long)]
        user: String,
        /// The address it comes from.
        #[arg(long, default_value = "127.0.0.1", value_parser = address)]
        from: IpAddr,
        /// The listener: its name or its protocol.
        #[arg(long, default_value = "sftp")]
        protocol: String,
        /// With what.
        #[arg(long, default_value = "password", value_parser = ["password", "key"])]
        credential: String,
        #[command(flatten)]
        config: From,
    },
    /// What somebody may do with a path, and what decides.
    Access {
        /// The name.
        #[arg(long)]
        user: String,
        /// The path.
        #[arg(long)]
        path: String,
        /// One verb alone.
        #[arg(long)]
        verb: Option<String>,
        /// The listener: its name or its protocol. The whole chain without it.
        #[arg(long)]
        protocol: Option<String>,
        #[command(flatten)]
        config: From,
    },
}

impl NewAccount {
    fn request(self, member_of: Vec<String>) -> Result<AccountRequest, Failure> {
        let password = self.password_stdin.then(super::secrets::hashed).transpose()?;
        let Self {
            name,
            keys,
            expires,
            mail,
            ..
        } = self;
        Ok(AccountRequest::Add {
            name,
            member_of,
            password,
            keys,
            expires,
            mail,
        })
    }
}

impl Named {
    fn parts(self, request: impl FnOnce(String) -> AccountRequest) -> Parts {
        (self.from.config, request(self.name))
    }
}

impl SecretVerb {
    /// The configuration and the request. Reads standard input where a secret is wanted.
    pub(crate) fn parts(self) -> Result<(PathBuf, SecretRequest), Failure> {
        Ok(match self {
            Self::Set(Named { name, from }) => {
                let secret = super::secrets::line()?;
                (from.config, SecretRequest::Set { name, secret })
            }
            Self::List(from) => (from.config, SecretRequest::List),
            Self::Delete(Named { name, from }) => (from.config, SecretRequest::Delete { name }),
        })
    }
}

impl KeyVerb {
    fn parts(self) -> Result<Parts, Failure> {
        Ok(match self {
            Self::Add { named, key } => {
                let line = if key == "-" { super::secrets::line()? } else { key };
                named.parts(|name| AccountRequest::KeyAdd { name, line })
            }
            Self::Remove { named, fingerprint } => {
                named.parts(|name| AccountRequest::KeyRemove { name, fingerprint })
            }
        })
    }
}

fn passwd(named: Named) -> Result<Parts, Failure> {
    let password = Some(super::secrets::hashed()?);
    Ok(named.parts(|name| AccountRequest::Passwd { name, password }))
}

impl AccountVerb {
    /// The configuration and the request. Reads standard input where a password is wanted.
    pub(crate) fn parts(self) -> Result<Parts, Failure> {
        Ok(match self {
            Self::Add { new, groups, from } => (from.config, new.request(groups)?),
            Self::List(from) => (from.config, AccountRequest::List),
            Self::Show(named) => named.parts(|name| AccountRequest::Show { name }),
            Self::Passwd(named) => passwd(named)?,
            Self::Key { verb } => verb.parts()?,
            Self::Groups { named, groups } => named.parts(|name| AccountRequest::MemberOf {
                name,
                member_of: groups,
            }),
            Self::Disable(named) => named.parts(|name| AccountRequest::Disabled { name, disabled: true }),
            Self::Enable(named) => named.parts(|name| AccountRequest::Disabled {
                name,
                disabled: false,
            }),
            Self::Expire { named, when } => {
                let at = (when != "never").then_some(when);
                named.parts(|name| AccountRequest::Expire { name, at })
            }
            Self::Remove(named) => named.parts(|name| AccountRequest::Remove { name }),
        })
    }
}

impl AdminVerb {
    /// The configuration and the request. Reads standard input where a password is wanted.
    pub(crate) fn parts(self) -> Result<Parts, Failure> {
        Ok(match self {
            Self::Add { new, roles, from } => (from.config, new.request(roles)?),
            Self::List(from) => (from.config, AccountRequest::List),
            Self::Show(named) => named.parts(|name| AccountRequest::Show { name }),
            Self::Passwd(named) => passwd(named)?,
            Self::Key { verb } => verb.parts()?,
            Self::Disable(named) => named.parts(|name| AccountRequest::Disabled { name, disabled: true }),
            Self::Enable(named) => named.parts(|name| AccountRequest::Disabled {
                name,
                disabled: false,
            }),
            Self::Delete(named) => named.parts(|name| AccountRequest::Remove { name }),
        })
    }
}
