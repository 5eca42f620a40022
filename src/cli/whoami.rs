//! `mayfly whoami`: who the server takes the caller for.

use std::collections::BTreeMap;

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

use super::{CliError, Context, Exit, duration, session, table, view};
use crate::api::proto;

/// Arguments of `mayfly whoami`.
#[derive(Debug, Args)]
pub struct WhoamiArgs {}

#[derive(Serialize)]
struct Caller {
    principal: String,
    principal_kind: String,
    groups: Vec<String>,
    token: String,
    address: String,
    administrator: bool,
    attributes: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<session::SessionView>,
    second_factor_time: Option<Timestamp>,
    #[serde(skip)]
    session_ends: Option<Timestamp>,
}

/// Runs `mayfly whoami`.
///
/// # Errors
/// What the server refuses.
pub async fn run(_: WhoamiArgs, context: &mut Context) -> Result<Exit, CliError> {
    let connection = context.connect()?;
    let reply = connection.server().who_am_i(connection.call(proto::WhoAmIRequest {})).await;
    let reply = reply.map_err(|status| connection.explain(&status))?.into_inner();
    let caller = Caller {
        principal_kind: view::kind_word(reply.principal_kind()),
        session: reply.session.as_ref().map(session::SessionView::from),
        second_factor_time: view::moment(reply.second_factor_time),
        session_ends: reply.session.as_ref().and_then(|session| view::moment(session.expire_time)),
        attributes: reply.attributes.into_iter().collect(),
        principal: reply.principal,
        groups: reply.groups,
        token: reply.token,
        address: reply.address,
        administrator: reply.administrator,
    };
    if context.output.is_json() {
        context.output.json(&caller)?;
    } else {
        let text = text(&caller, context.clock.now());
        context.output.data(&text)?;
    }
    Ok(Exit::Ok)
}

fn text(caller: &Caller, now: Timestamp) -> String {
    // A token's name stands alone, as it always did; any other credential says what it is.
    let (title, credential) = match caller.token.split_once('/') {
        Some(("tokens", _)) => ("token", view::bare(&caller.token).to_owned()),
        Some(("sessions", _)) => ("session", view::bare(&caller.token).to_owned()),
        _ => ("credential", caller.token.clone()),
    };
    let mut facts = vec![
        ("principal", caller.principal.clone()),
        ("kind", caller.principal_kind.clone()),
        ("groups", caller.groups.join(", ")),
        (title, credential),
        ("address", caller.address.clone()),
        ("administrator", if caller.administrator { "yes" } else { "no" }.to_owned()),
    ];
    if let Some(at) = caller.session_ends {
        facts.push(("session ends", duration::relative(at, now)));
        facts.push(("second factor", session::second_factor(caller.second_factor_time, now)));
    }
    let attributes: Vec<String> =
        caller.attributes.iter().map(|(name, value)| format!("{name}={value}")).collect();
    if !attributes.is_empty() {
        facts.push(("attributes", attributes.join(", ")));
    }
    table::facts(&facts)
}
