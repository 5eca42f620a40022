//! `[notifications.NAME]`.

use super::{Machine, STORE, load_on, problems_on};
use crate::notify::{ChannelKind, Encryption, EventKind};

const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn machine() -> Machine {
    let mut machine = Machine::usual();
    machine.variables.insert("HOOK", "https://hooks.example.com/hunter-path");
    machine.variables.insert("CLEAR", "http://hooks.example.com/hunter-path");
    machine.variables.insert("KEY", KEY);
    machine.file("/etc/mayfly/hook.url", "https://hooks.example.com/hunter-path\n", 0o600)
}

fn whole(channel: &str) -> String {
    format!("{STORE}[notifications.ops]\n{channel}\n")
}

#[test]
fn each_kind_of_channel_has_what_it_needs() {
    let channel = |text: &str| {
        let loaded = load_on(&machine(), &whole(text)).unwrap_or_else(|error| panic!("{error}"));
        assert!(!format!("{:?}", loaded.config).contains("hunter"), "a secret is shown");
        loaded.config.notifications.into_values().next().unwrap()
    };
    let slack = channel("kind = \"slack\"\nurl = \"env:HOOK\"");
    assert!(matches!(slack.kind, ChannelKind::Slack { .. }));
    assert!(slack.wants(EventKind::BreakGlass) && !slack.wants(EventKind::Ended));
    let hook =
        channel("kind = \"webhook\"\nurl_file = \"hook.url\"\nsecret = \"env:KEY\"\nevents = [\"ended\"]");
    assert!(hook.wants(EventKind::Ended) && !hook.wants(EventKind::Lock));
    let mail = channel(
        "kind = \"mail\"\nserver = \"mail.example.com\"\nfrom = \"m@example.com\"\nto = [\"o@example.com\"]\n\
         encryption = \"tls\"\nuser = \"m\"\npassword_file = \"secret\"",
    );
    let ChannelKind::Mail(mail) = mail.kind else { panic!("mail") };
    assert_eq!((mail.host.as_str(), mail.port, mail.encryption), ("mail.example.com", 465, Encryption::Tls));
    for (server, expected) in
        [("mail:25", ("mail", 25)), ("[::1]:2525", ("::1", 2525)), ("[::1]", ("::1", 587))]
    {
        let text = format!("kind = \"mail\"\nserver = \"{server}\"\nfrom = \"m@a.b\"\nto_principal = true");
        let ChannelKind::Mail(mail) = channel(&text).kind else { panic!("mail") };
        assert_eq!((mail.host.as_str(), mail.port), expected);
    }
}

#[test]
fn what_is_wrong_with_a_channel_is_told_and_no_secret_is_shown() {
    const SLACK: &str = "kind = \"slack\"\nurl = \"env:HOOK\"";
    const MAIL: &str =
        "kind = \"mail\"\nserver = \"mail.example.com\"\nfrom = \"m@example.com\"\nto = [\"o@example.com\"]";
    for (text, expected) in [
        ("kind = \"slack\"".to_owned(), "ops.url: is missing"),
        (
            "kind = \"slack\"\nurl = \"https://hooks.example.com/hunter2\"".into(),
            "ops.url: whoever has the address",
        ),
        ("kind = \"slack\"\nurl = \"env:CLEAR\"".into(), "ops.url: what it names must begin with https://"),
        ("kind = \"webhook\"\nurl = \"env:HOOK\"".into(), "ops.secret: is missing"),
        (
            "kind = \"webhook\"\nurl = \"env:HOOK\"\nsecret = \"env:HOOK\"".into(),
            "ops.secret: is no signing key",
        ),
        (format!("{SLACK}\nsecret = \"env:KEY\""), "ops.secret: is for kind = \"webhook\""),
        (format!("{SLACK}\nto = [\"a@b.c\"]"), "ops.to: is for kind = \"mail\""),
        (format!("{SLACK}\nevents = [\"lok\"]"), "ops.events: it is no event; known are"),
        (format!("{SLACK}\nevents = []"), "ops.events: names none"),
        (format!("{SLACK}\nbase_url = \"javascript:x\""), "ops.base_url: \"javascript:x\" is no address"),
        (
            format!("{SLACK}\ntemplates = {{ lock = \"{{princpal}}\" }}"),
            "ops.templates.lock: has the unknown placeholder {princpal}",
        ),
        (format!("{SLACK}\ntemplates = {{ locks = \"x\" }}"), "ops.templates.locks: it is no event"),
        ("kind = \"mail\"\nserver = \"mail.example.com\"\nfrom = \"m@a.b\"".into(), "ops.to: names nobody"),
        ("kind = \"mail\"\nfrom = \"m@a.b\"\nto = [\"a@b.c\"]".into(), "ops.server: is missing"),
        (format!("{MAIL}\nencryption = \"none\""), "ops.encryption: mail crosses the network in clear text"),
        (format!("{MAIL}\nuser = \"m\""), "ops: user and password go together"),
        (
            MAIL.replace("o@example.com", "o@example.com\\r\\nBcc: x@y.z"),
            "ops.to: \"o@example.com\\r\\nBcc: x@y.z\" is no mail address",
        ),
        (MAIL.replace("mail.example.com", "mail:port"), "ops.server: \"mail:port\" is no mail server"),
    ] {
        let problems = problems_on(&machine(), &whole(&text));
        assert!(
            problems.iter().any(|problem| problem.starts_with(&format!("notifications.{expected}"))),
            "{problems:#?}\nexpected {expected}\nin\n{text}"
        );
    }
}
