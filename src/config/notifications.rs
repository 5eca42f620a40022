//! `[notifications.NAME]`.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    reader::{Located, Reader, quoted},
    secret::{self, Pem, pem},
    section::Section,
};
use crate::{
    domain::ChannelName,
    notify::{
        ChannelKind, ChannelSettings, Encryption, EventKind, HookUrl, MailSettings, SigningKey, Template,
        Templates,
    },
};

const URL_INSTEAD: &str = "whoever has the address can post there, so it is not written into this file: put it into a file that \
                           only Mayfly can read and name that with url_file = \"…\", or into an environment variable and write \
                           url = \"env:NAME\"";

const SECRET_INSTEAD: &str = "a signing key is not written into this file: put it into a file that only Mayfly can read and name \
                              that with secret_file = \"…\", or into an environment variable and write secret = \"env:NAME\"";

/// What is told unless said otherwise: the end of every lease is no news.
const USUAL: [EventKind; 10] = [
    EventKind::Request,
    EventKind::Decision,
    EventKind::Escalation,
    EventKind::Reminder,
    EventKind::Expiring,
    EventKind::EndFailing,
    EventKind::BreakGlass,
    EventKind::Lock,
    EventKind::Drift,
    EventKind::Server,
];

/// Bytes of a mail server's name, and of a mail address.
const LONGEST: usize = 254;

/// All channels; `None`: one of them is wrong.
pub(super) fn notifications(section: &Section<'_>) -> Option<BTreeMap<ChannelName, ChannelSettings>> {
    // Collected before it is judged, so that every wrong one is told.
    let channels: Vec<_> = section.children().iter().map(|(name, section)| channel(name, section)).collect();
    let channels: Option<Vec<_>> = channels.into_iter().collect();
    Some(channels?.into_iter().map(|channel| (channel.name.clone(), channel)).collect())
}

fn channel(name: &Located<String>, section: &Section<'_>) -> Option<ChannelSettings> {
    let reader = section.reader;
    let name = reader.parse(name);
    let kind = kind(section);
    let events = events(section);
    let roles = section.texts("roles").and_then(|texts| reader.parse_all(&texts));
    let targets = section.texts("targets").and_then(|texts| reader.parse_all(&texts));
    let ca_written = section.written("ca_file").is_some();
    let ca_file = pem(section, "ca_file", Pem::Certificates);
    let base_url = base_url(section);
    let timeout = section.duration("timeout");
    let attempts = section.number("attempts");
    let expiring_before = section.duration("expiring_before");
    let end_failing_after = section.duration("end_failing_after");
    let templates = templates(section);
    if ca_written && ca_file.is_none() {
        return None;
    }
    Some(ChannelSettings {
        name: name?,
        kind: kind?,
        events: events?,
        roles: roles?.into_iter().collect(),
        targets: targets?.into_iter().collect(),
        ca_file,
        base_url: base_url?,
        timeout: timeout?.value,
        attempts: attempts?.value,
        expiring_before: expiring_before?.value,
        end_failing_after: end_failing_after?.value,
        templates: templates?,
    })
}

fn kind(section: &Section<'_>) -> Option<ChannelKind> {
    let kind = section.choice("kind");
    let url = secret::either(section, ("url", "url_file"), URL_INSTEAD);
    let key = secret::either(section, ("secret", "secret_file"), SECRET_INSTEAD);
    let mail = mail(section, kind.as_ref().is_some_and(|kind| kind.value == "mail"));
    let kind = kind?.value;
    let only_for = |words: &[&'static str], what: &str| {
        for word in words {
            section.refuse(word, format!("is for kind = {what}"));
        }
    };
    if kind == "mail" {
        only_for(&["url", "url_file"], "\"slack\" or \"webhook\"");
    } else {
        let words =
            ["server", "encryption", "user", "password", "password_file", "from", "to", "to_principal"];
        only_for(&words, "\"mail\"");
    }
    if kind != "webhook" {
        only_for(&["secret", "secret_file"], "\"webhook\"");
    }
    match kind.as_str() {
        "mail" => mail.map(ChannelKind::Mail),
        "slack" => Some(ChannelKind::Slack { url: address(section, url)? }),
        _ => {
            let url = address(section, url);
            let is_written = section.written("secret").or_else(|| section.written("secret_file")).is_some();
            if !is_written {
                section.miss(
                    "secret",
                    "is missing: what is posted is signed; secret_file = \"…\" or secret = \"env:NAME\"",
                );
            }
            let secret = key.and_then(|key| {
                let parsed = SigningKey::parse(key.value.expose());
                parsed.map_err(|error| section.reader.complain(&key.at, error.to_string())).ok()
            });
            Some(ChannelKind::Webhook { url: url?, secret: secret? })
        }
    }
}

fn address(section: &Section<'_>, url: Option<Located<crate::domain::Password>>) -> Option<HookUrl> {
    if section.written("url").or_else(|| section.written("url_file")).is_none() {
        section.miss("url", "is missing: url_file = \"…\" or url = \"env:NAME\"");
    }
    let url = url?;
    let parsed = HookUrl::parse(url.value.expose());
    parsed.map_err(|error| section.reader.complain(&url.at, format!("what it names {error}"))).ok()
}

/// The settings of mail; `is_meant`: what is missing is told.
fn mail(section: &Section<'_>, is_meant: bool) -> Option<MailSettings> {
    let reader = section.reader;
    let (server, from) = (section.name("server", LONGEST + 6), section.name("from", LONGEST));
    let (encryption, user) = (section.choice("encryption"), section.name("user", LONGEST));
    let password = secret::password(section);
    let password_written = section.written("password").or_else(|| section.written("password_file"));
    let (to, to_principal) = (section.texts("to"), section.flag("to_principal"));
    if !is_meant {
        return None;
    }
    for word in ["server", "from"] {
        if section.written(word).is_none() {
            section.miss(word, "is missing: mail needs it");
        }
    }
    if to.as_ref().is_some_and(Vec::is_empty) && to_principal == Some(false) {
        section.miss("to", "names nobody: name addresses, or set to_principal = true");
    }
    if user.is_some() != password_written.is_some() {
        reader.complain(&section.at, "user and password go together: write both, or none of them");
    }
    let encryption = encryption?;
    let mode = match encryption.value.as_str() {
        "tls" => Encryption::Tls,
        "none" => Encryption::None,
        _ => Encryption::StartTls,
    };
    let server = server?;
    let (host, port) = host_and_port(reader, &server, mode)?;
    if mode == Encryption::None && !crate::notify::is_this_machine(&host) {
        reader.complain(
            &encryption.at,
            "mail crosses the network in clear text: none is for a server on this machine alone",
        );
        return None;
    }
    let to = to?.into_iter().map(|address| mail_address(reader, &address)).collect::<Vec<_>>();
    let login = user.map(|user| Some((user.value, password?)));
    Some(MailSettings {
        host,
        port,
        encryption: mode,
        login: match login {
            None => None,
            Some(login) => Some(login?),
        },
        from: mail_address(reader, &from?)?,
        to: to.into_iter().collect::<Option<_>>()?,
        to_principal: to_principal?,
    })
}

fn host_and_port(
    reader: &Reader<'_>,
    server: &Located<String>,
    encryption: Encryption,
) -> Option<(String, u16)> {
    let usual = if encryption == Encryption::Tls { 465 } else { 587 };
    let plain = |host: &str| {
        !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || "-.:_".contains(c))
    };
    let parsed = match server.value.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, "")) => Some((host, usual)),
        Some((host, port)) => port.strip_prefix(':').and_then(|port| Some((host, port.parse().ok()?))),
        None => match server.value.split_once(':') {
            Some((host, port)) => port.parse().ok().map(|port| (host, port)),
            None => Some((server.value.as_str(), usual)),
        },
    };
    let parsed = parsed.filter(|(host, port)| plain(host) && *port > 0);
    if parsed.is_none() {
        let message = format!("{} is no mail server, such as mail.example.com:587", quoted(&server.value));
        reader.complain(&server.at, message);
    }
    parsed.map(|(host, port)| (host.to_owned(), port))
}

fn mail_address(reader: &Reader<'_>, text: &Located<String>) -> Option<String> {
    if text.value.len() <= LONGEST && text.value.parse::<lettre::Address>().is_ok() {
        return Some(text.value.clone());
    }
    reader.complain(&text.at, format!("{} is no mail address", quoted(&text.value)));
    None
}

fn events(section: &Section<'_>) -> Option<BTreeSet<EventKind>> {
    if section.written("events").is_none() {
        // Asked for all the same: it is a key of this table.
        let _ = section.texts("events");
        return Some(USUAL.into());
    }
    let events = section.texts("events")?;
    if events.is_empty() {
        section.miss("events", "names none: then nothing is told");
        return None;
    }
    section.reader.parse_all::<EventKind>(&events).map(|events| events.into_iter().collect())
}

/// `None`: it is wrong.
#[expect(clippy::option_option, reason = "nothing written, and something wrong, are different things")]
fn base_url(section: &Section<'_>) -> Option<Option<String>> {
    let Some(url) = section.text("base_url") else {
        return section.written("base_url").is_none().then_some(None);
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._~:/[]".contains(c);
    let scheme = ["https://", "http://"].iter().any(|scheme| url.value.starts_with(scheme));
    if scheme && url.value.len() <= LONGEST && url.value.chars().all(plain) {
        return Some(Some(url.value));
    }
    let message = format!("{} is no address such as https://mayfly.example.com", quoted(&url.value));
    section.reader.complain(&url.at, message);
    None
}

fn templates(section: &Section<'_>) -> Option<Templates> {
    let Some(written) = section.table("templates") else {
        return section.written("templates").is_none().then(Templates::default);
    };
    let reader = section.reader;
    let parsed: Vec<_> = written
        .iter()
        .map(|(event, text)| {
            let event = reader.parse::<EventKind>(event);
            let template = Template::parse(&text.value);
            let template = template.map_err(|error| reader.complain(&text.at, error.to_string())).ok();
            Some((event?, template?))
        })
        .collect();
    parsed.into_iter().collect::<Option<_>>().map(Templates)
}
