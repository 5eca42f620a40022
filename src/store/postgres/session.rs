//! Sessions on the store's database: set up alike, every exchange with a bound, every statement prepared once.

use std::{
    collections::HashMap,
    future::{Future, poll_fn},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::mpsc,
    task::JoinHandle,
    time::timeout,
};
use tokio_postgres::{
    AsyncMessage, Client, Config, NoTls, Row, SimpleQueryMessage, Statement,
    config::{SslMode, TargetSessionAttrs},
    types::ToSql,
};

use super::{failure::Failure, settings::PostgresSettings};
use crate::store::StoreErrorKind;

/// `server_version_num` of the oldest release that is supported.
const OLDEST: u32 = 130_000;

/// How long a transaction of ours may keep its locks while nothing comes from us: a process that was stopped in the middle
/// of one must not keep the others from writing.
const IDLE_IN_TRANSACTION: Duration = Duration::from_millis(1_500);

/// What a statement gets of the time an exchange has, so that the server's own answer comes first.
const SLACK: Duration = Duration::from_millis(200);

/// A session on the server. Dropped while idle, it says goodbye.
pub(super) struct Session {
    pub(super) client: Client,
    task: JoinHandle<()>,
    statements: Mutex<HashMap<&'static str, Statement>>,
    bound: Duration,
    /// The server's process.
    pub(super) process: i32,
}

impl Session {
    /// Connects to the first host that answers and accepts writes, within the bound for connecting. `name` is shown in
    /// `pg_stat_activity` beside the replica's.
    pub(super) async fn open(settings: &PostgresSettings, name: &str) -> Result<Self, Failure> {
        Self::listening(settings, name, None).await
    }

    /// Likewise, with somewhere to send what the server says unasked.
    pub(super) async fn listening(
        settings: &PostgresSettings,
        name: &str,
        told: Option<mpsc::Sender<String>>,
    ) -> Result<Self, Failure> {
        let hosts = &settings.address.hosts;
        let share = settings.options.connect / u32::try_from(hosts.len()).unwrap_or(u32::MAX).max(1);
        let mut worst: Option<Failure> = None;
        for (host, port) in hosts {
            let config = config(settings, host, *port, share, name);
            let failure = match timeout(share, connect(settings, &config, told.clone())).await {
                Ok(Ok(session)) => return Ok(session),
                Ok(Err(failure)) => failure,
                Err(_) => Failure::timed_out(share),
            };
            tracing::debug!(host, port, error = %failure.message, "a host of the store cannot be used");
            // An answer that names a fault says more than a host that is merely away.
            if worst.as_ref().is_none_or(|known| known.state().is_none()) {
                worst = Some(failure);
            }
        }
        Err(worst.unwrap_or_else(Failure::disconnected))
    }

    /// Whether it still stands, as far as is known.
    pub(super) fn is_open(&self) -> bool {
        !self.client.is_closed()
    }

    /// Hangs up, whatever is under way.
    pub(super) fn abandon(&self) {
        self.task.abort();
    }

    /// The statement of a text, prepared when it is asked for first.
    pub(super) async fn prepared(&self, sql: &'static str) -> Result<Statement, Failure> {
        if let Some(statement) = self.known(sql) {
            return Ok(statement);
        }
        let statement = self.client.prepare(sql).await?;
        let mut statements = self.statements.lock().unwrap_or_else(PoisonError::into_inner);
        statements.insert(sql, statement.clone());
        Ok(statement)
    }

    fn known(&self, sql: &'static str) -> Option<Statement> {
        self.statements.lock().unwrap_or_else(PoisonError::into_inner).get(sql).cloned()
    }

    /// Runs a query within the bound of an exchange.
    pub(super) async fn query(
        &self,
        sql: &'static str,
        values: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, Failure> {
        self.bounded(async {
            let statement = self.prepared(sql).await?;
            Ok(self.client.query(&statement, values).await?)
        })
        .await
    }

    /// Has an exchange end in time, or gives the connection up.
    pub(super) async fn bounded<T>(
        &self,
        exchange: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let Ok(outcome) = timeout(self.bound, exchange).await else {
            self.abandon();
            return Err(Failure::timed_out(self.bound));
        };
        outcome
    }
}

fn config(settings: &PostgresSettings, host: &str, port: u16, share: Duration, name: &str) -> Config {
    let exchange = settings.options.exchange;
    let statement = exchange.saturating_sub(SLACK).as_millis().max(1);
    let lock = exchange.saturating_sub(SLACK * 2).as_millis().max(1);
    let mut config = Config::new();
    config
        .host(host)
        .port(port)
        .user(&settings.address.user)
        .dbname(&settings.address.database)
        .application_name(format!("mayfly {} {name}", settings.replica))
        .connect_timeout(share)
        // What is sent and not acknowledged, and a peer that is gone, are noticed within the time of an exchange.
        .tcp_user_timeout(exchange)
        .keepalives_idle(Duration::from_secs(1))
        .keepalives_interval(Duration::from_secs(1))
        .keepalives_retries(2)
        .target_session_attrs(TargetSessionAttrs::ReadWrite)
        .ssl_mode(if settings.tls.is_some() { SslMode::Require } else { SslMode::Disable })
        // Every question is a short range of an index, and is to stay one however the server estimates: it may not read whole tables
        // instead, nor compile for longer than the answer takes.
        .options(format!(
            "-c search_path={schema},pg_temp -c standard_conforming_strings=on -c client_min_messages=warning \
             -c default_transaction_isolation=read\\ committed -c TimeZone=UTC -c statement_timeout={statement} \
             -c lock_timeout={lock} -c idle_in_transaction_session_timeout={idle} -c enable_seqscan=off -c jit=off",
            schema = settings.schema.as_str(),
            idle = IDLE_IN_TRANSACTION.as_millis(),
        ));
    if let Some(password) = &settings.password {
        config.password(password.expose());
    }
    config
}

/// Keeps a connection going until it ends, and passes on what the server says unasked. Who does not listen fast enough
/// finds the channel closed, and must read again.
async fn run_to_end<S, T>(
    mut connection: tokio_postgres::Connection<S, T>,
    told: Option<mpsc::Sender<String>>,
) where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    loop {
        match poll_fn(|context| connection.poll_message(context)).await {
            Some(Ok(AsyncMessage::Notification(notification))) => {
                let payload = notification.payload().to_owned();
                if told.as_ref().is_some_and(|told| told.try_send(payload).is_err()) {
                    return;
                }
            }
            Some(Ok(_)) => {}
            Some(Err(error)) => {
                tracing::debug!(%error, "a connection to the store's database ended");
                return;
            }
            None => return,
        }
    }
}

async fn connect(
    settings: &PostgresSettings,
    config: &Config,
    told: Option<mpsc::Sender<String>>,
) -> Result<Session, Failure> {
    let (client, task) = match &settings.tls {
        None => {
            let (client, connection) = config.connect(NoTls).await?;
            (client, tokio::spawn(run_to_end(connection, told)))
        }
        Some(tls) => {
            let (client, connection) = config.connect(tls.clone()).await?;
            (client, tokio::spawn(run_to_end(connection, told)))
        }
    };
    let process = set_up(&client).await?;
    let bound = settings.options.exchange;
    Ok(Session { client, task, statements: Mutex::default(), bound, process })
}

/// One message: what answers, and that a commit is durable before it is told, whatever the server's default is.
async fn set_up(client: &Client) -> Result<i32, Failure> {
    let told = client
        .simple_query(
            "SELECT pg_backend_pid(), current_setting('server_version_num'), set_config('synchronous_commit', \
             CASE WHEN current_setting('synchronous_commit') IN ('off', 'local') THEN 'on' \
             ELSE current_setting('synchronous_commit') END, false)",
        )
        .await?;
    let row = told.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    let number = |column| row.and_then(|row| row.get(column)).and_then(|text| text.parse::<u32>().ok());
    if number(1).is_none_or(|release| release < OLDEST) {
        return Err(Failure::new(StoreErrorKind::Other, "the store needs PostgreSQL 13 or later"));
    }
    Ok(number(0).and_then(|process| i32::try_from(process).ok()).unwrap_or(0))
}
