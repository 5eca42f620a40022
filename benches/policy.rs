//! What a decision costs: `cargo bench --bench policy`. Whole admissions (request and approval by rule) with 10, 500 and 5,000
//! policies of the operator's own: each for a group, for a role, or for anybody and any role; the last are all evaluated. And with
//! none: what is built in looks at nothing of the moment, so it is asked once for a principal and a role.

#![expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]

use std::{
    collections::BTreeMap,
    error::Error,
    fmt::Write as _,
    io::{self, Write as _},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use mayfly::{
    domain::{
        Access, LeaseLimits, OwnedObjects, Principal, PrincipalKind, RequestTerms, Role, Statements, Ttl,
        TtlBounds,
    },
    policy::{Admission, Asked, Policies, Rules, Source, Who},
};

/// Admissions a figure is of, after as many tenths to warm up.
const ROUNDS: usize = 2_000;

fn main() -> Result<(), Box<dyn Error>> {
    writeln!(io::stdout(), "{:<28} {:>8} {:>10} {:>10} {:>10}", "policies", "number", "load", "p50", "p99")?;
    measure("built in only", "", 0)?;
    for (scope, written) in [
        ("each for a group", "principal in Group::\"team-{n}\", action == Action::\"request\", resource"),
        ("each for a role", "principal, action == Action::\"request\", resource == Role::\"role-{n}\""),
        ("for anybody and any role", "principal, action == Action::\"request\", resource"),
    ] {
        for number in [10, 500, 5_000] {
            measure(scope, written, number)?;
        }
    }
    Ok(())
}

fn measure(scope: &str, written: &str, number: usize) -> Result<(), Box<dyn Error>> {
    let begun = Instant::now();
    let policies = Policies::new(Rules { sources: sources(written, number)?, ..Rules::default() })
        .map_err(|mistakes| format!("{mistakes:?}"))?;
    let load = begun.elapsed();
    let (principal, role) = (principal()?, role()?);
    let terms = RequestTerms {
        role: role.name.clone(),
        target: role.target.clone(),
        ttl: role.ttl.default(),
        start: None,
        parallel: 1,
        justification: "looking into order 4711".to_owned(),
        ticket: Some("OPS-7".to_owned()),
    };
    let now: Timestamp = "2026-01-15T10:00:00Z".parse()?;
    let who = Who { principal: &principal, address: Some("10.1.2.3".parse()?), second_factor_at: None, now };
    let asked = Asked { role: &role, terms: &terms, live_leases: 1, first_use: Some(false), live_roles: &[] };
    let mut times = Vec::with_capacity(ROUNDS);
    // Thousands of evaluations a round: fewer rounds tell as much.
    let rounds = if scope.starts_with("for anybody") && number > 1_000 { ROUNDS / 10 } else { ROUNDS };
    for round in 0..rounds + rounds / 10 {
        let begun = Instant::now();
        let admission = policies.admit(&who, &asked);
        let took = begun.elapsed();
        if !matches!(admission, Admission::ByRule { .. }) {
            return Err(format!("{admission:?}").into());
        }
        if round >= rounds / 10 {
            times.push(took);
        }
    }
    times.sort_unstable();
    let at = |percent: usize| times.get(times.len() * percent / 100).copied().unwrap_or(Duration::ZERO);
    writeln!(io::stdout(), "{scope:<28} {number:>8} {load:>10.1?} {:>10.1?} {:>10.1?}", at(50), at(99))?;
    Ok(())
}

/// Files of at most a thousand policies.
fn sources(written: &str, number: usize) -> Result<Vec<Source>, Box<dyn Error>> {
    let mut sources = Vec::new();
    for file in 0..number.div_ceil(1_000) {
        let mut text = String::new();
        for n in file * 1_000..number.min((file + 1) * 1_000) {
            let scope = written.replace("{n}", &n.to_string());
            write!(
                text,
                "@id(\"own.{n}\")\nforbid ({scope})\nwhen {{ context.ttl > 3600 && resource.member_of.contains(\"g{n}\") }}\n\
                 unless {{ context has ticket && context.ticket like \"OPS-*\" }};\n"
            )?;
        }
        sources.push(Source { name: format!("{file}.cedar"), text });
    }
    Ok(sources)
}

fn principal() -> Result<Principal, Box<dyn Error>> {
    let groups = ["team-1", "team-2", "developers", "payments"];
    Ok(Principal {
        name: "ann".parse()?,
        kind: PrincipalKind::Human,
        groups: groups.into_iter().map(str::parse).collect::<Result<_, _>>()?,
        attributes: BTreeMap::new(),
    })
}

fn role() -> Result<Role, Box<dyn Error>> {
    let ttl = Ttl::new(Duration::from_secs(2 * 3600))?;
    Ok(Role {
        name: "role-1".parse()?,
        target: "orders".parse()?,
        description: String::new(),
        member_of: vec!["shop_read".to_owned()],
        ttl: TtlBounds::new(ttl, ttl)?,
        database: None,
        connection_limit: None,
        hosts: Vec::new(),
        settings: BTreeMap::new(),
        owned_objects: OwnedObjects::Drop,
        scram_iterations: 4096,
        limits: LeaseLimits { per_principal: 10, total: 1_000 },
        statements: Statements::default(),
        allow: vec!["group:payments".parse()?],
        access: Access::Ephemeral,
        approval: Vec::new(),
    })
}
