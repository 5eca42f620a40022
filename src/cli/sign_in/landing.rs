//! Where the browser lands when the provider sends it back: a port of this machine that waits for one request, that of the
//! sign-in under way, and answers anything else with nothing.

use std::{net::Ipv4Addr, sync::Arc, time::Duration};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use reqwest::Url;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc},
    task::JoinSet,
    time::timeout,
};

use crate::cli::CliError;

/// Bytes of a request's head; codes of providers have a few thousand at most.
const REQUEST_LIMIT: usize = 32 * 1024;

/// How long a request may take. Browsers open connections in advance, and say nothing on them.
const PATIENCE: Duration = Duration::from_secs(10);

/// Connections at once.
const CONNECTIONS: usize = 32;

/// What a page may do: nothing.
const HEADERS: &str = "Content-Type: text/html; charset=utf-8\r\nCache-Control: no-store\r\nReferrer-Policy: no-referrer\r\n\
                       Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'\r\n\
                       X-Content-Type-Options: nosniff\r\nConnection: close\r\n";

/// The place.
pub(super) struct Landing {
    listener: TcpListener,
    port: u16,
}

/// What the browser came back with.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Back {
    pub(super) code: String,
    pub(super) issuer: String,
    pub(super) error: String,
}

/// What becomes of a request.
#[derive(Debug, PartialEq, Eq)]
enum Judged {
    /// It is the one.
    Back(Back),
    /// It is something else, and answered with this.
    Other(&'static str, &'static str),
}

impl Landing {
    /// Listens, at any port unless the provider knows only one.
    pub(super) async fn open(port: Option<u16>) -> Result<Self, CliError> {
        let failed = |error: std::io::Error| {
            let which = port.map_or_else(String::new, |port| format!(" at port {port}"));
            CliError::local(format!("cannot listen for the browser{which}"), &error)
                .hint("mayfly login --device needs no port")
        };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port.unwrap_or(0))).await.map_err(failed)?;
        let port = listener.local_addr().map_err(failed)?.port();
        Ok(Self { listener, port })
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Waits for the one request. Others, of whatever runs on this machine, change nothing.
    pub(super) async fn wait(self, state: &str) -> Result<Back, CliError> {
        let (told, mut back) = mpsc::channel(1);
        let (places, mut serving) = (Arc::new(Semaphore::new(CONNECTIONS)), JoinSet::new());
        loop {
            tokio::select! {
                Some(back) = back.recv() => return Ok(back),
                Some(_) = serving.join_next() => {}
                accepted = self.listener.accept(), if places.available_permits() > 0 => {
                    let (stream, _) = accepted
                        .map_err(|error| CliError::local("cannot wait for the browser", &error))?;
                    let (told, state) = (told.clone(), state.to_owned());
                    let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
                    serving.spawn(async move {
                        if let Ok(Some(back)) = timeout(PATIENCE, converse(stream, &state)).await {
                            // A second one finds the first has been taken.
                            let _ = told.try_send(back);
                        }
                        drop(place);
                    });
                }
            }
        }
    }
}

/// Reads a request and answers it. The browser has its page before anything else happens.
async fn converse(mut stream: TcpStream, state: &str) -> Option<Back> {
    let head = head(&mut stream).await?;
    let (status, words, back) = match judge(&head, state) {
        Judged::Back(back) => (
            "200 OK",
            "Back to the terminal, which says how the sign-in went. You may close this.",
            Some(back),
        ),
        Judged::Other(status, words) => (status, words, None),
    };
    let page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Mayfly</title>\
         <body style=\"font-family: sans-serif; margin: 4em\"><p>{words}</p></body></html>"
    );
    let reply = format!("HTTP/1.1 {status}\r\n{HEADERS}Content-Length: {}\r\n\r\n{page}", page.len());
    // Whoever asked may have gone; what came back is what counts.
    let _ = stream.write_all(reply.as_bytes()).await;
    let _ = stream.shutdown().await;
    back
}

/// The head of a request, as far as it is text and not too long.
async fn head(stream: &mut TcpStream) -> Option<String> {
    let (mut head, mut part) = (Vec::new(), [0; 4096]);
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let length = stream.read(&mut part).await.ok().filter(|length| *length > 0)?;
        head.extend_from_slice(part.get(..length)?);
        if head.len() > REQUEST_LIMIT {
            return None;
        }
    }
    String::from_utf8(head).ok()
}

fn judge(head: &str, state: &str) -> Judged {
    let mut words = head.lines().next().unwrap_or_default().split(' ');
    let (Some(method), Some(target), Some("HTTP/1.1" | "HTTP/1.0"), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Judged::Other("400 Bad Request", "This is no request.");
    };
    if method != "GET" {
        return Judged::Other("405 Method Not Allowed", "Browsers come here with GET.");
    }
    let nothing = Judged::Other("404 Not Found", "There is nothing here.");
    if !target.starts_with("/callback?") {
        return nothing;
    }
    let Ok(url) = Url::parse(&format!("http://127.0.0.1{target}")) else { return nothing };
    let value = |wanted: &str| {
        let mut values = url.query_pairs().filter(|(name, _)| name == wanted).map(|(_, value)| value);
        // Said twice, it is not clear what is meant.
        let value = values.next().unwrap_or_default().into_owned();
        if values.next().is_some() { String::new() } else { value }
    };
    if verify_slices_are_equal(value("state").as_bytes(), state.as_bytes()).is_err() {
        return Judged::Other("400 Bad Request", "This is not the sign-in that was begun here.");
    }
    let back = Back { code: value("code"), issuer: value("iss"), error: value("error") };
    if back.code.is_empty() == back.error.is_empty() {
        return Judged::Other("400 Bad Request", "The identity provider sent nothing along.");
    }
    Judged::Back(back)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(target: &str) -> Judged {
        judge(&format!("GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"), "s+t")
    }

    #[test]
    fn what_comes_back_is_read_with_its_state() {
        let back = Judged::Back(Back {
            code: "a b".into(),
            issuer: "https://id.example".into(),
            error: String::new(),
        });
        assert_eq!(judged("/callback?code=a%20b&state=s%2Bt&iss=https%3A%2F%2Fid.example"), back);
        let refused = Judged::Back(Back { error: "access_denied".into(), ..Back::default() });
        assert_eq!(judged("/callback?error=access_denied&error_description=x&state=s%2Bt"), refused);
    }

    #[test]
    fn anything_else_is_answered_and_changes_nothing() {
        for (target, status) in [
            ("/", "404"),
            ("/favicon.ico", "404"),
            ("/callback", "404"),
            ("/callback/../x?code=a&state=s%2Bt", "404"),
            ("//evil.example/callback?code=a&state=s%2Bt", "404"),
            ("http://evil.example/callback?code=a&state=s%2Bt", "404"),
            ("/callback?code=a", "400"),
            ("/callback?code=a&state=other", "400"),
            ("/callback?code=a&state=s%2Bt&state=s%2Bt", "400"),
            ("/callback?state=s%2Bt", "400"),
            ("/callback?code=a&code=b&state=s%2Bt", "400"),
            ("/callback?code=a&error=b&state=s%2Bt", "400"),
        ] {
            match judged(target) {
                Judged::Other(told, _) => assert!(told.starts_with(status), "{target}: {told}"),
                Judged::Back(_) => panic!("{target}"),
            }
        }
        assert!(matches!(judge("POST /callback?code=a&state=s%2Bt HTTP/1.1", "s+t"), Judged::Other(..)));
        assert!(matches!(judge("nonsense", "s+t"), Judged::Other(..)));
    }

    /// What a request is answered with; nothing when the connection is closed without a word.
    async fn ask(port: u16, request: &str) -> String {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer).await;
        answer
    }

    #[tokio::test]
    async fn it_waits_for_the_one_request_whatever_else_comes() {
        let landing = Landing::open(None).await.unwrap();
        let port = landing.port();
        let waiting = tokio::spawn(async move { landing.wait("state").await });
        // Opened in advance, and silent.
        let _silent = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
        let request = |target: &str| format!("GET {target} HTTP/1.1\r\n\r\n");
        assert!(ask(port, &request("/favicon.ico")).await.starts_with("HTTP/1.1 404"));
        assert!(ask(port, &request("/callback?code=evil&state=guess")).await.starts_with("HTTP/1.1 400"));
        assert_eq!(ask(port, &"x".repeat(REQUEST_LIMIT + 5_000)).await, "");
        let page = ask(port, &request("/callback?code=secret-code&state=state")).await;
        assert!(page.starts_with("HTTP/1.1 200") && page.contains("You may close this"), "{page}");
        assert!(!page.contains("secret-code") && page.contains("no-store"), "{page}");
        assert_eq!(waiting.await.unwrap().unwrap().code, "secret-code");
        assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_err(), "it listens no more");
    }
}
