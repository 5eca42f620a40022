//! A rotation that nothing disturbs, and those that are refused.

use mayfly::{domain::Password, issuer::RefusalKind, store::SecretStore as _, target::Target as _};

use super::rig::Rig;
use crate::support::{
    meddler::{Moment, Step},
    world::{caller, databases, request, target_name},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_rotation_only_the_new_password_works_and_nothing_is_interrupted() {
    for database in databases().await {
        let rig = Rig::new(database);
        let mayfly = rig.start().await;
        let reader = caller("app", &["readers"]);
        mayfly.issuer.issue(&reader, request("shop-read")).await.unwrap();
        let mut last = rig.configured.clone();
        for _ in 0..2 {
            let root = caller("root", &["administrators"]);
            let rotated = mayfly.issuer.rotate_target(&root, &target_name("shop")).await.unwrap();
            assert!(!rotated.resumed);
            let new = mayfly.current().await;
            assert_ne!(new.expose(), last.expose());
            assert!(rig.accepts(&new).await && !rig.accepts(&last).await, "{}", rig.database.engine);
            mayfly.issuer.issue(&reader, request("shop-read")).await.unwrap();
            last = new;
        }
        assert!(!rig.accepts(&rig.configured).await);
        // What was connected stays so; what connects anew does it with the new password, here and after a restart.
        rig.reset(last.expose()).await;
        mayfly.answers().await;
        mayfly.stop().await;
        let mayfly = rig.start().await;
        mayfly.ping().await.unwrap();
        let began_and_done = ["target.rotation_began", "target.rotated"].repeat(2);
        assert_eq!(mayfly.told().await, began_and_done, "and settles nothing that is settled");
        mayfly.stop().await;
    }
}

#[tokio::test]
async fn an_account_that_keeps_its_password_in_another_way_keeps_that_way() {
    let Some(database) =
        databases().await.into_iter().find(|database| database.engine == mayfly::domain::Engine::Mariadb)
    else {
        return;
    };
    let rig = Rig::new(database);
    let user = rig.database.sample.administrator.user.clone();
    let plugin = format!("SELECT plugin FROM mysql.user WHERE User = '{user}'");
    let mayfly = rig.start().await;
    for engine_plugin in ["mysql_native_password", "ed25519"] {
        let known = match engine_plugin {
            "ed25519" => "SELECT PLUGIN_NAME FROM information_schema.PLUGINS WHERE PLUGIN_NAME = 'ed25519'",
            _ => "SELECT 1",
        };
        if rig.database.ask_superuser(rig.server(), known).await.is_empty() {
            continue;
        }
        let secret = rig.configured.expose();
        let alter =
            format!("ALTER USER '{user}'@'%' IDENTIFIED VIA {engine_plugin} USING PASSWORD('{secret}')");
        rig.database.ask_superuser(rig.server(), &alter).await;
        mayfly.rotate().await.unwrap();
        assert!(rig.accepts(&mayfly.current().await).await, "{engine_plugin}");
        assert_eq!(rig.database.ask_superuser(rig.server(), &plugin).await, [engine_plugin]);
    }
    mayfly.stop().await;
}

#[tokio::test]
async fn what_cannot_be_rotated_is_refused_in_words() {
    let Some(database) = databases().await.into_iter().next() else { return };
    let mut rig = Rig::new(database);
    let mayfly = rig.start().await;
    let (root, shop) = (caller("root", &["administrators"]), target_name("shop"));
    let denied = mayfly.issuer.rotate_target(&caller("app", &["readers"]), &shop).await.unwrap_err();
    assert_eq!(denied.kind, RefusalKind::Denied);
    let unknown = mayfly.issuer.rotate_target(&root, &target_name("gone")).await.unwrap_err();
    assert_eq!(unknown.kind, RefusalKind::NotFound);
    assert_eq!(mayfly.told().await, ["target.rotated", "target.rotated"], "refusals are recorded");
    mayfly.stop().await;
    rig.keys = String::new();
    let mayfly = rig.start().await;
    let refused = mayfly.issuer.rotate_target(&root, &shop).await.unwrap_err();
    assert_eq!(refused.kind, RefusalKind::NotConfigured);
    assert!(refused.message.contains("mayfly store sealing-key"), "{refused}");
    let refused = mayfly.issuer.reseal_secrets(&root).await.unwrap_err();
    assert_eq!(refused.kind, RefusalKind::NotConfigured);
    assert_eq!(mayfly.store.secret(&shop).await.unwrap(), None, "nothing was begun");
    mayfly.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_rotations_at_once_one_is_refused_whoever_asks() {
    let Some(database) = databases().await.into_iter().next() else { return };
    let rig = Rig::new(database);
    let mayfly = rig.start().await;
    let replica = rig.replica(&mayfly).await;
    let gate = mayfly.meddler.hold(Step::ChangeOwnPassword, Moment::Before);
    let rotator = std::sync::Arc::clone(&mayfly.rotator);
    let first =
        tokio::spawn(async move { rotator.rotate(&target_name("shop"), mayfly::audit::Actor::System).await });
    gate.reached().await;
    for other in [&mayfly, &replica] {
        let refused = other.rotate().await.unwrap_err();
        assert_eq!(refused.kind, RefusalKind::InProgress, "{refused}");
        assert!(refused.retry_after.is_some());
    }
    gate.open();
    first.await.unwrap().unwrap();
    assert_eq!(mayfly.told().await, ["target.rotation_began", "target.rotated"]);
    // The replica's connections go on, and its new ones find the new password by themselves.
    rig.reset(mayfly.current().await.expose()).await;
    replica.answers().await;
    replica.rotate().await.unwrap();
    rig.reset(mayfly.current().await.expose()).await;
    mayfly.answers().await;
    replica.reaper.stop().await;
    mayfly.stop().await;
}

#[tokio::test]
async fn an_account_of_another_name_begins_anew() {
    let Some(database) = databases().await.into_iter().next() else { return };
    let rig = Rig::new(database);
    let mayfly = rig.start().await;
    let other = mayfly::store::KeptSecret::none("somebody-else");
    let sealed = "v1.0011223344556677.AAAA".parse().unwrap();
    let kept = other.begun(sealed, mayfly::clock::Clock::now(&*rig.clock));
    let draft = mayfly::audit::Draft::new(
        mayfly::clock::Clock::now(&*rig.clock),
        mayfly::audit::Actor::System,
        "target.rotation_began",
        "targets/shop",
    );
    assert!(mayfly.store.keep_secret(&target_name("shop"), kept, draft).await.unwrap());
    mayfly.rotate().await.unwrap();
    assert_eq!(mayfly.kept().await.account, rig.database.sample.administrator.user);
    let password: Password = mayfly.current().await;
    assert!(rig.accepts(&password).await);
    assert!(mayfly.meddler.ping().await.is_ok());
    mayfly.stop().await;
}
