//! From a configuration to a Mayfly that listens.

use std::{num::NonZeroU32, path::PathBuf, sync::Arc};

use super::{Application, Reloader, StartError, reload::Parts};
use crate::{
    api::grpc::{GrpcServer, GrpcSettings, Rate, TlsFiles},
    audit::{AuditLog, FileSink},
    clock::Clock,
    config::{Config, Environment, ServerSettings, ServerTls, SharedStore, StoreSettings},
    crash::{self, Point},
    identity::{ApiToken, Authenticator},
    issuer::{Catalogue, CatalogueHandle, DueNotice, Issuer, IssuerParts, KnownServers},
    reaper::{Reaper, ReaperParts, Rounds, RoundsParts},
    store::{
        Store, StoreClock, StoreError, StoreErrorKind,
        postgres::{PostgresOptions, PostgresSettings, PostgresStore},
        sqlite::{SqliteOptions, SqliteStore},
    },
    target::{HealthBoard, Surroundings, TargetError, connect, postgres::tls::connector},
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
        let health = Arc::new(HealthBoard::default());
        let servers = Arc::new(KnownServers::new(
            Arc::clone(&surroundings.clock),
            Arc::clone(&store),
            Arc::clone(&health),
        ));
        let surroundings = Surroundings { recognition: Arc::clone(&servers) as Arc<_>, ..surroundings };
        let catalogue = Arc::new(CatalogueHandle::new(catalogue(&config, &surroundings)?));
        let reaper = Arc::new(Reaper::new(ReaperParts {
            clock: Arc::clone(&surroundings.clock),
            random: Arc::clone(&surroundings.random),
            store: Arc::clone(&store),
            catalogue: Arc::clone(&catalogue),
            health: Arc::clone(&health),
        }));
        let issuer = Arc::new(Issuer::new(IssuerParts {
            clock: Arc::clone(&surroundings.clock),
            random: Arc::clone(&surroundings.random),
            store: Arc::clone(&store),
            catalogue: Arc::clone(&catalogue),
            health: Arc::clone(&health),
            servers,
            reaper: Arc::clone(&reaper) as Arc<dyn DueNotice>,
        }));
        let rounds = Arc::new(Rounds::new(RoundsParts {
            clock: Arc::clone(&surroundings.clock),
            random: Arc::clone(&surroundings.random),
            catalogue: Arc::clone(&catalogue),
            health,
            reconciler: issuer.reconciler(),
        }));
        let authenticator = Arc::new(Authenticator::new(Arc::clone(&store), Arc::clone(&surroundings.clock)));
        let settings = grpc_settings(&config.server);
        let server =
            GrpcServer::bind(settings, Arc::clone(&issuer), authenticator, Arc::clone(&surroundings.clock))
                .await?;
        let sink = match &config.audit.file {
            Some(path) => Some(FileSink::open(path, Arc::clone(&store) as Arc<dyn AuditLog>).await?),
            None => None,
        };
        let first_token = first_administrator(&config, &*store, &issuer, environment).await?;
        let grace = config.server.shutdown_grace;
        let reloader = Reloader::new(Parts {
            surroundings: surroundings.clone(),
            store: Arc::clone(&store),
            catalogue,
            reaper: Arc::clone(&reaper),
            rounds: Arc::clone(&rounds),
            tls: server.tls(),
            audit_file: sink.as_ref().map(FileSink::reopener),
            config,
        });
        let clock = surroundings.clock;
        Ok(Application {
            clock,
            store,
            issuer,
            reaper,
            rounds,
            server,
            sink,
            reloader: Arc::new(reloader),
            first_token,
            grace,
        })
    }
}

/// The store, and surroundings whose clock is the store's: processes that share one go by one clock.
async fn open_store(
    settings: &StoreSettings,
    surroundings: Surroundings,
) -> Result<(Arc<dyn Store>, Surroundings), StartError> {
    let store: Arc<dyn Store> = match settings {
        StoreSettings::File(path) => open_file(path.clone()).await?,
        StoreSettings::Shared(shared) => {
            let settings = shared_store(shared).map_err(StartError::StoreTls)?;
            Arc::new(PostgresStore::open(settings, Arc::clone(&surroundings.clock)).await?)
        }
    };
    let clock = match store.clock_offset() {
        Some(offset) => Arc::new(StoreClock::new(surroundings.clock, offset)) as Arc<dyn Clock>,
        None => surroundings.clock,
    };
    Ok((store, Surroundings { clock, ..surroundings }))
}

/// How to reach a store as it is configured.
///
/// # Errors
/// When its TLS files cannot be used.
pub fn shared_store(shared: &SharedStore) -> Result<PostgresSettings, TargetError> {
    Ok(PostgresSettings {
        address: shared.address.clone(),
        password: shared.password.clone(),
        tls: connector(&shared.tls)?,
        schema: shared.schema.clone(),
        replica: shared.replica.clone(),
        options: PostgresOptions::default(),
    })
}

async fn open_file(path: PathBuf) -> Result<Arc<dyn Store>, StoreError> {
    let opened =
        tokio::task::spawn_blocking(move || SqliteStore::open(&path, SqliteOptions::default())).await;
    let gone =
        |error| StoreError::new(StoreErrorKind::Other, "the store could not be opened").caused_by(error);
    Ok(Arc::new(opened.map_err(gone)??))
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
