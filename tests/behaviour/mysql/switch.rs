//! The dead-man's switch: with Mayfly gone, the server itself locks what is due and ends its sessions.

use std::time::Duration;

use jiff::SignedDuration;
use mayfly::{
    clock::{Clock, SystemClock},
    domain::Engine,
    target::{Expiry, NewAccount, Severity, Target, TargetErrorKind},
};
use mysql_async::{Conn, prelude::Queryable};

use super::{
    on_both,
    rig::{Issued, Rig},
};
use crate::support::eventually;

on_both!(
    with_mayfly_gone_an_expired_account_is_locked_and_its_session_ends,
    a_renewal_moves_what_the_server_knows,
    an_account_that_expired_on_the_target_is_not_renewed,
    an_account_from_before_the_switch_is_watched_once_renewed,
    an_ended_account_leaves_no_expiry,
    a_creation_that_fails_leaves_no_expiry,
    an_account_that_exists_keeps_its_expiry,
    any_name_is_quoted_and_nothing_without_the_mark_or_an_expiry_is_touched,
    every_host_of_an_account_is_locked,
    nothing_is_issued_where_the_switch_cannot_be_seen,
    a_clock_that_is_wrong_here_does_not_matter,
);

/// The account with another expiry.
fn expiring(issued: &Issued, seconds: i64) -> NewAccount<'_> {
    NewAccount { expires_at: SystemClock.now() + SignedDuration::from_secs(seconds), ..issued.new_account() }
}

async fn issue(rig: &Rig, seconds: i64) -> Issued {
    let issued = rig.plan(&rig.role()).await;
    rig.target.create(expiring(&issued, seconds), &issued.secret).await.unwrap();
    issued
}

/// One column of the account's rows.
async fn rows(rig: &Rig, issued: &Issued, column: &str) -> Vec<String> {
    let mut root: Conn = rig.fixture.root().await;
    let question = format!(
        "SELECT CAST({column} AS CHAR) FROM mayfly.accounts WHERE user = '{}' ORDER BY host",
        issued.name()
    );
    root.query(question).await.unwrap()
}

/// Waits until the switch has locked an account.
async fn locked(rig: &Rig, issued: &Issued) {
    eventually("the switch locks the account", async || {
        (rows(rig, issued, "locked_at IS NOT NULL").await == ["1"]).then_some(())
    })
    .await;
}

async fn with_mayfly_gone_an_expired_account_is_locked_and_its_session_ends(rig: Rig) {
    let issued = rig.plan(&rig.role()).await;
    let mayfly = rig.another(|_| ()).unwrap();
    mayfly.create(expiring(&issued, 2), &issued.secret).await.unwrap();
    drop(mayfly);
    let mut session = rig.login(&issued).await.unwrap();
    let busy = tokio::spawn(async move { session.query_drop("SELECT SLEEP(50) FROM orders").await });
    assert!(busy.await.unwrap().is_err(), "the session ends in the middle of its statement");
    locked(&rig, &issued).await;
    let refused = rig.login(&issued).await.unwrap_err();
    assert!(refused.to_string().contains("locked"), "{refused}");
    let late: f64 = rows(&rig, &issued, "TIMESTAMPDIFF(MICROSECOND, expires_at, locked_at) / 1e6").await[0]
        .parse()
        .unwrap();
    assert!((0.0..5.0).contains(&late), "locked {late} s after the expiry");
    assert!(rig.end(&issued).await, "and Mayfly, back again, ends it as ever");
}

async fn a_renewal_moves_what_the_server_knows(rig: Rig) {
    let issued = issue(&rig, 2).await;
    let later = SystemClock.now() + Duration::from_secs(600);
    rig.target.renew(issued.leased(), later).await.unwrap();
    locked(&rig, &issue(&rig, 3).await).await;
    assert!(rig.login(&issued).await.is_ok());
    let left =
        rows(&rig, &issued, "TIMESTAMPDIFF(SECOND, UTC_TIMESTAMP(6), expires_at)").await[0].parse::<i64>();
    assert!((540..=600).contains(&left.unwrap()));
}

async fn an_account_that_expired_on_the_target_is_not_renewed(rig: Rig) {
    let issued = issue(&rig, 0).await;
    let later = SystemClock.now() + Duration::from_secs(600);
    for _ in 0..2 {
        let error = rig.target.renew(issued.leased(), later).await.unwrap_err();
        assert_eq!(error.kind, TargetErrorKind::Refused);
        assert!(error.message.contains("expired on the target"), "{error}");
        locked(&rig, &issued).await;
    }
    assert!(rig.login(&issued).await.is_err());
}

async fn an_account_from_before_the_switch_is_watched_once_renewed(rig: Rig) {
    let target = rig.another(|settings| settings.expiry = Expiry::Issuer).unwrap();
    let issued = rig.issue(&rig.role()).await;
    rig.as_root(format!("DELETE FROM mayfly.accounts WHERE user = '{}'", issued.name())).await;
    let later = SystemClock.now() + Duration::from_secs(600);
    target.renew(issued.leased(), later).await.unwrap();
    assert_eq!(rows(&rig, &issued, "lease").await, [issued.lease.to_string()]);
}

async fn an_ended_account_leaves_no_expiry(rig: Rig) {
    let issued = rig.issue(&rig.role()).await;
    assert_eq!(rows(&rig, &issued, "host").await, ["127.0.0.1"]);
    let session = rig.login(&issued).await.unwrap();
    assert!(!rig.target.remove(issued.leased()).await.unwrap());
    assert_eq!(rows(&rig, &issued, "host").await.len(), 1, "while a session lives, the switch knows of it");
    drop(session);
    for _ in 0..2 {
        assert!(rig.end(&issued).await);
        assert!(rows(&rig, &issued, "host").await.is_empty());
    }
}

async fn a_creation_that_fails_leaves_no_expiry(rig: Rig) {
    let mut role = rig.role();
    role.member_of = vec!["no_such_group".to_owned()];
    let issued = rig.plan(&role).await;
    rig.target.create(issued.new_account(), &issued.secret).await.unwrap_err();
    assert!(!rig.has(&issued).await);
    assert!(rows(&rig, &issued, "host").await.is_empty());
}

async fn an_account_that_exists_keeps_its_expiry(rig: Rig) {
    let issued = rig.issue(&rig.role()).await;
    let before = rows(&rig, &issued, "expires_at").await;
    let error = rig.target.create(expiring(&issued, 1), &issued.secret).await.unwrap_err();
    assert_eq!(error.kind, TargetErrorKind::Exists);
    assert_eq!(rows(&rig, &issued, "expires_at").await, before);
}

async fn any_name_is_quoted_and_nothing_without_the_mark_or_an_expiry_is_touched(rig: Rig) {
    let id = &rig.settings.user;
    let hostile = format!("mf_'`\"\\ ;{}", &id[6..]);
    let (unmarked, unknown) = (format!("x{}", &id[6..]), rig.issue(&rig.role()).await);
    let literal = |text: &str| format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"));
    for name in [&hostile, &unmarked] {
        rig.as_root(format!("CREATE USER {}@'10.%' IDENTIFIED BY 'x'", literal(name))).await;
        rig.as_root(format!(
            "INSERT INTO mayfly.accounts (user, host, lease, expires_at) VALUES ({}, '10.%', 'l', UTC_TIMESTAMP(6))",
            literal(name)
        ))
        .await;
    }
    rig.as_root(format!("DELETE FROM mayfly.accounts WHERE user = '{}'", unknown.name())).await;
    let is_locked = async |name: &str| {
        let name = literal(name);
        let question = match rig.engine {
            Engine::Mysql => format!("SELECT account_locked FROM mysql.user WHERE User = {name}"),
            _ => format!(
                "SELECT IF(JSON_VALUE(Priv, '$.account_locked'), 'Y', 'N') FROM mysql.global_priv WHERE User = {name}"
            ),
        };
        rig.root_knows(question).await.unwrap() == "Y"
    };
    eventually("the hostile name is locked", async || is_locked(&hostile).await.then_some(())).await;
    locked(&rig, &issue(&rig, 0).await).await;
    assert!(!is_locked(&unmarked).await);
    assert!(rig.login(&unknown).await.is_ok());
}

async fn every_host_of_an_account_is_locked(rig: Rig) {
    let mut role = rig.role();
    role.hosts.push("127.0.0.%".parse().unwrap());
    let issued = rig.plan(&role).await;
    rig.target.create(expiring(&issued, 0), &issued.secret).await.unwrap();
    eventually("both are locked", async || {
        (rows(&rig, &issued, "locked_at IS NOT NULL").await == ["1", "1"]).then_some(())
    })
    .await;
    assert!(rig.login(&issued).await.is_err());
    assert!(rig.end(&issued).await);
    assert!(rows(&rig, &issued, "host").await.is_empty());
}

async fn nothing_is_issued_where_the_switch_cannot_be_seen(rig: Rig) {
    rig.as_root(format!(
        "REVOKE CREATE, ALTER, EVENT, SELECT, INSERT, UPDATE, DELETE ON mayfly.* FROM {}",
        rig.administrator()
    ))
    .await;
    let issued = rig.plan(&rig.role()).await;
    let target = rig.another(|_| ()).unwrap();
    let error = target.create(issued.new_account(), &issued.secret).await.unwrap_err();
    assert_eq!(error.kind, TargetErrorKind::Refused, "{error:?}");
    assert!(error.message.contains("would not expire"), "{error}");
    assert!(!rig.has(&issued).await);
    let examination = target.examine(&[&rig.role()]).await;
    let problem = examination.findings.iter().find(|finding| finding.severity == Severity::Problem).unwrap();
    assert!(problem.summary.contains("nothing is issued"), "{problem:?}");
    let carefree = rig.another(|settings| settings.expiry = Expiry::Issuer).unwrap();
    let warned = carefree.examine(&[&rig.role()]).await;
    assert!(warned.findings.iter().all(|finding| finding.severity != Severity::Problem), "{warned:?}");
    assert!(warned.findings.iter().any(|finding| finding.summary.contains("while Mayfly is down")));
    let without = rig.plan(&rig.role()).await;
    carefree.create(without.new_account(), &without.secret).await.unwrap();
    assert!(rows(&rig, &without, "host").await.is_empty());
    assert!(carefree.remove(without.leased()).await.unwrap());
    rig.as_root(error.remedy.unwrap()).await;
    let target = rig.another(|_| ()).unwrap();
    target.create(issued.new_account(), &issued.secret).await.unwrap();
    assert_eq!(rows(&rig, &issued, "host").await.len(), 1);
}

async fn a_clock_that_is_wrong_here_does_not_matter(rig: Rig) {
    let wrong = mayfly::clock::ManualClock::new("2001-01-01T00:00:00Z".parse().unwrap());
    let clock = std::sync::Arc::new(wrong);
    let surroundings =
        mayfly::target::Surroundings::new(clock.clone(), std::sync::Arc::new(mayfly::random::SystemRandom));
    let target = mayfly::target::mysql::Mysql::new(rig.settings.clone(), surroundings).unwrap();
    let issued = rig.plan(&rig.role()).await;
    let new = NewAccount { expires_at: clock.now() + Duration::from_secs(600), ..issued.new_account() };
    target.create(new, &issued.secret).await.unwrap();
    let left = rows(&rig, &issued, "TIMESTAMPDIFF(SECOND, UTC_TIMESTAMP(6), expires_at)").await;
    assert!((540..=600).contains(&left[0].parse::<i64>().unwrap()), "{left:?}");
}
