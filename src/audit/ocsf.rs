//! A record as an event of the Open Cybersecurity Schema Framework, for a SIEM that reads no other.
//!
//! Who proved who he is becomes an Authentication event, what gives and takes access User Access Management, what changes an
//! account or a credential Account Change, the life of the server Application Lifecycle, and everything else Entity Management.
//! What the schema has no place for stands in `unmapped`, so that nothing of the record is lost.

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{Actor, AuditOutcome, Record};

/// The version of the schema.
const VERSION: &str = "1.3.0";

/// The activity of any class that is none of the named ones.
const OTHER: u32 = 99;

/// A class of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    AccountChange,
    Authentication,
    EntityManagement,
    UserAccess,
    Lifecycle,
}

impl Class {
    fn uid(self) -> u32 {
        match self {
            Class::AccountChange => 3001,
            Class::Authentication => 3002,
            Class::EntityManagement => 3004,
            Class::UserAccess => 3005,
            Class::Lifecycle => 6002,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Class::AccountChange => "Account Change",
            Class::Authentication => "Authentication",
            Class::EntityManagement => "Entity Management",
            Class::UserAccess => "User Access Management",
            Class::Lifecycle => "Application Lifecycle",
        }
    }

    fn category(self) -> (u32, &'static str) {
        match self {
            Class::Lifecycle => (6, "Application Activity"),
            _ => (3, "Identity & Access Management"),
        }
    }

    fn activity_name(self, activity: u32) -> Option<&'static str> {
        let names: &[(u32, &str)] = match self {
            Class::AccountChange => &[
                (1, "Create"),
                (2, "Enable"),
                (3, "Password Change"),
                (4, "Password Reset"),
                (5, "Disable"),
                (6, "Delete"),
                (10, "MFA Factor Enable"),
            ],
            Class::Authentication => &[(1, "Logon"), (2, "Logoff")],
            Class::EntityManagement => &[(1, "Create"), (2, "Read"), (3, "Update"), (4, "Delete")],
            Class::UserAccess => &[(1, "Assign Privileges"), (2, "Revoke Privileges")],
            Class::Lifecycle => &[(3, "Start"), (4, "Stop"), (8, "Update")],
        };
        names.iter().find(|(id, _)| *id == activity).map(|(_, name)| *name)
    }
}

/// Which class a record belongs to, and which of its activities it tells of.
fn classify(record: &Record) -> (Class, u32) {
    let (noun, verb) = record.action.split_once('.').unwrap_or((&record.action, ""));
    match (noun, verb) {
        // To look at something is the same whatever it is; and so is to forget it, or to look at what somebody else did.
        (_, "read" | "listed" | "viewed" | "shown" | "examined" | "forgotten" | "signed_off") => {
            (Class::EntityManagement, entity(verb))
        }
        ("user", "groups_changed") => (Class::EntityManagement, entity(verb)),
        ("caller" | "session" | "assertion", _) | ("invitation", "claimed") => {
            (Class::Authentication, authentication(verb))
        }
        ("lease" | "grant" | "elevation" | "checkout" | "break_glass" | "access", _) => {
            let refused = record.outcome != AuditOutcome::Done && verb == "requested";
            // What was refused was to be given.
            (Class::UserAccess, if refused { 1 } else { access(verb) })
        }
        ("user" | "token", _) => (Class::AccountChange, account(verb)),
        ("target", verb) if verb.starts_with("rotat") => (Class::AccountChange, 3),
        ("server" | "store", _) => (Class::Lifecycle, lifecycle(verb)),
        _ => (Class::EntityManagement, entity(verb)),
    }
}

fn authentication(verb: &str) -> u32 {
    match verb {
        "authenticated" | "started" | "stepped_up" | "claimed" | "used" => 1,
        "ended" => 2,
        _ => OTHER,
    }
}

fn access(verb: &str) -> u32 {
    match verb {
        "issued" | "reissued" | "opened" | "activated" | "used" | "put_right" => 1,
        "ending" | "expired" | "revoked" | "released" | "failed" | "vanished" | "ended" | "taken_back"
        | "surrendered" | "withdrawn" | "returned" | "locked_again" => 2,
        _ => OTHER,
    }
}

fn account(verb: &str) -> u32 {
    match verb {
        "created" => 1,
        "enabled" => 2,
        "enrolled" | "password_changed" => 3,
        "reset" => 4,
        "disabled" | "revoked" => 5,
        "removed" => 6,
        "second_factor_offered" | "second_factor_set" => 10,
        _ => OTHER,
    }
}

fn lifecycle(verb: &str) -> u32 {
    match verb {
        "started" => 3,
        "stopped" => 4,
        "reloaded" | "restored" => 8,
        _ => OTHER,
    }
}

fn entity(verb: &str) -> u32 {
    match verb {
        "created" | "set" | "recorded" => 1,
        "read" | "listed" | "viewed" | "shown" | "examined" => 2,
        "removed" | "lapsed" | "revoked" | "forgotten" | "dropped" => 4,
        _ => 3,
    }
}

/// A record as an event.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(transparent)]
pub struct OcsfEvent(Map<String, Value>);

impl OcsfEvent {
    /// What a record of a chain tells.
    pub fn of(record: &Record, chain: &str) -> Self {
        let (class, activity) = classify(record);
        let known = class.activity_name(activity);
        let activity = known.map_or(OTHER, |_| activity);
        let activity_name = known.unwrap_or(&record.action);
        let (category, category_name) = class.category();
        let (severity, severity_name) = severity(record);
        let (status, status_name) = match record.outcome {
            AuditOutcome::Done => (1, "Success"),
            AuditOutcome::Refused | AuditOutcome::Failed => (2, "Failure"),
        };
        let mut event = Map::new();
        let mut put = |name: &str, value: Value| drop(event.insert(name.to_owned(), value));
        put("metadata", metadata(record, chain));
        put("category_uid", category.into());
        put("category_name", category_name.into());
        put("class_uid", class.uid().into());
        put("class_name", class.name().into());
        put("activity_id", activity.into());
        put("activity_name", activity_name.into());
        put("type_uid", (class.uid() * 100 + activity).into());
        put("type_name", format!("{}: {activity_name}", class.name()).into());
        put("severity_id", severity.into());
        put("severity", severity_name.into());
        put("status_id", status.into());
        put("status", status_name.into());
        if let Some(reason) = record.details.get("reason") {
            put("status_detail", reason.as_str().into());
        }
        put("time", record.at.as_millisecond().into());
        put("message", format!("{} {}", record.action, record.resource).into());
        put("actor", json!({ "user": actor(&record.actor), "app_name": "mayfly" }));
        if let Some(address) = address(&record.actor) {
            put("src_endpoint", json!({ "ip": address }));
        }
        match class {
            Class::AccountChange => put("user", changed(record)),
            Class::Authentication => {
                put("user", actor(&record.actor));
                put("service", json!({ "name": "mayfly" }));
                put("is_remote", true.into());
            }
            Class::EntityManagement => put("entity", resource(&record.resource)),
            Class::UserAccess => {
                put("user", subject(record));
                put("privileges", record.details.get("role").into_iter().cloned().collect::<Vec<_>>().into());
                if let Some(target) = record.details.get("target") {
                    put("resource", json!({ "name": target, "type": "database server" }));
                }
            }
            Class::Lifecycle => put("app", product()),
        }
        put(
            "unmapped",
            json!({
                "action": record.action,
                "resource": record.resource,
                "outcome": record.outcome,
                "details": record.details,
                "previous": record.previous,
            }),
        );
        Self(event)
    }
}

fn product() -> Value {
    json!({ "name": "Mayfly", "vendor_name": "Mayfly", "version": env!("CARGO_PKG_VERSION") })
}

/// The record's place in its chain names it, its hash proves it.
fn metadata(record: &Record, chain: &str) -> Value {
    json!({
        "version": VERSION,
        "product": product(),
        "uid": record.hash,
        "sequence": record.seq,
        "log_name": chain,
        "event_code": record.action,
        "original_time": record.at.to_string(),
    })
}

fn severity(record: &Record) -> (u32, &'static str) {
    let loud = record.action.starts_with("break") || record.details.contains_key("break_glass");
    match record.outcome {
        _ if loud => (4, "High"),
        AuditOutcome::Done => (1, "Informational"),
        AuditOutcome::Refused => (2, "Low"),
        AuditOutcome::Failed => (3, "Medium"),
    }
}

fn actor(actor: &Actor) -> Value {
    match actor {
        Actor::Principal { name, kind, .. } => user(name.as_str(), kind.as_str()),
        Actor::Unauthenticated { .. } => json!({ "name": "unknown", "type_id": 0, "type": "Unknown" }),
        Actor::System => json!({ "name": "mayfly", "type_id": 3, "type": "System" }),
    }
}

fn user(name: &str, kind: &str) -> Value {
    let type_id = match kind {
        "human" => 1,
        _ => OTHER,
    };
    json!({ "name": name, "uid": name, "type_id": type_id, "type": kind })
}

fn address(actor: &Actor) -> Option<String> {
    match actor {
        Actor::Principal { address, .. } | Actor::Unauthenticated { address } => {
            address.map(|address| address.to_string())
        }
        Actor::System => None,
    }
}

/// Whose access it is.
fn subject(record: &Record) -> Value {
    match (&record.actor, record.details.get("principal")) {
        (Actor::Principal { name, kind, .. }, Some(principal)) if name.as_str() == principal => {
            user(principal, kind.as_str())
        }
        (_, Some(principal)) => json!({ "name": principal, "uid": principal }),
        (somebody, None) => actor(somebody),
    }
}

/// Which account or credential it is.
fn changed(record: &Record) -> Value {
    let named = ["account", "principal", "user"].into_iter().find_map(|fact| record.details.get(fact));
    let name = named.map_or(record.resource.as_str(), String::as_str);
    json!({ "name": name, "uid": record.resource })
}

fn resource(name: &str) -> Value {
    let (collection, id) = name.split_once('/').unwrap_or(("", name));
    json!({ "name": id, "uid": name, "type": collection })
}

#[cfg(test)]
#[path = "ocsf_tests.rs"]
mod tests;
