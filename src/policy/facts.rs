//! What policies are told: entities and context, in the words of the schema.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::LazyLock,
};

use cedar_policy::{
    Context, Entities, Entity, EntityId, EntityTypeName, EntityUid, RestrictedExpression, Schema,
};
use jiff::tz::TimeZone;

use super::{Asked, Who, moment::Moment, risk::second_factor_age};
use crate::domain::{Access, Engine, Principal, PrincipalKind, PrincipalName, Request, Role, Subject};

/// What could not be put in the schema's words: a defect of Mayfly, and a denial.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Unspeakable(pub(super) String);

/// What is known of a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetFacts {
    /// What it runs.
    pub engine: Engine,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// The types of the schema.
struct Types {
    principal: EntityTypeName,
    group: EntityTypeName,
    role: EntityTypeName,
    target: EntityTypeName,
    lease: EntityTypeName,
    mayfly: EntityTypeName,
    action: EntityTypeName,
    kind: EntityTypeName,
    engine: EntityTypeName,
    access: EntityTypeName,
    weekday: EntityTypeName,
}

/// `None` never: a test sees to it.
static TYPES: LazyLock<Option<Types>> = LazyLock::new(|| {
    let name = |text: &str| text.parse::<EntityTypeName>().ok();
    Some(Types {
        principal: name("Principal")?,
        group: name("Group")?,
        role: name("Role")?,
        target: name("Target")?,
        lease: name("Lease")?,
        mayfly: name("Mayfly")?,
        action: name("Action")?,
        kind: name("Kind")?,
        engine: name("Engine")?,
        access: name("Access")?,
        weekday: name("Weekday")?,
    })
});

type Attributes = HashMap<String, RestrictedExpression>;

/// A question, as policies see it.
pub(super) struct Facts {
    pub(super) action: EntityUid,
    /// The principal, then what it is in.
    pub(super) principal: Vec<EntityUid>,
    /// The resource, then what it is in.
    pub(super) resource: Vec<EntityUid>,
    pub(super) entities: Vec<Entity>,
    pub(super) context: Vec<(String, RestrictedExpression)>,
}

fn types() -> Result<&'static Types, Unspeakable> {
    TYPES.as_ref().ok_or_else(|| Unspeakable("the types of the schema are broken".to_owned()))
}

fn uid(name: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(name.clone(), EntityId::new(id))
}

fn text(value: &str) -> RestrictedExpression {
    RestrictedExpression::new_string(value.to_owned())
}

fn entity(uid: EntityUid) -> RestrictedExpression {
    RestrictedExpression::new_entity_uid(uid)
}

fn number(value: u64) -> RestrictedExpression {
    RestrictedExpression::new_long(i64::try_from(value).unwrap_or(i64::MAX))
}

fn unspeakable(error: &impl std::fmt::Display) -> Unspeakable {
    Unspeakable(error.to_string())
}

fn kind(types: &Types, kind: PrincipalKind) -> EntityUid {
    uid(&types.kind, kind.as_str())
}

/// A principal with its groups; the first of what comes back is itself.
fn principal(types: &Types, principal: &Principal) -> Result<(Vec<EntityUid>, Entity), Unspeakable> {
    let own = uid(&types.principal, principal.name.as_str());
    let groups: Vec<EntityUid> =
        principal.groups.iter().map(|group| uid(&types.group, group.as_str())).collect();
    let attributes: Attributes = [
        ("name".to_owned(), text(principal.name.as_str())),
        ("kind".to_owned(), entity(kind(types, principal.kind))),
    ]
    .into();
    let tags = principal.attributes.iter().map(|(name, value)| (name.clone(), text(value)));
    let made =
        Entity::new_with_tags(own.clone(), attributes, groups.iter().cloned().collect::<HashSet<_>>(), tags)
            .map_err(|error| unspeakable(&error))?;
    Ok((std::iter::once(own).chain(groups).collect(), made))
}

fn role(
    types: &Types,
    role: &Role,
    facts: Option<&TargetFacts>,
) -> Result<(Vec<EntityUid>, [Entity; 2]), Unspeakable> {
    let (own, target) = (uid(&types.role, role.name.as_str()), uid(&types.target, role.target.as_str()));
    let (mut allowed, mut groups, mut kinds, mut anyone) = (Vec::new(), Vec::new(), Vec::new(), false);
    for subject in &role.allow {
        match subject {
            Subject::Principal(name) => allowed.push(entity(uid(&types.principal, name.as_str()))),
            Subject::Group(name) => groups.push(entity(uid(&types.group, name.as_str()))),
            Subject::Kind(named) => kinds.push(entity(kind(types, *named))),
            Subject::Anyone => anyone = true,
        }
    }
    let access = match role.access {
        Access::Ephemeral => "ephemeral",
        Access::Elevation { .. } => "elevation",
        Access::Checkout { .. } => "checkout",
    };
    let attributes: Attributes = [
        ("name", text(role.name.as_str())),
        ("target", entity(target.clone())),
        ("access", entity(uid(&types.access, access))),
        ("member_of", RestrictedExpression::new_set(role.member_of.iter().map(|group| text(group)))),
        ("max_ttl", number(role.ttl.max().duration().as_secs())),
        ("reviewed", RestrictedExpression::new_bool(!role.approval.is_empty())),
        ("allowed", RestrictedExpression::new_set(allowed)),
        ("allowed_groups", RestrictedExpression::new_set(groups)),
        ("allowed_kinds", RestrictedExpression::new_set(kinds)),
        ("allowed_anyone", RestrictedExpression::new_bool(anyone)),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    let made = Entity::new(own.clone(), attributes, HashSet::from([target.clone()]))
        .map_err(|error| unspeakable(&error))?;
    let server = target_entity(types, &target, role.target.as_str(), facts)?;
    Ok((vec![own, target], [made, server]))
}

fn target_entity(
    types: &Types,
    own: &EntityUid,
    name: &str,
    facts: Option<&TargetFacts>,
) -> Result<Entity, Unspeakable> {
    let engine = facts.map_or("unknown", |facts| facts.engine.as_str());
    let mut attributes: Attributes =
        [("name".to_owned(), text(name)), ("engine".to_owned(), entity(uid(&types.engine, engine)))].into();
    let labels = facts.map(|facts| &facts.labels);
    for name in ["environment", "sensitivity"] {
        if let Some(value) = labels.and_then(|labels| labels.get(name)) {
            attributes.insert(name.to_owned(), text(value));
        }
    }
    let tags = labels.into_iter().flatten().map(|(name, value)| (name.clone(), text(value)));
    Entity::new_with_tags(own.clone(), attributes, HashSet::<EntityUid>::new(), tags)
        .map_err(|error| unspeakable(&error))
}

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
fn circumstances(
    types: &Types,
    who: &Who<'_>,
    zone: &TimeZone,
) -> Result<Vec<(String, RestrictedExpression)>, Unspeakable> {
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

fn ticket(ticket: Option<&String>) -> Option<(String, RestrictedExpression)> {
    let ticket = ticket.map(|ticket| ticket.trim()).filter(|ticket| !ticket.is_empty())?;
    Some(("ticket".to_owned(), text(ticket)))
}

impl Facts {
    /// About a lease of somebody's.
    pub(super) fn of_lease(
        action: &str,
        who: &Who<'_>,
        owner: &PrincipalName,
        zone: &TimeZone,
    ) -> Result<Self, Unspeakable> {
        let types = types()?;
        let (principal, asker) = principal(types, who.principal)?;
        let lease = uid(&types.lease, "lease");
        let holder = entity(uid(&types.principal, owner.as_str()));
        let attributes: Attributes = [("holder".to_owned(), holder)].into();
        let lease_entity =
            Entity::new(lease.clone(), attributes, HashSet::new()).map_err(|error| unspeakable(&error))?;
        Ok(Self {
            action: uid(&types.action, action),
            principal,
            resource: vec![lease],
            entities: vec![asker, lease_entity],
            context: circumstances(types, who, zone)?,
        })
    }

    /// About Mayfly itself.
    pub(super) fn of_mayfly(action: &str, who: &Who<'_>, zone: &TimeZone) -> Result<Self, Unspeakable> {
        let types = types()?;
        let (principal, asker) = principal(types, who.principal)?;
        let mayfly = uid(&types.mayfly, "mayfly");
        Ok(Self {
            action: uid(&types.action, action),
            principal,
            entities: vec![asker, Entity::with_uid(mayfly.clone())],
            resource: vec![mayfly],
            context: circumstances(types, who, zone)?,
        })
    }

    /// About asking for a role.
    pub(super) fn of_asking(
        who: &Who<'_>,
        asked: &Asked<'_>,
        target: Option<&TargetFacts>,
        risk: u32,
        zone: &TimeZone,
    ) -> Result<Self, Unspeakable> {
        let types = types()?;
        let (principal, asker) = principal(types, who.principal)?;
        let (resource, [role, server]) = role(types, asked.role, target)?;
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
        Ok(Self {
            action: uid(&types.action, "request"),
            principal,
            resource,
            entities: vec![asker, role, server],
            context,
        })
    }

    /// About reviewing a request.
    pub(super) fn of_reviewing(
        reviewer: &Who<'_>,
        request: &Request,
        reviewed: &Role,
        target: Option<&TargetFacts>,
        step: (&str, bool),
        zone: &TimeZone,
    ) -> Result<Self, Unspeakable> {
        let types = types()?;
        let (own, asker) = principal(types, reviewer.principal)?;
        let (resource, [role, server]) = role(types, reviewed, target)?;
        let (requester, requester_entity) = principal(types, &request.requester)?;
        let mut entities = vec![asker, role, server];
        if requester.first() != own.first() {
            entities.push(requester_entity);
        }
        let mut context = circumstances(types, reviewer, zone)?;
        context.extend(
            requester.into_iter().take(1).map(|requester| ("requester".to_owned(), entity(requester))),
        );
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
        Ok(Self { action: uid(&types.action, "review"), principal: own, resource, entities, context })
    }

    /// An action, for the same facts about another one on the same kind of resource.
    pub(super) fn action(name: &str) -> Result<EntityUid, Unspeakable> {
        Ok(uid(&types()?.action, name))
    }

    /// The request and its entities, held to the schema.
    pub(super) fn request(
        &self,
        action: &EntityUid,
        schema: &Schema,
    ) -> Result<(cedar_policy::Request, Entities), Unspeakable> {
        let of = |uids: &[EntityUid]| {
            uids.first().cloned().ok_or_else(|| Unspeakable("nothing is asked about".to_owned()))
        };
        let context =
            Context::from_pairs(self.context.iter().cloned()).map_err(|error| unspeakable(&error))?;
        let request = cedar_policy::Request::new(
            of(&self.principal)?,
            action.clone(),
            of(&self.resource)?,
            context,
            Some(schema),
        )
        .map_err(|error| unspeakable(&error))?;
        let entities = Entities::from_entities(self.entities.iter().cloned(), Some(schema))
            .map_err(|error| unspeakable(&error))?;
        Ok((request, entities))
    }
}
