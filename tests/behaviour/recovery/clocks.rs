//! Clocks that are set, and a reaper that sleeps for as long as it can.

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
    domain::{Engine, StateName},
    issuer::DueNotice as _,
    sandbox::{Sample, SampleNames, Server},
};

use super::{meddled, second_reaper};
use crate::support::{
    eventually, own_server,
    slate::assert_clean,
    world::{Database, World, caller, databases, expiry, request, ttl},
};

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

/// How long PostgreSQL itself lets an account in for, by its own clock.
async fn left(database: &Database, server: &Server, account: &str) -> f64 {
    let question = format!(
        "SELECT extract(epoch FROM rolvaliduntil - clock_timestamp()) FROM pg_roles WHERE rolname = '{account}'"
    );
    database.ask_superuser(server, &question).await[0].parse().unwrap()
}

/// A PostgreSQL server that may be set up at will, and a world whose clock is also what the target goes by.
async fn on_one_clock(server: &Server, ahead: SignedDuration) -> (Database, World) {
    let sample =
        Sample::install(server, SampleNames::default(), &mayfly::random::SystemRandom).await.unwrap();
    let database = Database::on(server, sample);
    let clock = Arc::new(ManualClock::new(SystemClock.now() + ahead));
    let target = World::target(database.settings("shop"), Arc::clone(&clock) as Arc<dyn Clock>);
    let role = database.reading_role("shop-read", "shop");
    let directory = Arc::new(tempfile::tempdir().unwrap());
    let world = World::at(directory, clock, vec![target], vec![role]).await;
    (database, world)
}

fn offset(world: &World) -> SignedDuration {
    let target = Arc::clone(world.catalogue.current().targets.values().next().unwrap());
    target.clock_offset().unwrap().offset
}

/// The test's clock stands still between its steps, the server's does not.
const TOLERANCE: f64 = 30.0;

fn assert_about(left: f64, seconds: f64) {
    assert!((left - seconds).abs() < TOLERANCE, "{left} s are left instead of {seconds}");
}

#[tokio::test]
async fn a_server_whose_clock_differs_gives_a_lease_the_time_that_was_agreed() {
    for ahead in [SignedDuration::from_hours(1), SignedDuration::from_hours(-25)] {
        let Some(server) = own_server(Engine::Postgres, |_| {}).await else { return };
        let (database, world) = on_one_clock(&server, ahead).await;
        let app = caller("app", &["readers"]);
        let issued = world.issue().await.unwrap();
        let account = issued.lease.account.name.as_str();
        assert_about(left(&database, &server, account).await, 300.0);
        assert_about(offset(&world).as_secs_f64(), -ahead.as_secs_f64());
        database.login(account, &issued.password).await.unwrap();
        world.issuer.renew(&app, issued.lease.id, Some(ttl(1200))).await.unwrap();
        assert_about(left(&database, &server, account).await, 1200.0);
        let admin = caller("root", &["administrators"]);
        let shown = world.issuer.targets(&admin).await.unwrap().remove(0).target.clock_offset().unwrap();
        assert!(shown.is_notable());
        world.issuer.release(&app, issued.lease.id).await.unwrap();
        world.reaches(issued.lease.id, StateName::Released).await;
        assert_clean(&world, &database, &server).await;
        world.stop().await;
        server.stop().await.unwrap();
    }
}

#[tokio::test]
async fn a_clock_of_ours_that_is_set_shortens_and_lengthens_no_lease_on_the_server() {
    let Some(server) = own_server(Engine::Postgres, |_| {}).await else { return };
    let (database, world) = on_one_clock(&server, SignedDuration::ZERO).await;
    let app = caller("app", &["readers"]);
    let first = world.issue().await.unwrap();
    // Forward: what was issued by the old time has expired by the new one, and is ended and recorded so.
    world.pass(7_200);
    world.reaches(first.lease.id, StateName::Expired).await;
    assert!(world.audit().await.iter().any(|record| record.action == "lease.expired"));
    // The connections are the same, the offset that was measured on them is not.
    let second = world.issue().await.unwrap();
    let account = second.lease.account.name.as_str();
    assert_about(left(&database, &server, account).await, 300.0);
    assert_about(offset(&world).as_secs_f64(), -7_200.0);
    // Back: the lease has its moment by our clock, which is now further away; renewing it says so on both sides.
    world.pass(-7_200 - 86_400);
    let third = world.issue().await.unwrap();
    assert_about(left(&database, &server, third.lease.account.name.as_str()).await, 300.0);
    assert_about(offset(&world).as_secs_f64(), 86_400.0);
    assert_about(left(&database, &server, account).await, 300.0);
    world.issuer.renew(&app, third.lease.id, Some(ttl(900))).await.unwrap();
    assert_about(left(&database, &server, third.lease.account.name.as_str()).await, 900.0);
    for id in [second.lease.id, third.lease.id] {
        world.issuer.release(&app, id).await.unwrap();
        world.reaches(id, StateName::Released).await;
    }
    assert_clean(&world, &database, &server).await;
    world.stop().await;
    server.stop().await.unwrap();
}

#[tokio::test]
async fn no_time_zone_of_a_postgres_server_database_or_account_moves_an_expiry() {
    let kathmandu = |spec: &mut mayfly::sandbox::ServerSpec| {
        spec.settings.push(("timezone".to_owned(), "Asia/Kathmandu".to_owned()));
        spec.settings.push(("datestyle".to_owned(), "SQL, DMY".to_owned()));
    };
    let Some(server) = own_server(Engine::Postgres, kathmandu).await else { return };
    let (database, world) = on_one_clock(&server, SignedDuration::ZERO).await;
    let names = database.sample.names.clone();
    for statement in [
        "ALTER SYSTEM SET timezone = 'Pacific/Kiritimati'".to_owned(),
        "ALTER DATABASE postgres SET timezone = 'America/St_Johns'".to_owned(),
        format!("ALTER ROLE {} SET timezone = 'Pacific/Marquesas'", names.administrator),
        "SELECT pg_reload_conf()".to_owned(),
    ] {
        database.ask_superuser(&server, &statement).await;
    }
    let app = caller("app", &["readers"]);
    let issued = world.issue().await.unwrap();
    let account = issued.lease.account.name.as_str();
    assert_about(left(&database, &server, account).await, 300.0);
    assert_about(offset(&world).as_secs_f64(), 0.0);
    database.login(account, &issued.password).await.unwrap();
    world.pass(100);
    world.issuer.renew(&app, issued.lease.id, Some(ttl(600))).await.unwrap();
    assert_about(left(&database, &server, account).await, 600.0);
    world.issuer.release(&app, issued.lease.id).await.unwrap();
    world.reaches(issued.lease.id, StateName::Released).await;
    assert_clean(&world, &database, &server).await;
    world.stop().await;
    server.stop().await.unwrap();
}
