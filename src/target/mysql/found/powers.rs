//! What an account may do by itself, not by its groups: privileges everywhere or on a whole database, and handing on.

use std::fmt;

use super::ask::{Names, STANDING};
use crate::target::{
    TargetError,
    mysql::{flavour::Flavour, link::Link},
};

/// A privilege, in the server's word for it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Power {
    privilege: String,
    /// `None`: everywhere.
    database: Option<String>,
}

impl fmt::Display for Power {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.database {
            Some(database) => write!(f, "{} ON {database}", self.privilege),
            None => f.write_str(&self.privilege),
        }
    }
}

impl Power {
    pub(super) fn on(privilege: &str, database: Option<&str>) -> Self {
        Self { privilege: privilege.to_owned(), database: database.map(str::to_owned) }
    }

    /// Whether it is a power over the server or over other accounts, which no role's statements give.
    pub(super) fn administers(&self) -> bool {
        let own_schemas = ["mysql", "mayfly", "sys"];
        let word = self.privilege.as_str();
        self.database.as_deref().is_some_and(|database| own_schemas.contains(&database))
            || ["SUPER", "GRANT OPTION", "CREATE USER", "CREATE ROLE", "SHUTDOWN", "RELOAD"].contains(&word)
            || ["SYSTEM", "SET", "PASSWORDLESS"].iter().any(|beginning| word.starts_with(beginning))
            || word.ends_with("ADMIN")
    }
}

/// Columns of `mysql.user` and the privileges they stand for. Those up to `GRANT OPTION` on databases are in `mysql.db` too.
pub(in crate::target::mysql) const GLOBAL: [(&str, &str); 31] = [
    ("Select_priv", "SELECT"),
    ("Insert_priv", "INSERT"),
    ("Update_priv", "UPDATE"),
    ("Delete_priv", "DELETE"),
    ("Create_priv", "CREATE"),
    ("Drop_priv", "DROP"),
    ("References_priv", "REFERENCES"),
    ("Index_priv", "INDEX"),
    ("Alter_priv", "ALTER"),
    ("Create_tmp_table_priv", "CREATE TEMPORARY TABLES"),
    ("Lock_tables_priv", "LOCK TABLES"),
    ("Create_view_priv", "CREATE VIEW"),
    ("Show_view_priv", "SHOW VIEW"),
    ("Create_routine_priv", "CREATE ROUTINE"),
    ("Alter_routine_priv", "ALTER ROUTINE"),
    ("Execute_priv", "EXECUTE"),
    ("Event_priv", "EVENT"),
    ("Trigger_priv", "TRIGGER"),
    ("Grant_priv", "GRANT OPTION"),
    ("Reload_priv", "RELOAD"),
    ("Shutdown_priv", "SHUTDOWN"),
    ("Process_priv", "PROCESS"),
    ("File_priv", "FILE"),
    ("Show_db_priv", "SHOW DATABASES"),
    ("Super_priv", "SUPER"),
    ("Repl_slave_priv", "REPLICATION SLAVE"),
    ("Repl_client_priv", "REPLICATION CLIENT"),
    ("Create_user_priv", "CREATE USER"),
    ("Create_tablespace_priv", "CREATE TABLESPACE"),
    ("Create_role_priv", "CREATE ROLE"),
    ("Drop_role_priv", "DROP ROLE"),
];

/// How many of them there are on databases.
const ON_DATABASES: usize = 19;

/// An expression for the names of those privileges that are held, between commas.
fn held(columns: &[(&str, &str)]) -> String {
    let one = |(column, privilege): &(&str, &str)| format!("IF({column} = 'Y', '{privilege}', NULL)");
    format!("CONCAT_WS(',', {})", columns.iter().map(one).collect::<Vec<_>>().join(", "))
}

/// What accounts may do by themselves: user, host and power.
pub(super) async fn ask(
    link: &mut Link<'_>,
    names: &Names,
) -> Result<Vec<(String, String, Power)>, TargetError> {
    let mut powers = match link.server().flavour {
        Flavour::Mysql => everywhere_on_mysql(link, names).await?,
        Flavour::Mariadb => everywhere_on_mariadb(link, names).await?,
    };
    let question = format!(
        "SELECT User, Host, Db, {} FROM mysql.db WHERE {}",
        held(GLOBAL.get(..ON_DATABASES).unwrap_or_default()),
        names.hold("User")
    );
    let rows: Vec<(String, String, String, String)> = link.ask(STANDING, &question).await?;
    for (user, host, database, words) in rows {
        powers
            .extend(each(&words).map(|word| (user.clone(), host.clone(), Power::on(word, Some(&database)))));
    }
    Ok(powers)
}

fn each(words: &str) -> impl Iterator<Item = &str> {
    words.split(',').filter(|word| !word.is_empty())
}

async fn everywhere_on_mysql(
    link: &mut Link<'_>,
    names: &Names,
) -> Result<Vec<(String, String, Power)>, TargetError> {
    let question = format!(
        "SELECT User, Host, {} FROM mysql.user WHERE {} UNION ALL \
         SELECT USER, HOST, IF(WITH_GRANT_OPTION = 'Y', CONCAT(PRIV, ',GRANT OPTION'), PRIV) \
         FROM mysql.global_grants WHERE {}",
        held(&GLOBAL),
        names.hold("User"),
        names.hold("USER")
    );
    let rows: Vec<(String, String, String)> = link.ask(STANDING, &question).await?;
    let powers = rows.iter().flat_map(|(user, host, words)| {
        each(words).map(|word| (user.clone(), host.clone(), Power::on(word, None)))
    });
    Ok(powers.collect())
}

/// MariaDB keeps them as the bits of a number, which differ by version; so it is asked to spell them, if there are any.
async fn everywhere_on_mariadb(
    link: &mut Link<'_>,
    names: &Names,
) -> Result<Vec<(String, String, Power)>, TargetError> {
    let question = format!(
        "SELECT User, Host FROM mysql.global_priv \
         WHERE {} AND COALESCE(JSON_VALUE(Priv, '$.access'), '0') <> '0'",
        names.hold("User")
    );
    let mighty: Vec<(String, String)> = link.ask(STANDING, &question).await?;
    if mighty.is_empty() {
        return Ok(Vec::new());
    }
    let question = "SELECT GRANTEE, PRIVILEGE_TYPE, IS_GRANTABLE FROM information_schema.USER_PRIVILEGES \
                    WHERE PRIVILEGE_TYPE <> 'USAGE' AND GRANTEE LIKE '''mf\\_%'";
    let rows: Vec<(String, String, String)> = link.ask(STANDING, question).await?;
    let mut powers = Vec::new();
    for (user, host) in mighty {
        let grantee = format!("'{user}'@'{host}'");
        for (_, privilege, grantable) in rows.iter().filter(|(of, ..)| *of == grantee) {
            powers.push((user.clone(), host.clone(), Power::on(privilege, None)));
            if grantable == "YES" {
                powers.push((user.clone(), host.clone(), Power::on("GRANT OPTION", None)));
            }
        }
    }
    Ok(powers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_columns_of_databases_come_first() {
        let last = GLOBAL.get(ON_DATABASES - 1).unwrap();
        assert_eq!(last.1, "GRANT OPTION");
    }

    #[test]
    fn power_over_others_is_told_from_work() {
        for word in ["SUPER", "ROLE_ADMIN", "CONNECTION ADMIN", "SYSTEM_USER", "SET USER", "GRANT OPTION"] {
            assert!(Power::on(word, None).administers(), "{word}");
        }
        assert!(Power::on("UPDATE", Some("mysql")).administers());
        for word in ["SELECT", "PROCESS", "SHOW DATABASES"] {
            assert!(!Power::on(word, None).administers(), "{word}");
        }
    }
}
