//! What `mayfly doctor --config` logs in with: what the server would, as far as its store can be read from here.

use std::{path::Path, sync::Arc};

use async_trait::async_trait;

use super::Context;
use crate::{
    config::Config,
    issuer::candidates,
    store::{StoreError, sqlite::read_secret},
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
    let (path, name) = (config.store.path().map(Path::to_owned), settings.name.clone());
    let Some(path) = path.filter(|path| path.exists()) else { return Arc::new(Configured) };
    let read = tokio::task::spawn_blocking(move || read_secret(&path, &name)).await;
    let account = AdministrationAccount {
        target: settings.name.clone(),
        user: settings.user.clone(),
        password: settings.password.clone(),
    };
    match read {
        Ok(Ok((instance, kept))) => Arc::new(AsRead(candidates(kept, &account, instance, &config.sealing))),
        Ok(Err(error)) => {
            let StoreError { message, .. } = error;
            context.output.note(&format!(
                "note: only the configured password is tried; whether it was rotated cannot be read: {message}"
            ));
            Arc::new(Configured)
        }
        Err(_) => Arc::new(Configured),
    }
}
