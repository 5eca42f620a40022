//! Moments, as people write them: when access is to begin.

use jiff::{Timestamp, Zoned};

use super::duration;

/// The text is no moment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected a duration from now (2h), a moment with its offset (2026-11-22T09:00:00+01:00) or with its zone \
     (2026-11-22T09:00:00[Europe/Berlin])"
)]
pub(super) struct MomentError;

/// When: a moment, or so long from now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct When(Given);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Given {
    At(Timestamp),
    In(std::time::Duration),
}

impl When {
    /// The moment, now being `now`.
    pub(super) fn at(self, now: Timestamp) -> Timestamp {
        match self.0 {
            Given::At(at) => at,
            Given::In(wait) => {
                let wait = jiff::SignedDuration::try_from(wait).unwrap_or(jiff::SignedDuration::MAX);
                now.saturating_add(wait).unwrap_or(Timestamp::MAX)
            }
        }
    }

    /// The moment for the API.
    pub(super) fn to_proto(self, now: Timestamp) -> prost_types::Timestamp {
        let at = self.at(now);
        prost_types::Timestamp { seconds: at.as_second(), nanos: at.subsec_nanosecond().max(0) }
    }
}

/// Reads `2h`, `2026-11-22T09:00:00Z`, `2026-11-22T09:00:00[Europe/Berlin]`. A time of day without offset or zone is refused: it
/// means something else on another machine. With a zone, a time that does not exist there or exists twice is refused as well.
///
/// # Errors
/// When the text is anything else.
pub(super) fn parse(text: &str) -> Result<When, MomentError> {
    if let Ok(wait) = duration::parse(text) {
        return Ok(When(Given::In(wait)));
    }
    if let Ok(at) = text.parse::<Timestamp>()
        && !text.contains('[')
    {
        return Ok(When(Given::At(at)));
    }
    let parser = jiff::fmt::temporal::DateTimeParser::new()
        .disambiguation(jiff::tz::Disambiguation::Reject)
        .offset_conflict(jiff::tz::OffsetConflict::Reject);
    let zoned: Zoned = parser.parse_zoned(text).map_err(|_| MomentError)?;
    Ok(When(Given::At(zoned.timestamp())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> String {
        let now: Timestamp = "2026-11-22T08:00:00Z".parse().unwrap();
        parse(text).unwrap().at(now).to_string()
    }

    #[test]
    fn reads_durations_offsets_and_zones() {
        for (text, moment) in [
            ("2h", "2026-11-22T10:00:00Z"),
            ("2026-11-23T09:00:00Z", "2026-11-23T09:00:00Z"),
            ("2026-11-23T09:00:00+01:00", "2026-11-23T08:00:00Z"),
            ("2026-11-23T09:00:00[Europe/Berlin]", "2026-11-23T08:00:00Z"),
            ("2026-07-23T09:00:00[Europe/Berlin]", "2026-07-23T07:00:00Z"),
            // Twice that night; the offset says which.
            ("2026-10-25T02:30:00+01:00[Europe/Berlin]", "2026-10-25T01:30:00Z"),
        ] {
            assert_eq!(at(text), moment, "{text}");
        }
    }

    #[test]
    fn refuses_what_means_something_else_elsewhere_or_nothing_at_all() {
        for text in [
            "",
            "tomorrow",
            "2026-11-23",
            "2026-11-23T09:00:00",
            "09:00",
            "2026-13-01T00:00:00Z",
            "2026-11-23T09:00:00[Europe/Nowhere]",
            // Skipped when the clocks go forward, and told twice when they go back.
            "2026-03-29T02:30:00[Europe/Berlin]",
            "2026-10-25T02:30:00[Europe/Berlin]",
            "2026-11-23T09:00:00+05:00[Europe/Berlin]",
        ] {
            assert_eq!(parse(text), Err(MomentError), "{text}");
        }
    }
}
