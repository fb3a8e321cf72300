-- Bytes that somebody is storing right now: until a row refers to them, or until this one is too old.
CREATE TABLE expected_blobs (
    id INTEGER PRIMARY KEY,
    hash BLOB NOT NULL,
    expected_at INTEGER NOT NULL
) STRICT;
CREATE INDEX expected_blobs_by_hash ON expected_blobs (hash);

-- Since when somebody removes them; nobody stores the same meanwhile.
ALTER TABLE loose_blobs ADD COLUMN removing_since INTEGER;
