//! Passwords with their verifiers, made sixteen at a time and a few ahead, where the processor can ([`wide`]): one that is drawn from here
//! costs a quarter of one that is made by itself, and no time.
//!
//! A password that is in stock belongs to no account and to nobody, is used once, and is only ever in memory. Nothing is made until
//! the first is asked for, and nothing is done while none is.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::available_parallelism,
};

use tokio::{
    sync::{Mutex, Semaphore},
    task::spawn_blocking,
};

use super::{Secret, TargetError, TargetErrorKind, wide};

/// With so few left, the next sixteen are made.
const FEW: usize = 8;

/// The most that are kept.
const MOST: usize = FEW + wide::LANES;

/// Makes secrets of one kind. It takes a while: not for the async threads.
pub(super) trait Maker: Send + Sync + 'static {
    /// One, by itself.
    fn one(&self) -> Result<Secret, TargetError>;

    /// Sixteen at once; `None`: the processor cannot.
    fn sixteen(&self) -> Option<Vec<Secret>>;
}

/// The secrets of one kind.
pub(super) struct Stock {
    maker: Arc<dyn Maker>,
    ready: Mutex<Vec<Secret>>,
    filling: AtomicBool,
    /// Those that are made by themselves at once: as many as there are processors.
    alone: Semaphore,
}

impl Stock {
    /// An empty one.
    pub(super) fn new(maker: impl Maker) -> Arc<Self> {
        Arc::new(Self {
            maker: Arc::new(maker),
            ready: Mutex::default(),
            filling: AtomicBool::new(false),
            alone: Semaphore::new(available_parallelism().map_or(1, usize::from)),
        })
    }

    /// A secret that nobody else has.
    ///
    /// # Errors
    /// When it could not be made.
    pub(super) async fn take(self: &Arc<Self>) -> Result<Secret, TargetError> {
        if !wide::is_here() {
            return self.make_one().await;
        }
        // Those who find none wait for the same sixteen.
        let mut ready = self.ready.lock().await;
        if ready.is_empty() {
            ready.extend(self.make_sixteen().await?);
        }
        let (taken, few) = (ready.pop(), ready.len() <= FEW);
        drop(ready);
        if few && !self.filling.swap(true, Ordering::AcqRel) {
            tokio::spawn(Arc::clone(self).fill());
        }
        match taken {
            Some(secret) => Ok(secret),
            None => self.make_one().await,
        }
    }

    async fn make_one(&self) -> Result<Secret, TargetError> {
        let _permit = self.alone.acquire().await.map_err(not_computed)?;
        let maker = Arc::clone(&self.maker);
        spawn_blocking(move || maker.one()).await.map_err(not_computed)?
    }

    async fn make_sixteen(&self) -> Result<Vec<Secret>, TargetError> {
        let maker = Arc::clone(&self.maker);
        let made = spawn_blocking(move || maker.sixteen()).await.map_err(not_computed)?;
        Ok(made.unwrap_or_default())
    }

    async fn fill(self: Arc<Self>) {
        let made = self.make_sixteen().await;
        let mut ready = self.ready.lock().await;
        match made {
            Ok(made) => ready.extend(made),
            // Whoever finds none in stock is told.
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "no secrets were made ahead");
            }
        }
        ready.truncate(MOST);
        self.filling.store(false, Ordering::Release);
    }
}

fn not_computed(error: impl std::error::Error + Send + Sync + 'static) -> TargetError {
    TargetError::new(TargetErrorKind::Unavailable, "a verifier could not be computed").caused_by(error)
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, sync::atomic::AtomicUsize};

    use super::*;
    use crate::{domain::Password, target::Verifier};

    /// Numbers them, and counts how many it made ahead of being asked for one.
    struct Numbers(Arc<AtomicUsize>);

    impl Numbers {
        fn next(&self) -> Secret {
            let number = self.0.fetch_add(1, Ordering::SeqCst).to_string();
            Secret { password: Password::new(number.clone()), verifier: Verifier::new(number) }
        }
    }

    impl Maker for Numbers {
        fn one(&self) -> Result<Secret, TargetError> {
            Ok(self.next())
        }

        fn sixteen(&self) -> Option<Vec<Secret>> {
            Some((0..wide::LANES).map(|_| self.next()).collect())
        }
    }

    #[tokio::test]
    async fn nobody_gets_what_another_got_and_few_are_made_ahead() {
        let made = Arc::new(AtomicUsize::new(0));
        let stock = Stock::new(Numbers(Arc::clone(&made)));
        assert_eq!(made.load(Ordering::SeqCst), 0, "made before anybody asked");
        let mut takers = tokio::task::JoinSet::new();
        for _ in 0..200 {
            let stock = Arc::clone(&stock);
            takers.spawn(async move { stock.take().await.unwrap() });
        }
        let taken = takers.join_all().await;
        let different: HashSet<&str> = taken.iter().map(|secret| secret.password.expose()).collect();
        assert_eq!(different.len(), 200);
        assert!(taken.iter().all(|secret| secret.password.expose() == secret.verifier.as_str()));
        assert!(stock.ready.lock().await.len() <= MOST);
    }
}
