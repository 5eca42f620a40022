//! Which servers to start: those named, or those found.

use super::DevArgs;
use crate::{
    cli::CliError,
    domain::Engine,
    sandbox::{Binaries, BinariesNotFound, Locations},
};

/// What was found, and what was looked for in vain.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) servers: Vec<Binaries>,
    pub(super) missing: Vec<BinariesNotFound>,
}

/// Finds the servers that are wanted. What is named is used or refused; of what is not, one kind is enough.
///
/// # Errors
/// When what is named is no server, or none is found at all.
pub(super) fn servers(args: &DevArgs) -> Result<Found, CliError> {
    let mut locations = Locations::from_environment();
    if let Some(bin) = &args.postgres_bin {
        locations.postgres_bin = Some(bin.clone());
    }
    let mut found = Found { servers: Vec::new(), missing: Vec::new() };
    if !args.no_postgres {
        match Binaries::find(Engine::Postgres, &locations) {
            Ok(binaries) => found.servers.push(binaries),
            Err(missing) if args.postgres_bin.is_some() => return Err(not_there(&missing)),
            Err(missing) => found.missing.push(missing),
        }
    }
    if !args.no_mysql {
        match mysql(args, &locations) {
            Ok(binaries) => found.servers.push(binaries),
            Err(missing) if args.mysqld.is_some() => return Err(not_there(&missing)),
            Err(missing) => found.missing.push(missing),
        }
    }
    if found.servers.is_empty() {
        let error = CliError::usage("there is no database server to start");
        return Err(found.missing.iter().fold(error, |error, missing| error.hint(missing.to_string())));
    }
    Ok(found)
}

fn not_there(missing: &BinariesNotFound) -> CliError {
    CliError::usage(missing.to_string())
}

/// MariaDB rather than MySQL, which needs longer to start, unless only MySQL is named.
fn mysql(args: &DevArgs, locations: &Locations) -> Result<Binaries, BinariesNotFound> {
    let mut locations = locations.clone();
    if let Some(program) = &args.mysqld {
        locations.mariadbd = Some(program.clone());
        locations.mysqld = Some(program.clone());
    }
    let mysql_first = locations.mysqld.is_some() && locations.mariadbd.is_none();
    let (first, second) =
        if mysql_first { (Engine::Mysql, Engine::Mariadb) } else { (Engine::Mariadb, Engine::Mysql) };
    Binaries::find(first, &locations)
        .or_else(|missing| Binaries::find(second, &locations).map_err(|_| missing))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Exit;

    fn args(line: &str) -> DevArgs {
        use clap::Parser as _;
        let line = format!("mayfly dev {line}");
        match crate::cli::Cli::try_parse_from(line.split_whitespace()).unwrap().command {
            crate::cli::Command::Dev(args) => args,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_named_is_not_silently_replaced() {
        for line in ["--postgres-bin /nowhere", "--mysqld /nowhere/mariadbd"] {
            let error = servers(&args(line)).unwrap_err();
            assert_eq!(error.exit(), Exit::Usage);
            assert!(error.to_string().contains("/nowhere"), "{error}");
        }
    }
}
