//! Coming back: a server that has too much to do says when, and is asked again then.

use std::{future::Future, time::Duration};

use tonic::Status;
use tonic_types::StatusExt as _;

/// The reason it gives. Others that say when to come back (a rate, a queue) are the caller's own doing, and for the caller to know.
const OVERLOADED: &str = "OVERLOADED";

/// Calls, and calls again when the server is overloaded: as late as it says, for as long in all as a call may take.
///
/// # Errors
/// What the last call ended with.
pub(super) async fn until_not_overloaded<T, F>(
    timeout: Duration,
    mut call: impl FnMut() -> F,
) -> Result<T, Status>
where
    F: Future<Output = Result<T, Status>>,
{
    let mut left = timeout;
    loop {
        let status = match call().await {
            Ok(reply) => return Ok(reply),
            Err(status) => status,
        };
        // A server that says to come back at once is not to be asked without end.
        let Some(wait) = told(&status).map(|wait| wait.max(LEAST)).filter(|wait| *wait <= left) else {
            return Err(status);
        };
        left -= wait;
        tokio::time::sleep(wait).await;
    }
}

/// The shortest time to stay away.
const LEAST: Duration = Duration::from_millis(50);

fn told(status: &Status) -> Option<Duration> {
    let info = status.get_details_error_info()?;
    if info.reason != OVERLOADED {
        return None;
    }
    status.get_details_retry_info()?.retry_delay
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, collections::HashMap};

    use tonic::Code;
    use tonic_types::ErrorDetails;

    use super::*;

    fn refusal(reason: &str, wait: Duration) -> Status {
        let mut details = ErrorDetails::with_error_info(reason, "mayfly", HashMap::new());
        details.set_retry_info(Some(wait));
        Status::with_error_details(Code::ResourceExhausted, "later", details)
    }

    /// How often a server is asked that answers so, the last answer for ever, and what came of it.
    async fn asked(answers: Vec<Result<u8, Status>>) -> (usize, Result<u8, Code>) {
        let calls = RefCell::new(0);
        let answered = until_not_overloaded(Duration::from_millis(200), || {
            let at = calls.replace_with(|calls| *calls + 1);
            let answer = answers.get(at).or(answers.last()).unwrap().clone();
            async { answer }
        });
        let answered = answered.await.map_err(|status| status.code());
        (calls.into_inner(), answered)
    }

    #[tokio::test]
    async fn an_overloaded_server_is_asked_again_when_it_says_so() {
        let busy = || Err(refusal("OVERLOADED", Duration::from_millis(60)));
        assert_eq!(asked(vec![busy(), busy(), Ok(7)]).await, (3, Ok(7)));
    }

    #[tokio::test]
    async fn it_is_not_waited_for_longer_than_a_call_may_take() {
        let busy = |wait| Err(refusal("OVERLOADED", Duration::from_millis(wait)));
        assert_eq!(asked(vec![busy(60)]).await, (4, Err(Code::ResourceExhausted)));
        assert_eq!(asked(vec![busy(201)]).await, (1, Err(Code::ResourceExhausted)));
        let (calls, _) = asked(vec![busy(0)]).await;
        assert_eq!(calls, 5, "it was asked without a pause");
    }

    #[tokio::test]
    async fn nothing_else_is_asked_twice() {
        for reason in ["RATE_LIMITED", "LEASE_LIMIT_REACHED", "ACCOUNT_HELD"] {
            let other = Err(refusal(reason, Duration::from_millis(1)));
            assert_eq!(asked(vec![other]).await, (1, Err(Code::ResourceExhausted)), "{reason}");
        }
        assert_eq!(asked(vec![Err(Status::unavailable("gone"))]).await, (1, Err(Code::Unavailable)));
    }
}
