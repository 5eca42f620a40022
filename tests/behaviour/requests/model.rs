//! Any history of requests, reviews, claims, revocations, passing time and restarts leaves the world as a small model of it says:
//! no illegal state, nobody who decided for himself, no lease without a grant that was live.

use std::{collections::BTreeSet, sync::Arc};

use futures_util::future;
use mayfly::{
    clock::{Clock as _, SystemClock},
    domain::{Grant, GrantId, LeaseId, Request, RequestId, Role},
    issuer::{ClaimRequest, NewExtension, NewRequest, NewReview, RefusalKind, RequestSettings},
    store::{Kept, Listing, documents},
    target::Target,
};
use proptest::{
    prelude::*,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};

use super::{alice, asking, database, no, reviewed, step, yes};
use crate::support::{
    eventually,
    world::{Database, World, caller, ttl},
};

#[derive(Debug, Clone)]
enum Act {
    Ask(u64),
    Review(usize, usize, bool),
    Cancel(usize),
    /// So often at once.
    Claim(usize, usize),
    Extend(usize, u64),
    Revoke(usize),
    Pass(i64),
    Restart,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (60_u64..600).prop_map(Act::Ask),
        12 => (any::<usize>(), 0_usize..4, prop::bool::weighted(0.9))
            .prop_map(|(which, who, agrees)| Act::Review(which, who, agrees)),
        1 => any::<usize>().prop_map(Act::Cancel),
        5 => (any::<usize>(), 1_usize..3).prop_map(|(which, times)| Act::Claim(which, times)),
        2 => (any::<usize>(), 60_u64..600).prop_map(|(which, longer)| Act::Extend(which, longer)),
        1 => any::<usize>().prop_map(Act::Revoke),
        4 => prop_oneof![4 => 1_i64..300, 1 => 3_600_i64..90_000].prop_map(Act::Pass),
        1 => Just(Act::Restart),
    ]
}

/// Who reviews; the first is who asks.
const REVIEWERS: [&str; 4] = ["alice", "bob", "carol", "dave"];

/// Reviews it takes.
const QUORUM: usize = 2;

const SECOND: i64 = 1_000_000;
const DAY: i64 = 24 * 3_600 * SECOND;

/// A request as it ought to be. Times are microseconds.
struct Asked {
    id: RequestId,
    ttl: i64,
    extends: Option<usize>,
    voices: Vec<&'static str>,
    expires: i64,
    stage: &'static str,
}

/// A grant as it ought to be.
struct Given {
    id: GrantId,
    ttl: i64,
    claim_by: i64,
    until: i64,
    stage: &'static str,
    lease: Option<(LeaseId, i64)>,
}

impl Given {
    fn is_live(&self) -> bool {
        matches!(self.stage, "scheduled" | "active")
    }

    fn covers(&self, ttl: i64, now: i64) -> bool {
        match self.stage {
            "scheduled" => ttl <= self.ttl,
            "active" => now + ttl <= self.until,
            _ => false,
        }
    }
}

struct History {
    world: World,
    target: Arc<dyn Target>,
    role: Role,
    asked: Vec<Asked>,
    given: Vec<Given>,
    over: BTreeSet<LeaseId>,
}

fn many() -> RequestSettings {
    RequestSettings { pending_per_principal: 1_000, ..RequestSettings::default() }
}

fn micros(seconds: u64) -> i64 {
    i64::try_from(seconds).unwrap() * SECOND
}

impl History {
    async fn begin(database: &Database) -> Self {
        let target = World::target(database.settings("shop"), Arc::new(SystemClock));
        let mut role = reviewed(database);
        role.approval = vec![step("owners", &["group:owners"], u32::try_from(QUORUM).unwrap())];
        role.scram_iterations = 64;
        role.limits = mayfly::domain::LeaseLimits { per_principal: 100, total: 100 };
        let world = World::with(vec![Arc::clone(&target)], vec![role.clone()]).await;
        world.issuer.request_settings().replace(many());
        Self { world, target, role, asked: Vec::new(), given: Vec::new(), over: BTreeSet::new() }
    }

    fn now(&self) -> i64 {
        self.world.clock.now().as_microsecond()
    }

    async fn happens(mut self, act: Act) -> Self {
        match act {
            Act::Ask(seconds) => self.ask(seconds).await,
            Act::Review(which, who, agrees) => self.review(which, REVIEWERS[who], agrees).await,
            Act::Cancel(which) => self.cancel(which).await,
            Act::Claim(which, times) => self.claim(which, times).await,
            Act::Extend(which, seconds) => self.extend(which, seconds).await,
            Act::Revoke(which) => self.revoke(which).await,
            Act::Pass(seconds) => self.world.pass(seconds),
            Act::Restart => {
                let (directory, clock) = self.world.stop().await;
                let (target, role) = (Arc::clone(&self.target), self.role.clone());
                self.world = World::at(directory, clock, vec![target], vec![role]).await;
                self.world.issuer.request_settings().replace(many());
            }
        }
        self.settle().await;
        self
    }

    async fn ask(&mut self, seconds: u64) {
        let (now, ttl) = (self.now(), micros(seconds));
        let made = self.world.ask(&alice(), NewRequest { parallel: 1, ..asking(seconds) }).await.unwrap();
        assert_eq!(made.reused, self.given.iter().any(|given| given.covers(ttl, now)));
        if !made.reused {
            let expires = now + DAY;
            let id = made.request.id;
            self.asked.push(Asked { id, ttl, extends: None, voices: Vec::new(), expires, stage: "pending" });
        }
    }

    async fn review(&mut self, which: usize, who: &'static str, agrees: bool) {
        let (now, count) = (self.now(), self.asked.len());
        let Some(asked) = self.asked.get_mut(which % count.max(1)) else { return };
        let reviewer = caller(who, &["owners", "readers"]);
        let review: NewReview = if agrees { yes() } else { no() };
        let outcome = self.world.issuer.review_request(&reviewer, asked.id, review).await;
        if asked.stage != "pending" {
            assert_eq!(outcome.unwrap_err().kind, RefusalKind::Decided);
        } else if who == "alice" {
            assert_eq!(outcome.unwrap_err().kind, RefusalKind::Denied, "nobody decides for himself");
        } else if asked.voices.contains(&who) {
            assert_eq!(outcome.unwrap_err().kind, RefusalKind::Reviewed);
        } else {
            let after = outcome.unwrap();
            asked.voices.push(who);
            if !agrees {
                asked.stage = "denied";
            } else if asked.voices.len() == QUORUM {
                asked.stage = "approved";
                if let Some(grant) = asked.extends {
                    self.given[grant].until += asked.ttl;
                } else {
                    let id = self.world.grant_of(&after).await.id;
                    let (ttl, claim_by) = (asked.ttl, now + DAY);
                    self.given.push(Given { id, ttl, claim_by, until: 0, stage: "scheduled", lease: None });
                }
            }
        }
    }

    async fn cancel(&mut self, which: usize) {
        let count = self.asked.len();
        let Some(asked) = self.asked.get_mut(which % count.max(1)) else { return };
        let outcome = self.world.issuer.cancel_request(&alice(), asked.id, String::new()).await;
        match asked.stage {
            "pending" => {
                outcome.unwrap();
                asked.stage = "cancelled";
            }
            "cancelled" => drop(outcome.unwrap()),
            _ => assert_eq!(outcome.unwrap_err().kind, RefusalKind::Decided),
        }
    }

    async fn claim(&mut self, which: usize, times: usize) {
        let (now, count) = (self.now(), self.given.len());
        let Some(given) = self.given.get_mut(which % count.max(1)) else { return };
        let (alice, claim) = (alice(), ClaimRequest { grant: given.id, ttl: None, idempotency_key: None });
        let claims = (0..times).map(|_| self.world.issuer.claim(&alice, claim.clone()));
        let outcomes = future::join_all(claims).await;
        let (issued, refused): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
        let kind = if given.is_live() { RefusalKind::LimitReached } else { RefusalKind::GrantEnded };
        assert!(refused.into_iter().all(|refusal| refusal.unwrap_err().kind == kind), "{kind:?}");
        let room = usize::from(given.is_live() && given.lease.is_none());
        assert_eq!(issued.len(), room, "as many as allowed, however many come at once");
        for issued in issued {
            if given.stage == "scheduled" {
                (given.stage, given.until) = ("active", now + given.ttl);
            }
            let expires = given.until.min(now + given.ttl);
            let lease = issued.unwrap().lease;
            assert_eq!(lease.expires_at().unwrap().as_microsecond(), expires);
            given.lease = Some((lease.id, expires));
        }
    }

    async fn extend(&mut self, which: usize, seconds: u64) {
        let count = self.given.len();
        let Some(at) = which.checked_rem(count) else { return };
        let waits = self.asked.iter().find(|asked| asked.extends == Some(at) && asked.stage == "pending");
        let new = NewExtension {
            grant: self.given[at].id,
            ttl: Some(ttl(seconds)),
            justification: String::new(),
            ticket: None,
            idempotency_key: None,
        };
        let outcome = self.world.issuer.extend_grant(&alice(), new).await;
        if self.given[at].stage != "active" {
            assert_eq!(outcome.unwrap_err().kind, RefusalKind::GrantEnded);
        } else if let Some(waits) = waits {
            match outcome {
                Ok(same) => assert_eq!((same.request.id, micros(seconds)), (waits.id, waits.ttl)),
                Err(refusal) => assert_eq!(refusal.kind, RefusalKind::InProgress),
            }
        } else {
            let (id, expires) = (outcome.unwrap().request.id, self.given[at].until.min(self.now() + DAY));
            let (ttl, voices) = (micros(seconds), Vec::new());
            self.asked.push(Asked { id, ttl, extends: Some(at), voices, expires, stage: "pending" });
        }
    }

    async fn revoke(&mut self, which: usize) {
        let count = self.given.len();
        let Some(given) = self.given.get_mut(which % count.max(1)) else { return };
        let admin = caller("root", &["administrators"]);
        self.world.issuer.revoke_grant(&admin, given.id, String::new()).await.unwrap();
        if given.is_live() {
            given.stage = "revoked";
        }
    }

    /// What time does.
    fn tick(&mut self) {
        let now = self.now();
        for given in &mut self.given {
            let ends = if given.stage == "scheduled" { given.claim_by } else { given.until };
            if given.is_live() && ends <= now {
                given.stage = "ended";
            }
            if let Some((lease, expires)) = given.lease
                && (!given.is_live() || expires <= now)
            {
                given.lease = None;
                self.over.insert(lease);
            }
        }
        for asked in self.asked.iter_mut().filter(|asked| asked.stage == "pending") {
            if asked.extends.is_some_and(|grant| !self.given[grant].is_live()) {
                asked.stage = "cancelled";
            } else if asked.expires <= now {
                asked.stage = "expired";
            }
        }
    }

    /// Waits until everything is as it ought to be.
    async fn settle(&mut self) {
        self.tick();
        for lease in &self.over {
            self.world.ended(*lease).await;
        }
        self.tick();
        for asked in &self.asked {
            self.world.request_becomes(asked.id, asked.stage).await;
        }
        for given in &self.given {
            self.world.grant_becomes(given.id, given.stage).await;
        }
    }

    /// What must never be, whatever happened.
    async fn is_legal(&self) {
        let all = Listing { limit: 1_000, ..Listing::default() };
        let requests: Vec<Kept<Request>> = documents(&*self.world.store, all).await.unwrap();
        assert_eq!(requests.len(), self.asked.len());
        for request in requests.iter().map(|kept| &kept.document) {
            assert!(request.reviews.iter().all(|review| review.reviewer != request.requester.name));
            let voices: BTreeSet<_> = request.reviews.iter().map(|review| &review.reviewer).collect();
            assert_eq!(voices.len(), request.reviews.len(), "each reviews once");
            assert!(request.state.as_str() != "approved" || request.approvers().count() >= QUORUM);
        }
        let grants: Vec<Kept<Grant>> = documents(&*self.world.store, all).await.unwrap();
        assert_eq!(grants.len(), self.given.len());
        for lease in self.world.leases().await {
            let grant = lease.terms.grant.unwrap();
            let given = self.given.iter().find(|given| given.id == grant).unwrap();
            let lives = given.lease.is_some_and(|(id, _)| id == lease.id);
            assert_eq!(lease.state.name().is_live(), lives, "{lease:?}");
        }
        eventually("no grant that is over has leases to end", async || {
            let grants: Vec<Kept<Grant>> = documents(&*self.world.store, all).await.unwrap();
            let done = |kept: &Kept<Grant>| kept.document.state.is_live() || kept.document.leases_ended;
            grants.iter().all(done).then_some(())
        })
        .await;
    }
}

#[test]
fn any_history_of_requests_ends_as_it_should() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let database = runtime.block_on(database());
    let config = Config { cases: 8, failure_persistence: None, max_shrink_iters: 20, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    runner
        .run(&proptest::collection::vec(act(), 20..60), |acts| {
            runtime.block_on(async {
                let mut history = History::begin(&database).await;
                for act in acts {
                    history = history.happens(act).await;
                }
                history.is_legal().await;
                history.world.stop().await;
            });
            Ok(())
        })
        .unwrap();
}
