//! What Mayfly takes when there is nothing to do, how fast it is there, and what the command line adds to an issue.
//!
//! The real program as a process of its own, with three targets on real servers, roles, TLS and the embedded store.

use std::{fs, time::Duration};

use mayfly::{
    api::proto::{IssueLeaseRequest, lease_service_client::LeaseServiceClient},
    domain::Engine,
    sandbox::Binaries,
};
use tonic::{
    Request,
    metadata::{Ascii, MetadataValue},
    transport::Channel,
};

use super::frame::{
    Figure, Line, Options, Outcome, PROGRAM, Report, Serving, Site, bearer, binaries, median, moment, say,
};

/// Targets that are configured.
const TARGETS: usize = 3;

/// After this long without calls nothing that a start or a call began is under way any more, threads for blocking work included.
const SETTLED: Duration = Duration::from_secs(12);

/// How much of everything.
struct Size {
    starts: usize,
    issues: usize,
    commands: usize,
    watched: Duration,
}

impl Size {
    fn of(options: &Options) -> Self {
        if options.quick {
            Self { starts: 2, issues: 100, commands: 10, watched: Duration::from_secs(3) }
        } else {
            Self { starts: 7, issues: 1_000, commands: 50, watched: Duration::from_secs(20) }
        }
    }
}

/// Measures it.
pub(crate) async fn measure(options: &Options, report: &mut Report) -> Outcome<()> {
    let Some(postgres) = binaries(Engine::Postgres, report) else { return Ok(()) };
    let size = Size::of(options);
    let mut servers: Vec<Binaries> = vec![postgres];
    if !options.quick {
        servers.extend(binaries(Engine::Mariadb, report));
    }
    while servers.len() < TARGETS {
        servers.extend(binaries(Engine::Postgres, report));
    }
    say("idle: starting");
    // On MariaDB nothing is issued here; its roles differ in what they may say.
    let site = Site::build(servers, "default_ttl = \"3s\"").await?;
    program(&site, &size, report).await?;
    let serving = site.serve().await?;
    tokio::time::sleep(if options.quick { Duration::from_secs(2) } else { SETTLED }).await;
    resident("idle.resident.after-start", &serving, report)?;
    wake_ups(&serving, &size, report).await?;
    let token = site.token(&serving, "caller").await?;
    say("idle: issuing, and waiting for the end of it");
    crowd(&site, &serving, &token, &size).await?;
    tokio::time::sleep(if options.quick { Duration::from_secs(2) } else { SETTLED }).await;
    resident("idle.resident.after-use", &serving, report)?;
    say("idle: the command line");
    commands(&site, &serving, &token, &size, report).await?;
    serving.stop().await?;
    site.stop().await
}

/// How large the program is, and how long it takes to be there.
async fn program(site: &Site, size: &Size, report: &mut Report) -> Outcome<()> {
    let megabytes = fs::metadata(PROGRAM)?.len() as f64 / 1e6;
    report.add(Figure::of("idle.program".to_owned(), "MB", &[megabytes], &[]));
    let mut starts = Vec::new();
    for _ in 0..size.starts {
        let serving = site.serve().await?;
        starts.push(serving.took.as_secs_f64() * 1e3);
        serving.stop().await?;
    }
    report.add(Figure::of("idle.start".to_owned(), "ms", &starts, &[]));
    Ok(())
}

fn resident(name: &str, serving: &Serving, report: &mut Report) -> Outcome<()> {
    let (all, own) = serving.resident()?;
    report.add(Figure::of(name.to_owned(), "MiB", &[all], &[]).at_most(30.0));
    report.add(Figure::of(format!("{name}.own"), "MiB", &[own], &[]));
    Ok(())
}

/// How often any thread of it was woken while nobody asked for anything. No deadline falls into that time.
async fn wake_ups(serving: &Serving, size: &Size, report: &mut Report) -> Outcome<()> {
    let before = switches(serving)?;
    tokio::time::sleep(size.watched).await;
    let woken = switches(serving)?.saturating_sub(before) as f64 / size.watched.as_secs_f64();
    report.add(Figure::of("idle.wake-ups".to_owned(), "/s", &[woken], &[]).at_most(0.0));
    Ok(())
}

/// What all threads waited so far, each time until somebody woke them. Those that ended are not counted any more.
fn switches(serving: &Serving) -> Outcome<u64> {
    let mut sum = 0;
    for task in fs::read_dir(serving.proc()?.join("task"))? {
        let Ok(status) = fs::read_to_string(task?.path().join("status")) else { continue };
        let count = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        sum += count.ok_or("no such line")?.trim().parse::<u64>()?;
    }
    Ok(sum)
}

/// Issues, and waits until everything has ended.
async fn crowd(site: &Site, serving: &Serving, token: &str, size: &Size) -> Outcome<()> {
    let mut client = site.leases(serving).await?;
    let bearer = bearer(token)?;
    for _ in 0..size.issues {
        issue(&mut client, &bearer).await?;
    }
    let line = site.administrator().await?;
    let Line::Postgres(line) = &line else { return Err("not PostgreSQL".into()) };
    for _ in 0..200 {
        let question = "SELECT count(*) FROM pg_roles WHERE starts_with(rolname, 'mf_')";
        if line.query_one(question, &[]).await?.try_get::<_, i64>(0)? == 0 {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Err("the leases do not end".into())
}

async fn issue(client: &mut LeaseServiceClient<Channel>, bearer: &MetadataValue<Ascii>) -> Outcome<()> {
    let message = IssueLeaseRequest { role: "role-0".to_owned(), ..IssueLeaseRequest::default() };
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", bearer.clone());
    client.issue_lease(request).await?;
    Ok(())
}

/// `mayfly creds`, from its start to its end, beside the same issue over a connection that is there already.
async fn commands(
    site: &Site,
    serving: &Serving,
    token: &str,
    size: &Size,
    report: &mut Report,
) -> Outcome<()> {
    let mut client = site.leases(serving).await?;
    let bearer = bearer(token)?;
    let (mut whole, mut bare) = (Vec::new(), Vec::new());
    for round in 0..=size.commands {
        let began = moment();
        let status = site.command(serving, token, &["creds", "role-0"]).status().await?;
        let command = began.elapsed().as_secs_f64() * 1e3;
        if !status.success() {
            return Err(format!("mayfly creds ended with {status}").into());
        }
        let began = moment();
        issue(&mut client, &bearer).await?;
        // The first of each warms up.
        if round > 0 {
            whole.push(command);
            bare.push(began.elapsed().as_secs_f64() * 1e3);
        }
    }
    report.add(Figure::of("idle.creds".to_owned(), "ms", &whole, &bare));
    let added: Vec<f64> = whole.iter().zip(&bare).map(|(whole, bare)| whole - bare).collect();
    let added = Figure::of("idle.creds.beyond-the-issue".to_owned(), "ms", &[median(&added)], &[]);
    report.add(added.at_most(30.0));
    Ok(())
}
