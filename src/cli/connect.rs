//! `mayfly connect`: the engine's own client, logged in.

use std::{
    env,
    path::{Path, PathBuf},
};

use clap::Args;
use tempfile::TempDir;
use tokio::process::Command;

use super::{
    CliError, Context, Credential, Exit, child,
    creds::Wish,
    holding,
    run::{clean, private_file},
};
use crate::domain::Engine;

const EXAMPLES: &str = "Examples:
  mayfly connect orders-read
  mayfly connect orders-read --ttl 1h --purpose 'incident 4711'
  mayfly connect orders-read -- -c 'select now()'       arguments for psql
  mayfly connect shop-read -- --table -e 'show tables'   arguments for mysql or mariadb

Opens psql, mysql or mariadb. The password is in a private temporary file, never in the
environment or on the command line, and the file is removed when the client ends.
The lease is renewed while the client runs, as far as the role allows, and released when it ends.";

/// Arguments of `mayfly connect`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct ConnectArgs {
    /// What to ask for.
    #[command(flatten)]
    pub wish: Wish,
    /// Arguments for the client
    #[arg(last = true, value_name = "ARGUMENTS")]
    pub arguments: Vec<String>,
}

/// Runs `mayfly connect`.
///
/// # Errors
/// What the server refuses, or a client that is not installed.
pub async fn run(args: ConnectArgs, context: &mut Context) -> Result<Exit, CliError> {
    let prepare = async |credential: &Credential, _: &str| {
        let (command, files) = client(credential, &args.arguments).await?;
        Ok((command, Some(files)))
    };
    holding::with_credential(&args.wish, context, prepare).await
}

async fn client(credential: &Credential, arguments: &[String]) -> Result<(Command, TempDir), CliError> {
    if credential.keeps_its_own() {
        return Err(credential.has_no_password());
    }
    let program = find_client(credential.engine)?;
    let mut command = Command::new(&program);
    clean(&mut command, credential);
    let directory = match credential.engine {
        Engine::Postgres => for_libpq(&mut command, credential)?,
        Engine::Mysql | Engine::Mariadb => {
            let flavour = flavour(&program).await;
            for_mysql(&mut command, &credential.my_cnf(Some(flavour))?)?
        }
    };
    command.args(arguments);
    Ok((command, directory))
}

/// The clients of an engine, best first: MySQL's and MariaDB's can each talk to the other's server.
fn find_client(engine: Engine) -> Result<PathBuf, CliError> {
    let (names, package): (&[&str], _) = match engine {
        Engine::Postgres => (&["psql"], "postgresql-client"),
        Engine::Mysql => (&["mysql", "mariadb"], "mysql-client"),
        Engine::Mariadb => (&["mariadb", "mysql"], "mariadb-client"),
    };
    names.iter().find_map(|name| child::find_program(name).ok()).ok_or_else(|| {
        CliError::new(
            Exit::Child(127),
            format!("no client for {} is installed: {} is not found", engine.title(), names.join(" or ")),
        )
        .hint(format!("install it, for example: apt install {package}"))
        .hint("or take the credential elsewhere: `mayfly creds ROLE --format url`")
    })
}

fn for_libpq(command: &mut Command, credential: &Credential) -> Result<TempDir, CliError> {
    let (directory, file) = private_file("pgpass", &format!("{}\n", credential.pgpass()?))?;
    command.envs(credential.variables().into_iter().filter(|(name, _)| *name != "PGPASSWORD"));
    command.env("PGPASSFILE", file);
    Ok(directory)
}

/// The file is named by `--defaults-file`, not `--defaults-extra-file`: a password in `~/.my.cnf` would win over the latter.
/// What else is in `~/.my.cnf` (prompt, pager) is included first.
fn for_mysql(command: &mut Command, my_cnf: &str) -> Result<TempDir, CliError> {
    let own = env::var_os("HOME").map(|home| Path::new(&home).join(".my.cnf"));
    let own = own.filter(|file| file.is_file()).and_then(|file| file.to_str().map(str::to_owned));
    // A path with a line break could smuggle options in.
    let own = own.filter(|file| !file.contains(['\n', '\r']));
    let included = own.map(|file| format!("!include {file}\n")).unwrap_or_default();
    let (directory, file) = private_file("my.cnf", &(included + my_cnf))?;
    let mut argument = std::ffi::OsString::from("--defaults-file=");
    argument.push(file);
    command.arg(argument);
    Ok(directory)
}

/// Whose client it is: on many systems `mysql` is MariaDB's, which words its options differently.
async fn flavour(program: &Path) -> Engine {
    let version = Command::new(program).arg("--no-defaults").arg("--version").output().await;
    let text =
        version.map(|output| String::from_utf8_lossy(&output.stdout).to_lowercase()).unwrap_or_default();
    if text.contains("mariadb") { Engine::Mariadb } else { Engine::Mysql }
}

#[cfg(test)]
mod tests {
    use super::{super::credential::samples::credential, *};

    fn arguments(command: &Command) -> Vec<String> {
        command.as_std().get_args().map(|argument| argument.to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn the_password_for_psql_is_in_a_file_and_not_in_the_environment() {
        let credential = credential(Engine::Postgres);
        let mut command = Command::new("psql");
        let directory = for_libpq(&mut command, &credential).unwrap();
        let variables: Vec<String> =
            command.as_std().get_envs().map(|(name, _)| name.to_string_lossy().into_owned()).collect();
        assert!(variables.contains(&"PGPASSFILE".to_owned()) && variables.contains(&"PGUSER".to_owned()));
        assert!(!variables.contains(&"PGPASSWORD".to_owned()));
        let file = std::fs::read_to_string(directory.path().join("pgpass")).unwrap();
        assert_eq!(file, credential.pgpass().unwrap() + "\n");
    }

    #[test]
    fn the_password_for_mysql_is_in_a_file_named_first() {
        let credential = credential(Engine::Mariadb);
        let mut command = Command::new("mariadb");
        let directory = for_mysql(&mut command, &credential.my_cnf(Some(Engine::Mariadb)).unwrap()).unwrap();
        let expected = format!("--defaults-file={}", directory.path().join("my.cnf").display());
        assert_eq!(arguments(&command), [expected]);
    }

    #[tokio::test]
    async fn the_family_of_a_client_is_seen_from_its_version() {
        if let Ok(program) = child::find_program("mariadb") {
            assert_eq!(flavour(&program).await, Engine::Mariadb);
        }
        assert_eq!(flavour(Path::new("/nonexistent")).await, Engine::Mysql);
    }
}
