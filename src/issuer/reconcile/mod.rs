//! Reconciliation: a target compared with the store, both ways, and what differs seen to.
//!
//! ```text
//! leases → target    an ACTIVE lease whose account is missing is closed: REVOKED, "vanished"
//! target → leases    an account with our mark and no lease      is adopted, and ended
//!                    an account whose lease has ended           is ended once more
//!                    an account altered behind our back (drift) is reported, put right or its lease ended
//!                    anybody else's                             is counted, never touched
//! existing accounts  a group that leases hold is missing        is reported, given again or its leases ended
//!                    a group that only ended leases hold        is taken away
//! accounts handed out  locked or prolonged while held           is reported, put right or its lease ended
//!                    enabled while nobody holds it              is locked again
//! ```
//! Issuing, renewing and ending go on meanwhile, so nothing is acted on that was seen once only. Intent is durable before effect:
//! whoever reads the target first and the store afterwards finds the lease of every account there was; and an ACTIVE lease that
//! is ACTIVE before and after the target was read had its account throughout. Removing accounts stays the reaper's work.
//! Memory is bounded by a page, whatever the number of leases.

mod adopt;
mod drifted;
mod elevated;
mod handed;
mod held;
mod report;
mod request;
mod standing;
mod walk;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use jiff::Timestamp;
pub use report::{Answer, Counts, Discrepancy, DiscrepancyKind, ReconcileReport};
use tokio_util::sync::CancellationToken;

use super::{AccountTurns, CatalogueHandle, DueNotice, Refusal, turns::Turns};
use crate::{
    clock::Clock,
    domain::{Drift, EXPIRY_TOLERANCE, LeaseId, Role, RoleName, TargetName},
    metrics::Metrics,
    store::{ApplyError, Store, StoreError},
    target::{Target, TargetError},
};

/// Leases or accounts looked at together.
const PAGE: u32 = 500;

/// Accounts of one target whose alteration is remembered as told; beyond that, some are told of again.
const REMEMBERED: usize = 10_000;

/// Compares targets with the store.
pub struct Reconciler {
    clock: Arc<dyn Clock>,
    store: Arc<dyn Store>,
    catalogue: Arc<CatalogueHandle>,
    reaper: Arc<dyn DueNotice>,
    renewing: Arc<Turns<LeaseId>>,
    account_turns: Arc<AccountTurns>,
    metrics: Arc<Metrics>,
    turns: Mutex<BTreeMap<TargetName, Arc<tokio::sync::Mutex<Memory>>>>,
    stop: CancellationToken,
}

/// What was last told of each altered account, so that a finding is recorded once and not in every run.
type Memory = BTreeMap<LeaseId, Told>;

/// What was told of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Told {
    drift: Vec<Drift>,
    more: String,
}

impl Told {
    /// Whether both tell of the same.
    fn is_like(&self, other: &Told) -> bool {
        self.more == other.more && self.is_about(other)
    }

    /// Whether both tell of the same alteration, whatever came of it. An expiry is known as exactly as the target's clock was measured,
    /// so it may differ a little.
    fn is_about(&self, other: &Told) -> bool {
        let close = |one: &Timestamp, other: &Timestamp| one.duration_since(*other).abs() <= EXPIRY_TOLERANCE;
        let alike = |pair: (&Drift, &Drift)| match pair {
            (Drift::LivesLonger { until: Some(one) }, Drift::LivesLonger { until: Some(other) })
            | (Drift::EndsEarlier { until: one }, Drift::EndsEarlier { until: other }) => close(one, other),
            (one, other) => one == other,
        };
        self.drift.len() == other.drift.len() && self.drift.iter().zip(&other.drift).all(alike)
    }
}

/// Whether a run changes anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// What differs is seen to.
    Act,
    /// Nothing is written, neither to the target nor to the store.
    DryRun,
}

/// A run that did not get to its end. What it did by then stands; the next run does the rest.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// No such target is configured.
    #[error("there is no target {0}")]
    Unknown(TargetName),
    /// The target cannot be used.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Mayfly is shutting down.
    #[error("Mayfly is shutting down")]
    Stopped,
}

impl ReconcileError {
    /// As it is told to a caller who asked for it.
    fn refusal(self, target: &TargetName) -> Refusal {
        match self {
            ReconcileError::Unknown(_) => Refusal::not_found(self.to_string()),
            ReconcileError::Target(error) => Refusal::on_target(target, error),
            ReconcileError::Store(error) => error.into(),
            ReconcileError::Stopped => Refusal::shutting_down(),
        }
    }
}

/// What a [`Reconciler`] is made of.
pub(super) struct ReconcilerParts {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) store: Arc<dyn Store>,
    pub(super) catalogue: Arc<CatalogueHandle>,
    pub(super) reaper: Arc<dyn DueNotice>,
    pub(super) renewing: Arc<Turns<LeaseId>>,
    pub(super) account_turns: Arc<AccountTurns>,
    pub(super) metrics: Arc<Metrics>,
}

/// One run.
struct Run<'a> {
    name: &'a TargetName,
    target: Arc<dyn Target>,
    roles: &'a BTreeMap<RoleName, Arc<Role>>,
    mode: Mode,
    told: &'a mut Memory,
    telling: Memory,
    report: ReconcileReport,
}

impl Reconciler {
    pub(super) fn new(parts: ReconcilerParts) -> Self {
        let ReconcilerParts { clock, store, catalogue, reaper, renewing, account_turns, metrics } = parts;
        let (turns, stop) = (Mutex::default(), CancellationToken::new());
        Self { clock, store, catalogue, reaper, renewing, account_turns, metrics, turns, stop }
    }

    /// Ends runs under way before their next step, and begins no other.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Compares a target with the store. One run at a time on each target: a second one waits for its turn.
    ///
    /// # Errors
    /// [`ReconcileError`].
    pub async fn run(&self, name: &TargetName, mode: Mode) -> Result<ReconcileReport, ReconcileError> {
        let turn = self.turn(name);
        let mut told = turn.lock().await;
        let catalogue = self.catalogue.current();
        let target = catalogue.targets.get(name).ok_or_else(|| ReconcileError::Unknown(name.clone()))?;
        let mut run = Run {
            name,
            target: Arc::clone(target),
            roles: &catalogue.roles,
            mode,
            told: &mut told,
            telling: Memory::new(),
            report: ReconcileReport::new(name.clone(), mode == Mode::DryRun),
        };
        let walked = match self.leases_to_target(&mut run).await {
            Ok(()) => self.target_to_leases(&mut run).await,
            Err(error) => Err(error),
        };
        let walked = match walked {
            Ok(()) => self.elevated(&mut run).await,
            Err(error) => Err(error),
        };
        let walked = match walked {
            Ok(()) => self.handed_out(&mut run).await,
            Err(error) => Err(error),
        };
        let Run { report, mut telling, .. } = run;
        match (mode, &walked) {
            // What was not found this time would be news the next.
            (Mode::Act, Ok(())) => *told = telling,
            (Mode::Act, Err(_)) if told.len() < REMEMBERED => told.append(&mut telling),
            (Mode::DryRun, _) | (Mode::Act, Err(_)) => {}
        }
        walked?;
        if mode == Mode::Act {
            let Counts { orphans, drifted, .. } = report.counts;
            self.metrics.reconciled(name, orphans, drifted, self.clock.now());
        }
        Ok(report)
    }

    fn turn(&self, name: &TargetName) -> Arc<tokio::sync::Mutex<Memory>> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(turns.entry(name.clone()).or_default())
    }

    fn go_on(&self) -> Result<(), ReconcileError> {
        if self.stop.is_cancelled() { Err(ReconcileError::Stopped) } else { Ok(()) }
    }
}

impl Run<'_> {
    fn acts(&self) -> bool {
        self.mode == Mode::Act
    }

    /// Whether this is news about the account of a lease; it is none in the next run.
    fn is_news(&mut self, lease: LeaseId, what: Told) -> bool {
        let news = self.told.get(&lease).is_none_or(|told| !told.is_like(&what));
        if self.telling.len() < REMEMBERED {
            self.telling.insert(lease, what);
        }
        news
    }
}

/// A lease that moved on meanwhile is left as it is.
fn unless_moved_on<T>(applied: Result<T, ApplyError>) -> Result<Option<T>, StoreError> {
    match applied {
        Ok(lease) => Ok(Some(lease)),
        Err(ApplyError::Store(error)) => Err(error),
        Err(ApplyError::Illegal { .. } | ApplyError::Unknown(_) | ApplyError::NotHeld(_)) => Ok(None),
    }
}
