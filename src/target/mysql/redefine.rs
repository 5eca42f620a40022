//! Giving objects another definer.
//!
//! MariaDB can replace each kind in one statement (`CREATE OR REPLACE`). MySQL can alter views and events; a routine or
//! trigger it would have to drop first, and with it the rights others have on it, so there that is left to people.

use mysql_async::Row;

use super::{
    errors::{self, Step},
    flavour::Flavour,
    link::Link,
    objects::{Kind, Object, named},
    quote,
};
use crate::target::{TargetError, TargetErrorKind};

/// Hands objects to a role. Nothing is changed when one of them cannot be.
pub(super) async fn all(link: &mut Link<'_>, objects: &[Object], role: &str) -> Result<(), TargetError> {
    let flavour = link.server().flavour;
    let stuck: Vec<&Object> = objects.iter().filter(|object| !can(flavour, object.kind)).collect();
    if !stuck.is_empty() {
        return Err(TargetError::new(
            TargetErrorKind::Refused,
            format!(
                "MySQL cannot give routines and triggers another definer without dropping them; drop or re-create {}",
                named(&stuck)
            ),
        ));
    }
    let definer = match flavour {
        Flavour::Mysql => format!("{}@`%`", quote::identifier(role)?),
        Flavour::Mariadb => quote::identifier(role)?,
    };
    for object in objects {
        one(link, object, &definer).await?;
    }
    Ok(())
}

fn can(flavour: Flavour, kind: Kind) -> bool {
    flavour == Flavour::Mariadb || matches!(kind, Kind::View | Kind::Event)
}

async fn one(link: &mut Link<'_>, object: &Object, definer: &str) -> Result<(), TargetError> {
    let shown = show(link, object).await?;
    let statement = shown.with_definer(object, definer).ok_or_else(|| {
        TargetError::new(TargetErrorKind::Refused, format!("the definition of {object} cannot be rewritten"))
    })?;
    // The session takes on what the object was created with, and does not go back to the pool.
    let context = format!(
        "SET sql_mode = {}, collation_connection = {}",
        quote::literal(&shown.sql_mode)?,
        quote::literal(&shown.collation)?
    );
    let database = format!("USE {}", quote::identifier(&object.database)?);
    for statement in [database, context, statement, super::connect::SQL_MODE.to_owned()] {
        if let Err(failure) = link.run_foreign(&statement).await {
            return Err(errors::explain(failure.during(Step::Object(object.to_string())), link.server()));
        }
    }
    Ok(())
}

/// What `SHOW CREATE` says of an object.
#[derive(Debug)]
struct Shown {
    statement: String,
    sql_mode: String,
    collation: String,
}

async fn show(link: &mut Link<'_>, object: &Object) -> Result<Shown, TargetError> {
    let question = format!("SHOW CREATE {} {}", object.kind.word(), object.quoted()?);
    let failed = |failure: errors::Failure, link: &Link<'_>| {
        errors::explain(failure.during(Step::Object(object.to_string())), link.server())
    };
    let rows = link.batch(&[question]).await.map_err(|stopped| failed(stopped.failure, link))?;
    let row = rows.into_iter().flatten().next();
    row.and_then(|row| read(object.kind, &row)).ok_or_else(|| {
        let message = format!("the administration account is not shown the definition of {object}");
        TargetError::new(TargetErrorKind::Denied, message)
    })
}

/// The columns differ by kind; views have no mode of their own.
fn read(kind: Kind, row: &Row) -> Option<Shown> {
    let text = |column: usize| row.get_opt::<Option<String>, usize>(column)?.ok()?;
    let (sql_mode, statement, collation) = match kind {
        Kind::View => (String::new(), text(1)?, text(3)?),
        Kind::Procedure | Kind::Function | Kind::Trigger => (text(1)?, text(2)?, text(4)?),
        Kind::Event => (text(1)?, text(3)?, text(5)?),
    };
    Some(Shown { statement, sql_mode, collation })
}

impl Shown {
    /// The statement that puts another definer in the place of the one there is.
    fn with_definer(&self, object: &Object, definer: &str) -> Option<String> {
        let (user, host) = object.definer.rsplit_once('@')?;
        let present = format!("DEFINER={}@{} ", quote::identifier(user).ok()?, quote::identifier(host).ok()?);
        let (before, after) = self.statement.split_once(&present)?;
        let head = before.strip_prefix("CREATE")?;
        Some(match object.kind {
            Kind::View => format!("ALTER{head}DEFINER={definer} {after}"),
            Kind::Event => {
                // An event must be altered in something besides; whether it is enabled stays as it is.
                let status = ["DISABLE ON SLAVE", "DISABLE ON REPLICA", "DISABLE"]
                    .into_iter()
                    .find(|status| head_of_event(after).contains(&format!(" {status}")))
                    .unwrap_or("ENABLE");
                format!("ALTER DEFINER={definer} EVENT {} {status}", object.quoted().ok()?)
            }
            Kind::Procedure | Kind::Function | Kind::Trigger => {
                format!("CREATE OR REPLACE{head}DEFINER={definer} {after}")
            }
        })
    }
}

/// What stands before an event's comment and body.
fn head_of_event(text: &str) -> &str {
    let end = [" COMMENT '", " DO "].iter().filter_map(|word| text.find(word)).min();
    end.and_then(|end| text.get(..end)).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(kind: Kind, statement: &str) -> Option<String> {
        let object = Object {
            kind,
            database: "shop".to_owned(),
            name: "o".to_owned(),
            definer: "mf_a@10.0.0.%".to_owned(),
        };
        let shown = Shown {
            statement: statement.to_owned(),
            sql_mode: String::new(),
            collation: "utf8mb4_bin".to_owned(),
        };
        shown.with_definer(&object, "`owner`")
    }

    #[test]
    fn only_the_definer_in_the_head_is_replaced() {
        let view = "CREATE ALGORITHM=MERGE DEFINER=`mf_a`@`10.0.0.%` SQL SECURITY DEFINER VIEW `shop`.`o` AS \
                    select 'DEFINER=`mf_a`@`10.0.0.%` '";
        assert_eq!(
            rewritten(Kind::View, view).unwrap(),
            "ALTER ALGORITHM=MERGE DEFINER=`owner` SQL SECURITY DEFINER VIEW `shop`.`o` AS select \
             'DEFINER=`mf_a`@`10.0.0.%` '"
        );
        assert_eq!(
            rewritten(Kind::Procedure, "CREATE DEFINER=`mf_a`@`10.0.0.%` PROCEDURE `o`()\nselect 1").unwrap(),
            "CREATE OR REPLACE DEFINER=`owner` PROCEDURE `o`()\nselect 1"
        );
    }

    #[test]
    fn an_event_stays_enabled_or_not() {
        let event = |status: &str| {
            format!(
                "CREATE DEFINER=`mf_a`@`10.0.0.%` EVENT `o` ON SCHEDULE EVERY 1 DAY ON COMPLETION NOT PRESERVE \
                 {status} COMMENT 'x' DO select ' DISABLE '"
            )
        };
        for status in ["ENABLE", "DISABLE", "DISABLE ON SLAVE"] {
            assert_eq!(
                rewritten(Kind::Event, &event(status)).unwrap(),
                format!("ALTER DEFINER=`owner` EVENT `shop`.`o` {status}")
            );
        }
    }

    #[test]
    fn what_is_not_as_expected_is_not_rewritten() {
        assert_eq!(rewritten(Kind::View, "CREATE DEFINER=`someone`@`%` VIEW `o` AS select 1"), None);
        assert_eq!(rewritten(Kind::Procedure, "CREATE DEFINER=\"mf_a\"@\"10.0.0.%\" PROCEDURE o()"), None);
    }
}
