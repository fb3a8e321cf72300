-- What was taken over from another program: which number it had there and which it has here. A row outlives what it speaks
-- of, so that what was removed here is not brought again.

-- The one database that it comes from, by what it says of its own beginning.
CREATE TABLE import_source (
    id     INTEGER PRIMARY KEY CHECK (id = 1),
    origin TEXT NOT NULL
) STRICT;

-- `kind` as in `model/import.rs`.
CREATE TABLE imported (
    kind      INTEGER NOT NULL,
    source_id INTEGER NOT NULL,
    id        INTEGER NOT NULL,
    PRIMARY KEY (kind, source_id)
) STRICT, WITHOUT ROWID;
