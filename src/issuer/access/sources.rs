//! What a census is taken from: accounts, tokens, invitations, sessions, the lists of roles, and what is held and was used.
//!
//! Whom only an outside provider knows, and who was not here in the period, is not among them: nobody can list those.

use crate::{
    domain::{
        Grant, Lock, Principal, PrincipalKind, PrincipalName, PrincipalRef, Request, StateName, Subject,
    },
    identity::people::{Invitation, Origin, Session, User},
    issuer::{Issuer, Refusal},
    store::{
        Document, HELD_BY, LIVE, LeaseFilter, Listing, PageRequest, StoreError, UNDECIDED_BY, document,
        documents, leases_removed_before,
    },
};

use super::census::{Census, Scope};

/// Read at once.
const BATCH: u32 = 1_000;

/// Tokens read at once.
const TOKENS: u32 = 500;

/// Leases, grants and requests looked through, of each: what is older counts no more.
const MOST: usize = 200_000;

/// What the listing of something is to be told by: by whom, if one is asked for.
fn found_by<'a>(key: &'a str, scope: &'a Scope) -> Option<(&'a str, &'a str)> {
    scope.principal.as_ref().map(|name| (key, name.as_str()))
}

fn without_groups(principal: &PrincipalRef) -> Principal {
    Principal { name: principal.name.clone(), kind: principal.kind, groups: [].into(), attributes: [].into() }
}

impl Scope {
    fn wants(&self, name: &PrincipalName) -> bool {
        self.principal.as_ref().is_none_or(|wanted| wanted == name)
    }
}

impl Issuer {
    /// Takes a census. The better somebody is known, the earlier he is met.
    ///
    /// # Errors
    /// [`Refusal`]: store unavailable.
    pub(super) async fn take_census(&self, scope: &Scope) -> Result<Census, Refusal> {
        let mut census = Census { counted_since: scope.since, ..Census::default() };
        self.each::<Lock>(None, |lock| {
            if lock.stands_at(scope.as_of) {
                census.locks.insert(lock.subject);
            }
            true
        })
        .await?;
        self.accounts(&mut census, scope).await?;
        self.tokens_of(&mut census, scope).await?;
        self.invited_or_vouched(&mut census, scope).await?;
        self.asked(&mut census, scope).await?;
        self.listed(&mut census, scope);
        self.held(&mut census, scope).await?;
        Ok(census)
    }

    /// Hands every document to `see`, in descending order of identifiers, until that says no.
    async fn each<D: Document>(
        &self,
        by: Option<(&str, &str)>,
        mut see: impl FnMut(D) -> bool + Send,
    ) -> Result<(), StoreError> {
        let mut before: Option<String> = None;
        loop {
            let listing = Listing { by, before: before.as_deref(), limit: BATCH };
            let batch = documents::<D>(&*self.store, listing).await?;
            let full = batch.len() >= usize::try_from(BATCH).unwrap_or(usize::MAX);
            before = batch.last().map(|kept| kept.document.id());
            for kept in batch {
                if !see(kept.document) {
                    return Ok(());
                }
            }
            if !full {
                return Ok(());
            }
        }
    }

    async fn accounts(&self, census: &mut Census, scope: &Scope) -> Result<(), Refusal> {
        let mut see = |user: User| {
            let (resource, principal) = (user.resource(), user.principal());
            if user.disabled_at.is_some() {
                census.mention(&principal.name, principal.kind, format!("{resource} (disabled)"));
            } else {
                census.meet(&principal, resource);
            }
            true
        };
        if let Some(name) = &scope.principal {
            if let Some(kept) = document::<User>(&*self.store, name.as_str()).await? {
                see(kept.document);
            }
            return Ok(());
        }
        Ok(self.each(None, see).await?)
    }

    async fn tokens_of(&self, census: &mut Census, scope: &Scope) -> Result<(), Refusal> {
        let mut before = None;
        loop {
            let tokens = self.store.tokens(before, TOKENS).await?;
            let full = tokens.len() >= usize::try_from(TOKENS).unwrap_or(usize::MAX);
            before = tokens.last().map(|token| token.id);
            for token in tokens {
                let over = token.expires_at.is_some_and(|at| at <= scope.as_of);
                if token.revoked_at.is_none() && !over && scope.wants(&token.principal.name) {
                    census.meet(&token.principal, format!("tokens/{}", token.id));
                }
            }
            if !full {
                return Ok(());
            }
        }
    }

    async fn invited_or_vouched(&self, census: &mut Census, scope: &Scope) -> Result<(), Refusal> {
        self.each::<Invitation>(None, |invitation| {
            let open = invitation.revoked_at.is_none() && scope.as_of < invitation.valid_until;
            if let Ok(principal) = invitation.principal()
                && open
                && scope.wants(&principal.name)
            {
                census.meet(&principal, invitation.to_string());
            }
            true
        })
        .await?;
        self.each::<Session>(found_by("principal", scope), |session| {
            if let Origin::Provider { provider, .. } = &session.origin
                && session.is_live(scope.as_of)
            {
                census.meet(&session.principal, format!("providers/{provider}"));
            }
            true
        })
        .await?;
        Ok(())
    }

    /// Who asked in the period, and what awaits reviews.
    async fn asked(&self, census: &mut Census, scope: &Scope) -> Result<(), Refusal> {
        let mut looked = 0;
        self.each::<Request>(found_by("requester", scope), |request| {
            looked += 1;
            if request.created_at < scope.since || looked > MOST {
                return false;
            }
            census.requested(&request);
            true
        })
        .await?;
        let waiting = match &scope.principal {
            Some(name) => (UNDECIDED_BY, name.as_str()),
            None => (LIVE, "yes"),
        };
        self.each::<Request>(Some(waiting), |request| {
            census.requested(&request);
            true
        })
        .await?;
        Ok(())
    }

    /// Whom roles name, and nothing else knows.
    fn listed(&self, census: &mut Census, scope: &Scope) {
        for role in self.catalogue.current().roles.values() {
            for subject in &role.allow {
                let Subject::Principal(name) = subject else { continue };
                if census.principals.contains_key(name) || !scope.wants(name) {
                    continue;
                }
                for kind in [PrincipalKind::Human, PrincipalKind::Workload] {
                    let named = without_groups(&PrincipalRef { name: name.clone(), kind });
                    census.meet(&named, format!("allow of roles/{}", role.name));
                }
            }
        }
    }

    async fn held(&self, census: &mut Census, scope: &Scope) -> Result<(), Refusal> {
        let all = LeaseFilter { principal: scope.principal.clone(), ..LeaseFilter::default() };
        let states = StateName::ALL.into_iter().filter(|state| state.is_live()).collect();
        let live = LeaseFilter { states, ..all.clone() };
        if let Some(reached) = self.leases_of(census, &all, scope.since).await? {
            census.counted_since = reached;
        }
        // What was removed is not counted, and that is said.
        if let Some(removed) = leases_removed_before(&*self.store).await? {
            census.counted_since = census.counted_since.max(removed);
        }
        // Those of before the period that are live still.
        self.leases_of(census, &live, jiff::Timestamp::MIN).await?;
        let mut looked = 0;
        self.each::<Grant>(found_by("principal", scope), |grant| {
            looked += 1;
            if grant.created_at < scope.since || looked > MOST {
                return false;
            }
            census.remember(&without_groups(&grant.principal), "seen");
            census.granted(&grant);
            true
        })
        .await?;
        let living = match &scope.principal {
            Some(name) => (HELD_BY, name.as_str()),
            None => (LIVE, "yes"),
        };
        self.each::<Grant>(Some(living), |grant| {
            census.remember(&without_groups(&grant.principal), "seen");
            census.granted(&grant);
            true
        })
        .await?;
        Ok(())
    }

    /// Leases back to a moment. Are there too many: how far back they were looked through.
    async fn leases_of(
        &self,
        census: &mut Census,
        filter: &LeaseFilter,
        until: jiff::Timestamp,
    ) -> Result<Option<jiff::Timestamp>, Refusal> {
        let (mut before, mut looked) = (None, 0);
        loop {
            let page = self.store.list(filter, PageRequest { size: BATCH, before }).await?;
            for lease in &page.items {
                if lease.created_at < until {
                    return Ok(None);
                }
                looked += 1;
                if looked > MOST {
                    return Ok(Some(lease.created_at));
                }
                census.remember(&without_groups(&lease.principal), "seen");
                census.leased(lease);
            }
            before = page.next;
            if before.is_none() {
                return Ok(None);
            }
        }
    }
}
