//! What can be counted is counted, and shown to whoever asks.

mod counting;
mod serving;

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use mayfly::{
    clock::Clock,
    store::Store,
    telemetry::{MetricsListener, Scrape},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::support::world::World;

/// A world whose numbers are served.
struct Shown {
    world: World,
    address: SocketAddr,
    draining: CancellationToken,
    _stop: DropGuard,
}

impl Shown {
    async fn of(world: World) -> Self {
        let scrape = Scrape {
            clock: Arc::clone(&world.clock) as Arc<dyn Clock>,
            metrics: Arc::clone(&world.metrics),
            store: Arc::clone(&world.store) as Arc<dyn Store>,
            catalogue: Arc::clone(&world.catalogue),
            health: Arc::clone(&world.health),
            issuer: Arc::clone(&world.issuer),
            audit_file: None,
        };
        let listener = MetricsListener::bind("127.0.0.1:0".parse().unwrap(), scrape).await.unwrap();
        let (address, draining, stop) =
            (listener.address(), CancellationToken::new(), CancellationToken::new());
        tokio::spawn(listener.serve(draining.clone(), stop.clone()));
        Self { world, address, draining, _stop: stop.drop_guard() }
    }

    /// The page, as samples with their values.
    async fn samples(&self) -> BTreeMap<String, f64> {
        samples(&get(self.address, "/metrics", "").await.body)
    }
}

/// The samples of a page with their values.
pub(crate) fn samples(page: &str) -> BTreeMap<String, f64> {
    let lines = page.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').unwrap();
            (name.to_owned(), value.parse().unwrap())
        })
        .collect()
}

/// A reply.
pub(crate) struct Reply {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: String,
}

/// Asks for a path, with further header lines.
pub(crate) async fn get(address: SocketAddr, path: &str, headers: &str) -> Reply {
    ask(address, &format!("GET {path} HTTP/1.1\r\nHost: mayfly\r\n{headers}\r\n")).await
}

/// Sends a request as it is and reads all of the reply.
async fn ask(address: SocketAddr, request: &str) -> Reply {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{text:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Reply { status, head: head.to_lowercase(), body: body.to_owned() }
}
