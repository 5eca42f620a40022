//! Accepting connections: at most so many, each shaking hands on its own, so that a slow or broken client holds up nobody.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use rustls::pki_types::CertificateDer;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use super::{
    connection::{Connection, Peer, Transport},
    tls::TlsHandle,
};
use crate::identity::certificate::ClientCertificate;

/// Connections at once, those still shaking hands included. Further ones are closed.
const CONNECTIONS: usize = 1_024;

/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// How long to wait when the system has no descriptors or memory for another connection.
const EXHAUSTED: Duration = Duration::from_millis(100);

/// Connections ready to be served.
pub(super) type Incoming = ReceiverStream<Result<Connection, Infallible>>;

struct Accepting {
    tls: Option<TlsHandle>,
    slots: Arc<Semaphore>,
    ready: mpsc::Sender<Result<Connection, Infallible>>,
    cut: CancellationToken,
}

/// Accepts until what it returns is dropped. `cut` ends all connections at once.
pub(super) fn accept(listener: TcpListener, tls: Option<TlsHandle>, cut: CancellationToken) -> Incoming {
    let (ready, incoming) = mpsc::channel(64);
    let accepting = Accepting { tls, slots: Arc::new(Semaphore::new(CONNECTIONS)), ready, cut };
    tokio::spawn(accepting.run(listener));
    ReceiverStream::new(incoming)
}

impl Accepting {
    async fn run(self, listener: TcpListener) {
        loop {
            let accepted = tokio::select! {
                () = self.ready.closed() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, address)) => self.welcome(stream, address),
                Err(error) => self.recover(&error).await,
            }
        }
    }

    fn welcome(&self, stream: TcpStream, address: SocketAddr) {
        let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() else {
            tracing::warn!(%address, "closed: {CONNECTIONS} connections are open already");
            return;
        };
        // A reply is small and somebody waits for it.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%address, %error, "no TCP_NODELAY");
        }
        let (tls, ready, cut) = (self.tls.clone(), self.ready.clone(), self.cut.clone());
        tokio::spawn(async move {
            if let Some(connection) = shake_hands(stream, address, tls, (slot, cut)).await {
                // Nobody receives any more once the server goes down; the connection closes then.
                let _ = ready.send(Ok(connection)).await;
            }
        });
    }

    async fn recover(&self, error: &io::Error) {
        // What concerns one connection only says nothing about the next.
        let one = [
            io::ErrorKind::ConnectionAborted,
            io::ErrorKind::ConnectionReset,
            io::ErrorKind::ConnectionRefused,
            io::ErrorKind::Interrupted,
        ];
        if one.contains(&error.kind()) {
            return;
        }
        tracing::warn!(%error, "a connection could not be accepted");
        tokio::time::sleep(EXHAUSTED).await;
    }
}

async fn shake_hands(
    stream: TcpStream,
    address: SocketAddr,
    tls: Option<TlsHandle>,
    (slot, cut): (OwnedSemaphorePermit, CancellationToken),
) -> Option<Connection> {
    let transport = match tls {
        None => Transport::Clear(stream),
        Some(tls) => match timeout(HANDSHAKE, tls.accept(stream)).await {
            Ok(Ok(stream)) => Transport::Tls(Box::new(stream)),
            Ok(Err(error)) => {
                tracing::debug!(%address, %error, "no TLS with this client");
                return None;
            }
            Err(_) => {
                tracing::debug!(%address, "the TLS handshake took too long");
                return None;
            }
        },
    };
    let certificate = shown(&transport).and_then(|der| ClientCertificate::read(der)).map(Arc::new);
    Some(Connection::new(transport, Peer { address, certificate }, slot, cut))
}

/// The certificate a client showed. TLS refuses those that no authority for clients signed.
fn shown(transport: &Transport) -> Option<&CertificateDer<'static>> {
    match transport {
        Transport::Clear(_) => None,
        Transport::Tls(stream) => stream.get_ref().1.peer_certificates()?.first(),
    }
}
