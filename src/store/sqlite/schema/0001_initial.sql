-- Moments are INTEGER microseconds since the Unix epoch. What is only ever read whole is JSON.

CREATE TABLE lease (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    role TEXT NOT NULL,
    target TEXT NOT NULL,
    principal TEXT NOT NULL,
    principal_kind TEXT NOT NULL,
    state TEXT NOT NULL,
    due_at INTEGER, -- NULL exactly when the lease is not live
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    idempotency_key TEXT,
    account TEXT NOT NULL,
    terms TEXT NOT NULL,
    end_plan TEXT NOT NULL,
    standing TEXT NOT NULL -- the state with what it carries
) STRICT;

-- A lease that failed delivered nothing: its key may be used again.
CREATE UNIQUE INDEX lease_by_key ON lease (principal, idempotency_key)
    WHERE idempotency_key IS NOT NULL AND state <> 'failed';
CREATE INDEX lease_by_due ON lease (target, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX lease_ending ON lease (target, due_at) WHERE state = 'ending';

-- A page of a listing is one range of one of these for each state asked for, merged by id.
CREATE INDEX lease_by_state ON lease (state, id);
CREATE INDEX lease_by_principal ON lease (principal, state, id, role, target);
CREATE INDEX lease_by_role ON lease (role, state, id, target);
CREATE INDEX lease_by_target ON lease (target, state, id);

-- How many leases are live. Kept by triggers, so that no statement can forget them.
CREATE TABLE live_by_role (
    role TEXT PRIMARY KEY,
    live INTEGER NOT NULL CHECK (live >= 0)
) STRICT, WITHOUT ROWID;

CREATE TABLE live_by_holder (
    role TEXT NOT NULL,
    principal TEXT NOT NULL,
    live INTEGER NOT NULL CHECK (live >= 0),
    PRIMARY KEY (role, principal)
) STRICT, WITHOUT ROWID;

CREATE TABLE live_by_target (
    target TEXT PRIMARY KEY,
    live INTEGER NOT NULL CHECK (live >= 0)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER lease_begins AFTER INSERT ON lease WHEN NEW.due_at IS NOT NULL BEGIN
    INSERT INTO live_by_role (role, live) VALUES (NEW.role, 1)
        ON CONFLICT DO UPDATE SET live = live + 1;
    INSERT INTO live_by_holder (role, principal, live) VALUES (NEW.role, NEW.principal, 1)
        ON CONFLICT DO UPDATE SET live = live + 1;
    INSERT INTO live_by_target (target, live) VALUES (NEW.target, 1)
        ON CONFLICT DO UPDATE SET live = live + 1;
END;

CREATE TRIGGER lease_ends AFTER UPDATE OF due_at ON lease
WHEN OLD.due_at IS NOT NULL AND NEW.due_at IS NULL BEGIN
    UPDATE live_by_role SET live = live - 1 WHERE role = OLD.role;
    UPDATE live_by_holder SET live = live - 1 WHERE role = OLD.role AND principal = OLD.principal;
    UPDATE live_by_target SET live = live - 1 WHERE target = OLD.target;
END;

CREATE TABLE token (
    id TEXT PRIMARY KEY,
    hash BLOB NOT NULL UNIQUE CHECK (length(hash) = 32),
    principal TEXT NOT NULL,
    cidrs TEXT NOT NULL,
    description TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    revoked_at INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE audit (
    seq INTEGER PRIMARY KEY CHECK (seq > 0),
    record TEXT NOT NULL,
    hash BLOB NOT NULL CHECK (length(hash) = 32)
) STRICT;

-- Written anew to find out whether there is room to write.
CREATE TABLE probe (id INTEGER PRIMARY KEY CHECK (id = 1), room BLOB NOT NULL) STRICT;
