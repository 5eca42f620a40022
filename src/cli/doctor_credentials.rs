//! What `mayfly doctor --config` logs in with: what the server would, as far as its store can be read from here.

use std::sync::Arc;

use async_trait::async_trait;

use super::Context;
use crate::{
    app::shared_store,
    config::{Config, StoreSettings},
    domain::{InstanceId, TargetName},
    issuer::candidates,
    store::{KeptSecret, postgres, sqlite},
    target::{
        AdministrationAccount, Candidate, Candidates, Configured, Credentials, TargetError, TargetSettings,
    },
};

/// What was read once; nothing is recorded.
struct AsRead(Candidates);

#[async_trait]
impl Credentials for AsRead {
    async fn candidates(&self, _: &AdministrationAccount) -> Result<Candidates, TargetError> {
        Ok(self.0.clone())
    }

    async fn accepted(&self, _: &AdministrationAccount, _: &Candidate) {}
}

/// The passwords there are, or the configured one when nothing else can be read.
pub(super) async fn credentials(
    config: &Config,
    settings: &TargetSettings,
    context: &mut Context,
) -> Arc<dyn Credentials> {
    let kept = match read(&config.store, settings.name.clone()).await {
        Ok(None) => return Arc::new(Configured),
        Ok(Some(kept)) => kept,
        Err(message) => {
            context.output.note(&format!(
                "note: only the configured password is tried; whether it was rotated cannot be read: {message}"
            ));
            return Arc::new(Configured);
        }
    };
    let account = AdministrationAccount {
        target: settings.name.clone(),
        user: settings.user.clone(),
        password: settings.password.clone(),
    };
    let (instance, kept) = kept;
    Arc::new(AsRead(candidates(kept, &account, instance, &config.sealing)))
}

/// What the store keeps of a target's password; `None`: there is no store yet.
async fn read(
    store: &StoreSettings,
    target: TargetName,
) -> Result<Option<(InstanceId, Option<KeptSecret>)>, String> {
    let read = match store {
        StoreSettings::File(path) if !path.exists() => return Ok(None),
        StoreSettings::File(path) => {
            let path = path.clone();
            let read = tokio::task::spawn_blocking(move || sqlite::read_secret(&path, &target)).await;
            read.map_err(|error| error.to_string())?
        }
        StoreSettings::Shared(shared) => {
            let settings = shared_store(shared).map_err(|error| error.to_string())?;
            postgres::read_secret(&settings, &target).await
        }
    };
    read.map(Some).map_err(|error| error.message)
}
