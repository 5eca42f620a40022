//! Every key of the file, once: its type, its bounds and its default. The reader takes them from here, and so does the test
//! of `docs/configuration.md`; nothing else knows a default.

use std::{fmt, time::Duration};

use jiff::SignedDuration;

/// A key of the file.
#[derive(Debug)]
pub(super) struct Key {
    /// Dotted path; `NAME` stands for a name the operator chooses.
    pub(super) path: &'static str,
    /// What may be written.
    pub(super) kind: Kind,
    /// What happens when it is left out.
    pub(super) presence: Presence,
}

/// What a value may be.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    /// Any text; the room that reads it says more.
    Text,
    /// A path; relative ones start at the file's directory.
    Path,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// `true` or `false`.
    Flag,
    /// A whole number within bounds, both included.
    Number(u64, u64),
    /// A duration within bounds, both included.
    Duration(Duration, Duration),
    /// A duration within bounds, both included, or `never`.
    Period(Duration, Duration),
    /// A list of texts.
    Texts,
    /// A table of texts with free keys.
    Table,
    /// A table of texts, or of lists of texts, with free keys.
    Lists,
}

/// What happens when a key is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    /// The file is refused.
    Required,
    /// Nothing stands in for it, or what stands in depends on other keys.
    Optional,
    /// This TOML value stands in for it.
    Default(&'static str),
}

use Kind::{Choice, Flag, Lists, Number, Path, Table, Text, Texts};
use Presence::{Default, Optional, Required};

const fn key(path: &'static str, kind: Kind, presence: Presence) -> Key {
    Key { path, kind, presence }
}

const fn between(min: Duration, max: Duration) -> Kind {
    Kind::Duration(min, max)
}

const BRIEF: Duration = Duration::from_millis(100);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const FIVE_MINUTES: Duration = Duration::from_secs(300);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);
/// The longest TTL; `domain::Ttl` refuses more.
const YEAR: Duration = Duration::from_secs(366 * 24 * 3600);

/// The longest that anything is kept for a time.
const DECADE: Duration = Duration::from_secs(3660 * 24 * 3600);

/// Every key, in the order of `docs/configuration.md`.
pub(super) const KEYS: &[Key] = &[
    key("server.listen", Text, Default("\"127.0.0.1:7440\"")),
    key("server.allow_clear_text_beyond_loopback", Flag, Default("false")),
    key("server.max_message_bytes", Number(1024, 16_777_216), Default("65536")),
    key("server.max_concurrent_calls", Number(1, 100_000), Default("1024")),
    key("server.calls_per_second_per_principal", Number(1, 1_000_000), Default("50")),
    key("server.call_burst_per_principal", Number(1, 1_000_000), Default("100")),
    key("server.shutdown_grace", between(BRIEF, HOUR), Default("\"20s\"")),
    key("server.tls.certificate_file", Path, Required),
    key("server.tls.key_file", Path, Required),
    key("server.tls.client_ca_file", Path, Optional),
    key("server.tls.require_client_certificate", Flag, Optional),
    key("store.path", Path, Optional),
    key("store.postgres", Text, Optional),
    key("store.password", Text, Optional),
    key("store.password_file", Path, Optional),
    key("store.schema", Text, Default("\"mayfly\"")),
    key("store.replica", Text, Optional),
    key("store.tls.mode", Choice(&["disable", "require", "verify-full"]), Optional),
    key("store.tls.ca_file", Path, Optional),
    key("store.tls.certificate_file", Path, Optional),
    key("store.tls.key_file", Path, Optional),
    key("audit.file", Path, Optional),
    key("retention.ended_leases", Kind::Period(DAY, DECADE), Default("\"never\"")),
    key("retention.audit", Kind::Period(WEEK, DECADE), Default("\"never\"")),
    key("retention.archive_directory", Path, Optional),
    key("bootstrap.administrator_token_file", Path, Optional),
    key("log.level", Choice(&["error", "warn", "info", "debug", "trace"]), Default("\"info\"")),
    key("log.format", Choice(&["text", "json"]), Default("\"text\"")),
    key("metrics.listen", Text, Optional),
    key("metrics.allow_beyond_loopback", Flag, Default("false")),
    key("break_glass.max_ttl", between(SECOND, YEAR), Default("\"30m\"")),
    key("break_glass.per_day", Number(1, 100), Default("2")),
    key("break_glass.remind_every", Kind::Period(SECOND, YEAR), Default("\"4h\"")),
    key("break_glass.second_factor_within", between(SECOND, YEAR), Default("\"15m\"")),
    key("requests.request_ttl", between(SECOND, YEAR), Default("\"24h\"")),
    key("requests.claim_within", between(SECOND, YEAR), Default("\"24h\"")),
    key("requests.start_within", between(SECOND, YEAR), Default("\"30d\"")),
    key("requests.pending_per_principal", Number(1, 1000), Default("20")),
    key("requests.remind_every", Kind::Period(SECOND, YEAR), Default("\"4h\"")),
    key("sealing.key", Text, Optional),
    key("sealing.key_file", Path, Optional),
    key("sessions.life", between(MINUTE, WEEK), Default("\"8h\"")),
    key("sessions.idle", between(MINUTE, WEEK), Default("\"1h\"")),
    key("identity.NAME.issuer", Text, Optional),
    key("identity.NAME.audiences", Texts, Optional),
    key("identity.NAME.jwks_url", Text, Optional),
    key("identity.NAME.jwks_file", Path, Optional),
    key("identity.NAME.jwks_ca_file", Path, Optional),
    key("identity.NAME.jwks_refresh", between(MINUTE, DAY), Default("\"1h\"")),
    key("identity.NAME.jwks_max_stale", between(MINUTE, WEEK), Default("\"24h\"")),
    key("identity.NAME.algorithms", Texts, Default("[\"RS256\", \"ES256\"]")),
    key("identity.NAME.leeway", between(Duration::ZERO, FIVE_MINUTES), Default("\"30s\"")),
    key("identity.NAME.max_age", Kind::Period(MINUTE, YEAR), Default("\"1h\"")),
    key("identity.NAME.replay", Choice(&["off", "once"]), Default("\"off\"")),
    key("identity.NAME.certificate", Choice(&["spiffe", "subject", "dns"]), Optional),
    key("identity.NAME.principal", Text, Required),
    key("identity.NAME.kind", Choice(&["human", "workload", "contractor"]), Default("\"workload\"")),
    key("identity.NAME.groups", Texts, Default("[]")),
    key("identity.NAME.groups_claim", Text, Optional),
    key("identity.NAME.attributes", Table, Optional),
    key("identity.NAME.bound_claims", Lists, Optional),
    key("identity.NAME.sign_in.client_id", Text, Required),
    key("identity.NAME.sign_in.client_secret", Text, Optional),
    key("identity.NAME.sign_in.client_secret_file", Path, Optional),
    key("identity.NAME.sign_in.scopes", Texts, Default("[\"profile\", \"email\"]")),
    key("identity.NAME.sign_in.redirect_port", Number(1024, 65_535), Optional),
    key("identity.NAME.sign_in.max_age", Kind::Period(MINUTE, YEAR), Default("\"never\"")),
    key("identity.NAME.sign_in.second_factor_acr", Texts, Default("[]")),
    key("identity.NAME.sign_in.second_factor_amr", Texts, Default("[]")),
    key("identity.NAME.sign_in.user_info", Flag, Default("false")),
    key("targets.NAME.engine", Choice(&["postgres", "mysql", "mariadb"]), Required),
    key("targets.NAME.hosts", Texts, Required),
    key("targets.NAME.client_hosts", Texts, Default("[]")),
    key("targets.NAME.database", Text, Optional),
    key("targets.NAME.user", Text, Required),
    key("targets.NAME.password", Text, Optional),
    key("targets.NAME.password_file", Path, Optional),
    key("targets.NAME.rotate_every", between(HOUR, YEAR), Optional),
    key(
        "targets.NAME.auth_plugin",
        Choice(&["mysql_native_password", "ed25519"]),
        Default("\"mysql_native_password\""),
    ),
    key("targets.NAME.expiry", Choice(&["server", "issuer"]), Default("\"server\"")),
    key("targets.NAME.reconcile_every", Kind::Period(SECOND, WEEK), Default("\"15m\"")),
    key("targets.NAME.on_drift", Choice(&["report", "put_right", "end"]), Default("\"put_right\"")),
    key("targets.NAME.labels", Table, Optional),
    key("targets.NAME.tls.mode", Choice(&["disable", "require", "verify-full"]), Optional),
    key("targets.NAME.tls.ca_file", Path, Optional),
    key("targets.NAME.tls.certificate_file", Path, Optional),
    key("targets.NAME.tls.key_file", Path, Optional),
    key("targets.NAME.pool.issuing", Number(1, 1000), Default("16")),
    key("targets.NAME.pool.ending", Number(1, 1000), Default("4")),
    key("targets.NAME.pool.wait", between(BRIEF, FIVE_MINUTES), Default("\"5s\"")),
    key("targets.NAME.pool.connect", between(BRIEF, FIVE_MINUTES), Default("\"5s\"")),
    key("targets.NAME.pool.statement", between(BRIEF, FIVE_MINUTES), Default("\"10s\"")),
    key("targets.NAME.pool.accounts_per_deputy", Number(0, 10_000), Default("250")),
    key("targets.NAME.pool.queue", Number(0, 10_000), Default("256")),
    key("targets.NAME.pool.turn", between(BRIEF, MINUTE), Default("\"2s\"")),
    key("roles.NAME.target", Text, Required),
    key("roles.NAME.kind", Choice(&["ephemeral", "elevation", "checkout"]), Default("\"ephemeral\"")),
    key("roles.NAME.accounts", Table, Optional),
    key("roles.NAME.account", Text, Optional),
    key("roles.NAME.queue", Number(0, 1_000), Default("20")),
    key("roles.NAME.end_sessions", Flag, Default("true")),
    key("roles.NAME.expiry", Choice(&["server", "issuer"]), Default("\"server\"")),
    key("roles.NAME.description", Text, Default("\"\"")),
    key("roles.NAME.member_of", Texts, Default("[]")),
    key("roles.NAME.default_ttl", between(SECOND, YEAR), Default("\"15m\"")),
    key("roles.NAME.max_ttl", between(SECOND, YEAR), Default("\"8h\"")),
    key("roles.NAME.database", Text, Optional),
    key("roles.NAME.connection_limit", Number(1, 100_000), Optional),
    key("roles.NAME.hosts", Texts, Optional),
    key("roles.NAME.settings", Table, Optional),
    key("roles.NAME.owned_objects", Text, Default("\"keep\"")),
    key("roles.NAME.scram_iterations", Number(1, 1_000_000), Default("4096")),
    key("roles.NAME.leases_per_principal", Number(1, 1_000_000), Default("10")),
    key("roles.NAME.leases_total", Number(1, 10_000_000), Default("1000")),
    key("roles.NAME.allow", Texts, Default("[]")),
    key("roles.NAME.approval", Text, Optional),
    key("roles.NAME.conflicts_with", Texts, Default("[]")),
    key("roles.NAME.statements.create", Texts, Default("[]")),
    key("roles.NAME.statements.renew", Texts, Default("[]")),
    key("roles.NAME.statements.end", Texts, Default("[]")),
    key("approvals.NAME.steps.name", Text, Required),
    key("approvals.NAME.steps.reviewers", Texts, Required),
    key("approvals.NAME.steps.quorum", Number(1, 100), Default("1")),
    key("approvals.NAME.steps.denials", Number(1, 100), Default("1")),
    key("approvals.NAME.steps.escalate_after", between(SECOND, YEAR), Optional),
    key("approvals.NAME.steps.escalate_to", Texts, Default("[]")),
    key("approvals.NAME.steps.from_risk", Number(0, 1_000_000), Default("0")),
    key("notifications.NAME.kind", Choice(&["slack", "webhook", "mail"]), Required),
    key("notifications.NAME.events", Texts, Optional),
    key("notifications.NAME.roles", Texts, Default("[]")),
    key("notifications.NAME.targets", Texts, Default("[]")),
    key("notifications.NAME.url", Text, Optional),
    key("notifications.NAME.url_file", Path, Optional),
    key("notifications.NAME.secret", Text, Optional),
    key("notifications.NAME.secret_file", Path, Optional),
    key("notifications.NAME.server", Text, Optional),
    key("notifications.NAME.encryption", Choice(&["starttls", "tls", "none"]), Default("\"starttls\"")),
    key("notifications.NAME.user", Text, Optional),
    key("notifications.NAME.password", Text, Optional),
    key("notifications.NAME.password_file", Path, Optional),
    key("notifications.NAME.from", Text, Optional),
    key("notifications.NAME.to", Texts, Default("[]")),
    key("notifications.NAME.to_principal", Flag, Default("false")),
    key("notifications.NAME.ca_file", Path, Optional),
    key("notifications.NAME.base_url", Text, Optional),
    key("notifications.NAME.timeout", between(BRIEF, MINUTE), Default("\"10s\"")),
    key("notifications.NAME.attempts", Number(1, 100), Default("15")),
    key("notifications.NAME.expiring_before", between(SECOND, WEEK), Default("\"10m\"")),
    key("notifications.NAME.end_failing_after", between(Duration::ZERO, WEEK), Default("\"5m\"")),
    key("notifications.NAME.templates", Table, Optional),
    key("risk.NAME.points", Number(1, 1_000_000), Required),
    key("risk.NAME.labels", Table, Optional),
    key("risk.NAME.member_of", Texts, Optional),
    key("risk.NAME.kinds", Texts, Optional),
    key("risk.NAME.outside_hours", Text, Optional),
    key("risk.NAME.weekdays", Texts, Optional),
    key("risk.NAME.first_use", Flag, Optional),
    key("risk.NAME.ttl_above", between(SECOND, YEAR), Optional),
    key("risk.NAME.outside_networks", Texts, Optional),
    key("risk.NAME.no_ticket", Flag, Optional),
    key("risk.NAME.second_factor_older_than", between(SECOND, YEAR), Optional),
    key("policy.files", Texts, Default("[]")),
    key("policy.directory", Path, Optional),
    key("policy.time_zone", Text, Default("\"UTC\"")),
];

/// The key of a path, names replaced by `NAME`.
pub(super) fn find(pattern: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == pattern)
}

/// What may be written directly below a table: `""` is the file itself.
pub(super) fn below(pattern: &str) -> Vec<&'static str> {
    let prefix = if pattern.is_empty() { String::new() } else { format!("{pattern}.") };
    let mut words: Vec<_> =
        KEYS.iter().filter_map(|key| key.path.strip_prefix(&prefix)?.split('.').next()).collect();
    words.dedup();
    words
}

/// The word somebody who wrote `wrong` most likely meant: the nearest within a third of its length.
pub(super) fn nearest<'w>(wrong: &str, words: impl IntoIterator<Item = &'w str>) -> Option<&'w str> {
    let wrong: String =
        wrong.chars().take(100).map(|c| if c == '-' { '_' } else { c.to_ascii_lowercase() }).collect();
    words
        .into_iter()
        .map(|word| (distance(&wrong, &word.replace('-', "_")), word))
        .filter(|(distance, word)| *distance <= (word.len() / 3).clamp(1, 4))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

/// Edits between two texts, in characters: one inserted, left out, replaced, or swapped with its neighbour
/// (the restricted Damerau-Levenshtein distance).
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let at = |row: &[usize], column: usize| row.get(column).copied().unwrap_or(usize::MAX - 1);
    // The rows for the last character, and for the one before it.
    let (mut above, mut further): (Vec<usize>, Vec<usize>) = ((0..=right.len()).collect(), Vec::new());
    let mut last = None;
    for (line, a) in left.chars().enumerate() {
        let mut row = vec![line + 1];
        for (column, b) in right.iter().enumerate() {
            let replaced = at(&above, column) + usize::from(a != *b);
            let mut edits = replaced.min(at(&above, column + 1) + 1).min(at(&row, column) + 1);
            let swapped = last == Some(*b) && column > 0 && right.get(column - 1) == Some(&a);
            if swapped {
                edits = edits.min(at(&further, column - 1) + 1);
            }
            row.push(edits);
        }
        further = std::mem::replace(&mut above, row);
        last = Some(a);
    }
    at(&above, right.len())
}

/// A duration as it can be written in the file.
pub(super) fn spell(duration: Duration) -> String {
    let seconds = duration.as_secs();
    if seconds >= 86_400 && seconds.is_multiple_of(86_400) && duration.subsec_nanos() == 0 {
        return format!("{}d", seconds / 86_400);
    }
    SignedDuration::try_from(duration)
        .map_or_else(|_| format!("{seconds}s"), |duration| format!("{duration:#}"))
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kind::Text => f.write_str("text"),
            Kind::Path => f.write_str("path"),
            Kind::Choice(words) => {
                let words: Vec<_> = words.iter().map(|word| format!("\"{word}\"")).collect();
                f.write_str(&words.join(" or "))
            }
            Kind::Flag => f.write_str("true or false"),
            Kind::Number(min, max) => write!(f, "number, {min} to {max}"),
            Kind::Duration(min, max) => write!(f, "duration, {} to {}", spell(*min), spell(*max)),
            Kind::Period(min, max) => {
                write!(f, "duration, {} to {}, or \"never\"", spell(*min), spell(*max))
            }
            Kind::Texts => f.write_str("list of texts"),
            Kind::Table => f.write_str("table of texts"),
            Kind::Lists => f.write_str("table of texts or lists of texts"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggests_what_was_meant_and_nothing_far_off() {
        let words = below("roles.NAME");
        assert_eq!(nearest("taget", words.clone()), Some("target"));
        assert_eq!(nearest("max-ttl", words.clone()), Some("max_ttl"));
        assert_eq!(nearest("Member_Of", words.clone()), Some("member_of"));
        assert_eq!(nearest("colour", words.clone()), None);
        assert_eq!(nearest(&"x".repeat(100_000), words), None);
    }

    #[test]
    fn counts_edits() {
        for (left, right, expected) in [
            ("", "", 0),
            ("a", "", 1),
            ("", "ab", 2),
            ("kitten", "sitting", 3),
            ("tsl", "tls", 1),
            ("ab", "ba", 1),
        ] {
            assert_eq!(distance(left, right), expected, "{left} {right}");
        }
    }

    #[test]
    fn lists_each_word_of_a_table_once() {
        assert_eq!(
            below(""),
            [
                "server",
                "store",
                "audit",
                "retention",
                "bootstrap",
                "log",
                "metrics",
                "break_glass",
                "requests",
                "sealing",
                "sessions",
                "identity",
                "targets",
                "roles",
                "approvals",
                "notifications",
                "risk",
                "policy"
            ]
        );
        assert_eq!(below("targets.NAME.tls"), ["mode", "ca_file", "certificate_file", "key_file"]);
    }
}
