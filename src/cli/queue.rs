//! Waiting for an account that somebody else holds: it is asked for again until it is ours.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{CliError, Exit, approval::Waiting};

/// The reason of a refusal: somebody else holds the account.
const ACCOUNT_HELD: &str = "ACCOUNT_HELD";

/// How long to wait before asking again when the server does not say.
const PAUSE: Duration = Duration::from_secs(2);

/// Asks until the account is ours, if that is wished, and tells of what changes meanwhile. A server that cannot be reached for a while
/// keeps our place.
///
/// # Errors
/// What the server refuses; that somebody else holds the account, and nobody wants to wait.
pub(super) async fn until_ours<T>(
    wait: bool,
    waiting: &mut Waiting<'_>,
    ask: impl AsyncFn(&mut Waiting<'_>) -> Result<T, CliError>,
) -> Result<T, CliError> {
    let (mut queued, mut told) = (false, String::new());
    loop {
        let error = match ask(waiting).await {
            Err(error) if wait && error.reason() == Some(ACCOUNT_HELD) => {
                queued = true;
                error
            }
            Err(error) if queued && is_passing(error.exit()) => error,
            answer => return answer,
        };
        let words = if error.reason() == Some(ACCOUNT_HELD) {
            error.to_string()
        } else {
            format!("{error} (trying again)")
        };
        if !waiting.output.is_json() && words != told {
            waiting.output.note(&words);
        }
        told = words;
        let spinner = waiting.output.spinner("waiting for our turn");
        let pause =
            SignedDuration::try_from(error.retry_after().unwrap_or(PAUSE)).unwrap_or(SignedDuration::MAX);
        let again = waiting.clock.now().saturating_add(pause).unwrap_or(Timestamp::MAX);
        waiting.clock.sleep_until(again).await;
        drop(spinner);
    }
}

fn is_passing(exit: Exit) -> bool {
    matches!(exit, Exit::Unavailable | Exit::Limit | Exit::Deadline)
}
