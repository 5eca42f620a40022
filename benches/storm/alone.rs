//! The baseline: as many accounts, dropped by nothing but `DROP`, in batches as large, over as many connections.

use mayfly::{domain::Engine, target::TOGETHER};
use tokio::task::JoinSet;

use crate::frame::{Kind, Line, Outcome, Work, World, drive, jobs, moment};

/// Connections, as many as the ending pool has by default.
const CONNECTIONS: usize = 4;

/// Makes accounts and returns how many seconds dropping them takes.
pub(super) async fn drop_as_many(world: &World, kind: Kind, count: usize) -> Outcome<f64> {
    let jobs = jobs(kind, world.group(), count)?;
    let (lines, made) = drive(world.raw_lines(CONNECTIONS).await?, &Work { calls: count, jobs }).await?;
    let batches: Vec<String> =
        made.accounts.chunks(TOGETHER).map(|accounts| dropping(kind.engine, accounts)).collect();
    let mut tasks = JoinSet::new();
    let began = moment();
    for (number, line) in lines.into_iter().enumerate() {
        let own = batches.iter().skip(number).step_by(CONNECTIONS).cloned().collect();
        tasks.spawn(send(line, own));
    }
    while let Some(sent) = tasks.join_next().await {
        sent??;
    }
    Ok(began.elapsed().as_secs_f64())
}

async fn send(mut line: Line, batches: Vec<String>) -> Outcome<()> {
    for batch in batches {
        line.send(&batch).await?;
    }
    Ok(())
}

fn dropping(engine: Engine, accounts: &[String]) -> String {
    let quoted = |account: &String| match engine {
        Engine::Postgres => format!("\"{account}\""),
        Engine::Mysql | Engine::Mariadb => format!("'{account}'@'%'"),
    };
    let names: Vec<String> = accounts.iter().map(quoted).collect();
    let verb = if engine == Engine::Postgres { "DROP ROLE" } else { "DROP USER" };
    format!("{verb} {}", names.join(", "))
}
