//! Bad input: every field that is wrong is named, and nothing happens.

use mayfly::api::proto::{
    CheckRoleRequest, CreateTokenRequest, ExamineTargetRequest, GetLeaseRequest, IssueLeaseRequest,
    LeaseFilter, LeaseState, ListAuditRecordsRequest, ListLeasesRequest, ListRolesRequest,
    ListSessionsRequest, ListTargetsRequest, ListTokensRequest, PrincipalKind, ReleaseLeaseRequest,
    RenewLeaseRequest, RevokeLeaseRequest, RevokeLeasesRequest, RevokeTokenRequest, TailAuditRecordsRequest,
    WatchLeasesRequest,
};
use prost_types::Duration;
use tonic::Code;

use super::rig::{Api, named, told, with};

fn hostile() -> Vec<String> {
    let texts = [
        "",
        "a'b",
        "a\"b",
        "a`b",
        "a;b",
        "x'; DROP ROLE postgres; --",
        "naïve",
        "名前",
        "a\0b",
        "a b",
        "a\nb",
    ];
    texts.iter().map(|text| (*text).to_owned()).chain(["a".repeat(10 * 1024)]).collect()
}

#[tokio::test]
async fn hostile_names_are_refused_in_every_name_field_of_leases() {
    let api = Api::bare().await;
    let (mut client, token) = (api.leases().await, &*api.administrator);
    for text in hostile() {
        let role = IssueLeaseRequest { role: text.clone(), ..Default::default() };
        let name = || text.clone();
        assert_eq!(named(&client.issue_lease(with(token, role)).await.unwrap_err()), ["role"]);
        let request = GetLeaseRequest { name: name() };
        assert_eq!(named(&client.get_lease(with(token, request)).await.unwrap_err()), ["name"]);
        let request = RenewLeaseRequest { name: name(), ttl: None };
        assert_eq!(named(&client.renew_lease(with(token, request)).await.unwrap_err()), ["name"]);
        let request = ReleaseLeaseRequest { name: name(), wait: true };
        assert_eq!(named(&client.release_lease(with(token, request)).await.unwrap_err()), ["name"]);
        let request = RevokeLeaseRequest { name: name(), ..Default::default() };
        assert_eq!(named(&client.revoke_lease(with(token, request)).await.unwrap_err()), ["name"]);
        let request = ListSessionsRequest { name: name() };
        assert_eq!(named(&client.list_sessions(with(token, request)).await.unwrap_err()), ["name"]);
    }
}

#[tokio::test]
async fn hostile_names_are_refused_in_every_field_of_a_filter() {
    let api = Api::bare().await;
    let (mut client, token) = (api.leases().await, &*api.administrator);
    for text in hostile().into_iter().filter(|text| !text.is_empty()) {
        let filter = Some(LeaseFilter {
            states: vec![LeaseState::Active.into(), 77, -1],
            principal: text.clone(),
            role: text.clone(),
            target: text.clone(),
        });
        let fields =
            ["filter.states[1]", "filter.states[2]", "filter.principal", "filter.role", "filter.target"];
        let request = ListLeasesRequest { filter: filter.clone(), page_size: -1, ..Default::default() };
        let status = client.list_leases(with(token, request)).await.unwrap_err();
        assert_eq!(named(&status), [&["page_size"], &fields[..]].concat());
        let request = WatchLeasesRequest { filter: filter.clone() };
        assert_eq!(named(&client.watch_leases(with(token, request)).await.unwrap_err()), fields);
        let request = RevokeLeasesRequest { filter, reason: String::new() };
        assert_eq!(named(&client.revoke_leases(with(token, request)).await.unwrap_err()), fields);
    }
}

#[tokio::test]
async fn hostile_names_are_refused_by_roles_targets_and_tokens() {
    let api = Api::bare().await;
    let token = &*api.administrator;
    let (mut roles, mut targets, mut tokens) = (api.roles().await, api.targets().await, api.tokens().await);
    for text in hostile() {
        let request = CheckRoleRequest { name: text.clone(), ttl: None };
        assert_eq!(named(&roles.check_role(with(token, request)).await.unwrap_err()), ["name"]);
        let request = ExamineTargetRequest { name: text.clone() };
        assert_eq!(named(&targets.examine_target(with(token, request)).await.unwrap_err()), ["name"]);
        let request = RevokeTokenRequest { name: text.clone() };
        assert_eq!(named(&tokens.revoke_token(with(token, request)).await.unwrap_err()), ["name"]);
        let request = CreateTokenRequest {
            principal: text.clone(),
            principal_kind: 9,
            groups: vec!["fine".to_owned(), text.clone()],
            cidrs: vec![text.clone()],
            ttl: Some(Duration { seconds: -1, nanos: 0 }),
            ..Default::default()
        };
        let status = tokens.create_token(with(token, request)).await.unwrap_err();
        assert_eq!(named(&status), ["principal", "principal_kind", "groups[1]", "cidrs[0]", "ttl"]);
        assert!(text.len() < 20 || !status.message().contains(&text));
    }
    assert_eq!(api.world.issuer.tokens(&root(), None, 10).await.unwrap().len(), 1);
}

fn root() -> mayfly::identity::Caller {
    crate::support::world::caller("root", &["administrators"])
}

#[tokio::test]
async fn ttls_that_are_zero_negative_or_absurd_are_refused() {
    let api = Api::bare().await;
    let (mut client, token) = (api.leases().await, &*api.administrator);
    for (seconds, nanos) in [(0, 0), (0, 1), (-1, 0), (i64::MIN, 0), (i64::MAX, 0), (31_622_401, 0), (1, -1)]
    {
        let ttl = Some(Duration { seconds, nanos });
        let request = IssueLeaseRequest { role: "orders".to_owned(), ttl, ..Default::default() };
        let status = client.issue_lease(with(token, request)).await.unwrap_err();
        assert_eq!(named(&status), ["ttl"], "{seconds}.{nanos}");
        let request = RenewLeaseRequest { name: "leases/06dp4f2h9c8x1k3m7q0r".to_owned(), ttl };
        assert_eq!(named(&client.renew_lease(with(token, request)).await.unwrap_err()), ["ttl"]);
        let request = CheckRoleRequest { name: "orders".to_owned(), ttl };
        let status = api.roles().await.check_role(with(token, request)).await.unwrap_err();
        assert_eq!(named(&status), ["ttl"]);
    }
}

#[tokio::test]
async fn what_does_not_exist_is_not_found() {
    let api = Api::bare().await;
    let token = &*api.administrator;
    let lease = "leases/06dp4f2h9c8x1k3m7q0r".to_owned();
    let not_found = (Code::NotFound, "NOT_FOUND".to_owned());
    let mut client = api.leases().await;
    let request = IssueLeaseRequest { role: "roles/nothing".to_owned(), ..Default::default() };
    assert_eq!(told(&client.issue_lease(with(token, request)).await.unwrap_err()), not_found);
    let request = GetLeaseRequest { name: lease.clone() };
    assert_eq!(told(&client.get_lease(with(token, request)).await.unwrap_err()), not_found);
    let request = RevokeLeaseRequest { name: lease.clone(), ..Default::default() };
    assert_eq!(told(&client.revoke_lease(with(token, request)).await.unwrap_err()), not_found);
    let request = CheckRoleRequest { name: "nothing".to_owned(), ttl: None };
    assert_eq!(told(&api.roles().await.check_role(with(token, request)).await.unwrap_err()), not_found);
    let request = ExamineTargetRequest { name: "targets/nothing".to_owned() };
    let status = api.targets().await.examine_target(with(token, request)).await.unwrap_err();
    assert_eq!(told(&status), not_found);
    let request = RevokeTokenRequest { name: "tokens/06dp4f2h9c8x1k3m7q0r".to_owned() };
    let status = api.tokens().await.revoke_token(with(token, request)).await.unwrap_err();
    assert_eq!(told(&status), not_found);
}

#[tokio::test]
async fn texts_that_are_too_long_or_not_on_one_line_are_refused() {
    let api = Api::bare().await;
    let (mut client, token) = (api.leases().await, &*api.administrator);
    for purpose in ["a\nb".to_owned(), "\0".to_owned(), "x".repeat(10 * 1024)] {
        let request = IssueLeaseRequest { role: "orders".to_owned(), purpose, ..Default::default() };
        assert_eq!(named(&client.issue_lease(with(token, request)).await.unwrap_err()), ["purpose"]);
    }
    for idempotency_key in ["a b".to_owned(), "ü".to_owned(), "x".repeat(129)] {
        let request = IssueLeaseRequest { role: "orders".to_owned(), idempotency_key, ..Default::default() };
        assert_eq!(named(&client.issue_lease(with(token, request)).await.unwrap_err()), ["idempotency_key"]);
    }
    let filter = Some(LeaseFilter { role: "orders".to_owned(), ..Default::default() });
    let request = RevokeLeasesRequest { filter, reason: "a\nb".to_owned() };
    assert_eq!(named(&client.revoke_leases(with(token, request)).await.unwrap_err()), ["reason"]);
    let everything = RevokeLeasesRequest { filter: None, reason: String::new() };
    assert_eq!(named(&client.revoke_leases(with(token, everything)).await.unwrap_err()), ["filter"]);
}

#[tokio::test]
async fn page_tokens_go_with_their_listing_and_negative_sizes_are_refused() {
    let api = Api::bare().await;
    let token = &*api.administrator;
    for name in ["a", "b", "c"] {
        // Within one millisecond the order of identifiers is chance.
        api.world.pass(1);
        api.mint(name, &[], &[]).await;
    }
    let mut tokens = api.tokens().await;
    let page = |page_token: String| with(token, ListTokensRequest { page_size: 2, page_token });
    let first = tokens.list_tokens(page(String::new())).await.unwrap().into_inner();
    let second = tokens.list_tokens(page(first.next_page_token.clone())).await.unwrap().into_inner();
    let principals: Vec<&str> =
        first.tokens.iter().chain(&second.tokens).map(|token| &*token.principal).collect();
    assert_eq!(principals, ["c", "b", "a", "administrator"]);
    assert_eq!(second.next_page_token, "");
    for page_token in [first.next_page_token, "x".repeat(10 * 1024), "'; --".to_owned()] {
        let page_size = -1;
        let fields = ["page_size", "page_token"];
        let request = ListRolesRequest { page_size, page_token: page_token.clone() };
        let status = api.roles().await.list_roles(with(token, request)).await.unwrap_err();
        assert_eq!(named(&status), fields);
        let request = ListTargetsRequest { page_size, page_token: page_token.clone() };
        let status = api.targets().await.list_targets(with(token, request)).await.unwrap_err();
        assert_eq!(named(&status), fields);
        let request = ListAuditRecordsRequest { page_size, page_token: page_token.clone() };
        let status = api.audit().await.list_audit_records(with(token, request)).await.unwrap_err();
        assert_eq!(named(&status), fields);
        let request = ListLeasesRequest { page_token, ..Default::default() };
        let status = api.leases().await.list_leases(with(token, request)).await.unwrap_err();
        assert_eq!(named(&status), ["page_token"]);
    }
    let request = TailAuditRecordsRequest { last_count: -1, stop_at_end: true };
    let status = api.audit().await.tail_audit_records(with(token, request)).await.unwrap_err();
    assert_eq!(named(&status), ["last_count"]);
}

#[tokio::test]
async fn what_is_for_administrators_is_denied_to_others() {
    let api = Api::bare().await;
    let token = &*api.reader("app").await;
    let denied = (Code::PermissionDenied, "DENIED".to_owned());
    let request = CreateTokenRequest {
        principal: "evil".to_owned(),
        principal_kind: PrincipalKind::Human.into(),
        groups: vec!["administrators".to_owned()],
        ..Default::default()
    };
    let status = api.tokens().await.create_token(with(token, request)).await.unwrap_err();
    assert_eq!(told(&status), denied);
    let status = api.tokens().await.list_tokens(with(token, ListTokensRequest::default())).await.unwrap_err();
    assert_eq!(told(&status), denied);
    let status =
        api.targets().await.list_targets(with(token, ListTargetsRequest::default())).await.unwrap_err();
    assert_eq!(told(&status), denied);
    let status = api
        .audit()
        .await
        .list_audit_records(with(token, ListAuditRecordsRequest::default()))
        .await
        .unwrap_err();
    assert_eq!(told(&status), denied);
    let status = api
        .audit()
        .await
        .tail_audit_records(with(token, TailAuditRecordsRequest::default()))
        .await
        .unwrap_err();
    assert_eq!(told(&status), denied);
    let filter = Some(LeaseFilter { principal: "somebody".to_owned(), ..Default::default() });
    let request = ListLeasesRequest { filter: filter.clone(), ..Default::default() };
    let status = api.leases().await.list_leases(with(token, request)).await.unwrap_err();
    assert_eq!(told(&status), denied);
    let status =
        api.leases().await.watch_leases(with(token, WatchLeasesRequest { filter })).await.unwrap_err();
    assert_eq!(told(&status), denied);
}
