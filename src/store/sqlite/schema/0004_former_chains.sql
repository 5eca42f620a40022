-- Audit chains of processes that shared a store before its content was moved here. Nothing is ever appended to them.
CREATE TABLE former_audit (
    replica TEXT NOT NULL,
    seq INTEGER NOT NULL CHECK (seq > 0),
    record TEXT NOT NULL,
    hash BLOB NOT NULL CHECK (length(hash) = 32),
    PRIMARY KEY (replica, seq)
) STRICT, WITHOUT ROWID;
