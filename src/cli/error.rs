//! Errors as the person at the terminal reads them: one line, then hints.

use std::{error::Error, fmt, io, time::Duration};

use serde::Serialize;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use super::{Exit, duration};

/// Why a command did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// Whoever read our output has left (`| head`). Not a failure.
    #[error("the output was closed")]
    OutputClosed,
    /// Anything else.
    #[error("{}", .0.message)]
    Failed(Box<Failure>),
}

/// A failure, ready to be shown.
#[derive(Debug, Serialize)]
pub struct Failure {
    /// Decides the exit code.
    #[serde(skip)]
    pub exit: Exit,
    /// For programs: a `google.rpc.ErrorInfo` reason, or the name of a gRPC code.
    pub reason: String,
    /// One line.
    pub message: String,
    /// What could be done about it.
    pub hints: Vec<String>,
    /// When trying again makes sense.
    #[serde(skip)]
    pub retry_after: Option<Duration>,
}

impl CliError {
    /// A failure that ends with `exit` and says `message`.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        let reason = format!("{exit:?}").to_uppercase();
        let message = message.into();
        CliError::Failed(Box::new(Failure { exit, reason, message, hints: Vec::new(), retry_after: None }))
    }

    /// The command line asks for something that makes no sense.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// Something on this machine went wrong. `message` says what was tried; the causes follow after colons.
    pub fn local(message: impl fmt::Display, cause: &(dyn Error + 'static)) -> Self {
        Self::new(Exit::Failure, format!("{message}: {}", chain(cause)))
    }

    /// A failure told by an error and its causes.
    pub fn caused(exit: Exit, cause: &(dyn Error + 'static)) -> Self {
        Self::new(exit, chain(cause))
    }

    /// Adds what could be done about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        if let CliError::Failed(failure) = &mut self {
            failure.hints.push(hint.into());
        }
        self
    }

    /// For programs: why; `None`: it is no failure.
    pub fn reason(&self) -> Option<&str> {
        match self {
            CliError::OutputClosed => None,
            CliError::Failed(failure) => Some(&failure.reason),
        }
    }

    /// When trying again makes sense, if the server said so.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            CliError::OutputClosed => None,
            CliError::Failed(failure) => failure.retry_after,
        }
    }

    /// Decides the exit code.
    pub fn exit(&self) -> Exit {
        match self {
            CliError::OutputClosed => Exit::Ok,
            CliError::Failed(failure) => failure.exit,
        }
    }

    /// What went wrong on the way. Only what tonic made up itself has a source; a server's answer has none.
    fn of_line(status: &Status, address: &str) -> Option<Self> {
        let cause = root(status.source()?);
        let (what, hint) = match status.code() {
            Code::Unavailable => (
                format!("cannot reach Mayfly at {address}"),
                "is `mayfly serve` running there? --address or MAYFLY_ADDRESS says where to call",
            ),
            // With TLS 1.3 a server turns a client's certificate down only after the handshake; one that speaks TLS answers
            // clear text with what is no HTTP/2, or not at all. A line that breaks under a call cancels it.
            Code::Unknown | Code::Internal | Code::Cancelled if !gave_up(status) => (
                format!("the line to Mayfly at {address} broke"),
                if address.starts_with("https:") {
                    "with mutual TLS: --client-certificate and --client-key say which certificate to show"
                } else {
                    "if it speaks TLS, its address begins with https://"
                },
            ),
            _ => return None,
        };
        Some(Self::new(Exit::Unavailable, format!("{what}: {cause}")).hint(hint))
    }

    /// Reads what a call ended with. `address` is where the server was called.
    pub fn from_status(status: &Status, address: &str) -> Self {
        if let Some(error) = Self::of_line(status, address) {
            return error;
        }
        let details = status.get_error_details();
        let reason = details.error_info().map_or_else(|| name(status.code()), |info| info.reason.clone());
        let message = match status.message().trim() {
            _ if gave_up(status) => "no answer in time; whether it was done is unknown".to_owned(),
            "" => format!("the call ended with {}", name(status.code())),
            message => printable(message),
        };
        let hints = hints(status, &details);
        let exit = exit_of_reason(&reason).unwrap_or_else(|| exit_of(status));
        let retry_after = details.retry_info().and_then(|retry| retry.retry_delay);
        CliError::Failed(Box::new(Failure { exit, reason, message, hints, retry_after }))
    }
}

impl From<io::Error> for CliError {
    /// For writing output: reading files says which file, with [`CliError::local`].
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return CliError::OutputClosed;
        }
        CliError::local("cannot write the output", &error)
    }
}

impl Failure {
    /// As text: `error: …`, then `hint: …` lines.
    pub fn to_text(&self) -> String {
        let mut lines = vec![format!("error: {}", self.message)];
        lines.extend(self.hints.iter().map(|hint| format!("hint: {hint}")));
        lines.join("\n")
    }

    /// As one JSON document.
    pub fn to_json(&self) -> String {
        #[derive(Serialize)]
        struct Envelope<'a> {
            error: &'a Failure,
            exit_code: u8,
        }
        serde_json::to_string(&Envelope { error: self, exit_code: self.exit.code() }).unwrap_or_default()
    }
}

/// Replaces control characters, which could play tricks on a terminal, in text that others wrote.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}

/// The innermost cause: "connection refused" rather than "transport error".
fn root<'a>(error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    let mut innermost = error;
    while let Some(cause) = innermost.source() {
        innermost = cause;
    }
    innermost
}

/// Our own patience ended, not the server's: tonic reports that as a cancellation.
fn gave_up(status: &Status) -> bool {
    status.code() == Code::Cancelled && status.message() == "Timeout expired"
}

/// What a reason says more of than its code.
fn exit_of_reason(reason: &str) -> Option<Exit> {
    match reason {
        "APPROVAL_REQUIRED" | "GRANT_NOT_BEGUN" | "ACCOUNT_HELD" => Some(Exit::Pending),
        "GRANT_ENDED" => Some(Exit::Lapsed),
        _ => None,
    }
}

fn exit_of(status: &Status) -> Exit {
    match status.code() {
        _ if gave_up(status) => Exit::Deadline,
        Code::DeadlineExceeded => Exit::Deadline,
        Code::Unauthenticated => Exit::Unauthenticated,
        Code::PermissionDenied => Exit::Denied,
        Code::NotFound => Exit::NotFound,
        Code::InvalidArgument | Code::OutOfRange => Exit::Invalid,
        Code::ResourceExhausted => Exit::Limit,
        Code::Unavailable => Exit::Unavailable,
        Code::FailedPrecondition => Exit::Precondition,
        Code::AlreadyExists | Code::Aborted => Exit::Conflict,
        _ => Exit::Internal,
    }
}

/// `PERMISSION_DENIED` from `PermissionDenied`.
fn name(code: Code) -> String {
    format!("{code:?}").chars().fold(String::new(), |mut name, c| {
        if c.is_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.extend(c.to_uppercase());
        name
    })
}

fn hints(status: &Status, details: &ErrorDetails) -> Vec<String> {
    let mut hints = Vec::new();
    // What the message says already is no hint.
    let news = |subject: &str, text: &str| (!status.message().contains(text)).then(|| joined(subject, text));
    let fields = details.bad_request().into_iter().flat_map(|request| &request.field_violations);
    hints.extend(fields.filter_map(|violation| news(&violation.field, &violation.description)));
    let preconditions = details.precondition_failure().into_iter().flat_map(|failure| &failure.violations);
    hints.extend(preconditions.filter_map(|violation| news(&violation.subject, &violation.description)));
    let quotas = details.quota_failure().into_iter().flat_map(|failure| &failure.violations);
    hints.extend(quotas.filter_map(|violation| news(&violation.subject, &violation.description)));
    if let Some(remedy) = details.error_info().and_then(|info| info.metadata.get("remedy")) {
        hints.push(format!("run this on the target: {remedy}"));
    }
    let reason = details.error_info().map(|info| info.reason.as_str());
    let has_place = details.error_info().is_some_and(|info| info.metadata.contains_key("position"));
    if reason == Some("ACCOUNT_HELD") && has_place {
        hints.push("--wait waits for your turn; a place is kept for 30s without asking again".into());
    } else if let Some(delay) = details.retry_info().and_then(|retry| retry.retry_delay) {
        let delay = delay.max(Duration::from_secs(1));
        hints.push(format!("try again in {}", duration::words(delay)));
    }
    match status.code() {
        Code::Unauthenticated => match reason {
            // Their messages say what to do, or nothing can be said.
            Some(reason) if reason.starts_with("SESSION_") || reason.starts_with("SIGN_IN") => {}
            Some("SECOND_FACTOR_REQUIRED") => {}
            _ => hints.push("MAYFLY_TOKEN, --token-file or MAYFLY_TOKEN_FILE says which token to use".into()),
        },
        Code::PermissionDenied => {
            hints.push("`mayfly whoami` and `mayfly roles ls` show what you may do".into());
        }
        Code::Unimplemented => {
            hints.push("the server does not know this call: is it an older Mayfly?".into());
        }
        _ => {}
    }
    hints.iter().map(|hint| printable(hint)).collect()
}

fn joined(subject: &str, description: &str) -> String {
    if subject.is_empty() { description.to_owned() } else { format!("{subject}: {description}") }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, time::Duration};

    use super::*;

    fn shown(status: &Status) -> (u8, String) {
        match CliError::from_status(status, "http://127.0.0.1:7440") {
            CliError::Failed(failure) => (failure.exit.code(), failure.to_text()),
            CliError::OutputClosed => panic!("not an output error"),
        }
    }

    #[test]
    fn codes_become_exit_codes() {
        for (code, exit) in [
            (Code::Unauthenticated, 3),
            (Code::PermissionDenied, 4),
            (Code::NotFound, 5),
            (Code::InvalidArgument, 6),
            (Code::ResourceExhausted, 7),
            (Code::Unavailable, 8),
            (Code::FailedPrecondition, 9),
            (Code::DeadlineExceeded, 10),
            (Code::AlreadyExists, 13),
            (Code::Aborted, 13),
            (Code::Internal, 70),
            (Code::DataLoss, 70),
        ] {
            assert_eq!(shown(&Status::new(code, "x")).0, exit, "{code:?}");
        }
        assert_eq!(shown(&Status::cancelled("Timeout expired")).0, 10);
    }

    #[test]
    fn a_line_that_breaks_under_a_call_is_told_apart_from_what_a_server_answers() {
        let mut broken = Status::cancelled("operation was canceled");
        broken.set_source(std::sync::Arc::new(io::Error::other("bad certificate")));
        let (exit, text) = shown(&broken);
        assert_eq!(exit, 8, "{text}");
        assert!(
            text.contains("the line to Mayfly at http://127.0.0.1:7440 broke: bad certificate"),
            "{text}"
        );
        let mut patience = Status::cancelled("Timeout expired");
        patience.set_source(std::sync::Arc::new(io::Error::other("Timeout expired")));
        assert_eq!(shown(&patience).0, 10);
        assert_eq!(shown(&Status::cancelled("the server says so")).0, 70);
    }

    #[test]
    fn details_become_hints() {
        let mut details = ErrorDetails::new();
        details.add_bad_request_violation("ttl", "is above the role's maximum of 1h");
        details.set_retry_info(Some(Duration::from_secs(3)));
        let status = Status::with_error_details(Code::InvalidArgument, "the TTL is refused", details);
        assert_eq!(
            shown(&status).1,
            "error: the TTL is refused\nhint: ttl: is above the role's maximum of 1h\nhint: try again in 3s"
        );
    }

    #[test]
    fn what_the_message_says_already_is_not_said_again() {
        let mut details = ErrorDetails::new();
        details.add_bad_request_violation("ttl", "the TTL is refused");
        let status = Status::with_error_details(Code::InvalidArgument, "the TTL is refused", details);
        assert_eq!(shown(&status).1, "error: the TTL is refused");
    }

    #[test]
    fn the_statement_that_mends_it_is_shown() {
        let metadata =
            HashMap::from([("remedy".to_owned(), "GRANT readers TO mayfly WITH ADMIN OPTION".to_owned())]);
        let details = ErrorDetails::with_error_info("PRIVILEGE_MISSING", "mayfly", metadata);
        let status = Status::with_error_details(Code::FailedPrecondition, "cannot grant", details);
        let error = CliError::from_status(&status, "");
        let CliError::Failed(failure) = error else { panic!("failed") };
        assert_eq!(failure.reason, "PRIVILEGE_MISSING");
        assert_eq!(failure.hints, ["run this on the target: GRANT readers TO mayfly WITH ADMIN OPTION"]);
    }

    #[test]
    fn a_message_cannot_play_tricks_on_the_terminal() {
        let (_, text) = shown(&Status::internal("a\u{1b}[2Jb\nerror: forged"));
        assert_eq!(text, "error: a [2Jb error: forged");
    }

    #[test]
    fn a_closed_pipe_is_no_failure() {
        let error = CliError::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!(error.exit(), Exit::Ok);
    }

    #[test]
    fn json_has_the_code_and_the_hints() {
        let CliError::Failed(failure) = CliError::usage("no").hint("do it so") else { panic!("failed") };
        assert_eq!(
            failure.to_json(),
            r#"{"error":{"reason":"USAGE","message":"no","hints":["do it so"]},"exit_code":2}"#
        );
    }
}
