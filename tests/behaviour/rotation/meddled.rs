//! Passwords changed behind our back.

use std::sync::Arc;

use mayfly::{
    clock::Clock,
    domain::{Password, StateName},
    issuer::{Catalogue, RefusalKind},
    target::{Target, TargetErrorKind},
};

use super::rig::{Rig, Running};
use crate::support::{
    eventually,
    world::{caller, databases, expiry, request, target_name},
};

const FOREIGN: &str = "changedBehindOurBack12";

/// A lease that fell due while the password was wrong, and what there is to see of that.
async fn strand(rig: &Rig, mayfly: &Running) -> mayfly::domain::Lease {
    let issued = mayfly.issuer.issue(&caller("app", &["readers"]), request("shop-read")).await.unwrap();
    rig.reset(FOREIGN).await;
    eventually("the target refuses", async || {
        let refused = mayfly.ping().await.err();
        refused.filter(|refused| refused.kind == TargetErrorKind::Unauthenticated)
    })
    .await;
    let due = expiry(&issued.lease).duration_since(rig.clock.now());
    rig.clock.advance(due);
    let id = issued.lease.id;
    let lease = eventually("an attempt to end it has failed", async || {
        let lease = mayfly.lease(id).await;
        mayfly.pass_to_next_attempt(&lease);
        let failed = mayfly.health.of(&target_name("shop")).last_error.is_some();
        (lease.state.name() == StateName::Ending && failed).then_some(lease)
    })
    .await;
    let refused = mayfly.issuer.issue(&caller("app", &["readers"]), request("shop-read")).await.unwrap_err();
    assert_eq!(refused.kind, RefusalKind::TargetUnavailable, "{refused}");
    lease
}

async fn recovers(mayfly: &Running, lease: &mayfly::domain::Lease) {
    eventually("the lease has ended", async || {
        let lease = mayfly.lease(lease.id).await;
        mayfly.pass_to_next_attempt(&lease);
        (lease.state.name() == StateName::Expired).then_some(())
    })
    .await;
    eventually("the target is well", async || {
        mayfly.health.of(&target_name("shop")).last_error.is_none().then_some(())
    })
    .await;
    mayfly.issuer.issue(&caller("app", &["readers"]), request("shop-read")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_changed_behind_our_back_is_shown_and_a_new_configuration_mends_it() {
    for database in databases().await {
        let mut rig = Rig::new(database);
        let mayfly = rig.start().await;
        let lease = strand(&rig, &mayfly).await;
        // What a reload does: the target is made anew with what the password's file says now.
        rig.configured = Password::new(FOREIGN.to_owned());
        let old = mayfly.catalogue.current();
        let mut catalogue = Catalogue { roles: old.roles.clone(), ..Catalogue::default() };
        catalogue.targets.insert(target_name("shop"), rig.target(&mayfly.credentials));
        mayfly.catalogue.replace(catalogue);
        recovers(&mayfly, &lease).await;
        mayfly.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotated_password_that_was_reset_to_the_configured_one_is_set_aside_loudly() {
    for database in databases().await {
        let rig = Rig::new(database);
        let mayfly = rig.start().await;
        mayfly.rotate().await.unwrap();
        let lease = strand(&rig, &mayfly).await;
        let shown = mayfly.health.of(&target_name("shop")).last_error.unwrap();
        for words in ["tried the password of the last rotation, the configured password", "can set"] {
            assert!(shown.contains(words), "{shown}");
        }
        assert!(!shown.contains(mayfly.current().await.expose()) && !shown.contains(rig.configured.expose()));
        let was = mayfly.current().await;
        rig.reset(rig.configured.expose()).await;
        recovers(&mayfly, &lease).await;
        assert_eq!(mayfly.told().await.last().unwrap(), "target.secret_set_aside");
        assert_eq!(mayfly.kept().await.current, None);
        // From here on as if nothing had been.
        mayfly.rotate().await.unwrap();
        assert!(rig.accepts(&mayfly.current().await).await && !rig.accepts(&was).await);
        mayfly.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_in_the_middle_of_a_rotation_is_survived() {
    use crate::support::meddler::{Moment, Step};
    let Some(database) = databases().await.into_iter().next() else { return };
    let rig = Rig::new(database);
    let mayfly = rig.start().await;
    mayfly.rotate().await.unwrap();
    let gate = mayfly.meddler.hold(Step::ProveOwnPassword, Moment::Before);
    let rotator = Arc::clone(&mayfly.rotator);
    let rotating =
        tokio::spawn(async move { rotator.rotate(&target_name("shop"), mayfly::audit::Actor::System).await });
    gate.reached().await;
    rig.reset(rig.configured.expose()).await;
    gate.open();
    rotating.await.unwrap().unwrap_err();
    eventually("it logs in", async || mayfly.ping().await.ok()).await;
    assert!(rig.accepts(&rig.configured).await);
    mayfly.rotate().await.unwrap();
    assert!(rig.accepts(&mayfly.current().await).await && !rig.accepts(&rig.configured).await);
    let direct: Arc<dyn Target> = rig.target(&mayfly.credentials);
    direct.ping().await.unwrap();
    mayfly.stop().await;
}
