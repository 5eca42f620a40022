//! What Mayfly costs, beside the raw database, in one run: `cargo bench --bench bench [-- SECTION…] [--quick]`.
//!
//! Real servers from the sandbox, as durable as they are by default; a whole Mayfly (gRPC over TLS, tokens, policy, audit, durable
//! store); and, in turn with it, what does nothing but send the same statements. A section for each question; what they share is in
//! [`frame`]. `docs/benchmarks/README.md` says how to read what comes out.

#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts and times of a few minutes are far from where these casts go wrong"
)]

mod frame;
mod growth;
mod idle;
mod issuing;
mod leases;
mod load;
mod storm;

use std::process::ExitCode;

use self::frame::{Environment, Options, Outcome, Report, Section};

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

async fn run(options: &Options) -> Outcome<()> {
    let mut report = Report::new(Environment::of_this_machine(options));
    for section in Section::ALL {
        if !options.wants_section(section) {
            continue;
        }
        report.begin(section);
        match section {
            Section::Issuing => issuing::measure(options, &mut report).await?,
            Section::Growth => growth::measure(options, &mut report).await?,
            Section::Storm => storm::measure(options, &mut report).await?,
            Section::Leases => leases::measure(options, &mut report).await?,
            Section::Idle => idle::measure(options, &mut report).await?,
            Section::Load => load::measure(options, &mut report).await?,
        }
    }
    report.print()?;
    report.write(options)
}
