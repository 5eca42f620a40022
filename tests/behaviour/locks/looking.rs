//! Who may lock, what the locked may do still, and what whom is told.

use mayfly::{
    domain::{ADMINISTRATORS, StateName},
    issuer::{NewLock, RefusalKind},
    store::{LeaseFilter, PageRequest},
};

use super::on;
use crate::support::world::{World, caller, databases, role_name};

#[tokio::test]
async fn the_locked_see_what_is_theirs_and_give_it_back_and_nothing_more() {
    for database in databases().await.into_iter().take(1) {
        let world = World::reading(&database).await;
        let app = caller("app", &["readers", ADMINISTRATORS]);
        let issued = world.issue().await.unwrap();
        let id = issued.lease.id;
        world.lock(on("principal/app")).await.unwrap();
        let page = PageRequest { size: 10, before: None };
        assert_eq!(world.issuer.leases(&app, LeaseFilter::default(), page).await.unwrap().items.len(), 1);
        assert_eq!(world.issuer.lease(&app, id).await.unwrap().id, id);
        world.issuer.release(&app, id).await.unwrap();
        let locked = |kind| assert_eq!(kind, RefusalKind::Locked);
        locked(world.issuer.renew(&app, id, None).await.unwrap_err().kind);
        locked(world.issuer.revoke(&app, id, String::new()).await.unwrap_err().kind);
        locked(world.issuer.targets(&app).await.err().unwrap().kind);
        locked(world.issuer.audit_after(&app, 0, 1).await.unwrap_err().kind);
        locked(world.issuer.tokens(&app, None, 1).await.unwrap_err().kind);
        locked(world.issuer.lock(&app, on("principal/other")).await.unwrap_err().kind);
        let mine = "principal/app".parse().unwrap();
        locked(world.issuer.unlock(&app, &mine, String::new()).await.unwrap_err().kind);
        let (check, _) = world.issuer.check_role(&app, &role_name("shop-read"), None).await.unwrap();
        assert!(check.verdict.unwrap_err().starts_with("you are locked"));
        assert_eq!(world.ended(id).await.state.name(), StateName::Revoked);
    }
}

#[tokio::test]
async fn by_whom_and_why_is_told_to_administrators_only() {
    for database in databases().await.into_iter().take(1) {
        let world = World::reading(&database).await;
        world.lock(on("role/shop-read")).await.unwrap();
        let refused = world.issue().await.unwrap_err().message;
        assert_eq!(refused, "the role shop-read is locked; ask an administrator");
        let admin = caller("other", &[ADMINISTRATORS, "readers"]);
        let (check, _) = world.issuer.check_role(&admin, &role_name("shop-read"), None).await.unwrap();
        let told = check.verdict.unwrap_err();
        assert!(told.contains("set by root at") && told.ends_with(": a test"), "{told}");
    }
}

#[tokio::test]
async fn a_lease_under_a_locked_role_is_not_renewed() {
    use mayfly::store::{Changes, Committed};
    for database in databases().await.into_iter().take(1) {
        let world = World::reading(&database).await;
        let issued = world.issue().await.unwrap();
        // The lock is durable, and the lease lives yet.
        let (lock, _) = world.lock(on("principal/other")).await.unwrap();
        let lock = mayfly::domain::Lock { subject: "role/shop-read".parse().unwrap(), ..lock };
        let changes = Changes::new().insert(&lock).unwrap();
        assert_eq!(changes.commit(&*world.store).await.unwrap(), Committed::Yes);
        world.pass(60);
        let app = caller("app", &["readers"]);
        let refused = world.issuer.renew(&app, issued.lease.id, None).await.unwrap_err();
        assert_eq!(refused.kind, RefusalKind::Locked);
    }
}

#[tokio::test]
async fn locking_is_for_administrators() {
    let world = World::with(Vec::new(), Vec::new()).await;
    let app = caller("app", &["readers"]);
    let denied = |kind| assert_eq!(kind, RefusalKind::Denied);
    denied(world.issuer.lock(&app, on("principal/other")).await.unwrap_err().kind);
    let other = "principal/other".parse().unwrap();
    denied(world.issuer.unlock(&app, &other, String::new()).await.unwrap_err().kind);
    denied(world.issuer.locks(&app, None, 10).await.unwrap_err().kind);
    assert!(world.kept_lock("principal/other").await.is_none());
}

#[tokio::test]
async fn nobody_locks_himself_by_accident() {
    let world = World::with(Vec::new(), Vec::new()).await;
    let refused = world.lock(on("principal/root")).await.unwrap_err();
    assert_eq!(refused.kind, RefusalKind::Invalid("force"));
    world.lock(NewLock { force: true, ..on("principal/root") }).await.unwrap();
    assert_eq!(world.unlock("principal/root").await.unwrap_err().kind, RefusalKind::Locked);
    let other = caller("other", &[ADMINISTRATORS]);
    world.issuer.unlock(&other, &"principal/root".parse().unwrap(), String::new()).await.unwrap();
    world.lock(on("principal/app")).await.unwrap();
}

#[tokio::test]
async fn of_two_administrators_who_lock_each_other_at_once_one_stays() {
    let world = World::with(Vec::new(), Vec::new()).await;
    let (alice, bob) = (caller("alice", &[ADMINISTRATORS]), caller("bob", &[ADMINISTRATORS]));
    for _ in 0..20 {
        let (first, second) = tokio::join!(
            world.issuer.lock(&alice, on("principal/bob")),
            world.issuer.lock(&bob, on("principal/alice")),
        );
        assert!(first.is_ok() != second.is_ok(), "{first:?} {second:?}");
        let (winner, loser) =
            if first.is_ok() { (&alice, "principal/bob") } else { (&bob, "principal/alice") };
        world.issuer.unlock(winner, &loser.parse().unwrap(), String::new()).await.unwrap();
    }
}

#[tokio::test]
async fn a_role_or_target_that_nobody_knows_is_not_locked() {
    let world = World::with(Vec::new(), Vec::new()).await;
    for subject in ["role/orders-reed", "target/nowhere"] {
        assert_eq!(world.lock(on(subject)).await.unwrap_err().kind, RefusalKind::NotFound, "{subject}");
    }
    for reason in ["x".repeat(1_001), "two\nlines".to_owned()] {
        let refused = world.lock(NewLock { reason, ..on("principal/app") }).await.unwrap_err();
        assert_eq!(refused.kind, RefusalKind::Invalid("reason"));
    }
    let root = caller("root", &[ADMINISTRATORS]);
    assert_eq!(world.issuer.locks(&root, None, 10).await.unwrap(), []);
}
