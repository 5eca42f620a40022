//! What is counted, on every engine.
#![expect(clippy::float_cmp, reason = "what is counted is whole, and written and read exactly")]

use std::sync::Arc;

use jiff::SignedDuration;
use mayfly::{
    clock::{Clock as _, SystemClock},
    domain::StateName,
    issuer::Mode,
    store::Store,
    target::{CircuitState, Target, TargetErrorKind},
};

use super::{Shown, get};
use crate::{
    reconcile::stray,
    support::{
        meddler::{Meddler, Moment, Step},
        slate::assert_clean,
        world::{Database, World, caller, databases, request},
    },
};

async fn meddled(database: &Database) -> (Shown, Arc<Meddler>) {
    let meddler = Meddler::new(World::target(database.settings("shop"), Arc::new(SystemClock)));
    let target = Arc::clone(&meddler) as Arc<dyn Target>;
    let world = World::with(vec![target], vec![database.reading_role("shop-read", "shop")]).await;
    (Shown::of(world).await, meddler)
}

#[tokio::test]
async fn a_lease_is_counted_from_its_issue_to_its_end() {
    for database in databases().await {
        let shown = Shown::of(World::reading(&database).await).await;
        let world = &shown.world;
        let before = shown.samples().await;
        assert_eq!(before["mayfly_leases{target=\"shop\",state=\"active\"}"], 0.0);
        let app = caller("app", &["readers"]);
        let issued = world.issue().await.unwrap();
        world.pass(60);
        world.issuer.renew(&app, issued.lease.id, None).await.unwrap();
        world.issuer.issue(&caller("stranger", &[]), request("shop-read")).await.unwrap_err();
        world.issuer.issue(&app, request("made-up")).await.unwrap_err();
        let during = shown.samples().await;
        for (sample, value) in [
            ("mayfly_leases{target=\"shop\",state=\"active\"}", 1.0),
            ("mayfly_leases{target=\"shop\",state=\"ending\"}", 0.0),
            ("mayfly_leases_overdue{target=\"shop\"}", 0.0),
            ("mayfly_issues_total{target=\"shop\",role=\"shop-read\",outcome=\"issued\"}", 1.0),
            ("mayfly_issues_total{target=\"shop\",role=\"shop-read\",outcome=\"denied\"}", 1.0),
            ("mayfly_issues_total{target=\"\",role=\"\",outcome=\"not_found\"}", 1.0),
            ("mayfly_issue_duration_seconds_count{target=\"shop\"}", 1.0),
            ("mayfly_renewals_total{target=\"shop\",role=\"shop-read\",outcome=\"renewed\"}", 1.0),
            ("mayfly_target_circuit_state{target=\"shop\",state=\"closed\"}", 1.0),
            ("mayfly_pool_size{target=\"shop\",pool=\"issuing\"}", 8.0),
            ("mayfly_pool_size{target=\"shop\",pool=\"ending\"}", 4.0),
            ("mayfly_pool_in_use{target=\"shop\",pool=\"issuing\"}", 0.0),
        ] {
            assert_eq!(during.get(sample), Some(&value), "{}: {sample} in {during:#?}", database.engine);
        }
        assert!(during["mayfly_audit_records_total"] > before["mayfly_audit_records_total"]);
        let commits = "mayfly_store_commit_duration_seconds_count";
        assert!(during[commits] > before[commits]);
        world.issuer.release(&app, issued.lease.id).await.unwrap();
        world.reaches(issued.lease.id, StateName::Released).await;
        let after = shown.samples().await;
        assert_eq!(after["mayfly_leases{target=\"shop\",state=\"active\"}"], 0.0);
        assert_eq!(after["mayfly_ends_total{target=\"shop\",role=\"shop-read\",outcome=\"released\"}"], 1.0);
        assert_eq!(after["mayfly_end_duration_seconds_count{target=\"shop\"}"], 1.0);
        let page = get(shown.address, "/metrics", "").await.body;
        for secret in ["app", "stranger", issued.lease.account.name.as_str(), "made-up"] {
            assert!(!page.contains(&format!("\"{secret}\"")), "{secret}");
        }
        assert_clean(world, &database, database.server.unwrap()).await;
    }
}

#[tokio::test]
async fn a_lease_that_cannot_be_ended_shows_how_long_it_is_overdue_and_why() {
    for database in databases().await {
        let (shown, meddler) = meddled(&database).await;
        let world = &shown.world;
        let issued = world.issue().await.unwrap().lease.id;
        let gate = meddler.hold(Step::Disable, Moment::Before);
        world.pass(300);
        gate.reached().await;
        world.pass(120);
        let held = shown.samples().await;
        assert_eq!(held["mayfly_leases{target=\"shop\",state=\"ending\"}"], 1.0);
        assert_eq!(held["mayfly_leases_overdue{target=\"shop\"}"], 1.0);
        assert_eq!(held["mayfly_lease_overdue_age_seconds{target=\"shop\"}"], 120.0);
        meddler.fail(Step::Remove, Moment::Before, TargetErrorKind::Refused);
        gate.open();
        world.reaches(issued, StateName::Expired).await;
        let after = shown.samples().await;
        assert_eq!(after["mayfly_end_attempts_failed_total{target=\"shop\",kind=\"refused\"}"], 1.0);
        assert_eq!(after["mayfly_leases_overdue{target=\"shop\"}"], 0.0);
        assert_eq!(after["mayfly_lease_overdue_age_seconds{target=\"shop\"}"], 0.0);
        assert_clean(world, &database, database.server.unwrap()).await;
    }
}

#[tokio::test]
async fn a_lease_nobody_has_begun_to_end_counts_as_overdue_from_its_expiry() {
    let Some(database) = databases().await.into_iter().next() else { return };
    let shown = Shown::of(World::reading(&database).await).await;
    let world = &shown.world;
    world.issue().await.unwrap();
    // As when the process that would end it is stuck.
    world.reaper.stop().await;
    world.pass(330);
    let stuck = shown.samples().await;
    assert_eq!(stuck["mayfly_leases{target=\"shop\",state=\"active\"}"], 1.0);
    assert_eq!(stuck["mayfly_leases_overdue{target=\"shop\"}"], 1.0);
    let age = stuck["mayfly_lease_overdue_age_seconds{target=\"shop\"}"];
    assert!((29.0..31.0).contains(&age), "{age}");
}

#[tokio::test]
async fn a_circuit_shows_which_of_its_states_it_is_in() {
    let Some(database) = databases().await.into_iter().next() else { return };
    let (shown, meddler) = meddled(&database).await;
    let world = &shown.world;
    for _ in 0..3 {
        meddler.fail(Step::Create, Moment::Before, TargetErrorKind::Unavailable);
        world.issue().await.unwrap_err();
    }
    let state = |samples: &std::collections::BTreeMap<String, f64>| {
        let sample = |state: CircuitState| {
            format!("mayfly_target_circuit_state{{target=\"shop\",state=\"{}\"}}", state.as_str())
        };
        CircuitState::ALL.map(|state| samples[&sample(state)])
    };
    assert_eq!(state(&shown.samples().await), [0.0, 1.0, 0.0]);
    let gate = meddler.hold(Step::Create, Moment::Before);
    world.clock.advance(SignedDuration::from_secs(1));
    let issuer = Arc::clone(&world.issuer);
    let probe =
        tokio::spawn(async move { issuer.issue(&caller("app", &["readers"]), request("shop-read")).await });
    gate.reached().await;
    assert_eq!(state(&shown.samples().await), [0.0, 0.0, 1.0]);
    gate.open();
    probe.await.unwrap().unwrap();
    assert_eq!(state(&shown.samples().await), [1.0, 0.0, 0.0]);
}

#[tokio::test]
async fn reconciling_is_counted_by_target() {
    for database in databases().await {
        let shown = Shown::of(World::reading(&database).await).await;
        let world = &shown.world;
        let role = database.reading_role("shop-read", "shop");
        let (orphan, _) = stray(&database, &role, Store::instance(&*world.store)).await;
        let (shop, reconciler) = ("shop".parse().unwrap(), world.issuer.reconciler());
        reconciler.run(&shop, Mode::DryRun).await.unwrap();
        let found = "mayfly_reconciliation_orphans_total{target=\"shop\"}";
        assert_eq!(shown.samples().await.get(found), None, "a dry run only tells");
        reconciler.run(&shop, Mode::Act).await.unwrap();
        world.reaches(orphan, StateName::Revoked).await;
        reconciler.run(&shop, Mode::Act).await.unwrap();
        let samples = shown.samples().await;
        assert_eq!(samples[found], 1.0);
        assert_eq!(samples["mayfly_reconciliation_drift_total{target=\"shop\"}"], 0.0);
        let when = samples["mayfly_reconciliation_last_success_timestamp_seconds{target=\"shop\"}"];
        let now = world.clock.now().as_duration().as_secs_f64();
        assert!((when - now).abs() < 2.0, "{when}");
        assert_clean(world, &database, database.server.unwrap()).await;
    }
}
