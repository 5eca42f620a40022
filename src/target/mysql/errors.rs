//! From the driver's errors to ours: sorted by number, in words without statements and secrets.

use mysql_async::{DriverError, Error, IoError, ServerError};

use super::{connect::Server, privileges::Privilege};
use crate::target::{TargetError, TargetErrorKind};

/// What was being done when it failed; says which privilege was missing when one was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Creating, altering or dropping an account.
    Account,
    /// Making an account a member of a group.
    Join(String),
    /// Making a group the one that is active after login (MariaDB).
    DefaultRole,
    /// Ending a session.
    Kill,
    /// Writing when an account expires, to the dead-man's switch.
    Expiry,
    /// Installing the dead-man's switch.
    Switch,
    /// Finding out something.
    Ask(&'static str),
    /// Redefining or dropping an object an account is the definer of.
    Object(String),
    /// A statement of the role; `secret`: it carries a password or verifier, of which an error may quote a piece.
    Template { number: usize, secret: bool },
}

/// The driver's error and the step it belongs to.
#[derive(Debug)]
pub(super) struct Failure {
    error: Error,
    step: Step,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { error, step: Step::Account }
    }
}

impl Failure {
    pub(super) fn during(self, step: Step) -> Self {
        Self { step, ..self }
    }

    pub(super) fn asking(self, what: &'static str) -> Self {
        self.during(Step::Ask(what))
    }

    /// The server's error number, when it was the server that refused.
    pub(super) fn code(&self) -> Option<u16> {
        match &self.error {
            Error::Server(answer) => Some(answer.code),
            _ => None,
        }
    }
}

/// What the server answered, for logs. Its words are left out where they may quote a piece of the statement.
#[derive(Debug, thiserror::Error)]
#[error("error {code} ({state}): {words}")]
struct Answer {
    code: u16,
    state: String,
    words: String,
}

impl Answer {
    fn of(error: &ServerError, secret: bool) -> Self {
        const QUOTING: [u16; 2] = [codes::PARSE_ERROR, codes::SYNTAX_ERROR];
        let withheld = secret || QUOTING.contains(&error.code);
        let words = if withheld {
            "words withheld: they may quote a secret".to_owned()
        } else {
            error.message.clone()
        };
        Self { code: error.code, state: error.state.clone(), words }
    }
}

/// Error numbers, as both flavours document them unless the name says otherwise.
mod codes {
    pub(super) const HOST_IS_BLOCKED: u16 = 1129;
    pub(super) const HOST_NOT_PRIVILEGED: u16 = 1130;
    pub(super) const TOO_MANY_CONNECTIONS: u16 = 1040;
    pub(super) const DISK_FULL: u16 = 1021;
    pub(super) const UNKNOWN_DATABASE: u16 = 1049;
    pub(super) const UNKNOWN_COLUMN: u16 = 1054;
    pub(super) const DUPLICATE_KEY: u16 = 1062;
    pub(super) const NO_SUCH_TABLE: u16 = 1146;
    pub(super) const DB_ACCESS_DENIED: u16 = 1044;
    pub(super) const ACCESS_DENIED: u16 = 1045;
    pub(super) const SERVER_SHUTDOWN: u16 = 1053;
    pub(super) const PARSE_ERROR: u16 = 1064;
    pub(super) const KILL_DENIED: u16 = 1095;
    pub(super) const RECORD_FILE_FULL: u16 = 1114;
    pub(super) const TABLE_ACCESS_DENIED: u16 = 1142;
    pub(super) const COLUMN_ACCESS_DENIED: u16 = 1143;
    pub(super) const SYNTAX_ERROR: u16 = 1149;
    pub(super) const USER_LIMIT_REACHED: u16 = 1203;
    pub(super) const LOCK_WAIT_TIMEOUT: u16 = 1205;
    pub(super) const DEADLOCK: u16 = 1213;
    pub(super) const USER_LIMIT: u16 = 1226;
    pub(super) const SPECIFIC_ACCESS_DENIED: u16 = 1227;
    pub(super) const OPTION_PREVENTS: u16 = 1290;
    pub(super) const QUERY_INTERRUPTED: u16 = 1317;
    pub(super) const ROUTINE_ACCESS_DENIED: u16 = 1370;
    pub(super) const CANNOT_USER: u16 = 1396;
    pub(super) const ACCESS_DENIED_NO_PASSWORD: u16 = 1698;
    pub(super) const MUST_CHANGE_PASSWORD: u16 = 1820;
    pub(super) const READ_ONLY_MODE: u16 = 1836;
    pub(super) const MUST_CHANGE_PASSWORD_LOGIN: u16 = 1862;
    pub(super) const CONNECTION_KILLED: u16 = 1927;
    pub(super) const MARIADB_INVALID_ROLE: u16 = 1959;
    pub(super) const MARIADB_CANNOT_GRANT_ROLE: u16 = 1961;
    pub(super) const MARIADB_STATEMENT_TIMEOUT: u16 = 1969;
    pub(super) const MARIADB_ACCOUNT_LOCKED: u16 = 4151;
    pub(super) const MYSQL_QUERY_TIMEOUT: u16 = 3024;
    pub(super) const MYSQL_ACCOUNT_LOCKED: u16 = 3118;
    pub(super) const MYSQL_SECURE_TRANSPORT_REQUIRED: u16 = 3159;
    pub(super) const MYSQL_UNKNOWN_ROLE: u16 = 3523;
    pub(super) const MYSQL_DEFINER_REFERENCED: u16 = 4006;
}

/// The server said that an account to create exists, or that one to alter does not.
pub(super) const CANNOT_USER: u16 = codes::CANNOT_USER;
/// The session to kill is gone already.
pub(super) const NO_SUCH_THREAD: u16 = 1094;
/// MariaDB: the account was no member of the role to revoke.
pub(super) const MARIADB_CANNOT_REVOKE_ROLE: u16 = 1962;

/// Whether an error says that a table or a column of it is not there, or not for the administration account.
pub(super) fn is_not_there(code: u16) -> bool {
    use codes::{
        COLUMN_ACCESS_DENIED, DB_ACCESS_DENIED, NO_SUCH_TABLE, TABLE_ACCESS_DENIED, UNKNOWN_COLUMN,
        UNKNOWN_DATABASE,
    };
    let absent = [NO_SUCH_TABLE, UNKNOWN_COLUMN, UNKNOWN_DATABASE];
    absent.contains(&code) || [TABLE_ACCESS_DENIED, COLUMN_ACCESS_DENIED, DB_ACCESS_DENIED].contains(&code)
}

const SHUT_OUT: &str = "does not let the administration account in";
const DISAGREES: &str = "and this machine cannot agree on TLS, or its certificate is not the one expected";

/// An error of connecting.
pub(super) fn connecting(place: &str, in_clear_text: bool, error: Error) -> TargetError {
    use TargetErrorKind::{Refused, Unauthenticated, Unavailable, Untrusted};
    let (kind, words) = match &error {
        Error::Server(answer) => match answer.code {
            // MariaDB does not say whether it is that.
            codes::ACCESS_DENIED if in_clear_text => {
                (Unauthenticated, "does not let the administration account in, or insists on TLS")
            }
            codes::ACCESS_DENIED
            | codes::ACCESS_DENIED_NO_PASSWORD
            | codes::HOST_NOT_PRIVILEGED
            | codes::MYSQL_ACCOUNT_LOCKED
            | codes::MARIADB_ACCOUNT_LOCKED
            | codes::MUST_CHANGE_PASSWORD
            | codes::MUST_CHANGE_PASSWORD_LOGIN => (Unauthenticated, SHUT_OUT),
            codes::MYSQL_SECURE_TRANSPORT_REQUIRED => (Untrusted, "insists on TLS; set tls.mode"),
            codes::HOST_IS_BLOCKED => {
                (Unavailable, "has blocked this machine after too many failed connections")
            }
            code if unavailable(code) => (Unavailable, "accepts no connection now"),
            _ => (Refused, "refused what a session begins with"),
        },
        Error::Io(IoError::Tls(_)) => (Untrusted, DISAGREES),
        Error::Io(IoError::Io(io)) if is_tls(io) => (Untrusted, DISAGREES),
        Error::Driver(DriverError::NoClientSslFlagFromServer) => (Untrusted, "does not offer TLS"),
        Error::Driver(DriverError::UnknownAuthPlugin { .. } | DriverError::CleartextPluginDisabled) => {
            (Unauthenticated, "wants the administration account to log in in a way that is not supported")
        }
        Error::Io(_) | Error::Driver(_) => (Unavailable, "cannot be connected to"),
        Error::Other(_) | Error::Url(_) => (Refused, "cannot be connected to as configured"),
    };
    TargetError::new(kind, format!("{place} {words}")).caused_by(source(error, false))
}

fn is_tls(error: &std::io::Error) -> bool {
    error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<rustls::Error>)
}

/// An error of a question whose answer needs no privilege.
pub(super) fn asking(what: &str, error: Error) -> TargetError {
    let kind = match &error {
        Error::Server(answer) if !unavailable(answer.code) => TargetErrorKind::Refused,
        _ => TargetErrorKind::Unavailable,
    };
    TargetError::new(kind, format!("the server did not say {what}")).caused_by(source(error, false))
}

fn source(error: Error, secret: bool) -> Box<dyn std::error::Error + Send + Sync> {
    match error {
        Error::Server(answer) => Box::new(Answer::of(&answer, secret)),
        other => Box::new(other),
    }
}

/// Codes that say the server is not fit to be used now.
fn unavailable(code: u16) -> bool {
    use codes::{
        CONNECTION_KILLED, DISK_FULL, OPTION_PREVENTS, READ_ONLY_MODE, RECORD_FILE_FULL, SERVER_SHUTDOWN,
        TOO_MANY_CONNECTIONS, USER_LIMIT, USER_LIMIT_REACHED,
    };
    [
        TOO_MANY_CONNECTIONS,
        DISK_FULL,
        SERVER_SHUTDOWN,
        RECORD_FILE_FULL,
        USER_LIMIT_REACHED,
        USER_LIMIT,
        OPTION_PREVENTS,
        READ_ONLY_MODE,
        CONNECTION_KILLED,
    ]
    .contains(&code)
}

/// An error of a statement, in words for an operator, with the statement that mends it when a privilege is missing.
pub(super) fn explain(failure: Failure, server: &Server) -> TargetError {
    let Failure { error, step } = failure;
    let secret = matches!(step, Step::Template { secret: true, .. });
    let explained = match &error {
        Error::Server(answer) => refused(answer, &step, server),
        _ => TargetError::new(
            TargetErrorKind::Unavailable,
            format!("the connection broke while {}", doing(&step)),
        ),
    };
    explained.caused_by(source(error, secret))
}

fn refused(answer: &ServerError, step: &Step, server: &Server) -> TargetError {
    use TargetErrorKind::{Denied, Exists, Refused, TimedOut, Unavailable};
    let doing = doing(step);
    match answer.code {
        codes::DB_ACCESS_DENIED
        | codes::ACCESS_DENIED
        | codes::KILL_DENIED
        | codes::TABLE_ACCESS_DENIED
        | codes::COLUMN_ACCESS_DENIED
        | codes::SPECIFIC_ACCESS_DENIED
        | codes::ROUTINE_ACCESS_DENIED
        | codes::ACCESS_DENIED_NO_PASSWORD
        | codes::MARIADB_CANNOT_GRANT_ROLE => {
            let denied = TargetError::new(Denied, denial(answer, &doing));
            match missing(answer, step) {
                Some(privilege) => denied.mended_by(privilege.grant(server)),
                None => denied,
            }
        }
        codes::DUPLICATE_KEY if *step == Step::Expiry => {
            TargetError::new(Exists, "the account exists already: it has an expiry on the target")
        }
        codes::UNKNOWN_DATABASE | codes::NO_SUCH_TABLE if *step == Step::Expiry => TargetError::new(
            Refused,
            "the table of the dead-man's switch is missing on the target: `mayfly doctor --install` mends it",
        ),
        codes::UNKNOWN_COLUMN if *step == Step::Expiry => TargetError::new(
            Refused,
            "the table of the dead-man's switch is of an old version: `mayfly doctor --install` mends it",
        ),
        codes::CANNOT_USER => TargetError::new(Exists, "the account exists already"),
        codes::MARIADB_INVALID_ROLE | codes::MYSQL_UNKNOWN_ROLE => {
            TargetError::new(Refused, format!("a group role does not exist on the server (while {doing})"))
        }
        codes::MYSQL_DEFINER_REFERENCED => TargetError::new(
            Refused,
            "the account is still the definer of a view, routine, trigger or event that Mayfly cannot see or settle",
        ),
        codes::LOCK_WAIT_TIMEOUT
        | codes::MYSQL_QUERY_TIMEOUT
        | codes::MARIADB_STATEMENT_TIMEOUT
        | codes::QUERY_INTERRUPTED => {
            TargetError::new(TimedOut, format!("the server did not finish in time while {doing}"))
        }
        codes::DEADLOCK => TargetError::new(Unavailable, format!("the server met a deadlock while {doing}")),
        code if unavailable(code) => {
            TargetError::new(Unavailable, format!("the server accepts no change now (while {doing})"))
        }
        code => TargetError::new(Refused, format!("the server refused with error {code} while {doing}")),
    }
}

fn doing(step: &Step) -> String {
    match step {
        Step::Account => "creating, changing or dropping the account".to_owned(),
        Step::Join(group) => format!("making the account a member of {group}"),
        Step::DefaultRole => "making the group the account's default role".to_owned(),
        Step::Kill => "ending a session".to_owned(),
        Step::Expiry => "writing when the account expires".to_owned(),
        Step::Switch => "installing the dead-man's switch".to_owned(),
        Step::Ask(what) => format!("asking for {what}"),
        Step::Object(object) => format!("dealing with {object}"),
        Step::Template { number, .. } => format!("running statement {number} of the role"),
    }
}

/// Names the privilege where the server does; its words are of its own making and quote nothing.
fn denial(answer: &ServerError, doing: &str) -> String {
    let named = answer
        .message
        .split_once("(at least one of) the ")
        .and_then(|(_, rest)| rest.split_once(" privilege"))
        .map_or_else(String::new, |(names, _)| format!(" ({names})"));
    format!("the administration account lacks a privilege{named} while {doing}")
}

fn missing(answer: &ServerError, step: &Step) -> Option<Privilege> {
    match step {
        Step::Account | Step::Kill if answer.message.contains("SYSTEM_USER") => Some(Privilege::SystemUser),
        Step::Join(group) => Some(Privilege::Hand(group.clone())),
        Step::Account => Some(Privilege::CreateUser),
        Step::DefaultRole => Some(Privilege::DefaultRoles),
        Step::Kill => Some(Privilege::EndSessions),
        Step::Expiry | Step::Switch => Some(Privilege::Expiries),
        Step::Ask(super::end::ACCOUNTS) => Some(Privilege::SeeAccounts),
        Step::Ask(super::found::STANDING) => Some(Privilege::SeeStanding),
        Step::Ask(super::end::MEMBERSHIPS) => Some(Privilege::SeeMemberships),
        Step::Ask(_) | Step::Object(_) | Step::Template { .. } => None,
    }
}
