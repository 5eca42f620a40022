//! A lock against those who are just asking.

use std::sync::Arc;

use futures_util::future::join_all;
use mayfly::{
    clock::SystemClock,
    domain::{LeaseLimits, StateName},
    issuer::RefusalKind,
};

use super::on;
use crate::support::{
    eventually,
    world::{Database, World, caller, databases, request},
};

/// Callers at once.
const CROWD: usize = 100;

async fn crowded(database: &Database) -> World {
    let target = World::target(database.settings("shop"), Arc::new(SystemClock));
    let mut role = database.reading_role("shop-read", "shop");
    role.limits = LeaseLimits { per_principal: 1_000, total: 1_000 };
    role.scram_iterations = 64;
    World::with(vec![target], vec![role]).await
}

#[tokio::test]
async fn a_lock_amid_a_hundred_who_ask_leaves_no_live_lease() {
    for database in databases().await {
        for subject in ["principal/app", "role/shop-read", "target/shop"] {
            let world = crowded(&database).await;
            let world = &world;
            let begun = async || (!world.leases().await.is_empty()).then_some(());
            let issuing = (0..CROWD).map(|at| async move {
                // Some are before the lock, some after it, and some just then.
                for _ in 0..at {
                    tokio::task::yield_now().await;
                }
                world.issue().await
            });
            let locking = async {
                eventually("some have begun", begun).await;
                world.lock(on(subject)).await.unwrap()
            };
            let (_, (_, ended)) = tokio::join!(join_all(issuing), locking);
            assert!(ended.leases > 0);
            assert_eq!(world.issue().await.unwrap_err().kind, RefusalKind::Locked);
            for lease in world.leases().await {
                let state = lease.state.name();
                assert!(
                    !matches!(state, StateName::Provisioning | StateName::Active),
                    "{subject} on {}: {lease:?}",
                    database.engine
                );
            }
            // What was being created is verified gone once its creation must be over.
            world.pass(120);
            for lease in world.leases().await {
                world.ended(lease.id).await;
                let account = lease.account.name.as_str();
                assert!(!database.has_account(database.server.unwrap(), account).await, "{account}");
            }
        }
    }
}

#[tokio::test]
async fn locks_set_and_taken_away_over_and_over_let_no_lease_live_that_began_under_one() {
    for database in databases().await.into_iter().take(1) {
        let world = crowded(&database).await;
        for _ in 0..10 {
            let issuing = (0..10).map(|_| world.issuer.issue(&APP, request("shop-read")));
            let (issued, locked) = tokio::join!(join_all(issuing), world.lock(on("principal/app")));
            locked.unwrap();
            for issued in issued.into_iter().flatten() {
                let state = world.lease(issued.lease.id).await.state.name();
                assert!(!matches!(state, StateName::Provisioning | StateName::Active), "{state:?}");
            }
            world.unlock("principal/app").await.unwrap();
        }
    }
}

static APP: std::sync::LazyLock<mayfly::identity::Caller> =
    std::sync::LazyLock::new(|| caller("app", &["readers"]));
