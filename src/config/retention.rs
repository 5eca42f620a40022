//! `[retention]`.

use super::{section::Section, store::StoreSettings};
use crate::retention::{AuditRetention, RetentionSettings};

pub(super) fn retention(section: &Section<'_>, store: Option<&StoreSettings>) -> Option<RetentionSettings> {
    let (leases, audit) = (section.period("ended_leases"), section.period("audit"));
    let (directory, reader) = (section.path("archive_directory"), section.reader);
    let ended_leases = leases?.value;
    let audit = audit?;
    let audit = match (audit.value, directory) {
        (Some(keep), Some(directory)) => {
            if store.and_then(StoreSettings::path) == Some(&directory.value) {
                reader.complain(&directory.at, "is the store's file; name a directory");
            }
            Some(AuditRetention { keep, directory: directory.value })
        }
        (Some(_), None) => {
            let message = "needs archive_directory as well: no record is removed that is not in an archive";
            reader.complain(&audit.at, message);
            None
        }
        (None, Some(directory)) => {
            reader.warn(&directory.at, "nothing is archived unless audit says after how long");
            None
        }
        (None, None) => None,
    };
    Some(RetentionSettings { ended_leases, audit })
}
