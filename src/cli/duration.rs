//! Durations and moments, as people write and read them.

use std::time::Duration;

use jiff::Timestamp;

const UNITS: [(char, u64); 4] = [('d', 86_400), ('h', 3600), ('m', 60), ('s', 1)];

/// The text is no duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum DurationError {
    /// Not numbers with units.
    #[error("expected numbers with units, such as 90s, 30m, 1h30m or 7d")]
    Malformed,
    /// Zero, or more than fits.
    #[error("must be at least one second and less than 10000 days")]
    OutOfRange,
}

/// Reads `90s`, `30m`, `1h30m`, `7d`. A number needs its unit.
///
/// # Errors
/// When the text is anything else, zero or absurdly long.
pub(super) fn parse(text: &str) -> Result<Duration, DurationError> {
    let mut total = 0u64;
    let mut rest = text;
    while !rest.is_empty() {
        let at = rest.find(|c: char| !c.is_ascii_digit()).ok_or(DurationError::Malformed)?;
        let (digits, tail) = rest.split_at(at);
        let unit = tail.chars().next().ok_or(DurationError::Malformed)?;
        let (_, seconds) = UNITS.iter().find(|(known, _)| *known == unit).ok_or(DurationError::Malformed)?;
        if digits.is_empty() {
            return Err(DurationError::Malformed);
        }
        let number: u64 = digits.parse().map_err(|_| DurationError::OutOfRange)?;
        total = number
            .checked_mul(*seconds)
            .and_then(|part| total.checked_add(part))
            .ok_or(DurationError::OutOfRange)?;
        rest = tail.get(unit.len_utf8()..).unwrap_or_default();
    }
    match total {
        _ if text.is_empty() => Err(DurationError::Malformed),
        1..864_000_000 => Ok(Duration::from_secs(total)),
        _ => Err(DurationError::OutOfRange),
    }
}

/// The two largest units: `1h5m`, `14m`, `3d2h`; below a second `0s`.
pub(super) fn words(duration: Duration) -> String {
    let mut rest = duration.as_secs();
    let mut text = String::new();
    let mut parts = 0;
    for (unit, seconds) in UNITS {
        let value = rest / seconds;
        rest %= seconds;
        if value > 0 {
            text.push_str(&value.to_string());
            text.push(unit);
        }
        if value > 0 || parts > 0 {
            parts += 1;
        }
        if parts == 2 {
            break;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

/// `in 14m`, `3m ago`, `now`.
pub(super) fn relative(at: Timestamp, now: Timestamp) -> String {
    let distance = at.duration_since(now);
    let (ahead, distance) = (distance.is_positive(), distance.unsigned_abs());
    if distance < Duration::from_secs(1) {
        return "now".to_owned();
    }
    // Rounded, not cut: a lease of 30 minutes that was issued some milliseconds ago expires in 30m, not in 29m59s.
    let distance = Duration::from_secs(distance.saturating_add(Duration::from_millis(500)).as_secs());
    if ahead { format!("in {}", words(distance)) } else { format!("{} ago", words(distance)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_durations() {
        for (text, seconds) in [("1s", 1), ("90s", 90), ("30m", 1800), ("1h30m", 5400), ("90d", 7_776_000)] {
            assert_eq!(parse(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_duration() {
        for text in ["", "30", "m", "-1s", "1.5h", "1x", " 1h", "1h ", "1ü", "h1"] {
            assert_eq!(parse(text), Err(DurationError::Malformed), "{text:?}");
        }
        for text in ["0s", "0d", "10000d", "99999999999999999999s", "18446744073709551615d"] {
            assert_eq!(parse(text), Err(DurationError::OutOfRange), "{text:?}");
        }
    }

    #[test]
    fn shows_two_units_at_most() {
        for (seconds, text) in
            [(0, "0s"), (59, "59s"), (60, "1m"), (840, "14m"), (3900, "1h5m"), (3601, "1h"), (90_061, "1d1h")]
        {
            assert_eq!(words(Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn moments_are_relative_to_now() {
        let now = Timestamp::from_second(1_000_000).unwrap();
        let at = |millis: i64| now + jiff::SignedDuration::from_millis(millis);
        for (millis, text) in [
            (1_799_990, "in 30m"),
            (-180_000, "3m ago"),
            (300, "now"),
            (-999, "now"),
            (-86_400_000, "1d ago"),
        ] {
            assert_eq!(relative(at(millis), now), text);
        }
    }
}
