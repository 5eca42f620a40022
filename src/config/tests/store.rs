//! `[store]`.

use super::{super::StoreSettings, *};

const SHARED: &str =
    "[store]\npostgres = \"postgres://mayfly@db1:6000,db2/state\"\npassword_file = \"secret\"\n";

fn shared(machine: &Machine, text: &str) -> super::super::SharedStore {
    let loaded = load_on(machine, text).unwrap_or_else(|error| panic!("{error}"));
    match loaded.config.store {
        StoreSettings::Shared(shared) => *shared,
        StoreSettings::File(path) => panic!("{}", path.display()),
    }
}

#[test]
fn a_shared_store_has_a_place_a_password_and_the_hosts_name() {
    let machine = Machine::usual().file("/proc/sys/kernel/hostname", "node-7.example\n", 0o444);
    let store = shared(&machine, SHARED);
    assert_eq!(store.address.hosts, [("db1".to_owned(), 6000), ("db2".to_owned(), 5432)]);
    assert_eq!(store.password.unwrap().expose(), "hunter5");
    assert_eq!((store.replica.as_str(), store.schema.as_str()), ("node-7.example", "mayfly"));
    assert_eq!(store.tls.mode, crate::target::TlsMode::VerifyFull);
    let named = format!("{SHARED}replica = \"b\"\nschema = \"other\"\n");
    let store = shared(&Machine::usual(), &named);
    assert_eq!((store.replica.as_str(), store.schema.as_str()), ("b", "other"));
}

#[test]
fn what_is_wrong_with_a_store_is_told_and_no_password_shown() {
    for (text, expected) in [
        (format!("{SHARED}path = \"mayfly.db\"\nreplica = \"a\"\n"), "store.path: postgres is written as well"),
        (SHARED.to_owned(), "store.replica: is missing: the host has no name"),
        (format!("{SHARED}replica = \"a b\"\n"), "store.replica: \"a b\" is not a replica's name"),
        (format!("{SHARED}replica = \"a\"\nschema = \"A\"\n"), "store.schema: \"A\" is not a schema's name"),
        (
            "[store]\npostgres = \"postgres://m:hunter2@db1/state\"\npassword_file = \"secret\"\nreplica = \"a\"\n".to_owned(),
            "store.postgres: has a password in it",
        ),
        (
            "[store]\npostgres = \"postgres://m@db1/state\"\nreplica = \"a\"\n".to_owned(),
            "store.postgres: the account needs password_file",
        ),
        ("[store]\npath = \"a\"\nreplica = \"b\"\n".to_owned(), "store.replica: is for a store in PostgreSQL"),
    ] {
        let problems = problems(&text);
        assert!(problems.iter().any(|problem| problem.starts_with(expected)), "{problems:#?}\n{expected}");
        assert!(!load(&text).unwrap_err().to_string().contains("hunter"), "{text}");
    }
}
