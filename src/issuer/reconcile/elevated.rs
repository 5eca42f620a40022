//! Existing accounts beside what is kept of them: groups that are missing, and groups that nobody holds any more.
//!
//! Whoever gives or takes has the account's turn; here it is taken as well, and what is kept of the account must be the same
//! afterwards. Nothing is done to a group that is not on record as given by this installation.

use std::collections::BTreeMap;

use super::{
    Answer, Discrepancy, DiscrepancyKind, PAGE, ReconcileError, Reconciler, Run, Told, unless_moved_on,
};
use crate::{
    audit::{Actor, Draft},
    domain::{Elevation, EndCause, ExistingAccount, Lease, LeaseEvent, LeaseId, LeaseState},
    issuer::give_again,
    store::{Changes, Committed, Document, Kept, Listing, StoreError, document, documents},
    target::{OnDrift, TargetError},
};

/// What is kept of one account, and the leases that it speaks of.
struct Books {
    id: String,
    kept: Kept<Elevation>,
    account: ExistingAccount,
    leases: BTreeMap<LeaseId, Lease>,
}

impl Books {
    /// Whether somebody else is about to give or take: a lease begins or ends.
    fn moves(&self) -> bool {
        let moving =
            |state: &LeaseState| matches!(state, LeaseState::Provisioning { .. } | LeaseState::Ending { .. });
        self.leases.values().any(|lease| moving(&lease.state))
    }

    /// The leases that hold something although they are over, or were never there.
    fn over(&self) -> Vec<LeaseId> {
        let over = |id: &LeaseId| self.leases.get(id).is_none_or(|lease| !lease.state.name().is_live());
        self.kept.document.leases().into_iter().filter(over).collect()
    }

    /// A lease to name in a report.
    fn some_lease(&self) -> Option<LeaseId> {
        self.kept.document.leases().into_iter().next_back()
    }
}

impl Reconciler {
    /// Compares every existing account on the target that something is kept of.
    pub(super) async fn elevated(&self, run: &mut Run<'_>) -> Result<(), ReconcileError> {
        let mut before: Option<String> = None;
        loop {
            self.go_on()?;
            let listing =
                Listing { by: Some(("target", run.name.as_str())), before: before.as_deref(), limit: PAGE };
            let page = documents::<Elevation>(&*self.store, listing).await?;
            let more = page.len() >= PAGE as usize;
            before = page.last().map(|kept| kept.document.id());
            for kept in page {
                if !kept.document.groups.is_empty() {
                    self.compare_elevation(run, &kept.document.id()).await?;
                }
            }
            if !more {
                return Ok(());
            }
        }
    }

    async fn compare_elevation(&self, run: &mut Run<'_>, id: &str) -> Result<(), ReconcileError> {
        self.go_on()?;
        let Some(_turn) = self.account_turns.take(&id.to_owned()) else { return Ok(()) };
        let Some(books) = self.books(id).await?.filter(|books| !books.moves()) else { return Ok(()) };
        let state = run.target.existing(&books.account).await?;
        // Whoever changed what is kept meanwhile has seen to the account as well.
        let now = document::<Elevation>(&*self.store, id).await?;
        if now.is_none_or(|now| now.revision != books.kept.revision) {
            return Ok(());
        }
        let Some(state) = state else { return self.account_is_gone(run, &books).await };
        let given = books.kept.document.given();
        let missing: Vec<String> =
            given.into_iter().filter(|group| !state.member_of.contains(group)).collect();
        if !missing.is_empty() {
            self.groups_are_missing(run, &books, &missing).await?;
        }
        self.take_strays(run, books).await
    }

    async fn books(&self, id: &str) -> Result<Option<Books>, StoreError> {
        let Some(kept) = document::<Elevation>(&*self.store, id).await? else { return Ok(None) };
        let Some(account) = ExistingAccount::of(&kept.document.account) else { return Ok(None) };
        let ids: Vec<LeaseId> = kept.document.leases().into_iter().collect();
        let leases = self.store.leases(&ids).await?.into_iter().map(|lease| (lease.id, lease)).collect();
        Ok(Some(Books { id: id.to_owned(), kept, account, leases }))
    }

    /// Somebody dropped the account: its leases are closed, like those of any account that vanished.
    async fn account_is_gone(&self, run: &mut Run<'_>, books: &Books) -> Result<(), ReconcileError> {
        let active: Vec<Lease> = books.leases.values().cloned().collect();
        for lease in self.still_active(&active).await? {
            if run.acts() {
                self.close(&lease).await?;
                self.reaper.due(run.name, self.clock.now());
            }
            run.report.note(Discrepancy {
                kind: DiscrepancyKind::Vanished,
                account: books.account.to_string(),
                lease: lease.id,
                what: "the account that was elevated is not there any more".to_owned(),
                answer: if run.acts() { Answer::Ending } else { Answer::Reported },
            });
        }
        Ok(())
    }

    /// Somebody took from the account what it is to have.
    async fn groups_are_missing(
        &self,
        run: &mut Run<'_>,
        books: &Books,
        missing: &[String],
    ) -> Result<(), ReconcileError> {
        let holds = |lease: &&Lease| lease.end_plan.member_of.iter().any(|group| missing.contains(group));
        let holders: Vec<Lease> = books.leases.values().filter(holds).cloned().collect();
        let holders = self.still_active(&holders).await?;
        let Some(first) = holders.first() else { return Ok(()) };
        let what = format!("lost what it was given: {}", missing.join(", "));
        if run.acts() && run.is_news(first.id, Told { drift: Vec::new(), more: what.clone() }) {
            self.record_on(books, first.id, "lease.drifted", &what).await?;
        }
        let answer = match run.target.settings().reconcile.on_drift {
            _ if !run.acts() => Answer::Reported,
            OnDrift::Report => Answer::Reported,
            OnDrift::PutRight => {
                let held = (&books.kept.document, &books.account);
                let put = give_again(&*self.store, &*run.target, held, missing).await?;
                self.mended(run, books, (first.id, "lease.put_right", &what), put).await?
            }
            OnDrift::End => {
                for lease in &holders {
                    self.end_stripped(lease, &what).await?;
                }
                self.reaper.due(run.name, self.clock.now());
                Answer::Ending
            }
        };
        run.report.note(Discrepancy {
            kind: DiscrepancyKind::Drifted,
            account: books.account.to_string(),
            lease: first.id,
            what,
            answer,
        });
        Ok(())
    }

    /// Groups that only leases hold which are over, as a crash or a restored backup leaves them, are taken away.
    async fn take_strays(&self, run: &mut Run<'_>, books: Books) -> Result<(), ReconcileError> {
        let some_lease = books.some_lease();
        let Kept { revision, mut document } = books.kept.clone();
        for lease in books.over() {
            document.let_go(lease);
        }
        let strays = document.surrendered();
        let Some(lease) = some_lease.filter(|_| !strays.is_empty()) else { return Ok(()) };
        let what = format!("has what no lease holds: {}", strays.join(", "));
        let answer = if run.acts() {
            let taken = self.take_away(run, &books, (revision, document), &strays).await;
            match taken {
                Ok(Some(error)) => Answer::Failed { error: error.to_string(), remedy: error.remedy },
                Ok(None) => Answer::PutRight,
                Err(error) => return Err(error),
            }
        } else {
            Answer::Reported
        };
        run.report.note(Discrepancy {
            kind: DiscrepancyKind::Orphan,
            account: books.account.to_string(),
            lease,
            what,
            answer,
        });
        Ok(())
    }

    /// Notes durably what nobody holds, takes it away, ends the account's sessions, and notes that.
    async fn take_away(
        &self,
        run: &Run<'_>,
        books: &Books,
        (revision, mut document): (u64, Elevation),
        strays: &[String],
    ) -> Result<Option<TargetError>, ReconcileError> {
        let draft = self.draft_on(books, "elevation.stray", strays);
        let changes = Changes::new().replace(&document, revision)?.record(draft);
        if changes.commit(&*self.store).await? == Committed::Conflict {
            return Ok(None);
        }
        let taken = match run.target.strip(&books.account, strays).await {
            Ok(true) => run.target.end_existing_sessions(&books.account).await.map(drop),
            Ok(false) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = taken {
            return if error.kind.concerns_whole_target() { Err(error.into()) } else { Ok(Some(error)) };
        }
        document.forget_surrendered();
        let draft = self.draft_on(books, "elevation.taken_back", strays);
        let changes = Changes::new().replace(&document, revision.saturating_add(1))?.record(draft);
        // On a conflict somebody holds it again: the next run sees that it is there.
        let _ = changes.commit(&*self.store).await?;
        Ok(None)
    }

    async fn end_stripped(&self, lease: &Lease, what: &str) -> Result<(), StoreError> {
        let now = self.clock.now();
        let reason = format!("its account {what}");
        let draft = Draft::new(now, Actor::System, "lease.ending", lease.resource_name())
            .with("cause", "revoked")
            .with("reason", reason.as_str());
        let event =
            LeaseEvent::EndRequested { at: now, cause: EndCause::Revoked { reason }, not_before: now };
        unless_moved_on(self.store.apply(lease.id, event, now, Some(draft)).await).map(drop)
    }

    async fn mended(
        &self,
        run: &mut Run<'_>,
        books: &Books,
        (lease, action, what): (LeaseId, &'static str, &str),
        done: Result<(), TargetError>,
    ) -> Result<Answer, ReconcileError> {
        match done {
            Ok(()) => {
                run.telling.remove(&lease);
                self.record_on(books, lease, action, what).await?;
                Ok(Answer::PutRight)
            }
            Err(error) if error.kind.concerns_whole_target() => Err(error.into()),
            Err(error) => Ok(Answer::Failed { error: error.to_string(), remedy: error.remedy }),
        }
    }

    async fn record_on(
        &self,
        books: &Books,
        lease: LeaseId,
        action: &'static str,
        what: &str,
    ) -> Result<(), StoreError> {
        let draft = Draft::new(self.clock.now(), Actor::System, action, format!("leases/{lease}"))
            .with("account", books.account.to_string())
            .with("target", books.kept.document.target.as_str())
            .with("drift", what);
        self.store.record(draft).await
    }

    fn draft_on(&self, books: &Books, action: &'static str, groups: &[String]) -> Draft {
        Draft::new(self.clock.now(), Actor::System, action, format!("elevations/{}", books.id))
            .with("account", books.account.to_string())
            .with("groups", groups.join(", "))
    }
}
