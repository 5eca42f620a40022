//! Asking for secrets: from the terminal without showing them, else line by line from standard input, else from a file. Never
//! from an option: options show in the list of processes.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufRead as _, IsTerminal as _, Read as _, Write as _},
    path::Path,
};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use super::{CliError, Exit};
use crate::domain::Password;

/// Far longer than any password or code.
const LONGEST: u64 = 4 * 1024;

/// What an interrupt is read as while it is not turned into a signal.
const INTERRUPT: char = '\u{3}';

/// Turns echo off while it lives, so that it is on again however the question ends.
struct Silent<'t> {
    terminal: &'t File,
    before: Termios,
}

impl<'t> Silent<'t> {
    fn on(terminal: &'t File) -> io::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut silent = before.clone();
        // An interrupt is read like a letter: as a signal it would leave the terminal without echo.
        silent.local_modes.remove(LocalModes::ECHO | LocalModes::ISIG);
        tcsetattr(terminal, OptionalActions::Flush, &silent)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Silent<'_> {
    fn drop(&mut self) {
        // Nothing else can be done about a terminal that is gone.
        let _ = tcsetattr(self.terminal, OptionalActions::Flush, &self.before);
        let _ = (&*self.terminal).write_all(b"\n");
    }
}

/// Whether somebody can be asked.
pub(super) fn is_interactive() -> bool {
    io::stdin().is_terminal()
}

/// Asks for a secret. `what` is what it is called: `Password`.
///
/// # Errors
/// When nothing can be read.
pub(super) fn secret(what: &str) -> Result<Password, CliError> {
    let text = if is_interactive() { from_terminal(what) } else { line_of(&mut io::stdin().lock()) };
    let text =
        text.map_err(|error| CliError::local(format!("cannot read the {}", what.to_lowercase()), &error))?;
    if text.contains(INTERRUPT) {
        return Err(CliError::new(Exit::of_signal(2), "interrupted"));
    }
    Ok(Password::new(text.to_string()))
}

/// Asks for a secret to come twice, when somebody is asked at all.
///
/// # Errors
/// When nothing can be read, or the two differ.
pub(super) fn new_secret(what: &str) -> Result<Password, CliError> {
    let first = secret(what)?;
    if is_interactive() && secret(&format!("{what} once more"))?.expose() != first.expose() {
        return Err(CliError::usage("the two are not the same; nothing was changed"));
    }
    Ok(first)
}

/// The secret in a file: its first line.
///
/// # Errors
/// When it cannot be read.
pub(super) fn from_file(path: &Path) -> Result<Password, CliError> {
    let read = File::open(path).and_then(|file| line_of(&mut io::BufReader::new(file)));
    let text = read.map_err(|error| CliError::local(format!("cannot read {}", path.display()), &error))?;
    Ok(Password::new(text.to_string()))
}

fn from_terminal(what: &str) -> io::Result<Zeroizing<String>> {
    let terminal = OpenOptions::new().read(true).write(true).open("/dev/tty")?;
    (&terminal).write_all(format!("{what}: ").as_bytes())?;
    let _silent = Silent::on(&terminal)?;
    line_of(&mut io::BufReader::new(&terminal))
}

/// One line without its end.
fn line_of(source: &mut impl io::BufRead) -> io::Result<Zeroizing<String>> {
    let mut line = Zeroizing::new(String::new());
    let read = source.take(LONGEST).read_line(&mut line)?;
    if read == 0 {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "nothing was given"));
    }
    let length = line.trim_end_matches(['\r', '\n']).len();
    line.truncate(length);
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_loses_its_end_and_nothing_else() {
        let mut source = io::Cursor::new(b" secret \r\nnext\nlast".to_vec());
        assert_eq!(&**line_of(&mut source).unwrap(), " secret ");
        assert_eq!(&**line_of(&mut source).unwrap(), "next");
        assert_eq!(&**line_of(&mut source).unwrap(), "last");
        assert_eq!(line_of(&mut source).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = from_file(Path::new("/nonexistent/password")).unwrap_err();
        assert!(error.to_string().contains("/nonexistent/password"), "{error}");
    }
}
