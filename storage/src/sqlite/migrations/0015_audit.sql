-- What was done over others: by administrators, owners and moderators. Names are those of that moment, and nothing refers to
-- other tables, so that a row outlives all that it speaks of.
CREATE TABLE audit_log (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    created_at  INTEGER NOT NULL,
    -- NULL: the command line.
    actor_id    INTEGER,
    actor_name  TEXT    NOT NULL,
    action      TEXT    NOT NULL,
    target_kind TEXT    NOT NULL,
    target_id   INTEGER,
    target_name TEXT    NOT NULL,
    -- A JSON object.
    details     TEXT    NOT NULL,
    address     TEXT
) STRICT;
CREATE INDEX audit_log_by_actor ON audit_log (actor_id, id);
CREATE INDEX audit_log_by_action ON audit_log (action, id);
CREATE INDEX audit_log_by_time ON audit_log (created_at);

-- When somebody last used one of his sign-ins, to the hour; it stays when they have ended.
ALTER TABLE users ADD COLUMN last_seen_at INTEGER;
UPDATE users SET last_seen_at = (SELECT max(last_used_at) FROM tokens t WHERE t.user_id = users.id);
