//! Everything that can be made to go wrong, each by a switch that can be thrown at run time.
//! Invariant: with no switch thrown nothing goes wrong that Graph itself would not refuse; chance is a function of the seed.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex};
use tokio::sync::watch;

use crate::content::mix;

/// What can befall a call by chance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// 429 `ApplicationThrottled`, with `Retry-After` unless it is switched off.
    TooMany,
    /// 503.
    Unavailable,
    /// 504, a gateway's page instead of JSON.
    GatewayTimeout,
    /// The connection breaks before anything was done.
    Reset,
    /// 200 with half of the JSON text. Only where JSON is asked for by GET.
    TruncatedJson,
    /// 200 with an error in it. Only where JSON is asked for by GET.
    EmbeddedError,
    /// It is done, but the connection breaks before the answer.
    LostReply,
}

/// Those that are safe to meet at random: the call was not carried out, or it only reads.
const COMMON: [Fault; 6] = [
    Fault::TooMany,
    Fault::Unavailable,
    Fault::GatewayTimeout,
    Fault::Reset,
    Fault::TruncatedJson,
    Fault::EmbeddedError,
];

#[derive(Debug, Clone)]
pub(crate) struct Settings {
    seed: u64,
    drawn: u64,
    rates: Vec<(Fault, f64)>,
    failing: Vec<(String, u64, u16)>,
    losing: Vec<(String, u64)>,
    cutting: Vec<(u64, u64)>,
    holds: Vec<(u64, String)>,
    held: Vec<u64>,
    hold_number: u64,
    injected: u64,
    pub(crate) latency: Duration,
    pub(crate) retry_after: Option<String>,
    pub(crate) page_size: Option<usize>,
    pub(crate) empty_pages: bool,
    pub(crate) replays: bool,
    pub(crate) tells_moved: bool,
    pub(crate) inline_limit: u64,
    pub(crate) expires_in: u64,
    pub(crate) revoke_used: bool,
    pub(crate) concurrency: usize,
    pub(crate) no_inner_select: bool,
    pub(crate) upload_lifetime: Duration,
    pub(crate) token_error: Option<(u16, String, u32, String)>,
    pub(crate) no_content_length: bool,
    pub(crate) expand_most: Option<usize>,
    pub(crate) app_concurrency: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            seed: 0,
            drawn: 0,
            rates: Vec::new(),
            failing: Vec::new(),
            losing: Vec::new(),
            cutting: Vec::new(),
            holds: Vec::new(),
            held: Vec::new(),
            hold_number: 0,
            injected: 0,
            latency: Duration::ZERO,
            retry_after: Some("1".to_owned()),
            page_size: None,
            empty_pages: false,
            replays: false,
            tells_moved: false,
            inline_limit: 3 << 20,
            expires_in: 3599,
            revoke_used: false,
            concurrency: 4,
            no_inner_select: false,
            upload_lifetime: Duration::from_secs(24 * 3600),
            token_error: None,
            no_content_length: false,
            expand_most: None,
            app_concurrency: usize::MAX,
        }
    }
}

/// The switches. What is here said to befall "calls" befalls Graph and upload sessions, not the token endpoint.
#[derive(Debug)]
pub struct Faults {
    settings: Mutex<Settings>,
    changed: Condvar,
    released: watch::Sender<u64>,
    /// How often every connection was broken, and whether there is nobody at all.
    line: watch::Sender<(u64, bool)>,
}

/// Calls that are held up; they go on when it is dropped or released.
#[derive(Debug)]
pub struct Hold {
    faults: Arc<Faults>,
    number: u64,
}

impl Hold {
    /// How many calls wait here.
    #[must_use]
    pub fn held(&self) -> usize {
        self.faults
            .settings
            .lock()
            .held
            .iter()
            .filter(|n| **n == self.number)
            .count()
    }

    /// Waits until so many calls wait here; false if they do not come before the deadline.
    #[must_use]
    pub fn wait(&self, many: usize, deadline: Duration) -> bool {
        let end = Instant::now() + deadline;
        let mut settings = self.faults.settings.lock();
        while settings.held.iter().filter(|n| **n == self.number).count() < many {
            if self.faults.changed.wait_until(&mut settings, end).timed_out() {
                return settings.held.iter().filter(|n| **n == self.number).count() >= many;
            }
        }
        true
    }

    /// Lets them go on; calls that come later are not held.
    pub fn release(self) {
        drop(self);
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.faults
            .settings
            .lock()
            .holds
            .retain(|(n, _)| *n != self.number);
        self.faults.released.send_modify(|n| *n += 1);
    }
}

impl Faults {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            settings: Mutex::new(Settings::default()),
            changed: Condvar::new(),
            released: watch::Sender::new(0),
            line: watch::Sender::new((0, false)),
        })
    }

    fn set(&self, change: impl FnOnce(&mut Settings)) {
        change(&mut self.settings.lock());
    }

    /// Where chance begins.
    pub fn seed(&self, seed: u64) {
        self.set(|s| (s.seed, s.drawn) = (seed, 0));
    }

    /// This fault befalls this share (0 to 1) of the calls.
    pub fn rate(&self, fault: Fault, share: f64) {
        self.set(|s| {
            s.rates.retain(|(f, _)| *f != fault);
            s.rates.push((fault, share));
        });
    }

    /// This share of the calls meets one fault or another; none that loses an answer to what was done.
    pub fn every_kind(&self, share: f64) {
        for fault in COMMON {
            self.rate(fault, share / COMMON.len() as f64);
        }
    }

    /// No chance any more, no latency, no call that must fail; other switches stay as they are.
    pub fn calm(&self) {
        self.set(|s| {
            s.rates.clear();
            s.failing.clear();
            s.losing.clear();
            s.cutting.clear();
            s.latency = Duration::ZERO;
            s.token_error = None;
        });
    }

    /// How many faults befell calls so far.
    #[must_use]
    pub fn injected(&self) -> u64 {
        self.settings.lock().injected
    }

    /// Each call takes so much longer.
    pub fn latency(&self, latency: Duration) {
        self.set(|s| s.latency = latency);
    }

    /// What `Retry-After` says (default `1`); none leaves it out.
    pub fn retry_after(&self, value: Option<&str>) {
        self.set(|s| s.retry_after = value.map(str::to_owned));
    }

    /// The next `many` calls whose `METHOD path?query` contains `part` fail with this status; the token endpoint too.
    pub fn fail_next(&self, many: u64, part: &str, status: u16) {
        self.set(|s| s.failing.push((part.to_owned(), many, status)));
    }

    /// The next `many` such calls are carried out, but their answer is lost.
    pub fn lose_replies(&self, many: u64, part: &str) {
        self.set(|s| s.losing.push((part.to_owned(), many)));
    }

    /// The next `times` downloads break off after so many bytes.
    pub fn cut_downloads(&self, after: u64, times: u64) {
        self.set(|s| s.cutting.push((after, times)));
    }

    /// Holds every call whose `METHOD path?query` contains `part`, before anything is done, until it is released.
    #[must_use]
    pub fn hold(self: &Arc<Self>, part: &str) -> Hold {
        let mut settings = self.settings.lock();
        settings.hold_number += 1;
        let number = settings.hold_number;
        settings.holds.push((number, part.to_owned()));
        drop(settings);
        Hold {
            faults: Arc::clone(self),
            number,
        }
    }

    /// No page holds more than this, whatever is asked for.
    pub fn page_size(&self, most: Option<usize>) {
        self.set(|s| s.page_size = most);
    }

    /// Now and then a page is empty but not the last.
    pub fn empty_pages(&self, yes: bool) {
        self.set(|s| s.empty_pages = yes);
    }

    /// Delta queries tell things twice.
    pub fn replays(&self, yes: bool) {
        self.set(|s| s.replays = yes);
    }

    /// Delta queries tell where a message is that was moved out of the folder, in the place of that it is gone.
    pub fn tells_moved(&self, yes: bool) {
        self.set(|s| s.tells_moved = yes);
    }

    /// `contentBytes` is left out above this size (default 3 MiB).
    pub fn inline_limit(&self, bytes: u64) {
        self.set(|s| s.inline_limit = bytes);
    }

    /// `$select` within `$expand` is refused, as some resources do.
    pub fn no_inner_select(&self, yes: bool) {
        self.set(|s| s.no_inner_select = yes);
    }

    /// How long tokens live, in seconds (default 3,599).
    pub fn expires_in(&self, seconds: u64) {
        self.set(|s| s.expires_in = seconds);
    }

    /// A refresh token that was used is worth nothing any more.
    pub fn revoke_used_refresh_tokens(&self, yes: bool) {
        self.set(|s| s.revoke_used = yes);
    }

    /// The token endpoint refuses everybody: status, `error`, number of AADSTS and its text. None lifts it.
    pub fn token_error(&self, error: Option<(u16, &str, u32, &str)>) {
        self.set(|s| {
            s.token_error = error
                .map(|(status, error, number, text)| (status, error.to_owned(), number, text.to_owned()));
        });
    }

    /// How many requests for one mailbox may be in flight (default 4).
    pub fn concurrency(&self, most: usize) {
        self.set(|s| s.concurrency = most);
    }

    /// How many requests of one application may be in flight over all mailboxes (default: as many as it likes).
    pub fn app_concurrency(&self, most: usize) {
        self.set(|s| s.app_concurrency = most);
    }

    /// An expanded collection holds no more than this and says where the rest is.
    pub fn expand_most(&self, most: Option<usize>) {
        self.set(|s| s.expand_most = most);
    }

    /// How long an upload session lives from its last part on.
    pub fn upload_lifetime(&self, lifetime: Duration) {
        self.set(|s| s.upload_lifetime = lifetime);
    }

    /// Downloads do not say how long they are.
    pub fn no_content_length(&self, yes: bool) {
        self.set(|s| s.no_content_length = yes);
    }

    /// Breaks every connection that is open, whatever is on its way there.
    pub fn break_connections(&self) {
        self.line.send_modify(|(times, _)| *times += 1);
    }

    /// Nobody is there: connections break and new ones are closed before TLS begins.
    pub fn offline(&self, yes: bool) {
        self.line.send_modify(|line| *line = (line.0 + 1, yes));
    }

    // What the server asks.

    pub(crate) fn line(&self) -> watch::Receiver<(u64, bool)> {
        self.line.subscribe()
    }

    pub(crate) fn settings(&self) -> Settings {
        self.settings.lock().clone()
    }

    /// A status that this call must fail with.
    pub(crate) fn must_fail(&self, line: &str) -> Option<u16> {
        let mut settings = self.settings.lock();
        let found = settings
            .failing
            .iter_mut()
            .find(|(part, left, _)| *left > 0 && line.contains(part.as_str()))?;
        found.1 -= 1;
        let status = found.2;
        settings.injected += 1;
        Some(status)
    }

    /// What befalls this call by chance.
    pub(crate) fn draw(&self, reads_json: bool) -> Option<Fault> {
        let mut settings = self.settings.lock();
        if settings.rates.is_empty() {
            return None;
        }
        settings.drawn += 1;
        let number = mix(settings.seed.wrapping_mul(1_000_003).wrapping_add(settings.drawn));
        let mut chance = (number >> 11) as f64 / (1u64 << 53) as f64;
        for (fault, share) in settings.rates.clone() {
            if chance < share {
                let only_reading = matches!(fault, Fault::TruncatedJson | Fault::EmbeddedError);
                let fault = if only_reading && !reads_json {
                    Fault::Unavailable
                } else {
                    fault
                };
                settings.injected += 1;
                return Some(fault);
            }
            chance -= share;
        }
        None
    }

    pub(crate) fn must_lose(&self, line: &str) -> bool {
        let mut settings = self.settings.lock();
        let found = settings
            .losing
            .iter_mut()
            .find(|(part, left)| *left > 0 && line.contains(part.as_str()));
        let Some(found) = found else { return false };
        found.1 -= 1;
        settings.injected += 1;
        true
    }

    pub(crate) fn must_cut(&self) -> Option<u64> {
        let mut settings = self.settings.lock();
        let found = settings.cutting.iter_mut().find(|(_, left)| *left > 0)?;
        found.1 -= 1;
        let after = found.0;
        settings.injected += 1;
        Some(after)
    }

    /// Waits while a call like this is held.
    pub(crate) async fn pass(&self, line: &str) {
        let mut released = self.released.subscribe();
        loop {
            let number = {
                let mut settings = self.settings.lock();
                let found = settings
                    .holds
                    .iter()
                    .find(|(_, part)| line.contains(part.as_str()))
                    .map(|(n, _)| *n);
                let Some(number) = found else { return };
                settings.held.push(number);
                number
            };
            self.changed.notify_all();
            let waiting = Waiting { faults: self, number };
            let _ = released.changed().await;
            drop(waiting);
        }
    }
}

/// A call that waits: it is counted for as long as it does, though its client may hang up.
struct Waiting<'f> {
    faults: &'f Faults,
    number: u64,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut settings = self.faults.settings.lock();
        if let Some(at) = settings.held.iter().position(|n| *n == self.number) {
            settings.held.swap_remove(at);
        }
    }
}
