//! The words of `protocol` and `type`: which are built, and whose options they carry.
//!
//! A word that the product knows and this version does not build is here too, so that it is refused
//! for what it is and not taken for a spelling mistake.

use schemars::JsonSchema;
use serde_json::Value as Json;

use super::{
    assemble::schema_of,
    sections::{GateOptions, ListenerOptions, MethodOptions},
};

/// One word.
pub(crate) struct Kind {
    /// The word.
    pub word: &'static str,
    /// The schemas of what all its kin share and of its own; none where it is not built yet.
    pub schemas: Option<fn() -> (Json, Json)>,
}

/// A family of words under one tag.
pub(crate) struct Family {
    /// `protocol` or `type`.
    pub tag: &'static str,
    /// Its words.
    pub kinds: &'static [Kind],
}

impl Family {
    /// The kind of this word.
    pub(crate) fn kind(&self, word: &str) -> Option<&'static Kind> {
        self.kinds.iter().find(|kind| kind.word == word)
    }
}

const fn built(word: &'static str, schemas: fn() -> (Json, Json)) -> Kind {
    Kind {
        word,
        schemas: Some(schemas),
    }
}

const fn unbuilt(word: &'static str) -> Kind {
    Kind { word, schemas: None }
}

fn pair<Shared: JsonSchema, Own: JsonSchema>() -> (Json, Json) {
    (schema_of::<Shared>(), schema_of::<Own>())
}

/// What storages share beside their options: nothing.
#[derive(serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Nothing {}

/// `[[listener]]`.
pub(crate) const LISTENER: Family = Family {
    tag: "protocol",
    kinds: &[
        built("sftp", pair::<ListenerOptions, portreeve_sftp::SftpOptions>),
        built("ftps", pair::<ListenerOptions, portreeve_ftp::FtpOptions>),
        built("https", pair::<ListenerOptions, portreeve_web::WebOptions>),
        unbuilt("console"),
    ],
};

/// `[[auth]]`.
pub(crate) const AUTH: Family = Family {
    tag: "type",
    kinds: &[
        built(
            "ip-time-ban",
            pair::<GateOptions, portreeve_auth::IpTimeBanOptions>,
        ),
        built(
            "deny-username",
            pair::<GateOptions, portreeve_auth::DenyUsernameOptions>,
        ),
        built(
            "local-file",
            pair::<MethodOptions, portreeve_auth::LocalFileOptions>,
        ),
        built(
            "application",
            pair::<MethodOptions, portreeve_auth::ApplicationOptions>,
        ),
        built(
            "anonymous",
            pair::<MethodOptions, portreeve_auth::AnonymousOptions>,
        ),
        unbuilt("entra-id"),
        unbuilt("ldap"),
        unbuilt("radius"),
        unbuilt("os"),
        unbuilt("http"),
    ],
};

/// `[storage.*]`.
pub(crate) const STORAGE: Family = Family {
    tag: "type",
    kinds: &[
        built("disk", pair::<Nothing, portreeve_disk::Options>),
        built(
            "maildir",
            pair::<portreeve_mailbox::MailOptions, portreeve_mailbox::MaildirOptions>,
        ),
        built(
            "exchange",
            pair::<portreeve_mailbox::MailOptions, portreeve_mailbox::ExchangeOptions>,
        ),
        built(
            "imap",
            pair::<portreeve_mailbox::MailOptions, portreeve_mailbox::ImapOptions>,
        ),
        unbuilt("s3"),
        unbuilt("azure-blob"),
        unbuilt("gcs"),
    ],
};
