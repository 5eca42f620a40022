//! What a failure, a crash, a race or a set clock interrupts is made good: nothing is left, nothing is delivered twice.

mod owned;
mod random;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use mayfly::{
    clock::{Clock, ManualClock, SystemClock},
    domain::{EndCause, Engine, Lease, LeaseId, LeaseState, Role, StateName},
    issuer::{Issued, Refusal, RefusalKind},
    random::SystemRandom,
    reaper::{Reaper, ReaperParts},
    store::{
        Store,
        sqlite::{SqliteOptions, SqliteStore},
    },
    target::{HealthBoard, Target, TargetErrorKind},
};
use tokio::{runtime::Runtime, task::JoinHandle};

use crate::support::{
    eventually,
    meddler::{Meddler, Moment, Step},
    slate::assert_clean,
    world::{Database, World, caller, databases, expiry, request, ttl},
};

/// A world whose target can be meddled with, and whose accounts can own something.
async fn meddled(database: &Database) -> (World, Arc<Meddler>) {
    let meddler = Meddler::new(World::target(database.settings("shop"), Arc::new(SystemClock)));
    let target = Arc::clone(&meddler) as Arc<dyn Target>;
    (World::with(vec![target], vec![writing_role(database)]).await, meddler)
}

fn writing_role(database: &Database) -> Role {
    let member_of = vec![database.sample.names.write.clone()];
    Role { member_of, ..database.reading_role("shop-read", "shop") }
}

/// Opens a session that owns something, so that every step of ending has something to do.
async fn busy_session(database: &Database, issued: &Issued) -> crate::support::world::Login {
    let account = issued.lease.account.name.as_str();
    let mut session = database.login(account, &issued.password).await.unwrap();
    let create = match database.engine {
        Engine::Postgres => format!("CREATE TABLE drafts.{account} (id int)"),
        _ => format!("CREATE PROCEDURE {account}() SELECT 1"),
    };
    session.ask(&create).await.unwrap();
    session
}

/// Lets time pass until a lease has reached a state, however many attempts that takes.
async fn in_time(world: &World, id: LeaseId, state: StateName) {
    eventually(&format!("{id} is {}", state.as_str()), async || {
        world.pass(75);
        (world.lease(id).await.state.name() == state).then_some(())
    })
    .await;
}

/// Issues in the background.
fn asking(world: &World) -> JoinHandle<Result<Issued, Refusal>> {
    let issuer = Arc::clone(&world.issuer);
    tokio::spawn(async move { issuer.issue(&caller("app", &["readers"]), request("shop-read")).await })
}

/// The one live lease.
async fn the_live_one(world: &World) -> Lease {
    world.leases().await.into_iter().find(|lease| lease.state.name().is_live()).unwrap()
}

const KINDS: [TargetErrorKind; 4] = [
    TargetErrorKind::Unavailable,
    TargetErrorKind::TimedOut,
    TargetErrorKind::Busy,
    TargetErrorKind::Refused,
];

// ---- every step fails ------------------------------------------------------------------------------------------

#[tokio::test]
async fn wherever_issuing_fails_nothing_is_left() {
    for database in databases().await {
        let (world, meddler) = meddled(&database).await;
        for kind in KINDS {
            for moment in [Moment::Before, Moment::After] {
                meddler.fail(Step::Create, moment, kind);
                world.issue().await.unwrap_err();
                let failed = world.leases().await;
                for lease in failed {
                    in_time(&world, lease.id, StateName::Failed).await;
                }
                assert_clean(&world, &database, database.server.unwrap()).await;
            }
        }
    }
}

#[tokio::test]
async fn wherever_renewing_fails_the_lease_keeps_its_expiry() {
    for database in databases().await {
        let (world, meddler) = meddled(&database).await;
        let app = caller("app", &["readers"]);
        let issued = world.issue().await.unwrap();
        world.pass(100);
        for kind in KINDS {
            for moment in [Moment::Before, Moment::After] {
                meddler.fail(Step::Renew, moment, kind);
                world.issuer.renew(&app, issued.lease.id, None).await.unwrap_err();
                assert_eq!(world.lease(issued.lease.id).await, issued.lease);
            }
        }
        world.issuer.renew(&app, issued.lease.id, None).await.unwrap();
        world.pass(299);
        database.login(issued.lease.account.name.as_str(), &issued.password).await.unwrap();
        world.pass(1);
        world.reaches(issued.lease.id, StateName::Expired).await;
        assert_clean(&world, &database, database.server.unwrap()).await;
    }
}

#[tokio::test]
async fn wherever_ending_fails_it_is_done_again_until_nothing_is_left() {
    for database in databases().await {
        let (world, meddler) = meddled(&database).await;
        for step in Step::ENDING {
            for kind in KINDS {
                for moment in [Moment::Before, Moment::After] {
                    let issued = world.issue().await.unwrap();
                    let mut session = busy_session(&database, &issued).await;
                    meddler.fail(step, moment, kind);
                    world.issuer.release(&caller("app", &["readers"]), issued.lease.id).await.unwrap();
                    let what = format!("{} {step:?} {moment:?} {kind:?}", database.engine);
                    eventually(&what, async || (meddler.planned() == 0).then_some(())).await;
                    in_time(&world, issued.lease.id, StateName::Released).await;
                    session.ask("SELECT 1").await.unwrap_err();
                    let LeaseState::Ended { report, .. } = world.lease(issued.lease.id).await.state else {
                        panic!("{what}")
                    };
                    // What an attempt did and could not tell is not counted twice, and may not be counted at all.
                    assert!(report.sessions_ended <= 1, "{what}: {report:?}");
                }
            }
        }
        assert_clean(&world, &database, database.server.unwrap()).await;
    }
}

#[tokio::test]
async fn every_step_done_twice_has_the_effect_of_once() {
    for database in databases().await {
        let (world, meddler) = meddled(&database).await;
        meddler.repeat_everything();
        let app = caller("app", &["readers"]);
        let mut keyed = request("shop-read");
        keyed.idempotency_key = Some("k".into());
        world.issuer.issue(&app, keyed.clone()).await.unwrap();
        let issued = world.issuer.issue(&app, keyed).await.unwrap();
        let mut session = busy_session(&database, &issued).await;
        world.pass(100);
        world.issuer.renew(&app, issued.lease.id, None).await.unwrap();
        world.pass(300);
        world.reaches(issued.lease.id, StateName::Expired).await;
        session.ask("SELECT 1").await.unwrap_err();
        let steps = meddler.calls(issued.lease.id);
        for step in [Step::ReplaceSecret, Step::Renew].into_iter().chain(Step::ENDING) {
            assert!(steps.contains(&step), "{}: {step:?} in {steps:?}", database.engine);
        }
        assert_clean(&world, &database, database.server.unwrap()).await;
    }
}

// ---- crashes ---------------------------------------------------------------------------------------------------

/// A Mayfly that can be killed: everything it runs is in a runtime of its own.
struct Mortal {
    runtime: Runtime,
    world: Arc<World>,
}

impl Mortal {
    async fn born(target: Arc<dyn Target>, role: Role) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let world = runtime.spawn(World::with(vec![target], vec![role])).await.unwrap();
        Self { runtime, world: Arc::new(world) }
    }

    fn ask(&self, seconds: u64) -> JoinHandle<Result<Issued, Refusal>> {
        let issuer = Arc::clone(&self.world.issuer);
        let mut asked = request("shop-read");
        asked.ttl = Some(ttl(seconds));
        self.runtime.spawn(async move { issuer.issue(&caller("app", &["readers"]), asked).await })
    }

    /// Dies in the middle of everything; returns what the next one begins with.
    async fn dies(self) -> (Arc<tempfile::TempDir>, Arc<ManualClock>) {
        let (directory, clock) = (Arc::clone(&self.world.directory), Arc::clone(&self.world.clock));
        self.runtime.shutdown_background();
        drop(self.world);
        let path = directory.path().join("mayfly.db");
        let store = eventually("the store is let go", async || {
            SqliteStore::open(&path, SqliteOptions::default()).ok()
        })
        .await;
        store.close().await;
        (directory, clock)
    }
}

#[tokio::test]
async fn whatever_a_crash_interrupts_is_finished_after_the_next_start() {
    for database in databases().await {
        let server = database.server.unwrap();
        let meddler = Meddler::new(World::target(database.settings("shop"), Arc::new(SystemClock)));
        let mortal = Mortal::born(Arc::clone(&meddler) as Arc<dyn Target>, writing_role(&database)).await;
        let kept = mortal.ask(3000).await.unwrap().unwrap();
        let expiring = mortal.ask(60).await.unwrap().unwrap().lease.id;
        let released = mortal.ask(3000).await.unwrap().unwrap();
        let mut session = busy_session(&database, &released).await;
        let unborn = meddler.hold(Step::Create, Moment::Before);
        mortal.ask(3000);
        unborn.reached().await;
        let born = meddler.hold(Step::Create, Moment::After);
        mortal.ask(3000);
        born.reached().await;
        let half = meddler.hold(Step::Disable, Moment::After);
        mortal.world.issuer.release(&caller("app", &["readers"]), released.lease.id).await.unwrap();
        half.reached().await;
        session.ask("SELECT 1").await.unwrap();
        let (directory, clock) = mortal.dies().await;

        clock.advance(SignedDuration::from_secs(61));
        let target = World::target(database.settings("shop"), Arc::new(SystemClock));
        // Not even the role needs to be there any more.
        let world = World::at(directory, clock, vec![target], Vec::new()).await;
        world.reaches(expiring, StateName::Expired).await;
        world.reaches(released.lease.id, StateName::Released).await;
        session.ask("SELECT 1").await.unwrap_err();
        let interrupted: Vec<_> = world
            .leases()
            .await
            .into_iter()
            .filter(|lease| {
                !matches!(lease.state, LeaseState::Active { .. })
                    && ![expiring, released.lease.id].contains(&lease.id)
            })
            .collect();
        assert_eq!(interrupted.len(), 2);
        for lease in interrupted {
            world.reaches(lease.id, StateName::Failed).await;
        }
        // What was well and is not due goes on as if nothing had happened.
        assert_eq!(world.lease(kept.lease.id).await.state, kept.lease.state);
        database.login(kept.lease.account.name.as_str(), &kept.password).await.unwrap();
        world.pass(3000);
        world.reaches(kept.lease.id, StateName::Expired).await;
        assert_clean(&world, &database, server).await;
    }
}

// ---- races -----------------------------------------------------------------------------------------------------

#[tokio::test]
async fn a_renewal_that_is_overtaken_by_the_expiry_renews_nothing() {
    for database in databases().await {
        let (world, meddler) = meddled(&database).await;
        for moment in [Moment::Before, Moment::After] {
            let id = world.issue().await.unwrap().lease.id;
            world.pass(100);
            let gate = meddler.hold(Step::Renew, moment);
            let issuer = Arc::clone(&world.issuer);
            let renewing =
                tokio::spawn(async move { issuer.renew(&caller("app", &["readers"]), id, None).await });
            gate.reached().await;
            world.pass(200);
            world.reaches(id, StateName::Expired).await;
            gate.open();
            let refused = renewing.await.unwrap().unwrap_err();
            assert_eq!(refused.kind, RefusalKind::Ended, "{} {moment:?}", database.engine);
        }
        assert_clean(&world, &database, database.server.unwrap()).await;
    }
}

#[tokio::test]
async fn a_lease_is_renewed_by_one_caller_at_a_time() {
    for database in databases().await {
        let (world, meddler) = meddled(&database).await;
        let app = caller("app", &["readers"]);
        let id = world.issue().await.unwrap().lease.id;
        world.pass(100);
        let gate = meddler.hold(Step::Renew, Moment::Before);
        let issuer = Arc::clone(&world.issuer);
        let first = tokio::spawn({
            let app = app.clone();
            async move { issuer.renew(&app, id, Some(ttl(900))).await }
        });
        gate.reached().await;
        let second = world.issuer.renew(&app, id, None).await.unwrap_err();
        assert_eq!(second.kind, RefusalKind::InProgress);
        assert!(second.retry_after.is_some());
        gate.open();
        let renewed = first.await.unwrap().unwrap();
        assert_eq!(world.issuer.renew(&app, id, None).await.unwrap(), renewed, "the later expiry stands");
        // Giving up in the middle of a renewal takes nobody else's turn.
        let gate = meddler.hold(Step::Renew, Moment::Before);
        let issuer = Arc::clone(&world.issuer);
        let given_up = tokio::spawn({
            let app = app.clone();
            async move { issuer.renew(&app, id, Some(ttl(1000))).await }
        });
        gate.reached().await;
        given_up.abort();
        given_up.await.unwrap_err();
        world.issuer.renew(&app, id, Some(ttl(1100))).await.unwrap();
        world.pass(1100);
        world.reaches(id, StateName::Expired).await;
        assert_clean(&world, &database, database.server.unwrap()).await;
    }
}

#[tokio::test]
async fn the_first_reason_to_end_stands() {
    for database in databases().await {
        let (world, meddler) = meddled(&database).await;
        let (app, admin) = (caller("app", &["readers"]), caller("root", &["administrators"]));
        let id = world.issue().await.unwrap().lease.id;
        let gate = meddler.hold(Step::Disable, Moment::Before);
        world.pass(300);
        gate.reached().await;
        let released = world.issuer.release(&app, id).await.unwrap();
        assert!(matches!(released.state, LeaseState::Ending { cause: EndCause::Expired, .. }));
        gate.open();
        world.reaches(id, StateName::Expired).await;

        let id = world.issue().await.unwrap().lease.id;
        let (one, two) = tokio::join!(
            world.issuer.revoke(&admin, id, "one".into()),
            world.issuer.revoke(&admin, id, "two".into())
        );
        assert_eq!(one.unwrap().id, two.unwrap().id);
        world.reaches(id, StateName::Revoked).await;
        let of_this = |action: &str| {
            let (action, resource) = (action.to_owned(), format!("leases/{id}"));
            move |record: &&mayfly::audit::Record| record.action == action && record.resource == resource
        };
        let records = world.audit().await;
        assert_eq!(records.iter().filter(of_this("lease.ending")).count(), 1);
        assert_eq!(records.iter().filter(of_this("lease.revoked")).count(), 1);
        assert_clean(&world, &database, database.server.unwrap()).await;
    }
}

#[tokio::test]
async fn a_lease_revoked_while_it_is_provisioned_is_never_delivered() {
    for database in databases().await {
        for moment in [Moment::Before, Moment::After] {
            let (world, meddler) = meddled(&database).await;
            let admin = caller("root", &["administrators"]);
            let gate = meddler.hold(Step::Create, moment);
            let asking = asking(&world);
            gate.reached().await;
            let id = the_live_one(&world).await.id;
            world.issuer.revoke(&admin, id, "no".into()).await.unwrap();
            gate.open();
            let refused = asking.await.unwrap().unwrap_err();
            assert_eq!(refused.kind, RefusalKind::Ended, "{}", database.engine);
            in_time(&world, id, StateName::Revoked).await;
            assert_clean(&world, &database, database.server.unwrap()).await;
        }
    }
}

#[tokio::test]
async fn an_account_that_comes_to_exist_after_its_deadline_is_neither_delivered_nor_left() {
    for database in databases().await {
        for moment in [Moment::Before, Moment::After] {
            let (world, meddler) = meddled(&database).await;
            let gate = meddler.hold(Step::Create, moment);
            let asking = asking(&world);
            gate.reached().await;
            let id = the_live_one(&world).await.id;
            // The reaper sleeps without anything due to it yet: it must be told of what a lost creation leaves, too.
            world.pass(100);
            gate.open();
            let refused = asking.await.unwrap().unwrap_err();
            assert_eq!(refused.kind, RefusalKind::TargetUnavailable, "{}", database.engine);
            world.reaches(id, StateName::Failed).await;
            assert_clean(&world, &database, database.server.unwrap()).await;

            // The same, when the reaper has seen to the lease before the creation comes through.
            let gate = meddler.hold(Step::Create, moment);
            let asking = self::asking(&world);
            gate.reached().await;
            let id = the_live_one(&world).await.id;
            world.reaper.stop().await;
            let (directory, clock) = (Arc::clone(&world.directory), Arc::clone(&world.clock));
            let again = second_reaper(&world, Arc::clone(&clock) as Arc<dyn Clock>);
            again.open_lanes().await.unwrap();
            world.pass(100);
            world.reaches(id, StateName::Failed).await;
            gate.open();
            asking.await.unwrap().unwrap_err();
            assert_clean(&world, &database, database.server.unwrap()).await;
            again.stop().await;
            drop(directory);
        }
    }
}

fn second_reaper(world: &World, clock: Arc<dyn Clock>) -> Reaper {
    Reaper::new(ReaperParts {
        clock,
        random: Arc::new(SystemRandom),
        store: Arc::clone(&world.store) as Arc<dyn Store>,
        catalogue: Arc::clone(&world.catalogue),
        health: Arc::new(HealthBoard::default()),
    })
}

// ---- clocks ----------------------------------------------------------------------------------------------------

#[tokio::test]
async fn a_clock_set_forward_ends_everything_and_one_set_back_ends_nothing_early() {
    for database in databases().await {
        let (world, _) = meddled(&database).await;
        let issued = world.issue().await.unwrap();
        world.pass(-86_400);
        assert_eq!(world.lease(issued.lease.id).await, issued.lease);
        database.login(issued.lease.account.name.as_str(), &issued.password).await.unwrap();
        let earlier = world.issue().await.unwrap();
        world.pass(300);
        world.reaches(earlier.lease.id, StateName::Expired).await;
        assert_eq!(world.lease(issued.lease.id).await.state, issued.lease.state);
        world.pass(86_400);
        world.reaches(issued.lease.id, StateName::Expired).await;
        let (one, two) = (world.issue().await.unwrap().lease.id, world.issue().await.unwrap().lease.id);
        world.pass(10 * 366 * 86_400);
        world.reaches(one, StateName::Expired).await;
        world.reaches(two, StateName::Expired).await;
        assert_clean(&world, &database, database.server.unwrap()).await;
    }
}

/// Counts how often somebody begins to wait.
struct CountingClock {
    clock: Arc<ManualClock>,
    waits: AtomicUsize,
}

#[async_trait]
impl Clock for CountingClock {
    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    async fn sleep_until(&self, deadline: Timestamp) {
        self.waits.fetch_add(1, Ordering::SeqCst);
        self.clock.sleep_until(deadline).await;
    }
}

#[tokio::test]
async fn the_reaper_wakes_for_an_earlier_deadline_and_for_nothing_else() {
    for database in databases().await {
        let (world, _) = meddled(&database).await;
        let long = world.issue().await.unwrap();
        world.reaper.stop().await;
        let clock = Arc::new(CountingClock { clock: Arc::clone(&world.clock), waits: AtomicUsize::new(0) });
        let reaper = Arc::new(second_reaper(&world, Arc::clone(&clock) as Arc<dyn Clock>));
        reaper.open_lanes().await.unwrap();
        let waits = || clock.waits.load(Ordering::SeqCst);
        eventually("asleep", async || (waits() == 1).then_some(())).await;
        for _ in 0..200 {
            world.pass(1);
            tokio::task::yield_now().await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(waits(), 1, "nothing is due, so nobody wakes");
        // A later deadline is no reason to wake, an earlier one is.
        use mayfly::issuer::DueNotice as _;
        reaper.due(&long.lease.target, expiry(&long.lease) + SignedDuration::from_secs(1));
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(waits(), 1);
        reaper.due(&long.lease.target, world.clock.now());
        eventually("woken, and asleep again", async || (waits() == 2).then_some(())).await;
        world.pass(100);
        world.reaches(long.lease.id, StateName::Expired).await;
        reaper.stop().await;
        assert_clean(&world, &database, database.server.unwrap()).await;
    }
}

#[tokio::test]
async fn a_later_lease_that_expires_earlier_ends_on_time() {
    for database in databases().await {
        let (world, _) = meddled(&database).await;
        let long = world.issue().await.unwrap().lease.id;
        let mut asked = request("shop-read");
        asked.ttl = Some(ttl(20));
        let short = world.issuer.issue(&caller("app", &["readers"]), asked).await.unwrap().lease.id;
        world.pass(20);
        world.reaches(short, StateName::Expired).await;
        assert_eq!(world.lease(long).await.state.name(), StateName::Active);
        world.pass(280);
        world.reaches(long, StateName::Expired).await;
        assert_clean(&world, &database, database.server.unwrap()).await;
    }
}
