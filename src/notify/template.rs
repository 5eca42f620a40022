//! What is said of an event: text with `{placeholders}`, parsed when the configuration is read.
//!
//! The first line is the subject of a mail. Values never bring markup or lines of their own.

use std::{collections::BTreeMap, fmt};

use super::{
    Event, EventKind,
    clean::{Place, clean},
};

/// Bytes a template may have.
const LONGEST: usize = 4_000;

macro_rules! placeholders {
    ($($(#[$doc:meta])* $placeholder:ident = $word:literal),* $(,)?) => {
        /// A fact of an event.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Placeholder { $($(#[$doc])* $placeholder),* }

        impl Placeholder {
            /// All of them.
            pub const ALL: &'static [Placeholder] = &[$(Placeholder::$placeholder),*];

            /// The word between the braces.
            pub fn word(self) -> &'static str {
                match self { $(Placeholder::$placeholder => $word),* }
            }
        }
    };
}

placeholders! {
    /// The kind of event.
    Event = "event",
    /// What exactly happened.
    What = "what",
    /// The name of what it happened to: `requests/…`.
    Resource = "resource",
    /// The last part of that.
    Id = "id",
    /// Whom it is about.
    Principal = "principal",
    /// Who did it.
    Actor = "actor",
    /// The role.
    Role = "role",
    /// The target.
    Target = "target",
    /// Why.
    Reason = "reason",
    /// The ticket.
    Ticket = "ticket",
    /// For how long.
    Ttl = "ttl",
    /// Until when.
    Until = "until",
    /// When it happened.
    At = "at",
    /// Where to look at it, where the channel has a `base_url`.
    Link = "link",
}

/// Why a template was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// Nothing but blanks.
    #[error("is empty")]
    Empty,
    /// Too long to be read.
    #[error("has more than {LONGEST} bytes")]
    TooLong,
    /// `{` without `}`.
    #[error("has \"{{\" at byte {0} without a closing \"}}\"; a brace of its own is written twice")]
    Unclosed(usize),
    /// A word that is no placeholder.
    #[error("has the unknown placeholder {{{0}}}; known are {known}", known = known())]
    Unknown(String),
}

fn known() -> String {
    Placeholder::ALL.iter().map(|one| format!("{{{}}}", one.word())).collect::<Vec<_>>().join(", ")
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Text(String),
    Value(Placeholder),
}

/// A parsed template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Segment>);

impl Template {
    /// Parses a template. `{{` and `}}` are braces.
    ///
    /// # Errors
    /// When it is empty or endless, or has an unclosed or unknown placeholder.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        if text.trim().is_empty() {
            return Err(TemplateError::Empty);
        }
        if text.len() > LONGEST {
            return Err(TemplateError::TooLong);
        }
        let (mut segments, mut literal, mut rest) = (Vec::new(), String::new(), text);
        while let Some(at) = rest.find(['{', '}']) {
            let (before, from) = rest.split_at(at);
            literal.push_str(before);
            if let Some(after) = from.strip_prefix("{{").or_else(|| from.strip_prefix("}}")) {
                literal.push_str(from.get(..1).unwrap_or_default());
                rest = after;
            } else if let Some(after) = from.strip_prefix('}') {
                literal.push('}');
                rest = after;
            } else {
                let inner = from.get(1..).unwrap_or_default();
                let (word, after) =
                    inner.split_once('}').ok_or(TemplateError::Unclosed(text.len() - from.len()))?;
                let placeholder = Placeholder::ALL.iter().find(|one| one.word() == word.trim());
                let placeholder =
                    placeholder.ok_or_else(|| TemplateError::Unknown(word.chars().take(40).collect()))?;
                if !literal.is_empty() {
                    segments.push(Segment::Text(std::mem::take(&mut literal)));
                }
                segments.push(Segment::Value(*placeholder));
                rest = after;
            }
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            segments.push(Segment::Text(literal));
        }
        Ok(Self(segments))
    }

    /// The text about an event, fit for a place. What is not known is a dash.
    pub(super) fn render(&self, event: &Event, base_url: Option<&str>, place: Place) -> String {
        let mut text = String::new();
        for segment in &self.0 {
            match segment {
                Segment::Text(literal) => text.push_str(literal),
                Segment::Value(Placeholder::Link) => text.push_str(&link(event, base_url, place)),
                Segment::Value(placeholder) => match value(event, *placeholder) {
                    Some(value) if !value.is_empty() => text.push_str(&clean(&value, place)),
                    _ => text.push('–'),
                },
            }
        }
        text
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|segment| match segment {
            Segment::Text(text) => f.write_str(&text.replace('{', "{{").replace('}', "}}")),
            Segment::Value(placeholder) => write!(f, "{{{}}}", placeholder.word()),
        })
    }
}

fn value(event: &Event, placeholder: Placeholder) -> Option<String> {
    let text = |value: &dyn fmt::Display| Some(value.to_string());
    match placeholder {
        Placeholder::Event => text(&event.kind),
        Placeholder::What => text(&event.what),
        Placeholder::Resource => text(&event.resource),
        Placeholder::Id => text(&event.id()),
        Placeholder::Principal => event.principal.as_ref().map(ToString::to_string),
        Placeholder::Actor => event.actor.as_ref().map(ToString::to_string),
        Placeholder::Role => event.role.as_ref().map(ToString::to_string),
        Placeholder::Target => event.target.as_ref().map(ToString::to_string),
        Placeholder::Reason => text(&event.reason),
        Placeholder::Ticket => event.ticket.clone(),
        Placeholder::Ttl => event.ttl.clone(),
        Placeholder::Until => event.until.map(minute),
        Placeholder::At => text(&minute(event.at)),
        Placeholder::Link => None,
    }
}

/// A moment as people read it, in UTC.
fn minute(at: jiff::Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

/// The base, and the name of what it is about: letters, digits, dashes and slashes. Whoever follows it proves there who he is.
pub(super) fn link(event: &Event, base_url: Option<&str>, place: Place) -> String {
    let plain = |character: char| character.is_ascii_alphanumeric() || "-_/.".contains(character);
    let Some(base) = base_url.filter(|_| event.resource.chars().all(plain)) else { return String::new() };
    let link = format!("{}/{}", base.trim_end_matches('/'), event.resource);
    if place == Place::Slack { format!("<{link}>") } else { link }
}

/// What is said of which events: the operator's words, and where there are none, these.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Templates(pub BTreeMap<EventKind, Template>);

impl Templates {
    /// What is said of an event.
    pub(super) fn render(&self, event: &Event, base_url: Option<&str>, place: Place) -> String {
        let own = self.0.get(&event.kind).map(|template| template.render(event, base_url, place));
        let text = own.unwrap_or_else(|| {
            // The defaults are parsed by a test; should one not be, its text is better than silence.
            Template::parse(default(event)).map_or_else(
                |_| format!("{} {}", event.kind, clean(&event.resource, place)),
                |template| template.render(event, base_url, place),
            )
        });
        text.trim_end().to_owned()
    }
}

/// Short, in plain words, and what to type next.
fn default(event: &Event) -> &'static str {
    let of_lease = event.resource.starts_with("leases/");
    match (event.kind, event.what.as_str()) {
        (EventKind::Request, _) => {
            "{principal} asks for {role} on {target} for {ttl}\nReason: {reason}\nTicket: {ticket}\n\
             Decide: mayfly review approve {id}, or mayfly review deny {id}\n{link}"
        }
        (EventKind::Decision, "approved") => {
            "{principal} may use {role} on {target}: approved by {actor}\nReason: {reason}\n\
             Get the credential: mayfly creds {role}\n{link}"
        }
        (EventKind::Decision, _) => {
            "The request of {principal} for {role} on {target} was {what}\nBy: {actor}\nReason: {reason}\n\
             See: mayfly request show {id}\n{link}"
        }
        (EventKind::Escalation, _) => {
            "Nobody answered yet: {principal} asks for {role} on {target}\nReason: {reason}\n\
             You may decide as well: mayfly review approve {id}, or mayfly review deny {id}\n{link}"
        }
        (EventKind::Reminder, _) => {
            "Still waiting, {what}: {principal}, {role} on {target}\nReason: {reason}\n\
             See: mayfly request show {id}\n{link}"
        }
        (EventKind::Expiring, _) if of_lease => {
            "Access of {principal} to {target} as {role} ends at {until}\n\
             Need longer? mayfly lease renew {id}\n{link}"
        }
        (EventKind::Expiring, _) => {
            "The grant of {principal} for {role} on {target} ends at {until}\n\
             Need longer? Ask again: mayfly request create {role}\n{link}"
        }
        (EventKind::Ended, _) => {
            "Access of {principal} to {target} as {role} has ended: {what}\nReason: {reason}\n{link}"
        }
        (EventKind::EndFailing, _) => {
            "A lease on {target} should be gone and cannot be ended: {id}\nWhose: {principal}, {role}\n\
             Why: {reason}\nSee: mayfly lease show {id}\n{link}"
        }
        (EventKind::BreakGlass, "signed off") => {
            "Break-glass access of {principal} to {role} on {target} was signed off by {actor}\n\
             Found: {reason}\n{link}"
        }
        (EventKind::BreakGlass, _) => {
            "BREAK-GLASS: {principal} took {role} on {target} for {ttl} without a review\nReason: {reason}\n\
             Somebody else must sign it off: mayfly request show {id}\n{link}"
        }
        (EventKind::Lock, _) => {
            "Lock {what} on {resource} by {actor}\nReason: {reason}\nSee: mayfly lock ls\n{link}"
        }
        (EventKind::Drift, _) => {
            "An account on {target} is not as it should be: {what}\nLease: {id} of {principal}, {role}\n\
             What: {reason}\nSee: mayfly reconcile {target} --dry-run\n{link}"
        }
        (EventKind::Server, "replaced") => {
            "Another server answers for {target}; nothing is done there\nWhat: {reason}\n\
             If that is right: mayfly target accept {target}\n{link}"
        }
        (EventKind::Server, _) => "{actor} agreed to the server that answers for {target} now\n{link}",
        (EventKind::Test, _) => "A test of this channel by {actor}: it works\n{link}",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;

    fn event() -> Event {
        Event {
            principal: Some("alice".parse().unwrap()),
            role: Some("orders-read".parse().unwrap()),
            target: Some("orders".parse().unwrap()),
            reason: "fix <it>\nSubject: x".to_owned(),
            ttl: Some("30m".to_owned()),
            ..Event::new(EventKind::Request, Timestamp::UNIX_EPOCH, "requests/06dp4f2h9c8x1k3m7q0r", "made")
        }
    }

    #[test]
    fn facts_take_their_places() {
        let text = Templates::default().render(&event(), Some("https://mayfly.example/"), Place::Plain);
        assert_eq!(
            text,
            "alice asks for orders-read on orders for 30m\nReason: fix <it> Subject: x\nTicket: –\n\
             Decide: mayfly review approve 06dp4f2h9c8x1k3m7q0r, or mayfly review deny 06dp4f2h9c8x1k3m7q0r\n\
             https://mayfly.example/requests/06dp4f2h9c8x1k3m7q0r"
        );
        let slack = Templates::default().render(&event(), None, Place::Slack);
        assert!(
            slack.contains("fix &lt;it&gt; Subject: x") && slack.ends_with("06dp4f2h9c8x1k3m7q0r"),
            "{slack}"
        );
    }

    #[test]
    fn every_default_parses_and_reads_back() {
        for kind in EventKind::ALL {
            for what in ["approved", "denied", "signed off", "used", "replaced", "accepted"] {
                for resource in ["leases/x", "requests/x"] {
                    let event = Event::new(*kind, Timestamp::UNIX_EPOCH, resource, what);
                    let template = Template::parse(default(&event)).unwrap();
                    assert_eq!(Template::parse(&template.to_string()).unwrap(), template);
                }
            }
        }
    }

    #[test]
    fn what_is_no_template_is_refused() {
        for (text, error) in [
            (" \n", TemplateError::Empty),
            ("hello {princpal}", TemplateError::Unknown("princpal".into())),
            ("hello {", TemplateError::Unclosed(6)),
            (&"x".repeat(5_000), TemplateError::TooLong),
        ] {
            assert_eq!(Template::parse(text), Err(error));
        }
        let braces = Template::parse("{{role}} {role}").unwrap();
        assert_eq!(braces.render(&event(), None, Place::Plain), "{role} orders-read");
    }

    #[test]
    fn a_resource_with_odd_characters_becomes_no_link() {
        let odd = Event { resource: "locks/x>|<y".to_owned(), ..event() };
        assert_eq!(link(&odd, Some("https://m"), Place::Slack), "");
    }
}
