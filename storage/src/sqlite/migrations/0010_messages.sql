-- Edits, replies, reactions, mentions, search.

-- Kept by the triggers below, so that no page has to count.
ALTER TABLE rooms ADD COLUMN message_count INTEGER NOT NULL DEFAULT 0;
UPDATE rooms SET message_count = (SELECT count(*) FROM messages m WHERE m.room_id = rooms.id);

ALTER TABLE messages ADD COLUMN edited_at INTEGER;
-- What the author's client calls it, so that what is sent twice is there once.
ALTER TABLE messages ADD COLUMN client_id TEXT;
-- No reference: a reply stays when what it answers goes.
ALTER TABLE messages ADD COLUMN reply_to INTEGER;
CREATE UNIQUE INDEX messages_by_client_id ON messages (author_id, client_id) WHERE client_id IS NOT NULL;

CREATE TABLE reactions (
    id         INTEGER PRIMARY KEY,
    message_id INTEGER NOT NULL REFERENCES messages (id) ON DELETE CASCADE,
    emoji      TEXT    NOT NULL,
    user_id    INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    UNIQUE (message_id, emoji, user_id)
) STRICT;
CREATE INDEX reactions_by_user ON reactions (user_id);

-- user_id 0: everybody who was in the room.
CREATE TABLE mentions (
    message_id INTEGER NOT NULL REFERENCES messages (id) ON DELETE CASCADE,
    user_id    INTEGER NOT NULL,
    room_id    INTEGER NOT NULL,
    PRIMARY KEY (message_id, user_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX mentions_by_user ON mentions (room_id, user_id, message_id);

CREATE TRIGGER message_added AFTER INSERT ON messages BEGIN
    UPDATE rooms SET message_count = message_count + 1 WHERE id = new.room_id;
END;
CREATE TRIGGER message_deleted AFTER DELETE ON messages BEGIN
    UPDATE rooms SET message_count = message_count - 1 WHERE id = old.room_id;
END;
