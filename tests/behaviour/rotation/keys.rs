//! Sealing keys: changed, missing, lost.

use jiff::SignedDuration;
use mayfly::{
    audit::Actor,
    issuer::{RefusalKind, Resealed},
    random::SystemRandom,
    sealing::{Keyring, SealingKey},
    target::TargetErrorKind,
};

use super::rig::Rig;
use crate::support::{
    meddler::{Moment, Step},
    world::{caller, databases},
};

fn id(key: &str) -> String {
    Keyring::parse(key).unwrap().ids()[0].to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_key_is_named_and_everything_can_be_sealed_anew_with_another() {
    let Some(database) = databases().await.into_iter().next() else { return };
    let mut rig = Rig::new(database);
    let mayfly = rig.start().await;
    mayfly.rotate().await.unwrap();
    mayfly.stop().await;

    let (old, new) = (rig.keys.clone(), SealingKey::draw(&SystemRandom).to_string());
    rig.keys.clone_from(&new);
    let mayfly = rig.start().await;
    let refused = mayfly.ping().await.unwrap_err();
    assert_eq!(refused.kind, TargetErrorKind::Unauthenticated);
    assert!(refused.message.contains(&format!("sealed with the key {}", id(&old))), "{refused}");
    let root = caller("root", &["administrators"]);
    let refused = mayfly.issuer.reseal_secrets(&root).await.unwrap_err();
    assert_eq!(refused.kind, RefusalKind::NotConfigured);
    assert!(refused.message.contains(&id(&old)), "{refused}");
    mayfly.stop().await;

    // Both keys: the first seals, both open.
    rig.keys = format!("{new}\n{old}");
    let mayfly = rig.start().await;
    mayfly.ping().await.unwrap();
    let password = mayfly.current().await;
    let done = mayfly.issuer.reseal_secrets(&root).await.unwrap();
    assert_eq!(done, Resealed { resealed: 1, unchanged: 0 });
    assert_eq!(mayfly.rotator.reseal(&Actor::System).await.unwrap(), Resealed { resealed: 0, unchanged: 1 });
    assert_eq!(mayfly.kept().await.current.unwrap().key().to_string(), id(&new));
    mayfly.stop().await;

    rig.keys = new;
    let mayfly = rig.start().await;
    mayfly.ping().await.unwrap();
    assert_eq!(mayfly.current().await.expose(), password.expose());
    assert_eq!(mayfly.told().await.iter().filter(|action| *action == "target.secret_resealed").count(), 2);
    mayfly.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_key_costs_a_reset_and_nothing_else() {
    let Some(database) = databases().await.into_iter().next() else { return };
    let mut rig = Rig::new(database);
    let mayfly = rig.start().await;
    mayfly.rotate().await.unwrap();
    // A rotation is unfinished as well.
    mayfly.meddler.fail(Step::ChangeOwnPassword, Moment::Before, TargetErrorKind::TimedOut);
    mayfly.rotate().await.unwrap_err();
    mayfly.stop().await;

    rig.keys = SealingKey::draw(&SystemRandom).to_string();
    let mayfly = rig.start().await;
    rig.clock.advance(SignedDuration::from_secs(300));
    // As long as the account may have the password that cannot be opened, that is not given up.
    let refused = mayfly.rotate().await.unwrap_err();
    assert_eq!(refused.kind, RefusalKind::NotConfigured, "{refused}");
    assert!(mayfly.kept().await.pending.is_some());
    rig.reset(rig.configured.expose()).await;
    mayfly.ping().await.unwrap();
    mayfly.rotate().await.unwrap();
    assert!(rig.accepts(&mayfly.current().await).await);
    mayfly.stop().await;
}
