//! Accounts that are handed out beside what is kept of them: locked or prolonged while somebody holds them, enabled while nobody does.
//!
//! Whoever hands out or takes back has the account's turn; here it is taken as well, and who holds the account must be the same
//! afterwards. Nothing is done to an account that was never handed out, or that no role hands out any more.

use super::{Answer, Discrepancy, DiscrepancyKind, PAGE, ReconcileError, Reconciler, Run};
use crate::{
    audit::{Actor, Draft},
    domain::{Access, Checkout, ExistingAccount, Lease, LeaseId, LeaseState},
    issuer::checkout::sessions_left,
    store::{Changes, Committed, Document, Kept, Listing, StoreError, document, documents},
    target::{ExistingState, TargetError, TargetErrorKind},
};

/// What is kept of one account, and the lease it is held for.
pub(super) struct Books {
    kept: Kept<Checkout>,
    pub(super) account: ExistingAccount,
    holder: Option<Lease>,
}

impl Books {
    /// Whether the account is about to be handed out or taken back.
    fn moves(&self) -> bool {
        let moving =
            |state: &LeaseState| matches!(state, LeaseState::Provisioning { .. } | LeaseState::Ending { .. });
        self.holder.as_ref().is_some_and(|lease| moving(&lease.state))
    }

    /// A lease to name in a report.
    fn some_lease(&self) -> Option<LeaseId> {
        let Checkout { holder, last, .. } = &self.kept.document;
        holder.or(*last)
    }
}

impl Reconciler {
    /// Compares every account on the target that was ever handed out.
    pub(super) async fn handed_out(&self, run: &mut Run<'_>) -> Result<(), ReconcileError> {
        let mut before: Option<String> = None;
        loop {
            self.go_on()?;
            let listing =
                Listing { by: Some(("target", run.name.as_str())), before: before.as_deref(), limit: PAGE };
            let page = documents::<Checkout>(&*self.store, listing).await?;
            let more = page.len() >= PAGE as usize;
            before = page.last().map(|kept| kept.document.id());
            for kept in page {
                self.compare_checkout(run, &kept.document.id()).await?;
            }
            if !more {
                return Ok(());
            }
        }
    }

    async fn compare_checkout(&self, run: &mut Run<'_>, id: &str) -> Result<(), ReconcileError> {
        self.go_on()?;
        let Some(_turn) = self.account_turns.take(&id.to_owned()) else { return Ok(()) };
        let Some(books) = self.checkout_books(id).await?.filter(|books| !books.moves()) else {
            return Ok(());
        };
        let state = run.target.existing(&books.account).await?;
        // Another process may have handed it out, renewed it or taken it back meanwhile.
        let now = self.checkout_books(id).await?;
        let stands = |now: &Books| {
            now.kept.document.holder == books.kept.document.holder
                && now.kept.document.last == books.kept.document.last
                && now.holder.as_ref().map(|lease| &lease.state)
                    == books.holder.as_ref().map(|lease| &lease.state)
        };
        let Some(books) = now.filter(stands) else { return Ok(()) };
        match (&books.holder, books.kept.document.holder) {
            (Some(lease), _) if matches!(lease.state, LeaseState::Active { .. }) => {
                self.compare_held(run, &books, lease, state).await
            }
            (Some(lease), _) => self.sweep(run, &books, lease).await,
            (None, Some(_)) => {
                self.lock_again(run, books, state, "is held by a lease that there is not").await
            }
            (None, None) if !is_named(run, &books) => self.forget(run, &books).await,
            (None, None) => match state {
                Some(ExistingState { may_log_in: true, .. }) => {
                    self.lock_again(run, books, state, "may log in although nobody holds it").await
                }
                Some(_) | None => Ok(()),
            },
        }
    }

    async fn checkout_books(&self, id: &str) -> Result<Option<Books>, StoreError> {
        let Some(kept) = document::<Checkout>(&*self.store, id).await? else { return Ok(None) };
        let Some(account) = ExistingAccount::of(&kept.document.account) else { return Ok(None) };
        let holder = match kept.document.holder {
            Some(holder) => self.store.lease(holder).await?,
            None => None,
        };
        Ok(Some(Books { kept, account, holder }))
    }

    /// The lease it is held for is over, as a restored backup may have it: the lease is ended once more, which frees the account.
    async fn sweep(&self, run: &mut Run<'_>, books: &Books, lease: &Lease) -> Result<(), ReconcileError> {
        let what = "is held for a lease that is over";
        if run.acts() {
            self.end_once_more(run, lease, &format!("its account {what}")).await?;
        }
        let answer = if run.acts() { Answer::Ending } else { Answer::Reported };
        note(run, books, lease.id, DiscrepancyKind::Reappeared, what.to_owned(), answer);
        Ok(())
    }

    /// An account that nobody holds is locked again, whatever it is that somebody wanted with it.
    async fn lock_again(
        &self,
        run: &mut Run<'_>,
        books: Books,
        state: Option<ExistingState>,
        what: &str,
    ) -> Result<(), ReconcileError> {
        let Some(lease) = books.some_lease() else { return Ok(()) };
        let answer = if run.acts() {
            let locked =
                if state.is_some() { self.check_in_again(run, &books.account).await } else { Ok(()) };
            match locked {
                Ok(()) => self.locked_again(&books, what).await?,
                Err(error) if concerns_all(&error) => return Err(error.into()),
                Err(error) => Answer::Failed { error: error.to_string(), remedy: error.remedy },
            }
        } else {
            Answer::Reported
        };
        note(run, &books, lease, DiscrepancyKind::Reappeared, what.to_owned(), answer);
        Ok(())
    }

    async fn check_in_again(&self, run: &Run<'_>, account: &ExistingAccount) -> Result<(), TargetError> {
        if !run.target.check_in(account).await? {
            return Ok(());
        }
        if sessions_left(&*run.target, account).await? == 0 {
            return Ok(());
        }
        Err(TargetError::new(TargetErrorKind::Refused, "it is locked again, but sessions of it do not end"))
    }

    async fn locked_again(&self, books: &Books, what: &str) -> Result<Answer, StoreError> {
        let draft = self.draft_on_checkout(books, "checkout.locked_again").with("reason", what);
        let mut checkout = books.kept.document.clone();
        let mut changes = Changes::new();
        if checkout.holder.take().is_some() {
            changes = changes.replace(&checkout, books.kept.revision)?;
        }
        // On a conflict somebody asked for it meanwhile: that it is held still is found by the next run.
        let committed = changes.record(draft).commit(&*self.store).await?;
        Ok(if committed == Committed::Yes { Answer::PutRight } else { Answer::Reported })
    }

    /// No role hands it out any more: it is its administrators' again, as it is.
    async fn forget(&self, run: &Run<'_>, books: &Books) -> Result<(), ReconcileError> {
        if run.acts() {
            let draft = self.draft_on_checkout(books, "checkout.forgotten");
            let _ = Changes::new().remove(&books.kept).record(draft).commit(&*self.store).await?;
        }
        Ok(())
    }

    fn draft_on_checkout(&self, books: &Books, action: &'static str) -> Draft {
        let target = books.kept.document.target.as_str();
        Draft::new(self.clock.now(), Actor::System, action, format!("checkouts/{}", books.kept.document.id()))
            .with("account", books.account.to_string())
            .with("target", target)
    }
}

/// Whether a role hands the account out.
fn is_named(run: &Run<'_>, books: &Books) -> bool {
    run.roles.values().any(|role| match &role.access {
        Access::Checkout { account, .. } => role.target == *run.name && account == books.account.name(),
        Access::Ephemeral | Access::Elevation { .. } => false,
    })
}

pub(super) fn concerns_all(error: &TargetError) -> bool {
    error.kind.concerns_whole_target()
}

pub(super) fn note(
    run: &mut Run<'_>,
    books: &Books,
    lease: LeaseId,
    kind: DiscrepancyKind,
    what: String,
    answer: Answer,
) {
    run.report.note(Discrepancy { kind, account: books.account.to_string(), lease, what, answer });
}
