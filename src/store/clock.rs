//! The clock of those who share a store.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;

use crate::clock::Clock;

/// A clock that shows the store's time: this process's, corrected by how far the store's is ahead.
pub struct StoreClock {
    own: Arc<dyn Clock>,
    offset: watch::Receiver<SignedDuration>,
}

impl StoreClock {
    /// The clock, from this process's and what is measured (see [`Store::clock_offset`]).
    ///
    /// [`Store::clock_offset`]: super::Store::clock_offset
    pub fn new(own: Arc<dyn Clock>, offset: watch::Receiver<SignedDuration>) -> Self {
        Self { own, offset }
    }

    fn offset(&self) -> SignedDuration {
        *self.offset.borrow()
    }
}

#[async_trait]
impl Clock for StoreClock {
    fn now(&self) -> Timestamp {
        let own = self.own.now();
        let shown = own.checked_add(self.offset()).unwrap_or(own);
        // To the microsecond, whatever an offset is measured to: what is stored must read back as it was.
        Timestamp::from_microsecond(shown.as_microsecond()).unwrap_or(shown)
    }

    async fn sleep_until(&self, deadline: Timestamp) {
        let mut offset = self.offset.clone();
        let own_deadline = deadline.checked_sub(*offset.borrow_and_update()).unwrap_or(deadline);
        tokio::select! {
            () = self.own.sleep_until(own_deadline) => {}
            // To be asked again: the deadline is elsewhere on our clock now. Without a store there are no more changes.
            Ok(()) = offset.changed() => {}
        }
    }

    fn uptime(&self) -> Duration {
        self.own.uptime()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    #[tokio::test]
    async fn shows_the_stores_time_and_wakes_by_it() {
        let own = Arc::new(ManualClock::new(Timestamp::from_second(100).unwrap()));
        let offset = watch::Sender::new(SignedDuration::from_secs(10));
        let clock = Arc::new(StoreClock::new(Arc::clone(&own) as Arc<dyn Clock>, offset.subscribe()));
        assert_eq!(clock.now(), Timestamp::from_second(110).unwrap());
        offset.send_replace(SignedDuration::new(10, 1_500));
        assert_eq!(clock.now(), Timestamp::from_microsecond(110_000_001).unwrap());
        offset.send_replace(SignedDuration::from_secs(10));
        let sleeper = tokio::spawn({
            let clock = Arc::clone(&clock);
            async move { clock.sleep_until(Timestamp::from_second(120).unwrap()).await }
        });
        tokio::task::yield_now().await;
        own.advance(SignedDuration::from_secs(9));
        tokio::task::yield_now().await;
        assert!(!sleeper.is_finished());
        own.advance(SignedDuration::from_secs(1));
        sleeper.await.unwrap();
        let sleeper = tokio::spawn({
            let clock = Arc::clone(&clock);
            async move { clock.sleep_until(Timestamp::from_second(1_000).unwrap()).await }
        });
        tokio::task::yield_now().await;
        offset.send_replace(SignedDuration::from_secs(2_000));
        sleeper.await.unwrap();
    }
}
