//! Many leases due at the same time: they end together, and whatever is the matter with one is its own matter.

use std::{collections::BTreeSet, sync::Arc};

use mayfly::{
    clock::Clock,
    domain::{Engine, LeaseId, LeaseLimits, LeaseState, OwnedObjects, Role, StateName, Template},
    issuer::Issued,
    target::{TOGETHER, Target, TargetErrorKind},
};

use super::{allow_settling, busy_session, second_reaper, writing_role};
use crate::support::{
    eventually,
    meddler::{Meddler, Moment, Step},
    slate::{assert_books, assert_clean},
    world::{Database, Login, World, caller, databases, request},
};

/// How many are due at once.
const MANY: usize = 12;

fn unlimited(role: Role) -> Role {
    Role { limits: LeaseLimits { per_principal: 100, total: 100 }, scram_iterations: 1, ..role }
}

/// A world in which what is due together ends together, and whose accounts can own something.
async fn world(database: &Database) -> (World, Arc<Meddler>) {
    allow_settling(database).await;
    let meddler =
        Meddler::new(World::target(database.settings("shop"), Arc::new(mayfly::clock::SystemClock)));
    meddler.end_together();
    let target = Arc::clone(&meddler) as Arc<dyn Target>;
    let keeping = Role {
        name: "shop-keep".parse().unwrap(),
        owned_objects: OwnedObjects::Keep,
        ..writing_role(database)
    };
    let mut own = Role { name: "shop-own".parse().unwrap(), ..writing_role(database) };
    own.statements.end = vec![Template::parse("SELECT {{lease}}").unwrap()];
    let roles = vec![unlimited(writing_role(database)), unlimited(keeping), unlimited(own)];
    (World::with(vec![target], roles).await, meddler)
}

async fn issue(world: &World, count: usize) -> Vec<Issued> {
    let mut all = Vec::new();
    for _ in 0..count {
        all.push(world.issue().await.unwrap());
    }
    all
}

async fn open(database: &Database, issued: &Issued) -> Login {
    database.login(issued.lease.account.name.as_str(), &issued.password).await.unwrap()
}

/// How many records say so of a lease.
async fn told(world: &World, action: &str, id: LeaseId) -> usize {
    let name = world.lease(id).await.resource_name();
    let records = world.audit().await;
    records.iter().filter(|record| record.action == action && record.resource == name).count()
}

#[tokio::test]
async fn what_is_due_together_ends_together_whatever_each_needs() {
    for database in databases().await {
        let (world, meddler) = world(&database).await;
        let all = issue(&world, MANY).await;
        let mut used = open(&database, &all[0]).await;
        let mut busy = busy_session(&database, &all[1]).await;
        drop(busy_session(&database, &all[2]).await);
        let server = database.server.unwrap();
        let gone = match database.engine {
            Engine::Postgres => format!("DROP ROLE {}", all[3].lease.account.name),
            _ => format!("DROP USER {}@'%'", all[3].lease.account.name),
        };
        database.ask_superuser(server, &gone).await;
        world.pass(300);
        for issued in &all {
            let id = issued.lease.id;
            let ended = world.reaches(id, StateName::Expired).await;
            assert_eq!(told(&world, "lease.expired", id).await, 1);
            assert_eq!(told(&world, "lease.end_failed", id).await, 0, "{}: {ended:?}", database.engine);
        }
        assert!(used.ask("SELECT 1").await.is_err() && busy.ask("SELECT 1").await.is_err());
        for (issued, sessions) in [(&all[0], 1), (&all[1], 1), (&all[4], 0)] {
            let LeaseState::Ended { report, .. } = world.lease(issued.lease.id).await.state else { panic!() };
            assert_eq!(report.sessions_ended, sessions, "{}", database.engine);
        }
        let LeaseState::Ended { report, .. } = world.lease(all[3].lease.id).await.state else { panic!() };
        assert!(report.was_absent);
        assert!(meddler.calls(all[4].lease.id).iter().all(|step| *step == Step::Create), "in the batch");
        assert!(meddler.calls(all[1].lease.id).contains(&Step::SettleObjects), "on its own");
        assert_clean(&world, &database, server).await;
    }
}

#[tokio::test]
async fn all_that_are_due_lose_their_access_before_any_account_is_removed() {
    for database in databases().await {
        let (world, meddler) = world(&database).await;
        let all = issue(&world, TOGETHER + 4).await;
        let apart = world.issuer.issue(&caller("app", &["readers"]), request("shop-own")).await.unwrap();
        let some = [&all[0], &all[TOGETHER - 1], &all[TOGETHER], &all[TOGETHER + 3], &apart];
        let mut used = open(&database, some[3]).await;
        let gate = meddler.hold(Step::RemoveMany, Moment::Before);
        world.pass(300);
        gate.reached().await;
        for issued in some {
            let name = issued.lease.account.name.as_str();
            assert!(database.login(name, &issued.password).await.is_err(), "{name}");
        }
        assert!(used.ask("SELECT 1").await.is_err());
        gate.open();
        for issued in all.iter().chain([&apart]) {
            world.reaches(issued.lease.id, StateName::Expired).await;
        }
        assert_clean(&world, &database, database.server.unwrap()).await;
    }
}

#[tokio::test]
async fn one_that_cannot_be_ended_has_its_own_error_and_holds_up_no_other() {
    for database in databases().await {
        let (world, meddler) = world(&database).await;
        let all = issue(&world, MANY).await;
        drop(busy_session(&database, &all[0]).await);
        meddler.fail(Step::SettleObjects, Moment::Before, TargetErrorKind::Refused);
        world.pass(300);
        let failed = eventually("the attempt failed", async || {
            let lease = world.lease(all[0].lease.id).await;
            matches!(lease.state, LeaseState::Ending { attempts: 1, .. }).then_some(lease)
        })
        .await;
        assert!(matches!(failed.state, LeaseState::Ending { last_error: Some(_), .. }));
        for issued in all.iter().skip(1) {
            world.reaches(issued.lease.id, StateName::Expired).await;
            assert_eq!(told(&world, "lease.end_failed", issued.lease.id).await, 0);
        }
        assert_eq!(told(&world, "lease.end_failed", all[0].lease.id).await, 1);
        world.reaches(all[0].lease.id, StateName::Expired).await;
        assert_clean(&world, &database, database.server.unwrap()).await;
    }
}

#[tokio::test]
async fn a_batch_that_fails_at_any_step_is_ended_one_by_one() {
    for database in databases().await {
        let (world, meddler) = world(&database).await;
        for step in [Step::DisableMany, Step::EndSessionsOfMany, Step::RemoveMany] {
            for moment in [Moment::Before, Moment::After] {
                for kind in [TargetErrorKind::Refused, TargetErrorKind::Unavailable] {
                    let all = issue(&world, 4).await;
                    let _used = open(&database, &all[0]).await;
                    meddler.fail(step, moment, kind);
                    world.pass(300);
                    for issued in &all {
                        world.reaches(issued.lease.id, StateName::Expired).await;
                        assert_eq!(told(&world, "lease.end_failed", issued.lease.id).await, 0);
                    }
                    assert_eq!(meddler.planned(), 0, "{step:?} was met");
                }
            }
        }
        assert_clean(&world, &database, database.server.unwrap()).await;
    }
}

#[tokio::test]
async fn every_step_for_many_done_twice_has_the_effect_of_once() {
    for database in databases().await {
        let (world, meddler) = world(&database).await;
        meddler.repeat_everything();
        let all = issue(&world, MANY).await;
        let _used = open(&database, &all[0]).await;
        world.pass(300);
        for issued in &all {
            world.reaches(issued.lease.id, StateName::Expired).await;
            assert_eq!(told(&world, "lease.end_failed", issued.lease.id).await, 0);
        }
        assert_clean(&world, &database, database.server.unwrap()).await;
    }
}

#[tokio::test]
async fn a_login_that_slips_in_before_the_drop_does_not_outlive_its_lease() {
    for database in databases().await {
        let (world, meddler) = world(&database).await;
        let all = issue(&world, MANY).await;
        let gate = meddler.hold(Step::RemoveMany, Moment::Before);
        world.pass(300);
        gate.reached().await;
        // A login that was let in while the accounts were being disabled looks like this.
        let (name, password) = (all[5].lease.account.name.as_str(), all[5].password.expose());
        let again = match database.engine {
            Engine::Postgres => {
                format!("ALTER ROLE {name} LOGIN PASSWORD '{password}' VALID UNTIL 'infinity'")
            }
            _ => format!("ALTER USER {name}@'%' ACCOUNT UNLOCK"),
        };
        database.ask_superuser(database.server.unwrap(), &again).await;
        let mut straggler = open(&database, &all[5]).await;
        gate.open();
        for issued in &all {
            world.reaches(issued.lease.id, StateName::Expired).await;
        }
        assert!(straggler.ask("SELECT 1").await.is_err(), "{}", database.engine);
        assert_clean(&world, &database, database.server.unwrap()).await;
    }
}

#[tokio::test]
async fn two_reapers_at_the_same_batch_end_each_lease_once() {
    for database in databases().await {
        let (world, _) = world(&database).await;
        let all = issue(&world, MANY).await;
        let second = second_reaper(&world, Arc::clone(&world.clock) as Arc<dyn Clock>);
        second.open_lanes().await.unwrap();
        world.pass(300);
        for issued in &all {
            world.reaches(issued.lease.id, StateName::Expired).await;
            assert_eq!(told(&world, "lease.expired", issued.lease.id).await, 1);
            assert_eq!(told(&world, "lease.ending", issued.lease.id).await, 1);
        }
        second.stop().await;
        assert_clean(&world, &database, database.server.unwrap()).await;
    }
}

#[tokio::test]
async fn what_a_role_keeps_is_kept_though_it_is_due_with_others() {
    for database in databases().await {
        let (world, _) = world(&database).await;
        let all = issue(&world, 4).await;
        let app = caller("app", &["readers"]);
        let owning = world.issuer.issue(&app, request("shop-keep")).await.unwrap();
        let bare = world.issuer.issue(&app, request("shop-keep")).await.unwrap();
        drop(busy_session(&database, &owning).await);
        world.pass(300);
        for issued in all.iter().chain([&owning, &bare]) {
            world.reaches(issued.lease.id, StateName::Expired).await;
        }
        let server = database.server.unwrap();
        let mut left = BTreeSet::new();
        for issued in all.iter().chain([&owning, &bare]) {
            if database.has_account(server, issued.lease.account.name.as_str()).await {
                left.insert(issued.lease.id);
            }
        }
        assert_eq!(left, BTreeSet::from([owning.lease.id]), "{}", database.engine);
        assert!(database.login(owning.lease.account.name.as_str(), &owning.password).await.is_err());
        assert_books(&world).await;
    }
}
