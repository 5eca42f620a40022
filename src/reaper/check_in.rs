//! Ending a checkout: the account is taken back, and stays locked.
//!
//! ```text
//! rotate the password away, lock ─▶ end sessions until none is left ─▶ verify that it is locked ─▶ free it (durable)
//! ```
//! As long as it is held for the lease, nobody else is given the account: it is freed last of all, before the end of the lease is
//! recorded. An end that finds it freed was interrupted in between, and has nothing left to do; the account may be somebody else's by
//! then. Every step is idempotent.

use super::{
    claims::Claim,
    end::{Halt, Sessions, check, end_sessions},
    strip::Books,
};
use crate::{
    audit::{Actor, Draft},
    crash::{self, Point},
    domain::{Checkout, EndReport, ExistingAccount, Lease},
    issuer::checkout_of,
    store::{Changes, Committed, Kept},
    target::Target,
};

/// How often it is freed anew that others came before: those who wait.
const CONFLICTS: u32 = 10;

/// Ends a checkout step by step, as long as the claim on its lease stands.
pub(super) struct CheckIn<'a> {
    pub(super) books: &'a Books<'a>,
    pub(super) target: &'a dyn Target,
    pub(super) lease: &'a Lease,
    pub(super) account: ExistingAccount,
    pub(super) claim: &'a Claim,
}

impl CheckIn<'_> {
    /// Does it all; `at_the_door` is cleared once the target has taken the first step.
    pub(super) async fn run(&self, report: &mut EndReport, at_the_door: &mut bool) -> Result<(), Halt> {
        let _turn = self.books.turns.wait(&Checkout::id_of(&self.lease.target, &self.account)).await;
        check(self.claim)?;
        if self.kept().await?.document.holder != Some(self.lease.id) {
            return Ok(());
        }
        report.was_absent = !self.target.check_in(&self.account).await?;
        *at_the_door = false;
        crash::here(Point::EndDisabled);
        if !report.was_absent {
            end_sessions(self.target, self.claim, Sessions::Existing(&self.account), report).await?;
            crash::here(Point::EndSessionsEnded);
            self.verify().await?;
        }
        self.free().await
    }

    async fn kept(&self) -> Result<Kept<Checkout>, Halt> {
        Ok(checkout_of(self.books.store, self.lease, &self.account).await?)
    }

    /// Somebody may have enabled it again behind our back: then it is begun anew.
    async fn verify(&self) -> Result<(), Halt> {
        check(self.claim)?;
        match self.target.existing(&self.account).await? {
            Some(state) if state.may_log_in => {
                Err(Halt::refused("the account may log in although it was just locked"))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Lets the next have it.
    async fn free(&self) -> Result<(), Halt> {
        for _ in 0..CONFLICTS {
            check(self.claim)?;
            let Kept { revision, document: mut checkout } = self.kept().await?;
            if !checkout.free(self.lease.id) {
                return Ok(());
            }
            let now = self.books.clock.now();
            let draft = Draft::of_lease(now, Actor::System, "checkout.returned", self.lease)
                .with("waiting", checkout.waiting.len().to_string());
            let changes = Changes::new().replace(&checkout, revision)?.record(draft);
            if changes.commit(self.books.store).await? == Committed::Yes {
                crash::here(Point::CheckoutFreed);
                return Ok(());
            }
        }
        Err(Halt::refused("what is kept of the account changes all the time"))
    }
}
