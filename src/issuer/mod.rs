//! The use cases, one file each: issue, renew, end, and what callers may look at.
//!
//! [`KnownServers`] says which server may be used as a target, and [`Reconciler`] compares targets with the store.
//!
//! Each asks `policy` first, makes intent durable in the store before a target is touched, and audits what it did or
//! refused. The issuer sees targets and the store as traits, never a driver. It marks leases as ending; removing accounts
//! is the reaper's work.

mod access;
mod admission;
mod begin;
mod break_glass;
mod catalogue;
mod checkout;
mod credentials;
mod elevate;
mod end;
mod error;
mod facts;
mod grant;
mod issue;
mod listing;
mod lock;
mod look;
mod notices;
mod offer;
mod people;
mod recognise;
mod reconcile;
mod renew;
mod request;
mod rotate;
mod tokens;
mod turns;

use std::sync::Arc;

pub use access::{
    AccessCursor, AccessDecision, AccessFilter, AccessItem, AccessPage, Certification, Decided, Ruling,
};
pub use admission::Crowd;
pub use break_glass::BreakGlass;
pub use catalogue::{Catalogue, CatalogueHandle};
pub use checkout::{CheckedOut, checkout_of};
pub use credentials::{KeptCredentials, candidates};
pub use elevate::{elevation_of, give_again};
pub use error::{Refusal, RefusalKind};
pub use grant::{ClaimRequest, GrantFilter, NewExtension};
pub use issue::{IssueRequest, Issued};
use jiff::Timestamp;
pub use lock::{Ended, NewLock};
pub use look::{AuditPage, RoleCheck, TargetStatus};
pub use notices::NoticeFilter;
pub use offer::Offer;
pub use people::{
    Attempt, Begun, BegunElsewhere, Brought, Completed, Completion, Departure, Enrolling, Invited,
    NewInvitation, NewPassword, NewSignIn, NewUser, Offered, SignInOffer, SignInWay,
};
pub use recognise::{KnownServers, Succession};
pub use reconcile::{
    Answer, Counts, Discrepancy, DiscrepancyKind, Mode, ReconcileError, ReconcileReport, Reconciler,
};
pub use request::{
    BreakGlassSettings, NewRequest, NewReview, RequestFilter, RequestSettings, RequestSettingsHandle,
    Requested, SeenRequest,
};
pub use rotate::{Resealed, Rotated, Rotator, RotatorParts};
pub use tokens::{MintedToken, NewToken};
use tokio_util::task::TaskTracker;
pub use turns::{Turn, Turns};

use crate::{
    audit::Draft,
    clock::Clock,
    domain::{LeaseId, TargetName},
    identity::Caller,
    metrics::Metrics,
    notify::ChannelsHandle,
    policy::{self, PoliciesHandle, Who},
    random::Random,
    store::Store,
    target::{HealthBoard, Pass},
};

/// Told when something on a target becomes due.
pub trait DueNotice: Send + Sync {
    /// Something on `target` is due at `at`, durably so. Whoever is told reads what it is from the store.
    fn due(&self, target: &TargetName, at: Timestamp);
}

/// Whose turn it is to give something to an existing account, or take it away: by what is kept of the account.
pub type AccountTurns = Turns<String>;

/// What the use cases need.
pub struct Issuer {
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    store: Arc<dyn Store>,
    catalogue: Arc<CatalogueHandle>,
    health: Arc<HealthBoard>,
    metrics: Arc<Metrics>,
    reaper: Arc<dyn DueNotice>,
    policies: Arc<PoliciesHandle>,
    servers: Arc<KnownServers>,
    renewing: Arc<Turns<LeaseId>>,
    turns: Arc<AccountTurns>,
    admissions: admission::Admissions,
    reconciler: Arc<Reconciler>,
    rotator: Option<Arc<Rotator>>,
    people: people::People,
    channels: Arc<ChannelsHandle>,
    request_settings: Arc<RequestSettingsHandle>,
    censuses: access::Censuses,
    tasks: TaskTracker,
}

/// What an [`Issuer`] is made of.
pub struct IssuerParts {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub random: Arc<dyn Random>,
    /// Where leases live.
    pub store: Arc<dyn Store>,
    /// Roles and targets as configured now.
    pub catalogue: Arc<CatalogueHandle>,
    /// How targets fare.
    pub health: Arc<HealthBoard>,
    /// Which servers answer for targets.
    pub servers: Arc<KnownServers>,
    /// Where is counted what happens.
    pub metrics: Arc<Metrics>,
    /// Whom to tell when a lease is due.
    pub reaper: Arc<dyn DueNotice>,
    /// Who may do what.
    pub policies: Arc<PoliciesHandle>,
    /// Whose turn it is to give to existing accounts, or take from them: shared with the reaper.
    pub turns: Arc<AccountTurns>,
}

impl Issuer {
    /// An issuer made of its parts.
    pub fn new(parts: IssuerParts) -> Self {
        let IssuerParts {
            clock,
            random,
            store,
            catalogue,
            health,
            servers,
            metrics,
            reaper,
            policies,
            turns,
        } = parts;
        let renewing = Arc::<Turns<LeaseId>>::default();
        let reconciler = Arc::new(Reconciler::new(reconcile::ReconcilerParts {
            clock: Arc::clone(&clock),
            store: Arc::clone(&store),
            catalogue: Arc::clone(&catalogue),
            reaper: Arc::clone(&reaper),
            renewing: Arc::clone(&renewing),
            account_turns: Arc::clone(&turns),
            metrics: Arc::clone(&metrics),
        }));
        let admissions =
            admission::Admissions::new(Arc::clone(&clock), Arc::clone(&random), Arc::clone(&metrics));
        Self {
            admissions,
            clock,
            random,
            store,
            catalogue,
            health,
            servers,
            metrics,
            reaper,
            policies,
            renewing,
            turns,
            reconciler,
            rotator: None,
            people: people::People::new(),
            channels: Arc::default(),
            request_settings: Arc::default(),
            censuses: access::Censuses::default(),
            tasks: TaskTracker::new(),
        }
    }

    /// Stops accepting new leases and returns when those under way are issued or undone.
    pub async fn drain(&self) {
        self.reconciler.stop();
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Leave to use a target now, unless it failed so often in a row that nobody is to wait for it.
    fn pass_to(&self, target: &TargetName) -> Result<Pass, Refusal> {
        let now = self.clock.now();
        self.health.admit(target, now).map_err(|why| Refusal::left_alone(target, why, now))
    }

    /// What policy is told of a caller.
    fn who<'a>(&self, caller: &'a Caller) -> Who<'a> {
        Who {
            principal: &caller.principal,
            address: caller.address,
            second_factor_at: caller.second_factor_at,
            now: self.clock.now(),
        }
    }

    /// Asks policy; a denial is audited before it is told.
    async fn authorise(
        &self,
        caller: &Caller,
        action: policy::Action<'_>,
        what: &'static str,
        resource: String,
    ) -> Result<String, Refusal> {
        match self.policies.current().decide(&self.who(caller), &action) {
            policy::Decision::Allow { by, .. } => {
                if !open_to_the_locked(&action) {
                    self.refuse_locked(caller, None, what, &resource).await?;
                }
                Ok(by)
            }
            policy::Decision::Deny { reason, .. } => {
                Err(self.refuse(caller, what, resource, Refusal::denied(reason)).await)
            }
        }
    }

    /// Audits a refusal. When even that fails, the caller is told that instead.
    async fn refuse(
        &self,
        caller: &Caller,
        what: &'static str,
        resource: impl Into<String>,
        refusal: Refusal,
    ) -> Refusal {
        let draft = Draft::new(self.clock.now(), caller.actor(), what, resource).refused(refusal.to_string());
        match self.store.record(draft).await {
            Ok(()) => refusal,
            Err(error) => error.into(),
        }
    }
}

/// What a locked principal may do still: see what is its own, and give it back. Whether a lease may begin is asked where it begins.
fn open_to_the_locked(action: &policy::Action<'_>) -> bool {
    matches!(
        action,
        policy::Action::View { .. } | policy::Action::Release { .. } | policy::Action::Issue { .. }
    )
}
