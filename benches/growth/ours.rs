//! Mayfly's side: leases issued and released over TLS, each ended and verified before its release is answered.

use std::sync::Arc;

use mayfly::api::proto::{IssueLeaseRequest, ReleaseLeaseRequest};
use tokio::task::JoinSet;
use tonic::Request;

use super::lap::{Budget, Lap, since};
use crate::frame::{Line, Outcome, moment};

/// A line to Mayfly, and the leases its principal holds.
pub(super) struct Caller {
    line: Line,
    leases: Vec<String>,
}

impl Caller {
    pub(super) fn on(line: Line) -> Self {
        Self { line, leases: Vec::new() }
    }

    async fn issue(&mut self) -> Outcome<()> {
        let Line::Mayfly(caller) = &mut self.line else { return Err("not a line to Mayfly".into()) };
        let mut request =
            Request::new(IssueLeaseRequest { role: caller.role.to_owned(), ..IssueLeaseRequest::default() });
        request.metadata_mut().insert("authorization", caller.bearer.clone());
        let lease = caller.client.issue_lease(request).await?.into_inner().lease;
        self.leases.push(lease.ok_or("a reply without a lease")?.name);
        Ok(())
    }

    /// The lease it was issued last; the answer comes when its account is verified gone.
    async fn release(&mut self) -> Outcome<()> {
        let Line::Mayfly(caller) = &mut self.line else { return Err("not a line to Mayfly".into()) };
        let name = self.leases.pop().ok_or("more is released than was issued")?;
        let mut request = Request::new(ReleaseLeaseRequest { name, wait: true });
        request.metadata_mut().insert("authorization", caller.bearer.clone());
        caller.client.release_lease(request).await?;
        Ok(())
    }
}

/// What callers do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    Issue,
    Release,
}

/// Calls by all callers at once: so many, as long as there is time.
pub(super) async fn call(callers: &mut Vec<Caller>, call: Call, calls: usize, seconds: f64) -> Outcome<Lap> {
    let (budget, began) = (Arc::new(Budget::of(calls, seconds)), moment());
    let mut tasks = JoinSet::new();
    for caller in callers.drain(..) {
        tasks.spawn(one(caller, call, Arc::clone(&budget)));
    }
    let mut latencies = Vec::new();
    for done in tasks.join_all().await {
        let (caller, taken) = done?;
        callers.push(caller);
        latencies.extend(taken);
    }
    Ok(Lap::of(&latencies, began))
}

async fn one(mut caller: Caller, call: Call, budget: Arc<Budget>) -> Outcome<(Caller, Vec<f64>)> {
    let mut taken = Vec::new();
    while (call == Call::Issue || !caller.leases.is_empty()) && budget.take() {
        let began = moment();
        match call {
            Call::Issue => caller.issue().await?,
            Call::Release => caller.release().await?,
        }
        taken.push(since(began));
    }
    Ok((caller, taken))
}
