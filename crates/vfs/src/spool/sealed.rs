//! Bytes on a disk that only this process can read: AES-256-GCM in sectors of 16 KiB.
//!
//! A file has a key of its own, made at random and never written down; a sector's counter and tag stay in
//! memory (24 bytes for 16 KiB). The sector that was written last is kept there too, unsealed, so that a
//! stream of small writes costs one sealing for each sector, and a small file never reaches the disk.
//!
//! Invariants: a nonce is a counter of sector writes, never used twice under one key; what was changed on
//! the disk is an error, also where an older state of a sector was put back, since tag and nonce are not
//! taken from the disk; what was never written reads as zeros.

use std::{fs::File, io, os::unix::fs::FileExt};

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    rand,
};
use parking_lot::RwLock;
use zeroize::Zeroizing;

/// Bytes that are sealed as one.
pub(super) const SECTOR: usize = 16 << 10;

/// How a sector was written last; counter zero: never.
#[derive(Clone, Copy)]
struct Seal {
    counter: u64,
    tag: [u8; 16],
}

const NEVER: Seal = Seal {
    counter: 0,
    tag: [0; 16],
};

/// The sector that was written last, as it is meant to be.
struct Hot {
    sector: usize,
    plain: Box<[u8]>,
    dirty: bool,
}

struct State {
    seals: Vec<Seal>,
    writes: u64,
    hot: Option<Hot>,
}

/// A file whose content means nothing without this.
pub(super) struct Sealed {
    file: File,
    key: LessSafeKey,
    state: RwLock<State>,
}

impl Sealed {
    /// Over an empty file.
    pub(super) fn new(file: File) -> io::Result<Self> {
        let mut key = Zeroizing::new([0; 32]);
        rand::fill(key.as_mut_slice()).map_err(|_| io::Error::other("the system gives no random numbers"))?;
        let key = UnboundKey::new(&AES_256_GCM, key.as_slice()).map_err(|_| io::Error::other("no cipher"))?;
        let state = State {
            seals: Vec::new(),
            writes: 0,
            hot: None,
        };
        Ok(Self {
            file,
            key: LessSafeKey::new(key),
            state: RwLock::new(state),
        })
    }

    /// Puts `data` at `at`. Blocks.
    pub(super) fn write(&self, mut at: u64, mut data: &[u8]) -> io::Result<()> {
        let mut state = self.state.write();
        let mut scratch = Vec::new();
        while !data.is_empty() {
            let (sector, within) = place(at)?;
            let (head, tail) = data.split_at(data.len().min(SECTOR - within));
            if head.len() == SECTOR {
                state.hot.take_if(|hot| hot.sector == sector);
                scratch.clear();
                scratch.extend_from_slice(head);
                self.seal(&mut state, sector, &mut scratch)?;
            } else {
                let hot = self.heat(&mut state, sector)?;
                hot.dirty = true;
                if let Some(part) = hot.plain.get_mut(within..within + head.len()) {
                    part.copy_from_slice(head);
                }
            }
            at += head.len() as u64;
            data = tail;
        }
        Ok(())
    }

    /// Fills `into` from `at` on. Blocks.
    pub(super) fn read(&self, mut at: u64, mut into: &mut [u8]) -> io::Result<()> {
        let state = self.state.read();
        let mut scratch = Vec::new();
        while !into.is_empty() {
            let (sector, within) = place(at)?;
            let count = into.len().min(SECTOR - within);
            let (head, tail) = into.split_at_mut(count);
            match &state.hot {
                Some(hot) if hot.sector == sector => {
                    head.copy_from_slice(hot.plain.get(within..within + count).unwrap_or_default());
                }
                _ if count == SECTOR => self.open(&state, sector, head)?,
                _ => {
                    scratch.resize(SECTOR, 0);
                    self.open(&state, sector, &mut scratch)?;
                    head.copy_from_slice(scratch.get(within..within + count).unwrap_or_default());
                }
            }
            at += count as u64;
            into = tail;
        }
        Ok(())
    }

    /// Forgets everything from `size` on. Blocks.
    pub(super) fn cut(&self, size: u64) -> io::Result<()> {
        let mut state = self.state.write();
        let (sector, within) = place(size)?;
        let keep = sector + usize::from(within > 0);
        if within > 0
            && (state.seals.len() > sector || state.hot.as_ref().is_some_and(|h| h.sector == sector))
        {
            let hot = self.heat(&mut state, sector)?;
            hot.dirty = true;
            hot.plain.get_mut(within..).unwrap_or_default().fill(0);
        }
        state.hot.take_if(|hot| hot.sector >= keep);
        if state.seals.len() > keep {
            state.seals.truncate(keep);
            state.seals.shrink_to_fit();
            self.file.set_len((keep * SECTOR) as u64)?;
        }
        Ok(())
    }

    /// Makes this sector the hot one.
    fn heat<'s>(&self, state: &'s mut State, sector: usize) -> io::Result<&'s mut Hot> {
        if state.hot.as_ref().is_none_or(|hot| hot.sector != sector) {
            let mut plain = match state.hot.take() {
                Some(hot) if hot.dirty => self.cool(state, hot)?,
                Some(hot) => hot.plain,
                None => vec![0; SECTOR].into_boxed_slice(),
            };
            self.open(state, sector, &mut plain)?;
            state.hot = Some(Hot {
                sector,
                plain,
                dirty: false,
            });
        }
        state.hot.as_mut().ok_or_else(|| io::Error::other("no sector"))
    }

    /// Writes what is hot, and gives its buffer back; where that fails it stays hot.
    fn cool(&self, state: &mut State, hot: Hot) -> io::Result<Box<[u8]>> {
        let mut sealed = hot.plain.to_vec();
        match self.seal(state, hot.sector, &mut sealed) {
            Ok(()) => Ok(hot.plain),
            Err(error) => {
                state.hot = Some(hot);
                Err(error)
            }
        }
    }

    /// Seals and writes a whole sector; `plain` is used up.
    fn seal(&self, state: &mut State, sector: usize, plain: &mut [u8]) -> io::Result<()> {
        state.writes += 1;
        let counter = state.writes;
        let tag = self
            .key
            .seal_in_place_separate_tag(nonce(counter), Aad::empty(), plain)
            .map_err(|_| io::Error::other("a spooled file could not be sealed"))?;
        let mut seal = Seal { counter, ..NEVER };
        seal.tag.copy_from_slice(tag.as_ref());
        self.file.write_all_at(plain, (sector * SECTOR) as u64)?;
        if state.seals.len() <= sector {
            // Grown by eighths: doubling would take twice the memory that is told above.
            let more = (sector + 1 - state.seals.len())
                .max(state.seals.len() / 8)
                .max(64);
            if state.seals.capacity() <= sector {
                state.seals.reserve_exact(more);
            }
            state.seals.resize(sector + 1, NEVER);
        }
        if let Some(place) = state.seals.get_mut(sector) {
            *place = seal;
        }
        Ok(())
    }

    /// Reads a whole sector from the disk.
    fn open(&self, state: &State, sector: usize, into: &mut [u8]) -> io::Result<()> {
        let seal = state.seals.get(sector).copied().unwrap_or(NEVER);
        if seal.counter == 0 {
            into.fill(0);
            return Ok(());
        }
        let changed = || {
            io::Error::new(
                io::ErrorKind::InvalidData,
                "a spooled file was changed on the disk",
            )
        };
        match self.file.read_exact_at(into, (sector * SECTOR) as u64) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(changed()),
            done => done?,
        }
        self.key
            .open_in_place_separate_tag(nonce(seal.counter), Aad::empty(), &seal.tag, into)
            .map_err(|_| changed())?;
        Ok(())
    }
}

fn nonce(counter: u64) -> Nonce {
    let mut bytes = [0; 12];
    for (to, from) in bytes.iter_mut().skip(4).zip(counter.to_be_bytes()) {
        *to = from;
    }
    Nonce::assume_unique_for_key(bytes)
}

/// The sector of an offset, and where in it.
fn place(at: u64) -> io::Result<(usize, usize)> {
    let sector =
        usize::try_from(at / SECTOR as u64).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
    Ok((sector, (at % SECTOR as u64) as usize))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fresh() -> (Sealed, File) {
        let file = tempfile::tempfile().unwrap();
        let disk = file.try_clone().unwrap();
        (Sealed::new(file).unwrap(), disk)
    }

    fn on_disk(disk: &File) -> Vec<u8> {
        let mut bytes = vec![0; disk.metadata().unwrap().len() as usize];
        disk.read_exact_at(&mut bytes, 0).unwrap();
        bytes
    }

    fn read(sealed: &Sealed, at: u64, len: usize) -> io::Result<Vec<u8>> {
        let mut into = vec![0xee; len];
        sealed.read(at, &mut into).map(|()| into)
    }

    #[test]
    fn the_disk_does_not_hold_the_content() {
        let (sealed, disk) = fresh();
        let content = b"the plain text of a letter ".repeat(4000);
        sealed.write(0, &content).unwrap();
        sealed.write(5, b"again").unwrap();
        let bytes = on_disk(&disk);
        assert!(bytes.len() >= SECTOR * 6, "{}", bytes.len());
        assert!(!bytes.windows(9).any(|part| part == b"plain tex"));
        // The same content in two sectors, and twice in one, never looks the same.
        let (twin, other) = fresh();
        twin.write(0, &content).unwrap();
        assert_ne!(
            bytes.get(SECTOR..2 * SECTOR),
            on_disk(&other).get(SECTOR..2 * SECTOR)
        );
        sealed.write(SECTOR as u64, &[7; SECTOR]).unwrap();
        let once = on_disk(&disk);
        sealed.write(SECTOR as u64, &[7; SECTOR]).unwrap();
        assert_ne!(once, on_disk(&disk));
    }

    #[test]
    fn a_small_file_never_reaches_the_disk() {
        let (sealed, disk) = fresh();
        for n in 0..100_u64 {
            sealed.write(n * 100, &[n as u8; 100]).unwrap();
        }
        assert_eq!(read(&sealed, 4_250, 100).unwrap(), [[42; 50], [43; 50]].concat());
        assert_eq!(disk.metadata().unwrap().len(), 0);
    }

    #[test]
    fn small_writes_in_order_cost_one_sealing_a_sector() {
        let (sealed, _disk) = fresh();
        for n in 0..10 * SECTOR as u64 / 64 {
            sealed.write(n * 64, &[1; 64]).unwrap();
        }
        assert_eq!(sealed.state.read().writes, 9);
    }

    #[test]
    fn what_was_changed_on_the_disk_is_an_error() {
        let (sealed, disk) = fresh();
        let plain = vec![3; 4 * SECTOR];
        sealed.write(0, &plain).unwrap();
        let good = on_disk(&disk);
        for at in [0, SECTOR, 2 * SECTOR - 1] {
            let mut bad = good.clone();
            bad[at] ^= 1;
            disk.write_all_at(&bad, 0).unwrap();
            let sector = (at / SECTOR * SECTOR) as u64;
            let error = read(&sealed, sector + 5, 10).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
            assert_eq!(read(&sealed, 3 * SECTOR as u64, 10).unwrap(), [3; 10]);
        }
        disk.write_all_at(&good, 0).unwrap();
        sealed.write(0, &[4; SECTOR]).unwrap();
        // An older state that was whole once.
        disk.write_all_at(&good, 0).unwrap();
        assert!(read(&sealed, 0, 10).is_err());
        disk.set_len(10).unwrap();
        assert!(read(&sealed, 2 * SECTOR as u64, SECTOR).is_err());
    }

    #[derive(Debug, Clone)]
    enum Act {
        Write(u64, Vec<u8>),
        Cut(u64),
        Read(u64, usize),
    }

    fn act() -> impl Strategy<Value = Act> {
        let at = || 0_u64..100_000;
        let near = prop_oneof![0_usize..300, (SECTOR - 2)..(3 * SECTOR)];
        prop_oneof![
            (at(), near.clone(), any::<u8>()).prop_map(|(at, len, fill)| {
                let data = (0..len).map(|n| (n as u8).wrapping_mul(31) ^ fill);
                Act::Write(at, data.collect())
            }),
            (0_u64..6, near.clone(), any::<u8>())
                .prop_map(|(sector, len, fill)| Act::Write(sector * SECTOR as u64, vec![fill; len])),
            at().prop_map(Act::Cut),
            (at(), near).prop_map(|(at, len)| Act::Read(at, len)),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn any_order_of_writes_cuts_and_reads_equals_plain_memory(acts in prop::collection::vec(act(), 1..30)) {
            let (sealed, _disk) = fresh();
            // Zeros beyond what was written: as far as anything here reads.
            let mut model = vec![0_u8; 200_000];
            for act in acts {
                match act {
                    Act::Write(at, data) => {
                        sealed.write(at, &data).unwrap();
                        model[at as usize..][..data.len()].copy_from_slice(&data);
                    }
                    Act::Cut(size) => {
                        sealed.cut(size).unwrap();
                        model[size as usize..].fill(0);
                    }
                    Act::Read(at, len) => {
                        prop_assert_eq!(&read(&sealed, at, len).unwrap()[..], &model[at as usize..][..len]);
                    }
                }
            }
            prop_assert_eq!(read(&sealed, 0, model.len()).unwrap(), model);
        }
    }
}
