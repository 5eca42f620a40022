//! Rotating on schedule, on a clock that the test moves.

use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use mayfly::{
    clock::Clock,
    random::SystemRandom,
    reaper::{RotationParts, Rotations, Schedule},
    store::Store,
    target::TargetErrorKind,
};

use super::rig::{Rig, Running};
use crate::support::{
    eventually,
    meddler::{Moment, Step},
    world::{databases, target_name},
};

const DAY: i64 = 86_400;

fn rotations(rig: &Rig, mayfly: &Running) -> Arc<Rotations> {
    let parts = RotationParts {
        clock: Arc::clone(&rig.clock) as Arc<dyn Clock>,
        random: Arc::new(SystemRandom),
        store: Arc::clone(&mayfly.store) as Arc<dyn Store>,
        rotator: Arc::clone(&mayfly.rotator),
    };
    let month = Duration::from_secs(30 * 86_400);
    let rotations = Arc::new(Rotations::new(parts, Schedule::from([(target_name("shop"), month)])));
    rotations.start();
    rotations
}

async fn rotated_after(rig: &Rig, mayfly: &Running, last: Option<Timestamp>, step: i64) -> Timestamp {
    use mayfly::store::SecretStore as _;
    eventually("it is rotated", async || {
        let kept = mayfly.store.secret(&target_name("shop")).await.unwrap();
        let under_way =
            kept.as_ref().is_some_and(|kept| kept.is_under_way(rig.clock.now(), SignedDuration::MAX));
        let at = kept.and_then(|kept| kept.rotated_at).filter(|at| Some(*at) != last);
        if at.is_none() && !under_way {
            rig.clock.advance(SignedDuration::from_secs(step));
        }
        at
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schedule_goes_by_the_last_rotation_also_after_a_restart_and_after_a_failure() {
    let Some(database) = databases().await.into_iter().next() else { return };
    let rig = Rig::new(database);
    let mayfly = rig.start().await;
    let running = rotations(&rig, &mayfly);
    let first = rotated_after(&rig, &mayfly, None, 60).await;
    running.stop().await;
    mayfly.stop().await;

    rig.clock.advance(SignedDuration::from_secs(26 * DAY));
    let mayfly = rig.start().await;
    mayfly.meddler.fail(Step::ChangeOwnPassword, Moment::Before, TargetErrorKind::Unavailable);
    let running = rotations(&rig, &mayfly);
    let second = rotated_after(&rig, &mayfly, Some(first), DAY / 24).await;
    let passed = second.duration_since(first).as_secs();
    assert!((27 * DAY..=31 * DAY).contains(&passed), "{passed}");
    let told = mayfly.told().await;
    // The clock may have been moved while one began: then that is one failure more.
    assert!(told.iter().any(|action| action == "target.rotation_failed"), "{told:?}");
    assert_eq!(told.iter().filter(|action| *action == "target.rotated").count(), 2, "{told:?}");
    assert!(rig.accepts(&mayfly.current().await).await);
    // Taken off the schedule, it stays as it is.
    running.reschedule(Schedule::new());
    running.stop().await;
    mayfly.stop().await;
}
