//! Accounts as they stand: found by name and by page, with their marks, and with whatever was done to them.

use jiff::SignedDuration;
use mayfly::{
    domain::{Drift, Engine, Expected, FoundAccount, Template, drift},
    target::{Expiry, Target, TargetErrorKind, Which},
};

use super::{
    on_both,
    rig::{Issued, Rig},
};

on_both!(
    an_account_is_found_as_it_was_left,
    pages_are_in_the_order_of_bytes_and_leave_foreign_accounts_out,
    what_was_done_to_an_account_is_seen,
    an_expiry_that_was_moved_or_forgotten_is_seen,
    an_expiry_without_an_account_is_no_account,
    what_statements_of_the_role_gave_is_no_drift,
    without_the_switch_an_account_has_no_expiry,
);

/// What is found of an account.
pub(super) async fn found(rig: &Rig, issued: &Issued) -> FoundAccount {
    let name = &issued.account.name;
    let mut found = rig.target.accounts(Which::Named(&[name])).await.unwrap();
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

/// How an account differs from what its lease says.
pub(super) async fn drifted(rig: &Rig, issued: &Issued) -> Vec<Drift> {
    let expected = Expected {
        account: &issued.account,
        expires_at: Some(issued.new_account().expires_at),
        member_of: &issued.role.member_of,
    };
    drift(&expected, &found(rig, issued).await, rig.target.keeps_expiry())
}

async fn an_account_is_found_as_it_was_left(rig: Rig) {
    let mut role = rig.role();
    role.hosts = vec!["localhost".parse().unwrap(), "127.0.0.1".parse().unwrap()];
    let issued = rig.issue(&role).await;
    let agreed = issued.new_account();
    let found = found(&rig, &issued).await;
    assert_eq!(found.account.name, issued.account.name);
    assert_eq!(found.account.hosts, ["127.0.0.1".parse().unwrap(), "localhost".parse().unwrap()]);
    assert_eq!(found.mark, Some(agreed.mark()));
    assert!(found.may_log_in);
    assert_eq!(found.member_of, issued.role.member_of);
    assert_eq!(found.powers, Vec::<String>::new());
    let off = found.expires_at.unwrap().duration_since(agreed.expires_at).abs();
    assert!(off < SignedDuration::from_secs(20), "{off:?}");
    assert_eq!(drifted(&rig, &issued).await, []);
    rig.target.disable(issued.leased()).await.unwrap();
    assert_eq!(drifted(&rig, &issued).await, [Drift::LoginDisabled]);
    assert!(rig.end(&issued).await);
    assert!(rig.target.accounts(Which::Named(&[&issued.account.name])).await.unwrap().is_empty());
    assert!(rig.target.accounts(Which::Named(&[])).await.unwrap().is_empty());
}

async fn pages_are_in_the_order_of_bytes_and_leave_foreign_accounts_out(rig: Rig) {
    let mut ours = Vec::new();
    for role in ["b", "a", "c"] {
        let mut leased = rig.role();
        leased.name = role.parse().unwrap();
        ours.push(rig.issue(&leased).await.account.name);
    }
    ours.sort();
    let foreign = format!("mf_a_{}", rig.settings.user);
    rig.as_root(format!("CREATE USER '{foreign}'@localhost")).await;
    for limit in [1, 2, 1000] {
        let mut seen = Vec::new();
        let mut last: Option<String> = None;
        loop {
            let which = Which::After { name: last.as_deref(), limit };
            let page = rig.target.accounts(which).await.unwrap();
            assert!(page.len() <= limit as usize);
            seen.extend(page.iter().map(|found| found.account.name.clone()));
            let full = page.len() == limit as usize;
            last = seen.last().map(|name| name.as_str().to_owned());
            if !full || last.as_deref() > Some("mf_d") {
                break;
            }
        }
        assert!(seen.windows(2).all(|pair| pair[0] < pair[1]), "{seen:?}");
        assert!(ours.iter().all(|name| seen.contains(name)), "{seen:?}");
        assert!(seen.iter().all(|name| name.as_str() != foreign), "{seen:?}");
    }
    rig.as_root(format!("DROP USER '{foreign}'@localhost")).await;
}

async fn what_was_done_to_an_account_is_seen(rig: Rig) {
    let issued = rig.issue(&rig.role()).await;
    let account = format!("'{}'@'127.0.0.1'", issued.name());
    let (read, write) = (&rig.fixture.sample.names.read, &rig.fixture.sample.names.write);
    let database = &rig.fixture.sample.names.database;
    let dynamic = if rig.engine == Engine::Mysql { "ROLE_ADMIN" } else { "CONNECTION ADMIN" };
    for (done, seen) in [
        (format!("CREATE USER '{}'@'10.%'", issued.name()), vec![Drift::LivesLonger { until: None }]),
        (format!("GRANT `{write}` TO {account} WITH ADMIN OPTION"), vec![Drift::JoinedGroup(write.clone())]),
        (format!("REVOKE `{read}` FROM {account}"), vec![Drift::LeftGroup(read.clone())]),
        (format!("GRANT SUPER, {dynamic} ON *.* TO {account}"), vec![Drift::GainedPower("SUPER".to_owned())]),
        (
            format!("GRANT INSERT ON `{database}`.* TO {account} WITH GRANT OPTION"),
            vec![
                Drift::GainedPower(format!("INSERT ON {database}")),
                Drift::GainedPower(format!("GRANT OPTION ON {database}")),
            ],
        ),
        (format!("ALTER USER {account} ACCOUNT LOCK"), Vec::new()),
    ] {
        rig.as_root(done).await;
        let drift = drifted(&rig, &issued).await;
        assert!(seen.iter().all(|seen| drift.contains(seen)), "{seen:?} in {drift:?}");
    }
    let drift = drifted(&rig, &issued).await;
    for seen in [
        Drift::GainedHost("10.%".to_owned()),
        Drift::GainedPower(dynamic.to_owned()),
        Drift::GainedPower(format!("ADMIN OPTION ON {write}")),
    ] {
        assert!(drift.contains(&seen), "{seen:?} in {drift:?}");
    }
    assert!(found(&rig, &issued).await.may_log_in, "from the other host");
    rig.as_root(format!("ALTER USER '{}'@'10.%' ACCOUNT LOCK", issued.name())).await;
    assert!(!found(&rig, &issued).await.may_log_in);
}

async fn an_expiry_that_was_moved_or_forgotten_is_seen(rig: Rig) {
    let issued = rig.issue(&rig.role()).await;
    let whose = format!("WHERE user = '{}'", issued.name());
    let moved = |to: &str| format!("UPDATE mayfly.accounts SET expires_at = UTC_TIMESTAMP(6) {to} {whose}");
    rig.as_root(moved("+ INTERVAL 1 DAY")).await;
    assert!(matches!(drifted(&rig, &issued).await[..], [Drift::LivesLonger { until: Some(_) }]));
    rig.as_root(moved("+ INTERVAL 1 MINUTE")).await;
    assert!(matches!(drifted(&rig, &issued).await[..], [Drift::EndsEarlier { .. }]));
    rig.as_root(format!("DELETE FROM mayfly.accounts {whose}")).await;
    assert_eq!(drifted(&rig, &issued).await, [Drift::LivesLonger { until: None }]);
    let mark = found(&rig, &issued).await.mark;
    assert_eq!(mark.is_some(), rig.engine == Engine::Mysql, "MySQL keeps the mark on the account as well");
}

async fn an_expiry_without_an_account_is_no_account(rig: Rig) {
    let issued = rig.issue(&rig.role()).await;
    rig.as_root(format!("DROP USER '{}'@'127.0.0.1'", issued.name())).await;
    assert!(rig.target.accounts(Which::Named(&[&issued.account.name])).await.unwrap().is_empty());
    assert!(rig.end(&issued).await);
    let question = format!("SELECT host FROM mayfly.accounts WHERE user = '{}'", issued.name());
    assert_eq!(rig.root_knows(question).await, None, "ending an account that is gone forgets its expiry");
}

async fn what_statements_of_the_role_gave_is_no_drift(rig: Rig) {
    let database = &rig.fixture.sample.names.database;
    let mut role = rig.role();
    let statement = format!("GRANT INSERT ON `{database}`.* TO {{{{name}}}}");
    role.statements.create = vec![Template::parse(&statement).unwrap()];
    rig.as_root(format!("GRANT INSERT ON `{database}`.* TO {} WITH GRANT OPTION", rig.administrator())).await;
    let issued = rig.issue(&role).await;
    assert_eq!(drifted(&rig, &issued).await, []);
    rig.as_root(format!("GRANT SUPER ON *.* TO '{}'@'127.0.0.1'", issued.name())).await;
    let drift = drifted(&rig, &issued).await;
    assert_eq!(drift, [Drift::GainedPower("SUPER".to_owned())]);
    let expires_at = issued.new_account().expires_at;
    let error = rig.target.put_right(issued.leased(), &drift, expires_at).await.unwrap_err();
    assert_eq!(error.kind, TargetErrorKind::Refused, "{error:?}");
    assert!(error.message.contains("can only be ended"), "{error}");
}

async fn without_the_switch_an_account_has_no_expiry(rig: Rig) {
    rig.as_root(format!(
        "REVOKE CREATE, ALTER, EVENT, SELECT, INSERT, UPDATE, DELETE ON mayfly.* FROM {}",
        rig.administrator()
    ))
    .await;
    let target = rig.another(|settings| settings.expiry = Expiry::Issuer).unwrap();
    assert!(!target.keeps_expiry() && rig.target.keeps_expiry());
    let issued = rig.plan(&rig.role()).await;
    target.create(issued.new_account(), &issued.secret).await.unwrap();
    let found = target.accounts(Which::Named(&[&issued.account.name])).await.unwrap().remove(0);
    assert_eq!(found.expires_at, None);
    let mark = (rig.engine == Engine::Mysql).then(|| issued.new_account().mark());
    assert_eq!(found.mark, mark);
    let strict = rig.another(|_| ()).unwrap();
    let error = strict.accounts(Which::Named(&[&issued.account.name])).await.unwrap_err();
    assert!(error.message.contains("would not expire"), "{error}");
}
