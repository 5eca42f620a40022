//! `[retention]`.

use std::{path::PathBuf, time::Duration};

use super::*;
use crate::retention::{AuditRetention, RetentionSettings};

const DAY: u64 = 24 * 3600;

#[test]
fn everything_is_kept_for_ever_unless_it_is_said_for_how_long() {
    let config = load(&format!("{STORE}{ORDERS}")).unwrap().config;
    assert_eq!(config.retention, RetentionSettings::default());
    let text = "[retention]\nended_leases = \"90d\"\naudit = \"400d\"\narchive_directory = \"archive\"\n";
    let config = load(&format!("{STORE}{ORDERS}{text}")).unwrap().config;
    let audit = AuditRetention {
        keep: Duration::from_secs(400 * DAY),
        directory: PathBuf::from("/etc/mayfly/archive"),
    };
    let ended_leases = Some(Duration::from_secs(90 * DAY));
    assert_eq!(config.retention, RetentionSettings { ended_leases, audit: Some(audit) });
}

#[test]
fn records_are_not_removed_without_an_archive_nor_anything_too_soon() {
    for (text, expected) in [
        ("audit = \"400d\"", "retention.audit: needs archive_directory as well"),
        ("ended_leases = \"1h\"", "retention.ended_leases: expected a duration"),
        ("audit = \"1d\"\narchive_directory = \"a\"", "retention.audit: expected a duration"),
    ] {
        let problems = problems(&format!("{STORE}{ORDERS}[retention]\n{text}\n"));
        assert!(problems.iter().any(|problem| problem.starts_with(expected)), "{problems:#?}\n{expected}");
    }
}
