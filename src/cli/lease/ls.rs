//! `mayfly lease ls`.

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

use super::{
    super::{
        CliError, Connection, Context, Exit, pages,
        table::{self, Cell, Column},
        view,
    },
    FilterArgs, state, when,
};
use crate::api::proto;

const EXAMPLES: &str = "Examples:
  mayfly lease ls --state active --role orders-read
  mayfly lease ls --state ending            what cannot be removed yet (`lease show` says why)
  mayfly lease ls --principal ci --limit 0 -o json | jq -r '.leases[].name'";

/// Arguments of `mayfly lease ls`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct LsArgs {
    /// Which.
    #[command(flatten)]
    pub filter: FilterArgs,
    /// At most this many; 0: all
    #[arg(long, short = 'n', value_name = "COUNT", default_value_t = 50)]
    pub limit: usize,
}

pub(super) async fn run(args: LsArgs, context: &mut Context) -> Result<Exit, CliError> {
    #[derive(Serialize)]
    struct Reply {
        leases: Vec<view::LeaseView>,
        /// There are more than were asked for.
        truncated: bool,
    }
    let connection = context.connect()?;
    let (leases, truncated) = collect(&args, &connection).await?;
    if context.output.is_json() {
        context
            .output
            .json(&Reply { leases: leases.iter().map(view::LeaseView::from).collect(), truncated })?;
        return Ok(Exit::Ok);
    }
    if leases.is_empty() {
        context.output.note("no leases");
        return Ok(Exit::Ok);
    }
    let now = context.clock.now();
    let rows: Vec<_> = leases.iter().map(|lease| row(lease, now)).collect();
    let table = table::render(&COLUMNS, &rows, &context.output);
    context.output.data(&table)?;
    if truncated {
        context.output.note("there are more: --limit 0 shows all");
    }
    Ok(Exit::Ok)
}

async fn collect(args: &LsArgs, connection: &Connection) -> Result<(Vec<proto::Lease>, bool), CliError> {
    pages::up_to(args.limit, async |page_size, page_token| {
        let filter = Some(args.filter.to_proto());
        let request = connection.call(proto::ListLeasesRequest { page_size, page_token, filter });
        let reply = connection.leases().list_leases(request).await;
        let reply = reply.map_err(|status| connection.explain(&status))?.into_inner();
        Ok((reply.leases, reply.next_page_token))
    })
    .await
}

const COLUMNS: [Column; 6] = [
    Column::whole("LEASE"),
    Column::whole("STATE"),
    Column::cut("ROLE", 10),
    Column::cut("PRINCIPAL", 10),
    Column::cut("TARGET", 8),
    Column::whole("WHEN"),
];

fn row(lease: &proto::Lease, now: Timestamp) -> Vec<Cell> {
    vec![
        view::bare(&lease.name).into(),
        state(lease),
        view::bare(&lease.role).into(),
        (&lease.principal).into(),
        view::bare(&lease.target).into(),
        when(lease, now).into(),
    ]
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{
        super::{
            super::{Command, fake_server::Fake},
            LeaseCommand,
        },
        *,
    };
    use crate::clock::ManualClock;

    async fn list(line: &str) -> (Vec<String>, String, String) {
        let fake = Fake::start().await;
        let clock = Arc::new(ManualClock::new(Timestamp::from_second(1060).unwrap()));
        let (command, mut context, out, err) = fake.command(line, clock);
        let Command::Lease(LeaseCommand::Ls(args)) = command else { panic!("lease ls") };
        assert_eq!(run(args, &mut context).await.unwrap(), Exit::Ok);
        (fake.calls.so_far(), out.text(), err.text())
    }

    #[tokio::test]
    async fn pages_are_followed_up_to_the_limit() {
        let (calls, out, err) = list("lease ls -n 3").await;
        assert_eq!(calls, [r#"list 3 from """#, r#"list 1 from "3""#]);
        assert_eq!(out.lines().count(), 4, "{out}");
        assert!(out.contains("expires in 14m"), "{out}");
        assert!(err.starts_with("there are more"), "{err}");
        let (_, out, err) = list("lease ls -n 0").await;
        assert_eq!((out.lines().count(), err.as_str()), (5, ""));
    }
}
