//! The dead-man's switch: what makes the server itself lock an account at its expiry and end its sessions, with nobody there.
//!
//! One schema `mayfly` on each server, shared by all who administer it: a table of accounts and expiries, by the server's
//! own clock in UTC, and an event that looks every second for what is due. The event runs with the rights of its definer,
//! which are those of the administration account that installed it, and touches no account whose name lacks Mayfly's
//! mark unless its row says that Mayfly hands it out, and never its definer. Its version is in its comment. Besides, the schema holds what the server is known by, which its replicas share.
//! What it is made of is in `table.sql`, `elevations.sql`, `server.sql` and `event.sql`; `docs/dead-mans-switch.md` shows the same for those
//! who install it by hand.
//!
//! Version 2 added the accounts' marks and the server's identity, version 3 accounts that were there before Mayfly: those that
//! are handed out, and roles that others of them have for a while. The event is what bears the version, so it is altered last.

mod examine;
mod install;
mod look;

pub(super) use examine::findings;
pub(super) use install::{install, script};
pub(super) use look::{Keeper, Registry, Switch, look, registry, required, seen};

/// The schema.
pub(super) const SCHEMA: &str = "mayfly";
/// The version that this Mayfly installs.
const VERSION: u32 = 3;
/// From this version on, the table has a place for marks: the oldest that serves accounts that Mayfly makes.
pub(super) const MARKS: u32 = 2;
/// From this version on, the table tells accounts that were there before Mayfly: the oldest that serves those.
pub(super) const KINDS: u32 = 3;
/// What stands before the version in the event's comment.
const COMMENT: &str = "mayfly switch, version ";

const CREATE_SCHEMA: &str = "CREATE DATABASE IF NOT EXISTS mayfly CHARACTER SET utf8mb4 COLLATE utf8mb4_bin";
const CREATE_TABLE: &str = include_str!("table.sql");
const CREATE_ELEVATIONS: &str = include_str!("elevations.sql");
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
/// From version 2 to 3.
const ADD_KINDS: &str = "ALTER TABLE mayfly.accounts ADD COLUMN kind varchar(16) NULL";
const EVENT: &str = include_str!("event.sql");

/// The statements that make it, for a server that may have it already: to be run by the account that is to be its definer.
pub const STATEMENTS: &[&str] = &[
    super::connect::SQL_MODE,
    CREATE_SCHEMA,
    CREATE_TABLE,
    CREATE_ELEVATIONS,
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
        assert!(!EVENT.contains(['`', '$', '\\']), "it stands in shell scripts, where these mean something");
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
        let touched = "(LEFT(user, 3) = 'mf_' OR kind = 'checkout' AND LEFT(own, CHAR_LENGTH(user) + 1) <> CONCAT(user, '@'))";
        let text = EVENT.replace("a.user", "user").replace("a.kind", "kind");
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(text.matches(touched).count(), 3);
        assert_eq!(text.matches("FROM mayfly.accounts WHERE expires_at <= ").count(), 2);
    }
}
