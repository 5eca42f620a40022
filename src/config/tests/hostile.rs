//! Whatever the file holds: no panic, and no secret in what is said about it.

use proptest::prelude::*;

use super::{
    super::{ConfigError, SystemEnvironment},
    *,
};

/// A secret where none belongs, in several ways to write one.
const MISTAKES: [&str; 5] = [
    "[store]\npath = \"a\"\n[targets.orders]\nuser = \"m\"\npassword = \"hunter2\" # mine\nhosts = [\"db1\"]\n",
    "[targets]\norders = { user = \"m\", password = \"hunter2\", engine = 'mysql', hosts = 3 }\n",
    "[targets.orders]\npassword = \"\"\"\nhunter2\n\"\"\"\nuser = 'x'\nhosts = [ \"db1\",\n 'db2:x' ]\n",
    "[targets.orders]\npasword = 'hunter2'\n[server]\ntls = { key = 'hunter2' }\n",
    "targets.orders.password.value = \"hunter2\"\ntargets.orders.password_file = [ \"/a\" ]\n",
];

/// What is said about a text, in the file's name and in full.
fn said(text: &str) -> String {
    match load(text) {
        Ok(loaded) => loaded.warnings.iter().map(ToString::to_string).collect(),
        Err(error) => format!("{error} {error:?}"),
    }
}

#[test]
fn a_slip_of_the_finger_anywhere_shows_no_secret() {
    for text in MISTAKES {
        for (at, _) in text.char_indices() {
            for slip in ["", "\"", "'", "=", "\n", "x", "{", "]", "\\", "#"] {
                let mut slipped = text.to_owned();
                slipped.replace_range(at..=at, slip);
                if slipped.contains("hunter2") {
                    let said = said(&slipped);
                    assert!(!said.contains("hunter2"), "{said}\nin\n{slipped}");
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn any_text_is_read_without_a_panic(text in "([a-z]{1,6}|targets|roles|store|[\\[\\]{}=.,\"'\n #\\\\]|-?[0-9]|é|\u{1b}){0,40}") {
        said(&text);
    }

    #[test]
    fn any_value_of_any_key_is_judged_without_a_panic(
        key in proptest::sample::select(super::super::keys::KEYS.iter().map(|key| key.path).collect::<Vec<_>>()),
        value in "(\"[^\"\\\\\n\r\\x00-\\x1f\\x7f]{0,20}\"|-?[1-9][0-9]{0,20}|true|\\[\\]|\\[\"[a-z:\\[\\]*{}]{0,9}\"\\]|\\{ \\}|1979-05-27)",
    ) {
        let path = key.replace("NAME", "orders");
        let text = format!("{path} = {value}\n");
        prop_assert!(load(&text).is_err() || text.starts_with("store.path"));
    }
}

#[test]
fn the_real_machine_is_read_from_the_directory_of_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("mayfly.toml");
    let text = ORDERS.replace("password = \"env:ORDERS_PASSWORD\"", "password_file = \"secret\"");
    std::fs::write(&path, [STORE, &text].concat()).unwrap();
    std::fs::write(directory.path().join("secret"), "hunter2\n").unwrap();
    let config = Config::load(&path, &SystemEnvironment).unwrap().config;
    assert_eq!(config.store.path(), Some(directory.path().join("mayfly.db").as_path()));
    assert_eq!(config.targets.values().next().unwrap().password.as_ref().unwrap().expose(), "hunter2");
    std::fs::write(&path, b"\xff\xfe").unwrap();
    let error = Config::load(&path, &SystemEnvironment).unwrap_err();
    assert!(matches!(error, ConfigError::Unreadable { .. }), "{error}");
    assert!(std::error::Error::source(&error).is_some());
}
