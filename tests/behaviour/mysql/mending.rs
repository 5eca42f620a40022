//! Accounts that were altered behind Mayfly's back are put right, and end completely whatever was done to them.

use jiff::SignedDuration;
use mayfly::{
    clock::{Clock, SystemClock},
    domain::{Drift, Engine},
    target::{NewAccount, Target, TargetErrorKind},
};
use mysql_async::prelude::Queryable;

use super::{
    found::{drifted, found},
    on_both,
    rig::{Issued, Rig},
};
use crate::support::eventually;

on_both!(
    whatever_was_done_is_undone_and_undone_again,
    sessions_that_may_have_what_was_gained_are_ended,
    a_group_given_back_is_active_at_the_next_login,
    an_account_that_the_switch_locked_stays_locked,
    an_account_that_must_not_log_in_is_locked,
    what_is_gone_cannot_be_put_right,
    an_altered_account_ends_completely,
    a_host_that_was_added_is_locked_at_once,
);

async fn put_right(rig: &Rig, issued: &Issued) {
    let drift = drifted(rig, issued).await;
    let expires_at = issued.new_account().expires_at;
    for _ in 0..2 {
        rig.target.put_right(issued.leased(), &drift, expires_at).await.unwrap();
    }
    assert_eq!(drifted(rig, issued).await, []);
}

fn quoted(issued: &Issued) -> String {
    format!("'{}'@'127.0.0.1'", issued.name())
}

/// What may be done to an account.
fn ways(rig: &Rig, issued: &Issued) -> Vec<String> {
    let names = &rig.fixture.sample.names;
    let (read, write, database) = (&names.read, &names.write, &names.database);
    let (account, name) = (quoted(issued), issued.name());
    let dynamic = if rig.engine == Engine::Mysql { "ROLE_ADMIN" } else { "CONNECTION ADMIN" };
    let moved =
        |by: &str| format!("UPDATE mayfly.accounts SET expires_at = expires_at {by} WHERE user = '{name}'");
    vec![
        format!("CREATE USER '{name}'@'10.%'"),
        format!("GRANT `{write}` TO {account}"),
        format!("GRANT `{read}` TO {account} WITH ADMIN OPTION"),
        format!("GRANT SUPER, {dynamic} ON *.* TO {account} WITH GRANT OPTION"),
        format!("GRANT ALL PRIVILEGES ON `{database}`.* TO {account}"),
        format!("ALTER USER {account} ACCOUNT LOCK"),
        moved("+ INTERVAL 1 DAY"),
        moved("- INTERVAL 5 MINUTE"),
        format!("REVOKE `{read}` FROM {account}"),
        format!("DELETE FROM mayfly.accounts WHERE user = '{name}'"),
        format!("RENAME USER {account} TO '{name}'@'10.1.%'; CREATE USER {account}"),
    ]
}

async fn whatever_was_done_is_undone_and_undone_again(rig: Rig) {
    let last = rig.issue(&rig.role()).await;
    let all = ways(&rig, &last).len();
    for way in 0..all {
        let issued = rig.issue(&rig.role()).await;
        let done = ways(&rig, &issued).remove(way);
        rig.as_root(&done).await;
        assert_ne!(drifted(&rig, &issued).await, [], "{done}");
        put_right(&rig, &issued).await;
    }
    for done in ways(&rig, &last).into_iter().take(9) {
        rig.as_root(done).await;
    }
    // While it may log in from the host that was added, it does not show that it is locked elsewhere.
    let drift = drifted(&rig, &last).await;
    let expires_at = last.new_account().expires_at;
    rig.target.put_right(last.leased(), &drift, expires_at).await.unwrap();
    assert_eq!(drifted(&rig, &last).await, [Drift::LoginDisabled]);
    put_right(&rig, &last).await;
}

async fn sessions_that_may_have_what_was_gained_are_ended(rig: Rig) {
    let issued = rig.issue(&rig.role()).await;
    rig.as_root(format!("GRANT ALL PRIVILEGES ON *.* TO {} WITH GRANT OPTION", quoted(&issued))).await;
    if rig.engine == Engine::Mysql {
        let kept = format!("REVOKE SYSTEM_USER ON *.* FROM {}", quoted(&issued));
        rig.as_root(kept).await;
    }
    let mut session = rig.login(&issued).await.unwrap();
    session.query_drop("SELECT * FROM mysql.user").await.unwrap();
    put_right(&rig, &issued).await;
    assert!(session.query_drop("SELECT 1").await.is_err());
    let mut session = rig.login(&issued).await.unwrap();
    assert!(session.query_drop("SELECT * FROM mysql.user").await.is_err());
    session.query_drop("SELECT * FROM orders").await.unwrap();
}

async fn a_group_given_back_is_active_at_the_next_login(rig: Rig) {
    let issued = rig.issue(&rig.role()).await;
    rig.as_root(format!("REVOKE `{}` FROM {}", rig.fixture.sample.names.read, quoted(&issued))).await;
    put_right(&rig, &issued).await;
    let mut session = rig.login(&issued).await.unwrap();
    session.query_drop("SELECT * FROM orders").await.unwrap();
}

async fn an_account_that_the_switch_locked_stays_locked(rig: Rig) {
    let issued = rig.plan(&rig.role()).await;
    let new = issued.new_account();
    let soon = SystemClock.now() + SignedDuration::from_secs(1);
    rig.target.create(NewAccount { expires_at: soon, ..new }, &issued.secret).await.unwrap();
    eventually("the switch locks the account", async || {
        (!found(&rig, &issued).await.may_log_in).then_some(())
    })
    .await;
    let later = new.expires_at;
    for drift in [Drift::LoginDisabled, Drift::EndsEarlier { until: soon }] {
        let error = rig.target.put_right(issued.leased(), &[drift], later).await.unwrap_err();
        assert_eq!(error.kind, TargetErrorKind::Refused);
        assert!(error.message.contains("has expired on the target"), "{error}");
    }
    assert!(!found(&rig, &issued).await.may_log_in);
    let live = rig.issue(&rig.role()).await;
    rig.target.disable(live.leased()).await.unwrap();
    let past = SystemClock.now() - SignedDuration::from_secs(1);
    let error = rig.target.put_right(live.leased(), &[Drift::LoginDisabled], past).await.unwrap_err();
    assert!(error.message.contains("the lease has expired"), "{error}");
    assert!(!found(&rig, &live).await.may_log_in);
}

async fn an_account_that_must_not_log_in_is_locked(rig: Rig) {
    let issued = rig.issue(&rig.role()).await;
    let mut session = rig.login(&issued).await.unwrap();
    let past = SystemClock.now() - SignedDuration::from_secs(60);
    rig.target.put_right(issued.leased(), &[Drift::LoginEnabled], past).await.unwrap();
    assert!(!found(&rig, &issued).await.may_log_in);
    assert!(session.query_drop("SELECT 1").await.is_err());
}

async fn what_is_gone_cannot_be_put_right(rig: Rig) {
    let issued = rig.plan(&rig.role()).await;
    let expires_at = issued.new_account().expires_at;
    let error = rig.target.put_right(issued.leased(), &[Drift::LoginDisabled], expires_at).await.unwrap_err();
    assert_eq!(error.kind, TargetErrorKind::Missing);
}

#[tokio::test]
async fn a_group_that_cannot_be_taken_away_on_mysql_is_named_with_the_remedy() {
    let Some(rig) = super::rig::mysql().await else { return };
    let issued = rig.issue(&rig.role()).await;
    let group = rig.fixture.sample.names.owner.clone();
    rig.as_root(format!("CREATE ROLE `{group}`")).await;
    rig.as_root(format!("GRANT `{group}` TO {}", quoted(&issued))).await;
    let drift = drifted(&rig, &issued).await;
    assert_eq!(drift, [Drift::JoinedGroup(group)]);
    let expires_at = issued.new_account().expires_at;
    let error = rig.target.put_right(issued.leased(), &drift, expires_at).await.unwrap_err();
    assert_eq!(error.kind, TargetErrorKind::Denied, "{error:?}");
    rig.as_root(error.remedy.unwrap()).await;
    put_right(&rig, &issued).await;
}

async fn an_altered_account_ends_completely(rig: Rig) {
    let mut role = rig.role();
    role.hosts = vec!["127.0.0.1".parse().unwrap(), "Somewhere.example.com".parse().unwrap()];
    let issued = rig.issue(&role).await;
    let name = issued.name();
    let mut altered = vec![
        format!("CREATE USER '{name}'@'%', '{name}'@'10.0.0.0/255.0.0.0'"),
        format!("RENAME USER '{name}'@'somewhere.example.com' TO '{name}'@'elsewhere.example.com'"),
        format!("GRANT ALL PRIVILEGES ON *.* TO '{name}'@'%' WITH GRANT OPTION"),
        format!("GRANT `{}` TO '{name}'@'%' WITH ADMIN OPTION", rig.fixture.sample.names.write),
        format!("DELETE FROM mayfly.accounts WHERE user = '{name}' AND host = '127.0.0.1'"),
    ];
    if rig.engine == Engine::Mysql {
        altered.push(format!("REVOKE SYSTEM_USER ON *.* FROM '{name}'@'%'"));
        altered.push(format!("ALTER USER '{name}'@'%' ATTRIBUTE '{{\"mayfly\": null}}'"));
    }
    for done in altered {
        rig.as_root(done).await;
    }
    rig.target.disable(issued.leased()).await.unwrap();
    assert!(!found(&rig, &issued).await.may_log_in);
    rig.as_root(format!("ALTER USER '{name}'@'%' ACCOUNT UNLOCK")).await;
    let session = rig.login(&issued).await;
    assert!(rig.end(&issued).await);
    assert!(!rig.has(&issued).await);
    drop(session);
    let question = format!("SELECT host FROM mayfly.accounts WHERE user = '{name}'");
    assert_eq!(rig.root_knows(question).await, None);
}

async fn a_host_that_was_added_is_locked_at_once(rig: Rig) {
    let issued = rig.issue(&rig.role()).await;
    rig.as_root(format!("DROP USER {}; CREATE USER '{}'@'%'", quoted(&issued), issued.name())).await;
    assert!(rig.fixture.connect(issued.name(), "").await.is_ok());
    assert!(rig.target.disable(issued.leased()).await.unwrap().present);
    assert!(rig.fixture.connect(issued.name(), "").await.is_err());
    assert!(rig.end(&issued).await);
    assert!(!rig.has(&issued).await);
}
