//! Deputies, through which accounts are created and ended from release 16 on where there are many.

use std::{borrow::Borrow, collections::BTreeSet};

use futures_util::future::join_all;
use jiff::SignedDuration;
use mayfly::{
    domain::OwnedObjects,
    sandbox::Server,
    target::{Glance, SessionsEnded, Target, postgres::Postgres},
};

use super::{House, Lease, code, house, now, settings, surroundings, templates};

/// A house whose administration account leaves everything to deputies, which hold very few accounts each; `None` also where
/// the server is one that needs none.
async fn crowded() -> Option<House> {
    let house = house().await.filter(|house| house.pg.server.version().major >= 16)?;
    Some(House { target: another(&house, 2), ..house })
}

/// The target as another process sees it.
fn another<S: Borrow<Server>>(house: &House<S>, accounts_per_deputy: u32) -> Postgres {
    let mut settings = settings(&house.pg);
    settings.pool.accounts_per_deputy = accounts_per_deputy;
    Postgres::new(settings, surroundings()).unwrap()
}

/// Who may administer the account.
async fn holders(house: &House, lease: &Lease) -> Vec<String> {
    let question = "SELECT pg_get_userbyid(member)::text FROM pg_auth_members WHERE admin_option \
         AND roleid = (SELECT oid FROM pg_roles WHERE rolname = $1)";
    let rows = house.pg.superuser().await.query(question, &[&lease.name()]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

/// The deputies of the house's administration account.
async fn deputies(house: &House) -> Vec<String> {
    let question = "SELECT d.rolname::text FROM pg_roles d JOIN pg_roles us ON us.rolname = $1 \
         WHERE starts_with(d.rolname, 'mf_deputy_' || us.oid || '_') ORDER BY 1";
    let user = &house.pg.sample.administrator.user;
    let rows = house.pg.superuser().await.query(question, &[user]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

async fn execute(house: &House, statement: &str) {
    house.pg.superuser().await.batch_execute(statement).await.unwrap();
}

#[tokio::test]
async fn an_account_made_through_a_deputy_is_like_any_other() {
    let Some(house) = crowded().await else { return };
    let plain = House { target: another(&house, 0), ..house_like(&house) };
    for role in [house.reader(), house.writer()] {
        let (lease, secret) = house.issue(&role).await;
        let (like, _) = plain.issue(&role).await;
        assert!(holders(&house, &lease).await[0].starts_with("mf_deputy_"));
        assert_eq!(holders(&plain, &like).await.concat(), house.pg.sample.administrator.user);
        let question = "SELECT array_agg(concat_ws(' ', g.rolname, m.admin_option, m.inherit_option, m.set_option)) \
             FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid JOIN pg_roles r ON r.oid = m.member WHERE r.rolname = $1";
        let superuser = house.pg.superuser().await;
        let of = async |name: &str| -> Vec<String> {
            superuser.query_one(question, &[&name]).await.unwrap().get(0)
        };
        assert_eq!(of(lease.name()).await, of(like.name()).await);
        let client = house.login(&lease, &secret).await.unwrap();
        client.query("SELECT * FROM customers", &[]).await.unwrap();
        client.batch_execute(&format!("SET ROLE {}; RESET ROLE", role.member_of[0])).await.unwrap();
        let refused = client.batch_execute("CREATE ROLE eve").await.unwrap_err();
        assert_eq!(code(&refused), "42501");
        let until = now() + SignedDuration::from_mins(30);
        house.target.renew(lease.leased(), until).await.unwrap();
        assert_eq!(house.drift(&lease, &role.member_of, until).await, []);
        let fresh = house.target.prepare(&role).await.unwrap();
        house.target.replace_secret(lease.leased(), &fresh).await.unwrap();
        house.login(&lease, &fresh).await.unwrap();
        house.end(&lease).await;
        plain.end(&like).await;
    }
}

/// The same house again.
fn house_like(house: &House) -> House {
    let target = another(house, 0);
    House {
        pg: crate::support::PgFixture { server: house.pg.server, sample: house.pg.sample.clone() },
        target,
    }
}

#[tokio::test]
async fn while_accounts_are_few_there_is_no_deputy() {
    let Some(house) = house().await else { return };
    let role = house.reader();
    let leases = join_all((0..20).map(|_| house.issue(&role))).await;
    assert!(deputies(&house).await.is_empty());
    for (lease, _) in leases {
        house.end(&lease).await;
    }
}

#[tokio::test]
async fn a_superuser_and_a_server_without_the_walk_get_no_deputy() {
    let Some(house) = house().await else { return };
    let house = House { target: another(&house, 2), ..house };
    if house.pg.server.version().major >= 16 {
        execute(&house, &format!("ALTER ROLE {} SUPERUSER", house.pg.sample.administrator.user)).await;
    }
    for _ in 0..5 {
        house.issue(&house.reader()).await;
    }
    assert!(deputies(&house).await.is_empty());
}

#[tokio::test]
async fn many_accounts_of_two_processes_spread_over_deputies_and_all_end() {
    let Some(house) = crowded().await else { return };
    let other = House { target: another(&house, 2), ..house_like(&house) };
    let role = house.reader();
    let ours = join_all((0..20).map(|_| house.issue(&role)));
    let theirs = join_all((0..20).map(|_| other.issue(&role)));
    let (ours, theirs) = futures_util::future::join(ours, theirs).await;
    assert!(deputies(&house).await.len() > 4, "{:?}", deputies(&house).await);
    // Each ends what the other created.
    for (lease, _) in ours {
        other.end(&lease).await;
    }
    for (lease, _) in theirs {
        house.end(&lease).await;
    }
    let before = deputies(&house).await;
    for _ in 0..before.len() {
        let (lease, _) = house.issue(&role).await;
        house.end(&lease).await;
    }
    assert_eq!(deputies(&house).await, before, "emptied ones are used again");
}

#[tokio::test]
async fn what_a_deputy_made_is_ended_without_it_when_it_cannot_be_used() {
    let Some(house) = crowded().await else { return };
    for taken in
        ["ALTER ROLE \"{}\" NOCREATEROLE", "REVOKE SET OPTION FOR \"{}\" FROM {admin} GRANTED BY {admin}"]
    {
        let (lease, secret) = house.issue(&house.reader()).await;
        let client = house.login(&lease, &secret).await.unwrap();
        let holder = holders(&house, &lease).await.remove(0);
        let admin = &house.pg.sample.administrator.user;
        execute(&house, &taken.replace("{}", &holder).replace("{admin}", admin)).await;
        house.target.renew(lease.leased(), now() + SignedDuration::from_mins(30)).await.unwrap();
        house.end(&lease).await;
        assert!(client.query("SELECT 1", &[]).await.is_err());
    }
}

#[tokio::test]
async fn a_batch_of_accounts_of_several_holders_ends_as_one_that_has_one() {
    let Some(house) = crowded().await else { return };
    let plain = House { target: another(&house, 0), ..house_like(&house) };
    let role = house.reader();
    let (ours, _) = plain.issue(&role).await;
    let gone = Lease::under(&role);
    let (mut issued, mut held_by) = (Vec::new(), BTreeSet::from_iter(holders(&house, &ours).await));
    for _ in 0..6 {
        let (lease, secret) = house.issue(&role).await;
        held_by.extend(holders(&house, &lease).await);
        issued.push((lease, secret));
    }
    assert!(held_by.len() > 2, "two deputies and the administration account: {held_by:?}");
    let (used, secret) = &issued[3];
    let client = house.login(used, secret).await.unwrap();
    let mut all: Vec<_> = issued.iter().map(|(lease, _)| lease.leased()).collect();
    all.insert(2, gone.leased());
    all.push(ours.leased());
    let mut seen = [Glance::Bare; 8];
    (seen[2], seen[4]) = (Glance::Absent, Glance::InUse);
    assert_eq!(house.target.disable_many(&all).await.unwrap(), seen);
    let mut ended = [SessionsEnded::default(); 8];
    ended[4].ended = 1;
    assert_eq!(house.target.end_sessions_of_many(&all).await.unwrap(), ended);
    assert!(client.query("SELECT 1", &[]).await.is_err());
    for _ in 0..2 {
        assert_eq!(house.target.remove_many(&all).await.unwrap(), [true; 8]);
    }
    for (lease, _) in &issued {
        assert!(!house.exists(lease.name()).await);
    }
    assert!(!house.exists(ours.name()).await);
}

#[tokio::test]
async fn a_batch_is_ended_as_the_deputies_and_without_them_when_one_is_refused() {
    let Some(house) = crowded().await else { return };
    let admin = &house.pg.sample.administrator.user;
    // Without CREATEROLE neither can alter or drop an account: whoever still can did it.
    for withheld in ["administration account", "deputy"] {
        let mut issued = Vec::new();
        for _ in 0..4 {
            issued.push(house.issue(&house.reader()).await);
        }
        let client = house.login(&issued[0].0, &issued[0].1).await.unwrap();
        let deputy = holders(&house, &issued[0].0).await.remove(0);
        let one = if withheld == "deputy" { &deputy } else { admin };
        execute(&house, &format!("ALTER ROLE \"{one}\" NOCREATEROLE")).await;
        let all: Vec<_> = issued.iter().map(|(lease, _)| lease.leased()).collect();
        let seen = house.target.disable_many(&all).await.unwrap();
        assert_eq!(seen, [Glance::InUse, Glance::Bare, Glance::Bare, Glance::Bare], "{withheld}");
        assert_eq!(house.target.end_sessions_of_many(&all).await.unwrap()[0].ended, 1);
        assert!(client.query("SELECT 1", &[]).await.is_err());
        assert_eq!(house.target.remove_many(&all).await.unwrap(), [true; 4], "{withheld}");
        execute(&house, &format!("ALTER ROLE \"{one}\" CREATEROLE")).await;
    }
}

#[tokio::test]
async fn whatever_becomes_of_a_deputy_accounts_are_created_and_ended() {
    let Some(house) = crowded().await else { return };
    let (first, _) = house.issue(&house.reader()).await;
    let holder = holders(&house, &first).await.remove(0);
    for change in ["NOCREATEROLE", "CREATEROLE LOGIN", "NOLOGIN"] {
        execute(&house, &format!("ALTER ROLE \"{holder}\" {change}")).await;
        for _ in 0..6 {
            let (lease, secret) = house.issue(&house.reader()).await;
            house.login(&lease, &secret).await.unwrap();
            house.end(&lease).await;
        }
    }
    house.end(&first).await;
    for deputy in deputies(&house).await {
        execute(&house, &format!("DROP OWNED BY \"{deputy}\"; DROP ROLE \"{deputy}\"")).await;
    }
    for _ in 0..6 {
        let (lease, _) = house.issue(&house.reader()).await;
        house.end(&lease).await;
    }
}

#[tokio::test]
async fn a_deputy_that_can_log_in_gets_no_more_accounts() {
    let Some(house) = crowded().await else { return };
    let (first, _) = house.issue(&house.reader()).await;
    let holder = holders(&house, &first).await.remove(0);
    execute(&house, &format!("ALTER ROLE \"{holder}\" LOGIN")).await;
    // What it was given at one time it may still use up: two accounts a connection.
    let mut last = Vec::new();
    for _ in 0..12 {
        let (lease, _) = house.issue(&house.reader()).await;
        last = holders(&house, &lease).await;
    }
    assert_ne!(last, [holder]);
    let findings = house.target.examine(&[&house.reader()]).await.findings;
    assert!(
        findings.iter().any(|finding| finding.summary.contains("deput") && finding.remedy.is_some()),
        "{findings:?}"
    );
}

#[tokio::test]
async fn a_deputy_of_one_role_serves_another_with_other_groups() {
    let Some(house) = crowded().await else { return };
    let mut pool = settings(&house.pg);
    pool.pool.accounts_per_deputy = 1000;
    pool.pool.issuing = 1;
    let house = House { target: Postgres::new(pool, surroundings()).unwrap(), ..house };
    // The administration account has its fill.
    let crowd = another(&house, 2);
    let many = House { target: crowd, ..house_like(&house) };
    many.issue(&house.reader()).await;
    execute(
        &house,
        &format!(
            "DO $$ BEGIN FOR i IN 1..1000 LOOP EXECUTE format('CREATE ROLE filler_%s_%s', '{0}', i); \
           EXECUTE format('GRANT filler_%s_%s TO {0} WITH INHERIT FALSE', '{0}', i); END LOOP; END $$",
            house.pg.sample.administrator.user
        ),
    )
    .await;
    let (reader, _) = house.issue(&house.reader()).await;
    let (writer, secret) = house.issue(&house.writer()).await;
    assert_eq!(holders(&house, &reader).await, holders(&house, &writer).await);
    let client = house.login(&writer, &secret).await.unwrap();
    client.batch_execute("INSERT INTO customers (name) VALUES ('Eve')").await.unwrap();
    house.end(&reader).await;
    house.end(&writer).await;
    execute(&house, &format!(
        "DO $$ BEGIN FOR i IN 1..1000 LOOP EXECUTE format('DROP ROLE filler_%s_%s', '{0}', i); END LOOP; END $$",
        house.pg.sample.administrator.user
    )).await;
}

#[tokio::test]
async fn what_is_kept_leaves_the_groups_a_deputy_put_it_in() {
    let Some(house) = crowded().await else { return };
    let mut role = house.writer();
    role.owned_objects = OwnedObjects::Keep;
    let (lease, secret) = house.issue(&role).await;
    let client = house.login(&lease, &secret).await.unwrap();
    client.batch_execute("CREATE TABLE drafts.kept (id int)").await.unwrap();
    house.target.disable(lease.leased()).await.unwrap();
    house.target.end_sessions(lease.leased()).await.unwrap();
    let counts = house.target.settle_objects(lease.leased()).await.unwrap();
    assert_eq!(counts.kept, 1);
    assert!(house.found(&lease).await.member_of.is_empty());
}

#[tokio::test]
async fn statements_of_a_role_run_as_the_administration_account() {
    let Some(house) = crowded().await else { return };
    let mut role = house.reader();
    role.statements.create = templates(&["SELECT 1 / (current_user = session_user)::int"]);
    for _ in 0..3 {
        house.issue(&house.reader()).await;
        house.issue(&role).await;
    }
}

#[tokio::test]
async fn nothing_else_is_done_as_a_deputy() {
    let Some(house) = crowded().await else { return };
    let mut one = settings(&house.pg);
    (one.pool.accounts_per_deputy, one.pool.issuing, one.pool.ending) = (2, 1, 1);
    let house = House { target: Postgres::new(one, surroundings()).unwrap(), ..house };
    let role = house.reader();
    for _ in 0..4 {
        let (lease, secret) = house.issue(&role).await;
        let client = house.login(&lease, &secret).await.unwrap();
        // On the same connections: what a session does can be seen by the administration account only (`pg_read_all_stats`).
        assert_eq!(house.target.sessions(&lease.account).await.unwrap().len(), 1);
        client.query("SELECT 1", &[]).await.unwrap();
        house.end(&lease).await;
        let missing = Lease::under(&role);
        assert!(!house.target.disable(missing.leased()).await.unwrap().present);
    }
}
