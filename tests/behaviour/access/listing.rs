//! What is listed, and what is not.

use std::time::Duration;

use mayfly::{
    domain::LockSubject,
    issuer::{AccessFilter, NewInvitation, NewLock, NewRequest, RefusalKind},
    policy::Reachable,
};

use super::{database, pairs, world};
use crate::{
    people::root,
    support::world::{World, caller, request},
};

fn all() -> AccessFilter {
    AccessFilter::default()
}

#[tokio::test]
async fn accounts_tokens_invitations_and_those_a_role_names_are_listed_with_what_they_could_obtain() {
    let database = database().await;
    let world = world(&database).await;
    world.invited("alice", &["readers", "writers"]).await;
    world.invited("nobody", &["others"]).await;
    world.token("app", &["readers"]).await;
    let new = NewInvitation {
        label: "kim".parse().unwrap(),
        mail: String::new(),
        roles: ["shop-write".parse().unwrap()].into(),
        groups: ["writers".parse().unwrap()].into(),
        purpose: "moving the orders".to_owned(),
        cidrs: Vec::new(),
        start: None,
        window: Some(Duration::from_secs(3600)),
    };
    world.issuer.invite(&root(), new).await.unwrap();
    let items = world.access(all(), 50).await;
    let kim = items.iter().find(|item| item.principal.as_str().starts_with("contractor:kim/")).unwrap();
    assert!(kim.role.as_str() == "shop-write" && kim.known_by[0].starts_with("invitations/"), "{kim:?}");
    let others: Vec<_> = pairs(&items).into_iter().filter(|pair| !pair.starts_with("contractor:")).collect();
    assert_eq!(others, ["alice shop-read", "alice shop-write", "app shop-read"]);
    let alice = &items[0];
    assert_eq!(
        (alice.reach.asking, alice.reach.by.as_str()),
        (Reachable::AtOnce, "roles/shop-read: allow group:readers")
    );
    assert_eq!(alice.known_by, ["users/alice"]);
    assert_eq!((alice.uses, alice.holds(), alice.certified.is_none()), (0, false, true));
    assert_eq!(items[1].reach.asking, Reachable::Reviewed { approvals: 1 });
    assert!(items[2].known_by[0].starts_with("tokens/") || items[3].known_by[0].starts_with("tokens/"));
}

#[tokio::test]
async fn what_is_held_and_was_used_is_there_as_evidence() {
    let database = database().await;
    let world = world(&database).await;
    world.token("app", &["readers", "writers"]).await;
    let app = caller("app", &["readers", "writers"]);
    let first = world.issuer.issue(&app, request("shop-read")).await.unwrap();
    world.pass(60);
    let second = world.issuer.issue(&app, request("shop-read")).await.unwrap();
    world.issuer.release(&app, first.lease.id).await.unwrap();
    world.ended(first.lease.id).await;
    let new = NewRequest {
        role: "shop-write".parse().unwrap(),
        ttl: None,
        start: None,
        parallel: 1,
        justification: "to correct an order".to_owned(),
        ticket: None,
        idempotency_key: None,
    };
    let asked = world.issuer.create_request(&app, new).await.unwrap().request;
    let read = world.item("app", "shop-read").await.unwrap();
    assert_eq!((read.uses, read.leases.as_slice()), (2, [second.lease.id].as_slice()));
    assert_eq!(read.last_used, Some(second.lease.created_at));
    assert_eq!(read.evidence, [second.lease.resource_name(), first.lease.resource_name()]);
    assert_eq!(read.allowed_by, "roles/shop-read: allow group:readers");
    let write = world.item("app", "shop-write").await.unwrap();
    assert_eq!((write.uses, write.requests.as_slice()), (0, [asked.id].as_slice()));
    // Of a later period only what is live still is known.
    world.pass(10);
    let since = mayfly::clock::Clock::now(&*world.clock);
    let later = AccessFilter { since: Some(since), unused: true, ..all() };
    let items = world.access(later, 50).await;
    assert_eq!(pairs(&items), ["app shop-read", "app shop-write"]);
    assert_eq!((items[0].uses, items[0].leases.len()), (0, 1));
    let unused = AccessFilter { unused: true, ..all() };
    assert_eq!(pairs(&world.access(unused, 50).await), ["app shop-write"]);
}

#[tokio::test]
async fn who_was_here_is_listed_also_when_nothing_knows_him_any_more() {
    let database = database().await;
    let world = world(&database).await;
    let job = caller("repo:acme/shop", &["readers"]);
    let issued = world.issuer.issue(&job, request("shop-read")).await.unwrap();
    let items = world.access(all(), 50).await;
    assert_eq!(pairs(&items), ["repo:acme/shop shop-read"]);
    assert_eq!(items[0].known_by, ["seen"]);
    // His groups are his provider's to say: that he could come again is not claimed.
    assert_eq!((items[0].reach.asking, items[0].leases.len()), (Reachable::No, 1));
    world.issuer.release(&job, issued.lease.id).await.unwrap();
}

#[tokio::test]
async fn who_is_disabled_revoked_or_locked_obtains_nothing_or_that_is_said() {
    let database = database().await;
    let world = world(&database).await;
    world.invited("alice", &["readers"]).await;
    let token = world.token("app", &["readers"]).await;
    world.token("bot", &["readers"]).await;
    world.issuer.disable_user(&root(), &"alice".parse().unwrap(), true).await.unwrap();
    world.issuer.revoke_token(&root(), token).await.unwrap();
    let subject = LockSubject::Principal("bot".parse().unwrap());
    let lock = NewLock { subject: subject.clone(), reason: String::new(), life: None, force: false };
    world.issuer.lock(&root(), lock).await.unwrap();
    let items = world.access(all(), 50).await;
    assert_eq!(pairs(&items), ["bot shop-read"]);
    assert_eq!(items[0].locked, [subject]);
}

#[tokio::test]
async fn a_name_with_several_tokens_could_obtain_what_any_of_them_could_and_break_glass_counts() {
    let database = database().await;
    let world = world(&database).await;
    world.policy("@id(\"test.glass\")\npermit (principal in Group::\"on-call\", action == Action::\"break_glass\", resource);");
    world.token("app", &["others"]).await;
    world.token("app", &["writers"]).await;
    world.invited("olga", &["on-call"]).await;
    let items = world.access(all(), 50).await;
    assert_eq!(pairs(&items), ["app shop-write", "olga shop-read", "olga shop-write"]);
    assert_eq!(items[0].known_by.len(), 2);
    for item in &items[1..] {
        assert_eq!(item.reach.asking, Reachable::No);
        assert_eq!(item.reach.break_glass.as_deref(), Some("policy test.glass"));
    }
}

#[tokio::test]
async fn filters_are_joined_and_pages_of_any_size_come_to_the_same() {
    let database = database().await;
    let world = world(&database).await;
    for number in 0..7 {
        world.token(&format!("app-{number}"), &["readers", "writers"]).await;
    }
    let whole = pairs(&world.access(all(), 500).await);
    assert_eq!(whole.len(), 14);
    for size in [1, 3, 14] {
        assert_eq!(pairs(&world.access(all(), size).await), whole);
    }
    let role = AccessFilter { role: Some("shop-write".parse().unwrap()), ..all() };
    assert_eq!(world.access(role, 500).await.len(), 7);
    let one = AccessFilter { principal: Some("app-3".parse().unwrap()), ..all() };
    assert_eq!(pairs(&world.access(one, 500).await), ["app-3 shop-read", "app-3 shop-write"]);
    let elsewhere = AccessFilter { target: Some("nowhere".parse().unwrap()), ..all() };
    assert!(world.access(elsewhere, 500).await.is_empty());
}

#[tokio::test]
async fn the_list_is_for_whom_policy_lets_view_the_audit_log() {
    let database = database().await;
    let world = world(&database).await;
    let audrey = caller("audrey", &["auditors"]);
    let refused = world.issuer.access(&audrey, all(), (10, None)).await.unwrap_err();
    assert_eq!(refused.kind, RefusalKind::Denied);
    world.policy("@id(\"audit\") permit (principal in Group::\"auditors\", action == Action::\"view_audit\", resource);");
    world.issuer.access(&audrey, all(), (10, None)).await.unwrap();
    let told = world.audit().await;
    assert!(told.iter().any(|record| record.action == "access.listed"), "{told:?}");
}

/// As many pairs as take several pages of questions.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_puts_a_bounded_number_of_questions_however_many_there_would_be() {
    let database = database().await;
    let target = World::target(database.settings("shop"), std::sync::Arc::new(mayfly::clock::SystemClock));
    let roles = (0..60).map(|number| {
        let mut role = database.reading_role(&format!("role-{number:02}"), "shop");
        role.allow = vec!["principal:app-001".parse().unwrap()];
        role
    });
    let world = World::with(vec![target], roles.collect()).await;
    for number in 0..100 {
        world.token(&format!("app-{number:03}"), &[]).await;
    }
    let mut pages = 0;
    let (mut found, mut after) = (0, None);
    loop {
        let page = world.issuer.access(&super::auditor(), all(), (500, after)).await.unwrap();
        (pages, found) = (pages + 1, found + page.items.len());
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    // 6,000 pairs, of which at most 5,000 are asked about for one page.
    assert_eq!((pages, found), (2, 60));
}
