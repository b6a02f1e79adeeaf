//! `/healthz`, `/readyz` and `/metrics` on an address of their own: plain HTTP, no sign-in, nothing else.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::Value as Json;
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::sync::CancellationToken;

/// Probes at once: these are few and quick, and nobody may use them to fill the memory.
const AT_ONCE: usize = 64;
/// How long a probe may take to ask.
const HEADER: Duration = Duration::from_secs(5);
/// How long one connection may live.
const LIFE: Duration = Duration::from_secs(60);

/// What the probes ask.
pub trait Subject: Send + Sync {
    /// Whether the server is ready, and why (not).
    fn readiness(&self) -> (bool, Json);
    /// Sets the gauges that nobody else keeps, before they are read.
    fn freshen(&self);
}

/// The probes at work; dropped, they end.
pub struct Probes {
    /// Where they answer.
    pub address: SocketAddr,
    /// Where they were asked to (port 0 is any).
    pub asked: SocketAddr,
    stop: CancellationToken,
}

impl Probes {
    /// Answers on `address`.
    ///
    /// # Errors
    /// The address cannot be bound.
    pub async fn start(address: SocketAddr, subject: impl Subject + 'static) -> io::Result<Self> {
        let asked = address;
        let subject: Arc<dyn Subject> = Arc::new(subject);
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let stop = CancellationToken::new();
        tokio::spawn(
            stop.clone()
                .run_until_cancelled_owned(answer_all(listener, subject)),
        );
        tracing::info!(%address, "probes and metrics");
        Ok(Self { address, asked, stop })
    }
}

impl Drop for Probes {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn answer_all(listener: TcpListener, subject: Arc<dyn Subject>) {
    let room = Arc::new(Semaphore::new(AT_ONCE));
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else {
            return;
        };
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let subject = Arc::clone(&subject);
        tokio::spawn(async move {
            let _permit = permit;
            let service = service_fn(move |request: Request<Incoming>| {
                let response = answer(request.method(), request.uri().path(), &*subject);
                async move { Ok::<_, Infallible>(response) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER)
                .max_headers(64)
                .serve_connection(TokioIo::new(stream), service);
            let _ = tokio::time::timeout(LIFE, connection).await;
        });
    }
}

fn answer(method: &Method, path: &str, subject: &dyn Subject) -> Response<Full<Bytes>> {
    if method != Method::GET && method != Method::HEAD {
        return respond(
            StatusCode::METHOD_NOT_ALLOWED,
            "text/plain",
            "only GET\n".to_owned(),
        );
    }
    match path {
        "/healthz" => respond(StatusCode::OK, "text/plain", "ok\n".to_owned()),
        "/readyz" => {
            let (ready, why) = subject.readiness();
            let status = if ready {
                StatusCode::OK
            } else {
                StatusCode::SERVICE_UNAVAILABLE
            };
            respond(status, "application/json", format!("{why}\n"))
        }
        "/metrics" => {
            subject.freshen();
            respond(
                StatusCode::OK,
                "text/plain; version=0.0.4; charset=utf-8",
                super::metrics::render(),
            )
        }
        _ => respond(
            StatusCode::NOT_FOUND,
            "text/plain",
            "there are /healthz, /readyz and /metrics\n".to_owned(),
        ),
    }
}

fn respond(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    response.headers_mut().insert(
        header::CACHE_CONTROL,
        header::HeaderValue::from_static("no-store"),
    );
    response
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpStream,
    };

    use super::*;

    struct Fixed(bool);

    impl Subject for Fixed {
        fn readiness(&self) -> (bool, Json) {
            (self.0, serde_json::json!({ "ready": self.0 }))
        }

        fn freshen(&self) {
            metrics::gauge!("portreeve_ready").set(1.0);
        }
    }

    async fn get(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn the_three_paths_answer() {
        super::super::metrics::begin();
        for (ready, status) in [(true, "HTTP/1.1 200"), (false, "HTTP/1.1 503")] {
            let probes = Probes::start(([127, 0, 0, 1], 0).into(), Fixed(ready))
                .await
                .unwrap();
            let answer = get(probes.address, "/readyz").await;
            assert!(
                answer.starts_with(status) && answer.contains(&format!("\"ready\":{ready}")),
                "{answer}"
            );
            assert!(get(probes.address, "/healthz").await.ends_with("ok\n"));
            assert!(
                get(probes.address, "/metrics")
                    .await
                    .contains("portreeve_ready 1")
            );
            assert!(get(probes.address, "/").await.starts_with("HTTP/1.1 404"));
        }
    }
}
