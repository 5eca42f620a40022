//! Asking: what is granted by rule, what awaits reviews, what is refused at once.

use jiff::{SignedDuration, Timestamp};
use mayfly::{
    clock::Clock as _,
    domain::{GrantState, RequestState},
    issuer::{NewRequest, RefusalKind, RequestFilter, RequestSettings},
};

use super::{alice, asking, bob, database, no, reviewed, step, world, yes};
use crate::support::world::{caller, request};

#[tokio::test]
async fn what_rules_allow_is_granted_at_once_and_claimed_later() {
    let database = database().await;
    let world = world(&database, database.reading_role("shop-read", "shop")).await;
    let asked = world.ask(&alice(), asking(600)).await.unwrap();
    assert_eq!(asked.request.state.as_str(), "approved");
    let grant = asked.grant.unwrap();
    assert!(matches!(grant.state, GrantState::Scheduled { start: None, .. }));
    for action in ["request.created", "request.approved", "grant.opened"] {
        assert_eq!(world.recorded(action).await, 1, "{action}");
    }
    assert_eq!(world.leases().await.len(), 0);
}

#[tokio::test]
async fn a_role_that_takes_reviews_issues_nothing_without_and_says_how_to_ask() {
    let database = database().await;
    let world = world(&database, reviewed(&database)).await;
    let refusal = world.issuer.issue(&alice(), request("shop-read")).await.unwrap_err();
    assert_eq!(refusal.kind, RefusalKind::ApprovalRequired);
    assert!(refusal.message.contains("mayfly request create shop-read"), "{}", refusal.message);
    let asked = world.ask(&alice(), asking(600)).await.unwrap();
    assert_eq!((asked.request.state.as_str(), asked.grant), ("pending", None));
    assert_eq!(
        world.issuer.issue(&alice(), request("shop-read")).await.unwrap_err().kind,
        RefusalKind::ApprovalRequired
    );
    assert_eq!(world.leases().await.len(), 0);
}

#[tokio::test]
async fn who_may_not_use_a_role_cannot_ask_for_it_either() {
    let database = database().await;
    let world = world(&database, reviewed(&database)).await;
    let refusal = world.ask(&caller("mallory", &[]), asking(600)).await.unwrap_err();
    assert_eq!(refusal.kind, RefusalKind::Denied);
    assert!(world.audit().await.iter().any(|record| record.action == "request.created"));
}

#[tokio::test]
async fn what_nobody_could_ever_approve_is_refused_at_once() {
    let database = database().await;
    let mut role = reviewed(&database);
    role.approval = vec![step("owner", &["principal:alice"], 1)];
    let world = world(&database, role).await;
    let refusal = world.ask(&alice(), asking(600)).await.unwrap_err();
    assert_eq!(refusal.kind, RefusalKind::Denied);
    assert!(refusal.message.contains("nobody could approve"), "{}", refusal.message);
    assert!(world.ask(&caller("carol", &["readers"]), asking(600)).await.is_ok());
}

#[tokio::test]
async fn terms_beyond_what_is_allowed_are_refused_by_their_field() {
    let database = database().await;
    let world = world(&database, reviewed(&database)).await;
    let now = world.clock.now();
    let later = |hours: i64| Some(now + SignedDuration::from_hours(hours));
    for (field, new) in [
        ("ttl", asking(3_601)),
        ("parallel", NewRequest { parallel: 11, ..asking(60) }),
        ("start_time", NewRequest { start: later(-1), ..asking(60) }),
        ("start_time", NewRequest { start: later(24 * 31), ..asking(60) }),
        ("justification", NewRequest { justification: "x".repeat(1 << 20), ..asking(60) }),
        ("justification", NewRequest { justification: "two\nlines".to_owned(), ..asking(60) }),
        ("ticket", NewRequest { ticket: Some("T".repeat(201)), ..asking(60) }),
        ("idempotency_key", NewRequest { idempotency_key: Some("k y".to_owned()), ..asking(60) }),
    ] {
        let refusal = world.ask(&alice(), new).await.unwrap_err();
        assert_eq!(refusal.kind, RefusalKind::Invalid(field));
    }
    let long = NewRequest { justification: "é".repeat(1_000), ..asking(60) };
    assert!(world.ask(&alice(), long).await.is_ok());
}

#[tokio::test]
async fn a_repeated_request_is_the_same_and_its_key_fits_no_other() {
    let database = database().await;
    let world = world(&database, reviewed(&database)).await;
    let keyed = |seconds| NewRequest { idempotency_key: Some("k1".to_owned()), ..asking(seconds) };
    let (alice, carol) = (alice(), caller("carol", &["readers"]));
    let (one, two) = tokio::join!(world.ask(&alice, keyed(600)), world.ask(&alice, keyed(600)));
    assert_eq!(one.unwrap().request.id, two.unwrap().request.id, "at the same time");
    assert_eq!(world.ask(&alice, keyed(601)).await.unwrap_err().kind, RefusalKind::KeyReused);
    assert!(world.ask(&carol, keyed(601)).await.is_ok(), "keys are each principal's own");
    assert_eq!(world.recorded("request.created").await, 3, "two made, one refused");
}

#[tokio::test]
async fn a_live_grant_that_covers_what_is_asked_for_is_given_again() {
    let database = database().await;
    let world = world(&database, reviewed(&database)).await;
    let grant = world.granted(asking(600)).await;
    for new in [asking(600), asking(60), NewRequest { ttl: None, ..asking(60) }] {
        let asked = world.ask(&alice(), new).await.unwrap();
        assert_eq!((asked.reused, asked.grant.unwrap().id), (true, grant.id));
    }
    for wider in [asking(601), NewRequest { parallel: 2, ..asking(60) }] {
        assert!(!world.ask(&alice(), wider).await.unwrap().reused);
    }
    assert!(!world.ask(&caller("carol", &["readers"]), asking(60)).await.unwrap().reused, "it is hers alone");
}

#[tokio::test]
async fn only_so_many_requests_of_one_principal_await_reviews() {
    let database = database().await;
    let world = world(&database, reviewed(&database)).await;
    let settings = RequestSettings { pending_per_principal: 2, ..RequestSettings::default() };
    world.issuer.request_settings().replace(settings);
    let first = world.ask(&alice(), asking(60)).await.unwrap().request;
    world.ask(&alice(), asking(61)).await.unwrap();
    assert_eq!(world.ask(&alice(), asking(62)).await.unwrap_err().kind, RefusalKind::LimitReached);
    assert!(world.ask(&caller("carol", &["readers"]), asking(60)).await.is_ok());
    world.issuer.cancel_request(&alice(), first.id, String::new()).await.unwrap();
    assert!(world.ask(&alice(), asking(62)).await.is_ok());
}

#[tokio::test]
async fn a_request_is_withdrawn_by_its_requester_or_an_administrator_and_by_nobody_else() {
    let database = database().await;
    let world = world(&database, reviewed(&database)).await;
    let (admin, issuer) = (caller("root", &["administrators"]), &world.issuer);
    let first = world.ask(&alice(), asking(60)).await.unwrap().request.id;
    let second = world.ask(&alice(), asking(61)).await.unwrap().request.id;
    let stranger = issuer.cancel_request(&caller("mallory", &[]), first, String::new()).await.unwrap_err();
    assert_eq!(stranger.kind, RefusalKind::NotFound);
    let reviewer = issuer.cancel_request(&bob(), first, String::new()).await.unwrap_err();
    assert_eq!(reviewer.kind, RefusalKind::Denied);
    for _ in 0..2 {
        let cancelled = issuer.cancel_request(&alice(), first, "a slip".to_owned()).await.unwrap();
        assert!(
            matches!(cancelled.state, RequestState::Cancelled { by: Some(ref by), .. } if by.as_str() == "alice")
        );
    }
    issuer.cancel_request(&admin, second, "leaving".to_owned()).await.unwrap();
    assert_eq!(world.recorded("request.cancelled").await, 3, "two done, one refused");
    assert_eq!(issuer.review_request(&bob(), first, yes()).await.unwrap_err().kind, RefusalKind::Decided);
}

#[tokio::test]
async fn requesters_see_their_own_reviewers_what_is_theirs_to_review_and_administrators_all() {
    let database = database().await;
    let world = world(&database, reviewed(&database)).await;
    let carol = caller("carol", &["readers"]);
    let first = world.ask(&alice(), asking(60)).await.unwrap().request.id;
    world.pass(1);
    let second = world.ask(&carol, asking(61)).await.unwrap().request.id;
    world.issuer.review_request(&bob(), first, no()).await.unwrap();
    let seen = async |who, filter: RequestFilter| {
        let (seen, next) = world.issuer.requests(&who, &filter, (10, None)).await.unwrap();
        assert_eq!(next, None);
        seen.into_iter().map(|seen| (seen.request.id, seen.reviewable)).collect::<Vec<_>>()
    };
    let all = RequestFilter::default();
    let to_review = RequestFilter { to_review: true, ..RequestFilter::default() };
    assert_eq!(seen(alice(), all.clone()).await, [(first, false)]);
    assert_eq!(seen(bob(), all.clone()).await, [(second, true), (first, false)]);
    assert_eq!(seen(bob(), to_review.clone()).await, [(second, true)]);
    assert_eq!(seen(caller("root", &["administrators"]), all.clone()).await.len(), 2);
    assert_eq!(seen(caller("mallory", &[]), all).await, []);
    assert_eq!(seen(alice(), to_review).await, []);
    assert_eq!(world.issuer.request(&alice(), second).await.unwrap_err().kind, RefusalKind::NotFound);
}

#[tokio::test]
async fn a_listing_goes_on_where_its_page_ended() {
    let database = database().await;
    let world = world(&database, reviewed(&database)).await;
    for seconds in 60..65 {
        world.ask(&alice(), asking(seconds)).await.unwrap();
        world.pass(1);
    }
    let (mut ids, mut before) = (Vec::new(), None);
    loop {
        let (seen, next) =
            world.issuer.requests(&alice(), &RequestFilter::default(), (2, before)).await.unwrap();
        ids.extend(seen.into_iter().map(|seen| seen.request.id));
        before = next;
        if before.is_none() {
            break;
        }
    }
    assert_eq!(ids.len(), 5);
    assert!(ids.is_sorted_by(|one, two| one > two));
}

#[tokio::test]
async fn a_window_is_two_instants_whatever_the_clocks_on_the_wall_do_meanwhile() {
    let database = database().await;
    let world = world(&database, reviewed(&database)).await;
    // The clocks in Zurich are put forward between the two: six hours on the wall are five.
    let (evening, morning): (Timestamp, Timestamp) =
        ("2027-03-27T23:00:00+01:00".parse().unwrap(), "2027-03-28T05:00:00+02:00".parse().unwrap());
    world.clock.advance(evening.duration_since(world.clock.now()));
    let grant = world.granted(NewRequest { start: Some(morning), ..asking(3_600) }).await;
    world.pass(5 * 3_600 - 1);
    assert!(matches!(world.grant(grant.id).await.state, GrantState::Scheduled { .. }));
    world.pass(1);
    let active = world.grant_becomes(grant.id, "active").await;
    assert_eq!(active.until(), Some(morning + SignedDuration::from_hours(1)));
}
