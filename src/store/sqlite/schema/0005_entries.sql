-- Whatever is neither a lease nor a token nor a record: requests, grants, locks, users and the like.
CREATE TABLE entry (
    kind TEXT NOT NULL,
    id TEXT NOT NULL CHECK (length(id) > 0),
    revision INTEGER NOT NULL CHECK (revision > 0),
    due_at INTEGER, -- NULL: nobody has to look at it
    body TEXT NOT NULL,
    PRIMARY KEY (kind, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX entry_by_due ON entry (kind, due_at) WHERE due_at IS NOT NULL;

-- What an entry can be found by.
CREATE TABLE entry_key (
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    id TEXT NOT NULL,
    PRIMARY KEY (kind, name, value, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX entry_key_of ON entry_key (kind, id);
