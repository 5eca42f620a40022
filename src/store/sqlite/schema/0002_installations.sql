-- Which installation this is: on every account it creates. One row; drawn once, kept by backups.
CREATE TABLE installation (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    instance TEXT NOT NULL
) STRICT;
INSERT INTO installation (id, instance) VALUES (1, lower(hex(randomblob(10))));

-- The server last known to answer for a target.
CREATE TABLE known_server (
    target TEXT PRIMARY KEY,
    identity TEXT NOT NULL,
    since INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- A lease whose account is found again after its end is live once more.
CREATE TRIGGER lease_reappears AFTER UPDATE OF due_at ON lease
WHEN OLD.due_at IS NULL AND NEW.due_at IS NOT NULL BEGIN
    UPDATE live_by_role SET live = live + 1 WHERE role = NEW.role;
    UPDATE live_by_holder SET live = live + 1 WHERE role = NEW.role AND principal = NEW.principal;
    UPDATE live_by_target SET live = live + 1 WHERE target = NEW.target;
END;
