//! A rotation cut off at every step.

use std::sync::Arc;

use jiff::SignedDuration;
use mayfly::{audit::Actor, issuer::RefusalKind, target::TargetErrorKind};

use super::rig::Rig;
use crate::support::{
    meddler::{Moment, Step},
    world::{databases, target_name},
};

/// Every place between two steps of a rotation, and whether the target has the new password there.
const PLACES: [(Step, Moment, bool); 4] = [
    (Step::ChangeOwnPassword, Moment::Before, false),
    (Step::ChangeOwnPassword, Moment::After, true),
    (Step::ProveOwnPassword, Moment::Before, true),
    (Step::ProveOwnPassword, Moment::After, true),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wherever_a_rotation_is_cut_off_the_next_start_logs_in_and_the_next_rotation_succeeds() {
    for database in databases().await {
        let rig = Rig::new(database);
        for (step, moment, changed) in PLACES {
            let place = format!("{} {step:?} {moment:?}", rig.database.engine);
            let mayfly = rig.start().await;
            let gate = mayfly.meddler.hold(step, moment);
            let rotator = Arc::clone(&mayfly.rotator);
            let rotating =
                tokio::spawn(async move { rotator.rotate(&target_name("shop"), Actor::System).await });
            gate.reached().await;
            rotating.abort();
            assert!(rotating.await.is_err(), "{place}");
            let before = mayfly.told().await.len();
            mayfly.stop().await;

            let mayfly = rig.start().await;
            mayfly.ping().await.unwrap();
            let kept = mayfly.kept().await;
            assert_eq!(kept.pending.is_none(), changed, "{place}: what the target accepted is current");
            let told = mayfly.told().await[before..].to_vec();
            assert_eq!(told, if changed { vec!["target.rotated"] } else { vec![] }, "{place}");
            if !changed {
                let refused = mayfly.rotate().await.unwrap_err();
                assert_eq!(refused.kind, RefusalKind::InProgress, "{place}: somebody may be at work on it");
                rig.clock.advance(SignedDuration::from_secs(300));
            }
            let rotated = mayfly.rotate().await.unwrap();
            assert_eq!(rotated.resumed, !changed, "{place}");
            assert!(rig.accepts(&mayfly.current().await).await, "{place}");
            mayfly.stop().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_that_fails_leaves_a_password_that_is_known_and_may_be_tried_again_at_once() {
    for database in databases().await {
        let rig = Rig::new(database);
        let mayfly = rig.start().await;
        for (step, moment, changed) in PLACES {
            for kind in [TargetErrorKind::TimedOut, TargetErrorKind::Denied] {
                let place = format!("{} {step:?} {moment:?} {kind:?}", rig.database.engine);
                mayfly.meddler.fail(step, moment, kind);
                let refused = mayfly.rotate().await.unwrap_err();
                assert!(!refused.to_string().is_empty(), "{place}");
                assert_eq!(mayfly.told().await.last().unwrap(), "target.rotation_failed", "{place}");
                let kept = mayfly.kept().await;
                assert!(kept.pending.is_some() && kept.ended.unwrap().failure.is_some(), "{place}");
                // A replica that knows nothing logs in with whichever it is.
                let replica = rig.replica(&mayfly).await;
                replica.ping().await.unwrap();
                replica.reaper.stop().await;
                assert_eq!(mayfly.kept().await.pending.is_none(), changed, "{place}");
                let rotated = mayfly.rotate().await.unwrap();
                assert_eq!(rotated.resumed, !changed, "{place}");
                assert!(rig.accepts(&mayfly.current().await).await, "{place}");
            }
        }
        mayfly.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pending_password_is_tried_again_and_never_replaced() {
    for database in databases().await {
        let rig = Rig::new(database);
        let mayfly = rig.start().await;
        mayfly.meddler.fail(Step::ChangeOwnPassword, Moment::Before, TargetErrorKind::TimedOut);
        mayfly.rotate().await.unwrap_err();
        let pending = mayfly.kept().await.pending.unwrap().sealed;
        mayfly.meddler.fail(Step::ChangeOwnPassword, Moment::Before, TargetErrorKind::Unavailable);
        mayfly.rotate().await.unwrap_err();
        assert_eq!(mayfly.kept().await.pending.unwrap().sealed, pending);
        // The target has it meanwhile: a statement that was given up on was still on its way.
        mayfly.meddler.fail(Step::ProveOwnPassword, Moment::Before, TargetErrorKind::TimedOut);
        mayfly.rotate().await.unwrap_err();
        mayfly.rotate().await.unwrap();
        assert_eq!(mayfly.kept().await.current.unwrap(), pending);
        let told = mayfly.told().await;
        assert_eq!(told.iter().filter(|action| *action == "target.rotation_began").count(), 1, "{told:?}");
        mayfly.stop().await;
    }
}
