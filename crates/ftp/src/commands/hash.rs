//! HASH (draft-bryan-ftpext-hash-02) and its older kin XCRC, XMD5, XSHA256 and XSHA512: the digest of a
//! file or of a part of it, by one mechanism. Reading is what it is, and recorded as that.

use std::fmt::Write as _;

use portreeve_model::VPath;
use portreeve_session::{Download, FsError, FsErrorKind};
use sha2::Digest as _;
use tokio::time::timeout;

use super::{Answer, Step, say, size::readable};
use crate::{
    control::{Beside, Client},
    data::Progress,
    wire::{self, Reply},
};

/// Read at once.
const BLOCK: usize = 256 << 10;

/// What can be computed; the names are those of IANA's registry of hash functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Algorithm {
    Sha256,
    Sha512,
    Md5,
    Crc32,
}

impl Algorithm {
    const ALL: [Self; 4] = [Self::Sha256, Self::Sha512, Self::Md5, Self::Crc32];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "SHA-256",
            Self::Sha512 => "SHA-512",
            Self::Md5 => "MD5",
            Self::Crc32 => "CRC32",
        }
    }

    /// The one of this name, in any capitals.
    pub(crate) fn of(name: &[u8]) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|one| one.name().as_bytes().eq_ignore_ascii_case(name))
    }

    /// The line of FEAT, with a star at the one that is chosen.
    pub(crate) fn feature(self) -> String {
        let names = Self::ALL.map(|one| {
            let star = if one == self { "*" } else { "" };
            format!("{}{star}", one.name())
        });
        format!("HASH {}", names.join(";"))
    }
}

/// A digest under way.
enum Sum {
    Sha256(sha2::Sha256),
    Sha512(sha2::Sha512),
    Md5(md5::Md5),
    Crc32(crc32fast::Hasher),
}

impl Sum {
    fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Sha256 => Self::Sha256(sha2::Sha256::new()),
            Algorithm::Sha512 => Self::Sha512(sha2::Sha512::new()),
            Algorithm::Md5 => Self::Md5(md5::Md5::new()),
            Algorithm::Crc32 => Self::Crc32(crc32fast::Hasher::new()),
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(sum) => sum.update(bytes),
            Self::Sha512(sum) => sum.update(bytes),
            Self::Md5(sum) => sum.update(bytes),
            Self::Crc32(sum) => sum.update(bytes),
        }
    }

    fn hex(self) -> String {
        let bytes = match self {
            Self::Sha256(sum) => sum.finalize().to_vec(),
            Self::Sha512(sum) => sum.finalize().to_vec(),
            Self::Md5(sum) => sum.finalize().to_vec(),
            Self::Crc32(sum) => sum.finalize().to_be_bytes().to_vec(),
        };
        bytes.iter().fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02X}");
            hex
        })
    }
}

/// `HASH path`, over what `RANG` said.
pub(super) async fn run(client: &mut Client, argument: &[u8]) -> Answer {
    let path = client.path(argument)?;
    let range = client.range.take();
    let algorithm = client.algorithm;
    let summed = sum(client, &path, algorithm, range).await?;
    let Summed { hex, first, end } = summed;
    let mut text = format!(
        "{} {first}-{} {} ",
        algorithm.name(),
        end.saturating_sub(1),
        hex.to_lowercase()
    )
    .into_bytes();
    text.extend_from_slice(argument);
    Ok(Step::Say(Reply::bytes(213, text)))
}

macro_rules! older {
    ($($room:ident $algorithm:ident)*) => {$(
        pub(super) mod $room {
            use crate::{commands::Answer, control::Client};

            pub(in crate::commands) async fn run(client: &mut Client, argument: &[u8]) -> Answer {
                super::older(client, argument, super::Algorithm::$algorithm).await
            }
        }
    )*};
}
older! { xcrc Crc32 xmd5 Md5 xsha256 Sha256 xsha512 Sha512 }

/// `XCRC path [first [last]]`; a path with spaces may stand in quotation marks.
async fn older(client: &mut Client, argument: &[u8], algorithm: Algorithm) -> Answer {
    let (path, range) = older_argument(argument);
    let path = client.path(path)?;
    let Summed { hex, .. } = sum(client, &path, algorithm, range).await?;
    say(250, hex)
}

fn older_argument(argument: &[u8]) -> (&[u8], Option<(u64, u64)>) {
    let (path, rest) = match argument.strip_prefix(b"\"") {
        Some(quoted) => match quoted.iter().position(|byte| *byte == b'"') {
            Some(end) => quoted.split_at(end),
            None => return (argument, None),
        },
        None => return (argument, None),
    };
    let mut numbers = rest
        .get(1..)
        .unwrap_or_default()
        .split(|byte| *byte == b' ')
        .filter(|word| !word.is_empty())
        .map(wire::number);
    let range = match (numbers.next(), numbers.next(), numbers.next()) {
        (Some(Some(first)), None, None) => Some((first, u64::MAX)),
        (Some(Some(first)), Some(Some(last)), None) => Some((first, last)),
        _ => None,
    };
    (path, range)
}

struct Summed {
    hex: String,
    first: u64,
    end: u64,
}

async fn sum(
    client: &mut Client,
    path: &VPath,
    algorithm: Algorithm,
    range: Option<(u64, u64)>,
) -> Result<Summed, Step> {
    let file = readable(client, path).await?;
    let size = file.entry().size.unwrap_or(u64::MAX);
    let (first, last) = range.unwrap_or((0, u64::MAX));
    let end = last.saturating_add(1).min(size);
    if first > size || first > end {
        let error = FsError::new(FsErrorKind::OutOfRange).context("the range lies outside the file");
        file.fail(&error);
        return Err(Reply::new(501, "the range lies outside the file").into());
    }
    let progress = Progress::default();
    let patience = client.pace().transfer;
    let job = timeout(patience, read(&file, first, end, Sum::new(algorithm), &progress));
    match client.beside(Some(&progress), job).await {
        Beside::Done(Err(_)) => {
            let error = FsError::new(FsErrorKind::TimedOut).context("it took longer than a transfer may");
            file.fail(&error);
            Err(error.into())
        }
        Beside::Done(Ok(summed)) => {
            let (hex, end) = summed?;
            Ok(Summed { hex, first, end })
        }
        other => {
            let cut = crate::control::Cut::of(&other);
            file.fail(&cut.error);
            drop(file);
            Err(client.tell(cut).await)
        }
    }
}

async fn read(
    file: &Download,
    first: u64,
    end: u64,
    mut sum: Sum,
    progress: &Progress,
) -> Result<(String, u64), FsError> {
    let (mut at, mut buffer) = (first, Vec::new());
    while at < end {
        let want = usize::try_from(end - at).unwrap_or(BLOCK).min(BLOCK);
        buffer.clear();
        buffer = file.read(at, want, buffer).await?;
        if buffer.is_empty() {
            break;
        }
        sum.update(&buffer);
        at += buffer.len() as u64;
        progress.add(buffer.len() as u64);
        // Nothing here waits where a file is in memory: others must have their turn.
        tokio::task::yield_now().await;
    }
    Ok((sum.hex(), at))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(algorithm: Algorithm, hex: &str) {
        let mut sum = Sum::new(algorithm);
        sum.update(b"1234");
        sum.update(b"56789");
        assert_eq!(sum.hex(), hex, "{algorithm:?}");
    }

    #[test]
    fn known_digests() {
        check(Algorithm::Crc32, "CBF43926");
        check(Algorithm::Md5, "25F9E794323B453885F5181F1B624D0B");
        check(
            Algorithm::Sha256,
            "15E2B0D3C33891EBB0F1EF609EC419420C20E320CE94C65FBC8C3312448EB225",
        );
    }

    #[test]
    fn older_commands_take_ranges_behind_a_quoted_path() {
        for (argument, path, range) in [
            ("a b", "a b", None),
            ("a 1 2", "a 1 2", None),
            ("\"a b\" 1 2", "a b", Some((1, 2))),
            ("\"a\" 5", "a", Some((5, u64::MAX))),
            ("\"a\"", "a", None),
            ("\"a", "\"a", None),
            ("\"a\" 1 2 3", "a", None),
        ] {
            assert_eq!(
                older_argument(argument.as_bytes()),
                (path.as_bytes(), range),
                "{argument}"
            );
        }
    }

    #[test]
    fn the_chosen_algorithm_has_the_star() {
        assert_eq!(Algorithm::Md5.feature(), "HASH SHA-256;SHA-512;MD5*;CRC32");
        assert_eq!(Algorithm::of(b"sha-512"), Some(Algorithm::Sha512));
        assert_eq!(Algorithm::of(b"SHA-1"), None);
    }
}
