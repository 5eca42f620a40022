//! Two Mayflys side by side, each before a server of its own: one with a full store, one with an empty one.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use mayfly::api::proto::{
    IssueLeaseRequest, LeaseFilter, RenewLeaseRequest, RevokeLeasesRequest,
    lease_service_client::LeaseServiceClient,
};
use tokio::task::JoinSet;
use tonic::{
    Request,
    metadata::{Ascii, MetadataValue},
    transport::Channel,
};

use super::{CALLERS, KIND, fill};
use crate::frame::{Figure, Line, Options, Outcome, World, median, moment};

/// Issues, and renewals, of one side of a round.
const CALLS: usize = 150;

/// Of one side of a round: issuing, renewing.
type Medians = (f64, f64);

/// A caller.
#[derive(Clone)]
struct Caller {
    client: LeaseServiceClient<Channel>,
    bearer: MetadataValue<Ascii>,
}

impl Caller {
    fn call<M>(&self, message: M) -> Request<M> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("authorization", self.bearer.clone());
        request
    }

    /// Issues one; its name, and how many milliseconds that took.
    async fn issue(&mut self) -> Outcome<(String, f64)> {
        let role = KIND.role.to_owned();
        let request = self.call(IssueLeaseRequest { role, ..IssueLeaseRequest::default() });
        let began = moment();
        let reply = self.client.issue_lease(request).await?.into_inner();
        let took = began.elapsed().as_secs_f64() * 1e3;
        Ok((reply.lease.ok_or("a reply without a lease")?.name, took))
    }

    async fn renew(&mut self, name: String) -> Outcome<f64> {
        let request = self.call(RenewLeaseRequest { name, ttl: None });
        let began = moment();
        self.client.renew_lease(request).await?;
        Ok(began.elapsed().as_secs_f64() * 1e3)
    }

    /// The medians of a side of a round: issuing, renewing.
    async fn round(&mut self, calls: usize) -> Outcome<Medians> {
        let (mut issued, mut renewed) = (Vec::new(), Vec::new());
        for _ in 0..calls {
            let (name, took) = self.issue().await?;
            issued.push(took);
            renewed.push(self.renew(name).await?);
        }
        Ok((median(&issued), median(&renewed)))
    }
}

async fn callers(world: &World) -> Outcome<Vec<Caller>> {
    let lines = world.mayfly_lines(KIND, CALLERS).await?;
    let caller = |line| match line {
        Line::Mayfly(line) => Some(Caller { client: line.client, bearer: line.bearer }),
        Line::Postgres(_) | Line::Mysql(_) => None,
    };
    Ok(lines.into_iter().filter_map(caller).collect())
}

/// Both.
pub(super) struct Peers {
    full: Vec<Caller>,
    empty: Vec<Caller>,
    administrator: Caller,
}

impl Peers {
    /// Callers of both.
    pub(super) async fn of(full: &World, empty: &World) -> Outcome<Self> {
        let (client, bearer) = full.administrator_of_leases().await?;
        let administrator = Caller { client, bearer };
        Ok(Self { full: callers(full).await?, empty: callers(empty).await?, administrator })
    }

    /// What issuing and renewing take, in turns.
    pub(super) async fn compare(
        &mut self,
        options: &Options,
        named: &dyn Fn(&str) -> String,
    ) -> Outcome<Vec<Figure>> {
        let calls = if options.quick { CALLS / 3 } else { CALLS };
        let full = self.full.first_mut().ok_or("no caller")?;
        let empty = self.empty.first_mut().ok_or("no caller")?;
        let mut rounds = Vec::new();
        for round in 0..=options.rounds {
            let (one, other) = if round % 2 == 0 {
                let one = full.round(calls).await?;
                (one, empty.round(calls).await?)
            } else {
                let other = empty.round(calls).await?;
                (full.round(calls).await?, other)
            };
            // The first warms up.
            if round > 0 {
                rounds.push((one, other));
            }
        }
        let column = |pick: fn(&(Medians, Medians)) -> f64| rounds.iter().map(pick).collect::<Vec<f64>>();
        let issue =
            Figure::of(named("issue-p50"), "ms", &column(|round| round.0.0), &column(|round| round.1.0));
        let renew =
            Figure::of(named("renew-p50"), "ms", &column(|round| round.0.1), &column(|round| round.1.1));
        Ok(vec![issue.ratio_at_most(1.1), renew.ratio_at_most(1.1)])
    }

    /// What others wait while all leases of a principal are revoked.
    pub(super) async fn revoke(
        &mut self,
        options: &Options,
        named: &dyn Fn(&str) -> String,
    ) -> Outcome<Vec<Figure>> {
        let quiet = self.issue_until(async |_| {
            let long = if options.quick { 1 } else { 5 };
            tokio::time::sleep(std::time::Duration::from_secs(long)).await;
            Ok(())
        });
        let quiet = quiet.await?.0;
        let (meanwhile, (revoked, took)) = self
            .issue_until(async |administrator| {
                let filter = LeaseFilter { principal: fill::FLEET.to_owned(), ..LeaseFilter::default() };
                let reason = "benchmark".to_owned();
                let request = administrator.call(RevokeLeasesRequest { filter: Some(filter), reason });
                let began = moment();
                let mut client = administrator.client.clone();
                let reply = client.revoke_leases(request).await?.into_inner();
                Ok((reply.revoked_count, began.elapsed().as_secs_f64()))
            })
            .await?;
        let rate = f64::from(revoked) / took;
        Ok(vec![
            Figure::of(named("revoke-by-principal.leases"), "leases", &[f64::from(revoked)], &[]),
            Figure::of(named("revoke-by-principal.rate"), "leases/s", &[rate], &[]),
            Figure::of(
                named("revoke-by-principal.others-p50"),
                "ms",
                &[p(&meanwhile, 0.5)],
                &[p(&quiet, 0.5)],
            ),
            Figure::of(
                named("revoke-by-principal.others-p99"),
                "ms",
                &[p(&meanwhile, 0.99)],
                &[p(&quiet, 0.99)],
            )
            .ratio_at_most(3.0),
        ])
    }

    /// Has others issue while something is done; what they waited, and what came of it.
    async fn issue_until<T>(&self, work: impl AsyncFnOnce(&Caller) -> Outcome<T>) -> Outcome<(Vec<f64>, T)> {
        let done = Arc::new(AtomicBool::new(false));
        let mut tasks = JoinSet::new();
        for mut caller in self.full.iter().cloned() {
            let done = Arc::clone(&done);
            tasks.spawn(async move {
                let mut waits = Vec::new();
                while !done.load(Ordering::Relaxed) {
                    waits.push(caller.issue().await?.1);
                }
                Ok::<_, Box<dyn std::error::Error + Send + Sync>>(waits)
            });
        }
        let outcome = work(&self.administrator).await;
        done.store(true, Ordering::Relaxed);
        let mut waits = Vec::new();
        while let Some(of_one) = tasks.join_next().await {
            waits.extend(of_one??);
        }
        Ok((waits, outcome?))
    }
}

/// What a share of the waits stays below; nearest rank.
fn p(waits: &[f64], share: f64) -> f64 {
    let mut sorted = waits.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.clamp(1, sorted.len().max(1)) - 1).copied().unwrap_or(f64::NAN)
}
