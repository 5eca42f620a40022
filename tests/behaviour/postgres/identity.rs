//! Whether the server that answers is the one that is known.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use mayfly::{
    clock::SystemClock,
    domain::{Engine, TargetName},
    random::SystemRandom,
    sandbox::Server,
    target::{
        Recognition, ServerIdentity, Severity, Surroundings, Target, TargetError, TargetErrorKind,
        TargetSettings, postgres::Postgres,
    },
};

use super::{House, Lease, house, settings};
use crate::support::{self, PgFixture, eventually};

/// Knows the first server it meets, and no other.
#[derive(Default)]
struct FirstMet(Mutex<Vec<String>>);

impl FirstMet {
    fn met(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

#[async_trait]
impl Recognition for FirstMet {
    async fn recognise(&self, target: &TargetName, identity: &ServerIdentity) -> Result<(), TargetError> {
        assert_eq!(target.as_str(), "shop");
        let mut met = self.0.lock().unwrap();
        met.push(identity.to_string());
        if met.first() == met.last() {
            return Ok(());
        }
        Err(TargetError::new(TargetErrorKind::Replaced, "another server answers").mended_by("agree"))
    }
}

fn target(settings: TargetSettings, known: &Arc<FirstMet>) -> Postgres {
    let mut surroundings = Surroundings::new(Arc::new(SystemClock), Arc::new(SystemRandom));
    surroundings.recognition = Arc::clone(known) as Arc<dyn Recognition>;
    Postgres::new(settings, surroundings).unwrap()
}

#[tokio::test]
async fn nothing_is_done_on_a_server_that_took_the_place_of_the_one_known() {
    let Some(mut house) = house().await else { return };
    let Some(other) = support::own_server(Engine::Postgres, |_| {}).await else { return };
    let known = Arc::new(FirstMet::default());
    house.target = target(settings(&house.pg), &known);
    let (lease, _) = house.issue(&house.reader()).await;
    let identifier = "SELECT system_identifier::text FROM pg_control_system()";
    let row = house.pg.superuser().await.query_one(identifier, &[]).await.unwrap();
    assert_eq!(known.met(), [row.get::<_, String>(0)]);

    let there = PgFixture::on(other).await;
    let replaced = target(settings(&there), &known);
    for error in [
        replaced.ping().await.unwrap_err(),
        replaced.disable(lease.leased()).await.unwrap_err(),
        replaced.remove(lease.leased()).await.unwrap_err(),
        replaced.sessions(&lease.account).await.unwrap_err(),
    ] {
        assert_eq!(error.kind, TargetErrorKind::Replaced, "{error}");
        assert!(error.concerns_nothing_sent());
    }
    let role = super::role(&there.sample.names.read);
    let secret = replaced.prepare(&role).await.unwrap();
    let new = Lease::under(&role);
    let new = mayfly::target::NewAccount {
        instance: support::instance(),
        account: &new.account,
        role: &role,
        lease: new.id,
        principal: &new.principal,
        expires_at: super::now(),
    };
    assert_eq!(replaced.create(new, &secret).await.unwrap_err().kind, TargetErrorKind::Replaced);
    let created = "SELECT FROM pg_roles WHERE rolname LIKE 'mf\\_%'";
    assert!(there.superuser().await.query(created, &[]).await.unwrap().is_empty());

    // It can still be looked at, and everything else is examined as well.
    let examination = replaced.examine(&[&role]).await;
    assert!(examination.server.is_some() && examination.clock_offset.is_some());
    let first = examination.findings.first().unwrap();
    assert_eq!((first.severity, first.remedy.as_deref()), (Severity::Problem, Some("agree")));
    assert!(examination.findings.len() > 2, "{:?}", examination.findings);

    // A host that is not the one known is passed over for one that is.
    let mut both = settings(&house.pg);
    both.hosts.insert(0, ("127.0.0.1".to_owned(), there.port()));
    let login =
        format!("CREATE ROLE {} LOGIN PASSWORD '{}'", both.user, both.password.as_ref().unwrap().expose());
    there.superuser().await.batch_execute(&login).await.unwrap();
    target(both, &known).ping().await.unwrap();
    let met = known.met();
    assert!(met[met.len() - 2] != met[0] && met[met.len() - 1] == met[0], "{met:?}");
}

#[tokio::test]
async fn a_server_that_hides_who_it_is_goes_nameless_and_doctor_says_so() {
    let Some(server) = support::own_server(Engine::Postgres, |_| {}).await else { return };
    let pg = PgFixture::on(server).await;
    let mut root = settings(&pg);
    root.user = pg.server.administrator().user.clone();
    let (client, connection) = {
        let mut config = tokio_postgres::Config::new();
        config.host("127.0.0.1").port(pg.port()).dbname("postgres").user(&root.user);
        config.password(pg.server.administrator().password.expose());
        config.connect(tokio_postgres::NoTls).await.unwrap()
    };
    tokio::spawn(connection);
    client.batch_execute("REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC").await.unwrap();
    let known = Arc::new(FirstMet::default());
    let nameless = target(settings(&pg), &known);
    nameless.ping().await.unwrap();
    assert_eq!(known.met(), ["unknown"]);
    let examination = nameless.examine(&[]).await;
    let remedy = examination.findings.iter().find_map(|finding| {
        finding.summary.contains("which one it is").then(|| finding.remedy.clone().unwrap())
    });
    client.batch_execute(&remedy.unwrap()).await.unwrap();
    // Named at last, it is not the one that was known.
    assert_eq!(target(settings(&pg), &known).ping().await.unwrap_err().kind, TargetErrorKind::Replaced);
}

/// Makes a server the standby of another, which is halted meanwhile: its data is that of the other from now on.
async fn make_standby(primary: &mut Server, standby: &mut Server) {
    let (from, to) = (primary.directory().join("data"), standby.directory().join("data"));
    primary.halt().await.unwrap();
    standby.halt().await.unwrap();
    std::fs::remove_dir_all(&to).unwrap();
    for (from, to) in [(from.clone(), to.clone()), (from.join("PG_VERSION"), to.join("standby.signal"))] {
        let copied = tokio::process::Command::new("cp").arg("-a").args([from, to]).status().await.unwrap();
        assert!(copied.success());
    }
    // The superuser has another password there now than the one the standby is asked with.
    let access = "host all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n";
    std::fs::write(to.join("pg_hba.conf"), access).unwrap();
    primary.start_again().await.unwrap();
    standby.start_again().await.unwrap();
}

#[tokio::test]
async fn a_replica_that_takes_over_is_the_same_server() {
    let Some(primary) = support::own_server(Engine::Postgres, |_| {}).await else { return };
    let Some(mut standby) = support::own_server(Engine::Postgres, |_| {}).await else { return };
    let mut house = House::on(PgFixture::on(primary).await);
    make_standby(&mut house.pg.server, &mut standby).await;

    let known = Arc::new(FirstMet::default());
    let mut hosts = settings(&house.pg);
    hosts.hosts.push(("127.0.0.1".to_owned(), standby.port()));
    house.target = target(hosts, &known);
    let (lease, _) = house.issue(&house.reader()).await;
    house.pg.server.halt().await.unwrap();
    let error = eventually("the connections to the primary have ended", async || {
        house.target.ping().await.err().filter(|error| error.kind == TargetErrorKind::Unavailable)
    })
    .await;
    assert!(error.remedy.is_none());
    let mut promoted = tokio_postgres::Config::new();
    promoted.host("127.0.0.1").port(standby.port()).dbname("postgres").user("postgres");
    let (client, connection) = promoted.connect(tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute("SELECT pg_promote()").await.unwrap();
    eventually("the replica has taken over", async || house.target.ping().await.ok()).await;
    let met = known.met();
    assert!(met.len() > 1 && met.iter().all(|identity| *identity == met[0]), "{met:?}");
    // The account was created after the copy: absent, and so ended.
    assert!(!house.target.disable(lease.leased()).await.unwrap().present);
}
