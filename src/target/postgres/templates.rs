//! A role's own statements: rendered by type, checked to be closed, run with the built-in ones as one transaction.

use jiff::Timestamp;

use super::{connect::Connection, connect::truth, errors::Failure, quote};
use crate::{
    domain::{LeaseId, Password, Placeholder, Template},
    target::{LeasedAccount, NewAccount, TargetError, TargetErrorKind},
};

/// What placeholders stand for.
#[derive(Clone, Copy)]
pub(super) struct Values<'a> {
    name: &'a str,
    lease: LeaseId,
    role: &'a str,
    principal: &'a str,
    groups: &'a [String],
    secret: Option<(&'a str, &'a Password)>,
    expiration: Option<Timestamp>,
}

impl<'a> Values<'a> {
    /// For creating. The expiration is by the target's clock.
    pub(super) fn of_new(
        new: &NewAccount<'a>,
        secret: (&'a str, &'a Password),
        expiration: Timestamp,
    ) -> Self {
        Self {
            name: new.account.name.as_str(),
            lease: new.lease,
            role: new.role.name.as_str(),
            principal: new.principal.name.as_str(),
            groups: &new.role.member_of,
            secret: Some(secret),
            expiration: Some(expiration),
        }
    }

    /// For renewing (with the new expiration) and ending.
    pub(super) fn of_leased(account: &LeasedAccount<'a>, expiration: Option<Timestamp>) -> Self {
        Self {
            name: account.account.name.as_str(),
            lease: account.lease,
            role: account.role,
            principal: account.principal.name.as_str(),
            groups: &account.plan.member_of,
            secret: None,
            expiration,
        }
    }

    fn quote(&self, placeholder: Placeholder, group: Option<&str>) -> Result<String, TargetError> {
        let absent = || {
            let message = format!("a statement uses {{{{{}}}}}, which has no value here", placeholder.word());
            TargetError::new(TargetErrorKind::Refused, message)
        };
        Ok(match placeholder {
            Placeholder::Name => quote::identifier(self.name)?,
            Placeholder::NameLiteral => quote::literal(self.name)?,
            Placeholder::Group => quote::identifier(group.ok_or_else(absent)?)?,
            Placeholder::Verifier => quote::literal(self.secret.ok_or_else(absent)?.0)?,
            Placeholder::Password => quote::literal(self.secret.ok_or_else(absent)?.1.expose())?,
            Placeholder::Expiration => quote::timestamp(self.expiration.ok_or_else(absent)?),
            Placeholder::Lease => quote::literal(&self.lease.to_string())?,
            Placeholder::Role => quote::literal(self.role)?,
            Placeholder::Principal => quote::literal(self.principal)?,
        })
    }
}

/// The statements of templates; one that uses `{{group}}` once for each group.
pub(super) fn render(templates: &[Template], values: &Values<'_>) -> Result<Vec<String>, TargetError> {
    let mut statements = Vec::new();
    for template in templates {
        if template.uses(Placeholder::Group) {
            for group in values.groups {
                statements.push(template.render(|placeholder| values.quote(placeholder, Some(group)))?);
            }
        } else {
            statements.push(template.render(|placeholder| values.quote(placeholder, None))?);
        }
    }
    match statements.iter().find_map(|statement| unclosed(statement)) {
        Some(what) => Err(TargetError::new(
            TargetErrorKind::Refused,
            format!("a statement of the role leaves {what} open: it would swallow what follows"),
        )),
        None => Ok(statements),
    }
}

/// Runs built-in statements and then a role's own as one message: one round trip and, without statements of the role,
/// nothing else. With them it is checked at the end that they are still in the transaction that began the message, and
/// the session is cleaned of what they may have set.
///
/// # Errors
/// When the server refuses any of them: then none has taken effect, unless they ended the transaction themselves, which
/// is an error, too.
pub(super) async fn run(
    connection: &mut Connection,
    built_in: &[String],
    own: &[String],
    lease: LeaseId,
) -> Result<(), Failure> {
    if own.is_empty() {
        return if built_in.is_empty() {
            Ok(())
        } else {
            connection.run(&built_in.join(";\n")).await.map(drop)
        };
    }
    let lease = quote::literal(&lease.to_string())?;
    let mark = format!("SELECT pg_catalog.set_config('mayfly.message', {lease}, true)");
    let check =
        format!("SELECT pg_catalog.current_setting('mayfly.message', true) IS NOT DISTINCT FROM {lease}");
    let mut message = vec![mark];
    message.extend(built_in.iter().chain(own).cloned());
    message.push(check);
    // A line of its own for each separator: a comment at the end of a statement must not swallow it.
    let outcome = connection.run(&message.join("\n;\n")).await;
    let closed = connection.clean().await;
    let whole = outcome?.last().is_some_and(|row| truth(row, 0));
    if whole && closed {
        return Ok(());
    }
    let message =
        "a statement of the role begins or ends a transaction: its statements must leave that alone";
    Err(TargetError::new(TargetErrorKind::Refused, message).into())
}

/// What a text leaves open at its end: a quotation, a comment; `None` when it is closed.
fn unclosed(sql: &str) -> Option<&'static str> {
    let mut at = 0;
    while let Some(rest) = sql.get(at..).filter(|rest| !rest.is_empty()) {
        let before = sql.get(..at).unwrap_or_default();
        let (what, length) = if rest.starts_with("--") {
            ("", Some(rest.find('\n').unwrap_or(rest.len())))
        } else if rest.starts_with("/*") {
            ("a comment", comment_length(rest))
        } else if rest.starts_with('"') {
            ("an identifier", quotation_length(rest, '"', false))
        } else if rest.starts_with('\'') {
            ("a string", quotation_length(rest, '\'', is_escape_string(before)))
        } else if let Some(tag) = dollar_tag(before, rest) {
            let body = rest.get(tag.len()..).unwrap_or_default();
            ("a dollar quotation", body.find(tag).map(|end| end + 2 * tag.len()))
        } else {
            ("", rest.chars().next().map(char::len_utf8))
        };
        match length {
            Some(length) => at += length.max(1),
            None => return Some(what),
        }
    }
    None
}

/// Comments nest.
fn comment_length(text: &str) -> Option<usize> {
    let (mut depth, mut at) = (0u32, 0);
    loop {
        let rest = text.get(at..)?;
        if rest.starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if rest.starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return Some(at);
            }
        } else {
            at += rest.chars().next()?.len_utf8();
        }
    }
}

/// Up to and including the closing quote. A doubled quote reads as two quotations, one after the other.
fn quotation_length(text: &str, quote: char, escapes: bool) -> Option<usize> {
    let mut characters = text.char_indices().skip(1);
    while let Some((at, character)) = characters.next() {
        if escapes && character == '\\' {
            characters.next();
        } else if character == quote {
            // In an escape string a doubled quote must be passed here, or what follows would be read as a plain one.
            if escapes && text.get(at + 1..).is_some_and(|rest| rest.starts_with(quote)) {
                characters.next();
            } else {
                return Some(at + 1);
            }
        }
    }
    None
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_' || character == '$' || !character.is_ascii()
}

fn is_escape_string(before: &str) -> bool {
    let mut backwards = before.chars().rev();
    backwards.next().is_some_and(|last| last.eq_ignore_ascii_case(&'e'))
        && !backwards.next().is_some_and(is_word)
}

/// The `$tag$` that begins a text, unless the `$` is part of a word.
fn dollar_tag<'a>(before: &str, text: &'a str) -> Option<&'a str> {
    let tag = text.strip_prefix('$').filter(|_| !before.ends_with(is_word))?;
    let end = tag.find('$')?;
    let word = tag.get(..end)?;
    let named =
        word.chars().all(|c| is_word(c) && c != '$') && !word.starts_with(|c: char| c.is_ascii_digit());
    named.then(|| text.get(..end + 2)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closed_texts_are_closed() {
        for text in [
            "SELECT 1",
            "SELECT 'it''s' -- don't",
            "SELECT E'it\\'s' || E'a''b\\\\'",
            "/* a /* b */ ' */ SELECT \"a\"\"'b\"",
            "DO $x$ BEGIN PERFORM $$'$$; END $x$",
            "SELECT $1, a$b, 'x' AS e",
            "SELECT type'x\\', 1",
        ] {
            assert_eq!(unclosed(text), None, "{text}");
        }
    }

    #[test]
    fn open_texts_are_found_out() {
        for (text, what) in [
            ("SELECT '", "a string"),
            ("SELECT E'\\'", "a string"),
            ("SELECT e'a''\\'", "a string"),
            ("SELECT \"", "an identifier"),
            ("SELECT 1 /* /* */", "a comment"),
            ("DO $x$ BEGIN END $X$", "a dollar quotation"),
            ("SELECT 'a\\' , '", "a string"),
        ] {
            assert_eq!(unclosed(text), Some(what), "{text}");
        }
    }
}
