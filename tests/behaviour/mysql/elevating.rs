//! Existing accounts given groups for a while; with Mayfly gone, the server takes them back itself.

use jiff::SignedDuration;
use mayfly::{
    clock::{Clock, SystemClock},
    domain::{ExistingAccount, LeaseId},
    random::{Random, SystemRandom},
    target::{Elevated, Expiry, Target, TargetErrorKind},
};
use mysql_async::{Conn, prelude::Queryable};

use super::{on_both, rig::Rig};
use crate::support::eventually;

on_both!(
    with_mayfly_gone_what_was_given_is_taken_at_the_expiry_and_sessions_end,
    sessions_that_are_to_stay_do,
    what_another_lease_holds_longer_stays,
    what_was_taken_back_is_nobodys_to_take_again,
    what_is_given_again_after_its_expiry_is_there,
    every_group_is_only_a_name,
    without_a_switch_nothing_is_given_that_is_to_end_by_itself,
);

fn lease() -> LeaseId {
    LeaseId::new(SystemClock.now(), SystemRandom.bits())
}

/// Somebody's own account.
struct Person {
    account: ExistingAccount,
    group: String,
}

impl Person {
    async fn on(rig: &Rig) -> Self {
        Self::who_may_be(rig, &rig.fixture.sample.names.read).await
    }

    /// With a group that may be hers, which the switch's definer can take from her.
    async fn who_may_be(rig: &Rig, group: &str) -> Self {
        let name = format!("alice_{:08x}", SystemRandom.bits() >> 32);
        rig.as_root(format!("CREATE USER '{name}'@'127.0.0.1' IDENTIFIED BY 'own'")).await;
        let definer = rig
            .root_knows("SELECT DEFINER FROM information_schema.EVENTS WHERE EVENT_SCHEMA = 'mayfly'")
            .await
            .unwrap();
        let (user, host) = definer.rsplit_once('@').unwrap();
        let group_ = group.replace('`', "``");
        rig.as_root(format!("GRANT `{group_}` TO '{user}'@'{host}' WITH ADMIN OPTION")).await;
        let account = ExistingAccount::new(&name, vec!["127.0.0.1".parse().unwrap()]).unwrap();
        Self { account, group: group.to_owned() }
    }

    async fn is_given(&self, rig: &Rig, lease: LeaseId, seconds: i64) {
        self.is_given_with(rig, lease, seconds, true).await;
    }

    async fn is_given_with(&self, rig: &Rig, lease: LeaseId, seconds: i64, ends_sessions: bool) {
        let elevated = Elevated {
            account: &self.account,
            lease,
            groups: std::slice::from_ref(&self.group),
            expires_at: SystemClock.now() + SignedDuration::from_secs(seconds),
            ends_sessions,
            expiry: Expiry::Server,
        };
        rig.target.elevate(elevated).await.unwrap();
    }

    async fn keeps_until(
        &self,
        rig: &Rig,
        lease: LeaseId,
        seconds: i64,
    ) -> Result<(), mayfly::target::TargetError> {
        let expires_at = SystemClock.now() + SignedDuration::from_secs(seconds);
        rig.target.keep_until(&self.account, lease, expires_at).await
    }

    async fn has(&self, rig: &Rig) -> bool {
        rig.target.existing(&self.account).await.unwrap().unwrap().member_of.contains(&self.group)
    }

    async fn loses(&self, rig: &Rig) {
        eventually("the switch takes it", async || (!self.has(rig).await).then_some(())).await;
    }

    async fn logs_in(&self, rig: &Rig) -> Conn {
        rig.fixture.connect(self.account.name(), "own").await.unwrap()
    }

    async fn live_rows(&self, rig: &Rig) -> u32 {
        let question = format!(
            "SELECT CAST(COUNT(*) AS CHAR) FROM mayfly.elevations WHERE user = '{}' AND revoked_at IS NULL",
            self.account.name()
        );
        rig.root_knows(question).await.unwrap().parse().unwrap()
    }
}

/// Waits until the switch has run, whatever it did before.
async fn the_switch_runs(rig: &Rig) {
    for _ in 0..2 {
        let other = Person::on(rig).await;
        other.is_given(rig, lease(), 0).await;
        eventually("the switch runs", async || (other.live_rows(rig).await == 0).then_some(())).await;
    }
}

async fn with_mayfly_gone_what_was_given_is_taken_at_the_expiry_and_sessions_end(rig: Rig) {
    let alice = Person::on(&rig).await;
    alice.is_given(&rig, lease(), 2).await;
    let mut session = alice.logs_in(&rig).await;
    session.query_drop(format!("SET ROLE `{}`", alice.group)).await.unwrap();
    session.query_drop(format!("SELECT * FROM {}.orders", rig.fixture.sample.names.database)).await.unwrap();
    assert!(session.query_drop("DO SLEEP(50)").await.is_err(), "it ends in the middle of a statement");
    assert!(!alice.has(&rig).await);
    let mut session = alice.logs_in(&rig).await;
    the_switch_runs(&rig).await;
    session.query_drop("SELECT 1").await.unwrap();
    session.query_drop(format!("SET ROLE `{}`", alice.group)).await.unwrap_err();
    assert!(rig.target.strip(&alice.account, std::slice::from_ref(&alice.group)).await.unwrap());
}

async fn sessions_that_are_to_stay_do(rig: Rig) {
    let alice = Person::on(&rig).await;
    alice.is_given_with(&rig, lease(), 1, false).await;
    let mut session = alice.logs_in(&rig).await;
    alice.loses(&rig).await;
    the_switch_runs(&rig).await;
    session.query_drop("SELECT 1").await.unwrap();
}

async fn what_another_lease_holds_longer_stays(rig: Rig) {
    let (alice, first, second) = (Person::on(&rig).await, lease(), lease());
    alice.is_given(&rig, first, 600).await;
    alice.is_given(&rig, second, 600).await;
    alice.keeps_until(&rig, first, 1).await.unwrap();
    the_switch_runs(&rig).await;
    assert!(alice.has(&rig).await);
    rig.target.let_go(&alice.account, first).await.unwrap();
    assert_eq!(alice.live_rows(&rig).await, 1);
    alice.keeps_until(&rig, second, 1).await.unwrap();
    alice.loses(&rig).await;
    let error = alice.keeps_until(&rig, second, 600).await.unwrap_err();
    assert!(
        error.kind == TargetErrorKind::Refused && error.message.contains("expired on the target"),
        "{error}"
    );
    rig.target.let_go(&alice.account, second).await.unwrap();
}

async fn what_was_taken_back_is_nobodys_to_take_again(rig: Rig) {
    let (alice, lease) = (Person::on(&rig).await, lease());
    alice.is_given(&rig, lease, 600).await;
    for _ in 0..2 {
        assert!(rig.target.strip(&alice.account, std::slice::from_ref(&alice.group)).await.unwrap());
        assert_eq!(alice.live_rows(&rig).await, 0);
    }
    let mut session = alice.logs_in(&rig).await;
    rig.as_root(format!("GRANT `{}` TO '{}'@'127.0.0.1'", alice.group, alice.account.name())).await;
    alice.keeps_until(&rig, lease, -1).await.unwrap_err();
    the_switch_runs(&rig).await;
    assert!(alice.has(&rig).await, "what an administrator gave her since is hers");
    session.query_drop("SELECT 1").await.unwrap();
}

async fn what_is_given_again_after_its_expiry_is_there(rig: Rig) {
    let (alice, lease) = (Person::on(&rig).await, lease());
    alice.is_given(&rig, lease, 0).await;
    alice.loses(&rig).await;
    alice.is_given(&rig, lease, 600).await;
    the_switch_runs(&rig).await;
    assert!(alice.has(&rig).await);
    assert!(rig.target.strip(&alice.account, std::slice::from_ref(&alice.group)).await.unwrap());
}

async fn every_group_is_only_a_name(rig: Rig) {
    for piece in ["a'b", "a\"b`c", "a\\", "x; --"] {
        let group = format!("{piece}{:06x}", SystemRandom.bits() >> 40);
        let quoted = format!("`{}`", group.replace('`', "``"));
        rig.as_root(format!("CREATE ROLE {quoted}")).await;
        rig.as_root(format!("GRANT {quoted} TO {} WITH ADMIN OPTION", rig.administrator())).await;
        let alice = Person::who_may_be(&rig, &group).await;
        alice.is_given(&rig, lease(), 1).await;
        assert!(alice.has(&rig).await, "{group}");
        alice.loses(&rig).await;
        rig.as_root(format!("DROP ROLE {quoted}")).await;
    }
}

async fn without_a_switch_nothing_is_given_that_is_to_end_by_itself(rig: Rig) {
    let alice = Person::on(&rig).await;
    let rights = "CREATE, ALTER, EVENT, SELECT, INSERT, UPDATE, DELETE ON mayfly.*";
    rig.as_root(format!("REVOKE {rights} FROM {}", rig.administrator())).await;
    let target = rig.another(|_| ()).unwrap();
    let lease = lease();
    let elevated = Elevated {
        account: &alice.account,
        lease,
        groups: std::slice::from_ref(&alice.group),
        expires_at: SystemClock.now() + SignedDuration::from_secs(600),
        ends_sessions: true,
        expiry: Expiry::Server,
    };
    let error = target.elevate(elevated).await.unwrap_err();
    assert!(
        error.kind == TargetErrorKind::Refused && error.remedy.unwrap().contains("--install"),
        "{}",
        error.message
    );
    assert!(!alice.has(&rig).await);
    target.elevate(Elevated { expiry: Expiry::Issuer, ..elevated }).await.unwrap();
    assert!(alice.has(&rig).await);
    target.keep_until(&alice.account, lease, SystemClock.now()).await.unwrap();
    target.let_go(&alice.account, lease).await.unwrap();
    assert!(target.strip(&alice.account, std::slice::from_ref(&alice.group)).await.unwrap());
    let careless = rig.another(|settings| settings.expiry = Expiry::Issuer).unwrap();
    careless.elevate(elevated).await.unwrap();
    assert!(careless.strip(&alice.account, std::slice::from_ref(&alice.group)).await.unwrap());
}
