-- Web push, bots, webhooks, and what administrators have done.

-- Where a sign-in's browser is told what its user misses, and the keys for it; it goes with the sign-in. Whoever knows
-- an endpoint may send there.
CREATE TABLE push_subscriptions (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id    INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    token_hash BLOB    NOT NULL REFERENCES tokens (hash) ON DELETE CASCADE,
    endpoint   TEXT    NOT NULL UNIQUE,
    p256dh     BLOB    NOT NULL,
    auth       BLOB    NOT NULL,
    expires_at INTEGER,
    created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX push_subscriptions_by_user ON push_subscriptions (user_id);
CREATE INDEX push_subscriptions_by_token ON push_subscriptions (token_hash);

-- Of those who have set something.
CREATE TABLE push_settings (
    user_id  INTEGER PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    messages TEXT    NOT NULL,
    calls    INTEGER NOT NULL
) STRICT;
