//! Quoting by type: the only place where a value becomes part of a statement.

use jiff::Timestamp;

/// `NAMEDATALEN - 1`: the server cuts longer identifiers silently, so that two names become one.
const IDENTIFIER_LIMIT: usize = 63;

/// Settings whose value is a list of identifiers: one literal would become one (quoted) element.
const LIST_SETTINGS: [&str; 4] =
    ["search_path", "temp_tablespaces", "session_preload_libraries", "local_preload_libraries"];

/// Why a value cannot be part of a statement. Never repeats the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum QuoteError {
    /// PostgreSQL has no empty identifier.
    #[error("an identifier is empty")]
    Empty,
    /// The server would cut it.
    #[error("an identifier is longer than {IDENTIFIER_LIMIT} bytes")]
    TooLong,
    /// The wire protocol ends a statement at NUL.
    #[error("a value has a NUL byte")]
    Nul,
}

/// An identifier, always quoted.
pub(super) fn identifier(name: &str) -> Result<String, QuoteError> {
    match name {
        "" => Err(QuoteError::Empty),
        name if name.contains('\0') => Err(QuoteError::Nul),
        name if name.len() > IDENTIFIER_LIMIT => Err(QuoteError::TooLong),
        name => Ok(format!("\"{}\"", name.replace('"', "\"\""))),
    }
}

/// Identifiers, separated by commas.
pub(super) fn identifiers<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<String, QuoteError> {
    Ok(names.into_iter().map(identifier).collect::<Result<Vec<_>, _>>()?.join(", "))
}

/// A string literal. With a backslash in it, it takes the form that means the same whatever
/// `standard_conforming_strings` says.
pub(super) fn literal(text: &str) -> Result<String, QuoteError> {
    if text.contains('\0') {
        return Err(QuoteError::Nul);
    }
    let doubled = text.replace('\'', "''");
    if doubled.contains('\\') {
        // The blank keeps the E apart from a word before it.
        Ok(format!(" E'{}'", doubled.replace('\\', "\\\\")))
    } else {
        Ok(format!("'{doubled}'"))
    }
}

/// String literals, separated by commas.
pub(super) fn literals<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<String, QuoteError> {
    Ok(texts.into_iter().map(literal).collect::<Result<Vec<_>, _>>()?.join(", "))
}

/// A moment as a literal in UTC, to the microsecond, read alike under every `DateStyle` and `TimeZone`.
pub(super) fn timestamp(at: Timestamp) -> String {
    format!("'{}+00'", at.strftime("%Y-%m-%d %H:%M:%S%.6f"))
}

/// The name of a setting: `statement_timeout`, or `extension.setting`.
pub(super) fn setting_name(name: &str) -> Result<String, QuoteError> {
    Ok(name.split('.').map(identifier).collect::<Result<Vec<_>, _>>()?.join("."))
}

/// The value of a setting as it stands after `SET name TO`.
pub(super) fn setting_value(name: &str, value: &str) -> Result<String, QuoteError> {
    if !LIST_SETTINGS.contains(&name.to_ascii_lowercase().as_str()) {
        return literal(value);
    }
    let elements: Result<Vec<_>, _> = list_elements(value).iter().map(|element| literal(element)).collect();
    Ok(elements?.join(", "))
}

/// The elements of `a, "b, c"`, as the server's own `SplitIdentifierString` sees them, but for folding to lower case,
/// which it does itself.
fn list_elements(value: &str) -> Vec<String> {
    let mut elements = vec![String::new()];
    let mut quoted = false;
    let mut characters = value.trim().chars().peekable();
    while let Some(character) = characters.next() {
        let Some(current) = elements.last_mut() else { break };
        match character {
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                current.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => elements.push(String::new()),
            blank if !quoted && blank.is_whitespace() => {}
            other => current.push(other),
        }
    }
    elements
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_by_type() {
        assert_eq!(identifier("a\"b;--").unwrap(), "\"a\"\"b;--\"");
        assert_eq!(identifiers(["a", "b"]).unwrap(), "\"a\", \"b\"");
        assert_eq!(literals(["a'b", "c"]).unwrap(), "'a''b', 'c'");
        assert_eq!(literal("it's; $$").unwrap(), "'it''s; $$'");
        assert_eq!(literal("\\' OR 1=1").unwrap(), " E'\\\\'' OR 1=1'");
        assert_eq!(
            timestamp(Timestamp::from_microsecond(1_500_000).unwrap()),
            "'1970-01-01 00:00:01.500000+00'"
        );
    }

    #[test]
    fn refuses_what_cannot_be_quoted() {
        assert_eq!(identifier(""), Err(QuoteError::Empty));
        assert_eq!(identifier("a\0b"), Err(QuoteError::Nul));
        assert_eq!(literal("a\0b"), Err(QuoteError::Nul));
        assert!(identifier(&"é".repeat(31)).is_ok());
        assert_eq!(identifier(&"é".repeat(32)), Err(QuoteError::TooLong));
    }

    #[test]
    fn settings_keep_their_shape() {
        assert_eq!(setting_name("app.tenant").unwrap(), "\"app\".\"tenant\"");
        assert_eq!(setting_name("app..x"), Err(QuoteError::Empty));
        assert_eq!(setting_value("work_mem", "4MB, x").unwrap(), "'4MB, x'");
        assert_eq!(
            setting_value("Search_Path", "app , \"$user\", \"Odd, \"\"one\"\"\"").unwrap(),
            "'app', '$user', 'Odd, \"one\"'"
        );
    }
}
