//! Targets that fail while they give and take.

use std::sync::Arc;

use mayfly::{
    clock::SystemClock,
    domain::StateName,
    target::{Target, TargetErrorKind},
};

use super::{Person, people};
use crate::support::{
    eventually,
    meddler::{Meddler, Moment, Step},
    world::World,
};

async fn meddled(person: &Person) -> (Arc<Meddler>, World) {
    let target = World::target(person.database.settings("shop"), Arc::new(SystemClock));
    let meddler = Meddler::new(target);
    let role = person.role("writer", &[person.read(), person.write()]);
    let world = World::with(vec![Arc::clone(&meddler) as Arc<dyn Target>], vec![role]).await;
    (meddler, world)
}

#[tokio::test]
async fn whatever_fails_at_the_end_is_tried_until_the_groups_are_gone() {
    for person in people("alice").await {
        let (meddler, world) = meddled(&person).await;
        for moment in [Moment::Before, Moment::After] {
            for kind in [TargetErrorKind::Unavailable, TargetErrorKind::TimedOut, TargetErrorKind::Refused] {
                let lease = world.elevate("writer").await.unwrap().lease;
                meddler.fail(Step::Strip, moment, kind);
                world.give_back(lease.id).await;
                assert_eq!((meddler.planned(), person.groups().await), (0, [].into()));
            }
        }
    }
}

#[tokio::test]
async fn what_could_not_be_given_whole_is_taken_back() {
    for person in people("alice").await {
        let (meddler, world) = meddled(&person).await;
        for (moment, kind) in [
            (Moment::Before, TargetErrorKind::Refused),
            (Moment::Before, TargetErrorKind::Unavailable),
            (Moment::After, TargetErrorKind::TimedOut),
        ] {
            meddler.fail(Step::Elevate, moment, kind);
            world.elevate("writer").await.unwrap_err();
            let lease = world.leases().await.into_iter().next().unwrap();
            // Where the outcome is unknown, it waits until the target must have given it up.
            world.pass(120);
            world.reaches(lease.id, StateName::Failed).await;
            assert_eq!(person.groups().await, [].into());
        }
    }
}

#[tokio::test]
async fn every_step_done_twice_has_the_effect_of_once() {
    for person in people("alice").await {
        let (meddler, world) = meddled(&person).await;
        meddler.repeat_everything();
        let lease = world.elevate("writer").await.unwrap().lease;
        assert_eq!(person.groups().await.len(), 2);
        world.give_back(lease.id).await;
        person.assert_as_before(&[]).await;
    }
}

#[tokio::test]
async fn groups_that_come_after_the_end_of_their_lease_are_taken_back() {
    for person in people("alice").await {
        let (meddler, world) = meddled(&person).await;
        let gate = meddler.hold(Step::Elevate, Moment::Before);
        let late = async {
            gate.reached().await;
            // Its provisioning is long over by now.
            world.pass(600);
            gate.open();
        };
        let (issued, ()) = tokio::join!(world.elevate("writer"), late);
        issued.unwrap_err();
        let lease = world.leases().await.into_iter().next().unwrap();
        world.ended(lease.id).await;
        eventually("the groups are gone", async || person.groups().await.is_empty().then_some(())).await;
    }
}
