//! Whether a template is exactly one statement with every quote closed and every placeholder where a value of its type can
//! stand. Knows just enough of each engine's lexical rules to tell what is quoted.

use crate::domain::{Engine, Placeholder, Segment, Template};

/// Why a template is not one sound statement.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum StatementError {
    #[error("has more than one statement: one statement per entry, several entries per list")]
    Several,
    #[error("has {0} that is not closed")]
    Unclosed(&'static str),
    #[error("has {{{{{0}}}}} inside {1}: it is quoted by type already and must stand by itself")]
    Inside(&'static str, &'static str),
    #[error("ends in a comment, which would swallow what follows it; write comments after # in the file")]
    TrailingComment,
    #[error("has an executable comment (/*! … */), which hides what it does")]
    ExecutableComment,
    #[error("begins or ends a transaction, which Mayfly does itself")]
    TransactionControl,
}

/// A character of the statement, or a hole that a value will fill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Symbol {
    Char(char),
    Hole(Placeholder),
}

/// Checks that a template is one statement with every quote closed and every placeholder outside quotes and comments.
pub(super) fn check(template: &Template, engine: Engine) -> Result<(), StatementError> {
    let mut symbols = Vec::new();
    for segment in template.segments() {
        match segment {
            Segment::Text(text) => symbols.extend(text.chars().map(Symbol::Char)),
            Segment::Placeholder(placeholder) => symbols.push(Symbol::Hole(*placeholder)),
        }
    }
    if controls_transaction(&symbols) {
        return Err(StatementError::TransactionControl);
    }
    Scanner { rest: &symbols, before: None, is_postgres: engine == Engine::Postgres }.statement()
}

fn controls_transaction(symbols: &[Symbol]) -> bool {
    let word: String = symbols
        .iter()
        .map_while(|symbol| if let Symbol::Char(c) = symbol { Some(*c) } else { None })
        .skip_while(|c| c.is_whitespace())
        .take_while(char::is_ascii_alphabetic)
        .collect();
    ["begin", "start", "commit", "rollback", "abort", "end", "savepoint", "release"]
        .iter()
        .any(|control| word.eq_ignore_ascii_case(control))
}

/// Goes through a statement token by token.
struct Scanner<'s> {
    rest: &'s [Symbol],
    /// The character before `rest`, to tell `$tag$` from `a$b` and `E'…'` from `'…'`.
    before: Option<char>,
    is_postgres: bool,
}

impl Scanner<'_> {
    fn statement(mut self) -> Result<(), StatementError> {
        let mut over = false;
        while let Some(token) = self.token()? {
            match token {
                Token::Semicolon => over = true,
                Token::Other if over => return Err(StatementError::Several),
                Token::Other | Token::Blank => {}
            }
        }
        Ok(())
    }

    /// The code between dollar quotes: statements end in it as they like, but placeholders are held to the same rules.
    fn body(mut self) -> Result<(), StatementError> {
        while self.token()?.is_some() {}
        Ok(())
    }

    fn token(&mut self) -> Result<Option<Token>, StatementError> {
        let Some((first, _)) = self.rest.split_first() else { return Ok(None) };
        let Symbol::Char(first) = *first else {
            self.skip(1);
            return Ok(Some(Token::Other));
        };
        match first {
            '\'' => self.quoted('\'', "a string", self.has_escapes()),
            '"' if self.is_postgres => self.quoted('"', "a quoted name", false),
            '"' => self.quoted('"', "a string", true),
            '`' if !self.is_postgres => self.quoted('`', "a quoted name", false),
            '$' if self.is_postgres && !self.before.is_some_and(is_word) => self.dollar(),
            '#' if !self.is_postgres => self.line_comment(),
            '-' if self.starts_line_comment() => self.line_comment(),
            '/' if self.starts("/*") => self.block_comment(),
            ';' => {
                self.skip(1);
                Ok(Token::Semicolon)
            }
            c => {
                self.skip(1);
                Ok(if c.is_whitespace() { Token::Blank } else { Token::Other })
            }
        }
        .map(Some)
    }

    fn skip(&mut self, count: usize) {
        if let Some((skipped, rest)) = self.rest.split_at_checked(count) {
            self.before = match skipped.last() {
                Some(Symbol::Char(c)) => Some(*c),
                _ => None,
            };
            self.rest = rest;
        }
    }

    fn starts(&self, text: &str) -> bool {
        let mut rest = self.rest.iter();
        text.chars().all(|c| rest.next() == Some(&Symbol::Char(c)))
    }

    /// Backslashes escape in `E'…'`, and everywhere in MySQL and MariaDB.
    fn has_escapes(&self) -> bool {
        !self.is_postgres || self.before.is_some_and(|c| matches!(c, 'e' | 'E'))
    }

    /// MySQL and MariaDB want a blank after the dashes.
    fn starts_line_comment(&self) -> bool {
        let after = self.rest.get(2);
        self.starts("--")
            && (self.is_postgres
                || after.is_none_or(|s| matches!(s, Symbol::Char(c) if c.is_whitespace() || c.is_control())))
    }

    /// A doubled quote closes and opens again: the same for us.
    fn quoted(&mut self, quote: char, what: &'static str, escapes: bool) -> Result<Token, StatementError> {
        self.skip(1);
        while let Some((symbol, _)) = self.rest.split_first() {
            match *symbol {
                Symbol::Hole(placeholder) => return Err(StatementError::Inside(placeholder.word(), what)),
                Symbol::Char('\\') if escapes => {
                    if let Some(Symbol::Hole(placeholder)) = self.rest.get(1) {
                        return Err(StatementError::Inside(placeholder.word(), what));
                    }
                    self.skip(2.min(self.rest.len()));
                }
                Symbol::Char(c) => {
                    self.skip(1);
                    if c == quote {
                        return Ok(Token::Other);
                    }
                }
            }
        }
        Err(StatementError::Unclosed(what))
    }

    fn line_comment(&mut self) -> Result<Token, StatementError> {
        while let Some((symbol, _)) = self.rest.split_first() {
            match *symbol {
                Symbol::Hole(placeholder) => {
                    return Err(StatementError::Inside(placeholder.word(), "a comment"));
                }
                Symbol::Char(c) => {
                    self.skip(1);
                    if c == '\n' {
                        return Ok(Token::Blank);
                    }
                }
            }
        }
        Err(StatementError::TrailingComment)
    }

    /// PostgreSQL nests them.
    fn block_comment(&mut self) -> Result<Token, StatementError> {
        if !self.is_postgres && (self.starts("/*!") || self.starts("/*M!")) {
            return Err(StatementError::ExecutableComment);
        }
        self.skip(2);
        let mut depth = 1;
        while let Some((symbol, _)) = self.rest.split_first() {
            if let Symbol::Hole(placeholder) = *symbol {
                return Err(StatementError::Inside(placeholder.word(), "a comment"));
            }
            if self.starts("*/") {
                self.skip(2);
                depth -= 1;
            } else if self.is_postgres && self.starts("/*") {
                self.skip(2);
                depth += 1;
            } else {
                self.skip(1);
            }
            if depth == 0 {
                return Ok(Token::Blank);
            }
        }
        Err(StatementError::Unclosed("a comment"))
    }

    /// `$tag$ … $tag$`, or a lone `$`.
    fn dollar(&mut self) -> Result<Token, StatementError> {
        let Some(tag) = self.dollar_tag() else {
            self.skip(1);
            return Ok(Token::Other);
        };
        self.skip(tag.chars().count());
        let body = self.rest;
        while !self.rest.is_empty() {
            if self.starts(&tag) {
                let inside = body.get(..body.len() - self.rest.len()).unwrap_or(body);
                self.skip(tag.chars().count());
                return check_body(inside).map(|()| Token::Other);
            }
            self.skip(1);
        }
        Err(StatementError::Unclosed("a dollar-quoted text"))
    }

    fn dollar_tag(&self) -> Option<String> {
        let word: Vec<char> = self
            .rest
            .iter()
            .skip(1)
            .map_while(|symbol| match symbol {
                Symbol::Char(c) if is_word(*c) && *c != '$' => Some(*c),
                _ => None,
            })
            .collect();
        let closed = self.rest.get(word.len() + 1) == Some(&Symbol::Char('$'));
        let is_tag = word.first().is_none_or(|c| !c.is_ascii_digit());
        (closed && is_tag).then(|| format!("${}$", word.iter().collect::<String>()))
    }
}

/// A body without placeholders may be in any language; one with them must be SQL or PL/pgSQL whose quotes we can follow.
/// A group's name could hold the closing tag, no other value can.
fn check_body(body: &[Symbol]) -> Result<(), StatementError> {
    if body.contains(&Symbol::Hole(Placeholder::Group)) {
        return Err(StatementError::Inside(Placeholder::Group.word(), "a dollar-quoted text"));
    }
    if !body.iter().any(|symbol| matches!(symbol, Symbol::Hole(_))) {
        return Ok(());
    }
    Scanner { rest: body, before: None, is_postgres: true }.body()
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$'
}

enum Token {
    Semicolon,
    Blank,
    Other,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn checked(engine: Engine, text: &str) -> Result<(), StatementError> {
        check(&Template::parse(text).unwrap(), engine)
    }

    #[test]
    fn one_statement_is_one_statement_whatever_its_quotes_hold() {
        for text in [
            "GRANT USAGE ON SCHEMA app TO {{name}}",
            "GRANT USAGE ON SCHEMA app TO {{name}} ; \n",
            "COMMENT ON ROLE {{name}} IS 'a;b''c;'",
            "COMMENT ON ROLE {{name}} IS 'a\\'",
            "SELECT E'it\\'s; fine'",
            "SELECT \"a;b\"\"\", {{lease}}",
            "SELECT $$a;b$$; -- done\n",
            "SELECT $x$ $$;$$ $x$, a$b, $1, 'x' /* a; /* nested; */ ' */",
            "SELECT 1; /* over */ ",
            "DO $$ BEGIN PERFORM 1; EXECUTE 'x;'; GRANT a TO {{name}}; END $$",
            "DO $py$ # it's fine: no placeholder $py$ LANGUAGE plpython3u",
            "SELECT '{{' || {{name_literal}} || '}}'".replace("'{{' ||", "'{ {' ||").as_str(),
        ] {
            assert_eq!(checked(Engine::Postgres, text), Ok(()), "{text}");
        }
        for text in [
            "GRANT SELECT ON app.* TO {{name}};",
            "SELECT 'it\\'s; fine', \"it\\\"s; fine\", `a;b```",
            "SELECT 1 # over; done\n",
            "SELECT 1--1",
            "SELECT 1 -- over; done\n /* a; */",
        ] {
            assert_eq!(checked(Engine::Mysql, text), Ok(()), "{text}");
            assert_eq!(checked(Engine::Mariadb, text), Ok(()), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_not_one_statement() {
        use StatementError::{
            ExecutableComment, Inside, Several, TrailingComment, TransactionControl, Unclosed,
        };
        for (engine, text, expected) in [
            (Engine::Postgres, "SELECT 1; SELECT 2", Several),
            (Engine::Postgres, "SELECT 'a\\'; DROP TABLE b; --'\n", Several),
            (Engine::Postgres, "SELECT 1; {{name}}", Several),
            (Engine::Postgres, "; SELECT 1", Several),
            (Engine::Mysql, "SELECT 1; SELECT 2", Several),
            (Engine::Mysql, "SELECT $$; SELECT $$", Several),
            (Engine::Postgres, "SELECT 'a", Unclosed("a string")),
            (Engine::Postgres, "SELECT E'a\\'", Unclosed("a string")),
            (Engine::Mysql, "SELECT 'a\\'", Unclosed("a string")),
            (Engine::Postgres, "SELECT \"a", Unclosed("a quoted name")),
            (Engine::Mysql, "SELECT `a", Unclosed("a quoted name")),
            (Engine::Postgres, "SELECT $a$ $b$", Unclosed("a dollar-quoted text")),
            (Engine::Postgres, "SELECT 1 /* /* */", Unclosed("a comment")),
            (Engine::Postgres, "SELECT 'for {{name}} only'", Inside("name", "a string")),
            (Engine::Mysql, "SELECT \"for {{lease}} only\"", Inside("lease", "a string")),
            (Engine::Mysql, "SELECT 'a\\{{lease}} b'", Inside("lease", "a string")),
            (Engine::Postgres, "SELECT 1 /* {{role}} */", Inside("role", "a comment")),
            (Engine::Postgres, "SELECT 1 -- {{role}}\n", Inside("role", "a comment")),
            (Engine::Postgres, "DO $$ EXECUTE 'a {{name}} b' $$", Inside("name", "a string")),
            (Engine::Postgres, "DO $$ GRANT {{group}} TO x $$", Inside("group", "a dollar-quoted text")),
            (Engine::Postgres, "SELECT 1 -- note", TrailingComment),
            (Engine::Mysql, "SELECT 1 #", TrailingComment),
            (Engine::Mariadb, "SELECT 1 /*M! , 2 */", ExecutableComment),
            (Engine::Mysql, "SELECT 1 /*!80000 , 2 */", ExecutableComment),
            (Engine::Postgres, "  Commit", TransactionControl),
        ] {
            assert_eq!(checked(engine, text), Err(expected), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_judged_without_a_panic(text in "[-a$;'\"`\\\\/*#\n {}é]{0,40}") {
            if let Ok(template) = Template::parse(&text) {
                for engine in [Engine::Postgres, Engine::Mysql, Engine::Mariadb] {
                    let _ = check(&template, engine);
                }
            }
        }

        #[test]
        fn a_string_literal_hides_any_semicolon(inner in "[^'\\\\\0{}]{0,30}") {
            let text = format!("SELECT '{inner}'");
            for engine in [Engine::Postgres, Engine::Mysql, Engine::Mariadb] {
                prop_assert_eq!(checked(engine, &text), Ok(()));
                prop_assert_eq!(checked(engine, &format!("{text}; SELECT 2")), Err(StatementError::Several));
            }
        }
    }
}
