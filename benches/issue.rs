//! Issuing, beside the raw database, in one run: `cargo bench --bench issue [-- --quick]`.
//!
//! Real servers from the sandbox, as durable as they are by default; a whole Mayfly (gRPC over TLS, tokens, policy, audit,
//! durable store) in this process; and, in turn with it, a minimal loop that sends the very same statements over as many
//! connections. `docs/benchmarks/README.md` says how to read what comes out.

#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts and times of a few minutes are far from where these casts go wrong"
)]

#[path = "issue/environment.rs"]
mod environment;
#[path = "issue/figure.rs"]
mod figure;
#[path = "issue/line.rs"]
mod line;
#[path = "issue/measure.rs"]
mod measure;
#[path = "issue/options.rs"]
mod options;
#[path = "issue/pgbench.rs"]
mod pgbench;
#[path = "issue/raw.rs"]
mod raw;
#[path = "issue/round.rs"]
mod round;
#[path = "issue/store.rs"]
mod store;
#[path = "issue/tidy.rs"]
mod tidy;
#[path = "issue/world.rs"]
mod world;

use std::{error::Error, process::ExitCode};

use mayfly::{
    domain::Engine,
    sandbox::{Binaries, Locations},
};

use self::{
    environment::Environment,
    figure::{Figure, Report},
    options::Options,
    world::World,
};

/// What everything here ends with: nobody but a person reads these errors.
type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// A kind of credential: on which engine, and with how many iterations of SCRAM where that applies.
#[derive(Debug, Clone, Copy)]
struct Kind {
    name: &'static str,
    role: &'static str,
    engine: Engine,
    iterations: u32,
}

const KINDS: [Kind; 4] = [
    Kind { name: "postgres.scram-4096", role: "bench-4096", engine: Engine::Postgres, iterations: 4096 },
    Kind { name: "postgres.scram-1", role: "bench-1", engine: Engine::Postgres, iterations: 1 },
    Kind { name: "mariadb", role: "bench", engine: Engine::Mariadb, iterations: 1 },
    Kind { name: "mysql", role: "bench", engine: Engine::Mysql, iterations: 1 },
];

#[expect(clippy::print_stderr, reason = "a program's last words")]
fn main() -> ExitCode {
    let ended = Options::from_arguments(std::env::args().skip(1)).and_then(|options| {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let ended = runtime.block_on(run(&options));
        runtime.shutdown_background();
        ended
    });
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the benchmark stopped: {error}");
            let mut cause = error.source();
            while let Some(deeper) = cause {
                eprintln!("  because: {deeper}");
                cause = deeper.source();
            }
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stderr, reason = "it says what it does while it does it")]
async fn run(options: &Options) -> Outcome<()> {
    let mut report = Report::new(Environment::of_this_machine(options));
    for engine in [Engine::Postgres, Engine::Mariadb, Engine::Mysql] {
        if !options.wants(engine) {
            continue;
        }
        match Binaries::find(engine, &Locations::from_environment()) {
            Ok(binaries) => measure_engine(binaries, options, &mut report).await?,
            Err(missing) => {
                eprintln!("not measured: {missing}");
                report.environment.leave_out(engine);
            }
        }
    }
    report.print()?;
    report.write()
}

#[expect(clippy::print_stderr, reason = "it says what it does while it does it")]
async fn measure_engine(binaries: Binaries, options: &Options, report: &mut Report) -> Outcome<()> {
    let engine = binaries.engine();
    let world = World::start(binaries, &KINDS, options).await?;
    report.environment.server(engine, &world);
    if engine == Engine::Postgres {
        report.environment.disk(world.directory())?;
        report.add(store::commits(&world, options).await?);
    }
    for kind in KINDS.iter().filter(|kind| kind.engine == engine && options.measures(kind.name)) {
        report.add(round::preparing(&world, *kind, options).await?);
        for &callers in &options.callers {
            eprintln!("{}, {callers} at once …", kind.name);
            let measured = round::compare(&world, *kind, callers, options).await?;
            let rate = measured.raw_rate();
            for figure in figure::of_issuing(kind, callers, &measured) {
                report.add(figure);
            }
            if callers == 16 && engine == Engine::Postgres {
                let checked: Option<Figure> =
                    pgbench::cross_check(&world, *kind, callers, rate, options).await?;
                if let Some(figure) = checked {
                    report.add(figure);
                }
            }
        }
    }
    world.stop().await
}
