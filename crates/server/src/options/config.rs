//! What comes out of a checked configuration: every name refers to something, every path is absolute.

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use ipnet::IpNet;
use portreeve_model::{Door, GroupName, RoleName, options::SecretText};
use portreeve_session::{AuditOptions, GroupOptions, LimitsOptions};

use super::{
    GateOptions, LogOptions, MethodOptions, RoleOptions, ServerOptions, SpoolOptions, StoreOptions,
    TlsOptions,
};

/// A whole configuration: made only by [`crate::check`].
#[derive(Debug, Clone)]
pub struct Config {
    /// The file it comes from.
    pub file: PathBuf,
    /// `[server]`.
    pub server: ServerOptions,
    /// `[store]`.
    pub store: StoreOptions,
    /// `[spool]`; its directory is given.
    pub spool: SpoolOptions,
    /// `[tls]`.
    pub tls: Option<TlsOptions>,
    /// `[limits]`.
    pub limits: LimitsOptions,
    /// `[audit]`.
    pub audit: AuditOptions,
    /// `[metrics]`, parsed.
    pub metrics: Option<SocketAddr>,
    /// `[log]`.
    pub log: LogOptions,
    /// `[[listener]]`.
    pub listeners: Vec<Listener>,
    /// `[[auth]]`.
    pub steps: Vec<Step>,
    /// `[groups.*]`, in the order of the file.
    pub groups: Vec<Group>,
    /// `[roles.*]`, in the order of the file.
    pub roles: Vec<Role>,
    /// `[storage.*]`.
    pub storages: Vec<Storage>,
}

/// A listener.
#[derive(Debug, Clone)]
pub struct Listener {
    /// Its name, unique.
    pub name: Arc<str>,
    /// Where it listens.
    pub address: SocketAddr,
    /// Whose PROXY header is believed.
    pub trusted: Vec<IpNet>,
    /// The steps that count here; all where missing.
    pub auth: Option<Vec<String>>,
    /// The door behind it.
    pub protocol: Protocol,
}

/// The door of a listener with its options.
#[derive(Debug, Clone)]
pub enum Protocol {
    /// SSH file transfer.
    Sftp(portreeve_sftp::SftpOptions),
    /// FTP over TLS.
    Ftps(Box<portreeve_ftp::FtpOptions>),
    /// The browser and the file API.
    Https(portreeve_web::WebOptions),
}

impl Protocol {
    /// Which door it is.
    #[must_use]
    pub const fn door(&self) -> Door {
        match self {
            Self::Sftp(_) => Door::Sftp,
            Self::Ftps(_) => Door::Ftps,
            Self::Https(_) => Door::Https,
        }
    }
}

/// A step of the chain.
#[derive(Debug, Clone)]
pub struct Step {
    /// Its name, unique.
    pub name: Arc<str>,
    /// Whether it is asked.
    pub enabled: bool,
    /// What it is.
    pub kind: StepKind,
}

/// What a step is, with its options.
#[derive(Debug, Clone)]
pub enum StepKind {
    /// Refuses an address after failures.
    IpTimeBan(GateOptions, portreeve_auth::IpTimeBanOptions),
    /// Refuses names.
    DenyUsername(GateOptions, portreeve_auth::DenyUsernameOptions),
    /// Accounts in a file.
    LocalFile(MethodOptions, portreeve_auth::LocalFileOptions),
    /// Accounts in the store.
    Application(MethodOptions, portreeve_auth::ApplicationOptions),
    /// Everybody.
    Anonymous(MethodOptions, portreeve_auth::AnonymousOptions),
}

impl StepKind {
    /// The policy of a method; none of a gate.
    #[must_use]
    pub const fn method(&self) -> Option<&MethodOptions> {
        match self {
            Self::IpTimeBan(..) | Self::DenyUsername(..) => None,
            Self::LocalFile(shared, _) | Self::Application(shared, _) | Self::Anonymous(shared, _) => {
                Some(shared)
            }
        }
    }
}

/// A group.
#[derive(Debug, Clone)]
pub struct Group {
    /// Its name.
    pub name: GroupName,
    /// What its members see.
    pub options: GroupOptions,
}

/// A role.
#[derive(Debug, Clone)]
pub struct Role {
    /// Its name.
    pub name: RoleName,
    /// What it permits.
    pub options: RoleOptions,
}

/// A storage.
#[derive(Debug, Clone)]
pub struct Storage {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: StorageKind,
}

/// What a storage is, with its options.
#[derive(Debug, Clone)]
pub enum StorageKind {
    /// A directory of this machine.
    Disk(portreeve_disk::Options),
    /// A Maildir.
    Maildir(Box<portreeve_mailbox::MaildirOptions>),
    /// Mailboxes in Exchange Online.
    Exchange(Box<portreeve_mailbox::ExchangeOptions>),
    /// Mailboxes on a mail server.
    Imap(Box<portreeve_mailbox::ImapOptions>),
}

impl StorageKind {
    /// What every mailbox shares; none of what is no mailbox.
    #[must_use]
    pub fn mail(&self) -> Option<&portreeve_mailbox::MailOptions> {
        match self {
            Self::Disk(_) => None,
            Self::Maildir(options) => Some(&options.mail),
            Self::Exchange(options) => Some(&options.mail),
            Self::Imap(options) => Some(&options.mail),
        }
    }

    /// The secrets that it names, by option.
    #[must_use]
    pub fn secrets(&self) -> Vec<(&'static str, &SecretText)> {
        let named: Vec<(&'static str, &Option<SecretText>)> = match self {
            Self::Disk(_) | Self::Maildir(_) => Vec::new(),
            Self::Exchange(options) => vec![
                ("password", &options.password),
                ("key", &options.key),
                ("refresh_token", &options.refresh_token),
            ],
            Self::Imap(options) => vec![
                ("password", &options.password),
                ("refresh_token", &options.refresh_token),
            ],
        };
        let given = named.into_iter();
        given
            .filter_map(|(option, secret)| Some((option, secret.as_ref()?)))
            .collect()
    }

    /// The template of a storage that holds the mailbox of whoever signs in: each mount of it begins within
    /// the mailbox that the template gives for that person, so nobody reaches another's.
    #[must_use]
    pub fn template(&self) -> Option<&str> {
        match self {
            Self::Disk(_) | Self::Maildir(_) => None,
            Self::Exchange(options) => match options.mailbox.all() {
                [one] if one.contains('{') => Some(one),
                _ => None,
            },
            Self::Imap(options) => options.template(),
        }
    }
}

impl Config {
    /// Every secret that the configuration names, with the place of its option.
    #[must_use]
    pub fn secrets(&self) -> Vec<(String, &SecretText)> {
        let key = self.store.key.iter().map(|key| ("store.key".to_owned(), key));
        let storages = self.storages.iter().flat_map(|storage| {
            let named = storage.kind.secrets().into_iter();
            named.map(|(option, secret)| (format!("storage.{}.{option}", storage.name), secret))
        });
        key.chain(storages).collect()
    }
}
