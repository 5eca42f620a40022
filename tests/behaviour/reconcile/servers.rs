//! Which server answers for a target.

use std::sync::Arc;

use mayfly::{
    audit::AuditOutcome,
    domain::TargetName,
    issuer::{KnownServers, RefusalKind},
    store::{ServerStore as _, Store as _},
    target::{HealthBoard, Recognition as _, ServerIdentity, TargetErrorKind},
};

use crate::support::world::{World, caller};

fn identity(text: &str) -> ServerIdentity {
    ServerIdentity(text.to_owned())
}

fn servers(world: &World, health: &Arc<HealthBoard>) -> KnownServers {
    KnownServers::new(
        Arc::clone(&world.clock) as Arc<_>,
        Arc::clone(&world.store) as Arc<_>,
        Arc::clone(health),
    )
}

#[tokio::test]
async fn the_first_server_that_answers_is_known_from_then_on_and_no_other_is_used() {
    let world = World::with(Vec::new(), Vec::new()).await;
    let health = Arc::new(HealthBoard::default());
    let shop: TargetName = "shop".parse().unwrap();
    let known = servers(&world, &health);
    // Ten connections at once: one server becomes known, once.
    let (first, second) = (identity("first"), identity("second"));
    let meetings = (0..10).map(|_| known.recognise(&shop, &first));
    assert!(futures_util::future::join_all(meetings).await.iter().all(Result::is_ok));
    assert_eq!(world.audited("target.recognised").await.len(), 1);
    assert_eq!(world.store.known_server(&shop).await.unwrap().unwrap().identity, "first");
    assert_eq!(health.of(&shop).last_error, None);

    for _ in 0..3 {
        let error = known.recognise(&shop, &second).await.unwrap_err();
        assert_eq!(error.kind, TargetErrorKind::Replaced);
        let message = error.to_string();
        assert!(message.contains("first") && message.contains("second"), "{message}");
        assert!(error.remedy.unwrap().contains("mayfly target accept shop"));
    }
    let [record] = &world.audited("target.replaced").await[..] else { panic!("recorded once") };
    assert_eq!((record.outcome, &*record.details["found"]), (AuditOutcome::Refused, "second"));
    assert!(health.of(&shop).last_error.unwrap().contains("second"));
    assert_eq!(known.stranger(&shop), Some(second.clone()));
    // The one known answers again, and a third one comes.
    known.recognise(&shop, &first).await.unwrap();
    assert_eq!(known.stranger(&shop), None);
    known.recognise(&shop, &identity("third")).await.unwrap_err();
    assert_eq!(world.audited("target.replaced").await.len(), 2);
    // After a restart the first one is still the one known; other targets have servers of their own.
    let known = servers(&world, &health);
    known.recognise(&shop, &second).await.unwrap_err();
    known.recognise(&"stock".parse().unwrap(), &second).await.unwrap();
}

#[tokio::test]
async fn a_server_that_cannot_be_told_is_not_used() {
    let world = World::with(Vec::new(), Vec::new()).await;
    let known = servers(&world, &Arc::new(HealthBoard::default()));
    world.store.close().await;
    let error = known.recognise(&"shop".parse().unwrap(), &identity("first")).await.unwrap_err();
    assert_eq!(error.kind, TargetErrorKind::Unavailable);
}

#[tokio::test]
async fn only_administrators_agree_to_another_server() {
    let world = World::with(Vec::new(), Vec::new()).await;
    let shop = "shop".parse().unwrap();
    let app = caller("app", &["readers"]);
    let denied = world.issuer.accept_server(&app, &shop, &identity("x")).await.unwrap_err();
    assert_eq!(denied.kind, RefusalKind::Denied);
    let administrator = caller("root", &["administrators"]);
    let refusal = world.issuer.accept_server(&administrator, &shop, &identity("x")).await.unwrap_err();
    assert_eq!(refusal.kind, RefusalKind::NotFound);
}
