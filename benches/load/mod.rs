//! More than it can do: one principal asks for twice what can be issued, another asks as it always does, leases are short, and so
//! end all the while.
//!
//! The server is a process of its own. First a closed loop finds out what it can do, ends of leases included; then the application
//! alone says what it waits for when it is quiet; then both, in an open loop that does not slow down when the server does.

mod callers;
mod watch;

use std::time::Duration;

use mayfly::domain::Engine;

use self::{
    callers::{Fleet, Tally},
    watch::{Watched, drained, watch},
};
use super::frame::{Figure, Options, Outcome, Report, Serving, Site, binaries, say};

/// How many calls are under way while the server's limit is looked for.
const CLOSED: usize = 32;

/// Connections of the noisy principal: more streams than one may have are not under way at once.
const CONNECTIONS: usize = 16;

/// The application's share of what can be issued, and the noisy principal's.
const SHARES: (f64, f64) = (0.05, 1.95);

/// How long everything takes.
struct Length {
    ttl: u64,
    warm: Duration,
    saturated: Duration,
    quiet: Duration,
    flood: Duration,
}

impl Length {
    fn of(options: &Options) -> Self {
        let seconds = Duration::from_secs;
        if options.quick {
            Self { ttl: 1, warm: seconds(1), saturated: seconds(1), quiet: seconds(1), flood: seconds(3) }
        } else {
            Self { ttl: 5, warm: seconds(8), saturated: seconds(15), quiet: seconds(10), flood: seconds(60) }
        }
    }
}

/// Measures it.
pub(crate) async fn measure(options: &Options, report: &mut Report) -> Outcome<()> {
    for engine in [Engine::Postgres, Engine::Mariadb] {
        if !options.wants(engine) || (options.quick && engine != Engine::Postgres) {
            continue;
        }
        let Some(binaries) = binaries(engine, report) else { continue };
        let length = Length::of(options);
        let site = Site::build(vec![binaries], &format!("default_ttl = \"{}s\"", length.ttl)).await?;
        let serving = site.serve().await?;
        flood(engine, &site, &serving, &length, report).await?;
        serving.stop().await?;
        site.stop().await?;
    }
    Ok(())
}

async fn flood(
    engine: Engine,
    site: &Site,
    serving: &Serving,
    length: &Length,
    report: &mut Report,
) -> Outcome<()> {
    let app = Fleet::connect(site, serving, "application", 1).await?;
    let fleet = Fleet::connect(site, serving, "fleet", CONNECTIONS).await?;
    say(&format!("load: how much {engine} can do"));
    fleet.closed(CLOSED, length.warm).await?;
    let saturation = fleet.closed(CLOSED, length.saturated).await?;
    drained(site).await?;
    say("load: the application alone");
    let quiet = app.open(saturation * SHARES.0, length.quiet).await?;
    say("load: twice as much as it can do");
    let (watched, noisy, application) = tokio::join!(
        watch(site, serving, length.flood),
        fleet.open(saturation * SHARES.1, length.flood),
        app.open(saturation * SHARES.0, length.flood),
    );
    let (watched, noisy, application) = (watched?, noisy?, application?);
    drained(site).await?;
    let figures = Figures { engine, saturation, quiet, noisy, application, watched };
    figures.report(length.flood, report);
    Ok(())
}

struct Figures {
    engine: Engine,
    saturation: f64,
    quiet: Tally,
    noisy: Tally,
    application: Tally,
    watched: Watched,
}

impl Figures {
    fn report(self, flood: Duration, report: &mut Report) {
        let Self { engine, saturation, quiet, noisy, application, watched } = self;
        let mut add = |name: &str, unit, value: f64, baseline: Option<f64>, aim: fn(Figure) -> Figure| {
            let name = format!("load.{engine}.{name}");
            let baselines: Vec<f64> = baseline.into_iter().collect();
            report.add(aim(Figure::of(name, unit, &[value], &baselines)));
        };
        let none = |figure: Figure| figure;
        let zero = |figure: Figure| figure.at_most(0.0);
        let issued = (noisy.issued() + application.issued()) as f64 / flood.as_secs_f64();
        let sent = (noisy.sent() + application.sent()) as f64;
        add("saturation", "credentials/s", saturation, None, none);
        add("offered", "calls/s", sent / flood.as_secs_f64(), Some(saturation), none);
        add("goodput", "credentials/s", issued, Some(saturation), |figure| figure.ratio_at_least(0.8));
        add("shed", "share of calls", (noisy.shed() + application.shed()) as f64 / sent, None, none);
        add("shed.p99", "ms", noisy.shed_latency(0.99), None, none);
        add("shed.without-retry-info", "calls", (noisy.untold + application.untold) as f64, None, zero);
        add("other-errors", "calls", (noisy.other.len() + application.other.len()) as f64, None, zero);
        add("noisy.p99", "ms", noisy.latency(0.99), None, none);
        add("application.p50", "ms", application.latency(0.5), Some(quiet.latency(0.5)), none);
        add("application.p99", "ms", application.latency(0.99), Some(quiet.latency(0.99)), none);
        add("application.shed", "calls", application.shed() as f64, None, zero);
        add("memory", "MiB", watched.memory_at_end, Some(watched.memory_at_begin), none);
        add("memory-growth", "%", watched.growth() * 100.0, None, |figure| figure.at_most(10.0));
        add("ended-late", "s, at most", watched.latest, None, |figure| figure.at_most(5.0));
        for (error, count) in noisy.errors().into_iter().chain(application.errors()) {
            say(&format!("load: {count} calls ended with: {error}"));
        }
    }
}
