//! Leases over the wire, on real databases.

use std::{sync::Arc, time::Duration};

use mayfly::{
    api::proto::{
        CheckRoleRequest, ExamineTargetRequest, GetLeaseRequest, IssueLeaseRequest, LeaseFilter, LeaseState,
        ListLeasesRequest, ListRolesRequest, ListSessionsRequest, ListTargetsRequest, ReleaseLeaseRequest,
        RenewLeaseRequest, RevokeLeaseRequest, RevokeLeasesRequest, Severity,
    },
    clock::SystemClock,
    domain::{Engine, Password, StateName},
    target::{Target, TargetSettings},
};
use tonic::Code;
use tonic_types::StatusExt as _;

use super::rig::{Api, named, settings, told, with};
use crate::support::{
    eventually,
    meddler::{Meddler, Moment, Step},
    world::{Database, World, databases},
};

fn shop_read() -> IssueLeaseRequest {
    IssueLeaseRequest { role: "roles/shop-read".to_owned(), ..Default::default() }
}

#[tokio::test]
async fn a_credential_is_issued_used_renewed_and_released_on_every_engine() {
    for database in databases().await {
        let api = Api::reading(&database).await;
        let app = api.reader("app").await;
        let mut client = api.leases().await;
        let request = IssueLeaseRequest { purpose: "ticket 7".to_owned(), ..shop_read() };
        let issued = client.issue_lease(with(&app, request)).await.unwrap().into_inner();
        let (lease, credential) = (issued.lease.unwrap(), issued.credential.unwrap());
        assert_eq!((lease.state(), &*lease.purpose), (LeaseState::Active, "ticket 7"));
        assert_eq!((&*lease.role, &*lease.target), ("roles/shop-read", "targets/shop"));
        assert_eq!(
            (&lease.account, credential.endpoints[0].port),
            (&credential.username, database.port.into())
        );
        assert_eq!(credential.tls_mode, "disable");
        let password = Password::new(credential.password.clone());
        let mut session = database.login(&credential.username, &password).await.unwrap();
        assert!(!session.ask("SELECT id FROM orders").await.unwrap().is_empty());
        let request = ListSessionsRequest { name: lease.name.clone() };
        let sessions = client.list_sessions(with(&app, request)).await.unwrap().into_inner().sessions;
        assert_eq!(sessions.len(), 1);
        assert_eq!(sessions[0].database, database.sample.names.database);
        api.world.pass(100);
        let request = RenewLeaseRequest { name: lease.name.clone(), ttl: None };
        let renewed = client.renew_lease(with(&app, request)).await.unwrap().into_inner().lease.unwrap();
        assert_eq!(renewed.expire_time.unwrap().seconds, lease.expire_time.unwrap().seconds + 100);
        let request = ReleaseLeaseRequest { name: lease.name.clone(), wait: true };
        let released = client.release_lease(with(&app, request)).await.unwrap().into_inner().lease.unwrap();
        assert_eq!(released.state(), LeaseState::Released);
        assert_eq!(released.end_report.unwrap().sessions_ended, 1);
        session.ask("SELECT id FROM orders").await.unwrap_err();
        assert!(database.login(&credential.username, &password).await.is_err());
        let request = GetLeaseRequest { name: lease.name };
        let read = client.get_lease(with(&app, request)).await.unwrap().into_inner().lease.unwrap();
        assert_eq!(read, released);
    }
}

async fn first() -> Option<Database> {
    databases().await.into_iter().next()
}

#[tokio::test]
async fn leases_are_listed_a_page_at_a_time_within_one_filter() {
    let Some(database) = first().await else { return };
    let api = Api::reading(&database).await;
    let (app, other) = (api.reader("app").await, api.reader("other").await);
    let mut client = api.leases().await;
    let mut issued = Vec::new();
    for token in [&app, &app, &other, &app] {
        // Within one millisecond the order of identifiers is chance.
        api.world.pass(1);
        let reply = client.issue_lease(with(token, shop_read())).await.unwrap().into_inner();
        issued.push(reply.lease.unwrap().name);
    }
    let list = |token: &str, page_size, page_token: &str, filter| {
        with(token, ListLeasesRequest { page_size, page_token: page_token.to_owned(), filter })
    };
    let first = client.list_leases(list(&app, 2, "", None)).await.unwrap().into_inner();
    let second = client.list_leases(list(&app, 2, &first.next_page_token, None)).await.unwrap().into_inner();
    let names: Vec<&String> = first.leases.iter().chain(&second.leases).map(|lease| &lease.name).collect();
    assert_eq!(names, [&issued[3], &issued[1], &issued[0]]);
    assert_eq!(second.next_page_token, "");
    let all = client.list_leases(list(&api.administrator, 0, "", None)).await.unwrap().into_inner();
    assert_eq!(all.leases.len(), 4);
    let filter = Some(LeaseFilter { role: "shop-read".to_owned(), ..Default::default() });
    let status = client.list_leases(list(&app, 2, &first.next_page_token, filter)).await.unwrap_err();
    assert_eq!(named(&status), ["page_token"]);
    let request = GetLeaseRequest { name: issued[2].clone() };
    assert_eq!(client.get_lease(with(&app, request)).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn authority_revokes_one_lease_or_all_of_a_principal() {
    let Some(database) = first().await else { return };
    let api = Api::reading(&database).await;
    let (app, root) = (api.reader("app").await, &*api.administrator);
    let mut client = api.leases().await;
    let mut names = Vec::new();
    for _ in 0..3 {
        let reply = client.issue_lease(with(&app, shop_read())).await.unwrap().into_inner();
        names.push(reply.lease.unwrap().name);
    }
    let request =
        RevokeLeaseRequest { name: names[0].clone(), reason: "left the company".to_owned(), wait: true };
    let status = client.revoke_lease(with(&app, request.clone())).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    let revoked = client.revoke_lease(with(root, request)).await.unwrap().into_inner().lease.unwrap();
    assert_eq!(revoked.state(), LeaseState::Revoked);
    assert_eq!(revoked.end_reason, "it was revoked: left the company");
    let request = ReleaseLeaseRequest { name: names[1].clone(), wait: false };
    assert_eq!(client.release_lease(with(root, request)).await.unwrap_err().code(), Code::PermissionDenied);
    let filter = Some(LeaseFilter { principal: "app".to_owned(), ..Default::default() });
    let request = RevokeLeasesRequest { filter, reason: String::new() };
    assert_eq!(client.revoke_leases(with(root, request)).await.unwrap().into_inner().revoked_count, 2);
    let request = RenewLeaseRequest { name: names[2].clone(), ttl: None };
    let status = client.renew_lease(with(&app, request)).await.unwrap_err();
    assert_eq!(told(&status), (Code::FailedPrecondition, "LEASE_ENDED".to_owned()));
}

#[tokio::test]
async fn roles_and_targets_are_told_to_whom_they_concern() {
    let Some(database) = first().await else { return };
    let api = Api::reading(&database).await;
    let (app, stranger) = (api.reader("app").await, api.mint("stranger", &[], &[]).await);
    let stranger = stranger.secret.expose();
    let mut roles = api.roles().await;
    let list = |token: &str| with(token, ListRolesRequest::default());
    let listed = roles.list_roles(list(&app)).await.unwrap().into_inner().roles;
    assert_eq!((listed.len(), &*listed[0].name, listed[0].allowed), (1, "roles/shop-read", true));
    assert_eq!(listed[0].max_ttl.unwrap().seconds, 3600);
    assert!(roles.list_roles(list(stranger)).await.unwrap().into_inner().roles.is_empty());
    let seen = roles.list_roles(list(&api.administrator)).await.unwrap().into_inner().roles;
    assert!(!seen[0].allowed);
    let check = |token: &str| with(token, CheckRoleRequest { name: "shop-read".to_owned(), ttl: None });
    let mine = roles.check_role(check(&app)).await.unwrap().into_inner();
    assert_eq!((mine.allowed, mine.ttl.unwrap().seconds, mine.max_leases), (true, 300, 10));
    let theirs = roles.check_role(check(stranger)).await.unwrap().into_inner();
    assert!(!theirs.allowed && theirs.reason.contains("does not allow"), "{}", theirs.reason);
    let status = api.leases().await.issue_lease(with(stranger, shop_read())).await.unwrap_err();
    assert_eq!(told(&status), (Code::PermissionDenied, "DENIED".to_owned()));
    let mut targets = api.targets().await;
    let request = with(&api.administrator, ListTargetsRequest::default());
    let listed = targets.list_targets(request).await.unwrap().into_inner().targets;
    assert_eq!(
        (&*listed[0].name, &listed[0].roles[..]),
        ("targets/shop", &["roles/shop-read".to_owned()][..])
    );
    let request = with(&api.administrator, ExamineTargetRequest { name: "shop".to_owned() });
    let found = targets.examine_target(request).await.unwrap().into_inner();
    assert!(found.server.starts_with(database.engine.title()), "{}", found.server);
    assert!(
        found.findings.iter().all(|finding| finding.severity() != Severity::Problem),
        "{:?}",
        found.findings
    );
}

#[tokio::test]
async fn limits_keys_and_ttls_are_refused_with_their_own_codes() {
    let Some(database) = first().await else { return };
    let target = World::target(database.settings("shop"), std::sync::Arc::new(mayfly::clock::SystemClock));
    let mut role = database.reading_role("shop-read", "shop");
    role.limits.per_principal = 1;
    let api = Api::serve(World::with(vec![target], vec![role]).await, settings()).await;
    let app = api.reader("app").await;
    let mut client = api.leases().await;
    let over = Some(prost_types::Duration { seconds: 3601, nanos: 0 });
    let request = IssueLeaseRequest { ttl: over, ..shop_read() };
    assert_eq!(named(&client.issue_lease(with(&app, request)).await.unwrap_err()), ["ttl"]);
    let keyed = |purpose: &str| IssueLeaseRequest {
        idempotency_key: "k1".to_owned(),
        purpose: purpose.to_owned(),
        ..shop_read()
    };
    let one = client.issue_lease(with(&app, keyed(""))).await.unwrap().into_inner();
    let again = client.issue_lease(with(&app, keyed(""))).await.unwrap().into_inner();
    assert_eq!(one.lease.unwrap().name, again.lease.unwrap().name);
    let status = client.issue_lease(with(&app, keyed("else"))).await.unwrap_err();
    assert_eq!(told(&status), (Code::AlreadyExists, "IDEMPOTENCY_KEY_REUSED".to_owned()));
    let status = client.issue_lease(with(&app, shop_read())).await.unwrap_err();
    assert_eq!(told(&status), (Code::ResourceExhausted, "LEASE_LIMIT_REACHED".to_owned()));
    assert!(status.get_details_quota_failure().is_some());
}

fn nowhere(settings: TargetSettings) -> TargetSettings {
    // The discard port: nothing listens there.
    TargetSettings { hosts: vec![("127.0.0.1".to_owned(), 9)], ..settings }
}

#[tokio::test]
async fn a_target_that_is_down_is_unavailable_with_a_time_to_come_back() {
    let Some(database) = first().await else { return };
    let settings_of_target = nowhere(database.settings("shop"));
    let target = World::target(settings_of_target, std::sync::Arc::new(mayfly::clock::SystemClock));
    let role = database.reading_role("shop-read", "shop");
    let api = Api::serve(World::with(vec![target], vec![role]).await, settings()).await;
    let app = api.reader("app").await;
    let status = api.leases().await.issue_lease(with(&app, shop_read())).await.unwrap_err();
    assert_eq!(told(&status), (Code::Unavailable, "TARGET_UNAVAILABLE".to_owned()));
    assert!(status.get_details_retry_info().unwrap().retry_delay.is_some());
    eventually("no lease is live", async || {
        let leases = api.world.leases().await;
        leases.iter().all(|lease| !lease.state.name().is_live()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_statement_that_mends_a_target_is_told_to_administrators_only() {
    let all = databases().await;
    let Some(database) = all.iter().find(|database| database.engine == Engine::Postgres) else { return };
    let target = World::target(database.settings("shop"), std::sync::Arc::new(mayfly::clock::SystemClock));
    let mut role = database.reading_role("shop-read", "shop");
    role.member_of = vec!["no_such_group".to_owned()];
    let api = Api::serve(World::with(vec![target], vec![role]).await, settings()).await;
    let root = api.mint("root", &["readers", "administrators"], &[]).await;
    let app = api.reader("app").await;
    let mut client = api.leases().await;
    let mut remedy = async |token: &str| {
        let status = client.issue_lease(with(token, shop_read())).await.unwrap_err();
        assert_eq!(told(&status), (Code::FailedPrecondition, "TARGET_REFUSED".to_owned()), "{status:?}");
        status.get_details_precondition_failure().unwrap().violations[0].description.clone()
    };
    assert_eq!(remedy(&app).await, "ask your administrator");
    assert_eq!(remedy(root.secret.expose()).await, "CREATE ROLE \"no_such_group\" NOLOGIN;");
}

#[tokio::test]
async fn waiting_for_an_end_returns_the_lease_as_it_is_before_the_deadline() {
    let Some(database) = first().await else { return };
    let api = Api::reading(&database).await;
    let app = api.reader("app").await;
    let mut client = api.leases().await;
    let lease = client.issue_lease(with(&app, shop_read())).await.unwrap().into_inner().lease.unwrap();
    // Nobody removes accounts any more.
    api.world.reaper.stop().await;
    let mut request = with(&app, ReleaseLeaseRequest { name: lease.name.clone(), wait: true });
    request.set_timeout(Duration::from_secs(2));
    let released = client.release_lease(request).await.unwrap().into_inner().lease.unwrap();
    assert_eq!(released.state(), LeaseState::Ending);
    assert!(released.end_progress.is_some());
}

#[tokio::test]
async fn a_caller_that_gives_up_leaves_no_account() {
    let Some(database) = first().await else { return };
    let meddler = Meddler::new(World::target(database.settings("shop"), Arc::new(SystemClock)));
    let target = Arc::clone(&meddler) as Arc<dyn Target>;
    let world = World::with(vec![target], vec![database.reading_role("shop-read", "shop")]).await;
    let api = Api::serve(world, settings()).await;
    let app = api.reader("app").await;
    for moment in [Moment::Before, Moment::After] {
        let gate = meddler.hold(Step::Create, moment);
        let mut request = with(&app, shop_read());
        request.metadata_mut().insert("grpc-timeout", "300m".parse().unwrap());
        api.leases().await.issue_lease(request).await.unwrap_err();
        gate.reached().await;
        let live = api.world.leases().await.into_iter().find(|lease| lease.state.name().is_live());
        let lease = live.unwrap();
        gate.open();
        api.world.reaches(lease.id, StateName::Failed).await;
    }
}
