//! The two exchanges of a transaction: lock and read; write and commit. Statements of an exchange are sent one behind the
//! other without waiting, and the server runs them in that order.

use std::time::Duration;

use futures_util::join;
use jiff::{SignedDuration, Timestamp};
use tokio_postgres::{Client, Row, Statement, types::ToSql};

use super::{
    columns::{Counts, Inserts, Updates},
    entry_write,
    failure::Failure,
    lease_row::{self, COLUMNS},
    ledger::{Changes, DueNeed, Facts, Needs},
    migrate::LOCKS,
    notice,
    row::{digest, parsed, plain, signed, unsigned},
    secret,
    session::Session,
    settings::SchemaName,
    statements::Statements,
    token,
};
use crate::{
    audit::ChainHead,
    clock::Clock,
    domain::{FURTHEST_ATTEMPT, Lease},
    store::CLAIM,
};

/// A measurement of the server's clock that took longer says too little.
const SHARP: SignedDuration = SignedDuration::from_millis(250);

/// Who writes.
#[derive(Debug, Clone)]
pub(super) struct Writing {
    pub(super) replica: String,
    pub(super) epoch: i64,
    pub(super) schema: SchemaName,
}

/// A transaction that is open, with everything its commands need.
pub(super) struct Opened {
    pub(super) head: ChainHead,
    /// Transactions of this chain before this one.
    pub(super) written: i64,
    /// The server's clock minus ours, when it could be measured.
    pub(super) offset: Option<SignedDuration>,
    pub(super) facts: Facts,
}

pub(super) type Rows = Result<Vec<Row>, tokio_postgres::Error>;

/// Runs a statement, unless there is nothing to run it for.
pub(super) async fn rows<const N: usize>(
    client: &Client,
    wanted: bool,
    statement: &Statement,
    values: [&(dyn ToSql + Sync); N],
) -> Rows {
    if wanted { client.query(statement, &values).await } else { Ok(Vec::new()) }
}

/// Opens a transaction. `None`: this process may not write any more.
pub(super) async fn open(
    session: &Session,
    statements: &Statements,
    writing: &Writing,
    needs: &Needs,
    clock: &dyn Clock,
) -> Result<Option<Opened>, Failure> {
    let client = &session.client;
    let (locks, shared) = needs.locks(&writing.schema);
    let (entry_kinds, entry_ids): (Vec<&str>, Vec<&String>) =
        needs.entries.keys().map(|(kind, id)| (kind.as_str(), id)).unzip();
    let leases: Vec<&String> = needs.leases.iter().collect();
    let (key_owners, keys): (Vec<&String>, Vec<&String>) =
        needs.keys.iter().map(|(owner, key)| (owner, key)).unzip();
    let (roles, holders): (Vec<&String>, Vec<&String>) =
        needs.limited.iter().map(|(role, holder)| (role, holder)).unzip();
    let tokens: Vec<&String> = needs.tokens.iter().collect();
    let (ids, hashes): (Vec<&String>, Vec<&Vec<u8>>) =
        needs.new_tokens.iter().map(|(id, hash)| (id, hash)).unzip();
    let secrets: Vec<&String> = needs.secrets.iter().collect();
    let asked = clock.now();
    let chain_values: [&(dyn ToSql + Sync); 2] = [&writing.replica, &writing.epoch];
    let chain = async {
        let rows = client.query(&statements.chain, &chain_values).await;
        (rows, clock.now())
    };
    let (begun, (chain, answered), locked, leases, keys, live, secrets, tokens, taken, entries) = join!(
        client.batch_execute("BEGIN"),
        chain,
        rows(client, !locks.is_empty(), &statements.locks, [&LOCKS, &locks, &shared]),
        rows(client, !leases.is_empty(), &statements.leases, [&leases]),
        rows(client, !keys.is_empty(), &statements.keys, [&key_owners, &keys]),
        rows(client, !roles.is_empty(), &statements.live, [&roles, &holders]),
        rows(client, !secrets.is_empty(), &statements.secrets, [&secrets]),
        rows(client, !tokens.is_empty(), &statements.tokens, [&tokens]),
        rows(client, !ids.is_empty(), &statements.taken, [&ids, &hashes]),
        rows(client, !entry_ids.is_empty(), &statements.entries, [&entry_kinds, &entry_ids]),
    );
    begun?;
    let chain = chain?;
    let Some(row) = chain.first() else { return Ok(None) };
    locked?;
    let mut facts = facts(&leases?, &keys?, &live?, &tokens?, &taken?)?;
    for row in &secrets? {
        facts.secrets.insert(parsed(row, 0)?, unsigned(row, 1)?);
    }
    for row in &entries? {
        facts.entries.insert((parsed(row, 0)?, plain(row, 1)?), unsigned(row, 2)?);
    }
    for need in &needs.due {
        facts.due.push_back(claim(client, statements, writing, need).await?);
    }
    if needs.hold {
        client.execute(&statements.hold, &[&writing.replica, &writing.epoch, &claim_millis()]).await?;
    }
    let head = ChainHead { seq: unsigned(row, 0)?, hash: digest(row, 1)? };
    let offset = offset(plain(row, 3)?, asked, answered);
    Ok(Some(Opened { head, written: plain(row, 2)?, offset, facts }))
}

/// How far the server's clock is ahead, if the answer came quickly enough to tell.
pub(super) fn offset(theirs: i64, asked: Timestamp, answered: Timestamp) -> Option<SignedDuration> {
    let took = answered.duration_since(asked);
    if took.is_negative() || took > SHARP {
        return None;
    }
    let theirs = Timestamp::from_microsecond(theirs).ok()?;
    Some(theirs.duration_since(asked.saturating_add(took / 2).ok()?))
}

fn claim_millis() -> f64 {
    CLAIM.as_secs_f64() * 1000.0
}

fn facts(
    leases: &[Row],
    keys: &[Row],
    live: &[Row],
    tokens: &[Row],
    taken: &[Row],
) -> Result<Facts, Failure> {
    let mut facts = Facts::default();
    for row in keys {
        let lease = lease_row::read(row)?;
        if let Some(key) = &lease.idempotency_key {
            facts.keys.insert((lease.principal.name.as_str().to_owned(), key.clone()), lease.id);
        }
        facts.leases.insert(lease.id, (lease, plain(row, COLUMNS)?));
    }
    // After the others: these are locked, and may be newer.
    for row in leases {
        let lease = lease_row::read(row)?;
        facts.leases.insert(lease.id, (lease, plain(row, COLUMNS)?));
    }
    for row in live {
        let (role, holder): (String, String) = (plain(row, 0)?, plain(row, 1)?);
        facts.live_by_role.insert(role.clone(), plain(row, 3)?);
        facts.live_by_holder.insert((role, holder), plain(row, 2)?);
    }
    for row in tokens {
        let token = token::read(row)?;
        facts.tokens.insert(token.id, token);
    }
    for row in taken {
        facts.taken_ids.insert(plain(row, 0)?);
        facts.taken_hashes.insert(plain(row, 1)?);
    }
    Ok(facts)
}

/// Claims what is due on a target: most overdue first; then what is put off for longer than anything is.
async fn claim(
    client: &Client,
    statements: &Statements,
    writing: &Writing,
    need: &DueNeed,
) -> Result<Vec<Lease>, Failure> {
    let claim = async |statement: &Statement, moment: Timestamp, limit: u32| {
        let (target, moment, limit) = (need.target.as_str(), moment.as_microsecond(), i64::from(limit));
        let values: [&(dyn ToSql + Sync); 6] =
            [&target, &moment, &limit, &writing.replica, &writing.epoch, &claim_millis()];
        let rows = client.query(statement, &values).await?;
        rows.iter().map(lease_row::read).collect::<Result<Vec<Lease>, Failure>>()
    };
    let mut leases = claim(&statements.due, need.now, need.limit).await?;
    leases.sort_by_key(|lease| lease.state.due_at());
    let room = need.limit.saturating_sub(u32::try_from(leases.len()).unwrap_or(u32::MAX));
    if room > 0 {
        let furthest = need.now.saturating_add(FURTHEST_ATTEMPT).unwrap_or(Timestamp::MAX);
        let mut put_off = claim(&statements.put_off, furthest, room).await?;
        put_off.sort_by_key(|lease| std::cmp::Reverse(lease.state.due_at()));
        leases.extend(put_off);
    }
    Ok(leases)
}

/// What came of writing and committing.
pub(super) enum Committed {
    /// It is durable.
    Yes,
    /// Nothing of it is.
    No(Failure),
    /// The connection was lost before the server said which.
    Unknown(Failure),
}

/// Writes and commits: `head` and `written` are what the chain is from then on.
pub(super) async fn commit(
    session: &Session,
    statements: &Statements,
    writing: &Writing,
    changes: &Changes,
    (head, written): (ChainHead, i64),
) -> Committed {
    let write = Box::pin(write(session, statements, writing, changes, (head, written)));
    let outcome = session.bounded(write).await;
    match outcome {
        Ok(()) => Committed::Yes,
        // Every statement was sent before an answer was waited for, so the commit may have arrived.
        Err(failure) if failure.is_lost => Committed::Unknown(failure),
        // One statement failed, and so did everything after it: the commit became a rollback.
        Err(failure) => Committed::No(failure),
    }
}

async fn write(
    session: &Session,
    statements: &Statements,
    writing: &Writing,
    changes: &Changes,
    (head, written): (ChainHead, i64),
) -> Result<(), Failure> {
    let client = &session.client;
    let updates = Updates::of(changes);
    let inserts = Inserts::of(changes);
    let counts = Counts::of(changes);
    let seqs: Vec<i64> = changes.records.iter().map(|(record, _)| signed(record.seq)).collect();
    let records: Vec<&str> = changes.records.iter().map(|(_, json)| json.as_str()).collect();
    let hashes: Vec<&[u8]> = changes.records.iter().map(|(record, _)| record.hash.0.as_slice()).collect();
    let (seq, hash) = (signed(head.seq), head.hash.0.as_slice());
    let channel = notice::channel(&writing.schema);
    let notices = notice::write(writing, &changes.announced, &changes.announced_entries);
    let replica = &writing.replica;
    let rare = write_rare(client, statements, writing, changes);
    let entries = entry_write::write(client, statements, &changes.entries);
    let (
        rare,
        entries,
        updated,
        inserted,
        roles,
        holders,
        targets,
        appended,
        advanced,
        noticed,
        unbounded,
        committed,
    ) = join!(
        rare,
        entries,
        rows(client, !updates.ids.is_empty(), &statements.update_leases, updates.values()),
        rows(client, !inserts.ids.is_empty(), &statements.insert_leases, inserts.values()),
        rows(
            client,
            !counts.roles.is_empty(),
            &statements.count_roles,
            [&counts.roles, replica, &counts.by_role]
        ),
        rows(
            client,
            !counts.holder_roles.is_empty(),
            &statements.count_holders,
            [&counts.holder_roles, replica, &counts.holders, &counts.by_holder]
        ),
        rows(
            client,
            !counts.targets.is_empty(),
            &statements.count_targets,
            [&counts.targets, replica, &counts.by_target]
        ),
        rows(client, !seqs.is_empty(), &statements.append, [replica, &seqs, &records, &hashes]),
        rows(client, true, &statements.advance, [replica, &writing.epoch, &seq, &hash, &written]),
        rows(client, !notices.is_empty(), &statements.notify, [&channel, &notices]),
        // A commit that waits for a standby must not be told to go on without it.
        client.batch_execute("SET LOCAL statement_timeout = 0"),
        client.batch_execute("COMMIT"),
    );
    // The first that failed says why.
    rare.and(entries)?;
    for outcome in [updated, inserted, roles, holders, targets, appended, advanced, noticed] {
        outcome?;
    }
    unbounded?;
    Ok(committed?)
}

/// What is seldom written, a statement each, all sent before anything is waited for.
async fn write_rare(
    client: &Client,
    statements: &Statements,
    writing: &Writing,
    changes: &Changes,
) -> Result<(), tokio_postgres::Error> {
    let ids: Vec<String> = changes.removed.iter().map(ToString::to_string).collect();
    let removed = rows(client, !ids.is_empty(), &statements.remove_leases, [&ids]);
    let through = signed(changes.archived.unwrap_or(0));
    let archived = rows(client, through > 0, &statements.remove_records, [&writing.replica, &through]);
    let tokens = changes.tokens.iter().map(|(token, principal, cidrs)| async move {
        let columns = token::Columns::of(token);
        client.execute(&statements.insert_token, &columns.values(token, principal, cidrs)).await
    });
    let revoked = changes.revoked.iter().map(|(id, at)| async move {
        client.execute(&statements.revoke_token, &[id, &at.as_microsecond()]).await
    });
    let servers = changes.servers.iter().map(|(target, server)| async move {
        let values: [&(dyn ToSql + Sync); 3] =
            [&target.as_str(), &server.identity, &server.since.as_microsecond()];
        client.execute(&statements.know_server, &values).await
    });
    let secrets = changes.secrets.iter().map(|(target, kept)| async move {
        let columns = secret::Columns::of(kept);
        let (target, account) = (target.as_str(), kept.account.as_str());
        let statement = if kept.revision == 1 { &statements.add_secret } else { &statements.keep_secret };
        client.execute(statement, &columns.values(&target, &account)).await
    });
    let (removed, archived, tokens, revoked, servers, secrets) =
        join!(removed, archived, in_order(tokens), in_order(revoked), in_order(servers), in_order(secrets));
    removed.and(archived)?;
    tokens.and(revoked).and(servers).and(secrets)
}

/// Starts all of them, in order, before it waits for the first.
async fn in_order<F>(exchanges: impl Iterator<Item = F>) -> Result<(), tokio_postgres::Error>
where
    F: Future<Output = Result<u64, tokio_postgres::Error>>,
{
    let mut under_way: Vec<_> = exchanges.map(Box::pin).collect();
    let mut outcomes: Vec<Option<Result<u64, tokio_postgres::Error>>> =
        under_way.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        let mut pending = false;
        for (exchange, outcome) in under_way.iter_mut().zip(&mut outcomes) {
            if outcome.is_none() {
                match exchange.as_mut().poll(context) {
                    std::task::Poll::Ready(done) => *outcome = Some(done),
                    std::task::Poll::Pending => pending = true,
                }
            }
        }
        if pending { std::task::Poll::Pending } else { std::task::Poll::Ready(()) }
    })
    .await;
    outcomes.into_iter().flatten().try_for_each(|outcome| outcome.map(drop))
}

/// Where the chain of a process stands, once nothing of it is under way on the server any more.
pub(super) struct Standing {
    pub(super) epoch: i64,
    pub(super) written: i64,
}

/// Finds out where the chain stands after a connection was lost. What the lost session has under way is ended first, unless it
/// is a commit that waits for a standby; until it is over, the row stays locked.
pub(super) async fn settle(session: &Session, replica: &str, lost: i32) -> Result<Option<Standing>, Failure> {
    session
        .query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE pid = $1 AND usename = current_user AND datname = current_database()
               AND application_name LIKE 'mayfly %' AND wait_event IS DISTINCT FROM 'SyncRep'",
            &[&lost],
        )
        .await?;
    let rows =
        session.query("SELECT epoch, written FROM chain WHERE replica = $1 FOR UPDATE", &[&replica]).await?;
    let standing = |row: &Row| Ok(Standing { epoch: plain(row, 0)?, written: plain(row, 1)? });
    rows.first().map(standing).transpose()
}

/// Whether the last record of a transaction is in the log.
pub(super) async fn has_record(session: &Session, replica: &str, head: ChainHead) -> Result<bool, Failure> {
    let rows = session
        .query("SELECT hash FROM audit WHERE replica = $1 AND seq = $2", &[&replica, &signed(head.seq)])
        .await?;
    Ok(rows.first().map(|row| digest(row, 0)).transpose()? == Some(head.hash))
}

/// How long a rollback is waited for.
const ROLLBACK: Duration = Duration::from_secs(1);

/// Leaves a session outside any transaction, or gives it up.
pub(super) async fn roll_back(session: &Session) {
    let rolled_back = tokio::time::timeout(ROLLBACK, session.client.batch_execute("ROLLBACK")).await;
    if !matches!(rolled_back, Ok(Ok(()))) {
        session.abandon();
    }
}
