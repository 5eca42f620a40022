//! The steps of ending: each twice, each with sessions that resist.

use mayfly::{
    domain::ObjectCounts,
    target::{Glance, Session, SessionsEnded, Survey, Target},
};
use mysql_async::{Conn, prelude::Queryable};

use super::{
    on_both,
    rig::{Issued, Rig},
};
use crate::support::eventually;

on_both!(
    every_step_done_twice_has_the_effect_of_once,
    an_account_that_never_was_ends_as_well,
    a_disabled_account_lets_nobody_in,
    an_idle_session_is_ended,
    a_busy_session_is_ended,
    an_open_transaction_is_rolled_back,
    sessions_are_shown,
    a_session_that_survives_the_drop_is_not_taken_for_gone,
    many_accounts_are_told_apart_and_end_in_one_go,
    a_session_that_survives_the_drop_of_many_leaves_none_taken_for_gone,
);

async fn every_step_done_twice_has_the_effect_of_once(rig: Rig) {
    let issued = rig.issue(&rig.role()).await;
    for _ in 0..2 {
        let survey = rig.target.disable(issued.leased()).await.unwrap();
        assert_eq!(survey, Survey { present: true, sessions: 0, has_objects: false });
    }
    for _ in 0..2 {
        let ended = rig.target.end_sessions(issued.leased()).await.unwrap();
        assert_eq!(ended, SessionsEnded::default());
    }
    for _ in 0..2 {
        assert_eq!(rig.target.settle_objects(issued.leased()).await.unwrap(), ObjectCounts::default());
    }
    for _ in 0..2 {
        assert!(rig.target.remove(issued.leased()).await.unwrap());
    }
    assert!(!rig.has(&issued).await);
    let survey = rig.target.disable(issued.leased()).await.unwrap();
    assert_eq!(survey, Survey { present: false, sessions: 0, has_objects: false });
}

async fn an_account_that_never_was_ends_as_well(rig: Rig) {
    let issued = rig.plan(&rig.role()).await;
    assert!(!rig.target.disable(issued.leased()).await.unwrap().present);
    assert!(rig.end(&issued).await);
}

async fn a_disabled_account_lets_nobody_in(rig: Rig) {
    let issued = rig.issue(&rig.role()).await;
    drop(rig.login(&issued).await.unwrap());
    rig.target.disable(issued.leased()).await.unwrap();
    let refused = rig.login(&issued).await.unwrap_err();
    assert!(refused.to_string().contains("locked"), "{refused}");
}

async fn disable_and_end(rig: &Rig, issued: &Issued) -> SessionsEnded {
    let survey = rig.target.disable(issued.leased()).await.unwrap();
    assert_eq!((survey.sessions, survey.has_objects), (1, true), "a session may yet define something");
    rig.target.end_sessions(issued.leased()).await.unwrap()
}

async fn an_idle_session_is_ended(rig: Rig) {
    let issued = rig.issue(&rig.role()).await;
    let mut session = rig.login(&issued).await.unwrap();
    session.query_drop("SELECT 1").await.unwrap();
    assert_eq!(disable_and_end(&rig, &issued).await, SessionsEnded { ended: 1, remaining: 0 });
    assert!(session.query_drop("SELECT 1").await.is_err());
    assert!(rig.target.remove(issued.leased()).await.unwrap());
}

/// Waits until the session's statement runs.
async fn is_running(rig: &Rig, words: &str) {
    eventually("the statement runs", async || {
        let question = format!(
            "SELECT ID FROM information_schema.PROCESSLIST WHERE INFO LIKE '{words}%' AND COMMAND = 'Query'"
        );
        rig.root_knows(question).await
    })
    .await;
}

async fn a_busy_session_is_ended(rig: Rig) {
    let issued = rig.issue(&rig.role()).await;
    let mut session = rig.login(&issued).await.unwrap();
    let mark = format!("SELECT /* {} */ SLEEP", issued.name());
    let statement = format!("{mark}(60) FROM orders");
    let busy = tokio::spawn(async move { session.query_drop(statement).await });
    is_running(&rig, &mark).await;
    assert_eq!(disable_and_end(&rig, &issued).await, SessionsEnded { ended: 1, remaining: 0 });
    assert!(busy.await.unwrap().is_err());
    assert!(rig.end(&issued).await);
}

async fn an_open_transaction_is_rolled_back(rig: Rig) {
    let mut role = rig.role();
    role.member_of = vec![rig.fixture.sample.names.write.clone()];
    let issued = rig.issue(&role).await;
    let mut session = rig.login(&issued).await.unwrap();
    for statement in ["START TRANSACTION", "UPDATE orders SET cents = 0"] {
        session.query_drop(statement).await.unwrap();
    }
    assert_eq!(disable_and_end(&rig, &issued).await, SessionsEnded { ended: 1, remaining: 0 });
    let mut root: Conn = rig.fixture.root().await;
    let untouched: Option<u64> =
        root.query_first("SELECT COUNT(*) FROM orders WHERE cents > 0 FOR UPDATE").await.unwrap();
    assert_eq!(untouched, Some(4));
    assert!(rig.end(&issued).await);
}

async fn sessions_are_shown(rig: Rig) {
    let issued = rig.issue(&rig.role()).await;
    assert_eq!(rig.target.sessions(&issued.account).await.unwrap(), []);
    let session = rig.login(&issued).await.unwrap();
    let shown = eventually("the session sleeps", async || {
        let shown = rig.target.sessions(&issued.account).await.unwrap();
        (shown.first()?.activity.as_deref() == Some("Sleep")).then_some(shown)
    })
    .await;
    let expected = Session {
        id: u64::from(session.id()),
        client: Some("127.0.0.1".parse().unwrap()),
        database: Some(rig.fixture.sample.names.database.clone()),
        started_at: None,
        activity: Some("Sleep".to_owned()),
    };
    assert_eq!(shown, [expected]);
}

async fn a_session_that_survives_the_drop_is_not_taken_for_gone(rig: Rig) {
    let issued = rig.issue(&rig.role()).await;
    let mut session = rig.login(&issued).await.unwrap();
    assert!(!rig.target.remove(issued.leased()).await.unwrap(), "the account is dropped, its session lives");
    assert!(!rig.has(&issued).await);
    session.query_drop("SELECT 1").await.unwrap();
    let ended = rig.target.end_sessions(issued.leased()).await.unwrap();
    assert_eq!(ended, SessionsEnded { ended: 1, remaining: 0 });
    assert!(rig.target.remove(issued.leased()).await.unwrap());
}

async fn many_accounts_are_told_apart_and_end_in_one_go(rig: Rig) {
    let role = rig.role();
    let (used, bare, stray) = (rig.issue(&role).await, rig.issue(&role).await, rig.issue(&role).await);
    let gone = rig.plan(&role).await;
    rig.as_root(format!("CREATE USER '{}'@'10.0.0.1'", stray.name())).await;
    let mut session = rig.login(&used).await.unwrap();
    let all = [used.leased(), bare.leased(), stray.leased(), gone.leased()];
    for _ in 0..2 {
        let seen = rig.target.disable_many(&all).await.unwrap();
        assert_eq!(seen, [Glance::InUse, Glance::Bare, Glance::Laden, Glance::Absent]);
    }
    assert!(rig.login(&bare).await.unwrap_err().to_string().contains("locked"));
    let ended = rig.target.end_sessions_of_many(&all[..2]).await.unwrap();
    // The login that was refused may have been seen as a session on its way out.
    assert_eq!((ended[0], ended[1].remaining), (SessionsEnded { ended: 1, remaining: 0 }, 0));
    assert!(session.query_drop("SELECT 1").await.is_err());
    assert_eq!(rig.target.disable_many(&all[..1]).await.unwrap(), [Glance::Bare]);
    for _ in 0..2 {
        assert_eq!(rig.target.remove_many(&[all[0], all[1], all[3]]).await.unwrap(), [true; 3]);
    }
    assert!(!rig.has(&used).await && !rig.has(&bare).await);
    let watched =
        format!("SELECT COUNT(*) FROM mayfly.accounts WHERE user IN ('{}', '{}')", used.name(), bare.name());
    assert_eq!(rig.root_knows(watched).await.as_deref(), Some("0"), "the switch has forgotten them");
    assert!(rig.end(&stray).await);
}

async fn a_session_that_survives_the_drop_of_many_leaves_none_taken_for_gone(rig: Rig) {
    let role = rig.role();
    let (used, bare) = (rig.issue(&role).await, rig.issue(&role).await);
    let _session = rig.login(&used).await.unwrap();
    assert_eq!(rig.target.remove_many(&[used.leased(), bare.leased()]).await.unwrap(), [false; 2]);
    assert!(rig.end(&used).await && rig.end(&bare).await);
}
