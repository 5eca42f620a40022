//! A second opinion on the raw database: PostgreSQL's own driver with the same statements.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use mayfly::sandbox::Locations;
use tokio::process::Command;

use crate::frame::{Figure, Kind, Options, Outcome, World, scram_verifier};

const PREFIX: &str = "mf_pgbench_";

/// `pgbench` beside our raw loop; `None` when it is not installed.
pub(crate) async fn cross_check(
    world: &World,
    kind: Kind,
    callers: usize,
    raw_rate: f64,
    options: &Options,
) -> Outcome<Option<Figure>> {
    let Some(program) = program(world.server().binaries().server()) else { return Ok(None) };
    let script = world.directory().join("pgbench.sql");
    fs::write(&script, statements(kind, world.group()))?;
    let transactions = ((raw_rate * options.seconds) as usize / callers).clamp(10, 125).to_string();
    let account = world.raw_account();
    let mut rates = Vec::new();
    for _ in 0..options.rounds.min(3) {
        let said = Command::new(&program)
            .args(["--no-vacuum", "--host=127.0.0.1", "--jobs=2"])
            .arg(format!("--port={}", world.server().port()))
            .arg(format!("--username={}", account.user))
            .arg(format!("--client={callers}"))
            .arg(format!("--transactions={transactions}"))
            .arg(format!("--file={}", script.display()))
            .arg("postgres")
            .env("PGPASSWORD", account.password.expose())
            .stdin(Stdio::null())
            .output()
            .await?;
        world.drop_postgres_roles_beginning(PREFIX).await?;
        rates.push(
            rate(&String::from_utf8_lossy(&said.stdout))
                .ok_or_else(|| format!("pgbench said no rate: {}", String::from_utf8_lossy(&said.stderr)))?,
        );
    }
    let name = format!("issuing.{}.callers-{callers}.raw-by-pgbench", kind.name);
    Ok(Some(Figure::of(name, "accounts/s", &rates, &vec![raw_rate; rates.len()])))
}

/// Beside the server, wherever a link to it leads, or on the path.
fn program(server: &Path) -> Option<PathBuf> {
    let real = fs::canonicalize(server).ok();
    let beside =
        std::iter::once(server).chain(real.as_deref()).map(|server| server.with_file_name("pgbench"));
    let path = Locations::from_environment().path;
    let on_path = path.iter().map(|directory| directory.join("pgbench"));
    beside.chain(on_path).find(|program| program.is_file())
}

/// The two statements as one message, with names drawn by pgbench.
fn statements(kind: Kind, group: &str) -> String {
    // It puts the value in wherever `:id` stands, quotes or not, and leaves other colons alone.
    let name = format!("\"{PREFIX}:id\"");
    format!(
        "\\set id random(1, 1000000000000000)\n\
         CREATE ROLE {name} LOGIN INHERIT NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS \
         PASSWORD '{}' VALID UNTIL '2100-01-01 00:00:00+00' CONNECTION LIMIT 5 IN ROLE \"{group}\" \\;\n\
         COMMENT ON ROLE {name} IS 'mayfly lease=00000000000000000000 role={} requester=workload:caller-00';\n",
        scram_verifier(kind.iterations),
        kind.role
    )
}

fn rate(said: &str) -> Option<f64> {
    let (_, after) = said.split_once("tps = ")?;
    after.split_whitespace().next()?.parse().ok()
}
