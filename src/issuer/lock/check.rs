//! Whether something is locked.
//!
//! Who asks for a lease is refused without a question more than the store is asked anyway: its beginning requires that there
//! be no lock. A lock that is set later finds the lease.

use jiff::Timestamp;

use crate::{
    audit::{Actor, Draft},
    domain::{Lease, Lock, LockSubject, RoleName, TargetName},
    identity::Caller,
    issuer::{Issuer, Refusal, RefusalKind},
    policy,
    store::{Changes, EntryChange, Kept, document},
};

/// What a caller is told of a lock. By whom it was set and why is for administrators.
pub(in crate::issuer) fn locked(caller: &Caller, lock: &Lock) -> Refusal {
    let whom = match &lock.subject {
        LockSubject::Principal(name) if *name == caller.principal.name => "you are locked".to_owned(),
        _ => lock.words(),
    };
    let until = lock.until.map_or_else(String::new, |until| format!(" until {until:.0}"));
    let more = if policy::is_administrator(&caller.principal) {
        let reason = if lock.reason.is_empty() { String::new() } else { format!(": {}", lock.reason) };
        format!("; set by {} at {:.0}{reason}", lock.by, lock.since)
    } else {
        "; ask an administrator".to_owned()
    };
    Refusal::new(RefusalKind::Locked, format!("{whom}{until}{more}"))
}

/// What a lease is locked by.
fn subjects(lease: &Lease) -> [LockSubject; 3] {
    LockSubject::of_access(&lease.principal.name, &lease.role, &lease.target)
}

/// What has to be so in the transaction that begins a lease: nothing of it is locked.
pub(in crate::issuer) fn none_on(lease: &Lease) -> Vec<EntryChange> {
    none_of(subjects(lease)).entries
}

/// What has to be so in a transaction that relies on there being no lock on any of these.
pub(in crate::issuer) fn none_of(subjects: [LockSubject; 3]) -> Changes {
    subjects
        .into_iter()
        .fold(Changes::new(), |changes, subject| changes.require::<Lock>(subject.to_string(), 0))
}

impl Issuer {
    /// Refuses what is locked; not audited.
    ///
    /// # Errors
    /// [`Refusal`]: locked, store unavailable.
    pub(in crate::issuer) async fn check_locks(
        &self,
        caller: &Caller,
        subjects: &[LockSubject],
    ) -> Result<(), Refusal> {
        for subject in subjects {
            let found: Option<Kept<Lock>> = document(&*self.store, &subject.to_string()).await?;
            let Some(lock) = found else { continue };
            if lock.document.stands_at(self.clock.now()) {
                return Err(locked(caller, &lock.document));
            }
            if lock.document.carried_out {
                self.clear(&lock, self.clock.now()).await?;
            }
        }
        Ok(())
    }

    /// Refuses a caller that is locked, and what it wants under a role or on a target that is; audited.
    ///
    /// # Errors
    /// [`Refusal`]: locked, store unavailable.
    pub(in crate::issuer) async fn refuse_locked(
        &self,
        caller: &Caller,
        on: Option<(&RoleName, &TargetName)>,
        what: &'static str,
        resource: &str,
    ) -> Result<(), Refusal> {
        let mut subjects = vec![LockSubject::Principal(caller.principal.name.clone())];
        if let Some((role, target)) = on {
            subjects.extend([LockSubject::Role(role.clone()), LockSubject::Target(target.clone())]);
        }
        match self.check_locks(caller, &subjects).await {
            Err(refusal) if refusal.kind == RefusalKind::Locked => {
                Err(self.refuse(caller, what, resource, refusal).await)
            }
            checked => checked,
        }
    }

    /// Whether nothing of a lease is locked.
    ///
    /// # Errors
    /// [`Refusal`]: locked, store unavailable.
    pub(in crate::issuer) async fn check_lease(&self, caller: &Caller, lease: &Lease) -> Result<(), Refusal> {
        self.check_locks(caller, &subjects(lease)).await
    }

    /// Removes a lock that has lapsed and was carried out. Should it have changed meanwhile, that is for the next to see.
    pub(super) async fn clear(&self, lock: &Kept<Lock>, now: Timestamp) -> Result<(), Refusal> {
        let draft = Draft::new(now, Actor::System, "lock.lapsed", lock.document.resource_name())
            .with("since", lock.document.since.to_string());
        let _ = Changes::new().remove(lock).record(draft).commit(&*self.store).await?;
        Ok(())
    }
}
