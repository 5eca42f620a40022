//! Who defines anything, asked once for all accounts that end at the same time.
//!
//! The catalogue can only be read as a whole, and that takes the longer the more tables there are. So accounts that wait
//! for it share one reading, provided that it began after they began to wait: by then they were disabled.

use std::{
    collections::HashSet,
    sync::atomic::{AtomicU64, Ordering},
};

use tokio::sync::Mutex;

use super::{objects, pool::Pool};
use crate::{domain::Account, target::TargetError};

/// The last reading: names of definers, and how many had begun to wait when it began.
#[derive(Debug, Default)]
struct Reading {
    covers: u64,
    definers: HashSet<String>,
}

/// Readings of the catalogue, shared.
#[derive(Debug, Default)]
pub(super) struct Census {
    waiting: AtomicU64,
    last: Mutex<Reading>,
}

impl Census {
    /// Whether an account is the definer of anything now or a little later.
    pub(super) async fn counts(&self, account: &Account, pool: &Pool) -> Result<bool, TargetError> {
        Ok(self.counted(&[account], pool).await?.contains(&true))
    }

    /// The same of each of several accounts.
    pub(super) async fn counted(&self, accounts: &[&Account], pool: &Pool) -> Result<Vec<bool>, TargetError> {
        let number = self.waiting.fetch_add(1, Ordering::SeqCst) + 1;
        let mut last = self.last.lock().await;
        if last.covers < number {
            let mut link = pool.acquire().await?;
            let covers = self.waiting.load(Ordering::SeqCst);
            let outcome = link.ask::<String>(objects::OBJECTS, &objects::every_definer()).await;
            let definers = link.release(outcome)?.into_iter().collect();
            *last = Reading { covers, definers };
        }
        Ok(accounts.iter().map(|account| last.definers.contains(account.name.as_str())).collect())
    }
}
