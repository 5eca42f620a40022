//! Reaching the server, or not: privileges, hosts, silence, TLS.

use std::{
    fs,
    net::{Ipv4Addr, TcpListener},
    time::{Duration, Instant},
};

use jiff::SignedDuration;
use mayfly::{
    domain::{Engine, OwnedObjects, Password},
    sandbox::{Server, ServerSpec, ServerTls},
    target::{
        Examination, Severity, Target, TargetError, TargetErrorKind, TargetSettings, TlsMode, TlsSettings,
        postgres::Postgres,
    },
};

use super::{House, Lease, house, settings, surroundings};
use crate::support::{self, PgFixture, TestCertificates};

fn target(settings: TargetSettings) -> Postgres {
    Postgres::new(settings, surroundings()).unwrap()
}

fn problems(examination: &Examination) -> Vec<&str> {
    let problems = examination.findings.iter().filter(|finding| finding.severity == Severity::Problem);
    problems.map(|finding| finding.summary.as_str()).collect()
}

#[tokio::test]
async fn a_sound_target_has_no_problems() {
    let Some(house) = house().await else { return };
    let (mut reader, writer) = (house.reader(), house.writer());
    reader.owned_objects = OwnedObjects::Reassign(house.pg.sample.names.owner.clone());
    let examination = house.target.examine(&[&reader, &writer]).await;
    assert!(problems(&examination).is_empty(), "{examination:?}");
    let server = examination.server.unwrap();
    assert_eq!(server, house.target.ping().await.unwrap());
    assert!(server.version.starts_with(&house.pg.server.version().major.to_string()));
    assert!(examination.clock_offset.unwrap().abs() < SignedDuration::from_secs(1));
    let few = examination.findings.iter().any(|finding| finding.summary.contains("64 SCRAM iterations"));
    assert!(few, "{:?}", examination.findings);
}

#[tokio::test]
async fn what_is_missing_is_named_as_sql_that_mends_it() {
    let Some(house) = house().await else { return };
    let (names, superuser) = (&house.pg.sample.names, house.pg.superuser().await);
    let mut role = house.reader();
    role.member_of.push(format!("{}_missing", names.read));
    role.owned_objects = OwnedObjects::Reassign(names.owner.clone());
    superuser
        .batch_execute(&format!(
            "ALTER ROLE {user} NOCREATEROLE; REVOKE {read}, {owner} FROM {user}; ALTER ROLE {owner} LOGIN",
            user = names.administrator,
            read = names.read,
            owner = names.owner,
        ))
        .await
        .unwrap();
    let lease = Lease::under(&role);
    let error = house.create(&role, &lease).await.unwrap_err();
    let remedy = error.remedy.clone().unwrap_or_default();
    assert_eq!(error.kind, TargetErrorKind::Denied, "{error:?}");
    assert!(remedy.contains(&format!("ALTER ROLE \"{}\" CREATEROLE;", names.administrator)), "{remedy}");
    let examination = house.target.examine(&[&role]).await;
    assert!(problems(&examination).len() >= 3, "{examination:?}");
    for finding in examination.findings.iter().filter(|finding| finding.severity == Severity::Problem) {
        let remedy = finding.remedy.as_ref().unwrap();
        superuser.batch_execute(remedy).await.unwrap_or_else(|error| panic!("{remedy}: {error}"));
    }
    // A group that did not exist had to be made before the right to grant it could be missed.
    for finding in house.target.examine(&[&role]).await.findings {
        if let Some(remedy) = finding.remedy.filter(|_| finding.severity == Severity::Problem) {
            superuser.batch_execute(&remedy).await.unwrap();
        }
    }
    assert!(problems(&house.target.examine(&[&role]).await).is_empty());
    house.create(&role, &lease).await.unwrap();
}

#[tokio::test]
async fn a_setting_that_is_not_for_everybody_is_named() {
    let Some(house) = house().await else { return };
    let mut role = house.reader();
    role.settings.insert("log_min_duration_statement".to_owned(), "0".to_owned());
    let lease = Lease::under(&role);
    let error = house.create(&role, &lease).await.unwrap_err();
    assert_eq!(error.kind, TargetErrorKind::Denied);
    let remedy = error.remedy.unwrap();
    assert!(remedy.starts_with("GRANT SET ON PARAMETER \"log_min_duration_statement\" TO "), "{remedy}");
    if house.pg.server.version().major >= 15 {
        house.pg.superuser().await.batch_execute(&remedy).await.unwrap();
        house.create(&role, &lease).await.unwrap();
    }
}

async fn kind_and_time(settings: TargetSettings) -> (TargetErrorKind, Duration) {
    let target = target(settings);
    #[expect(clippy::disallowed_methods, reason = "measures how long a real wait takes")]
    let begun = Instant::now();
    let error = target.ping().await.unwrap_err();
    (error.kind, begun.elapsed())
}

#[tokio::test]
async fn a_server_that_is_away_is_unavailable_at_once() {
    let Some(house) = house().await else { return };
    let mut settings = settings(&house.pg);
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    settings.hosts = vec![("127.0.0.1".to_owned(), free.local_addr().unwrap().port())];
    drop(free);
    let (kind, time) = kind_and_time(settings.clone()).await;
    assert_eq!(kind, TargetErrorKind::Unavailable);
    assert!(time < Duration::from_secs(1), "{time:?}");
    let examination = target(settings).examine(&[]).await;
    assert!(examination.server.is_none());
    assert_eq!(problems(&examination).len(), 1);
}

#[tokio::test]
async fn a_server_that_never_answers_is_given_up_on() {
    let Some(house) = house().await else { return };
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mut settings = settings(&house.pg);
    settings.hosts = vec![("127.0.0.1".to_owned(), silent.local_addr().unwrap().port())];
    settings.pool.connect = Duration::from_millis(300);
    let (kind, time) = kind_and_time(settings.clone()).await;
    assert_eq!(kind, TargetErrorKind::Unavailable);
    assert!(time < Duration::from_secs(2), "{time:?}");
    // With a second host that does answer, that one is used.
    settings.pool.connect = Duration::from_secs(3);
    settings.hosts.push(("127.0.0.1".to_owned(), house.pg.port()));
    target(settings).ping().await.unwrap();
}

#[tokio::test]
async fn the_host_that_accepts_writes_is_used() {
    let adjust = |spec: &mut ServerSpec| {
        spec.settings.push(("default_transaction_read_only".to_owned(), "on".to_owned()));
    };
    let Some(read_only) = support::own_server(Engine::Postgres, adjust).await else { return };
    let Some(house) = house().await else { return };
    let admin = read_only.administrator();
    let mut there = settings(&house.pg);
    there.hosts = vec![("127.0.0.1".to_owned(), read_only.port())];
    (there.user, there.password) = (admin.user.clone(), Some(admin.password.clone()));
    let error = target(there).ping().await.unwrap_err();
    assert_eq!(error.kind, TargetErrorKind::Unavailable, "{error}");
    let mut both = settings(&house.pg);
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    both.hosts.insert(0, ("127.0.0.1".to_owned(), free.local_addr().unwrap().port()));
    both.hosts.insert(0, ("127.0.0.1".to_owned(), read_only.port()));
    drop(free);
    target(both).ping().await.unwrap();
}

#[tokio::test]
async fn a_wrong_password_and_a_busy_pool_are_told_apart() {
    let Some(house) = house().await else { return };
    let mut wrong = settings(&house.pg);
    wrong.password = Some(Password::new("wrong".to_owned()));
    assert_eq!(target(wrong).ping().await.unwrap_err().kind, TargetErrorKind::Unauthenticated);
    let mut narrow = settings(&house.pg);
    (narrow.pool.issuing, narrow.pool.wait) = (1, Duration::from_millis(100));
    let house = House { target: target(narrow), pg: house.pg };
    let mut slow = house.reader();
    slow.statements.create = super::templates(&["SELECT pg_sleep(2)"]);
    let (one, two) = (Lease::under(&slow), Lease::under(&slow));
    let (first, second) = tokio::join!(house.create(&slow, &one), house.create(&slow, &two));
    let (served, refused) = if first.is_ok() { (first, second) } else { (second, first) };
    assert!(served.is_ok());
    assert_eq!(refused.unwrap_err().kind, TargetErrorKind::Busy);
}

#[tokio::test]
async fn a_statement_that_takes_too_long_is_stopped_by_the_server() {
    let Some(house) = house().await else { return };
    let mut hasty = settings(&house.pg);
    hasty.pool.statement = Duration::from_millis(200);
    let house = House { target: target(hasty), pg: house.pg };
    let mut slow = house.reader();
    slow.statements.create = super::templates(&["SELECT pg_sleep(30)"]);
    let lease = Lease::under(&slow);
    let error = house.create(&slow, &lease).await.unwrap_err();
    assert_eq!(error.kind, TargetErrorKind::Overran, "{error}");
    assert!(!house.exists(lease.name()).await);
}

#[tokio::test]
async fn connections_that_died_with_the_server_are_replaced() {
    let Some(server) = support::own_server(Engine::Postgres, |_| {}).await else { return };
    let mut house = House::on(PgFixture::on(server).await);
    house.issue(&house.reader()).await;
    house.pg.server.crash().await.unwrap();
    assert_eq!(house.target.ping().await.unwrap_err().kind, TargetErrorKind::Unavailable);
    house.pg.server.start_again().await.unwrap();
    house.issue(&house.reader()).await;
}

async fn tls_server(certificates: &TestCertificates) -> Option<PgFixture<Server>> {
    let adjust = |spec: &mut ServerSpec| {
        let mut tls = certificates.for_servers();
        tls.client_authority = Some(certificates.file("authority.crt"));
        spec.tls = Some(tls);
    };
    Some(PgFixture::on(support::own_server(Engine::Postgres, adjust).await?).await)
}

#[tokio::test]
async fn tls_goes_as_far_as_its_mode_says() {
    let (certificates, strangers) = (TestCertificates::new(), TestCertificates::new());
    let Some(pg) = tls_server(&certificates).await else { return };
    let attempt =
        async |mode, host: &str, authority: &TestCertificates, client: Option<&TestCertificates>| {
            let mut settings = settings(&pg);
            settings.hosts = vec![(host.to_owned(), pg.port())];
            settings.tls = TlsSettings {
                mode,
                ca_file: Some(authority.file("authority.crt")),
                client_certificate: client
                    .map(|client| (client.file("client.crt"), client.file("client.key"))),
            };
            let outcome: Result<_, TargetError> = target(settings).ping().await;
            outcome.map(drop).map_err(|error| error.kind)
        };
    let (ours, theirs) = (&certificates, &strangers);
    assert_eq!(attempt(TlsMode::VerifyFull, "127.0.0.1", ours, Some(ours)).await, Ok(()));
    assert_eq!(attempt(TlsMode::VerifyFull, "localhost", ours, Some(ours)).await, Ok(()));
    let wrong_authority = attempt(TlsMode::VerifyFull, "127.0.0.1", theirs, Some(ours)).await;
    assert_eq!(wrong_authority, Err(TargetErrorKind::Untrusted));
    assert_eq!(attempt(TlsMode::Require, "127.0.0.1", theirs, Some(ours)).await, Ok(()));
    let no_certificate = attempt(TlsMode::Require, "127.0.0.1", ours, None).await;
    assert_eq!(no_certificate, Err(TargetErrorKind::Unauthenticated));
    let stranger = attempt(TlsMode::Require, "127.0.0.1", ours, Some(theirs)).await;
    assert_eq!(stranger, Err(TargetErrorKind::Untrusted));
    let clear = attempt(TlsMode::Disable, "127.0.0.1", ours, None).await;
    assert_eq!(clear, Err(TargetErrorKind::Unauthenticated));
}

#[tokio::test]
async fn a_server_without_tls_is_not_trusted_with_it() {
    let Some(house) = house().await else { return };
    let mut settings = settings(&house.pg);
    settings.tls.mode = TlsMode::Require;
    assert_eq!(target(settings.clone()).ping().await.unwrap_err().kind, TargetErrorKind::Untrusted);
    settings.tls.mode = TlsMode::VerifyFull;
    settings.tls.ca_file = Some("/nowhere/authority.crt".into());
    let error = Postgres::new(settings, surroundings()).err().unwrap();
    assert_eq!(error.kind, TargetErrorKind::Untrusted);
    assert!(error.to_string().contains("/nowhere/authority.crt"));
}

#[tokio::test]
async fn a_certificate_must_name_the_host() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| directory.path().join(name);
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    fs::write(file("server.crt"), made.cert.pem()).unwrap();
    fs::write(file("server.key"), made.signing_key.serialize_pem()).unwrap();
    let tls = ServerTls { certificate: file("server.crt"), key: file("server.key"), client_authority: None };
    let adjust = |spec: &mut ServerSpec| spec.tls = Some(tls);
    let Some(server) = support::own_server(Engine::Postgres, adjust).await else { return };
    let pg = PgFixture::on(server).await;
    let mut settings = settings(&pg);
    settings.tls = TlsSettings {
        mode: TlsMode::VerifyFull,
        ca_file: Some(file("server.crt")),
        client_certificate: None,
    };
    assert_eq!(target(settings.clone()).ping().await.unwrap_err().kind, TargetErrorKind::Untrusted);
    settings.hosts = vec![("localhost".to_owned(), pg.port())];
    target(settings).ping().await.unwrap();
}

#[tokio::test]
async fn an_account_that_cannot_be_ended_for_want_of_a_privilege_says_which() {
    let Some(house) = house().await else { return };
    let (lease, _) = house.issue(&house.reader()).await;
    let (user, superuser) = (&house.pg.sample.administrator.user, house.pg.superuser().await);
    superuser.batch_execute(&format!("ALTER ROLE {user} NOCREATEROLE")).await.unwrap();
    for error in [
        house.target.disable(lease.leased()).await.unwrap_err(),
        house.target.remove(lease.leased()).await.unwrap_err(),
        house.target.renew(lease.leased(), super::now()).await.unwrap_err(),
    ] {
        assert_eq!(error.kind, TargetErrorKind::Denied, "{error}");
        assert_eq!(error.remedy.unwrap(), format!("ALTER ROLE \"{user}\" CREATEROLE;"));
    }
    superuser.batch_execute(&format!("ALTER ROLE {user} CREATEROLE")).await.unwrap();
    house.end(&lease).await;
}

#[tokio::test]
async fn a_group_that_does_not_exist_is_named_with_the_statement_that_makes_it() {
    let Some(house) = house().await else { return };
    let mut role = house.reader();
    role.member_of.push("no such group".to_owned());
    let error = house.create(&role, &Lease::under(&role)).await.unwrap_err();
    assert_eq!(error.kind, TargetErrorKind::Refused);
    assert_eq!(error.remedy.unwrap(), "CREATE ROLE \"no such group\" NOLOGIN;");
}
