//! A server that takes an identity provider's word, and the provider.

use std::{path::Path, sync::Arc};

use mayfly::{
    api::proto::{WhoAmIRequest, WhoAmIResponse},
    clock::Clock,
    config::{Config, SystemEnvironment},
    identity::{Identities, IdentitiesHandle},
    sandbox::LocalIssuer,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tonic::Status;

use super::super::rig::{Api, bind_trusting, settings, with};
use crate::support::world::World;

/// Who issues.
pub(super) const ISSUER: &str = "https://ci.example";

/// What every provider of these tests maps; keys and times come before it.
pub(super) const MAPPING: &str = "audiences = [\"mayfly\"]\nprincipal = \"repo:{repository}:{ref}\"\ngroups = [\"ci\"]\n\
     attributes = { repository = \"repository\" }\nbound_claims = { repository = \"acme/*\" }\n";

/// A served world and an issuer.
pub(super) struct Ci {
    pub(super) api: Api,
    pub(super) issuer: LocalIssuer,
    handle: Arc<IdentitiesHandle>,
    pub(super) directory: TempDir,
}

impl Ci {
    /// With the issuer's keys in a file, and further lines for the provider.
    pub(super) async fn with(lines: &str) -> Self {
        Self::configured(|directory| {
            let file = directory.join("keys.json");
            format!(
                "[identity.ci]\nissuer = \"{ISSUER}\"\njwks_file = \"{}\"\n{lines}\n{MAPPING}",
                file.display()
            )
        })
        .await
    }

    /// With the issuer's keys behind an address, and further lines for the provider.
    pub(super) async fn fetching(url: &str, lines: &str) -> Self {
        Self::configured(|_| {
            format!("[identity.ci]\nissuer = \"{ISSUER}\"\njwks_url = \"{url}\"\n{lines}\n{MAPPING}")
        })
        .await
    }

    /// With any configuration of identities. The issuer's keys are in `keys.json`.
    pub(super) async fn configured(text: impl FnOnce(&Path) -> String) -> Self {
        let (directory, issuer) =
            (tempfile::tempdir().unwrap(), LocalIssuer::generate(ISSUER, "one").unwrap());
        issuer.write_key_set(&directory.path().join("keys.json")).unwrap();
        let text = text(directory.path());
        let world = World::with(Vec::new(), Vec::new()).await;
        let clock = Arc::clone(&world.clock) as Arc<dyn Clock>;
        let handle = Arc::new(IdentitiesHandle::new(identities(&text, &clock, &Identities::default())));
        let bound = bind_trusting(&world, settings(), Arc::clone(&handle)).await.unwrap();
        Self { api: Api::run(world, bound).await, issuer, handle, directory }
    }

    /// Takes another configuration in, as a reload does.
    pub(super) fn reload(&self, text: &str) {
        let clock = Arc::clone(&self.api.world.clock) as Arc<dyn Clock>;
        let fresh = identities(text, &clock, &self.handle.current());
        self.handle.replace(fresh);
    }

    /// What the issuer claims of a job on the main branch of `acme/shop`.
    pub(super) fn job(&self, id: &str) -> Value {
        self.issuer.job("acme/shop", "main", "mayfly", self.api.world.clock.now(), id)
    }

    /// The assertion of that job, with some claims changed; a null removes one.
    pub(super) fn assertion(&self, changes: &Value) -> String {
        let mut claims = self.job("job-1");
        for (name, value) in changes.as_object().unwrap() {
            match value {
                Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
                value => claims[name] = value.clone(),
            }
        }
        self.issuer.sign(&claims).unwrap()
    }

    /// Calls with a bearer token.
    pub(super) async fn call(&self, bearer: &str) -> Result<WhoAmIResponse, Status> {
        let reply = self.api.server().await.who_am_i(with(bearer, WhoAmIRequest {})).await;
        reply.map(tonic::Response::into_inner)
    }

    /// Calls with the assertion of a job, unchanged.
    pub(super) async fn call_as_job(&self) -> Result<WhoAmIResponse, Status> {
        self.call(&self.assertion(&json!({}))).await
    }

    /// Expects a refusal, and that nothing of the token is told or on record.
    pub(super) async fn refused(&self, bearer: &str) -> Status {
        let status = self.call(bearer).await.unwrap_err();
        let audit = self.api.world.audit().await;
        let record = audit.last().map(|record| format!("{record:?}")).unwrap_or_default();
        for part in bearer.split('.').filter(|part| part.len() > 8) {
            assert!(!status.message().contains(part) && !record.contains(part));
        }
        assert!(record.contains("Refused"), "{record}");
        status
    }
}

fn identities(text: &str, clock: &Arc<dyn Clock>, previous: &Identities) -> Identities {
    let text = format!("[store]\npath = \"mayfly.db\"\n{text}");
    let loaded = Config::parse(&text, Path::new("/tmp/mayfly.toml"), &SystemEnvironment).unwrap();
    Identities::new(&loaded.config.identity, clock, previous).unwrap()
}
