//! Who sees which grants.

use crate::{
    domain::{Grant, GrantId, PrincipalName, RoleName, TargetName},
    identity::Caller,
    issuer::{Issuer, Refusal, listing::Wish},
    store::Kept,
};

/// Which grants; an empty filter means all that the caller may see. Conditions are joined by "and".
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GrantFilter {
    /// In one of these states, by name; empty: in any.
    pub states: Vec<&'static str>,
    /// Of this principal.
    pub principal: Option<PrincipalName>,
    /// Under this role.
    pub role: Option<RoleName>,
    /// On this target.
    pub target: Option<TargetName>,
}

impl GrantFilter {
    fn matches(&self, grant: &Grant) -> bool {
        (self.states.is_empty() || self.states.contains(&grant.state.as_str()))
            && self.principal.as_ref().is_none_or(|principal| *principal == grant.principal.name)
            && self.role.as_ref().is_none_or(|role| *role == grant.role)
            && self.target.as_ref().is_none_or(|target| *target == grant.target)
    }

    /// What the store finds the fewest by.
    fn key(&self) -> Option<(&'static str, &str)> {
        if let Some(principal) = &self.principal {
            return Some(("principal", principal.as_str()));
        }
        match (&*self.states, &self.role, &self.target) {
            ([state], ..) => Some(("state", state)),
            (_, Some(role), _) => Some(("role", role.as_str())),
            (_, _, Some(target)) => Some(("target", target.as_str())),
            _ => None,
        }
    }
}

impl Issuer {
    fn may_see_grant(&self, caller: &Caller, grant: &Grant) -> bool {
        caller.principal.name == grant.principal.name || self.sees_all(caller)
    }

    /// One grant.
    ///
    /// # Errors
    /// [`Refusal`]: no such grant, or not for this caller (the two are not told apart); store unavailable.
    pub async fn grant(&self, caller: &Caller, id: GrantId) -> Result<Grant, Refusal> {
        Ok(self.visible_grant(caller, id).await?.document)
    }

    pub(in crate::issuer) async fn visible_grant(
        &self,
        caller: &Caller,
        id: GrantId,
    ) -> Result<Kept<Grant>, Refusal> {
        let kept = self.kept_grant(id).await?.filter(|kept| self.may_see_grant(caller, &kept.document));
        kept.ok_or_else(|| Refusal::not_found(format!("there is no grant {id}, or it is not yours")))
    }

    /// What a caller's filter becomes: whom policy lets view the audit log sees what he asks for, everybody else only his own.
    ///
    /// # Errors
    /// [`Refusal`]: somebody else's asked for.
    pub fn narrow_grants(&self, caller: &Caller, filter: GrantFilter) -> Result<GrantFilter, Refusal> {
        let own = &caller.principal.name;
        if self.sees_all(caller) {
            return Ok(filter);
        }
        match &filter.principal {
            Some(other) if other != own => {
                Err(Refusal::denied("only administrators see the grants of others"))
            }
            _ => Ok(GrantFilter { principal: Some(own.clone()), ..filter }),
        }
    }

    /// Grants, newest first; and where to continue, unless that was all. Principals see their own; administrators all.
    ///
    /// # Errors
    /// [`Refusal`]: somebody else's asked for, store unavailable.
    pub async fn grants(
        &self,
        caller: &Caller,
        filter: GrantFilter,
        (size, before): (u32, Option<GrantId>),
    ) -> Result<(Vec<Grant>, Option<GrantId>), Refusal> {
        let filter = match self.narrow_grants(caller, filter) {
            Ok(filter) => filter,
            Err(refusal) => return Err(self.refuse(caller, "grant.listed", "grants/-", refusal).await),
        };
        let wish = Wish { by: filter.key(), size, before };
        self.page_of(
            wish,
            |grant: &Grant| grant.id,
            |grant| Some(grant).filter(|grant| filter.matches(grant)),
        )
        .await
    }

    /// A grant as it is now, if it passes the filter and the caller may see it.
    ///
    /// # Errors
    /// [`Refusal`]: store unavailable.
    pub async fn grant_passing(
        &self,
        caller: &Caller,
        filter: &GrantFilter,
        id: GrantId,
    ) -> Result<Option<Grant>, Refusal> {
        let grant = self.kept_grant(id).await?.map(|kept| kept.document);
        Ok(grant.filter(|grant| filter.matches(grant) && self.may_see_grant(caller, grant)))
    }
}
