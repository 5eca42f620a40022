//! Policy files: what is right, and what is told of what is not.

use super::*;

const GOOD: &str = "@id(\"own.one\")\npermit (principal, action == Action::\"request\", resource);\n";

#[test]
fn what_is_built_in_is_right_and_the_schema_is_one() {
    assert_eq!(Policies::builtin().len(), 6);
    assert_eq!(Policies::builtin().digest(), "builtin");
    assert!(!Policies::builtin().is_empty());
}

#[test]
fn the_digest_is_that_of_the_texts_in_order() {
    let set = |texts: &[&str]| {
        let sources = texts
            .iter()
            .enumerate()
            .map(|(number, text)| Source { name: format!("{number}.cedar"), text: (*text).to_owned() });
        Policies::new(Rules { sources: sources.collect(), ..Rules::default() }).unwrap().digest().to_owned()
    };
    assert_eq!(set(&[GOOD]), set(&[GOOD]));
    assert!(set(&[GOOD]).starts_with("sha256:") && set(&[GOOD]).len() == 71);
    assert_ne!(set(&[GOOD]), set(&[GOOD, ""]));
    assert_ne!(set(&[GOOD, "// a\n"]), set(&["// a\n", GOOD]));
}

#[test]
fn every_mistake_is_told_with_its_line() {
    let role = "action == Action::\"request\", resource";
    for (text, place, expected) in [
        ("\npermit (principal, action", "own.cedar:2:", "unexpected end of input"),
        ("permit (principal, action, resource);", "own.cedar:1:1:", "has no id: write @id"),
        ("@id(\"a b\")\npermit (principal, action, resource);", "own.cedar:1:1: a b:", "its id is none"),
        (
            "@id(\"builtin.mine\")\npermit (principal, action, resource);",
            "own.cedar:1:1:",
            "ids that begin with builtin.",
        ),
        (
            "@id(\"a\")\n@advise(\"x\")\npermit (principal, action, resource);",
            "own.cedar:1:1:",
            "unknown annotation @advise",
        ),
        (
            &format!("@id(\"a\")\npermit (principal, {role})\nwhen {{ context.tickt == \"a\" }};"),
            "own.cedar:3:",
            "attribute `tickt`",
        ),
        (
            &format!("@id(\"a\")\npermit (principal, {role})\nwhen {{ context.ticket == \"a\" }};"),
            "own.cedar:3:",
            "optional attribute",
        ),
        (
            &format!("@id(\"a\")\npermit (principal, {role})\nwhen {{ context.ttl > \"1h\" }};"),
            "own.cedar:3:",
            "unexpected type",
        ),
        (
            &format!("@id(\"a\")\npermit (principal, {role})\nwhen {{ principal.kind == Kind::\"robot\" }};"),
            "own.cedar:3:",
            "robot",
        ),
        ("@id(\"a\")\npermit (principal, action == Action::\"reqest\", resource);", "own.cedar:2:", "reqest"),
        ("@id(\"a\")\npermit (principal in Grop::\"x\", action, resource);", "own.cedar:2:", "Grop"),
        (
            "@id(\"a\")\npermit (principal == ?principal, action, resource);",
            "own.cedar: a:",
            "templates are not",
        ),
        (&format!("{GOOD}{GOOD}"), "own.cedar:3:1: own.one:", "another policy has this id: line 1"),
        (&"(".repeat(1_000_000), "own.cedar:1:65:", "nests more than"),
        (&"!".repeat(1_000_000), "own.cedar:1:1001:", "operators"),
    ] {
        let found = mistakes(text);
        assert_eq!(found.len(), 1, "{found:#?}\n{}", &text[..text.len().min(200)]);
        assert!(
            found[0].starts_with(place) && found[0].contains(expected),
            "{}\n{place} … {expected}",
            found[0]
        );
    }
}

#[test]
fn mistakes_of_several_files_are_told_at_once() {
    let mut rules = rules(GOOD);
    rules.sources.push(Source {
        name: "more.cedar".to_owned(),
        text: format!("\n\n{GOOD}permit (principal, action, resource);"),
    });
    rules.sources.push(Source { name: "third.cedar".to_owned(), text: "permit".to_owned() });
    let found = Policies::new(rules).unwrap_err();
    let told: Vec<String> =
        found.iter().map(|mistake| mistake.to_string().chars().take(24).collect()).collect();
    assert_eq!(told.len(), 3, "{found:#?}");
    assert!(found[0].to_string().contains("another policy has this id: own.cedar:1"), "{}", found[0]);
    assert!(
        told[1].starts_with("more.cedar:5:1: has no") && told[2].starts_with("third.cedar:1:"),
        "{told:?}"
    );
}

#[test]
fn a_file_of_more_than_a_megabyte_is_refused_and_a_long_one_is_not() {
    let found = mistakes(&format!("{GOOD}//{}", "x".repeat(1024 * 1024)));
    assert!(found[0].contains("at most 1048576 are allowed"), "{found:?}");
    assert_eq!(policies(&format!("{GOOD}//{}", "x".repeat(1_000_000))).len(), 7);
}

#[test]
fn what_can_never_apply_is_doubted() {
    let text = "@id(\"a\")\npermit (principal, action == Action::\"request\", resource) when { false };";
    let policies = policies(text);
    assert_eq!(policies.doubts().len(), 1, "{:?}", policies.doubts());
    assert_eq!(policies.doubts()[0].policy.as_deref(), Some("a"));
}

#[test]
fn a_text_that_tries_the_terminal_is_told_harmlessly() {
    for found in mistakes("@id(\"\u{1b}[31mred\")\npermit (principal, action, resource) \u{1b};") {
        assert!(!found.contains('\u{1b}'), "{found:?}");
    }
}
