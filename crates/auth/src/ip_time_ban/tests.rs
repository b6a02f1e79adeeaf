use std::net::{IpAddr, SocketAddr};

use parking_lot::Mutex;
use portreeve_model::Door;

use super::*;
use crate::{Ban, BanBook, BanBookError, BanChange, BanRecords, Clock};

struct Turned(Mutex<(Duration, SystemTime)>);

impl Turned {
    fn new() -> Arc<Self> {
        let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        Arc::new(Self(Mutex::new((Duration::ZERO, wall))))
    }

    fn pass(&self, seconds: u64) {
        let mut now = self.0.lock();
        now.0 += Duration::from_secs(seconds);
        now.1 += Duration::from_secs(seconds);
    }

    fn jump(&self, seconds: i64) {
        let mut now = self.0.lock();
        let by = Duration::from_secs(seconds.unsigned_abs());
        now.1 = if seconds < 0 { now.1 - by } else { now.1 + by };
    }
}

impl Clock for Turned {
    fn passed(&self) -> Duration {
        self.0.lock().0
    }

    fn wall(&self) -> SystemTime {
        self.0.lock().1
    }
}

/// A book in memory that can be away.
#[derive(Default)]
struct Book {
    applied: Mutex<Vec<BanChange>>,
    away: Mutex<bool>,
}

#[async_trait]
impl BanBook for Book {
    async fn load(&self, now: SystemTime, since: SystemTime) -> Result<BanRecords, BanBookError> {
        if *self.away.lock() {
            return Err(BanBookError("away".into()));
        }
        let mut records = BanRecords::default();
        for change in self.applied.lock().iter() {
            match change {
                BanChange::Banned(ban) => {
                    records.bans.retain(|b| b.source != ban.source);
                    records.failures.retain(|(source, _)| *source != ban.source);
                    records.bans.push(ban.clone());
                }
                BanChange::Lifted(ip) => {
                    records.bans.retain(|b| b.source != *ip);
                    records.failures.retain(|(source, _)| source != ip);
                }
                BanChange::Failed { source, at } => records.failures.push((*source, *at)),
                BanChange::Pruned { .. } => {}
            }
        }
        records.bans.retain(|b| b.until > now);
        records.failures.retain(|(_, at)| *at >= since);
        Ok(records)
    }

    async fn apply(&self, changes: &[BanChange]) -> Result<(), BanBookError> {
        if *self.away.lock() {
            return Err(BanBookError("away".into()));
        }
        self.applied.lock().extend_from_slice(changes);
        Ok(())
    }
}

fn origin(peer: &str) -> Origin {
    let peer = SocketAddr::new(peer.parse().unwrap(), 4711);
    Origin::new(Door::Sftp, "sftp".into(), peer, peer)
}

fn gate(list: &Arc<BanList>, change: impl FnOnce(&mut IpTimeBanOptions)) -> IpTimeBan {
    let mut options = IpTimeBanOptions::default();
    change(&mut options);
    IpTimeBan::new(&options, Arc::clone(list)).unwrap()
}

async fn admits(gate: &IpTimeBan, peer: &str) -> bool {
    gate.admit(&origin(peer), None, SystemTime::UNIX_EPOCH)
        .await
        .is_ok()
}

async fn settle(gate: &IpTimeBan, peer: &str, end: End, times: usize) {
    for _ in 0..times {
        gate.settle(
            ConnectionId::fresh(),
            &origin(peer),
            None,
            end,
            SystemTime::UNIX_EPOCH,
        )
        .await;
    }
}

#[tokio::test]
async fn bans_after_the_count_and_for_the_interval() {
    let clock = Turned::new();
    let list = Arc::new(BanList::with_clock(None, Arc::clone(&clock) as _));
    let gate = gate(&list, |_| {});
    settle(&gate, "192.0.2.1", End::Refused, 4).await;
    assert!(admits(&gate, "192.0.2.1").await);
    settle(&gate, "192.0.2.1", End::Abandoned, 1).await;
    assert!(!admits(&gate, "192.0.2.1").await);
    assert!(
        !admits(&gate, "::ffff:192.0.2.1").await,
        "the same source in other words"
    );
    assert!(admits(&gate, "192.0.2.2").await);
    clock.pass(3599);
    // Neither a failure nor a success of a banned source changes anything.
    settle(&gate, "192.0.2.1", End::Refused, 10).await;
    settle(&gate, "192.0.2.1", End::Accepted, 10).await;
    assert!(!admits(&gate, "192.0.2.1").await);
    clock.pass(1);
    assert!(admits(&gate, "192.0.2.1").await);
    settle(&gate, "192.0.2.1", End::Refused, 4).await;
    assert!(admits(&gate, "192.0.2.1").await, "the count begins anew");
}

#[tokio::test]
async fn the_window_slides() {
    let clock = Turned::new();
    let list = Arc::new(BanList::with_clock(None, Arc::clone(&clock) as _));
    let gate = gate(&list, |_| {});
    for _ in 0..50 {
        settle(&gate, "192.0.2.1", End::Refused, 1).await;
        clock.pass(150);
        assert!(admits(&gate, "192.0.2.1").await, "4 in any 10 minutes are not 5");
    }
    settle(&gate, "192.0.2.1", End::Refused, 2).await;
    assert!(!admits(&gate, "192.0.2.1").await);
}

#[tokio::test]
async fn what_does_not_count() {
    let list = Arc::new(BanList::with_clock(None, Turned::new()));
    let gate = gate(&list, |o| {
        o.allow = vec!["10.0.0.0/8".into(), "2001:db8::7".into()];
    });
    settle(&gate, "192.0.2.1", End::Faulted, 99).await;
    settle(&gate, "192.0.2.1", End::Accepted, 99).await;
    settle(&gate, "10.1.1.1", End::Refused, 99).await;
    settle(&gate, "2001:db8::7", End::Refused, 99).await;
    for peer in ["192.0.2.1", "10.1.1.1", "2001:db8::7"] {
        assert!(admits(&gate, peer).await, "{peer}");
    }
    list.ban("10.1.1.1".parse().unwrap(), Duration::from_secs(60), "by hand");
    assert!(admits(&gate, "10.1.1.1").await, "the allow-list wins");
}

#[tokio::test]
async fn a_success_in_between_takes_nothing_back() {
    let list = Arc::new(BanList::with_clock(None, Turned::new()));
    let gate = gate(&list, |_| {});
    for _ in 0..5 {
        settle(&gate, "192.0.2.1", End::Refused, 1).await;
        settle(&gate, "192.0.2.1", End::Accepted, 1).await;
    }
    assert!(!admits(&gate, "192.0.2.1").await);
}

#[tokio::test]
async fn ipv6_is_banned_by_64() {
    let list = Arc::new(BanList::with_clock(None, Turned::new()));
    let gate = gate(&list, |_| {});
    for host in 1..=5 {
        settle(&gate, &format!("2001:db8:0:1::{host}"), End::Refused, 1).await;
    }
    assert!(!admits(&gate, "2001:db8:0:1:ffff::9").await);
    assert!(admits(&gate, "2001:db8:0:2::1").await);
    assert!(list.lift("2001:db8:0:1:abcd::".parse().unwrap()));
    assert!(admits(&gate, "2001:db8:0:1::1").await);
}

#[tokio::test]
async fn gates_of_all_doors_and_worlds_share_one_list() {
    let list = Arc::new(BanList::with_clock(None, Turned::new()));
    let (sftp, web) = (gate(&list, |_| {}), gate(&list, |o| o.ban_after_count = 3));
    settle(&sftp, "192.0.2.1", End::Refused, 2).await;
    settle(&web, "192.0.2.1", End::Refused, 1).await;
    assert!(!admits(&sftp, "192.0.2.1").await);
    assert!(!admits(&web, "192.0.2.1").await);
}

#[tokio::test]
async fn jumps_of_the_wall_clock_change_no_live_ban() {
    for jump in [-3600, 10 * 365 * 86_400, 3600, -86_400] {
        let clock = Turned::new();
        let list = Arc::new(BanList::with_clock(None, Arc::clone(&clock) as _));
        let gate = gate(&list, |_| {});
        settle(&gate, "192.0.2.1", End::Refused, 5).await;
        clock.jump(jump);
        assert_eq!(list.list()[0].remaining, Duration::from_secs(3600), "{jump}");
        clock.pass(3599);
        assert!(!admits(&gate, "192.0.2.1").await, "{jump}");
        clock.pass(1);
        assert!(admits(&gate, "192.0.2.1").await, "{jump}");
    }
}

#[tokio::test]
async fn a_restart_changes_nothing() {
    let (book, clock) = (Arc::new(Book::default()), Turned::new());
    let list = Arc::new(BanList::with_clock(
        Some(Arc::clone(&book) as _),
        Arc::clone(&clock) as _,
    ));
    let before = gate(&list, |_| {});
    settle(&before, "192.0.2.1", End::Refused, 5).await;
    settle(&before, "192.0.2.2", End::Refused, 4).await;
    list.ban("192.0.2.3".parse().unwrap(), Duration::from_secs(60), "by hand");
    list.ban("192.0.2.4".parse().unwrap(), Duration::from_secs(6000), "by hand");
    assert!(list.lift("192.0.2.4".parse().unwrap()));
    list.flush().await.unwrap();
    clock.pass(300);

    let restarted = || {
        Arc::new(BanList::with_clock(
            Some(Arc::clone(&book) as _),
            Arc::clone(&clock) as _,
        ))
    };
    let list = restarted();
    assert_eq!(list.load().await, Ok(1));
    let after = gate(&list, |_| {});
    assert!(!admits(&after, "192.0.2.1").await);
    assert_eq!(list.list()[0].remaining, Duration::from_secs(3300));
    assert!(admits(&after, "192.0.2.2").await);
    settle(&after, "192.0.2.2", End::Refused, 1).await;
    assert!(
        !admits(&after, "192.0.2.2").await,
        "the fifth, four of them before the restart"
    );
    assert!(admits(&after, "192.0.2.3").await, "its time has passed");
    assert!(admits(&after, "192.0.2.4").await, "it was lifted");

    // With the wall clock set back by a day, a ban lasts no longer than it was meant to.
    clock.jump(-86_400);
    let list = restarted();
    list.load().await.unwrap();
    assert!(
        list.list()
            .iter()
            .all(|b| b.remaining <= Duration::from_secs(3600))
    );
}

proptest::proptest! {
    /// However the wall clock was set while no process ran: a ban never lasts longer than it was meant to,
    /// nor shorter where the clock went back, and it ends.
    #[test]
    fn a_jump_between_two_processes_neither_lengthens_nor_perpetuates_a_ban(
        length in 1..=MAX_BAN.as_secs(),
        jumps in proptest::collection::vec(-315_360_000_i64..=315_360_000, 1..5),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (book, clock) = (Arc::new(Book::default()), Turned::new());
        let start = || BanList::with_clock(Some(Arc::clone(&book) as _), Arc::clone(&clock) as _);
        let ip: IpAddr = "192.0.2.1".parse().unwrap();
        let list = start();
        list.ban(ip, Duration::from_secs(length), "by hand");
        runtime.block_on(list.flush()).unwrap();
        let mut set = 0;
        for jump in jumps {
            clock.jump(jump);
            set += jump;
            let list = start();
            runtime.block_on(list.load()).unwrap();
            let left = u64::try_from(i64::try_from(length).unwrap() - set).unwrap_or(0).min(length);
            let remaining = list.banned(ip).map_or(0, |ban| ban.remaining.as_secs());
            proptest::prop_assert_eq!(remaining, left);
            clock.pass(left);
            proptest::prop_assert!(list.banned(ip).is_none());
            set += i64::try_from(left).unwrap();
        }
    }
}

#[tokio::test]
async fn old_failures_are_not_revived_by_a_restart() {
    let (book, clock) = (Arc::new(Book::default()), Turned::new());
    let list = Arc::new(BanList::with_clock(
        Some(Arc::clone(&book) as _),
        Arc::clone(&clock) as _,
    ));
    settle(&gate(&list, |_| {}), "192.0.2.1", End::Refused, 4).await;
    list.flush().await.unwrap();
    clock.pass(601);
    let list = Arc::new(BanList::with_clock(Some(book as _), Arc::clone(&clock) as _));
    list.load().await.unwrap();
    let after = gate(&list, |_| {});
    settle(&after, "192.0.2.1", End::Refused, 1).await;
    assert!(admits(&after, "192.0.2.1").await);
}

#[tokio::test]
async fn what_could_not_be_written_waits_in_order() {
    let book = Arc::new(Book::default());
    let list = Arc::new(BanList::with_clock(Some(Arc::clone(&book) as _), Turned::new()));
    *book.away.lock() = true;
    let ip: IpAddr = "192.0.2.1".parse().unwrap();
    list.ban(ip, Duration::from_secs(60), "first");
    list.lift(ip);
    list.ban(ip, Duration::from_secs(60), "second");
    assert!(list.flush().await.is_err());
    assert!(list.load().await.is_err());
    assert!(list.banned(ip).is_some(), "it counts without the book");
    *book.away.lock() = false;
    list.flush().await.unwrap();
    list.flush().await.unwrap();
    let applied = book.applied.lock();
    let reasons: Vec<_> = applied
        .iter()
        .map(|c| match c {
            BanChange::Banned(Ban { reason, .. }) => reason.as_str(),
            _ => "lifted",
        })
        .collect();
    assert_eq!(reasons, ["first", "lifted", "second"]);
}

#[tokio::test]
async fn the_writer_writes_without_being_asked() {
    let book = Arc::new(Book::default());
    let list = Arc::new(BanList::with_clock(Some(Arc::clone(&book) as _), Turned::new()));
    let writer = tokio::spawn({
        let list = Arc::clone(&list);
        async move { list.keep_written().await }
    });
    list.ban("192.0.2.1".parse().unwrap(), Duration::from_secs(60), "by hand");
    let written = || {
        book.applied
            .lock()
            .iter()
            .any(|c| matches!(c, BanChange::Banned(_)))
    };
    while !written() {
        tokio::task::yield_now().await;
    }
    writer.abort();
}

#[tokio::test]
async fn memory_is_bounded_whatever_comes() {
    let (book, clock) = (Arc::new(Book::default()), Turned::new());
    *book.away.lock() = true;
    let list = Arc::new(BanList::bounded(Some(book as _), Arc::clone(&clock) as _, 100));
    let gate = gate(&list, |_| {});
    settle(&gate, "192.0.2.1", End::Refused, 5).await;
    for n in 0..20_000u32 {
        let ip = IpAddr::from([10, (n >> 16) as u8, (n >> 8) as u8, n as u8]);
        settle(&gate, &ip.to_string(), End::Refused, 1).await;
    }
    assert!(
        !admits(&gate, "192.0.2.1").await,
        "single failures push out no ban"
    );
    assert!(list.unwritten() > 0);
    assert_eq!(list.sources(), 100);
    clock.pass(3600);
    assert!(list.list().is_empty());
    assert_eq!(list.sources(), 0, "what no longer matters is forgotten");
}

#[tokio::test]
async fn the_denial_says_why_and_what_to_do() {
    let list = Arc::new(BanList::with_clock(None, Turned::new()));
    let gate = gate(&list, |_| {});
    settle(&gate, "192.0.2.1", End::Refused, 5).await;
    let denial = gate
        .admit(&origin("192.0.2.1"), None, SystemTime::UNIX_EPOCH)
        .await;
    let why = denial.unwrap_err().why;
    for part in [
        "192.0.2.1",
        "another 1h",
        "5 failed sign-ins within 10m",
        "ban remove",
    ] {
        assert!(why.contains(part), "{why}");
    }
}

#[test]
fn refuses_options_that_mean_nothing() {
    let minute = DurationText(Duration::from_secs(60));
    let zero = DurationText(Duration::ZERO);
    let good = IpTimeBanOptions::default();
    let try_options = |options: IpTimeBanOptions| {
        let list = Arc::new(BanList::new(None));
        IpTimeBan::new(&options, list).err().map(|e| e.option)
    };
    for (options, wrong) in [
        (good.clone(), None),
        (
            IpTimeBanOptions {
                ban_interval: minute,
                ..good.clone()
            },
            None,
        ),
        (
            IpTimeBanOptions {
                ban_after_count: 0,
                ..good.clone()
            },
            Some("ban_after_count"),
        ),
        (
            IpTimeBanOptions {
                ban_after_count: 101,
                ..good.clone()
            },
            Some("ban_after_count"),
        ),
        (
            IpTimeBanOptions {
                ban_interval: zero,
                ..good.clone()
            },
            Some("ban_interval"),
        ),
        (
            IpTimeBanOptions {
                window: zero,
                ..good.clone()
            },
            Some("window"),
        ),
        (
            IpTimeBanOptions {
                allow: vec!["10.0.0.1/8".into()],
                ..good.clone()
            },
            Some("allow"),
        ),
        (
            IpTimeBanOptions {
                allow: vec!["localhost".into()],
                ..good
            },
            Some("allow"),
        ),
    ] {
        assert_eq!(try_options(options.clone()), wrong, "{options:?}");
    }
    assert!(toml::from_str::<IpTimeBanOptions>("ban_after = 3").is_err());
    let read: IpTimeBanOptions = toml::from_str("ban_interval = \"1m\"").unwrap();
    assert_eq!((read.ban_interval, read.ban_after_count), (minute, 5));
}
