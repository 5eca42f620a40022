//! From asking to a credential; listings.

use mayfly::{
    api::proto::{
        CreateRequestRequest, GetGrantRequest, GetRequestRequest, GrantFilter, GrantState, ListGrantsRequest,
        ListRequestsRequest, RequestFilter, RequestKind, RequestState, ReviewRequestRequest,
        RevokeGrantRequest, Verdict,
    },
    domain::Password,
};
use tonic::Code;

use super::{
    super::rig::{named, told, with},
    Office, approval, asking, claim, seconds,
};

#[tokio::test]
async fn access_is_asked_for_reviewed_for_less_claimed_used_and_given_back() {
    let Some(office) = Office::open().await else { return };
    let new = CreateRequestRequest { ticket: "OPS-7".to_owned(), parallel: 2, ..asking(600) };
    let request = office.asked(new).await;
    assert_eq!((request.state(), request.kind()), (RequestState::Pending, RequestKind::Access));
    assert_eq!(
        (&*request.requester, &*request.role, &*request.target),
        ("alice", "roles/shop-read", "targets/shop")
    );
    assert_eq!(
        (&*request.justification, &*request.ticket, request.parallel),
        ("to look at an order", "OPS-7", 2)
    );
    assert_eq!((request.steps[0].name.as_str(), request.step), ("owners", Some(0)));
    assert!(!request.reviewable && request.grant.is_empty() && request.expire_time.is_some());
    assert_eq!(request.policy_set, "builtin", "what decided is named");

    let get = with(&office.bob, GetRequestRequest { name: request.name.clone() });
    assert!(office.requests().get_request(get).await.unwrap().into_inner().request.unwrap().reviewable);
    let filter = RequestFilter { to_review: true, ..RequestFilter::default() };
    let list = ListRequestsRequest { filter: Some(filter), ..ListRequestsRequest::default() };
    let mine = office.requests().list_requests(with(&office.bob, list)).await.unwrap().into_inner().requests;
    assert_eq!(mine.iter().map(|request| &request.name).collect::<Vec<_>>(), [&request.name]);

    let review = ReviewRequestRequest {
        ttl: Some(seconds(120)),
        comment: "briefly".to_owned(),
        ..approval(&request.name)
    };
    let approved = office.requests().review_request(with(&office.bob, review)).await.unwrap().into_inner();
    let approved = approved.request.unwrap();
    assert_eq!((approved.state(), approved.granted_ttl), (RequestState::Approved, Some(seconds(120))));
    assert_eq!(approved.ttl, Some(seconds(600)), "what was asked for stays");
    let review = &approved.reviews[0];
    assert_eq!((&*review.reviewer, review.verdict(), &*review.comment), ("bob", Verdict::Approve, "briefly"));
    assert!(!approved.reviewable && approved.step.is_none() && approved.decide_time.is_some());

    let get = || with(&office.alice, GetGrantRequest { name: approved.grant.clone() });
    let grant = office.grants().get_grant(get()).await.unwrap().into_inner().grant.unwrap();
    assert_eq!((grant.state(), grant.parallel, &grant.request), (GrantState::Scheduled, 2, &request.name));
    let claimed =
        office.grants().claim_grant(with(&office.alice, claim(&grant.name))).await.unwrap().into_inner();
    let (lease, credential) = (claimed.lease.unwrap(), claimed.credential.unwrap());
    let password = Password::new(credential.password.clone());
    let mut session = office.database.login(&credential.username, &password).await.unwrap();
    assert!(!session.ask("SELECT id FROM orders").await.unwrap().is_empty());
    let grant = office.grants().get_grant(get()).await.unwrap().into_inner().grant.unwrap();
    assert_eq!((grant.state(), grant.leases), (GrantState::Active, vec![lease.name]));
    assert_eq!(grant.expire_time, lease.expire_time, "it lasts as long as its grant");

    let revoke = RevokeGrantRequest { name: grant.name, reason: "done".to_owned() };
    let revoked =
        office.grants().revoke_grant(with(&office.alice, revoke)).await.unwrap().into_inner().grant.unwrap();
    assert_eq!(
        (revoked.state(), &*revoked.revoked_by, &*revoked.revoke_reason),
        (GrantState::Revoked, "alice", "done")
    );
}

#[tokio::test]
async fn a_repeated_request_is_the_same_and_its_key_fits_no_other() {
    let Some(office) = Office::open().await else { return };
    let keyed = |ttl| CreateRequestRequest { idempotency_key: "order-7".to_owned(), ..asking(ttl) };
    let first = office.asked(keyed(300)).await;
    assert_eq!(office.asked(keyed(300)).await.name, first.name);
    let other = office.requests().create_request(with(&office.alice, keyed(301))).await.unwrap_err();
    assert_eq!(told(&other), (Code::AlreadyExists, "IDEMPOTENCY_KEY_REUSED".to_owned()));
    // Somebody else's key is another.
    let carol = office.api.reader("carol").await;
    let hers = office.requests().create_request(with(&carol, keyed(301))).await.unwrap().into_inner();
    assert_ne!(hers.request.unwrap().name, first.name);
    // Many at once are one.
    let new = || CreateRequestRequest { idempotency_key: "at-once".to_owned(), ..asking(200) };
    let at_once = (0..6).map(async |_| {
        let made = office.requests().create_request(with(&office.alice, new())).await.unwrap().into_inner();
        made.request.unwrap().name
    });
    let names: std::collections::BTreeSet<_> =
        futures_util::future::join_all(at_once).await.into_iter().collect();
    assert_eq!(names.len(), 1, "{names:?}");
}

#[tokio::test]
async fn requests_and_grants_are_listed_a_page_at_a_time_within_one_filter() {
    let Some(office) = Office::open().await else { return };
    let mut asked = Vec::new();
    for ttl in 0..5 {
        asked.push(office.asked(asking(100 + ttl)).await.name);
    }
    asked.reverse();
    let list = async |page_token: String, requester: &str| {
        let filter = Some(RequestFilter { requester: requester.to_owned(), ..RequestFilter::default() });
        let request = ListRequestsRequest { page_size: 2, page_token, filter };
        office.requests().list_requests(with(&office.alice, request)).await.map(tonic::Response::into_inner)
    };
    let (mut listed, mut token, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let page = list(token, "alice").await.unwrap();
        assert!(page.requests.len() <= 2);
        listed.extend(page.requests.into_iter().map(|request| request.name));
        (token, pages) = (page.next_page_token, pages + 1);
        if token.is_empty() {
            break;
        }
    }
    assert_eq!((listed, pages), (asked, 3), "newest first");
    let token = list(String::new(), "alice").await.unwrap().next_page_token;
    assert_eq!(named(&list(token.clone(), "carol").await.unwrap_err()), ["page_token"]);
    let wrong = ListGrantsRequest { page_size: -1, page_token: token, filter: None };
    let status = office.grants().list_grants(with(&office.alice, wrong)).await.unwrap_err();
    assert_eq!(named(&status), ["page_size"]);
}

#[tokio::test]
async fn each_sees_what_is_his_and_administrators_all() {
    let Some(office) = Office::open().await else { return };
    let grant = office.granted(asking(300)).await;
    let (carol, root) = (office.api.reader("carol").await, &office.api.administrator);
    let count = async |token: &str, filter: GrantFilter| {
        let request = ListGrantsRequest { filter: Some(filter), ..ListGrantsRequest::default() };
        office.grants().list_grants(with(token, request)).await.map(|reply| reply.into_inner().grants.len())
    };
    let active = GrantFilter { states: vec![GrantState::Active.into()], ..GrantFilter::default() };
    let of_alice = GrantFilter { principal: "alice".to_owned(), ..GrantFilter::default() };
    assert_eq!(count(&office.alice, GrantFilter::default()).await.unwrap(), 1);
    assert_eq!(count(&office.alice, active).await.unwrap(), 0);
    assert_eq!(count(&carol, GrantFilter::default()).await.unwrap(), 0);
    assert_eq!(count(root, of_alice.clone()).await.unwrap(), 1);
    let denied = count(&carol, of_alice).await.unwrap_err();
    assert_eq!(told(&denied), (Code::PermissionDenied, "DENIED".to_owned()));
    let get = GetGrantRequest { name: grant };
    let missing = office.grants().get_grant(with(&carol, get.clone())).await.unwrap_err();
    assert_eq!(told(&missing), (Code::NotFound, "NOT_FOUND".to_owned()), "as if there were none");
    office.grants().get_grant(with(root, get)).await.unwrap();
}
