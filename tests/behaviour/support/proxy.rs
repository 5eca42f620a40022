//! A wire between Mayfly and a server that a test can disturb.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
};
use tokio_util::sync::CancellationToken;

/// What happens to one statement, once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trap {
    /// It reaches the server; from then on nothing that the server says comes back, on any connection.
    Swallow,
    /// It reaches the server; its connection is cut as soon as the server answers.
    Cut,
    /// It never reaches the server: its connection is cut first.
    Sever,
}

struct State {
    paused: watch::Sender<bool>,
    swallowing: watch::Sender<bool>,
    severed: watch::Sender<bool>,
    delay: Mutex<Duration>,
    trap: Mutex<Option<(Trap, &'static str)>>,
    server: watch::Sender<u16>,
}

/// The wire. It ends when dropped.
pub(crate) struct Proxy {
    port: u16,
    state: Arc<State>,
    stop: CancellationToken,
}

impl Proxy {
    /// To a server on this machine.
    pub(crate) async fn to(server: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State {
            paused: watch::Sender::new(false),
            swallowing: watch::Sender::new(false),
            severed: watch::Sender::new(false),
            delay: Mutex::default(),
            trap: Mutex::default(),
            server: watch::Sender::new(server),
        });
        let stop = CancellationToken::new();
        tokio::spawn(stop.clone().run_until_cancelled_owned(accept(listener, Arc::clone(&state))));
        Self { port, state, stop }
    }

    /// Where to connect to.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Nothing passes in either direction until [`Proxy::resume`]; connections are accepted.
    pub(crate) fn pause(&self) {
        self.state.paused.send_replace(true);
    }

    /// Every connection is cut, and new ones are as soon as they are accepted, until [`Proxy::resume`].
    pub(crate) fn sever(&self) {
        self.state.severed.send_replace(true);
    }

    /// Leads to another server from now on; connections that there are, are cut.
    pub(crate) fn lead_to(&self, server: u16) {
        self.state.server.send_replace(server);
    }

    /// From now on everything that the server says takes this much longer.
    pub(crate) fn delay(&self, delay: Duration) {
        *self.state.delay.lock().unwrap() = delay;
    }

    /// Everything passes again, what was held first.
    pub(crate) fn resume(&self) {
        self.state.severed.send_replace(false);
        self.state.swallowing.send_replace(false);
        self.state.paused.send_replace(false);
    }

    /// Sets a trap for the first message to the server that has `text` in it.
    pub(crate) fn set(&self, trap: Trap, text: &'static str) {
        *self.state.trap.lock().unwrap() = Some((trap, text));
    }

    /// Whether the trap has not been sprung yet.
    pub(crate) fn is_set(&self) -> bool {
        self.state.trap.lock().unwrap().is_some()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let (client, _) = listener.accept().await.unwrap();
        let state = Arc::clone(&state);
        connections.spawn(async move {
            let (mut paused, mut severed) = (state.paused.subscribe(), state.severed.subscribe());
            tokio::select! {
                () = until(&mut severed, true) => return,
                () = until(&mut paused, false) => {}
            }
            let mut moved = state.server.subscribe();
            let port = *moved.borrow_and_update();
            let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await else { return };
            let (from_client, to_client) = client.into_split();
            let (from_server, to_server) = server.into_split();
            let cut = CancellationToken::new();
            tokio::select! {
                () = until(&mut severed, true) => {}
                () = up(&state, from_client, to_server, &cut) => {}
                () = down(&state, from_server, to_client, &cut) => {}
                _ = moved.changed() => {}
            }
        });
    }
}

async fn until(seen: &mut watch::Receiver<bool>, wanted: bool) {
    let _ = seen.wait_for(|now| *now == wanted).await;
}

async fn up(state: &State, mut client: OwnedReadHalf, mut server: OwnedWriteHalf, cut: &CancellationToken) {
    let mut buffer = vec![0; 65_536];
    let mut paused = state.paused.subscribe();
    while let Ok(length @ 1..) = client.read(&mut buffer).await {
        let _ = paused.wait_for(|paused| !paused).await;
        let message = buffer.get(..length).unwrap();
        if let Some(trap) = spring(state, message) {
            match trap {
                Trap::Swallow => drop(state.swallowing.send_replace(true)),
                Trap::Cut => cut.cancel(),
                Trap::Sever => return,
            }
        }
        if server.write_all(message).await.is_err() {
            return;
        }
    }
}

fn spring(state: &State, message: &[u8]) -> Option<Trap> {
    let mut waiting = state.trap.lock().unwrap();
    let (trap, text) = (*waiting)?;
    message.windows(text.len()).any(|window| window == text.as_bytes()).then(|| {
        *waiting = None;
        trap
    })
}

async fn down(state: &State, mut server: OwnedReadHalf, mut client: OwnedWriteHalf, cut: &CancellationToken) {
    let mut buffer = vec![0; 65_536];
    let mut paused = state.paused.subscribe();
    while let Ok(length @ 1..) = server.read(&mut buffer).await {
        let _ = paused.wait_for(|paused| !paused).await;
        if cut.is_cancelled() {
            return;
        }
        let delay = *state.delay.lock().unwrap();
        tokio::time::sleep(delay).await;
        let message = buffer.get(..length).unwrap();
        if !*state.swallowing.borrow() && client.write_all(message).await.is_err() {
            return;
        }
    }
}
