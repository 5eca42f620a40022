//! Installing and upgrading the switch, by the administration account or as SQL for somebody else.

use super::{
    ADD_KINDS, ADD_MARKS, CREATE_ELEVATIONS, CREATE_SCHEMA, CREATE_SERVER, CREATE_TABLE, DRAW_IDENTITY,
    EVENT, Registry, SCHEMA, Switch, VERSION, look,
};
use crate::target::{
    TargetError, TargetErrorKind,
    mysql::{
        connect::{SQL_MODE, Server},
        errors::{self, Step},
        flavour::Flavour,
        identity,
        link::Link,
        privileges::Privilege,
        quote,
    },
};

/// Installs what is missing and puts right what is not as it should be. The event is replaced in one statement, so that it
/// is never gone, and last, so that the tables are of its version or later.
///
/// # Errors
/// When the administration account lacks a privilege, or a later version is there.
pub(in crate::target::mysql) async fn install(link: &mut Link<'_>) -> Result<Vec<String>, TargetError> {
    let before = look(link).await?;
    refuse_newer(&before)?;
    let mut done = install_tables(link).await?;
    let wanted = match &before.event {
        None => {
            run(link, &format!("CREATE EVENT mayfly.expire\n{EVENT}")).await?;
            Some(format!("created the event mayfly.expire, version {VERSION}"))
        }
        Some(event) if event.version < VERSION => {
            Some(format!("upgraded the event mayfly.expire from version {} to {VERSION}", event.version))
        }
        Some(event) if !event.definer_exists => Some(format!(
            "gave the event mayfly.expire another definer, as {} does not exist any more",
            event.definer
        )),
        Some(event) if event.status != "ENABLED" => Some("enabled the event mayfly.expire".to_owned()),
        Some(event) if !event.is_ours => Some("put right what the event mayfly.expire does".to_owned()),
        Some(_) => None,
    };
    if before.event.is_some() && wanted.is_some() {
        run(link, &format!("ALTER EVENT mayfly.expire\n{EVENT}")).await?;
    }
    done.extend(wanted);
    Ok(done)
}

async fn install_tables(link: &mut Link<'_>) -> Result<Vec<String>, TargetError> {
    let tables = Tables::look(link).await?;
    let mut done = Vec::new();
    if tables.accounts == Registry::Absent {
        for statement in [CREATE_SCHEMA, CREATE_TABLE] {
            run(link, statement).await?;
        }
        done.push("created the table mayfly.accounts".to_owned());
    }
    for (change, what) in tables.additions() {
        run(link, change).await?;
        done.push(format!("gave the table mayfly.accounts a place for {what}"));
    }
    if !tables.elevations {
        run(link, CREATE_ELEVATIONS).await?;
        done.push("created the table mayfly.elevations".to_owned());
    }
    if !tables.server {
        run(link, CREATE_SERVER).await?;
        done.push("created the table mayfly.server".to_owned());
    }
    if identity::drawn(link.connection()).await?.is_none() {
        for statement in DRAW_IDENTITY {
            run(link, statement).await?;
        }
        done.push("drew an identity for the server and its replicas".to_owned());
    }
    Ok(done)
}

/// The statements for an administrator of the server, as its command-line client takes them. The event runs with the
/// rights of the administration account, which is granted what it needs besides.
///
/// # Errors
/// When a later version is there.
pub(in crate::target::mysql) async fn script(link: &mut Link<'_>) -> Result<String, TargetError> {
    let seen = look(link).await?;
    refuse_newer(&seen)?;
    let tables = Tables::look(link).await?;
    Ok(compose(link.server(), &seen, tables))
}

fn compose(server: &Server, seen: &Switch, tables: Tables) -> String {
    let verb = if seen.event.is_some() { "ALTER" } else { "CREATE" };
    let mut lines = vec![
        format!("-- The dead-man's switch, version {VERSION}. To be run by an administrator of the server."),
        format!("{SQL_MODE};"),
    ];
    lines.push(Privilege::Expiries.grant(server));
    lines.push(format!("{CREATE_SCHEMA};"));
    lines.push(format!("{CREATE_TABLE};"));
    lines.push(format!("{CREATE_ELEVATIONS};"));
    lines.extend(tables.additions().iter().map(|(change, _)| format!("{change};")));
    lines.push(format!("{CREATE_SERVER};"));
    lines.extend(DRAW_IDENTITY.map(|statement| format!("{statement};")));
    lines.push("DELIMITER //".to_owned());
    lines.push(format!("{verb} DEFINER = {} EVENT mayfly.expire\n{EVENT}//", server.administrator));
    lines.push("DELIMITER ;".to_owned());
    if seen.scheduler != "ON" {
        lines.push(
            "-- And event_scheduler = ON in the server's configuration, for its next start.".to_owned(),
        );
        let persist = if server.flavour == Flavour::Mysql { "PERSIST" } else { "GLOBAL" };
        lines.push(format!("SET {persist} event_scheduler = ON;"));
    }
    lines.join("\n")
}

fn refuse_newer(seen: &Switch) -> Result<(), TargetError> {
    if !seen.is_newer() {
        return Ok(());
    }
    let message =
        format!("the server has a later version of the dead-man's switch than this Mayfly's, {VERSION}");
    Err(TargetError::new(TargetErrorKind::Refused, message))
}

/// Which of the tables there are, as far as the administration account may see them.
#[derive(Debug, Clone, Copy, Default)]
struct Tables {
    accounts: Registry,
    elevations: bool,
    server: bool,
}

impl Tables {
    async fn look(link: &mut Link<'_>) -> Result<Self, TargetError> {
        let question = format!(
            "SELECT TABLE_NAME, COLUMN_NAME FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = {}",
            quote::literal(SCHEMA)?
        );
        let columns: Vec<(String, String)> = link.ask("its tables", &question).await?;
        let has = |table: &str, column: &str| columns.iter().any(|(of, name)| of == table && name == column);
        let accounts = match ["user", "mark", "kind"].map(|column| has("accounts", column)) {
            [true, true, true] => Registry::Whole,
            [true, true, false] => Registry::WithoutKinds,
            [true, false, _] => Registry::WithoutMarks,
            [false, ..] => Registry::Absent,
        };
        Ok(Self { accounts, elevations: has("elevations", "role"), server: has("server", "identity") })
    }

    /// What an older table of accounts lacks, and what for.
    fn additions(self) -> Vec<(&'static str, &'static str)> {
        let marks = (Registry::WithoutMarks, ADD_MARKS, "marks");
        let kinds = (Registry::WithoutKinds, ADD_KINDS, "accounts that are handed out");
        let lacks = |version: Registry| self.accounts != Registry::Absent && self.accounts <= version;
        let lacking = [marks, kinds].into_iter().filter(|(version, ..)| lacks(*version));
        lacking.map(|(_, change, what)| (change, what)).collect()
    }
}

async fn run(link: &mut Link<'_>, statement: &str) -> Result<(), TargetError> {
    let Err(failure) = link.run(statement).await else { return Ok(()) };
    let error = errors::explain(failure.during(Step::Switch), link.server());
    if !error.message.contains("SYSTEM_USER") {
        return Err(error);
    }
    // MySQL: such an account altered it, for example root, and only its like may alter it again.
    let message = "the event mayfly.expire runs with the rights of an account that has SYSTEM_USER, and only such an \
                   account may replace it";
    let remedy =
        "-- what `mayfly doctor --config FILE --print TARGET` prints, as an administrator of the server";
    Err(TargetError::new(TargetErrorKind::Denied, message).mended_by(remedy).caused_by(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_statements_are_these() {
        let server = Server {
            flavour: Flavour::Mysql,
            number: (8, 4, 0),
            version: "8.4.0".to_owned(),
            administrator: "'mayfly'@'10.0.0.%'".to_owned(),
            switch: None,
        };
        let page = include_str!("../../../../docs/dead-mans-switch.md");
        let seen = Switch { scheduler: "ON".to_owned(), event: None };
        let script = compose(&server, &seen, Tables::default());
        assert!(page.contains(&script), "docs/dead-mans-switch.md does not show:\n{script}");
        for change in [ADD_MARKS, ADD_KINDS] {
            assert!(page.contains(change), "docs/dead-mans-switch.md does not show:\n{change}");
        }
    }

    #[test]
    fn the_compose_files_samples_install_it() {
        for script in [
            include_str!("../../../../deploy/init/mysql.sh"),
            include_str!("../../../../deploy/init/mariadb.sh"),
        ] {
            let [variable, draw] = DRAW_IDENTITY;
            let tables = [CREATE_SCHEMA, CREATE_TABLE, CREATE_ELEVATIONS, CREATE_SERVER];
            for statement in tables.into_iter().chain([variable, draw, EVENT]) {
                assert!(script.contains(statement), "deploy/init does not have:\n{statement}");
            }
        }
    }
}
