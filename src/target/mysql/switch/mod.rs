//! The dead-man's switch: what makes the server itself lock an account at its expiry and end its sessions, with nobody there.
//!
//! One schema `mayfly` on each server, shared by all who administer it: a table of accounts and expiries, by the server's
//! own clock in UTC, and an event that looks every second for what is due. The event runs with the rights of its definer,
//! which are those of the administration account that installed it, and touches no account whose name lacks Mayfly's
//! mark. Its version is in its comment. Besides, the schema holds what the server is known by, which its replicas share.
//! What it is made of is in `table.sql`, `server.sql` and `event.sql`; `docs/dead-mans-switch.md` shows the same for those
//! who install it by hand.
//!
//! Version 2 added the accounts' marks and the server's identity. The event is what bears the version, so it is altered last.

mod examine;
mod install;
mod look;

pub(super) use examine::findings;
pub(super) use install::{install, script};
pub(super) use look::{Registry, Switch, look, registry, required};

/// The schema.
pub(super) const SCHEMA: &str = "mayfly";
/// The version that this Mayfly installs, and the oldest it works with.
const VERSION: u32 = 2;
/// From this version on, the table has a place for marks.
const MARKS: u32 = 2;
/// What stands before the version in the event's comment.
const COMMENT: &str = "mayfly switch, version ";

const CREATE_SCHEMA: &str = "CREATE DATABASE IF NOT EXISTS mayfly CHARACTER SET utf8mb4 COLLATE utf8mb4_bin";
const CREATE_TABLE: &str = include_str!("table.sql");
const CREATE_SERVER: &str = include_str!("server.sql");
/// From version 1 to 2; neither server says `IF NOT EXISTS` of a column in the same words.
const ADD_MARKS: &str =
    "ALTER TABLE mayfly.accounts ADD COLUMN mark varchar(512) NULL, ADD COLUMN own_statements boolean NULL";
/// The identity is replicated as a value, whatever the format of the binary log. MySQL's is the UUID of the server it is
/// drawn on, by which Mayfly knew it before; MariaDB has none and reads no comment of MySQL's.
const DRAW_IDENTITY: [&str; 2] = [
    "SET @mayfly = COALESCE(/*!80000 @@server_uuid, */ UUID())",
    "INSERT IGNORE INTO mayfly.server (id, identity) VALUES (1, @mayfly)",
];
const EVENT: &str = include_str!("event.sql");

/// The statements that make it, for a server that may have it already: to be run by the account that is to be its definer.
pub const STATEMENTS: &[&str] = &[
    super::connect::SQL_MODE,
    CREATE_SCHEMA,
    CREATE_TABLE,
    CREATE_SERVER,
    DRAW_IDENTITY[0],
    DRAW_IDENTITY[1],
    concat!("CREATE EVENT IF NOT EXISTS mayfly.expire\n", include_str!("event.sql")),
];

/// What the event does.
fn body() -> &'static str {
    EVENT.split_once(" DO\n").map_or(EVENT, |(_, body)| body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_event_bears_this_version() {
        assert!(EVENT.contains(&format!("COMMENT '{COMMENT}{VERSION}' DO\n")));
        assert!(body().starts_with("BEGIN\n") && body().ends_with("END"));
    }

    #[test]
    fn only_accounts_with_the_mark_are_touched() {
        let name = crate::domain::AccountName::compose(
            crate::domain::Engine::Mysql,
            &"r".parse().unwrap(),
            &"p".parse().unwrap(),
            crate::domain::LeaseId::new(jiff::Timestamp::UNIX_EPOCH, 1),
        );
        assert!(name.as_str().starts_with("mf_"));
        assert_eq!(EVENT.matches("user, 3) = 'mf_'").count(), 3);
    }
}
