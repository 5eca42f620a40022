//! How long a call may take.

use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep, sleep_until};
use tonic::codegen::http::HeaderMap;

/// What a call gets that asks for nothing.
const DEFAULT: Duration = Duration::from_secs(60);

/// The longest any call but a stream may take; asking for more is cut to this.
const LONGEST: Duration = Duration::from_secs(10 * 60);

/// What is kept free of a deadline for sending the reply; less where the deadline is short.
const REPLY: Duration = Duration::from_millis(500);

/// When a call is over, on the monotonic clock.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline {
    at: Instant,
    /// Nearly then: when to reply with what there is.
    nearly: Instant,
    /// The caller asked for it; otherwise it does not bind streams.
    asked: bool,
}

impl Deadline {
    /// The deadline in a request's headers (`grpc-timeout`), or the default.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let asked = headers.get("grpc-timeout").and_then(|value| parse(value.to_str().ok()?));
        let budget = asked.unwrap_or(DEFAULT).min(LONGEST);
        // A timer knows the moment it ends, so nothing here asks for the time.
        let moment = |after| sleep(after).deadline();
        let nearly = budget.saturating_sub(REPLY.min(budget / 5));
        Self { at: moment(budget), nearly: moment(nearly), asked: asked.is_some() }
    }

    /// When it has passed.
    pub(super) fn at(self) -> Instant {
        self.at
    }

    /// Ends when it is near enough to reply with what there is.
    pub(super) fn nearly(self) -> Sleep {
        sleep_until(self.nearly)
    }

    /// Ends when it has passed; never for a stream whose caller set none.
    pub(super) async fn of_stream(self) {
        if self.asked {
            sleep_until(self.at).await;
        } else {
            std::future::pending::<()>().await;
        }
    }
}

/// At most eight digits and a unit (gRPC over HTTP/2, "Requests").
fn parse(text: &str) -> Option<Duration> {
    let unit = text.chars().last()?;
    let digits = text.strip_suffix(unit)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let value: u64 = digits.parse().ok()?;
    Some(match unit {
        'H' => Duration::from_secs(value * 3_600),
        'M' => Duration::from_secs(value * 60),
        'S' => Duration::from_secs(value),
        'm' => Duration::from_millis(value),
        'u' => Duration::from_micros(value),
        'n' => Duration::from_nanos(value),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_protocol_allows_and_nothing_else() {
        for (text, expected) in [
            ("1H", Some(Duration::from_secs(3_600))),
            ("2M", Some(Duration::from_secs(120))),
            ("3S", Some(Duration::from_secs(3))),
            ("4m", Some(Duration::from_millis(4))),
            ("5u", Some(Duration::from_micros(5))),
            ("99999999n", Some(Duration::from_nanos(99_999_999))),
            ("", None),
            ("S", None),
            ("1", None),
            ("-1S", None),
            ("+1S", None),
            ("1s", None),
            ("123456789S", None),
            ("1é", None),
        ] {
            assert_eq!(parse(text), expected, "{text}");
        }
    }
}
