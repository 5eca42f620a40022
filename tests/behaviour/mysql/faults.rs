//! Servers that are down, silent, full, wrong or not for us: told apart, in bounded time.

use std::{future::Future, time::Duration};

use mayfly::{
    domain::{Engine, Password, Template},
    target::{Target, TargetErrorKind, mysql::Mysql},
};
use mysql_async::prelude::Queryable;
use tokio::net::TcpListener;

use super::{
    on_both,
    rig::{self, Rig},
};
use crate::support::{MyFixture, own_server};

on_both!(
    the_other_database_is_refused,
    a_wrong_password_is_told,
    the_first_host_that_works_is_used,
    waiting_for_a_connection_is_bounded,
    a_statement_that_hangs_is_bounded,
    a_killed_idle_connection_is_noticed,
);

/// Fails the test when the answer takes long.
async fn soon<T>(answer: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(8), answer).await.unwrap()
}

fn quick(settings: &mut mayfly::target::TargetSettings) {
    settings.pool.connect = Duration::from_millis(500);
    settings.pool.wait = Duration::from_millis(200);
    settings.pool.statement = Duration::from_millis(1500);
}

async fn the_other_database_is_refused(rig: Rig) {
    let wrong = if rig.engine == Engine::Mysql { Engine::Mariadb } else { Engine::Mysql };
    let target = rig.another(|settings| settings.engine = wrong).unwrap();
    let error = target.ping().await.unwrap_err();
    assert_eq!(error.kind, TargetErrorKind::Refused);
    assert!(error.message.contains(&format!("set engine = \"{}\"", rig.engine)), "{error}");
}

async fn a_wrong_password_is_told(rig: Rig) {
    let target = rig.another(|settings| settings.password = Some(Password::new("wrong".to_owned()))).unwrap();
    let error = target.ping().await.unwrap_err();
    assert_eq!(error.kind, TargetErrorKind::Unauthenticated, "{error:?}");
}

async fn the_first_host_that_works_is_used(rig: Rig) {
    let closed = closed_port().await;
    let target = rig.another(|settings| settings.hosts.insert(0, ("127.0.0.1".to_owned(), closed))).unwrap();
    assert_eq!(target.ping().await.unwrap().engine, rig.engine);
}

/// A port nobody listens at.
async fn closed_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port()
}

async fn waiting_for_a_connection_is_bounded(rig: Rig) {
    let target = rig
        .another(|settings| {
            settings.pool.ending = 1;
            settings.pool.wait = Duration::from_millis(100);
        })
        .unwrap();
    let mut issued = rig.issue(&rig.role()).await;
    issued.plan.end = vec![Template::parse("DO SLEEP(1)").unwrap()];
    let (slow, kept_waiting) =
        tokio::join!(target.settle_objects(issued.leased()), target.sessions(&issued.account));
    slow.unwrap();
    assert_eq!(kept_waiting.unwrap_err().kind, TargetErrorKind::Busy);
    target.sessions(&issued.account).await.unwrap();
}

async fn a_statement_that_hangs_is_bounded(rig: Rig) {
    let mut role = rig.role();
    role.statements.create = vec![Template::parse("DO SLEEP(30)").unwrap()];
    let target = rig.another(|settings| settings.pool.statement = Duration::from_secs(1)).unwrap();
    let issued = rig.plan(&role).await;
    let error = soon(target.create(issued.new_account(), &issued.secret)).await.unwrap_err();
    assert_eq!(error.kind, TargetErrorKind::TimedOut, "{error:?}");
    assert!(error.outcome_is_unknown());
    assert!(rig.end(&issued).await, "whatever came of it can be ended");
}

async fn a_killed_idle_connection_is_noticed(rig: Rig) {
    rig.target.ping().await.unwrap();
    let question =
        format!("SELECT ID FROM information_schema.PROCESSLIST WHERE USER = '{}'", rig.settings.user);
    let id = rig.root_knows(question).await.unwrap();
    rig.as_root(format!("KILL {id}")).await;
    // Fresh enough to be trusted, it fails once and is not used again.
    let _ = rig.target.ping().await;
    rig.target.ping().await.unwrap();
}

#[tokio::test]
async fn a_server_that_is_down_is_unavailable_at_once_and_usable_when_back() {
    for engine in [Engine::Mysql, Engine::Mariadb] {
        let Some(server) = own_server(engine, |_| ()).await else { continue };
        let mut fixture = MyFixture::on(server).await;
        let administrator = fixture.sample.administrator.clone();
        let mut settings =
            rig::settings(engine, fixture.port(), &administrator.user, administrator.password.clone());
        settings.pool.connect = Duration::from_secs(5);
        let target = Mysql::new(settings, rig::surroundings()).unwrap();
        target.ping().await.unwrap();
        fixture.server.crash().await.unwrap();
        let _ = soon(target.ping()).await;
        let error = soon(target.ping()).await.unwrap_err();
        assert_eq!(error.kind, TargetErrorKind::Unavailable, "{error:?}");
        fixture.server.start_again().await.unwrap();
        target.ping().await.unwrap();
    }
}

#[tokio::test]
async fn a_listener_that_says_nothing_is_given_up_on() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    for engine in [Engine::Mysql, Engine::Mariadb] {
        let mut settings = rig::settings(engine, port, "anybody", Password::new(String::new()));
        quick(&mut settings);
        let target = Mysql::new(settings, rig::surroundings()).unwrap();
        let error = soon(target.ping()).await.unwrap_err();
        assert_eq!(error.kind, TargetErrorKind::Unavailable, "{error:?}");
    }
}

#[tokio::test]
async fn a_server_that_is_read_only_is_not_written_to() {
    for engine in [Engine::Mysql, Engine::Mariadb] {
        let Some(server) = own_server(engine, |_| ()).await else { continue };
        let fixture = MyFixture::on(server).await;
        fixture.root().await.query_drop("SET GLOBAL read_only = ON").await.unwrap();
        let administrator = fixture.sample.administrator.clone();
        let settings = rig::settings(engine, fixture.port(), &administrator.user, administrator.password);
        let error = Mysql::new(settings, rig::surroundings()).unwrap().ping().await.unwrap_err();
        assert_eq!(error.kind, TargetErrorKind::Unavailable);
        assert!(error.message.contains("read-only"), "{error}");
    }
}
