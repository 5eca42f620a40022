//! Streams: leases as they change, audit records as they are written.

use mayfly::api::proto::{
    IssueLeaseRequest, Lease, LeaseFilter, LeaseState, ListAuditRecordsRequest, ReleaseLeaseRequest,
    TailAuditRecordsRequest, WatchLeasesRequest, WatchLeasesResponse,
};
use mayfly::audit::Record;
use tonic::{Code, Streaming};

use super::rig::{Api, told, with};
use crate::support::world::{Database, caller, databases};

async fn first_database() -> Option<Database> {
    databases().await.into_iter().next()
}

async fn next(watch: &mut Streaming<WatchLeasesResponse>) -> Lease {
    watch.message().await.unwrap().unwrap().lease.unwrap()
}

#[tokio::test]
async fn a_watch_tells_what_there_is_then_every_change_to_the_end() {
    let Some(database) = first_database().await else { return };
    let api = Api::reading(&database).await;
    let app = api.reader("app").await;
    let mut client = api.leases().await;
    let issue = || with(&app, IssueLeaseRequest { role: "shop-read".to_owned(), ..Default::default() });
    let before = client.issue_lease(issue()).await.unwrap().into_inner().lease.unwrap();
    let request = with(&app, WatchLeasesRequest::default());
    let mut watch = client.watch_leases(request).await.unwrap().into_inner();
    assert_eq!(next(&mut watch).await.name, before.name);
    assert!(watch.message().await.unwrap().unwrap().synced);
    let lease = client.issue_lease(issue()).await.unwrap().into_inner().lease.unwrap();
    for state in [LeaseState::Provisioning, LeaseState::Active] {
        let told = next(&mut watch).await;
        assert_eq!((told.state(), told.name), (state, lease.name.clone()));
    }
    let request = with(&app, ReleaseLeaseRequest { name: lease.name.clone(), wait: true });
    let released = client.release_lease(request).await.unwrap().into_inner().lease.unwrap();
    assert_eq!(released.state(), LeaseState::Released);
    assert!(released.end_report.is_some());
    for state in [LeaseState::Ending, LeaseState::Released] {
        let told = next(&mut watch).await;
        assert_eq!((told.state(), told.name), (state, lease.name.clone()));
    }
}

#[tokio::test]
async fn a_watch_tells_only_what_passes_its_filter_and_is_the_callers_to_see() {
    let Some(database) = first_database().await else { return };
    let api = Api::reading(&database).await;
    let (app, other) = (api.reader("app").await, api.reader("other").await);
    let mut client = api.leases().await;
    let active = LeaseFilter { states: vec![LeaseState::Active.into()], ..Default::default() };
    let mut everybody = client
        .watch_leases(with(&api.administrator, WatchLeasesRequest { filter: Some(active) }))
        .await
        .unwrap()
        .into_inner();
    let mut own = client.watch_leases(with(&app, WatchLeasesRequest::default())).await.unwrap().into_inner();
    for watch in [&mut everybody, &mut own] {
        assert!(watch.message().await.unwrap().unwrap().synced);
    }
    for token in [&other, &app] {
        let request = IssueLeaseRequest { role: "shop-read".to_owned(), ..Default::default() };
        client.issue_lease(with(token, request)).await.unwrap();
    }
    for principal in ["other", "app"] {
        let told = next(&mut everybody).await;
        assert_eq!((&*told.principal, told.state()), (principal, LeaseState::Active));
    }
    assert_eq!(next(&mut own).await.principal, "app");
}

#[tokio::test]
async fn a_watch_tells_nothing_more_once_its_token_is_revoked() {
    let Some(database) = first_database().await else { return };
    let api = Api::reading(&database).await;
    let minted = api.mint("app", &["readers"], &[]).await;
    let mut client = api.leases().await;
    let request = with(minted.secret.expose(), WatchLeasesRequest::default());
    let mut watch = client.watch_leases(request).await.unwrap().into_inner();
    assert!(watch.message().await.unwrap().unwrap().synced);
    let (root, app) = (caller("root", &["administrators"]), caller("app", &["readers"]));
    let lease = api.world.issue().await.unwrap().lease.id;
    api.world.issuer.revoke_token(&root, minted.stored.id).await.unwrap();
    // The token is trusted for a few seconds after it was looked at; changes until then may still be told.
    let ended = crate::support::eventually("the watch ends", async || {
        // Something to tell: the expiry moves.
        api.world.pass(1);
        api.world.issuer.renew(&app, lease, None).await.unwrap();
        loop {
            let next = tokio::time::timeout(std::time::Duration::from_millis(200), watch.message()).await;
            match next {
                Err(_) => return None,
                Ok(Ok(_)) => {}
                Ok(Err(status)) => return Some(status),
            }
        }
    })
    .await;
    assert_eq!(told(&ended), (Code::Unauthenticated, "TOKEN_REVOKED".to_owned()));
}

#[tokio::test]
async fn the_audit_log_is_listed_and_followed_as_it_is_sealed() {
    let api = Api::bare().await;
    let token = &*api.administrator;
    for name in ["a", "b", "c"] {
        api.mint(name, &[], &[]).await;
    }
    let mut client = api.audit().await;
    let (mut listed, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ListAuditRecordsRequest { page_size: 2, page_token };
        let page = client.list_audit_records(with(token, request)).await.unwrap().into_inner();
        listed.extend(page.records);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    let sealed: Vec<Record> =
        listed.iter().map(|record| serde_json::from_str(&record.json).unwrap()).collect();
    assert_eq!(sealed, api.world.audit().await);
    let request = TailAuditRecordsRequest { last_count: 2, stop_at_end: true };
    let mut tail = client.tail_audit_records(with(token, request)).await.unwrap().into_inner();
    let mut last = Vec::new();
    while let Some(reply) = tail.message().await.unwrap() {
        last.push(reply.record.unwrap());
    }
    assert_eq!(last, listed[listed.len() - 2..]);
    let request = TailAuditRecordsRequest { last_count: 0, stop_at_end: false };
    let mut tail = client.tail_audit_records(with(token, request)).await.unwrap().into_inner();
    api.mint("d", &[], &[]).await;
    let told = tail.message().await.unwrap().unwrap().record.unwrap();
    assert_eq!(told.seq, u64::try_from(listed.len()).unwrap() + 1);
    assert!(told.json.contains("\"principal\":\"d\""), "{}", told.json);
}
