//! An HTTP server that hands out keys, as badly as it is told to.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpListener,
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;

use super::TestCertificates;

/// How it answers.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    /// With this text.
    Text(String),
    /// With a status, and somewhere else to go.
    Redirect(String),
    /// With a body that has no end.
    Endless,
    /// Not at all: the connection closes.
    Nothing,
}

/// The server. It is gone when this value is.
pub(crate) struct KeyServer {
    pub(crate) address: SocketAddr,
    answer: Arc<Mutex<Answer>>,
    asked: Arc<AtomicUsize>,
    serving: JoinHandle<()>,
}

impl Drop for KeyServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl KeyServer {
    /// In clear text, or with a certificate.
    pub(crate) async fn start(answer: Answer, certificates: Option<&TestCertificates>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (answer, asked) = (Arc::new(Mutex::new(answer)), Arc::new(AtomicUsize::new(0)));
        let tls = certificates.map(acceptor);
        let (answers, count) = (Arc::clone(&answer), Arc::clone(&asked));
        let serving = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (tls, answers, count) = (tls.clone(), Arc::clone(&answers), Arc::clone(&count));
                tokio::spawn(async move {
                    match tls {
                        None => converse(stream, &answers, &count).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                converse(stream, &answers, &count).await;
                            }
                        }
                    }
                });
            }
        });
        Self { address, answer, asked, serving }
    }

    /// How it answers from now on.
    pub(crate) fn answer(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }

    /// How often it was asked.
    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

fn acceptor(certificates: &TestCertificates) -> TlsAcceptor {
    let chain = CertificateDer::pem_file_iter(certificates.file("server.crt")).unwrap();
    let key = PrivateKeyDer::from_pem_file(certificates.file("server.key")).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain.map(Result::unwrap).collect(), key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

async fn converse<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    answers: &Mutex<Answer>,
    count: &AtomicUsize,
) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else { return };
        request.push(byte);
    }
    count.fetch_add(1, Ordering::SeqCst);
    let answer = answers.lock().unwrap().clone();
    let head = |status: &str, more: &str| format!("HTTP/1.1 {status}\r\nConnection: close\r\n{more}\r\n");
    // Whoever asked may have hung up.
    let _ = match answer {
        Answer::Text(text) => stream.write_all(format!("{}{text}", head("200 OK", "")).as_bytes()).await,
        Answer::Redirect(to) => {
            let head = head("302 Found", &format!("Location: {to}\r\nContent-Length: 0\r\n"));
            stream.write_all(head.as_bytes()).await
        }
        Answer::Endless => {
            let mut written = stream.write_all(head("200 OK", "").as_bytes()).await;
            while written.is_ok() {
                written = stream.write_all(&[b' '; 8_192]).await;
            }
            written
        }
        Answer::Nothing => Ok(()),
    };
    let _ = stream.shutdown().await;
}
