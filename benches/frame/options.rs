//! What is measured, and for how long.

use mayfly::domain::Engine;

use super::{Outcome, Section};

/// What the command line can say.
const HELP: &str = "SECTION… (issuing, growth, storm, leases, idle, load; none: all) --quick --full-size --publish \
    --only=postgres,mysql,… --callers=1,16 --rounds=N";

/// How a run goes.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// A short run, to see whether a change did harm.
    pub(crate) quick: bool,
    /// Write the report and plots into `docs/benchmarks` as well.
    pub(crate) publish: bool,
    /// Ten million ended leases instead of one.
    pub(crate) full_size: bool,
    /// Rounds that count, after one that warms up.
    pub(crate) rounds: usize,
    /// How long one side of a round takes, about, at the raw database's speed.
    pub(crate) seconds: f64,
    /// Callers at once.
    pub(crate) callers: Vec<usize>,
    only: Vec<String>,
    sections: Vec<Section>,
}

impl Options {
    /// Reads [`HELP`].
    pub(crate) fn from_arguments(arguments: impl Iterator<Item = String>) -> Outcome<Self> {
        let mut options = Self {
            quick: false,
            publish: false,
            full_size: false,
            rounds: 7,
            seconds: 1.0,
            callers: vec![1, 4, 16, 64],
            only: Vec::new(),
            sections: Vec::new(),
        };
        for argument in arguments {
            if argument == "--quick" {
                (options.quick, options.rounds, options.seconds) = (true, 2, 0.2);
                options.callers = vec![1, 16];
            } else if argument == "--full-size" {
                options.full_size = true;
            } else if argument == "--publish" {
                options.publish = true;
            } else if let Some(list) = argument.strip_prefix("--callers=") {
                options.callers = list.split(',').map(str::parse).collect::<Result<_, _>>()?;
            } else if let Some(rounds) = argument.strip_prefix("--rounds=") {
                options.rounds = rounds.parse::<usize>()?.max(1);
            } else if let Some(list) = argument.strip_prefix("--only=") {
                options.only.extend(list.split(',').map(str::to_owned));
            } else if argument.starts_with('-') {
                // Cargo says `--bench` to every benchmark.
                if argument != "--bench" {
                    return Err(format!("unknown option {argument}: {HELP}").into());
                }
            } else {
                options.sections.push(Section::named(&argument)?);
            }
        }
        let full = !options.quick && options.only.is_empty() && options.callers == [1, 4, 16, 64];
        if options.publish && !full {
            return Err(
                "what is published is measured in full: neither --quick nor --only nor --callers".into()
            );
        }
        Ok(options)
    }

    /// Whether a section is to be measured.
    pub(crate) fn wants_section(&self, section: Section) -> bool {
        self.sections.is_empty() || self.sections.contains(&section)
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
