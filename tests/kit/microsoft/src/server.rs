//! The server: TLS, HTTP/1.1 and HTTP/2, and the way of a request through counting, faults and holds to its answer.
//! Invariant: a request that is refused by a fault has done nothing; one whose reply is lost has done everything.

use std::{collections::BTreeMap, io, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::StreamExt as _;
use http::{Method, Request, Response, Version};
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Frame, Incoming};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use parking_lot::Mutex;
use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::{
    content::Content,
    entra,
    faults::{Fault, Faults},
    graph::{self, batch, uploads},
    log::{Call, Host, Log, Note},
    throttle::{InFlight, Throttle},
    wire::{Answer, Asked, Body},
    world::World,
};

/// The largest request body that is read at all.
const MOST_READ: usize = 40 << 20;
/// How much of a download is handed over at a time.
const PIECE: usize = 64 * 1024;

type Out = UnsyncBoxBody<Bytes, io::Error>;

/// What all connections share.
#[derive(Debug)]
pub(crate) struct Hub {
    pub(crate) world: Mutex<World>,
    pub(crate) faults: Arc<Faults>,
    pub(crate) throttle: Arc<Throttle>,
    pub(crate) log: Log,
    /// The port of the upload host.
    pub(crate) uploads: u16,
}

/// Serves one listener for ever.
pub(crate) async fn serve(hub: Arc<Hub>, listener: TcpListener, tls: Arc<ServerConfig>, upload: bool) {
    let acceptor = TlsAcceptor::from(tls);
    loop {
        let Ok((socket, _)) = listener.accept().await else {
            continue;
        };
        let _ = socket.set_nodelay(true);
        let (hub, acceptor) = (Arc::clone(&hub), acceptor.clone());
        let mut line = hub.faults.line();
        if line.borrow_and_update().1 {
            continue;
        }
        tokio::spawn(async move {
            let handshake = tokio::time::timeout(Duration::from_secs(20), acceptor.accept(socket));
            let Ok(Ok(stream)) = handshake.await else {
                return;
            };
            let service = hyper::service::service_fn(move |request| {
                let hub = Arc::clone(&hub);
                async move { take(&hub, request, upload).await }
            });
            let builder = auto::Builder::new(TokioExecutor::new());
            tokio::select! {
                _ = builder.serve_connection(TokioIo::new(stream), service) => {}
                _ = line.changed() => {}
            }
        });
    }
}

/// A request in flight: for its mailbox and for its application.
type Flight = (InFlight, InFlight);

fn enter(hub: &Hub, app: &str, mailbox: &str) -> (Flight, bool) {
    let settings = hub.faults.settings();
    let (one, over) = hub.throttle.enter(app, mailbox, settings.concurrency);
    let (all, over_all) = hub.throttle.enter(app, "*", settings.app_concurrency);
    ((one, all), over || over_all)
}

fn broken() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, "broken off on purpose")
}

async fn read(body: Incoming) -> Result<Bytes, io::Error> {
    let limited = http_body_util::Limited::new(body, MOST_READ);
    Ok(limited.collect().await.map_err(io::Error::other)?.to_bytes())
}

/// A request from its head to its answer.
async fn take(hub: &Arc<Hub>, request: Request<Incoming>, upload: bool) -> Result<Response<Out>, io::Error> {
    let (parts, body) = request.into_parts();
    let host = parts
        .headers
        .get("host")
        .and_then(|h| h.to_str().ok())
        .map(str::to_owned);
    let host = host
        .or_else(|| parts.uri.authority().map(ToString::to_string))
        .unwrap_or_default();
    let target = parts.uri.path_and_query().map_or("/", |p| p.as_str()).to_owned();
    let mut asked = Asked {
        method: parts.method,
        target,
        headers: parts.headers,
        body: Bytes::new(),
        origin: format!("https://{host}"),
        batched: false,
    };
    let side = if upload {
        Host::Upload
    } else if entra::owns(&asked.parts()) {
        Host::Entra
    } else {
        Host::Graph
    };
    let asker = asker(hub, &asked, side);
    // Counted from the head on, as long as the body is on its way too.
    let flight = asker.as_ref().map(|(app, mailbox)| enter(hub, app, mailbox));
    asked.body = read(body).await?;
    let note = note(
        hub,
        &asked,
        side,
        asker.map(|(_, m)| m),
        parts.version == Version::HTTP_2,
    );
    hub.throttle.came(&line(&asked));
    let latency = hub.faults.settings().latency;
    if side != Host::Entra && !latency.is_zero() {
        tokio::time::sleep(latency).await;
    }
    hub.faults.pass(&line(&asked)).await;
    let (flight, over) = flight.map_or((None, false), |(flight, over)| (Some(flight), over));
    let answer = if over {
        Some(throttled(hub))
    } else {
        done(hub, &asked, side)
    };
    let Some(answer) = answer else {
        return Err(broken());
    };
    note.status(answer.status);
    remember_wait(hub, &asked, &answer);
    Ok(respond(hub, answer, flight, note))
}

/// The application and the mailbox that a request counts for.
fn asker(hub: &Hub, asked: &Asked, side: Host) -> Option<(String, String)> {
    let world = hub.world.lock();
    match side {
        Host::Entra => None,
        Host::Upload => world
            .uploads
            .get(&asked.target)
            .map(|u| (u.app.clone(), u.mailbox.to_lowercase())),
        Host::Graph => {
            let token = graph::bearer(&world, asked).ok()?;
            let user = graph::user_of(&asked.parts(), &token)?;
            let mailbox = world
                .mailboxes
                .iter()
                .find(|m| m.address.eq_ignore_ascii_case(&user) || m.guid == user)?;
            Some((token.app, mailbox.address.to_lowercase()))
        }
    }
}

fn note(hub: &Hub, asked: &Asked, host: Host, mailbox: Option<String>, http2: bool) -> Note {
    let bearer = asked
        .header("authorization")
        .map(|_| graph::bearer(&hub.world.lock(), asked).is_ok());
    hub.log.add(Call {
        host,
        method: asked.method.to_string(),
        target: asked.target.clone(),
        status: 0,
        bytes_in: asked.body.len() as u64,
        bytes_out: 0,
        mailbox,
        bearer,
        prefer: asked.prefer(),
        request_id: asked.header("client-request-id").map(str::to_owned),
        batched: asked.batched,
        http2,
    })
}

/// A request in one line, as switches look for it.
fn line(asked: &Asked) -> String {
    format!("{} {}", asked.method, asked.target)
}

/// Who is told to wait should wait.
fn remember_wait(hub: &Hub, asked: &Asked, answer: &Answer) {
    let told = answer.headers.iter().find(|(name, _)| *name == "retry-after");
    if let Some(seconds) = told.and_then(|(_, value)| value.parse().ok()) {
        hub.throttle.wait(&line(asked), seconds);
    }
}

fn throttled(hub: &Hub) -> Answer {
    let answer = Answer::error(
        429,
        "ApplicationThrottled",
        "Application is over its MailboxConcurrency limit.",
    );
    waiting(hub, answer)
}

fn waiting(hub: &Hub, answer: Answer) -> Answer {
    match hub.faults.settings().retry_after {
        Some(value) => answer.with("retry-after", &value),
        None => answer,
    }
}

fn failure(hub: &Hub, status: u16) -> Answer {
    match status {
        429 => waiting(
            hub,
            Answer::error(
                429,
                "ApplicationThrottled",
                "Application is over its MailboxConcurrency limit.",
            ),
        ),
        503 => waiting(
            hub,
            Answer::error(
                503,
                "serviceNotAvailable",
                "The service is temporarily unavailable.",
            ),
        ),
        504 => {
            let mut answer = Answer::empty(504);
            answer.body = Body::Text(
                "<html><body>Gateway Timeout</body></html>".to_owned(),
                "text/html",
            );
            answer
        }
        401 => Answer::error(
            401,
            "InvalidAuthenticationToken",
            "Lifetime validation failed, the token is expired.",
        ),
        403 => graph::denied(),
        404 => graph::not_found(),
        507 => Answer::error(507, "ErrorQuotaExceeded", "The mailbox is full."),
        _ => Answer::error(status, "UnknownError", "Something went wrong."),
    }
}

/// Judges and does what is asked, faults included; nothing if the connection must break.
fn done(hub: &Hub, asked: &Asked, side: Host) -> Option<Answer> {
    let line = line(asked);
    match hub.faults.must_fail(&line) {
        Some(0) => return None,
        Some(status) => return Some(failure(hub, status)),
        None => {}
    }
    let reads_json = asked.method == Method::GET && !asked.path().ends_with("/$value");
    let fault = if side == Host::Entra {
        None
    } else {
        hub.faults.draw(reads_json)
    };
    match fault {
        Some(Fault::TooMany) => return Some(failure(hub, 429)),
        Some(Fault::Unavailable) => return Some(failure(hub, 503)),
        Some(Fault::GatewayTimeout) => return Some(failure(hub, 504)),
        // Within a batch no connection can break.
        Some(Fault::Reset) if asked.batched => return Some(failure(hub, 503)),
        Some(Fault::Reset) => return None,
        _ => {}
    }
    let answer = answered(hub, asked, side);
    if hub.faults.must_lose(&line) || (fault == Some(Fault::LostReply) && !asked.batched) {
        return None;
    }
    Some(match (fault, &answer.body) {
        (Some(Fault::TruncatedJson), Body::Json(value)) if answer.status == 200 => {
            let text = value.to_string();
            let half = (0..=text.len() / 2)
                .rev()
                .find(|n| text.is_char_boundary(*n))
                .unwrap_or(0);
            let body = Body::Text(text[..half].to_owned(), "application/json");
            Answer { body, ..answer }
        }
        (Some(Fault::EmbeddedError), Body::Json(_)) if answer.status == 200 => {
            let error = Answer::error(
                200,
                "UnknownError",
                "The request failed though its status is 200.",
            );
            Answer {
                body: error.body,
                ..answer
            }
        }
        _ => answer,
    })
}

/// Does what is asked.
fn answered(hub: &Hub, asked: &Asked, side: Host) -> Answer {
    let settings = hub.faults.settings();
    let mut world = hub.world.lock();
    match side {
        Host::Entra => return entra::answer(&mut world, &settings, asked),
        Host::Upload => return uploads::answer(&mut world, &settings, asked),
        Host::Graph => {}
    }
    let token = match graph::bearer(&world, asked) {
        Ok(token) => token,
        Err(refused) => return refused,
    };
    if asked.path() == "/v1.0/$batch" {
        drop(world);
        return batched(hub, asked);
    }
    let host = if asked.origin.ends_with(".standin.test") || asked.origin.contains(".standin.test:") {
        "outlook.standin.test"
    } else {
        "127.0.0.1"
    };
    let uploads = format!("https://{host}:{}", hub.uploads);
    graph::answer(&mut world, &settings, asked, &uploads, &token)
}

/// Answers a batch: each request by itself.
fn batched(hub: &Hub, asked: &Asked) -> Answer {
    let all = match asked.method {
        Method::POST => batch::read(asked),
        _ => Err(Answer::error(
            405,
            "BadRequest",
            "The HTTP method is not allowed here.",
        )),
    };
    let all = match all {
        Ok(all) => all,
        Err(refused) => return refused,
    };
    let mut answers = BTreeMap::new();
    for one in all {
        let asker = asker(hub, &one.asked, Host::Graph);
        let flight = asker.as_ref().map(|(app, mailbox)| enter(hub, app, mailbox));
        let note = note(hub, &one.asked, Host::Graph, asker.map(|(_, m)| m), false);
        hub.throttle.came(&line(&one.asked));
        let answer = if flight.as_ref().is_some_and(|(_, over)| *over) {
            throttled(hub)
        } else if batch::blocked(&one, &answers) {
            Answer::error(
                424,
                "FailedDependency",
                "A request that this one depends on has failed.",
            )
        } else {
            done(hub, &one.asked, Host::Graph).unwrap_or_else(|| failure(hub, 503))
        };
        note.status(answer.status);
        remember_wait(hub, &one.asked, &answer);
        answers.insert(one.id, answer);
    }
    batch::show(&answers)
}

/// Puts an answer on the wire.
fn respond(hub: &Hub, answer: Answer, flight: Option<Flight>, note: Note) -> Response<Out> {
    let mut response = Response::builder()
        .status(answer.code())
        .header("request-id", crate::mailbox::guid(1))
        .header("cache-control", "private");
    for (name, value) in &answer.headers {
        response = response.header(*name, value);
    }
    let (bytes, kind) = match answer.body {
        Body::Empty => (Bytes::new(), None),
        Body::Json(value) => {
            let kind = "application/json;odata.metadata=minimal;charset=utf-8";
            (Bytes::from(value.to_string()), Some(kind))
        }
        Body::Text(text, kind) => (Bytes::from(text), Some(kind)),
        Body::Content(content, kind) => {
            let kind = http::HeaderValue::try_from(kind).ok();
            if let Some(kind) = kind {
                response = response.header("content-type", kind);
            }
            if !hub.faults.settings().no_content_length {
                response = response.header("content-length", content.len());
            }
            let body = download(content, hub.faults.must_cut(), flight, note);
            return response.body(body).expect("an answer");
        }
    };
    if let Some(kind) = kind {
        response = response.header("content-type", kind);
    }
    note.sent(bytes.len() as u64);
    drop(flight);
    response
        .body(Full::new(bytes).map_err(|never| match never {}).boxed_unsync())
        .expect("an answer")
}

/// The bytes of a download, piece by piece; broken off after `cut` bytes.
fn download(content: Content, cut: Option<u64>, flight: Option<Flight>, note: Note) -> Out {
    let flight = flight.filter(|_| !content.is_empty());
    let pieces = futures::stream::unfold((0u64, flight), move |(at, flight)| {
        let (content, note) = (content.clone(), note.clone());
        async move {
            if cut.is_some_and(|cut| at >= cut) {
                // A reset takes what is still queued with it; what was sent should arrive first.
                tokio::time::sleep(Duration::from_millis(100)).await;
                return Some((Err(broken()), (u64::MAX, None)));
            }
            let most = cut.map_or(PIECE, |cut| usize::try_from(cut - at).unwrap_or(PIECE).min(PIECE));
            let piece = content.piece(at, most);
            if piece.is_empty() {
                return None;
            }
            let at = at + piece.len() as u64;
            note.sent(piece.len() as u64);
            let flight = flight.filter(|_| at < content.len());
            Some((Ok(Frame::data(piece)), (at, flight)))
        }
    });
    StreamBody::new(pieces.boxed()).boxed_unsync()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_last_piece_is_in_flight_no_more() {
        let throttle = Arc::new(Throttle::default());
        let flight = || (throttle.enter("app", "box", 4).0, throttle.enter("app", "*", 4).0);
        let note = Note::default();
        let content = Content::Generated {
            size: PIECE as u64 + 1,
            seed: 1,
        };
        let mut body = download(content, None, Some(flight()), note.clone());
        assert_eq!(throttle.now("box"), 1);
        let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!((first.len(), throttle.now("box")), (PIECE, 1));
        let last = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(
            (last.len(), throttle.now("box")),
            (1, 0),
            "let go before the last byte is sent"
        );
        let _nothing = download(Content::from(""), None, Some(flight()), note);
        assert_eq!(throttle.now("box"), 0);
    }
}
