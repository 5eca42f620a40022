//! The policies of now.

use std::sync::{Arc, PoisonError, RwLock};

use super::Policies;

/// The policies of now; a reload replaces them whole.
#[derive(Debug, Default)]
pub struct PoliciesHandle(RwLock<Arc<Policies>>);

impl PoliciesHandle {
    /// Starts with a set.
    pub fn new(policies: impl Into<Arc<Policies>>) -> Self {
        Self(RwLock::new(policies.into()))
    }

    /// The policies of now.
    pub fn current(&self) -> Arc<Policies> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces them.
    pub fn replace(&self, policies: impl Into<Arc<Policies>>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = policies.into();
    }
}
