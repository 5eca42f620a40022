//! Targets that are down, hang, or lose the connection at the worst moment; and a store that cannot write.

mod circuits;
mod connections;
mod failover;
mod many;

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use jiff::Timestamp;
use mayfly::{
    clock::{Clock, ManualClock, SystemClock},
    domain::{Engine, Lease, LeaseId, LeaseLimits, LeaseState, Role, StateName},
    issuer::{IssueRequest, RefusalKind},
    sandbox::{Sample, SampleNames},
    store::LeaseStore as _,
    target::{PoolSettings, Target, TargetErrorKind},
};

use crate::support::{
    eventually,
    meddler::{Meddler, Moment, Step},
    own_server,
    proxy::{Proxy, Trap},
    sabotage::Sabotage,
    slate::{assert_books, assert_clean, sessions},
    world::{Database, World, caller, databases, expiry, request},
};

/// Bounds that fit a test: a server that does not answer is noticed within a second or two.
fn impatient() -> PoolSettings {
    PoolSettings {
        connect: Duration::from_secs(2),
        statement: Duration::from_secs(1),
        turn: Duration::from_secs(60),
        ..PoolSettings::default()
    }
}

/// A world whose target `shop` is reached through a wire.
async fn wired(database: &Database, pool: PoolSettings) -> (World, Proxy, Arc<Meddler>) {
    let proxy = Proxy::to(database.port).await;
    let mut settings = database.settings("shop");
    settings.hosts = vec![("127.0.0.1".to_owned(), proxy.port())];
    settings.pool = pool;
    let meddler = Meddler::new(World::target(settings, Arc::new(SystemClock)));
    let target = Arc::clone(&meddler) as Arc<dyn Target>;
    let world = World::with(vec![target], vec![writing_role(database)]).await;
    (world, proxy, meddler)
}

/// `shop-read`, with rights to create objects where the engine's sample has such.
fn writing_role(database: &Database) -> Role {
    let member_of = vec![database.sample.names.write.clone()];
    Role { member_of, ..database.reading_role("shop-read", "shop") }
}

/// How an ending lease stands: attempts, last error, next attempt.
fn ending(lease: &Lease) -> (u32, Option<String>, Timestamp) {
    match &lease.state {
        LeaseState::Ending { attempts, last_error, next_attempt_at, .. } => {
            (*attempts, last_error.clone(), *next_attempt_at)
        }
        state => panic!("not ending: {state:?}"),
    }
}

async fn tried(world: &World, id: LeaseId, attempts: u32) -> Lease {
    eventually(&format!("attempt {attempts} on {id}"), async || {
        let lease = world.lease(id).await;
        matches!(lease.state, LeaseState::Ending { attempts: made, .. } if made >= attempts).then_some(lease)
    })
    .await
}

/// Moves the clock to a moment.
fn pass_to(world: &World, moment: Timestamp) {
    world.clock.advance(moment.duration_since(world.clock.now()));
}

// ---- a server that is down -------------------------------------------------------------------------------------

async fn on_own_server(engine: Engine, leases: usize) {
    let Some(mut server) = own_server(engine, |_| {}).await else { return };
    let sample =
        Sample::install(&server, SampleNames::default(), &mayfly::random::SystemRandom).await.unwrap();
    let database = Database::on(&server, sample);
    // The target goes by the test's clock, too: what it kept from before an outage is as old as the outage is long.
    let clock = Arc::new(ManualClock::new(SystemClock.now()));
    let target = World::target(database.settings("shop"), Arc::clone(&clock) as Arc<dyn Clock>);
    let mut role = database.reading_role("shop-read", "shop");
    role.limits = LeaseLimits { per_principal: 1000, total: 1000 };
    role.scram_iterations = 64;
    let directory = Arc::new(tempfile::tempdir().unwrap());
    let world = World::at(directory, clock, vec![target], vec![role]).await;

    server.halt().await.unwrap();
    down_at_issue(&world).await;
    server.start_again().await.unwrap();
    // The same request again, as a caller does that was told to: nothing was delivered under its key.
    let again = world.issuer.issue(&caller("app", &["readers"]), keyed()).await.unwrap().lease.id;
    let issued = join_all((0..leases).map(|_| world.issue())).await;
    let mut issued: Vec<LeaseId> = issued.into_iter().map(|issued| issued.unwrap().lease.id).collect();
    issued.push(again);

    server.halt().await.unwrap();
    down_at_expiry(&world, &issued).await;
    server.start_again().await.unwrap();
    for id in issued {
        world.reaches(id, StateName::Expired).await;
    }
    // Issuing needs no clock to pass once the server is back.
    let last = world.issue().await.unwrap().lease.id;
    world.issuer.release(&caller("app", &["readers"]), last).await.unwrap();
    world.reaches(last, StateName::Released).await;
    assert_clean(&world, &database, &server).await;
    world.stop().await;
    server.stop().await.unwrap();
}

/// With an idempotency key.
fn keyed() -> IssueRequest {
    IssueRequest { idempotency_key: Some("k".into()), ..request("shop-read") }
}

async fn down_at_issue(world: &World) {
    let app = caller("app", &["readers"]);
    let asking = world.issuer.issue(&app, keyed());
    let refused = tokio::time::timeout(Duration::from_secs(15), asking).await.unwrap().unwrap_err();
    assert_eq!(refused.kind, RefusalKind::TargetUnavailable);
    assert!(refused.retry_after.is_some());
    let lease = world.leases().await.remove(0);
    assert_eq!(lease.state.name(), StateName::Failed, "nothing was sent, so nothing is waited for");
    let live = world.store.live_under_role(&lease.role, &lease.principal.name).await.unwrap();
    assert_eq!(live, (0, 0));
}

/// All show the error and a next attempt; attempts go on, further and further apart, at most 75 seconds.
async fn down_at_expiry(world: &World, issued: &[LeaseId]) {
    world.pass(300);
    let mut waits = Vec::new();
    for round in 1..=8 {
        let before = world.clock.now();
        let mut latest = before;
        for id in issued {
            let (_, error, next) = ending(&tried(world, *id, round).await);
            assert!(error.is_some());
            latest = latest.max(next);
        }
        waits.push(latest.duration_since(before).as_secs());
        pass_to(world, latest);
    }
    assert!(waits.iter().all(|wait| *wait <= 75), "{waits:?}");
    assert!(waits.last().unwrap() > &40 && waits.first().unwrap() < &3, "{waits:?}");
}

#[tokio::test]
async fn a_postgres_server_that_is_down_delays_what_is_due_and_loses_nothing() {
    on_own_server(Engine::Postgres, 150).await;
}

#[tokio::test]
async fn a_mariadb_server_that_is_down_delays_what_is_due_and_loses_nothing() {
    on_own_server(Engine::Mariadb, 70).await;
}

#[tokio::test]
async fn a_mysql_server_that_is_down_delays_what_is_due_and_loses_nothing() {
    on_own_server(Engine::Mysql, 70).await;
}

// ---- a server that hangs ---------------------------------------------------------------------------------------

#[tokio::test]
async fn a_hanging_target_delays_nobody_elses_leases_and_ends_its_own_later() {
    for database in databases().await {
        let proxy = Proxy::to(database.port).await;
        let mut slow = database.settings("slow");
        slow.hosts = vec![("127.0.0.1".to_owned(), proxy.port())];
        // Longer than the whole test may take: whoever waited for the hanging target would fail it.
        slow.pool.connect = Duration::from_secs(600);
        slow.pool.statement = Duration::from_secs(600);
        let targets = vec![
            World::target(database.settings("shop"), Arc::new(SystemClock)),
            World::target(slow, Arc::new(SystemClock)),
        ];
        let roles =
            vec![database.reading_role("shop-read", "shop"), database.reading_role("slow-read", "slow")];
        let world = World::with(targets, roles).await;
        let app = caller("app", &["readers"]);
        let stuck = world.issuer.issue(&app, request("slow-read")).await.unwrap();
        let mut session = database.login(stuck.lease.account.name.as_str(), &stuck.password).await.unwrap();
        let well = world.issue().await.unwrap().lease.id;

        proxy.pause();
        world.pass(300);
        let issuer = Arc::clone(&world.issuer);
        let waiting = tokio::spawn({
            let app = app.clone();
            async move { issuer.issue(&app, request("slow-read")).await }
        });
        world.reaches(well, StateName::Expired).await;
        let another = world.issue().await.unwrap().lease.id;
        world.issuer.release(&app, another).await.unwrap();
        world.reaches(another, StateName::Released).await;
        assert!(!waiting.is_finished());
        assert_eq!(world.lease(stuck.lease.id).await.state.name(), StateName::Ending);
        session.ask("SELECT id FROM orders").await.unwrap();

        proxy.resume();
        world.reaches(stuck.lease.id, StateName::Expired).await;
        session.ask("SELECT id FROM orders").await.unwrap_err();
        let late = waiting.await.unwrap().unwrap().lease.id;
        world.issuer.release(&app, late).await.unwrap();
        world.reaches(late, StateName::Released).await;
        assert_clean(&world, &database, database.server.unwrap()).await;
    }
}

#[tokio::test]
async fn a_target_that_accepts_and_never_answers_refuses_within_its_bounds() {
    for database in databases().await {
        let (world, proxy, _) = wired(&database, impatient()).await;
        proxy.pause();
        let refused =
            tokio::time::timeout(Duration::from_secs(20), world.issue()).await.unwrap().unwrap_err();
        assert_eq!(refused.kind, RefusalKind::TargetUnavailable, "{}", database.engine);
        assert_eq!(world.leases().await.remove(0).state.name(), StateName::Failed);
        proxy.resume();
        let issued = world.issue().await.unwrap().lease.id;
        world.pass(300);
        world.reaches(issued, StateName::Expired).await;
        assert_clean(&world, &database, database.server.unwrap()).await;
    }
}

#[tokio::test]
async fn a_creation_whose_answer_never_comes_is_not_delivered_and_leaves_nothing() {
    for database in databases().await {
        let (world, proxy, meddler) = wired(&database, impatient()).await;
        let server = database.server.unwrap();
        proxy.set(
            Trap::Swallow,
            if database.engine == Engine::Postgres { "CREATE ROLE" } else { "CREATE USER" },
        );
        let refused = world.issue().await.unwrap_err();
        assert_eq!(refused.kind, RefusalKind::TargetUnavailable, "{}", database.engine);
        let lease = world.leases().await.remove(0);
        let (attempts, _, next) = ending(&lease);
        let longest = impatient().longest_creation();
        assert!(next >= lease.created_at + longest, "nothing is tried while the server may still be at it");
        let account = lease.account.name.as_str();
        eventually("the account came to exist", async || {
            database.has_account(server, account).await.then_some(())
        })
        .await;
        proxy.resume();
        pass_to(&world, next - jiff::SignedDuration::from_secs(1));
        world.issue().await.unwrap();
        assert_eq!((attempts, meddler.calls(lease.id)), (0, vec![Step::Create]));
        world.pass(1);
        world.reaches(lease.id, StateName::Failed).await;
        assert!(!database.has_account(server, account).await);
        world.pass(300);
        world.reaches(world.leases().await.remove(0).id, StateName::Expired).await;
        assert_clean(&world, &database, server).await;
    }
}

// ---- connections that are cut ----------------------------------------------------------------------------------

/// Words of the statement that each step of ending sends, by engine.
fn statements(engine: Engine) -> &'static [&'static str] {
    match engine {
        Engine::Postgres => &["NOLOGIN PASSWORD NULL", "pg_terminate_backend", "DROP OWNED", "DROP ROLE"],
        _ => &["ACCOUNT LOCK", "KILL CONNECTION", "DROP USER"],
    }
}

#[tokio::test]
async fn a_connection_cut_in_the_middle_of_any_step_of_ending_is_made_good() {
    for database in databases().await {
        let (world, proxy, _) = wired(&database, PoolSettings::default()).await;
        for statement in statements(database.engine) {
            let issued = world.issue().await.unwrap();
            let account = issued.lease.account.name.as_str();
            let mut session = database.login(account, &issued.password).await.unwrap();
            if database.engine == Engine::Postgres {
                session.ask("CREATE TABLE drafts.note (id int)").await.unwrap();
            }
            proxy.set(Trap::Cut, statement);
            world.pass(300);
            let lease = tried(&world, issued.lease.id, 1).await;
            assert!(!proxy.is_set(), "{}: {statement} was sent", database.engine);
            let (_, error, next) = ending(&lease);
            assert!(error.is_some(), "{statement}");
            assert!(next > world.clock.now());
            world.reaches(lease.id, StateName::Expired).await;
            session.ask("SELECT 1").await.unwrap_err();
        }
        assert_clean(&world, &database, database.server.unwrap()).await;
    }
}

// ---- one account's trouble -------------------------------------------------------------------------------------

#[tokio::test]
async fn one_account_that_cannot_be_ended_delays_no_other_on_its_target() {
    for database in databases().await {
        let (world, _wire, meddler) = wired(&database, PoolSettings::default()).await;
        for kind in [TargetErrorKind::Busy, TargetErrorKind::TimedOut, TargetErrorKind::Refused] {
            let mut issued = Vec::new();
            for _ in 0..6 {
                issued.push(world.issue().await.unwrap().lease.id);
            }
            meddler.fail(Step::Remove, Moment::Before, kind);
            world.pass(300);
            let outcome = async |id| {
                eventually("ended, or tried", async || {
                    let state = world.lease(id).await.state;
                    match state {
                        LeaseState::Ended { .. } => Some(true),
                        LeaseState::Ending { attempts: 1.., .. } => Some(false),
                        _ => None,
                    }
                })
                .await
            };
            let outcomes = join_all(issued.iter().map(|id| outcome(*id))).await;
            assert_eq!(outcomes.iter().filter(|ended| **ended).count(), 5, "{kind:?}");
            for id in issued {
                world.reaches(id, StateName::Expired).await;
            }
        }
        assert_clean(&world, &database, database.server.unwrap()).await;
    }
}

#[tokio::test]
async fn somebody_holding_on_to_what_an_account_owns_delays_only_that_account() {
    for database in databases().await {
        if database.engine != Engine::Postgres {
            continue;
        }
        let server = database.server.unwrap();
        let (world, _wire, _) = wired(&database, impatient()).await;
        let held = world.issue().await.unwrap();
        let mut owner = database.login(held.lease.account.name.as_str(), &held.password).await.unwrap();
        owner.ask("CREATE TABLE drafts.held (id int)").await.unwrap();
        let root = server.administrator();
        let mut holder = database.login(&root.user, &root.password).await.unwrap();
        holder.ask("BEGIN; LOCK TABLE drafts.held").await.unwrap();
        let other = world.issue().await.unwrap().lease.id;
        world.pass(300);
        tried(&world, held.lease.id, 1).await;
        world.reaches(other, StateName::Expired).await;
        owner.ask("SELECT 1").await.unwrap_err();
        holder.ask("ROLLBACK").await.unwrap();
        world.reaches(held.lease.id, StateName::Expired).await;
        assert_clean(&world, &database, server).await;
    }
}

// ---- a store that cannot write ---------------------------------------------------------------------------------

async fn meddled(database: &Database) -> (World, Arc<Meddler>) {
    let meddler = Meddler::new(World::target(database.settings("shop"), Arc::new(SystemClock)));
    let target = Arc::clone(&meddler) as Arc<dyn Target>;
    (World::with(vec![target], vec![database.reading_role("shop-read", "shop")]).await, meddler)
}

#[tokio::test]
async fn without_a_record_nothing_is_issued_renewed_ended_or_even_denied() {
    for database in databases().await {
        let (world, meddler) = meddled(&database).await;
        let app = caller("app", &["readers"]);
        let issued = world.issuer.issue(&app, keyed()).await.unwrap();
        let account = issued.lease.account.name.as_str();
        let calls = meddler.total();
        let sabotage = Sabotage::of(world.directory.path(), "");
        let unavailable = RefusalKind::StoreUnavailable;
        assert_eq!(world.issue().await.unwrap_err().kind, unavailable);
        let stranger = caller("stranger", &[]);
        let denied = world.issuer.issue(&stranger, request("shop-read")).await.unwrap_err();
        assert_eq!(denied.kind, unavailable);
        assert_eq!(world.issuer.release(&app, issued.lease.id).await.unwrap_err().kind, unavailable);
        let admin = caller("root", &["administrators"]);
        let revoked = world.issuer.revoke(&admin, issued.lease.id, String::new()).await.unwrap_err();
        assert_eq!(revoked.kind, unavailable);
        // A reply that was lost is asked for again: what was delivered first stays good.
        assert_eq!(world.issuer.issue(&app, keyed()).await.unwrap_err().kind, unavailable);
        assert_eq!(meddler.total(), calls, "no target was touched");
        database.login(account, &issued.password).await.unwrap();
        world.pass(10);
        assert_eq!(world.issuer.renew(&app, issued.lease.id, None).await.unwrap_err().kind, unavailable);
        assert_eq!(world.leases().await, vec![issued.lease.clone()]);
        // The reaper cannot write either; it goes on trying.
        world.pass(290);
        drop(sabotage);
        eventually("ended", async || {
            world.pass(75);
            (world.lease(issued.lease.id).await.state.name() == StateName::Expired).then_some(())
        })
        .await;
        assert_clean(&world, &database, database.server.unwrap()).await;
    }
}

#[tokio::test]
async fn a_lease_that_cannot_be_recorded_as_active_is_not_delivered() {
    for database in databases().await {
        let (world, meddler) = meddled(&database).await;
        let sabotage = Sabotage::of(world.directory.path(), "lease.issued");
        let refused = world.issue().await.unwrap_err();
        assert_eq!(refused.kind, RefusalKind::StoreUnavailable);
        let lease = world.leases().await.remove(0);
        assert_eq!(meddler.calls(lease.id).first(), Some(&Step::Create));
        world.reaches(lease.id, StateName::Failed).await;
        drop(sabotage);
        // The same, when the store can write nothing at all from that moment on.
        let gate = meddler.hold(Step::Create, Moment::After);
        let issuer = Arc::clone(&world.issuer);
        let asking = tokio::spawn(async move {
            issuer.issue(&caller("app", &["readers"]), request("shop-read")).await.map(|issued| issued.lease)
        });
        gate.reached().await;
        let sabotage = Sabotage::of(world.directory.path(), "");
        gate.open();
        assert_eq!(asking.await.unwrap().unwrap_err().kind, RefusalKind::StoreUnavailable);
        drop(sabotage);
        let lease = world.leases().await.into_iter().find(|lease| lease.state.name().is_live()).unwrap();
        let LeaseState::Provisioning { deadline } = lease.state else { panic!("{lease:?}") };
        pass_to(&world, deadline);
        world.reaches(lease.id, StateName::Failed).await;
        assert_clean(&world, &database, database.server.unwrap()).await;
    }
}

#[tokio::test]
async fn a_step_whose_success_cannot_be_recorded_is_done_again() {
    for database in databases().await {
        let (world, _) = meddled(&database).await;
        let issued = world.issue().await.unwrap();
        let sabotage = Sabotage::of(world.directory.path(), "lease.expired");
        world.pass(300);
        let (server, account) = (database.server.unwrap(), issued.lease.account.name.as_str());
        eventually("the account is gone", async || {
            (!database.has_account(server, account).await).then_some(())
        })
        .await;
        assert_eq!(world.lease(issued.lease.id).await.state.name(), StateName::Ending);
        drop(sabotage);
        eventually("recorded", async || {
            world.pass(75);
            (world.lease(issued.lease.id).await.state.name() == StateName::Expired).then_some(())
        })
        .await;
        assert_clean(&world, &database, server).await;
        assert_eq!(sessions(&database, server, account).await, 0);
        assert_books(&world).await;
        assert!(expiry(&issued.lease) > issued.lease.created_at);
    }
}
