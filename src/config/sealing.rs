//! `[sealing]`: the keys that administration passwords are sealed with.

use super::{
    reader::{Located, Reader, quoted},
    secret,
    section::Section,
};
use crate::sealing::Keyring;

const INSTEAD: &str = "a key is not written into this file: put it into a file that only Mayfly can read and name that with \
                       key_file = \"…\", or into an environment variable and write key = \"env:NAME\"";

/// The keys; none when the section is not written. `None`: something is wrong.
pub(super) fn sealing(section: &Section<'_>) -> Option<Keyring> {
    let (reader, inline, file) = (section.reader, section.text("key"), section.path("key_file"));
    match (inline, file) {
        (Some(_), Some(file)) => {
            reader.complain(&file.at, "key is written as well; keep one of the two");
            None
        }
        (Some(inline), None) => {
            let text = secret::from_variable(reader, &inline, INSTEAD)?;
            keys(reader, &inline, "the environment variable", text.expose())
        }
        (None, Some(file)) if reader.environment.withholds_secrets() => {
            keys(reader, &file, "nothing", secret::WITHHELD)
        }
        (None, Some(file)) => {
            secret::warn_if_exposed(reader, &file);
            match reader.environment.read(&file.value) {
                Ok(text) => keys(reader, &file, &quoted(&file.value.to_string_lossy()), &text),
                Err(error) => {
                    let error = secret::SecretFileError::Unreadable(error);
                    reader.complain(&file.at, secret::about(&file, &error));
                    None
                }
            }
        }
        (None, None) if section.is_written() => {
            reader.complain(&section.at, "needs key_file = \"…\" or key = \"env:NAME\"");
            None
        }
        (None, None) => Some(Keyring::default()),
    }
}

fn keys<T>(reader: &Reader<'_>, written: &Located<T>, from: &str, text: &str) -> Option<Keyring> {
    let keys = Keyring::parse(text);
    keys.map_err(|error| reader.complain(&written.at, format!("{from} {error}"))).ok()
}
