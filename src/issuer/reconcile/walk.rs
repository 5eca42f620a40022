//! The two ways: from the leases to the target, and from the target to the leases.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt as _, stream};
use jiff::Timestamp;

use super::{
    Answer, Discrepancy, DiscrepancyKind, PAGE, ReconcileError, Reconciler, Run, Told, adopt,
    standing::{Standing, standing},
    unless_moved_on,
};
use crate::{
    audit::{Actor, Draft},
    crash::{Point, here},
    domain::{
        AccountName, EndCause, FoundAccount, Lease, LeaseEvent, LeaseId, LeaseKind, LeaseState, Mark,
        StateName, drift,
    },
    store::{LeaseFilter, PageRequest, StoreError},
    target::{TargetError, Which},
};

/// Leases closed at once.
const AT_ONCE: usize = 64;

/// What the lease of a vanished account says of its end.
const VANISHED: &str = "the account vanished from the target";

impl Reconciler {
    /// Closes ACTIVE leases whose account is gone.
    pub(super) async fn leases_to_target(&self, run: &mut Run<'_>) -> Result<(), ReconcileError> {
        let states = vec![StateName::Active];
        let filter = LeaseFilter { states, target: Some(run.name.clone()), ..LeaseFilter::default() };
        let mut before = None;
        loop {
            self.go_on()?;
            let page = self.store.list(&filter, PageRequest { size: PAGE, before }).await?;
            run.report.counts.leases += page.items.len() as u64;
            // Accounts that were there before Mayfly are looked at by themselves.
            let made = page.items.into_iter().filter(|lease| lease.kind == LeaseKind::Ephemeral).collect();
            let missing = missing(run, made).await?;
            if !missing.is_empty() {
                self.vanished(run, missing).await?;
            }
            before = page.next;
            if before.is_none() {
                return Ok(());
            }
        }
    }

    /// Looks again, store, target, store, and closes what is ACTIVE and gone still.
    async fn vanished(&self, run: &mut Run<'_>, missing_once: Vec<Lease>) -> Result<(), ReconcileError> {
        let active = self.still_active(&missing_once).await?;
        let missing_twice = missing(run, active).await?;
        let gone = self.still_active(&missing_twice).await?;
        if run.acts() {
            let closed: Vec<Result<(), StoreError>> = stream::iter(gone.clone())
                .map(|lease| async move { self.close(&lease).await })
                .buffer_unordered(AT_ONCE)
                .collect()
                .await;
            closed.into_iter().collect::<Result<(), _>>()?;
            if !gone.is_empty() {
                self.reaper.due(run.name, self.clock.now());
            }
        }
        for lease in gone {
            run.report.note(Discrepancy {
                kind: DiscrepancyKind::Vanished,
                account: lease.account.name.to_string(),
                lease: lease.id,
                what: VANISHED.to_owned(),
                answer: if run.acts() { Answer::Ending } else { Answer::Reported },
            });
        }
        Ok(())
    }

    /// Those of these leases that are ACTIVE now, as they are now. What the clock has ended is the reaper's.
    pub(super) async fn still_active(&self, leases: &[Lease]) -> Result<Vec<Lease>, StoreError> {
        if leases.is_empty() {
            return Ok(Vec::new());
        }
        let ids: Vec<LeaseId> = leases.iter().map(|lease| lease.id).collect();
        let now = self.clock.now();
        let mut leases = self.store.leases(&ids).await?;
        leases.retain(|lease| lease.expires_at().is_some_and(|at| at > now));
        Ok(leases)
    }

    pub(super) async fn close(&self, lease: &Lease) -> Result<(), StoreError> {
        here(Point::ReconcileVanished);
        let now = self.clock.now();
        let draft = Draft::of_lease(now, Actor::System, "lease.vanished", lease);
        let cause = EndCause::Revoked { reason: VANISHED.to_owned() };
        let event = LeaseEvent::EndRequested { at: now, cause, not_before: now };
        unless_moved_on(self.store.apply(lease.id, event, now, Some(draft)).await)?;
        here(Point::ReconcileClosed);
        Ok(())
    }

    /// Judges every account whose name is of our form.
    pub(super) async fn target_to_leases(&self, run: &mut Run<'_>) -> Result<(), ReconcileError> {
        let mut after: Option<String> = None;
        loop {
            self.go_on()?;
            let which = Which::After { name: after.as_deref(), limit: PAGE };
            let page = run.target.accounts(which).await?;
            let leases = self.store.leases(&named_by(&page)).await?;
            let leases = by_id(leases);
            for found in &page {
                self.go_on()?;
                let lease = found.lease().and_then(|id| leases.get(&id));
                self.judge(run, found, lease).await?;
            }
            match page.last() {
                Some(last) if page.len() >= PAGE as usize => {
                    after = Some(last.account.name.as_str().to_owned());
                }
                _ => return Ok(()),
            }
        }
    }

    async fn judge(
        &self,
        run: &mut Run<'_>,
        found: &FoundAccount,
        lease: Option<&Lease>,
    ) -> Result<(), ReconcileError> {
        run.report.counts.accounts += 1;
        match standing(found, lease, run.name, self.store.instance()) {
            Standing::Of(lease) => self.compare(run, found, lease).await,
            Standing::Orphan(mark) => self.adopt(run, found, mark).await,
            Standing::MarkedByAnother => self.dispute(run, found, "bears another installation's mark").await,
            Standing::OtherName => {
                self.dispute(run, found, "speaks of a lease whose account has another name").await
            }
            Standing::Elsewhere => Ok(()),
            Standing::Foreign => {
                run.report.counts.foreign += 1;
                Ok(())
            }
            Standing::Unmarked => {
                run.report.counts.unmarked += 1;
                Ok(())
            }
        }
    }

    /// An account of ours, beside its lease.
    async fn compare(
        &self,
        run: &mut Run<'_>,
        found: &FoundAccount,
        lease: &Lease,
    ) -> Result<(), ReconcileError> {
        match &lease.state {
            // The reaper's.
            LeaseState::Provisioning { .. } | LeaseState::Ending { .. } => Ok(()),
            LeaseState::Ended { report, .. } if !report.account_kept => self.reappeared(run, lease).await,
            LeaseState::Active { .. } | LeaseState::Ended { .. } => {
                let Some(expected) = super::drifted::expected(lease) else { return Ok(()) };
                if drift(&expected, found, run.target.keeps_expiry()).is_empty() {
                    return Ok(());
                }
                self.drifted(run, lease.id).await
            }
        }
    }

    /// The account of a lease that had ended seems to be there: looks again, store first, since it may have been removed just now.
    async fn reappeared(&self, run: &mut Run<'_>, lease: &Lease) -> Result<(), ReconcileError> {
        let Some(lease) = self.store.lease(lease.id).await? else { return Ok(()) };
        let gone = |report: &crate::domain::EndReport| !report.account_kept;
        if !matches!(&lease.state, LeaseState::Ended { report, .. } if gone(report)) {
            return Ok(());
        }
        if look(run, &lease.account.name).await?.is_none() {
            return Ok(());
        }
        if run.acts() {
            self.end_once_more(run, &lease, "its account is there after its end").await?;
        }
        run.report.note(Discrepancy {
            kind: DiscrepancyKind::Reappeared,
            account: lease.account.name.to_string(),
            lease: lease.id,
            what: "the account is there after the end of its lease".to_owned(),
            answer: if run.acts() { Answer::Ending } else { Answer::Reported },
        });
        Ok(())
    }

    /// Has the reaper end a lease once more that had ended.
    pub(super) async fn end_once_more(
        &self,
        run: &Run<'_>,
        lease: &Lease,
        why: &str,
    ) -> Result<(), StoreError> {
        here(Point::ReconcileReappeared);
        let now = self.clock.now();
        let draft = Draft::of_lease(now, Actor::System, "lease.reappeared", lease).with("reason", why);
        let event = LeaseEvent::Reappeared { at: now };
        unless_moved_on(self.store.apply(lease.id, event, now, Some(draft)).await)?;
        here(Point::ReconcileReopened);
        self.reaper.due(run.name, now);
        Ok(())
    }

    /// An account of ours without a lease: gives it one, ENDING. The store says within its transaction should there be one after all.
    async fn adopt(
        &self,
        run: &mut Run<'_>,
        found: &FoundAccount,
        mark: &Mark,
    ) -> Result<(), ReconcileError> {
        if run.acts() {
            let now = self.clock.now();
            let adopted = adopt::lease_of(found, mark, run.name, run.roles, now).map_err(|error| {
                StoreError::new(
                    crate::store::StoreErrorKind::Other,
                    "the lease of an orphan cannot be made up",
                )
                .caused_by(error)
            })?;
            let draft = Draft::of_lease(now, Actor::System, "lease.adopted", &adopted)
                .with("requester", format!("{}:{}", mark.requester.kind, mark.requester.name));
            here(Point::ReconcileOrphan);
            self.store.adopt(adopted, draft).await?;
            here(Point::ReconcileAdopted);
            self.reaper.due(run.name, now);
        }
        run.report.note(Discrepancy {
            kind: DiscrepancyKind::Orphan,
            account: found.account.name.to_string(),
            lease: mark.lease,
            what: format!("{}, for {}", adopt::REASON, mark.requester.name),
            answer: if run.acts() { Answer::Ending } else { Answer::Reported },
        });
        Ok(())
    }

    /// An account that claims to be what it cannot be: somebody must look at it, and nothing is done to it.
    async fn dispute(
        &self,
        run: &mut Run<'_>,
        found: &FoundAccount,
        what: &str,
    ) -> Result<(), ReconcileError> {
        let Some(lease) = found.lease() else { return Ok(()) };
        if run.acts() && run.is_news(lease, Told { drift: Vec::new(), more: what.to_owned() }) {
            tracing::warn!(target_name = %run.name, account = %found.account.name, "an account {what}");
            let draft =
                Draft::new(self.clock.now(), Actor::System, "lease.disputed", format!("leases/{lease}"))
                    .with("account", found.account.name.as_str())
                    .with("target", run.name.as_str())
                    .with("found", what);
            self.store.record(draft).await?;
        }
        run.report.note(Discrepancy {
            kind: DiscrepancyKind::Disputed,
            account: found.account.name.to_string(),
            lease,
            what: what.to_owned(),
            answer: Answer::Reported,
        });
        Ok(())
    }
}

/// The leases that accounts are named by, each once.
fn named_by(accounts: &[FoundAccount]) -> Vec<LeaseId> {
    let ids: BTreeSet<LeaseId> = accounts.iter().filter_map(FoundAccount::lease).collect();
    ids.into_iter().collect()
}

fn by_id(leases: Vec<Lease>) -> BTreeMap<LeaseId, Lease> {
    leases.into_iter().map(|lease| (lease.id, lease)).collect()
}

/// Those of these leases whose account is not on the target.
async fn missing(run: &Run<'_>, leases: Vec<Lease>) -> Result<Vec<Lease>, TargetError> {
    if leases.is_empty() {
        return Ok(leases);
    }
    let names: Vec<&AccountName> = leases.iter().map(|lease| &lease.account.name).collect();
    let found = run.target.accounts(Which::Named(&names)).await?;
    let found: BTreeSet<AccountName> = found.into_iter().map(|found| found.account.name).collect();
    Ok(leases.into_iter().filter(|lease| !found.contains(&lease.account.name)).collect())
}

/// An account as it is now.
pub(super) async fn look(run: &Run<'_>, name: &AccountName) -> Result<Option<FoundAccount>, TargetError> {
    let found = run.target.accounts(Which::Named(&[name])).await?;
    Ok(found.into_iter().find(|found| found.account.name == *name))
}

/// Whether a moment on the lease's clock has come.
pub(super) fn is_over(lease: &Lease, now: Timestamp) -> bool {
    lease.expires_at().is_some_and(|at| at <= now)
}
