//! `mayfly token`: API tokens.

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use jiff::Timestamp;
use serde::Serialize;

use super::{
    CliError, Context, Exit, duration,
    error::printable,
    pages,
    table::{self, Cell, Column, Paint},
    view,
};
use crate::api::proto;

const CREATE_EXAMPLES: &str = "Examples:
  mayfly token create --principal ci --kind workload --group builders --ttl 30d > ci.token
  mayfly token create --principal alice --kind human --cidr 10.0.0.0/8 --description 'laptop'

The secret alone goes to standard output, once; Mayfly keeps only its hash.";

/// Subcommands of `mayfly token`.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a token; its secret is shown once
    Create(CreateArgs),
    /// List tokens, newest first
    Ls,
    /// Make a token worthless, now; leases issued under it stay
    Revoke(RevokeArgs),
}

/// Arguments of `mayfly token create`.
#[derive(Debug, Args)]
#[command(after_help = CREATE_EXAMPLES)]
pub struct CreateArgs {
    /// Whom it speaks for
    #[arg(long, value_name = "NAME")]
    pub principal: String,
    /// What kind of principal that is
    #[arg(long, value_enum, value_name = "KIND")]
    pub kind: Kind,
    /// A group of the principal; may be repeated
    #[arg(long = "group", value_name = "GROUP")]
    pub groups: Vec<String>,
    /// Where it may be used from; may be repeated [default: anywhere]
    #[arg(long = "cidr", value_name = "CIDR")]
    pub cidrs: Vec<String>,
    /// How long it works, such as 12h or 30d [default: 90d]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    pub ttl: Option<Duration>,
    /// A line for people
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub description: String,
}

/// Arguments of `mayfly token revoke`.
#[derive(Debug, Args)]
pub struct RevokeArgs {
    /// The token's name (not its secret)
    #[arg(value_name = "NAME")]
    pub name: String,
}

/// A kind of principal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// A person of the house
    Human,
    /// A program
    Workload,
    /// A person from outside
    Contractor,
}

#[derive(Serialize)]
struct TokenView {
    name: String,
    principal: String,
    principal_kind: String,
    groups: Vec<String>,
    cidrs: Vec<String>,
    description: String,
    create_time: Option<Timestamp>,
    expire_time: Option<Timestamp>,
    revoke_time: Option<Timestamp>,
}

/// Runs `mayfly token …`.
///
/// # Errors
/// What the server refuses.
pub async fn run(command: TokenCommand, context: &mut Context) -> Result<Exit, CliError> {
    match command {
        TokenCommand::Create(args) => create(args, context).await,
        TokenCommand::Ls => list(context).await,
        TokenCommand::Revoke(args) => revoke(args, context).await,
    }
}

async fn create(args: CreateArgs, context: &mut Context) -> Result<Exit, CliError> {
    #[derive(Serialize)]
    struct Reply<'a> {
        token: TokenView,
        secret: &'a str,
    }
    let connection = context.connect()?;
    let kind = match args.kind {
        Kind::Human => proto::PrincipalKind::Human,
        Kind::Workload => proto::PrincipalKind::Workload,
        Kind::Contractor => proto::PrincipalKind::Contractor,
    };
    let request = connection.call(proto::CreateTokenRequest {
        principal: args.principal,
        principal_kind: kind.into(),
        groups: args.groups,
        cidrs: args.cidrs,
        description: args.description,
        ttl: args.ttl.map(view::to_proto),
    });
    let reply = connection.tokens().create_token(request).await;
    let reply = reply.map_err(|status| connection.explain(&status))?.into_inner();
    let token = reply.token.unwrap_or_default();
    let secret = zeroize::Zeroizing::new(reply.secret);
    if context.output.is_json() {
        context.output.json(&Reply { token: TokenView::from(&token), secret: &secret })?;
    } else {
        context.output.data(&secret)?;
        let note = made(&token, context.clock.now());
        context.output.note(&note);
    }
    Ok(Exit::Ok)
}

fn made(token: &proto::Token, now: Timestamp) -> String {
    let until = view::moment(token.expire_time)
        .map_or("does not expire".to_owned(), |at| format!("expires {}", duration::relative(at, now)));
    let (name, principal) = (printable(&token.name), printable(&token.principal));
    format!("{name} for {principal} {until}; the secret is not shown again")
}

async fn list(context: &mut Context) -> Result<Exit, CliError> {
    #[derive(Serialize)]
    struct Reply {
        tokens: Vec<TokenView>,
    }
    let connection = context.connect()?;
    let tokens = pages::all(async |page_size, page_token| {
        let request = connection.call(proto::ListTokensRequest { page_size, page_token });
        let reply = connection.tokens().list_tokens(request).await;
        let reply = reply.map_err(|status| connection.explain(&status))?.into_inner();
        Ok((reply.tokens, reply.next_page_token))
    })
    .await?;
    if context.output.is_json() {
        context.output.json(&Reply { tokens: tokens.iter().map(TokenView::from).collect() })?;
    } else {
        let now = context.clock.now();
        let rows: Vec<_> = tokens.iter().map(|token| row(token, now)).collect();
        let table = table::render(&COLUMNS, &rows, &context.output);
        context.output.data(&table)?;
    }
    Ok(Exit::Ok)
}

async fn revoke(args: RevokeArgs, context: &mut Context) -> Result<Exit, CliError> {
    #[derive(Serialize)]
    struct Reply {
        token: TokenView,
    }
    if args.name.starts_with("mf_") {
        return Err(CliError::usage("that looks like a token's secret, not its name").hint(
            "`mayfly token ls` shows the names; a secret on a command line is known to this machine now",
        ));
    }
    let connection = context.connect()?;
    let request = connection.call(proto::RevokeTokenRequest { name: view::qualified("tokens", &args.name) });
    let reply = connection.tokens().revoke_token(request).await;
    let token = reply.map_err(|status| connection.explain(&status))?.into_inner().token.unwrap_or_default();
    if context.output.is_json() {
        context.output.json(&Reply { token: TokenView::from(&token) })?;
    } else {
        let (name, principal) = (printable(&token.name), printable(&token.principal));
        context.output.note(&format!("{name} is revoked"));
        context.output.note(&format!(
            "leases issued under it stay; end them with: mayfly lease revoke --principal {principal} --reason …"
        ));
    }
    Ok(Exit::Ok)
}

impl From<&proto::Token> for TokenView {
    fn from(token: &proto::Token) -> Self {
        Self {
            name: token.name.clone(),
            principal: token.principal.clone(),
            principal_kind: view::kind_word(token.principal_kind()),
            groups: token.groups.clone(),
            cidrs: token.cidrs.clone(),
            description: token.description.clone(),
            create_time: view::moment(token.create_time),
            expire_time: view::moment(token.expire_time),
            revoke_time: view::moment(token.revoke_time),
        }
    }
}

const COLUMNS: [Column; 7] = [
    Column::whole("TOKEN"),
    Column::cut("PRINCIPAL", 12),
    Column::whole("KIND"),
    Column::cut("GROUPS", 10),
    Column::cut("FROM", 10),
    Column::whole("STATE"),
    Column::cut("DESCRIPTION", 12),
];

fn row(token: &proto::Token, now: Timestamp) -> Vec<Cell> {
    let from = if token.cidrs.is_empty() { "anywhere".to_owned() } else { token.cidrs.join(", ") };
    vec![
        view::bare(&token.name).into(),
        (&token.principal).into(),
        view::kind_word(token.principal_kind()).into(),
        token.groups.join(", ").into(),
        from.into(),
        state(token, now),
        (&token.description).into(),
    ]
}

fn state(token: &proto::Token, now: Timestamp) -> Cell {
    match (view::moment(token.revoke_time), view::moment(token.expire_time)) {
        (Some(at), _) => Cell::painted(format!("revoked {}", duration::relative(at, now)), Paint::Dim),
        (None, Some(at)) if at <= now => {
            Cell::painted(format!("expired {}", duration::relative(at, now)), Paint::Dim)
        }
        (None, Some(at)) => Cell::painted(format!("expires {}", duration::relative(at, now)), Paint::Green),
        (None, None) => Cell::painted("does not expire", Paint::Yellow),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_says_whether_it_still_works() {
        let now = Timestamp::from_second(1_000_000).unwrap();
        let at = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
        let token =
            |expire_time, revoke_time| proto::Token { expire_time, revoke_time, ..Default::default() };
        assert_eq!(state(&token(at(1_086_400), None), now), Cell::painted("expires in 1d", Paint::Green));
        assert_eq!(state(&token(at(999_940), None), now), Cell::painted("expired 1m ago", Paint::Dim));
        assert_eq!(
            state(&token(at(1_086_400), at(999_940)), now),
            Cell::painted("revoked 1m ago", Paint::Dim)
        );
        assert_eq!(state(&token(None, None), now), Cell::painted("does not expire", Paint::Yellow));
    }
}
