//! Locks: what is locked ends at once, and nothing new begins on it.

mod looking;
mod racing;

use std::time::Duration;

use mayfly::{
    domain::{Lock, LockSubject, StateName},
    issuer::{Ended, NewLock, Refusal, RefusalKind},
    store::{Changes, Committed, Document as _, Kept, document},
};

use crate::support::{
    eventually,
    world::{World, caller, databases, request},
};

/// A lock on something, until it is taken away.
fn on(subject: &str) -> NewLock {
    NewLock { subject: subject.parse().unwrap(), reason: "a test".into(), life: None, force: false }
}

impl World {
    /// Locks something as an administrator.
    async fn lock(&self, new: NewLock) -> Result<(Lock, Ended), Refusal> {
        self.issuer.lock(&caller("root", &["administrators"]), new).await
    }

    /// Takes a lock away as an administrator.
    async fn unlock(&self, subject: &str) -> Result<Lock, Refusal> {
        let root = caller("root", &["administrators"]);
        self.issuer.unlock(&root, &subject.parse().unwrap(), String::new()).await
    }

    /// A lock as it is kept.
    async fn kept_lock(&self, subject: &str) -> Option<Kept<Lock>> {
        document(&*self.store, subject).await.unwrap()
    }
}

#[tokio::test]
async fn a_lock_ends_what_lives_and_refuses_what_is_new_until_it_is_taken_away() {
    for database in databases().await {
        for subject in ["principal/app", "role/shop-read", "target/shop"] {
            let world = World::reading(&database).await;
            let issued = world.issue().await.unwrap();
            let account = issued.lease.account.name.as_str();
            let mut session = database.login(account, &issued.password).await.unwrap();

            let (lock, ended) = world.lock(on(subject)).await.unwrap();
            assert_eq!((lock.until, ended.leases), (None, 1), "{subject} on {}", database.engine);
            let lease = world.ended(issued.lease.id).await;
            assert_eq!(lease.state.name(), StateName::Revoked);
            session.ask("SELECT id FROM orders").await.unwrap_err();
            assert!(!database.has_account(database.server.unwrap(), account).await);
            assert!(world.kept_lock(subject).await.unwrap().document.carried_out);

            let refused = world.issue().await.unwrap_err();
            assert_eq!(refused.kind, RefusalKind::Locked);
            assert_eq!(world.leases().await.len(), 1, "nothing was begun");

            world.unlock(subject).await.unwrap();
            let again = world.issue().await.unwrap();
            database.login(again.lease.account.name.as_str(), &again.password).await.unwrap();
            assert_eq!(world.unlock(subject).await.unwrap_err().kind, RefusalKind::NotFound);
        }
    }
}

#[tokio::test]
async fn a_lock_concerns_nobody_else() {
    for database in databases().await.into_iter().take(1) {
        let world = World::reading(&database).await;
        let other = caller("other", &["readers"]);
        let spared = world.issuer.issue(&other, request("shop-read")).await.unwrap();
        world.lock(on("principal/app")).await.unwrap();
        assert_eq!(world.lease(spared.lease.id).await.state.name(), StateName::Active);
        world.issuer.issue(&other, request("shop-read")).await.unwrap();
    }
}

#[tokio::test]
async fn a_lock_lapses_by_the_clock() {
    for database in databases().await.into_iter().take(1) {
        let world = World::reading(&database).await;
        let life = Some(Duration::from_secs(60));
        world.lock(NewLock { life, ..on("role/shop-read") }).await.unwrap();
        world.pass(59);
        assert_eq!(world.issue().await.unwrap_err().kind, RefusalKind::Locked);
        world.pass(1);
        world.issue().await.unwrap();
        // Whoever came across it has cleared it away, on record.
        assert!(world.kept_lock("role/shop-read").await.is_none());
        assert!(world.audit().await.iter().any(|record| record.action == "lock.lapsed"));
        assert_eq!(world.unlock("role/shop-read").await.unwrap_err().kind, RefusalKind::NotFound);
    }
}

#[tokio::test]
async fn a_lapsed_lock_is_cleared_away_by_itself() {
    let world = World::with(Vec::new(), Vec::new()).await;
    let life = Some(Duration::from_secs(60));
    world.lock(NewLock { life, ..on("principal/app") }).await.unwrap();
    world.pass(59);
    assert!(world.kept_lock("principal/app").await.is_some());
    world.pass(1);
    let cleared = async || world.kept_lock("principal/app").await.is_none().then_some(());
    eventually("the lock is cleared away", cleared).await;
    assert!(world.audit().await.iter().any(|record| record.action == "lock.lapsed"));
}

#[tokio::test]
async fn locking_again_takes_the_new_reason_and_time() {
    let world = World::with(Vec::new(), Vec::new()).await;
    world.lock(on("principal/app")).await.unwrap();
    let again = NewLock { reason: "worse".into(), life: Some(Duration::from_secs(9)), ..on("principal/app") };
    let (lock, _) = world.lock(again).await.unwrap();
    assert!(lock.reason == "worse" && lock.until.is_some());
    assert_eq!(world.kept_lock("principal/app").await.unwrap().document.until, lock.until);
}

#[tokio::test]
async fn a_lock_that_a_crash_kept_from_being_carried_out_is_at_the_next_start() {
    for database in databases().await {
        let world = World::reading(&database).await;
        let issued = world.issue().await.unwrap();
        let lock = Lock {
            subject: LockSubject::Principal("app".parse().unwrap()),
            since: issued.lease.created_at,
            by: "root".parse().unwrap(),
            reason: String::new(),
            until: Some(issued.lease.created_at + jiff::SignedDuration::from_secs(5)),
            carried_out: false,
        };
        // As it was left by a process that died as soon as the lock was durable.
        let changes = Changes::new().insert(&lock).unwrap();
        assert_eq!(changes.commit(&*world.store).await.unwrap(), Committed::Yes);
        // By the time somebody looks it has lapsed.
        world.pass(5);
        world.ended(issued.lease.id).await;
        let cleared = async || world.kept_lock("principal/app").await.is_none().then_some(());
        eventually("the lock is cleared away", cleared).await;
        world.issue().await.unwrap();
    }
}

#[tokio::test]
async fn whoever_unlocks_before_a_lock_is_carried_out_carries_it_out() {
    for database in databases().await.into_iter().take(1) {
        let world = World::reading(&database).await;
        let issued = world.issue().await.unwrap();
        let (lock, _) = world.lock(on("principal/other")).await.unwrap();
        let left = Lock { subject: "principal/app".parse().unwrap(), carried_out: false, ..lock };
        assert_eq!(
            Changes::new().insert(&left).unwrap().commit(&*world.store).await.unwrap(),
            Committed::Yes
        );
        world.unlock(&left.id()).await.unwrap();
        world.ended(issued.lease.id).await;
    }
}

#[tokio::test]
async fn locking_and_unlocking_is_on_record_with_what_it_ended() {
    for database in databases().await.into_iter().take(1) {
        let world = World::reading(&database).await;
        world.issue().await.unwrap();
        world.lock(on("principal/app")).await.unwrap();
        world.issue().await.unwrap_err();
        world.unlock("principal/app").await.unwrap();
        let log = world.audit().await;
        let of = |action: &str| {
            let found = log.iter().find(|record| record.action == action);
            found.unwrap_or_else(|| panic!("no {action}")).clone()
        };
        assert_eq!(of("lock.set").details["reason"], "a test");
        assert_eq!(of("lock.set").resource, "locks/principal/app");
        assert_eq!(of("lock.carried_out").details["leases"], "1");
        assert_eq!(of("lease.ending").details["reason"], "the principal app is locked");
        of("lock.removed");
        let refused = log.iter().rfind(|record| record.action == "lease.requested").unwrap();
        assert!(refused.details["reason"].starts_with("you are locked"), "{refused:?}");
    }
}
