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
                (9, "Lock"),
                (10, "MFA Factor Enable"),
                (11, "MFA Factor Disable"),
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
    match noun {
        "caller" | "session" | "sign_in" => (Class::Authentication, authentication(verb)),
        "lease" | "grant" | "elevation" | "checkout" | "break_glass" | "breakglass" => {
            let refused = record.outcome != AuditOutcome::Done && verb == "requested";
            // What was refused was to be given.
            (Class::UserAccess, if refused { 1 } else { access(verb) })
        }
        "user" | "token" => (Class::AccountChange, account(verb)),
        "target" if verb.starts_with("rotat") => (Class::AccountChange, 3),
        "server" | "store" => (Class::Lifecycle, lifecycle(verb)),
        _ => (Class::EntityManagement, entity(verb)),
    }
}

fn authentication(verb: &str) -> u32 {
    match verb {
        "authenticated" | "created" | "opened" | "began" | "signed_in" | "completed" | "failed"
        | "refused" => 1,
        "signed_out" | "ended" | "revoked" | "expired" | "removed" => 2,
        _ => OTHER,
    }
}

fn access(verb: &str) -> u32 {
    match verb {
        "issued" | "reissued" | "opened" | "created" | "activated" | "claimed" | "granted" | "used" => 1,
        "expired" | "revoked" | "released" | "failed" | "vanished" | "ended" => 2,
        _ => OTHER,
    }
}

fn account(verb: &str) -> u32 {
    match verb {
        "created" | "added" | "invited" => 1,
        "enabled" | "unlocked" => 2,
        "password_changed" => 3,
        "password_reset" | "reset" => 4,
        "disabled" | "revoked" => 5,
        "removed" | "deleted" => 6,
        "locked" => 9,
        "second_factor_enrolled" | "second_factor_added" => 10,
        "second_factor_removed" => 11,
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
        "created" | "placed" | "set" | "added" | "requested" | "invited" | "sent" => 1,
        "read" | "listed" | "viewed" | "examined" | "exported" => 2,
        "removed" | "deleted" | "lifted" | "lapsed" => 4,
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
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::{
        audit::{Digest, Draft},
        domain::PrincipalKind,
    };

    fn event(draft: Draft) -> Value {
        serde_json::to_value(OcsfEvent::of(&Record::seal(draft, 7, Digest::GENESIS), "embedded")).unwrap()
    }

    fn ada() -> Actor {
        let address = Some("10.1.2.3".parse().unwrap());
        Actor::Principal { name: "ada".parse().unwrap(), kind: PrincipalKind::Human, address }
    }

    fn draft(actor: Actor, action: &'static str, resource: &str) -> Draft {
        Draft::new(Timestamp::from_millisecond(1_795_305_600_123).unwrap(), actor, action, resource)
    }

    #[test]
    fn an_issued_lease_is_privileges_assigned() {
        let issued = draft(ada(), "lease.issued", "leases/x")
            .with("principal", "ada")
            .with("role", "orders-read")
            .with("target", "orders")
            .with("purpose", "looking");
        let event = event(issued);
        for (pointer, expected) in [
            ("/metadata/version", json!("1.3.0")),
            ("/metadata/product/vendor_name", json!("Mayfly")),
            ("/metadata/sequence", json!(7)),
            ("/metadata/log_name", json!("embedded")),
            ("/category_uid", json!(3)),
            ("/class_uid", json!(3005)),
            ("/activity_id", json!(1)),
            ("/type_uid", json!(300_501)),
            ("/type_name", json!("User Access Management: Assign Privileges")),
            ("/severity_id", json!(1)),
            ("/status_id", json!(1)),
            ("/time", json!(1_795_305_600_123_i64)),
            ("/actor/user/name", json!("ada")),
            ("/src_endpoint/ip", json!("10.1.2.3")),
            ("/user/name", json!("ada")),
            ("/user/type_id", json!(1)),
            ("/privileges", json!(["orders-read"])),
            ("/resource/name", json!("orders")),
            ("/unmapped/details/purpose", json!("looking")),
            ("/unmapped/resource", json!("leases/x")),
        ] {
            assert_eq!(event.pointer(pointer), Some(&expected), "{pointer}");
        }
    }

    #[test]
    fn every_action_has_a_class_and_an_activity_of_it() {
        for (action, class, activity) in [
            ("caller.authenticated", 3002, 1),
            ("session.ended", 3002, 2),
            ("lease.expired", 3005, 2),
            ("lease.revoked", 3005, 2),
            ("lease.renewed", 3005, 99),
            ("grant.activated", 3005, 1),
            ("grant.revoked", 3005, 2),
            ("user.created", 3001, 1),
            ("user.disabled", 3001, 5),
            ("token.created", 3001, 1),
            ("token.revoked", 3001, 5),
            ("target.rotated", 3001, 3),
            ("target.accepted", 3004, 3),
            ("request.created", 3004, 1),
            ("request.approved", 3004, 3),
            ("lock.set", 3004, 1),
            ("lock.removed", 3004, 4),
            ("audit.read", 3004, 2),
            ("server.started", 6002, 3),
            ("store.restored", 6002, 8),
            ("something_new", 3004, 3),
        ] {
            let event = event(draft(Actor::System, action, "things/x"));
            assert_eq!(
                (&event["class_uid"], &event["activity_id"]),
                (&json!(class), &json!(activity)),
                "{action}"
            );
            assert_eq!(event["type_uid"], json!(class * 100 + activity), "{action}");
            assert_eq!(event["category_uid"], json!(class / 1000), "{action}");
            let required = match class {
                3001 | 3002 | 3005 => "user",
                3004 => "entity",
                _ => "app",
            };
            assert!(event[required].is_object(), "{action}");
        }
    }

    #[test]
    fn a_refusal_is_a_failure_with_its_reason() {
        let refused = draft(Actor::Unauthenticated { address: None }, "caller.authenticated", "callers/-")
            .refused("no token");
        let event = event(refused);
        assert_eq!((&event["status_id"], &event["severity_id"]), (&json!(2), &json!(2)));
        assert_eq!(
            (&event["status_detail"], &event["user"]["name"]),
            (&json!("no token"), &json!("unknown"))
        );
        let asked = draft(ada(), "lease.requested", "roles/orders-read").refused("policy");
        assert_eq!(super::classify(&Record::seal(asked, 1, Digest::GENESIS)), (Class::UserAccess, 1));
    }
}
