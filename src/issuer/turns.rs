//! One at a time: whoever has a key's turn keeps others in this process from the same work until it is over.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

use tokio::sync::Notify;

/// The keys whose turn somebody has right now.
pub struct Turns<K: Ord> {
    taken: Mutex<BTreeSet<K>>,
    over: Notify,
}

/// A key's turn; it ends when dropped.
pub struct Turn<'a, K: Ord>(&'a Turns<K>, K);

impl<K: Ord> Default for Turns<K> {
    fn default() -> Self {
        Self { taken: Mutex::default(), over: Notify::new() }
    }
}

impl<K: Ord + Clone> Turns<K> {
    /// Takes a key's turn; `None`: somebody has it.
    #[must_use = "the turn is over when it is dropped"]
    pub fn take(&self, key: &K) -> Option<Turn<'_, K>> {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone());
        taken.then(|| Turn(self, key.clone()))
    }

    /// Takes a key's turn once nobody else has it.
    #[must_use = "the turn is over when it is dropped"]
    pub async fn wait(&self, key: &K) -> Turn<'_, K> {
        loop {
            // Listening begins before looking, so that no end goes unheard.
            let mut over = std::pin::pin!(self.over.notified());
            over.as_mut().enable();
            if let Some(turn) = self.take(key) {
                return turn;
            }
            over.await;
        }
    }
}

impl<K: Ord> Drop for Turn<'_, K> {
    fn drop(&mut self) {
        self.0.taken.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.1);
        self.0.over.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    };

    use super::*;

    #[test]
    fn a_turn_is_one_keys_and_over_when_dropped() {
        let turns = Turns::default();
        let first = turns.take(&1).unwrap();
        assert!(turns.take(&1).is_none());
        assert!(turns.take(&2).is_some());
        drop(first);
        assert!(turns.take(&1).is_some());
    }

    #[tokio::test]
    async fn all_who_wait_have_their_turn_one_after_another() {
        let (turns, inside, done) =
            (Arc::new(Turns::default()), Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        let tasks: Vec<_> = (0..20)
            .map(|_| {
                let (turns, inside, done) = (Arc::clone(&turns), Arc::clone(&inside), Arc::clone(&done));
                tokio::spawn(async move {
                    let _turn = turns.wait(&"account").await;
                    assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                    tokio::task::yield_now().await;
                    inside.fetch_sub(1, Ordering::SeqCst);
                    done.fetch_add(1, Ordering::SeqCst);
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(done.load(Ordering::SeqCst), 20);
    }
}
