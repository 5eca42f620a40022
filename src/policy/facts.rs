//! What policies are told, in the words of the schema: the entities, and the question as a whole.

use std::{
    cell::{Cell, LazyCell},
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, LazyLock},
};

use cedar_policy::{
    Context, Entities, Entity, EntityId, EntityTypeName, EntityUid, RestrictedExpression, Schema,
};
use jiff::tz::TimeZone;

use super::{
    Asked, Who,
    context::{Pairs, asking, circumstances, reviewing},
    parties::Parties,
    source::PARSED_SCHEMA,
};
use crate::domain::{Access, Engine, Principal, PrincipalKind, PrincipalName, Request, Role, Subject};

/// What could not be put in the schema's words: a defect of Mayfly, and a denial.
#[derive(Debug, Clone, thiserror::Error)]
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
pub(super) struct Types {
    pub(super) principal: EntityTypeName,
    group: EntityTypeName,
    pub(super) role: EntityTypeName,
    target: EntityTypeName,
    lease: EntityTypeName,
    mayfly: EntityTypeName,
    action: EntityTypeName,
    kind: EntityTypeName,
    engine: EntityTypeName,
    access: EntityTypeName,
    pub(super) weekday: EntityTypeName,
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

/// What is known of the moment, or why it cannot be said.
type Said = Result<Context, Unspeakable>;

/// A question, as policies see it.
pub(super) struct Facts<'a> {
    pub(super) action: EntityUid,
    pub(super) parties: Arc<Parties>,
    /// Put together when a policy is asked that may look at it.
    context: LazyCell<Said, Box<dyn FnOnce() -> Said + 'a>>,
    /// It was held to the schema.
    held: Cell<bool>,
}

pub(super) fn types() -> Result<&'static Types, Unspeakable> {
    TYPES.as_ref().ok_or_else(|| Unspeakable("the types of the schema are broken".to_owned()))
}

pub(super) fn uid(name: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(name.clone(), EntityId::new(id))
}

pub(super) fn text(value: &str) -> RestrictedExpression {
    RestrictedExpression::new_string(value.to_owned())
}

pub(super) fn entity(uid: EntityUid) -> RestrictedExpression {
    RestrictedExpression::new_entity_uid(uid)
}

pub(super) fn number(value: u64) -> RestrictedExpression {
    RestrictedExpression::new_long(i64::try_from(value).unwrap_or(i64::MAX))
}

pub(super) fn unspeakable(error: &impl std::fmt::Display) -> Unspeakable {
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

/// Somebody and a role, in the words of the schema.
pub(super) fn parties_of_asking(
    asker: &Principal,
    wanted: &Role,
    target: Option<&TargetFacts>,
) -> Result<Parties, Unspeakable> {
    let types = types()?;
    let (principal, asker) = principal(types, asker)?;
    let (resource, [role, server]) = role(types, wanted, target)?;
    parties(principal, resource, [asker, role, server])
}

/// Those a question is about, held to the schema.
fn parties(
    principal: Vec<EntityUid>,
    resource: Vec<EntityUid>,
    entities: impl IntoIterator<Item = Entity>,
) -> Result<Parties, Unspeakable> {
    let schema = PARSED_SCHEMA.as_ref();
    let schema = schema.ok_or_else(|| Unspeakable("the schema of this build is broken".to_owned()))?;
    let entities = Entities::from_entities(entities, Some(schema)).map_err(|error| unspeakable(&error))?;
    Ok(Parties::new(principal, resource, entities))
}

impl<'a> Facts<'a> {
    fn new(action: EntityUid, parties: Arc<Parties>, pairs: impl FnOnce() -> Pairs + 'a) -> Self {
        let context = || Context::from_pairs(pairs()?).map_err(|error| unspeakable(&error));
        Self { action, parties, context: LazyCell::new(Box::new(context)), held: Cell::new(false) }
    }

    /// About a lease of somebody's.
    pub(super) fn of_lease(
        action: &str,
        who: &'a Who<'_>,
        owner: &PrincipalName,
        zone: &'a TimeZone,
    ) -> Result<Self, Unspeakable> {
        let types = types()?;
        let (principal, asker) = principal(types, who.principal)?;
        let lease = uid(&types.lease, "lease");
        let holder = entity(uid(&types.principal, owner.as_str()));
        let attributes: Attributes = [("holder".to_owned(), holder)].into();
        let lease_entity =
            Entity::new(lease.clone(), attributes, HashSet::new()).map_err(|error| unspeakable(&error))?;
        let parties = Arc::new(parties(principal, vec![lease], [asker, lease_entity])?);
        Ok(Self::new(uid(&types.action, action), parties, || circumstances(types, who, zone)))
    }

    /// About Mayfly itself.
    pub(super) fn of_mayfly(action: &str, who: &'a Who<'_>, zone: &'a TimeZone) -> Result<Self, Unspeakable> {
        let types = types()?;
        let (principal, asker) = principal(types, who.principal)?;
        let mayfly = uid(&types.mayfly, "mayfly");
        let itself = Entity::with_uid(mayfly.clone());
        let parties = Arc::new(parties(principal, vec![mayfly], [asker, itself])?);
        Ok(Self::new(uid(&types.action, action), parties, || circumstances(types, who, zone)))
    }

    /// About asking for a role.
    pub(super) fn of_asking(
        parties: Arc<Parties>,
        who: &'a Who<'_>,
        asked: &'a Asked<'_>,
        risk: u32,
        zone: &'a TimeZone,
    ) -> Result<Self, Unspeakable> {
        let types = types()?;
        let context = move || asking(types, who, asked, risk, zone);
        Ok(Self::new(uid(&types.action, "request"), parties, context))
    }

    /// About reviewing a request.
    pub(super) fn of_reviewing(
        reviewer: &'a Who<'_>,
        request: &'a Request,
        reviewed: &Role,
        target: Option<&TargetFacts>,
        step: (&'a str, bool),
        zone: &'a TimeZone,
    ) -> Result<Self, Unspeakable> {
        let types = types()?;
        let (own, asker) = principal(types, reviewer.principal)?;
        let (resource, [role, server]) = role(types, reviewed, target)?;
        let (requester, requester_entity) = principal(types, &request.requester)?;
        let mut entities = vec![asker, role, server];
        if requester.first() != own.first() {
            entities.push(requester_entity);
        }
        let requester = requester.into_iter().next();
        let context = move || reviewing(types, reviewer, (request, requester), step, zone);
        let parties = Arc::new(parties(own, resource, entities)?);
        Ok(Self::new(uid(&types.action, "review"), parties, context))
    }

    /// An action, for the same facts about another one on the same kind of resource.
    pub(super) fn action(name: &str) -> Result<EntityUid, Unspeakable> {
        Ok(uid(&types()?.action, name))
    }

    /// The request, held to the schema. The actions that the same facts are asked about take the same principals, resources and
    /// context there (a test sees to it): what was held to it for one is not for another.
    pub(super) fn request(
        &self,
        action: &EntityUid,
        schema: &Schema,
    ) -> Result<cedar_policy::Request, Unspeakable> {
        let of = |uids: &[EntityUid]| {
            uids.first().cloned().ok_or_else(|| Unspeakable("nothing is asked about".to_owned()))
        };
        let context = LazyCell::force(&self.context).clone()?;
        let schema = (!self.held.get()).then_some(schema);
        let request = cedar_policy::Request::new(
            of(&self.parties.principal)?,
            action.clone(),
            of(&self.parties.resource)?,
            context,
            schema,
        )
        .map_err(|error| unspeakable(&error))?;
        self.held.set(true);
        Ok(request)
    }
}
