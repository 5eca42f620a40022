//! Quoting, for the few statements that set a sandbox up.

use crate::domain::Engine;

/// A name, quoted as an identifier.
pub(super) fn identifier(engine: Engine, name: &str) -> String {
    match engine {
        Engine::Postgres => format!("\"{}\"", name.replace('"', "\"\"")),
        Engine::Mysql | Engine::Mariadb => format!("`{}`", name.replace('`', "``")),
    }
}

/// A text, quoted as a literal.
pub(super) fn literal(engine: Engine, text: &str) -> String {
    let text = text.replace('\'', "''");
    match engine {
        Engine::Postgres => format!("'{text}'"),
        Engine::Mysql | Engine::Mariadb => format!("'{}'", text.replace('\\', "\\\\")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_are_doubled() {
        assert_eq!(identifier(Engine::Postgres, "a\"b"), "\"a\"\"b\"");
        assert_eq!(identifier(Engine::Mysql, "a`b"), "`a``b`");
        assert_eq!(literal(Engine::Postgres, r"it's \"), r"'it''s \'");
        assert_eq!(literal(Engine::Mariadb, r"it's \"), r"'it''s \\'");
    }
}
