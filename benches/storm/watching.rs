//! Whether all are gone: what the store says, and what the server has.

use std::time::{Duration, Instant};

use mayfly::{
    api::proto::{LeaseFilter, LeaseState, ListLeasesRequest},
    domain::Engine,
};
use mysql_async::prelude::Queryable as _;
use tonic::Request;

use super::CALLERS;
use crate::frame::{Kind, Line, Outcome, World, moment};

/// How often is looked: seldom enough to cost nothing beside what is watched.
const EVERY: Duration = Duration::from_millis(50);

/// After this long it is given up.
const PATIENCE: Duration = Duration::from_secs(120);

/// Returns how long after a moment no lease of a role was live any more and the server had none of its accounts.
pub(super) async fn until_gone(world: &World, kind: Kind, since: Instant) -> Outcome<Duration> {
    let mut administrator = world.administrator().await?;
    // Each caller sees its own.
    let mut lines = world.mayfly_lines(kind, CALLERS).await?;
    while let Some(line) = lines.last_mut() {
        if since.elapsed() > PATIENCE {
            return Err("leases are left long after they expired".into());
        }
        if is_any_live(line).await? {
            tokio::time::sleep(EVERY).await;
        } else {
            lines.pop();
        }
    }
    let left = accounts(&mut administrator, world.server().engine(), kind.role).await?;
    let gone = moment().duration_since(since);
    if left > 0 {
        return Err(format!("{left} accounts are there though every lease is recorded as ended").into());
    }
    Ok(gone)
}

async fn is_any_live(line: &mut Line) -> Outcome<bool> {
    let Line::Mayfly(line) = line else { return Err("not a line to Mayfly".into()) };
    let states = [LeaseState::Provisioning, LeaseState::Active, LeaseState::Ending];
    let filter = LeaseFilter {
        states: states.map(Into::into).to_vec(),
        role: line.role.to_owned(),
        ..LeaseFilter::default()
    };
    let mut request =
        Request::new(ListLeasesRequest { page_size: 1, page_token: String::new(), filter: Some(filter) });
    request.metadata_mut().insert("authorization", line.bearer.clone());
    Ok(!line.client.list_leases(request).await?.into_inner().leases.is_empty())
}

/// Accounts of a role on the server; role names are of letters only.
async fn accounts(administrator: &mut Line, engine: Engine, role: &str) -> Outcome<i64> {
    match administrator {
        Line::Postgres(client) => {
            let question = "SELECT count(*) FROM pg_roles WHERE starts_with(rolname, $1)";
            Ok(client.query_one(question, &[&format!("mf_{role}_")]).await?.try_get(0)?)
        }
        Line::Mysql(connection) => {
            let table = if engine == Engine::Mysql { "mysql.user" } else { "mysql.global_priv" };
            let question =
                format!("SELECT COUNT(*) FROM {table} WHERE LEFT(User, {}) = 'mf_{role}_'", role.len() + 4);
            Ok(connection.query_first(question).await?.unwrap_or(0))
        }
        Line::Mayfly(_) => Err("not a server".into()),
    }
}
