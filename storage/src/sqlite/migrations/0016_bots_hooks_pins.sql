-- Bots, webhooks, pinned messages.

-- 0: a person. 1: a bot, made by `owner_id`. 2: who writes what comes by a webhook; he is seen as an author alone.
ALTER TABLE users ADD COLUMN kind INTEGER NOT NULL DEFAULT 0 CHECK (kind IN (0, 1, 2));
ALTER TABLE users ADD COLUMN owner_id INTEGER REFERENCES users (id);
CREATE INDEX users_by_owner ON users (owner_id) WHERE owner_id IS NOT NULL;

-- `id` is who writes what comes by it. He stays when the webhook goes, and so do his messages and his name.
CREATE TABLE hooks (
    id           INTEGER PRIMARY KEY REFERENCES users (id),
    room_id      INTEGER NOT NULL REFERENCES rooms (id) ON DELETE CASCADE,
    made_by      INTEGER NOT NULL REFERENCES users (id),
    secret_hash  BLOB    NOT NULL,
    created_at   INTEGER NOT NULL,
    last_used_at INTEGER
) STRICT;
CREATE INDEX hooks_by_room ON hooks (room_id);

-- What the author of this one message is called, where a webhook has said so.
ALTER TABLE messages ADD COLUMN author_name TEXT;

CREATE TABLE pinned_messages (
    message_id INTEGER PRIMARY KEY REFERENCES messages (id) ON DELETE CASCADE,
    room_id    INTEGER NOT NULL REFERENCES rooms (id) ON DELETE CASCADE,
    pinned_by  INTEGER NOT NULL REFERENCES users (id),
    pinned_at  INTEGER NOT NULL
) STRICT;
CREATE INDEX pinned_messages_by_room ON pinned_messages (room_id, pinned_at);
