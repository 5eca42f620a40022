//! Claims over the network: no more than the grant allows, however they come.

use futures_util::future;
use mayfly::api::proto::{
    ClaimGrantRequest, CreateRequestRequest, ExtendGrantRequest, RequestState, RevokeGrantRequest,
};
use tonic::{Code, Request};
use tonic_types::StatusExt as _;

use super::{
    super::rig::{named, told, with},
    Office, asking, claim, seconds,
};

#[tokio::test]
async fn claims_on_many_connections_at_once_give_as_many_leases_as_allowed() {
    let Some(office) = Office::open().await else { return };
    let grant = office.granted(CreateRequestRequest { parallel: 2, ..asking(300) }).await;
    let claims = future::join_all((0..6).map(async |_| {
        let mut grants =
            mayfly::api::proto::grant_service_client::GrantServiceClient::new(office.another_channel().await);
        grants.claim_grant(with(&office.alice, claim(&grant))).await
    }));
    let (claimed, refused): (Vec<_>, Vec<_>) = claims.await.into_iter().partition(Result::is_ok);
    assert_eq!(claimed.len(), 2);
    for status in refused.into_iter().filter_map(Result::err) {
        assert_eq!(told(&status), (Code::ResourceExhausted, "LEASE_LIMIT_REACHED".to_owned()));
        assert_eq!(status.get_details_quota_failure().unwrap().violations[0].subject, "alice");
    }
    assert_eq!(office.api.world.leases().await.len(), 2);
}

#[tokio::test]
async fn a_repeated_claim_is_the_same_lease_with_a_fresh_password() {
    let Some(office) = Office::open().await else { return };
    let grant = office.granted(asking(300)).await;
    let keyed = || ClaimGrantRequest { idempotency_key: "job-1".to_owned(), ..claim(&grant) };
    let first = office.grants().claim_grant(with(&office.alice, keyed())).await.unwrap().into_inner();
    let again = office.grants().claim_grant(with(&office.alice, keyed())).await.unwrap().into_inner();
    assert_eq!(first.lease.unwrap().name, again.lease.unwrap().name);
    assert_ne!(first.credential.unwrap().password, again.credential.unwrap().password);
    for idempotency_key in ["a b".to_owned(), "x".repeat(129)] {
        let request = ClaimGrantRequest { idempotency_key, ..claim(&grant) };
        let status = office.grants().claim_grant(with(&office.alice, request)).await.unwrap_err();
        assert_eq!(named(&status), ["idempotency_key"]);
    }
}

#[tokio::test]
async fn a_grant_is_claimed_by_its_holder_as_long_as_it_lasts_and_no_longer() {
    let Some(office) = Office::open().await else { return };
    let grant = office.granted(asking(300)).await;
    let mut grants = office.grants();
    let nobody = grants.claim_grant(Request::new(claim(&grant))).await.unwrap_err();
    assert_eq!(told(&nobody), (Code::Unauthenticated, "TOKEN_MISSING".to_owned()));
    // Not even by an administrator, who sees it.
    for token in [&office.bob, &office.api.administrator] {
        let status = grants.claim_grant(with(token, claim(&grant))).await.unwrap_err();
        assert_eq!(told(&status), (Code::NotFound, "NOT_FOUND".to_owned()));
    }
    grants.claim_grant(with(&office.alice, claim(&grant))).await.unwrap();
    office.api.world.pass(200);
    let beyond = ClaimGrantRequest { ttl: Some(seconds(101)), ..claim(&grant) };
    assert_eq!(named(&grants.claim_grant(with(&office.alice, beyond)).await.unwrap_err()), ["ttl"]);
    let revoke = RevokeGrantRequest { name: grant.clone(), reason: String::new() };
    grants.revoke_grant(with(&office.api.administrator, revoke)).await.unwrap();
    let late = grants.claim_grant(with(&office.alice, claim(&grant))).await.unwrap_err();
    assert_eq!(told(&late), (Code::FailedPrecondition, "GRANT_ENDED".to_owned()));
    assert_eq!(late.get_details_precondition_failure().unwrap().violations[0].r#type, "GRANT_ENDED");
}

#[tokio::test]
async fn more_time_is_asked_for_once_at_a_time() {
    let Some(office) = Office::open().await else { return };
    let grant = office.granted(asking(300)).await;
    let mut grants = office.grants();
    let more = |ttl| ExtendGrantRequest {
        name: grant.clone(),
        ttl: Some(seconds(ttl)),
        ..ExtendGrantRequest::default()
    };
    let early = grants.extend_grant(with(&office.alice, more(60))).await.unwrap_err();
    assert_eq!(told(&early), (Code::FailedPrecondition, "GRANT_ENDED".to_owned()), "it has not begun");
    grants.claim_grant(with(&office.alice, claim(&grant))).await.unwrap();
    let asked =
        grants.extend_grant(with(&office.alice, more(60))).await.unwrap().into_inner().request.unwrap();
    assert_eq!((asked.state(), &asked.ttl), (RequestState::Pending, &Some(seconds(60))));
    let same =
        grants.extend_grant(with(&office.alice, more(60))).await.unwrap().into_inner().request.unwrap();
    assert_eq!(same.name, asked.name);
    let other = grants.extend_grant(with(&office.alice, more(61))).await.unwrap_err();
    assert_eq!(told(&other), (Code::Aborted, "IN_PROGRESS".to_owned()));
    let wrong = ExtendGrantRequest { justification: "a\nb".to_owned(), ..more(60) };
    assert_eq!(named(&grants.extend_grant(with(&office.alice, wrong)).await.unwrap_err()), ["justification"]);
}
