//! `mayfly request claim`.

use std::time::Duration;

use clap::Args;

use super::{
    super::{CliError, Connection, Context, CredentialFormat, Exit, approval, creds, duration, view},
    get,
};

/// Arguments of `mayfly request claim`.
#[derive(Debug, Args)]
pub struct ClaimArgs {
    /// The request or its grant: the identifier, requests/ID or grants/ID
    #[arg(value_name = "REQUEST")]
    pub name: String,
    /// How long [default: as long as the grant lasts]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    pub ttl: Option<Duration>,
    /// The form to write it in [default: text; json with --output json]
    #[arg(long, value_enum, value_name = "FORM")]
    pub format: Option<CredentialFormat>,
    /// A key of your choice, unique per attempt: repeating the call with it returns the same lease
    #[arg(long, value_name = "KEY", default_value = "", hide_default_value = true)]
    pub idempotency_key: String,
    /// Wait until it is decided, and until it begins
    #[arg(long)]
    pub wait: bool,
}

pub(super) async fn run(args: ClaimArgs, context: &mut Context) -> Result<Exit, CliError> {
    let format = creds::form(args.format, context.output.is_json())?;
    let connection = context.connect()?;
    let claimed = approval::unless_interrupted(context, &connection, async |waiting| {
        let grant = match grant_named(&args.name, &connection).await? {
            Named::Grant(grant) => grant,
            Named::Request(request) => approval::granted(&request, args.wait, waiting).await?,
        };
        approval::claim(&grant, args.ttl, &args.idempotency_key, args.wait, waiting).await
    })
    .await?;
    match claimed {
        Ok((lease, credential)) => creds::write(&lease, &credential, format, &connection, context).await,
        Err(exit) => Ok(exit),
    }
}

enum Named {
    Grant(String),
    Request(Box<crate::api::proto::AccessRequest>),
}

/// What a name names: `grants/ID`, or a request; a bare identifier may be either.
async fn grant_named(name: &str, connection: &Connection) -> Result<Named, CliError> {
    if name.starts_with("grants/") {
        return Ok(Named::Grant(name.to_owned()));
    }
    match get(name, connection).await {
        Ok(request) => Ok(Named::Request(Box::new(request))),
        Err(error) if error.exit() == Exit::NotFound && !name.starts_with("requests/") => {
            Ok(Named::Grant(view::qualified("grants", name)))
        }
        Err(error) => Err(error),
    }
}
