//! A privilege that is missing is named, and the statement that comes with the error mends it.

use mayfly::{
    domain::Engine,
    target::{Target, TargetError, TargetErrorKind, Which},
};

use super::{on_both, rig::Rig};

on_both!(
    without_create_user_nothing_can_be_created_or_locked,
    without_the_admin_option_nobody_becomes_a_member,
    without_connection_admin_nobody_is_ended,
    without_sight_of_accounts_nothing_is_verified,
    without_sight_of_how_accounts_stand_none_is_listed,
);

async fn mended(rig: &Rig, error: TargetError) {
    assert_eq!(error.kind, TargetErrorKind::Denied, "{error:?}");
    let remedy = error.remedy.unwrap();
    assert!(remedy.contains(&rig.administrator()), "{remedy}");
    rig.as_root(remedy).await;
}

/// Takes privileges away from sessions that are open as well.
async fn revoke(rig: &Rig, what: &str) {
    rig.as_root(format!("REVOKE {what} FROM {}", rig.administrator())).await;
}

async fn without_create_user_nothing_can_be_created_or_locked(rig: Rig) {
    revoke(&rig, "CREATE USER ON *.*").await;
    if rig.engine == Engine::Mariadb {
        // There, UPDATE on the tables of accounts is as good.
        revoke(&rig, "UPDATE ON mysql.*").await;
    }
    let target = rig.another(|_| ()).unwrap();
    let issued = rig.plan(&rig.role()).await;
    let error = target.create(issued.new_account(), &issued.secret).await.unwrap_err();
    assert!(
        error.remedy.as_deref().unwrap_or_default().starts_with("GRANT CREATE USER ON *.* TO"),
        "{error:?}"
    );
    assert!(!rig.has(&issued).await);
    mended(&rig, error).await;
    if rig.engine == Engine::Mariadb {
        let target = rig.another(|_| ()).unwrap();
        let error = target.create(issued.new_account(), &issued.secret).await.unwrap_err();
        assert!(error.message.contains("default role"), "{error}");
        assert!(!rig.has(&issued).await, "what was created in part is dropped");
        mended(&rig, error).await;
    }
    let target = rig.another(|_| ()).unwrap();
    target.create(issued.new_account(), &issued.secret).await.unwrap();
    revoke(&rig, "CREATE USER ON *.*").await;
    if rig.engine == Engine::Mysql {
        let target = rig.another(|_| ()).unwrap();
        mended(&rig, target.disable(issued.leased()).await.unwrap_err()).await;
        assert!(rig.another(|_| ()).unwrap().disable(issued.leased()).await.unwrap().present);
    }
}

async fn without_the_admin_option_nobody_becomes_a_member(rig: Rig) {
    let group = rig.fixture.sample.names.read.clone();
    revoke(&rig, &format!("`{group}`")).await;
    let target = rig.another(|_| ()).unwrap();
    let issued = rig.plan(&rig.role()).await;
    let error = target.create(issued.new_account(), &issued.secret).await.unwrap_err();
    assert!(
        error.remedy.as_deref().unwrap_or_default().contains(&format!("GRANT `{group}` TO ")),
        "{error:?}"
    );
    assert!(!rig.has(&issued).await);
    mended(&rig, error).await;
    let target = rig.another(|_| ()).unwrap();
    target.create(issued.new_account(), &issued.secret).await.unwrap();
}

async fn without_connection_admin_nobody_is_ended(rig: Rig) {
    let name = if rig.engine == Engine::Mysql { "CONNECTION_ADMIN" } else { "CONNECTION ADMIN" };
    let issued = rig.issue(&rig.role()).await;
    let _session = rig.login(&issued).await.unwrap();
    revoke(&rig, &format!("{name} ON *.*")).await;
    let target = rig.another(|_| ()).unwrap();
    let error = target.end_sessions(issued.leased()).await.unwrap_err();
    assert!(error.remedy.as_deref().unwrap_or_default().contains(name), "{error:?}");
    mended(&rig, error).await;
    let target = rig.another(|_| ()).unwrap();
    assert_eq!(target.end_sessions(issued.leased()).await.unwrap().remaining, 0);
}

async fn without_sight_of_accounts_nothing_is_verified(rig: Rig) {
    let issued = rig.issue(&rig.role()).await;
    let seen = match rig.engine {
        Engine::Mysql => "SELECT (User) ON mysql.user",
        _ => "SELECT ON mysql.*",
    };
    revoke(&rig, seen).await;
    let target = rig.another(|_| ()).unwrap();
    let error = target.remove(issued.leased()).await.unwrap_err();
    mended(&rig, error).await;
    assert!(rig.another(|_| ()).unwrap().remove(issued.leased()).await.unwrap());
}

async fn without_sight_of_how_accounts_stand_none_is_listed(rig: Rig) {
    let issued = rig.issue(&rig.role()).await;
    let named = [&issued.account.name];
    assert_eq!(rig.target.accounts(Which::Named(&named)).await.unwrap().len(), 1);
    let seen: &[&str] = match rig.engine {
        Engine::Mysql => {
            &["SELECT (account_locked) ON mysql.user", "SELECT ON mysql.role_edges", "SELECT ON mysql.db"]
        }
        _ => &["SELECT ON mysql.*"],
    };
    for seen in seen {
        revoke(&rig, seen).await;
        let target = rig.another(|_| ()).unwrap();
        mended(&rig, target.accounts(Which::Named(&named)).await.unwrap_err()).await;
        let target = rig.another(|_| ()).unwrap();
        assert_eq!(target.accounts(Which::Named(&named)).await.unwrap().len(), 1);
    }
}
