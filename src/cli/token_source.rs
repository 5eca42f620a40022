//! Which API token a command calls with. Never an option: it would show in the list of processes.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

use tonic::metadata::{Ascii, MetadataValue};
use zeroize::Zeroizing;

use super::{CliError, Exit, session_file};

/// The variable that holds a token.
pub(super) const TOKEN_VARIABLE: &str = "MAYFLY_TOKEN";

/// Far longer than any token; a file above that is something else.
const LONGEST_FILE: u64 = 16 * 1024;

/// An API token, as it is sent.
#[derive(Clone)]
pub(super) struct BearerToken(MetadataValue<Ascii>);

impl BearerToken {
    pub(super) fn parse(text: &str, origin: &str) -> Result<Self, CliError> {
        let header = Zeroizing::new(format!("Bearer {}", text.trim()));
        let printable = text.trim().chars().all(|c| c.is_ascii_graphic()) && !text.trim().is_empty();
        let mut value: MetadataValue<Ascii> =
            header.parse().ok().filter(|_| printable).ok_or_else(|| {
                CliError::new(Exit::Unauthenticated, format!("{origin} does not hold a token"))
            })?;
        value.set_sensitive(true);
        Ok(Self(value))
    }

    /// The value of the `authorization` header.
    pub(super) fn header(&self) -> MetadataValue<Ascii> {
        self.0.clone()
    }
}

impl fmt::Debug for BearerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BearerToken([redacted])")
    }
}

/// Finds the token: the file named by `--token-file` or `MAYFLY_TOKEN_FILE`, else `MAYFLY_TOKEN`, else the session of
/// `mayfly login` at that server, else the file at the usual place. `None` when there is none. An option typed now wins over a variable set earlier.
///
/// # Errors
/// When the file named cannot be read, or what was found is no token.
pub(super) fn find(
    file: Option<&Path>,
    address: &str,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Option<BearerToken>, CliError> {
    if let Some(file) = file {
        return of_file(file).map(Some);
    }
    if let Some(text) = variable(TOKEN_VARIABLE).filter(|text| !text.is_empty()).map(Zeroizing::new) {
        return BearerToken::parse(&text, TOKEN_VARIABLE).map(Some);
    }
    for file in [session_file::path(address, &variable), usual_file(&variable)].into_iter().flatten() {
        match read(&file) {
            Ok(text) => return BearerToken::parse(&text, &file.display().to_string()).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(unreadable(&file, &error)),
        }
    }
    Ok(None)
}

/// The token in a file.
///
/// # Errors
/// When it cannot be read, or holds none.
pub(super) fn of_file(file: &Path) -> Result<BearerToken, CliError> {
    let text = read(file).map_err(|error| unreadable(file, &error))?;
    BearerToken::parse(&text, &file.display().to_string())
}

fn unreadable(file: &Path, error: &io::Error) -> CliError {
    CliError::local(format!("cannot read the token file {}", file.display()), error)
}

/// `$XDG_CONFIG_HOME/mayfly/token` or `~/.config/mayfly/token`.
fn usual_file(variable: &impl Fn(&str) -> Option<String>) -> Option<PathBuf> {
    let set = |name| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = set("XDG_CONFIG_HOME").or_else(|| set("HOME").map(|home| home.join(".config")))?;
    Some(home.join("mayfly").join("token"))
}

fn read(file: &Path) -> io::Result<Zeroizing<String>> {
    use std::io::Read as _;
    let mut text = Zeroizing::new(String::new());
    fs::File::open(file)?.take(LONGEST_FILE).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER: &str = "http://127.0.0.1:7440";

    #[test]
    fn a_session_is_used_at_its_own_server_before_the_usual_file_and_after_the_variable() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().display().to_string();
        let usual = home.path().join(".config/mayfly/token");
        fs::create_dir_all(usual.parent().unwrap()).unwrap();
        fs::write(&usual, "mf_usual\n").unwrap();
        let without = |name: &str| (name == "HOME").then(|| path.clone());
        let file = session_file::path(SERVER, without).unwrap();
        session_file::write(&file, "mfs_session").unwrap();
        assert_eq!(header(find(None, SERVER, without).unwrap()).unwrap(), "Bearer mfs_session");
        assert_eq!(header(find(None, "http://127.0.0.1:1", without).unwrap()).unwrap(), "Bearer mf_usual");
        let with_variable =
            |name: &str| if name == "MAYFLY_TOKEN" { Some("mf_variable".to_owned()) } else { without(name) };
        assert_eq!(header(find(None, SERVER, with_variable).unwrap()).unwrap(), "Bearer mf_variable");
    }

    fn header(token: Option<BearerToken>) -> Option<String> {
        token.map(|token| token.header().to_str().unwrap().to_owned())
    }

    #[test]
    fn a_file_named_now_wins_over_the_variable_and_that_over_the_usual_file() {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir_all(home.path().join("mayfly")).unwrap();
        fs::write(home.path().join("mayfly/token"), "mf_usual\n").unwrap();
        let named = home.path().join("named");
        fs::write(&named, "mf_named\n").unwrap();
        let config = home.path().display().to_string();
        let with_variable = |name: &str| match name {
            "MAYFLY_TOKEN" => Some("mf_variable".to_owned()),
            "XDG_CONFIG_HOME" => Some(config.clone()),
            _ => None,
        };
        let without = |name: &str| (name == "XDG_CONFIG_HOME").then(|| config.clone());
        assert_eq!(header(find(Some(&named), SERVER, with_variable).unwrap()).unwrap(), "Bearer mf_named");
        assert_eq!(header(find(None, SERVER, with_variable).unwrap()).unwrap(), "Bearer mf_variable");
        assert_eq!(header(find(None, SERVER, without).unwrap()).unwrap(), "Bearer mf_usual");
        assert_eq!(header(find(None, SERVER, |_| None).unwrap()), None);
    }

    #[test]
    fn a_missing_or_senseless_file_is_an_error_without_its_content() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(
            find(Some(&directory.path().join("none")), SERVER, |_| None).unwrap_err().exit().code(),
            1
        );
        let file = directory.path().join("junk");
        fs::write(&file, "mf_a b\u{7f}").unwrap();
        let error = find(Some(&file), SERVER, |_| None).unwrap_err();
        assert_eq!(error.exit().code(), 3);
        assert!(!error.to_string().contains("mf_a"), "{error}");
    }

    #[test]
    fn debug_shows_nothing_of_it() {
        let token = BearerToken::parse("mf_secret", "x").unwrap();
        assert!(!format!("{token:?} {:?}", token.header()).contains("secret"));
    }
}
