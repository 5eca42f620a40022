//! `[approvals.NAME]`, and what roles and targets say for policy.

use std::time::Duration;

use super::*;

const READ: &str =
    "[roles.read]\ntarget = \"orders\"\nmember_of = [\"a\"]\nallow = [\"*\"]\napproval = \"two\"\n";
const TEAM: &str = "[[approvals.two.steps]]\nname = \"team\"\nreviewers = [\"group:leads\"]\n";

fn with(approvals: &str) -> String {
    [STORE, ORDERS, READ, approvals].concat()
}

#[test]
fn a_role_takes_the_steps_of_its_approval_in_order() {
    let owner = "[[approvals.two.steps]]\nname = \"owner\"\nreviewers = [\"principal:a\", \"principal:b\"]\nquorum = 2\ndenials = 3\n\
                 from_risk = 40\nescalate_after = \"2h\"\nescalate_to = [\"group:on-call\"]\n";
    let loaded = sound(&with(&[TEAM, owner].concat()));
    assert_eq!(loaded.warnings, []);
    let steps = &loaded.config.roles.values().next().unwrap().approval;
    let names: Vec<_> = steps.iter().map(|step| step.name.as_str()).collect();
    assert_eq!(names, ["team", "owner"]);
    assert_eq!((steps[0].quorum, steps[0].denials, steps[0].from_risk), (1, 1, 0));
    assert_eq!((steps[1].quorum, steps[1].denials, steps[1].from_risk), (2, 3, 40));
    assert_eq!(steps[1].escalate_after, Some(Duration::from_secs(7200)));
    assert_eq!(steps[1].escalate_to, ["group:on-call".parse().unwrap()]);
}

#[test]
fn steps_that_nobody_could_approve_are_refused() {
    for (step, expected) in [
        ("name = \"a\"\nreviewers = []\n", "approvals.two.steps[0].reviewers: names nobody"),
        (
            "name = \"a\"\nreviewers = [\"principal:a\"]\nquorum = 2\n",
            "approvals.two.steps[0].quorum: is never reached: 1 may review",
        ),
        ("reviewers = [\"*\"]\n", "approvals.two.steps[0].name: is missing"),
        ("name = \"a\"\n", "approvals.two.steps[0].reviewers: is missing"),
        (
            "name = \"a\"\nreviewers = [\"*\"]\nescalate_after = \"1h\"\n",
            "approvals.two.steps[0].escalate_after: needs escalate_to",
        ),
        (
            "name = \"a\"\nreviewers = [\"*\"]\nescalate_to = [\"*\"]\n",
            "approvals.two.steps[0].escalate_to: needs escalate_after",
        ),
        (
            "name = \"a\"\nreviewers = [\"*\"]\nquorum = 0\n",
            "approvals.two.steps[0].quorum: expected a number",
        ),
        (
            "name = \"a\"\nreviewers = [\"*\"]\nquroum = 1\n",
            "approvals.two.steps[0].quroum: unknown key; did you mean quorum?",
        ),
    ] {
        assert_refused(&with(&format!("[[approvals.two.steps]]\n{step}")), expected);
    }
    assert_refused(&with(&[TEAM, TEAM].concat()), "approvals.two.steps[1]: another step is called \"team\"");
    assert_refused(&with("[approvals.two]\n"), "approvals.two: has no step");
    assert_refused(&with("[approvals.two]\nsteps = 1\n"), "approvals.two.steps: expected a list of tables");
}

#[test]
fn an_approval_must_be_there_and_be_used() {
    assert_refused(
        &with(&TEAM.replace("two", "tow")),
        "roles.read.approval: there is no approval \"two\"; did you mean \"tow\"?",
    );
    assert_refused(
        &with(""),
        "roles.read.approval: there is no approval \"two\"; write [[approvals.two.steps]]",
    );
    let unused = with(&[TEAM, &TEAM.replace("two", "three")].concat());
    assert_warned(&unused, "approvals.three: no role takes it");
}

#[test]
fn a_mistake_in_a_step_is_told_with_its_line() {
    let text = with("[[approvals.two.steps]]\nname = \"a\"\nreviewers = [\"user:a\"]\n");
    let line = text.lines().position(|line| line.contains("user:a")).unwrap() + 1;
    let error = load(&text).unwrap_err();
    assert_eq!(error.problems()[0].position.map(|(line, _)| line), Some(line));
}

#[test]
fn conflicts_count_both_ways_and_name_roles_that_there_are() {
    let roles = |conflict: &str| {
        let role = "target = \"orders\"\nmember_of = [\"a\"]\nallow = [\"*\"]\n";
        format!("{STORE}{ORDERS}[roles.pay]\n{role}conflicts_with = [{conflict}]\n[roles.book]\n{role}")
    };
    let config = sound(&roles("\"book\"")).config;
    let (pay, book) = ("pay".parse().unwrap(), "book".parse().unwrap());
    assert!(config.conflicts[&pay].contains(&book) && config.conflicts[&book].contains(&pay));
    assert_refused(&roles("\"pay\""), "roles.pay.conflicts_with: a role does not conflict with itself");
    assert_refused(
        &roles("\"boko\""),
        "roles.pay.conflicts_with: there is no role \"boko\"; did you mean \"book\"?",
    );
}

#[test]
fn targets_have_labels() {
    let orders = format!("{ORDERS}labels = {{ environment = \"production\", sensitivity = \"high\" }}\n");
    let config = sound(&[STORE, &orders].concat()).config;
    assert_eq!(config.labels.values().next().unwrap()["environment"], "production");
    for (labels, expected) in [
        ("{ Env = \"a\" }", "targets.orders.labels.Env: is not a label"),
        ("{ env = \"\" }", "targets.orders.labels.env: is not a label's value"),
        ("{ env = 1 }", "targets.orders.labels.env: expected a text"),
        ("[]", "targets.orders.labels: expected a table of texts"),
    ] {
        assert_refused(&format!("{STORE}{ORDERS}labels = {labels}\n"), expected);
    }
}

#[test]
fn reviews_labels_and_conflicts_change_live() {
    let (old, new) = (sound(&with(TEAM)).config, sound(&with(&TEAM.replace("leads", "chiefs"))).config);
    let told: Vec<_> = old.difference(&new).iter().map(ToString::to_string).collect();
    assert_eq!(told, ["roles.read.approval changes"]);
}
