//! Connections: those that are for ending are not lent to issuing, and a server that has none left is served with those that
//! are open.

use std::{sync::Arc, time::Duration};

use mayfly::{
    clock::SystemClock,
    domain::{Engine, StateName, Statements, Template},
    issuer::RefusalKind,
    sandbox::{Sample, SampleNames, Server},
};

use crate::support::{
    eventually, own_server,
    slate::assert_clean,
    world::{Database, Login, World, caller, databases, request},
};

/// How to take a lock that anybody may take, and how to give it back.
fn lock(database: &Database) -> (String, &'static str) {
    if database.engine == Engine::Postgres {
        let key = u32::from(database.port) * 7;
        return (format!("SELECT pg_advisory_lock({key})"), "SELECT pg_advisory_unlock_all()");
    }
    (format!("SELECT GET_LOCK('{}', 300)", database.sample.names.database), "DO RELEASE_ALL_LOCKS()")
}

#[tokio::test]
async fn a_flood_of_issuing_does_not_starve_ending() {
    for database in databases().await {
        let server = database.server.unwrap();
        let (take, give_back) = lock(&database);
        let mut settings = database.settings("shop");
        // On PostgreSQL such a lock is one database's: that of whoever holds it here.
        settings.database = Some(database.sample.names.database.clone());
        settings.pool.issuing = 2;
        settings.pool.ending = 1;
        settings.pool.wait = Duration::from_secs(300);
        settings.pool.statement = Duration::from_secs(300);
        let target = World::target(settings, Arc::new(SystemClock));
        let mut stuck = database.reading_role("stuck", "shop");
        stuck.limits = mayfly::domain::LeaseLimits { per_principal: 100, total: 100 };
        stuck.statements =
            Statements { create: vec![Template::parse(&take).unwrap()], ..Statements::default() };
        let roles = vec![database.reading_role("shop-read", "shop"), stuck];
        let world = World::with(vec![Arc::clone(&target)], roles).await;
        let app = caller("app", &["readers"]);
        let (due, released) = (world.issue().await.unwrap().lease.id, world.issue().await.unwrap().lease.id);
        let root = server.administrator();
        let mut holder = database.login(&root.user, &root.password).await.unwrap();
        holder.ask(&take).await.unwrap();
        // What hangs in the middle of a statement takes every issuing connection; more wait for one.
        let flood: Vec<_> = (0..30)
            .map(|_| {
                let (issuer, app) = (Arc::clone(&world.issuer), app.clone());
                tokio::spawn(async move { issuer.issue(&app, request("stuck")).await })
            })
            .collect();
        let use_of = |pool: usize| target.pools()[pool];
        eventually("every issuing connection is in use", async || {
            (use_of(0).in_use == 2 && use_of(0).waiting > 0).then_some(())
        })
        .await;
        world.issuer.release(&app, released).await.unwrap();
        world.reaches(released, StateName::Released).await;
        world.issuer.release(&app, due).await.unwrap();
        world.reaches(due, StateName::Released).await;
        assert_eq!((use_of(0).in_use, use_of(0).waiting > 0), (2, true), "the flood was there all the time");
        holder.ask(give_back).await.unwrap();
        // Those that got the lock keep it with their session: the connections of the flood end with the world.
        flood.iter().for_each(tokio::task::JoinHandle::abort);
        drop((holder, flood));
    }
}

/// Opens connections until the server refuses one: to the administration account, and with it to everybody else who matters.
async fn fill(database: &Database, server: &Server) -> Vec<Login> {
    // On MySQL and MariaDB one more is kept for administrators: root takes that, too.
    let (user, password) = match database.engine {
        Engine::Postgres => {
            (database.sample.administrator.user.clone(), &database.sample.administrator.password)
        }
        _ => (server.administrator().user.clone(), &server.administrator().password),
    };
    let mut taken = Vec::new();
    while let Ok(login) = database.login(&user, password).await {
        taken.push(login);
        assert!(taken.len() < 200, "it was to run out of connections");
    }
    taken
}

async fn out_of_connections(engine: Engine) {
    let few = |spec: &mut mayfly::sandbox::ServerSpec| {
        let name = if engine == Engine::Postgres { "max_connections" } else { "max-connections" };
        spec.settings.push((name.to_owned(), "20".to_owned()));
    };
    let Some(server) = own_server(engine, few).await else { return };
    let sample =
        Sample::install(&server, SampleNames::default(), &mayfly::random::SystemRandom).await.unwrap();
    let database = Database::on(&server, sample);
    let mut targets = Vec::new();
    for name in ["shop", "cold"] {
        let mut settings = database.settings(name);
        (settings.pool.issuing, settings.pool.ending) = (2, 1);
        targets.push(World::target(settings, Arc::new(SystemClock)));
    }
    let roles = vec![database.reading_role("shop-read", "shop"), database.reading_role("cold-read", "cold")];
    let world = World::with(targets, roles).await;
    let app = caller("app", &["readers"]);
    // Both pools of `shop` have a connection, neither of `cold` has.
    let first = world.issue().await.unwrap().lease.id;
    world.issuer.release(&app, first).await.unwrap();
    world.reaches(first, StateName::Released).await;
    let mut taken = fill(&database, &server).await;

    let second = world.issue().await.unwrap().lease.id;
    world.issuer.release(&app, second).await.unwrap();
    world.reaches(second, StateName::Released).await;
    // A connection that was closed before is gone on the server only a little later.
    taken.extend(fill(&database, &server).await);
    let refused = world.issuer.issue(&app, request("cold-read")).await.unwrap_err();
    assert_eq!(refused.kind, RefusalKind::TargetUnavailable, "{refused}");
    assert!(refused.message.contains("the target cold"), "{refused}");
    assert!(taken.len() > 10);

    drop(taken);
    let third = eventually("a connection is free", async || {
        // One failure in a row opens nothing; should there be more, the next probe is due.
        world.pass(1);
        world.issuer.issue(&app, request("cold-read")).await.ok()
    })
    .await;
    world.issuer.release(&app, third.lease.id).await.unwrap();
    world.reaches(third.lease.id, StateName::Released).await;
    for lease in world.leases().await {
        world.ended(lease.id).await;
    }
    assert_clean(&world, &database, &server).await;
    world.stop().await;
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_postgres_server_without_a_connection_left_is_served_with_those_that_are_open() {
    out_of_connections(Engine::Postgres).await;
}

#[tokio::test]
async fn a_mariadb_server_without_a_connection_left_is_served_with_those_that_are_open() {
    out_of_connections(Engine::Mariadb).await;
}

#[tokio::test]
async fn a_mysql_server_without_a_connection_left_is_served_with_those_that_are_open() {
    out_of_connections(Engine::Mysql).await;
}
