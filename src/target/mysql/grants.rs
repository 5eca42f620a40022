//! What `SHOW GRANTS` says, read.

/// Privileges and roles of an account.
#[derive(Debug, Default, Clone)]
pub(super) struct Grants {
    privileges: Vec<Granted>,
    /// Roles, and whether they may be handed on.
    roles: Vec<(String, bool)>,
}

/// Privileges on one scope; `*` for every database or object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Granted {
    pub(super) privileges: Vec<String>,
    pub(super) database: String,
    pub(super) object: String,
    /// They may be handed on.
    pub(super) hands: bool,
}

impl Grants {
    /// Reads the lines; what is no grant of privileges or roles (`PROXY`, `SET DEFAULT ROLE`) is passed over.
    pub(super) fn read(lines: &[String]) -> Self {
        let mut grants = Self::default();
        for line in lines {
            let Some(rest) = line.strip_prefix("GRANT ") else { continue };
            let (what, to) = split(rest, " TO ");
            match split(what, " ON ") {
                (privileges, Some(scope)) => {
                    let hands = to.is_some_and(|to| to.contains("WITH GRANT OPTION"));
                    grants.privileges.push(Granted { hands, ..granted(privileges, scope) });
                }
                (roles, None) => {
                    let hands = to.is_some_and(|to| to.ends_with("WITH ADMIN OPTION"));
                    grants.roles.extend(list(roles).into_iter().map(|role| (name(role), hands)));
                }
            }
        }
        grants
    }

    /// Whether a privilege is held on a whole database; `None`: on everything.
    pub(super) fn has(&self, privilege: &str, database: Option<&str>) -> bool {
        self.privileges.iter().any(|granted| {
            let covers = granted.database == "*" || Some(granted.database.as_str()) == database;
            covers && granted.object == "*" && granted.names(privilege)
        })
    }

    /// Whether a privilege is held on columns of a table, or on the whole of it.
    pub(super) fn has_on_columns(
        &self,
        privilege: &str,
        database: &str,
        table: &str,
        columns: &[&str],
    ) -> bool {
        self.has(privilege, Some(database))
            || self.privileges.iter().any(|granted| {
                granted.database == database
                    && granted.object == table
                    && (granted.names(privilege)
                        || columns.iter().all(|column| granted.names_column(privilege, column)))
            })
    }

    /// Whether a role may be handed on.
    pub(super) fn hands(&self, role: &str) -> bool {
        self.roles.iter().any(|(name, hands)| name == role && *hands)
    }

    /// The roles that may be handed on.
    pub(super) fn handed_on(&self) -> impl Iterator<Item = &str> {
        self.roles.iter().filter(|(_, hands)| *hands).map(|(name, _)| name.as_str())
    }

    /// Whether it is a member of a role.
    pub(super) fn includes(&self, role: &str) -> bool {
        self.roles.iter().any(|(name, _)| name == role)
    }

    /// What is granted where.
    pub(super) fn privileges(&self) -> &[Granted] {
        &self.privileges
    }
}

impl Granted {
    pub(super) fn names(&self, privilege: &str) -> bool {
        self.privileges.iter().any(|held| held == privilege || held == "ALL PRIVILEGES" || held == "ALL")
    }

    fn names_column(&self, privilege: &str, column: &str) -> bool {
        self.privileges.iter().any(|held| {
            let columns = held.strip_prefix(privilege).and_then(|rest| rest.trim().strip_prefix('('));
            columns.and_then(|columns| columns.strip_suffix(')')).is_some_and(|columns| {
                list(columns).into_iter().any(|held| name(held).eq_ignore_ascii_case(column))
            })
        })
    }
}

fn granted(privileges: &str, scope: &str) -> Granted {
    let scope = ["TABLE ", "FUNCTION ", "PROCEDURE ", "PACKAGE "]
        .iter()
        .find_map(|kind| scope.strip_prefix(kind))
        .unwrap_or(scope);
    let (database, object) = split(scope, ".");
    Granted {
        privileges: list(privileges).into_iter().map(str::to_owned).collect(),
        database: name(database),
        object: object.map(name).unwrap_or_default(),
        hands: false,
    }
}

/// The name in `` `name` `` or `` `name`@`host` ``, unquoted.
fn name(quoted: &str) -> String {
    let (name, _) = split(quoted.trim(), "@");
    match name.strip_prefix('`').and_then(|rest| rest.strip_suffix('`')) {
        Some(inner) => inner.replace("``", "`"),
        None => name.to_owned(),
    }
}

/// The parts between commas.
fn list(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut rest = Some(text);
    while let Some(current) = rest {
        let (part, next) = split(current, ",");
        parts.push(part.trim());
        rest = next;
    }
    parts
}

/// Splits at the first separator that is neither in backticks nor in parentheses.
fn split<'t>(text: &'t str, separator: &str) -> (&'t str, Option<&'t str>) {
    let (mut quoted, mut depth) = (false, 0_u32);
    for (at, character) in text.char_indices() {
        let rest = text.get(at..).unwrap_or_default();
        match character {
            _ if !quoted && depth == 0 && rest.starts_with(separator) => {
                return (text.get(..at).unwrap_or_default(), rest.get(separator.len()..));
            }
            '`' => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    (text, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[&str]) -> Grants {
        Grants::read(&lines.iter().map(|&line| line.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn reads_what_mysql_says() {
        let grants = read(&[
            "GRANT PROCESS, CREATE USER ON *.* TO `mayfly`@`127.0.0.1`",
            "GRANT CONNECTION_ADMIN,SHOW_ROUTINE ON *.* TO `mayfly`@`127.0.0.1`",
            "GRANT SHOW VIEW, EVENT, TRIGGER ON `shop`.* TO `mayfly`@`127.0.0.1`",
            "GRANT SELECT (`Host`, `User`, `account_locked`) ON `mysql`.`user` TO `mayfly`@`127.0.0.1`",
            "GRANT `shop_dev`@`%`,`od``d, TO x`@`%` TO `mayfly`@`127.0.0.1` WITH ADMIN OPTION",
            "GRANT `plain`@`%` TO `mayfly`@`127.0.0.1`",
        ]);
        assert!(grants.has("CREATE USER", None) && grants.has("CONNECTION_ADMIN", None));
        assert!(grants.has("SHOW VIEW", Some("shop")) && !grants.has("SHOW VIEW", Some("other")));
        assert!(grants.has("PROCESS", Some("shop")) && !grants.has("SHOW VIEW", None));
        assert!(grants.has_on_columns("SELECT", "mysql", "user", &["User", "host"]));
        assert!(!grants.has_on_columns("SELECT", "mysql", "user", &["User", "authentication_string"]));
        assert!(!grants.has("SELECT", Some("mysql")));
        assert!(grants.hands("shop_dev") && grants.hands("od`d, TO x"));
        assert!(!grants.hands("plain") && grants.includes("plain"));
    }

    #[test]
    fn reads_what_mariadb_says() {
        let grants = read(&[
            "GRANT `shop_read` TO `mayfly`@`%` WITH ADMIN OPTION",
            "GRANT PROCESS, CREATE USER, CONNECTION ADMIN ON *.* TO `mayfly`@`%` IDENTIFIED BY PASSWORD '*2B'",
            "GRANT SELECT, UPDATE ON `mysql`.* TO `mayfly`@`%`",
            "SET DEFAULT ROLE `x` FOR `mayfly`@`%`",
        ]);
        assert!(grants.hands("shop_read") && grants.has("CONNECTION ADMIN", None));
        assert!(grants.has_on_columns("SELECT", "mysql", "user", &["User"]));
    }

    #[test]
    fn all_privileges_are_all() {
        let grants = read(&["GRANT ALL PRIVILEGES ON *.* TO `root`@`localhost` WITH GRANT OPTION"]);
        assert!(grants.has("CREATE USER", None) && grants.has("TRIGGER", Some("shop")));
    }
}
