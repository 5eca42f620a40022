//! Where text goes: secrets and data to standard output, words to standard error.

use std::{
    env,
    io::{self, IsTerminal as _, Write},
    time::Duration,
};

use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::CliError;

/// How replies are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum OutputFormat {
    /// For people.
    #[default]
    Text,
    /// For programs: one JSON document a reply, one a line for streams.
    Json,
}

/// The two streams of a command, passed in so that tests can read them.
pub struct Output {
    out: Box<dyn Write + Send>,
    err: Box<dyn Write + Send>,
    format: OutputFormat,
    colour: bool,
    width: Option<usize>,
    err_is_terminal: bool,
}

impl Output {
    /// The process's own streams. Colour only on a terminal and unless `NO_COLOR` is set (<https://no-color.org>).
    pub fn of_process(format: OutputFormat) -> Self {
        let out_is_terminal = io::stdout().is_terminal();
        let wanted = env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let dumb = env::var_os("TERM").is_some_and(|term| term == "dumb");
        let width = rustix::termios::tcgetwinsize(io::stdout()).ok().map(|size| usize::from(size.ws_col));
        Self {
            out: Box::new(io::stdout()),
            err: Box::new(io::stderr()),
            format,
            colour: out_is_terminal && wanted && !dumb,
            width: width.filter(|width| out_is_terminal && *width > 0),
            err_is_terminal: io::stderr().is_terminal(),
        }
    }

    /// Streams of one's own, not terminals.
    pub fn to(out: Box<dyn Write + Send>, err: Box<dyn Write + Send>, format: OutputFormat) -> Self {
        Self { out, err, format, colour: false, width: None, err_is_terminal: false }
    }

    /// Whether replies are written as JSON.
    pub fn is_json(&self) -> bool {
        self.format == OutputFormat::Json
    }

    /// Whether to colour.
    pub fn colour(&self) -> bool {
        self.colour
    }

    /// Columns of the terminal; `None` when there is none, and then nothing is cut.
    pub fn width(&self) -> Option<usize> {
        self.width
    }

    /// Writes data to standard output, ending it with a line break.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn data(&mut self, text: &str) -> Result<(), CliError> {
        self.out.write_all(text.as_bytes())?;
        if !text.ends_with('\n') {
            self.out.write_all(b"\n")?;
        }
        Ok(self.out.flush()?)
    }

    /// Writes one JSON document to standard output, on one line.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn json(&mut self, document: &impl Serialize) -> Result<(), CliError> {
        let text = serde_json::to_string(document)
            .map_err(|error| CliError::local("cannot write the reply as JSON", &error))?;
        self.data(&text)
    }

    /// Writes words to standard error. That they cannot be written changes nothing.
    pub fn note(&mut self, text: &str) {
        let _ = writeln!(self.err, "{text}").and_then(|()| self.err.flush());
    }

    /// Shows that something is going on; only when standard error is a terminal. It vanishes when dropped.
    pub fn spinner(&self, message: &str) -> Spinner {
        if !self.err_is_terminal {
            return Spinner(ProgressBar::hidden());
        }
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed}") {
            bar.set_style(style);
        }
        bar.set_message(message.to_owned());
        bar.enable_steady_tick(Duration::from_millis(120));
        Spinner(bar)
    }
}

/// A running indicator; dropping it removes it from the screen.
pub struct Spinner(ProgressBar);

impl Drop for Spinner {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

#[cfg(test)]
pub(crate) mod capture {
    use std::{
        io::{self, Write},
        sync::{Arc, Mutex},
    };

    use super::{Output, OutputFormat};

    /// A stream that tests can read.
    #[derive(Debug, Clone, Default)]
    pub(crate) struct Captured(Arc<Mutex<Vec<u8>>>);

    impl Captured {
        pub(crate) fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// An output with its standard output and standard error.
    pub(crate) fn output(format: OutputFormat) -> (Output, Captured, Captured) {
        let (out, err) = (Captured::default(), Captured::default());
        (Output::to(Box::new(out.clone()), Box::new(err.clone()), format), out, err)
    }
}

#[cfg(test)]
mod tests {
    use super::{capture::output, *};

    #[test]
    fn data_and_words_go_to_different_streams() {
        let (mut output, out, err) = output(OutputFormat::Text);
        output.data("secret").unwrap();
        output.note("word");
        assert_eq!((out.text().as_str(), err.text().as_str()), ("secret\n", "word\n"));
    }

    #[test]
    fn a_reader_that_left_is_told_apart() {
        struct Gone;
        impl Write for Gone {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut output = Output::to(Box::new(Gone), Box::new(Gone), OutputFormat::Text);
        assert!(matches!(output.data("x"), Err(CliError::OutputClosed)));
        output.note("x");
    }
}
