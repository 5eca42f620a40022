//! Who asks and for what, in the words of the schema: put together and held to it once, and kept.
//!
//! Most of what a decision costs is that. It depends on the principal, the role and what is known of its target; the last is
//! the set's own, and what is kept is found only for a principal and a role that are the same in every respect. It ends with
//! the set, so a reload forgets all of it.

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock, PoisonError, RwLock},
};

use cedar_policy::{Entities, EntityUid};

use super::{
    TargetFacts,
    facts::{Unspeakable, parties_of_asking},
    index::Voices,
};
use crate::domain::{Principal, PrincipalName, Role, RoleName};

/// Pairs kept; beyond that they are all forgotten, which costs each its next question. Some ten kilobytes each.
const MOST: usize = 512;

/// Those a question is about.
pub(super) struct Parties {
    /// The principal, then what it is in.
    pub(super) principal: Vec<EntityUid>,
    /// The resource, then what it is in.
    pub(super) resource: Vec<EntityUid>,
    /// What there is to know of them.
    pub(super) entities: Entities,
    request: OnceLock<Voices>,
    auto_approve: OnceLock<Voices>,
    break_glass: OnceLock<Voices>,
}

impl Parties {
    pub(super) fn new(principal: Vec<EntityUid>, resource: Vec<EntityUid>, entities: Entities) -> Self {
        let (request, auto_approve, break_glass) = (OnceLock::new(), OnceLock::new(), OnceLock::new());
        Self { principal, resource, entities, request, auto_approve, break_glass }
    }

    /// What policies say to this action whatever the moment; to be set when none that can apply looks at it.
    pub(super) fn answer(&self, action: &str) -> Option<&OnceLock<Voices>> {
        match action {
            "request" => Some(&self.request),
            "auto_approve" => Some(&self.auto_approve),
            "break_glass" => Some(&self.break_glass),
            _ => None,
        }
    }
}

/// The pairs of principal and role that were asked about before.
#[derive(Default)]
pub(super) struct Acquaintances(RwLock<Kept>);

#[derive(Default)]
struct Kept {
    pairs: HashMap<RoleName, HashMap<PrincipalName, Pair>>,
    number: usize,
}

struct Pair {
    principal: Principal,
    role: Role,
    parties: Arc<Parties>,
}

impl std::fmt::Debug for Acquaintances {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Acquaintances").finish_non_exhaustive()
    }
}

impl Acquaintances {
    /// The principal and the role, as policies see them.
    pub(super) fn of(
        &self,
        principal: &Principal,
        role: &Role,
        target: Option<&TargetFacts>,
    ) -> Result<Arc<Parties>, Unspeakable> {
        if let Some(parties) = self.find(principal, role) {
            return Ok(parties);
        }
        let parties = Arc::new(parties_of_asking(principal, role, target)?);
        self.keep(Pair { principal: principal.clone(), role: role.clone(), parties: Arc::clone(&parties) });
        Ok(parties)
    }

    fn find(&self, principal: &Principal, role: &Role) -> Option<Arc<Parties>> {
        let kept = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let pair = kept.pairs.get(&role.name)?.get(&principal.name)?;
        (pair.principal == *principal && pair.role == *role).then(|| Arc::clone(&pair.parties))
    }

    fn keep(&self, pair: Pair) {
        let mut kept = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if kept.number >= MOST {
            *kept = Kept::default();
        }
        let of_role = kept.pairs.entry(pair.role.name.clone()).or_default();
        if of_role.insert(pair.principal.name.clone(), pair).is_none() {
            kept.number += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::tests::{principal, role};

    #[test]
    fn the_same_two_are_put_together_once_and_others_anew() {
        let (known, alice, orders) =
            (Acquaintances::default(), principal("alice", &["one"]), role("a", &["*"]));
        let first = known.of(&alice, &orders, None).unwrap();
        assert!(Arc::ptr_eq(&first, &known.of(&alice, &orders, None).unwrap()));
        let moved = principal("alice", &["two"]);
        assert!(!Arc::ptr_eq(&first, &known.of(&moved, &orders, None).unwrap()));
        let narrower = role("a", &["group:one"]);
        assert!(!Arc::ptr_eq(&first, &known.of(&alice, &narrower, None).unwrap()));
    }

    #[test]
    fn memory_is_bounded() {
        let (known, orders) = (Acquaintances::default(), role("a", &["*"]));
        for n in 0..=MOST {
            known.of(&principal(&format!("p{n}"), &[]), &orders, None).unwrap();
        }
        let kept = known.0.read().unwrap();
        assert_eq!((kept.number, kept.pairs.values().map(HashMap::len).sum()), (1, 1_usize));
    }
}
