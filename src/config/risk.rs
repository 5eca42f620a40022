//! `[risk.NAME]`: what makes a request risky, and by how many points.

use std::str::FromStr;

use ipnet::IpNet;

use super::{
    reader::{Located, Reader, quoted},
    section::Section,
};
use crate::{
    domain::{PrincipalKind, RoleName},
    policy::{Condition, Factor, Weekday},
};

/// The factors, by name. `None`: something is wrong.
pub(super) fn factors(section: &Section<'_>) -> Option<Vec<Factor>> {
    // Each is read before one that is wrong is given up on.
    let factors: Vec<Option<Factor>> =
        section.children().iter().map(|(name, section)| factor(name, section)).collect();
    factors.into_iter().collect()
}

fn factor(name: &Located<String>, section: &Section<'_>) -> Option<Factor> {
    let named: Option<RoleName> = section.reader.parse(name);
    let points = section.number::<u32>("points");
    let read = [
        labels(section),
        member_of(section),
        kinds(section),
        hours(section),
        weekdays(section),
        flag(section, "first_use", Condition::FirstUse),
        longer(section, "ttl_above", Condition::TtlAbove),
        networks(section),
        flag(section, "no_ticket", Condition::NoTicket),
        longer(section, "second_factor_older_than", Condition::SecondFactorOlderThan),
    ];
    let mut conditions = Vec::new();
    for condition in read {
        match condition {
            Written::Not => {}
            Written::Wrong => return None,
            Written::Right(condition) => conditions.push(condition),
        }
    }
    if conditions.is_empty() {
        if section.is_written() {
            section.reader.complain(&section.at, "has no condition: it would apply to every request");
        }
        return None;
    }
    named?;
    Some(Factor { name: name.value.clone(), points: points?.value, conditions })
}

/// A condition in the file.
enum Written {
    /// It is not there.
    Not,
    /// It is not right, which was told.
    Wrong,
    /// It is.
    Right(Condition),
}

impl Written {
    fn of(section: &Section<'_>, word: &'static str, condition: Option<Condition>) -> Self {
        match condition {
            Some(condition) => Written::Right(condition),
            None if section.written(word).is_some() => Written::Wrong,
            None => Written::Not,
        }
    }
}

fn labels(section: &Section<'_>) -> Written {
    let labels = section.table("labels").and_then(|labels| {
        if labels.is_empty() {
            section.refuse("labels", "names no label");
            return None;
        }
        Some(Condition::Labels(labels.into_iter().map(|(name, value)| (name.value, value.value)).collect()))
    });
    Written::of(section, "labels", labels)
}

/// A list that names at least one thing.
fn list(section: &Section<'_>, word: &'static str) -> Option<Vec<Located<String>>> {
    let texts = section.texts(word)?;
    if texts.is_empty() {
        section.refuse(word, "is empty: it would never apply");
        return None;
    }
    Some(texts)
}

fn member_of(section: &Section<'_>) -> Written {
    let patterns = list(section, "member_of")
        .map(|texts| Condition::MemberOf(texts.into_iter().map(|text| text.value).collect()));
    Written::of(section, "member_of", patterns)
}

fn kinds(section: &Section<'_>) -> Written {
    let kinds = list(section, "kinds").and_then(|texts| section.reader.parse_all::<PrincipalKind>(&texts));
    Written::of(section, "kinds", kinds.map(Condition::Kinds))
}

fn networks(section: &Section<'_>) -> Written {
    let network = |text: &Located<String>| {
        let network = IpNet::from_str(&text.value);
        let shown = quoted(&text.value);
        network
            .map_err(|_| {
                let message =
                    format!("{shown} is no network: write it like \"10.0.0.0/8\" or \"2001:db8::/32\"");
                section.reader.complain(&text.at, message);
            })
            .ok()
    };
    let networks = list(section, "outside_networks").and_then(|texts| {
        let networks: Vec<Option<IpNet>> = texts.iter().map(network).collect();
        networks.into_iter().collect::<Option<Vec<_>>>()
    });
    Written::of(section, "outside_networks", networks.map(Condition::OutsideNetworks))
}

fn weekdays(section: &Section<'_>) -> Written {
    let weekday = |text: &Located<String>| {
        let day = Weekday::ALL.into_iter().find(|day| day.as_str() == text.value);
        if day.is_none() {
            let message = format!("{} is no weekday: write it like \"saturday\"", quoted(&text.value));
            section.reader.complain(&text.at, message);
        }
        day
    };
    let days = list(section, "weekdays").and_then(|texts| {
        let days: Vec<Option<Weekday>> = texts.iter().map(weekday).collect();
        days.into_iter().collect::<Option<Vec<_>>>()
    });
    Written::of(section, "weekdays", days.map(Condition::Weekdays))
}

fn hours(section: &Section<'_>) -> Written {
    let hours = section.text("outside_hours").and_then(|text| parse_hours(section.reader, &text));
    Written::of(section, "outside_hours", hours)
}

/// `08:00-18:00`: minutes since midnight.
fn parse_hours(reader: &Reader<'_>, text: &Located<String>) -> Option<Condition> {
    let minutes = |clock: &str| {
        let (hour, minute) = clock.trim().split_once(':')?;
        let number = |digits: &str| {
            (digits.len() == 2 && digits.chars().all(|c| c.is_ascii_digit()))
                .then(|| digits.parse::<u16>().ok())
                .flatten()
        };
        let (hour, minute) = (number(hour)?, number(minute)?);
        (minute < 60 && (hour < 24 || (hour == 24 && minute == 0))).then_some(hour * 60 + minute)
    };
    let hours = text.value.split_once('-').and_then(|(from, until)| Some((minutes(from)?, minutes(until)?)));
    match hours {
        Some((from, until)) if from != until => Some(Condition::OutsideHours(from, until)),
        _ => {
            let message = format!("{} are no hours: write them like \"08:00-18:00\"", quoted(&text.value));
            reader.complain(&text.at, message);
            None
        }
    }
}

fn flag(section: &Section<'_>, word: &'static str, condition: Condition) -> Written {
    let flag = section.flag(word);
    if flag == Some(false) {
        section.refuse(word, "is true or left out");
    }
    Written::of(section, word, (flag == Some(true)).then_some(condition))
}

fn longer(
    section: &Section<'_>,
    word: &'static str,
    condition: impl FnOnce(std::time::Duration) -> Condition,
) -> Written {
    Written::of(section, word, section.duration(word).map(|duration| condition(duration.value)))
}
