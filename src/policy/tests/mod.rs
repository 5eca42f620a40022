//! Policies as a whole.

mod asking;
mod equal;
mod explaining;
mod files;
mod many;
mod reaching;
mod reviewing;
mod risky;

use std::{collections::BTreeMap, time::Duration};

use jiff::{Timestamp, tz::TimeZone};

use super::*;
use crate::domain::{
    Access, Engine, LeaseLimits, OwnedObjects, Principal, PrincipalKind, RequestTerms, Role, Statements, Ttl,
    TtlBounds,
};

/// A Thursday, ten in the morning in UTC.
const MORNING: &str = "2026-01-15T10:00:00Z";

pub(super) fn principal(name: &str, groups: &[&str]) -> Principal {
    Principal {
        name: name.parse().unwrap(),
        kind: PrincipalKind::Human,
        groups: groups.iter().map(|group| group.parse().unwrap()).collect(),
        attributes: [].into(),
    }
}

fn hours(hours: u64) -> Ttl {
    Ttl::new(Duration::from_secs(hours * 3600)).unwrap()
}

pub(super) fn role(name: &str, allow: &[&str]) -> Role {
    Role {
        name: name.parse().unwrap(),
        target: "orders".parse().unwrap(),
        description: String::new(),
        member_of: vec!["shop_read".to_owned()],
        ttl: TtlBounds::new(hours(1), hours(8)).unwrap(),
        database: None,
        connection_limit: None,
        hosts: Vec::new(),
        settings: BTreeMap::new(),
        owned_objects: OwnedObjects::Drop,
        scram_iterations: 4096,
        limits: LeaseLimits { per_principal: 1, total: 1 },
        statements: Statements::default(),
        allow: allow.iter().map(|subject| subject.parse().unwrap()).collect(),
        access: Access::default(),
        approval: Vec::new(),
    }
}

fn terms(role: &Role) -> RequestTerms {
    RequestTerms::plain(role, hours(1))
}

fn at(time: &str) -> Timestamp {
    time.parse().unwrap()
}

fn who(principal: &Principal) -> Who<'_> {
    Who { principal, address: None, second_factor_at: None, now: at(MORNING) }
}

fn asked<'a>(role: &'a Role, terms: &'a RequestTerms) -> Asked<'a> {
    Asked { role, terms, live_leases: 0, first_use: Some(false), live_roles: &[] }
}

fn rules(text: &str) -> Rules {
    let labels = [("environment", "production"), ("sensitivity", "high"), ("team", "payments")];
    let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    Rules {
        sources: vec![Source { name: "own.cedar".to_owned(), text: text.to_owned() }],
        zone: TimeZone::get("Europe/Berlin").unwrap(),
        targets: [("orders".parse().unwrap(), TargetFacts { engine: Engine::Postgres, labels })].into(),
        ..Rules::default()
    }
}

fn policies(text: &str) -> Policies {
    Policies::new(rules(text)).unwrap_or_else(|mistakes| panic!("{mistakes:#?}"))
}

/// Every mistake, as shown.
fn mistakes(text: &str) -> Vec<String> {
    Policies::new(rules(text)).unwrap_err().iter().map(ToString::to_string).collect()
}
