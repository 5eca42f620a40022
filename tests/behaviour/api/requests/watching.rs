//! Streams of requests and grants: what there is, then every change, to the end.

use mayfly::api::proto::{
    AccessRequest, CancelRequestRequest, CreateLockRequest, GrantState, RequestFilter, RequestState,
    ReviewRequestRequest, RevokeGrantRequest, Verdict, WatchGrantsRequest, WatchGrantsResponse,
    WatchRequestRequest, WatchRequestResponse, WatchRequestsRequest, WatchRequestsResponse,
};
use tonic::{Code, Request, Streaming};

use super::{
    super::rig::{told, with},
    Office, approval, asking, claim,
};

type Watch = Streaming<WatchRequestResponse>;

async fn next(watch: &mut Watch) -> AccessRequest {
    watch.message().await.unwrap().unwrap().request.unwrap()
}

async fn next_of_many(watch: &mut Streaming<WatchRequestsResponse>) -> AccessRequest {
    watch.message().await.unwrap().unwrap().request.unwrap()
}

/// The state of the grant told of next.
async fn next_grant(watch: &mut Streaming<WatchGrantsResponse>) -> GrantState {
    watch.message().await.unwrap().unwrap().grant.unwrap().state()
}

impl Office {
    async fn watch(&self, token: &str, name: &str) -> Result<Watch, tonic::Status> {
        let request = with(token, WatchRequestRequest { name: name.to_owned() });
        self.requests().watch_request(request).await.map(tonic::Response::into_inner)
    }

    /// Has a request that is being watched come to its end in some way.
    async fn end(&self, name: &str, state: RequestState) {
        match state {
            RequestState::Approved => {
                self.requests().review_request(with(&self.bob, approval(name))).await.map(drop).unwrap();
            }
            RequestState::Denied => {
                let verdict = Verdict::Deny.into();
                let review = with(&self.bob, ReviewRequestRequest { verdict, ..approval(name) });
                self.requests().review_request(review).await.map(drop).unwrap();
            }
            RequestState::Cancelled => {
                let cancel = CancelRequestRequest { name: name.to_owned(), reason: String::new() };
                self.requests().cancel_request(with(&self.alice, cancel)).await.map(drop).unwrap();
            }
            _ => self.api.world.pass(24 * 3_600),
        }
    }
}

#[tokio::test]
async fn a_watch_begins_with_the_present_and_ends_with_the_request() {
    let Some(office) = Office::open().await else { return };
    // Expiry comes last: it takes a day, and nobody's token lasts so long. Each asks for more than what was granted before.
    let ends = [RequestState::Denied, RequestState::Cancelled, RequestState::Approved, RequestState::Expired];
    for (end, ttl) in ends.into_iter().zip([100, 200, 300, 400]) {
        let name = office.asked(asking(ttl)).await.name;
        let mut own = office.watch(&office.alice, &name).await.unwrap();
        assert_eq!(next(&mut own).await.state(), RequestState::Pending);
        let mut of_bob = office.watch(&office.bob, &name).await.unwrap();
        assert!(next(&mut of_bob).await.reviewable, "each sees it as it is for him");
        office.end(&name, end).await;
        for watch in [&mut own, &mut of_bob] {
            assert_eq!(next(watch).await.state(), end);
            assert!(watch.message().await.unwrap().is_none(), "that was the end");
        }
        if end == RequestState::Expired {
            return;
        }
        // What is over has a present and nothing more.
        let mut late = office.watch(&office.alice, &name).await.unwrap();
        assert_eq!(next(&mut late).await.state(), end);
        assert!(late.message().await.unwrap().is_none());
    }
}

#[tokio::test]
async fn a_lock_in_mid_watch_ends_the_request_and_its_watch_and_lets_the_locked_see_it() {
    let Some(office) = Office::open().await else { return };
    let name = office.asked(asking(300)).await.name;
    let mut watch = office.watch(&office.alice, &name).await.unwrap();
    assert_eq!(next(&mut watch).await.state(), RequestState::Pending);
    let lock = CreateLockRequest { subject: "principal/alice".to_owned(), ..CreateLockRequest::default() };
    office.locks().create_lock(with(&office.api.administrator, lock)).await.unwrap();
    let last = next(&mut watch).await;
    assert_eq!((last.state(), &*last.decided_by), (RequestState::Cancelled, ""), "by a rule");
    assert_eq!(last.decision_reason, "the principal alice is locked");
    assert!(watch.message().await.unwrap().is_none());
    let mut late = office.watch(&office.alice, &name).await.unwrap();
    assert_eq!(next(&mut late).await.state(), RequestState::Cancelled);
}

#[tokio::test]
async fn a_reviewer_watches_what_there_is_to_review_and_nobody_sees_what_is_not_for_him() {
    let Some(office) = Office::open().await else { return };
    let before = office.asked(asking(300)).await.name;
    let filter = Some(RequestFilter { to_review: true, ..RequestFilter::default() });
    let request = with(&office.bob, WatchRequestsRequest { filter });
    let mut of_bob = office.requests().watch_requests(request).await.unwrap().into_inner();
    assert_eq!(next_of_many(&mut of_bob).await.name, before);
    assert!(of_bob.message().await.unwrap().unwrap().synced, "then that those were all");
    let carol = office.api.reader("carol").await;
    let request = with(&carol, WatchRequestsRequest::default());
    let mut of_carol = office.requests().watch_requests(request).await.unwrap().into_inner();
    assert!(of_carol.message().await.unwrap().unwrap().synced);

    let name = office.asked(asking(301)).await.name;
    let told = next_of_many(&mut of_bob).await;
    assert_eq!((told.name.as_str(), told.reviewable), (name.as_str(), true));
    office.requests().review_request(with(&office.bob, approval(&name))).await.unwrap();
    let told = next_of_many(&mut of_bob).await;
    assert_eq!(
        (told.state(), told.reviewable),
        (RequestState::Approved, false),
        "that it is over is told as well"
    );
    // Of all this she was told nothing: the first she hears of is her own.
    let mut requests = office.requests();
    let own = requests.create_request(with(&carol, asking(60))).await.unwrap().into_inner().request.unwrap();
    assert_eq!(next_of_many(&mut of_carol).await.name, own.name);
}

#[tokio::test]
async fn grants_are_watched_from_their_opening_to_their_end() {
    let Some(office) = Office::open().await else { return };
    let request = with(&office.alice, WatchGrantsRequest::default());
    let mut watch = office.grants().watch_grants(request).await.unwrap().into_inner();
    assert!(watch.message().await.unwrap().unwrap().synced);
    let grant = office.granted(asking(300)).await;
    assert_eq!(next_grant(&mut watch).await, GrantState::Scheduled);
    office.grants().claim_grant(with(&office.alice, claim(&grant))).await.unwrap();
    assert_eq!(next_grant(&mut watch).await, GrantState::Active);
    let revoke = RevokeGrantRequest { name: grant, reason: String::new() };
    office.grants().revoke_grant(with(&office.alice, revoke)).await.unwrap();
    assert_eq!(next_grant(&mut watch).await, GrantState::Revoked);
}

#[tokio::test]
async fn watching_takes_a_token_and_a_request_that_is_for_the_caller_to_see() {
    let Some(office) = Office::open().await else { return };
    let name = office.asked(asking(300)).await.name;
    let nobody = Request::new(WatchRequestRequest { name: name.clone() });
    let status = office.requests().watch_request(nobody).await.unwrap_err();
    assert_eq!(told(&status), (Code::Unauthenticated, "TOKEN_MISSING".to_owned()));
    let carol = office.api.reader("carol").await;
    let status = office.watch(&carol, &name).await.unwrap_err();
    assert_eq!(told(&status), (Code::NotFound, "NOT_FOUND".to_owned()));
}

#[tokio::test]
async fn streams_are_bounded_given_back_and_ended_when_the_server_goes() {
    let Some(office) = Office::open().await else { return };
    let name = office.asked(asking(300)).await.name;
    let mut open = Vec::new();
    let status = loop {
        match office.watch(&office.alice, &name).await {
            Ok(watch) => open.push(watch),
            Err(status) => break status,
        }
    };
    assert_eq!(told(&status), (Code::ResourceExhausted, "STREAMS_LIMITED".to_owned()));
    assert_eq!(open.len(), 16);
    // Who hangs up gives his back.
    drop(open);
    let mut watch = crate::support::eventually("a stream can be opened again", async || {
        office.watch(&office.alice, &name).await.ok()
    })
    .await;
    assert_eq!(next(&mut watch).await.state(), RequestState::Pending);
    office.api.shutdown.cancel();
    let over = watch.message().await.unwrap_err();
    assert_eq!(told(&over), (Code::Unavailable, "SHUTTING_DOWN".to_owned()));
}
