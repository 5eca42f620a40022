//! `[sealing]` and `rotate_every`.

use std::time::Duration;

use super::{Machine, ORDERS, STORE, assert_refused, load_on, problems_on, sound};

const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const OTHER: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e20";

fn machine() -> Machine {
    let mut machine = Machine::usual().file("/etc/mayfly/sealing.key", KEY, 0o600);
    machine.variables.insert("SEALING", OTHER);
    machine.file("/etc/mayfly/short.key", "AAEC\n", 0o600)
}

fn whole(sealing: &str, target: &str) -> String {
    format!("{STORE}{sealing}\n{ORDERS}{target}\n")
}

#[test]
fn keys_come_from_a_file_or_from_a_variable() {
    for (written, keys) in [("key_file = \"sealing.key\"", KEY), ("key = \"env:SEALING\"", OTHER)] {
        let loaded = load_on(&machine(), &whole(&format!("[sealing]\n{written}"), "")).unwrap();
        assert_eq!(loaded.config.sealing.ids(), crate::sealing::Keyring::parse(keys).unwrap().ids());
        assert!(!format!("{:?}", loaded.config).contains(&keys[..12]), "a key is shown");
    }
    assert_eq!(sound(&whole("", "")).config.sealing.ids(), []);
}

#[test]
fn keys_that_cannot_be_used_are_refused_and_never_shown() {
    for (written, expected) in [
        ("", "sealing: needs key_file"),
        ("key_file = \"gone.key\"", "sealing.key_file: cannot read"),
        ("key_file = \"short.key\"", "sealing.key_file: \"/etc/mayfly/short.key\" is not 32 bytes long"),
        (&format!("key = \"{KEY}\""), "sealing.key: a key is not written into this file"),
        ("key = \"env:SEALING\"\nkey_file = \"sealing.key\"", "sealing.key_file: key is written as well"),
    ] {
        let text = whole(&format!("[sealing]\n{written}"), "");
        let problems = problems_on(&machine(), &text);
        assert!(problems.len() == 1 && problems[0].starts_with(expected), "{problems:?}, not {expected}");
        let shown = load_on(&machine(), &text).unwrap_err().to_string();
        assert!(!shown.contains(&KEY[..12]) && !shown.contains("AAEC\n"), "{shown}");
    }
}

#[test]
fn a_schedule_needs_a_key_and_a_password() {
    let schedule = "rotate_every = \"30d\"\n";
    assert_refused(&whole("", schedule), "targets.orders.rotate_every: needs [sealing]");
    let sealing = "[sealing]\nkey_file = \"sealing.key\"";
    let loaded = load_on(&machine(), &whole(sealing, schedule)).unwrap();
    let every: Vec<_> = loaded.config.rotation.into_iter().collect();
    assert_eq!(every, [("orders".parse().unwrap(), Duration::from_secs(30 * 86_400))]);
    let certificate = "[targets.orders]\nengine = \"postgres\"\nhosts = [\"db1\"]\nuser = \"mayfly\"\n\
         rotate_every = \"30d\"\n\
         [targets.orders.tls]\ncertificate_file = \"tls/cert.pem\"\nkey_file = \"tls/key.pem\"\n";
    let problems = problems_on(&machine(), &format!("{STORE}{sealing}\n{certificate}"));
    assert!(problems[0].starts_with("targets.orders.rotate_every: has nothing to rotate"), "{problems:?}");
}

#[test]
fn keys_and_schedules_change_live() {
    let (before, after) = (
        whole("[sealing]\nkey_file = \"sealing.key\"", "rotate_every = \"30d\"\n"),
        whole("[sealing]\nkey = \"env:SEALING\"", "rotate_every = \"7d\"\n"),
    );
    let load = |text: &str| load_on(&machine(), text).unwrap().config;
    let changes = load(&before).difference(&load(&after));
    let told: Vec<_> = changes.iter().map(ToString::to_string).collect();
    assert_eq!(told, ["sealing changes", "targets.orders.rotate_every changes"]);
}
