//! How targets fare, as last seen by whoever used them.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use jiff::Timestamp;

use crate::domain::TargetName;

/// How a target fares.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    /// Why it could not be used when last tried; `None`: it could, or was not tried yet.
    pub last_error: Option<String>,
    /// While it cannot be used: when ending is tried on it again.
    pub next_attempt_at: Option<Timestamp>,
}

/// How all targets fare.
#[derive(Debug, Default)]
pub struct HealthBoard(Mutex<BTreeMap<TargetName, Health>>);

impl HealthBoard {
    /// How a target fares.
    pub fn of(&self, target: &TargetName) -> Health {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(target).cloned().unwrap_or_default()
    }

    /// It was used without trouble.
    pub fn well(&self, target: &TargetName) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(target);
    }

    /// It could not be used.
    pub fn ill(&self, target: &TargetName, error: String, next_attempt_at: Option<Timestamp>) {
        let health = Health { last_error: Some(error), next_attempt_at };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(target.clone(), health);
    }
}
