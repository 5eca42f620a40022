//! A primary that is one no more: the next host takes over, and nothing is written where it must not be.

use std::{fs, path::Path, process::Command, sync::Arc};

use mayfly::{
    clock::{Clock, ManualClock, SystemClock},
    domain::{Engine, StateName},
    issuer::RefusalKind,
    sandbox::{Sample, SampleNames, Server},
};

use crate::support::{
    eventually, own_server,
    slate::assert_clean,
    world::{Database, World, caller},
};

fn replace(path: &Path, change: impl FnOnce(String) -> String) {
    let text = fs::read_to_string(path).unwrap();
    // Written in place: the file keeps its owner.
    fs::write(path, change(text)).unwrap();
}

/// Makes `standby` a copy of `primary` that follows it. The superuser and replication need no password from here on.
async fn follow(primary: &mut Server, standby: &mut Server) {
    primary.halt().await.unwrap();
    standby.halt().await.unwrap();
    let (from, to) = (primary.directory().join("data"), standby.directory().join("data"));
    replace(&from.join("pg_hba.conf"), |lines| {
        format!("host all,replication postgres 127.0.0.1/32 trust\n{lines}")
    });
    fs::remove_dir_all(&to).unwrap();
    assert!(Command::new("cp").arg("-a").args([&from, &to]).status().unwrap().success());
    replace(&to.join("postgresql.auto.conf"), |lines| {
        format!("{lines}\nprimary_conninfo = 'host=127.0.0.1 port={} user=postgres'\n", primary.port())
    });
    // A copy of an empty file, so that it has the owner of the others.
    let signal = to.join("standby.signal");
    assert!(Command::new("cp").arg("-a").args([&to.join("PG_VERSION"), &signal]).status().unwrap().success());
    primary.start_again().await.unwrap();
    standby.start_again().await.unwrap();
}

#[tokio::test]
async fn postgres_issues_and_ends_on_the_standby_that_was_promoted() {
    let Some(mut primary) = own_server(Engine::Postgres, |_| {}).await else { return };
    let Some(mut standby) = own_server(Engine::Postgres, |_| {}).await else { return };
    let sample =
        Sample::install(&primary, SampleNames::default(), &mayfly::random::SystemRandom).await.unwrap();
    follow(&mut primary, &mut standby).await;
    let before = Database::on(&primary, sample.clone());
    let after = Database::on(&standby, sample);
    let mut settings = before.settings("shop");
    // The standby comes first, so that it is asked every time, and passed over while it is one.
    settings.hosts.insert(0, ("127.0.0.1".to_owned(), standby.port()));
    let target = World::target(settings, Arc::new(SystemClock));
    let world = World::with(vec![target], vec![before.reading_role("shop-read", "shop")]).await;
    let app = caller("app", &["readers"]);
    let issued = world.issue().await.unwrap();
    let account = issued.lease.account.name.as_str();
    assert!(before.has_account(&primary, account).await);
    eventually("it reached the standby", async || after.has_account(&standby, account).await.then_some(()))
        .await;

    primary.crash().await.unwrap();
    // Nobody accepts writes: nothing is issued, and nothing is ended.
    let refused = world.issue().await.unwrap_err();
    assert_eq!(refused.kind, RefusalKind::TargetUnavailable, "{refused}");
    world.issuer.release(&app, issued.lease.id).await.unwrap();
    super::tried(&world, issued.lease.id, 1).await;
    assert!(after.has_account(&standby, account).await);

    after.ask_superuser(&standby, "SELECT pg_promote()").await;
    world.reaches(issued.lease.id, StateName::Released).await;
    assert!(!after.has_account(&standby, account).await);
    let anew = eventually("it is issued on the new primary", async || {
        world.pass(1);
        world.issue().await.ok()
    })
    .await;
    assert!(after.has_account(&standby, anew.lease.account.name.as_str()).await);
    after.login(anew.lease.account.name.as_str(), &anew.password).await.unwrap();
    world.issuer.release(&app, anew.lease.id).await.unwrap();
    for lease in world.leases().await {
        world.ended(lease.id).await;
    }
    assert_clean(&world, &after, &standby).await;
    world.stop().await;
    standby.stop().await.unwrap();
    primary.stop().await.unwrap();
}

/// A primary that becomes read-only keeps its connections: those in the pools, too.
async fn demoted(engine: Engine, statement: &str, back: &str) {
    let Some(server) = own_server(engine, |_| {}).await else { return };
    let sample =
        Sample::install(&server, SampleNames::default(), &mayfly::random::SystemRandom).await.unwrap();
    let database = Database::on(&server, sample);
    // The target goes by the test's clock, too: connections that lay idle for a moment are looked at before they are used.
    let clock = Arc::new(ManualClock::new(SystemClock.now()));
    let target = World::target(database.settings("shop"), Arc::clone(&clock) as Arc<dyn Clock>);
    let directory = Arc::new(tempfile::tempdir().unwrap());
    let role = database.reading_role("shop-read", "shop");
    let world = World::at(directory, clock, vec![target], vec![role]).await;
    let app = caller("app", &["readers"]);
    let warm = world.issue().await.unwrap().lease.id;
    world.issuer.release(&app, warm).await.unwrap();
    world.reaches(warm, StateName::Released).await;
    let held = world.issue().await.unwrap();
    let account = held.lease.account.name.as_str();

    database.ask_superuser(&server, statement).await;
    world.pass(2);
    let refused = world.issue().await.unwrap_err();
    assert_eq!(refused.kind, RefusalKind::TargetUnavailable, "{refused}");
    world.issuer.release(&app, held.lease.id).await.unwrap();
    super::tried(&world, held.lease.id, 1).await;
    let there = accounts(&database, &server).await;
    assert_eq!(there, [account], "nothing was written");

    database.ask_superuser(&server, back).await;
    world.reaches(held.lease.id, StateName::Released).await;
    for lease in world.leases().await {
        world.ended(lease.id).await;
    }
    let anew = eventually("it is issued again", async || {
        world.pass(1);
        world.issue().await.ok()
    })
    .await;
    world.issuer.release(&app, anew.lease.id).await.unwrap();
    world.ended(anew.lease.id).await;
    assert_clean(&world, &database, &server).await;
    world.stop().await;
    server.stop().await.unwrap();
}

async fn accounts(database: &Database, server: &Server) -> Vec<String> {
    let statement = match database.engine {
        Engine::Postgres => "SELECT rolname FROM pg_roles WHERE rolname LIKE 'mf\\_%'",
        _ => "SELECT User FROM mysql.user WHERE User LIKE 'mf\\_%'",
    };
    database.ask_superuser(server, statement).await
}

#[tokio::test]
async fn mariadb_that_became_read_only_is_not_written_to() {
    demoted(Engine::Mariadb, "SET GLOBAL read_only = ON", "SET GLOBAL read_only = OFF").await;
}

#[tokio::test]
async fn mysql_that_became_read_only_is_not_written_to() {
    demoted(Engine::Mysql, "SET GLOBAL read_only = ON", "SET GLOBAL read_only = OFF").await;
}

#[tokio::test]
async fn mysql_that_became_read_only_even_for_administrators_is_not_written_to() {
    demoted(Engine::Mysql, "SET GLOBAL super_read_only = ON", "SET GLOBAL read_only = OFF").await;
}
