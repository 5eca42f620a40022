//! The statements of the writer, prepared when its session is made: an exchange must not wait for a statement in the middle.

use tokio_postgres::Statement;

use super::{failure::Failure, lease_row::lease_columns, session::Session};

/// Adds leases, given by column.
pub(super) const INSERT_LEASES: &str = "INSERT INTO lease (id, kind, role, target, principal, principal_kind, state, due_at, created_at,
            updated_at, idempotency_key, account, terms, end_plan, standing)
        SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
            $8::bigint[], $9::bigint[], $10::bigint[], $11::text[], $12::text[], $13::text[], $14::text[], $15::text[])";

/// Adds records to a chain, given by column.
pub(super) const APPEND: &str = "INSERT INTO audit (replica, seq, record, hash)
        SELECT $1, seq, record, hash FROM unnest($2::bigint[], $3::text[], $4::bytea[]) AS new (seq, record, hash)";

/// Adds entries, given by column.
pub(super) const ADD_ENTRIES: &str = "INSERT INTO entry (kind, id, revision, due_at, body)
        SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::text[])";

/// Adds what entries are found by, given by column; what is there already stays.
pub(super) const ADD_KEYS: &str = "INSERT INTO entry_key (kind, name, value, id)
        SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) ON CONFLICT DO NOTHING";

/// Adds a token.
pub(super) const INSERT_TOKEN: &str =
    "INSERT INTO token (id, hash, principal, cidrs, description, created_at, expires_at, revoked_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";

macro_rules! statements {
    ($($(#[$doc:meta])* $name:ident = $sql:expr;)*) => {
        /// The writer's statements.
        pub(super) struct Statements { $($(#[$doc])* pub(super) $name: Statement),* }

        impl Statements {
            /// Prepares them all.
            pub(super) async fn prepare(session: &Session) -> Result<Self, Failure> {
                let prepare = Box::pin(async {
                    let ($($name,)*) = futures_util::try_join!($(session.client.prepare($sql)),*)?;
                    Ok(Self { $($name),* })
                });
                session.bounded(prepare).await
            }
        }
    };
}

statements! {
    /// Whether this process may write, where its chain ends, and the server's time.
    chain = "SELECT seq, hash, written, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint
        FROM chain WHERE replica = $1 AND epoch = $2 FOR UPDATE";
    /// Roles whose limits are about to be looked at, and entries that are to come: one process at a time. Entries that must
    /// not come: several at a time.
    locks = "SELECT CASE WHEN shared THEN pg_advisory_xact_lock_shared($1, key) ELSE pg_advisory_xact_lock($1, key) END
        FROM unnest($2::int4[], $3::bool[]) AS asked (key, shared)";
    leases = concat!("SELECT ", lease_columns!(), ", lease.claimed_by FROM lease WHERE id = ANY ($1)
        ORDER BY id FOR UPDATE");
    keys = concat!("SELECT ", lease_columns!(), ", lease.claimed_by
        FROM unnest($1::text[], $2::text[]) AS asked (principal, key)
        JOIN lease ON lease.principal = asked.principal AND lease.idempotency_key = asked.key
        WHERE lease.idempotency_key IS NOT NULL AND lease.state <> 'failed'");
    live = "SELECT asked.role, asked.principal,
        (SELECT coalesce(sum(live), 0)::bigint FROM live_by_holder own
         WHERE own.role = asked.role AND own.principal = asked.principal),
        (SELECT coalesce(sum(live), 0)::bigint FROM live_by_role everybody WHERE everybody.role = asked.role)
        FROM unnest($1::text[], $2::text[]) AS asked (role, principal)";
    tokens = "SELECT id, hash, principal, cidrs, description, created_at, expires_at, revoked_at FROM token
        WHERE id = ANY ($1) ORDER BY id FOR UPDATE";
    taken = "SELECT id, hash FROM token WHERE id = ANY ($1) OR hash = ANY ($2)";
    /// What nobody else has claimed and works on. That a claim lapsed is looked at in the row itself, so that it is looked
    /// at again when another process was quicker.
    due = concat!("WITH free AS MATERIALIZED (
            SELECT id FROM lease
            WHERE target = $1 AND due_at IS NOT NULL AND due_at <= $2
              AND (claimed_by IS NULL OR claimed_by = $4 OR claimed_until < clock_timestamp())
            ORDER BY due_at LIMIT $3 FOR UPDATE SKIP LOCKED)
        UPDATE lease SET claimed_by = $4, claim_epoch = $5,
            claimed_until = clock_timestamp() + $6 * interval '1 millisecond'
        FROM free WHERE lease.id = free.id RETURNING ", lease_columns!());
    put_off = concat!("WITH free AS MATERIALIZED (
            SELECT id FROM lease
            WHERE target = $1 AND state = 'ending' AND due_at > $2
              AND (claimed_by IS NULL OR claimed_by = $4 OR claimed_until < clock_timestamp())
            ORDER BY due_at DESC LIMIT $3 FOR UPDATE SKIP LOCKED)
        UPDATE lease SET claimed_by = $4, claim_epoch = $5,
            claimed_until = clock_timestamp() + $6 * interval '1 millisecond'
        FROM free WHERE lease.id = free.id RETURNING ", lease_columns!());
    /// What is locked right now changes anyway.
    hold = "WITH held AS MATERIALIZED (
            SELECT id FROM lease WHERE claimed_by = $1 AND claim_epoch = $2 FOR UPDATE SKIP LOCKED)
        UPDATE lease SET claimed_until = clock_timestamp() + $3 * interval '1 millisecond'
        FROM held WHERE lease.id = held.id";
    update_leases = "UPDATE lease SET state = new.state, due_at = new.due_at, updated_at = new.updated_at,
            standing = new.standing,
            idempotency_key = CASE WHEN new.forget_key THEN NULL ELSE lease.idempotency_key END,
            claimed_by = CASE WHEN new.release THEN NULL ELSE lease.claimed_by END,
            claim_epoch = CASE WHEN new.release THEN NULL ELSE lease.claim_epoch END,
            claimed_until = CASE WHEN new.release THEN NULL ELSE lease.claimed_until END
        FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::text[], $6::bool[], $7::bool[])
            AS new (id, state, due_at, updated_at, standing, forget_key, release)
        WHERE lease.id = new.id";
    insert_leases = INSERT_LEASES;
    count_roles = "INSERT INTO live_by_role (role, replica, live)
        SELECT role, $2, live FROM unnest($1::text[], $3::bigint[]) AS new (role, live)
        ON CONFLICT (role, replica) DO UPDATE SET live = live_by_role.live + excluded.live";
    count_holders = "INSERT INTO live_by_holder (role, principal, replica, live)
        SELECT role, principal, $2, live FROM unnest($1::text[], $3::text[], $4::bigint[]) AS new (role, principal, live)
        ON CONFLICT (role, principal, replica) DO UPDATE SET live = live_by_holder.live + excluded.live";
    count_targets = "INSERT INTO live_by_target (target, replica, live)
        SELECT target, $2, live FROM unnest($1::text[], $3::bigint[]) AS new (target, live)
        ON CONFLICT (target, replica) DO UPDATE SET live = live_by_target.live + excluded.live";
    insert_token = INSERT_TOKEN;
    revoke_token = "UPDATE token SET revoked_at = $2 WHERE id = $1";
    know_server = "INSERT INTO known_server (target, identity, since) VALUES ($1, $2, $3)
        ON CONFLICT (target) DO UPDATE SET identity = excluded.identity, since = excluded.since";
    secrets = "SELECT target, revision FROM administration_secret WHERE target = ANY ($1) ORDER BY target FOR UPDATE";
    /// The first of a target: when two add it at once, one of them fails and looks again.
    add_secret = "INSERT INTO administration_secret
            (target, account, sealed, rotated_at, pending, pending_since, ended_at, failure, revision)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    keep_secret = "UPDATE administration_secret SET account = $2, sealed = $3, rotated_at = $4, pending = $5,
            pending_since = $6, ended_at = $7, failure = $8, revision = $9
        WHERE target = $1";
    entries = "SELECT entry.kind, entry.id, entry.revision FROM unnest($1::text[], $2::text[]) AS asked (kind, id)
        JOIN entry ON entry.kind = asked.kind AND entry.id = asked.id
        ORDER BY entry.kind, entry.id FOR UPDATE OF entry";
    add_entries = ADD_ENTRIES;
    replace_entries = "UPDATE entry SET revision = new.revision, due_at = new.due_at, body = new.body
        FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::text[])
            AS new (kind, id, revision, due_at, body)
        WHERE entry.kind = new.kind AND entry.id = new.id";
    remove_entries = "DELETE FROM entry USING unnest($1::text[], $2::text[]) AS gone (kind, id)
        WHERE entry.kind = gone.kind AND entry.id = gone.id";
    /// Keys of entries that changed, but for those that stay.
    forget_keys = "DELETE FROM entry_key old USING unnest($1::text[], $2::text[]) AS changed (kind, id)
        WHERE old.kind = changed.kind AND old.id = changed.id AND NOT EXISTS (
            SELECT 1 FROM unnest($3::text[], $4::text[], $5::text[], $6::text[]) AS stays (kind, name, value, id)
            WHERE stays.kind = old.kind AND stays.id = old.id AND stays.name = old.name AND stays.value = old.value)";
    add_keys = ADD_KEYS;
    remove_leases = "DELETE FROM lease WHERE id = ANY ($1) AND due_at IS NULL";
    /// Only what is archived, whoever asks for more.
    remove_records = "DELETE FROM audit WHERE replica = $1 AND seq <= $2 AND seq <=
        (SELECT (body::json ->> 'seq')::bigint FROM entry WHERE kind = 'retention' AND id = 'audit/' || $1)";
    append = APPEND;
    advance = "UPDATE chain SET seq = $3, hash = $4, written = $5 WHERE replica = $1 AND epoch = $2";
    notify = "SELECT pg_notify($1, payload) FROM unnest($2::text[]) AS payload";
}
