//! What the sections share: a Mayfly in front of a real server, callers' lines to either, closed loops, figures and their report, plots.
//! Nothing here knows what a section looks for.

mod child;
mod environment;
mod figure;
mod line;
mod measure;
mod options;
mod plot;
mod raw;
mod report;
mod section;
mod tidy;
mod world;

use std::error::Error;

use mayfly::{
    domain::Engine,
    sandbox::{Binaries, Locations},
};

pub(crate) use self::{
    child::{PROGRAM, Serving, Site},
    environment::Environment,
    figure::Figure,
    line::{Line, bearer},
    measure::{Taken, Work, drive, median, moment},
    options::Options,
    plot::{Chart, Panel, Series, Shape},
    raw::{Job, jobs, scram_verifier},
    report::Report,
    section::Section,
    tidy::drop_accounts,
    world::{Setup, World, write_private},
};

/// What everything here ends with: nobody but a person reads these errors.
pub(crate) type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// A kind of credential: on which engine, and with how many iterations of SCRAM where that applies.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kind {
    /// What figures call it.
    pub(crate) name: &'static str,
    /// The role it is issued under.
    pub(crate) role: &'static str,
    pub(crate) engine: Engine,
    pub(crate) iterations: u32,
}

/// An engine's server program; `None`, with a word about it in the report: it is not on this machine.
#[expect(clippy::print_stderr, reason = "it says what it leaves out")]
pub(crate) fn binaries(engine: Engine, report: &mut Report) -> Option<Binaries> {
    Binaries::find(engine, &Locations::from_environment())
        .inspect_err(|missing| {
            eprintln!("not measured: {missing}");
            report.environment.leave_out(engine);
        })
        .ok()
}

/// Says what is being done.
#[expect(clippy::print_stderr, reason = "it says what it does while it does it")]
pub(crate) fn say(words: &str) {
    eprintln!("{words} …");
}
