//! Connecting: several hosts, the one that accepts writes, sessions set up alike, one message at a time with a bound.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use tokio::{task::JoinHandle, time::timeout};
use tokio_postgres::{
    CancelToken, Client, Config, NoTls, SimpleQueryMessage, SimpleQueryRow,
    config::{SslMode, TargetSessionAttrs},
    error::SqlState,
};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{
    acting::Acting,
    deputies::{self, Post},
    errors::Failure,
    tls,
};
use crate::{
    clock::Clock,
    domain::Password,
    target::{
        ClockOffset, Credentials, OffsetGauge, Recognition, ServerIdentity, TargetError, TargetErrorKind,
        TargetSettings, credentials::Keychain,
    },
};

/// What sessions are called in `pg_stat_activity`.
const APPLICATION: &str = "mayfly";

/// `server_version_num` of the oldest release that is supported.
const OLDEST: u32 = 130_000;

/// From here on, creating a role gives its creator ADMIN OPTION but no privilege of it.
pub(super) const ADMIN_OPTION_SINCE: u32 = 160_000;

/// What the server is given beyond the bound it was told, so that its own answer, whose outcome is known, comes first.
const SLACK: Duration = Duration::from_secs(1);

/// How long the server is given to hear that a statement is to be cancelled.
const CANCEL_BOUND: Duration = Duration::from_secs(5);

/// What answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Release {
    /// `server_version_num`, such as `150018`.
    pub(super) number: u32,
    /// As people say it, such as `15.18`.
    pub(super) text: String,
}

/// What a server that does not say which one it is goes by. Whoever was known by another name is then not recognised.
const NAMELESS: &str = "unknown";

/// Drawn when a cluster is made, kept by its replicas; everybody may ask.
const SYSTEM_IDENTIFIER: &str = "(SELECT system_identifier FROM pg_control_system())";

/// What becomes of a connection to a server that is not the one that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Strangers {
    Refused,
    Welcome,
}

/// A connection, and whether its server is the one that is known.
type Introduced = (Connection, Result<(), TargetError>);

/// What a server says of itself on connecting.
#[derive(Debug, Clone)]
struct Introduction {
    release: Release,
    identity: ServerIdentity,
    /// Its clock minus ours.
    offset: Option<ClockOffset>,
    /// The administration account is a superuser.
    superuser: bool,
    /// There are deputies, of whichever account.
    has_deputies: bool,
}

/// Makes connections to one target.
pub(super) struct Connector {
    settings: Arc<TargetSettings>,
    pub(super) keychain: Keychain,
    clock: Arc<dyn Clock>,
    recognition: Arc<dyn Recognition>,
    tls: Option<MakeRustlsConnect>,
    offset: OffsetGauge,
    has_deputies: AtomicBool,
}

impl Connector {
    /// Reads the TLS files; connects nowhere.
    pub(super) fn new(
        settings: Arc<TargetSettings>,
        clock: Arc<dyn Clock>,
        recognition: Arc<dyn Recognition>,
        credentials: Arc<dyn Credentials>,
    ) -> Result<Self, TargetError> {
        let tls = tls::connector(&settings.tls)?;
        let keychain = Keychain::new(&settings, credentials);
        let offset = OffsetGauge::new(settings.name.clone());
        Ok(Self { settings, keychain, clock, recognition, tls, offset, has_deputies: AtomicBool::new(false) })
    }

    /// The database for administration.
    pub(super) fn database(&self) -> &str {
        self.settings.database.as_deref().unwrap_or("postgres")
    }

    /// The administration account.
    pub(super) fn user(&self) -> &str {
        &self.settings.user
    }

    /// The target's clock minus ours, as last measured; `None` before the first connection.
    pub(super) fn offset(&self) -> Option<ClockOffset> {
        self.offset.last()
    }

    /// Whether accounts may have been created through deputies, as far as this process knows: so it was seen on some connecting, or
    /// done here. Another replica's first deputy is not known at once, and until then done without.
    pub(super) fn has_deputies(&self) -> bool {
        self.has_deputies.load(Ordering::Relaxed)
    }

    /// There are deputies from now on.
    pub(super) fn note_deputies(&self) {
        self.has_deputies.store(true, Ordering::Relaxed);
    }

    /// A moment of our clock on the target's, by an offset that is not old: either clock may have been set since.
    pub(super) async fn on_target_clock(
        &self,
        connection: &mut Connection,
        at: Timestamp,
    ) -> Result<Timestamp, TargetError> {
        if self.offset().is_none_or(|measured| measured.is_stale(self.clock.now())) {
            let introduction = self.look(connection).await;
            let introduction =
                introduction.map_err(|failure| failure.while_doing("reading the server's clock"))?;
            introduction.offset.into_iter().for_each(|measured| self.offset.keep(measured));
        }
        let offset = self.offset().map_or(SignedDuration::ZERO, |measured| measured.offset);
        Ok(at.checked_add(offset).unwrap_or(at))
    }

    /// A moment of the target's clock on ours.
    pub(super) fn on_our_clock(&self, at: Timestamp) -> Timestamp {
        let offset = self.offset().map_or(SignedDuration::ZERO, |measured| measured.offset);
        at.checked_sub(offset).unwrap_or(at)
    }

    /// Connects to the first host that answers, accepts writes and is the server that is known, with the account's password,
    /// whichever it is by now.
    pub(super) async fn connect(&self, database: &str) -> Result<Connection, TargetError> {
        let (connection, recognised) = self.connect_with_any(database, Strangers::Refused).await?;
        recognised.map(|()| connection)
    }

    /// Connects for looking only: also to a server that is not the one that is known, which is then said.
    pub(super) async fn connect_to_look(&self, database: &str) -> Result<Introduced, TargetError> {
        self.connect_with_any(database, Strangers::Welcome).await
    }

    /// Connects with a certain password.
    pub(super) async fn connect_with(
        &self,
        password: Option<&Password>,
        database: &str,
    ) -> Result<Connection, TargetError> {
        let (connection, recognised) = self.connect_to_any(password, database, Strangers::Refused).await?;
        recognised.map(|()| connection)
    }

    async fn connect_with_any(
        &self,
        database: &str,
        strangers: Strangers,
    ) -> Result<Introduced, TargetError> {
        let mut attempts = self.keychain.attempts();
        loop {
            let password = attempts.next().await?;
            // On the heap: logging in takes more room than anything that follows it.
            match Box::pin(self.connect_to_any(password.as_ref(), database, strangers)).await {
                Ok(introduced) => {
                    attempts.accepted().await;
                    return Ok(introduced);
                }
                Err(error) => attempts.refused(error)?,
            }
        }
    }

    /// All hosts together get the time there is for connecting, in equal shares, so that one that swallows packets does not
    /// use up the others'.
    async fn connect_to_any(
        &self,
        password: Option<&Password>,
        database: &str,
        strangers: Strangers,
    ) -> Result<Introduced, TargetError> {
        let hosts = u32::try_from(self.settings.hosts.len()).unwrap_or(u32::MAX).max(1);
        let share = self.settings.pool.connect / hosts;
        let mut worst: Option<TargetError> = None;
        for (host, port) in &self.settings.hosts {
            let error =
                match timeout(share, Box::pin(self.connect_to((host, *port), password, database))).await {
                    Ok(Ok((_, Err(error)))) if strangers == Strangers::Refused => error,
                    Ok(Ok(introduced)) => return Ok(introduced),
                    Ok(Err(error)) => error,
                    Err(_) => TargetError::new(
                        TargetErrorKind::Unavailable,
                        format!("{host}:{port} did not let us in within {share:?}"),
                    ),
                };
            tracing::debug!(host, port, kind = error.kind.as_str(), error = %error, "a host cannot be used");
            // An answer that names a fault says more than a host that is merely away.
            if worst.as_ref().is_none_or(|known| known.kind == TargetErrorKind::Unavailable) {
                worst = Some(error);
            }
        }
        Err(worst.unwrap_or_else(|| TargetError::new(TargetErrorKind::Refused, "the target has no host")))
    }

    async fn connect_to(
        &self,
        (host, port): (&str, u16),
        password: Option<&Password>,
        database: &str,
    ) -> Result<Introduced, TargetError> {
        let mut config = self.config(host, port, database);
        if let Some(password) = password {
            config.password(password.expose());
        }
        let doing = format!("connecting to {host}:{port}");
        let (client, task) = match &self.tls {
            None => {
                let (client, connection) =
                    config.connect(NoTls).await.map_err(|error| Failure::from(error).while_doing(&doing))?;
                (client, tokio::spawn(run_to_end(connection)))
            }
            Some(tls) => {
                let (client, connection) = config
                    .connect(tls.clone())
                    .await
                    .map_err(|error| Failure::from(error).while_doing(&doing))?;
                (client, tokio::spawn(run_to_end(connection)))
            }
        };
        let mut connection = Connection {
            client,
            task,
            tls: self.tls.clone(),
            bound: self.settings.pool.statement + SLACK,
            release: Release { number: 0, text: String::new() },
            offset: None,
            superuser: false,
            acting: Acting::at_first(),
            post: Post::default(),
            usable: true,
        };
        let introduction = self.look(&mut connection).await.map_err(|error| error.while_doing(&doing))?;
        connection.release = introduction.release;
        connection.superuser = introduction.superuser;
        if introduction.has_deputies {
            self.note_deputies();
        }
        connection.offset = introduction.offset.map(|measured| measured.offset);
        let recognised = self.recognition.recognise(&self.settings.name, &introduction.identity).await;
        if let (Ok(()), Some(measured)) = (&recognised, introduction.offset) {
            self.offset.keep(measured);
        }
        Ok((connection, recognised))
    }

    fn config(&self, host: &str, port: u16, database: &str) -> Config {
        let settings = &self.settings;
        let statement = settings.pool.statement.as_millis().max(1);
        let mut config = Config::new();
        config
            .host(host)
            .port(port)
            .user(&settings.user)
            .dbname(database)
            .application_name(APPLICATION)
            .connect_timeout(settings.pool.connect)
            .keepalives_idle(Duration::from_secs(30))
            .target_session_attrs(TargetSessionAttrs::ReadWrite)
            .ssl_mode(if self.tls.is_some() { SslMode::Require } else { SslMode::Disable })
            // Given on connecting, these are what RESET and DISCARD return to. The search path holds nothing that
            // anybody but a superuser can write to, so no foreign function or operator can slip into our statements.
            .options(format!(
                "-c search_path=pg_catalog,pg_temp -c standard_conforming_strings=on \
                 -c client_min_messages=warning -c DateStyle=ISO -c TimeZone=UTC \
                 -c statement_timeout={statement} -c lock_timeout={lock} \
                 -c idle_in_transaction_session_timeout={idle}",
                lock = (statement / 2).max(1),
                idle = statement * 2,
            ));
        config
    }

    /// Learns the server's release, who it is and its clock's offset: one message.
    async fn look(&self, connection: &mut Connection) -> Result<Introduction, Failure> {
        let introduction = match self.ask(connection, SYSTEM_IDENTIFIER).await {
            // Everybody may ask unless somebody took that right away: the server then goes nameless.
            Err(failure) if failure.is(&SqlState::INSUFFICIENT_PRIVILEGE) => {
                self.ask(connection, &format!("'{NAMELESS}'")).await?
            }
            answer => answer?,
        };
        let Release { number, text } = &introduction.release;
        if *number < OLDEST {
            let message = format!("the server says it is release {text:?}; PostgreSQL 13 or later is needed");
            return Err(TargetError::new(TargetErrorKind::Refused, message).into());
        }
        Ok(introduction)
    }

    async fn ask(&self, connection: &mut Connection, identity: &str) -> Result<Introduction, Failure> {
        let before = self.clock.now();
        let rows = connection
            .run(&format!(
                "SELECT current_setting('server_version_num'), current_setting('server_version'), \
                 (extract(epoch FROM clock_timestamp()) * 1000000)::bigint, {identity}, \
                 current_setting('is_superuser')::bool, {}",
                deputies::ANY
            ))
            .await?;
        let after = self.clock.now();
        let row = rows.first();
        let theirs = row.and_then(|row| Timestamp::from_microsecond(number(row, 2)).ok());
        let version = row.and_then(|row| text(row, 1)).unwrap_or_default();
        Ok(Introduction {
            release: Release {
                number: row.and_then(|row| u32::try_from(number(row, 0)).ok()).unwrap_or(0),
                text: version.split_whitespace().next().unwrap_or_default().to_owned(),
            },
            identity: ServerIdentity(row.and_then(|row| text(row, 3)).unwrap_or(NAMELESS.to_owned())),
            offset: theirs.map(|theirs| ClockOffset::measured(theirs, before, after)),
            superuser: row.is_some_and(|row| truth(row, 4)),
            has_deputies: row.is_some_and(|row| truth(row, 5)),
        })
    }
}

async fn run_to_end<S, T>(connection: tokio_postgres::Connection<S, T>)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    if let Err(error) = connection.await {
        tracing::debug!(%error, "a connection to a target ended");
    }
}

/// A session on the server. Dropped while idle, it says goodbye; dropped in the middle of a message, it tells the
/// server to cancel and hangs up.
pub(super) struct Connection {
    client: Client,
    task: JoinHandle<()>,
    tls: Option<MakeRustlsConnect>,
    bound: Duration,
    release: Release,
    offset: Option<SignedDuration>,
    superuser: bool,
    acting: Acting,
    /// As whom it creates accounts.
    pub(super) post: Post,
    /// The session is as it was set up, with nothing under way: it may serve another.
    usable: bool,
}

impl Connection {
    /// What answers.
    pub(super) fn release(&self) -> &Release {
        &self.release
    }

    /// The server's clock minus ours, as measured on connecting.
    pub(super) fn offset(&self) -> Option<SignedDuration> {
        self.offset
    }

    /// Whether the administration account is a superuser.
    pub(super) fn is_superuser(&self) -> bool {
        self.superuser
    }

    /// All that is run from now on, until it is lent to somebody else, is done as a deputy; `None`: as the administration account.
    pub(super) fn act_as(&mut self, deputy: Option<String>) {
        self.acting.want(deputy);
    }

    /// The deputy that it acts as.
    pub(super) fn deputy(&self) -> Option<&str> {
        self.acting.deputy()
    }

    /// Whether it may be used again by somebody else.
    pub(super) fn is_usable(&self) -> bool {
        self.usable && !self.client.is_closed()
    }

    /// Sends a simple-protocol message: one round trip, one implicit transaction, all rows of all its statements.
    pub(super) async fn run(&mut self, message: &str) -> Result<Vec<SimpleQueryRow>, Failure> {
        let Some(change) = self.acting.change()? else { return self.send(message).await };
        let outcome = self.send(&format!("{change};\n{message}")).await;
        self.acting.changed(outcome.is_ok());
        outcome
    }

    async fn send(&mut self, message: &str) -> Result<Vec<SimpleQueryRow>, Failure> {
        let bound = self.bound;
        let guard = InFlight::begin(self);
        let Ok(answer) = timeout(bound, guard.connection.client.simple_query(message)).await else {
            return Err(Failure::TimedOut(bound));
        };
        guard.end();
        let rows = answer?.into_iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        Ok(rows.collect())
    }

    /// Like [`Connection::run`], for a message with transaction control of its own: when it fails, nothing is left open.
    pub(super) async fn run_with_control(&mut self, message: &str) -> Result<Vec<SimpleQueryRow>, Failure> {
        let outcome = self.run(message).await;
        if outcome.is_err() && self.is_usable() && self.send("ROLLBACK").await.is_err() {
            self.usable = false;
        }
        outcome
    }

    /// Makes the session as it was set up, after statements that are not ours. `false`: they had left a transaction
    /// open, which is rolled back.
    pub(super) async fn clean(&mut self) -> bool {
        if !self.is_usable() {
            return true;
        }
        self.acting.lose_track();
        let Err(failure) = self.send("DISCARD ALL").await else { return true };
        let was_open =
            failure.is(&SqlState::ACTIVE_SQL_TRANSACTION) || failure.is(&SqlState::IN_FAILED_SQL_TRANSACTION);
        let cleaned =
            was_open && self.send("ROLLBACK").await.is_ok() && self.send("DISCARD ALL").await.is_ok();
        self.usable = self.usable && cleaned;
        !was_open
    }
}

/// A message under way: unless it ends, the session is given up.
struct InFlight<'a> {
    connection: &'a mut Connection,
    ended: bool,
}

impl<'a> InFlight<'a> {
    fn begin(connection: &'a mut Connection) -> Self {
        Self { connection, ended: false }
    }

    fn end(mut self) {
        self.ended = true;
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        self.connection.usable = false;
        self.connection.task.abort();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(cancel(self.connection.client.cancel_token(), self.connection.tls.clone()));
        }
    }
}

async fn cancel(token: CancelToken, tls: Option<MakeRustlsConnect>) {
    let asked = async {
        match tls {
            None => token.cancel_query(NoTls).await,
            Some(tls) => token.cancel_query(tls).await,
        }
    };
    if !matches!(timeout(CANCEL_BOUND, asked).await, Ok(Ok(()))) {
        tracing::debug!("the server could not be told to cancel a statement");
    }
}

/// Whether a failure says that a role does not exist.
pub(super) fn role_is_missing(failure: &Failure) -> bool {
    failure.is(&SqlState::UNDEFINED_OBJECT)
}

/// A column as text; `None` for NULL.
pub(super) fn text(row: &SimpleQueryRow, column: usize) -> Option<String> {
    row.try_get(column).ok().flatten().map(str::to_owned)
}

/// A column as a number; 0 for NULL.
pub(super) fn number(row: &SimpleQueryRow, column: usize) -> i64 {
    row.try_get(column).ok().flatten().and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// A column as a truth value; false for NULL.
pub(super) fn truth(row: &SimpleQueryRow, column: usize) -> bool {
    row.try_get(column).ok().flatten() == Some("t")
}
