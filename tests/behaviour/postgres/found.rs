//! Accounts as they stand, listed whoever made them.

use std::{sync::Arc, time::Duration};

use jiff::SignedDuration;
use mayfly::{
    clock::ManualClock,
    domain::{AccountName, Engine, LeaseId},
    random::{Random, SystemRandom},
    target::{Surroundings, Target, Which, postgres::Postgres},
};

use super::{House, Lease, house, now, settings, surroundings};
use crate::support::{self, PgFixture};

#[tokio::test]
async fn an_account_is_found_as_it_was_created() {
    let Some(house) = house().await else { return };
    let role = house.writer();
    let (lease, expires_at) = (Lease::under(&role), now() + SignedDuration::from_mins(7));
    house.create_until(&role, &lease, expires_at).await.unwrap();
    let found = house.found(&lease).await;
    assert_eq!(found.account, lease.account);
    assert_eq!(found.lease(), Some(lease.id));
    let mark = found.mark.clone().unwrap();
    assert!(mark.is_of(support::instance()) && mark.lease == lease.id && mark.role == role.name, "{mark}");
    assert_eq!(mark.requester, lease.principal);
    assert!(found.may_log_in && found.powers.is_empty(), "{found:?}");
    assert_eq!(found.member_of, role.member_of);
    assert!(found.expires_at.unwrap().duration_since(expires_at).abs() < SignedDuration::from_secs(1));
    assert_eq!(house.drift(&lease, &role.member_of, expires_at).await, []);
    house.end(&lease).await;
    assert!(house.target.accounts(Which::Named(&[&lease.account.name])).await.unwrap().is_empty());
    assert!(house.target.accounts(Which::Named(&[])).await.unwrap().is_empty());
}

#[tokio::test]
async fn an_expiry_is_told_by_our_clock_however_wrong_it_is() {
    let Some(mut house) = house().await else { return };
    let ahead = SignedDuration::from_hours(30);
    let surroundings = Surroundings::new(Arc::new(ManualClock::new(now() + ahead)), Arc::new(SystemRandom));
    house.target = Postgres::new(settings(&house.pg), surroundings).unwrap();
    let role = house.reader();
    let (lease, expires_at) = (Lease::under(&role), now() + ahead + SignedDuration::from_mins(7));
    let secret = house.create_until(&role, &lease, expires_at).await.unwrap();
    house.login(&lease, &secret).await.unwrap();
    let found = house.found(&lease).await.expires_at.unwrap();
    assert!(found.duration_since(expires_at).abs() < SignedDuration::from_secs(2), "{found}");
}

#[tokio::test]
async fn what_somebody_altered_shows() {
    let Some(house) = house().await else { return };
    let (lease, _) = house.issue(&house.reader()).await;
    let (name, write, superuser) = (lease.name(), &house.pg.sample.names.write, house.pg.superuser().await);
    superuser
        .batch_execute(&format!(
            "ALTER ROLE {name} NOLOGIN SUPERUSER CREATEROLE CREATEDB REPLICATION BYPASSRLS VALID UNTIL 'infinity'; \
             GRANT {write} TO {name} WITH ADMIN OPTION; COMMENT ON ROLE {name} IS NULL"
        ))
        .await
        .unwrap();
    let found = house.found(&lease).await;
    assert!(!found.may_log_in && found.mark.is_none() && found.expires_at.is_none(), "{found:?}");
    let admin = format!("ADMIN OPTION ON {write}");
    let powers = [&*admin, "BYPASSRLS", "CREATEDB", "CREATEROLE", "REPLICATION", "SUPERUSER"];
    assert_eq!(found.powers, powers);
    let mut groups = [house.pg.sample.names.read.clone(), write.clone()];
    groups.sort_unstable();
    assert_eq!(found.member_of, groups);
    for (until, finite) in [("-infinity", true), ("294276-01-01", false), ("0044-03-15 BC", true)] {
        superuser.batch_execute(&format!("ALTER ROLE {name} VALID UNTIL '{until}'")).await.unwrap();
        let expires_at = house.found(&lease).await.expires_at;
        assert_eq!(expires_at.is_some_and(|at| at < now()), finite, "{until}: {expires_at:?}");
    }
}

#[tokio::test]
async fn names_that_are_not_ours_are_passed_over_and_strange_groups_read_right() {
    let Some(house) = house().await else { return };
    let (lease, _) = house.issue(&house.reader()).await;
    let superuser = house.pg.superuser().await;
    let database = &house.pg.sample.names.database;
    let strange = format!("{database} \"a\", \\b'\u{e9}");
    let quoted = format!("\"{}\"", strange.replace('"', "\"\""));
    let foreign = format!("mf_{database}_boss");
    let statements =
        format!("CREATE ROLE {quoted}; GRANT {quoted} TO {}; CREATE ROLE {foreign}", lease.name());
    superuser.batch_execute(&statements).await.unwrap();
    assert!(house.found(&lease).await.member_of.contains(&strange));
    let all = house.target.accounts(Which::After { name: None, limit: 100_000 }).await.unwrap();
    assert!(all.iter().all(|found| found.lease().is_some() && found.account.name.as_str() != foreign));
    assert!(all.iter().any(|found| found.account == lease.account));
    superuser.batch_execute(&format!("DROP ROLE {quoted}; DROP ROLE {foreign}")).await.unwrap();
}

/// A page is bounded by a statement timeout that a look at every account for each account would not keep.
#[tokio::test]
async fn fifty_thousand_accounts_are_listed_page_by_page() {
    let Some(server) = support::own_server(Engine::Postgres, |_| {}).await else { return };
    let pg = PgFixture::on(server).await;
    let superuser = pg.superuser().await;
    let group = &pg.sample.names.read;
    let instance = support::instance();
    for batch in 0..10 {
        let statement = format!(
            "DO $$ DECLARE id text; BEGIN FOR i IN 1..5000 LOOP id := lpad(({batch} * 5000 + i)::text, 20, '0'); \
             EXECUTE format('CREATE ROLE mf_bulk_%s LOGIN VALID UNTIL ''2040-01-01''', id); \
             EXECUTE format('COMMENT ON ROLE mf_bulk_%s IS ''mayfly instance={instance} lease=%s role=r requester=human:a''', id, id); \
             IF i % 50 = 0 THEN EXECUTE format('GRANT {group} TO mf_bulk_%s', id); END IF; END LOOP; END $$"
        );
        superuser.batch_execute(&statement).await.unwrap();
    }
    let mut hasty = settings(&pg);
    hasty.pool.statement = Duration::from_secs(1);
    let target = Postgres::new(hasty, surroundings()).unwrap();
    let (mut names, mut members): (Vec<AccountName>, usize) = (Vec::new(), 0);
    loop {
        let after = names.last().map(AccountName::as_str);
        let page = target.accounts(Which::After { name: after, limit: 1000 }).await.unwrap();
        if page.is_empty() {
            break;
        }
        assert_eq!(page.len(), 1000);
        assert!(page.iter().all(|found| found.mark.as_ref().is_some_and(|mark| mark.is_of(instance))));
        members += page.iter().filter(|found| !found.member_of.is_empty()).count();
        names.extend(page.into_iter().map(|found| found.account.name));
    }
    assert_eq!((names.len(), members), (50_000, 1000));
    assert!(names.is_sorted());
    let some: Vec<&AccountName> = names.iter().rev().step_by(20).collect();
    let found = target.accounts(Which::Named(&some)).await.unwrap();
    assert_eq!(found.len(), 2500);
    assert!(found.is_sorted_by(|a, b| a.account.name < b.account.name));
    let never = LeaseId::new(now(), SystemRandom.bits());
    let never = AccountName::found(&format!("mf_{never}")).unwrap();
    assert!(target.accounts(Which::Named(&[&never])).await.unwrap().is_empty());
    let (role, house) = (super::role(group), House { pg, target });
    let (lease, _) = house.issue(&role).await;
    assert_eq!(house.found(&lease).await.member_of, role.member_of);
}
