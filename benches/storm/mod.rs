//! Thousands of leases that expire in the same second, while callers keep issuing.
//!
//! The leases are made through Mayfly, some with a session that is open, and with terms that end in the same second. Callers issue under another
//! role before and all the while. The clock starts when that second does, and stops when the store has recorded every one as ended
//! and the server has none of their accounts. In turn with it, on the same server: the same number of accounts, dropped by nothing but `DROP`.

mod alone;
mod callers;
mod making;
mod watching;

use jiff::{SignedDuration, Timestamp};
use mayfly::{
    clock::{Clock as _, SystemClock},
    domain::Engine,
    sandbox::Binaries,
};

use self::callers::Calls;
use super::frame::{self, Figure, Kind, Options, Outcome, Report, Setup, World};

/// Those who keep issuing.
const CALLERS: usize = 8;

/// For this long, at the least, callers are watched before the storm.
const QUIET: SignedDuration = SignedDuration::from_secs(4);

/// The roles: of what expires, and of what callers ask for meanwhile.
const KINDS: [Kind; 6] = [
    Kind { name: "postgres", role: "storm", engine: Engine::Postgres, iterations: 1 },
    Kind { name: "mariadb", role: "storm", engine: Engine::Mariadb, iterations: 1 },
    Kind { name: "mysql", role: "storm", engine: Engine::Mysql, iterations: 1 },
    Kind { name: "postgres", role: "calls", engine: Engine::Postgres, iterations: 4096 },
    Kind { name: "mariadb", role: "calls", engine: Engine::Mariadb, iterations: 1 },
    Kind { name: "mysql", role: "calls", engine: Engine::Mysql, iterations: 1 },
];

/// How big a storm is.
#[derive(Debug, Clone, Copy)]
struct Size {
    leases: usize,
    sessions: usize,
    /// Seconds it takes to make them, at the most.
    making: i64,
}

impl Size {
    fn of(engine: Engine, options: &Options) -> Self {
        let (leases, sessions, a_second) =
            if engine == Engine::Postgres { (10_000, 200, 600) } else { (2_000, 50, 200) };
        let share = if options.quick { 10 } else { 1 };
        let (leases, sessions) = (leases / share, sessions / share);
        Self { leases, sessions, making: i64::try_from(leases / a_second).unwrap_or(0) + 1 }
    }
}

/// What came of one storm.
struct Storm {
    /// Seconds until all were gone.
    gone: f64,
    /// Sessions that still answered then.
    alive: usize,
    before: Calls,
    during: Calls,
    /// Seconds that dropping as many accounts takes.
    alone: f64,
}

/// Measures it, engine by engine.
pub(crate) async fn measure(options: &Options, report: &mut Report) -> Outcome<()> {
    for engine in [Engine::Postgres, Engine::Mariadb, Engine::Mysql] {
        if options.wants(engine)
            && let Some(binaries) = frame::binaries(engine, report)
        {
            measure_engine(binaries, options, report).await?;
        }
    }
    Ok(())
}

async fn measure_engine(binaries: Binaries, options: &Options, report: &mut Report) -> Outcome<()> {
    let engine = binaries.engine();
    let size = Size::of(engine, options);
    let setup = Setup { kinds: &KINDS, callers: CALLERS, ..Setup::default() };
    let world = World::start(binaries, setup).await?;
    report.environment.server(engine, &world);
    let mut storms = Vec::new();
    for round in 0..(if options.quick { 1 } else { 2 }) {
        frame::say(&format!("storm: {engine}, {} leases, round {}", size.leases, round + 1));
        storms.push(storm(&world, size).await?);
    }
    for figure in figures(engine, &storms) {
        report.add(figure);
    }
    world.stop().await
}

async fn storm(world: &World, size: Size) -> Outcome<Storm> {
    let engine = world.server().engine();
    let kind = |role: &str| KINDS.into_iter().find(|kind| kind.engine == engine && kind.role == role);
    let (expiring, calling) = (kind("storm").ok_or("no role")?, kind("calls").ok_or("no role")?);
    let alone = alone::drop_as_many(world, expiring, size.leases).await?;
    let due = last_moment(size);
    let made = making::make(world, expiring, size.leases, due).await?;
    let sessions = made.sessions(world, size.sessions).await?;
    if SystemClock.now() + QUIET > due {
        return Err("the leases took too long to make: nothing could be measured before they expire".into());
    }
    let calling = callers::begin(world, calling).await?;
    // Terms are whole seconds, so the first of them expires up to a second before the last.
    let begins = due - SignedDuration::from_secs(1);
    until(begins).await;
    let (began, quiet_since) = (frame::moment(), calling.since());
    let gone = watching::until_gone(world, expiring, began).await?;
    let (ended, calls) = (frame::moment(), calling.stop().await?);
    Ok(Storm {
        gone: gone.as_secs_f64(),
        alive: sessions.alive().await,
        before: calls.between(quiet_since, began),
        during: calls.between(began, ended),
        alone,
    })
}

/// When the last lease is due: on a whole second, with time to make them and to watch callers before.
fn last_moment(size: Size) -> Timestamp {
    let at = SystemClock.now() + SignedDuration::from_secs(size.making + 2) + QUIET;
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

async fn until(at: Timestamp) {
    let left = at.duration_since(SystemClock.now()).try_into().unwrap_or_default();
    tokio::time::sleep(left).await;
}

fn figures(engine: Engine, storms: &[Storm]) -> Vec<Figure> {
    let of = |pick: fn(&Storm) -> f64| storms.iter().map(pick).collect::<Vec<f64>>();
    let name = |what: &str| format!("storm.{engine}.{what}");
    let gone = Figure::of(name("gone-within"), "s", &of(|storm| storm.gone), &of(|storm| storm.alone));
    let waits = Figure::of(
        name("issuing-p99"),
        "ms",
        &of(|storm| storm.during.latency(0.99)),
        &of(|storm| storm.before.latency(0.99)),
    );
    let within = waits.ratio.is_some_and(|ratio| ratio <= 3.0);
    let rates = Figure::of(
        name("issuing-rate"),
        "credentials/s",
        &of(|storm| storm.during.rate()),
        &of(|storm| storm.before.rate()),
    );
    vec![
        if engine == Engine::Postgres { gone.at_most(5.0) } else { gone },
        Figure::of(name("drop-alone"), "s", &of(|storm| storm.alone), &[]),
        waits.aiming("ratio ≤ 3", within),
        Figure::of(
            name("issuing-p50"),
            "ms",
            &of(|storm| storm.during.latency(0.5)),
            &of(|storm| storm.before.latency(0.5)),
        ),
        rates,
        Figure::of(name("sessions-alive"), "sessions", &of(|storm| storm.alive as f64), &[]).at_most(0.0),
    ]
}
