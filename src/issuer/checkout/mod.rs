//! Checking out: an existing account is handed to one holder at a time, with a fresh password.
//!
//! ```text
//! ask for it ─▶ store: PROVISIONING, and the account held for it ─▶ target: fresh password, enable ─▶ end sessions of others
//!    │            (durable, in one transaction)                       └▶ store: ACTIVE ─▶ reply
//!    └─ held: a place in the queue ([`ask`])
//! ```
//! The account is held until it is verified locked again, which is the reaper's work. Whoever hands it out or takes it back has its
//! turn in this process; others who share the store are told by the revision of what is kept of it.

mod ask;
mod late;
mod look;
mod words;

pub use look::CheckedOut;

use jiff::{SignedDuration, Timestamp};

use super::{
    Issued, Issuer, Refusal, RefusalKind,
    issue::{Attempt, PREPARATION, Reply, after_waits, first_expiry},
};
use crate::{
    crash::{self, Point},
    domain::{Checkout, ExistingAccount, Lease, LeaseState, Password},
    store::{Begun, Document, EntryKind, Kept, Store, StoreError, document},
    target::{HandedOut, Pass, Target, TargetError, TargetErrorKind},
};

/// How often a change is decided anew that others came before.
const CONFLICTS: u32 = 10;

/// How often sessions are ended and looked for again. Each pass waits for them a moment itself.
const SESSION_PASSES: u32 = 10;

impl Document for Checkout {
    const KIND: EntryKind = EntryKind::Checkout;

    fn id(&self) -> String {
        match ExistingAccount::of(&self.account) {
            Some(account) => Checkout::id_of(&self.target, &account),
            None => format!("{}/", self.target),
        }
    }

    fn keys(&self) -> Vec<(&'static str, String)> {
        vec![("target", self.target.to_string())]
    }
}

/// What is kept of who holds the account of a lease, or a beginning of it.
///
/// # Errors
/// When the store fails.
pub async fn checkout_of(
    store: &dyn Store,
    lease: &Lease,
    account: &ExistingAccount,
) -> Result<Kept<Checkout>, StoreError> {
    let kept = document::<Checkout>(store, &Checkout::id_of(&lease.target, account)).await?;
    let new = || Kept { revision: 0, document: Checkout::new(lease.target.clone(), account) };
    Ok(kept.unwrap_or_else(new))
}

impl Issuer {
    /// Makes intent durable, then hands the account out.
    pub(super) async fn provision_checkout(
        &self,
        attempt: &Attempt,
        pass: Pass,
        reply: &Reply,
    ) -> Result<Issued, Refusal> {
        let account = account_of(&attempt.lease)?;
        let (begun, _turn) = match self.begin_checkout(attempt, &account, reply).await {
            Ok(begun) => begun,
            Err(failed) => return Err(self.not_begun(attempt, pass, failed).await),
        };
        let lease = match begun {
            Begun::Fresh(lease) => lease,
            Begun::Repeated(lease) => return self.repeat_checkout(attempt, pass, lease, reply).await,
        };
        crash::here(Point::IssueBegun);
        if lease.terms.grant.is_some() {
            crash::here(Point::ClaimBegun);
        }
        let expires_at = first_expiry(&lease)?;
        let handed = HandedOut { account: &account, lease: lease.id, expires_at };
        let done = self.hand_out(attempt, handed, lease.created_at).await;
        pass.went(self.clock.now(), done.as_ref().err());
        let password = match done {
            Ok(password) => password,
            Err(error) => return Err(self.creation_failed(attempt, &lease, error).await),
        };
        match self.activate(attempt, &lease, expires_at).await {
            Ok(lease) => Ok(attempt.issued(lease, password)),
            Err(refusal) => {
                self.take_back_late(&*attempt.target, &lease, &account).await;
                Err(refusal)
            }
        }
    }

    /// Gives the account a password that nobody else knows, enables it, and ends the sessions that were open before: whose they are,
    /// they are not the holder's.
    async fn hand_out(
        &self,
        attempt: &Attempt,
        handed: HandedOut<'_>,
        begun_at: Timestamp,
    ) -> Result<Password, TargetError> {
        let secret = attempt.target.prepare(&attempt.role).await?;
        if self.clock.now() > after_waits(begun_at, PREPARATION, SignedDuration::ZERO) {
            let message = "the request waited too long for its turn";
            return Err(TargetError::new(TargetErrorKind::Busy, message));
        }
        crash::here(Point::IssueCreating);
        attempt.target.check_out(handed, &secret).await?;
        crash::here(Point::IssueCreated);
        end_sessions(&*attempt.target, handed.account).await?;
        crash::here(Point::CheckoutCleared);
        Ok(secret.password)
    }

    /// A repeated request: the same lease, with a fresh password, for the first reply may have been lost.
    async fn repeat_checkout(
        &self,
        attempt: &Attempt,
        pass: Pass,
        lease: Lease,
        reply: &Reply,
    ) -> Result<Issued, Refusal> {
        self.check_repeatable(attempt, &lease)?;
        if let Err(refusal) = self.check_lease(&attempt.caller, &lease).await {
            return Err(self.begin_refused(attempt, refusal).await);
        }
        let account = account_of(&lease)?;
        let LeaseState::Active { expires_at } = lease.state else {
            return Err(Refusal::internal("a lease that is not active was found fit to be handed out again"));
        };
        let secret = attempt.target.prepare(&attempt.role).await;
        let secret = secret.map_err(|error| Refusal::on_target(&lease.target, error))?;
        self.store.record(attempt.draft_for(&lease, self.clock.now(), "lease.reissued")).await?;
        crash::here(Point::RepeatRecorded);
        self.check_repetition(attempt)?;
        if reply.is_closed() {
            return Err(Refusal::new(RefusalKind::InProgress, "the caller gave up"));
        }
        let handed = HandedOut { account: &account, lease: lease.id, expires_at };
        let replaced = attempt.target.check_out(handed, &secret).await;
        pass.went(self.clock.now(), replaced.as_ref().err());
        replaced.map_err(|error| Refusal::on_target(&lease.target, error))?;
        crash::here(Point::RepeatReplaced);
        // Another process may have ended or renewed it meanwhile; in this one, nobody did.
        let now = self.store.lease(lease.id).await?.unwrap_or(lease);
        let LeaseState::Active { expires_at: now_until } = now.state else {
            self.take_back_late(&*attempt.target, &now, &account).await;
            let message = "what the first request with this idempotency key began ended meanwhile";
            return Err(Refusal::new(RefusalKind::Ended, message));
        };
        if now_until > expires_at {
            let handed = HandedOut { expires_at: now_until, ..handed };
            let moved = attempt.target.prolong(handed).await;
            moved.map_err(|error| Refusal::on_target(&now.target, error))?;
        }
        Ok(attempt.issued(now, secret.password))
    }
}

/// Ends the sessions of an account until none is left that was there at the first look.
async fn end_sessions(target: &dyn Target, account: &ExistingAccount) -> Result<(), TargetError> {
    match sessions_left(target, account).await? {
        0 => Ok(()),
        left => {
            let message = format!("{left} sessions that the account had before do not end");
            Err(TargetError::new(TargetErrorKind::Refused, message))
        }
    }
}

/// Ends the sessions of an account, and says how many there are still of those that were there at the first look.
pub(super) async fn sessions_left(
    target: &dyn Target,
    account: &ExistingAccount,
) -> Result<u32, TargetError> {
    let mut left = 0;
    for _ in 0..SESSION_PASSES {
        left = target.end_existing_sessions(account).await?.remaining;
        if left == 0 {
            break;
        }
    }
    Ok(left)
}

fn account_of(lease: &Lease) -> Result<ExistingAccount, Refusal> {
    ExistingAccount::of(&lease.account)
        .ok_or_else(|| Refusal::internal("a lease on an existing account has the name of one of ours"))
}
