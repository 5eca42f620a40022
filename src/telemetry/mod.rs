//! What can be seen of Mayfly from outside: logs, and numbers over HTTP.
//!
//! Words go to stderr; secrets go nowhere (the types that hold them redact themselves). Numbers are served in clear text to
//! anybody who can connect: names of targets and roles may enter them, principals, accounts and errors' words may not.

mod listener;
mod scrape;

use std::io::{self, IsTerminal as _};

use tracing_subscriber::{
    EnvFilter, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _, util::TryInitError,
};

pub use listener::MetricsListener;
pub use scrape::Scrape;

use crate::config::{LogFormat, LogSettings};

/// Logging was set up before in this process.
#[derive(Debug, thiserror::Error)]
#[error("logging is set up already")]
pub struct LogError(#[source] TryInitError);

/// Sends logs to stderr from here on: Mayfly's own at the level configured, those of libraries from warnings up. Call once a
/// process.
///
/// # Errors
/// When logging is set up already.
pub fn start(settings: &LogSettings) -> Result<(), LogError> {
    let filter = EnvFilter::new(format!("warn,mayfly={}", settings.level.as_str()));
    let registry = tracing_subscriber::registry().with(filter);
    let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let ansi = io::stderr().is_terminal() && !no_colour;
    let started = match settings.format {
        LogFormat::Text => {
            registry.with(fmt::layer().with_writer(io::stderr).with_ansi(ansi).with_target(false)).try_init()
        }
        LogFormat::Json => {
            registry.with(fmt::layer().json().flatten_event(true).with_writer(io::stderr)).try_init()
        }
    };
    started.map_err(LogError)
}
