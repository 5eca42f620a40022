//! What a client behind a load balancer does: asks one replica, and another when that does not answer well.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use mayfly::{
    clock::{Clock as _, SystemClock},
    random::Random,
};
use tonic::{Code, Status};

use crate::crash::caller::Caller;

/// How long one replica has to answer. Longer than a replica may put off what it was asked for (2 s, 3 s).
const ONE_TRY: Duration = Duration::from_secs(4);

/// How long to go on asking.
const ALL_TRIES: Duration = Duration::from_secs(40);

const BETWEEN_TRIES: Duration = Duration::from_millis(150);

/// The replicas' addresses.
#[derive(Clone)]
pub(super) struct Balancer {
    callers: Arc<Mutex<Vec<Option<Caller>>>>,
}

/// Whether asking again can help.
pub(super) fn may_pass(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::Unavailable | Code::DeadlineExceeded | Code::Aborted | Code::Cancelled | Code::Unknown
    )
}

impl Balancer {
    pub(super) fn new(count: usize) -> Self {
        Self { callers: Arc::new(Mutex::new(vec![None; count])) }
    }

    /// A replica listens elsewhere now.
    pub(super) fn set(&self, at: usize, caller: Caller) {
        self.callers.lock().unwrap()[at] = Some(caller);
    }

    /// A replica, as it was last known.
    pub(super) fn caller(&self, at: usize) -> Option<Caller> {
        self.callers.lock().unwrap()[at].clone()
    }

    /// Asks one replica after another until one answers, or refuses for good.
    pub(super) async fn ask<T>(
        &self,
        random: &dyn Random,
        mut call: impl AsyncFnMut(Caller) -> Result<T, Status>,
    ) -> Result<T, Status> {
        let count = self.callers.lock().unwrap().len();
        let mut at = usize::try_from(random.below(u32::try_from(count).unwrap())).unwrap();
        let begun = SystemClock.uptime();
        loop {
            let answered = match self.caller(at) {
                Some(caller) => tokio::time::timeout(ONE_TRY, call(caller))
                    .await
                    .unwrap_or_else(|_| Err(Status::deadline_exceeded("the balancer gave up on this one"))),
                None => Err(Status::unavailable("never started")),
            };
            match answered {
                Err(status)
                    if may_pass(&status) && SystemClock.uptime().saturating_sub(begun) < ALL_TRIES => {}
                answered => return answered,
            }
            at = (at + 1) % count;
            tokio::time::sleep(BETWEEN_TRIES).await;
        }
    }
}
