//! A target that does what the real one does, except where a test meddles: fails before or after a step's effect, does
//! a step twice, or holds it until the test lets go.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

use async_trait::async_trait;
use jiff::Timestamp;
use mayfly::{
    domain::{Account, Drift, ExistingAccount, FoundAccount, LeaseId, ObjectCounts, Password, Role},
    target::{
        Elevated, Examination, ExistingState, Glance, HandedOut, LeasedAccount, NewAccount, Secret,
        ServerVersion, Session, SessionsEnded, Survey, Target, TargetError, TargetErrorKind, TargetSettings,
        Which,
    },
};
use tokio::sync::Semaphore;

/// A step a target is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Create,
    ReplaceSecret,
    Renew,
    PutRight,
    Disable,
    EndSessions,
    SettleObjects,
    Remove,
    ChangeOwnPassword,
    ProveOwnPassword,
    Elevate,
    Strip,
    CheckOut,
    Prolong,
    CheckIn,
    DisableMany,
    EndSessionsOfMany,
    RemoveMany,
}

impl Step {
    /// The steps of ending, in order.
    pub(crate) const ENDING: [Step; 4] =
        [Step::Disable, Step::EndSessions, Step::SettleObjects, Step::Remove];
}

/// Before or after the effect of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    Before,
    After,
}

enum Meddling {
    Fail(Moment, TargetErrorKind),
    Hold(Moment, Gate),
}

/// Where a step is held.
#[derive(Clone)]
pub(crate) struct Gate {
    arrived: Arc<Semaphore>,
    opened: Arc<Semaphore>,
}

impl Gate {
    fn new() -> Self {
        Self { arrived: Arc::new(Semaphore::new(0)), opened: Arc::new(Semaphore::new(0)) }
    }

    /// Returns once the step stands at the gate.
    pub(crate) async fn reached(&self) {
        let patience = std::time::Duration::from_secs(60);
        tokio::time::timeout(patience, self.arrived.acquire()).await.unwrap().unwrap().forget();
    }

    /// Lets the step pass.
    pub(crate) fn open(&self) {
        self.opened.add_permits(1);
    }

    async fn pass(&self) {
        self.arrived.add_permits(1);
        self.opened.acquire().await.unwrap().forget();
    }
}

/// The meddled-with target.
pub(crate) struct Meddler {
    inner: Arc<dyn Target>,
    plans: Mutex<Vec<(Step, Meddling)>>,
    twice: AtomicBool,
    together: AtomicBool,
    calls: Mutex<Vec<(Step, LeaseId)>>,
}

impl Meddler {
    pub(crate) fn new(inner: Arc<dyn Target>) -> Arc<Self> {
        Arc::new(Self {
            inner,
            plans: Mutex::default(),
            twice: AtomicBool::new(false),
            together: AtomicBool::new(false),
            calls: Mutex::default(),
        })
    }

    /// The next time this step is asked for, it fails before or after its effect.
    pub(crate) fn fail(&self, step: Step, moment: Moment, kind: TargetErrorKind) {
        self.plans.lock().unwrap().push((step, Meddling::Fail(moment, kind)));
    }

    /// The next time this step is asked for, it stands still before or after its effect.
    pub(crate) fn hold(&self, step: Step, moment: Moment) -> Gate {
        let gate = Gate::new();
        self.plans.lock().unwrap().push((step, Meddling::Hold(moment, gate.clone())));
        gate
    }

    /// From now on every step (but creation) is done twice.
    pub(crate) fn repeat_everything(&self) {
        self.twice.store(true, Ordering::SeqCst);
    }

    /// From now on what is due at the same time is ended together, as on the real one; until then each is ended on its own.
    pub(crate) fn end_together(&self) {
        self.together.store(true, Ordering::SeqCst);
    }

    /// The steps asked for so far, for one lease.
    pub(crate) fn calls(&self, lease: LeaseId) -> Vec<Step> {
        let calls = self.calls.lock().unwrap();
        calls.iter().filter(|(_, of)| *of == lease).map(|(step, _)| *step).collect()
    }

    /// How many steps were asked for so far.
    pub(crate) fn total(&self) -> usize {
        self.calls.lock().unwrap().len()
    }

    /// How many times a plan is still waiting for its step.
    pub(crate) fn planned(&self) -> usize {
        self.plans.lock().unwrap().len()
    }

    fn take_plan(&self, step: Step) -> Option<Meddling> {
        let mut plans = self.plans.lock().unwrap();
        let at = plans.iter().position(|(of, _)| *of == step)?;
        Some(plans.remove(at).1)
    }

    async fn around<T, F>(
        &self,
        step: Step,
        lease: LeaseId,
        effect: impl Fn() -> F + Send + Sync,
    ) -> Result<T, TargetError>
    where
        T: Send,
        F: Future<Output = Result<T, TargetError>> + Send,
    {
        self.calls.lock().unwrap().push((step, lease));
        match self.take_plan(step) {
            Some(Meddling::Fail(Moment::Before, kind)) => Err(TargetError::new(kind, "meddled with")),
            Some(Meddling::Fail(Moment::After, kind)) => {
                effect().await?;
                Err(TargetError::new(kind, "meddled with").after_sending())
            }
            Some(Meddling::Hold(moment, gate)) => {
                if moment == Moment::Before {
                    gate.pass().await;
                }
                let outcome = effect().await;
                if moment == Moment::After {
                    gate.pass().await;
                }
                outcome
            }
            None if self.twice.load(Ordering::SeqCst) && step != Step::Create => {
                effect().await?;
                effect().await
            }
            None => effect().await,
        }
    }
}

/// Whose a step is that concerns no single lease.
fn none() -> LeaseId {
    LeaseId::new(Timestamp::UNIX_EPOCH, 0)
}

#[async_trait]
impl Target for Meddler {
    fn settings(&self) -> &TargetSettings {
        self.inner.settings()
    }

    fn client_database(&self) -> Option<String> {
        self.inner.client_database()
    }

    async fn prepare(&self, role: &Role) -> Result<Secret, TargetError> {
        self.inner.prepare(role).await
    }

    async fn create(&self, new: NewAccount<'_>, secret: &Secret) -> Result<(), TargetError> {
        self.around(Step::Create, new.lease, || self.inner.create(new, secret)).await
    }

    async fn replace_secret(&self, of: LeasedAccount<'_>, secret: &Secret) -> Result<(), TargetError> {
        self.around(Step::ReplaceSecret, of.lease, || self.inner.replace_secret(of, secret)).await
    }

    async fn renew(&self, of: LeasedAccount<'_>, expires_at: Timestamp) -> Result<(), TargetError> {
        self.around(Step::Renew, of.lease, || self.inner.renew(of, expires_at)).await
    }

    async fn disable(&self, of: LeasedAccount<'_>) -> Result<Survey, TargetError> {
        self.around(Step::Disable, of.lease, || self.inner.disable(of)).await
    }

    async fn end_sessions(&self, of: LeasedAccount<'_>) -> Result<SessionsEnded, TargetError> {
        self.around(Step::EndSessions, of.lease, || self.inner.end_sessions(of)).await
    }

    async fn settle_objects(&self, of: LeasedAccount<'_>) -> Result<ObjectCounts, TargetError> {
        self.around(Step::SettleObjects, of.lease, || self.inner.settle_objects(of)).await
    }

    async fn remove(&self, of: LeasedAccount<'_>) -> Result<bool, TargetError> {
        self.around(Step::Remove, of.lease, || self.inner.remove(of)).await
    }

    async fn disable_many(&self, of: &[LeasedAccount<'_>]) -> Result<Vec<Glance>, TargetError> {
        if !self.together.load(Ordering::SeqCst) {
            return Ok(vec![Glance::Laden; of.len()]);
        }
        self.around(Step::DisableMany, none(), || self.inner.disable_many(of)).await
    }

    async fn end_sessions_of_many(
        &self,
        of: &[LeasedAccount<'_>],
    ) -> Result<Vec<SessionsEnded>, TargetError> {
        self.around(Step::EndSessionsOfMany, none(), || self.inner.end_sessions_of_many(of)).await
    }

    async fn remove_many(&self, of: &[LeasedAccount<'_>]) -> Result<Vec<bool>, TargetError> {
        self.around(Step::RemoveMany, none(), || self.inner.remove_many(of)).await
    }

    async fn sessions(&self, account: &Account) -> Result<Vec<Session>, TargetError> {
        self.inner.sessions(account).await
    }

    async fn accounts(&self, which: Which<'_>) -> Result<Vec<FoundAccount>, TargetError> {
        self.inner.accounts(which).await
    }

    fn keeps_expiry(&self) -> bool {
        self.inner.keeps_expiry()
    }

    async fn put_right(
        &self,
        of: LeasedAccount<'_>,
        drift: &[Drift],
        expires_at: Timestamp,
    ) -> Result<(), TargetError> {
        self.around(Step::PutRight, of.lease, || self.inner.put_right(of, drift, expires_at)).await
    }

    async fn existing(&self, account: &ExistingAccount) -> Result<Option<ExistingState>, TargetError> {
        self.inner.existing(account).await
    }

    async fn elevate(&self, elevated: Elevated<'_>) -> Result<(), TargetError> {
        self.around(Step::Elevate, elevated.lease, || self.inner.elevate(elevated)).await
    }

    async fn keep_until(
        &self,
        account: &ExistingAccount,
        lease: LeaseId,
        expires_at: Timestamp,
    ) -> Result<(), TargetError> {
        self.inner.keep_until(account, lease, expires_at).await
    }

    async fn let_go(&self, account: &ExistingAccount, lease: LeaseId) -> Result<(), TargetError> {
        self.inner.let_go(account, lease).await
    }

    async fn strip(&self, account: &ExistingAccount, groups: &[String]) -> Result<bool, TargetError> {
        self.around(Step::Strip, none(), || self.inner.strip(account, groups)).await
    }

    async fn end_existing_sessions(&self, account: &ExistingAccount) -> Result<SessionsEnded, TargetError> {
        self.inner.end_existing_sessions(account).await
    }

    async fn check_out(&self, handed: HandedOut<'_>, secret: &Secret) -> Result<(), TargetError> {
        self.around(Step::CheckOut, handed.lease, || self.inner.check_out(handed, secret)).await
    }

    async fn prolong(&self, handed: HandedOut<'_>) -> Result<(), TargetError> {
        self.around(Step::Prolong, handed.lease, || self.inner.prolong(handed)).await
    }

    async fn check_in(&self, account: &ExistingAccount) -> Result<bool, TargetError> {
        self.around(Step::CheckIn, none(), || self.inner.check_in(account)).await
    }

    async fn change_own_password(&self, password: &Password) -> Result<(), TargetError> {
        self.around(Step::ChangeOwnPassword, none(), || self.inner.change_own_password(password)).await
    }

    async fn prove_own_password(&self, password: &Password) -> Result<(), TargetError> {
        self.around(Step::ProveOwnPassword, none(), || self.inner.prove_own_password(password)).await
    }

    async fn ping(&self) -> Result<ServerVersion, TargetError> {
        self.inner.ping().await
    }

    async fn examine(&self, roles: &[&Role]) -> Examination {
        self.inner.examine(roles).await
    }
}
