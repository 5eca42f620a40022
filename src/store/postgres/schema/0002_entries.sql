-- Whatever is neither a lease nor a token nor a record: requests, grants, locks, users and the like.
CREATE TABLE entry (
    kind TEXT COLLATE "C" NOT NULL,
    id TEXT COLLATE "C" NOT NULL CHECK (id <> ''),
    revision BIGINT NOT NULL CHECK (revision > 0),
    due_at BIGINT, -- NULL: nobody has to look at it
    body TEXT NOT NULL,
    PRIMARY KEY (kind, id)
) WITH (fillfactor = 85);

CREATE INDEX entry_by_due ON entry (kind, due_at, id) WHERE due_at IS NOT NULL;

-- What an entry can be found by.
CREATE TABLE entry_key (
    kind TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    value TEXT COLLATE "C" NOT NULL,
    id TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (kind, name, value, id)
);

CREATE INDEX entry_key_of ON entry_key (kind, id);
