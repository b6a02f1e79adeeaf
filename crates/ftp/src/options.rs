//! The options of an `ftps` listener that are this door's own.

use std::{net::IpAddr, ops::RangeInclusive, path::PathBuf, time::Duration};

use ipnet::IpNet;
use portreeve_model::options::DurationText;
use schemars::JsonSchema;
use serde::Deserialize;

/// How an `ftps` listener comes by TLS.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, serde::Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TlsMode {
    /// Clients ask for it with `AUTH TLS` (RFC 4217); without it nobody signs in.
    #[default]
    Explicit,
    /// The connection begins with it (port 990 by custom).
    Implicit,
    /// Clients may do without: names, passwords and files may pass in clear text.
    Optional,
}

/// Whether a data connection has to show that it belongs to its control connection by resuming that TLS
/// session.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, serde::Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SessionReuse {
    /// Offered; a data connection without it is taken from the same address alone.
    #[default]
    Prefer,
    /// Demanded. The listener speaks TLS 1.2 at most, since clients resume TLS 1.3 too seldom.
    Require,
    /// Not offered.
    Off,
}

/// Whether clients show certificates.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, serde::Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ClientCertificates {
    /// They are not asked for one.
    #[default]
    Off,
    /// They are asked; one that is shown must be signed by `client_ca`.
    Optional,
    /// Without one that is signed by `client_ca` there is no connection. It proves no name: people sign in
    /// all the same.
    Required,
}

/// What ends an upload.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, serde::Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CloseNotify {
    /// A data connection that ends without TLS's farewell was cut: the upload is not whole.
    #[default]
    Require,
    /// Any end is an end, for clients that never say it. A cut upload cannot be told from a whole one.
    Lenient,
}

/// What `TYPE A` does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, serde::Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Ascii {
    /// Nothing: bytes pass as they are, and nothing sent in the wrong type is ruined.
    #[default]
    AsIs,
    /// Ends of lines become CRLF on the wire and LF in files (RFC 959, section 3.1.1.1). Then `SIZE` and
    /// `REST` are refused in `TYPE A`, since no size would be true.
    Convert,
}

/// The address that `PASV` tells, where it is not the one that the client connected to.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum PublicAddress {
    /// The same for all: an IPv4 address, or a name that is looked up.
    One(String),
    /// By the client's network; the first that fits counts, and one without `networks` fits all.
    ByNetwork(Vec<NetworkAddress>),
}

/// One line of a `public_address` by network.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NetworkAddress {
    /// The clients' networks, like `10.0.0.0/8`; all of them where missing.
    #[serde(default)]
    pub networks: Vec<String>,
    /// An IPv4 address, or a name that is looked up.
    pub address: String,
}

/// What an `ftps` listener may set beside its address, its certificate and its chain.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FtpOptions {
    /// How it comes by TLS.
    pub tls: TlsMode,
    /// Whether data connections have to resume the TLS session of their control connection.
    pub session_reuse: SessionReuse,
    /// Whether clients show certificates.
    pub client_certificates: ClientCertificates,
    /// Who signs clients' certificates, PEM. Relative to this file.
    pub client_ca: Option<PathBuf>,
    /// The ports of passive data connections, like `"50000-50999"`: open them in the firewall.
    pub passive_ports: String,
    /// The address that `PASV` tells, where the server is behind address translation.
    pub public_address: Option<PublicAddress>,
    /// Allow `PORT` and `EPRT`: the server connects to the client, to its own address and no port below
    /// 1024.
    pub active: bool,
    /// How long a data connection may take to come about.
    pub data_timeout: DurationText,
    /// A transfer on which nothing moves for so long is ended; what came is kept.
    pub stall_timeout: DurationText,
    /// No transfer takes longer.
    pub transfer_timeout: DurationText,
    /// What `TYPE A` does.
    pub ascii: Ascii,
    /// What ends an upload.
    pub close_notify: CloseNotify,
    /// A text of the greeting, before sign-in.
    pub welcome: Option<String>,
    /// A text shown after sign-in.
    pub login_text: Option<String>,
}

impl Default for FtpOptions {
    fn default() -> Self {
        let seconds = |n| DurationText(Duration::from_secs(n));
        Self {
            tls: TlsMode::default(),
            session_reuse: SessionReuse::default(),
            client_certificates: ClientCertificates::default(),
            client_ca: None,
            passive_ports: "50000-50999".to_owned(),
            public_address: None,
            active: false,
            data_timeout: seconds(30),
            stall_timeout: seconds(60),
            transfer_timeout: seconds(24 * 3600),
            ascii: Ascii::default(),
            close_notify: CloseNotify::default(),
            welcome: None,
            login_text: None,
        }
    }
}

/// What options come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Checked {
    pub(crate) passive_ports: RangeInclusive<u16>,
    pub(crate) public: Vec<Public>,
}

/// One public address and whom it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Public {
    /// All where empty.
    pub(crate) networks: Vec<IpNet>,
    /// An IPv4 address or a host name.
    pub(crate) address: String,
}

impl Public {
    pub(crate) fn is_for(&self, client: IpAddr) -> bool {
        self.networks.is_empty() || self.networks.iter().any(|network| network.contains(&client))
    }
}

impl FtpOptions {
    /// Every rule that the types do not say.
    ///
    /// # Errors
    /// One sentence for each value that cannot be: the field's name first.
    pub fn check(&self) -> Result<(), Vec<String>> {
        self.checked().map(drop)
    }

    pub(crate) fn checked(&self) -> Result<Checked, Vec<String>> {
        let mut wrong = Vec::new();
        let passive_ports = ports(&self.passive_ports).unwrap_or_else(|why| {
            wrong.push(why);
            1..=1
        });
        let mut public = Vec::new();
        for line in self.addresses() {
            match line.checked() {
                Ok(line) => public.push(line),
                Err(why) => wrong.push(why),
            }
        }
        for (name, value) in [
            ("data_timeout", self.data_timeout),
            ("stall_timeout", self.stall_timeout),
            ("transfer_timeout", self.transfer_timeout),
        ] {
            if value.0.is_zero() {
                wrong.push(format!("{name}: must be more than zero"));
            }
        }
        match (self.client_certificates, &self.client_ca) {
            (ClientCertificates::Off, Some(_)) => wrong.push(
                "client_ca: counts only with client_certificates = \"optional\" or \"required\"".to_owned(),
            ),
            (ClientCertificates::Optional | ClientCertificates::Required, None) => {
                wrong.push("client_ca: is needed where clients show certificates".to_owned());
            }
            (ClientCertificates::Off, None)
            | (ClientCertificates::Optional | ClientCertificates::Required, Some(_)) => {}
        }
        if self.tls == TlsMode::Optional && self.session_reuse == SessionReuse::Require {
            wrong.push("session_reuse: \"require\" means nothing where tls is \"optional\"".to_owned());
        }
        if wrong.is_empty() {
            Ok(Checked {
                passive_ports,
                public,
            })
        } else {
            Err(wrong)
        }
    }

    fn addresses(&self) -> Vec<NetworkAddress> {
        match &self.public_address {
            None => Vec::new(),
            Some(PublicAddress::One(address)) => vec![NetworkAddress {
                networks: Vec::new(),
                address: address.clone(),
            }],
            Some(PublicAddress::ByNetwork(lines)) => lines.clone(),
        }
    }
}

impl NetworkAddress {
    fn checked(&self) -> Result<Public, String> {
        let networks = self
            .networks
            .iter()
            .map(|text| {
                let one = || text.parse().map(|address: IpAddr| IpNet::from(address));
                text.parse().or_else(|_| one()).map_err(|_| {
                    format!("public_address: '{text}' is no network; write one like \"10.0.0.0/8\"")
                })
            })
            .collect::<Result<Vec<IpNet>, String>>()?;
        let host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        match self.address.parse() {
            Ok(IpAddr::V4(_)) => {}
            Ok(IpAddr::V6(_)) => {
                return Err(format!(
                    "public_address: PASV tells IPv4 addresses only, which '{}' is not; EPSV needs none",
                    self.address
                ));
            }
            Err(_) if !self.address.is_empty() && self.address.chars().all(host) => {}
            Err(_) => {
                return Err(format!(
                    "public_address: '{}' is neither an IPv4 address nor a host name",
                    self.address
                ));
            }
        }
        Ok(Public {
            networks,
            address: self.address.clone(),
        })
    }
}

fn ports(text: &str) -> Result<RangeInclusive<u16>, String> {
    let wrong = || format!("passive_ports: '{text}' is no range of ports; write one like \"50000-50999\"");
    let (first, last) = text.split_once('-').ok_or_else(wrong)?;
    let port = |text: &str| text.trim().parse::<u16>().map_err(|_| wrong());
    let (first, last) = (port(first)?, port(last)?);
    if first < 1024 || last < first {
        return Err(format!(
            "passive_ports: '{text}' must go up, and from 1024 at least"
        ));
    }
    Ok(first..=last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(json: &serde_json::Value) -> FtpOptions {
        serde_json::from_value(json.clone()).unwrap()
    }

    #[test]
    fn what_is_written_in_the_manual_is_taken() {
        for good in [
            serde_json::json!({}),
            serde_json::json!({"tls": "implicit", "session_reuse": "require", "passive_ports": "50000 - 50999"}),
            serde_json::json!({"public_address": "203.0.113.7"}),
            serde_json::json!({"public_address": "ftp.example.com"}),
            serde_json::json!({"public_address": [
                {"networks": ["10.0.0.0/8", "192.0.2.1"], "address": "10.0.0.5"}, {"address": "203.0.113.7"}
            ]}),
            serde_json::json!({"client_certificates": "required", "client_ca": "ca.pem"}),
        ] {
            assert_eq!(options(&good).check(), Ok(()), "{good}");
        }
    }

    #[test]
    fn what_cannot_be_is_named() {
        for (bad, word) in [
            (serde_json::json!({"passive_ports": "50000"}), "passive_ports"),
            (serde_json::json!({"passive_ports": "50999-50000"}), "go up"),
            (serde_json::json!({"passive_ports": "20-30"}), "1024"),
            (serde_json::json!({"public_address": "2001:db8::1"}), "IPv4"),
            (serde_json::json!({"public_address": "https://a"}), "host name"),
            (
                serde_json::json!({"public_address": [{"networks": ["x"], "address": "a"}]}),
                "network",
            ),
            (serde_json::json!({"stall_timeout": "0s"}), "stall_timeout"),
            (
                serde_json::json!({"client_certificates": "optional"}),
                "client_ca",
            ),
            (serde_json::json!({"client_ca": "ca.pem"}), "client_certificates"),
            (
                serde_json::json!({"tls": "optional", "session_reuse": "require"}),
                "session_reuse",
            ),
        ] {
            let why = options(&bad).check().unwrap_err().join("; ");
            assert!(why.contains(word), "{bad}: {why}");
        }
    }

    #[test]
    fn the_first_network_that_fits_counts() {
        let options = options(&serde_json::json!({"public_address": [
            {"networks": ["10.0.0.0/8"], "address": "10.0.0.5"}, {"address": "203.0.113.7"}
        ]}));
        let public = options.checked().unwrap().public;
        let told = |client: &str| {
            let client = client.parse().unwrap();
            public
                .iter()
                .find(|line| line.is_for(client))
                .map(|line| line.address.clone())
        };
        assert_eq!(told("10.1.2.3").unwrap(), "10.0.0.5");
        assert_eq!(told("192.0.2.1").unwrap(), "203.0.113.7");
    }
}
