//! The options that belong to the server itself.

use std::path::PathBuf;

use portreeve_model::options::{DurationText, SecretText, SizeText};
use schemars::JsonSchema;
use serde::Deserialize;

/// `[server]`: who this is and where it keeps what it must remember.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ServerOptions {
    /// The name under which clients know the server; it stands in the self-signed certificate.
    pub name: String,
    /// State database, host keys, self-signed certificate, control socket. Relative to this file.
    pub data_dir: PathBuf,
    /// How long running transfers may go on after SIGTERM.
    pub grace_period: DurationText,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            name: "localhost".to_owned(),
            data_dir: "/var/lib/portreeve".into(),
            grace_period: DurationText(std::time::Duration::from_secs(30)),
        }
    }
}

/// `[store]`: where accounts, bans and other state are kept.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StoreOptions {
    /// `sqlite:FILE`, relative to `data_dir`.
    pub url: String,
    /// The key that secrets in the database are sealed under: 32 random bytes in base64 (`openssl rand
    /// -base64 32`), best as `{ credential = "…" }` or in a file on another disk than the database. Without
    /// it one is made in `data_dir`, as `secret.key`.
    pub key: Option<SecretText>,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            url: "sqlite:portreeve.db".to_owned(),
            key: None,
        }
    }
}

/// `[spool]`: files without a name in which the content of remote mailboxes passes through, encrypted by keys
/// that live in memory alone.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SpoolOptions {
    /// The directory; `spool` in `data_dir` without it. Relative to this file.
    pub directory: Option<PathBuf>,
    /// How much of the disk all files together may take.
    pub max_total: SizeText,
    /// The largest file.
    pub max_file: SizeText,
}

impl Default for SpoolOptions {
    fn default() -> Self {
        Self {
            directory: None,
            max_total: SizeText(20 << 30),
            max_file: SizeText(4 << 30),
        }
    }
}

/// `[tls]`: the certificate of every door that speaks TLS. Without this section a self-signed one is
/// made in `data_dir`. Both files are watched: a new pair is taken while the server runs.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TlsOptions {
    /// The certificate and its chain, PEM. Relative to this file.
    pub certificate: PathBuf,
    /// The private key, PEM. Relative to this file.
    pub key: PathBuf,
}

/// `[metrics]`: an address for probes and Prometheus, without TLS and without sign-in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MetricsOptions {
    /// Where `/healthz`, `/readyz` and `/metrics` answer, like `127.0.0.1:9090`; off where missing.
    pub address: Option<String>,
}

/// `[log]`: what the server says on standard error.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LogOptions {
    /// How much is said.
    pub level: LogLevel,
    /// In which form.
    pub format: LogFormat,
}

/// How much is said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, serde::Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Only what needs somebody.
    Error,
    /// And what may need somebody.
    Warn,
    /// And what an administrator wants to know.
    #[default]
    Info,
    /// And what helps to find a mistake.
    Debug,
    /// Everything.
    Trace,
}

impl LogLevel {
    /// The word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, serde::Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// `[[listener]]`: an address and the door behind it. Further options belong to the protocol.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListenerOptions {
    /// Its name in logs, audit and metrics; the protocol where missing.
    #[serde(default)]
    pub name: Option<String>,
    /// Address and port, like `0.0.0.0:2222` or `[::]:2222`; port 0 takes a free one.
    pub address: String,
    /// Networks whose PROXY protocol header (version 1 or 2) is believed; from them it is required.
    #[serde(default)]
    pub proxy_protocol: Vec<String>,
    /// Names of the `[[auth]]` steps that count here; all of them where missing.
    #[serde(default)]
    pub auth: Option<Vec<String>>,
}

/// What a gate of `[[auth]]` has beside its own options.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GateOptions {
    /// Its name in logs and audit; the type where missing.
    #[serde(default)]
    pub name: Option<String>,
    /// Whether the step is asked at all.
    #[serde(default = "yes")]
    pub enabled: bool,
}

/// What a method of `[[auth]]` has beside its own options.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MethodOptions {
    /// Its name in logs and audit; the type where missing.
    #[serde(default)]
    pub name: Option<String>,
    /// Whether the step is asked at all.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// When it cannot find out: `stop` ends the sign-in, `next` asks the next step.
    #[serde(default)]
    pub on_unavailable: OnTrouble,
    /// When it knows the name and rejects: `stop` ends the sign-in, `next` asks the next step.
    #[serde(default)]
    pub on_reject: OnTrouble,
    /// Groups of everybody whom this step lets in, before any other.
    #[serde(default)]
    pub base_groups: Vec<String>,
    /// Roles of every administrator whom this step lets in, before any other.
    #[serde(default)]
    pub base_roles: Vec<String>,
    /// Endings that are cut off a name; the first that fits is taken.
    #[serde(default)]
    pub remove_username_suffix: Vec<String>,
}

const fn yes() -> bool {
    true
}

/// What follows when a method does not accept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, serde::Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnTrouble {
    /// The sign-in ends.
    #[default]
    Stop,
    /// The next step is asked.
    Next,
}

/// `[roles.NAME]`: what administrators may do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RoleOptions {
    /// Foreign names (a DN, an object id) that mean this role.
    pub external: Vec<String>,
    /// Permissions such as `sessions:*` or `audit:read`.
    pub permissions: Vec<String>,
}
