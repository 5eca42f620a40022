//! Callers: a principal's calls, in a closed or an open loop, and what became of them.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use mayfly::api::proto::{IssueLeaseRequest, lease_service_client::LeaseServiceClient};
use tokio::task::JoinSet;
use tonic::{
    Code, Request, Status,
    metadata::{Ascii, MetadataValue},
    transport::Channel,
};
use tonic_types::StatusExt as _;

use super::super::frame::{Outcome, Serving, Site, bearer, moment};

/// How often an open loop looks how many calls are due.
const TICK: Duration = Duration::from_millis(2);

/// Calls of one loop under way at once. Were there more, the loop would measure itself.
const UNDER_WAY: usize = 2_000;

/// One principal with its connections.
pub(super) struct Fleet {
    clients: Vec<LeaseServiceClient<Channel>>,
    bearer: MetadataValue<Ascii>,
    next: AtomicUsize,
}

/// What became of calls: how long each took, in milliseconds.
#[derive(Debug, Default)]
pub(super) struct Tally {
    issued: Vec<f64>,
    shed: Vec<f64>,
    /// Those that were shed without a word on when to come back.
    pub(super) untold: usize,
    /// What else calls ended with.
    pub(super) other: Vec<String>,
}

impl Fleet {
    pub(super) async fn connect(
        site: &Site,
        serving: &Serving,
        principal: &str,
        connections: usize,
    ) -> Outcome<Self> {
        let bearer = bearer(&site.token(serving, principal).await?)?;
        let mut clients = Vec::new();
        for _ in 0..connections {
            clients.push(site.leases(serving).await?);
        }
        Ok(Self { clients, bearer, next: AtomicUsize::new(0) })
    }

    /// So many calls under way all the time; says how many a second were issued.
    pub(super) async fn closed(&self, calls: usize, length: Duration) -> Outcome<f64> {
        let began = moment();
        let mut tasks = JoinSet::new();
        for _ in 0..calls {
            let call = self.call()?;
            tasks.spawn(async move {
                let mut issued = 0_usize;
                while began.elapsed() < length {
                    call.clone().make().await?;
                    issued += 1;
                }
                Ok::<_, Status>(issued)
            });
        }
        let mut issued = 0;
        for ended in tasks.join_all().await {
            issued += ended?;
        }
        Ok(issued as f64 / began.elapsed().as_secs_f64())
    }

    /// So many calls a second, whatever becomes of them.
    pub(super) async fn open(&self, rate: f64, length: Duration) -> Outcome<Tally> {
        let began = moment();
        let mut tally = Tally::default();
        let (mut tasks, mut begun) = (JoinSet::new(), 0_usize);
        let mut ticks = tokio::time::interval(TICK);
        while began.elapsed() < length {
            ticks.tick().await;
            let due = (began.elapsed().as_secs_f64() * rate) as usize;
            while begun < due {
                begun += 1;
                let call = self.call()?;
                tasks.spawn(async move {
                    let began = moment();
                    (call.make().await, began.elapsed().as_secs_f64() * 1e3)
                });
            }
            while let Some(ended) = tasks.try_join_next() {
                let (outcome, took) = ended?;
                tally.count(outcome, took);
            }
            if tasks.len() > UNDER_WAY {
                return Err("calls pile up: the open loop cannot keep its pace".into());
            }
        }
        while let Some(ended) = tasks.join_next().await {
            let (outcome, took) = ended?;
            tally.count(outcome, took);
        }
        Ok(tally)
    }

    fn call(&self) -> Outcome<Call> {
        let at = self.next.fetch_add(1, Ordering::Relaxed) % self.clients.len().max(1);
        let client = self.clients.get(at).ok_or("no connection")?.clone();
        Ok(Call { client, bearer: self.bearer.clone() })
    }
}

#[derive(Clone)]
struct Call {
    client: LeaseServiceClient<Channel>,
    bearer: MetadataValue<Ascii>,
}

impl Call {
    async fn make(mut self) -> Result<(), Status> {
        let message = IssueLeaseRequest { role: "role-0".to_owned(), ..IssueLeaseRequest::default() };
        let mut request = Request::new(message);
        request.set_timeout(Duration::from_secs(30));
        request.metadata_mut().insert("authorization", self.bearer);
        self.client.issue_lease(request).await.map(|_| ())
    }
}

impl Tally {
    fn count(&mut self, outcome: Result<(), Status>, took: f64) {
        match outcome {
            Ok(()) => self.issued.push(took),
            Err(status) if status.code() == Code::ResourceExhausted => {
                self.shed.push(took);
                self.untold += usize::from(status.get_details_retry_info().is_none());
            }
            Err(status) => self.other.push(format!("{:?}: {}", status.code(), status.message())),
        }
    }

    pub(super) fn issued(&self) -> usize {
        self.issued.len()
    }

    pub(super) fn shed(&self) -> usize {
        self.shed.len()
    }

    pub(super) fn sent(&self) -> usize {
        self.issued.len() + self.shed.len() + self.other.len()
    }

    /// What a share of the issued calls took at most.
    pub(super) fn latency(&self, share: f64) -> f64 {
        rank(&self.issued, share)
    }

    /// What a share of the shed calls took at most.
    pub(super) fn shed_latency(&self, share: f64) -> f64 {
        rank(&self.shed, share)
    }

    /// What else calls ended with, and how many of them.
    pub(super) fn errors(&self) -> BTreeMap<String, usize> {
        let mut errors = BTreeMap::new();
        for error in &self.other {
            *errors.entry(error.clone()).or_default() += 1;
        }
        errors
    }
}

/// The value that a share of all is not above; nearest rank.
fn rank(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = ((share * sorted.len() as f64).ceil() as usize).clamp(1, sorted.len().max(1)) - 1;
    sorted.get(at).copied().unwrap_or(0.0)
}
