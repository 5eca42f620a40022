//! What one process tells the others after a commit: which leases changed, on which targets, and when they are due. A hint:
//! whoever misses it is slower and nothing worse.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{exchange::Writing, settings::SchemaName};
use crate::domain::{Lease, LeaseId, TargetName};

/// Bytes of one notice; the server takes fewer than 8,000.
const LONGEST: usize = 7_500;

/// The channel of those who share a schema.
pub(super) fn channel(schema: &SchemaName) -> String {
    // A schema's name needs no quotes, and is as long as a channel's may be.
    schema.as_str().to_owned()
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

/// Notices of these changes; of each lease the last.
pub(super) fn write(writing: &Writing, announced: &[Lease]) -> Vec<String> {
    let last: BTreeMap<LeaseId, &Lease> = announced.iter().map(|lease| (lease.id, lease)).collect();
    let head = signature(&writing.replica, writing.epoch);
    let mut notices: Vec<String> = Vec::new();
    for lease in last.values() {
        let due = lease.state.due_at().map_or_else(|| "-".to_owned(), |at| at.as_microsecond().to_string());
        let line = format!("\n{} {due} {}", lease.id, lease.target);
        match notices.last_mut().filter(|notice| notice.len() + line.len() <= LONGEST) {
            Some(notice) => notice.push_str(&line),
            None => notices.push(format!("{head}{line}")),
        }
    }
    notices
}

/// What a notice says; nothing if it is this process's own, or not understood.
pub(super) fn read(notice: &str, writing: &Writing) -> Vec<Changed> {
    let mut lines = notice.lines();
    if lines.next().is_none_or(|from| from == signature(&writing.replica, writing.epoch)) {
        return Vec::new();
    }
    lines.filter_map(changed).collect()
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
