//! Logs. Words go to stderr; secrets go nowhere (the types that hold them redact themselves).

use std::io::IsTerminal as _;

use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _};

/// How logs look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter.
    #[error(
        "the log level {level:?} is not understood: use error, warn, info, debug or trace, or a filter such as \"mayfly=debug\""
    )]
    Level {
        /// As given.
        level: String,
        /// Why.
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    /// Somebody set up logging before.
    #[error("logging is set up already")]
    Twice(#[source] tracing_subscriber::util::TryInitError),
}

/// Sends logs to stderr from here on. Call once a process.
///
/// # Errors
/// When the level is not understood, or logging is set up already.
pub fn start(level: &str, format: LogFormat) -> Result<(), LogError> {
    let filter =
        EnvFilter::try_new(level).map_err(|source| LogError::Level { level: level.to_owned(), source })?;
    let registry = tracing_subscriber::registry().with(filter);
    let ansi = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let started = match format {
        LogFormat::Text => registry
            .with(fmt::layer().with_writer(std::io::stderr).with_ansi(ansi).with_target(false))
            .try_init(),
        LogFormat::Json => {
            registry.with(fmt::layer().json().flatten_event(true).with_writer(std::io::stderr)).try_init()
        }
    };
    started.map_err(LogError::Twice)
}
