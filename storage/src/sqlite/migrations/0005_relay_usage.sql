-- What was relayed for whom in a month ('2026-11', UTC). Rows stay when their owner goes: the sums stay right.
CREATE TABLE relay_usage (
    month        TEXT    NOT NULL,
    owner_kind   TEXT    NOT NULL,
    owner_id     INTEGER NOT NULL,
    to_peer      INTEGER NOT NULL,
    to_client    INTEGER NOT NULL,
    milliseconds INTEGER NOT NULL,
    allocations  INTEGER NOT NULL,
    PRIMARY KEY (month, owner_kind, owner_id)
) STRICT, WITHOUT ROWID;
