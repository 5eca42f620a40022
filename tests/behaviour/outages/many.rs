//! Ten targets, one in trouble: the nine others are served as if it were not there.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use mayfly::{
    clock::SystemClock,
    domain::{LeaseId, StateName},
    issuer::Issuer,
};

use crate::support::{
    proxy::Proxy,
    slate::assert_clean,
    world::{Database, World, caller, databases, request},
};

/// Ten targets `t0` to `t9` with a role `r0` to `r9` each; the last one by way of a wire.
async fn ten(database: &Database) -> (World, Proxy) {
    let proxy = Proxy::to(database.port).await;
    let (mut targets, mut roles) = (Vec::new(), Vec::new());
    for number in 0..10 {
        let mut settings = database.settings(&format!("t{number}"));
        settings.pool.issuing = 2;
        settings.pool.ending = 1;
        if number == 9 {
            settings.hosts = vec![("127.0.0.1".to_owned(), proxy.port())];
            // Longer than the whole test may take: whoever waited for it would fail the test.
            settings.pool.wait = Duration::from_secs(600);
            settings.pool.connect = Duration::from_secs(600);
            settings.pool.statement = Duration::from_secs(600);
        }
        targets.push(World::target(settings, Arc::new(SystemClock)));
        roles.push(database.reading_role(&format!("r{number}"), &format!("t{number}")));
    }
    (World::with(targets, roles).await, proxy)
}

async fn issue(issuer: &Arc<Issuer>, number: usize) -> LeaseId {
    // A principal for each, so that no limit on leases is met.
    let app = caller(&format!("app{number}"), &["readers"]);
    issuer.issue(&app, request(&format!("r{number}"))).await.unwrap().lease.id
}

#[tokio::test]
async fn nine_targets_issue_and_end_while_the_tenth_accepts_and_never_answers() {
    for database in databases().await {
        let (world, proxy) = ten(&database).await;
        let stuck = issue(&world.issuer, 9).await;
        let due: Vec<_> = join_all((0..9).map(|number| issue(&world.issuer, number))).await;
        proxy.pause();
        // More callers wait for it than it has connections, and its own lease is due.
        let waiting: Vec<_> = (0..5)
            .map(|_| {
                let issuer = Arc::clone(&world.issuer);
                tokio::spawn(async move { issue(&issuer, 9).await })
            })
            .collect();
        world.pass(300);
        for id in &due {
            world.reaches(*id, StateName::Expired).await;
        }
        let more: Vec<_> = join_all((0..9).map(|number| issue(&world.issuer, number))).await;
        for (number, id) in more.iter().enumerate() {
            let app = caller(&format!("app{number}"), &["readers"]);
            world.issuer.release(&app, *id).await.unwrap();
            world.reaches(*id, StateName::Released).await;
        }
        assert!(waiting.iter().all(|waiting| !waiting.is_finished()), "it was held all the time");
        assert_eq!(world.lease(stuck).await.state.name(), StateName::Ending);
        proxy.resume();
        world.reaches(stuck, StateName::Expired).await;
        for waiting in waiting {
            waiting.await.unwrap();
        }
        world.pass(300);
        for lease in world.leases().await {
            world.ended(lease.id).await;
        }
        assert_clean(&world, &database, database.server.unwrap()).await;
    }
}

#[tokio::test]
async fn a_slow_target_is_served_slowly_and_delays_no_other() {
    for database in databases().await {
        let (world, proxy) = ten(&database).await;
        proxy.delay(Duration::from_millis(150));
        let issuer = Arc::clone(&world.issuer);
        let slow = tokio::spawn(async move { issue(&issuer, 9).await });
        let quick = issue(&world.issuer, 0).await;
        assert!(!slow.is_finished());
        let slow = slow.await.unwrap();
        world.pass(300);
        world.reaches(quick, StateName::Expired).await;
        assert_eq!(world.lease(slow).await.state.name(), StateName::Ending);
        world.reaches(slow, StateName::Expired).await;
        assert_clean(&world, &database, database.server.unwrap()).await;
    }
}
