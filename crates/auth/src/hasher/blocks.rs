//! The memory of password hashes: buffers that are lent to one hash after the other.
//!
//! A hash fills 19 MiB. Allocators keep what was freed for the thread that freed it, and the threads that
//! hash change, so that a fresh matrix for each hash adds up to many times what is in use. Invariants: no more
//! buffers are kept than there are permits; a buffer comes back wiped, however the hash that borrowed it ended;
//! when no hash ran for a while all are given back to the system.

use std::{
    collections::TryReserveError,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use argon2::Block;
use parking_lot::Mutex;
use tokio::{runtime::Handle, task::JoinHandle};

/// Blocks (of 1 KiB) that each buffer has room for, and the most that one that is kept has. Only what a hash
/// needs is ever touched; the rest is address space. It is more than 32 MiB because glibc never takes so
/// much from its arenas: such a buffer is mapped, and dropping it does give it back.
const ROOM: usize = 33 << 10;

/// Buffers that nobody borrowed for so long (and at most twice as long) are given back.
const IDLE: Duration = Duration::from_secs(60);

/// Lends buffers and keeps those that come back.
pub(super) struct Pool {
    most: usize,
    shelf: Mutex<Shelf>,
    made: AtomicU64,
}

#[derive(Default)]
struct Shelf {
    buffers: Vec<Vec<Block>>,
    lent_of_late: bool,
    sweeper: Option<JoinHandle<()>>,
}

impl Pool {
    /// Keeps at most so many buffers.
    pub(super) fn keeping(most: usize) -> Arc<Self> {
        Arc::new(Self {
            most,
            shelf: Mutex::default(),
            made: AtomicU64::new(0),
        })
    }

    /// A buffer of at least so many blocks. Whoever borrows holds a permit: that bounds what is lent.
    ///
    /// # Errors
    /// When the machine has no memory.
    pub(super) fn lend(self: &Arc<Self>, blocks: usize) -> Result<Loan, TryReserveError> {
        // One that is too small is dropped, so that lent and kept ones together are no more than permits.
        let kept = self.take().filter(|buffer| buffer.capacity() >= blocks);
        let mut buffer = match kept {
            Some(buffer) => buffer,
            None => self.make(blocks)?,
        };
        if buffer.len() < blocks {
            buffer.resize(blocks, Block::new());
        }
        Ok(Loan {
            buffer,
            used: blocks,
            pool: Arc::clone(self),
        })
    }

    /// How many buffers were made so far.
    #[cfg(test)]
    pub(super) fn made(&self) -> u64 {
        self.made.load(Ordering::Relaxed)
    }

    fn take(&self) -> Option<Vec<Block>> {
        let mut shelf = self.shelf.lock();
        shelf.lent_of_late = true;
        shelf.buffers.pop()
    }

    fn make(&self, blocks: usize) -> Result<Vec<Block>, TryReserveError> {
        let mut buffer = Vec::new();
        buffer.try_reserve_exact(blocks.max(ROOM))?;
        self.made.fetch_add(1, Ordering::Relaxed);
        Ok(buffer)
    }

    fn put_back(self: &Arc<Self>, buffer: Vec<Block>) {
        if buffer.capacity() > ROOM {
            return;
        }
        let mut shelf = self.shelf.lock();
        if shelf.buffers.len() >= self.most {
            return;
        }
        shelf.buffers.push(buffer);
        // A sweeper ends with the runtime that it was spawned on; another runtime may come after it.
        if shelf.sweeper.as_ref().is_none_or(JoinHandle::is_finished)
            && let Ok(runtime) = Handle::try_current()
        {
            shelf.sweeper = Some(runtime.spawn(sweep(Arc::downgrade(self))));
        }
    }

    /// Drops what is kept if nothing was lent since the last call. Says whether there is nothing more to do.
    fn give_back_idle(&self) -> bool {
        let idle = {
            let mut shelf = self.shelf.lock();
            if std::mem::take(&mut shelf.lent_of_late) {
                return false;
            }
            shelf.sweeper = None;
            std::mem::take(&mut shelf.buffers)
        };
        drop(idle);
        true
    }
}

async fn sweep(pool: Weak<Pool>) {
    loop {
        tokio::time::sleep(IDLE).await;
        if pool.upgrade().is_none_or(|pool| pool.give_back_idle()) {
            return;
        }
    }
}

/// A borrowed buffer: wiped and given back when dropped, by a panic too.
pub(super) struct Loan {
    buffer: Vec<Block>,
    used: usize,
    pool: Arc<Pool>,
}

impl AsMut<[Block]> for Loan {
    fn as_mut(&mut self) -> &mut [Block] {
        &mut self.buffer
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        let mut buffer = std::mem::take(&mut self.buffer);
        // The blocks follow from the password: with them it could be guessed at less than a hash's price.
        // (The algorithm needs no clean buffer, it writes each block before it reads it.) What lies behind
        // `used` was wiped by the hash that used it.
        for block in buffer.iter_mut().take(self.used) {
            *block = Block::new();
        }
        // Lest the compiler leave the wiping out for a buffer that is dropped next.
        std::hint::black_box(buffer.as_mut_slice());
        self.pool.put_back(buffer);
    }
}

#[cfg(test)]
mod tests {
    use argon2::{Algorithm, Argon2, Params, Version};

    use super::*;

    fn kept(pool: &Pool) -> usize {
        pool.shelf.lock().buffers.len()
    }

    fn is_clean(pool: &Pool) -> bool {
        let shelf = pool.shelf.lock();
        let mut blocks = shelf.buffers.iter().flatten();
        blocks.all(|block| block.as_ref().iter().all(|word| *word == 0))
    }

    #[test]
    fn hashes_of_any_parameters_are_the_same_in_used_buffers() {
        let pool = Pool::keeping(1);
        for (memory, passes, lanes) in [
            (256, 1, 1),
            (64, 3, 1),
            (1024, 1, 4),
            (70, 2, 2),
            (64, 1, 1),
            (40_000, 1, 1),
            (1024, 2, 1),
        ] {
            let params = Params::new(memory, passes, lanes, None).unwrap();
            let (blocks, argon) = (
                params.block_count(),
                Argon2::new(Algorithm::Argon2id, Version::V0x13, params),
            );
            let (mut here, mut fresh) = ([0; 32], [1; 32]);
            argon.hash_password_into(b"pw", b"saltsalt", &mut fresh).unwrap();
            let mut loan = pool.lend(blocks).unwrap();
            argon
                .hash_password_into_with_memory(b"pw", b"saltsalt", &mut here, &mut loan)
                .unwrap();
            assert_eq!(here, fresh, "{memory} {passes} {lanes}");
            let written = loan
                .buffer
                .iter()
                .any(|block| block.as_ref().iter().any(|w| *w != 0));
            assert!(written, "the hash was computed in the buffer");
            drop(loan);
            assert!(is_clean(&pool), "{memory} {passes} {lanes}");
        }
        let made = pool.made();
        assert_eq!(made, 3, "one, one for 40 MB, and one after it");
    }

    #[test]
    fn keeps_no_more_than_it_may_and_none_that_is_large() {
        let pool = Pool::keeping(2);
        let loans: Vec<_> = (0..3).map(|_| pool.lend(8).unwrap()).collect();
        assert_eq!(kept(&pool), 0);
        drop(loans);
        assert_eq!(kept(&pool), 2);
        drop(pool.lend(ROOM + 1).unwrap());
        assert_eq!(
            kept(&pool),
            1,
            "the small one made way, the large one is not kept"
        );
        drop(pool.lend(8).unwrap());
        assert_eq!(kept(&pool), 1);
    }

    #[test]
    fn more_than_the_machine_has_is_an_error() {
        let pool = Pool::keeping(1);
        assert!(pool.lend(usize::MAX / Block::SIZE).is_err());
        drop(pool.lend(8).unwrap());
        assert_eq!(kept(&pool), 1, "the next hash has its buffer");
    }

    #[tokio::test(start_paused = true)]
    async fn idle_buffers_are_given_back_and_those_in_use_are_not() {
        let pool = Pool::keeping(1);
        drop(pool.lend(8).unwrap());
        for _ in 0..5 {
            tokio::time::sleep(IDLE * 3 / 4).await;
            drop(pool.lend(8).unwrap());
            assert_eq!(pool.made(), 1, "it is in use");
        }
        tokio::time::sleep(IDLE * 5 / 2).await;
        assert_eq!(kept(&pool), 0);
        drop(pool.lend(8).unwrap());
        assert_eq!(kept(&pool), 1);
        tokio::time::sleep(IDLE * 5 / 2).await;
        assert_eq!(kept(&pool), 0, "the second time too");
    }

    #[test]
    fn a_runtime_that_ended_leaves_a_pool_that_the_next_one_sweeps() {
        let pool = Pool::keeping(1);
        for round in 0..2 {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .start_paused(round == 1)
                .build()
                .unwrap();
            runtime.block_on(async {
                drop(pool.lend(8).unwrap());
                if round == 1 {
                    tokio::time::sleep(IDLE * 5 / 2).await;
                }
            });
            assert_eq!(kept(&pool), 1 - round);
        }
    }
}
