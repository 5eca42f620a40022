//! When an event is told. Most at once; what is told ahead of time, or only if it lasts, is looked at again when its time comes.

use std::str::FromStr;

use jiff::{SignedDuration, Timestamp};

use super::{ChannelSettings, Event, EventKind};
use crate::{
    domain::{Grant, GrantState, Lease, LeaseState},
    store::{EntryKind, Store, StoreError},
};

/// When an event is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Timing {
    /// Now.
    Now,
    /// Not before then; it is looked at again.
    At(Timestamp),
    /// Not at all: it did not come to be, or does not matter any more.
    Never,
}

/// Whether events of a kind are told later than they become known.
pub(super) fn is_put_off(kind: EventKind) -> bool {
    matches!(kind, EventKind::Expiring | EventKind::EndFailing)
}

/// When an event is told through a channel; brings it up to date.
///
/// # Errors
/// When the store fails.
pub(super) async fn timing(
    store: &dyn Store,
    event: &mut Event,
    settings: &ChannelSettings,
    now: Timestamp,
) -> Result<Timing, StoreError> {
    match event.kind {
        EventKind::Expiring => {
            let until = match event.resource.split_once('/') {
                Some(("leases", _)) => lease(store, event).await?.and_then(|lease| lease.expires_at()),
                Some(("grants", _)) => grant(store, event).await?.and_then(|grant| match grant.state {
                    GrantState::Active { until, .. } => Some(until),
                    _ => None,
                }),
                _ => None,
            };
            event.until = until.or(event.until);
            Ok(until.map_or(Timing::Never, |until| before(until, event.at, settings.lead(), now)))
        }
        EventKind::EndFailing => match lease(store, event).await?.map(|lease| lease.state) {
            Some(LeaseState::Ending { since, last_error, .. }) => {
                event.reason = last_error.unwrap_or_default();
                Ok(at(since.saturating_add(settings.patience()).unwrap_or(Timestamp::MAX), now))
            }
            _ => Ok(Timing::Never),
        },
        _ => Ok(Timing::Now),
    }
}

/// What lasts less than this is not told of ahead of its end.
pub(super) fn least(lead: SignedDuration) -> SignedDuration {
    lead.checked_mul(2).unwrap_or(SignedDuration::MAX)
}

/// Ahead of an end by `lead`. What lasts hardly longer than that is not told of: whoever just got it knows.
fn before(until: Timestamp, since: Timestamp, lead: SignedDuration, now: Timestamp) -> Timing {
    if until.duration_since(since) < least(lead) || until <= now {
        return Timing::Never;
    }
    at(until.saturating_sub(lead).unwrap_or(Timestamp::MIN), now)
}

fn at(moment: Timestamp, now: Timestamp) -> Timing {
    if moment <= now { Timing::Now } else { Timing::At(moment) }
}

/// The lease an event is about.
pub(super) async fn lease(store: &dyn Store, event: &Event) -> Result<Option<Lease>, StoreError> {
    match named(event, "leases") {
        Some(id) => store.lease(id).await,
        None => Ok(None),
    }
}

/// The grant an event is about.
async fn grant(store: &dyn Store, event: &Event) -> Result<Option<Grant>, StoreError> {
    kept(store, EntryKind::Grant, event.id()).await
}

/// What is kept under an identifier. What cannot be understood is told with less, not held up.
pub(super) async fn kept<T: serde::de::DeserializeOwned>(
    store: &dyn Store,
    kind: EntryKind,
    id: &str,
) -> Result<Option<T>, StoreError> {
    if id.is_empty() {
        return Ok(None);
    }
    Ok(store.entry(kind, id).await?.and_then(|entry| serde_json::from_str(&entry.body).ok()))
}

fn named<T: FromStr>(event: &Event, collection: &str) -> Option<T> {
    let (found, id) = event.resource.split_once('/')?;
    (found == collection).then(|| id.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_told_ahead_of_time_unless_it_is_near_from_the_beginning() {
        let second = |at| Timestamp::from_second(at).unwrap();
        let lead = SignedDuration::from_secs(600);
        for (until, now, expected) in [
            (3600, 0, Timing::At(second(3000))),
            (3600, 3000, Timing::Now),
            (3600, 3599, Timing::Now),
            (3600, 3600, Timing::Never),
            (1200, 0, Timing::At(second(600))),
            (1199, 0, Timing::Never),
        ] {
            assert_eq!(before(second(until), second(0), lead, second(now)), expected, "{until} {now}");
        }
    }
}
