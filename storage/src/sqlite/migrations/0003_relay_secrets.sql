-- Secrets with which other programs make relay credentials. After a rotation the previous one is taken until what was
-- made with it has expired.
CREATE TABLE relay_secrets (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    name            TEXT    NOT NULL UNIQUE,
    secret          TEXT    NOT NULL,
    previous        TEXT,
    previous_until  INTEGER,
    max_allocations INTEGER,
    created_at      INTEGER NOT NULL
) STRICT;
