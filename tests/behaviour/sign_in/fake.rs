//! A provider that answers as it is told to, and keeps what it was asked.

use std::{
    collections::BTreeMap,
    future::pending,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use jiff::Timestamp;
use mayfly::sandbox::LocalIssuer;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// How it answers.
#[derive(Debug, Clone)]
pub(super) enum Reply {
    /// With a status and JSON.
    Json(u16, Value),
    /// With more than anybody should read.
    Huge,
    /// Never.
    Silence,
    /// By breaking the connection.
    Break,
}

/// What it was asked.
#[derive(Debug, Clone)]
pub(super) struct Question {
    pub(super) path: String,
    pub(super) headers: String,
    pub(super) body: String,
}

type Replies = Arc<Mutex<BTreeMap<&'static str, Reply>>>;

/// The provider. It is gone when this value is.
pub(super) struct Fake {
    pub(super) url: String,
    pub(super) issuer: LocalIssuer,
    replies: Replies,
    questions: Arc<Mutex<Vec<Question>>>,
    serving: JoinHandle<()>,
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Fake {
    /// One that describes itself and its keys, and otherwise knows of nothing.
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        let url = format!("http://{address}");
        let issuer = LocalIssuer::generate(&url, "one").unwrap();
        let (replies, questions) = (Replies::default(), Arc::<Mutex<Vec<Question>>>::default());
        let (answers, kept) = (Arc::clone(&replies), Arc::clone(&questions));
        let serving = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(converse(stream, Arc::clone(&answers), Arc::clone(&kept)));
            }
        });
        let fake = Self { url, issuer, replies, questions, serving };
        fake.describes(&json!({}));
        fake.says("/keys", Reply::Json(200, serde_json::from_str(&fake.issuer.key_set()).unwrap()));
        fake
    }

    /// Answers at a path like this from now on.
    pub(super) fn says(&self, path: &'static str, reply: Reply) {
        self.replies.lock().unwrap().insert(path, reply);
    }

    /// Describes itself, with changes.
    pub(super) fn describes(&self, changes: &Value) {
        let url = &self.url;
        let mut description = json!({
            "issuer": url, "jwks_uri": format!("{url}/keys"), "authorization_endpoint": format!("{url}/auth"),
            "token_endpoint": format!("{url}/token"), "device_authorization_endpoint": format!("{url}/device"),
            "userinfo_endpoint": format!("{url}/me"),
        });
        merge(&mut description, changes);
        self.says("/.well-known/openid-configuration", Reply::Json(200, description));
    }

    /// An ID token of alice, with changes; a null removes a claim.
    pub(super) fn id_token(&self, now: Timestamp, nonce: &str, changes: &Value) -> String {
        let second = now.as_second();
        let mut claims = json!({
            "iss": self.url, "aud": "mayfly", "sub": "alice", "nonce": nonce, "iat": second, "exp": second + 300,
            "email": "alice@example.com", "groups": ["staff"],
        });
        merge(&mut claims, changes);
        self.issuer.sign(&claims).unwrap()
    }

    /// Hands out an ID token.
    pub(super) fn hands_out(&self, id_token: &str) {
        let tokens = json!({"id_token": id_token, "access_token": "access", "token_type": "Bearer"});
        self.says("/token", Reply::Json(200, tokens));
    }

    /// Refuses at a path, by a code.
    pub(super) fn refuses(&self, path: &'static str, code: &str) {
        self.says(path, Reply::Json(400, json!({"error": code, "error_description": "SECRET words"})));
    }

    /// What it was asked at a path.
    pub(super) fn asked(&self, path: &str) -> Vec<Question> {
        self.questions.lock().unwrap().iter().filter(|question| question.path == path).cloned().collect()
    }
}

fn merge(into: &mut Value, changes: &Value) {
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => drop(into.as_object_mut().unwrap().remove(name)),
            value => into[name] = value.clone(),
        }
    }
}

async fn converse(
    mut stream: TcpStream,
    replies: Replies,
    questions: Arc<Mutex<Vec<Question>>>,
) -> Option<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let headers = String::from_utf8(head).unwrap();
    let path = headers.split(' ').nth(1)?.to_owned();
    let length = headers.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    stream.read_exact(&mut body).await.ok()?;
    let reply = replies.lock().unwrap().get(&*path).cloned();
    questions.lock().unwrap().push(Question { path, headers, body: String::from_utf8(body).unwrap() });
    let (status, text) = match reply {
        None => (404, String::new()),
        Some(Reply::Json(status, json)) => (status, json.to_string()),
        Some(Reply::Huge) => (200, " ".repeat(2 * 1024 * 1024)),
        Some(Reply::Silence) => pending().await,
        Some(Reply::Break) => return None,
    };
    let head = format!("HTTP/1.1 {status} x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", text.len());
    stream.write_all([head, text].concat().as_bytes()).await.ok()?;
    stream.shutdown().await.ok()
}
