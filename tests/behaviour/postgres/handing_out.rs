//! Existing accounts handed to a holder and taken back.

use jiff::SignedDuration;
use mayfly::{
    domain::{Access, ExistingAccount, LeaseId, Role},
    random::{Random, SystemRandom},
    target::{ExistingState, HandedOut, Secret, Severity, Target, TargetErrorKind},
};
use tokio_postgres::Client;

use super::{House, code, house, now};
use crate::support::eventually;

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// An account that somebody made, and the lease that it is handed out for.
struct Given {
    account: ExistingAccount,
    lease: LeaseId,
}

impl Given {
    fn named(name: &str) -> Self {
        let account = ExistingAccount::new(name, Vec::new()).unwrap();
        Self { account, lease: LeaseId::new(now(), SystemRandom.bits()) }
    }

    /// Makes an account with a password, within the reach of the administration account.
    async fn with(house: &House, name: &str) -> Self {
        let (quoted, names) = (quoted(name), &house.pg.sample.names);
        let statements = format!(
            "CREATE ROLE {quoted} LOGIN PASSWORD 'standing'; GRANT CONNECT ON DATABASE \"{}\" TO {quoted}; \
             GRANT {quoted} TO \"{}\" WITH ADMIN OPTION",
            names.database, names.administrator
        );
        house.pg.superuser().await.batch_execute(&statements).await.unwrap();
        Self::named(name)
    }

    async fn new(house: &House) -> Self {
        Self::with(house, &format!("app_{:08x}", SystemRandom.bits() >> 32)).await
    }

    fn until(&self, seconds: i64) -> HandedOut<'_> {
        let expires_at = now() + SignedDuration::from_secs(seconds);
        HandedOut { account: &self.account, lease: self.lease, expires_at }
    }

    async fn out(&self, house: &House, seconds: i64) -> Secret {
        let secret = house.target.prepare(&house.reader()).await.unwrap();
        house.target.check_out(self.until(seconds), &secret).await.unwrap();
        secret
    }

    async fn log_in(&self, house: &House, password: &str) -> Result<Client, tokio_postgres::Error> {
        house.pg.login(self.account.name(), password).await
    }

    async fn lets_in(&self, house: &House, secret: &Secret) -> bool {
        self.log_in(house, secret.password.expose()).await.is_ok()
    }

    async fn state(&self, house: &House) -> ExistingState {
        house.target.existing(&self.account).await.unwrap().unwrap()
    }

    async fn superuser(&self, house: &House, change: &str) {
        let change = format!("ALTER ROLE {} {change}", quoted(self.account.name()));
        house.pg.superuser().await.batch_execute(&change).await.unwrap();
    }
}

async fn is_open(session: &Client) -> bool {
    session.batch_execute("SELECT 1").await.is_ok()
}

#[tokio::test]
async fn it_is_its_holders_alone_while_out_and_nobodys_afterwards() {
    let Some(house) = house().await else { return };
    let given = Given::new(&house).await;
    let before = given.log_in(&house, "standing").await.unwrap();
    let secret = given.out(&house, 600).await;
    assert_eq!(code(&given.log_in(&house, "standing").await.err().unwrap()), "28P01");
    assert!(is_open(&before).await, "what is open is for somebody else to end");
    assert_eq!(house.target.end_existing_sessions(&given.account).await.unwrap().remaining, 0);
    assert!(!is_open(&before).await);
    let state = given.state(&house).await;
    let left = state.expires_at.unwrap().duration_since(now()).as_secs();
    assert!(state.may_log_in && (595..=601).contains(&left), "{state:?}");
    house.target.check_out(given.until(600), &secret).await.unwrap();
    let session = given.log_in(&house, secret.password.expose()).await.unwrap();
    let again = given.out(&house, 600).await;
    assert!(!given.lets_in(&house, &secret).await, "the latest password is the only one");
    assert!(given.lets_in(&house, &again).await);
    for _ in 0..2 {
        assert!(house.target.check_in(&given.account).await.unwrap());
        let state = given.state(&house).await;
        assert!(!state.may_log_in && state.expires_at.unwrap() < now());
        assert_eq!(code(&given.log_in(&house, again.password.expose()).await.err().unwrap()), "28P01");
    }
    assert!(is_open(&session).await);
    assert_eq!(house.target.end_existing_sessions(&given.account).await.unwrap().remaining, 0);
    assert!(!is_open(&session).await);
    given.superuser(&house, "LOGIN VALID UNTIL 'infinity'").await;
    assert!(!given.lets_in(&house, &again).await, "enabling it brings no password back");
}

#[tokio::test]
async fn what_it_may_do_and_owns_stays() {
    let Some(house) = house().await else { return };
    let given = Given::new(&house).await;
    let (name, write) = (quoted(given.account.name()), &house.pg.sample.names.write);
    house.pg.superuser().await.batch_execute(&format!("GRANT {write} TO {name}")).await.unwrap();
    let secret = given.out(&house, 600).await;
    let session = given.log_in(&house, secret.password.expose()).await.unwrap();
    session.batch_execute("CREATE TABLE drafts.its_own (id int)").await.unwrap();
    assert!(house.target.check_in(&given.account).await.unwrap());
    assert!(given.state(&house).await.member_of.contains(write));
    let next = given.out(&house, 600).await;
    let session = given.log_in(&house, next.password.expose()).await.unwrap();
    session.batch_execute("INSERT INTO drafts.its_own VALUES (1); SELECT FROM orders").await.unwrap();
}

#[tokio::test]
async fn with_mayfly_gone_the_server_refuses_it_at_its_expiry() {
    let Some(house) = house().await else { return };
    let (given, prolonged) = (Given::new(&house).await, Given::new(&house).await);
    let kept = prolonged.out(&house, 1).await;
    house.target.prolong(prolonged.until(600)).await.unwrap();
    let secret = given.out(&house, 2).await;
    assert!(given.lets_in(&house, &secret).await);
    eventually("the server refuses it", async || (!given.lets_in(&house, &secret).await).then_some(())).await;
    assert!(prolonged.lets_in(&house, &kept).await);
}

#[tokio::test]
async fn what_does_not_exist_is_said_to_be_missing() {
    let Some(house) = house().await else { return };
    let nobody = Given::named("nobody of that name");
    let secret = house.target.prepare(&house.reader()).await.unwrap();
    let error = house.target.check_out(nobody.until(600), &secret).await.unwrap_err();
    assert_eq!(error.kind, TargetErrorKind::Missing, "{error}");
    let error = house.target.prolong(nobody.until(600)).await.unwrap_err();
    assert_eq!(error.kind, TargetErrorKind::Missing, "{error}");
    assert!(!house.target.check_in(&nobody.account).await.unwrap());
}

#[tokio::test]
async fn whoever_administers_or_replicates_is_left_alone() {
    let Some(house) = house().await else { return };
    let secret = house.target.prepare(&house.reader()).await.unwrap();
    for power in ["SUPERUSER", "REPLICATION", "CREATEROLE"] {
        let given = Given::new(&house).await;
        given.superuser(&house, power).await;
        let error = house.target.check_out(given.until(600), &secret).await.unwrap_err();
        assert_eq!(error.kind, TargetErrorKind::Refused, "{power}: {error}");
        assert!(error.message.contains("left alone"), "{error}");
        given.log_in(&house, "standing").await.unwrap();
        let out = Given::new(&house).await;
        out.out(&house, 600).await;
        out.superuser(&house, power).await;
        house.target.prolong(out.until(900)).await.unwrap_err();
    }
    let own = Given::named(&house.pg.sample.administrator.user);
    for error in [
        house.target.check_out(own.until(600), &secret).await.unwrap_err(),
        house.target.check_in(&own.account).await.unwrap_err(),
    ] {
        assert!(error.message.contains("by which Mayfly administers"), "{error}");
    }
    house.pg.administrator().await;
}

#[tokio::test]
async fn what_became_a_superuser_while_out_is_told_with_what_mends_it() {
    let Some(house) = house().await else { return };
    let given = Given::new(&house).await;
    given.out(&house, 600).await;
    given.superuser(&house, "SUPERUSER").await;
    let error = house.target.check_in(&given.account).await.unwrap_err();
    assert_eq!(error.kind, TargetErrorKind::Denied, "{error}");
    house.pg.superuser().await.batch_execute(&error.remedy.unwrap()).await.unwrap();
    assert!(house.target.check_in(&given.account).await.unwrap());
}

#[tokio::test]
async fn every_name_is_only_a_name() {
    let Some(house) = house().await else { return };
    for piece in ["a'b", "a\"b", "a\\", "x; DROP ROLE y; --", "é"] {
        let name = format!("{piece}{:08x}", SystemRandom.bits() >> 32);
        let given = Given::with(&house, &name).await;
        let secret = given.out(&house, 600).await;
        assert!(given.lets_in(&house, &secret).await, "{name}");
        house.target.prolong(given.until(900)).await.unwrap();
        assert!(house.target.check_in(&given.account).await.unwrap());
        assert!(!given.lets_in(&house, &secret).await, "{name}");
    }
}

#[tokio::test]
async fn the_doctor_says_what_is_wrong_with_accounts_that_are_handed_out() {
    let Some(house) = house().await else { return };
    let (given, mighty) = (Given::new(&house).await, Given::new(&house).await);
    mighty.superuser(&house, "SUPERUSER").await;
    let said = async |name: &str, words: &str| {
        let access = Access::Checkout { account: name.to_owned(), queue: 1 };
        let role = Role { access, member_of: Vec::new(), ..house.reader() };
        let findings = house.target.examine(&[&role]).await.findings;
        findings.into_iter().find(|finding| finding.summary.contains(words)).map(|finding| finding.severity)
    };
    let standing = "can still log in with a standing password";
    assert_eq!(said("nobody of that name", "does not exist").await, Some(Severity::Problem));
    assert_eq!(said(mighty.account.name(), "is left alone").await, Some(Severity::Problem));
    assert_eq!(said(given.account.name(), standing).await, Some(Severity::Warning));
    given.out(&house, 600).await;
    assert_eq!(said(given.account.name(), standing).await, None, "its password is its holder's");
    assert!(house.target.check_in(&given.account).await.unwrap());
    assert_eq!(said(given.account.name(), standing).await, None);
}

#[tokio::test]
async fn from_release_16_on_an_account_out_of_reach_is_told_with_what_brings_it_within() {
    let Some(house) = house().await else { return };
    if house.pg.server.version().major < 16 {
        return;
    }
    let given = Given::new(&house).await;
    let (name, administrator) = (quoted(given.account.name()), &house.pg.sample.names.administrator);
    let superuser = house.pg.superuser().await;
    superuser.batch_execute(&format!("REVOKE {name} FROM \"{administrator}\"")).await.unwrap();
    let secret = house.target.prepare(&house.reader()).await.unwrap();
    let error = house.target.check_out(given.until(600), &secret).await.unwrap_err();
    assert_eq!(error.kind, TargetErrorKind::Denied, "{error}");
    let access = Access::Checkout { account: given.account.name().to_owned(), queue: 1 };
    let role = Role { access, member_of: Vec::new(), ..house.reader() };
    let findings = house.target.examine(&[&role]).await.findings;
    let found = findings.into_iter().find(|finding| finding.summary.contains("may not change")).unwrap();
    superuser.batch_execute(&found.remedy.unwrap()).await.unwrap();
    house.target.check_out(given.until(600), &secret).await.unwrap();
    house.target.end_existing_sessions(&given.account).await.unwrap();
    assert!(house.target.check_in(&given.account).await.unwrap());
}
