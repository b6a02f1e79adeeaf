//! The accept loop of one listener, up to the entrance.
//!
//! Invariants: a connection that fails, stalls or panics concerns nobody else; when descriptors run
//! out the loop pauses instead of spinning, and whoever waits is let go rather than left hanging.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use portreeve_model::Origin;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::Instrument;

use super::{Desired, Ends, Reserve, is_exhausted, read_header};

/// How long a trusted proxy may take for its header.
const HEADER: Duration = Duration::from_secs(5);
/// Connections of one listener that nobody has judged yet.
const WAITING: usize = 1024;
/// Pause when nothing can be accepted.
const BREATHER: Duration = Duration::from_millis(100);

pub(super) async fn accept(
    listener: &TcpListener,
    desired: &ArcSwap<Desired>,
    stop: &CancellationToken,
    connections: &TaskTracker,
    reserve: &Reserve,
) {
    let waiting = Arc::new(Semaphore::new(WAITING));
    loop {
        // Before anybody else is let in: what was given back belongs to the reserve first.
        reserve.refill();
        let next = async {
            // Nobody closes the semaphore.
            let permit = Arc::clone(&waiting).acquire_owned().await.ok();
            (permit, listener.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            next = next => next,
        };
        let Some(permit) = permit else { return };
        match accepted {
            Ok((stream, peer)) => {
                let desired = desired.load_full();
                metrics::counter!("portreeve_connections_total", "listener" => desired.name.to_string())
                    .increment(1);
                let span = tracing::info_span!(
                    "connection", listener = %desired.name, %peer, id = tracing::field::Empty
                );
                connections.spawn(serve(stream, peer, desired, permit).instrument(span));
            }
            Err(error) if is_exhausted(&error) => {
                let name = Arc::clone(&desired.load().name);
                metrics::counter!("portreeve_accept_exhausted_total").increment(1);
                if reserve.first_notice() {
                    tracing::error!(listener = %name, %error, "out of descriptors: new connections are closed");
                }
                // One waits in the backlog: take it with the spare descriptor and close it, so that the
                // client learns of it. Closed while it is lent, so that the reserve gets it back.
                reserve
                    .lend(|| async { drop(tokio::time::timeout(BREATHER, listener.accept()).await) })
                    .await;
                tokio::time::sleep(BREATHER).await;
            }
            // The connection was gone before it was accepted (accept(2): ECONNABORTED and the like).
            Err(error) => {
                tracing::debug!(%error, "accept failed");
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    }
}

async fn serve(
    mut stream: TcpStream,
    peer: SocketAddr,
    desired: Arc<Desired>,
    waiting: OwnedSemaphorePermit,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY");
    }
    let Ok(local) = stream.local_addr() else { return };
    let mut ends = Ends { peer, local };
    let from = peer.ip().to_canonical();
    if desired.trusted.iter().any(|network| network.contains(&from)) {
        match read_header(&mut stream, HEADER).await {
            Ok(Some(told)) => ends = told,
            Ok(None) => {}
            Err(error) => {
                metrics::counter!("portreeve_proxy_header_errors_total").increment(1);
                tracing::debug!(%error, "the proxy sent no usable header");
                return;
            }
        }
    }
    let origin = Origin::new(desired.door, Arc::clone(&desired.name), ends.peer, ends.local);
    let entrance = Arc::clone(&desired.entrance);
    // The configuration that it came in by may be replaced while it is served.
    drop(desired);
    entrance.enter(stream, origin, waiting).await;
}
