//! Live sessions: seen in the process list, ended by `KILL`.

use std::{net::IpAddr, time::Duration};

use mysql_async::Row;

use super::{
    errors::{self, Step},
    link::Link,
    quote,
};
use crate::{
    domain::Account,
    target::{Session, SessionsEnded, TargetError},
};

/// What is asked of the process list.
pub(super) const SESSIONS: &str = "the account's sessions";

/// A session in the middle of something needs a moment to notice: looked at again this often, after this long. What is
/// still there then is rolling back, and is reported.
const LOOKS: u32 = 20;
const PAUSE: Duration = Duration::from_millis(25);

/// Ids of accounts' sessions, with whose they are. A login that is still being checked shows as `unauthenticated user` and is in nobody's
/// name yet: the lock that was committed before refuses it.
pub(super) fn question(accounts: &[&Account]) -> Result<String, TargetError> {
    let names = quote::names(accounts)?;
    Ok(format!("SELECT ID, USER FROM information_schema.PROCESSLIST WHERE USER IN ({names})"))
}

/// Ends every session of the account and waits, briefly, until none is seen.
pub(super) async fn end(link: &mut Link<'_>, account: &Account) -> Result<SessionsEnded, TargetError> {
    let reports = end_all(link, &[account]).await?;
    Ok(reports.first().copied().unwrap_or_default())
}

/// A session and whose it is.
type Owned = (u64, String);

/// Ends every session of the accounts and waits, briefly, until none is seen.
pub(super) async fn end_all(
    link: &mut Link<'_>,
    accounts: &[&Account],
) -> Result<Vec<SessionsEnded>, TargetError> {
    let question = question(accounts)?;
    let mut told: Vec<Owned> = Vec::new();
    for look in 0..LOOKS {
        let open: Vec<Owned> = link.ask(SESSIONS, &question).await?;
        if open.is_empty() {
            return Ok(report(accounts, &told, &[]));
        }
        for session in open {
            if !told.contains(&session) {
                kill(link, session.0).await?;
                told.push(session);
            }
        }
        if look > 0 {
            tokio::time::sleep(PAUSE).await;
        }
    }
    let open: Vec<Owned> = link.ask(SESSIONS, &question).await?;
    Ok(report(accounts, &told, &open))
}

fn report(accounts: &[&Account], told: &[Owned], open: &[Owned]) -> Vec<SessionsEnded> {
    let count = |sessions: &[Owned], account: &Account| {
        let own = sessions.iter().filter(|(_, owner)| owner == account.name.as_str());
        u32::try_from(own.count()).unwrap_or(u32::MAX)
    };
    let one =
        |account: &&Account| SessionsEnded { ended: count(told, account), remaining: count(open, account) };
    accounts.iter().map(one).collect()
}

pub(super) async fn kill(link: &mut Link<'_>, id: u64) -> Result<(), TargetError> {
    match link.run(&format!("KILL CONNECTION {id}")).await {
        Err(failure) if failure.code() != Some(errors::NO_SUCH_THREAD) => {
            Err(errors::explain(failure.during(Step::Kill), link.server()))
        }
        _ => Ok(()),
    }
}

/// The account's sessions, as the process list shows them. It does not say when they began.
pub(super) async fn list(link: &mut Link<'_>, account: &Account) -> Result<Vec<Session>, TargetError> {
    let name = quote::literal(account.name.as_str())?;
    let question = format!(
        "SELECT ID, HOST, DB, COMMAND FROM information_schema.PROCESSLIST WHERE USER = {name} ORDER BY ID"
    );
    let rows: Vec<Row> = link.ask(SESSIONS, &question).await?;
    Ok(rows.iter().filter_map(session).collect())
}

fn session(row: &Row) -> Option<Session> {
    let text = |column: usize| row.get_opt::<Option<String>, usize>(column)?.ok()?;
    Some(Session {
        id: row.get_opt(0)?.ok()?,
        client: text(1).as_deref().and_then(client),
        database: text(2),
        started_at: None,
        activity: text(3),
    })
}

/// The address in `host:port`; `None` for a socket, or when the server resolved the address to a name.
fn client(host: &str) -> Option<IpAddr> {
    let address = host.rsplit_once(':').map_or(host, |(address, _)| address);
    address.parse().ok().or_else(|| host.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_addresses_or_unknown() {
        for (host, expected) in [
            ("127.0.0.1:4711", Some("127.0.0.1")),
            ("2001:db8::7:4711", Some("2001:db8::7")),
            ("localhost:4711", None),
            ("localhost", None),
            ("", None),
        ] {
            assert_eq!(client(host), expected.map(|text| text.parse().unwrap()), "{host}");
        }
    }
}
