//! `mayfly login` and `mayfly logout`.

use std::path::{Path, PathBuf};

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;
use tonic::Code;
use tonic_types::StatusExt as _;
use zeroize::Zeroizing;

use super::{
    CliError, Connection, Context, Exit, duration, error::printable, prompt, session, session_file, sign_in,
    view,
};
use crate::{api::proto, domain::Password};

const EXAMPLES: &str = "Examples:
  mayfly login --user alice               asks for the password, and for a code where there is a second factor
  mayfly login                            at the identity provider, in the browser, where one is configured for people
  mayfly login --provider okta --device   with another device: shows a code to type there
  mayfly login --step-up                  gives the second factor once more, for what asks for it to be fresh
  mayfly login --user alice --print < f   for scripts: password and code are lines of standard input

The session is kept in a private file, one a server, and is used by the other commands when no token is given.";

/// Arguments of `mayfly login`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct LoginArgs {
    /// Whose local account [default: at the identity provider, where there is one for people; else the name you
    /// are logged in to this machine with]
    #[arg(long, short, env = "MAYFLY_USER", value_name = "NAME")]
    pub user: Option<String>,
    /// File with the password [default: ask, or a line of standard input]
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// The code of the authenticator, or a recovery code [default: ask when one is needed]
    #[arg(long, value_name = "CODE")]
    pub code: Option<String>,
    /// Sign in at this identity provider [default: the only one there is]
    #[arg(long, value_name = "NAME", conflicts_with_all = ["password_file", "code", "step_up"])]
    pub provider: Option<String>,
    /// Sign in at the identity provider with another device, on which a code is typed
    #[arg(long, conflicts_with_all = ["password_file", "code"])]
    pub device: bool,
    /// Give the second factor once more, in the session there is
    #[arg(long, conflicts_with_all = ["user", "password_file", "print"])]
    pub step_up: bool,
    /// Write the session's token to standard output, and keep it nowhere
    #[arg(long)]
    pub print: bool,
}

/// Arguments of `mayfly logout`.
#[derive(Debug, Args)]
pub struct LogoutArgs {}

#[derive(Serialize)]
struct Reply<'a> {
    session: session::SessionView,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<&'a str>,
}

/// Runs `mayfly login`.
///
/// # Errors
/// What the server refuses; when nothing can be asked or the session cannot be kept.
pub async fn login(args: LoginArgs, context: &mut Context) -> Result<Exit, CliError> {
    if args.step_up {
        return step_up(args, context).await;
    }
    let address = context.global.connection.address.clone();
    // Before a password is typed in vain.
    let path = if args.print { None } else { Some(session_file::own_path(&address)?) };
    let connection = Connection::open_to_sign_in(&context.global.connection)?;
    if let Some(provider) = elsewhere(&args, &connection).await? {
        let wanted = sign_in::Wanted { provider, device: args.device, fresh: false };
        let begun = sign_in::sign_in(&connection, &wanted, context).await?;
        return keep(&begun.session, &begun.secret, path.as_deref(), context);
    }
    let user = match args.user {
        Some(user) => user,
        None => this_user()?,
    };
    let password = match &args.password_file {
        Some(file) => prompt::from_file(file)?,
        None => prompt::secret(&format!("Password of {}", printable(&user)))?,
    };
    let reply = by_password(&connection, &user, &password, args.code.map(Password::new)).await?;
    keep(&reply.session.unwrap_or_default(), &Zeroizing::new(reply.secret), path.as_deref(), context)
}

/// The provider to sign in at; `None`: with a local account.
async fn elsewhere(
    args: &LoginArgs,
    connection: &Connection,
) -> Result<Option<proto::SignInProvider>, CliError> {
    let local = args.user.is_some() || args.password_file.is_some() || args.code.is_some();
    if local && args.provider.is_none() && !args.device {
        return Ok(None);
    }
    let providers = sign_in::providers(connection).await?;
    let chosen = sign_in::choose(providers, args.provider.as_deref())?;
    if chosen.is_none() && args.device {
        let error = CliError::usage("no identity provider is configured for people");
        return Err(error.hint("--user NAME signs in with a local account"));
    }
    Ok(chosen)
}

/// Keeps a session that has begun, or, without a place for it, writes its token out.
pub(super) fn keep(
    begun: &proto::SignInSession,
    secret: &str,
    path: Option<&Path>,
    context: &mut Context,
) -> Result<Exit, CliError> {
    if let Some(path) = path {
        session_file::write(path, secret)?;
    }
    let shown = path.is_none().then_some(secret);
    if context.output.is_json() {
        context.output.json(&Reply { session: session::SessionView::from(begun), secret: shown })?;
    } else {
        if let Some(secret) = shown {
            context.output.data(secret)?;
        }
        let text = welcome(begun, context.clock.now());
        context.output.note(&text);
    }
    Ok(Exit::Ok)
}

/// Tries the password alone first, unless a code was given: whether one is needed is told after the right password only.
async fn by_password(
    connection: &Connection,
    user: &str,
    password: &Password,
    code: Option<Password>,
) -> Result<proto::SignInResponse, CliError> {
    let attempt = async |code: &str| {
        let request = proto::SignInRequest {
            user: user.to_owned(),
            password: password.expose().to_owned(),
            code: code.to_owned(),
        };
        connection.sessions().sign_in(connection.call(request)).await
    };
    let first = attempt(code.as_ref().map_or("", |code| code.expose())).await;
    let wants_code = |status: &tonic::Status| {
        let reason = status.get_details_error_info().map(|info| info.reason);
        status.code() == Code::Unauthenticated && reason.as_deref() == Some("SECOND_FACTOR_REQUIRED")
    };
    let reply = match first {
        Err(status) if code.is_none() && wants_code(&status) => {
            let code = prompt::secret("Code")?;
            attempt(code.expose()).await
        }
        other => other,
    };
    reply.map(tonic::Response::into_inner).map_err(|status| connection.explain(&status))
}

/// Gives the second factor once more where the session began: at its provider, or here.
async fn step_up(args: LoginArgs, context: &mut Context) -> Result<Exit, CliError> {
    if args.code.is_none()
        && let Some(before) = begun_elsewhere(context).await?
    {
        return step_up_elsewhere(&args, before, context).await;
    }
    step_up_here(args, context).await
}

/// The session of this server's file, when it began at a provider, with a line that speaks for it.
async fn begun_elsewhere(context: &Context) -> Result<Option<Before>, CliError> {
    let Some(path) =
        session_file::own_path(&context.global.connection.address).ok().filter(|path| path.exists())
    else {
        return Ok(None);
    };
    let connection = Connection::open_with_session(&context.global.connection, &path)?;
    let reply = connection.server().who_am_i(connection.call(proto::WhoAmIRequest {})).await;
    // Whatever is wrong with it is told by who goes on.
    let session = reply.ok().and_then(|reply| reply.into_inner().session);
    let session = session.filter(|session| session.origin.starts_with("providers/"));
    Ok(session.map(|session| Before { session, connection, path }))
}

/// A session to be replaced by a fresher one.
struct Before {
    session: proto::SignInSession,
    connection: Connection,
    path: PathBuf,
}

/// Signs in at the provider anew, and ends the session there was.
async fn step_up_elsewhere(
    args: &LoginArgs,
    before: Before,
    context: &mut Context,
) -> Result<Exit, CliError> {
    let Before { session, connection, path } = before;
    let providers = sign_in::providers(&connection).await?;
    let named = session.origin.strip_prefix("providers/").unwrap_or_default();
    let Some(provider) = sign_in::choose(providers, Some(named))? else { return Ok(Exit::Internal) };
    let wanted = sign_in::Wanted { provider, device: args.device, fresh: true };
    let begun = sign_in::sign_in(&connection, &wanted, context).await?;
    let sign_out = async |connection: &Connection| {
        // It would end by itself: that it cannot be ended now changes nothing else.
        let _ = connection.sessions().sign_out(connection.call(proto::SignOutRequest {})).await;
    };
    if begun.session.principal != session.principal {
        sign_out(&connection.speaking_for(&begun.secret)?).await;
        let (new, old) = (printable(&begun.session.principal), printable(&session.principal));
        let error = CliError::usage(format!("you signed in as {new}, but the session here is of {old}"));
        return Err(error.hint("the session here goes on; `mayfly login` replaces it"));
    }
    let kept = keep(&begun.session, &begun.secret, Some(&path), context)?;
    if begun.session.second_factor_time.is_none() {
        context.output.note("the identity provider does not say that a second factor was given");
    }
    sign_out(&connection).await;
    Ok(kept)
}

async fn step_up_here(args: LoginArgs, context: &mut Context) -> Result<Exit, CliError> {
    let connection = context.connect()?;
    let code = match args.code {
        Some(code) => Password::new(code),
        None => prompt::secret("Code")?,
    };
    let request = connection.call(proto::StepUpRequest { code: code.expose().to_owned() });
    let reply = connection.sessions().step_up(request).await;
    let reply = reply.map_err(|status| connection.explain(&status))?.into_inner();
    let stepped = reply.session.unwrap_or_default();
    if context.output.is_json() {
        context.output.json(&Reply { session: session::SessionView::from(&stepped), secret: None })?;
    } else {
        context.output.note("second factor given; it is fresh now");
    }
    Ok(Exit::Ok)
}

fn welcome(session: &proto::SignInSession, now: Timestamp) -> String {
    let until = view::moment(session.expire_time)
        .map_or_else(String::new, |at| format!("; the session ends {}", duration::relative(at, now)));
    let factor = if session.second_factor_time.is_some() { " with a second factor" } else { "" };
    format!("signed in as {}{factor}{until}", printable(&session.principal))
}

fn this_user() -> Result<String, CliError> {
    let set = |name| std::env::var(name).ok().filter(|value: &String| !value.is_empty());
    set("USER")
        .or_else(|| set("LOGNAME"))
        .ok_or_else(|| CliError::usage("whose account?").hint("--user NAME or MAYFLY_USER says whose"))
}

/// Runs `mayfly logout`.
///
/// # Errors
/// What the server refuses; when the session's file cannot be removed.
pub async fn logout(_: LogoutArgs, context: &mut Context) -> Result<Exit, CliError> {
    let path = session_file::own_path(&context.global.connection.address)?;
    if !path.exists() {
        context.output.note("you are not signed in");
        return Ok(Exit::Ok);
    }
    let connection = Connection::open_with_session(&context.global.connection, &path)?;
    let ended = connection.sessions().sign_out(connection.call(proto::SignOutRequest {})).await;
    match ended {
        Ok(_) => context.output.note("signed out"),
        // It is over already, which is what was wanted.
        Err(status) if status.code() == Code::Unauthenticated => {
            context.output.note("signed out; the session was over already");
        }
        Err(status) => {
            let error = connection.explain(&status);
            return Err(error.hint("the session is still kept, and may still work"));
        }
    }
    session_file::remove(&path)?;
    Ok(Exit::Ok)
}
