//! What people do with their own accounts.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde::Serialize;

use crate::{
    api::proto,
    cli::{CliError, Connection, Context, Exit, error::printable, prompt},
    domain::Password,
};

/// Arguments of `mayfly user enrol`.
#[derive(Debug, Args)]
pub struct EnrolArgs {
    /// Your user name
    #[arg(long, short, env = "MAYFLY_USER", value_name = "NAME")]
    pub user: String,
    /// File with the password to come [default: ask, or a line of standard input after the code's]
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
}

/// Arguments of `mayfly user password`.
#[derive(Debug, Args)]
pub struct PasswordArgs {}

/// Subcommands of `mayfly user totp`.
#[derive(Debug, Subcommand)]
pub enum TotpCommand {
    /// Set up an authenticator: shows its secret, asks for its first code, shows recovery codes
    Enrol(TotpArgs),
}

/// Arguments of `mayfly user totp enrol`.
#[derive(Debug, Args)]
pub struct TotpArgs {
    /// File with your password [default: ask, or a line of standard input]
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
}

pub(super) async fn enrol(args: EnrolArgs, context: &mut Context) -> Result<Exit, CliError> {
    let connection = Connection::open_to_sign_in(&context.global.connection)?;
    let code = prompt::secret("Code you were given")?;
    let password = match &args.password_file {
        Some(file) => prompt::from_file(file)?,
        None => prompt::new_secret("New password")?,
    };
    let request = connection.call(proto::EnrolUserRequest {
        user: args.user.clone(),
        code: code.expose().to_owned(),
        password: password.expose().to_owned(),
    });
    let reply = connection.users().enrol_user(request).await;
    reply.map_err(|status| connection.explain(&status))?;
    let name = printable(&args.user);
    context.output.note(&format!("the password of {name} is set; sign in with: mayfly login --user {name}"));
    Ok(Exit::Ok)
}

pub(super) async fn password(_: PasswordArgs, context: &mut Context) -> Result<Exit, CliError> {
    let connection = context.connect()?;
    let old = prompt::secret("Password of now")?;
    let new = prompt::new_secret("New password")?;
    let request = connection.call(proto::ChangePasswordRequest {
        old_password: old.expose().to_owned(),
        new_password: new.expose().to_owned(),
    });
    let reply = connection.users().change_password(request).await;
    reply.map_err(|status| connection.explain(&status))?;
    context.output.note("your password is changed; your other sessions are ended");
    Ok(Exit::Ok)
}

pub(super) async fn enrol_totp(args: TotpArgs, context: &mut Context) -> Result<Exit, CliError> {
    #[derive(Serialize)]
    struct Reply {
        recovery_codes: Vec<String>,
    }
    let connection = context.connect()?;
    let password = match &args.password_file {
        Some(file) => prompt::from_file(file)?,
        None => prompt::secret("Password")?,
    };
    let password = password.expose().to_owned();
    let request = connection.call(proto::OfferSecondFactorRequest { password });
    let offered = connection.users().offer_second_factor(request).await;
    let offered = offered.map_err(|status| connection.explain(&status))?.into_inner();
    let (url, secret) = (Password::new(offered.url), Password::new(offered.secret));
    // To standard error in JSON too: what is wanted in the end is the recovery codes.
    context.output.note("give this to your authenticator, as a link or by typing the secret:");
    context.output.note(&format!("  {}", printable(url.expose())));
    context.output.note(&format!("  secret: {}", printable(secret.expose())));
    let code = prompt::secret("First code")?;
    let request = connection.call(proto::ConfirmSecondFactorRequest { code: code.expose().to_owned() });
    let confirmed = connection.users().confirm_second_factor(request).await;
    let recovery_codes = confirmed.map_err(|status| connection.explain(&status))?.into_inner().recovery_codes;
    if context.output.is_json() {
        context.output.json(&Reply { recovery_codes })?;
    } else {
        let codes: Vec<String> = recovery_codes.iter().map(|code| printable(code)).collect();
        context.output.data(&codes.join("\n"))?;
        context
            .output
            .note("your second factor is set up; from now on you are asked for a code when you sign in");
        context.output.note(
            "these recovery codes stand in for it, each once; they are not shown again: keep them apart from the telephone",
        );
    }
    Ok(Exit::Ok)
}
