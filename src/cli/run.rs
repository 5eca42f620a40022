//! `mayfly run`: a command with a credential in its environment.

use std::{
    fs, io,
    io::Write as _,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use clap::Args;
use tempfile::TempDir;
use tokio::process::Command;

use super::{CliError, Context, Credential, Exit, child, creds::Wish, holding, identity_token, token_source};
use crate::domain::Engine;

const EXAMPLES: &str = "Examples:
  mayfly run orders-read -- psql -c 'select count(*) from orders'
  mayfly run orders-write --ttl 10m --purpose 'migration 42' -- ./migrate.sh
  mayfly run orders-read -- sh -c 'pg_dump \"$DATABASE_URL\" | gzip > orders.gz'

The command finds DATABASE_URL, MAYFLY_LEASE and what its engine's own clients read:
  PostgreSQL       PGHOST PGPORT PGUSER PGPASSWORD PGDATABASE PGSSLMODE
  MySQL, MariaDB   MYSQL_HOST MYSQL_TCP_PORT MYSQL_PWD MYSQL_USER MYSQL_PASSWORD MYSQL_DATABASE,
                   and MYSQL_HOME: a private option file, because the clients read no user name
                   from the environment (a ~/.my.cnf with a user or password of its own wins over it)
  MariaDB          MARIADB_HOST MARIADB_PORT MARIADB_USER MARIADB_PASSWORD MARIADB_DATABASE as well
MAYFLY_TOKEN and MAYFLY_IDENTITY_TOKEN are taken out of it: who may read a database need not be
able to ask for more.

The lease is renewed while the command runs, as far as the role allows, and released when it ends.
Signals are passed on; the exit code is the command's (128+n when signal n ended it).";

/// Arguments of `mayfly run`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct RunArgs {
    /// What to ask for.
    #[command(flatten)]
    pub wish: Wish,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub child: Vec<String>,
}

/// Runs `mayfly run`.
///
/// # Errors
/// What the server refuses, or a command that cannot be run.
pub async fn run(args: RunArgs, context: &mut Context) -> Result<Exit, CliError> {
    let Some((program, arguments)) = args.child.split_first() else {
        return Err(CliError::usage("no command to run"));
    };
    let program = child::find_program(program)?;
    let prepare = async |credential: &Credential, lease: &str| {
        let mut command = Command::new(program);
        command.args(arguments);
        let files = prepare(&mut command, credential, lease)?;
        Ok((command, files))
    };
    holding::with_credential(&args.wish, context, prepare).await
}

fn prepare(command: &mut Command, credential: &Credential, lease: &str) -> Result<Option<TempDir>, CliError> {
    if credential.keeps_its_own() {
        // It logs in as ever, by whatever its environment says.
        without_our_own(&mut *command);
        command.env("MAYFLY_LEASE", lease);
        return Ok(None);
    }
    clean(command, credential);
    command.envs(credential.variables());
    command.env("DATABASE_URL", credential.url()).env("MAYFLY_LEASE", lease);
    if credential.engine == Engine::Postgres {
        return Ok(None);
    }
    let (directory, _) = private_file("my.cnf", &credential.my_cnf(None)?)?;
    command.env("MYSQL_HOME", directory.path());
    if credential.engine == Engine::Mariadb {
        command.env("MARIADB_HOME", directory.path());
    }
    Ok(Some(directory))
}

/// Takes out of a child's environment what we call with: who may read a database need not be able to ask for more.
fn without_our_own(command: &mut Command) {
    for name in [token_source::TOKEN_VARIABLE, identity_token::IDENTITY_VARIABLE] {
        command.env_remove(name);
    }
}

/// Takes out of a child's environment what would mislead it, and what we call with.
pub fn clean(command: &mut Command, credential: &Credential) {
    without_our_own(command);
    for name in credential.misleading_variables() {
        command.env_remove(name);
    }
}

/// Writes a secret into a file that only we can read, in a directory that only we can enter, in memory where the system has
/// such a place. Dropping the directory removes it.
///
/// # Errors
/// When it cannot be written.
pub fn private_file(name: &str, contents: &str) -> Result<(TempDir, PathBuf), CliError> {
    write_private(name, contents)
        .map_err(|error| CliError::local("cannot write a private temporary file", &error))
}

fn write_private(name: &str, contents: &str) -> io::Result<(TempDir, PathBuf)> {
    let mut builder = tempfile::Builder::new();
    builder.prefix("mayfly-").permissions(fs::Permissions::from_mode(0o700));
    let in_memory = Path::new("/dev/shm");
    let directory = match builder.tempdir_in(in_memory) {
        Ok(directory) => directory,
        Err(_) => builder.tempdir()?,
    };
    let path = directory.path().join(name);
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
    file.write_all(contents.as_bytes())?;
    Ok((directory, path))
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, ffi::OsStr};

    use super::{super::credential::samples::credential, *};

    fn environment(command: &Command) -> BTreeMap<String, Option<String>> {
        let text = |text: &OsStr| text.to_string_lossy().into_owned();
        command.as_std().get_envs().map(|(name, value)| (text(name), value.map(text))).collect()
    }

    #[test]
    fn a_child_on_postgres_gets_what_libpq_reads_and_nothing_that_misleads_it() {
        let mut command = Command::new("true");
        let credential = credential(Engine::Postgres);
        assert!(prepare(&mut command, &credential, "leases/x").unwrap().is_none());
        let environment = environment(&command);
        assert_eq!(environment["PGPASSWORD"].as_deref(), Some(credential.password.expose()));
        assert_eq!(environment["MAYFLY_LEASE"].as_deref(), Some("leases/x"));
        assert_eq!(environment["DATABASE_URL"], Some(credential.url()));
        for removed in ["MAYFLY_TOKEN", "MAYFLY_IDENTITY_TOKEN", "PGSERVICE", "PGHOSTADDR", "PGPASSFILE"] {
            assert_eq!(environment[removed], None, "{removed}");
        }
    }

    #[test]
    fn a_child_on_mariadb_gets_a_private_option_file_that_is_gone_afterwards() {
        let mut command = Command::new("true");
        let directory = prepare(&mut command, &credential(Engine::Mariadb), "leases/x").unwrap().unwrap();
        let environment = environment(&command);
        assert_eq!(environment["MYSQL_HOME"].as_deref(), directory.path().to_str());
        assert_eq!(environment["MARIADB_HOME"].as_deref(), directory.path().to_str());
        let file = directory.path().join("my.cnf");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(directory.path()), mode(&file)), (0o700, 0o600));
        drop(directory);
        assert!(!file.exists());
    }
}
