use std::{future::Future, time::Duration};

use portreeve_session::WriteMode;
use portreeve_vfs::Call;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{Instant, sleep},
};

use crate::{
    CloseNotify::Require,
    SessionReuse,
    data::{
        Broken, Channel, Pace, Progress, Sheet, Text,
        channel::Unprotected,
        receive,
        rig::{Files, PACE, bytes, plain, tls},
        send,
    },
    tls::rig::TLS13,
};

const STALL: Duration = Duration::from_secs(60);

async fn took<T>(job: impl Future<Output = T>) -> (T, Duration) {
    let began = Instant::now();
    let done = job.await;
    (done, began.elapsed())
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_stops_coming_stalls_and_keeps_what_came() {
    let (files, tls) = (Files::new().await, tls(TLS13));
    let (near, mut far) = tls.pipe(1 << 20).await;
    let (file, progress) = (files.upload(WriteMode::Replace).await, Progress::default());
    far.write_all(&bytes(100_000)).await.unwrap();
    far.flush().await.unwrap();
    let job = receive(near, &file, Some(0), Text::AsIs, &PACE, Require, &progress);
    let (received, time) = took(job).await;
    assert!(matches!(received, Err(Broken::Stalled)), "{received:?}");
    assert!(
        (STALL..STALL + Duration::from_secs(1)).contains(&time),
        "{time:?}"
    );
    assert_eq!(file.keep(received.unwrap_err().error()).await.unwrap(), 100_000);
}

#[tokio::test(start_paused = true)]
async fn a_download_that_nobody_takes_stalls() {
    let (files, tls) = (Files::new().await, tls(TLS13));
    for holds in [1000, 300_000] {
        let (near, _far) = tls.pipe(holds).await;
        let file = files.download(&bytes(1_000_000)).await;
        let (sent, time) = took(send(near, &file, 0, Text::AsIs, &PACE, &Progress::default())).await;
        assert!(matches!(sent, Err(Broken::Stalled)), "{sent:?}");
        assert!(
            (STALL..STALL + Duration::from_secs(1)).contains(&time),
            "{time:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_listing_that_nobody_takes_stalls() {
    let (near, _far) = plain(1000).await;
    let progress = Progress::default();
    let mut sheet = Sheet::new(near, &PACE, &progress);
    sheet.room().extend_from_slice(&bytes(200_000));
    let (flushed, time) = took(sheet.flush_if_full()).await;
    assert!(matches!(flushed, Err(Broken::Stalled)), "{flushed:?}");
    assert!(
        (STALL..STALL + Duration::from_secs(1)).contains(&time),
        "{time:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn whoever_is_slow_but_moves_does_not_stall() {
    let (files, tls) = (Files::new().await, tls(TLS13));
    let (near, mut far) = tls.pipe(1 << 20).await;
    let (file, progress) = (files.upload(WriteMode::Replace).await, Progress::default());
    let job = receive(near, &file, Some(0), Text::AsIs, &PACE, Require, &progress);
    let client = async {
        for _ in 0..30 {
            sleep(STALL - Duration::from_secs(1)).await;
            far.write_all(b"x").await.unwrap();
            far.flush().await.unwrap();
        }
        far.shutdown().await.unwrap();
    };
    let (received, ()) = tokio::join!(job, client);
    assert_eq!(received.unwrap(), 30);

    let (near, mut far) = tls.pipe(1000).await;
    let file = files.download(&bytes(300_000)).await;
    let progress = Progress::default();
    let job = send(near, &file, 0, Text::AsIs, &PACE, &progress);
    let client = async {
        let (mut part, mut all) = ([0; 20_000], 0);
        loop {
            match far.read(&mut part).await.unwrap() {
                0 => return all,
                n => all += n,
            }
            sleep(STALL - Duration::from_secs(1)).await;
        }
    };
    let (sent, all) = tokio::join!(job, client);
    assert_eq!((sent.unwrap(), all), (300_000, 300_000));
}

#[tokio::test(start_paused = true)]
async fn but_there_is_an_end_to_that_too() {
    let (files, tls) = (Files::new().await, tls(TLS13));
    let pace = Pace {
        transfer: Duration::from_secs(600),
        ..PACE
    };
    let (near, mut far) = tls.pipe(1 << 20).await;
    let (file, progress) = (files.upload(WriteMode::Replace).await, Progress::default());
    let job = took(receive(
        near,
        &file,
        Some(0),
        Text::AsIs,
        &pace,
        Require,
        &progress,
    ));
    let client = async {
        loop {
            sleep(Duration::from_secs(50)).await;
            if far.write_all(b"x").await.is_err() || far.flush().await.is_err() {
                return;
            }
        }
    };
    let ((received, time), ()) = tokio::join!(job, client);
    assert!(matches!(received, Err(Broken::TooLong)), "{received:?}");
    assert!((600..602).contains(&time.as_secs()), "{time:?}");
    assert_eq!(file.keep(received.unwrap_err().error()).await.unwrap(), 11);

    let (near, mut far) = plain(1000).await;
    let file = files.download(&bytes(10_000_000)).await;
    let progress = Progress::default();
    let job = took(send(near, &file, 0, Text::AsIs, &pace, &progress));
    let client = async {
        let mut part = [0; 1000];
        while !matches!(far.read(&mut part).await, Ok(0) | Err(_)) {
            sleep(Duration::from_secs(50)).await;
        }
    };
    let ((sent, time), ()) = tokio::join!(job, client);
    assert!(matches!(sent, Err(Broken::TooLong)), "{sent:?}");
    assert!((600..602).contains(&time.as_secs()), "{time:?}");
}

#[tokio::test(start_paused = true)]
async fn the_storage_s_time_is_not_the_client_s() {
    let (files, tls) = (Files::new().await, tls(TLS13));
    let hold = files.faulty.hold(Call::Write);
    let (near, mut far) = tls.pipe(1 << 20).await;
    let (file, progress) = (files.upload(WriteMode::Replace).await, Progress::default());
    far.write_all(&bytes(600_000)).await.unwrap();
    far.shutdown().await.unwrap();
    let job = receive(near, &file, Some(0), Text::AsIs, &PACE, Require, &progress);
    let storage = async {
        for _ in 0..4 {
            sleep(STALL * 10).await;
            hold.let_go(1);
        }
    };
    let (received, ()) = tokio::join!(job, storage);
    assert_eq!(received.unwrap(), 600_000);

    let hold = files.faulty.hold(Call::Read);
    let file = files.download(&bytes(600_000)).await;
    let (near, far) = tls.pipe(1 << 20).await;
    let progress = Progress::default();
    let job = send(near, &file, 0, Text::AsIs, &PACE, &progress);
    let storage = async {
        for _ in 0..3 {
            sleep(STALL * 10).await;
            hold.let_go(1);
        }
    };
    let (sent, (came, _), ()) = tokio::join!(job, crate::data::rig::drained(far), storage);
    assert_eq!((sent.unwrap(), came.len()), (600_000, 600_000));
}

#[tokio::test(start_paused = true)]
async fn a_storage_that_hangs_ends_with_the_transfer_s_time() {
    let (files, tls) = (Files::new().await, tls(TLS13));
    let pace = Pace {
        transfer: Duration::from_secs(600),
        ..PACE
    };
    let _hold = files.faulty.hold(Call::Write);
    let (near, mut far) = tls.pipe(1 << 20).await;
    far.write_all(&bytes(100_000)).await.unwrap();
    far.shutdown().await.unwrap();
    let (file, progress) = (files.upload(WriteMode::Replace).await, Progress::default());
    let job = receive(near, &file, Some(0), Text::AsIs, &pace, Require, &progress);
    let received = job.await;
    assert!(matches!(received, Err(Broken::TooLong)), "{received:?}");
}

#[tokio::test(start_paused = true)]
async fn a_handshake_has_its_time() {
    let (near, _far) = tokio::io::duplex(1000);
    let job = Channel::new(near).protect(Some(tls(TLS13).server), SessionReuse::Prefer, STALL);
    let (done, time) = took(job).await;
    assert_eq!(done.err(), Some(Unprotected::TimedOut));
    assert_eq!(time.as_secs(), 60);
}
