//! From a configuration to a Mayfly that listens.

use std::{num::NonZeroU32, sync::Arc};

use super::{Application, Reloader, StartError, notifier::Notifier, open::open_store, reload::Parts};
use crate::{
    api::grpc::{GrpcServer, GrpcSettings, Rate, TlsFiles},
    audit::{AuditLog, FileSink},
    clerk::{Clerk, ClerkParts},
    config::{Config, Environment, MetricsSettings, ServerSettings, ServerTls},
    crash::{self, Point},
    identity::{ApiToken, Authenticator, Identities, IdentitiesHandle},
    issuer::{
        AccountTurns, Catalogue, CatalogueHandle, DueNotice, Issuer, IssuerParts, KeptCredentials,
        KnownServers, Rotator, RotatorParts,
    },
    metrics::Metrics,
    policy::PoliciesHandle,
    reaper::{Reaper, ReaperParts, RotationParts, Rotations, Rounds, RoundsParts},
    retention::{Keeper, KeeperParts},
    sealing::KeyringHandle,
    store::Store,
    target::{HealthBoard, Surroundings, connect},
    telemetry::{MetricsListener, Scrape},
};

impl Application {
    /// Builds Mayfly from a configuration and binds its address; port 0 binds a free one. Targets need not be up. On a store
    /// that never kept a token, the first administrator's token is made.
    ///
    /// # Errors
    /// [`StartError`]: what of the configuration cannot be used here.
    pub async fn build(
        config: Config,
        surroundings: Surroundings,
        environment: &(dyn Environment + Sync),
    ) -> Result<Application, StartError> {
        let (store, surroundings) = open_store(&config.store, surroundings).await?;
        crash::here(Point::StartOpened);
        let keyring = Arc::new(KeyringHandle::new(config.sealing.clone()));
        let credentials = Arc::new(KeptCredentials {
            store: Arc::clone(&store),
            keyring: Arc::clone(&keyring),
            clock: Arc::clone(&surroundings.clock),
        });
        let (health, metrics) = (Arc::new(HealthBoard::default()), Arc::new(Metrics::default()));
        let servers = Arc::new(KnownServers::new(
            Arc::clone(&surroundings.clock),
            Arc::clone(&store),
            Arc::clone(&health),
        ));
        let surroundings = Surroundings {
            credentials: Arc::clone(&credentials) as Arc<_>,
            recognition: Arc::clone(&servers) as Arc<_>,
            ..surroundings
        };
        let catalogue = Arc::new(CatalogueHandle::new(catalogue(&config, &surroundings)?));
        let (rotator, rotations) = rotation(&config, &surroundings, &catalogue, credentials);
        let policies = Arc::new(PoliciesHandle::new(Arc::clone(&config.policies)));
        let turns = Arc::<AccountTurns>::default();
        let reaper = reaper(&surroundings, &store, &catalogue, (&health, &metrics), &turns);
        let issuer = Issuer::new(IssuerParts {
            turns,
            clock: Arc::clone(&surroundings.clock),
            random: Arc::clone(&surroundings.random),
            store: Arc::clone(&store),
            catalogue: Arc::clone(&catalogue),
            health: Arc::clone(&health),
            servers,
            metrics: Arc::clone(&metrics),
            reaper: Arc::clone(&reaper) as Arc<dyn DueNotice>,
            policies: Arc::clone(&policies),
        });
        let notifier = Notifier::new(&config, &surroundings, &store, &metrics)?;
        let (authenticator, identities) = authentication(&config, &surroundings, &store)?;
        let issuer = Arc::new(
            issuer
                .with_rotator(rotator)
                .with_channels(notifier.channels())
                .with_people(Arc::clone(&keyring), config.sessions)
                .with_identities(Arc::clone(&identities)),
        );
        issuer.request_settings().replace(config.requests.clone());
        let rounds = rounds(&surroundings, &catalogue, &health, &issuer);
        let clerk = clerk(&surroundings, &store, &issuer);
        let (settings, clock) = (grpc_settings(&config.server), Arc::clone(&surroundings.clock));
        let server = GrpcServer::bind(settings, Arc::clone(&issuer), authenticator, clock).await?;
        let (sink, keeper) = log_keepers(&config, &surroundings, &store).await?;
        let scrape = Scrape {
            clock: Arc::clone(&surroundings.clock),
            metrics,
            store: Arc::clone(&store),
            catalogue: Arc::clone(&catalogue),
            health: Arc::clone(&health),
            issuer: Arc::clone(&issuer),
            audit_file: sink.as_ref().map(FileSink::progress),
        };
        let numbers = listen_for_scrapes(&config, scrape).await?;
        let first_token = first_administrator(&config, &*store, &issuer, environment).await?;
        let grace = config.server.shutdown_grace;
        let reloader = Reloader::new(Parts {
            surroundings: surroundings.clone(),
            store: Arc::clone(&store),
            catalogue,
            policies,
            health,
            reaper: Arc::clone(&reaper),
            rounds: Arc::clone(&rounds),
            keyring,
            rotations: Arc::clone(&rotations),
            requests: issuer.request_settings(),
            tls: server.tls(),
            identities,
            audit_file: sink.as_ref().map(FileSink::reopener),
            channels: notifier.channels(),
            config,
        });
        Ok(Application {
            clock: surroundings.clock,
            store,
            issuer,
            reaper,
            rounds,
            rotations,
            notifier,
            clerk,
            keeper,
            server,
            sink,
            numbers,
            reloader: Arc::new(reloader),
            first_token,
            grace,
        })
    }
}

/// What ends leases.
fn reaper(
    surroundings: &Surroundings,
    store: &Arc<dyn Store>,
    catalogue: &Arc<CatalogueHandle>,
    (health, metrics): (&Arc<HealthBoard>, &Arc<Metrics>),
    turns: &Arc<AccountTurns>,
) -> Arc<Reaper> {
    Arc::new(Reaper::new(ReaperParts {
        turns: Arc::clone(turns),
        clock: Arc::clone(&surroundings.clock),
        random: Arc::clone(&surroundings.random),
        store: Arc::clone(store),
        catalogue: Arc::clone(catalogue),
        health: Arc::clone(health),
        metrics: Arc::clone(metrics),
    }))
}

/// What compares targets with the store from time to time.
fn rounds(
    surroundings: &Surroundings,
    catalogue: &Arc<CatalogueHandle>,
    health: &Arc<HealthBoard>,
    issuer: &Issuer,
) -> Arc<Rounds> {
    Arc::new(Rounds::new(RoundsParts {
        clock: Arc::clone(&surroundings.clock),
        random: Arc::clone(&surroundings.random),
        catalogue: Arc::clone(catalogue),
        health: Arc::clone(health),
        reconciler: issuer.reconciler(),
    }))
}

/// What moves requests and grants.
fn clerk(surroundings: &Surroundings, store: &Arc<dyn Store>, issuer: &Arc<Issuer>) -> Clerk {
    Clerk::new(ClerkParts {
        clock: Arc::clone(&surroundings.clock),
        random: Arc::clone(&surroundings.random),
        store: Arc::clone(store),
        issuer: Arc::clone(issuer),
    })
}

/// What rotates administration passwords: when asked, and on schedule.
fn rotation(
    config: &Config,
    surroundings: &Surroundings,
    catalogue: &Arc<CatalogueHandle>,
    credentials: Arc<KeptCredentials>,
) -> (Arc<Rotator>, Arc<Rotations>) {
    let store = Arc::clone(&credentials.store);
    let rotator = Arc::new(Rotator::new(RotatorParts {
        random: Arc::clone(&surroundings.random),
        catalogue: Arc::clone(catalogue),
        credentials,
    }));
    let parts = RotationParts {
        clock: Arc::clone(&surroundings.clock),
        random: Arc::clone(&surroundings.random),
        store,
        rotator: Arc::clone(&rotator),
    };
    (rotator, Arc::new(Rotations::new(parts, config.rotation.clone())))
}

/// What tells who calls, and whose word it takes.
fn authentication(
    config: &Config,
    surroundings: &Surroundings,
    store: &Arc<dyn Store>,
) -> Result<(Arc<Authenticator>, Arc<IdentitiesHandle>), StartError> {
    let identities = Identities::new(&config.identity, &surroundings.clock, &Identities::default())?;
    let identities = Arc::new(IdentitiesHandle::new(identities));
    let authenticator = Authenticator::new(Arc::clone(store), Arc::clone(&surroundings.clock));
    Ok((Arc::new(authenticator.trusting(Arc::clone(&identities))), identities))
}

/// The copy of the audit log in a file, where one is configured; and what has old records leave the store, which waits for that copy.
async fn log_keepers(
    config: &Config,
    surroundings: &Surroundings,
    store: &Arc<dyn Store>,
) -> Result<(Option<FileSink>, Keeper), StartError> {
    let log = Arc::clone(store) as Arc<dyn AuditLog>;
    let sink = match &config.audit.file {
        Some(path) => Some(FileSink::open(path, log).await?),
        None => None,
    };
    let keeper = Keeper::new(KeeperParts {
        clock: Arc::clone(&surroundings.clock),
        store: Arc::clone(store),
        settings: config.retention.clone(),
        copied: sink.as_ref().map(FileSink::progress),
    });
    Ok((sink, keeper))
}

async fn listen_for_scrapes(config: &Config, scrape: Scrape) -> Result<Option<MetricsListener>, StartError> {
    let Some(MetricsSettings { listen }) = config.metrics else { return Ok(None) };
    let bound = MetricsListener::bind(listen, scrape).await;
    bound.map(Some).map_err(|source| StartError::Metrics { address: listen, source })
}

/// Roles and targets of a configuration.
fn catalogue(config: &Config, surroundings: &Surroundings) -> Result<Catalogue, StartError> {
    let mut catalogue = Catalogue::default();
    for (name, settings) in &config.targets {
        let target = connect(settings.clone(), surroundings.clone())
            .map_err(|source| StartError::Target { name: name.clone(), source })?;
        catalogue.targets.insert(name.clone(), target);
    }
    catalogue.roles =
        config.roles.iter().map(|(name, role)| (name.clone(), Arc::new(role.clone()))).collect();
    Ok(catalogue)
}

/// The first administrator's token, if one was drawn just now; one that comes from a file is not told again.
async fn first_administrator(
    config: &Config,
    store: &dyn Store,
    issuer: &Issuer,
    environment: &(dyn Environment + Sync),
) -> Result<Option<ApiToken>, StartError> {
    if !store.has_no_tokens().await? {
        return Ok(None);
    }
    let given = config
        .bootstrap
        .administrator_token(environment)
        .map_err(|error| StartError::Bootstrap(error.into()))?;
    let given = match given {
        Some(text) => {
            Some(text.expose().parse::<ApiToken>().map_err(|error| StartError::Bootstrap(error.into()))?)
        }
        None => None,
    };
    let from_file = given.is_some();
    let minted = issuer.bootstrap(given).await?;
    Ok((!from_file).then_some(minted.secret))
}

fn grpc_settings(server: &ServerSettings) -> GrpcSettings {
    GrpcSettings {
        listen: server.listen,
        allow_clear_text_beyond_loopback: server.allow_clear_text_beyond_loopback,
        max_message_bytes: server.max_message_bytes,
        max_concurrent_calls: server.max_concurrent_calls,
        rate_per_principal: rate(server),
        shutdown_grace: server.shutdown_grace,
        tls: server.tls.as_ref().map(tls_files),
    }
}

/// How often one principal may call; the configuration's bounds make both numbers positive.
fn rate(server: &ServerSettings) -> Option<Rate> {
    let per_second = NonZeroU32::new(server.calls_per_second_per_principal)?;
    let burst = NonZeroU32::new(server.call_burst_per_principal)?;
    Some(Rate { per_second, burst })
}

fn tls_files(tls: &ServerTls) -> TlsFiles {
    TlsFiles {
        certificate_file: tls.certificate_file.clone(),
        key_file: tls.key_file.clone(),
        client_ca_file: tls.clients.as_ref().map(|clients| clients.ca_file.clone()),
        require_client_certificate: tls.clients.as_ref().is_some_and(|clients| clients.required),
    }
}
