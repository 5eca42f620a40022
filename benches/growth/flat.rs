//! The raw database's side: an administration account of its own that creates and drops as Mayfly's first version did, whatever it
//! holds: every account in the one group, all of them made by itself.

use std::sync::Arc;

use mayfly::{
    domain::Password,
    sandbox::{Administrator, Server},
};
use tokio::task::JoinSet;

use super::lap::{Budget, Lap, since};
use crate::frame::{Job, Kind, Line, Outcome, jobs, moment, scram_verifier};

/// The first release whose creators of roles become members of them.
const MEMBERS_SINCE: u32 = 16;

/// Accounts made in one transaction while the database is filled.
const AT_ONCE: usize = 250;

/// The raw side.
pub(super) struct Flat {
    administrator: Line,
    lines: Vec<Line>,
    group: String,
    members: bool,
    /// Accounts that are there all the time.
    live: usize,
}

/// Both halves of an account's life.
pub(super) struct Laps {
    pub(super) issuing: Lap,
    pub(super) ending: Lap,
}

impl Flat {
    /// Makes the account `flat`, which may what Mayfly's may.
    pub(super) async fn on(server: &Server, group: &str, callers: usize) -> Outcome<Self> {
        let mut administrator = Line::to_server(server, server.administrator()).await?;
        let members = server.version().major >= MEMBERS_SINCE;
        let admin = if members {
            format!("; GRANT \"{group}\" TO flat WITH ADMIN TRUE, INHERIT FALSE")
        } else {
            String::new()
        };
        administrator.send(&format!("CREATE ROLE flat LOGIN CREATEROLE PASSWORD 'flat'{admin}")).await?;
        let account = Administrator { user: "flat".to_owned(), password: Password::new("flat".to_owned()) };
        let mut lines = Vec::new();
        for _ in 0..callers {
            lines.push(Line::to_server(server, &account).await?);
        }
        Ok(Self { administrator, lines, group: group.to_owned(), members, live: 0 })
    }

    /// Fills up to so many accounts. A superuser makes them, which is quick on every release, and hands them to `flat`.
    pub(super) async fn fill(&mut self, live: usize) -> Outcome<()> {
        let verifier = scram_verifier(1);
        let handing = if self.members {
            "EXECUTE format('GRANT flat_%s TO flat WITH ADMIN TRUE, INHERIT FALSE, SET FALSE', i); "
        } else {
            ""
        };
        while self.live < live {
            let last = (self.live + AT_ONCE).min(live);
            let block = format!(
                "DO $$ BEGIN FOR i IN {}..{last} LOOP \
                 EXECUTE format('CREATE ROLE flat_%s LOGIN PASSWORD ''{verifier}'' VALID UNTIL ''infinity'' IN ROLE \"{}\"', i); \
                 {handing}END LOOP; END $$",
                self.live + 1,
                self.group
            );
            self.administrator.send(&block).await?;
            self.live = last;
        }
        Ok(())
    }

    /// Sweeps and counts the catalogs, as a server does by itself in time.
    pub(super) async fn vacuum(&mut self) -> Outcome<()> {
        for catalog in ["pg_authid", "pg_auth_members", "pg_shdescription", "pg_shdepend"] {
            self.administrator.send(&format!("VACUUM ANALYZE {catalog}")).await?;
        }
        Ok(())
    }

    /// Creates accounts with every line at once, and ends them again: no login, then no account.
    pub(super) async fn lap(&mut self, kind: Kind, calls: usize, seconds: f64) -> Outcome<Laps> {
        let jobs = jobs(kind, &self.group, calls)?;
        let (issuing, made) = self.all(jobs, Half::Create, seconds).await?;
        let (ending, _) = self.all(made.into(), Half::Drop, f64::from(u16::MAX)).await?;
        Ok(Laps { issuing, ending })
    }

    async fn all(&mut self, jobs: Arc<[Job]>, half: Half, seconds: f64) -> Outcome<(Lap, Vec<Job>)> {
        let (count, began) = (jobs.len(), moment());
        let budget = Arc::new(Budget::of(count, seconds));
        let next = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let mut tasks = JoinSet::new();
        for mut line in self.lines.drain(..) {
            let (jobs, budget, next) = (Arc::clone(&jobs), Arc::clone(&budget), Arc::clone(&next));
            tasks.spawn(async move {
                let mut done = Vec::new();
                while budget.take() {
                    let at = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    let job = jobs.get(at).ok_or("more calls than accounts")?;
                    let began = moment();
                    half.run(&mut line, job).await?;
                    done.push((at, since(began)));
                }
                Outcome::Ok((line, done))
            });
        }
        let (mut made, mut latencies) = (Vec::new(), Vec::new());
        for done in tasks.join_all().await {
            let (line, done) = done?;
            self.lines.push(line);
            latencies.extend(done.iter().map(|(_, latency)| *latency));
            let names = done.iter().filter_map(|(at, _)| jobs.get(*at));
            made.extend(names.map(|job| Job { account: job.account.clone(), message: String::new() }));
        }
        Ok((Lap::of(&latencies, began), made))
    }
}

#[derive(Debug, Clone, Copy)]
enum Half {
    Create,
    Drop,
}

impl Half {
    async fn run(self, line: &mut Line, job: &Job) -> Outcome<()> {
        match self {
            Self::Create => line.send(&job.message).await,
            Self::Drop => {
                line.send(&format!("ALTER ROLE \"{}\" NOLOGIN PASSWORD NULL", job.account)).await?;
                line.send(&format!("DROP ROLE \"{}\"", job.account)).await
            }
        }
    }
}
