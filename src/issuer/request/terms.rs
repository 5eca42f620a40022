//! What may be asked for.

use jiff::Timestamp;

use super::{NewRequest, RequestSettings, from};
use crate::{
    domain::{RequestTerms, Role},
    issuer::Refusal,
};

/// Characters a justification, a comment or a reason may have.
const TEXT_LIMIT: usize = 1_000;

/// Characters a ticket may have.
const TICKET_LIMIT: usize = 200;

/// Bytes an idempotency key may have.
const KEY_LIMIT: usize = 128;

/// A text of people: of bounded length, on one line.
pub(in crate::issuer) fn check_text(field: &'static str, text: &str) -> Result<(), Refusal> {
    // Bytes are counted first: a megabyte is not walked through to be refused.
    if text.len() > 4 * TEXT_LIMIT || text.chars().count() > TEXT_LIMIT || text.chars().any(char::is_control)
    {
        return Err(Refusal::invalid(
            field,
            format!("a {field} is at most {TEXT_LIMIT} characters on one line"),
        ));
    }
    Ok(())
}

/// A ticket, if there is one.
pub(in crate::issuer) fn check_ticket(ticket: Option<&str>) -> Result<(), Refusal> {
    let ticket = ticket.unwrap_or_default();
    if ticket.len() > 4 * TICKET_LIMIT
        || ticket.chars().count() > TICKET_LIMIT
        || ticket.chars().any(char::is_control)
    {
        let message = format!("a ticket is at most {TICKET_LIMIT} characters on one line");
        return Err(Refusal::invalid("ticket", message));
    }
    Ok(())
}

/// The texts of a request.
pub(in crate::issuer) fn check_words(new: &NewRequest) -> Result<(), Refusal> {
    check_text("justification", &new.justification)?;
    check_ticket(new.ticket.as_deref())?;
    let sound = |key: &String| {
        (1..=KEY_LIMIT).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic())
    };
    if !new.idempotency_key.as_ref().is_none_or(sound) {
        let message =
            format!("an idempotency key is 1 to {KEY_LIMIT} printable ASCII characters without blanks");
        return Err(Refusal::invalid("idempotency_key", message));
    }
    Ok(())
}

/// The terms that somebody asks for under a role. What is more than the role allows is refused, not cut.
pub(super) fn terms(new: &NewRequest, role: &Role) -> Result<RequestTerms, Refusal> {
    let parallel = new.parallel.max(1);
    if parallel > role.limits.per_principal {
        let message = format!(
            "at most {} leases under the role {} may be live at once for one principal",
            role.limits.per_principal, role.name
        );
        return Err(Refusal::invalid("parallel", message));
    }
    Ok(RequestTerms {
        role: role.name.clone(),
        target: role.target.clone(),
        ttl: role.ttl.choose(new.ttl)?,
        start: new.start,
        parallel,
        justification: new.justification.clone(),
        ticket: new.ticket.clone().filter(|ticket| !ticket.is_empty()),
    })
}

/// A start that can be meant: not over, and not further ahead than is allowed.
pub(super) fn check_start(
    start: Option<Timestamp>,
    now: Timestamp,
    settings: &RequestSettings,
) -> Result<(), Refusal> {
    match start {
        Some(start) if start < now => Err(Refusal::invalid("start_time", "the start is in the past")),
        Some(start) if start > from(now, settings.start_within) => {
            let latest = from(now, settings.start_within);
            Err(Refusal::invalid(
                "start_time",
                format!("the start is too far ahead: at the latest {latest:.0}"),
            ))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_bounded_in_characters_and_stays_on_its_line() {
        assert!(check_text("comment", &"é".repeat(TEXT_LIMIT)).is_ok());
        for text in ["é".repeat(TEXT_LIMIT + 1), "x".repeat(1 << 20), "a\nb".to_owned(), "\0".to_owned()] {
            assert!(check_text("comment", &text).is_err());
        }
    }

    #[test]
    fn a_start_is_an_absolute_instant_whatever_clocks_on_the_wall_do() {
        // Half past two in Zurich, in the night the clocks are put forward, does not exist; an instant always does.
        let settings = RequestSettings::default();
        let before: Timestamp = "2026-03-29T01:30:00+01:00".parse().unwrap();
        let after: Timestamp = "2026-03-29T03:30:00+02:00".parse().unwrap();
        assert_eq!(after.duration_since(before).as_secs(), 3_600);
        assert!(check_start(Some(after), before, &settings).is_ok());
        assert!(check_start(Some(before), after, &settings).is_err());
        // The hour that comes twice is two different hours.
        let first: Timestamp = "2026-10-25T02:30:00+02:00".parse().unwrap();
        let second: Timestamp = "2026-10-25T02:30:00+01:00".parse().unwrap();
        assert!(check_start(Some(second), first, &settings).is_ok());
        assert!(check_start(Some(first), second, &settings).is_err());
    }
}
