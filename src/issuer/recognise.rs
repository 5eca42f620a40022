//! Which server answers for a target: the first that ever did, until an administrator agrees to another.
//!
//! A server under the same address that is another one (a test server under production's name, an address handed on) holds
//! accounts that are not ours and lacks those that are: nothing is issued, renewed or ended there.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;

use super::{Issuer, Refusal, RefusalKind};
use crate::{
    audit::{Actor, Draft},
    clock::Clock,
    domain::TargetName,
    identity::Caller,
    policy,
    store::{KnownServer, Store, StoreError},
    target::{HealthBoard, Recognition, ServerIdentity, Target, TargetError, TargetErrorKind},
};

/// Stands for a server that nothing tells from others. It is never the one known.
const NAMELESS: &str = "one without an identity";

/// The servers known to answer for targets, kept in the store.
///
/// The store is asked on every new connection, which is rare and costs more than that: so it does not matter who agreed to another
/// server, this process or one that shares the store.
pub struct KnownServers {
    clock: Arc<dyn Clock>,
    store: Arc<dyn Store>,
    health: Arc<HealthBoard>,
    /// Held while a server becomes known, so that the first is one.
    learning: tokio::sync::Mutex<()>,
    /// The server last turned away for each target: told and recorded once.
    strangers: Mutex<BTreeMap<TargetName, ServerIdentity>>,
}

impl KnownServers {
    /// Those the store has.
    pub fn new(clock: Arc<dyn Clock>, store: Arc<dyn Store>, health: Arc<HealthBoard>) -> Self {
        let (learning, strangers) = (tokio::sync::Mutex::default(), Mutex::default());
        Self { clock, store, health, learning, strangers }
    }

    /// The server that was turned away when the target was last connected to.
    pub fn stranger(&self, target: &TargetName) -> Option<ServerIdentity> {
        self.strangers.lock().unwrap_or_else(PoisonError::into_inner).get(target).cloned()
    }

    /// Forgets it. `false`: there was none.
    fn welcome(&self, target: &TargetName) -> bool {
        self.strangers.lock().unwrap_or_else(PoisonError::into_inner).remove(target).is_some()
    }

    /// Remembers it. `false`: it is known that it was turned away.
    fn turn_away(&self, target: &TargetName, identity: &ServerIdentity) -> bool {
        let mut strangers = self.strangers.lock().unwrap_or_else(PoisonError::into_inner);
        strangers.insert(target.clone(), identity.clone()).as_ref() != Some(identity)
    }

    /// Takes the first server that ever answers for the one that is meant.
    async fn meet(
        &self,
        target: &TargetName,
        identity: &ServerIdentity,
    ) -> Result<Option<KnownServer>, StoreError> {
        let _learning = self.learning.lock().await;
        if let Some(known) = self.store.known_server(target).await? {
            return Ok(Some(known));
        }
        let now = self.clock.now();
        let draft = Draft::new(now, Actor::System, "target.recognised", format!("targets/{target}"))
            .with("identity", identity.0.as_str());
        let known = KnownServer { identity: identity.0.clone(), since: now };
        self.store.know_server(target, known, draft).await?;
        Ok(None)
    }

    async fn refuse(
        &self,
        target: &TargetName,
        known: &KnownServer,
        identity: &ServerIdentity,
    ) -> TargetError {
        let message = format!(
            "another server answers for the target: {identity}, where {} is known since {:.0}; nothing is done on it until an \
             administrator agrees",
            known.identity, known.since
        );
        let error = TargetError::new(TargetErrorKind::Replaced, message.as_str())
            .mended_by(format!("mayfly target accept {target}"));
        self.health.ill(target, self.clock.now(), &message, None);
        if self.turn_away(target, identity) {
            tracing::error!(target_name = %target, "{message}");
            let draft =
                Draft::new(self.clock.now(), Actor::System, "target.replaced", format!("targets/{target}"))
                    .with("known", known.identity.as_str())
                    .with("found", identity.0.as_str())
                    .refused("another server answers than the one known");
            if let Err(error) = self.store.record(draft).await {
                // Nothing is done on it either way; it is recorded when it is met again.
                self.welcome(target);
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "a replaced server could not be recorded"
                );
            }
        }
        error
    }
}

#[async_trait]
impl Recognition for KnownServers {
    async fn recognise(&self, target: &TargetName, identity: &ServerIdentity) -> Result<(), TargetError> {
        let known = match self.store.known_server(target).await.map_err(unknown)? {
            Some(known) => Some(known),
            None => self.meet(target, identity).await.map_err(unknown)?,
        };
        match known {
            Some(known) if known.identity != identity.0 => Err(self.refuse(target, &known, identity).await),
            _ => {
                self.welcome(target);
                Ok(())
            }
        }
    }

    async fn recognise_nameless(&self, target: &TargetName) -> Result<(), TargetError> {
        match self.store.known_server(target).await.map_err(unknown)? {
            Some(known) => {
                let nameless = ServerIdentity(NAMELESS.to_owned());
                Err(self.refuse(target, &known, &nameless).await)
            }
            None => Ok(()),
        }
    }
}

fn unknown(error: StoreError) -> TargetError {
    let message = "whether the server is the right one cannot be found out";
    TargetError::new(TargetErrorKind::Unavailable, message).caused_by(error)
}

/// The server known for a target, and the one that answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Succession {
    /// The one known.
    pub known: Option<KnownServer>,
    /// Another one that answers; `None`: the one known does.
    pub found: Option<ServerIdentity>,
    /// Whether the one that answers is the one known from now on.
    pub accepted: bool,
}

impl Issuer {
    /// Which server answers for a target, and which is known to. Connects to find out.
    ///
    /// # Errors
    /// [`Refusal`]: not an administrator, no such target, nothing answers, store unavailable.
    pub async fn succession(&self, caller: &Caller, name: &TargetName) -> Result<Succession, Refusal> {
        self.authorise(caller, policy::Action::Administer, "target.accepted", format!("targets/{name}"))
            .await?;
        let target = self.target(name)?;
        let found = self.meet_server(&*target).await?;
        Ok(Succession { known: self.store.known_server(name).await?, found, accepted: false })
    }

    /// Takes the server that answers for a target now for the one that is meant from now on, and compares it with the store:
    /// leases whose accounts it does not have are closed.
    ///
    /// # Errors
    /// [`Refusal`]: not an administrator, no such target, another server answers than `identity`, nothing answers, store unavailable.
    /// Accepting the server that is known already is no error.
    pub async fn accept_server(
        self: &Arc<Self>,
        caller: &Caller,
        name: &TargetName,
        identity: &ServerIdentity,
    ) -> Result<Succession, Refusal> {
        let Succession { known, found, .. } = self.succession(caller, name).await?;
        let answers = found.as_ref().map(|found| found.0.as_str());
        if answers.or(known.as_ref().map(|known| known.identity.as_str())) != Some(&identity.0) {
            let refusal = Refusal::new(
                RefusalKind::TargetRefused,
                format!("the server that answers for the target is not {identity}"),
            );
            return Err(self.refuse(caller, "target.accepted", format!("targets/{name}"), refusal).await);
        }
        if identity.0 == NAMELESS {
            let refusal = Refusal::new(
                RefusalKind::TargetRefused,
                format!(
                    "the server that answers has no identity: mayfly doctor --config FILE --install {name} gives it one"
                ),
            );
            return Err(self.refuse(caller, "target.accepted", format!("targets/{name}"), refusal).await);
        }
        if found.is_none() {
            return Ok(Succession { known, found, accepted: true });
        }
        let now = self.clock.now();
        let former = known.as_ref().map_or("none", |known| known.identity.as_str());
        let draft = Draft::new(now, caller.actor(), "target.accepted", format!("targets/{name}"))
            .with("known", former)
            .with("accepted", identity.0.as_str());
        let server = KnownServer { identity: identity.0.clone(), since: now };
        self.store.know_server(name, server, draft).await?;
        self.servers.welcome(name);
        self.health.well(name);
        self.reaper.due(name, now);
        self.reconcile_in_background(name.clone());
        Ok(Succession { known, found, accepted: true })
    }

    /// The server that answers, when it is not the one known.
    async fn meet_server(&self, target: &dyn Target) -> Result<Option<ServerIdentity>, Refusal> {
        match target.ping().await {
            Ok(_) => Ok(None),
            Err(error) if error.kind == TargetErrorKind::Replaced => {
                let stranger = self.servers.stranger(target.name());
                stranger.map(Some).ok_or_else(|| Refusal::on_target(target.name(), error))
            }
            Err(error) => Err(Refusal::on_target(target.name(), error)),
        }
    }
}
