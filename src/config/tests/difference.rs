//! What a reload changes.

use super::{
    super::{Change, Part},
    *,
};

const READ: &str = "[roles.read]\ntarget = \"orders\"\nmember_of = [\"a\"]\nallow = [\"*\"]\n";

fn between(old: &[&str], new: &[&str]) -> Vec<Change> {
    sound(&old.concat()).config.difference(&sound(&new.concat()).config)
}

fn told(changes: &[Change]) -> Vec<String> {
    changes.iter().map(Change::to_string).collect()
}

#[test]
fn nothing_differs_from_itself() {
    assert_eq!(between(&[STORE, ORDERS, READ], &[STORE, ORDERS, READ]), []);
}

#[test]
fn targets_and_roles_change_live() {
    let orders = ORDERS.replace("\"db1\"", "\"db2\"");
    let read = format!("{READ}leases_total = 5\n");
    let changes = between(&[STORE, ORDERS, READ], &[STORE, &orders, STOCK, &read]);
    assert_eq!(
        told(&changes),
        ["targets.orders.hosts changes", "targets.stock is added", "roles.read.leases_total changes",]
    );
    assert_eq!(changes[0].part, Part::Target("orders".parse().unwrap()));
    assert_eq!(
        told(&between(&[STORE, ORDERS, READ], &[STORE])),
        ["targets.orders is removed", "roles.read is removed"]
    );
}

#[test]
fn a_password_that_changed_is_noticed_and_not_shown() {
    let (old, mut machine) = (sound(&[STORE, ORDERS].concat()).config, Machine::usual());
    machine.variables.insert("ORDERS_PASSWORD", "hunter9");
    let new = load_on(&machine, &[STORE, ORDERS].concat()).unwrap().config;
    assert_eq!(told(&old.difference(&new)), ["targets.orders.password changes"]);
}

#[test]
fn what_is_built_in_needs_a_restart() {
    let tls = "[server.tls]\ncertificate_file = \"tls/cert.pem\"\nkey_file = \"tls/key.pem\"\n";
    for (new, expected) in [
        (
            format!("{STORE}[server]\nlisten = \"127.0.0.1:1\"\n"),
            "server.listen changes from 127.0.0.1:7440 to 127.0.0.1:1 (needs a restart)",
        ),
        (
            format!("{STORE}[server]\ncalls_per_second_per_principal = 1\n"),
            "server.calls_per_second_per_principal changes from 50 to 1 (needs a restart)",
        ),
        (
            format!("{STORE}[server]\nshutdown_grace = \"1s\"\n"),
            "server.shutdown_grace changes (needs a restart)",
        ),
        (format!("{STORE}{tls}"), "server.tls changes (needs a restart)"),
        (
            STORE.replace("mayfly.db", "b.db"),
            "store.path changes from /etc/mayfly/mayfly.db to /etc/mayfly/b.db (needs a restart)",
        ),
        (format!("{STORE}[audit]\nfile = \"a\"\n"), "audit.file changes (needs a restart)"),
        (format!("{STORE}[log]\nformat = \"json\"\n"), "log.format changes (needs a restart)"),
        (
            format!("{STORE}[metrics]\nlisten = \"127.0.0.1:9464\"\n"),
            "metrics.listen changes (needs a restart)",
        ),
    ] {
        assert_eq!(told(&between(&[STORE], &[&new])), [expected]);
    }
    let engine = BILLING.replace("\"mysql\"", "\"mariadb\"");
    let changes = between(&[STORE, BILLING], &[STORE, &engine]);
    assert_eq!(told(&changes), ["targets.billing.engine changes from mysql to mariadb (needs a restart)"]);
}
