//! Pages of an access review.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    ops::Bound,
    str::FromStr,
    sync::Arc,
};

use jiff::{SignedDuration, Timestamp};

use super::{
    AccessItem, Certification,
    census::{Census, Scope},
    item::Material,
};
use crate::{
    domain::{PrincipalName, Role, RoleName, TargetName},
    identity::Caller,
    issuer::{Catalogue, Issuer, Refusal},
    policy::{self, Circumstances, Policies},
    store::document,
};

/// How far back uses are counted unless said otherwise.
const PERIOD: SignedDuration = SignedDuration::from_hours(90 * 24);

/// Questions put to the policies for one page: about half a second's worth. What is behind them comes with the next page.
const QUESTIONS: usize = 5_000;

/// Pairs looked at for one page, whether or not policies are asked.
const PAIRS: usize = 50_000;

/// Which accesses. Conditions are joined by "and".
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccessFilter {
    /// Of this principal.
    pub principal: Option<PrincipalName>,
    /// To this role.
    pub role: Option<RoleName>,
    /// On this target.
    pub target: Option<TargetName>,
    /// From when on uses count; `None`: 90 days back.
    pub since: Option<Timestamp>,
    /// Only those without a use since then.
    pub unused: bool,
}

/// Where a listing goes on: behind this pair, of what there was at that moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessCursor {
    /// When the listing began.
    pub as_of: Timestamp,
    /// The last principal looked at.
    pub principal: PrincipalName,
    /// The last role of it that was looked at.
    pub role: RoleName,
}

impl fmt::Display for AccessCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.as_of, self.principal, self.role)
    }
}

/// The text is no such place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("names no place in an access review")]
pub struct AccessCursorError;

impl FromStr for AccessCursor {
    type Err = AccessCursorError;

    fn from_str(text: &str) -> Result<Self, AccessCursorError> {
        let mut parts = text.split(' ');
        let mut next = || parts.next().ok_or(AccessCursorError);
        let (as_of, principal, role) = (next()?, next()?, next()?);
        Ok(Self {
            as_of: as_of.parse().map_err(|_| AccessCursorError)?,
            principal: principal.parse().map_err(|_| AccessCursorError)?,
            role: role.parse().map_err(|_| AccessCursorError)?,
        })
    }
}

/// A page. It may be empty and yet not be the last: looking at much brings up little at times.
#[derive(Debug)]
pub struct AccessPage {
    /// By principal, then by role.
    pub items: Vec<AccessItem>,
    /// Where to go on; `None`: that was all.
    pub next: Option<AccessCursor>,
    /// When the listing began.
    pub as_of: Timestamp,
    /// From when on uses were counted.
    pub counted_since: Timestamp,
}

/// What a page is made of, away from the threads that serve.
struct Walk {
    census: Arc<Census>,
    policies: Arc<Policies>,
    catalogue: Arc<Catalogue>,
    filter: AccessFilter,
    as_of: Timestamp,
}

impl Issuer {
    /// Who holds or could obtain what.
    ///
    /// # Errors
    /// [`Refusal`]: policy does not let the caller view the audit log, store unavailable.
    pub async fn access(
        &self,
        caller: &Caller,
        filter: AccessFilter,
        (size, after): (u32, Option<AccessCursor>),
    ) -> Result<AccessPage, Refusal> {
        let resource = "access/-".to_owned();
        self.authorise(caller, policy::Action::ViewAudit, "access.listed", resource).await?;
        let as_of = after.as_ref().map_or_else(|| self.clock.now(), |after| after.as_of);
        let walk = self.walk(filter, as_of, after.is_none()).await?;
        let counted_since = walk.census.counted_since;
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        let walked = tokio::task::spawn_blocking(move || walk.page(size, after.as_ref()));
        let (mut items, next) = walked.await.map_err(Refusal::internal)?;
        for item in &mut items {
            self.add_certification(item).await?;
        }
        Ok(AccessPage { items, next, as_of, counted_since })
    }
}

impl Issuer {
    /// What there is of these pairs now; `None`: nothing is held under one, nor could be obtained.
    ///
    /// # Errors
    /// [`Refusal`]: store unavailable.
    pub(super) async fn access_items(
        &self,
        pairs: Vec<(PrincipalName, RoleName)>,
    ) -> Result<Vec<Option<AccessItem>>, Refusal> {
        // Many share one census; for one principal, its own is enough.
        let one = pairs.first().map(|(principal, _)| principal);
        let alone = pairs.iter().all(|(principal, _)| Some(principal) == one);
        let principal = one.filter(|_| alone).cloned();
        let filter = AccessFilter { principal, ..AccessFilter::default() };
        let walk = self.walk(filter, self.clock.now(), true).await?;
        let walked = tokio::task::spawn_blocking(move || walk.these(&pairs));
        let mut items = walked.await.map_err(Refusal::internal)?;
        for item in items.iter_mut().flatten() {
            self.add_certification(item).await?;
        }
        Ok(items)
    }

    async fn walk(&self, filter: AccessFilter, as_of: Timestamp, begins: bool) -> Result<Walk, Refusal> {
        let since = filter.since.unwrap_or_else(|| as_of.saturating_sub(PERIOD).unwrap_or(Timestamp::MIN));
        let scope = Scope { principal: filter.principal.clone(), since, as_of };
        let census = self.census(&scope, begins).await?;
        let (policies, catalogue) = (self.policies.current(), self.catalogue.current());
        Ok(Walk { census, policies, catalogue, filter, as_of })
    }

    async fn add_certification(&self, item: &mut AccessItem) -> Result<(), Refusal> {
        let id = Certification::id_of(&item.principal, &item.role);
        item.certified = document(&*self.store, &id).await?.map(|kept| kept.document);
        Ok(())
    }
}

impl Walk {
    fn these(&self, pairs: &[(PrincipalName, RoleName)]) -> Vec<Option<AccessItem>> {
        let circumstances = self.policies.circumstances();
        let material = self.material(&circumstances);
        let item = |(name, role): &(PrincipalName, RoleName)| {
            let known = self.census.principals.get(name)?;
            let configured = self.catalogue.roles.get(role).map(|role| &**role);
            material.item((name, known), role, configured).0
        };
        pairs.iter().map(item).collect()
    }

    fn material<'a>(&'a self, circumstances: &'a Circumstances) -> Material<'a> {
        Material { census: &self.census, policies: &self.policies, circumstances, as_of: self.as_of }
    }

    fn page(&self, size: usize, after: Option<&AccessCursor>) -> (Vec<AccessItem>, Option<AccessCursor>) {
        let circumstances = self.policies.circumstances();
        let material = self.material(&circumstances);
        let (mut items, mut asked, mut looked) = (Vec::new(), 0, 0);
        let from = after.map_or(Bound::Unbounded, |after| Bound::Included(&after.principal));
        for (name, known) in self.census.principals.range::<PrincipalName, _>((from, Bound::Unbounded)) {
            let behind = after.filter(|after| after.principal == *name).map(|after| &after.role);
            let had: BTreeSet<&RoleName> = known.under.keys().collect();
            for (role, configured) in self.roles(&had) {
                if behind.is_some_and(|behind| role <= behind) || !self.wants(name, role) {
                    continue;
                }
                let (item, questions) = material.item((name, known), role, configured);
                (asked, looked) = (asked + questions, looked + 1);
                items.extend(item.filter(|item| self.passes(item)));
                if items.len() >= size || asked >= QUESTIONS || looked >= PAIRS {
                    let (principal, role) = (name.clone(), role.clone());
                    return (items, Some(AccessCursor { as_of: self.as_of, principal, role }));
                }
            }
        }
        (items, None)
    }

    /// Roles that are configured, and those somebody had something under.
    fn roles<'a>(&'a self, had: &BTreeSet<&'a RoleName>) -> BTreeMap<&'a RoleName, Option<&'a Role>> {
        let configured = self.catalogue.roles.iter().map(|(name, role)| (name, Some(&**role)));
        had.iter().map(|name| (*name, None)).chain(configured).collect()
    }

    fn wants(&self, principal: &PrincipalName, role: &RoleName) -> bool {
        let filter = &self.filter;
        filter.role.as_ref().is_none_or(|wanted| wanted == role)
            && filter.principal.as_ref().is_none_or(|wanted| wanted == principal)
            && filter
                .target
                .as_ref()
                .is_none_or(|wanted| self.catalogue.roles.get(role).is_none_or(|role| role.target == *wanted))
    }

    fn passes(&self, item: &AccessItem) -> bool {
        let filter = &self.filter;
        filter.target.as_ref().is_none_or(|wanted| item.target == *wanted)
            && !(filter.unused && item.uses > 0)
    }
}
