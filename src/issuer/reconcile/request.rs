//! Reconciling when somebody asks.

use std::sync::Arc;

use super::{Counts, Mode, ReconcileError, ReconcileReport, Reconciler};
use crate::{
    audit::{Actor, Draft},
    domain::TargetName,
    identity::Caller,
    issuer::{Issuer, Refusal},
    policy,
    store::StoreError,
};

impl Issuer {
    /// What compares targets with the store.
    pub fn reconciler(&self) -> Arc<Reconciler> {
        Arc::clone(&self.reconciler)
    }

    /// Compares a target with the store and sees to what differs, or with [`Mode::DryRun`] only tells. A caller who gives up does not
    /// stop it.
    ///
    /// # Errors
    /// [`Refusal`]: not an administrator, no such target, target or store unavailable.
    pub async fn reconcile_target(
        &self,
        caller: &Caller,
        name: &TargetName,
        mode: Mode,
    ) -> Result<ReconcileReport, Refusal> {
        let what = "target.reconciled";
        self.authorise(caller, policy::Action::Administer, what, format!("targets/{name}")).await?;
        if self.tasks.is_closed() {
            return Err(Refusal::shutting_down());
        }
        let (reconciler, actor, name) = (self.reconciler(), caller.actor(), name.clone());
        let run = self.tasks.spawn(async move {
            reconciler.run_for(actor, &name, mode).await.map_err(|error| error.refusal(&name))
        });
        run.await.map_err(Refusal::internal)?
    }

    /// Likewise, with nobody waiting for it.
    pub(in crate::issuer) fn reconcile_in_background(&self, name: TargetName) {
        if self.tasks.is_closed() {
            return;
        }
        let reconciler = self.reconciler();
        self.tasks.spawn(async move {
            if let Err(error) = reconciler.run_for(Actor::System, &name, Mode::Act).await {
                tracing::warn!(
                    target_name = %name, error = &error as &dyn std::error::Error,
                    "a target could not be reconciled; its next run will"
                );
            }
        });
    }
}

impl Reconciler {
    /// Runs and records that it ran, for whom, and what it found. A run by itself that finds nothing leaves no record.
    ///
    /// # Errors
    /// [`ReconcileError`].
    pub async fn run_for(
        &self,
        actor: Actor,
        name: &TargetName,
        mode: Mode,
    ) -> Result<ReconcileReport, ReconcileError> {
        let by_itself = actor == Actor::System;
        let report = self.run(name, mode).await?;
        if mode == Mode::Act && !(by_itself && report.counts.agree()) {
            self.record(actor, &report).await?;
        }
        Ok(report)
    }

    async fn record(&self, actor: Actor, report: &ReconcileReport) -> Result<(), StoreError> {
        let Counts {
            leases,
            accounts,
            vanished,
            orphans,
            reappeared,
            drifted,
            disputed,
            foreign,
            unmarked,
            remaining,
        } = report.counts;
        let resource = format!("targets/{}", report.target);
        let mut draft = Draft::new(self.clock.now(), actor, "target.reconciled", resource);
        for (fact, count) in [
            ("leases", leases),
            ("accounts", accounts),
            ("vanished", vanished),
            ("orphans", orphans),
            ("reappeared", reappeared),
            ("drifted", drifted),
            ("disputed", disputed),
            ("foreign", foreign),
            ("unmarked", unmarked),
            ("remaining", remaining),
        ] {
            draft = draft.with(fact, count.to_string());
        }
        self.store.record(draft).await
    }
}
