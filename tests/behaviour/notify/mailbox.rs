//! A real mail server, in TLS, with the few verbs that are needed.

use std::{
    future::pending,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use data_encoding::BASE64;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufStream},
    net::TcpListener,
    task::JoinHandle,
};

use super::receiver::acceptor;
use crate::support::TestCertificates;

/// How it is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    StartTls,
    Tls,
    /// It knows no TLS, whoever asks for it.
    Clear,
    /// It takes the connection, and never says a word.
    Mute,
}

/// A mail that was taken.
#[derive(Debug, Clone, Default)]
pub(super) struct Letter {
    pub(super) login: Option<String>,
    pub(super) to: Vec<String>,
    pub(super) text: String,
}

/// A mail server on a free port.
pub(super) struct Mailbox {
    pub(super) address: SocketAddr,
    letters: Arc<Mutex<Vec<Letter>>>,
    serving: JoinHandle<()>,
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Mailbox {
    pub(super) async fn open(way: Way, certificates: &TestCertificates) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let letters: Arc<Mutex<Vec<Letter>>> = Arc::default();
        let (kept, tls) = (Arc::clone(&letters), acceptor(certificates));
        let serving = tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { return };
                let (kept, tls) = (Arc::clone(&kept), tls.clone());
                tokio::spawn(async move {
                    match way {
                        Way::Mute => pending().await,
                        Way::Clear => converse(BufStream::new(stream), true, &kept, false).await.map(drop),
                        Way::Tls => {
                            let stream = tls.accept(stream).await.ok()?;
                            converse(BufStream::new(stream), true, &kept, false).await.map(drop)
                        }
                        Way::StartTls => {
                            let stream = converse(BufStream::new(stream), true, &kept, true).await?;
                            let stream = tls.accept(stream.into_inner()).await.ok()?;
                            converse(BufStream::new(stream), false, &kept, false).await.map(drop)
                        }
                    }
                });
            }
        });
        Self { address, letters, serving }
    }

    pub(super) fn letters(&self) -> Vec<Letter> {
        self.letters.lock().unwrap().clone()
    }
}

/// Speaks until the other side leaves, or begins TLS: then the stream is returned.
async fn converse<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: BufStream<S>,
    greets: bool,
    letters: &Mutex<Vec<Letter>>,
    tls: bool,
) -> Option<BufStream<S>> {
    if greets {
        say(&mut stream, "220 test").await?;
    }
    let mut letter = Letter::default();
    loop {
        let line = hear(&mut stream).await?;
        let verb = line.to_ascii_uppercase();
        let answer = if verb.starts_with("EHLO") {
            if tls { "250-test\r\n250 STARTTLS" } else { "250-test\r\n250 AUTH PLAIN" }
        } else if verb.starts_with("STARTTLS") && tls {
            say(&mut stream, "220 go on").await?;
            return Some(stream);
        } else if let Some(login) = line.strip_prefix("AUTH PLAIN ") {
            let login = String::from_utf8(BASE64.decode(login.as_bytes()).ok()?).ok()?;
            letter.login = Some(login.replace('\0', " ").trim().to_owned());
            "235 welcome"
        } else if verb.starts_with("MAIL FROM") {
            "250 ok"
        } else if let Some(to) = line.strip_prefix("RCPT TO:<") {
            letter.to.push(to.trim_end_matches('>').to_owned());
            "250 ok"
        } else if verb == "DATA" {
            say(&mut stream, "354 go on").await?;
            loop {
                let line = hear(&mut stream).await?;
                if line == "." {
                    break;
                }
                letter.text.push_str(&line);
                letter.text.push('\n');
            }
            letters
                .lock()
                .unwrap()
                .push(Letter { login: letter.login.clone(), ..std::mem::take(&mut letter) });
            "250 taken"
        } else if verb == "QUIT" {
            say(&mut stream, "221 bye").await?;
            return None;
        } else {
            "250 ok"
        };
        say(&mut stream, answer).await?;
    }
}

async fn say<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut BufStream<S>, text: &str) -> Option<()> {
    stream.write_all(format!("{text}\r\n").as_bytes()).await.ok()?;
    stream.flush().await.ok()
}

async fn hear<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut BufStream<S>) -> Option<String> {
    let mut line = String::new();
    let count = stream.read_line(&mut line).await.ok()?;
    (count > 0).then(|| line.trim_end_matches(['\r', '\n']).to_owned())
}
