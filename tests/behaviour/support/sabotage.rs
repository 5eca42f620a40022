//! A store that refuses to write: the file itself is taught to refuse audit records.

use std::path::Path;

/// The store in a directory that refuses some audit records; it writes them again when this is dropped.
pub(crate) struct Sabotage(rusqlite::Connection);

impl Sabotage {
    /// No audit record with `text` in it can be written; with an empty text, none at all.
    pub(crate) fn of(directory: &Path, text: &str) -> Self {
        assert!(text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'.'));
        let connection = rusqlite::Connection::open(directory.join("mayfly.db")).unwrap();
        connection.busy_timeout(std::time::Duration::from_secs(10)).unwrap();
        connection
            .execute_batch(&format!(
                "CREATE TRIGGER sabotage BEFORE INSERT ON audit WHEN instr(NEW.record, '{text}') > 0 \
                 BEGIN SELECT RAISE(ABORT, 'there is no room'); END"
            ))
            .unwrap();
        Self(connection)
    }
}

impl Drop for Sabotage {
    fn drop(&mut self) {
        self.0.execute_batch("DROP TRIGGER sabotage").unwrap();
    }
}
