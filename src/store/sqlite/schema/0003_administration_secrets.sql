-- Passwords of administration accounts, sealed with a key that is not in here; the only secrets there are.
CREATE TABLE administration_secret (
    target TEXT PRIMARY KEY,
    account TEXT NOT NULL,
    sealed TEXT, -- NULL: the configured password
    rotated_at INTEGER,
    pending TEXT,
    pending_since INTEGER,
    ended_at INTEGER,
    failure TEXT,
    revision INTEGER NOT NULL CHECK (revision > 0),
    CHECK ((pending IS NULL) = (pending_since IS NULL))
) STRICT, WITHOUT ROWID;
