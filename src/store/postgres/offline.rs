//! Work on a store without serving from it: verifying its audit chains, taking everything out, filling a fresh one. Shuts
//! nobody out and claims nothing.

use tokio_postgres::{Row, types::ToSql};

use super::{
    PostgresSettings,
    columns::Inserts,
    entry::{self, select_entries},
    entry_write::{EntryColumns, KeyColumns},
    failure::Failure,
    lease_row::{self, Encoded, lease_columns},
    migrate,
    row::{digest, plain, signed, to_json, unsigned},
    secret::{self, select_secrets},
    server::{self, instance},
    session::Session,
    statements::{ADD_ENTRIES, ADD_KEYS, APPEND, INSERT_LEASES, INSERT_TOKEN},
    token,
};
use crate::{
    audit::{Archives, ChainHead, ChainVerifier, ChainsError, ChainsVerifier, VerifiedChains},
    domain::{InstanceId, Lease, TargetName},
    store::{
        Entry, KeptSecret, StoreError,
        transfer::{Counts, Inspector, Item, Items, Outlet, not_empty},
    },
};

/// Rows read or written at a time.
const STEP: i64 = 1_000;

/// Opens a session for work that takes as long as it takes, within one transaction.
async fn open(settings: &PostgresSettings, begin: &str) -> Result<Session, Failure> {
    let session = Session::open(settings, "offline").await?;
    let unhurried =
        "SET statement_timeout = 0; SET lock_timeout = '10s'; SET idle_in_transaction_session_timeout = 0";
    session.client.batch_execute(unhurried).await?;
    session.client.batch_execute(begin).await?;
    Ok(session)
}

/// One snapshot of everything.
async fn snapshot(settings: &PostgresSettings) -> Result<Session, Failure> {
    let session = open(settings, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
    migrate::check(&session, settings).await?;
    Ok(session)
}

async fn rows(
    session: &Session,
    sql: &'static str,
    values: &[&(dyn ToSql + Sync)],
) -> Result<Vec<Row>, Failure> {
    let statement = session.prepared(sql).await?;
    Ok(session.client.query(&statement, values).await?)
}

/// Verifies all audit chains of a store against each other, each behind what of it is in `archives`; it may be in service.
///
/// # Errors
/// The first thing that is wrong.
pub async fn verify_chains(
    settings: &PostgresSettings,
    known: &[(Option<String>, ChainHead)],
    mut archives: Archives,
) -> Result<VerifiedChains, ChainsError> {
    let unreadable = |failure: Failure| ChainVerifier::new(None).unreadable(failure.to_error());
    let session = snapshot(settings).await.map_err(unreadable)?;
    let names = "SELECT replica, seq, hash FROM chain WHERE seq > 0 UNION SELECT replica, 0, '' FROM audit
        WHERE NOT EXISTS (SELECT 1 FROM chain WHERE chain.replica = audit.replica AND chain.seq > 0) ORDER BY replica";
    let heads = rows(&session, names, &[]).await.map_err(unreadable)?;
    // What the processes themselves go by must be in their logs.
    let head = |row: &Row| -> Result<(Option<String>, ChainHead), Failure> {
        Ok((Some(plain(row, 0)?), ChainHead { seq: unsigned(row, 1)?, hash: digest(row, 2)? }))
    };
    let heads = heads.iter().map(head).collect::<Result<Vec<_>, _>>().map_err(unreadable)?;
    let all_known: Vec<_> = known.iter().chain(&heads).cloned().collect();
    let mut all = ChainsVerifier::knowing(&all_known);
    for name in heads.iter().filter_map(|(name, _)| name.as_deref()) {
        all.add(one_chain(&session, name, archives.take(Some(name))).await?)?;
    }
    archives.add_rest(&mut all)?;
    all.finish(true)
}

async fn one_chain(
    session: &Session,
    name: &str,
    mut chain: ChainVerifier,
) -> Result<ChainVerifier, ChainsError> {
    // Records that are archived may still be there, until they are removed.
    let mut after = match chain.last_seq() {
        0 => archived(session, name).await.map_err(|failure| chain.unreadable(failure.to_error()))?,
        taken => signed(taken),
    };
    loop {
        let sql = "SELECT seq, record, hash FROM audit WHERE replica = $1 AND seq > $2 ORDER BY seq LIMIT $3";
        let read = rows(session, sql, &[&name, &after, &STEP]).await;
        let read = read.map_err(|failure| chain.unreadable(failure.to_error()))?;
        let Some(last) = read.last() else { return Ok(chain) };
        after = plain(last, 0).map_err(|failure| chain.unreadable(failure.to_error()))?;
        for row in &read {
            let parts = (|| Ok::<_, Failure>((plain::<&str>(row, 1)?, unsigned(row, 0)?, digest(row, 2)?)))();
            let (line, seq, hash) = parts.map_err(|failure| chain.unreadable(failure.to_error()))?;
            chain.stored(line, seq, hash)?;
        }
    }
}

/// The last record of a chain that is archived; -1 when none is.
async fn archived(session: &Session, chain: &str) -> Result<i64, Failure> {
    let sql =
        "SELECT (body::json ->> 'seq')::bigint FROM entry WHERE kind = 'retention' AND id = 'audit/' || $1";
    let found = rows(session, sql, &[&chain]).await?;
    Ok(found.first().map(|row| plain(row, 0)).transpose()?.unwrap_or(-1))
}

/// Shows everything in a store, as of one moment; it may be in service.
///
/// # Errors
/// When it cannot be read, or `out` fails.
pub async fn export(
    settings: &PostgresSettings,
    out: &mut (dyn FnMut(Item) -> Result<(), StoreError> + Send),
) -> Result<Counts, StoreError> {
    let failed = |failure: Failure| failure.to_error();
    let session = snapshot(settings).await.map_err(failed)?;
    let mut outlet = Outlet::new(out);
    let instance = instance(&session).await.map_err(failed)?;
    outlet.put(Item::first(instance))?;
    let leases = concat!("SELECT ", lease_columns!(), " FROM lease WHERE id > $1 ORDER BY id LIMIT $2");
    each(&session, leases, &mut outlet, |row| lease_row::read(row).map(Item::of_lease)).await?;
    each(&session, token::AFTER, &mut outlet, |row| token::read(row).map(Item::of_token)).await?;
    each(&session, server::AFTER, &mut outlet, |row| {
        server::read(row).map(|(target, known)| Item::of_server(target, known))
    })
    .await?;
    each(&session, select_secrets!("WHERE target > $1 ORDER BY target LIMIT $2"), &mut outlet, |row| {
        secret::read(row).map(|(target, kept)| Item::of_secret(target, kept))
    })
    .await?;
    entries(&session, &mut outlet).await?;
    let chains = "SELECT DISTINCT replica FROM audit ORDER BY replica";
    for chain in rows(&session, chains, &[]).await.map_err(failed)? {
        let chain: String = plain(&chain, 0).map_err(failed)?;
        records(&session, &chain, &mut outlet).await?;
    }
    outlet.end()
}

/// Which installation a store belongs to, and what is kept there of a target's administration password. It may be in service.
///
/// # Errors
/// When it cannot be read, or is no store.
pub async fn read_secret(
    settings: &PostgresSettings,
    target: &TargetName,
) -> Result<(InstanceId, Option<KeptSecret>), StoreError> {
    let read = async {
        let session = snapshot(settings).await?;
        let kept = rows(&session, select_secrets!("WHERE target = $1"), &[&target.as_str()]).await?;
        let kept = kept.first().map(secret::read).transpose()?;
        Ok((instance(&session).await?, kept.map(|(_, kept)| kept)))
    };
    read.await.map_err(|failure: Failure| failure.to_error())
}

/// Puts everything that a question brings, in steps: it takes the last one's first column and how many.
async fn each(
    session: &Session,
    sql: &'static str,
    outlet: &mut Outlet<'_>,
    read: impl Fn(&Row) -> Result<Item, Failure>,
) -> Result<(), StoreError> {
    let failed = |failure: Failure| failure.to_error();
    let mut after = String::new();
    loop {
        let step = rows(session, sql, &[&after, &STEP]).await.map_err(failed)?;
        let Some(last) = step.last() else { return Ok(()) };
        after = plain(last, 0).map_err(failed)?;
        for row in &step {
            outlet.put(read(row).map_err(failed)?)?;
        }
    }
}

/// Puts all entries, in steps.
async fn entries(session: &Session, outlet: &mut Outlet<'_>) -> Result<(), StoreError> {
    let failed = |failure: Failure| failure.to_error();
    let sql =
        select_entries!("WHERE (entry.kind, entry.id) > ($1, $2) ORDER BY entry.kind, entry.id LIMIT $3");
    let mut after = (String::new(), String::new());
    loop {
        let step = rows(session, sql, &[&after.0, &after.1, &STEP]).await.map_err(failed)?;
        let Some(last) = step.last() else { return Ok(()) };
        after = (plain(last, 0).map_err(failed)?, plain(last, 1).map_err(failed)?);
        for row in &step {
            outlet.put(Item::of_entry(entry::read(row).map_err(failed)?))?;
        }
    }
}

async fn records(session: &Session, chain: &str, outlet: &mut Outlet<'_>) -> Result<(), StoreError> {
    let failed = |failure: Failure| failure.to_error();
    let mut after = -1_i64;
    loop {
        let sql = "SELECT seq, record FROM audit WHERE replica = $1 AND seq > $2 ORDER BY seq LIMIT $3";
        let step = rows(session, sql, &[&chain, &after, &STEP]).await.map_err(failed)?;
        let Some(last) = step.last() else { return Ok(()) };
        after = plain(last, 0).map_err(failed)?;
        for row in &step {
            outlet.put(Item::Record { chain: chain.to_owned(), line: plain(row, 1).map_err(failed)? })?;
        }
    }
}

/// Fills a fresh store, making its schema when there is none; all of it or nothing. Whoever starts meanwhile waits.
///
/// # Errors
/// When the store is not empty, or when the stream is not whole.
pub async fn import(settings: &PostgresSettings, items: Items<'_>) -> Result<Counts, StoreError> {
    let failed = |failure: Failure| failure.to_error();
    let session = Session::open(settings, "offline").await.map_err(failed)?;
    migrate::migrate(&session, settings).await.map_err(failed)?;
    drop(session);
    let session = open(settings, "BEGIN; LOCK TABLE chain IN ACCESS EXCLUSIVE MODE").await.map_err(failed)?;
    let filled =
        "SELECT EXISTS (SELECT 1 FROM lease) OR EXISTS (SELECT 1 FROM token) OR EXISTS (SELECT 1 FROM audit)
        OR EXISTS (SELECT 1 FROM known_server) OR EXISTS (SELECT 1 FROM administration_secret)
        OR EXISTS (SELECT 1 FROM entry)";
    let filled = rows(&session, filled, &[]).await.map_err(failed)?;
    if filled.first().map(|row| plain::<bool>(row, 0)).transpose().map_err(failed)? != Some(false) {
        return Err(not_empty());
    }
    let mut filling = Filling {
        session,
        leases: Vec::new(),
        entries: Vec::new(),
        chain: String::new(),
        records: Vec::new(),
    };
    let mut inspector = Inspector::default();
    for item in items {
        let item = item?;
        let record = inspector.see(&item)?;
        filling.put(item, record.map(|record| ChainHead { seq: record.seq, hash: record.hash })).await?;
    }
    filling.flush().await.map_err(failed)?;
    let (instance, counts) = inspector.finish()?;
    filling.finish(instance).await.map_err(failed)?;
    Ok(counts)
}

struct Filling {
    session: Session,
    leases: Vec<(Lease, Encoded)>,
    entries: Vec<Entry>,
    chain: String,
    records: Vec<(ChainHead, String)>,
}

impl Filling {
    async fn put(&mut self, item: Item, head: Option<ChainHead>) -> Result<(), StoreError> {
        let failed = |failure: Failure| failure.to_error();
        match item {
            Item::Store { .. } | Item::End(_) => {}
            Item::Lease(lease) => {
                let lease = lease.into_lease()?;
                let encoded = Encoded::of(&lease)?;
                self.leases.push((lease, encoded));
            }
            Item::Token(token) => {
                let token = token.into_token()?;
                let (principal, cidrs) = (to_json(&token.principal)?, to_json(&token.cidrs)?);
                let columns = token::Columns::of(&token);
                self.execute(INSERT_TOKEN, &columns.values(&token, &principal, &cidrs))
                    .await
                    .map_err(failed)?;
            }
            Item::KnownServer { target, identity, since } => {
                let sql = "INSERT INTO known_server (target, identity, since) VALUES ($1, $2, $3)";
                let values: [&(dyn ToSql + Sync); 3] = [&target.as_str(), &identity, &since.as_microsecond()];
                self.execute(sql, &values).await.map_err(failed)?;
            }
            Item::AdministrationSecret(item) => {
                let (target, kept) = item.into_secret()?;
                let sql = "INSERT INTO administration_secret
                        (target, account, sealed, rotated_at, pending, pending_since, ended_at, failure, revision)
                    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
                let columns = secret::Columns::of(&kept);
                let (target, account) = (target.as_str(), kept.account.as_str());
                self.execute(sql, &columns.values(&target, &account)).await.map_err(failed)?;
            }
            Item::Entry(item) => self.entries.push(item.into_entry()?),
            Item::Record { chain, line } => {
                if self.chain != chain {
                    self.flush().await.map_err(failed)?;
                    self.chain = chain;
                }
                self.records.extend(head.map(|head| (head, line)));
            }
        }
        let waiting = self.leases.len().max(self.records.len()).max(self.entries.len());
        if waiting >= usize::try_from(STEP).unwrap_or(usize::MAX) {
            self.flush().await.map_err(failed)?;
        }
        Ok(())
    }

    async fn execute(&self, sql: &'static str, values: &[&(dyn ToSql + Sync)]) -> Result<(), Failure> {
        rows(&self.session, sql, values).await.map(drop)
    }

    async fn flush(&mut self) -> Result<(), Failure> {
        if !self.leases.is_empty() {
            let leases = std::mem::take(&mut self.leases);
            let columns = Inserts::from_leases(leases.iter().map(|(lease, encoded)| (lease, encoded)));
            self.execute(INSERT_LEASES, &columns.values()).await?;
        }
        if !self.entries.is_empty() {
            let entries = std::mem::take(&mut self.entries);
            let (mut columns, mut keys) = (EntryColumns::default(), KeyColumns::default());
            for entry in &entries {
                columns.push(entry);
                keys.push(entry);
            }
            let EntryColumns { kinds, ids, revisions, due_at, bodies } = &columns;
            self.execute(ADD_ENTRIES, &[kinds, ids, revisions, due_at, bodies]).await?;
            let KeyColumns { kinds, names, values, ids } = &keys;
            self.execute(ADD_KEYS, &[kinds, names, values, ids]).await?;
        }
        let records = std::mem::take(&mut self.records);
        let Some((head, _)) = records.last() else { return Ok(()) };
        let seqs: Vec<i64> = records.iter().map(|(head, _)| signed(head.seq)).collect();
        let lines: Vec<&str> = records.iter().map(|(_, line)| line.as_str()).collect();
        let hashes: Vec<&[u8]> = records.iter().map(|(head, _)| head.hash.0.as_slice()).collect();
        self.execute(APPEND, &[&self.chain, &seqs, &lines, &hashes]).await?;
        let sql = "INSERT INTO chain (replica, epoch, written, seq, hash) VALUES ($1, 1, 0, $2, $3)
            ON CONFLICT (replica) DO UPDATE SET seq = excluded.seq, hash = excluded.hash";
        self.execute(sql, &[&self.chain, &signed(head.seq), &head.hash.0.as_slice()]).await
    }

    /// Counts what is live, for whoever comes first to go on from, and commits.
    async fn finish(&self, instance: InstanceId) -> Result<(), Failure> {
        self.execute("UPDATE installation SET instance = $1", &[&instance.to_string()]).await?;
        for sql in [
            "INSERT INTO live_by_role SELECT role, 'imported', count(*) FROM lease WHERE due_at IS NOT NULL GROUP BY role",
            "INSERT INTO live_by_holder SELECT role, principal, 'imported', count(*) FROM lease WHERE due_at IS NOT NULL
                GROUP BY role, principal",
            "INSERT INTO live_by_target SELECT target, 'imported', count(*) FROM lease WHERE due_at IS NOT NULL
                GROUP BY target",
        ] {
            self.execute(sql, &[]).await?;
        }
        Ok(self.session.client.batch_execute("COMMIT").await?)
    }
}
