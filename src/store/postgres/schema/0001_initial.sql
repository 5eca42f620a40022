-- Moments are BIGINT microseconds since the Unix epoch, except where they are this server's own. What is only ever read
-- whole is JSON, kept as the text it was written as. Text is compared byte by byte, as on SQLite.

-- Which installation this is: on every account it creates. One row; drawn once, kept by backups.
CREATE TABLE installation (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    instance TEXT NOT NULL
);
INSERT INTO installation (id, instance)
SELECT 1, substr(md5(gen_random_uuid()::text), 1, 10) || substr(md5(gen_random_uuid()::text), 1, 10);

-- The processes that serve, by their replicas' names, and the ends of their audit chains. The row is locked by every
-- transaction that writes; whoever starts under a name raises its epoch, and who has an older one can write no more.
CREATE TABLE chain (
    replica TEXT COLLATE "C" PRIMARY KEY,
    epoch BIGINT NOT NULL CHECK (epoch > 0),
    written BIGINT NOT NULL, -- transactions; tells whether one whose outcome was lost was committed
    seq BIGINT NOT NULL CHECK (seq >= 0),
    hash BYTEA NOT NULL CHECK (length(hash) = 32)
) WITH (fillfactor = 50);

CREATE TABLE audit (
    replica TEXT COLLATE "C" NOT NULL,
    seq BIGINT NOT NULL CHECK (seq > 0),
    record TEXT NOT NULL,
    hash BYTEA NOT NULL CHECK (length(hash) = 32),
    PRIMARY KEY (replica, seq)
);

CREATE TABLE lease (
    id TEXT COLLATE "C" PRIMARY KEY,
    kind TEXT NOT NULL,
    role TEXT COLLATE "C" NOT NULL,
    target TEXT COLLATE "C" NOT NULL,
    principal TEXT COLLATE "C" NOT NULL,
    principal_kind TEXT NOT NULL,
    state TEXT COLLATE "C" NOT NULL,
    due_at BIGINT, -- NULL exactly when the lease is not live
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    idempotency_key TEXT COLLATE "C",
    account TEXT NOT NULL,
    terms TEXT NOT NULL,
    end_plan TEXT NOT NULL,
    standing TEXT NOT NULL, -- the state with what it carries
    -- Who works on its end, and until when nobody else may, on this server's clock.
    claimed_by TEXT COLLATE "C",
    claim_epoch BIGINT,
    claimed_until TIMESTAMPTZ,
    CHECK ((claimed_by IS NULL) = (claim_epoch IS NULL) AND (claimed_by IS NULL) = (claimed_until IS NULL))
) WITH (fillfactor = 85);

-- A lease that failed delivered nothing: its key may be used again.
CREATE UNIQUE INDEX lease_by_key ON lease (principal, idempotency_key)
    WHERE idempotency_key IS NOT NULL AND state <> 'failed';
CREATE INDEX lease_by_due ON lease (target, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX lease_ending ON lease (target, due_at) WHERE state = 'ending';
CREATE INDEX lease_claimed ON lease (target) WHERE claimed_by IS NOT NULL;

-- A page of a listing is one range of one of these for each state asked for, merged by id.
CREATE INDEX lease_by_state ON lease (state, id);
CREATE INDEX lease_by_principal ON lease (principal, state, id, role, target);
CREATE INDEX lease_by_role ON lease (role, state, id, target);
CREATE INDEX lease_by_target ON lease (target, state, id);

-- How many leases are live: the sum over all replicas, each of which counts in rows of its own, so that none waits for
-- another. What one began another may end: a single row may be negative.
CREATE TABLE live_by_role (
    role TEXT COLLATE "C" NOT NULL,
    replica TEXT COLLATE "C" NOT NULL,
    live BIGINT NOT NULL,
    PRIMARY KEY (role, replica)
) WITH (fillfactor = 50);

CREATE TABLE live_by_holder (
    role TEXT COLLATE "C" NOT NULL,
    principal TEXT COLLATE "C" NOT NULL,
    replica TEXT COLLATE "C" NOT NULL,
    live BIGINT NOT NULL,
    PRIMARY KEY (role, principal, replica)
) WITH (fillfactor = 50);

CREATE TABLE live_by_target (
    target TEXT COLLATE "C" NOT NULL,
    replica TEXT COLLATE "C" NOT NULL,
    live BIGINT NOT NULL,
    PRIMARY KEY (target, replica)
) WITH (fillfactor = 50);

CREATE TABLE token (
    id TEXT COLLATE "C" PRIMARY KEY,
    hash BYTEA NOT NULL UNIQUE CHECK (length(hash) = 32),
    principal TEXT NOT NULL,
    cidrs TEXT NOT NULL,
    description TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    revoked_at BIGINT
);

-- The server last known to answer for a target.
CREATE TABLE known_server (
    target TEXT COLLATE "C" PRIMARY KEY,
    identity TEXT NOT NULL,
    since BIGINT NOT NULL
);

-- Passwords of administration accounts, sealed with a key that is not in here; the only secrets there are.
CREATE TABLE administration_secret (
    target TEXT COLLATE "C" PRIMARY KEY,
    account TEXT NOT NULL,
    sealed TEXT, -- NULL: the configured password
    rotated_at BIGINT,
    pending TEXT,
    pending_since BIGINT,
    ended_at BIGINT,
    failure TEXT,
    revision BIGINT NOT NULL CHECK (revision > 0),
    CHECK ((pending IS NULL) = (pending_since IS NULL))
);
