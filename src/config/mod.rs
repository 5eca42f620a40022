//! The one TOML file: read, checked and turned into settings the other rooms can trust.
//!
//! Whatever is wrong is refused with its line, all of it at once; unknown keys too, and whatever is merely doubtful is warned
//! of. Secrets are never in the file: they come from files and environment variables, which are read here, through
//! [`Environment`]. Nothing here connects to anything, and no other room reads the file or knows a default.
//! `keys` lists every key; `docs/configuration.md` is checked against it.

mod access;
mod approval;
mod conflict;
mod difference;
mod environment;
mod identity;
mod keys;
mod notifications;
mod policy;
mod reader;
mod remark;
mod request;
mod retention;
mod risk;
mod role;
mod scanner;
mod sealing;
mod secret;
mod section;
mod server;
mod sessions;
mod sign_in;
mod statement;
mod store;
mod target;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
    time::Duration,
};

use toml::de::DeTable;

pub use difference::{Change, Part};
pub use environment::{Environment, FileFacts, SystemEnvironment};
pub use remark::{ConfigError, Remark};
pub use secret::SecretFileError;
pub use server::{
    AuditSettings, BootstrapSettings, ClientCertificates, LogFormat, LogLevel, LogSettings, MetricsSettings,
    ServerSettings, ServerTls,
};
pub use store::{SharedStore, StoreSettings};

use self::{
    reader::{Findings, Reader},
    remark::{Place, Shown},
    section::Section,
};
use crate::{
    domain::{ChannelName, Role, RoleName, TargetName},
    identity::{IdentitySettings, people::SessionSettings},
    issuer::RequestSettings,
    notify::ChannelSettings,
    policy::Policies,
    retention::RetentionSettings,
    sealing::Keyring,
    target::TargetSettings,
};

/// Everything the file says, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// How Mayfly serves.
    pub server: ServerSettings,
    /// Where state is kept.
    pub store: StoreSettings,
    /// Where audit records go besides the store.
    pub audit: AuditSettings,
    /// The first administrator.
    pub bootstrap: BootstrapSettings,
    /// What is logged.
    pub log: LogSettings,
    /// Where numbers are shown, if anywhere.
    pub metrics: Option<MetricsSettings>,
    /// Whose word is taken for who calls.
    pub identity: IdentitySettings,
    /// For how long what is kept in the store.
    pub retention: RetentionSettings,
    /// How long requests and grants wait, and how many may.
    pub requests: RequestSettings,
    /// The databases.
    pub targets: BTreeMap<TargetName, TargetSettings>,
    /// What administration passwords are sealed with; empty: nothing is sealed.
    pub sealing: Keyring,
    /// How long sessions of people last.
    pub sessions: SessionSettings,
    /// How often the administration passwords of which targets are rotated.
    pub rotation: BTreeMap<TargetName, Duration>,
    /// The access profiles; each on one of `targets`.
    pub roles: BTreeMap<RoleName, Role>,
    /// What policy is told of targets, besides their engines.
    pub labels: BTreeMap<TargetName, BTreeMap<String, String>>,
    /// What decides who may do what.
    pub policies: Arc<Policies>,
    /// Which roles nobody may hold at once with which others; each pair is there both ways.
    pub conflicts: BTreeMap<RoleName, BTreeSet<RoleName>>,
    /// What is told to whom.
    pub notifications: BTreeMap<ChannelName, ChannelSettings>,
}

/// A configuration, and what is doubtful about it.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Doubts, in the order of the file.
    pub warnings: Vec<Remark>,
}

impl Config {
    /// Reads and checks a file. Blocks: not for async threads.
    ///
    /// # Errors
    /// When it cannot be read, or with everything that is wrong with it.
    pub fn load(path: &Path, environment: &dyn Environment) -> Result<Loaded, ConfigError> {
        let text = environment
            .read(path)
            .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
        Self::parse(&text, path, environment)
    }

    /// Checks a text. `origin` is the file it is from: it is named in remarks, and relative paths start at its directory.
    ///
    /// # Errors
    /// With everything that is wrong with it.
    pub fn parse(text: &str, origin: &Path, environment: &dyn Environment) -> Result<Loaded, ConfigError> {
        let file = origin.to_string_lossy();
        let (table, errors) = DeTable::parse_recoverable(text);
        if !errors.is_empty() {
            let mut problems: Vec<_> = errors.iter().map(|error| syntax(error, &file, text)).collect();
            problems.sort_by_key(|problem| problem.position);
            return Err(ConfigError::Invalid(problems));
        }
        let directory = origin.parent().unwrap_or(Path::new(""));
        let reader = Reader::new(environment, directory);
        let config = whole(&reader.root(table.get_ref()));
        let (problems_elsewhere, warnings_elsewhere) = reader.elsewhere();
        let (problems, warnings) = reader.into_findings();
        let remarks = |found: Findings, elsewhere: Vec<Remark>| -> Vec<Remark> {
            let here = found.into_iter().map(|(place, message)| place.remark(&file, text, message));
            here.chain(elsewhere).collect()
        };
        match config {
            Some(config) if problems.is_empty() && problems_elsewhere.is_empty() => {
                Ok(Loaded { config, warnings: remarks(warnings, warnings_elsewhere) })
            }
            _ => Err(ConfigError::Invalid(remarks(problems, problems_elsewhere))),
        }
    }
}

/// What the parser says. Its own rendering would show the whole line, secrets included.
fn syntax(error: &toml::de::Error, file: &str, text: &str) -> Remark {
    let place = Place { key: String::new(), span: error.span(), shown: Shown::Keys };
    place.remark(file, text, error.message().to_owned())
}

/// Every section is read before the first that is unusable is given up on.
fn whole(root: &Section<'_>) -> Option<Config> {
    let server = server::server(&root.child("server"));
    let store = store::store(&root.child("store"));
    let audit = server::audit(&root.child("audit"), store.as_ref());
    let retention = retention::retention(&root.child("retention"), store.as_ref());
    let bootstrap = server::bootstrap(&root.child("bootstrap"));
    let log = server::log(&root.child("log"));
    let requests =
        request::requests(&root.child("requests"), request::break_glass(&root.child("break_glass")));
    let sealing = sealing::sealing(&root.child("sealing"));
    let sessions = sessions::sessions(&root.child("sessions"));
    let metrics = server::metrics(&root.child("metrics"));
    let identity = identity::identity(&root.child("identity"), server.as_ref());
    let drafts: Vec<_> = root
        .child("targets")
        .children()
        .iter()
        .map(|(name, section)| target::target(name, section))
        .collect();
    let approvals = approval::approvals(root);
    let roles: Vec<_> = root
        .child("roles")
        .children()
        .iter()
        .map(|(name, section)| role::role(name, section, &drafts, &approvals))
        .collect();
    access::check_shared(root, &roles, &drafts);
    approval::warn_of_unused(root, &approvals);
    let conflicts = conflict::conflicts(root);
    let labels: BTreeMap<_, _> = drafts.iter().filter_map(target::Draft::labels).collect();
    let factors = risk::factors(&root.child("risk"));
    let policies = policy::policies(root, &drafts, factors, conflicts.as_ref());
    let rotation = target::rotation(root.reader, &drafts, sealing.as_ref());
    let targets: Option<Vec<_>> = drafts.into_iter().map(|draft| draft.settings).collect();
    if targets.as_ref().is_some_and(Vec::is_empty) {
        root.reader.warn(
            &Place { key: "targets".into(), ..Place::default() },
            "there is no target: nothing can be issued",
        );
    }
    let roles: Option<Vec<_>> = roles.into_iter().collect();
    let notifications = notifications::notifications(&root.child("notifications"));
    Some(Config {
        server: server?,
        store: store?,
        audit,
        bootstrap,
        log: log?,
        metrics,
        identity: identity?,
        retention: retention?,
        requests: requests?,
        targets: targets?.into_iter().map(|target| (target.name.clone(), target)).collect(),
        sealing: sealing?,
        sessions: sessions?,
        rotation,
        roles: roles?.into_iter().map(|role| (role.name.clone(), role)).collect(),
        labels,
        policies: policies?,
        conflicts: conflicts?,
        notifications: notifications?,
    })
}
