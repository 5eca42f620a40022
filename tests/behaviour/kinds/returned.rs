//! Targets that fail while they hand accounts out and take them back.

use std::sync::Arc;

use mayfly::{
    clock::SystemClock,
    domain::{LeaseState, StateName},
    issuer::{IssueRequest, RefusalKind},
    target::{Target, TargetErrorKind},
};

use super::{Person, alice, handed, people};
use crate::support::{
    eventually,
    meddler::{Meddler, Moment, Step},
    world::{World, caller, request},
};

async fn meddled(person: &Person) -> (Arc<Meddler>, World) {
    let target = World::target(person.database.settings("shop"), Arc::new(SystemClock));
    let meddler = Meddler::new(target);
    let role = person.checkout_role("app", 20);
    let world = World::with(vec![Arc::clone(&meddler) as Arc<dyn Target>], vec![role]).await;
    (meddler, world)
}

#[tokio::test]
async fn whatever_fails_at_the_end_is_tried_until_the_account_is_locked() {
    for person in people("app").await {
        let (meddler, world) = meddled(&person).await;
        for moment in [Moment::Before, Moment::After] {
            for kind in [TargetErrorKind::Unavailable, TargetErrorKind::TimedOut, TargetErrorKind::Refused] {
                let issued = world.elevate("app").await.unwrap();
                meddler.fail(Step::CheckIn, moment, kind);
                world.give_back(issued.lease.id).await;
                assert_eq!(meddler.planned(), 0);
                person.assert_locked(&[&issued.password]).await;
            }
        }
    }
}

#[tokio::test]
async fn nobody_has_it_before_it_is_verified_locked() {
    for person in people("app").await {
        let (meddler, world) = meddled(&person).await;
        let bob = caller("bob", &["readers"]);
        let issued = world.elevate("app").await.unwrap();
        for moment in [Moment::Before, Moment::After] {
            meddler.fail(Step::CheckIn, moment, TargetErrorKind::Refused);
        }
        world.issuer.release(&alice(), issued.lease.id).await.unwrap();
        for _ in 0..2 {
            eventually("an attempt failed", async || {
                let lease = world.lease(issued.lease.id).await;
                matches!(lease.state, LeaseState::Ending { attempts: 1.., .. }).then_some(())
            })
            .await;
            let refused = world.issuer.issue(&bob, request("app")).await.unwrap_err();
            assert_eq!(refused.kind, RefusalKind::AccountHeld);
            assert!(refused.to_string().contains("is being taken back; you are 1st"), "{refused}");
        }
        world.reaches(issued.lease.id, StateName::Released).await;
        let bobs = world.issuer.issue(&bob, request("app")).await.unwrap();
        person.log_in_by(&bobs.password).await.unwrap();
        assert!(person.log_in_by(&issued.password).await.is_err());
    }
}

#[tokio::test]
async fn what_could_not_be_handed_out_is_locked_and_free_again() {
    for person in people("app").await {
        let (meddler, world) = meddled(&person).await;
        for (moment, kind) in [
            (Moment::Before, TargetErrorKind::Refused),
            (Moment::Before, TargetErrorKind::Unavailable),
            (Moment::After, TargetErrorKind::TimedOut),
        ] {
            meddler.fail(Step::CheckOut, moment, kind);
            world.elevate("app").await.unwrap_err();
            let lease = world.leases().await.into_iter().next().unwrap();
            // Where the outcome is unknown, it waits until the target must have given it up.
            world.pass(120);
            world.reaches(lease.id, StateName::Failed).await;
            person.assert_locked(&[]).await;
            assert_eq!(handed(&world).await[0].checkout.holder, None);
        }
        let issued = world.elevate("app").await.unwrap();
        person.log_in_by(&issued.password).await.unwrap();
    }
}

#[tokio::test]
async fn every_step_done_twice_has_the_effect_of_once() {
    for person in people("app").await {
        let (meddler, world) = meddled(&person).await;
        meddler.repeat_everything();
        let issued = world.elevate("app").await.unwrap();
        person.log_in_by(&issued.password).await.unwrap();
        world.pass(100);
        world.issuer.renew(&alice(), issued.lease.id, None).await.unwrap();
        world.give_back(issued.lease.id).await;
        person.assert_locked(&[&issued.password]).await;
    }
}

#[tokio::test]
async fn an_account_that_is_handed_out_after_the_end_of_its_lease_is_taken_back() {
    for person in people("app").await {
        let (meddler, world) = meddled(&person).await;
        let gate = meddler.hold(Step::CheckOut, Moment::Before);
        let late = async {
            gate.reached().await;
            // Its provisioning is long over by now.
            world.pass(600);
            gate.open();
        };
        let (issued, ()) = tokio::join!(world.elevate("app"), late);
        issued.unwrap_err();
        let lease = world.leases().await.into_iter().next().unwrap();
        world.ended(lease.id).await;
        person.assert_locked(&[]).await;
        assert_eq!(handed(&world).await[0].checkout.holder, None);
    }
}

#[tokio::test]
async fn a_caller_who_is_gone_does_not_keep_the_account() {
    for person in people("app").await {
        let (meddler, world) = meddled(&person).await;
        let gate = meddler.hold(Step::CheckOut, Moment::After);
        {
            let asking = world.elevate("app");
            tokio::pin!(asking);
            tokio::select! {
                answer = &mut asking => panic!("{answer:?}"),
                () = gate.reached() => {}
            }
        }
        gate.open();
        let lease = world.leases().await.into_iter().next().unwrap();
        world.reaches(lease.id, StateName::Failed).await;
        person.assert_locked(&[]).await;
        world.elevate("app").await.unwrap();
    }
}

#[tokio::test]
async fn a_renewal_and_a_repeated_request_that_meet_the_end_of_their_lease_open_nothing() {
    for person in people("app").await {
        for step in [Step::Prolong, Step::CheckOut] {
            let (meddler, world) = meddled(&person).await;
            let wish = IssueRequest { idempotency_key: Some("once".to_owned()), ..request("app") };
            let issued = world.issuer.issue(&alice(), wish.clone()).await.unwrap();
            world.pass(100);
            let (gate, alice) = (meddler.hold(step, Moment::Before), alice());
            let meeting = async {
                gate.reached().await;
                world.issuer.release(&alice, issued.lease.id).await.unwrap();
                gate.open();
            };
            if step == Step::Prolong {
                let (renewed, ()) = tokio::join!(world.issuer.renew(&alice, issued.lease.id, None), meeting);
                assert_eq!(renewed.unwrap_err().kind, RefusalKind::Ended);
            } else {
                let (again, ()) = tokio::join!(world.issuer.issue(&alice, wish), meeting);
                assert_eq!(again.unwrap_err().kind, RefusalKind::Ended);
            }
            world.reaches(issued.lease.id, StateName::Released).await;
            person.assert_locked(&[&issued.password]).await;
            assert_eq!(handed(&world).await[0].checkout.holder, None);
        }
    }
}
