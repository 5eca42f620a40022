//! The commands, one file each.
//!
//! A command reads its arguments, calls the server through the generated client, and writes the reply: data and secrets to
//! standard output, words to standard error. No rules live here: what may be done is decided by the server.

mod approval;
mod args;
pub mod audit;
pub mod breakglass;
pub mod child;
pub mod completions;
pub mod config_check;
pub mod connect;
mod connection;
mod credential;
pub mod creds;
pub mod demo;
pub mod dev;
pub mod doctor;
mod doctor_credentials;
mod duration;
mod error;
mod exit;
#[cfg(test)]
mod fake_server;
pub mod grant;
pub mod health;
mod holding;
mod identity_token;
pub mod invite;
pub mod lease;
mod line;
pub mod lock;
pub mod login;
mod moment;
pub mod notice;
mod output;
mod pages;
mod patience;
pub mod policy;
mod prompt;
mod queue;
pub mod reconcile;
pub mod request;
pub mod review;
pub mod review_access;
pub mod roles;
mod rotate;
pub mod run;
pub mod serve;
pub mod session;
mod session_file;
mod sign_in;
pub mod store;
mod table;
pub mod targets;
pub mod token;
mod token_source;
mod trial;
pub mod user;
mod view;
mod view_request;
pub mod whoami;

use std::{io, process::ExitCode, sync::Arc};

use clap::Parser as _;
use tokio::runtime::{Builder, Runtime};

pub use self::{
    args::{Cli, Command, GlobalArgs},
    connection::{Connection, ConnectionArgs},
    credential::{Credential, CredentialFormat},
    error::{CliError, Failure},
    exit::Exit,
    output::{Output, OutputFormat},
};
use crate::clock::{Clock, SystemClock};

/// What a command works with.
pub struct Context {
    /// Options of every command.
    pub global: GlobalArgs,
    /// Where it writes.
    pub output: Output,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

impl Context {
    /// The line to the server.
    ///
    /// # Errors
    /// When the options make no sense, or there is no token.
    pub fn connect(&self) -> Result<Connection, CliError> {
        Connection::open(&self.global.connection)
    }
}

/// The whole program: reads the process's command line, runs the command and says how it ended.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // That the text cannot be written (`--help | head`) does not change how the command line was.
            let _ = error.print();
            return u8::try_from(error.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from);
        }
    };
    let output = Output::of_process(cli.global.output);
    let mut context = Context { global: cli.global, output, clock: Arc::new(SystemClock) };
    let ended = runtime(cli.command.serves())
        .map_err(|error| CliError::local("cannot start", &error))
        .and_then(|runtime| {
            let ended = runtime.block_on(dispatch(cli.command, &mut context));
            // A blocking read or a lookup under way must not hold up the end.
            runtime.shutdown_background();
            ended
        });
    report(ended, &mut context.output).into()
}

fn runtime(serves: bool) -> io::Result<Runtime> {
    let mut builder = if serves { Builder::new_multi_thread() } else { Builder::new_current_thread() };
    builder.enable_all().build()
}

fn report(ended: Result<Exit, CliError>, output: &mut Output) -> Exit {
    match ended {
        Ok(exit) => exit,
        Err(error) => {
            if let CliError::Failed(failure) = &error {
                let text = if output.is_json() { failure.to_json() } else { failure.to_text() };
                output.note(&text);
            }
            error.exit()
        }
    }
}

async fn dispatch(command: Command, context: &mut Context) -> Result<Exit, CliError> {
    match command {
        Command::Creds(args) => creds::run(args, context).await,
        Command::Run(args) => run::run(args, context).await,
        Command::Connect(args) => connect::run(args, context).await,
        Command::Request(command) => request::run(command, context).await,
        Command::Review(command) => review::run(command, context).await,
        Command::ReviewAccess(args) => review_access::run(args, context).await,
        Command::Breakglass(args) => breakglass::run(args, context).await,
        Command::Grant(command) => grant::run(command, context).await,
        Command::Lease(command) => lease::run(command, context).await,
        Command::Lock(command) => lock::run(command, context).await,
        Command::Unlock(command) => lock::unlock(command, context).await,
        Command::Roles(command) => roles::run(command, context).await,
        Command::Targets(command) => targets::run(command, context).await,
        Command::Reconcile(args) => reconcile::run(args, context).await,
        Command::Doctor(args) => doctor::run(args, context).await,
        Command::Token(command) => token::run(command, context).await,
        Command::Notice(command) => notice::run(command, context).await,
        Command::Audit(command) => audit::run(command, context).await,
        Command::Login(args) => login::login(args, context).await,
        Command::Logout(args) => login::logout(args, context).await,
        Command::Session(command) => session::run(command, context).await,
        Command::User(command) => user::run(command, context).await,
        Command::Invite(command) => invite::run(command, context).await,
        Command::Whoami(args) => whoami::run(args, context).await,
        Command::Health(args) => health::run(args, context).await,
        Command::Serve(args) => serve::run(args, context).await,
        Command::Dev(args) => dev::run(args, context).await,
        Command::Demo(args) => demo::run(args, context).await,
        Command::Store(command) => store::run(command, context).await,
        Command::Policy(command) => policy::run(command, context).await,
        Command::Config(command) => config_check::run(command, context).await,
        Command::Completions(args) => completions::run(args, context).await,
    }
}

#[cfg(test)]
mod tests {
    use super::{output::capture, *};

    #[test]
    fn failures_are_reported_in_the_form_asked_for() {
        let (mut text, out, err) = capture::output(OutputFormat::Text);
        assert_eq!(report(Err(CliError::usage("no").hint("so")), &mut text), Exit::Usage);
        assert_eq!((out.text().as_str(), err.text().as_str()), ("", "error: no\nhint: so\n"));
        let (mut json, _, err) = capture::output(OutputFormat::Json);
        report(Err(CliError::usage("no")), &mut json);
        assert!(err.text().starts_with(r#"{"error":"#), "{}", err.text());
    }

    #[test]
    fn a_reader_that_left_is_no_failure() {
        let (mut output, _, err) = capture::output(OutputFormat::Text);
        assert_eq!(report(Err(CliError::OutputClosed), &mut output), Exit::Ok);
        assert_eq!(err.text(), "");
    }
}
