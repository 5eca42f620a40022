//! Bad input and what is refused: by code, reason and field, so that programs understand it as well.

use mayfly::api::{
    grpc::GrpcSettings,
    proto::{
        CancelRequestRequest, CreateRequestRequest, ExtendGrantRequest, GetGrantRequest, GetRequestRequest,
        GrantFilter, IssueLeaseRequest, ListGrantsRequest, ListRequestsRequest, RequestFilter, RequestState,
        ReviewRequestRequest, RevokeGrantRequest, Verdict, WatchRequestRequest, WatchRequestsRequest,
        lease_service_client::LeaseServiceClient,
    },
};
use mayfly::clock::Clock as _;
use prost_types::{Duration, Timestamp};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::{
    super::rig::{named, settings, told, with},
    Office, approval, asking, claim, owner, seconds,
};

fn hostile() -> [String; 6] {
    ["", "a'b", "x'; DROP ROLE postgres; --", "名前", "a\0b", &"a".repeat(10 * 1024)].map(str::to_owned)
}

fn refused(code: Code, reason: &str) -> (Code, String) {
    (code, reason.to_owned())
}

impl Office {
    /// A start so many seconds from now.
    fn start(&self, seconds: i64) -> Timestamp {
        Timestamp { seconds: self.api.world.clock.now().as_second() + seconds, nanos: 0 }
    }

    async fn asked_in_vain(&self, new: CreateRequestRequest) -> Status {
        self.requests().create_request(with(&self.alice, new)).await.unwrap_err()
    }

    async fn reviewed_in_vain(&self, token: &str, review: ReviewRequestRequest) -> Status {
        self.requests().review_request(with(token, review)).await.unwrap_err()
    }

    async fn nothing_was_asked(&self) {
        let all = with(&self.api.administrator, ListRequestsRequest::default());
        assert_eq!(self.requests().list_requests(all).await.unwrap().into_inner().requests, []);
    }
}

#[tokio::test]
async fn hostile_names_are_refused_in_every_name_field() {
    let Some(office) = Office::open().await else { return };
    let (mut requests, mut grants, alice) = (office.requests(), office.grants(), &*office.alice);
    for text in hostile() {
        let name = || text.clone();
        let new = CreateRequestRequest { role: name(), ..asking(60) };
        assert_eq!(named(&office.asked_in_vain(new).await), ["role"]);
        let request = with(alice, GetRequestRequest { name: name() });
        assert_eq!(named(&requests.get_request(request).await.unwrap_err()), ["name"]);
        let request = with(alice, WatchRequestRequest { name: name() });
        assert_eq!(named(&requests.watch_request(request).await.unwrap_err()), ["name"]);
        let request = with(alice, CancelRequestRequest { name: name(), reason: String::new() });
        assert_eq!(named(&requests.cancel_request(request).await.unwrap_err()), ["name"]);
        assert_eq!(named(&office.reviewed_in_vain(&office.bob, approval(&text)).await), ["name"]);
        let request = with(alice, GetGrantRequest { name: name() });
        assert_eq!(named(&grants.get_grant(request).await.unwrap_err()), ["name"]);
        assert_eq!(named(&grants.claim_grant(with(alice, claim(&text))).await.unwrap_err()), ["name"]);
        let request = with(alice, ExtendGrantRequest { name: name(), ..ExtendGrantRequest::default() });
        assert_eq!(named(&grants.extend_grant(request).await.unwrap_err()), ["name"]);
        let request = with(alice, RevokeGrantRequest { name: name(), reason: String::new() });
        assert_eq!(named(&grants.revoke_grant(request).await.unwrap_err()), ["name"]);
    }
    office.nothing_was_asked().await;
}

#[tokio::test]
async fn everything_that_is_wrong_is_named_at_once() {
    let Some(office) = Office::open().await else { return };
    let absurd = Some(Timestamp { seconds: i64::MAX, nanos: 0 });
    let crooked = Some(Timestamp { seconds: 0, nanos: -1 });
    let new = CreateRequestRequest {
        role: "a b".to_owned(),
        ttl: Some(seconds(-1)),
        start_time: absurd,
        ..asking(60)
    };
    assert_eq!(named(&office.asked_in_vain(new).await), ["role", "ttl", "start_time"]);
    for verdict in [0, 9, -1] {
        let review = ReviewRequestRequest {
            name: "requests/x".to_owned(),
            verdict,
            ttl: Some(Duration { seconds: 0, nanos: 0 }),
            start_time: crooked,
            ..ReviewRequestRequest::default()
        };
        let status = office.reviewed_in_vain(&office.bob, review).await;
        assert_eq!(named(&status), ["name", "verdict", "ttl", "start_time"]);
    }
    let filter = Some(RequestFilter {
        states: vec![RequestState::Pending.into(), 77, -1],
        requester: "a b".to_owned(),
        role: "a b".to_owned(),
        target: "a b".to_owned(),
        to_review: false,
    });
    let fields = ["filter.states[1]", "filter.states[2]", "filter.requester", "filter.role", "filter.target"];
    let list =
        ListRequestsRequest { page_size: -1, filter: filter.clone(), ..ListRequestsRequest::default() };
    let status = office.requests().list_requests(with(&office.alice, list)).await.unwrap_err();
    assert_eq!(named(&status), [&["page_size"], &fields[..]].concat());
    let watch = with(&office.alice, WatchRequestsRequest { filter });
    assert_eq!(named(&office.requests().watch_requests(watch).await.unwrap_err()), fields);
    let filter = Some(GrantFilter { states: vec![9], principal: "a b".to_owned(), ..GrantFilter::default() });
    let list = ListGrantsRequest { filter, ..ListGrantsRequest::default() };
    let status = office.grants().list_grants(with(&office.alice, list)).await.unwrap_err();
    assert_eq!(named(&status), ["filter.states[0]", "filter.principal"]);
}

#[tokio::test]
async fn terms_that_are_too_much_are_refused_by_their_field_and_briefly() {
    let generous = GrpcSettings { max_message_bytes: 4 << 20, ..settings() };
    let Some(office) = Office::with(generous).await else { return };
    let megabyte = "x".repeat(1 << 20);
    for justification in [megabyte.clone(), "é".repeat(1_001), "two\nlines".to_owned(), "\0".to_owned()] {
        let status = office.asked_in_vain(CreateRequestRequest { justification, ..asking(60) }).await;
        assert_eq!(named(&status), ["justification"]);
        assert!(status.message().len() + status.details().len() < 2_048, "what is told back is short");
    }
    let wrong = |field| {
        let (new, month) = (asking(60), 30 * 24 * 3_600);
        match field {
            "ticket" => CreateRequestRequest { ticket: "x".repeat(201), ..new },
            "idempotency_key" => CreateRequestRequest { idempotency_key: "a b".to_owned(), ..new },
            "parallel" => CreateRequestRequest { parallel: u32::MAX, ..new },
            "ttl" => asking(3_601),
            "start_time" => CreateRequestRequest { start_time: Some(office.start(-1)), ..new },
            _ => CreateRequestRequest { start_time: Some(office.start(month + 1)), ..new },
        }
    };
    for field in ["ticket", "idempotency_key", "parallel", "ttl", "start_time", "too far ahead"] {
        let expected = if field.contains(' ') { "start_time" } else { field };
        assert_eq!(named(&office.asked_in_vain(wrong(field)).await), [expected], "{field}");
    }
    office.nothing_was_asked().await;

    let request = office.asked(asking(300)).await;
    let review = |comment: &str, ttl| {
        let (comment, ttl) = (comment.to_owned(), Some(seconds(ttl)));
        ReviewRequestRequest { comment, ttl, ..approval(&request.name) }
    };
    assert_eq!(named(&office.reviewed_in_vain(&office.bob, review(&megabyte, 60)).await), ["comment"]);
    assert_eq!(named(&office.reviewed_in_vain(&office.bob, review("", 301)).await), ["ttl"]);
    let past = ReviewRequestRequest { start_time: Some(office.start(-1)), ..approval(&request.name) };
    assert_eq!(named(&office.reviewed_in_vain(&office.bob, past).await), ["start_time"]);
    let cancel = CancelRequestRequest { name: request.name, reason: megabyte };
    let status = office.requests().cancel_request(with(&office.alice, cancel)).await.unwrap_err();
    assert_eq!(named(&status), ["reason"]);
}

#[tokio::test]
async fn a_start_is_put_off_by_reviewers_and_never_brought_forward() {
    let Some(office) = Office::open().await else { return };
    let request =
        office.asked(CreateRequestRequest { start_time: Some(office.start(600)), ..asking(300) }).await;
    let start =
        |seconds| ReviewRequestRequest { start_time: Some(office.start(seconds)), ..approval(&request.name) };
    assert_eq!(named(&office.reviewed_in_vain(&office.bob, start(500)).await), ["start_time"]);
    let approved =
        office.requests().review_request(with(&office.bob, start(700))).await.unwrap().into_inner();
    let approved = approved.request.unwrap();
    assert_eq!(approved.granted_start_time, Some(office.start(700)));
    let early = office.grants().claim_grant(with(&office.alice, claim(&approved.grant))).await.unwrap_err();
    assert_eq!(told(&early), refused(Code::FailedPrecondition, "GRANT_NOT_BEGUN"));
    let wait = early.get_details_retry_info().unwrap().retry_delay.unwrap();
    assert!((699..=700).contains(&wait.as_secs()), "when it makes sense to try again: {wait:?}");
}

#[tokio::test]
async fn who_may_not_decide_is_told_why_as_far_as_it_is_his_to_know() {
    let Some(office) = Office::open().await else { return };
    let request = office.asked(asking(300)).await;
    let review = || approval(&request.name);
    let own = office.reviewed_in_vain(&office.alice, review()).await;
    assert_eq!(told(&own), refused(Code::PermissionDenied, "DENIED"), "{own:?}");
    let stranger = office.api.reader("carol").await;
    let unseen = office.reviewed_in_vain(&stranger, review()).await;
    assert_eq!(told(&unseen), refused(Code::NotFound, "NOT_FOUND"), "as if there were none");
    // Administrators are not exempt.
    let root = office.reviewed_in_vain(&office.api.administrator, review()).await;
    assert_eq!(told(&root), refused(Code::PermissionDenied, "DENIED"));
    // Who was an owner when it was asked for, and is none any more.
    let former = office.api.mint("bob", &["readers"], &[]).await;
    let late = office.reviewed_in_vain(former.secret.expose(), review()).await;
    assert_eq!(told(&late), refused(Code::NotFound, "NOT_FOUND"));
    office.requests().review_request(with(&office.bob, review())).await.unwrap();
    let twice = office.reviewed_in_vain(&office.bob, review()).await;
    assert_eq!(told(&twice), refused(Code::FailedPrecondition, "REQUEST_DECIDED"));
    let failure = twice.get_details_precondition_failure().unwrap().violations;
    assert_eq!((&*failure[0].r#type, failure[0].description.is_empty()), ("REQUEST_DECIDED", false));
    let other = owner(&office.api, "dave").await;
    let late = office.reviewed_in_vain(&other, review()).await;
    assert_eq!(told(&late), refused(Code::FailedPrecondition, "REQUEST_DECIDED"));
    let cancel = CancelRequestRequest { name: request.name.clone(), reason: String::new() };
    let late = office.requests().cancel_request(with(&office.alice, cancel)).await.unwrap_err();
    assert_eq!(told(&late), refused(Code::FailedPrecondition, "REQUEST_DECIDED"));
    assert_eq!(late.get_details_error_info().unwrap().domain, "mayfly");
}

#[tokio::test]
async fn one_reviewer_counts_once_where_it_takes_two() {
    let Some(office) = Office::open().await else { return };
    let mut role = super::reviewed(&office.database);
    role.approval[0].quorum = 2;
    let current = office.api.world.catalogue.current();
    let roles = [(role.name.clone(), std::sync::Arc::new(role))].into();
    let catalogue = mayfly::issuer::Catalogue { roles, targets: current.targets.clone() };
    office.api.world.catalogue.replace(catalogue);
    let request = office.asked(asking(300)).await;
    let review = || with(&office.bob, approval(&request.name));
    let (mut one, mut other) = (office.requests(), office.requests());
    let (first, second) = tokio::join!(one.review_request(review()), other.review_request(review()));
    let outcomes = [first, second];
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1, "{outcomes:?}");
    let twice = outcomes.into_iter().find_map(Result::err).unwrap();
    assert_eq!(told(&twice), refused(Code::FailedPrecondition, "REVIEWED_ALREADY"));
    let deny = ReviewRequestRequest { verdict: Verdict::Deny.into(), ..approval(&request.name) };
    let again = office.reviewed_in_vain(&office.bob, deny).await;
    assert_eq!(told(&again), refused(Code::FailedPrecondition, "REVIEWED_ALREADY"));
}

#[tokio::test]
async fn what_does_not_exist_is_not_allowed_or_takes_an_approval_says_so() {
    let Some(office) = Office::open().await else { return };
    let unknown = CreateRequestRequest { role: "roles/nothing".to_owned(), ..asking(60) };
    assert_eq!(told(&office.asked_in_vain(unknown).await), refused(Code::NotFound, "NOT_FOUND"));
    let mut requests = office.requests();
    let denied = requests.create_request(with(&office.bob, asking(60))).await.unwrap_err();
    assert_eq!(told(&denied), refused(Code::PermissionDenied, "DENIED"), "Bob reads nothing");
    let missing = GetRequestRequest { name: "requests/06dp4f2h9c8x1k3m7q0r".to_owned() };
    let missing = requests.get_request(with(&office.alice, missing)).await.unwrap_err();
    assert_eq!(told(&missing), refused(Code::NotFound, "NOT_FOUND"));
    let missing = with(&office.alice, claim("grants/06dp4f2h9c8x1k3m7q0r"));
    let missing = office.grants().claim_grant(missing).await.unwrap_err();
    assert_eq!(told(&missing), refused(Code::NotFound, "NOT_FOUND"));
    let mut leases = LeaseServiceClient::new(office.channel.clone());
    let issue = IssueLeaseRequest { role: "shop-read".to_owned(), ..IssueLeaseRequest::default() };
    let asked = leases.issue_lease(with(&office.alice, issue)).await.unwrap_err();
    assert_eq!(told(&asked), refused(Code::FailedPrecondition, "APPROVAL_REQUIRED"));
    assert!(asked.message().contains("mayfly request create shop-read"), "{}", asked.message());
    for _ in 0..20 {
        office.asked(asking(60)).await;
    }
    let many = office.asked_in_vain(asking(60)).await;
    assert_eq!(many.code(), Code::ResourceExhausted);
    assert_eq!(many.get_details_quota_failure().unwrap().violations[0].subject, "alice");
}
