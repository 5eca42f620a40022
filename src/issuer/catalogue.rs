//! What can be asked for: roles and targets, as configured right now.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
};

use crate::{
    domain::{Role, RoleName, TargetName},
    target::Target,
};

/// Roles and targets of one configuration.
#[derive(Default)]
pub struct Catalogue {
    /// By name.
    pub roles: BTreeMap<RoleName, Arc<Role>>,
    /// By name.
    pub targets: BTreeMap<TargetName, Arc<dyn Target>>,
}

impl Catalogue {
    /// A role with its target.
    pub fn role(&self, name: &RoleName) -> Option<(Arc<Role>, Arc<dyn Target>)> {
        let role = self.roles.get(name)?;
        let target = self.targets.get(&role.target)?;
        Some((Arc::clone(role), Arc::clone(target)))
    }
}

/// The catalogue of now; a reload replaces it whole.
#[derive(Default)]
pub struct CatalogueHandle(RwLock<Arc<Catalogue>>);

impl CatalogueHandle {
    /// Starts with a catalogue.
    pub fn new(catalogue: Catalogue) -> Self {
        Self(RwLock::new(Arc::new(catalogue)))
    }

    /// The catalogue of now.
    pub fn current(&self) -> Arc<Catalogue> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces it.
    pub fn replace(&self, catalogue: Catalogue) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(catalogue);
    }
}
