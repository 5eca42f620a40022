//! The reference and the sample say what the code does.

use std::{collections::BTreeSet, path::Path};

use toml::de::DeTable;

use super::{
    super::{
        keys::{KEYS, Presence},
        reader::Reader,
        whole,
    },
    Machine, load, sound, warnings,
};

const REFERENCE: &str = include_str!("../../../docs/configuration.md");
const SAMPLE: &str = include_str!("../../../examples/mayfly.toml");

/// The first three cells of every row that is about a key.
fn rows() -> Vec<[String; 3]> {
    let rows = REFERENCE.lines().filter(|line| line.starts_with("| `"));
    rows.map(|line| {
        let mut cells = line.split('|').map(|cell| cell.trim().to_owned()).skip(1);
        [(); 3].map(|()| cells.next().unwrap())
    })
    .collect()
}

#[test]
fn the_reference_lists_every_key_with_its_type_and_default() {
    let expected: Vec<[String; 3]> = KEYS
        .iter()
        .map(|key| {
            let default = match key.presence {
                Presence::Required => "required".to_owned(),
                Presence::Optional => "–".to_owned(),
                Presence::Default(text) => format!("`{text}`"),
            };
            [format!("`{}`", key.path), key.kind.to_string(), default]
        })
        .collect();
    let written = rows();
    for (written, expected) in written.iter().zip(&expected) {
        assert_eq!(written, expected);
    }
    assert_eq!(written.len(), expected.len());
}

#[test]
fn every_key_that_is_listed_is_read_and_no_other() {
    let text = "[notifications.a]\n[targets.a]\n[targets.a.tls]\n[targets.a.pool]\n[roles.a]\n[roles.a.statements]\n[server.tls]\n[[approvals.a.steps]]\n[identity.a]\n[identity.a.sign_in]\n[policy]\n[risk.a]\n[roles.b]\nkind = 'elevation'\n[roles.c]\nkind = 'checkout'";
    let (machine, table) = (Machine::usual(), DeTable::parse(text).unwrap());
    let reader = Reader::new(&machine, Path::new(""));
    whole(&reader.root(table.get_ref()));
    assert_eq!(reader.asked(), KEYS.iter().map(|key| key.path).collect::<BTreeSet<_>>());
}

#[test]
fn the_sample_is_right_and_nothing_about_it_is_doubtful() {
    let config = sound(SAMPLE).config;
    assert_eq!(warnings(SAMPLE), [""; 0]);
    assert_eq!(config.targets.len(), 3);
    assert_eq!(config.roles.len(), 6);
}

#[test]
fn the_sample_mentions_every_key() {
    for key in KEYS {
        let word = key.path.rsplit('.').next().unwrap();
        let written = |line: &str| line.trim_start_matches("# ").starts_with(&format!("{word} = "));
        assert!(SAMPLE.lines().any(written), "{}", key.path);
    }
}

#[test]
fn the_small_example_of_the_reference_is_right() {
    let example = REFERENCE.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    let machine = Machine::usual().file("/etc/mayfly/orders.password", "hunter2\n", 0o600);
    let loaded = super::load_on(&machine, example).unwrap();
    assert_eq!(loaded.warnings, []);
    assert!(load(example).is_err(), "without the password's file");
}

#[test]
fn the_defaults_of_a_pool_are_those_of_the_target_room() {
    let pool = &sound(&[super::STORE, super::ORDERS].concat()).config;
    let pool = &pool.targets.values().next().unwrap().pool;
    assert_eq!(format!("{pool:?}"), format!("{:?}", crate::target::PoolSettings::default()));
}
