//! Two things at once, one after the other by gates: whoever comes too late changes nothing, and nothing is left.

use std::sync::Arc;

use mayfly::{
    clock::Clock,
    domain::{EndCause, LeaseState, StateName},
    issuer::RefusalKind,
};

use super::{asking, in_time, meddled, second_reaper, the_live_one};
use crate::support::{
    meddler::{Moment, Step},
    slate::assert_clean,
    world::{caller, databases, ttl},
};

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
            let asking = super::asking(&world);
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
