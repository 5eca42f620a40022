//! Records as events for a SIEM.

use std::{collections::BTreeSet, fs, path::Path};

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
        ("session.started", 3002, 1),
        ("session.forgotten", 3004, 4),
        ("invitation.claimed", 3002, 1),
        ("invitation.revoked", 3004, 4),
        ("review.recorded", 3004, 1),
        ("break_glass.used", 3005, 1),
        ("break_glass.signed_off", 3004, 3),
        ("access.withdrawn", 3005, 2),
        ("user.second_factor_set", 3001, 10),
        ("user.groups_changed", 3004, 3),
        ("notice.dropped", 3004, 4),
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
    assert_eq!((&event["status_detail"], &event["user"]["name"]), (&json!("no token"), &json!("unknown")));
    let asked = draft(ada(), "lease.requested", "roles/orders-read").refused("policy");
    assert_eq!(super::classify(&Record::seal(asked, 1, Digest::GENESIS)), (Class::UserAccess, 1));
}

/// What no activity of its class is like.
const LIKE_NOTHING: &[&str] = &[
    "access.certified",
    "checkout.late",
    "checkout.left",
    "checkout.queued",
    "elevation.stray",
    "grant.extended",
    "lease.adopted",
    "lease.disputed",
    "lease.drifted",
    "lease.end_failed",
    "lease.reappeared",
    "lease.renewed",
    "lease.requested",
];

/// The literals of a source file that look like names of actions: `noun.verb`.
fn actions_in(text: &str, found: &mut BTreeSet<String>) {
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    for literal in text.split('"') {
        if let Some((noun, verb)) = literal.split_once('.')
            && is_word(noun)
            && is_word(verb)
        {
            found.insert(literal.to_owned());
        }
    }
}

fn walk(directory: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            actions_in(&fs::read_to_string(&path).unwrap(), found);
        }
    }
}

#[test]
fn no_action_that_is_recorded_falls_through_the_names_of_activities() {
    let mut actions = BTreeSet::new();
    for room in ["app", "clerk", "identity", "issuer", "reaper"] {
        walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(room), &mut actions);
    }
    assert!(actions.len() > 60 && actions.contains("break_glass.used"), "{actions:?}");
    let fallen: Vec<&String> = actions
        .iter()
        .filter(|action| !LIKE_NOTHING.contains(&action.as_str()))
        .filter(|action| {
            let draft = Draft::new(Timestamp::UNIX_EPOCH, Actor::System, "-", "things/x");
            let record = Record { action: (*action).clone(), ..Record::seal(draft, 1, Digest::GENESIS) };
            let (class, activity) = classify(&record);
            class.activity_name(activity).is_none()
        })
        .collect();
    assert!(fallen.is_empty(), "say in ocsf.rs what these are: {fallen:?}");
}
