//! Connecting: which host, which server, and a session that behaves the same everywhere.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use mysql_async::{Conn, Opts, OptsBuilder, prelude::Queryable};

use super::{
    errors,
    flavour::{Flavour, Number},
    identity, quote,
    switch::Switch,
    tls,
};
use crate::{
    domain::{Password, TargetName},
    target::{
        ClockOffset, OffsetGauge, Surroundings, TargetError, TargetErrorKind, TargetSettings,
        credentials::Keychain,
    },
};

/// The server's setting is only asked for to know this; nothing we send comes near.
const LARGEST_PACKET: usize = 16 * 1024 * 1024;

/// What is known of the server behind a connection.
#[derive(Debug, Clone)]
pub(super) struct Server {
    pub(super) flavour: Flavour,
    pub(super) number: Number,
    /// As the server says it.
    pub(super) version: String,
    /// The administration account as the server knows it, quoted: for statements to paste.
    pub(super) administrator: String,
    /// The dead-man's switch as it was last seen, and when.
    pub(super) switch: Option<(Timestamp, Arc<Switch>)>,
}

/// Which servers are good enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whom {
    /// Only the one that is known to answer for the target.
    Known,
    /// Any, to look at it.
    Anyone,
}

/// Knows where a target is and how to log in there.
pub(super) struct Connector {
    target: TargetName,
    flavour: Flavour,
    surroundings: Surroundings,
    hosts: Vec<Opts>,
    pub(super) keychain: Keychain,
    /// The server's clock minus ours.
    pub(super) offset: OffsetGauge,
    setup: String,
    pub(super) connect: Duration,
    pub(super) wait: Duration,
}

impl Connector {
    pub(super) fn new(
        settings: &TargetSettings,
        flavour: Flavour,
        surroundings: &Surroundings,
    ) -> Result<Self, TargetError> {
        let tls = tls::options(&settings.tls)?;
        let options = |(host, port): &(String, u16)| {
            OptsBuilder::default()
                .ip_or_hostname(host.clone())
                .tcp_port(*port)
                .prefer_socket(false)
                .user(Some(settings.user.clone()))
                .ssl_opts(tls.clone())
                .max_allowed_packet(Some(LARGEST_PACKET))
                .wait_timeout(Some(0))
                .stmt_cache_size(0)
                .tcp_keepalive(Some(Duration::from_secs(60)))
                .into()
        };
        Ok(Self {
            target: settings.name.clone(),
            flavour,
            surroundings: surroundings.clone(),
            hosts: settings.hosts.iter().map(options).collect(),
            keychain: Keychain::new(settings, Arc::clone(&surroundings.credentials)),
            offset: OffsetGauge::new(settings.name.clone()),
            setup: session(flavour, settings.pool.statement),
            connect: settings.pool.connect,
            wait: settings.pool.wait,
        })
    }

    /// Connects with the account's password, whichever it is by now.
    pub(super) async fn connect(&self, whom: Whom) -> Result<(Conn, Server), TargetError> {
        let mut attempts = self.keychain.attempts();
        loop {
            let password = attempts.next().await?;
            match self.connect_with(password.as_ref(), whom).await {
                Ok(connected) => {
                    attempts.accepted().await;
                    return Ok(connected);
                }
                Err(error) => attempts.refused(error)?,
            }
        }
    }

    /// Connects with a password to the first host that answers as it should and accepts writes. Bounded by the time for
    /// connecting, of which each host gets its share.
    pub(super) async fn connect_with(
        &self,
        password: Option<&Password>,
        whom: Whom,
    ) -> Result<(Conn, Server), TargetError> {
        let share = self.connect / u32::try_from(self.hosts.len().max(1)).unwrap_or(1);
        let mut last = TargetError::new(TargetErrorKind::Refused, "the target has no host");
        for options in &self.hosts {
            let options = &with_password(options, password);
            let error = match tokio::time::timeout(share, self.connect_to(options, whom)).await {
                Ok(Ok(connected)) => return Ok(connected),
                Ok(Err(error)) => error,
                Err(_) => TargetError::new(
                    TargetErrorKind::Unavailable,
                    format!("{} does not answer in time", place(options)),
                ),
            };
            tracing::debug!(host = %place(options), error = %error, "cannot use this host");
            // A host that refuses the password says more than one that is away: another password may be right.
            if last.kind != TargetErrorKind::Unauthenticated {
                last = error;
            }
        }
        Err(last)
    }

    async fn connect_to(&self, options: &Opts, whom: Whom) -> Result<(Conn, Server), TargetError> {
        let failed = |error| errors::connecting(&place(options), options.ssl_opts().is_none(), error);
        let mut connection = Conn::new(options.clone()).await.map_err(failed)?;
        let facts: Option<(String, String, String)> = connection
            .query_first("SELECT VERSION(), CURRENT_USER(), CAST(@@GLOBAL.read_only AS CHAR)")
            .await
            .map_err(failed)?;
        let (version, account, read_only) = facts.unwrap_or_default();
        let number = self.flavour.check(&version)?;
        if !matches!(read_only.as_str(), "0" | "OFF") {
            // An administrator who may kill connections may also write to a MySQL that is read-only for others.
            return Err(TargetError::new(
                TargetErrorKind::Unavailable,
                format!("{} is read-only", place(options)),
            ));
        }
        if whom == Whom::Known {
            let recognition = &*self.surroundings.recognition;
            identity::recognise(&mut connection, self.flavour, &self.target, recognition).await?;
        }
        connection.query_drop(&self.setup).await.map_err(failed)?;
        // Expiries are sent as the time that is left, so no difference matters to them; whoever reads times should know of one.
        self.offset.keep(clock_offset(&mut connection, &*self.surroundings.clock).await?);
        let (user, host) = account.rsplit_once('@').unwrap_or((&account, "%"));
        let administrator = quote::account(user, host)?;
        Ok((connection, Server { flavour: self.flavour, number, version, administrator, switch: None }))
    }

    /// Undoes what statements of a role may have done to the session.
    pub(super) async fn refresh(&self, connection: &mut Conn) -> Result<(), mysql_async::Error> {
        connection.reset().await?;
        connection.query_drop(&self.setup).await
    }
}

fn with_password(options: &Opts, password: Option<&Password>) -> Opts {
    let password = password.map(|password| password.expose().to_owned());
    OptsBuilder::from_opts(options.clone()).pass(password).into()
}

fn place(options: &Opts) -> String {
    format!("{}:{}", options.ip_or_hostname(), options.tcp_port())
}

/// The mode that quoting relies on.
pub(super) const SQL_MODE: &str = "SET sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION'";

/// Pins what quoting and literals depend on, and tells the server how long a statement may take.
fn session(flavour: Flavour, statement: Duration) -> String {
    let seconds = statement.as_secs().max(1);
    let limit = match flavour {
        // Only reads are bounded by it.
        Flavour::Mysql => format!("max_execution_time = {}", statement.as_millis().max(1)),
        Flavour::Mariadb => format!("max_statement_time = {seconds}"),
    };
    format!(
        "{SQL_MODE}, time_zone = '+00:00', autocommit = 1, lock_wait_timeout = {seconds}, \
         innodb_lock_wait_timeout = {seconds}, {limit}, NAMES utf8mb4"
    )
}

/// The server's clock minus ours, give or take half the time the question takes.
pub(super) async fn clock_offset(
    connection: &mut Conn,
    clock: &dyn crate::clock::Clock,
) -> Result<ClockOffset, TargetError> {
    let before = clock.now();
    let text: Option<String> = connection
        .query_first("SELECT DATE_FORMAT(UTC_TIMESTAMP(6), '%Y-%m-%dT%H:%i:%s.%fZ')")
        .await
        .map_err(|error| errors::asking("the server's clock", error))?;
    let after = clock.now();
    let there: Timestamp = text.unwrap_or_default().parse().map_err(|error: jiff::Error| {
        TargetError::new(TargetErrorKind::Refused, "the server's clock cannot be read").caused_by(error)
    })?;
    Ok(ClockOffset::measured(there, before, after))
}
