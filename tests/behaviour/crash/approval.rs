//! Access that takes a review: asked for, reviewed, claimed, taken back; or never reviewed.

use std::time::Duration;

use mayfly::api::proto::{
    AccessRequest, ClaimGrantRequest, CreateRequestRequest, CreateTokenRequest, GetRequestRequest,
    IssueLeaseResponse, PrincipalKind, RequestState, ReviewRequestRequest, RevokeGrantRequest, Verdict,
    grant_service_client::GrantServiceClient, request_service_client::RequestServiceClient,
    token_service_client::TokenServiceClient,
};
use tonic::Status;

use super::{
    caller::{Caller, Held, answer},
    scenario::{LONG, Story},
};

impl Caller {
    /// Somebody else.
    pub(crate) async fn reviewer(&self, name: &str) -> Result<Caller, Status> {
        let token = CreateTokenRequest {
            principal: name.to_owned(),
            principal_kind: PrincipalKind::Human.into(),
            ..CreateTokenRequest::default()
        };
        let mut tokens = TokenServiceClient::new(self.channel.clone());
        let minted = answer(tokens.create_token(self.with(token))).await?;
        Ok(Caller::new(&self.address, &minted.secret))
    }

    /// Asks for a role, for so many leases at once.
    pub(crate) async fn ask_for(
        &self,
        role: &str,
        key: &str,
        parallel: u32,
    ) -> Result<AccessRequest, Status> {
        let request = CreateRequestRequest {
            role: role.to_owned(),
            parallel,
            ttl: Some(prost_types::Duration { seconds: LONG.into(), nanos: 0 }),
            idempotency_key: key.to_owned(),
            ..CreateRequestRequest::default()
        };
        let mut requests = RequestServiceClient::new(self.channel.clone());
        Ok(answer(requests.create_request(self.with(request))).await?.request.unwrap())
    }

    /// A request as it is.
    pub(crate) async fn request(&self, name: &str) -> Result<AccessRequest, Status> {
        let mut requests = RequestServiceClient::new(self.channel.clone());
        let request = self.with(GetRequestRequest { name: name.to_owned() });
        Ok(answer(requests.get_request(request)).await?.request.unwrap())
    }

    /// Agrees to a request.
    pub(crate) async fn approve(&self, name: &str) -> Result<AccessRequest, Status> {
        let review = ReviewRequestRequest {
            name: name.to_owned(),
            verdict: Verdict::Approve.into(),
            ..ReviewRequestRequest::default()
        };
        let mut requests = RequestServiceClient::new(self.channel.clone());
        Ok(answer(requests.review_request(self.with(review))).await?.request.unwrap())
    }

    /// Claims a lease under a grant.
    pub(crate) async fn claim(&self, grant: &str) -> Result<Held, Status> {
        let claim = ClaimGrantRequest { name: grant.to_owned(), ..ClaimGrantRequest::default() };
        let mut grants = GrantServiceClient::new(self.channel.clone());
        let claimed = answer(grants.claim_grant(self.with(claim))).await?;
        let issued = IssueLeaseResponse { lease: claimed.lease, credential: claimed.credential };
        Ok(Held::of(issued, "", LONG))
    }

    /// Revokes a grant.
    pub(crate) async fn take_back(&self, grant: &str) -> Result<(), Status> {
        let revoke = RevokeGrantRequest { name: grant.to_owned(), reason: "a test of crashes".to_owned() };
        let mut grants = GrantServiceClient::new(self.channel.clone());
        answer(grants.revoke_grant(self.with(revoke))).await.map(drop)
    }
}

impl Story<'_> {
    /// Asked for, approved by another, claimed, used, and taken back.
    pub(super) async fn approval(&mut self, caller: &Caller, key: &str) -> Result<(), Status> {
        let reviewer = caller.reviewer("reviewer").await?;
        // A repeated request is the same: whatever a crash left of it is gone on with.
        let request = caller.ask_for(&self.place.reviewed, key, 1).await?;
        let approved = match request.state() {
            RequestState::Pending => reviewer.approve(&request.name).await?,
            _ => request,
        };
        let mut held = caller.claim(&approved.grant).await?;
        let settled = held.settle_in(&self.place.database).await;
        assert!(settled.is_ok(), "{settled:?}");
        self.held.push(held);
        let at = self.held.len() - 1;
        self.held[at].end_asked = true;
        caller.take_back(&approved.grant).await
    }

    /// Asked for, and never reviewed.
    pub(super) async fn neglect(&mut self, caller: &Caller, key: &str) -> Result<(), Status> {
        let request = caller.ask_for(&self.place.reviewed, key, 1).await?;
        while caller.request(&request.name).await?.state() == RequestState::Pending {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }
}
