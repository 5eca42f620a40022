//! What a failure, a crash, a race or a set clock interrupts is made good: nothing is left, nothing is delivered twice.

mod clocks;
mod owned;
mod races;
mod random;
mod together;

use std::sync::Arc;

use jiff::SignedDuration;
use mayfly::{
    clock::{Clock, ManualClock, SystemClock},
    domain::{Engine, Lease, LeaseId, LeaseState, Role, StateName},
    issuer::{Issued, Refusal},
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
    world::{Database, World, caller, databases, request, ttl},
};

/// A world whose target can be meddled with, and whose accounts can own something.
async fn meddled(database: &Database) -> (World, Arc<Meddler>) {
    allow_settling(database).await;
    let meddler = Meddler::new(World::target(database.settings("shop"), Arc::new(SystemClock)));
    let target = Arc::clone(&meddler) as Arc<dyn Target>;
    (World::with(vec![target], vec![writing_role(database)]).await, meddler)
}

fn writing_role(database: &Database) -> Role {
    let member_of = vec![database.sample.names.write.clone()];
    Role { member_of, ..database.reading_role("shop-read", "shop") }
}

/// What the target's administrator has to grant where accounts may create routines.
async fn allow_settling(database: &Database) {
    if database.engine != Engine::Postgres {
        let (names, user) = (&database.sample.names, &database.sample.administrator.user);
        let grant = format!("GRANT ALTER ROUTINE ON {}.* TO {user}@'%'", names.database);
        database.ask_superuser(database.server.unwrap(), &grant).await;
    }
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
        let lease = world.lease(id).await;
        if let LeaseState::Ending { next_attempt_at, last_error, .. } = &lease.state {
            let denied = last_error.as_ref().is_some_and(|error| error.contains("an administrator"));
            assert!(!denied, "{last_error:?}");
            let wait = next_attempt_at.duration_since(world.clock.now());
            world.clock.advance(wait.max(SignedDuration::ZERO));
        }
        (lease.state.name() == state).then_some(())
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
                // Each failure by itself: several in a row would open the circuit.
                world.health.well(&issued.lease.target);
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
        allow_settling(&database).await;
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

fn second_reaper(world: &World, clock: Arc<dyn Clock>) -> Reaper {
    Reaper::new(ReaperParts {
        turns: Arc::default(),
        clock,
        random: Arc::new(SystemRandom),
        store: Arc::clone(&world.store) as Arc<dyn Store>,
        catalogue: Arc::clone(&world.catalogue),
        health: Arc::new(HealthBoard::default()),
        metrics: Arc::default(),
    })
}
