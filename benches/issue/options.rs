//! What is measured, and for how long.

use mayfly::domain::Engine;

use super::Outcome;

/// How a run goes.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// A short run, to see whether a change did harm.
    pub(crate) quick: bool,
    /// Rounds that count, after one that warms up.
    pub(crate) rounds: usize,
    /// How long one side of a round takes, about, at the raw database's speed.
    pub(crate) seconds: f64,
    /// Callers at once.
    pub(crate) callers: Vec<usize>,
    only: Vec<String>,
}

impl Options {
    /// `--quick`; words that name kinds of credential, such as `postgres` or `mysql`, leave the others out; `--callers=1,16`.
    pub(crate) fn from_arguments(arguments: impl Iterator<Item = String>) -> Outcome<Self> {
        let mut options =
            Self { quick: false, rounds: 7, seconds: 1.0, callers: vec![1, 4, 16], only: Vec::new() };
        for argument in arguments {
            if argument == "--quick" {
                (options.quick, options.rounds, options.seconds) = (true, 3, 0.35);
            } else if let Some(list) = argument.strip_prefix("--callers=") {
                options.callers = list.split(',').map(str::parse).collect::<Result<_, _>>()?;
            } else if let Some(rounds) = argument.strip_prefix("--rounds=") {
                options.rounds = rounds.parse::<usize>()?.max(1);
            } else if argument.starts_with('-') {
                // Cargo says `--bench` to every benchmark.
                if argument != "--bench" {
                    return Err(format!("unknown option {argument}").into());
                }
            } else {
                options.only.push(argument);
            }
        }
        Ok(options)
    }

    /// Whether anything on an engine is to be measured.
    pub(crate) fn wants(&self, engine: Engine) -> bool {
        self.only.is_empty() || self.only.iter().any(|word| word.starts_with(engine.as_str()))
    }

    /// Whether a kind of credential is to be measured.
    pub(crate) fn measures(&self, kind: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|word| kind.starts_with(word.as_str()))
    }
}
