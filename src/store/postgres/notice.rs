//! What one process tells the others after a commit: which leases changed, on which targets, and when they are due; which
//! entries changed. A hint: whoever misses it is slower and nothing worse. A process passes over lines it does not understand.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::{entry_write::EntryName, exchange::Writing, settings::SchemaName};
use crate::domain::{Lease, LeaseId, TargetName};

/// Bytes of one notice; the server takes fewer than 8,000.
const LONGEST: usize = 7_500;

/// What a line about an entry begins with; no lease is called so.
const ENTRY: &str = "entry";

/// The channel of those who share a schema.
pub(super) fn channel(schema: &SchemaName) -> String {
    // A schema's name needs no quotes, and is as long as a channel's may be.
    schema.as_str().to_owned()
}

/// What changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Notice {
    pub(super) leases: Vec<Changed>,
    pub(super) entries: Vec<EntryName>,
}

/// A change of a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Changed {
    pub(super) id: LeaseId,
    pub(super) target: TargetName,
    /// When it is due; `None`: never again.
    pub(super) due_at: Option<Timestamp>,
}

fn signature(replica: &str, epoch: i64) -> String {
    format!("{replica} {epoch}")
}

/// Notices of these changes; of each lease the last, of each entry one.
pub(super) fn write(writing: &Writing, leases: &[Lease], entries: &[EntryName]) -> Vec<String> {
    let last: BTreeMap<LeaseId, &Lease> = leases.iter().map(|lease| (lease.id, lease)).collect();
    let leases = last.values().map(|lease| {
        let due = lease.state.due_at().map_or_else(|| "-".to_owned(), |at| at.as_microsecond().to_string());
        format!("\n{} {due} {}", lease.id, lease.target)
    });
    let named: BTreeSet<&EntryName> = entries.iter().collect();
    // As JSON, an identifier is one line whatever it holds.
    let entries = named
        .into_iter()
        .map(|(kind, id)| format!("\n{ENTRY} {kind} {}", serde_json::Value::String(id.clone())));
    let head = signature(&writing.replica, writing.epoch);
    let mut notices: Vec<String> = Vec::new();
    for line in leases.chain(entries) {
        match notices.last_mut().filter(|notice| notice.len() + line.len() <= LONGEST) {
            Some(notice) => notice.push_str(&line),
            None => notices.push(format!("{head}{line}")),
        }
    }
    notices
}

/// What a notice says; nothing if it is this process's own, or not understood.
pub(super) fn read(notice: &str, writing: &Writing) -> Notice {
    let mut lines = notice.lines();
    let mut told = Notice::default();
    if lines.next().is_none_or(|from| from == signature(&writing.replica, writing.epoch)) {
        return told;
    }
    for line in lines {
        match line.strip_prefix(ENTRY) {
            Some(rest) => told.entries.extend(entry(rest)),
            None => told.leases.extend(changed(line)),
        }
    }
    told
}

fn entry(rest: &str) -> Option<EntryName> {
    let (kind, id) = rest.strip_prefix(' ')?.split_once(' ')?;
    Some((kind.parse().ok()?, serde_json::from_str(id).ok()?))
}

fn changed(line: &str) -> Option<Changed> {
    let mut words = line.splitn(3, ' ');
    let id = words.next()?.parse().ok()?;
    let due_at = match words.next()? {
        "-" => None,
        at => Some(Timestamp::from_microsecond(at.parse().ok()?).ok()?),
    };
    Some(Changed { id, due_at, target: words.next()?.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::EntryKind;

    fn writing(replica: &str) -> Writing {
        Writing { replica: replica.to_owned(), epoch: 3, schema: "mayfly".parse().unwrap() }
    }

    #[test]
    fn entries_are_told_once_whatever_their_identifiers_hold() {
        let odd = "two\nlines \"and\" more".to_owned();
        let told = [
            (EntryKind::Request, odd.clone()),
            (EntryKind::Lock, "a".to_owned()),
            (EntryKind::Request, odd.clone()),
        ];
        let notices = write(&writing("one"), &[], &told);
        assert_eq!(notices.len(), 1);
        let heard = read(&notices[0], &writing("other"));
        assert_eq!(heard.entries, [(EntryKind::Request, odd), (EntryKind::Lock, "a".to_owned())]);
        assert_eq!(read(&notices[0], &writing("one")), Notice::default(), "its own");
    }

    #[test]
    fn what_is_not_understood_is_passed_over() {
        let heard =
            read("other 1\nentry new_kind \"a\"\nentry lock\nentry lock \"b\"\nanything", &writing("one"));
        assert_eq!(heard, Notice { leases: Vec::new(), entries: vec![(EntryKind::Lock, "b".to_owned())] });
    }

    #[test]
    fn many_changes_are_told_in_several_notices() {
        let told: Vec<EntryName> = (0..100).map(|n| (EntryKind::Request, format!("{n:0>400}"))).collect();
        let notices = write(&writing("one"), &[], &told);
        assert!(notices.len() > 5 && notices.iter().all(|notice| notice.len() < 8_000));
        let heard: usize = notices.iter().map(|notice| read(notice, &writing("other")).entries.len()).sum();
        assert_eq!(heard, 100);
    }
}
