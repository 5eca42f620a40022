//! What happens, as it is called for.

use std::sync::Arc;

use futures_util::future;
use jiff::{SignedDuration, Timestamp};
use mayfly::{
    clock::ManualClock,
    domain::{Grant, GrantId, Lease, LeaseId, Lock, Request, RequestId, Verdict},
    identity::Caller,
    issuer::{
        ClaimRequest, Ended, IssueRequest, Issued, Issuer, NewExtension, NewLock, NewRequest, NewReview,
        Refusal, Requested,
    },
};

use super::{
    super::{asking, no, yes},
    act::Voice,
    books::BY_RULE,
};
use crate::support::world::{caller, request, ttl};

/// A call, and whom it is about by the place in the books.
#[derive(Debug, Clone, Copy)]
pub(super) enum Call {
    Ask { who: &'static str, ttl: u32, start: Option<i64>, parallel: u32 },
    Review { at: usize, id: RequestId, who: &'static str, voice: Voice },
    Cancel { at: usize, id: RequestId, who: &'static str },
    Claim { at: usize, id: GrantId, who: &'static str, times: u32 },
    Issue { who: &'static str, ttl: u32 },
    Renew { at: usize, id: LeaseId, who: &'static str, ttl: u32 },
    Release { at: usize, id: LeaseId, who: &'static str },
    Extend { at: usize, id: GrantId, who: &'static str, ttl: u32 },
    Revoke { at: usize, id: GrantId },
    Lock { subject: &'static str, life: Option<u32> },
    Unlock(&'static str),
    Pass(u32),
}

/// What came of it.
pub(super) enum Outcome {
    Requested(Box<Result<Requested, Refusal>>),
    Request(Result<Request, Refusal>),
    Issued(Vec<Result<Issued, Refusal>>),
    Lease(Result<Lease, Refusal>),
    Grant(Result<Grant, Refusal>),
    Locked(Result<(Lock, Ended), Refusal>),
    Unlocked(Result<Lock, Refusal>),
    Passed,
}

fn person(name: &str) -> Caller {
    caller(name, &["owners", "readers"])
}

fn root() -> Caller {
    caller("root", &["administrators"])
}

fn review(voice: Voice) -> NewReview {
    match voice {
        Voice::Yes => yes(),
        Voice::Shorter(seconds) => {
            let verdict = Verdict::Approve { ttl: Some(ttl(seconds.into())), start: None };
            NewReview { verdict, comment: String::new() }
        }
        Voice::No => no(),
    }
}

fn extension(grant: GrantId, seconds: u32) -> NewExtension {
    let ttl = Some(ttl(seconds.into()));
    NewExtension { grant, ttl, justification: String::new(), ticket: None, idempotency_key: None }
}

impl Call {
    /// Calls.
    pub(super) async fn made(self, issuer: Arc<Issuer>, clock: Arc<ManualClock>) -> Outcome {
        match self {
            Call::Ask { who, ttl, start, parallel } => {
                let start = start.map(|micros| Timestamp::from_microsecond(micros).unwrap());
                let new = NewRequest { start, parallel, ..asking(ttl.into()) };
                Outcome::Requested(Box::new(issuer.create_request(&person(who), new).await))
            }
            Call::Review { id, who, voice, .. } => {
                Outcome::Request(issuer.review_request(&person(who), id, review(voice)).await)
            }
            Call::Cancel { id, who, .. } => {
                Outcome::Request(issuer.cancel_request(&person(who), id, String::new()).await)
            }
            Call::Claim { id, who, times, .. } => {
                let (who, claim) =
                    (person(who), ClaimRequest { grant: id, ttl: None, idempotency_key: None });
                let claims = (0..times).map(|_| issuer.claim(&who, claim.clone()));
                Outcome::Issued(future::join_all(claims).await)
            }
            Call::Issue { who, ttl: seconds } => {
                let asked = IssueRequest { ttl: Some(ttl(seconds.into())), ..request(BY_RULE) };
                Outcome::Issued(vec![issuer.issue(&person(who), asked).await])
            }
            Call::Renew { id, who, ttl: seconds, .. } => {
                Outcome::Lease(issuer.renew(&person(who), id, Some(ttl(seconds.into()))).await)
            }
            Call::Release { id, who, .. } => Outcome::Lease(issuer.release(&person(who), id).await),
            Call::Extend { id, who, ttl, .. } => {
                Outcome::Requested(Box::new(issuer.extend_grant(&person(who), extension(id, ttl)).await))
            }
            Call::Revoke { id, .. } => Outcome::Grant(issuer.revoke_grant(&root(), id, String::new()).await),
            Call::Lock { subject, life } => {
                let life = life.map(|seconds| std::time::Duration::from_secs(seconds.into()));
                let new =
                    NewLock { subject: subject.parse().unwrap(), reason: String::new(), life, force: false };
                Outcome::Locked(issuer.lock(&root(), new).await)
            }
            Call::Unlock(subject) => {
                Outcome::Unlocked(issuer.unlock(&root(), &subject.parse().unwrap(), String::new()).await)
            }
            Call::Pass(seconds) => {
                clock.advance(SignedDuration::from_secs(seconds.into()));
                Outcome::Passed
            }
        }
    }
}
