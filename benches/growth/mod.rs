//! What live accounts on one PostgreSQL server cost those that come and go: issuing and ending with a hundred to fifty thousand of them.
//!
//! Both sides have as many: Mayfly its own leases, the raw loop those of an administration account of its own. Neither is a superuser.

mod flat;
mod lap;
mod ours;

use mayfly::{
    domain::Engine,
    sandbox::{Binaries, Locations},
};

use self::{
    flat::Flat,
    ours::{Call, Caller, call},
};
use super::frame::{self, Chart, Figure, Kind, Options, Outcome, Panel, Report, Series, Setup, Shape, World};

const KIND: Kind =
    Kind { name: "postgres.scram-1", role: "bench-1", engine: Engine::Postgres, iterations: 1 };

/// The other release, beside the one that is found first: whoever creates a role there becomes a member of it.
const OTHER: &str = "18";

/// Callers at once.
const CALLERS: usize = 8;

/// Accounts a side makes and ends in a round at most, and how long it makes them at most.
const CALLS: usize = 400;
const SECONDS: f64 = 2.0;

/// Measures it, release by release.
pub(crate) async fn measure(options: &Options, report: &mut Report) -> Outcome<()> {
    if !options.wants(Engine::Postgres) {
        return Ok(());
    }
    let mut panels = Vec::new();
    for binaries in releases(options, report) {
        panels.extend(measure_release(binaries, options, report).await?);
    }
    let title = "One account more, by accounts that are there: median, milliseconds".to_owned();
    report.plot("growth", &Chart { title, panels });
    Ok(())
}

/// The releases at hand; of several, a quick run takes the one with more to tell.
fn releases(options: &Options, report: &mut Report) -> Vec<Binaries> {
    let first = frame::binaries(Engine::Postgres, report);
    let locations = Locations::from_environment();
    let bin = locations.cache.as_ref().map(|cache| cache.join("pg").join(OTHER).join("native/bin"));
    let other = bin.filter(|bin| bin.join("postgres").exists()).and_then(|bin| {
        Binaries::find(Engine::Postgres, &Locations { postgres_bin: Some(bin), ..locations }).ok()
    });
    let mut all: Vec<Binaries> = first.into_iter().chain(other).collect();
    all.dedup_by_key(|binaries| binaries.version().major);
    let from = if options.quick { all.len().saturating_sub(1) } else { 0 };
    all.split_off(from)
}

/// Values of rounds on one side.
#[derive(Debug, Default)]
struct Rounds {
    rate: Vec<f64>,
    p50: Vec<f64>,
}

impl Rounds {
    fn add(&mut self, lap: &lap::Lap) {
        self.rate.push(lap.rate);
        self.p50.push(lap.p50);
    }
}

async fn measure_release(binaries: Binaries, options: &Options, report: &mut Report) -> Outcome<Vec<Panel>> {
    let release = binaries.version().major;
    let sizes: &[usize] = if options.quick { &[100, 1_000] } else { &[100, 1_000, 10_000, 50_000] };
    let world =
        World::start(binaries, Setup { kinds: &[KIND], callers: CALLERS, ..Setup::default() }).await?;
    let lines = world.mayfly_lines(KIND, CALLERS).await?;
    let mut callers: Vec<Caller> = lines.into_iter().map(Caller::on).collect();
    let mut flat = Flat::on(world.server(), world.group(), CALLERS).await?;
    let (mut live, mut plots) = (0, [(); 4].map(|()| Vec::new()));
    for &size in sizes {
        frame::say(&format!("growth: PostgreSQL {release}, {size} live accounts"));
        flat.fill(size).await?;
        call(&mut callers, Call::Issue, size - live, f64::from(u16::MAX)).await?;
        live = size;
        flat.vacuum().await?;
        let [mut issued, mut created, mut ended, mut dropped] = [(); 4].map(|()| Rounds::default());
        for round in 0..=rounds(options) {
            let raw = flat.lap(KIND, CALLS, SECONDS).await?;
            let issuing = call(&mut callers, Call::Issue, CALLS, SECONDS).await?;
            let more = issuing.calls;
            let ending = call(&mut callers, Call::Release, more, f64::from(u16::MAX)).await?;
            // The first one warms up.
            if round > 0 {
                issued.add(&issuing);
                created.add(&raw.issuing);
                ended.add(&ending);
                dropped.add(&raw.ending);
            }
        }
        for (what, ours, raw) in [("issue", &issued, &created), ("end", &ended, &dropped)] {
            let named = |figure: &str| format!("growth.postgres-{release}.live-{size}.{what}.{figure}");
            report.add(Figure::of(named("rate"), "accounts/s", &ours.rate, &raw.rate));
            report.add(Figure::of(named("p50"), "ms", &ours.p50, &raw.p50));
        }
        for (plot, rounds) in plots.iter_mut().zip([&issued, &created, &ended, &dropped]) {
            plot.push(frame::median(&rounds.p50));
        }
    }
    world.stop().await?;
    Ok(conclude(release, sizes, plots, report))
}

/// Rounds that count.
fn rounds(options: &Options) -> usize {
    if options.quick { 1 } else { options.rounds.min(3) }
}

/// How much longer an account takes with the most there than with the fewest; and the plots.
fn conclude(release: u32, sizes: &[usize], plots: [Vec<f64>; 4], report: &mut Report) -> Vec<Panel> {
    let growth = |values: &[f64]| values.last().zip(values.first()).map(|(last, first)| last / first);
    let [issued, created, ended, dropped] = plots;
    let mut panels = Vec::new();
    for (what, ours, raw) in [("issue", issued, created), ("end", ended, dropped)] {
        let (grown, raw_grown) = (growth(&ours), growth(&raw));
        report.add(
            Figure::of(
                format!("growth.postgres-{release}.{what}.p50-growth"),
                "times",
                grown.as_slice(),
                raw_grown.as_slice(),
            )
            .at_most(2.0),
        );
        panels.push(Panel {
            title: format!("PostgreSQL {release}, {what}"),
            across: "live accounts".to_owned(),
            labels: sizes.iter().map(ToString::to_string).collect(),
            series: vec![
                Series { name: "Mayfly", values: ours },
                Series { name: "the raw database", values: raw },
            ],
            shape: Shape::Lines,
        });
    }
    panels
}
