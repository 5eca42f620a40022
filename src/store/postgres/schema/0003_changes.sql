-- What changed since a moment, for whoever missed word of it: a summary of ranges of pages, which costs a write next to nothing.
CREATE INDEX lease_by_change ON lease USING brin (updated_at) WITH (pages_per_range = 32, autosummarize = on);
