//! `[policy]` and `[risk]`.

use super::*;

const RULE: &str = "@id(\"own.one\")\npermit (principal, action == Action::\"request\", resource);\n";
const OTHER: &str = "@id(\"own.two\")\nforbid (principal, action == Action::\"request\", resource);\n";
const POLICY: &str = "[policy]\ndirectory = \"policies\"\ntime_zone = \"Europe/Berlin\"\n";

fn machine(first: &'static str, second: &'static str) -> Machine {
    Machine::usual()
        .file("/etc/mayfly/policies/a.cedar", first, 0o644)
        .file("/etc/mayfly/policies/b.cedar", second, 0o644)
        .file("/etc/mayfly/policies/notes.txt", "no policy", 0o644)
}

fn with(text: &str) -> String {
    format!("{STORE}{text}")
}

#[test]
fn policies_of_a_directory_are_read_and_named_by_their_digest() {
    let policies = |machine: &Machine| load_on(machine, &with(POLICY)).unwrap().config.policies;
    let (one, other) = (policies(&machine(RULE, OTHER)), policies(&machine(OTHER, RULE)));
    assert_eq!(one.len(), sound(STORE).config.policies.len() + 2);
    assert_ne!(one.digest(), other.digest());
    assert_eq!(one.digest(), policies(&machine(RULE, OTHER)).digest());
}

#[test]
fn mistakes_in_policies_are_told_with_their_file_and_line_and_refuse_the_configuration() {
    let wrong = "\n@id(\"own.x\")\npermit (principal, action, resource) when { context.nothing };";
    let error = load_on(&machine(RULE, wrong), &with(POLICY)).unwrap_err();
    let told = error.to_string();
    assert!(told.starts_with("/etc/mayfly/policies/b.cedar:3:"), "{told}");
    let error = load_on(&machine(RULE, RULE), &with(POLICY)).unwrap_err().to_string();
    assert!(
        error.contains("b.cedar:1:1: own.one: another policy has this id: /etc/mayfly/policies/a.cedar:1"),
        "{error}"
    );
}

#[test]
fn what_cannot_be_read_is_told() {
    assert_refused(
        &with("[policy]\nfiles = [\"gone.cedar\"]\n"),
        "policy.files: cannot read \"/etc/mayfly/gone.cedar\"",
    );
    assert_refused(
        &with("[policy]\ndirectory = \"empty\"\n"),
        "policy.directory: there is no file *.cedar in",
    );
    assert_refused(
        &with("[policy]\ntime_zone = \"Europe/Berln\"\n"),
        "policy.time_zone: there is no time zone",
    );
    assert_warned(&with("[policy]\n"), "policy: names no policy");
    let twice = with("[policy]\nfiles = [\"policies/a.cedar\"]\ndirectory = \"policies\"\n");
    let problems = problems_on(&machine(RULE, OTHER), &twice);
    assert!(problems[0].contains("is read twice"), "{problems:?}");
}

#[test]
fn policies_that_can_never_apply_are_warned_of() {
    let never = "@id(\"own.never\")\npermit (principal, action, resource) when { false };";
    let loaded = load_on(&machine(RULE, never), &with(POLICY)).unwrap();
    let last = loaded.warnings.last().unwrap();
    assert_eq!((last.key.as_str(), last.file.as_str()), ("own.never", "/etc/mayfly/policies/b.cedar"));
}

#[test]
fn policies_and_risk_change_live() {
    let old = load_on(&machine(RULE, OTHER), &with(POLICY)).unwrap().config;
    let risk = "[risk.long]\npoints = 1\nttl_above = \"1h\"\n";
    let new = load_on(&machine(OTHER, RULE), &with(&format!("{risk}{}", POLICY.replace("Berlin", "Paris"))))
        .unwrap();
    let changes = old.difference(&new.config);
    let told: Vec<_> = changes.iter().map(ToString::to_string).collect();
    assert!(told[0].starts_with("policy changes from sha256:"), "{told:?}");
    assert_eq!(told[1..], ["policy.time_zone changes", "risk changes"]);
    assert!(changes.iter().all(|change| !change.needs_restart));
}

#[test]
fn factors_that_could_not_be_meant_are_refused() {
    for (factor, expected) in [
        ("points = 1\n", "risk.a: has no condition"),
        ("points = 0\nfirst_use = true\n", "risk.a.points: expected a number"),
        ("first_use = true\n", "risk.a.points: is missing"),
        ("points = 1\nfirst_use = false\n", "risk.a.first_use: is true or left out"),
        ("points = 1\noutside_hours = \"8-18\"\n", "risk.a.outside_hours: \"8-18\" are no hours"),
        ("points = 1\noutside_hours = \"08:00-24:01\"\n", "risk.a.outside_hours:"),
        ("points = 1\noutside_hours = \"08:00-08:00\"\n", "risk.a.outside_hours:"),
        ("points = 1\nweekdays = [\"sat\"]\n", "risk.a.weekdays: \"sat\" is no weekday"),
        ("points = 1\nweekdays = []\n", "risk.a.weekdays: is empty"),
        (
            "points = 1\noutside_networks = [\"10.0.0.0/33\"]\n",
            "risk.a.outside_networks: \"10.0.0.0/33\" is no network",
        ),
        ("points = 1\nkinds = [\"robot\"]\n", "risk.a.kinds: unknown kind"),
        ("points = 1\nlabels = {}\n", "risk.a.labels: names no label"),
        ("points = 1\nmember_off = [\"a\"]\nno_ticket = true\n", "risk.a.member_off: unknown key"),
    ] {
        assert_refused(&with(&format!("[risk.a]\n{factor}")), expected);
    }
    let right = "[risk.a]\npoints = 1\noutside_hours = \"22:00-06:00\"\nno_ticket = true\n";
    assert_eq!(sound(&with(right)).config.policies.factors()[0].conditions.len(), 2);
}

#[test]
fn a_role_without_a_list_is_doubtful_only_where_no_policy_could_allow_it() {
    let read = "[roles.read]\ntarget = \"orders\"\nmember_of = [\"a\"]\n";
    let text = [STORE, ORDERS, read].concat();
    assert_warned(&text, "roles.read: nobody may use this role");
    let loaded = load_on(&machine(RULE, OTHER), &[&text, POLICY].concat()).unwrap();
    assert_eq!(loaded.warnings, []);
}
