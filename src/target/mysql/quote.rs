//! Quoting, the single place: identifiers, string literals, accounts.
//!
//! Right under the `sql_mode` that every connection is pinned to: backslashes escape, double quotes delimit strings.

use jiff::Timestamp;

use crate::{
    domain::{Account, HostPattern},
    target::{TargetError, TargetErrorKind},
};

fn unquotable(what: &str) -> TargetError {
    TargetError::new(TargetErrorKind::Refused, format!("{what} has a NUL byte or is empty"))
}

/// `` `name` ``, with backticks inside doubled.
///
/// # Errors
/// When it is empty, or has what no identifier may have: a NUL, or a character beyond U+FFFF, for which the servers
/// would silently take a question mark.
pub(super) fn identifier(name: &str) -> Result<String, TargetError> {
    if name.is_empty() || name.contains('\0') {
        return Err(unquotable("a name"));
    }
    if name.chars().any(|character| u32::from(character) > 0xFFFF) {
        let message = "a name has a character beyond U+FFFF, which MySQL and MariaDB have no names with";
        return Err(TargetError::new(TargetErrorKind::Refused, message));
    }
    Ok(format!("`{}`", name.replace('`', "``")))
}

/// `'text'`, with quotes doubled and backslashes escaped.
///
/// # Errors
/// When it has a NUL byte.
pub(super) fn literal(text: &str) -> Result<String, TargetError> {
    if text.contains('\0') {
        return Err(unquotable("a text"));
    }
    Ok(format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''")))
}

/// `'user'@'host'`.
///
/// # Errors
/// When either has a NUL byte.
pub(super) fn account(user: &str, host: &str) -> Result<String, TargetError> {
    Ok(format!("{}@{}", literal(user)?, literal(host)?))
}

/// Every `'user'@'host'` of an account.
///
/// # Errors
/// When it has no host: such an account does not exist on these engines.
pub(super) fn accounts(account_: &Account) -> Result<Vec<String>, TargetError> {
    if account_.hosts.is_empty() {
        return Err(TargetError::new(TargetErrorKind::Refused, "the account has no host pattern"));
    }
    let quoted = |host: &HostPattern| account(account_.name.as_str(), host.as_str());
    account_.hosts.iter().map(quoted).collect()
}

/// The names of accounts as `'text', 'text'`.
///
/// # Errors
/// When one has a NUL byte.
pub(super) fn names(accounts: &[&Account]) -> Result<String, TargetError> {
    let names = accounts.iter().map(|account| literal(account.name.as_str()));
    Ok(names.collect::<Result<Vec<_>, _>>()?.join(", "))
}

/// `0x…`, the bytes of a text: a literal that no setting of the server changes.
pub(super) fn hex(text: &str) -> String {
    format!("0x{}", data_encoding::HEXUPPER.encode(text.as_bytes()))
}

/// `TIMESTAMP'…'` in UTC, which is the time zone every connection is set to.
pub(super) fn timestamp(at: Timestamp) -> String {
    format!("TIMESTAMP'{}'", at.strftime("%Y-%m-%d %H:%M:%S.%6f"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leaves_its_quotes() {
        assert_eq!(identifier("a`b'c\"d\\").unwrap(), "`a``b'c\"d\\`");
        assert_eq!(literal("it's \\' \"x\"").unwrap(), "'it''s \\\\'' \"x\"'");
        assert_eq!(account("u", "10.0.0.%").unwrap(), "'u'@'10.0.0.%'");
        assert_eq!(hex("$A"), "0x2441");
    }

    #[test]
    fn nul_is_refused() {
        assert!(identifier("a\0").is_err());
        assert!(identifier("").is_err());
        assert!(identifier("\u{1D11E}").is_err() && literal("\u{1D11E}").is_ok());
        assert!(literal("\0").is_err());
        assert!(account("a", "\0").is_err());
    }

    #[test]
    fn timestamps_are_utc_to_the_microsecond() {
        let at: Timestamp = "2026-11-22T01:02:03.000004Z".parse().unwrap();
        assert_eq!(timestamp(at), "TIMESTAMP'2026-11-22 01:02:03.000004'");
    }
}
