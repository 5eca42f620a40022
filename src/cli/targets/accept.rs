//! `mayfly target accept`: another server is meant to answer for a target from now on.

use std::io::{self, BufRead as _, IsTerminal as _};

use clap::Args;
use serde::Serialize;

use super::super::{CliError, Context, Exit, error::printable, table, view};
use crate::api::proto;

const EXAMPLES: &str = "Examples:
  mayfly target accept orders                          shows both servers and asks
  mayfly target accept orders --yes --identity 7301…   without asking, if it is that one

Until then nothing is issued, renewed or ended on a target whose server was replaced. Afterwards leases whose accounts the new
server does not have are closed. Accounts on the former server are out of reach: on PostgreSQL they expire, on MySQL and
MariaDB the dead-man's switch locks them.";

/// Arguments of `mayfly target accept`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct AcceptArgs {
    /// The target
    #[arg(value_name = "TARGET")]
    pub target: String,
    /// What the server that is meant calls itself; another one is refused
    #[arg(long, value_name = "ID")]
    pub identity: Option<String>,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
}

#[derive(Serialize)]
struct Reply {
    target: String,
    known_identity: String,
    other_identity: String,
    accepted: bool,
}

pub(super) async fn run(args: AcceptArgs, context: &mut Context) -> Result<Exit, CliError> {
    let connection = context.connect()?;
    let ask = async |identity: String, validate_only| {
        let message = proto::AcceptServerRequest { name: args.target.clone(), identity, validate_only };
        let reply = connection.targets().accept_server(connection.call(message)).await;
        reply.map(tonic::Response::into_inner).map_err(|status| connection.explain(&status))
    };
    let found = ask(String::new(), true).await?;
    if found.other_identity.is_empty() {
        if let Some(meant) = args.identity.filter(|meant| *meant != found.known_identity) {
            return Err(unexpected(&meant, &found.known_identity));
        }
        tell(&args.target, &found, context)?;
        context.output.note("the server that is known answers; there is nothing to agree to");
        return Ok(Exit::Ok);
    }
    if let Some(meant) = args.identity.filter(|meant| *meant != found.other_identity) {
        return Err(unexpected(&meant, &found.other_identity));
    }
    if !args.yes {
        confirm(&args.target, &found, context)?;
    }
    let accepted = ask(found.other_identity, false).await?;
    tell(&args.target, &accepted, context)?;
    Ok(Exit::Ok)
}

fn unexpected(meant: &str, answers: &str) -> CliError {
    let (meant, answers) = (printable(meant), printable(answers));
    CliError::new(Exit::Precondition, format!("the server that answers is {answers}, not {meant}"))
}

fn confirm(target: &str, found: &proto::AcceptServerResponse, context: &mut Context) -> Result<(), CliError> {
    context.output.note(&facts(found));
    if !io::stdin().is_terminal() {
        return Err(CliError::usage("there is no terminal to ask on").hint("--yes agrees without asking"));
    }
    context.output.note(&format!(
        "Leases whose accounts the server that answers does not have will be closed.\nType the target's name, {}, to agree:",
        printable(view::bare(target))
    ));
    let mut answer = String::new();
    io::stdin()
        .lock()
        .read_line(&mut answer)
        .map_err(|error| CliError::local("the answer cannot be read", &error))?;
    if answer.trim() != view::bare(target) {
        return Err(CliError::new(Exit::Failure, "not agreed; nothing was changed"));
    }
    Ok(())
}

fn facts(found: &proto::AcceptServerResponse) -> String {
    let since = view::moment(found.known_since).map_or_else(String::new, |at| format!(", since {at:.0}"));
    table::facts(&[
        ("known", format!("{}{since}", found.known_identity)),
        ("answers", found.other_identity.clone()),
    ])
}

fn tell(target: &str, reply: &proto::AcceptServerResponse, context: &mut Context) -> Result<(), CliError> {
    if context.output.is_json() {
        return context.output.json(&Reply {
            target: view::qualified("targets", target),
            known_identity: reply.known_identity.clone(),
            other_identity: reply.other_identity.clone(),
            accepted: reply.accepted,
        });
    }
    let target = printable(view::bare(target));
    if reply.accepted {
        let identity = printable(&reply.other_identity);
        context.output.data(&format!(
            "{identity} answers for {target} from now on; it is being compared with the store"
        ))
    } else {
        context.output.data(&facts(reply))
    }
}
