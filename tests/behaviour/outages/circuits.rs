//! A target that failed several times in a row is left alone, and found again.

use std::sync::Arc;

use futures_util::future::join_all;
use jiff::SignedDuration;
use mayfly::{
    clock::{Clock as _, SystemClock},
    domain::{Engine, Password, StateName},
    issuer::{Refusal, RefusalKind},
    sandbox::{Sample, SampleNames},
    target::{CircuitState, Health, TargetErrorKind},
};

use super::{ending, meddled, tried};
use crate::support::{
    meddler::{Meddler, Moment, Step},
    own_server,
    slate::assert_clean,
    world::{Database, World, caller, databases, request, target_name},
};

fn health(world: &World) -> Health {
    world.health.of(&target_name("shop"))
}

fn assert_left_alone(refused: &Refusal) {
    assert_eq!(refused.kind, RefusalKind::TargetUnavailable);
    assert!(refused.message.contains("the target shop cannot be used right now"), "{refused}");
    assert!(refused.retry_after.is_some());
}

async fn fail(world: &World, meddler: &Meddler, kind: TargetErrorKind) -> Refusal {
    meddler.fail(Step::Create, Moment::Before, kind);
    world.issue().await.unwrap_err()
}

async fn opened(world: &World, meddler: &Meddler) {
    for _ in 0..3 {
        let refused = fail(world, meddler, TargetErrorKind::Unavailable).await;
        assert!(refused.message.contains("the target shop cannot be reached right now"), "{refused}");
    }
    assert_eq!(health(world).circuit, CircuitState::Open);
}

#[tokio::test]
async fn after_failures_in_a_row_callers_are_refused_without_asking_the_target() {
    for database in databases().await {
        let (world, meddler) = meddled(&database).await;
        let app = caller("app", &["readers"]);
        let held = world.issue().await.unwrap().lease.id;
        world.pass(100);
        opened(&world, &meddler).await;
        let (calls, leases) = (meddler.total(), world.leases().await.len());
        assert_left_alone(&world.issue().await.unwrap_err());
        assert_left_alone(&world.issuer.renew(&app, held, None).await.unwrap_err());
        assert_eq!((meddler.total(), world.leases().await.len()), (calls, leases));
        let last = world.audit().await.pop().unwrap();
        assert_eq!(last.action, "lease.requested", "a refusal is recorded: {last:?}");
        let admin = caller("root", &["administrators"]);
        let shown = world.issuer.targets(&admin).await.unwrap().remove(0).health;
        assert_eq!(shown.circuit, CircuitState::Open);
        assert_eq!(shown.since, Some(world.clock.now()));
        assert_eq!(shown.last_error.as_deref(), Some("meddled with"));
        assert_eq!(shown.next_probe_at, Some(world.clock.now() + SignedDuration::from_secs(1)));
        // Ending asks nobody. Its success closes the circuit.
        world.issuer.release(&app, held).await.unwrap();
        world.reaches(held, StateName::Released).await;
        crate::support::eventually("closed", async || (health(&world) == Health::default()).then_some(()))
            .await;
        let last = world.issue().await.unwrap().lease.id;
        world.issuer.release(&app, last).await.unwrap();
        world.reaches(last, StateName::Released).await;
        assert_clean(&world, &database, database.server.unwrap()).await;
    }
}

#[tokio::test]
async fn when_its_time_has_come_one_caller_of_many_is_let_through() {
    for database in databases().await {
        let (world, meddler) = meddled(&database).await;
        opened(&world, &meddler).await;
        world.pass(1);
        // The probe fails: the next one goes after twice as long.
        let refused = fail(&world, &meddler, TargetErrorKind::Unavailable).await;
        assert!(refused.message.contains("cannot be reached"), "{refused}");
        world.pass(1);
        assert_left_alone(&world.issue().await.unwrap_err());
        world.pass(1);
        let gate = meddler.hold(Step::Create, Moment::Before);
        let issuer = Arc::clone(&world.issuer);
        let probe = tokio::spawn(async move {
            issuer.issue(&caller("app", &["readers"]), request("shop-read")).await.map(|issued| issued.lease)
        });
        gate.reached().await;
        assert_eq!(health(&world).circuit, CircuitState::HalfOpen);
        for refused in join_all((0..5).map(|_| world.issue())).await {
            assert_left_alone(&refused.unwrap_err());
        }
        gate.open();
        probe.await.unwrap().unwrap();
        assert_eq!(health(&world), Health::default());
        world.issue().await.unwrap();
    }
}

#[tokio::test]
async fn what_is_no_fault_of_the_whole_target_opens_nothing() {
    let Some(database) = databases().await.into_iter().next() else { return };
    let (world, meddler) = meddled(&database).await;
    for kind in [TargetErrorKind::Busy, TargetErrorKind::Refused, TargetErrorKind::Overran] {
        for _ in 0..4 {
            fail(&world, &meddler, kind).await;
        }
        assert_eq!(health(&world), Health::default(), "{kind:?}");
    }
    world.issue().await.unwrap();
    // Failures that are not in a row.
    for _ in 0..3 {
        fail(&world, &meddler, TargetErrorKind::Unavailable).await;
        fail(&world, &meddler, TargetErrorKind::TimedOut).await;
        world.issue().await.unwrap();
    }
    assert_eq!(health(&world), Health::default());
}

#[tokio::test]
async fn one_host_of_several_that_is_down_opens_nothing() {
    for database in databases().await {
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut settings = database.settings("shop");
        settings.hosts.insert(0, ("127.0.0.1".to_owned(), closed));
        // Every issue connects anew, so every one of them meets the host that is down.
        settings.pool.issuing = 1;
        let target = World::target(settings, Arc::new(SystemClock));
        let world = World::with(vec![target], vec![database.reading_role("shop-read", "shop")]).await;
        for _ in 0..5 {
            world.issue().await.unwrap();
        }
        assert_eq!(health(&world), Health::default(), "{}", database.engine);
    }
}

#[tokio::test]
async fn an_administration_account_that_is_not_let_in_opens_it() {
    for database in databases().await {
        let mut settings = database.settings("shop");
        settings.password = Some(Password::new("wrong".to_owned()));
        let target = World::target(settings, Arc::new(SystemClock));
        let world = World::with(vec![target], vec![database.reading_role("shop-read", "shop")]).await;
        for _ in 0..3 {
            let refused = world.issue().await.unwrap_err();
            let words = "the target shop does not accept Mayfly's administration account";
            assert!(refused.message.contains(words), "{refused}");
        }
        assert_left_alone(&world.issue().await.unwrap_err());
    }
}

#[tokio::test]
async fn failed_attempts_at_ending_open_it_too() {
    for database in databases().await {
        let (world, meddler) = meddled(&database).await;
        let held = world.issue().await.unwrap().lease.id;
        for attempt in 1..=3 {
            meddler.fail(Step::Disable, Moment::Before, TargetErrorKind::Unavailable);
            if attempt == 1 {
                world.pass(300);
            } else {
                let (_, _, next) = ending(&world.lease(held).await);
                super::pass_to(&world, next);
            }
            tried(&world, held, attempt).await;
        }
        crate::support::eventually("open", async || {
            (health(&world).circuit == CircuitState::Open).then_some(())
        })
        .await;
        assert!(health(&world).next_attempt_at.is_some());
        world.reaches(held, StateName::Expired).await;
        crate::support::eventually("closed", async || (health(&world) == Health::default()).then_some(()))
            .await;
        assert_clean(&world, &database, database.server.unwrap()).await;
    }
}

async fn gone_and_back(engine: Engine) {
    let Some(mut server) = own_server(engine, |_| {}).await else { return };
    let sample =
        Sample::install(&server, SampleNames::default(), &mayfly::random::SystemRandom).await.unwrap();
    let database = Database::on(&server, sample);
    let world = World::reading(&database).await;
    // Several connections lie in the pool when the server goes.
    let issued = join_all((0..5).map(|_| world.issue())).await;
    let issued: Vec<_> = issued.into_iter().map(|issued| issued.unwrap().lease.id).collect();
    server.crash().await.unwrap();
    let mut refusals = Vec::new();
    for _ in 0..4 {
        refusals.push(world.issue().await.unwrap_err());
    }
    assert_left_alone(&refusals.pop().unwrap());
    server.start_again().await.unwrap();
    assert_left_alone(&world.issue().await.unwrap_err());
    world.pass(1);
    let again = world.issue().await.unwrap().lease.id;
    assert_eq!(health(&world), Health::default());
    world.pass(300);
    for id in issued.into_iter().chain([again]) {
        world.reaches(id, StateName::Expired).await;
    }
    for lease in world.leases().await {
        world.ended(lease.id).await;
    }
    assert_clean(&world, &database, &server).await;
    world.stop().await;
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_postgres_server_that_crashed_is_used_again_once_a_probe_finds_it() {
    gone_and_back(Engine::Postgres).await;
}

#[tokio::test]
async fn a_mariadb_server_that_crashed_is_used_again_once_a_probe_finds_it() {
    gone_and_back(Engine::Mariadb).await;
}

#[tokio::test]
async fn a_mysql_server_that_crashed_is_used_again_once_a_probe_finds_it() {
    gone_and_back(Engine::Mysql).await;
}
