//! Issuing: intent, effect, record, reply, in this order.
//!
//! ```text
//! policy ─▶ store: PROVISIONING ─▶ target: create ─▶ store: ACTIVE ─▶ reply
//!             (durable, with its account name)         (durable)
//! ```
//! The work runs in a task of its own, so that a caller who gives up cannot stop it half-way: it is completed and, nobody
//! being there to take the credential, ended again.

use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::oneshot;

use super::{
    ClaimRequest, Crowd, Issuer, Refusal, RefusalKind,
    admission::Place,
    grant::{Admitted, Wanted},
    lock,
};
use crate::{
    audit::{Actor, Draft},
    crash::{self, Point},
    domain::{
        Access, Account, AccountName, EndCause, EndPlan, Engine, ExistingAccount, Lease, LeaseEvent, LeaseId,
        LeaseKind, LeaseState, LeaseTerms, Password, PrincipalName, Role, RoleName, StateName, TargetName,
        Ttl,
    },
    identity::Caller,
    metrics::{ISSUED, Stopwatch},
    store::{BeginError, Begun, Changes, EntryChange, NewLease},
    target::{LeasedAccount, NewAccount, Pass, Secret, Target, TargetError, TargetErrorKind, TlsMode},
};

/// Characters a purpose may have.
const PURPOSE_LIMIT: usize = 1_000;

/// Bytes an idempotency key may have.
const KEY_LIMIT: usize = 128;

/// How long a request may wait, for the store and for its verifier, before its creation starts; one that waited longer is
/// refused. So a creation that has started is over by its lease's provisioning deadline.
pub(super) const PREPARATION: SignedDuration = SignedDuration::from_secs(10);

/// How soon a repeated request must be answered where others may answer the same one: by then its caller may have been given another
/// password by another process, which must not be replaced.
const REPETITION: SignedDuration = SignedDuration::from_secs(2);

/// How soon after a credential was ready it must be noticed that its caller is gone, where the caller may have asked another process
/// since.
const UNHEARD: SignedDuration = SignedDuration::from_secs(1);

/// How often the account of a lease that ended before its creation came through is tried to be taken back.
const TAKE_BACKS: u32 = 3;

/// How often a lease is tried to begin while what it requires changes.
const BEGINNINGS: u32 = 3;

/// How often a lease under a grant is decided anew because others claim under it at the same time: one of them gets through each time.
const CLAIM_TRIES: u32 = 200;

/// What a caller asks for.
#[derive(Debug, Clone)]
pub struct IssueRequest {
    /// Under which role.
    pub role: RoleName,
    /// For how long; `None`: the role's default.
    pub ttl: Option<Ttl>,
    /// What for.
    pub purpose: String,
    /// Chosen by the caller; a repeated request with the same key gets the same lease.
    pub idempotency_key: Option<String>,
}

/// An issued credential.
#[derive(Debug)]
pub struct Issued {
    /// Its lease, ACTIVE.
    pub lease: Lease,
    /// Its password, for the caller only. Empty: the account was there before, and keeps the one it has.
    pub password: Password,
    /// The target's engine.
    pub engine: Engine,
    /// Where to connect.
    pub addresses: Vec<(String, u16)>,
    /// The database to connect to.
    pub database: Option<String>,
    /// How far to go with TLS.
    pub tls_mode: TlsMode,
}

/// A credential on its way to its caller. Dropped on the way, it lets the issuing task know that nobody has it.
pub(super) struct Delivery {
    issued: Issued,
    taken: oneshot::Sender<()>,
}

/// Where the outcome goes.
pub(super) type Reply = oneshot::Sender<Result<Delivery, Refusal>>;

impl Delivery {
    fn take(self) -> Issued {
        // The task waits for this; should it be gone, there is nobody to tell.
        let _ = self.taken.send(());
        self.issued
    }
}

/// One issue under way: everything its task needs.
pub(super) struct Attempt {
    pub(super) role: Arc<Role>,
    pub(super) target: Arc<dyn Target>,
    pub(super) caller: Caller,
    pub(super) lease: Lease,
    pub(super) entries: Vec<EntryChange>,
}

impl Issuer {
    /// Issues a credential.
    ///
    /// # Errors
    /// [`Refusal`]. Whatever was begun on the target by then is being removed.
    pub async fn issue(self: &Arc<Self>, caller: &Caller, request: IssueRequest) -> Result<Issued, Refusal> {
        let (watch, role) = (Stopwatch::start(), request.role.clone());
        let answer = match self.enter(caller, &role).await {
            Ok(place) => self.issue_wanted(caller, Wanted::Role(request), place).await,
            Err(refusal) => Err(refusal),
        };
        self.count_issued(&role, watch, &answer);
        answer
    }

    /// Issues a credential under a grant of the caller's own.
    ///
    /// # Errors
    /// [`Refusal`]: no such grant (or not the caller's), not begun, over, used up, allowed no longer; and as [`Issuer::issue`].
    pub async fn claim(self: &Arc<Self>, caller: &Caller, claim: ClaimRequest) -> Result<Issued, Refusal> {
        let watch = Stopwatch::start();
        let Some(grant) = self.kept_grant(claim.grant).await? else {
            return self.issue_wanted(caller, Wanted::Claim(claim), None).await;
        };
        let role = &grant.document.role;
        let answer = match self.enter(caller, role).await {
            Ok(place) => self.issue_wanted(caller, Wanted::Claim(claim), place).await,
            Err(refusal) => Err(refusal),
        };
        self.count_issued(role, watch, &answer);
        answer
    }

    /// Likewise, past all who wait for their turn: in an emergency.
    ///
    /// # Errors
    /// As [`Issuer::claim`], but never for lack of a turn.
    pub(super) async fn claim_now(
        self: &Arc<Self>,
        caller: &Caller,
        claim: ClaimRequest,
        role: &RoleName,
    ) -> Result<Issued, Refusal> {
        let watch = Stopwatch::start();
        let answer = self.issue_wanted(caller, Wanted::Claim(claim), None).await;
        self.count_issued(role, watch, &answer);
        answer
    }

    /// Waits for a turn to issue under a role. What is not configured is refused further on, and takes no place.
    async fn enter(&self, caller: &Caller, role: &RoleName) -> Result<Option<Arc<Place>>, Refusal> {
        let Some((role, target)) = self.catalogue.current().role(role) else { return Ok(None) };
        let bounds = &target.settings().pool;
        let place = self.admissions.enter(&role.target, &caller.principal.name, bounds).await?;
        Ok(Some(Arc::new(place)))
    }

    /// How many issue on a target, and wait for their turn to.
    pub fn crowd(&self, target: &TargetName) -> Crowd {
        self.admissions.crowd(target)
    }

    fn count_issued(&self, role: &RoleName, watch: Stopwatch, answer: &Result<Issued, Refusal>) {
        let role = self.catalogue.current().role(role).map(|(role, _)| role);
        let outcome = answer.as_ref().map_or_else(|refusal| refusal.kind.as_str(), |_| ISSUED);
        let labels = role.as_ref().map(|role| (&role.name, &role.target));
        self.metrics.issue_answered(labels, outcome, watch.elapsed());
    }

    /// Decides anew as long as others change what was decided on.
    async fn issue_wanted(
        self: &Arc<Self>,
        caller: &Caller,
        wanted: Wanted,
        place: Option<Arc<Place>>,
    ) -> Result<Issued, Refusal> {
        let mut tries = 0;
        loop {
            match self.issue_once(caller, &wanted, place.as_ref()).await {
                Err(refusal) if refusal.kind == RefusalKind::Contended && tries < CLAIM_TRIES => tries += 1,
                answer => return answer,
            }
            // Many claims at once take turns rather than be in each other's way for ever.
            let wait = Duration::from_millis(u64::from(self.random.below(tries.saturating_mul(2))));
            tokio::time::sleep(wait).await;
        }
    }

    async fn issue_once(
        self: &Arc<Self>,
        caller: &Caller,
        wanted: &Wanted,
        place: Option<&Arc<Place>>,
    ) -> Result<Issued, Refusal> {
        let planned = self.plan(caller, wanted).await;
        let admitted = planned.and_then(|attempt| Ok((self.pass_to(&attempt.lease.target)?, attempt)));
        let (pass, attempt) = match admitted {
            Ok(admitted) => admitted,
            Err(refusal) if refusal.kind == RefusalKind::Contended => return Err(refusal),
            Err(refusal) => {
                return Err(self.refuse(caller, "lease.requested", wanted.resource(), refusal).await);
            }
        };
        if self.tasks.is_closed() {
            return Err(Refusal::shutting_down());
        }
        crash::here(Point::IssuePlanned);
        if attempt.lease.terms.grant.is_some() {
            crash::here(Point::ClaimPlanned);
        }
        let target = attempt.lease.target.clone();
        let (reply, replied) = oneshot::channel();
        let (issuer, place) = (Arc::clone(self), place.map(Arc::clone));
        self.tasks.spawn(async move {
            issuer.issue_and_see_delivered(attempt, pass, reply).await;
            // A caller who hangs up does not make room for the next: what it began is under way still.
            drop(place);
        });
        let delivery = replied.await.unwrap_or_else(|_| {
            // Whatever it left behind, the reaper reads from the store.
            self.reaper.due(&target, self.clock.now());
            Err(Refusal::internal("the issuing task ended without an outcome"))
        })?;
        Ok(delivery.take())
    }

    /// Provisions, hands the outcome over, and ends the lease again if nobody took it: not only when the caller was gone by then,
    /// also when it went with the credential already on its way. A lease that was asked for again stays: it was delivered once.
    async fn issue_and_see_delivered(self: Arc<Self>, attempt: Attempt, pass: Pass, reply: Reply) {
        let (taken, was_taken) = oneshot::channel();
        let provisioned = match attempt.lease.kind {
            LeaseKind::Ephemeral => self.provision(&attempt, pass, &reply).await,
            LeaseKind::Elevation => self.provision_elevation(&attempt, pass).await,
            LeaseKind::Checkout => self.provision_checkout(&attempt, pass, &reply).await,
        };
        let issued = match provisioned {
            Ok(issued) => issued,
            Err(refusal) => return drop(reply.send(Err(refusal))),
        };
        let lease = issued.lease.clone();
        crash::here(Point::IssueReplying);
        drop(reply.send(Ok(Delivery { issued, taken })));
        if was_taken.await.is_err() && lease.id == attempt.lease.id && !self.may_have_been_asked_again(&lease)
        {
            let cause =
                EndCause::Failed { reason: "the caller gave up before the credential was ready".into() };
            self.undo(&lease, cause, self.clock.now()).await;
        }
    }

    /// Whether another process may have answered the same request since: this one was stopped in between. Should nobody ask again,
    /// nobody knows the password, and the lease expires.
    fn may_have_been_asked_again(&self, lease: &Lease) -> bool {
        let late = self.clock.now().duration_since(lease.updated_at) > UNHEARD;
        late && lease.idempotency_key.is_some() && self.store.replica().is_some()
    }

    /// Checks the request and works out the lease it would become. Touches nothing.
    async fn plan(&self, caller: &Caller, wanted: &Wanted) -> Result<Attempt, Refusal> {
        check_text(wanted)?;
        let now = self.clock.now();
        let id = LeaseId::new(now, self.random.bits());
        let Admitted { role, target, ttl, renewable_until, purpose, allowed_by, grant, entries } =
            self.admitted(caller, wanted, id).await?;
        let Changes { entries, .. } = self.standing(caller, Changes { entries, audit: Vec::new() }).await?;
        let longest = SignedDuration::try_from(target.settings().pool.longest_creation())
            .unwrap_or(SignedDuration::from_secs(60));
        let (kind, account) = access(&role, target.engine(), &caller.principal.name, id)?;
        let lease = Lease {
            id,
            kind,
            role: role.name.clone(),
            target: role.target.clone(),
            principal: caller.principal.reference(),
            account,
            terms: LeaseTerms { ttl, renewable_until, purpose, allowed_by, grant },
            end_plan: EndPlan::of(&role),
            idempotency_key: wanted.key().cloned(),
            created_at: now,
            updated_at: now,
            state: LeaseState::Provisioning { deadline: after_waits(now, PREPARATION, longest) },
        };
        Ok(Attempt { role, target, caller: caller.clone(), lease, entries })
    }

    /// Makes intent durable while the secret is being prepared, then provisions.
    async fn provision(&self, attempt: &Attempt, pass: Pass, reply: &Reply) -> Result<Issued, Refusal> {
        let draft = attempt.draft(self.clock.now(), "lease.requested");
        let (begun, secret) =
            tokio::join!(self.begin_unlocked(attempt, draft), attempt.target.prepare(&attempt.role));
        let lease = match begun {
            Ok(Begun::Fresh(lease)) => lease,
            Ok(Begun::Repeated(lease)) => {
                let secret = secret.map_err(|error| Refusal::on_target(&lease.target, error))?;
                return self.repeat(attempt, pass, lease, secret, reply).await;
            }
            Err(refusal) => return Err(refusal),
        };
        crash::here(Point::IssueBegun);
        if lease.terms.grant.is_some() {
            crash::here(Point::ClaimBegun);
        }
        let secret = match secret {
            Ok(secret) => secret,
            Err(error) => return Err(self.creation_failed(attempt, &lease, error).await),
        };
        if self.clock.now() > after_waits(lease.created_at, PREPARATION, SignedDuration::ZERO) {
            let error = TargetError::new(
                TargetErrorKind::Busy,
                "the request waited too long for its turn to be created",
            );
            return Err(self.creation_failed(attempt, &lease, error).await);
        }
        let expires_at = first_expiry(&lease)?;
        let new = NewAccount {
            instance: self.store.instance(),
            account: &lease.account,
            role: &attempt.role,
            lease: lease.id,
            principal: &lease.principal,
            expires_at,
        };
        crash::here(Point::IssueCreating);
        let created = attempt.target.create(new, &secret).await;
        pass.went(self.clock.now(), created.as_ref().err());
        if let Err(error) = created {
            return Err(self.creation_failed(attempt, &lease, error).await);
        }
        crash::here(Point::IssueCreated);
        let lease = self.activate(attempt, &lease, expires_at).await?;
        Ok(attempt.issued(lease, secret.password))
    }

    /// Records that the account exists, unless it came to exist too late. The account of a lease that does not become active
    /// is ended now if the store lets us, else by recovery at the provisioning deadline.
    pub(super) async fn activate(
        &self,
        attempt: &Attempt,
        lease: &Lease,
        expires_at: Timestamp,
    ) -> Result<Lease, Refusal> {
        let now = self.clock.now();
        let too_late = match lease.state {
            LeaseState::Provisioning { deadline } => deadline.min(expires_at) <= now,
            _ => true,
        };
        let (reason, refusal) = if too_late {
            ("the account came to exist too late to be delivered", created_too_late())
        } else {
            let draft = attempt.draft(now, "lease.issued").with("expires_at", expires_at.to_string());
            match self.store.apply(lease.id, LeaseEvent::Activated { expires_at }, now, Some(draft)).await {
                Ok(lease) => {
                    crash::here(Point::IssueActivated);
                    self.reaper.due(&lease.target, expires_at);
                    return Ok(lease);
                }
                Err(error) => ("the lease could not be recorded as active", error.into()),
            }
        };
        self.undo(lease, EndCause::Failed { reason: reason.into() }, now).await;
        self.take_back_if_ended(attempt, lease).await;
        Err(refusal)
    }

    /// A lease that was ended while its creation was still under way (the clock was set, or somebody revoked it and the
    /// target took its time) may have been verified gone before the account came to exist. Nobody has its password, so it has
    /// no session and no object: it is dropped right here.
    async fn take_back_if_ended(&self, attempt: &Attempt, lease: &Lease) {
        // In doubt, dropping once more does no harm.
        if let Ok(Some(now)) = self.store.lease(lease.id).await
            && matches!(now.state.name(), StateName::Provisioning | StateName::Active)
        {
            return;
        }
        let Some(account) = LeasedAccount::of(lease) else { return };
        for _ in 0..TAKE_BACKS {
            match attempt.target.remove(account).await {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => tracing::error!(
                    lease = %lease.id, account = lease.account.name.as_str(), target_name = %lease.target,
                    error = &error as &dyn std::error::Error,
                    "an account that came to exist after the end of its lease could not be dropped yet"
                ),
            }
        }
    }

    /// A repeated request: the same lease, with a fresh password, for the first reply may have been lost. The last password that was
    /// asked for is the one that works.
    async fn repeat(
        &self,
        attempt: &Attempt,
        pass: Pass,
        lease: Lease,
        secret: Secret,
        reply: &Reply,
    ) -> Result<Issued, Refusal> {
        self.check_repeatable(attempt, &lease)?;
        if let Err(refusal) = self.check_lease(&attempt.caller, &lease).await {
            return Err(self.begin_refused(attempt, refusal).await);
        }
        // First the record, then the change: a fresh password that is not on record is not to exist.
        let draft = attempt.draft_for(&lease, self.clock.now(), "lease.reissued");
        self.store.record(draft).await?;
        crash::here(Point::RepeatRecorded);
        let account = LeasedAccount::of(&lease)
            .ok_or_else(|| Refusal::internal("a lease has no account of the kind it says"))?;
        self.check_repetition(attempt)?;
        if reply.is_closed() {
            // Whoever asks and goes must not spoil the password that it, or another of its kind, has by now.
            return Err(Refusal::new(RefusalKind::InProgress, "the caller gave up"));
        }
        let replaced = attempt.target.replace_secret(account, &secret).await;
        pass.went(self.clock.now(), replaced.as_ref().err());
        replaced.map_err(|error| Refusal::on_target(&lease.target, error))?;
        crash::here(Point::RepeatReplaced);
        if self.store.replica().is_some() {
            self.check_repetition(attempt)?;
            let now = self.store.lease(lease.id).await?;
            if !now.is_some_and(|now| matches!(now.state, LeaseState::Active { .. })) {
                let message = "what the first request with this idempotency key began ended meanwhile";
                let refusal = Refusal::new(RefusalKind::InProgress, message);
                return Err(refusal.retry_after(Duration::from_secs(1)));
            }
        }
        Ok(attempt.issued(lease, secret.password))
    }

    /// Refuses a repeated request whose lease is not, or no longer, there to be handed out again.
    pub(super) fn check_repeatable(&self, attempt: &Attempt, lease: &Lease) -> Result<(), Refusal> {
        match lease.state {
            // A role that was moved to another target since does not take the lease with it.
            LeaseState::Active { expires_at }
                if expires_at > self.clock.now() && lease.target == attempt.lease.target =>
            {
                Ok(())
            }
            LeaseState::Provisioning { .. } => {
                let message = "the first request with this idempotency key is still under way";
                let refusal = Refusal::new(RefusalKind::InProgress, message);
                Err(refusal.retry_after(Duration::from_secs(1)))
            }
            // It failed; once it is verified gone, the key is free for another try.
            LeaseState::Ending { cause: EndCause::Failed { .. }, .. } => {
                let message = "what the first request with this idempotency key began is still being undone";
                let refusal = Refusal::new(RefusalKind::InProgress, message);
                Err(refusal.retry_after(Duration::from_secs(5)))
            }
            LeaseState::Active { .. } | LeaseState::Ending { .. } | LeaseState::Ended { .. } => {
                let message =
                    "the lease issued under this idempotency key has ended; use a new key for a new lease";
                Err(Refusal::new(RefusalKind::Ended, message))
            }
        }
    }

    /// Refuses a repeated request that was made so long ago that its caller may have been answered elsewhere.
    pub(super) fn check_repetition(&self, attempt: &Attempt) -> Result<(), Refusal> {
        let took = self.clock.now().duration_since(attempt.lease.created_at);
        if self.store.replica().is_none() || took < REPETITION {
            return Ok(());
        }
        let message = "the repeated request took too long; ask again";
        Err(Refusal::new(RefusalKind::InProgress, message).retry_after(Duration::from_secs(1)))
    }

    /// Makes intent durable, provided that nothing of the lease is locked.
    async fn begin_unlocked(&self, attempt: &Attempt, draft: Draft) -> Result<Begun, Refusal> {
        for _ in 0..BEGINNINGS {
            let lease = attempt.lease.clone();
            let entries = [lock::none_on(&lease), attempt.entries.clone()].concat();
            let new = NewLease { lease, limits: attempt.role.limits, entries };
            match self.store.begin(new, draft.clone()).await {
                Ok(begun) => return Ok(begun),
                Err(BeginError::Conflict) => {}
                Err(error) => return Err(self.begin_refused(attempt, error.into()).await),
            }
            // Should what is locked have lapsed, it is cleared away by this.
            if let Err(refusal) = self.check_lease(&attempt.caller, &attempt.lease).await {
                return Err(self.begin_refused(attempt, refusal).await);
            }
            if !attempt.entries.is_empty() {
                // Its grant changed, or the caller's account did: that is decided anew.
                return Err(BeginError::Conflict.into());
            }
        }
        Err(self.begin_refused(attempt, BeginError::Conflict.into()).await)
    }

    pub(super) async fn begin_refused(&self, attempt: &Attempt, refusal: Refusal) -> Refusal {
        if matches!(refusal.kind, RefusalKind::StoreUnavailable | RefusalKind::ShuttingDown) {
            return refusal;
        }
        let resource = format!("roles/{}", attempt.role.name);
        self.refuse(&attempt.caller, "lease.requested", resource, refusal).await
    }

    /// A creation that failed: nothing of it may stay. Where its outcome is unknown, the target may still be carrying it out,
    /// so its removal is verified after the moment by which the target has given it up.
    pub(super) async fn creation_failed(
        &self,
        attempt: &Attempt,
        lease: &Lease,
        error: TargetError,
    ) -> Refusal {
        tracing::warn!(
            lease = %lease.id, target_name = %lease.target, error = &error as &dyn std::error::Error, "creation failed"
        );
        // What is held of an existing account is let go of by the reaper.
        let never_sent = error.concerns_nothing_sent() && lease.kind == LeaseKind::Ephemeral;
        let not_before = match lease.state {
            // Where nothing was sent the reaper has nothing to do: the lease is closed right below.
            LeaseState::Provisioning { deadline } if error.outcome_unknown || never_sent => deadline,
            _ => self.clock.now(),
        };
        let cause = EndCause::Failed { reason: error.to_string() };
        let refusal = Refusal::on_target(&lease.target, error);
        self.undo(lease, cause, not_before).await;
        if never_sent {
            self.close_unprovisioned(attempt, lease).await;
        }
        refusal
    }

    /// Closes a lease of which nothing ever reached the target, so that it neither waits for a target that is down nor counts
    /// against anybody's limit.
    async fn close_unprovisioned(&self, attempt: &Attempt, lease: &Lease) {
        let now = self.clock.now();
        let report = crate::domain::EndReport { was_absent: true, ..Default::default() };
        let draft = attempt.draft_for(lease, now, "lease.failed");
        match self.store.apply(lease.id, LeaseEvent::Ended { at: now, report }, now, Some(draft)).await {
            Ok(lease) => {
                self.metrics.ended((&lease.role, &lease.target), lease.state.name(), SignedDuration::ZERO);
            }
            Err(error) => {
                tracing::warn!(lease = %lease.id, error = &error as &dyn std::error::Error, "left to the reaper");
            }
        }
    }

    /// Marks a lease as ending because it must not become, or stay, active.
    async fn undo(&self, lease: &Lease, cause: EndCause, not_before: Timestamp) {
        let now = self.clock.now();
        let reason = match &cause {
            EndCause::Failed { reason } => reason.clone(),
            _ => String::new(),
        };
        let draft = Draft::of_lease(now, Actor::System, "lease.ending", lease)
            .with("cause", "failed")
            .with("reason", reason);
        let event = LeaseEvent::EndRequested { at: now, cause, not_before };
        crash::here(Point::UndoAsked);
        if let Err(error) = self.store.apply(lease.id, event, now, Some(draft)).await {
            tracing::error!(
                lease = %lease.id, error = &error as &dyn std::error::Error,
                "a lease that was not delivered could not be marked as ending; it ends at its provisioning deadline"
            );
        }
        crash::here(Point::UndoMarked);
        self.reaper.due(&lease.target, not_before);
    }
}

impl Attempt {
    pub(super) fn draft(&self, at: Timestamp, action: &'static str) -> Draft {
        self.draft_for(&self.lease, at, action)
    }

    pub(super) fn draft_for(&self, lease: &Lease, at: Timestamp, action: &'static str) -> Draft {
        let draft = Draft::of_lease(at, self.caller.actor(), action, lease);
        let draft = match lease.terms.grant {
            Some(_) => draft.with("grant_until", lease.terms.renewable_until.to_string()),
            None => draft,
        };
        draft
            .with("ttl", lease.terms.ttl.to_string())
            .with("purpose", lease.terms.purpose.as_str())
            .with("allowed_by", lease.terms.allowed_by.as_str())
            .with("credential", self.caller.credential.to_string())
    }

    pub(super) fn issued(&self, lease: Lease, password: Password) -> Issued {
        Issued {
            lease,
            password,
            engine: self.target.engine(),
            addresses: self.target.client_addresses(),
            database: self.role.database.clone().or_else(|| self.target.client_database()),
            tls_mode: self.target.settings().tls.mode,
        }
    }
}

/// The kind of access a role gives, and the account on which a principal has it.
fn access(
    role: &Role,
    engine: Engine,
    principal: &PrincipalName,
    lease: LeaseId,
) -> Result<(LeaseKind, Account), Refusal> {
    match &role.access {
        Access::Ephemeral => {
            let name = AccountName::compose(engine, &role.name, principal, lease);
            Ok((LeaseKind::Ephemeral, Account { name, hosts: role.hosts.clone() }))
        }
        Access::Elevation { accounts, .. } => {
            let name = accounts.get(principal).ok_or_else(|| {
                let message = format!(
                    "the role {} elevates existing accounts, and names none of {principal}",
                    role.name
                );
                Refusal::invalid("role", message)
            })?;
            let account = ExistingAccount::new(name, role.hosts.clone())
                .map_err(|error| Refusal::invalid("role", format!("the role's account: {error}")))?;
            Ok((LeaseKind::Elevation, account.account()))
        }
        Access::Checkout { account, .. } => {
            let account = ExistingAccount::new(account, role.hosts.clone())
                .map_err(|error| Refusal::invalid("role", format!("the role's account: {error}")))?;
            Ok((LeaseKind::Checkout, account.account()))
        }
    }
}

fn created_too_late() -> Refusal {
    let message = "the target took so long to create the account that it was ended again";
    Refusal::new(RefusalKind::TargetUnavailable, message).retry_after(Duration::from_secs(5))
}

/// The moment by which two waits in a row are over.
pub(super) fn after_waits(start: Timestamp, first: SignedDuration, second: SignedDuration) -> Timestamp {
    start.saturating_add(first).and_then(|start| start.saturating_add(second)).unwrap_or(Timestamp::MAX)
}

fn check_text(wanted: &Wanted) -> Result<(), Refusal> {
    if let Wanted::Role(IssueRequest { purpose, .. }) = wanted
        && (purpose.chars().count() > PURPOSE_LIMIT || purpose.chars().any(char::is_control))
    {
        let message = format!("a purpose is at most {PURPOSE_LIMIT} characters on one line");
        return Err(Refusal::invalid("purpose", message));
    }
    let sound = |key: &String| key.len() <= KEY_LIMIT && key.bytes().all(|byte| byte.is_ascii_graphic());
    if !wanted.key().is_none_or(sound) {
        let message =
            format!("an idempotency key is 1 to {KEY_LIMIT} printable ASCII characters without blanks");
        return Err(Refusal::invalid("idempotency_key", message));
    }
    Ok(())
}

/// When a lease that begins now is to expire: never after what it can be renewed until, which is its grant's end.
pub(super) fn first_expiry(lease: &Lease) -> Result<Timestamp, Refusal> {
    Ok(after(lease.created_at, lease.terms.ttl)?.min(lease.terms.renewable_until))
}

/// `ttl` after a moment.
pub(super) fn after(moment: Timestamp, ttl: Ttl) -> Result<Timestamp, Refusal> {
    SignedDuration::try_from(ttl.duration())
        .ok()
        .and_then(|ttl| moment.checked_add(ttl).ok())
        .ok_or_else(|| Refusal::invalid("ttl", "the TTL reaches beyond the end of time"))
}
