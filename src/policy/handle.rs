//! The policies of now.

use std::sync::{Arc, PoisonError, RwLock};

use super::Policies;

/// The policies of now; a reload replaces them whole.
#[derive(Debug, Default)]
pub struct PoliciesHandle(RwLock<Arc<Policies>>);

impl PoliciesHandle {
    /// Starts with a set.
    pub fn new(policies: Policies) -> Self {
        Self(RwLock::new(Arc::new(policies)))
    }

    /// The policies of now.
    pub fn current(&self) -> Arc<Policies> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces them.
    pub fn replace(&self, policies: Policies) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(policies);
    }
}
