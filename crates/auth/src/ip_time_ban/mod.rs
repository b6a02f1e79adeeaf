//! The gate `ip-time-ban`: who fails too often within a while is refused for a while.
//!
//! The gate is a thin view with options; the state is one [`BanList`] that all doors share and that
//! outlives reloads.

mod list;
mod table;

use std::{sync::Arc, time::Duration, time::SystemTime};

use async_trait::async_trait;
use ipnet::IpNet;
use portreeve_model::{ConnectionId, Origin, UserName, options::DurationText};
use schemars::JsonSchema;
use serde::Deserialize;

pub use list::{BanList, BannedSource};

use crate::{Denial, End, Gate, OptionError};

/// Longest ban: beyond it the arithmetic of clocks is nobody's friend.
pub const MAX_BAN: Duration = Duration::from_secs(10 * 365 * 86_400);

/// Longest window.
const MAX_WINDOW: Duration = Duration::from_secs(86_400);

/// Most failures that are remembered of one source.
const MAX_COUNT: u32 = 100;

/// Options of `type = "ip-time-ban"`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct IpTimeBanOptions {
    /// A source with this many failures within the window is banned: 1 to 100.
    #[schemars(range(min = 1, max = 100))]
    pub ban_after_count: u32,
    /// How long a ban lasts.
    pub ban_interval: DurationText,
    /// The sliding window in which failures are counted, at most 24 hours.
    pub window: DurationText,
    /// Addresses and networks that are never banned and never counted, such as "10.0.0.0/8".
    pub allow: Vec<String>,
}

impl Default for IpTimeBanOptions {
    fn default() -> Self {
        Self {
            ban_after_count: 5,
            ban_interval: DurationText(Duration::from_secs(3600)),
            window: DurationText(Duration::from_secs(600)),
            allow: Vec::new(),
        }
    }
}

/// What the list needs to know to count a failure.
#[derive(Debug, Clone, Copy)]
struct Rule {
    count: usize,
    window: Duration,
    length: Duration,
}

/// The gate.
pub struct IpTimeBan {
    list: Arc<BanList>,
    rule: Rule,
    allow: Vec<IpNet>,
}

impl IpTimeBan {
    /// A view of the list with these options.
    ///
    /// # Errors
    /// [`OptionError`] that names the option.
    pub fn new(options: &IpTimeBanOptions, list: Arc<BanList>) -> Result<Self, OptionError> {
        if !(1..=MAX_COUNT).contains(&options.ban_after_count) {
            return Err(OptionError::new(
                "ban_after_count",
                "must be 1 to 100; to switch the step off, set enabled = false",
            ));
        }
        let DurationText(length) = options.ban_interval;
        if length.is_zero() || length > MAX_BAN {
            return Err(OptionError::new(
                "ban_interval",
                "must be more than 0 and at most 3650d",
            ));
        }
        let DurationText(window) = options.window;
        if window.is_zero() || window > MAX_WINDOW {
            return Err(OptionError::new("window", "must be more than 0 and at most 24h"));
        }
        let allow = options
            .allow
            .iter()
            .map(|text| network(text))
            .collect::<Result<_, _>>()?;
        let count = usize::try_from(options.ban_after_count).unwrap_or(usize::MAX);
        Ok(Self {
            list,
            rule: Rule {
                count,
                window,
                length,
            },
            allow,
        })
    }

    fn allowed(&self, origin: &Origin) -> bool {
        self.allow.iter().any(|net| net.contains(&origin.peer.ip()))
    }
}

#[async_trait]
impl Gate for IpTimeBan {
    async fn admit(&self, origin: &Origin, _: Option<&UserName>, _: SystemTime) -> Result<(), Denial> {
        if self.allowed(origin) {
            return Ok(());
        }
        match self.list.banned(origin.source()) {
            None => Ok(()),
            Some(ban) => Err(Denial {
                why: format!(
                    "{} is banned for another {}: {} (lift it with `portreeve ban remove`)",
                    ban.source,
                    DurationText(Duration::from_secs(ban.remaining.as_secs().max(1))),
                    ban.reason
                ),
            }),
        }
    }

    async fn settle(&self, _: ConnectionId, origin: &Origin, _: Option<&UserName>, end: End, _: SystemTime) {
        match end {
            End::Refused | End::Abandoned if !self.allowed(origin) => {
                self.list.failed(origin.source(), self.rule);
            }
            // A success takes nothing back: else one account of one's own would cover for guesses.
            End::Refused | End::Abandoned | End::Accepted | End::Faulted => {}
        }
    }
}

fn network(text: &str) -> Result<IpNet, OptionError> {
    let net = text
        .parse::<IpNet>()
        .or_else(|_| {
            text.parse::<std::net::IpAddr>()
                .map(|ip| ip.to_canonical().into())
        })
        .map_err(|_| {
            OptionError::new(
                "allow",
                format!("'{text}' is neither an address nor a network like 10.0.0.0/8"),
            )
        })?;
    if net.trunc() != net {
        return Err(OptionError::new(
            "allow",
            format!(
                "'{text}' has bits set behind its length: did you mean {}?",
                net.trunc()
            ),
        ));
    }
    Ok(net)
}

#[cfg(test)]
mod tests;
