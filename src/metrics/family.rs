//! Every family of numbers there is: `docs/operating.md` is checked against it.

/// A family of numbers.
#[derive(Debug, PartialEq, Eq)]
pub struct Family {
    /// Its name, with the unit where there is one; a counter's ends in `_total`.
    pub name: &'static str,
    /// How its numbers behave.
    pub kind: FamilyKind,
    /// The labels of its samples, in their order.
    pub labels: &'static [&'static str],
    /// What it counts or measures.
    pub help: &'static str,
}

/// How numbers behave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FamilyKind {
    /// They only grow, until Mayfly is started again.
    Counter,
    /// They go up and down.
    Gauge,
    /// They tell how values are spread.
    Histogram,
}

macro_rules! families {
    ($($(#[$doc:meta])* $id:ident: $kind:ident $name:literal [$($label:literal),*] $help:literal;)*) => {
        $(
            #[doc = $help]
            pub const $id: Family = Family {
                name: $name,
                kind: FamilyKind::$kind,
                labels: &[$($label),*],
                help: $help,
            };
        )*

        /// Every family, in the order of `docs/operating.md`.
        pub const FAMILIES: &[Family] = &[$($id),*];
    };
}

families! {
    BUILD: Gauge "mayfly_build_info" ["version"] "1, with the version that runs.";
    LEASES: Gauge "mayfly_leases" ["target", "state"] "Live leases.";
    OVERDUE: Gauge "mayfly_leases_overdue" ["target"]
        "Leases whose end is due or under way and whose account is not verified gone yet.";
    OVERDUE_AGE: Gauge "mayfly_lease_overdue_age_seconds" ["target"]
        "How long the most overdue lease should have been gone; 0 when none is overdue.";
    ISSUES: Counter "mayfly_issues_total" ["target", "role", "outcome"]
        "Requests for a credential: issued, or refused with this kind. A role that is not configured has no name here.";
    ISSUE_DURATION: Histogram "mayfly_issue_duration_seconds" ["target"]
        "Time from the request to the credential, of those that were issued.";
    ISSUES_UNDER_WAY: Gauge "mayfly_issues_under_way" ["target"] "Issues whose turn it is.";
    ISSUES_WAITING: Gauge "mayfly_issues_waiting" ["target"] "Issues that wait for their turn.";
    ISSUE_WAIT: Histogram "mayfly_issue_wait_seconds" ["target"]
        "Time until its turn came, of those that had to wait for it and were let in.";
    RENEWALS: Counter "mayfly_renewals_total" ["target", "role", "outcome"]
        "Requests to renew a lease: renewed, or refused with this kind.";
    ENDS: Counter "mayfly_ends_total" ["target", "role", "outcome"] "Leases that ended, by how.";
    END_DURATION: Histogram "mayfly_end_duration_seconds" ["target"]
        "Time from the beginning of a lease's end until its account was verified gone.";
    END_ATTEMPTS_FAILED: Counter "mayfly_end_attempts_failed_total" ["target", "kind"]
        "Attempts at ending a lease that failed and are made again, by the kind of error.";
    CIRCUIT: Gauge "mayfly_target_circuit_state" ["target", "state"]
        "1 for the state the target's circuit is in, 0 for the others.";
    CLOCK_OFFSET: Gauge "mayfly_target_clock_offset_seconds" ["target"]
        "The target's clock minus Mayfly's, as last measured.";
    POOL_SIZE: Gauge "mayfly_pool_size" ["target", "pool"] "Connections a pool may have.";
    POOL_IN_USE: Gauge "mayfly_pool_in_use" ["target", "pool"] "Connections of a pool in use.";
    POOL_WAITING: Gauge "mayfly_pool_waiting" ["target", "pool"] "Operations that wait for a connection of a pool.";
    COMMIT_DURATION: Histogram "mayfly_store_commit_duration_seconds" []
        "Time a transaction of the store takes until it is durable.";
    COMMIT_COMMANDS: Histogram "mayfly_store_commit_commands" [] "Commands that one transaction of the store holds.";
    AUDIT_RECORDS: Counter "mayfly_audit_records_total" [] "Records of the audit log, since it began.";
    AUDIT_LAG: Gauge "mayfly_audit_file_lag_records" []
        "Audit records that are not in the audit file yet; absent without such a file.";
    ORPHANS: Counter "mayfly_reconciliation_orphans_total" ["target"]
        "Accounts that bear Mayfly's mark and were found without a live lease.";
    DRIFT: Counter "mayfly_reconciliation_drift_total" ["target"]
        "Accounts of live leases that were found to differ from what was agreed.";
    NOTICES: Counter "mayfly_notices_total" ["channel", "outcome"]
        "Notices delivered (sent), attempts that failed, and notices given up (dead).";
    RECONCILED: Gauge "mayfly_reconciliation_last_success_timestamp_seconds" ["target"]
        "When the target was last compared with the store to its end, in Unix time.";
}
