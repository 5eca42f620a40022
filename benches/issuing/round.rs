//! Rounds: Mayfly and the raw database in turn, with as many callers and as many accounts.

use crate::frame::{
    Figure, Kind, Line, Options, Outcome, Taken, Work, World, drive, drop_accounts, jobs, median, moment,
};

/// The most accounts one side makes before they are dropped: joining a group slows as the group grows.
const MOST: usize = 2_000;

/// The fewest; percentiles need some.
const FEWEST: usize = 60;

/// One side's numbers, a round each.
#[derive(Debug, Default)]
pub(crate) struct Side {
    /// Accounts per second.
    pub(crate) rates: Vec<f64>,
    /// Milliseconds.
    pub(crate) p50: Vec<f64>,
    /// Milliseconds.
    pub(crate) p99: Vec<f64>,
    /// Milliseconds of processor time of this process (Mayfly, callers, raw loop; not the servers) for one account.
    pub(crate) processor: Vec<f64>,
}

impl Side {
    fn add(&mut self, taken: &Taken) {
        self.rates.push(taken.rate());
        self.p50.push(taken.latency(0.5));
        self.p99.push(taken.latency(0.99));
        self.processor.push(taken.processor());
    }
}

/// Both sides.
#[derive(Debug, Default)]
pub(crate) struct Measured {
    pub(crate) mayfly: Side,
    pub(crate) raw: Side,
}

impl Measured {
    /// Accounts per second of the raw database.
    pub(crate) fn raw_rate(&self) -> f64 {
        median(&self.raw.rates)
    }
}

/// The lines of both sides, and one for the administrator who tidies up.
struct Table<'w> {
    world: &'w World,
    kind: Kind,
    mayfly: Vec<Line>,
    raw: Vec<Line>,
    administrator: Line,
}

/// How long it takes to draw a password and compute its verifier, one at a time: milliseconds, a median each round.
pub(crate) async fn preparing(world: &World, kind: Kind, options: &Options) -> Outcome<Figure> {
    let mut rounds = Vec::new();
    for _ in 0..options.rounds {
        let mut taken = Vec::new();
        for _ in 0..FEWEST {
            let began = moment();
            world.prepare(kind).await?;
            taken.push(began.elapsed().as_secs_f64() * 1e3);
        }
        rounds.push(median(&taken));
    }
    Ok(Figure::of(format!("issuing.{}.verifier", kind.name), "ms", &rounds, &[]))
}

/// Compares the two sides.
pub(crate) async fn compare(
    world: &World,
    kind: Kind,
    callers: usize,
    options: &Options,
) -> Outcome<Measured> {
    let mut table = Table {
        world,
        kind,
        mayfly: world.mayfly_lines(kind, callers).await?,
        raw: world.raw_lines(callers).await?,
        administrator: world.administrator().await?,
    };
    // Both sides warm up; the raw side's pace says how much a round is.
    table.one_side(true, 4 * FEWEST).await?;
    let pace = table.one_side(false, 4 * FEWEST).await?.rate();
    let calls = ((pace * options.seconds) as usize).clamp(FEWEST, MOST);
    let mut measured = Measured::default();
    for round in 0..options.rounds {
        for second in [false, true] {
            // Who goes first changes, so that neither always meets the quieter or the fuller machine.
            if (round % 2 == 0) == second {
                measured.raw.add(&table.one_side(false, calls).await?);
            } else {
                measured.mayfly.add(&table.one_side(true, calls).await?);
            }
        }
    }
    Ok(measured)
}

impl Table<'_> {
    async fn one_side(&mut self, mayfly: bool, calls: usize) -> Outcome<Taken> {
        let count = if mayfly { 0 } else { calls };
        let work = Work { calls, jobs: jobs(self.kind, self.world.group(), count)? };
        let lines = if mayfly { &mut self.mayfly } else { &mut self.raw };
        let (back, taken) = drive(std::mem::take(lines), &work).await?;
        *lines = back;
        drop_accounts(&mut self.administrator, self.kind.engine, &taken.accounts).await?;
        Ok(taken)
    }
}
