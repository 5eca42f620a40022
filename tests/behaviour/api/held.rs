//! Accounts that somebody else holds, over the wire.

use std::sync::Arc;

use mayfly::{
    api::proto::{IssueLeaseRequest, ListCheckoutsRequest, ReleaseLeaseRequest},
    clock::SystemClock,
    domain::{Access, Engine, OwnedObjects, Role},
};
use tonic::Code;
use tonic_types::StatusExt as _;

use super::rig::{Api, named, settings, told, with};
use crate::support::world::{Database, World, databases};

/// A role that hands out an account which is made for it.
async fn handing(database: &Database, name: &str) -> Role {
    let account = format!("{name}{}", database.sample.names.database.trim_start_matches("shop"));
    let administrator = &database.sample.names.administrator;
    let statements = match database.engine {
        Engine::Postgres => vec![
            format!("CREATE ROLE \"{account}\" LOGIN"),
            format!("GRANT \"{account}\" TO \"{administrator}\" WITH ADMIN OPTION"),
        ],
        _ => vec![format!("CREATE USER '{account}'@'%'")],
    };
    for statement in statements {
        database.ask_superuser(database.server.unwrap(), &statement).await;
    }
    Role {
        member_of: Vec::new(),
        connection_limit: None,
        owned_objects: OwnedObjects::Keep,
        access: Access::Checkout { account, queue: 1 },
        ..database.reading_role(name, "shop")
    }
}

async fn served() -> Option<Api> {
    let database = databases().await.into_iter().next()?;
    let target = World::target(database.settings("shop"), Arc::new(SystemClock));
    let roles = vec![handing(&database, "one").await, handing(&database, "two").await];
    Some(Api::serve(World::with(vec![target], roles).await, settings()).await)
}

fn wish(role: &str) -> IssueLeaseRequest {
    IssueLeaseRequest { role: format!("roles/{role}"), ..Default::default() }
}

#[tokio::test]
async fn who_has_to_wait_is_told_his_place_and_when_to_ask_again() {
    let Some(api) = served().await else { return };
    let [alice, bob, carol] = [api.reader("alice").await, api.reader("bob").await, api.reader("carol").await];
    let mut leases = api.leases().await;
    let held = leases.issue_lease(with(&alice, wish("one"))).await.unwrap().into_inner().lease.unwrap();
    let refused = leases.issue_lease(with(&bob, wish("one"))).await.unwrap_err();
    assert_eq!(told(&refused), (Code::ResourceExhausted, "ACCOUNT_HELD".to_owned()));
    let facts = refused.get_details_error_info().unwrap().metadata;
    let until: jiff::Timestamp = facts["held_until"].parse().unwrap();
    assert!((until.as_second() - held.expire_time.unwrap().seconds).abs() <= 1);
    assert_eq!((&*facts["position"], &*facts["waiting"], &*facts["account"]), ("1", "1", &*held.account));
    let wait = refused.get_details_retry_info().unwrap().retry_delay.unwrap();
    assert_eq!(wait.as_secs(), 2);
    let full = leases.issue_lease(with(&carol, wish("one"))).await.unwrap_err();
    assert_eq!(told(&full), (Code::ResourceExhausted, "ACCOUNT_HELD".to_owned()));
    assert!(!full.get_details_error_info().unwrap().metadata.contains_key("position"));
    let release = ReleaseLeaseRequest { name: held.name, wait: true };
    leases.release_lease(with(&alice, release)).await.unwrap();
    leases.issue_lease(with(&bob, wish("one"))).await.unwrap();
}

#[tokio::test]
async fn administrators_see_who_holds_and_who_waits_a_page_at_a_time_and_nobody_else_does() {
    let Some(api) = served().await else { return };
    let [alice, bob] = [api.reader("alice").await, api.reader("bob").await];
    let (mut leases, mut targets) = (api.leases().await, api.targets().await);
    for role in ["one", "two"] {
        leases.issue_lease(with(&alice, wish(role))).await.unwrap();
        leases.issue_lease(with(&bob, wish(role))).await.unwrap_err();
    }
    let refused = targets.list_checkouts(with(&alice, ListCheckoutsRequest::default())).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    let (mut accounts, mut page_token) = (Vec::new(), String::new());
    for _ in 0..2 {
        let request = ListCheckoutsRequest { target: "targets/shop".to_owned(), page_size: 1, page_token };
        let page = targets.list_checkouts(with(&api.administrator, request)).await.unwrap().into_inner();
        let [checkout] = &page.checkouts[..] else { panic!("{page:?}") };
        assert_eq!(
            (&*checkout.target, &*checkout.lease.as_ref().unwrap().principal),
            ("targets/shop", "alice")
        );
        let waiting: Vec<&str> = checkout.waiting.iter().map(|waiter| &*waiter.principal).collect();
        assert_eq!(waiting, ["bob"]);
        accounts.push(checkout.account.clone());
        page_token = page.next_page_token;
    }
    assert!(accounts[0].starts_with("two") && accounts[1].starts_with("one"), "{accounts:?}");
    assert_eq!(page_token, "");
    let elsewhere = ListCheckoutsRequest { target: "stock".to_owned(), ..Default::default() };
    let none = targets.list_checkouts(with(&api.administrator, elsewhere)).await.unwrap().into_inner();
    assert_eq!(none.checkouts, []);
    let wrong = ListCheckoutsRequest { target: "a b".to_owned(), page_size: -1, page_token: String::new() };
    let refused = targets.list_checkouts(with(&api.administrator, wrong)).await.unwrap_err();
    assert_eq!(named(&refused), ["target", "page_size"]);
    let forged = ListCheckoutsRequest { page_token: "forged".to_owned(), ..Default::default() };
    let refused = targets.list_checkouts(with(&api.administrator, forged)).await.unwrap_err();
    assert_eq!(named(&refused), ["page_token"]);
}
