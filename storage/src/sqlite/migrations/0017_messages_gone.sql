-- How many messages of a room are gone, so that what was counted in it before is known to hold no more.
ALTER TABLE rooms ADD COLUMN messages_gone INTEGER NOT NULL DEFAULT 0;

DROP TRIGGER message_deleted;
CREATE TRIGGER message_deleted AFTER DELETE ON messages BEGIN
    UPDATE rooms SET message_count = message_count - 1, messages_gone = messages_gone + 1 WHERE id = old.room_id;
END;
