-- What clients may have missed. Ids grow in the order of commits and have no gaps: the newest row is never deleted.
-- `audience` is a room, or a user as a negative number; no index, for what is read is the end of the table.
CREATE TABLE events (
    id         INTEGER PRIMARY KEY,
    audience   INTEGER NOT NULL,
    kind       INTEGER NOT NULL,
    subject    INTEGER NOT NULL,
    by_user    INTEGER NOT NULL,
    data       TEXT,
    created_at INTEGER NOT NULL
) STRICT;
