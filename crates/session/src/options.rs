//! The options of `[limits]`, `[audit]` and `[groups.*]`, as written in the configuration.

use std::path::PathBuf;

use portreeve_model::options::{DurationText, SizeText};
use schemars::JsonSchema;
use serde::Deserialize;

/// `[limits]`: what connections and sessions may take.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsOptions {
    /// Connections at once, over all doors.
    pub connections: u32,
    /// Connections at once from one address (one IPv6 /64).
    pub connections_per_ip: u32,
    /// Sessions at once of one user, over all doors.
    pub sessions_per_user: u32,
    /// How long a connection may take to sign in.
    pub login_grace: DurationText,
    /// How long a session may do nothing. Browsers go by `session_idle` of their listener instead.
    pub idle: DurationText,
    /// Tries to sign in on one connection.
    pub auth_attempts: u32,
    /// A refusal is answered no sooner than this.
    pub refusal_delay: DurationText,
}

impl Default for LimitsOptions {
    fn default() -> Self {
        Self {
            connections: 10_000,
            connections_per_ip: 100,
            sessions_per_user: 100,
            login_grace: seconds(60),
            idle: seconds(600),
            auth_attempts: 6,
            refusal_delay: DurationText(std::time::Duration::from_millis(250)),
        }
    }
}

const fn seconds(n: u64) -> DurationText {
    DurationText(std::time::Duration::from_secs(n))
}

/// `[audit]`: what is recorded where.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AuditOptions {
    /// Where records go, all of them to each.
    pub sinks: Vec<SinkOptions>,
    /// What happens when a record cannot be written.
    pub mode: AuditMode,
    /// Digest of what passed in a transfer; costs 0.2 to 0.6 CPU seconds a GiB.
    pub digest: Option<DigestKind>,
}

/// What happens when a record cannot be written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, serde::Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AuditMode {
    /// The operation fails: nothing happens that is not recorded.
    #[default]
    Required,
    /// The operation goes on, and the loss is counted.
    BestEffort,
}

/// Which digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, serde::Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DigestKind {
    /// SHA-256.
    Sha256,
    /// BLAKE3.
    Blake3,
}

/// One place for records.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, serde::Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
pub enum SinkOptions {
    /// A file of JSON lines, each bound to the one before it by a hash.
    File {
        /// The file; relative to `data_dir`.
        path: PathBuf,
        /// A file larger than this is rotated.
        #[serde(default = "rotate_at")]
        rotate_at: SizeText,
        /// How many rotated files are kept at least.
        #[serde(default = "keep")]
        keep: u32,
        /// A rotated file that is younger (by its last record) is kept, however many there are.
        #[serde(default = "keep_for")]
        keep_for: DurationText,
        /// Bytes that all files of this log may hold; room for `keep` + 2 files of `rotate_at` at least.
        /// When they are used up, mode `required` takes no more records, and `best-effort` removes the
        /// oldest file.
        #[serde(default = "max_total")]
        max_total: SizeText,
    },
    /// JSON lines on standard output.
    Stdout,
    /// RFC 5424 over a Unix datagram socket.
    Syslog {
        /// The socket.
        #[serde(default = "dev_log")]
        socket: PathBuf,
    },
}

const fn rotate_at() -> SizeText {
    SizeText(64 << 20)
}

const fn keep() -> u32 {
    10
}

const fn keep_for() -> DurationText {
    seconds(7 * 24 * 3600)
}

const fn max_total() -> SizeText {
    SizeText(8 << 30)
}

fn dev_log() -> PathBuf {
    "/dev/log".into()
}

/// `[groups.NAME]`: what members of a group see.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GroupOptions {
    /// Foreign names (a DN, an object id) that mean this group.
    pub external: Vec<String>,
    /// What is mounted where.
    pub mounts: Vec<MountOptions>,
}

/// One entry of `mounts`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MountOptions {
    /// Where it appears: an absolute path.
    pub path: String,
    /// Which `[storage.NAME]`.
    pub storage: String,
    /// The directory of the storage that is mounted; `{user}` and `{user.CLAIM}` are filled in. The
    /// whole storage where it is missing. It is made at sign-in.
    #[serde(default)]
    pub subpath: Option<String>,
    /// What may be done: `"full"`, `"read-only"` or a list of verbs.
    pub verbs: VerbWords,
    /// Exceptions by path, from top to bottom: the first that fits decides.
    #[serde(default)]
    pub rules: Vec<RuleOptions>,
    /// Quota and rates.
    #[serde(default)]
    pub limits: MountLimits,
    /// What listings say of uploads that were not finished. `"hidden"`: nothing, their owner finds them by
    /// their exact names. `"listed"`: their owner, and nobody else, is shown them as files of the size they
    /// have so far, where no complete file has the name: for clients that look there before they go on.
    #[serde(default)]
    pub partials: Partials,
}

/// What listings say of uploads that were not finished.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Partials {
    /// Nothing.
    #[default]
    Hidden,
    /// Their owner sees them.
    Listed,
}

/// `"full"`, `"read-only"`, or a list of verbs.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum VerbWords {
    /// One word.
    One(String),
    /// Several words.
    Many(Vec<String>),
}

impl VerbWords {
    /// The words.
    #[must_use]
    pub fn words(&self) -> &[String] {
        match self {
            Self::One(word) => std::slice::from_ref(word),
            Self::Many(words) => words,
        }
    }
}

/// One exception of a mount.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleOptions {
    /// A glob over the path within the mount: `*` stays within one directory, `**` does not;
    /// `/Archive/**` means everything below `/Archive`, not the directory itself.
    pub pattern: String,
    /// Whether the verbs are allowed or denied there.
    pub effect: Effect,
    /// Which verbs; all where it is missing.
    #[serde(default)]
    pub verbs: Option<VerbWords>,
}

/// What a rule does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// The verbs are allowed.
    Allow,
    /// The verbs are denied.
    Deny,
}

/// Quota and rates of one mount.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MountLimits {
    /// Bytes that may be stored in the mounted directory, unfinished uploads included.
    pub quota: Option<SizeText>,
    /// Largest single file.
    pub max_file_size: Option<SizeText>,
    /// Bytes a second that one user may read, over all sessions.
    pub download_rate: Option<SizeText>,
    /// Bytes a second that one user may write, over all sessions.
    pub upload_rate: Option<SizeText>,
}
