//! What policy is told about who asks, besides what is asked for.

use super::{Issuer, Refusal, lock::none_of};
use crate::{
    domain::{Grant, LockSubject, PrincipalName, RequestTerms, Role, RoleName, StateName, TargetName},
    identity::Caller,
    policy::Asked,
    store::{Changes, HELD_BY, Kept, LeaseFilter, Listing, PageRequest, documents},
};

/// Leases and grants looked through: nobody is to hold more.
const MOST: u32 = 500;

/// What somebody holds.
#[derive(Debug, Default)]
pub(super) struct Facts {
    live_leases: u32,
    first_use: Option<bool>,
    live_roles: Vec<RoleName>,
    /// Grants of his that are scheduled or active, newest first.
    pub(super) grants: Vec<Grant>,
}

impl Facts {
    /// What policy is asked.
    pub(super) fn asked<'a>(&'a self, role: &'a Role, terms: &'a RequestTerms) -> Asked<'a> {
        Asked {
            role,
            terms,
            live_leases: self.live_leases,
            first_use: self.first_use,
            live_roles: &self.live_roles,
        }
    }
}

impl Issuer {
    /// What a principal holds, with regard to a role.
    pub(super) async fn facts(&self, principal: &PrincipalName, role: &Role) -> Result<Facts, Refusal> {
        let (live_leases, _) = self.store.live_under_role(&role.name, principal).await?;
        let grants = self.live_grants(principal).await?;
        let grants: Vec<Grant> = grants.into_iter().map(|kept| kept.document).collect();
        let all = LeaseFilter { principal: Some(principal.clone()), ..LeaseFilter::default() };
        let states = StateName::ALL.into_iter().filter(|state| state.is_live()).collect();
        let live = LeaseFilter { states, ..all.clone() };
        let live = self.store.list(&live, PageRequest { size: MOST, before: None }).await?.items;
        let under = LeaseFilter { role: Some(role.name.clone()), ..all };
        let used = self.store.list(&under, PageRequest { size: 1, before: None }).await?.items;
        let mut live_roles: Vec<RoleName> = live.into_iter().map(|lease| lease.role).collect();
        live_roles.extend(grants.iter().map(|grant| grant.role.clone()));
        live_roles.sort_unstable();
        live_roles.dedup();
        Ok(Facts { live_leases, first_use: Some(used.is_empty()), live_roles, grants })
    }

    /// Grants of a principal that are scheduled or active, newest first.
    pub(super) async fn live_grants(&self, principal: &PrincipalName) -> Result<Vec<Kept<Grant>>, Refusal> {
        let listing = Listing { by: Some((HELD_BY, principal.as_str())), before: None, limit: MOST };
        Ok(documents::<Grant>(&*self.store, listing).await?)
    }

    /// Refuses when the caller, the role or the target is locked, or the caller's account is gone. What is returned goes into the
    /// transaction that relies on its not being so.
    pub(super) async fn unlocked(
        &self,
        caller: &Caller,
        role: &RoleName,
        target: &TargetName,
    ) -> Result<Changes, Refusal> {
        let subjects = LockSubject::of_access(&caller.principal.name, role, target);
        self.check_locks(caller, &subjects).await?;
        self.standing(caller, none_of(subjects)).await
    }
}
