//! What must hold once a server was started again: no orphan, nothing lost, nothing half-way, sound books.

use std::{collections::BTreeSet, time::Duration};

use jiff::Timestamp;
use mayfly::{
    api::proto::{Lease, LeaseKind, LeaseState},
    clock::{Clock as _, SystemClock},
    domain::Engine,
};
use tonic::Status;

use super::{
    caller::{Caller, is_live},
    place::Place,
    scenario::{LONG, Story},
};
use crate::support::eventually;

/// The accounts of an installation that are on its target, whatever its books say.
pub(super) async fn accounts(place: &Place) -> BTreeSet<String> {
    let names = [&place.role, &place.refused, &place.reviewed];
    let (table, column) = match place.database.engine {
        Engine::Postgres => ("pg_roles", "rolname"),
        _ => ("mysql.user", "User"),
    };
    let ours = names.map(|name| format!("{column} LIKE 'mf\\_{name}\\_%'")).join(" OR ");
    let statement = format!("SELECT DISTINCT {column} FROM {table} WHERE {ours}");
    place.database.ask_superuser(place.database.server.unwrap(), &statement).await.into_iter().collect()
}

/// Accounts for which the books have no live lease. An account that is going right now is none: it is looked for again.
pub(super) async fn orphans(place: &Place, caller: &Caller) -> Result<BTreeSet<String>, Status> {
    let found = accounts(place).await;
    let leases = caller.leases(&[]).await?;
    let live: BTreeSet<&str> =
        leases.iter().filter(|lease| is_live(lease.state())).map(|lease| &*lease.account).collect();
    let doubtful: BTreeSet<String> = found.into_iter().filter(|name| !live.contains(&**name)).collect();
    if doubtful.is_empty() {
        return Ok(doubtful);
    }
    let still = accounts(place).await;
    Ok(doubtful.intersection(&still).cloned().collect())
}

/// When a lease expires, if it is active.
fn expiry(lease: &Lease) -> Option<Timestamp> {
    Timestamp::new(lease.expire_time.as_ref()?.seconds, lease.expire_time.as_ref()?.nanos).ok()
}

/// Whether nobody asks for it again: it is over in a moment.
fn is_short(lease: &Lease) -> bool {
    lease.ttl.is_some_and(|ttl| ttl.seconds < i64::from(LONG))
}

/// Waits until nothing is under way: no lease half-way, none overdue.
pub(super) async fn quiet(caller: &Caller) {
    let unsettled = [LeaseState::Provisioning, LeaseState::Active, LeaseState::Ending];
    eventually("everything that was interrupted is finished", async || {
        let leases = caller.leases(&unsettled).await.unwrap();
        let now = SystemClock.now();
        let rests = |lease: &Lease| expiry(lease).is_some_and(|at| at > now);
        leases.iter().all(|lease| lease.state() == LeaseState::Active && rests(lease)).then_some(())
    })
    .await;
}

impl Story<'_> {
    /// Asserts a clean slate after all that happened, by a server started once more, and ends everything.
    pub(super) async fn assert_clean(&mut self, reply_may_be_lost: bool) {
        let mut served = self.place.start(None);
        let caller = served.caller().await.unwrap_or_else(|| panic!("it does not start any more"));
        if self.tampered {
            self.place.command(&caller.address, &["reconcile"]).await;
        }
        quiet(&caller).await;
        let active = self.assert_books_match_the_target(&caller).await;
        let is_nobodys = |lease: &&Lease| self.held.iter().all(|held| held.lease != lease.name);
        let undelivered: Vec<&Lease> = active.iter().filter(is_nobodys).collect();
        assert!(reply_may_be_lost || undelivered.is_empty(), "never delivered, and lives: {undelivered:?}");
        self.assert_promises_kept(&caller).await;
        let answered = self.assert_repeated_requests_answered(&caller).await;
        let nobodys: Vec<&&Lease> =
            undelivered.iter().filter(|lease| !answered.contains(&lease.name)).collect();
        assert!(
            nobodys.iter().all(|lease| is_short(lease)),
            "not delivered when asked for again: {nobodys:?}"
        );
        caller.revoke_all().await.unwrap();
        quiet_and_empty(&caller).await;
        assert_eq!(accounts(self.place).await, BTreeSet::new(), "orphans");
        assert!(!self.hands_out || !self.place.handed_may_log_in().await, "an account stayed open");
        assert_eq!(self.place.groups_of_elevated().await, Vec::<String>::new(), "an elevation stayed");
        for held in &mut self.held {
            assert_ne!(held.session_answers().await, Some(true), "a session outlived its lease: {held:?}");
        }
        served.stop().await;
        let head = self.place.assert_store_sound().unwrap_or_else(|| panic!("the store is empty"));
        self.place.assert_audit_file_complete(head);
        // What reconciliation finds and mends must not have been there to be found.
        let log = std::fs::read_to_string(self.place.path("audit.jsonl")).unwrap();
        for found in ["lease.adopted", "lease.vanished", "lease.reappeared"] {
            assert!(self.tampered || !log.contains(found), "reconciliation had to mend: {found}");
        }
    }

    /// Asserts that the accounts on the target are those of the active leases, which are returned.
    async fn assert_books_match_the_target(&self, caller: &Caller) -> Vec<Lease> {
        assert_eq!(orphans(self.place, caller).await.unwrap(), BTreeSet::new(), "orphans");
        // What expires while it is looked at is in the one and not in the other.
        eventually("the accounts on the target are those of the active leases", async || {
            let mut active = caller.leases(&[LeaseState::Active]).await.unwrap();
            // Accounts that were there before are not made.
            active.retain(|lease| lease.kind() == LeaseKind::Ephemeral);
            let expected: BTreeSet<String> = active.iter().map(|lease| lease.account.clone()).collect();
            (accounts(self.place).await == expected).then_some(active)
        })
        .await
    }

    /// Asserts of every credential that was delivered that it works as promised, or has ended properly.
    async fn assert_promises_kept(&mut self, caller: &Caller) {
        let database = &self.place.database;
        for held in &mut self.held {
            let lease = caller.lease(&held.lease).await.unwrap();
            held.assert_kept(&lease, database).await;
            let ended = !is_live(lease.state());
            assert!(ended || !held.end_told, "its end was acknowledged: {held:?} is {lease:?}");
            if ended {
                held.assert_over(database).await;
            }
        }
    }

    /// Asserts that a caller who asks again gets what it asked for, and says which leases these are.
    async fn assert_repeated_requests_answered(&self, caller: &Caller) -> BTreeSet<String> {
        let mut answered = BTreeSet::new();
        let doubted = self.held.iter().filter(|held| held.in_doubt).map(|held| held.key.clone());
        for key in self.unanswered.iter().cloned().chain(doubted) {
            let held = caller.issue(&self.place.role, LONG, &key).await;
            let held = held.unwrap_or_else(|status| panic!("asking again with {key}: {status:?}"));
            held.log_in(&self.place.database).await.unwrap_or_else(|error| panic!("{held:?}: {error}"));
            let lease = caller.lease(&held.lease).await.unwrap();
            assert_eq!(lease.state(), LeaseState::Active, "{lease:?}");
            answered.insert(held.lease);
        }
        answered
    }
}

async fn quiet_and_empty(caller: &Caller) {
    eventually("every lease has ended", async || {
        let live = [LeaseState::Provisioning, LeaseState::Active, LeaseState::Ending];
        caller.leases(&live).await.unwrap().is_empty().then_some(())
    })
    .await;
    // Nothing is due any more: what stands on the target now stays.
    tokio::time::sleep(Duration::from_millis(50)).await;
}
