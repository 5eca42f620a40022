//! Taking a changed configuration in, all or nothing.

use std::sync::Arc;

use tokio::sync::Mutex;

use super::ReloadError;
use crate::{
    api::grpc::TlsHandle,
    audit::{Actor, Draft, Reopener},
    config::{Change, Config, Part},
    domain::TargetName,
    identity::{Identities, IdentitiesHandle},
    issuer::{Catalogue, CatalogueHandle, RequestSettingsHandle},
    notify::{Channels, ChannelsHandle},
    policy::PoliciesHandle,
    reaper::{Reaper, Rotations, Rounds},
    sealing::KeyringHandle,
    store::Store,
    target::{HealthBoard, Surroundings, Target, connect},
};

/// What a reload acts on.
pub(super) struct Parts {
    pub(super) surroundings: Surroundings,
    pub(super) store: Arc<dyn Store>,
    pub(super) catalogue: Arc<CatalogueHandle>,
    pub(super) policies: Arc<PoliciesHandle>,
    pub(super) health: Arc<HealthBoard>,
    pub(super) reaper: Arc<Reaper>,
    pub(super) rounds: Arc<Rounds>,
    pub(super) keyring: Arc<KeyringHandle>,
    pub(super) rotations: Arc<Rotations>,
    pub(super) requests: Arc<RequestSettingsHandle>,
    pub(super) tls: Option<TlsHandle>,
    pub(super) identities: Arc<IdentitiesHandle>,
    pub(super) audit_file: Option<Reopener>,
    pub(super) channels: Arc<ChannelsHandle>,
    pub(super) config: Config,
}

/// Takes changed configurations in, one at a time.
pub struct Reloader {
    parts: Mutex<Parts>,
}

impl Reloader {
    pub(super) fn new(parts: Parts) -> Self {
        Self { parts: Mutex::new(parts) }
    }

    /// Takes a configuration in: roles, targets, policies and certificates change together, or nothing changes. Certificate files are
    /// read anew and the audit file is opened anew even when the configuration is the same.
    ///
    /// # Errors
    /// [`ReloadError`]; the old configuration stays in force.
    pub async fn reload(&self, new: Config) -> Result<Vec<Change>, ReloadError> {
        let mut parts = self.parts.lock().await;
        let changes = parts.config.difference(&new);
        let restart: Vec<String> =
            changes.iter().filter(|change| change.needs_restart).map(ToString::to_string).collect();
        if !restart.is_empty() {
            return Err(ReloadError::NeedsRestart(restart));
        }
        parts.refuse_if_in_use(&new).await?;
        let catalogue = parts.changed_catalogue(&new, &changes)?;
        let clock = &parts.surroundings.clock;
        let identities = Identities::new(&new.identity, clock, &parts.identities.current())?;
        let channels = Channels::open(new.notifications.values().cloned())?;
        if let Some(tls) = &parts.tls {
            tls.reload()?;
        }
        // Recorded before it takes effect: no audit, no action.
        let summary: Vec<String> = changes.iter().map(ToString::to_string).collect();
        let draft = Draft::new(parts.surroundings.clock.now(), Actor::System, "server.reloaded", "server/-")
            .with("changes", summary.join("; "));
        parts.store.record(draft).await?;
        parts.identities.replace(identities);
        parts.keyring.replace(new.sealing.clone());
        // What was known of a target is not known of it with other settings.
        let renewed = |name: &&TargetName| !parts.is_kept(name, &catalogue);
        new.targets.keys().filter(renewed).for_each(|name| parts.health.forget(name));
        parts.policies.replace(Arc::clone(&new.policies));
        parts.catalogue.replace(catalogue);
        parts.channels.replace(channels);
        parts.rotations.reschedule(new.rotation.clone());
        parts.requests.replace(new.requests.clone());
        parts.reaper.open_lanes().await?;
        parts.rounds.open();
        if let Some(file) = &parts.audit_file {
            file.reopen();
        }
        parts.config = new;
        Ok(changes)
    }
}

impl Parts {
    /// Whether a target of a catalogue to come is the one there is now.
    fn is_kept(&self, name: &TargetName, coming: &Catalogue) -> bool {
        let current = self.catalogue.current();
        match (current.targets.get(name), coming.targets.get(name)) {
            (Some(current), Some(coming)) => Arc::ptr_eq(current, coming),
            _ => false,
        }
    }

    async fn refuse_if_in_use(&self, new: &Config) -> Result<(), ReloadError> {
        for (name, live) in self.store.live_by_target().await? {
            if self.config.targets.contains_key(&name) && !new.targets.contains_key(&name) {
                return Err(ReloadError::TargetInUse { name, live });
            }
        }
        Ok(())
    }

    /// The new catalogue. Targets that did not change keep their connections, unless they name certificate files, whose
    /// contents may have changed.
    fn changed_catalogue(&self, new: &Config, changes: &[Change]) -> Result<Catalogue, ReloadError> {
        let current = self.catalogue.current();
        let mut catalogue = Catalogue::default();
        for (name, settings) in &new.targets {
            let files = settings.tls.ca_file.is_some() || settings.tls.client_certificate.is_some();
            let differs = changes.iter().any(|change| change.part == Part::Target(name.clone()));
            let kept = current.targets.get(name).filter(|_| !files && !differs);
            let target: Arc<dyn Target> = match kept {
                Some(target) => Arc::clone(target),
                None => connect(settings.clone(), self.surroundings.clone())
                    .map_err(|source| ReloadError::Target { name: name.clone(), source })?,
            };
            catalogue.targets.insert(name.clone(), target);
        }
        catalogue.roles =
            new.roles.iter().map(|(name, role)| (name.clone(), Arc::new(role.clone()))).collect();
        Ok(catalogue)
    }
}
