//! The questions, each about many accounts at once.

use mysql_async::Row;

use super::Membership;
use crate::{
    domain::AccountName,
    target::{
        TargetError,
        mysql::{end, flavour::Flavour, link::Link, quote, switch::Registry},
    },
};

/// What is asked of the tables of privileges.
pub(in crate::target::mysql) const STANDING: &str = "how accounts stand";
/// What is asked of the switch's table.
const EXPIRIES: &str = "when accounts expire";

/// Names to ask for, quoted.
pub(super) struct Names {
    list: String,
}

impl Names {
    pub(super) fn new(names: &[AccountName]) -> Result<Self, TargetError> {
        let quoted: Result<Vec<String>, TargetError> =
            names.iter().map(|name| quote::literal(name.as_str())).collect();
        Ok(Self { list: quoted?.join(", ") })
    }

    /// One name, whosever.
    pub(super) fn one(name: &str) -> Result<Self, TargetError> {
        Ok(Self { list: quote::literal(name)? })
    }

    /// That a column is one of them.
    pub(super) fn hold(&self, column: &str) -> String {
        format!("{column} IN ({})", self.list)
    }
}

/// Where accounts are, without roles where these are told apart.
fn accounts(flavour: Flavour) -> (&'static str, &'static str) {
    match flavour {
        Flavour::Mysql => ("mysql.user", ""),
        Flavour::Mariadb => ("mysql.global_priv", " AND COALESCE(JSON_VALUE(Priv, '$.is_role'), '0') <> '1'"),
    }
}

/// Names that begin with the mark, above one, in the order of their bytes: the columns compare by these.
pub(super) async fn names_after(
    link: &mut Link<'_>,
    after: Option<&str>,
    limit: u32,
) -> Result<Vec<String>, TargetError> {
    let (table, no_roles) = accounts(link.server().flavour);
    let above = match after {
        Some(name) => format!(" AND User > {}", quote::literal(name)?),
        None => String::new(),
    };
    let question = format!(
        "SELECT DISTINCT User FROM {table} WHERE User LIKE 'mf\\_%'{above}{no_roles} ORDER BY User LIMIT {limit}"
    );
    link.ask(end::ACCOUNTS, &question).await
}

/// The hosts of accounts, and whether each is locked.
pub(super) async fn hosts(
    link: &mut Link<'_>,
    names: &Names,
) -> Result<Vec<(String, String, bool)>, TargetError> {
    let flavour = link.server().flavour;
    let (table, no_roles) = accounts(flavour);
    let locked = match flavour {
        Flavour::Mysql => "account_locked = 'Y'",
        Flavour::Mariadb => "COALESCE(JSON_VALUE(Priv, '$.account_locked'), '0') = '1'",
    };
    let question = format!("SELECT User, Host, {locked} FROM {table} WHERE {}{no_roles}", names.hold("User"));
    link.ask(STANDING, &question).await
}

/// What accounts are members of.
pub(super) async fn memberships(
    link: &mut Link<'_>,
    names: &Names,
) -> Result<Vec<(String, String, Membership)>, TargetError> {
    type Edge = (String, String, String, Option<String>, bool);
    let question = match link.server().flavour {
        Flavour::Mysql => format!(
            "SELECT TO_USER, TO_HOST, FROM_USER, FROM_HOST, WITH_ADMIN_OPTION = 'Y' FROM mysql.role_edges WHERE {}",
            names.hold("TO_USER")
        ),
        Flavour::Mariadb => format!(
            "SELECT User, Host, Role, NULL, Admin_option = 'Y' FROM mysql.roles_mapping WHERE {}",
            names.hold("User")
        ),
    };
    let edges: Vec<Edge> = link.ask(STANDING, &question).await?;
    let membership =
        |(user, host, role, role_host, hands)| (user, host, Membership { role, role_host, hands });
    Ok(edges.into_iter().map(membership).collect())
}

/// What the switch's table says of an account at a host.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) user: String,
    pub(super) host: String,
    /// Microseconds until it expires, by the server's clock.
    pub(super) left: i64,
    pub(super) mark: Option<String>,
    pub(super) own_statements: Option<bool>,
}

/// What the switch's table says of accounts. How long is left is asked, not until when: so no clock matters.
pub(super) async fn registry(
    link: &mut Link<'_>,
    names: &Names,
    registry: Registry,
) -> Result<Vec<Kept>, TargetError> {
    type Kind = (String, String, i64, Option<String>, Option<bool>);
    let marks = match registry {
        Registry::Absent => return Ok(Vec::new()),
        Registry::WithoutMarks => "NULL, NULL",
        Registry::WithoutKinds | Registry::Whole => "mark, own_statements",
    };
    let question = format!(
        "SELECT user, host, TIMESTAMPDIFF(MICROSECOND, UTC_TIMESTAMP(6), expires_at), {marks} \
         FROM mayfly.accounts WHERE {}",
        names.hold("user")
    );
    let rows: Vec<Kind> = link.ask(EXPIRIES, &question).await?;
    let kept = |(user, host, left, mark, own_statements)| Kept { user, host, left, mark, own_statements };
    Ok(rows.into_iter().map(kept).collect())
}

/// What MySQL keeps of an account besides.
#[derive(Debug, Default)]
pub(super) struct Attribute {
    pub(super) mark: Option<String>,
    pub(super) own_statements: Option<bool>,
}

/// The attributes of accounts, by name.
pub(super) async fn attributes(
    link: &mut Link<'_>,
    names: &Names,
) -> Result<Vec<(String, Attribute)>, TargetError> {
    if link.server().flavour == Flavour::Mariadb {
        return Ok(Vec::new());
    }
    let question = format!(
        "SELECT USER, CAST(ATTRIBUTE AS CHAR) FROM information_schema.USER_ATTRIBUTES WHERE {}",
        names.hold("USER")
    );
    let rows: Vec<Row> = link.ask(STANDING, &question).await?;
    let text = |row: &Row, column: usize| row.get_opt::<Option<String>, usize>(column)?.ok()?;
    let read = |row: &Row| Some((text(row, 0)?, attribute(&text(row, 1)?)));
    Ok(rows.iter().filter_map(read).collect())
}

fn attribute(text: &str) -> Attribute {
    let value: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
    let of = |key: &str| value.get("mayfly").and_then(|mayfly| mayfly.get(key)).cloned().unwrap_or_default();
    Attribute { mark: of("mark").as_str().map(str::to_owned), own_statements: of("own_statements").as_bool() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_of_others_hold_no_mark() {
        let of = |text| attribute(text).mark;
        assert_eq!(of(r#"{"mayfly": {"mark": "m", "own_statements": true}}"#).as_deref(), Some("m"));
        for text in ["", "[]", "{}", r#"{"mayfly": "m"}"#, r#"{"mayfly": {"mark": 1}}"#] {
            assert_eq!(of(text), None, "{text}");
        }
    }
}
