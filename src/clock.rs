//! Time as a parameter: everything that asks for the time, or waits for one, takes a [`Clock`].

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;

/// A wall clock that can also be waited for.
#[async_trait]
pub trait Clock: Send + Sync {
    /// The time, to the microsecond (the precision that the store and the targets keep).
    fn now(&self) -> Timestamp;

    /// Returns once the clock shows `deadline` or later. It may return early, for example when the clock was set: ask
    /// [`Clock::now`] again.
    async fn sleep_until(&self, deadline: Timestamp);

    /// Returns as [`Clock::sleep_until`] does; `None`: never.
    async fn alarm(&self, at: Option<Timestamp>) {
        match at {
            Some(deadline) => self.sleep_until(deadline).await,
            None => std::future::pending().await,
        }
    }

    /// Time passed since a moment that stays the same while the process lives. Where the system has such a clock, nobody sets
    /// it, and it goes on while the process is stopped and while the machine sleeps. By default [`Clock::now`] counts.
    fn uptime(&self) -> Duration {
        Duration::try_from(self.now().duration_since(Timestamp::UNIX_EPOCH)).unwrap_or_default()
    }
}

/// The system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

fn to_microseconds(at: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(at.as_microsecond()).unwrap_or(at)
}

#[async_trait]
impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place where ambient time enters")]
    fn now(&self) -> Timestamp {
        to_microseconds(Timestamp::now())
    }

    async fn sleep_until(&self, deadline: Timestamp) {
        if deadline > self.now() {
            wall::sleep_until(deadline, self.now()).await;
        }
    }

    fn uptime(&self) -> Duration {
        #[cfg(target_os = "linux")]
        let clock = rustix::time::ClockId::Boottime;
        #[cfg(not(target_os = "linux"))]
        let clock = rustix::time::ClockId::Monotonic;
        let read = rustix::time::clock_gettime(clock);
        let seconds = u64::try_from(read.tv_sec).unwrap_or_default();
        Duration::new(seconds, u32::try_from(read.tv_nsec).unwrap_or_default())
    }
}

/// Waiting for the wall clock on Linux: a timer on `CLOCK_REALTIME` that also fires when the clock is set
/// (`timerfd_create(2)`, `TFD_TIMER_CANCEL_ON_SET`), so a jump is noticed at once and nothing wakes up in between.
#[cfg(target_os = "linux")]
mod wall {
    use std::{io, time::Duration};

    use jiff::Timestamp;
    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    };
    use tokio::io::{Interest, unix::AsyncFd};

    pub(super) async fn sleep_until(deadline: Timestamp, now: Timestamp) {
        if let Err(error) = timer(deadline).await {
            tracing::warn!(%error, "no wall-clock timer; waiting in slices instead");
            let wait = deadline.duration_since(now).unsigned_abs().min(Duration::from_secs(1));
            tokio::time::sleep(wait).await;
        }
    }

    #[expect(
        deprecated,
        reason = "the successor is unsafe for the sake of exotic descriptors; this one owns its own"
    )]
    async fn timer(deadline: Timestamp) -> io::Result<()> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer =
            AsyncFd::with_interest(timerfd_create(TimerfdClockId::Realtime, flags)?, Interest::READABLE)?;
        let value =
            Timespec { tv_sec: deadline.as_second(), tv_nsec: i64::from(deadline.subsec_nanosecond()) };
        let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: value };
        timerfd_settime(
            timer.get_ref(),
            TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET,
            &once,
        )?;
        timer.readable().await?.retain_ready();
        Ok(())
    }
}

/// Waiting for the wall clock elsewhere: in slices, because a timer there does not notice that the clock was set.
#[cfg(not(target_os = "linux"))]
mod wall {
    use std::time::Duration;

    use jiff::Timestamp;

    pub(super) async fn sleep_until(deadline: Timestamp, now: Timestamp) {
        let wait = deadline.duration_since(now).unsigned_abs().min(Duration::from_secs(10));
        tokio::time::sleep(wait).await;
    }
}

/// A clock that stands still until it is moved, for tests and simulations.
#[derive(Debug)]
pub struct ManualClock {
    now: Mutex<Timestamp>,
    moved: watch::Sender<()>,
}

impl ManualClock {
    /// A clock that shows `now`.
    pub fn new(now: Timestamp) -> Self {
        Self { now: Mutex::new(to_microseconds(now)), moved: watch::Sender::new(()) }
    }

    /// Moves it, forwards or backwards, and wakes everybody who waits for it.
    pub fn advance(&self, by: SignedDuration) {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        *now = now.saturating_add(by).unwrap_or(*now);
        drop(now);
        self.moved.send_replace(());
    }
}

#[async_trait]
impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn sleep_until(&self, deadline: Timestamp) {
        let mut moved = self.moved.subscribe();
        while self.now() < deadline {
            if moved.changed().await.is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn the_system_clock_waits_for_a_deadline() {
        let deadline = SystemClock.now() + SignedDuration::from_millis(30);
        SystemClock.sleep_until(deadline).await;
        assert!(SystemClock.now() >= deadline);
    }

    #[tokio::test]
    async fn a_manual_clock_wakes_those_who_wait_when_it_passes_their_deadline() {
        let clock = Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH));
        let sleeper = tokio::spawn({
            let clock = Arc::clone(&clock);
            async move { clock.sleep_until(Timestamp::from_second(10).unwrap()).await }
        });
        clock.advance(SignedDuration::from_secs(9));
        tokio::task::yield_now().await;
        assert!(!sleeper.is_finished());
        clock.advance(SignedDuration::from_secs(1));
        sleeper.await.unwrap();
    }

    #[test]
    fn uptime_passes() {
        let before = SystemClock.uptime();
        assert!(before > Duration::ZERO && SystemClock.uptime() >= before);
    }
}
