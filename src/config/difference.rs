//! What a reload would change, and what of it only a restart can.

use std::{collections::BTreeSet, fmt};

use zeroize::Zeroizing;

use super::{Config, ServerSettings, StoreSettings};
use crate::{
    domain::{ChannelName, Password, Role, RoleName, TargetName},
    target::TargetSettings,
};

/// One thing that differs between two configurations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What it belongs to.
    pub part: Part,
    /// The dotted key.
    pub key: String,
    /// What happened to it; never shows a value that could be secret.
    pub what: String,
    /// It takes effect only when Mayfly is started again, so that a reload with it is refused as a whole.
    pub needs_restart: bool,
}

/// What a change belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// `[server]`.
    Server,
    /// `[store]`.
    Store,
    /// `[audit]`.
    Audit,
    /// `[retention]`.
    Retention,
    /// `[bootstrap]`.
    Bootstrap,
    /// `[policy]`, or the files it names.
    Policy,
    /// `[risk]`.
    Risk,
    /// `[log]`.
    Log,
    /// `[requests]`.
    Requests,
    /// `[break_glass]`.
    BreakGlass,
    /// `[sealing]`.
    Sealing,
    /// `[sessions]`.
    Sessions,
    /// `[metrics]`.
    Metrics,
    /// `[identity]`.
    Identity,
    /// A target: its connections must be made anew, unless it was removed.
    Target(TargetName),
    /// A role.
    Role(RoleName),
    /// A channel that notices go through.
    Notifications(ChannelName),
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.key, self.what)?;
        if self.needs_restart { f.write_str(" (needs a restart)") } else { Ok(()) }
    }
}

/// Collects what differs below one part.
struct Comparison<'c> {
    changes: &'c mut Vec<Change>,
    part: Part,
    prefix: String,
}

impl Comparison<'_> {
    fn note(&mut self, word: &str, what: impl Into<String>, needs_restart: bool) {
        let key = if word.is_empty() { self.prefix.clone() } else { format!("{}.{word}", self.prefix) };
        self.changes.push(Change { part: self.part.clone(), key, what: what.into(), needs_restart });
    }

    fn live<T: PartialEq>(&mut self, word: &str, old: &T, new: &T) {
        if old != new {
            self.note(word, "changes", false);
        }
    }

    fn restart<T: PartialEq>(&mut self, word: &str, old: &T, new: &T) {
        if old != new {
            self.note(word, "changes", true);
        }
    }

    /// Likewise, and says from what to what.
    fn restart_shown<T: PartialEq + fmt::Display>(&mut self, word: &str, old: &T, new: &T) {
        if old != new {
            self.note(word, format!("changes from {old} to {new}"), true);
        }
    }
}

impl Config {
    /// What would change by taking over `new`. The contents of files it names (certificates) are not compared, those of
    /// password files are.
    pub fn difference(&self, new: &Config) -> Vec<Change> {
        let mut changes = Vec::new();
        server(&mut changes, &self.server, &new.server);
        let mut part = |part, prefix: &str, compare: &dyn Fn(&mut Comparison<'_>)| {
            compare(&mut Comparison { changes: &mut changes, part, prefix: prefix.to_owned() });
        };
        part(Part::Store, "store", &|c| {
            store(c, &self.store, &new.store);
        });
        part(Part::Audit, "audit", &|c| c.restart("file", &self.audit.file, &new.audit.file));
        part(Part::Retention, "retention", &|c| c.restart("", &self.retention, &new.retention));
        part(Part::Bootstrap, "bootstrap", &|c| {
            c.live(
                "administrator_token_file",
                &self.bootstrap.administrator_token_file,
                &new.bootstrap.administrator_token_file,
            );
        });
        part(Part::Log, "log", &|c| {
            c.restart("level", &self.log.level, &new.log.level);
            c.restart("format", &self.log.format, &new.log.format);
        });
        part(Part::Requests, "requests", &|c| {
            let (old, new) = (&self.requests, &new.requests);
            c.live("request_ttl", &old.request_ttl, &new.request_ttl);
            c.live("claim_within", &old.claim_within, &new.claim_within);
            c.live("start_within", &old.start_within, &new.start_within);
            c.live("pending_per_principal", &old.pending_per_principal, &new.pending_per_principal);
            c.live("remind_every", &old.remind_every, &new.remind_every);
        });
        part(Part::BreakGlass, "break_glass", &|c| {
            let (old, new) = (&self.requests.break_glass, &new.requests.break_glass);
            c.live("max_ttl", &old.max_ttl, &new.max_ttl);
            c.live("per_day", &old.per_day, &new.per_day);
            c.live("remind_every", &old.remind_every, &new.remind_every);
            c.live("second_factor_within", &old.second_factor_within, &new.second_factor_within);
        });
        part(Part::Sealing, "sealing", &|c| c.live("", &self.sealing.ids(), &new.sealing.ids()));
        part(Part::Sessions, "sessions", &|c| {
            c.restart("life", &self.sessions.life, &new.sessions.life);
            c.restart("idle", &self.sessions.idle, &new.sessions.idle);
        });
        part(Part::Metrics, "metrics", &|c| c.restart("listen", &self.metrics, &new.metrics));
        part(Part::Policy, "policy", &|c| {
            let (old, new) = (&self.policies, &new.policies);
            if old.digest() != new.digest() {
                c.note("", format!("changes from {} to {}", old.digest(), new.digest()), false);
            }
            c.live("time_zone", old.zone(), new.zone());
        });
        part(Part::Risk, "risk", &|c| c.live("", &self.policies.factors(), &new.policies.factors()));
        self.identity_difference(new, &mut changes);
        self.targets_difference(new, &mut changes);
        self.roles_difference(new, &mut changes);
        self.notifications_difference(new, &mut changes);
        changes
    }

    fn identity_difference(&self, new: &Config, changes: &mut Vec<Change>) {
        let (old, new) = (&self.identity, &new.identity);
        let mut note = |name: &str, was: bool, is: bool| {
            let what = match (was, is) {
                (true, true) => "changes",
                (true, false) => "is removed",
                _ => "is added",
            };
            let (part, key) = (Part::Identity, format!("identity.{name}"));
            changes.push(Change { part, key, what: what.to_owned(), needs_restart: false });
        };
        for name in old.providers.keys().chain(new.providers.keys()).collect::<BTreeSet<_>>() {
            let (was, is) = (old.providers.get(name), new.providers.get(name));
            if was != is {
                note(name, was.is_some(), is.is_some());
            }
        }
        for name in old.certificates.keys().chain(new.certificates.keys()).collect::<BTreeSet<_>>() {
            let (was, is) = (old.certificates.get(name), new.certificates.get(name));
            if was != is {
                note(name, was.is_some(), is.is_some());
            }
        }
    }

    fn targets_difference(&self, new: &Config, changes: &mut Vec<Change>) {
        for name in self.targets.keys().chain(new.targets.keys()).collect::<BTreeSet<_>>() {
            let part = Part::Target(name.clone());
            let mut comparison = Comparison { changes, part, prefix: format!("targets.{name}") };
            match (self.targets.get(name), new.targets.get(name)) {
                (Some(old), Some(settings)) => {
                    target(&mut comparison, old, settings);
                    comparison.live("rotate_every", &self.rotation.get(name), &new.rotation.get(name));
                    comparison.live("labels", &self.labels.get(name), &new.labels.get(name));
                }
                (Some(_), None) => comparison.note("", "is removed", false),
                (None, _) => comparison.note("", "is added", false),
            }
        }
    }

    fn roles_difference(&self, new: &Config, changes: &mut Vec<Change>) {
        for name in self.roles.keys().chain(new.roles.keys()).collect::<BTreeSet<_>>() {
            let part = Part::Role(name.clone());
            let mut comparison = Comparison { changes, part, prefix: format!("roles.{name}") };
            match (self.roles.get(name), new.roles.get(name)) {
                (Some(old), Some(settings)) => {
                    role(&mut comparison, old, settings);
                    comparison.live("conflicts_with", &self.conflicts.get(name), &new.conflicts.get(name));
                }
                (Some(_), None) => comparison.note("", "is removed", false),
                (None, _) => comparison.note("", "is added", false),
            }
        }
    }
}

impl Config {
    fn notifications_difference(&self, new: &Config, changes: &mut Vec<Change>) {
        for name in self.notifications.keys().chain(new.notifications.keys()).collect::<BTreeSet<_>>() {
            let part = Part::Notifications(name.clone());
            let mut comparison = Comparison { changes, part, prefix: format!("notifications.{name}") };
            match (self.notifications.get(name), new.notifications.get(name)) {
                (Some(old), Some(new)) => comparison.live("", old, new),
                (Some(_), None) => comparison.note("", "is removed", false),
                (None, _) => comparison.note("", "is added", false),
            }
        }
    }
}

fn server(changes: &mut Vec<Change>, old: &ServerSettings, new: &ServerSettings) {
    let mut c = Comparison { changes, part: Part::Server, prefix: "server".to_owned() };
    c.restart_shown("listen", &old.listen, &new.listen);
    c.restart_shown("max_message_bytes", &old.max_message_bytes, &new.max_message_bytes);
    c.restart_shown("max_concurrent_calls", &old.max_concurrent_calls, &new.max_concurrent_calls);
    c.restart_shown(
        "calls_per_second_per_principal",
        &old.calls_per_second_per_principal,
        &new.calls_per_second_per_principal,
    );
    c.restart_shown("call_burst_per_principal", &old.call_burst_per_principal, &new.call_burst_per_principal);
    c.restart("shutdown_grace", &old.shutdown_grace, &new.shutdown_grace);
    // What the files hold may change at any time; which files they are may not.
    c.restart("tls", &old.tls, &new.tls);
}

fn store(c: &mut Comparison<'_>, old: &StoreSettings, new: &StoreSettings) {
    match (old, new) {
        (StoreSettings::File(old), StoreSettings::File(new)) => {
            c.restart_shown("path", &old.display().to_string(), &new.display().to_string());
        }
        (StoreSettings::Shared(old), StoreSettings::Shared(new)) => {
            c.restart_shown("postgres", &old.address, &new.address);
            c.restart("password", &exposed(old.password.as_ref()), &exposed(new.password.as_ref()));
            c.restart_shown("schema", &old.schema.as_str(), &new.schema.as_str());
            c.restart_shown("replica", &old.replica, &new.replica);
            c.restart("tls.mode", &old.tls.mode, &new.tls.mode);
            c.restart("tls.ca_file", &old.tls.ca_file, &new.tls.ca_file);
            c.restart("tls.certificate_file", &old.tls.client_certificate, &new.tls.client_certificate);
        }
        _ => c.note("", "moves to another kind of store", true),
    }
}

fn exposed(password: Option<&Password>) -> Option<Zeroizing<String>> {
    password.map(|password| Zeroizing::new(password.expose().to_owned()))
}

fn target(c: &mut Comparison<'_>, old: &TargetSettings, new: &TargetSettings) {
    // Leases on the old engine could not be ended on the new one.
    c.restart_shown("engine", &old.engine, &new.engine);
    c.live("hosts", &old.hosts, &new.hosts);
    c.live("client_hosts", &old.client_hosts, &new.client_hosts);
    c.live("database", &old.database, &new.database);
    c.live("user", &old.user, &new.user);
    c.live("password", &exposed(old.password.as_ref()), &exposed(new.password.as_ref()));
    c.live("auth_plugin", &old.auth_plugin, &new.auth_plugin);
    c.live("expiry", &old.expiry, &new.expiry);
    c.live("reconcile_every", &old.reconcile.every, &new.reconcile.every);
    c.live("on_drift", &old.reconcile.on_drift, &new.reconcile.on_drift);
    c.live("tls.mode", &old.tls.mode, &new.tls.mode);
    c.live("tls.ca_file", &old.tls.ca_file, &new.tls.ca_file);
    c.live("tls.certificate_file", &old.tls.client_certificate, &new.tls.client_certificate);
    c.live("pool.issuing", &old.pool.issuing, &new.pool.issuing);
    c.live("pool.ending", &old.pool.ending, &new.pool.ending);
    c.live("pool.wait", &old.pool.wait, &new.pool.wait);
    c.live("pool.connect", &old.pool.connect, &new.pool.connect);
    c.live("pool.statement", &old.pool.statement, &new.pool.statement);
    c.live("pool.accounts_per_deputy", &old.pool.accounts_per_deputy, &new.pool.accounts_per_deputy);
    c.live("pool.queue", &old.pool.queue, &new.pool.queue);
    c.live("pool.turn", &old.pool.turn, &new.pool.turn);
}

fn role(c: &mut Comparison<'_>, old: &Role, new: &Role) {
    c.live("target", &old.target, &new.target);
    c.live("description", &old.description, &new.description);
    c.live("kind", &old.access, &new.access);
    c.live("member_of", &old.member_of, &new.member_of);
    c.live("default_ttl", &old.ttl.default(), &new.ttl.default());
    c.live("max_ttl", &old.ttl.max(), &new.ttl.max());
    c.live("database", &old.database, &new.database);
    c.live("connection_limit", &old.connection_limit, &new.connection_limit);
    c.live("hosts", &old.hosts, &new.hosts);
    c.live("settings", &old.settings, &new.settings);
    c.live("owned_objects", &old.owned_objects, &new.owned_objects);
    c.live("scram_iterations", &old.scram_iterations, &new.scram_iterations);
    c.live("leases_per_principal", &old.limits.per_principal, &new.limits.per_principal);
    c.live("leases_total", &old.limits.total, &new.limits.total);
    c.live("statements", &old.statements, &new.statements);
    c.live("allow", &old.allow, &new.allow);
    c.live("approval", &old.approval, &new.approval);
}
