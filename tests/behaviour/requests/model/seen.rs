//! What there is, and where it is not as the model says.

use std::collections::BTreeMap;

use mayfly::{
    domain::{Grant, GrantId, Lease, LeaseId, LeaseState, Lock, Request, RequestId},
    store::{Document, Listing, documents},
};

use super::books::Books;
use crate::support::world::World;

/// Everything there is.
pub(super) struct Seen {
    pub(super) requests: BTreeMap<RequestId, Request>,
    pub(super) grants: BTreeMap<GrantId, Grant>,
    pub(super) leases: BTreeMap<LeaseId, Lease>,
    pub(super) locks: Vec<Lock>,
}

async fn all<D: Document>(world: &World) -> impl Iterator<Item = D> {
    let listing = Listing { limit: 1_000, ..Listing::default() };
    documents::<D>(&*world.store, listing).await.unwrap().into_iter().map(|kept| kept.document)
}

impl Seen {
    pub(super) async fn of(world: &World) -> Self {
        Self {
            requests: all::<Request>(world).await.map(|request| (request.id, request)).collect(),
            grants: all::<Grant>(world).await.map(|grant| (grant.id, grant)).collect(),
            leases: world.leases().await.into_iter().map(|lease| (lease.id, lease)).collect(),
            locks: all::<Lock>(world).await.collect(),
        }
    }

    /// Requests that the books do not know.
    pub(super) fn new_requests<'a>(&'a self, books: &'a Books) -> impl Iterator<Item = &'a Request> {
        let unknown = |request: &&Request| books.asked.iter().all(|asked| asked.id != request.id);
        self.requests.values().filter(unknown)
    }

    /// Leases that the books do not know.
    pub(super) fn new_leases<'a>(&'a self, books: &'a Books) -> impl Iterator<Item = &'a Lease> {
        let unknown = |lease: &&Lease| books.leased.iter().all(|leased| leased.id != lease.id);
        self.leases.values().filter(unknown)
    }

    /// Where it is not as the books say; empty: nowhere.
    pub(super) fn differs_from(&self, books: &Books) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut differs = |what: String, is: String, ought: String| {
            if is != ought {
                wrong.push(format!("{what} is {is}, not {ought}"));
            }
        };
        let counts =
            |requests, grants, leases| format!("{requests} requests, {grants} grants, {leases} leases");
        differs(
            "the world".to_owned(),
            counts(self.requests.len(), self.grants.len(), self.leases.len()),
            counts(books.asked.len(), books.given.len(), books.leased.len()),
        );
        for asked in &books.asked {
            let is = self.requests.get(&asked.id).map_or("missing", |request| request.state.as_str());
            differs(format!("request {}", asked.id), is.to_owned(), asked.stage.to_owned());
        }
        for given in &books.given {
            let (name, grant) = (format!("grant {}", given.id), self.grants.get(&given.id));
            let is = grant.map_or("missing", |grant| grant.state.as_str());
            differs(name.clone(), is.to_owned(), given.stage.to_owned());
            let until = grant.and_then(Grant::until).map(jiff::Timestamp::as_microsecond);
            let ought = (given.stage == "active").then_some(given.until);
            differs(format!("the end of {name}"), format!("{until:?}"), format!("{ought:?}"));
            let carried = grant.is_some_and(|grant| grant.state.is_live() || grant.leases_ended);
            differs(format!("{name}, carried through,"), carried.to_string(), true.to_string());
        }
        for leased in &books.leased {
            let expires = self.leases.get(&leased.id).and_then(live_until);
            let ought = leased.live.then_some(leased.expires);
            differs(format!("lease {}, live,", leased.id), format!("{expires:?}"), format!("{ought:?}"));
        }
        let mut locked: Vec<_> = self.locks.iter().map(|lock| lock.subject.to_string()).collect();
        locked.sort();
        let ought: Vec<_> = books.locks.keys().copied().collect();
        differs("what is locked".to_owned(), locked.join(", "), ought.join(", "));
        let carried_out = self.locks.iter().all(|lock| lock.carried_out);
        differs("every lock carried out".to_owned(), carried_out.to_string(), true.to_string());
        wrong
    }
}

/// When a live lease expires; one that begins or ends is at no time alike.
fn live_until(lease: &Lease) -> Option<i64> {
    match lease.state {
        LeaseState::Active { expires_at } => Some(expires_at.as_microsecond()),
        LeaseState::Provisioning { .. } | LeaseState::Ending { .. } => Some(0),
        LeaseState::Ended { .. } => None,
    }
}
