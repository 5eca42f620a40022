//! Removing what a round made, so that every round meets the same database. Not timed.

use mayfly::domain::Engine;

use super::{Line, Outcome};

/// Accounts dropped by one statement: many locks, yet far from what a server has.
const AT_ONCE: usize = 64;

/// PostgreSQL's catalogs that accounts leave dead rows in.
const VACUUM: [&str; 4] = ["pg_authid", "pg_auth_members", "pg_shdescription", "pg_shdepend"];

/// Drops accounts, over an administrator's line, and sweeps up after them.
pub(crate) async fn drop_accounts(line: &mut Line, engine: Engine, accounts: &[String]) -> Outcome<()> {
    let quoted = |account: &String| match engine {
        Engine::Postgres => format!("\"{account}\""),
        Engine::Mysql | Engine::Mariadb => format!("'{account}'@'%'"),
    };
    let verb = if engine == Engine::Postgres { "DROP ROLE" } else { "DROP USER" };
    for some in accounts.chunks(AT_ONCE) {
        let names: Vec<String> = some.iter().map(quoted).collect();
        line.send(&format!("{verb} {}", names.join(", "))).await?;
    }
    if engine == Engine::Postgres {
        for catalog in VACUUM {
            line.send(&format!("VACUUM {catalog}")).await?;
        }
    }
    Ok(())
}
