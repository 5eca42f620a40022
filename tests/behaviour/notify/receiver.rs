//! A real HTTP receiver, in clear text or in TLS, that does what a test tells it.

use std::{
    collections::BTreeMap,
    future::pending,
    net::SocketAddr,
    sync::{Arc, Mutex},
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

use crate::support::TestCertificates;

/// What was posted.
#[derive(Debug, Clone)]
pub(crate) struct Post {
    pub(crate) path: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

impl Post {
    pub(crate) fn id(&self) -> &str {
        &self.headers["webhook-id"]
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// What the receiver does with a post.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    Status(u16),
    With(u16, String),
    /// Takes it, and never answers.
    Hang,
    /// Takes it, and breaks the connection.
    Break,
}

type Rule = dyn Fn(&Post, usize) -> Answer + Send + Sync;

/// A receiver on a free port.
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    posts: Arc<Mutex<Vec<Post>>>,
    rule: Arc<Mutex<Arc<Rule>>>,
    serving: JoinHandle<()>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Receiver {
    pub(crate) async fn open() -> Self {
        Self::with(None).await
    }

    pub(crate) async fn in_tls(certificates: &TestCertificates) -> Self {
        Self::with(Some(acceptor(certificates))).await
    }

    async fn with(tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let posts: Arc<Mutex<Vec<Post>>> = Arc::default();
        let accepts: Arc<Rule> = Arc::new(|_, _| Answer::Status(204));
        let rule = Arc::new(Mutex::new(accepts));
        let (kept, asked) = (Arc::clone(&posts), Arc::clone(&rule));
        let serving = tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { return };
                let (tls, kept, asked) = (tls.clone(), Arc::clone(&kept), Arc::clone(&asked));
                tokio::spawn(async move {
                    match tls {
                        None => serve(stream, &kept, &asked).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(stream, &kept, &asked).await
                            } else {
                                None
                            }
                        }
                    }
                });
            }
        });
        Self { address, posts, rule, serving }
    }

    /// Does this from now on; told are the post and how many there were before it.
    pub(crate) fn does(&self, rule: impl Fn(&Post, usize) -> Answer + Send + Sync + 'static) {
        *self.rule.lock().unwrap() = Arc::new(rule);
    }

    pub(crate) fn posts(&self) -> Vec<Post> {
        self.posts.lock().unwrap().clone()
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/hook/T0P-SECRET", self.address)
    }
}

/// TLS as a server shows it.
pub(crate) fn acceptor(certificates: &TestCertificates) -> TlsAcceptor {
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

async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    posts: &Mutex<Vec<Post>>,
    rule: &Mutex<Arc<Rule>>,
) -> Option<()> {
    loop {
        let post = read(&mut stream).await?;
        let (rule, before) = (Arc::clone(&rule.lock().unwrap()), posts.lock().unwrap().len());
        let answer = rule(&post, before);
        posts.lock().unwrap().push(post);
        let (status, headers) = match answer {
            Answer::Status(status) => (status, String::new()),
            Answer::With(status, header) => (status, format!("{header}\r\n")),
            Answer::Hang => pending().await,
            Answer::Break => return None,
        };
        let reply = format!("HTTP/1.1 {status} x\r\n{headers}content-length: 0\r\n\r\n");
        stream.write_all(reply.as_bytes()).await.ok()?;
        stream.flush().await.ok()?;
    }
}

async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Option<Post> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap();
    let mut lines = head.trim_end().split("\r\n");
    let path = lines.next()?.split(' ').nth(1)?.to_owned();
    let headers: BTreeMap<_, _> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let mut body = vec![0; headers.get("content-length")?.parse().ok()?];
    stream.read_exact(&mut body).await.ok()?;
    Some(Post { path, headers, body: String::from_utf8(body).unwrap() })
}
