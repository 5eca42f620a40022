//! How fast credentials are issued, beside the same statements sent by a loop that does nothing else.

mod figures;
mod pgbench;
mod round;
mod store;

use mayfly::{domain::Engine, sandbox::Binaries};

use super::frame::{self, Kind, Options, Outcome, Report, Setup, World};

const KINDS: [Kind; 4] = [
    Kind { name: "postgres.scram-4096", role: "bench-4096", engine: Engine::Postgres, iterations: 4096 },
    Kind { name: "postgres.scram-1", role: "bench-1", engine: Engine::Postgres, iterations: 1 },
    Kind { name: "mariadb", role: "bench", engine: Engine::Mariadb, iterations: 1 },
    Kind { name: "mysql", role: "bench", engine: Engine::Mysql, iterations: 1 },
];

/// Measures it, engine by engine.
pub(crate) async fn measure(options: &Options, report: &mut Report) -> Outcome<()> {
    let mut paces = Vec::new();
    for engine in [Engine::Postgres, Engine::Mariadb, Engine::Mysql] {
        if options.wants(engine)
            && let Some(binaries) = frame::binaries(engine, report)
        {
            paces.extend(measure_engine(binaries, options, report).await?);
        }
    }
    report.plot("issuing-rate", &figures::rates_chart(&paces));
    report.plot("issuing-wait", &figures::waits_chart(&paces));
    Ok(())
}

async fn measure_engine(
    binaries: Binaries,
    options: &Options,
    report: &mut Report,
) -> Outcome<Vec<figures::Pace>> {
    let engine = binaries.engine();
    let callers = options.callers.iter().copied().max().unwrap_or(1);
    let world = World::start(binaries, Setup { kinds: &KINDS, callers, ..Setup::default() }).await?;
    report.environment.server(engine, &world);
    if engine == Engine::Postgres {
        report.environment.disk(world.directory())?;
        report.add(store::commits(&world, options).await?);
    }
    let mut all = Vec::new();
    for kind in KINDS.iter().filter(|kind| kind.engine == engine && options.measures(kind.name)) {
        report.add(round::preparing(&world, *kind, options).await?);
        let mut pace = figures::Pace::of(kind);
        for &callers in &options.callers {
            frame::say(&format!("issuing: {}, {callers} at once", kind.name));
            let measured = round::compare(&world, *kind, callers, options).await?;
            pace.add(callers, &measured);
            for figure in figures::of(kind, callers, &measured) {
                report.add(figure);
            }
            if callers == 16
                && engine == Engine::Postgres
                && let Some(figure) =
                    pgbench::cross_check(&world, *kind, callers, measured.raw_rate(), options).await?
            {
                report.add(figure);
            }
        }
        all.push(pace);
    }
    world.stop().await?;
    Ok(all)
}
