-- The room's last message when the user came: nobody has to read what was there before him, nor counts as its reader.
ALTER TABLE participants ADD COLUMN joined_after_id INTEGER NOT NULL DEFAULT 0;
