//! Existing accounts handed to a holder and taken back; with Mayfly gone, the server takes them back itself.

use std::time::Duration;

use jiff::SignedDuration;
use mayfly::{
    clock::{Clock, SystemClock},
    domain::{Access, Engine, ExistingAccount, LeaseId, Role},
    random::{Random, SystemRandom},
    target::{Expiry, HandedOut, Secret, Severity, Target, TargetErrorKind},
};
use mysql_async::{Conn, prelude::Queryable};

use super::{on_both, rig::Rig};
use crate::support::eventually;

on_both!(
    it_is_its_holders_alone_while_out_and_nobodys_afterwards,
    what_it_may_do_stays,
    with_mayfly_gone_it_is_locked_at_the_expiry_and_its_sessions_end,
    with_mayfly_gone_what_was_taken_back_has_no_session_for_long,
    prolonging_moves_what_the_server_knows_until_it_has_expired,
    its_next_holder_is_not_hurt_by_the_last_ones_expiry,
    what_another_installation_has_handed_out_is_refused,
    what_does_not_exist_is_said_to_be_missing,
    whoever_administers_or_replicates_is_left_alone,
    an_expired_password_is_no_hindrance,
    every_name_is_only_a_name,
    without_a_switch_it_is_refused_unless_the_issuer_sees_to_expiry,
    the_doctor_says_what_is_wrong_with_accounts_that_are_handed_out,
);

/// An account that somebody made, and the lease that it is handed out for.
struct Given {
    account: ExistingAccount,
    lease: LeaseId,
}

fn quoted(name: &str) -> String {
    format!("'{}'@'127.0.0.1'", name.replace('\\', "\\\\").replace('\'', "''"))
}

fn some_name() -> String {
    format!("app_{:08x}", SystemRandom.bits() >> 32)
}

fn lease() -> LeaseId {
    LeaseId::new(SystemClock.now(), SystemRandom.bits())
}

impl Given {
    /// Makes an account with a password and whatever else.
    async fn with(rig: &Rig, name: &str, how: &str) -> Self {
        rig.as_root(format!("CREATE USER {} {how}", quoted(name))).await;
        Self::named(name)
    }

    async fn new(rig: &Rig) -> Self {
        Self::with(rig, &some_name(), "IDENTIFIED BY 'standing'").await
    }

    fn named(name: &str) -> Self {
        let account = ExistingAccount::new(name, vec!["127.0.0.1".parse().unwrap()]).unwrap();
        Self { account, lease: lease() }
    }

    fn until(&self, seconds: i64) -> HandedOut<'_> {
        let expires_at = SystemClock.now() + SignedDuration::from_secs(seconds);
        HandedOut { account: &self.account, lease: self.lease, expires_at }
    }

    /// Hands it out for so many seconds.
    async fn out(&self, rig: &Rig, seconds: i64) -> Secret {
        let secret = rig.target.prepare(&rig.role()).await.unwrap();
        rig.target.check_out(self.until(seconds), &secret).await.unwrap();
        secret
    }

    async fn back(&self, rig: &Rig) {
        assert!(rig.target.check_in(&self.account).await.unwrap());
        assert_eq!(rig.target.end_existing_sessions(&self.account).await.unwrap().remaining, 0);
    }

    async fn log_in(&self, rig: &Rig, password: &str) -> mysql_async::Result<Conn> {
        rig.fixture.connect(self.account.name(), password).await
    }

    async fn lets_in(&self, rig: &Rig, secret: &Secret) -> bool {
        self.log_in(rig, secret.password.expose()).await.is_ok()
    }

    /// One column of the account's row.
    async fn row(&self, rig: &Rig, column: &str) -> Option<String> {
        let name = self.account.name().replace('\\', "\\\\").replace('\'', "''");
        rig.root_knows(format!("SELECT CAST({column} AS CHAR) FROM mayfly.accounts WHERE user = '{name}'"))
            .await
    }

    async fn is_locked(&self, rig: &Rig) -> bool {
        !rig.target.existing(&self.account).await.unwrap().unwrap().may_log_in
    }

    /// Waits until the switch has locked it.
    async fn locked(&self, rig: &Rig) {
        eventually("the switch locks it", async || {
            (self.row(rig, "locked_at IS NOT NULL").await? == "1").then_some(())
        })
        .await;
        assert!(self.is_locked(rig).await);
    }
}

async fn is_open(session: &mut Conn) -> bool {
    session.query_drop("SELECT 1").await.is_ok()
}

async fn it_is_its_holders_alone_while_out_and_nobodys_afterwards(rig: Rig) {
    let given = Given::new(&rig).await;
    let mut before = given.log_in(&rig, "standing").await.unwrap();
    let secret = given.out(&rig, 600).await;
    assert!(given.log_in(&rig, "standing").await.is_err(), "the standing password is worth nothing any more");
    assert!(is_open(&mut before).await, "what is open is for somebody else to end");
    rig.target.end_existing_sessions(&given.account).await.unwrap();
    assert!(!is_open(&mut before).await);
    let state = rig.target.existing(&given.account).await.unwrap().unwrap();
    let left = state.expires_at.unwrap().duration_since(SystemClock.now()).as_secs();
    assert!(state.may_log_in && (590..=600).contains(&left), "{state:?}");
    rig.target.check_out(given.until(600), &secret).await.unwrap();
    let mut session = given.log_in(&rig, secret.password.expose()).await.unwrap();
    let again = given.out(&rig, 600).await;
    assert!(!given.lets_in(&rig, &secret).await, "the latest password is the only one");
    assert!(given.lets_in(&rig, &again).await);
    for _ in 0..2 {
        assert!(rig.target.check_in(&given.account).await.unwrap());
        assert!(given.is_locked(&rig).await);
    }
    rig.as_root(format!("ALTER USER {} ACCOUNT UNLOCK", quoted(given.account.name()))).await;
    assert!(!given.lets_in(&rig, &again).await, "unlocking it brings no password back");
    given.back(&rig).await;
    assert!(!is_open(&mut session).await);
    assert_eq!(given.row(&rig, "host").await, None, "nothing of it is left with the server");
    assert_eq!(rig.target.existing(&given.account).await.unwrap().unwrap().expires_at, None);
}

async fn what_it_may_do_stays(rig: Rig) {
    let given = Given::new(&rig).await;
    let (name, database) = (quoted(given.account.name()), &rig.fixture.sample.names.database);
    rig.as_root(format!("GRANT SELECT ON {database}.orders TO {name}")).await;
    rig.as_root(format!("GRANT `{}` TO {name}", rig.fixture.sample.names.read)).await;
    let before = rig.target.existing(&given.account).await.unwrap().unwrap().member_of;
    let secret = given.out(&rig, 600).await;
    let mut session = given.log_in(&rig, secret.password.expose()).await.unwrap();
    session.query_drop(format!("SELECT * FROM {database}.orders")).await.unwrap();
    given.back(&rig).await;
    let state = rig.target.existing(&given.account).await.unwrap().unwrap();
    assert_eq!((state.member_of.len(), state.member_of), (1, before));
}

async fn with_mayfly_gone_it_is_locked_at_the_expiry_and_its_sessions_end(rig: Rig) {
    let given = Given::new(&rig).await;
    let mayfly = rig.another(|_| ()).unwrap();
    let secret = mayfly.prepare(&rig.role()).await.unwrap();
    mayfly.check_out(given.until(2), &secret).await.unwrap();
    drop(mayfly);
    let mut session = given.log_in(&rig, secret.password.expose()).await.unwrap();
    assert!(session.query_drop("DO SLEEP(50)").await.is_err(), "it ends in the middle of a statement");
    given.locked(&rig).await;
    assert!(!given.lets_in(&rig, &secret).await);
    given.back(&rig).await;
    assert_eq!(given.row(&rig, "host").await, None);
}

async fn with_mayfly_gone_what_was_taken_back_has_no_session_for_long(rig: Rig) {
    let given = Given::new(&rig).await;
    let secret = given.out(&rig, 600).await;
    let mut session = given.log_in(&rig, secret.password.expose()).await.unwrap();
    assert!(rig.target.check_in(&given.account).await.unwrap());
    assert!(session.query_drop("DO SLEEP(50)").await.is_err(), "the server ends it");
}

async fn prolonging_moves_what_the_server_knows_until_it_has_expired(rig: Rig) {
    let given = Given::new(&rig).await;
    let secret = given.out(&rig, 2).await;
    rig.target.prolong(given.until(600)).await.unwrap();
    let short = Given::new(&rig).await;
    short.out(&rig, 2).await;
    short.locked(&rig).await;
    assert!(given.lets_in(&rig, &secret).await);
    let left = given.row(&rig, "TIMESTAMPDIFF(SECOND, UTC_TIMESTAMP(6), expires_at)").await.unwrap();
    assert!((540..=600).contains(&left.parse::<i64>().unwrap()), "{left}");
    let error = rig.target.prolong(short.until(600)).await.unwrap_err();
    assert!(error.kind == TargetErrorKind::Refused && error.message.contains("is locked"), "{error}");
    let stranger = Given { account: given.account.clone(), lease: lease() };
    rig.target.prolong(stranger.until(900)).await.unwrap_err();
}

async fn its_next_holder_is_not_hurt_by_the_last_ones_expiry(rig: Rig) {
    let given = Given::new(&rig).await;
    given.out(&rig, 1).await;
    given.locked(&rig).await;
    assert!(rig.target.check_in(&given.account).await.unwrap());
    let next = Given { account: given.account.clone(), lease: lease() };
    let secret = next.out(&rig, 600).await;
    let other = Given::new(&rig).await;
    other.out(&rig, 0).await;
    other.locked(&rig).await;
    assert!(next.lets_in(&rig, &secret).await, "runs of the switch since then left it alone");
    assert_eq!(next.row(&rig, "lease").await, Some(next.lease.to_string()));
}

async fn what_another_installation_has_handed_out_is_refused(rig: Rig) {
    let given = Given::new(&rig).await;
    let secret = given.out(&rig, 600).await;
    let other = Given { account: given.account.clone(), lease: lease() };
    let theirs = rig.target.prepare(&rig.role()).await.unwrap();
    let error = rig.target.check_out(other.until(600), &theirs).await.unwrap_err();
    assert!(
        error.kind == TargetErrorKind::Refused && error.message.contains("handed out already"),
        "{error}"
    );
    assert!(given.lets_in(&rig, &secret).await);
    rig.as_root(error.remedy.unwrap().lines().last().unwrap()).await;
    other.out(&rig, 600).await;
}

async fn what_does_not_exist_is_said_to_be_missing(rig: Rig) {
    let nobody = Given::named(&some_name());
    let secret = rig.target.prepare(&rig.role()).await.unwrap();
    let error = rig.target.check_out(nobody.until(600), &secret).await.unwrap_err();
    assert_eq!(error.kind, TargetErrorKind::Missing, "{error}");
    let error = rig.target.prolong(nobody.until(600)).await.unwrap_err();
    assert_eq!(error.kind, TargetErrorKind::Missing, "{error}");
    assert!(!rig.target.check_in(&nobody.account).await.unwrap());
    assert_eq!(nobody.row(&rig, "host").await, None);
    let given = Given::new(&rig).await;
    given.out(&rig, 600).await;
    rig.as_root(format!("DROP USER {}", quoted(given.account.name()))).await;
    assert!(!rig.target.check_in(&given.account).await.unwrap());
    assert_eq!(given.row(&rig, "host").await, None, "nor is its expiry kept");
}

async fn whoever_administers_or_replicates_is_left_alone(rig: Rig) {
    let mut grants = vec!["CREATE USER ON *.*", "SUPER ON *.*", "REPLICATION SLAVE ON *.*"];
    if rig.engine == Engine::Mysql {
        grants.extend(["SYSTEM_USER ON *.*", "ROLE_ADMIN ON *.*"]);
    }
    let secret = rig.target.prepare(&rig.role()).await.unwrap();
    for grant in grants {
        let given = Given::new(&rig).await;
        rig.as_root(format!("GRANT {grant} TO {}", quoted(given.account.name()))).await;
        let error = rig.target.check_out(given.until(600), &secret).await.unwrap_err();
        assert_eq!(error.kind, TargetErrorKind::Refused, "{grant}: {error}");
        assert!(error.message.contains("left alone"), "{error}");
        assert_eq!(given.row(&rig, "host").await, None, "{grant}");
        given.log_in(&rig, "standing").await.unwrap();
    }
    let own = Given::named(&rig.settings.user);
    for error in [
        rig.target.check_out(own.until(600), &secret).await.unwrap_err(),
        rig.target.check_in(&own.account).await.unwrap_err(),
    ] {
        assert!(error.message.contains("by which Mayfly administers"), "{error}");
    }
    rig.another(|_| ()).unwrap().ping().await.unwrap();
}

async fn an_expired_password_is_no_hindrance(rig: Rig) {
    let given = Given::with(&rig, &some_name(), "IDENTIFIED BY 'standing' PASSWORD EXPIRE").await;
    let secret = given.out(&rig, 600).await;
    let mut session = given.log_in(&rig, secret.password.expose()).await.unwrap();
    assert!(is_open(&mut session).await);
}

async fn every_name_is_only_a_name(rig: Rig) {
    for piece in ["a'b", "a\"b`c", "a\\", "x; --", "a@b"] {
        let name = format!("{piece}{:06x}", SystemRandom.bits() >> 40);
        let given = Given::with(&rig, &name, "IDENTIFIED BY 'standing'").await;
        let secret = given.out(&rig, 2).await;
        assert!(given.lets_in(&rig, &secret).await, "{name}");
        rig.target.prolong(given.until(1)).await.unwrap();
        given.locked(&rig).await;
        given.back(&rig).await;
        assert_eq!(given.row(&rig, "host").await, None, "{name}");
    }
}

async fn without_a_switch_it_is_refused_unless_the_issuer_sees_to_expiry(rig: Rig) {
    let rights = "CREATE, ALTER, EVENT, SELECT, INSERT, UPDATE, DELETE ON mayfly.*";
    rig.as_root(format!("REVOKE {rights} FROM {}", rig.administrator())).await;
    let given = Given::new(&rig).await;
    let target = rig.another(|_| ()).unwrap();
    let secret = target.prepare(&rig.role()).await.unwrap();
    let error = target.check_out(given.until(600), &secret).await.unwrap_err();
    assert_eq!(error.kind, TargetErrorKind::Refused, "{error}");
    assert!(error.message.contains("would not expire") && error.remedy.unwrap().contains("--install"));
    given.log_in(&rig, "standing").await.unwrap();
    let carefree = rig.another(|settings| settings.expiry = Expiry::Issuer).unwrap();
    carefree.check_out(given.until(600), &secret).await.unwrap();
    assert!(given.lets_in(&rig, &secret).await);
    carefree.prolong(given.until(600)).await.unwrap();
    assert_eq!(carefree.existing(&given.account).await.unwrap().unwrap().expires_at, None);
    assert!(carefree.check_in(&given.account).await.unwrap());
    assert!(!given.lets_in(&rig, &secret).await);
}

fn handing_out(rig: &Rig, account: &str) -> Role {
    Role {
        member_of: Vec::new(),
        access: Access::Checkout { account: account.to_owned(), queue: 1 },
        ..rig.role()
    }
}

async fn the_doctor_says_what_is_wrong_with_accounts_that_are_handed_out(rig: Rig) {
    let (given, mighty) = (Given::new(&rig).await, Given::new(&rig).await);
    rig.as_root(format!("GRANT CREATE USER ON *.* TO {}", quoted(mighty.account.name()))).await;
    let said = async |name: &str, words: &str| {
        let examination = rig.target.examine(&[&handing_out(&rig, name)]).await;
        let found = examination.findings.into_iter().find(|finding| finding.summary.contains(words));
        found.map(|finding| finding.severity)
    };
    let standing = "can still log in with a standing password";
    assert_eq!(said("nobody_of_that_name", "does not exist").await, Some(Severity::Problem));
    assert_eq!(said(mighty.account.name(), "is left alone").await, Some(Severity::Problem));
    assert_eq!(said(given.account.name(), standing).await, Some(Severity::Warning));
    given.out(&rig, 600).await;
    assert_eq!(said(given.account.name(), standing).await, None, "its password is its holder's");
    given.back(&rig).await;
    assert_eq!(said(given.account.name(), standing).await, None);
}

#[tokio::test]
async fn a_second_password_is_worth_nothing_any_more() {
    let Some(rig) = super::rig::mysql().await else { return };
    let given = Given::new(&rig).await;
    let name = quoted(given.account.name());
    for taken_back in [false, true] {
        rig.as_root(format!(
            "ALTER USER {name} IDENTIFIED BY 'newer' RETAIN CURRENT PASSWORD ACCOUNT UNLOCK"
        ))
        .await;
        given.log_in(&rig, "newer").await.unwrap();
        if taken_back {
            given.back(&rig).await;
            rig.as_root(format!("ALTER USER {name} ACCOUNT UNLOCK")).await;
        } else {
            given.log_in(&rig, "standing").await.unwrap();
            let secret = given.out(&rig, 600).await;
            assert!(given.lets_in(&rig, &secret).await);
        }
        for password in ["standing", "newer"] {
            assert!(given.log_in(&rig, password).await.is_err(), "{password}");
        }
    }
}

#[tokio::test]
async fn of_several_ways_to_log_in_none_is_left() {
    let Some(rig) = super::rig::mariadb().await else { return };
    let how = "IDENTIFIED VIA unix_socket OR mysql_native_password USING PASSWORD('standing')";
    let given = Given::with(&rig, &some_name(), how).await;
    given.log_in(&rig, "standing").await.unwrap();
    let secret = given.out(&rig, 600).await;
    assert!(given.lets_in(&rig, &secret).await);
    assert!(given.log_in(&rig, "standing").await.is_err());
    let shown = rig.root_knows(format!("SHOW CREATE USER {}", quoted(given.account.name()))).await.unwrap();
    assert!(!shown.contains("unix_socket") && !shown.contains(" OR "), "{shown}");
    tokio::time::timeout(Duration::from_secs(60), given.back(&rig)).await.unwrap();
}
