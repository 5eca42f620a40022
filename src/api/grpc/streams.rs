//! How many streams at once: each holds memory and a connection for as long as its caller likes.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use crate::domain::PrincipalName;

/// Streams one principal may have open.
const PER_PRINCIPAL: usize = 16;

/// Streams in all.
const IN_ALL: usize = 1_024;

/// Counts open streams.
#[derive(Debug, Default)]
pub(super) struct Streams(Mutex<HashMap<PrincipalName, usize>>);

/// One open stream; dropping it closes it.
#[derive(Debug)]
pub(super) struct OpenStream {
    streams: Arc<Streams>,
    principal: PrincipalName,
}

impl Streams {
    /// Opens one; `None`: as many as allowed are open.
    pub(super) fn open(self: &Arc<Self>, principal: &PrincipalName) -> Option<OpenStream> {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let own = open.get(principal).copied().unwrap_or_default();
        if own >= PER_PRINCIPAL || open.values().sum::<usize>() >= IN_ALL {
            return None;
        }
        open.insert(principal.clone(), own.saturating_add(1));
        Some(OpenStream { streams: Arc::clone(self), principal: principal.clone() })
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        let mut open = self.streams.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = open.get_mut(&self.principal) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                open.remove(&self.principal);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_principal_has_its_own_limit_and_gets_back_what_it_closes() {
        let streams = Arc::new(Streams::default());
        let (alice, bob) = ("alice".parse().unwrap(), "bob".parse().unwrap());
        let mut open: Vec<_> = (0..PER_PRINCIPAL).map(|_| streams.open(&alice).unwrap()).collect();
        assert!(streams.open(&alice).is_none());
        assert!(streams.open(&bob).is_some());
        open.pop();
        assert!(streams.open(&alice).is_some());
        drop(open);
        assert!(streams.0.lock().unwrap().is_empty());
    }

    #[test]
    fn there_is_a_limit_for_all() {
        let streams = Arc::new(Streams::default());
        let open: Vec<_> =
            (0..IN_ALL + 10).filter_map(|n| streams.open(&format!("p{n}").parse().unwrap())).collect();
        assert_eq!(open.len(), IN_ALL);
    }
}
