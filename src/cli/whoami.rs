//! `mayfly whoami`: who the server takes the caller for.

use clap::Args;
use serde::Serialize;

use super::{CliError, Context, Exit, table, view};
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
        principal: reply.principal,
        groups: reply.groups,
        token: reply.token,
        address: reply.address,
        administrator: reply.administrator,
    };
    if context.output.is_json() {
        context.output.json(&caller)?;
    } else {
        context.output.data(&text(&caller))?;
    }
    Ok(Exit::Ok)
}

fn text(caller: &Caller) -> String {
    table::facts(&[
        ("principal", caller.principal.clone()),
        ("kind", caller.principal_kind.clone()),
        ("groups", caller.groups.join(", ")),
        ("token", view::bare(&caller.token).to_owned()),
        ("address", caller.address.clone()),
        ("administrator", if caller.administrator { "yes" } else { "no" }.to_owned()),
    ])
}
