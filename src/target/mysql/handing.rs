//! Groups whose members can give away what they have. The servers do not keep who gave what to whom, so what a leased account
//! gave to others would outlive it, and nobody could take it back: such groups are pointed out before anybody is in them.

use super::{flavour::Flavour, found, grants::Grants, link::Link, quote};
use crate::target::{Finding, TargetError};

/// What of a group its members can hand on.
#[derive(Debug, PartialEq, Eq)]
enum Handed {
    /// Its privileges in a scope such as `` `shop`.* ``.
    Privileges { scope: String },
    /// Another group.
    Group { name: String },
}

/// What is wrong with a group in this respect.
pub(super) async fn findings(
    link: &mut Link<'_>,
    role: &str,
    group: &str,
) -> Result<Vec<Finding>, TargetError> {
    let flavour = link.server().flavour;
    let handed = match flavour {
        Flavour::Mysql => on_mysql(link, group).await?,
        Flavour::Mariadb => on_mariadb(link, group).await?,
    };
    let quoted = quote::identifier(group)?;
    handed.into_iter().map(|handed| handed.finding(flavour, role, group, &quoted)).collect()
}

impl Handed {
    fn finding(
        self,
        flavour: Flavour,
        role: &str,
        group: &str,
        quoted: &str,
    ) -> Result<Finding, TargetError> {
        let (what, remedy) = match self {
            Handed::Privileges { scope } => (
                format!("what {group} may do on {scope}"),
                format!("REVOKE GRANT OPTION ON {scope} FROM {quoted};"),
            ),
            Handed::Group { name } => {
                let other = quote::identifier(&name)?;
                let remedy = match flavour {
                    Flavour::Mariadb => format!("REVOKE ADMIN OPTION FOR {other} FROM {quoted};"),
                    Flavour::Mysql => format!("REVOKE {other} FROM {quoted};\nGRANT {other} TO {quoted};"),
                };
                (format!("membership of {name}"), remedy)
            }
        };
        let words = "which outlives them, as the server does not keep who gave it";
        Ok(Finding::problem(format!("role {role}: accounts can give {what} to others, {words}"))
            .mended_by(remedy))
    }
}

/// By the tables, as far as they may be read: the group need not be one's own.
async fn on_mysql(link: &mut Link<'_>, group: &str) -> Result<Vec<Handed>, TargetError> {
    let (powers, groups) = found::of_group(link, group).await?;
    let mut handed = Vec::new();
    for power in powers {
        let Some(rest) = power.strip_prefix("GRANT OPTION") else { continue };
        let scope = match rest.strip_prefix(" ON ") {
            Some(database) => format!("{}.*", quote::identifier(database)?),
            None => "*.*".to_owned(),
        };
        handed.push(Handed::Privileges { scope });
    }
    handed.extend(groups.into_iter().map(|name| Handed::Group { name }));
    handed.dedup();
    Ok(handed)
}

async fn on_mariadb(link: &mut Link<'_>, group: &str) -> Result<Vec<Handed>, TargetError> {
    let question = format!("SHOW GRANTS FOR {}", quote::identifier(group)?);
    let grants = Grants::read(&link.ask("a group's privileges", &question).await?);
    let mut handed = Vec::new();
    for granted in grants.privileges().iter().filter(|granted| granted.hands) {
        let part = |name: &str| if name == "*" { Ok(name.to_owned()) } else { quote::identifier(name) };
        let scope = format!("{}.{}", part(&granted.database)?, part(&granted.object)?);
        handed.push(Handed::Privileges { scope });
    }
    handed.extend(grants.handed_on().map(|name| Handed::Group { name: name.to_owned() }));
    Ok(handed)
}
