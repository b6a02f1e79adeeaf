//! Microsoft's national clouds: where each signs in, keeps Graph and keeps Exchange.
//!
//! Tokens of one cloud mean nothing in another, so the three addresses come together.

use schemars::JsonSchema;
use serde::Deserialize;

/// One of Microsoft's clouds. Source: Microsoft, "National cloud deployments".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, serde::Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CloudName {
    /// The worldwide cloud, GCC included.
    #[default]
    Global,
    /// US Government L4 (GCC High).
    UsGov,
    /// US Government L5 (DoD).
    UsDod,
    /// China, run by 21Vianet.
    China,
}

impl CloudName {
    /// Where tokens come from, without a slash at the end.
    #[must_use]
    pub fn authority(self) -> &'static str {
        match self {
            Self::Global => "https://login.microsoftonline.com",
            Self::UsGov | Self::UsDod => "https://login.microsoftonline.us",
            Self::China => "https://login.partner.microsoftonline.cn",
        }
    }

    /// The root of Graph, without version and without a slash at the end: also what the scope of a token for it begins with.
    #[must_use]
    pub fn graph(self) -> &'static str {
        match self {
            Self::Global => "https://graph.microsoft.com",
            Self::UsGov => "https://graph.microsoft.us",
            Self::UsDod => "https://dod-graph.microsoft.us",
            Self::China => "https://microsoftgraph.chinacloudapi.cn",
        }
    }

    /// The resource that tokens for IMAP are asked for, without a slash at the end.
    #[must_use]
    pub fn outlook(self) -> &'static str {
        match self {
            Self::Global => "https://outlook.office365.com",
            Self::UsGov => "https://outlook.office365.us",
            Self::UsDod => "https://outlook-dod.office365.us",
            Self::China => "https://partner.outlook.cn",
        }
    }
}

/// The scope that asks for all that an app was granted at a resource: `<resource>/.default`.
#[must_use]
pub fn default_scope(resource: &str) -> String {
    format!("{}/.default", resource.trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_has_one_slash() {
        for resource in ["https://graph.microsoft.us", "https://graph.microsoft.us/"] {
            assert_eq!(default_scope(resource), "https://graph.microsoft.us/.default");
        }
    }

    #[test]
    fn names_are_written_in_kebab_case() {
        let read: CloudName = serde_json::from_str("\"us-dod\"").unwrap();
        assert_eq!(read.graph(), "https://dod-graph.microsoft.us");
    }
}
