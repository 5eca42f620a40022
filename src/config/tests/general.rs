//! Syntax, unknown keys, positions, and the sections about Mayfly itself.

use std::time::Duration;

use super::{
    super::{ClientCertificates, LogFormat, LogLevel},
    *,
};

#[test]
fn little_is_needed_and_the_rest_has_defaults() {
    let config = sound(STORE).config;
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:7440");
    assert_eq!(config.server.max_message_bytes, 65_536);
    assert_eq!(config.server.shutdown_grace, Duration::from_secs(20));
    assert_eq!(config.server.tls, None);
    assert_eq!(config.store.path(), Some(Path::new("/etc/mayfly/mayfly.db")));
    assert_eq!((config.log.level, config.log.format), (LogLevel::Info, LogFormat::Text));
    assert_warned(STORE, "targets: there is no target");
    assert_eq!(
        problems(""),
        ["store.path: is missing: path, or postgres = \"postgres://USER@HOST:PORT/DATABASE\""]
    );
}

#[test]
fn numbers_are_shown_on_loopback_unless_more_is_allowed() {
    let with = |text: &str| format!("{STORE}[metrics]\n{text}");
    let listen = |text: &str| sound(&with(text)).config.metrics.map(|metrics| metrics.listen.to_string());
    assert_eq!(listen(""), None);
    assert_eq!(listen("listen = \"[::1]:9464\""), Some("[::1]:9464".to_owned()));
    let open = "listen = \"0.0.0.0:9464\"\nallow_beyond_loopback = true";
    assert_eq!(listen(open), Some("0.0.0.0:9464".to_owned()));
    let refused = problems(&with("listen = \"0.0.0.0:9464\""));
    assert!(refused[0].starts_with("metrics.listen: beyond loopback anybody"), "{refused:?}");
    let refused = problems(&with("listen = \"9464\""));
    assert!(refused[0].starts_with("metrics.listen: \"9464\" is not an address and port"), "{refused:?}");
}

#[test]
fn tells_everything_that_is_wrong_in_the_order_of_the_file() {
    let text = "[server]\nlisten = \"here\"\nmax_mesage_bytes = 1\nshutdown_grace = \"-3s\"\n[store]\npath = 3\n[log]\nlevel = \"inform\"\n\
                [targets.Orders]\nengine = \"postgre\"\n[roles.a]\ntarget = \"stock\"\nmax_ttl = \"1m\"\n";
    let expected = [
        "server.listen: \"here\" is not an address and port",
        "server.max_mesage_bytes: unknown key; did you mean max_message_bytes?",
        "server.shutdown_grace: \"-3s\" is not a duration",
        "store.path: expected a text in quotes, found a number",
        "log.level: expected \"error\" or \"warn\"",
        "targets.Orders: it has 'O' at byte 0",
        "targets.Orders.hosts: is missing: list of texts",
        "targets.Orders.user: is missing: text",
        "targets.Orders: the administration account needs",
        "targets.Orders.engine: expected \"postgres\" or \"mysql\" or \"mariadb\", found \"postgre\"; did you mean \"postgres\"?",
        "roles.a.target: there is no target \"stock\"; known targets: Orders",
        "roles.a.max_ttl: default_ttl (15m) is above max_ttl (1m)",
    ];
    let problems = problems(text);
    assert_eq!(problems.len(), expected.len(), "{problems:#?}");
    for (problem, expected) in problems.iter().zip(expected) {
        assert!(problem.starts_with(expected), "{problem}\n{expected}");
    }
}

#[test]
fn says_where_with_the_line() {
    let text = format!("{STORE}{ORDERS}[roles.read]\ntarget = \"ordrs\"\n");
    assert_eq!(
        load(&text).unwrap_err().to_string(),
        "/etc/mayfly/mayfly.toml:9:10: roles.read.target: there is no target \"ordrs\"; known targets: orders\n  |\n\
         9 | target = \"ordrs\"\n  |          ^^^^^^^"
    );
}

#[test]
fn syntax_is_refused_with_its_position_and_without_the_value() {
    for (text, expected) in [
        ("[store]\npath = \"a\"\npath = \"b\"", ":3:1: duplicate key"),
        ("[targets.a]\n[targets.a]", ":2:10: duplicate key"),
        ("[store\n", ":1:"),
        ("password = \"hunter2", ":1:"),
        ("password = hunter2", ":1:"),
        ("a = \"\"\"\nhunter2\nhunter3", ":"),
        ("x = 'hunter2' y", ":1:"),
        ("\u{0}", ":1:"),
    ] {
        let error = load(text).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}\n{expected}");
        assert!(!error.contains("hunter"), "{error}");
    }
}

#[test]
fn unknown_keys_and_tables_are_refused_wherever_they_are() {
    for (extra, expected) in [
        ("[stor]\npath = 1\n", "stor: unknown key; did you mean store?"),
        ("[server]\ncolour = 1\n", "server.colour: unknown key; known here are listen, allow_clear"),
        ("[server.tsl]\n", "server.tsl: unknown key; did you mean tls?"),
        (
            "[targets.orders.pool]\nwaits = \"1s\"\n",
            "targets.orders.pool.waits: unknown key; did you mean wait?",
        ),
        ("[targets.orders.tls]\nca = \"x\"\n", "targets.orders.tls.ca: unknown key"),
        ("[[bootstrap.tokens]]\nname = \"x\"\n", "bootstrap.tokens: unknown key"),
        ("[roles]\nread = 1\n", "roles.read: expected a table, found a number"),
    ] {
        let problems = problems(&[STORE, ORDERS, extra].concat());
        assert!(problems.iter().any(|problem| problem.starts_with(expected)), "{problems:#?}\n{expected}");
    }
    assert_refused("store = 3", "store: expected a table");
}

#[test]
fn a_secret_under_a_misspelt_key_is_not_shown() {
    let text = ORDERS.replace("password = \"env:ORDERS_PASSWORD\"", "pasword = \"hunter2\"");
    let error = load(&[STORE, &text].concat()).unwrap_err().to_string();
    assert!(error.contains("targets.orders.pasword: unknown key; did you mean password?"), "{error}");
    assert!(!error.contains("hunter"), "{error}");
}

#[test]
fn hostile_and_huge_values_are_shown_short_and_harmless() {
    let text = format!("[server]\nlisten = \"{}\\u001b[31m\"\n\"a\\nb\" = 1\n", "x".repeat(10_000));
    let error = load(&text).unwrap_err().to_string();
    assert!(error.len() < 2000 && !error.contains('\u{1b}'), "{error}");
    assert!(error.contains("server.\"a\\nb\": unknown key"), "{error}");
    assert!(load(&"[".repeat(100_000)).is_err());
    assert!(load(&format!("a = {}", "[".repeat(100_000))).is_err());
}

#[test]
fn numbers_and_durations_have_bounds() {
    for (line, expected) in [
        ("max_concurrent_calls = 0", "server.max_concurrent_calls: expected a number, 1 to 100000, found 0"),
        (
            "max_concurrent_calls = -1",
            "server.max_concurrent_calls: expected a number, 1 to 100000, found -1",
        ),
        (
            "max_concurrent_calls = 1.5",
            "server.max_concurrent_calls: expected a number, 1 to 100000, found a number",
        ),
        (
            "max_concurrent_calls = \"1\"",
            "server.max_concurrent_calls: expected a number, 1 to 100000, found a text",
        ),
        ("max_message_bytes = 99999999999999999999", "server.max_message_bytes: expected a number"),
        ("call_burst_per_principal = 0", "server.call_burst_per_principal: expected a number"),
        ("shutdown_grace = \"0s\"", "server.shutdown_grace: expected a duration, 100ms to 1h, found \"0s\""),
        ("shutdown_grace = \"9000h\"", "server.shutdown_grace: expected a duration, 100ms to 1h"),
        (
            "shutdown_grace = 20",
            "server.shutdown_grace: expected a duration, 100ms to 1h, such as \"30m\", found a number",
        ),
        ("shutdown_grace = \"soon\"", "server.shutdown_grace: \"soon\" is not a duration"),
        (
            "allow_clear_text_beyond_loopback = \"true\"",
            "server.allow_clear_text_beyond_loopback: expected true or false",
        ),
    ] {
        assert_refused(&format!("{STORE}[server]\n{line}\n"), expected);
    }
    let config = sound(&format!("{STORE}[server]\nmax_message_bytes = 0x10_000\n")).config;
    assert_eq!(config.server.max_message_bytes, 65_536);
}

#[test]
fn clear_text_beyond_loopback_needs_so_many_words() {
    for address in ["0.0.0.0:7440", "[::]:7440", "10.0.0.1:1"] {
        let open = format!("{STORE}[server]\nlisten = \"{address}\"\n");
        assert_refused(&open, "server.listen: beyond loopback");
        assert_warned(
            &format!("{open}allow_clear_text_beyond_loopback = true\n"),
            "server.listen: passwords and tokens cross the network in clear text",
        );
        let tls =
            format!("{open}[server.tls]\ncertificate_file = \"tls/cert.pem\"\nkey_file = \"tls/key.pem\"\n");
        assert_eq!(sound(&tls).config.server.listen.to_string(), address);
    }
    for address in ["127.0.0.1:0", "[::1]:7440", "127.1.2.3:7440"] {
        sound(&format!("{STORE}[server]\nlisten = \"{address}\"\n"));
    }
}

#[test]
fn tls_of_the_server_is_complete_and_readable() {
    let tls = |lines: &str| format!("{STORE}[server.tls]\n{lines}\n");
    let both = "certificate_file = \"tls/cert.pem\"\nkey_file = \"tls/key.pem\"\n";
    let clients =
        sound(&tls(&format!("{both}client_ca_file = \"tls/cert.pem\""))).config.server.tls.unwrap().clients;
    let ca_file = PathBuf::from("/etc/mayfly/tls/cert.pem");
    assert_eq!(clients, Some(ClientCertificates { ca_file, required: true }));
    for (lines, expected) in [
        ("certificate_file = \"tls/cert.pem\"", "server.tls.key_file: is missing"),
        (
            "certificate_file = \"tls/key.pem\"\nkey_file = \"tls/key.pem\"",
            "server.tls.certificate_file: \"/etc/mayfly/tls/key.pem\" holds no PEM certificate",
        ),
        (
            "certificate_file = \"tls/cert.pem\"\nkey_file = \"tls/cert.pem\"",
            "server.tls.key_file: \"/etc/mayfly/tls/cert.pem\" holds no PEM private key",
        ),
        (
            "certificate_file = \"none\"\nkey_file = \"tls/key.pem\"",
            "server.tls.certificate_file: cannot read \"/etc/mayfly/none\"",
        ),
        (
            &format!("{both}require_client_certificate = true"),
            "server.tls.require_client_certificate: needs client_ca_file",
        ),
    ] {
        assert_refused(&tls(lines), expected);
    }
}

#[test]
fn the_audit_file_is_not_the_store() {
    assert_refused(
        &format!("{STORE}[audit]\nfile = \"/etc/mayfly/mayfly.db\"\n"),
        "audit.file: is the store's file",
    );
}

#[test]
fn the_administrator_token_may_be_gone_but_not_empty() {
    let text = format!("{STORE}[bootstrap]\nadministrator_token_file = \"token\"\n");
    assert_warned(&text, "bootstrap.administrator_token_file: cannot be read");
    let empty = Machine::usual().file("/etc/mayfly/token", "\n", 0o600);
    assert_eq!(
        problems_on(&empty, &text),
        ["bootstrap.administrator_token_file: \"/etc/mayfly/token\" is empty"]
    );
    let there = Machine::usual().file("/etc/mayfly/token", "mf_abc\n", 0o600);
    let bootstrap = load_on(&there, &text).unwrap().config.bootstrap;
    assert_eq!(bootstrap.administrator_token(&there).unwrap().unwrap().expose(), "mf_abc");
    assert!(bootstrap.administrator_token(&empty).is_err());
}

#[test]
fn an_unreadable_file_says_which() {
    let error = Config::load(Path::new("/nowhere/mayfly.toml"), &Machine::default()).unwrap_err();
    assert_eq!(error.to_string(), "cannot read the configuration /nowhere/mayfly.toml");
}
