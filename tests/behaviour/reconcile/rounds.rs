//! Comparing by itself, from time to time.

use std::{sync::Arc, time::Duration};

use jiff::SignedDuration;
use mayfly::{
    clock::{Clock as _, SystemClock},
    domain::StateName,
    random::SystemRandom,
    reaper::{Rounds, RoundsParts},
    target::{HealthBoard, Target},
};

use super::{Deed, places};
use crate::support::{
    eventually,
    proxy::Proxy,
    world::{Database, World, caller, request},
};

fn rounds(world: &World) -> Rounds {
    Rounds::new(RoundsParts {
        clock: Arc::clone(&world.clock) as Arc<_>,
        random: Arc::new(SystemRandom),
        catalogue: Arc::clone(&world.catalogue),
        health: Arc::new(HealthBoard::default()),
        reconciler: world.issuer.reconciler(),
    })
}

fn every(database: &Database, name: &str, every: Option<u64>) -> Arc<dyn Target> {
    let mut settings = database.settings(name);
    settings.reconcile.every = every.map(Duration::from_secs);
    World::target(settings, Arc::new(SystemClock))
}

/// Moves the clock on until the lease is closed.
async fn closed(world: &World, id: mayfly::domain::LeaseId, step: i64) {
    eventually("the round came", async || {
        world.pass(step);
        tokio::time::sleep(Duration::from_millis(20)).await;
        (world.lease(id).await.state.name() == StateName::Revoked).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_first_round_comes_shortly_after_the_start_and_the_next_in_its_time() {
    let Some(database) = places().await.into_iter().next() else { return };
    let mut role = database.reading_role("shop-read", "shop");
    role.ttl = mayfly::domain::TtlBounds::new(
        crate::support::world::ttl(86_400),
        crate::support::world::ttl(86_400),
    )
    .unwrap();
    let world = World::with(vec![every(&database, "shop", Some(900))], vec![role]).await;
    let first = world.issue().await.unwrap().lease;
    database.behind_our_back(&first.account.name, Deed::Drop).await;
    let rounds = rounds(&world);
    let start = world.clock.now();
    rounds.open();
    closed(&world, first.id, 1).await;
    let second = world.issue().await.unwrap().lease;
    database.behind_our_back(&second.account.name, Deed::Drop).await;
    world.pass(800);
    assert_eq!(world.lease(second.id).await.state.name(), StateName::Active);
    closed(&world, second.id, 50).await;
    assert!(world.clock.now().duration_since(start) >= SignedDuration::from_secs(900));
    rounds.stop().await;
}

#[tokio::test]
async fn never_means_never_until_it_is_configured_otherwise() {
    let Some(database) = places().await.into_iter().next() else { return };
    let role = database.reading_role("shop-read", "shop");
    let world = World::with(vec![every(&database, "shop", None)], vec![role.clone()]).await;
    let lease = world.issue().await.unwrap().lease;
    database.behind_our_back(&lease.account.name, Deed::Drop).await;
    let rounds = rounds(&world);
    rounds.open();
    world.pass(100);
    tokio::task::yield_now().await;
    assert_eq!(world.lease(lease.id).await.state.name(), StateName::Active);
    let mut catalogue = mayfly::issuer::Catalogue::default();
    catalogue.targets.insert("shop".parse().unwrap(), every(&database, "shop", Some(10)));
    catalogue.roles.insert(role.name.clone(), Arc::new(role));
    world.catalogue.replace(catalogue);
    rounds.open();
    closed(&world, lease.id, 1).await;
    rounds.stop().await;
}

#[tokio::test]
async fn a_target_that_hangs_delays_no_other_and_is_compared_once_it_answers() {
    let Some(database) = places().await.into_iter().next() else { return };
    let proxy = Proxy::to(database.port).await;
    let mut settings = database.settings("slow");
    settings.hosts = vec![("127.0.0.1".to_owned(), proxy.port())];
    settings.reconcile.every = Some(Duration::from_secs(30));
    (settings.pool.connect, settings.pool.statement) =
        (Duration::from_millis(500), Duration::from_millis(500));
    let slow = World::target(settings, Arc::new(SystemClock));
    let roles = vec![database.reading_role("shop-read", "shop"), database.reading_role("slow-read", "slow")];
    let world = World::with(vec![every(&database, "shop", Some(30)), slow], roles).await;
    let on_slow = world.issuer.issue(&caller("app", &["readers"]), request("slow-read")).await.unwrap().lease;
    let on_shop = world.issue().await.unwrap().lease;
    for lease in [&on_slow, &on_shop] {
        database.behind_our_back(&lease.account.name, Deed::Drop).await;
    }
    proxy.pause();
    let rounds = rounds(&world);
    rounds.open();
    closed(&world, on_shop.id, 1).await;
    assert_eq!(world.lease(on_slow.id).await.state.name(), StateName::Active);
    proxy.resume();
    closed(&world, on_slow.id, 1).await;
    rounds.stop().await;
}
