//! The figures of issuing, and their plot.

use mayfly::domain::Engine;

use super::round::Measured;
use crate::frame::{Chart, Figure, Kind, Panel, Series, Shape, median};

/// The callers at which the aims are set.
const AIMED_AT: usize = 16;

/// Credentials a second that PostgreSQL is to issue, at whatever number of callers, when its verifiers cost nothing.
const BARE_RATE: f64 = 5_000.0;

/// One kind of credential at one number of callers.
pub(super) fn of(kind: &Kind, callers: usize, measured: &Measured) -> Vec<Figure> {
    let (mayfly, raw) = (&measured.mayfly, &measured.raw);
    let named = |what: &str| format!("issuing.{}.callers-{callers}.{what}", kind.name);
    let bare = kind.engine == Engine::Postgres && kind.iterations == 1;
    let mut rate = Figure::of(named("rate"), "credentials/s", &mayfly.rates, &raw.rates);
    if bare && callers >= AIMED_AT {
        rate = rate.at_least(BARE_RATE);
    } else if callers == AIMED_AT {
        rate = rate.ratio_at_least(0.75);
    }
    let mut figures = vec![
        rate,
        Figure::of(named("p50"), "ms", &mayfly.p50, &raw.p50),
        Figure::of(named("p99"), "ms", &mayfly.p99, &raw.p99),
        Figure::of(named("processor"), "ms", &mayfly.processor, &raw.processor),
    ];
    if callers == 1 {
        let overheads: Vec<f64> = mayfly.p50.iter().zip(&raw.p50).map(|(ours, raw)| ours - raw).collect();
        figures.push(Figure::of(named("p50-overhead"), "ms", &overheads, &[]).at_most(2.0));
    }
    figures
}

/// How one kind of credential fares, over callers.
pub(super) struct Pace {
    kind: &'static str,
    callers: Vec<String>,
    rates: Sides,
    waits: Sides,
}

/// Mayfly's values, and the raw database's.
#[derive(Default)]
struct Sides {
    mayfly: Vec<f64>,
    raw: Vec<f64>,
}

impl Pace {
    pub(super) fn of(kind: &Kind) -> Self {
        Self { kind: kind.name, callers: Vec::new(), rates: Sides::default(), waits: Sides::default() }
    }

    pub(super) fn add(&mut self, callers: usize, measured: &Measured) {
        self.callers.push(callers.to_string());
        self.rates.mayfly.push(median(&measured.mayfly.rates));
        self.rates.raw.push(measured.raw_rate());
        self.waits.mayfly.push(median(&measured.mayfly.p50));
        self.waits.raw.push(median(&measured.raw.p50));
    }

    fn panel(&self, sides: &Sides, shape: Shape) -> Panel {
        Panel {
            title: self.kind.to_owned(),
            across: "callers at once".to_owned(),
            labels: self.callers.clone(),
            series: vec![
                Series { name: "Mayfly", values: sides.mayfly.clone() },
                Series { name: "the raw database", values: sides.raw.clone() },
            ],
            shape,
        }
    }
}

/// A panel for each kind of credential: how many a second.
pub(super) fn rates_chart(paces: &[Pace]) -> Chart {
    let panels = paces.iter().map(|pace| pace.panel(&pace.rates, Shape::Bars)).collect();
    Chart { title: "Credentials issued a second".to_owned(), panels }
}

/// A panel for each kind of credential: how long a caller waits.
pub(super) fn waits_chart(paces: &[Pace]) -> Chart {
    let panels = paces.iter().map(|pace| pace.panel(&pace.waits, Shape::Lines)).collect();
    Chart { title: "What a caller waits for a credential: median, milliseconds".to_owned(), panels }
}
