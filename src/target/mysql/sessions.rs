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

/// Ids of an account's sessions. A login that is still being checked shows as `unauthenticated user` and is in nobody's
/// name yet: the lock that was committed before refuses it.
pub(super) fn question(account: &Account) -> Result<String, TargetError> {
    let name = quote::literal(account.name.as_str())?;
    Ok(format!("SELECT ID FROM information_schema.PROCESSLIST WHERE USER = {name}"))
}

/// Ends every session of the account and waits, briefly, until none is seen.
pub(super) async fn end(link: &mut Link<'_>, account: &Account) -> Result<SessionsEnded, TargetError> {
    let question = question(account)?;
    let mut told: Vec<u64> = Vec::new();
    for look in 0..LOOKS {
        let open: Vec<u64> = link.ask(SESSIONS, &question).await?;
        if open.is_empty() {
            return Ok(report(&told, 0));
        }
        for id in open {
            if !told.contains(&id) {
                kill(link, id).await?;
                told.push(id);
            }
        }
        if look > 0 {
            tokio::time::sleep(PAUSE).await;
        }
    }
    let open: Vec<u64> = link.ask(SESSIONS, &question).await?;
    Ok(report(&told, open.len()))
}

fn report(told: &[u64], remaining: usize) -> SessionsEnded {
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    SessionsEnded { ended: count(told.len()), remaining: count(remaining) }
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
