//! `[roles.NAME]`.

use super::*;
use crate::domain::{Access, OwnedObjects, Role};

fn on(target: &str, lines: &str) -> String {
    format!("{STORE}{ORDERS}{STOCK}{BILLING}[roles.read]\ntarget = \"{target}\"\n{lines}\n")
}

fn role(text: &str) -> Role {
    sound(text).config.roles.into_values().next().unwrap()
}

#[test]
fn a_role_is_read_whole() {
    let read = role(&on(
        "orders",
        "description = \"Reads\"\nmember_of = [\"a\", \"b\"]\ndefault_ttl = \"1m\"\nmax_ttl = \"1d\"\ndatabase = \"shop\"\nconnection_limit = 3\n\
         settings = { statement_timeout = \"5s\", \"app.who\" = \"me\" }\nowned_objects = \"reassign:owner\"\nscram_iterations = 8192\n\
         leases_per_principal = 1\nleases_total = 2\nallow = [\"*\", \"group:g\"]\n[roles.read.statements]\ncreate = [\"GRANT {{group}} TO {{name}}\"]",
    ));
    assert_eq!(read.member_of, ["a", "b"]);
    assert_eq!((read.ttl.default().to_string(), read.ttl.max().to_string()), ("1m".into(), "1d".into()));
    assert_eq!(read.settings.get("app.who").map(String::as_str), Some("me"));
    assert_eq!(read.owned_objects, OwnedObjects::Reassign("owner".into()));
    assert_eq!((read.limits.per_principal, read.limits.total, read.scram_iterations), (1, 2, 8192));
    assert_eq!((read.allow.len(), read.statements.create.len(), read.hosts.len()), (2, 1, 0));
    let billing = role(&on("billing", "member_of = [\"a\"]\nallow = [\"*\"]"));
    assert_eq!(billing.hosts.iter().map(crate::domain::HostPattern::as_str).collect::<Vec<_>>(), ["%"]);
    assert_eq!((billing.owned_objects, billing.ttl.max().to_string()), (OwnedObjects::Keep, "8h".into()));
}

#[test]
fn an_elevation_is_read_whole() {
    let lines = "kind = \"elevation\"\nmember_of = [\"w\"]\naccounts = { \"alice@example.com\" = \"alice\", bob = \"bob\" }\n\
                 expiry = \"issuer\"\nend_sessions = false\nallow = [\"*\"]";
    for target in ["orders", "billing", "stock"] {
        let Access::Elevation { accounts, end_sessions, ends_by_itself } = role(&on(target, lines)).access
        else {
            panic!()
        };
        assert!(!ends_by_itself);
        let accounts: Vec<_> =
            accounts.iter().map(|(who, account)| (who.as_str(), account.as_str())).collect();
        assert_eq!(accounts, [("alice@example.com", "alice"), ("bob", "bob")]);
        assert!(!end_sessions);
    }
    let by_itself = role(&on("stock", &lines.replace("expiry = \"issuer\"\n", ""))).access;
    assert!(matches!(by_itself, Access::Elevation { ends_by_itself: true, .. }));
    assert_eq!(role(&on("orders", "member_of = [\"a\"]\nallow = [\"*\"]")).access, Access::Ephemeral);
}

#[test]
fn what_is_wrong_with_an_elevation_is_refused() {
    let good = "kind = \"elevation\"\nmember_of = [\"w\"]\nexpiry = \"issuer\"\nallow = [\"*\"]\n";
    let accounts = "accounts = { alice = \"alice\" }\n";
    for (lines, expected) in [
        (good.to_owned(), "accounts: says whose account is which"),
        (format!("{good}accounts = {{}}"), "accounts: names no account"),
        (format!("{good}accounts = {{ alice = \"mf_alice\" }}"), "begins with mf_ is one that Mayfly makes"),
        (format!("{good}accounts = {{ alice = \"\" }}"), "1 to 80 bytes without control characters"),
        (format!("{good}accounts = {{ \"a b\" = \"alice\" }}"), "accounts"),
        (format!("{good}{accounts}").replace("issuer", "server"), "expiry: PostgreSQL takes no groups back"),
        (format!("{good}{accounts}").replace("[\"w\"]", "[]"), "member_of: an elevation gives groups"),
        (
            format!("{good}{accounts}owned_objects = \"drop\""),
            "owned_objects: is for accounts that Mayfly makes",
        ),
        (
            format!("{good}{accounts}connection_limit = 1"),
            "connection_limit: is for accounts that Mayfly makes",
        ),
        ("kind = \"loan\"".to_owned(), "kind: expected"),
        (format!("member_of = [\"a\"]\n{accounts}"), "accounts: is for roles with kind"),
        ("end_sessions = true".to_owned(), "end_sessions: is for roles with kind"),
    ] {
        let told = problems(&on("orders", &lines)).join("\n");
        assert!(told.contains(expected), "{lines}: {told}");
    }
}

#[test]
fn a_checkout_is_read_whole() {
    for target in ["orders", "billing", "stock"] {
        let read = role(&on(target, "kind = \"checkout\"\naccount = \"app\"\nqueue = 3\nallow = [\"*\"]"));
        assert_eq!(read.access, Access::Checkout { account: "app".to_owned(), queue: 3 });
        assert!(read.member_of.is_empty());
    }
    let lines = "kind = \"checkout\"\naccount = \"app\"\nscram_iterations = 8192\nallow = [\"*\"]";
    let read = role(&on("orders", lines));
    assert_eq!(read.access, Access::Checkout { account: "app".to_owned(), queue: 20 });
    assert_eq!(warnings(&on("orders", lines)), [""; 0]);
}

#[test]
fn what_is_wrong_with_a_checkout_is_refused() {
    let good = "kind = \"checkout\"\nallow = [\"*\"]\n";
    for (target, lines, expected) in [
        ("orders", "", "account: says which existing account is handed out"),
        ("orders", "account = \"mf_app\"", "account: an account whose name begins with mf_"),
        ("orders", "account = \"\"", "account: "),
        ("orders", "account = \"a\\nb\"", "account: "),
        ("orders", "account = 5", "account: expected a text"),
        ("orders", "account = \"mayfly\"", "account: is the account by which Mayfly administers the target"),
        ("orders", "account = \"app\"\nqueue = -1", "queue: expected a number, 0 to 1000"),
        (
            "orders",
            "account = \"app\"\nmember_of = [\"w\"]",
            "member_of: is not for an account that is handed out",
        ),
        (
            "orders",
            "account = \"app\"\nowned_objects = \"drop\"",
            "owned_objects: is for accounts that Mayfly makes",
        ),
        (
            "orders",
            "account = \"app\"\nconnection_limit = 1",
            "connection_limit: is for accounts that Mayfly makes",
        ),
        (
            "orders",
            "account = \"app\"\nexpiry = \"issuer\"",
            "expiry: is for roles with kind = \"elevation\"",
        ),
        (
            "orders",
            "account = \"app\"\naccounts = { a = \"b\" }",
            "accounts: is for roles with kind = \"elevation\"",
        ),
        (
            "orders",
            "account = \"app\"\n[roles.read.statements]\nend = [\"SELECT 1\"]",
            "statements: is for accounts that Mayfly makes",
        ),
        (
            "billing",
            "account = \"app\"\nhosts = [\"a\", \"b\"]",
            "hosts: an existing account is one name at one host",
        ),
        (
            "billing",
            "account = \"a_name_of_more_than_thirty_two_bytes\"",
            "account: no account has more than 32 bytes there",
        ),
    ] {
        assert_refused(&on(target, &format!("{good}{lines}")), &format!("roles.read.{expected}"));
    }
    for word in ["account = \"app\"", "queue = 5"] {
        let told = problems(&on("orders", word)).join("\n");
        assert!(told.contains("is for roles with kind = \"checkout\""), "{told}");
    }
}

#[test]
fn an_account_is_handed_out_or_elevated_but_not_both() {
    let checkout = |name: &str, more: &str| {
        format!(
            "[roles.{name}]\ntarget = \"billing\"\nkind = \"checkout\"\naccount = \"app\"\nallow = [\"*\"]\n{more}\n"
        )
    };
    let elevation = "[roles.up]\ntarget = \"billing\"\nkind = \"elevation\"\nmember_of = [\"w\"]\nexpiry = \"issuer\"\n\
                     accounts = { alice = \"app\" }\nallow = [\"*\"]\n";
    let text = |roles: &str| format!("{STORE}{ORDERS}{BILLING}{roles}");
    assert_refused(
        &text(&format!("{}{elevation}", checkout("app", ""))),
        "roles.app.account: \"app\" is elevated by the role up",
    );
    sound(&text(&format!("{}{}", checkout("app", ""), elevation.replace("billing", "orders"))));
    // Several roles may hand it out: it is one account all the same.
    sound(&text(&format!("{}{}", checkout("app", ""), checkout("batch", ""))));
    let told =
        problems(&text(&format!("{}{}", checkout("app", ""), checkout("batch", "hosts = [\"10.%\"]"))));
    assert_eq!(told.len(), 2, "{told:#?}");
    assert!(
        told[0].starts_with(
            "roles.app.account: \"app\" is handed out by the role batch as well, at other hosts"
        )
    );
}

#[test]
fn what_is_wrong_is_refused() {
    for (target, lines, expected) in [
        ("orders", "default_ttl = \"9h\"", "default_ttl: default_ttl (9h) is above max_ttl (8h)"),
        ("orders", "default_ttl = \"0s\"", "default_ttl: expected a duration, 1s to 366d"),
        ("orders", "max_ttl = \"367d\"", "max_ttl: expected a duration, 1s to 366d"),
        ("orders", "max_ttl = \"1y\"", "max_ttl: \"1y\" is not a duration"),
        ("orders", "hosts = [\"%\"]", "hosts: is for MySQL and MariaDB only"),
        ("billing", "hosts = [\"a'b\"]", "hosts: it is not a host pattern"),
        ("billing", "hosts = []", "hosts: names no host"),
        ("billing", "hosts = [\"a.b\", \"A.B\"]", "hosts: \"A.B\" is named twice"),
        ("billing", "settings = {}", "settings: is for PostgreSQL only"),
        ("stock", "scram_iterations = 4096", "scram_iterations: is for PostgreSQL only"),
        ("orders", "scram_iterations = 0", "scram_iterations: expected a number, 1 to"),
        ("orders", "settings = { \"a b\" = \"1\" }", "settings.\"a b\": is not the name of a setting"),
        ("orders", "settings = { Work_mem = \"1\" }", "settings.Work_mem: is not the name of a setting"),
        ("orders", "settings = { work_mem = \"a\\u0000\" }", "settings.work_mem: is not a setting's value"),
        (
            "orders",
            "settings = { work_mem = 5 }",
            "settings.work_mem: expected a text in quotes, found a number",
        ),
        ("orders", "connection_limit = 0", "connection_limit: expected a number"),
        ("orders", "leases_total = 0", "leases_total: expected a number"),
        ("orders", "member_of = [\"a\", \"a\"]", "member_of: \"a\" is named twice"),
        ("orders", "member_of = [\"\"]", "member_of: is empty"),
        ("orders", "member_of = [\"a\\u0000\"]", "member_of: has a NUL byte"),
        ("orders", "member_of = [\"public\"]", "member_of: every account is a member of public already"),
        ("stock", "member_of = [\"a\", \"b\"]", "member_of: a MariaDB account has one default role"),
        (
            "orders",
            "owned_objects = \"burn\"",
            "owned_objects: expected \"drop\", \"keep\" or \"reassign:ROLE\"",
        ),
        ("orders", "owned_objects = \"reassign:\"", "owned_objects: is empty"),
        (
            "orders",
            "member_of = [\"a\"]\nowned_objects = \"reassign:a\"",
            "owned_objects: the role that objects are handed to must not be one of member_of",
        ),
        ("orders", "allow = [\"alice\"]", "allow: expected principal:NAME, group:NAME"),
        ("orders", "allow = [\"group:a b\"]", "allow: the name has ' ' at byte 1"),
        ("orders", "description = \"a\\nb\"", "description: is for one line"),
        ("orders", "database = \"\"", "database: is empty"),
    ] {
        assert_refused(&on(target, lines), &format!("roles.read.{expected}"));
    }
    for (target, length, fits) in
        [("orders", 63, true), ("orders", 64, false), ("billing", 32, true), ("billing", 33, false)]
    {
        let text = on(target, &format!("member_of = [\"{}\"]", "g".repeat(length)));
        assert_eq!(load(&text).is_ok(), fits, "{target} {length}");
    }
}

#[test]
fn targets_are_known_by_name_even_when_they_are_wrong() {
    let broken = ORDERS.replace("user = \"mayfly\"\n", "");
    let text = format!("{STORE}{broken}[roles.read]\ntarget = \"orders\"\nhosts = [\"%\"]\n");
    let problems = problems(&text);
    assert_eq!(problems.len(), 2, "{problems:#?}");
    assert!(problems[1].starts_with("roles.read.hosts: is for MySQL"), "{problems:#?}");
    assert_refused(
        &format!("{STORE}[roles.read]\ntarget = \"x\"\n"),
        "roles.read.target: there is no target \"x\"; none is configured",
    );
    assert_refused(&format!("{STORE}{ORDERS}[roles.read]\n"), "roles.read.target: is missing");
    assert_refused(
        &format!("{STORE}{ORDERS}[roles.\"a;b\"]\ntarget = \"orders\"\n"),
        "roles.\"a;b\": it has ';' at byte 1",
    );
}

#[test]
fn statements_are_checked_with_their_engine_and_step() {
    for (target, lines, expected) in [
        (
            "orders",
            "create = [\"SELECT 1; SELECT 2\"]",
            "create: has more than one statement: one statement per entry",
        ),
        ("orders", "create = [\"SELECT 'a\"]", "create: has a string that is not closed"),
        ("orders", "create = [\"  \"]", "create: is empty"),
        ("orders", "create = [\"GRANT {{user}}\"]", "create: has the unknown placeholder {{user}}"),
        ("orders", "create = [\"GRANT {{name\"]", "create: has \"{{\" at byte 6"),
        (
            "orders",
            "renew = [\"SELECT {{password}}\"]",
            "renew: has {{password}}, which is known only in create",
        ),
        ("orders", "end = [\"SELECT {{verifier}}\"]", "end: has {{verifier}}, which is known only in create"),
        (
            "orders",
            "end = [\"SELECT {{expiration}}\"]",
            "end: has {{expiration}}, which is known only in create and renew",
        ),
        (
            "orders",
            "end = [\"REVOKE {{group}} FROM {{name}}\"]",
            "end: has {{group}}, but the role has no member_of",
        ),
        ("billing", "end = [\"SELECT $$;$$ \"]", "end: has more than one statement"),
        ("orders", "create = \"SELECT 1\"", "create: expected a list of texts"),
        ("orders", "begin = []", "begin: unknown key"),
    ] {
        assert_refused(
            &on(target, &format!("[roles.read.statements]\n{lines}")),
            &format!("roles.read.statements.{expected}"),
        );
    }
    let several = on("orders", "[roles.read.statements]\ncreate = [\"SELECT 'a\", \"SELECT 1\", \"COMMIT\"]");
    assert_eq!(problems(&several).len(), 2);
    sound(&on("orders", "[roles.read.statements]\nend = [\"SELECT $$;$$ \"]"));
}

#[test]
fn what_is_doubtful_is_warned_of() {
    for (lines, expected) in [
        ("member_of = [\"a\"]", "roles.read: nobody may use this role"),
        ("allow = [\"*\"]", "roles.read: has no member_of and no statements.create"),
        ("scram_iterations = 1", "roles.read.scram_iterations: some drivers refuse fewer than 4096"),
        (
            "leases_total = 5\nleases_per_principal = 6",
            "roles.read.leases_per_principal: is never reached: leases_total is 5",
        ),
        (
            "[roles.read.statements]\ncreate = [\"SELECT {{password}}\"]",
            "roles.read.statements.create: {{password}} sends the password to the server",
        ),
    ] {
        assert_warned(&on("orders", lines), expected);
    }
    assert_eq!(warnings(&on("orders", "member_of = [\"a\"]\nallow = [\"*\"]")), [""; 0]);
}
