//! Password hashes: argon2id (RFC 9106) off the async threads, bounded, and at one price.
//!
//! Invariants: no more hashes run at once than there are permits, and no more wait than the queue holds,
//! and each permit has one buffer, so that a flood of sign-ins costs bounded memory; a check costs one hash whether the name is known,
//! the password is empty, or it is too long; passwords are wiped after use.

mod blocks;

use std::{
    num::NonZero,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use argon2::{Algorithm, Argon2, Params, Version};
use password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use portreeve_model::Secret;
use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;

use self::blocks::Pool;
use crate::Fault;

/// Longest password, in bytes.
pub const MAX_PASSWORD: usize = 1024;

/// Checks that wait for each permit before further ones are turned away.
const QUEUE_PER_PERMIT: usize = 64;

/// Bounds of what a stored hash may ask for: one account must not take the machine's memory.
const MAX_MEMORY_KIB: u32 = 1 << 20;
const MAX_PASSES: u32 = 32;
const MAX_LANES: u32 = 16;
const MIN_OUTPUT: usize = 16;

/// What a hash costs. The default is the minimum that OWASP recommends: 19 MiB, 2 passes, 1 lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HashCost {
    /// Memory in KiB (`m`).
    pub memory_kib: u32,
    /// Passes over it (`t`).
    pub passes: u32,
    /// Lanes (`p`).
    pub lanes: u32,
}

impl Default for HashCost {
    fn default() -> Self {
        Self {
            memory_kib: 19_456,
            passes: 2,
            lanes: 1,
        }
    }
}

impl HashCost {
    fn params(self) -> Result<Params, HashError> {
        let allowed = self.memory_kib <= MAX_MEMORY_KIB
            && (1..=MAX_PASSES).contains(&self.passes)
            && (1..=MAX_LANES).contains(&self.lanes);
        if !allowed {
            return Err(HashError::TooCostly(self));
        }
        Params::new(self.memory_kib, self.passes, self.lanes, None)
            .map_err(|why| HashError::Failed(why.to_string()))
    }
}

/// Why text is no hash that can be used, or why none was made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HashError {
    /// Not a PHC string.
    #[error("not a password hash ({0}); make one with `portreeve hash-password`")]
    NotPhc(String),
    /// Another algorithm, or another version of it.
    #[error("the hash is {0}; only argon2id version 19 is verified: make one with `portreeve hash-password`")]
    Algorithm(String),
    /// Without salt, or with too short an output.
    #[error(
        "the hash has no salt, or its output is shorter than 16 bytes; make one with `portreeve hash-password`"
    )]
    Incomplete,
    /// More memory, passes or lanes than are allowed.
    #[error("the hash asks for {0:?}; at most 1 GiB of memory, 32 passes and 16 lanes are allowed")]
    TooCostly(HashCost),
    /// The password is empty or longer than 1,024 bytes.
    #[error("a password has 1 to 1,024 bytes")]
    Length,
    /// The machine could not.
    #[error("hashing failed: {0}")]
    Failed(String),
}

/// A hash as it is stored, parsed and found usable.
#[derive(Clone)]
pub struct StoredHash {
    params: Params,
    salt: Salt,
    output: Output,
}

impl std::fmt::Debug for StoredHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StoredHash(…)")
    }
}

impl StoredHash {
    /// Reads a PHC string (`$argon2id$v=19$m=…,t=…,p=…$salt$hash`).
    ///
    /// # Errors
    /// [`HashError`] that says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, HashError> {
        let hash = PasswordHash::new(text).map_err(|why| HashError::NotPhc(why.to_string()))?;
        if hash.algorithm.as_str() != "argon2id" || hash.version != Some(19) {
            let version = hash.version.map_or_else(|| "none".to_owned(), |v| v.to_string());
            return Err(HashError::Algorithm(format!(
                "{} version {version}",
                hash.algorithm
            )));
        }
        let (Some(salt), Some(output)) = (hash.salt, hash.hash) else {
            return Err(HashError::Incomplete);
        };
        if output.len() < MIN_OUTPUT {
            return Err(HashError::Incomplete);
        }
        let params = Params::try_from(&hash).map_err(|why| HashError::NotPhc(why.to_string()))?;
        let cost = HashCost {
            memory_kib: params.m_cost(),
            passes: params.t_cost(),
            lanes: params.p_cost(),
        };
        cost.params()?;
        Ok(Self { params, salt, output })
    }

    fn weaker_than(&self, cost: HashCost) -> bool {
        self.params.m_cost() < cost.memory_kib || self.params.t_cost() < cost.passes
    }
}

/// What came of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// The password is right.
    Right {
        /// Whether the stored hash is weaker than those made today.
        outdated: bool,
    },
    /// It is wrong, or there is nothing that it could match.
    Wrong,
}

/// Hashes and verifies. One serves the whole process.
pub struct Hasher {
    cost: HashCost,
    params: Params,
    permits: Arc<Semaphore>,
    waiting: AtomicUsize,
    queue: usize,
    works: Arc<AtomicU64>,
    pool: Arc<Pool>,
}

impl Hasher {
    /// With OWASP's cost, as many permits as the machine has cores, and 64 that wait for each.
    #[must_use]
    pub fn for_this_machine() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        Self {
            cost: HashCost::default(),
            params: Params::DEFAULT,
            permits: Arc::new(Semaphore::new(cores)),
            waiting: AtomicUsize::new(0),
            queue: cores.saturating_mul(QUEUE_PER_PERMIT),
            works: Arc::new(AtomicU64::new(0)),
            pool: Pool::keeping(cores),
        }
    }

    /// With a cost, permits and a queue of one's own.
    ///
    /// # Errors
    /// [`HashError::TooCostly`], [`HashError::Failed`].
    pub fn new(cost: HashCost, permits: usize, queue: usize) -> Result<Self, HashError> {
        let permits = permits.max(1);
        Ok(Self {
            cost,
            params: cost.params()?,
            permits: Arc::new(Semaphore::new(permits)),
            queue,
            pool: Pool::keeping(permits),
            ..Self::for_this_machine()
        })
    }

    /// How many hashes were computed so far: what tests compare instead of times.
    #[must_use]
    pub fn works(&self) -> u64 {
        self.works.load(Ordering::Relaxed)
    }

    /// Checks a password. Where `stored` is none, an empty or overlong password among the reasons, one
    /// hash of today's cost is computed all the same.
    ///
    /// # Errors
    /// [`Fault`] when too many wait already, or the machine has no memory.
    pub async fn check(&self, stored: Option<&StoredHash>, password: &Secret) -> Result<Check, Fault> {
        let length = password.expose().len();
        let usable = (1..=MAX_PASSWORD).contains(&length);
        let stored = stored.cloned();
        let weaker = stored.as_ref().is_some_and(|s| s.weaker_than(self.cost));
        let password = if usable {
            password.clone()
        } else {
            Secret::new("x".to_owned())
        };
        let params = self.params.clone();
        let right = self
            .off_thread(move |pool| match stored {
                Some(stored) => {
                    matches(pool, &stored, password.expose().as_bytes()).map(|same| same && usable)
                }
                None => {
                    compute(
                        pool,
                        &params,
                        b"portreeve decoy.",
                        password.expose().as_bytes(),
                        &mut [0; 32],
                    )?;
                    Ok(false)
                }
            })
            .await?;
        Ok(if right {
            Check::Right { outdated: weaker }
        } else {
            Check::Wrong
        })
    }

    /// Hashes a new password.
    ///
    /// # Errors
    /// [`HashError::Length`], [`HashError::Failed`].
    pub async fn hash(&self, password: &Secret) -> Result<String, HashError> {
        check_length(password)?;
        let (cost, password) = (self.cost, password.clone());
        self.off_thread(move |pool| hash_with(pool, cost, &password).map_err(|why| Fault(why.to_string())))
            .await
            .map_err(|fault| HashError::Failed(fault.0))
    }

    async fn off_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Arc<Pool>) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        let permit = match Arc::clone(&self.permits).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => {
                let _place = Place::take(&self.waiting, self.queue)?;
                let waited = Arc::clone(&self.permits).acquire_owned().await;
                waited.map_err(|_| Fault("the password hasher was closed".into()))?
            }
        };
        let (works, pool) = (Arc::clone(&self.works), Arc::clone(&self.pool));
        // The permit travels with the work: who gives up waiting must not make room for another hash. It is
        // given back after the buffer, so that the next hash finds that one.
        let done = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            works.fetch_add(1, Ordering::Relaxed);
            work(&pool)
        });
        done.await
            .map_err(|why| Fault(format!("the password hasher did not finish: {why}")))?
    }
}

/// A place in the queue, given back when dropped.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(waiting: &'a AtomicUsize, queue: usize) -> Result<Self, Fault> {
        let place = Self(waiting);
        if waiting.fetch_add(1, Ordering::Relaxed) >= queue {
            return Err(Fault(format!(
                "too busy: {queue} passwords wait to be checked already"
            )));
        }
        Ok(place)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Hashes a password on this thread, at today's cost: for the command line.
///
/// # Errors
/// [`HashError::Length`], [`HashError::Failed`].
pub fn hash_password(password: &Secret) -> Result<String, HashError> {
    hash_with(&Pool::keeping(0), HashCost::default(), password)
}

fn hash_with(pool: &Arc<Pool>, cost: HashCost, password: &Secret) -> Result<String, HashError> {
    check_length(password)?;
    let failed = |why: &dyn std::fmt::Display| HashError::Failed(why.to_string());
    let mut salt = [0; 16];
    getrandom::fill(&mut salt).map_err(|why| failed(&why))?;
    let params = cost.params()?;
    let mut output = [0; Params::DEFAULT_OUTPUT_LEN];
    compute(pool, &params, &salt, password.expose().as_bytes(), &mut output)
        .map_err(|fault| HashError::Failed(fault.0))?;
    let hash = PasswordHash {
        algorithm: Algorithm::Argon2id.ident(),
        version: Some(Version::V0x13.into()),
        params: ParamsString::try_from(&params).map_err(|why| failed(&why))?,
        salt: Some(Salt::new(&salt).map_err(|why| failed(&why))?),
        hash: Some(Output::new(&output).map_err(|why| failed(&why))?),
    };
    Ok(hash.to_string())
}

fn check_length(password: &Secret) -> Result<(), HashError> {
    if (1..=MAX_PASSWORD).contains(&password.expose().len()) {
        Ok(())
    } else {
        Err(HashError::Length)
    }
}

fn matches(pool: &Arc<Pool>, stored: &StoredHash, password: &[u8]) -> Result<bool, Fault> {
    let mut output = vec![0; stored.output.len()];
    compute(pool, &stored.params, &stored.salt, password, &mut output)?;
    Ok(output.ct_eq(stored.output.as_bytes()).into())
}

fn compute(
    pool: &Arc<Pool>,
    params: &Params,
    salt: &[u8],
    password: &[u8],
    output: &mut [u8],
) -> Result<(), Fault> {
    let failed = |why: &dyn std::fmt::Display| Fault(format!("a password hash cannot be computed: {why}"));
    let mut memory = pool.lend(params.block_count()).map_err(|why| failed(&why))?;
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone())
        .hash_password_into_with_memory(password, salt, output, &mut memory)
        .map_err(|why| failed(&why))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHEAP: HashCost = HashCost {
        memory_kib: 64,
        passes: 1,
        lanes: 1,
    };

    fn secret(text: &str) -> Secret {
        Secret::new(text.to_owned())
    }

    #[tokio::test]
    async fn what_was_hashed_is_verified_and_nothing_else() {
        let hasher = Hasher::new(CHEAP, 1, 4).unwrap();
        let phc = hasher.hash(&secret("right")).await.unwrap();
        let stored = StoredHash::parse(&phc).unwrap();
        let before = hasher.works();
        let long = "x".repeat(1025);
        let tries = [
            (Some(&stored), "right", Check::Right { outdated: false }),
            (Some(&stored), "Right", Check::Wrong),
            (Some(&stored), "right\0", Check::Wrong),
            (Some(&stored), "", Check::Wrong),
            (Some(&stored), long.as_str(), Check::Wrong),
            (None, "right", Check::Wrong),
            (None, "", Check::Wrong),
            (None, long.as_str(), Check::Wrong),
        ];
        for (n, (stored, password, want)) in (1u64..).zip(tries) {
            assert_eq!(hasher.check(stored, &secret(password)).await, Ok(want), "try {n}");
            assert_eq!(hasher.works() - before, n, "each costs one hash");
        }
    }

    #[tokio::test]
    async fn an_unusable_password_opens_nothing_and_costs_a_hash() {
        let hasher = Hasher::new(CHEAP, 1, 4).unwrap();
        let stored = StoredHash::parse(&hasher.hash(&secret("x")).await.unwrap()).unwrap();
        for unusable in [String::new(), "x".repeat(1025)] {
            assert_eq!(
                hasher.check(Some(&stored), &secret(&unusable)).await,
                Ok(Check::Wrong)
            );
        }
        assert_eq!(
            hasher.check(Some(&stored), &secret("x")).await,
            Ok(Check::Right { outdated: false })
        );
    }

    #[tokio::test]
    async fn a_weaker_hash_is_right_and_outdated() {
        let weak = Hasher::new(CHEAP, 1, 4).unwrap();
        let stored = StoredHash::parse(&weak.hash(&secret("pw")).await.unwrap()).unwrap();
        let strong = Hasher::new(HashCost { passes: 2, ..CHEAP }, 1, 4).unwrap();
        assert_eq!(
            strong.check(Some(&stored), &secret("pw")).await,
            Ok(Check::Right { outdated: true })
        );
    }

    #[test]
    fn the_command_line_uses_owasp_cost() {
        let phc = hash_password(&secret("pw")).unwrap();
        assert!(phc.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{phc}");
        assert_eq!(hash_password(&secret("")), Err(HashError::Length));
        assert_eq!(hash_password(&secret(&"x".repeat(1025))), Err(HashError::Length));
        assert!(hash_password(&secret(&"x".repeat(1024))).is_ok());
    }

    #[test]
    fn refuses_hashes_that_cannot_or_must_not_be_verified() {
        let good = "$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHQ$ZG9udCB0cnVzdCBtZSB0aGlzIGlzIDMyIGJ5dGVzISE";
        assert!(StoredHash::parse(good).is_ok());
        let no_version = good.replace("v=19$", "");
        for (text, want) in [
            ("", "not a password hash"),
            ("hunter2", "not a password hash"),
            (
                &good.replace("argon2id$v=19$m=64,t=1,p=1", "scrypt$ln=15,r=8,p=1"),
                "is scrypt version none",
            ),
            (&good.replace("argon2id", "argon2i"), "argon2i version 19"),
            (&good.replace("v=19", "v=16"), "argon2id version 16"),
            (&no_version, "version none"),
            (&good.replace("m=64", "m=2000000"), "at most 1 GiB"),
            (&good.replace("t=1", "t=99"), "32 passes"),
            (&good.replace("m=64,t=1,p=1", "m=4096,t=1,p=17"), "16 lanes"),
            ("$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHQ", "no salt"),
            (
                "$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHQ$ZG9udCB0cnVzdCBt",
                "shorter than 16",
            ),
        ] {
            let error = StoredHash::parse(text).unwrap_err().to_string();
            assert!(error.contains(want), "{text}: {error}");
        }
    }

    #[tokio::test]
    async fn turns_away_what_the_queue_does_not_hold() {
        let hasher = Hasher::new(CHEAP, 1, 1).unwrap();
        let held = Arc::clone(&hasher.permits).acquire_owned().await.unwrap();
        let (pw, second_pw) = (secret("pw"), secret("pw"));
        let mut first = Box::pin(hasher.check(None, &pw));
        assert!(
            futures_poll(&mut first).await.is_none(),
            "it waits for the permit"
        );
        let second = hasher.check(None, &second_pw).await;
        assert!(second.unwrap_err().0.contains("too busy"));
        drop(held);
        assert_eq!(first.await, Ok(Check::Wrong));
        assert_eq!(hasher.waiting.load(Ordering::Relaxed), 0);
        assert_eq!(
            hasher.check(None, &pw).await,
            Ok(Check::Wrong),
            "the place is free again"
        );
    }

    #[tokio::test]
    async fn who_gives_up_waiting_frees_its_place() {
        let hasher = Hasher::new(CHEAP, 1, 1).unwrap();
        let held = Arc::clone(&hasher.permits).acquire_owned().await.unwrap();
        let pw = secret("pw");
        let mut first = Box::pin(hasher.check(None, &pw));
        assert!(futures_poll(&mut first).await.is_none());
        drop(first);
        assert_eq!(hasher.waiting.load(Ordering::Relaxed), 0);
        drop(held);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_hundred_hashes_use_no_more_buffers_than_permits() {
        let hasher = Arc::new(Hasher::new(CHEAP, 3, 100).unwrap());
        let phc = hasher.hash(&secret("right")).await.unwrap();
        let stored = StoredHash::parse(&phc).unwrap();
        let mut tries = tokio::task::JoinSet::new();
        for n in 0..100 {
            let (hasher, stored) = (Arc::clone(&hasher), (n % 2 == 0).then(|| stored.clone()));
            tries.spawn(async move { (n, hasher.check(stored.as_ref(), &secret("right")).await) });
        }
        while let Some(done) = tries.join_next().await {
            let (n, check) = done.unwrap();
            let want = if n % 2 == 0 {
                Check::Right { outdated: false }
            } else {
                Check::Wrong
            };
            assert_eq!(check, Ok(want), "try {n}");
        }
        assert_eq!(hasher.works(), 101);
        let made = hasher.pool.made();
        assert!((1..=3).contains(&made), "{made} buffers were made");
    }

    #[tokio::test]
    async fn a_panic_in_a_hash_loses_neither_permit_nor_buffer() {
        let hasher = Hasher::new(CHEAP, 1, 4).unwrap();
        for _ in 0..3 {
            let done: Result<(), Fault> = hasher
                .off_thread(|pool| {
                    let _memory = pool.lend(64).unwrap();
                    panic!("in the midst of a hash");
                })
                .await;
            assert!(done.unwrap_err().0.contains("did not finish"));
            assert_eq!(hasher.permits.available_permits(), 1);
        }
        assert_eq!(hasher.check(None, &secret("pw")).await, Ok(Check::Wrong));
        assert_eq!(hasher.pool.made(), 1, "the buffer came back each time");
    }

    #[tokio::test]
    async fn who_gives_up_in_a_hash_loses_neither_permit_nor_buffer() {
        let hasher = Hasher::new(CHEAP, 1, 4).unwrap();
        let (begun, begins) = std::sync::mpsc::channel();
        let (go_on, wait) = std::sync::mpsc::channel::<()>();
        let mut hash = Box::pin(hasher.off_thread(move |pool| {
            let _memory = pool.lend(64).unwrap();
            begun.send(()).unwrap();
            wait.recv().unwrap();
            Ok(())
        }));
        assert!(futures_poll(&mut hash).await.is_none());
        begins.recv().unwrap();
        drop(hash);
        assert_eq!(hasher.permits.available_permits(), 0, "the hash goes on");
        go_on.send(()).unwrap();
        assert_eq!(hasher.check(None, &secret("pw")).await, Ok(Check::Wrong));
        assert_eq!(hasher.pool.made(), 1, "its buffer was there for the next");
    }

    #[tokio::test]
    async fn others_verify_what_is_made_here() {
        use argon2::PasswordVerifier;
        let phc = Hasher::new(CHEAP, 1, 4)
            .unwrap()
            .hash(&secret("pw"))
            .await
            .unwrap();
        assert!(
            Argon2::default().verify_password(b"pw", phc.as_str()).is_ok(),
            "{phc}"
        );
        assert!(Argon2::default().verify_password(b"Pw", phc.as_str()).is_err());
    }

    async fn futures_poll<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
        std::future::poll_fn(|cx| match std::pin::Pin::new(&mut *future).poll(cx) {
            std::task::Poll::Ready(output) => std::task::Poll::Ready(Some(output)),
            std::task::Poll::Pending => std::task::Poll::Ready(None),
        })
        .await
    }
}
