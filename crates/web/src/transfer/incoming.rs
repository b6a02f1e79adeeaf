//! The body of an upload: gathered into large pieces, written while the next ones come.
//!
//! Invariants: a file becomes visible only when exactly the declared length came (V5); everything
//! that came and was not refused is kept otherwise (V2), whoever broke off; at most two gathered pieces
//! are held.

use std::{future::Future, time::Duration};

use axum::body::{Body, BodyDataStream};
use bytes::Bytes;
use futures::StreamExt;
use portreeve_session::{Entry, FsError, FsErrorKind, FsResult, Session, Upload};
use tokio::time::Instant;

/// How much is gathered before it is written.
const GATHER: usize = 512 << 10;
/// The time over which the minimum rate is measured.
const WINDOW: Duration = Duration::from_secs(30);

/// How an upload ended without being whole.
#[derive(Debug)]
pub(crate) enum Unfinished {
    /// The storage refused. What is kept, if anything, is to be asked of the storage.
    Storage(FsError),
    /// The client broke off, was too slow, or the session ended: so many bytes are kept.
    Client { why: FsError, too_slow: bool, kept: u64 },
}

/// Receives `length` bytes into `upload` from offset `at` on, and commits it where `last`, else keeps it.
/// `stands` is asked when all is there: an error of it takes the place of the commit.
///
/// To be run as a task of its own: hyper drops a request whose client went, and this has still to keep
/// what came. (And a body that is read where hyper polls makes its task wake itself with every piece,
/// for which the runtime wakes another thread: a tenth of an upload's time.)
pub(crate) async fn receive(
    upload: Upload,
    body: Body,
    place: Place,
    session: &Session,
    minimum_rate: u64,
    stands: impl Future<Output = FsResult<()>>,
) -> Result<Received, Unfinished> {
    let mut receiving = Receiving {
        upload,
        at: place.at,
        unwritten: Vec::new(),
        gathered: Vec::new(),
    };
    let mut source = Source {
        stream: body.into_data_stream(),
        left: place.length,
        pace: Pace::new(minimum_rate),
    };
    let mut end = End::More;
    loop {
        let (write, gathered) = receiving.split();
        if matches!(end, End::More) {
            let gather = async {
                tokio::select! {
                    biased;
                    () = session.ended().cancelled() => Ok(End::Broken(Break::SessionOver)),
                    end = source.gather(gathered) => Ok(end),
                }
            };
            match futures::future::try_join(write, gather).await {
                Ok(((), came)) => end = came,
                Err(error) => return Err(Unfinished::Storage(receiving.fail(error).await)),
            }
        } else if let Err(error) = write.await {
            return Err(Unfinished::Storage(receiving.fail(error).await));
        }
        if receiving.gathered.is_empty() && !matches!(end, End::More) {
            break;
        }
        receiving.unwritten = std::mem::take(&mut receiving.gathered);
    }
    match end {
        End::Broken(how) => {
            let why = how.error();
            let too_slow = matches!(how, Break::TooSlow);
            let kept = receiving.keep(why.clone()).await;
            Err(Unfinished::Client { why, too_slow, kept })
        }
        _ if place.last => match receiving.commit(stands).await {
            Ok(entry) => Ok(Received::Whole(Box::new(entry))),
            Err(error) => Err(Unfinished::Storage(error)),
        },
        _ => {
            let why =
                FsError::new(FsErrorKind::Incomplete).context("a piece of the file came; more is to follow");
            Ok(Received::Piece {
                kept: receiving.keep(why).await,
            })
        }
    }
}

/// Where the bytes of one request belong.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    /// Offset of the first byte.
    pub(crate) at: u64,
    /// How many there are.
    pub(crate) length: u64,
    /// Whether the file is whole after them.
    pub(crate) last: bool,
}

/// What became of it.
#[derive(Debug)]
pub(crate) enum Received {
    /// The file is visible.
    Whole(Box<Entry>),
    /// A piece was kept: the file has so many bytes now.
    Piece { kept: u64 },
}

/// The upload and what of it is not yet written.
struct Receiving {
    upload: Upload,
    at: u64,
    /// Being written.
    unwritten: Vec<Bytes>,
    /// Comes next.
    gathered: Vec<Bytes>,
}

impl Receiving {
    /// The write of what is held, and the place for what comes meanwhile.
    fn split(&mut self) -> (impl Future<Output = FsResult<()>> + '_, &mut Vec<Bytes>) {
        let Self {
            upload,
            at,
            unwritten,
            gathered,
        } = self;
        let write = async move {
            let pieces = std::mem::take(unwritten);
            if pieces.is_empty() {
                return Ok(());
            }
            let here = *at;
            *at += total(&pieces);
            upload.write(here, pieces).await
        };
        (write, gathered)
    }

    async fn commit(self, stands: impl Future<Output = FsResult<()>>) -> FsResult<Entry> {
        match stands.await {
            Ok(()) => self.upload.commit().await,
            Err(error) => Err(self.fail(error).await),
        }
    }

    async fn keep(self, why: FsError) -> u64 {
        self.upload.keep(why).await.unwrap_or(0)
    }

    /// It cannot go on: the upload is ended with that error, which decides whether anything is kept.
    async fn fail(self, error: FsError) -> FsError {
        self.keep(error.clone()).await;
        error
    }
}

fn total(pieces: &[Bytes]) -> u64 {
    pieces.iter().map(|piece| piece.len() as u64).sum()
}

/// How far gathering came.
enum End {
    /// There is more to come.
    More,
    /// Everything that was declared is here.
    Complete,
    /// No more will come.
    Broken(Break),
}

#[derive(Debug, Clone, Copy)]
enum Break {
    Client,
    TooSlow,
    SessionOver,
}

impl Break {
    fn error(self) -> FsError {
        FsError::new(FsErrorKind::Cancelled).context(match self {
            Self::Client => "the client broke off before the file was whole",
            Self::TooSlow => "the client sent too slowly",
            Self::SessionOver => "the session is over",
        })
    }
}

/// The client's side.
struct Source {
    stream: BodyDataStream,
    left: u64,
    pace: Pace,
}

impl Source {
    /// Adds pieces to `into` until there is enough to write, or no more comes.
    async fn gather(&mut self, into: &mut Vec<Bytes>) -> End {
        self.pace.go_on();
        let end = self.gather_on(into).await;
        self.pace.pause();
        end
    }

    async fn gather_on(&mut self, into: &mut Vec<Bytes>) -> End {
        let mut held = 0;
        while self.left > 0 {
            let Ok(next) = tokio::time::timeout_at(self.pace.deadline(), self.stream.next()).await else {
                if self.pace.is_slow(Instant::now()) {
                    return End::Broken(Break::TooSlow);
                }
                continue;
            };
            let Some(Ok(piece)) = next else {
                return End::Broken(Break::Client);
            };
            let piece_len = piece.len() as u64;
            if piece_len > self.left {
                return End::Broken(Break::Client);
            }
            self.left -= piece_len;
            self.pace.came(piece_len);
            held += piece.len();
            into.push(piece);
            if held >= GATHER {
                break;
            }
        }
        if self.left == 0 { End::Complete } else { End::More }
    }
}

/// How fast the client is: measured only while we wait for it.
struct Pace {
    minimum: u64,
    began: Instant,
    paused: Instant,
    came: u64,
}

impl Pace {
    fn new(minimum: u64) -> Self {
        Self {
            minimum,
            began: Instant::now(),
            paused: Instant::now(),
            came: 0,
        }
    }

    /// The time in which the client waits for us does not count.
    fn go_on(&mut self) {
        self.began += self.paused.elapsed();
    }

    fn pause(&mut self) {
        self.paused = Instant::now();
    }

    fn deadline(&self) -> Instant {
        self.began + WINDOW
    }

    fn came(&mut self, bytes: u64) {
        self.came += bytes;
        if self.came >= self.minimum.saturating_mul(WINDOW.as_secs()) {
            self.began = Instant::now();
            self.came = 0;
        }
    }

    /// At the end of a window: whether too little came in it. Starts the next one.
    fn is_slow(&mut self, now: Instant) -> bool {
        let slow = self.came < self.minimum.saturating_mul(WINDOW.as_secs());
        self.began = now;
        self.came = 0;
        slow
    }
}
