//! What policies are told of the moment: the context, in the words of the schema.

use cedar_policy::{EntityUid, RestrictedExpression};
use jiff::tz::TimeZone;

use super::{
    Asked, Who,
    facts::{Types, Unspeakable, entity, number, text, uid, unspeakable},
    moment::Moment,
    risk::second_factor_age,
};
use crate::domain::Request;

/// Names and values of what is known of the moment.
pub(super) type Pairs = Result<Vec<(String, RestrictedExpression)>, Unspeakable>;

fn moment(types: &Types, moment: Moment) -> Result<RestrictedExpression, Unspeakable> {
    let long = |value: i64| RestrictedExpression::new_long(value);
    let fields = [
        ("year", long(moment.year.into())),
        ("month", long(moment.month.into())),
        ("day", long(moment.day.into())),
        ("hour", long(moment.hour.into())),
        ("minute", long(moment.minute.into())),
        ("weekday", entity(uid(&types.weekday, moment.weekday.as_str()))),
    ];
    RestrictedExpression::new_record(fields.map(|(name, value)| (name.to_owned(), value)))
        .map_err(|error| unspeakable(&error))
}

/// What is known whenever somebody wants something.
pub(super) fn circumstances(types: &Types, who: &Who<'_>, zone: &TimeZone) -> Pairs {
    let mut context = vec![("now".to_owned(), moment(types, Moment::of(who.now, zone))?)];
    if let Some(address) = who.address {
        let address = RestrictedExpression::new_ip(address.to_canonical().to_string());
        context.push(("address".to_owned(), address));
    }
    if let Some(age) = second_factor_age(who) {
        context.push(("second_factor_age".to_owned(), number(age.as_secs())));
    }
    Ok(context)
}

/// What is known when somebody asks for a role.
pub(super) fn asking(types: &Types, who: &Who<'_>, asked: &Asked<'_>, risk: u32, zone: &TimeZone) -> Pairs {
    let terms = asked.terms;
    let start = moment(types, Moment::of(terms.start.unwrap_or(who.now), zone))?;
    let justification = terms.justification.trim();
    let length = u64::try_from(justification.chars().count()).unwrap_or(u64::MAX);
    let live = asked.live_roles.iter().map(|name| entity(uid(&types.role, name.as_str())));
    let mut context = circumstances(types, who, zone)?;
    context.extend(
        [
            ("ttl", number(terms.ttl.duration().as_secs())),
            ("start", start),
            ("scheduled", RestrictedExpression::new_bool(terms.start.is_some())),
            ("parallel", number(terms.parallel.into())),
            ("justification", text(justification)),
            ("justification_length", number(length)),
            ("live_leases", number(asked.live_leases.into())),
            ("live_roles", RestrictedExpression::new_set(live)),
            ("risk", number(risk.into())),
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    );
    context.extend(ticket(terms.ticket.as_ref()));
    if let Some(first) = asked.first_use {
        context.push(("first_use".to_owned(), RestrictedExpression::new_bool(first)));
    }
    Ok(context)
}

/// What is known when somebody reviews a request.
pub(super) fn reviewing(
    types: &Types,
    reviewer: &Who<'_>,
    (request, requester): (&Request, Option<EntityUid>),
    step: (&str, bool),
    zone: &TimeZone,
) -> Pairs {
    let mut context = circumstances(types, reviewer, zone)?;
    context.extend(requester.map(|requester| ("requester".to_owned(), entity(requester))));
    if let Some(sponsor) = &request.sponsor {
        context.push(("sponsor".to_owned(), entity(uid(&types.principal, sponsor.as_str()))));
    }
    context.extend(
        [
            ("step", text(step.0)),
            ("escalated", RestrictedExpression::new_bool(step.1)),
            ("ttl", number(request.terms.ttl.duration().as_secs())),
            ("risk", number(request.requirement.risk.score.into())),
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    );
    context.extend(ticket(request.terms.ticket.as_ref()));
    Ok(context)
}

fn ticket(ticket: Option<&String>) -> Option<(String, RestrictedExpression)> {
    let ticket = ticket.map(|ticket| ticket.trim()).filter(|ticket| !ticket.is_empty())?;
    Some(("ticket".to_owned(), text(ticket)))
}
