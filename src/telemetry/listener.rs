//! Numbers over HTTP/1.1: `/metrics`, and `/healthz` and `/readyz` for whoever starts and stops servers.
//!
//! No secret is here, so nobody is asked who they are; what a stranger can cost is bounded instead: connections, bytes of a
//! request, time.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{ACCEPT, ALLOW, CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::Scrape;
use crate::metrics::Format;

/// Connections served at once; more wait in the system's queue.
const CONNECTIONS: usize = 16;

/// How long a request may take, from the connection to the last byte of the reply.
const LIMIT: Duration = Duration::from_secs(15);

/// How long to wait after a connection could not be accepted: out of file descriptors, most likely.
const PAUSE: Duration = Duration::from_millis(100);

/// Bytes a request may have.
const REQUEST_BYTES: usize = 16 * 1024;

/// Listens; serves once [`MetricsListener::serve`] runs.
pub struct MetricsListener {
    listener: TcpListener,
    address: SocketAddr,
    scrape: Scrape,
}

impl MetricsListener {
    /// Listens at an address; port 0 lets the system choose.
    ///
    /// # Errors
    /// When it cannot be listened on.
    pub async fn bind(address: SocketAddr, scrape: Scrape) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address, scrape })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop`. Once `draining` is cancelled, it says that it is not ready.
    pub async fn serve(self, draining: CancellationToken, stop: CancellationToken) {
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        let site = Arc::new(Site { scrape: self.scrape, draining });
        let accept = async {
            loop {
                let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
                match self.listener.accept().await {
                    Ok((stream, _)) => {
                        let (site, stop) = (Arc::clone(&site), stop.clone());
                        tokio::spawn(async move {
                            stop.run_until_cancelled(timeout(LIMIT, converse(stream, site))).await;
                            drop(place);
                        });
                    }
                    Err(error) => {
                        tracing::warn!(%error, "a connection for metrics cannot be accepted");
                        tokio::time::sleep(PAUSE).await;
                    }
                }
            }
        };
        stop.run_until_cancelled(accept).await;
    }
}

/// One request and its reply.
async fn converse(stream: TcpStream, site: Arc<Site>) {
    let answer = service_fn(|request| {
        let site = Arc::clone(&site);
        async move { Ok::<_, Infallible>(site.answer(&request).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(LIMIT)
        .max_buf_size(REQUEST_BYTES)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), answer)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection for metrics broke");
    }
}

struct Site {
    scrape: Scrape,
    draining: CancellationToken,
}

impl Site {
    async fn answer(&self, request: &Request<Incoming>) -> Response<String> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut refused = words(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD");
            refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return refused;
        }
        match request.uri().path() {
            "/metrics" => {
                let accept = request.headers().get(ACCEPT).and_then(|accept| accept.to_str().ok());
                let format = Format::asked_for(accept.unwrap_or_default());
                reply(StatusCode::OK, format.media_type(), self.scrape.page(format).await)
            }
            "/healthz" => words(StatusCode::OK, "alive"),
            "/readyz" if self.draining.is_cancelled() => words(StatusCode::SERVICE_UNAVAILABLE, "stopping"),
            "/readyz" if self.scrape.is_ready().await => words(StatusCode::OK, "ready"),
            "/readyz" => words(StatusCode::SERVICE_UNAVAILABLE, "the store cannot be read"),
            _ => words(StatusCode::NOT_FOUND, "there are /metrics, /healthz and /readyz"),
        }
    }
}

fn words(status: StatusCode, words: &str) -> Response<String> {
    reply(status, "text/plain; charset=utf-8", format!("{words}\n"))
}

fn reply(status: StatusCode, media_type: &'static str, body: String) -> Response<String> {
    let mut reply = Response::new(body);
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    reply
}
