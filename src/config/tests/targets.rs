//! `[targets.NAME]`.

use super::*;
use crate::{
    domain::Engine,
    target::{AuthPlugin, Expiry, TargetSettings, TlsMode},
};

fn target(text: &str) -> TargetSettings {
    sound(&[STORE, text].concat()).config.targets.into_values().next().unwrap()
}

/// The orders target with one thing replaced.
fn with(from: &str, to: &str) -> String {
    assert!(ORDERS.contains(from));
    [STORE, &ORDERS.replace(from, to)].concat()
}

#[test]
fn a_target_is_read_whole() {
    let orders = target(&format!(
        "{ORDERS}client_hosts = [\"pool:6432\", \"[::1]\"]\ndatabase = \"shop\"\n[targets.orders.tls]\nmode = \"verify-full\"\nca_file = \"tls/cert.pem\"\n\
         certificate_file = \"tls/cert.pem\"\nkey_file = \"tls/key.pem\"\n[targets.orders.pool]\nissuing = 2\nwait = \"500ms\"\n"
    ));
    assert_eq!((orders.name.as_str(), orders.engine), ("orders", Engine::Postgres));
    assert_eq!(orders.hosts, [("db1".to_owned(), 5432)]);
    assert_eq!(orders.client_hosts, [("pool".to_owned(), 6432), ("::1".to_owned(), 5432)]);
    assert_eq!(orders.password.unwrap().expose(), "hunter2");
    assert_eq!(orders.tls.client_certificate.unwrap().1, Path::new("/etc/mayfly/tls/key.pem"));
    assert_eq!((orders.pool.issuing, orders.pool.ending, orders.pool.wait.as_millis()), (2, 4, 500));
}

#[test]
fn a_secret_comes_from_outside_and_is_never_shown() {
    let text = ORDERS.replace("password = \"env:ORDERS_PASSWORD\"", "password_file = \"secret\"");
    assert_eq!(target(&text).password.unwrap().expose(), "hunter5");
    assert!(!format!("{:?}", sound(&[STORE, ORDERS, STOCK].concat())).contains("hunter"));
    for (line, expected) in [
        ("password = \"hunter2\"", "targets.orders.password: a password is not written into this file"),
        ("password = \"env:\"", "targets.orders.password: a password is not written into this file"),
        ("password = \"env:hunter 2\"", "targets.orders.password: a password is not written into this file"),
        ("password = 1234", "targets.orders.password: expected a text in quotes, found a number"),
        (
            "password = \"env:NOT_SET\"",
            "targets.orders.password: the environment variable NOT_SET is not set",
        ),
        ("password_file = \"none\"", "targets.orders.password_file: cannot read \"/etc/mayfly/none\""),
        ("password_file = \"empty\"", "targets.orders.password_file: \"/etc/mayfly/empty\" is empty"),
        (
            "password_file = \"lines\"",
            "targets.orders.password_file: \"/etc/mayfly/lines\" holds more than one line",
        ),
        ("password_file = \"\"", "targets.orders.password_file: is empty"),
        (
            "password = \"env:ORDERS_PASSWORD\"\npassword_file = \"secret\"",
            "targets.orders.password_file: password is written as well",
        ),
        ("", "targets.orders: the administration account needs password_file"),
    ] {
        let machine = Machine::usual().file("/etc/mayfly/empty", "\r\n", 0o600).file(
            "/etc/mayfly/lines",
            "hunter2\nhunter3",
            0o600,
        );
        let text = with("password = \"env:ORDERS_PASSWORD\"", line);
        let problems = problems_on(&machine, &text);
        assert!(problems.len() == 1 && problems[0].starts_with(expected), "{problems:#?}\n{expected}");
        let error = load_on(&machine, &text).unwrap_err().to_string();
        assert!(!error.contains("1234") && !error.contains("hunter"), "{error}");
    }
}

#[test]
fn a_secret_others_can_read_is_warned_about() {
    let machine = Machine::usual().file("/etc/mayfly/open", "hunter2", 0o644);
    let loaded =
        load_on(&machine, &with("password = \"env:ORDERS_PASSWORD\"", "password_file = \"open\"")).unwrap();
    assert_eq!(loaded.warnings.len(), 1);
    assert_eq!(
        loaded.warnings[0].message,
        "\"/etc/mayfly/open\" can be read by others (mode 0644): chmod 600 it"
    );
}

#[test]
fn a_client_certificate_can_stand_in_for_a_password() {
    let bare = ORDERS.replace("password = \"env:ORDERS_PASSWORD\"\n", "");
    let both = "certificate_file = \"tls/cert.pem\"\nkey_file = \"tls/key.pem\"\n";
    assert!(target(&format!("{bare}[targets.orders.tls]\n{both}")).password.is_none());
    for (lines, expected) in [
        (
            "certificate_file = \"tls/cert.pem\"",
            "targets.orders.tls.certificate_file: needs key_file as well",
        ),
        ("key_file = \"tls/key.pem\"", "targets.orders.tls.key_file: needs certificate_file as well"),
    ] {
        assert_refused(&format!("{STORE}{ORDERS}[targets.orders.tls]\n{lines}\n"), expected);
    }
}

#[test]
fn tls_is_verified_unless_said_otherwise_or_nobody_is_on_the_way() {
    let mode = |text: &str| target(text).tls.mode;
    assert_eq!(mode(ORDERS), TlsMode::VerifyFull);
    assert_eq!(mode(STOCK), TlsMode::Disable);
    assert_eq!(mode(&ORDERS.replace("\"db1\"", "\"localhost\", \"db1\"")), TlsMode::VerifyFull);
    assert_eq!(
        mode(&format!("{STOCK}[targets.stock.tls]\nca_file = \"tls/cert.pem\"\n")),
        TlsMode::VerifyFull
    );
    let tls = |lines: &str| format!("{STORE}{ORDERS}[targets.orders.tls]\n{lines}\n");
    assert_warned(&tls("mode = \"disable\""), "targets.orders.tls.mode: what Mayfly and the server say");
    assert_warned(
        &tls("mode = \"require\""),
        "targets.orders.tls.mode: the server's certificate is not verified",
    );
    assert_eq!(warnings(&format!("{STORE}{STOCK}[targets.stock.tls]\nmode = \"disable\"\n")), [""; 0]);
    assert_refused(
        &tls("mode = \"verify-ca\""),
        "targets.orders.tls.mode: expected \"disable\" or \"require\"",
    );
    assert_refused(
        &tls("mode = \"require\"\nca_file = \"tls/cert.pem\""),
        "targets.orders.tls.ca_file: is looked at only with mode = \"verify-full\"",
    );
}

#[test]
fn hosts_are_checked_one_by_one() {
    for (hosts, expected) in [
        ("[]", "targets.orders.hosts: names no host"),
        ("[\"db1\", \"db1:5432\"]", "targets.orders.hosts: \"db1:5432\" is named twice"),
        ("[\"db1:0\"]", "targets.orders.hosts: \"db1:0\" has no port between 1 and 65535"),
        ("[\"db1:66000\"]", "targets.orders.hosts: \"db1:66000\" has no port between 1 and 65535"),
        ("[\"::1\"]", "targets.orders.hosts: \"::1\" is an IPv6 address: write it in brackets"),
        ("[\"db'1\"]", "targets.orders.hosts: \"db'1\" is not a host"),
        ("[3]", "targets.orders.hosts: expected a text in quotes"),
        ("\"db1\"", "targets.orders.hosts: expected a list of texts, found a text"),
    ] {
        let problems = problems(&with("[\"db1\"]", hosts));
        assert!(problems[0].starts_with(expected), "{problems:#?}\n{expected}");
    }
}

#[test]
fn names_are_ones_the_engine_takes() {
    let long = "x".repeat(64);
    for (to, expected) in [
        ("user = \"\"".to_owned(), "targets.orders.user: is empty"),
        ("user = \"a\\u0000b\"".to_owned(), "targets.orders.user: has a NUL byte"),
        (format!("user = \"{long}\""), "targets.orders.user: is 64 bytes long; at most 63 are allowed"),
        (format!("user = \"a\"\ndatabase = \"{long}\""), "targets.orders.database: is 64 bytes long"),
    ] {
        assert_refused(&with("user = \"mayfly\"", &to), expected);
    }
    assert_refused(
        &with("[targets.orders]", "[targets.\"or ders\"]"),
        "targets.\"or ders\": it has ' ' at byte 2",
    );
    assert_refused(&with("[targets.orders]", "[targets.\"\"]"), "targets.\"\": it is empty");
}

#[test]
fn expiry_is_left_to_the_issuer_only_in_so_many_words() {
    for text in [STOCK, BILLING] {
        assert_eq!(target(text).expiry, Expiry::Server);
        assert_eq!(target(&format!("{text}expiry = \"issuer\"\n")).expiry, Expiry::Issuer);
    }
    let problems = problems(&format!("{STORE}{ORDERS}expiry = \"issuer\"\n"));
    assert!(
        problems.len() == 1 && problems[0].contains("expiry: is for MySQL and MariaDB only"),
        "{problems:?}"
    );
}

#[test]
fn a_plugin_is_chosen_on_mariadb_only() {
    assert_eq!(target(STOCK).auth_plugin, AuthPlugin::NativePassword);
    assert_eq!(target(&format!("{STOCK}auth_plugin = \"ed25519\"\n")).auth_plugin, AuthPlugin::Ed25519);
    for text in [ORDERS, BILLING] {
        let problems = problems(&format!("{STORE}{text}auth_plugin = \"ed25519\"\n"));
        assert!(
            problems.len() == 1 && problems[0].contains("auth_plugin: is for MariaDB only"),
            "{problems:?}"
        );
    }
}

#[test]
fn pools_have_bounds() {
    for line in [
        "issuing = 0",
        "ending = 0",
        "ending = 1001",
        "wait = \"10ms\"",
        "connect = \"1h\"",
        "statement = \"0s\"",
    ] {
        assert_refused(&format!("{STORE}{ORDERS}[targets.orders.pool]\n{line}\n"), "targets.orders.pool.");
    }
}
