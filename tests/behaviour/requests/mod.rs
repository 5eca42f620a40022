//! Asking, reviewing, claiming: requests and grants over a real database.

mod asking;
mod broken;
mod claiming;
mod clocks;
mod departed;
mod locked;
pub(crate) mod model;
mod reviewing;

use std::{sync::Arc, time::Duration};

use mayfly::{
    clock::SystemClock,
    domain::{Engine, Grant, GrantId, Request, RequestId, RequestState, ReviewStep, Role, Verdict},
    identity::Caller,
    issuer::{NewRequest, NewReview, Refusal, Requested},
    store::{Kept, document},
};

use crate::support::world::{Database, World, caller, databases};

/// The first database there is: requests are the same on all.
async fn database() -> Database {
    let mut databases = databases().await;
    let postgres = databases.iter().position(|database| database.engine == Engine::Postgres);
    databases.swap_remove(postgres.unwrap_or_default())
}

/// A step of reviews by some, of whom so many have to agree.
fn step(name: &str, reviewers: &[&str], quorum: u32) -> ReviewStep {
    ReviewStep {
        name: name.to_owned(),
        reviewers: reviewers.iter().map(|subject| subject.parse().unwrap()).collect(),
        quorum,
        denials: 1,
        escalate_after: None,
        escalate_to: Vec::new(),
        from_risk: 0,
    }
}

/// The role `shop-read`, which takes one review by the group `owners`.
fn reviewed(database: &Database) -> Role {
    let mut role = database.reading_role("shop-read", "shop");
    role.approval = vec![step("owners", &["group:owners"], 1)];
    role
}

/// A world with one role.
async fn world(database: &Database, role: Role) -> World {
    let target = World::target(database.settings("shop"), Arc::new(SystemClock));
    World::with(vec![target], vec![role]).await
}

fn alice() -> Caller {
    caller("alice", &["readers"])
}

fn bob() -> Caller {
    caller("bob", &["owners"])
}

fn asking(seconds: u64) -> NewRequest {
    NewRequest {
        role: "shop-read".parse().unwrap(),
        ttl: Some(seconds.try_into().unwrap()),
        start: None,
        parallel: 1,
        justification: "to look at an order".to_owned(),
        ticket: None,
        idempotency_key: None,
    }
}

fn yes() -> NewReview {
    NewReview { verdict: Verdict::Approve { ttl: None, start: None }, comment: String::new() }
}

fn no() -> NewReview {
    NewReview { verdict: Verdict::Deny, comment: "not today".to_owned() }
}

impl World {
    async fn ask(&self, who: &Caller, new: NewRequest) -> Result<Requested, Refusal> {
        self.issuer.create_request(who, new).await
    }

    /// Alice asks for so long, and Bob agrees.
    async fn granted(&self, new: NewRequest) -> Grant {
        let request = self.ask(&alice(), new).await.unwrap().request;
        let request = self.issuer.review_request(&bob(), request.id, yes()).await.unwrap();
        self.grant_of(&request).await
    }

    async fn grant_of(&self, request: &Request) -> Grant {
        let RequestState::Approved { grant, .. } = request.state else { panic!("{:?}", request.state) };
        self.grant(grant).await
    }

    async fn grant(&self, id: GrantId) -> Grant {
        let kept: Kept<Grant> = document(&*self.store, &id.to_string()).await.unwrap().unwrap();
        kept.document
    }

    async fn request(&self, id: RequestId) -> Request {
        let kept: Kept<Request> = document(&*self.store, &id.to_string()).await.unwrap().unwrap();
        kept.document
    }

    /// Waits for the clerk to have brought a grant to a state.
    async fn grant_becomes(&self, id: GrantId, state: &str) -> Grant {
        crate::support::eventually(&format!("grant {id} is {state}"), async || {
            Some(self.grant(id).await).filter(|grant| grant.state.as_str() == state)
        })
        .await
    }

    /// Waits for the clerk to have brought a request to a state.
    async fn request_becomes(&self, id: RequestId, state: &str) -> Request {
        crate::support::eventually(&format!("request {id} is {state}"), async || {
            Some(self.request(id).await).filter(|request| request.state.as_str() == state)
        })
        .await
    }

    /// How often something is on record.
    async fn recorded(&self, action: &str) -> usize {
        self.audit().await.iter().filter(|record| record.action == action).count()
    }
}

fn hour(count: u64) -> Duration {
    Duration::from_secs(count * 3_600)
}
