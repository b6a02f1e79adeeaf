//! Test data: reproducible, incompressible, checked byte by byte.

use std::{
    fs::File,
    io::{BufReader, BufWriter, Read, Write},
    path::Path,
};

/// Bytes that look random and are the same for the same seed (xorshift64*).
#[must_use]
pub fn bytes(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut out = Vec::with_capacity(len + 8);
    while out.len() < len {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        out.extend_from_slice(&state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
    }
    out.truncate(len);
    out
}

/// Numbers of `from..to`, others in each run. Whoever uses them says in every message which one it was.
#[must_use]
pub fn somewhere(count: usize, from: u64, to: u64) -> Vec<u64> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let seed = now.map_or(1, |t| t.as_nanos() as u64);
    bytes(count * 8, seed)
        .as_chunks::<8>()
        .0
        .iter()
        .map(|chunk| from + u64::from_le_bytes(*chunk) % (to - from))
        .collect()
}

/// Writes such a file.
pub fn file(path: &Path, len: u64, seed: u64) {
    let mut out = BufWriter::new(File::create(path).expect("a test file can be made"));
    let mut left = len;
    let mut part = seed;
    while left > 0 {
        let piece = usize::try_from(left.min(1 << 20)).expect("fits");
        out.write_all(&bytes(piece, part)).expect("room for a test file");
        left -= piece as u64;
        part = part.wrapping_add(1);
    }
    out.flush().expect("room for a test file");
}

/// Whether two files are the same, byte by byte.
///
/// # Panics
/// Where they first differ.
#[track_caller]
pub fn same(a: &Path, b: &Path) {
    let open = |p: &Path| {
        let file = File::open(p).unwrap_or_else(|e| panic!("{}: {e}", p.display()));
        let len = file.metadata().expect("metadata").len();
        (BufReader::with_capacity(1 << 20, file), len)
    };
    let ((mut x, lx), (mut y, ly)) = (open(a), open(b));
    assert_eq!(lx, ly, "sizes of {} and {}", a.display(), b.display());
    let (mut bx, mut by) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    let mut at = 0u64;
    while at < lx {
        let n = usize::try_from((lx - at).min(1 << 20)).expect("fits");
        x.read_exact(&mut bx[..n]).expect("read");
        y.read_exact(&mut by[..n]).expect("read");
        if let Some(i) = (0..n).find(|&i| bx[i] != by[i]) {
            panic!(
                "{} and {} differ at byte {}",
                a.display(),
                b.display(),
                at + i as u64
            );
        }
        at += n as u64;
    }
}

/// Every entry under a directory of the local disk, hidden ones too, as paths relative to it.
#[must_use]
pub fn tree(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut todo = vec![root.to_owned()];
    while let Some(dir) = todo.pop() {
        let Ok(entries) = std::fs::read_dir(&dir) else {
            continue;
        };
        for entry in entries.flatten() {
            let path = entry.path();
            found.push(
                path.strip_prefix(root)
                    .expect("beneath")
                    .to_string_lossy()
                    .into_owned(),
            );
            if entry.file_type().is_ok_and(|t| t.is_dir()) {
                todo.push(path);
            }
        }
    }
    found.sort();
    found
}
